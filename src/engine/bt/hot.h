/* engine/bt/hot.h - blocks that run often are translated again, with more effort. Owner: the
 * vCPU's thread, outside of translated code. */
#ifndef ENGINE_BT_HOT_H
#define ENGINE_BT_HOT_H
#include "engine/common/cache.h"

struct bt_state;
struct bt_page;

/* Several turns of a loop: see bt_hot_extend. */
struct hot_block {
    struct block b;
    struct insn insn[2 * BLOCK_INSNS];
};

/** bt_hot_found - the block at v->rip, at @place, was about to run when the vCPU was interrupted.
 * After some times it, and what follows it in its loop, is translated anew. */
void bt_hot_found(struct bt_state *s, u32 place);
/** bt_hot_extend - what to translate where @b, at @gpa, was found: @b itself, or, where hints say
 * that it runs often and it is a short loop, a few turns of that (bt_translate), in @room. */
const struct block *bt_hot_extend(struct bt_state *s, const struct block *b, gpa_t gpa,
                                  struct hot_block *room);
#endif
