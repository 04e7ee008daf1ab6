/* interp.c - the interpreter's loop.
 *
 * Outer loop, once per block: everything asynchronous (kicks, interrupts, flushes, changed code), then find the block at RIP.
 * Inner loop, once per instruction: call its exec function, advance RIP, look at one word (vcpu->attention). Anything unusual about an
 * instruction boundary (TF, debug registers, interrupt shadows) sets ATT_STEP and goes through step_one() instead. */
#include "engine/interp/interp.h"

#include <stdlib.h>

#include "base/check.h"
#include "cpu/exc.h"
#include "cpu/seg.h"
#include "engine/common/native.h"
#include "engine/common/step.h"
#include "engine/common/cache.h"
#include "mmu/mmu.h"

static struct cache *cache_of(struct vcpu *v) { return v->engine_state; }

static int interp_probe(struct err *e)
{
    (void)e;
    return 0;
}

static int interp_init(struct vcpu *v, struct err *e)
{
    struct cache *c = malloc(sizeof *c);
    if (!c) return err_set(e, E_NOMEM, "interpreter");
    int rc = cache_init(c, e);
    if (rc < 0) goto free_cache;
    rc = native_init(v, e);
    if (rc < 0) goto fini_cache;
    v->engine_state = c;
    return 0;
fini_cache:
    cache_fini(c);
free_cache:
    free(c);
    return rc;
}

static void interp_fini(struct vcpu *v)
{
    if (!v->engine_state) return;
    native_fini(v);
    cache_fini(cache_of(v));
    free(v->engine_state);
    v->engine_state = NULL;
}

static void interp_invalidate(struct vcpu *v, gpa_t start, gpa_t end)
{
    cache_drop(cache_of(v), start, end);
}

static void interp_kick(struct vcpu *v) { (void)v; } /* attention is read after every instruction */

static void drop_changed_code(struct vcpu *v)
{
    struct code_change change;
    while (mmu_code_changed_take(v, &change)) {
        cache_drop(cache_of(v), change.start, change.end);
        v->stats.code_invalidations++;
    }
}

/* Take what others asked for. True: run() has to return RUN_KICKED. */
static bool serve_attention(struct vcpu *v)
{
    u32 a = atomic_load(&v->attention);
    if (a & ATT_FLUSH) mmu_service(v);
    if (a & ATT_CODE) drop_changed_code(v);
    if (a & ATT_KICK) atomic_fetch_and(&v->attention, ~(u32)ATT_KICK);
    return a & ATT_STOP || atomic_load(&v->posted) & (POST_INIT | POST_SIPI);
}

/* Block at RIP; NULL when the instruction there needs the precise path. */
static const struct block *find_block(struct vcpu *v)
{
    struct cache *c = cache_of(v);
    gva_t lin = v->rip;
    hva_t page;
    gpa_t page_gpa;
    if (unlikely(v->mode != ISA_64)) lin = (u32)(v->seg[CS].base + v->rip);
    else if (unlikely(!is_canonical(v, lin))) return NULL;
    if (unlikely(mmu_fetch_page(v, lin, &page, &page_gpa)) || unlikely(!page)) return NULL;
    u32 off = (u32)(lin & ~PAGE_MASK);
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
static enum x_result run_one(struct vcpu *v)
{
    gva_t lin = v->mode == ISA_64 ? v->rip : (u32)(v->seg[CS].base + v->rip);
    if (v->mode != ISA_64 || !is_canonical(v, v->rip) || (lin & ~PAGE_MASK) + INSN_BYTES_MAX <= PAGE_BYTES)
        return step_one(v);
    const struct insn *i = cache_crosser(cache_of(v), v, lin);
    if (!i) return exc_deliver(v, &v->exc);
    enum x_result r = i->exec(v, i);
    v->stats.insns += r != X_FAULT && r != X_AGAIN;
    return step_finish(v, i, r);
}

/* Interrupts and traps due at this boundary; then one block or one step. */
static enum x_result run_some(struct vcpu *v)
{
    u32 step = atomic_load_explicit(&v->attention, memory_order_relaxed) & ATT_STEP;
    if (unlikely(step || atomic_load(&v->posted)) ||
        (atomic_load_explicit(&v->intr_line, memory_order_acquire) && exc_interruptible(v))) {
        exc_poll(v);
        if (v->run_state == VCPU_SHUTDOWN) return X_SHUTDOWN;
        step = atomic_load_explicit(&v->attention, memory_order_relaxed) & ATT_STEP;
    }
    if (unlikely(step)) return step_one(v);
    const struct block *b = find_block(v);
    v->stats.blocks++;
    return likely(b != NULL) ? run_block(v, b) : run_one(v);
}

static enum run_exit run_loop(struct vcpu *v, u64 budget)
{
    const u64 end = budget ? v->stats.insns + budget : ~0ull;
    if (v->run_state == VCPU_HALTED) {
        serve_attention(v);
        exc_poll(v);
        if (v->run_state == VCPU_HALTED) return RUN_HALTED;
    }
    while (v->stats.insns < end) {
        if (unlikely(atomic_load_explicit(&v->attention, memory_order_relaxed) & ~(u32)ATT_STEP) &&
            serve_attention(v))
            return RUN_KICKED;
        enum x_result r = run_some(v);
        if (likely(r == X_JUMP || r == X_AGAIN)) continue;
        if (r == X_SHUTDOWN) {
            v->run_state = VCPU_SHUTDOWN;
            return RUN_SHUTDOWN;
        }
        ASSERT(r == X_HALT, "result %d", r);
        v->run_state = VCPU_HALTED;
        exc_poll(v);
        if (v->run_state == VCPU_HALTED) return RUN_HALTED;
    }
    return RUN_BUDGET;
}

static enum run_exit interp_run(struct vcpu *v, u64 budget)
{
    mmu_enter_guest(v);
    enum run_exit why = run_loop(v, budget);
    mmu_leave_guest(v);
    return why;
}

const struct engine engine_interp = {
    .name = "interp",
    .probe = interp_probe,
    .init = interp_init,
    .fini = interp_fini,
    .run = interp_run,
    .invalidate = interp_invalidate,
    .kick = interp_kick,
};
