/* engine/common/outer.h - the outer loop every software engine has: between two runs of guest code,
 * everything asynchronous. Inlined into each engine with its own constant ops, so that the calls
 * are direct. */
#ifndef ENGINE_COMMON_OUTER_H
#define ENGINE_COMMON_OUTER_H
#include "base/check.h"
#include "cpu/breakpoint.h"
#include "cpu/engine.h"
#include "cpu/exc.h"
#include "mmu/mmu.h"

struct outer_ops {
    /* Execute some guest code: at least one instruction or event. X_JUMP, X_AGAIN, X_HALT or
     * X_SHUTDOWN. */
    enum x_result (*run)(struct vcpu *v);
    /* As run, but exactly one instruction: ATT_STEP is set. */
    enum x_result (*step)(struct vcpu *v);
    /* Forget code decoded or translated from guest-physical [start, end). */
    void (*code_changed)(struct vcpu *v, gpa_t start, gpa_t end);
};

/* Take what others asked for. True: run() has to return RUN_KICKED. */
static inline bool outer_attention(struct vcpu *v, const struct outer_ops *ops)
{
    u32 a = atomic_load(&v->attention);
    struct code_change c;
    if (a & ATT_FLUSH) mmu_service(v);
    while (a & ATT_CODE && mmu_code_changed_take(v, &c)) {
        ops->code_changed(v, c.start, c.end);
        v->stats.code_invalidations++;
    }
    if (a & ATT_KICK) atomic_fetch_and(&v->attention, ~(u32)ATT_KICK);
    return a & ATT_STOP || atomic_load(&v->posted) & (POST_INIT | POST_SIPI);
}

/* Interrupts and traps due at this boundary; then some code, or one step. */
static inline enum x_result outer_some(struct vcpu *v, const struct outer_ops *ops)
{
    u32 step = atomic_load_explicit(&v->attention, memory_order_relaxed) & ATT_STEP;
    if (unlikely(step || atomic_load(&v->posted)) ||
        (atomic_load_explicit(&v->intr_line, memory_order_acquire) && exc_interruptible(v))) {
        exc_poll(v);
        if (v->run_state == VCPU_SHUTDOWN) return X_SHUTDOWN;
        step = atomic_load_explicit(&v->attention, memory_order_relaxed) & ATT_STEP;
    }
    if (likely(!step)) return ops->run(v);
    return v->breaks.count && vcpu_break_due(v) ? X_BREAK : ops->step(v);
}

/* A result that ends run(): what run() returns. */
static inline enum run_exit outer_end(struct vcpu *v, enum x_result r)
{
    if (r == X_BREAK) return RUN_BREAK;
    ASSERT(r == X_SHUTDOWN, "result %d", r);
    v->run_state = VCPU_SHUTDOWN;
    return RUN_SHUTDOWN;
}

static inline __attribute__((always_inline)) enum run_exit outer_loop(struct vcpu *v, u64 budget,
                                                                      const struct outer_ops *ops)
{
    const u64 end = budget ? v->stats.insns + budget : ~0ull;
    vcpu_break_begin(v);
    if (v->run_state == VCPU_HALTED) {
        outer_attention(v, ops);
        exc_poll(v);
        if (v->run_state == VCPU_HALTED) return RUN_HALTED;
    }
    while (v->stats.insns < end) {
        if (unlikely(atomic_load_explicit(&v->attention, memory_order_relaxed) & ~(u32)ATT_STEP) &&
            outer_attention(v, ops))
            return RUN_KICKED;
        enum x_result r = outer_some(v, ops);
        if (likely(r == X_JUMP || r == X_AGAIN)) continue;
        if (r != X_HALT) return outer_end(v, r);
        v->run_state = VCPU_HALTED;
        exc_poll(v);
        if (v->run_state == VCPU_HALTED) return RUN_HALTED;
    }
    return RUN_BUDGET;
}
#endif
