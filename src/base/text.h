/* base/text.h - helpers on text meant for people. */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

/** text_one_line - replace control characters by '?', in place: names chosen by a guest or a file
 * must not forge lines or drive the operator's terminal. */
static inline void text_one_line(char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < ' ' || *s == 0x7f) *s = '?';
    }
}
#endif
