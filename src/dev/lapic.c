/* dev/lapic.c - local APIC: request, in-service and priority state, the INTR pin, and the device
 * class.
 *
 * Vectors live in three 256-bit sets of four words. The processor priority (PPR) is derived, never
 * stored:
 *     PPR = max(TPR, class of the highest in-service vector)
 * and INTR is up when the highest requested vector's class is above PPR's, or the PIC has
 * something for this CPU.
 * Spec: SDM vol 3A 11.4 (registers, reset), 11.8 (handling interrupts).  Threads: under the bus
 * lock. */
#include <string.h>

#include "base/check.h"
#include "dev/lapic_internal.h"

static struct lapic *self(struct dev *d) { return container_of(d, struct lapic, dev); }

/* Highest vector in @set, or -1. */
static int highest(const u64 set[4])
{
    for (int w = 3; w >= 0; w--)
        if (set[w]) return w * 64 + 63 - __builtin_clzll(set[w]);
    return -1;
}
static void set_bit(u64 set[4], u8 v) { set[v / 64] |= BIT(v % 64); }
static void clear_bit(u64 set[4], u8 v) { set[v / 64] &= ~BIT(v % 64); }
static bool has_bit(const u64 set[4], u8 v) { return set[v / 64] & BIT(v % 64); }

/* SDM 11.8.3.1 */
u32 lapic_ppr(const struct lapic *l)
{
    int isrv = highest(l->isr);
    u32 in_service = isrv < 0 ? 0 : (u32)isrv & 0xF0;
    return (l->tpr & 0xF0) >= in_service ? l->tpr : in_service;
}

/* Requested vector that may interrupt now, or -1. */
static int deliverable(const struct lapic *l)
{
    int irrv = highest(l->irr);
    if (irrv < 0 || !lapic_sw_enabled(l)) return -1;
    return ((u32)irrv & 0xF0) > (lapic_ppr(l) & 0xF0) ? irrv : -1;
}

/* Does the PIC's INT reach this processor? Through LINT0 as ExtINT, directly when the APIC is off
 * (only the bootstrap processor is wired so), or by an ExtINT message of the I/O APIC. */
static bool extint_pending(const struct lapic *l)
{
    if (!lapic_hw_enabled(l)) return l->lint0 && l->cpu == 0;
    if (l->extint_msg) return true;
    u32 lvt = l->lvt[LVT_LINT0];
    return l->lint0 && !(lvt & LVT_MASKED) && bits(lvt, 10, 8) == INTR_EXTINT;
}

void lapic_update(struct lapic *l)
{
    bool pin = extint_pending(l) || deliverable(l) >= 0;
    if (pin == l->pin) return;
    l->pin = pin;
    l->set->cpu.ops->intr(l->set->cpu.ctx, l->cpu, pin);
}

bool lapic_pending(const struct lapic *l) { return l->pin; }

int lapic_ack(struct lapic *l)
{
    int v = -1;
    if (extint_pending(l) && l->set->extint.ack) {
        l->extint_msg = false;
        v = l->set->extint.ack(l->set->extint.ctx);
    } else {
        v = deliverable(l);
        if (v >= 0) {
            clear_bit(l->irr, (u8)v);
            set_bit(l->isr, (u8)v);
        }
    }
    lapic_update(l);
    return v;
}

void lapic_accept(struct lapic *l, u8 vector, bool level)
{
    if (vector < 16) {
        lapic_error(l, ESR_RECV_VECTOR);
        return;
    }
    set_bit(l->irr, vector);
    if (level) set_bit(l->tmr, vector);
    else clear_bit(l->tmr, vector);
    lapic_update(l);
}

void lapic_eoi(struct lapic *l)
{
    int v = highest(l->isr);
    if (v < 0) return;
    clear_bit(l->isr, (u8)v);
    if (has_bit(l->tmr, (u8)v) && l->set->eoi) l->set->eoi(l->set->eoi_ctx, (u8)v);
    lapic_update(l);
}

/* The error entry's own bad vector must not report itself for ever. */
void lapic_error(struct lapic *l, u32 esr_bit)
{
    u32 lvt = l->lvt[LVT_ERROR];
    l->esr_new |= esr_bit;
    if (!(lvt & LVT_MASKED) && (lvt & LVT_VECTOR) >= 16) lapic_accept(l, (u8)lvt, false);
}

/* SDM 11.5.1: deliver as the entry says. ExtINT is a level, not an event: lapic_update() looks at
 * it. */
void lapic_lvt_raise(struct lapic *l, u32 index)
{
    const struct intr_cpu *cpu = &l->set->cpu;
    u32 lvt = l->lvt[index];
    if ((lvt & LVT_MASKED) || !lapic_hw_enabled(l)) return;
    switch (index == LVT_TIMER || index == LVT_ERROR ? INTR_FIXED : (int)bits(lvt, 10, 8)) {
    case INTR_FIXED: lapic_accept(l, (u8)lvt, false); break;
    case INTR_NMI: cpu->ops->nmi(cpu->ctx, l->cpu); break;
    case INTR_INIT:
        lapic_init_state(l);
        cpu->ops->init(cpu->ctx, l->cpu);
        break;
    default: break;
    }
}

void lapic_extint(void *set, u32 input, bool level)
{
    struct lapic_set *s = set;
    (void)input;
    for (u32 i = 0; i < s->cpus; i++) {
        struct lapic *l = s->lapic[i];
        bool rise = level && !l->lint0;
        l->lint0 = level;
        if (rise) lapic_lvt_raise(l, LVT_LINT0);
        lapic_update(l);
    }
}

