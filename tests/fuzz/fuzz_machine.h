/* fuzz_machine.h - a whole machine `pc` that nobody runs: fuzzers call into its devices and
 * processors on their own thread, and virtual time moves only when they say so. */
#ifndef TESTS_FUZZ_MACHINE_H
#define TESTS_FUZZ_MACHINE_H
#include <sys/time.h>

#include "boot/e820.h"
#include "fuzz.h"
#include "machine/machine.h"
#include "machine/pc_firmware.h"

static inline void machine_try(int rc, const struct err *e)
{
    if (rc >= 0) return;
    fprintf(stderr, "%s: %s\n", fuzz.name, e->text);
    _exit(2);
}

/* The configuration of a machine whose kernel nobody reads. */
static inline struct ring3_config machine_config(u32 cpus, u64 memory_bytes)
{
    struct ring3_config cfg;
    ring3_config_init(&cfg);
    cfg.kernel = "none";
    cfg.display = "png:none"; /* so that there is a VGA; nobody opens the display */
    cfg.cpus = cpus;
    cfg.memory_bytes = memory_bytes;
    cfg.debug_exit = true;
    return cfg;
}

static inline struct machine *machine_make_of(const struct ring3_config *cfg)
{
    struct err e = {0};
    struct machine *m = calloc(1, sizeof *m);
    struct cpu_model_cfg model = {.vcpus = cfg->cpus, .tsc_khz = 2000000};
    FUZZ_CHECK(m != NULL);
    clk_init(&m->clk, true);
    clk_start(&m->clk);
    pthread_mutex_init(&m->run_lock, NULL);
    pthread_mutex_init(&m->deadline_lock, NULL);
    pthread_cond_init(&m->parked_cond, NULL);
    log_init(&m->log, -1, LOG_ERROR, "fuzz");
    machine_try(config_copy(&m->cfg, cfg, &e), &e);
    machine_try(
        engine_choose(&m->engine, getenv("FUZZ_ENGINE") ? getenv("FUZZ_ENGINE") : "interp", &e),
        &e);
    machine_try(cpu_model_init(&m->model, "max", &model, &e), &e);
    machine_try(mem_init(&m->mem, &e), &e);
    machine_try(e820_add_ram(&m->mem, cfg->memory_bytes, &e), &e);
    machine_try(firmware_open(m, &e), &e);
    machine_try(mmu_domain_create(&m->domain, &m->mem, &e), &e);
    machine_try(machine_loop_setup(m, &e), &e);
    env_init(m);
    machine_try(cpus_create(m, &e), &e);
    machine_try(pc_create(m, &e), &e);
    machine_try(serial_open(&m->serial, m, "none", &e), &e);
    return m;
}

static inline struct machine *machine_make(u32 cpus, u64 memory_bytes)
{
    const struct ring3_config cfg = machine_config(cpus, memory_bytes);
    return machine_make_of(&cfg);
}

/* Run @v for about @budget instructions. A guest that only ever faults retires none; such a run is
 * stopped as the machine stops it, through ATT_STOP, and one that does not heed that is a hang. */
static _Atomic(struct vcpu *) machine_running;
static inline void machine_on_timer(int sig)
{
    struct vcpu *v = atomic_load(&machine_running);
    (void)sig;
    if (v) vcpu_attention(v, ATT_STOP);
}
static inline enum run_exit machine_run(struct machine *m, struct vcpu *v, u64 budget)
{
    const struct itimerval soon = {.it_value.tv_usec = 3000}, never = {0};
    struct sigaction act = {.sa_handler = machine_on_timer, .sa_flags = SA_RESTART | SA_ONSTACK};
    sigaction(SIGVTALRM, &act, NULL);
    atomic_store(&machine_running, v);
    setitimer(ITIMER_VIRTUAL, &soon, NULL);
    enum run_exit why = m->engine->run(v, budget);
    setitimer(ITIMER_VIRTUAL, &never, NULL);
    atomic_store(&machine_running, NULL);
    atomic_fetch_and(&v->attention, ~(u32)ATT_STOP);
    return why;
}

/* Power-on state of everything but memory. */
static inline void machine_reset(struct machine *m)
{
    bus_lock(&m->bus);
    dev_reset_all(&m->devs);
    bus_unlock(&m->bus);
    m->ended = m->reset_wanted = false;
    m->want = WANT_RUN;
    for (u32 i = 0; i < m->cpus; i++) {
        struct vcpu *v = &m->cpu[i]->v;
        vcpu_reset(v, false);
        atomic_store(&v->posted, 0);
        atomic_fetch_and(&v->attention, ~(u32)(ATT_STOP | ATT_KICK));
    }
}

