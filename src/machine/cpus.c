/* cpus.c - the vCPU threads: run, sleep in HLT, park, INIT and SIPI. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "machine/machine.h"

/* ---- waking ---------------------------------------------------------------------------------- */

void cpu_kick(struct cpu_slot *c)
{
    vcpu_attention(&c->v, ATT_KICK);
    if (atomic_load(&c->sleeping)) {
        pthread_mutex_lock(&c->m->run_lock);
        pthread_cond_signal(&c->wake);
        pthread_mutex_unlock(&c->m->run_lock);
    } else {
        c->m->engine->kick(&c->v);
    }
}

void cpus_ask(struct machine *m, enum machine_want want)
{
    pthread_mutex_lock(&m->run_lock);
    if (m->want != WANT_QUIT) m->want = want;
    for (u32 i = 0; i < m->cpus; i++) {
        struct cpu_slot *c = m->cpu[i];
        if (want != WANT_RUN) {
            vcpu_attention(&c->v, ATT_STOP);
            m->engine->kick(&c->v);
        }
        pthread_cond_signal(&c->wake);
    }
    pthread_mutex_unlock(&m->run_lock);
}

void cpus_park(struct machine *m)
{
    cpus_ask(m, WANT_PARK);
    pthread_mutex_lock(&m->run_lock);
    for (u32 i = 0; i < m->cpus; i++) {
        while (m->cpu[i]->started && !m->cpu[i]->parked)
            pthread_cond_wait(&m->parked_cond, &m->run_lock);
    }
    pthread_mutex_unlock(&m->run_lock);
}

void cpus_resume(struct machine *m) { cpus_ask(m, WANT_RUN); }

/* ---- the thread ------------------------------------------------------------------------------ */

/* INIT and SIPI, in that order. */
static void take_posted(struct vcpu *v)
{
    u32 p = atomic_load(&v->posted);
    if (p & POST_INIT) {
        atomic_fetch_and(&v->posted, ~(u32)POST_INIT);
        vcpu_reset(v, true);
        if (v->id != 0) v->run_state = VCPU_WAIT_SIPI;
    }
    if (p & POST_SIPI) {
        atomic_fetch_and(&v->posted, ~(u32)(POST_SIPI | POST_MASK_VECTOR));
        if (v->run_state == VCPU_WAIT_SIPI) vcpu_start_sipi(v, (u8)(p >> 8));
    }
}

static bool can_run(struct vcpu *v)
{
    switch (v->run_state) {
    case VCPU_RUNNING: return true;
    case VCPU_HALTED:
        return (atomic_load(&v->intr_line) && v->rflags & RFLAGS_IF) ||
               (atomic_load(&v->posted) & POST_NMI && !v->nmi_masked);
    default: return false;
    }
}

/* Wait until there is something to execute. False: the thread ends. */
static bool wait_to_run(struct cpu_slot *c)
{
    struct machine *m = c->m;
    pthread_mutex_lock(&m->run_lock);
    for (;;) {
        if (m->want == WANT_QUIT) break;
        bool park = m->want == WANT_PARK;
        if (park != c->parked) {
            c->parked = park;
            pthread_cond_broadcast(&m->parked_cond);
        }
        atomic_store(&c->sleeping, true);
        if (!park) {
            atomic_fetch_and(&c->v.attention, ~(u32)ATT_STOP);
            take_posted(&c->v);
            if (can_run(&c->v)) break;
            c->v.stats.halts += c->v.run_state == VCPU_HALTED;
        }
        pthread_cond_wait(&c->wake, &m->run_lock);
    }
    atomic_store(&c->sleeping, false);
    bool run = m->want != WANT_QUIT;
    pthread_mutex_unlock(&m->run_lock);
    return run;
}

static void dump_vcpu(void *ctx, int fd)
{
    struct vcpu *v = ctx;
    vcpu_dump(v, fd);
    trace_dump(&v->trace, fd, 32);
}

