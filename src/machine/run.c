/* run.c - the life of a running machine: timers, requests of devices, reset, and why it ended. */
#include <stdarg.h>
#include <stdio.h>

#include "dev/acpi_pm.h"
#include "machine/machine.h"
#include "machine/pc_disks.h"
#include "machine/pc_ports.h"

/* ---- time ------------------------------------------------------------------------------------ */

/* Timers with periods shorter than their work takes must leave the bus lock to the vCPUs, too. */
#define TIMERS_GAP_NS US_TO_NS(20)

void machine_deadline_moved(void *machine)
{
    struct machine *m = machine;
    pthread_mutex_lock(&m->deadline_lock);
    u64 next = clk_next_ns(&m->clk), now = clk_now_ns(&m->clk);
    u64 due = max_u64(next, min_u64(m->deadline_after_ns, now + TIMERS_GAP_NS));
    loop_timer_set(m->deadline, next == UINT64_MAX ? next : due > now ? due - now : 0);
    pthread_mutex_unlock(&m->deadline_lock);
}

static void on_deadline(void *machine)
{
    struct machine *m = machine;
    bus_lock(&m->bus);
    clk_run(&m->clk);
    bus_unlock(&m->bus);
    pthread_mutex_lock(&m->deadline_lock);
    m->deadline_after_ns = clk_now_ns(&m->clk) + TIMERS_GAP_NS;
    pthread_mutex_unlock(&m->deadline_lock);
    machine_deadline_moved(m);
}

static void on_timeout(void *machine)
{
    struct machine *m = machine;
    machine_end(m, RING3_TIMEOUT, 0, "the time limit of %u s passed", m->cfg.timeout_s);
}

/* ---- ends ------------------------------------------------------------------------------------ */

void machine_end(struct machine *m, enum ring3_end end, int status, const char *fmt, ...)
{
    va_list ap;
    pthread_mutex_lock(&m->run_lock);
    if (!m->ended) {
        m->ended = true;
        m->result.end = end;
        m->result.status = status;
        va_start(ap, fmt);
        vsnprintf(m->result.reason, sizeof m->result.reason, fmt, ap);
        va_end(ap);
    }
    pthread_mutex_unlock(&m->run_lock);
    loop_wake_send(m->request);
}

static void ask_reset(void *ctx, struct dev *d)
{
    struct machine *m = ctx;
    pthread_mutex_lock(&m->run_lock);
    bool panicked = m->panicked;
    m->reset_wanted = !panicked && !m->cfg.no_reboot;
    pthread_mutex_unlock(&m->run_lock);
    if (panicked)
        machine_end(m, RING3_PANIC, 0, "the guest's kernel panicked and asked for a reset");
    else if (m->cfg.no_reboot)
        machine_end(m, RING3_RESET, 0, "the guest asked for a reset (%s)", d->name);
    cpus_ask(m, WANT_PARK); /* the asking vCPU stops after this instruction */
    loop_wake_send(m->request);
}

static void ask_poweroff(void *ctx, struct dev *d)
{
    (void)d;
    machine_end(ctx, RING3_POWEROFF, 0, "the guest powered off");
    cpus_ask(ctx, WANT_PARK);
}

static void ask_exit(void *ctx, struct dev *d, int status)
{
    (void)d;
    machine_end(ctx, RING3_DEBUG_EXIT, status, "the guest wrote %d to the debug-exit port",
                status >> 1);
    cpus_ask(ctx, WANT_PARK);
}

/* A panicked kernel goes on for a while: it prints, waits, and may ask for a reset. */
static void note_panic(void *ctx, struct dev *d)
{
    struct machine *m = ctx;
    pthread_mutex_lock(&m->run_lock);
    bool first = !m->panicked;
    m->panicked = true;
    pthread_mutex_unlock(&m->run_lock);
    if (first) log_info(&m->log, "the guest's kernel panicked (%s)", d->name);
}

const struct dev_host_ops machine_host_ops = {.reset = ask_reset,
                                              .poweroff = ask_poweroff,
                                              .exit = ask_exit,
                                              .a20 = memmap_ask_a20,
                                              .remap = memmap_ask_remap,
                                              .panicked = note_panic};

