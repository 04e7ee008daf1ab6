/* trans_x87.h - x87 and MMX instructions. Private to trans*.c; see trans_x87.c. */
#ifndef ENGINE_BT_TRANS_X87_H
#define ENGINE_BT_TRANS_X87_H
#include "engine/bt/trans.h"

struct plan;
/** tr_x87 - the instruction at hand, whose plan is @p. */
enum tr tr_x87(struct trans *t, const struct plan *p);
/** tr_put_x87 - the exit @c, which loads the registers. */
void tr_put_x87(struct trans *t, const struct cold *c);
#endif
