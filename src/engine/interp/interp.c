/* interp.c - the interpreter's loop.
 *
 * Outer loop (engine/common/outer.h), once per block: everything asynchronous (kicks, interrupts,
 * flushes, changed code). Inner loop (engine/common/block_run.c), once per instruction: call its
 * exec function, advance RIP, look at one word (vcpu->attention). Anything unusual about an
 * instruction boundary (TF, debug registers, interrupt shadows) sets ATT_STEP. */
#include "engine/interp/interp.h"

#include <stdlib.h>

#include "engine/common/block_run.h"
#include "engine/common/native.h"
#include "engine/common/outer.h"
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
    int rc = cache_init(c, (struct cache_size){.sets = 1024, .insns = 320 * 1024}, e);
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

static enum x_result run(struct vcpu *v) { return block_run(cache_of(v), v); }
static enum x_result step(struct vcpu *v) { return block_run_step(cache_of(v), v); }
static const struct outer_ops ops = {.run = run, .step = step, .code_changed = interp_invalidate};

static enum run_exit interp_run(struct vcpu *v, u64 budget)
{
    mmu_enter_guest(v);
    enum run_exit why = outer_loop(v, budget, &ops);
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