/* Every vCPU is parked: power-on state again. RAM keeps its contents, as on a real PC. */
static void reset(struct machine *m)
{
    struct err e = {0};
    bus_lock(&m->bus);
    dev_reset_all(&m->devs);
    bus_unlock(&m->bus);
    log_info(&m->log, "reset");
    memmap_serve(m);
    if (pc_boot(m, &e) < 0) machine_end(m, RING3_FAILED, 0, "reset: %s", e.text);
}

/* What devices asked for that needs every vCPU to stand still. A request made while the last of
 * them stop counts, too: its vCPU has parked by now. */
static void serve_parked(struct machine *m)
{
    cpus_park(m);
    pthread_mutex_lock(&m->run_lock);
    bool want_reset = m->reset_wanted;
    m->reset_wanted = false;
    pthread_mutex_unlock(&m->run_lock);
    if (want_reset) reset(m);
    memmap_serve(m);
    pthread_mutex_lock(&m->run_lock);
    bool ended = m->ended;
    pthread_mutex_unlock(&m->run_lock);
    if (!ended) cpus_resume(m);
}

static void on_request(void *machine)
{
    struct machine *m = machine;
    if (atomic_load(&m->stop_wanted)) machine_end(m, RING3_STOPPED, 0, "stopped");
    pthread_mutex_lock(&m->run_lock);
    bool ended = m->ended;
    bool parked = m->reset_wanted || m->remap_wanted || m->a20_wanted;
    pthread_mutex_unlock(&m->run_lock);
    if (ended) loop_stop(m->loop);
    else if (parked) serve_parked(m);
}

/* ---- public ---------------------------------------------------------------------------------- */

/* Handles of the loop that live as long as the machine. */
int machine_loop_setup(struct machine *m, struct err *e)
{
    int rc = loop_create(&m->loop, e);
    if (rc < 0) return rc;
    m->request = loop_wake_add(m->loop, on_request, m, e);
    if (!m->request) return e->code;
    m->deadline = loop_timer_add(m->loop, on_deadline, m, e);
    if (!m->deadline) return e->code;
    m->timeout = loop_timer_add(m->loop, on_timeout, m, e);
    return m->timeout ? 0 : e->code;
}

int ring3_run(struct ring3_vm *vm, struct ring3_result *result)
{
    struct machine *m = (struct machine *)vm;
    struct err e = {0};
    if (m->cfg.timeout_s) loop_timer_set(m->timeout, m->cfg.timeout_s * NS_PER_S);
    clk_start(&m->clk);
    machine_deadline_moved(m);
    if (m->serial.stream) stream_start(m->serial.stream);
    if (m->debugcon.stream) stream_start(m->debugcon.stream);
    pc_ports_start(m);
    screen_start(m);
    int rc = pc_disks_start(m, &e);
    if (rc == 0) rc = cpus_start(m, &e);
    if (rc < 0) machine_end(m, RING3_FAILED, 0, "%s", e.text);
    else cpus_resume(m);
    loop_run(m->loop);
    cpus_join(m);
    pc_disks_stop(m);
    clk_stop(&m->clk);
    *result = m->result;
    return rc;
}

void ring3_stop(struct ring3_vm *vm)
{
    struct machine *m = (struct machine *)vm;
    atomic_store(&m->stop_wanted, true);
    loop_wake_send(m->request);
}

void ring3_power_button(struct ring3_vm *vm)
{
    struct machine *m = (struct machine *)vm;
    bus_lock(&m->bus);
    struct dev *pm = dev_find(&m->devs, "acpi_pm");
    if (pm) acpi_pm_power_button(pm);
    bus_unlock(&m->bus);
}

size_t ring3_stats(struct ring3_vm *vm, bool json, char *buf, size_t bytes)
{
    struct machine *m = (struct machine *)vm;
    struct stats sum = {0};
    for (u32 i = 0; i < m->cpus; i++) stats_add(&sum, &m->cpu[i]->v.stats);
    return json ? stats_json(&sum, buf, bytes) : stats_text(&sum, buf, bytes);
}
