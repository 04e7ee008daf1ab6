/* block_run.c - see block_run.h. */
#include "engine/common/block_run.h"

#include "cpu/exc.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"
#include "engine/common/step.h"
#include "mmu/mmu.h"

/* Block at RIP; NULL when the instruction there needs the precise path. */
const struct block *block_find(struct cache *c, struct vcpu *v, gpa_t *gpa)
{
    const gva_t lin = vcpu_linear_rip(v);
    hva_t page;
    gpa_t page_gpa;
    if (likely(v->mode == ISA_64) && unlikely(!is_canonical(v, lin))) return NULL;
    if (unlikely(mmu_fetch_page(v, lin, &page, &page_gpa)) || unlikely(!page)) return NULL;
    u32 off = (u32)(lin & ~PAGE_MASK);
    *gpa = page_gpa + off;
    const struct block *b = cache_find(c, v, page_gpa + off);
    if (unlikely(!b)) b = cache_build(c, v, page_gpa + off, page + off);
    if (b && unlikely(v->mode != ISA_64) && v->rip + b->bytes - 1 > v->seg[CS].limit) return NULL;
    return b;
}

/* Execute the block until something leaves it. */
static enum x_result run_block(struct vcpu *v, const struct block *b)
{
    const struct insn *i = b->first, *end = i + b->count;
    const u64 rip_mask = v->mode == ISA_64 ? ~0ull : 0xFFFFFFFFull;
    enum x_result r;
    do {
        r = i->exec(v, i);
        if (unlikely(r != X_NEXT)) {
            v->stats.insns += (u64)(i - b->first) + (r != X_FAULT && r != X_AGAIN);
            return r == X_JUMP ? r : step_finish(v, i, r);
        }
        v->rip = (v->rip + i->len) & rip_mask;
        i++;
    } while (i < end && likely(!atomic_load_explicit(&v->attention, memory_order_relaxed)));
    v->stats.insns += (u64)(i - b->first);
    return X_JUMP;
}

/* An instruction across two pages, or one that cannot be fetched or decoded. */
static enum x_result run_one(struct cache *c, struct vcpu *v)
{
    gva_t lin = vcpu_linear_rip(v);
    if (v->mode != ISA_64 || !is_canonical(v, v->rip) ||
        (lin & ~PAGE_MASK) + INSN_BYTES_MAX <= PAGE_BYTES)
        return step_one(v);
    const struct insn *i = cache_crosser(c, v, lin);
    if (!i) return exc_deliver(v, &v->exc);
    enum x_result r = i->exec(v, i);
    v->stats.insns += r != X_FAULT && r != X_AGAIN;
    return step_finish(v, i, r);
}

enum x_result block_run(struct cache *c, struct vcpu *v)
{
    gpa_t gpa;
    const struct block *b = block_find(c, v, &gpa);
    v->stats.blocks++;
    return likely(b != NULL) ? run_block(v, b) : run_one(c, v);
}

enum x_result block_run_first(struct cache *c, struct vcpu *v)
{
    gpa_t gpa;
    const struct block *b = block_find(c, v, &gpa);
    return likely(b != NULL) ? block_exec_first(v, b) : run_one(c, v);
}

enum x_result block_exec_first(struct vcpu *v, const struct block *b)
{
    enum x_result r = b->first->exec(v, b->first);
    v->stats.insns += r != X_FAULT && r != X_AGAIN;
    return r == X_JUMP ? r : step_finish(v, b->first, r);
}

/* Is an interrupt shadow the only reason for going one at a time? */
static bool only_shadow(const struct vcpu *v)
{
    return v->shadow && !(v->rflags & (RFLAGS_TF | RFLAGS_RF)) && !(v->dr7 & 0xFF) &&
           !v->pending_dbg;
}

enum x_result block_run_step(struct cache *c, struct vcpu *v)
{
    if (!only_shadow(v)) return step_one(v);
    u8 shadow = v->shadow;
    enum x_result r = block_run_first(c, v);
    if (r != X_AGAIN) v->shadow &= (u8)~shadow; /* a second one in a row gives no second shadow */
    vcpu_update_step(v);
    return r;
}
