/* kvm - the engine: run() hands the processor's state to KVM, serves the guest's exits, and takes
 * the state back.
 *
 * The interrupt controllers are ours, so KVM is told of one interrupt at a time, when the guest can
 * take it (KVM_INTERRUPT), or asked to say when it could (the interrupt window). A budget is kept
 * by single-stepping, the only way to count instructions; without one the guest runs freely and
 * stats.insns does not move. While stepped, a guest does not see single-step traps of its own. */
#include "engine/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cpu/breakpoint.h"
#include "cpu/env.h"
#include "cpu/exc.h"
#include "engine/common/native.h"
#include "engine/common/outer.h"
#include "engine/kvm/kvm_internal.h"

/* ---- life ------------------------------------------------------------------------------------ */

/* A processor KVM does not know yet. */
static int create_fd(struct kvm_vm *vm, const struct vcpu *v, struct err *e)
{
    struct kvm_cpuids *c = calloc(1, sizeof *c);
    if (!c) return err_set(e, E_NOMEM, "KVM: CPUID");
    int fd = kvm_call(vm->fd, KVM_CREATE_VCPU, (void *)(uintptr_t)v->id, "KVM_CREATE_VCPU", e);
    int rc = fd;
    kvm_cpuid_build(v, vm->supported, c);
    if (rc >= 0) rc = kvm_call(fd, KVM_SET_CPUID2, c, "KVM_SET_CPUID2", e);
    free(c);
    if (rc >= 0) rc = kvm_msr_weaknesses(vm, fd, e);
    if (rc >= 0) vm->cpu_fd[v->id] = fd;
    else if (fd >= 0) close(fd);
    return rc < 0 ? rc : 0;
}

static int set_up(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_vm *vm = k->vm;
    int rc = vm->cpu_fd[v->id] < 0 ? create_fd(vm, v, e) : 0;
    if (rc < 0) return rc;
    k->fd = vm->cpu_fd[v->id];
    rc = kvm_tsc_init(k, v, e);
    if (rc < 0) return rc;
    k->xsave = aligned_alloc(PAGE_BYTES, align_up(vm->xsave_bytes, PAGE_BYTES));
    k->copy = (struct kvm_copy){.held = PART_ALL, .xsave = malloc(vm->xsave_bytes)};
    if (!k->xsave || !k->copy.xsave) return err_set(e, E_NOMEM, "KVM: XSAVE area");
    k->run = mmap(NULL, vm->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, k->fd, 0);
    if (k->run == MAP_FAILED) {
        k->run = NULL;
        return err_errno(e, "KVM: mmap of a processor");
    }
    k->run->kvm_valid_regs = k->run->kvm_dirty_regs = 0;
    rc = kvm_kick_setup(e);
    return rc < 0 ? rc : native_init(v, e); /* for step.c */
}

static void destroy(struct kvm_cpu *k, struct vcpu *v)
{
    if (v->native_state) native_fini(v);
    if (k->run) munmap(k->run, k->vm->run_bytes);
    kvm_vm_put(k->vm);
    free(k->copy.xsave);
    free(k->xsave);
    free(k);
}

static void engine_kick(struct vcpu *v)
{
    struct kvm_cpu *k = kvm_of(v);
    if (k) kvm_kick_thread(k->run, atomic_load(&k->entered) ? atomic_load(&k->tid) : 0);
}

static int engine_init(struct vcpu *v, struct err *e)
{
    ASSERT(v->id < VCPUS_MAX, "vCPU id %u", v->id);
    struct kvm_cpu *k = calloc(1, sizeof *k);
    if (!k) return err_set(e, E_NOMEM, "KVM");
    int rc = kvm_vm_get(&k->vm, v->mem, e);
    if (rc < 0) {
        free(k);
        return rc;
    }
    rc = set_up(k, v, e);
    if (rc < 0) {
        destroy(k, v);
        return rc;
    }
    v->engine_state = k;
    v->kick = engine_kick;
    return 0;
}

static void engine_fini(struct vcpu *v)
{
    if (!v->engine_state) return;
    destroy(kvm_of(v), v);
    v->engine_state = NULL;
    v->kick = NULL;
}

/* ---- events into the guest ------------------------------------------------------------------- */

/* With *v in our hands: let cpu/exc.c do what is due, then it is where an interpreter would be. */
static void poll_events(struct vcpu *v)
{
    mmu_enter_guest(v);
    v->mmu->flush_all(v); /* KVM's guest told no software TLB what it changed */
    exc_poll(v);
    mmu_leave_guest(v);
}

