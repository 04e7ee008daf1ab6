/* late.h - code is translated when it is executed for the second time.
 *
 * A third of the blocks of a boot are executed once, and they would keep a third of the code cache.
 * So the first time a block is wanted it is noted here, and executed from decoded instructions that
 * are not kept (bt.c: run_once). What is noted is a tag in one place of a table: a block that loses
 * it to another is executed from decoded instructions once more, a tag left by other code has a
 * block translated at once; both are right. vcpu.bt_late says whether any of this is done.
 * Owner: the vCPU's thread. */
#ifndef ENGINE_BT_LATE_H
#define ENGINE_BT_LATE_H
#include "base/types.h"

enum { LATE_BITS = 16 };
struct bt_late {
    u16 tag[1 << LATE_BITS]; /* 0: nothing is noted */
    u64 hash;                /* of the block that was asked for last */
    bool once;               /* and it was not executed before */
};
static inline u16 *late_place(struct bt_late *l) { return &l->tag[l->hash >> (64 - LATE_BITS)]; }
static inline u16 late_tag(const struct bt_late *l) { return (u16)(l->hash >> 24) | 1; }
/** late_is_due - was the block with key @block (code_index.h) executed before? If not late_note()
 * is to be called when it is. */
static inline bool late_is_due(struct bt_late *l, u64 block)
{
    l->hash = block * 0x9E3779B97F4A7C15ull;
    l->once = *late_place(l) != late_tag(l);
    return !l->once;
}
/** late_note - it is executed now. */
static inline void late_note(struct bt_late *l) { *late_place(l) = late_tag(l); }
#endif