/* Let virtual time pass, and what is due happen. It never wraps: the storms use days, not
 * centuries. */
static inline void machine_pass(struct machine *m, u64 ns)
{
    clk_advance(&m->clk, ns);
    bus_lock(&m->bus);
    (void)clk_run(&m->clk);
    bus_unlock(&m->bus);
}

/* Where devices are, and now and then anywhere. */
static inline u16 machine_port(const struct machine *m)
{
    const struct bus_region *r = m->bus.ports[fuzz_below(BUS_REGIONS_MAX)];
    if (r && !fuzz_one_in(8)) return (u16)(r->base + fuzz_below(r->row->bytes + 2) - 1);
    return fuzz_one_in(4) ? (u16)(0xCF8 + fuzz_below(8)) : (u16)fuzz_u64();
}
static inline gpa_t machine_mmio(const struct machine *m)
{
    if (m->bus.mmio_count == 0 || fuzz_one_in(8)) return fuzz_value();
    const struct bus_region *r = m->bus.mmio[fuzz_below(m->bus.mmio_count)];
    return r->base + fuzz_u64() % (r->row->bytes + 16) - 8;
}

static inline void storm_port(struct machine *m, struct vcpu *v)
{
    u16 port = machine_port(m);
    u32 bytes = 1u << fuzz_below(3);
    u64 val = fuzz_value();
    if (port == 0xCF8 && fuzz_one_in(2))
        val = 0x80000000u | (fuzz_below(fuzz_one_in(4) ? 32 : 4) << 11) | fuzz_below(256);
    if (fuzz_one_in(2)) m->env.port_out(m, v, port, (u32)val, bytes);
    else FUZZ_CHECK((u64)m->env.port_in(m, v, port, bytes) >> (8 * bytes) == 0);
}
static inline void storm_mmio(struct machine *m, struct vcpu *v)
{
    gpa_t at = fuzz_one_in(3) ? 0xFEE00000 + fuzz_below(0x1000) : machine_mmio(m);
    u32 bytes = 1u << fuzz_below(4);
    if (mem_slot_find(&m->mem, at) || mem_slot_find(&m->mem, at + bytes - 1)) return;
    if (fuzz_one_in(2)) m->env.mmio_write(m, v, at, fuzz_value(), bytes);
    else (void)m->env.mmio_read(m, v, at, bytes);
}
static inline void storm_processor(struct machine *m, struct vcpu *v)
{
    struct irq_line line;
    u64 val = fuzz_value();
    u32 msr = fuzz_one_in(4) ? 0x1B : fuzz_one_in(8) ? 0x6E0 : 0x800 + fuzz_below(0x100);
    switch (fuzz_below(6)) {
    case 0: (void)m->env.apic_msr_read(m, v, msr, &val); break;
    case 1: (void)m->env.apic_msr_write(m, v, msr, val); break;
    case 2: m->env.cr8_set(m, v, val & 15); break;
    case 3: FUZZ_CHECK(m->env.cr8_get(m, v) <= 15); break;
    case 4: FUZZ_CHECK(m->env.intr_ack(m, v) <= 255); break;
    default:
        bus_lock(&m->bus);
        irq_line_init(&line, &m->gsi[fuzz_below(GSI_COUNT)]);
        irq_pulse(&line);
        bus_unlock(&m->bus);
    }
}
static inline void storm_input(struct machine *m)
{
    u8 in[64];
    fuzz_fill(in, sizeof in);
    bus_lock(&m->bus);
    u32 room = chardev_rx_room(&m->serial.chardev);
    FUZZ_CHECK(room <= 4096);
    chardev_rx(&m->serial.chardev, in, room < sizeof in ? room : sizeof in);
    const struct input_event ev = {.kind = (enum input_kind)fuzz_below(4),
                                   .code = fuzz_below(160),
                                   .down = fuzz_one_in(2),
                                   .dx = (s32)fuzz_value(),
                                   .dy = (s32)fuzz_value()};
    m->input.event(m->input.ctx, &ev);
    bus_unlock(&m->bus);
}

/* Everything a guest or the outside can do to the devices, @accesses times. */
static inline void machine_storm(struct machine *m, u32 accesses)
{
    for (u32 i = 0; i < accesses; i++) {
        struct vcpu *v = &m->cpu[fuzz_below(m->cpus)]->v;
        u32 what = fuzz_below(32);
        if (what < 16) storm_port(m, v);
        else if (what < 26) storm_mmio(m, v);
        else if (what < 29) storm_processor(m, v);
        else if (what < 30) storm_input(m);
        else machine_pass(m, fuzz_u64() >> (14 + fuzz_below(40)));
        if (m->reset_wanted && fuzz_one_in(4)) machine_reset(m);
    }
}
#endif
