/* quick.c - the way from a missed jump cache entry to a block that exists, without leaving
 * translated code for good. Runs on the host stack with the guest's vector registers live and
 * RFLAGS.AC set: this file is compiled for general registers only (Makefile), calls nothing, and
 * accesses aligned data only. */
#include "cpu/access.h"
#include "cpu/seg.h"
#include "engine/bt/bt_state.h"

const u8 *bt_quick(struct vcpu *v, u64 address);

/**
 * bt_quick - host code for linear @address, entered into the jump cache; NULL when it takes more:
 * no fast translation of the address, a page not executed from before, an instruction that may
 * cross a page, no block yet.
 */
const u8 *bt_quick(struct vcpu *v, u64 address)
{
    struct bt_state *s = v->engine_state;
    const u64 n = (address >> PAGE_SHIFT) & (TLB_ENTRIES - 1);
    const u32 off = (u32)(address & ~PAGE_MASK);
    if (!is_canonical(v, address) || off + INSN_BYTES_MAX > PAGE_BYTES || s->lockstep) return NULL;
    if (!tlb_holds(&v->tlb, address, ACC_EXEC, (address & PAGE_MASK) | v->tlb.ctx)) return NULL;
    const u64 page = v->tlb.exec_page[n];
    if (!jump_is_noted(s, address, page)) return NULL;
    const gpa_t gpa = (page & PAGE_MASK) + off;
    const struct bt_slot *slot = code_find(&s->code, gpa, s->variant);
    if (!slot) return NULL;
    struct jump_table *jumps = (struct jump_table *)(uintptr_t)v->eng.jump_cache;
    const u8 *code = code_far(&s->code, slot);
    v->stats.bt_jump_misses++;
    jumps->minus_address[jump_index(address)] = 0 - address;
    jumps->code[jump_index(address)] = code;
    return code;
}