void lapic_nmi(void *set, u32 input, bool level)
{
    struct lapic_set *s = set;
    (void)input;
    for (u32 i = 0; i < s->cpus; i++) {
        bool rise = level && !s->lapic[i]->lint1;
        s->lapic[i]->lint1 = level;
        if (rise) lapic_lvt_raise(s->lapic[i], LVT_LINT1);
    }
}

u8 lapic_tpr_get(const struct lapic *l) { return (u8)(l->tpr >> 4); }

void lapic_tpr_set(struct lapic *l, u8 cr8)
{
    l->tpr = (cr8 & 0xFu) << 4;
    lapic_update(l);
}

u64 lapic_base(const struct lapic *l) { return l->base; }
u32 lapic_id(const struct lapic *l) { return l->initial_id; }

/* ---- class ----------------------------------------------------------------------------------- */

/* SDM 11.4.7.3: state after INIT; 11.4.7.1 adds id and base. */
void lapic_init_state(struct lapic *l)
{
    lapic_timer_stop(l);
    l->tpr = l->esr = l->esr_new = l->icr = l->icr_hi = l->timer_init = l->timer_div = 0;
    l->tsc_deadline = 0;
    l->ldr = 0;
    l->dfr = UINT32_MAX;
    l->svr = 0xFF;
    for (u32 i = 0; i < LVTS; i++) l->lvt[i] = LVT_MASKED;
    memset(l->irr, 0, sizeof l->irr);
    memset(l->isr, 0, sizeof l->isr);
    memset(l->tmr, 0, sizeof l->tmr);
    l->extint_msg = false;
    lapic_update(l);
}

static int lapic_dev_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct lapic_cfg *c = cfg;
    struct lapic *l = self(d);
    if (c->set->cpus >= VCPUS_MAX || c->cpu != c->set->cpus)
        return err_set(e, E_INVAL, "local APICs are created in CPU order, at most %d", VCPUS_MAX);
    if (!c->set->tsc_khz || !c->set->clk || !c->set->cpu.ops)
        return err_set(e, E_INVAL, "local APIC needs a clock, a TSC frequency and a processor");
    l->set = c->set;
    l->cpu = c->cpu;
    l->initial_id = c->apic_id;
    timer_init(&l->timer, l->set->clk, lapic_timer_fire);
    l->set->lapic[l->set->cpus++] = l;
    return 0;
}

static void lapic_dev_fini(struct dev *d)
{
    struct lapic *l = self(d);
    ASSERT(l->set->lapic[l->set->cpus - 1] == l, "local APICs go newest first");
    l->set->lapic[--l->set->cpus] = NULL;
    timer_fini(&l->timer);
}

/* There is no firmware in a direct boot, so the bootstrap processor starts in virtual-wire mode as
 * firmware leaves it (MultiProcessor Specification 1.4, 3.6.2.2): LINT0 takes ExtINT. */
static void lapic_dev_reset(struct dev *d)
{
    struct lapic *l = self(d);
    l->base = LAPIC_BASE_DEFAULT | BASE_ENABLED | (l->cpu == 0 ? BASE_BSP : 0);
    l->tsc_offset = 0;
    lapic_init_state(l);
    if (l->cpu == 0) {
        l->lvt[LVT_LINT0] = INTR_EXTINT << 8;
        l->lvt[LVT_LINT1] = INTR_NMI << 8;
    }
    lapic_update(l);
}

static int lapic_validate(const struct dev *d, struct err *e)
{
    const struct lapic *l = container_of(d, const struct lapic, dev);
    if ((l->irr[0] | l->isr[0]) & 0xFFFF) return err_set(e, E_FORMAT, "vector below 16 pending");
    if ((l->base & BASE_X2APIC) && !(l->base & BASE_ENABLED))
        return err_set(e, E_FORMAT, "x2APIC mode without the APIC enabled");
    if (l->tpr > 0xFF || (l->timer_div & ~0xBu)) return err_set(e, E_FORMAT, "reserved bits set");
    return 0;
}

static void lapic_post_load(struct dev *d)
{
    struct lapic *l = self(d);
    lapic_timer_sync(l);
    l->pin = extint_pending(l) || deliverable(l) >= 0;
    l->set->cpu.ops->intr(l->set->cpu.ctx, l->cpu, l->pin);
}

static const struct ser_field lapic_fields[] = {
    SER(struct lapic, base, 1),         SER(struct lapic, tpr, 1),
    SER(struct lapic, ldr, 1),          SER(struct lapic, dfr, 1),
    SER(struct lapic, svr, 1),          SER(struct lapic, esr, 1),
    SER(struct lapic, esr_new, 1),      SER(struct lapic, icr, 1),
    SER(struct lapic, icr_hi, 1),       SER_ARRAY(struct lapic, lvt, 1),
    SER(struct lapic, timer_init, 1),   SER(struct lapic, timer_div, 1),
    SER(struct lapic, timer_due_ns, 1), SER(struct lapic, tsc_deadline, 1),
    SER(struct lapic, tsc_offset, 1),   SER_ARRAY(struct lapic, irr, 1),
    SER_ARRAY(struct lapic, isr, 1),    SER_ARRAY(struct lapic, tmr, 1),
    SER(struct lapic, extint_msg, 1),   SER_END,
};

const struct dev_class lapic_class = {
    .name = "lapic",
    .version = 1,
    .inst_bytes = sizeof(struct lapic),
    .fields = lapic_fields,
    .init = lapic_dev_init,
    .fini = lapic_dev_fini,
    .reset = lapic_dev_reset,
    .validate = lapic_validate,
    .post_load = lapic_post_load,
};
