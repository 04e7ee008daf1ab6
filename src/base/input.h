/* base/input.h - keys and pointer movements on their way from a display or the control socket to
 * the keyboard controller (or, later, another input device).
 *
 * Keys are named by their place on the keyboard, not by what they print: enum key_code, the rows of
 * base/keys.def.
 * Threads: every call is made under the bus lock; none may block. */
#ifndef BASE_INPUT_H
#define BASE_INPUT_H
#include "base/types.h"

enum input_kind { INPUT_KEY, INPUT_MOVE, INPUT_BUTTON, INPUT_WHEEL };
struct input_event {
    enum input_kind kind;
    u32 code;   /* INPUT_KEY: enum key_code; INPUT_BUTTON: 0 left, 1 right, 2 middle */
    bool down;  /* INPUT_KEY, INPUT_BUTTON                                           */
    s32 dx, dy; /* INPUT_MOVE: right and down; INPUT_WHEEL: dy, away from the user < 0 */
};

/* The device that takes input; it drops what does not fit its queue, as the real one does. */
struct input_sink {
    void (*event)(void *ctx, const struct input_event *ev);
    void *ctx;
};
#endif
