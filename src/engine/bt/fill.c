/* fill.c - missing entries without host faults. A host fault costs about 2 us. So a site that found
 * its entry missing several times in a short time gets a test of the entry (trans_mem.c:
 * tr_lookup_read), and its block is translated anew, in place of the old one. When the test fails
 * the code comes here on the host stack (fill.S), with vector state saved, and starts its
 * instruction again. */
#include "cpu/env.h"
#include "engine/bt/bt_state.h"
#include "engine/bt/enter.h"
#include "engine/bt/jump_cache.h"
#include "engine/common/block_run.h"
#include "mem/mem.h"

s64 bt_fill_inside(struct vcpu *v, gva_t gva, u32 kind, u64 pc);

/* ---- the test failed ------------------------------------------------------------------------- */

/* Does the code's test of the entry for @gva pass now? */
static bool passes(const struct bt_state *s, gva_t gva, enum access kind)
{
    const u64 host = gva + bt_table_entry(s->v, gva);
    return !(u8)(host >> (kind == ACC_WRITE && s->bt.write_bit ? 46 : 47));
}

/**
 * bt_fill_inside - fill the entry of @gva for @kind; @pc is where the instruction starts again.
 * Returns -1 to do that, or the instruction's place: leave it to the interpreter.
 */
s64 bt_fill_inside(struct vcpu *v, gva_t gva, u32 kind, u64 pc)
{
    struct bt_state *s = state_of(v);
    struct walk w;
    v->stats.bt_misses++;
    /* what fill.S calls to get back what it has saved; vector registers may have been loaded since
     * translated code was entered */
    v->eng.vec_load = v->eng.vec_save == (void *)bt_vec_keep ? (void *)bt_vec_keep : s->vec_load;
    if (bt_table_fill(s->tables, v, gva, kind) == FILL_DONE && passes(s, gva, kind)) return -1;
    const struct bt_slot *slot = code_at(&s->code, pc);
    const u16 off = code_mark_of(&s->code, slot, pc)->guest_off;
    if (mmu_walk(v, gva, kind, WALK_PEEK, &w) == 0 &&
        !(mem_page_trace(v->mem, w.gpa) & MEM_TRACE_CODE))
        bt_slow_site(s, slot, off, pc);
    return bt_place(slot->page, off);
}

/* ---- which sites ----------------------------------------------------------------------------- */

/* Count a miss at @pc; true when there have been enough in a short time. */
static bool is_often(struct bt_state *s, u64 pc)
{
    const struct cpu_env *env = s->v->env;
    struct miss_site *site = &s->sites.miss[(pc ^ pc >> 10) % MISS_SITES];
    const bool first = site->pc != pc, last = !first && site->count + 1 >= MISSES_MAX;
    if (!first) site->count++;
    if (!first && !last) return false;
    const u64 now_ns = env->clock_ns ? env->clock_ns(env->ctx) : 0; /* tests may have no clock */
    const bool often = last && now_ns - site->since_ns <= MISSES_NS;
    *site = (struct miss_site){often ? 0 : pc, 1, now_ns};
    return often;
}

bool bt_miss(struct bt_state *s, const struct bt_slot *slot, u16 off, u64 pc)
{
    if (slot->b.guest_end > PAGE_BYTES || !is_often(s, pc)) return false;
    struct bt_page *p = code_page(&s->code, slot->page_gpa, slot->variant, false);
    if (!p) return false;
    struct bt_hints *h = code_hints_make(&s->code, p);
    if (!bt_hint(h->tested, off)) {
        bt_hint_set(h->tested, off);
        h->tests++;
    }
    if (slot->tests == h->tests) return false; /* it has all the tests there are */
    s->sites.renew = slot;
    s->sites.renew_rip = bt_base_of(s, slot->page) + slot->b.guest_off;
    s->sites.renew_ctx = s->v->tlb.ctx;
    s->sites.renew_flushes = s->code.flushes;
    return true;
}

void bt_renew(struct bt_state *s)
{
    struct vcpu *v = s->v;
    const struct bt_slot *old = s->sites.renew;
    const u64 rip = v->rip;
    gpa_t gpa;
    s->sites.renew = NULL;
    if (s->sites.renew_flushes != s->code.flushes || old->dropped ||
        s->sites.renew_ctx != v->tlb.ctx || old->variant != bt_variant_of(s))
        return;
    v->rip = s->sites.renew_rip;
    const struct block *b = block_pass(&s->decoded, v, &gpa);
    if (b && gpa == old->page_gpa + old->b.guest_off) {
        const struct bt_slot *by = bt_translate_at(s, b, gpa);
        if (s->code.flushes == s->sites.renew_flushes) code_replace(&s->code, old, by);
    }
    v->rip = rip;
}
