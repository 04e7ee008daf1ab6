/* trans_hints.h - what is known of the instruction at hand (hints.h). Private to trans*.c. */
#ifndef ENGINE_BT_TRANS_HINTS_H
#define ENGINE_BT_TRANS_HINTS_H
#include "engine/bt/trans.h"

static inline bool is_checked(const struct trans *t)
{
    return t->bt->hints && bt_hint(t->bt->hints->checked, t->off);
}
static inline bool is_tested(const struct trans *t)
{
    return t->bt->hints && bt_hint(t->bt->hints->tested, t->off);
}
static inline bool is_stepped(const struct trans *t)
{
    return t->bt->hints && bt_hint(t->bt->hints->stepped, t->off);
}
#endif
