/* env.c - how the processors reach the machine (cpu_env) and how local APICs reach the processors
 * (intr_cpu_ops). */
#include <sys/random.h>

#include "dev/x87_ferr.h"
#include "machine/machine.h"

static struct cpu_slot *slot_of(struct vcpu *v) { return container_of(v, struct cpu_slot, v); }

static u64 env_mmio_read(void *ctx, struct vcpu *v, gpa_t gpa, u32 bytes)
{
    struct machine *m = ctx;
    struct lapic *l = slot_of(v)->lapic;
    if (!lapic_mmio_hit(l, gpa)) return bus_mmio_read(&m->bus, gpa, bytes);
    bus_lock(&m->bus);
    u64 val = lapic_mmio_read(l, gpa, bytes);
    bus_unlock(&m->bus);
    return val;
}

static void env_mmio_write(void *ctx, struct vcpu *v, gpa_t gpa, u64 val, u32 bytes)
{
    struct machine *m = ctx;
    struct lapic *l = slot_of(v)->lapic;
    if (!lapic_mmio_hit(l, gpa)) {
        bus_mmio_write(&m->bus, gpa, val, bytes);
        return;
    }
    bus_lock(&m->bus);
    lapic_mmio_write(l, gpa, val, bytes);
    bus_unlock(&m->bus);
}

static u32 env_port_in(void *ctx, struct vcpu *v, u16 port, u32 bytes)
{
    struct machine *m = ctx;
    u32 val = (u32)bus_port_read(&m->bus, port, bytes);
    v->stats.port_in++;
    TRACE(&v->trace, PORT, port, bytes, val);
    return val;
}

static void env_port_out(void *ctx, struct vcpu *v, u16 port, u32 val, u32 bytes)
{
    struct machine *m = ctx;
    v->stats.port_out++;
    TRACE(&v->trace, PORT, port, bytes + 256, val);
    bus_port_write(&m->bus, port, val, bytes);
}

static void env_port_in_string(void *ctx, struct vcpu *v, const struct port_string *s)
{
    struct machine *m = ctx;
    bus_port_read_string(&m->bus, s->port, s->buf, s->bytes, s->count);
    v->stats.port_in += s->count;
    TRACE(&v->trace, PORT, s->port, s->bytes, s->count);
}

static void env_port_out_string(void *ctx, struct vcpu *v, const struct port_string *s)
{
    struct machine *m = ctx;
    v->stats.port_out += s->count;
    TRACE(&v->trace, PORT, s->port, s->bytes + 256, s->count);
    bus_port_write_string(&m->bus, s->port, s->buf, s->bytes, s->count);
}

static int env_intr_ack(void *ctx, struct vcpu *v)
{
    struct machine *m = ctx;
    bus_lock(&m->bus);
    int vector = lapic_ack(slot_of(v)->lapic);
    bus_unlock(&m->bus);
    return vector;
}

static u8 env_cr8_get(void *ctx, struct vcpu *v)
{
    struct machine *m = ctx;
    bus_lock(&m->bus);
    u8 cr8 = lapic_tpr_get(slot_of(v)->lapic);
    bus_unlock(&m->bus);
    return cr8;
}

static void env_cr8_set(void *ctx, struct vcpu *v, u8 cr8)
{
    struct machine *m = ctx;
    bus_lock(&m->bus);
    lapic_tpr_set(slot_of(v)->lapic, cr8);
    bus_unlock(&m->bus);
}

static bool env_apic_msr_read(void *ctx, struct vcpu *v, u32 msr, u64 *val)
{
    struct machine *m = ctx;
    bus_lock(&m->bus);
    bool ok = lapic_msr_read(slot_of(v)->lapic, msr, val);
    bus_unlock(&m->bus);
    return ok;
}

static bool env_apic_msr_write(void *ctx, struct vcpu *v, u32 msr, u64 val)
{
    struct machine *m = ctx;
    bus_lock(&m->bus);
    bool ok = lapic_msr_write(slot_of(v)->lapic, msr, val);
    bus_unlock(&m->bus);
    return ok;
}

static void env_tsc_changed(void *ctx, struct vcpu *v)
{
    struct machine *m = ctx;
    bus_lock(&m->bus);
    lapic_set_tsc_offset(slot_of(v)->lapic, v->tsc_offset);
    bus_unlock(&m->bus);
}

static u64 env_clock_ns(void *ctx) { return clk_now_ns(&((struct machine *)ctx)->clk); }
static u64 env_wall_ns(void *ctx) { return clk_wall_ns(&((struct machine *)ctx)->clk); }

static u64 env_random(void *ctx)
{
    u64 r = 0;
    (void)ctx;
    while (getrandom(&r, sizeof r, 0) != (ssize_t)sizeof r) continue;
    return r;
}

static bool env_x87_ferr(void *ctx, struct vcpu *v, bool ferr)
{
    struct machine *m = ctx;
    (void)v; /* the pins of all processors are tied together */
    bus_lock(&m->bus);
    bool ignne = x87_ferr_set(dev_find(&m->devs, "x87_ferr"), ferr);
    bus_unlock(&m->bus);
    return ignne;
}

/* KVM's hypercall numbers; none is offered yet beyond saying so (KVM: -KVM_ENOSYS = -1000). */
static bool env_hypercall(void *ctx, struct vcpu *v)
{
    (void)ctx;
    v->stats.hypercalls++;
    TRACE(&v->trace, HYPERCALL, v->gpr[RAX], v->gpr[RBX], (u64)-1000);
    v->gpr[RAX] = (u64)-1000;
    return true;
}

void env_init(struct machine *m)
{
    m->env = (struct cpu_env){
        .ctx = m,
        .mmio_read = env_mmio_read,
        .mmio_write = env_mmio_write,
        .port_in = env_port_in,
        .port_out = env_port_out,
        .port_in_string = env_port_in_string,
        .port_out_string = env_port_out_string,
        .intr_ack = env_intr_ack,
        .cr8_get = env_cr8_get,
        .cr8_set = env_cr8_set,
        .apic_msr_read = env_apic_msr_read,
        .apic_msr_write = env_apic_msr_write,
        .tsc_changed = env_tsc_changed,
        .clock_ns = env_clock_ns,
        .wall_ns = env_wall_ns,
        .random = env_random,
        .hypercall = env_hypercall,
        .x87_ferr = env_x87_ferr,
    };
}

/* ---- local APIC to processor ----------------------------------------------------------------- */

static void intr(void *ctx, u32 cpu, bool pending)
{
    struct cpu_slot *c = ((struct machine *)ctx)->cpu[cpu];
    atomic_store(&c->v.intr_line, pending);
    if (pending) cpu_kick(c);
}

static void post(void *ctx, u32 cpu, u32 bits)
{
    struct cpu_slot *c = ((struct machine *)ctx)->cpu[cpu];
    atomic_fetch_or(&c->v.posted, bits);
    cpu_kick(c);
}

static void nmi(void *ctx, u32 cpu) { post(ctx, cpu, POST_NMI); }
static void init(void *ctx, u32 cpu) { post(ctx, cpu, POST_INIT); }

static void sipi(void *ctx, u32 cpu, u8 vector)
{
    struct cpu_slot *c = ((struct machine *)ctx)->cpu[cpu];
    atomic_fetch_and(&c->v.posted, ~(u32)POST_MASK_VECTOR);
    post(ctx, cpu, POST_SIPI | (u32)vector << 8);
}

const struct intr_cpu_ops cpus_intr_ops = {.intr = intr, .nmi = nmi, .init = init, .sipi = sipi};
