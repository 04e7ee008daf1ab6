/* base/pixmap.h - a picture of a screen, and the characters of a text screen: what a display device
 * draws and what displays, screenshots and tests show. */
#ifndef BASE_PIXMAP_H
#define BASE_PIXMAP_H
#include "base/types.h"

enum {
    PIXMAP_WIDTH_MAX = 1920,
    PIXMAP_HEIGHT_MAX = 1200,
    TEXT_COLUMNS_MAX = 132,
    TEXT_ROWS_MAX = 60,
};

/* Pixels are 0x00RRGGBB, rows without padding: px[y * width + x]. Owned by whoever made it; @px has
 * room for PIXMAP_WIDTH_MAX * PIXMAP_HEIGHT_MAX. */
struct pixmap {
    u32 width, height;
    u32 dirty_top, dirty_end; /* rows [top, end) the last render changed; equal: none         */
    bool resized;             /* width or height changed with the last render: all rows dirty */
    u32 *px;
};

/* A character cell. @attr: bits 0..3 foreground, 4..6 background, 7 background bright or blink. */
struct text_cell {
    u8 ch; /* code page 437 */
    u8 attr;
};
struct text_screen {
    bool present; /* false: a graphics mode, nothing below is valid */
    u32 columns, rows;
    bool cursor; /* visible, at: */
    u32 cursor_column, cursor_row;
    struct text_cell cell[TEXT_ROWS_MAX][TEXT_COLUMNS_MAX];
};
#endif
