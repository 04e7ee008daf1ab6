/* base/keys.h - the keys of a PC keyboard (keys.def): by name, by X11 keysym, by the character they
 * print on a US layout; and key strokes written down as text. */
#ifndef BASE_KEYS_H
#define BASE_KEYS_H
#include "base/err.h"
#include "base/types.h"

enum key_code {
    KEY_NONE,
#define KEY(id, name, set1, set2, set3, keysym, shifted) KEY_##id,
#include "base/keys.def"
#undef KEY
    KEY_COUNT,
};

struct key_row {
    const char *name;
    u32 set1, set2; /* make codes; 0xE0nn: two bytes; PAUSE has three */
    u8 set3;        /* 0: not in set 3                                */
    u32 keysym, shifted;
};

/** key_row - facts about @code, or NULL for KEY_NONE and what is no key. */
const struct key_row *key_row(u32 code);
/** key_find - the key called @name (@n bytes; QEMU's names: a, ret, ctrl, f1, kp_1 ...); KEY_NONE
 * when there is none. */
enum key_code key_find(const char *name, size_t n);
/** key_of_keysym - the key that gives X11 keysym @keysym, and in @shift whether with shift;
 * KEY_NONE when there is none. Letters of either case are on one key. */
enum key_code key_of_keysym(u32 keysym, bool *shift);
/** key_of_char - the key that prints @ch (ASCII; also newline, carriage return, tab, backspace,
 * escape, delete). */
enum key_code key_of_char(char ch, bool *shift);

/* Keys pressed together: in this order, and released in the opposite one. */
enum { KEY_STROKE_MAX = 8 };
struct key_stroke {
    u8 key[KEY_STROKE_MAX]; /* enum key_code */
    u32 count;
};

/**
 * keys_parse - the strokes @text means: names joined by '-' ("ctrl-alt-delete", "ret"), or
 * "text:" and characters, a stroke each.
 * Returns how many strokes it wrote to @out (room for @max); E_INVAL names the key that does not
 * exist, E_RANGE: more than @max.
 */
int keys_parse(const char *text, struct key_stroke *out, u32 max, struct err *e) MUST_USE;
#endif
