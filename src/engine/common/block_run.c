/* block_run.c - see block_run.h. */
#include "engine/common/block_run.h"

#include "cpu/exc.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"
#include "engine/common/step.h"
#include "mmu/mmu.h"

/* Where the code at RIP is: its bytes to the end of the page, and *gpa. NULL when the instruction
 * there needs the precise path. */
static const u8 *code_here(struct vcpu *v, gpa_t *gpa)
{
    const gva_t lin = vcpu_linear_rip(v);
    hva_t page;
    gpa_t page_gpa;
    if (likely(v->mode == ISA_64) && unlikely(!is_canonical(v, lin))) return NULL;
    if (unlikely(mmu_fetch_page(v, lin, &page, &page_gpa)) || unlikely(!page)) return NULL;
    const u32 off = (u32)(lin & ~PAGE_MASK);
    *gpa = page_gpa + off;
    return page + off;
}
/* @b, decoded at RIP, if all of it is in the code segment. */
static const struct block *within_limit(const struct vcpu *v, const struct block *b)
{
    if (b && unlikely(v->mode != ISA_64) && v->rip + b->bytes - 1 > v->seg[CS].limit) return NULL;
    return b;
}

const struct block *block_find(struct cache *c, struct vcpu *v, gpa_t *gpa)
{
    const u8 *code = code_here(v, gpa);
    if (unlikely(!code)) return NULL;
    const struct block *b = cache_find(c, v, *gpa);
    if (unlikely(!b)) b = cache_build(c, v, *gpa, code);
    return within_limit(v, b);
}

const struct block *block_pass(struct cache *c, struct vcpu *v, gpa_t *gpa)
{
    const u8 *code = code_here(v, gpa);
    return code ? within_limit(v, cache_pass(c, v, *gpa, code)) : NULL;
}

const struct block *block_single(struct cache *c, struct vcpu *v)
{
    gpa_t gpa;
    const u8 *code = code_here(v, &gpa);
    return likely(code != NULL) ? within_limit(v, cache_single(c, v, gpa, code)) : NULL;
}

static u64 rip_mask(const struct vcpu *v) { return v->mode == ISA_64 ? ~0ull : 0xFFFFFFFFull; }
static bool wanted_elsewhere(const struct vcpu *v)
{
    return unlikely(atomic_load_explicit(&v->attention, memory_order_relaxed));
}

/* Execute the block until something leaves it. */
static enum x_result run_block(struct vcpu *v, const struct block *b)
{
    const struct insn *i = b->first, *end = i + b->count;
    const u64 mask = rip_mask(v);
    enum x_result r;
    do {
        r = i->exec(v, i);
        if (unlikely(r != X_NEXT)) {
            v->stats.insns += (u64)(i - b->first) + (r != X_FAULT && r != X_AGAIN);
            return r == X_JUMP ? r : step_finish(v, i, r);
        }
        v->rip = (v->rip + i->len) & mask;
        i++;
    } while (i < end && !wanted_elsewhere(v));
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

/* Each is decoded when it is about to be executed: most blocks are left before their end. */
enum x_result block_run_once(struct cache *c, struct vcpu *v)
{
    gpa_t gpa;
    const u8 *code = code_here(v, &gpa);
    const u32 room = code ? PAGE_BYTES - (u32)(gpa & (PAGE_BYTES - 1)) : 0;
    for (u32 n = 0, at = 0; n < BLOCK_INSNS && at < room; n++) {
        const struct insn *i = cache_once(c, v, code + at, room - at);
        if (i && unlikely(v->mode != ISA_64) && v->rip + i->len - 1 > v->seg[CS].limit) i = NULL;
        if (!i) return n ? X_JUMP : run_one(c, v);
        const enum x_result r = i->exec(v, i);
        v->stats.insns += r != X_FAULT && r != X_AGAIN;
        if (r != X_NEXT) return r == X_JUMP ? r : step_finish(v, i, r);
        v->rip = (v->rip + i->len) & rip_mask(v);
        at += i->len;
        if (cache_ends_block(i) || wanted_elsewhere(v)) return X_JUMP;
    }
    return room ? X_JUMP : run_one(c, v);
}

enum x_result block_run_first(struct cache *c, struct vcpu *v)
{
    const struct block *b = block_single(c, v);
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