static int inject_nmi(struct kvm_cpu *k, struct vcpu *v)
{
    if (!(atomic_load(&v->posted) & POST_NMI)) return 0;
    atomic_fetch_and(&v->posted, ~(u32)POST_NMI);
    return kvm_call(k->fd, KVM_NMI, NULL, "KVM_NMI", &k->why);
}

static int inject_interrupt(struct kvm_cpu *k, struct vcpu *v)
{
    if (!k->interruptible || !atomic_load(&v->intr_line)) return 0;
    int vector = v->env->intr_ack(v->env->ctx, v);
    if (vector < 0 || vector > 0xFF) return 0;
    struct kvm_interrupt irq = {.irq = (u32)vector};
    k->interruptible = false;
    v->stats.interrupts++;
    TRACE(&v->trace, IRQ, (u64)vector, EV_EXTINT, 0);
    return kvm_call(k->fd, KVM_INTERRUPT, &irq, "KVM_INTERRUPT", &k->why);
}

static int inject(struct kvm_cpu *k, struct vcpu *v)
{
    int rc = inject_nmi(k, v);
    if (rc >= 0) rc = inject_interrupt(k, v);
    k->run->request_interrupt_window = atomic_load(&v->intr_line);
    if (k->cr8_stale && v->env->cr8_get) k->run->cr8 = v->env->cr8_get(v->env->ctx, v);
    k->cr8_stale = false;
    return rc;
}

/* ---- one entry ------------------------------------------------------------------------------- */

/* KVM_RUN once, and what it came back for. */
static enum kvm_next enter(struct kvm_cpu *k, struct vcpu *v)
{
    u64 cr8 = k->run->cr8;
    int rc = ioctl(k->fd, KVM_RUN, NULL);
    int error = errno;
    k->io_open = false; /* KVM has taken what we gave it */
    kvm_state_ran(k);
    k->interruptible = k->run->ready_for_interrupt_injection;
    if (k->run->cr8 != cr8 && v->env->cr8_set) v->env->cr8_set(v->env->ctx, v, (u8)k->run->cr8);
    if (rc == 0) return kvm_exit_handle(k, v);
    if (error == EINTR || error == EAGAIN) return KVM_NEXT_RUN;
    errno = error;
    (void)err_errno(&k->why, "KVM: KVM_RUN");
    return KVM_NEXT_FAIL;
}

