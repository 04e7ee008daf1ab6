/* jump_cache.h - which jump table translated code uses, and what is in them. An entry, and a slot
 * (far.h), holds as long as the translation of its address; the tables follow the vCPU's MMU.
 * Owner: the vCPU's thread, outside of translated code. */
#ifndef ENGINE_BT_JUMP_CACHE_H
#define ENGINE_BT_JUMP_CACHE_H
#include "engine/bt/bt_state.h"

/** jump_init - nothing is in any table yet. Errors: E_NOMEM, and jump_fini cleans up then, too. */
int jump_init(struct bt_state *s, struct err *e) MUST_USE;
void jump_fini(struct bt_state *s);
/** jump_observe - follow the MMU, until mmu_unobserve(s->observer). */
void jump_observe(struct bt_state *s);
/** jump_clear_all - forget every target. */
void jump_clear_all(struct bt_state *s);
/** jump_forget_blocks - the same after code_drop_all. */
void jump_forget_blocks(struct bt_state *s);
/** jump_clear_slots - the slots of the tables in use lead to their misses again. */
void jump_clear_slots(struct bt_state *s);
/** jump_note_evictions - a page of the code cache may have become another's just now. */
void jump_note_evictions(struct bt_state *s);
/** jump_take_slots - @slot was just made at @out: the slots it uses are taken. */
void jump_take_slots(struct bt_state *s, const struct bt_out *out, const struct bt_slot *slot);
/** jump_current - the one for code of the present mode and variant, in use from now on. */
struct jump_table *jump_current(struct bt_state *s);
/** jump_add - remember in @j that the code at v->rip is @slot. */
void jump_add(struct bt_state *s, struct jump_table *j, const struct bt_slot *slot);
/* Linear address of the page that the block of @page, being executed, is in. */
static inline gva_t bt_base_of(const struct bt_state *s, u32 page)
{
    if (unlikely(s->far.page[page].moves > FAR_MOVES_MAX)) return s->v->eng.code_base;
    return jump_of(s->v, s->variant)->base[page];
}
/* What an exit says (bt_place) to v->eng.code_base; returns the offset. */
static inline u32 bt_note_place(const struct bt_state *s, u64 place)
{
    s->v->eng.code_base = bt_base_of(s, (u32)place >> PAGE_SHIFT);
    return (u32)place & (PAGE_BYTES - 1);
}
#endif
