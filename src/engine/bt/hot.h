/* engine/bt/hot.h - blocks that run often are translated again, with more effort. Owner: the
 * vCPU's thread, outside of translated code. */
#ifndef ENGINE_BT_HOT_H
#define ENGINE_BT_HOT_H
#include "engine/common/cache.h"

struct bt_state;
struct bt_page;

/* A decoded block made longer: see hot_extend. */
struct hot_block {
    struct block b;
    struct insn insn[2 * BLOCK_INSNS];
};

/** bt_hot_found - the block at v->rip, at @place, was about to run when the vCPU was interrupted.
 * After some times it, and what follows it in its loop, is translated anew. */
void bt_hot_found(struct bt_state *s, u32 place);
/** bt_hot_extend - what to translate where @b, at v->rip and @gpa, was found: @b itself, or, where
 * hints say that it runs often, a longer one in @room: with the instructions behind it, or, when it
 * is a short loop, a few turns of that (bt_translate). */
const struct block *bt_hot_extend(struct bt_state *s, const struct block *b, gpa_t gpa,
                                  struct hot_block *room);
#endif