static void engine_failed(struct cpu_slot *c)
{
    struct machine *m = c->m;
    const struct err *why = m->engine->failure ? m->engine->failure(&c->v) : NULL;
    if (m->log.fd >= 0) vcpu_dump(&c->v, m->log.fd);
    machine_end(m, RING3_ENGINE, 0, "engine %s, CPU %u: %s", m->engine->name, c->v.id,
                why ? why->text : "cannot go on");
    c->v.run_state = VCPU_SHUTDOWN;
}

static void *cpu_thread(void *arg)
{
    struct cpu_slot *c = arg;
    struct machine *m = c->m;
    char name[16];
    snprintf(name, sizeof name, "vcpu%u", c->v.id);
    pthread_setname_np(pthread_self(), name);
    check_set_dump(dump_vcpu, &c->v);
    while (wait_to_run(c)) {
        switch (m->engine->run(&c->v, 0)) {
        case RUN_SHUTDOWN:
            machine_end(m, RING3_TRIPLE_FAULT, 0, "triple fault on CPU %u at RIP %#llx", c->v.id,
                        (unsigned long long)c->v.rip);
            break;
        case RUN_FAILED: engine_failed(c); break;
        default: break;
        }
    }
    check_set_dump(NULL, NULL);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int cpu_create(struct machine *m, u32 id, struct err *e)
{
    struct cpu_slot *c = aligned_alloc(64, align_up(sizeof *c, 64));
    if (!c) return err_set(e, E_NOMEM, "CPU %u", id);
    *c = (struct cpu_slot){.m = m, .parked = false};
    struct vcpu_cfg cfg = {
        .id = id, .tsc_khz = m->model.tsc_khz, .mem = &m->mem, .env = &m->env, .model = &m->model};
    vcpu_init(&c->v, &cfg);
    c->v.count_insns = m->cfg.count_insns;
    c->v.bt_late = true;
    c->v.dump = m->cfg.dump;
    pthread_cond_init(&c->wake, NULL);
    m->cpu[id] = c;
    m->cpus = id + 1;
    char owner[16];
    snprintf(owner, sizeof owner, "cpu%u", id);
    int rc = trace_init(&c->v.trace, owner, m->cfg.trace_mask, 4096, e);
    if (rc < 0) return rc;
    c->v.trace.clk = &m->clk;
    c->v.trace.live_fd = m->cfg.trace_mask ? 2 : -1;
    rc = mmu_init(&c->v, m->domain, e);
    if (rc < 0) return rc;
    vcpu_mode_changed(&c->v);
    return m->engine->init(&c->v, e);
}

int cpus_create(struct machine *m, struct err *e)
{
    for (u32 i = 0; i < m->cfg.cpus; i++) {
        int rc = cpu_create(m, i, e);
        if (rc < 0) return rc;
    }
    return 0;
}

void cpus_destroy(struct machine *m)
{
    for (u32 i = 0; i < m->cpus; i++) {
        struct cpu_slot *c = m->cpu[i];
        m->engine->fini(&c->v);
        mmu_fini(&c->v);
        trace_fini(&c->v.trace);
        pthread_cond_destroy(&c->wake);
        free(c);
        m->cpu[i] = NULL;
    }
    m->cpus = 0;
}

int cpus_start(struct machine *m, struct err *e)
{
    /* signals are the loop thread's business, except the faults of a vCPU's own code */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t all, old;
    sigfillset(&all);
    for (u32 i = 0; i < ARRAY_LEN(faults); i++) sigdelset(&all, faults[i]);
    pthread_sigmask(SIG_BLOCK, &all, &old);
    int rc = 0;
    for (u32 i = 0; i < m->cpus && rc == 0; i++) {
        errno = pthread_create(&m->cpu[i]->thread, NULL, cpu_thread, m->cpu[i]);
        if (errno) rc = err_errno(e, "start CPU %u", i);
        else m->cpu[i]->started = true;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc;
}

void cpus_join(struct machine *m)
{
    cpus_ask(m, WANT_QUIT);
    for (u32 i = 0; i < m->cpus; i++) {
        if (!m->cpu[i]->started) continue;
        pthread_join(m->cpu[i]->thread, NULL);
        m->cpu[i]->started = false;
    }
}
