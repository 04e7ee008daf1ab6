/* quick.c - the way from a missed jump cache entry to a block that exists, without leaving
 * translated code for good. Runs on the host stack with the guest's vector registers live and
 * RFLAGS.AC set: this file is compiled for general registers only (Makefile), calls nothing, and
 * accesses aligned data only. */
#include "cpu/access.h"
#include "cpu/seg.h"
#include "engine/bt/bt_state.h"
#include "engine/bt/code_index.h"

const u8 *bt_quick(struct vcpu *v, u64 address);
const u8 *bt_quick_jump(struct vcpu *v, u64 address);

static struct jump_table *table_of(const struct vcpu *v)
{
    return jump_of(v, ((const struct bt_state *)v->engine_state)->variant);
}

/* The block at linear @address; NULL when it takes more: no fast translation of the address, a page
 * not executed from before, or from elsewhere, an instruction that may cross a page, no block yet.
 */
static const struct bt_slot *find(struct vcpu *v, u64 address)
{
    struct bt_state *s = v->engine_state;
    const u64 n = (address >> PAGE_SHIFT) & (TLB_ENTRIES - 1);
    const u32 off = (u32)(address & ~PAGE_MASK);
    if (jump_may_cross(address)) return NULL;
    if (!tlb_holds(&v->tlb, address, ACC_EXEC, (address & PAGE_MASK) | v->tlb.ctx)) return NULL;
    const u64 page = v->tlb.exec_page[n];
    if (!jump_is_noted(s, address, page)) return NULL;
    if (!target_pages_has(&table_of(v)->pages, address, page & PAGE_MASK)) return NULL;
    const gpa_t gpa = (page & PAGE_MASK) + off;
    const struct bt_slot *slot = code_find(&s->code, gpa, s->variant);
    return slot && far_settle(&s->far, table_of(v), slot, address) ? slot : NULL;
}

/* A target that was found before, and is no block that was dropped: over the entry of those lies a
 * jump (code.h). */
static const u8 *find_again(const struct bt_state *s, u64 address)
{
    enum { JMP = 0xE9 };
    const u8 *code = targets_find(&s->targets, table_of(s->v)->mark, address);
    return code && *code != JMP ? code : NULL;
}

/* Host code for linear @address, or NULL. */
static const u8 *find_code(struct vcpu *v, u64 address)
{
    struct bt_state *s = v->engine_state;
    if (s->lockstep || !is_canonical(v, address) || target_sign_extended(address) != address)
        return NULL;
    const u8 *known = find_again(s, address);
    if (known) return known;
    const struct bt_slot *slot = find(v, address);
    if (!slot) return NULL;
    const u8 *code = code_far(&s->code, slot);
    targets_add(&s->targets, table_of(v)->mark, address, code);
    return code;
}

/** bt_quick - host code for linear @address, entered into the jump cache; NULL when it takes more.
 */
const u8 *bt_quick(struct vcpu *v, u64 address)
{
    struct jump_table *jumps = table_of(v);
    const u32 n = jump_index(address);
    const u8 *code = find_code(v, address);
    if (!code) return NULL;
    v->stats.bt_jump_misses++;
    jumps->minus_address[n] = 0 - address;
    jumps->code[n] = code;
    return code;
}

/** bt_quick_jump - the same for a jump that comes to the lookup: one with a slot fills that; one
 * that the table would have brought there came by a slot, and by a block that was dropped. */
const u8 *bt_quick_jump(struct vcpu *v, u64 address)
{
    struct bt_state *s = v->engine_state;
    struct jump_table *jumps = table_of(v);
    const u32 by = (u32)v->eng.exit_site & ~SITE_SLOT, n = jump_index(address);
    if (!((u32)v->eng.exit_site & SITE_SLOT) || !by) {
        const u8 *known = jumps->minus_address[n] == 0 - address ? jumps->code[n] : NULL;
        const u8 *code = bt_quick(v, address);
        s->far.stale += code && code == known;
        return code && s->far.stale > FAR_STALE_MAX ? NULL : code;
    }
    const u8 *code = find_code(v, address);
    if (!code) return NULL;
    const struct far_place to = {address, code};
    v->stats.bt_far_jumps++;
    if (!jump_may_cross(address)) /* a slot knows the page of its first byte only */
        far_fill(&s->far, jumps, by, to);
    return code;
}
