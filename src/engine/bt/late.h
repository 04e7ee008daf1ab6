/* late.h - code of the supervisor is translated when it is executed for the second time.
 *
 * A third of the blocks of a boot are executed once, and they would keep a third of the code cache;
 * nearly all of them are the kernel's. So the first time such a block is wanted it is noted here,
 * and executed from decoded instructions that are not kept (bt.c: run_once). Programs are started
 * again, so most of their code that runs once runs once each time: it is translated at once.
 *
 * What is noted is a tag in a set of four by hash. A full set loses one at random: blocks of a loop
 * that are noted in the same set would drive one another out for ever if it was in turns. A block
 * that has lost its tag is executed from decoded instructions once more, one that finds another's
 * is translated at once; both are right. vcpu.bt_late says whether any of this is done.
 * Owner: the vCPU's thread. */
#ifndef ENGINE_BT_LATE_H
#define ENGINE_BT_LATE_H
#include "base/types.h"

enum { LATE_BITS = 14, LATE_WAYS = 4 };
struct bt_late {
    u16 tag[1 << LATE_BITS][LATE_WAYS]; /* 0: nothing is noted */
    u64 hash;                           /* of the block that was asked for last */
    u64 random;
    bool once; /* that block was not executed before */
};
static inline u16 *late_set(struct bt_late *l) { return l->tag[l->hash >> (64 - LATE_BITS)]; }
static inline u16 late_tag(const struct bt_late *l) { return (u16)(l->hash >> 24) | 1; }
/** late_is_due - was the block with key @block (code_index.h) executed before? If not late_note()
 * is to be called when it is. */
static inline bool late_is_due(struct bt_late *l, u64 block)
{
    l->hash = block * 0x9E3779B97F4A7C15ull;
    l->once = true;
    for (u32 i = 0; i < LATE_WAYS; i++) l->once &= late_set(l)[i] != late_tag(l);
    return !l->once;
}
/** late_note - it is executed now. */
static inline void late_note(struct bt_late *l)
{
    u16 *set = late_set(l);
    l->random = l->random * 6364136223846793005ull + 1442695040888963407ull;
    u32 at = (u32)(l->random >> 62);
    for (u32 i = 0; i < LATE_WAYS; i++)
        if (!set[i]) at = i;
    set[at] = late_tag(l);
}
#endif