/* Finish the instruction whose I/O was just done, so that the guest is between instructions. */
static enum kvm_next settle(struct kvm_cpu *k, struct vcpu *v)
{
    enum kvm_next next = KVM_NEXT_RUN;
    while (k->io_open && next == KVM_NEXT_RUN) {
        __atomic_store_n(&k->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
        next = enter(k, v);
    }
    return next;
}

/* ---- run ------------------------------------------------------------------------------------- */

static void nothing_cached(struct vcpu *v, gpa_t start, gpa_t end)
{
    (void)v, (void)start, (void)end;
}
static const struct outer_ops ops = {.code_changed = nothing_cached};

/* Must run() return RUN_KICKED? */
static bool must_stop(struct vcpu *v)
{
    u32 urgent = atomic_load(&v->attention) & ~(u32)ATT_STEP;
    if (likely(!urgent && !(atomic_load(&v->posted) & (POST_INIT | POST_SIPI)))) return false;
    return outer_attention(v, &ops);
}

static int give_state(struct kvm_cpu *k, struct vcpu *v)
{
    k->interruptible = exc_interruptible(v);
    k->cr8_stale = true;
    k->pc = vcpu_linear_rip(v);
    int rc = kvm_state_load(k, v, &k->why);
    return rc < 0 ? rc : kvm_tsc_load(k, v, &k->why);
}

/* Everything back into *v, and an event KVM had begun to deliver delivered. */
static int take_state(struct kvm_cpu *k, struct vcpu *v)
{
    int rc = kvm_state_store(k, v, PART_ALL, &k->why);
    kvm_tsc_store(k, v);
    if (rc < 0 || k->unfinished.kind == EV_NONE) return rc;
    mmu_enter_guest(v);
    exc_deliver(v, &k->unfinished);
    mmu_leave_guest(v);
    return 0;
}

/* Interrupts, and what a debugger wants of the next instruction. @bounded: there is a budget. */
static int prepare(struct kvm_cpu *k, struct vcpu *v, bool bounded)
{
    int rc = kvm_debug_set(k, v, bounded || kvm_debug_needs_step(v));
    return rc < 0 ? rc : inject(k, v);
}

/* Run until something but plain service is wanted. *stop: leave for attention or budget. */
static enum kvm_next serve(struct kvm_cpu *k, struct vcpu *v, u64 end, enum run_exit *stop)
{
    enum kvm_next next = KVM_NEXT_RUN;
    while (next == KVM_NEXT_RUN) {
        __atomic_store_n(&k->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
        *stop = must_stop(v) ? RUN_KICKED : RUN_BUDGET;
        if (*stop == RUN_KICKED || v->stats.insns >= end) break;
        if (prepare(k, v, end != ~0ull) < 0) return KVM_NEXT_FAIL;
        next = enter(k, v);
        if (k->tsc_offset != v->tsc_offset && kvm_tsc_load(k, v, &k->why) < 0) return KVM_NEXT_FAIL;
    }
    if (next != KVM_NEXT_RUN) return next;
    next = settle(k, v);
    return next;
}

static enum run_exit failed(struct kvm_cpu *k, struct vcpu *v)
{
    struct err was = k->why;
    bool known = kvm_state_store(k, v, PART_ALL, &k->why) == 0;
    k->why = was;
    if (known) kvm_fail_describe(k, v);
    return RUN_FAILED;
}

/* What remains to be said when KVM has run and *v is complete. */
static enum run_exit after(struct vcpu *v, enum kvm_next next, enum run_exit stop)
{
    if (v->run_state == VCPU_SHUTDOWN || next == KVM_NEXT_SHUTDOWN) {
        v->run_state = VCPU_SHUTDOWN;
        return RUN_SHUTDOWN;
    }
    if (next == KVM_NEXT_RUN) return stop;
    if (next == KVM_NEXT_BREAK) return RUN_BREAK;
    v->run_state = VCPU_HALTED;
    poll_events(v);
    return v->run_state == VCPU_HALTED ? RUN_HALTED : RUN_BUDGET;
}

/* From *v to *v: RUN_BUDGET also when the guest woke from HLT at once. */
static enum run_exit run_once(struct kvm_cpu *k, struct vcpu *v, u64 end)
{
    enum run_exit stop = RUN_KICKED;
    if (give_state(k, v) < 0) return RUN_FAILED;
    enum kvm_next next = serve(k, v, end, &stop);
    if (next == KVM_NEXT_FAIL || take_state(k, v) < 0) return failed(k, v);
    return after(v, next, stop);
}

static enum run_exit run_to(struct kvm_cpu *k, struct vcpu *v, u64 end)
{
    vcpu_break_begin(v);
    if (v->run_state == VCPU_HALTED || v->pending_dbg) {
        if (must_stop(v)) return RUN_KICKED;
        poll_events(v);
        if (v->run_state == VCPU_HALTED) return RUN_HALTED;
        if (v->run_state == VCPU_SHUTDOWN) return RUN_SHUTDOWN;
    }
    if (kvm_vm_map(k->vm, &k->why) < 0) return RUN_FAILED;
    enum run_exit why;
    do why = run_once(k, v, end);
    while (why == RUN_BUDGET && v->stats.insns < end);
    return why;
}

static void count_running(struct kvm_vm *vm, u32 change)
{
    pthread_mutex_lock(&vm->lock);
    vm->running += change;
    pthread_mutex_unlock(&vm->lock);
}

static enum run_exit engine_run(struct vcpu *v, u64 budget)
{
    struct kvm_cpu *k = kvm_of(v);
    sigset_t old;
    k->why = (struct err){0};
    atomic_store(&k->tid, gettid());
    kvm_kick_allow(&old);
    atomic_store(&k->entered, true);
    count_running(k->vm, 1);
    enum run_exit why = run_to(k, v, budget ? v->stats.insns + budget : ~0ull);
    count_running(k->vm, ~0u);
    atomic_store(&k->entered, false);
    kvm_kick_forbid(&old);
    return why;
}

static void engine_invalidate(struct vcpu *v, gpa_t start, gpa_t end)
{
    (void)v, (void)start, (void)end; /* the processor sees its own and others' writes */
}

static const struct err *engine_failure(const struct vcpu *v) { return &kvm_of(v)->why; }

const struct engine engine_kvm = {
    .name = "kvm",
    .probe = kvm_probe,
    .prefer = kvm_prefer,
    .fit = kvm_fit,
    .init = engine_init,
    .fini = engine_fini,
    .run = engine_run,
    .invalidate = engine_invalidate,
    .kick = engine_kick,
    .failure = engine_failure,
};
