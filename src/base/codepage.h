/* base/codepage.h - code page 437, the characters a PC's text screen has, as UTF-8 and as ASCII. */
#ifndef BASE_CODEPAGE_H
#define BASE_CODEPAGE_H
#include "base/pixmap.h"

enum { CP437_UTF8_BYTES = 4 };
/** cp437_utf8 - character @ch as UTF-8 in @out (room for CP437_UTF8_BYTES, terminated). 0 is a
 * space. Returns its bytes without the terminator, 1..3. */
u32 cp437_utf8(u8 ch, char *out);
/** cp437_ascii - the nearest ASCII character: frames become + - |, what has none ?. */
char cp437_ascii(u8 ch);

enum { TEXT_DUMP_BYTES = TEXT_ROWS_MAX * (TEXT_COLUMNS_MAX + 1) + 1 };
/**
 * text_screen_dump - the screen as ASCII lines without trailing blanks, each ended by a newline.
 * @out  room for TEXT_DUMP_BYTES, terminated; empty in graphics modes. Returns the length.
 */
u32 text_screen_dump(const struct text_screen *t, char *out);
#endif
