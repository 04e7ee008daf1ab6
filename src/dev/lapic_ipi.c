/* dev/lapic_ipi.c - interrupt messages: who is meant, and what arrives there.
 * Spec: SDM vol 3A 11.6 (issuing IPIs, 11.6.2 destinations), 11.12.9-11.12.10 (x2APIC ICR and
 * logical ids). */
#include "dev/lapic_internal.h"

enum { ICR_LOGICAL = 1 << 11, ICR_ASSERT = 1 << 14, ICR_LEVEL = 1 << 15 };
enum shorthand { TO_DEST, TO_SELF, TO_ALL, TO_OTHERS };

/* x2APIC logical id: cluster in the high half, one bit of 16 in the low one (SDM 11.12.10.2). */
static u32 x2_ldr(const struct lapic *l)
{
    return (l->initial_id >> 4) << 16 | 1u << (l->initial_id & 15);
}

static bool match_logical(const struct lapic *l, const struct intr_msg *m)
{
    if (lapic_is_x2(l)) {
        u32 ldr = x2_ldr(l);
        return (ldr >> 16) == (m->dest >> 16) && (ldr & m->dest & 0xFFFF);
    }
    u32 ldr = l->ldr >> 24;
    if (l->dfr >> 28 == 0xF) return ldr & m->dest & 0xFF; /* flat model */
    return ((m->dest ^ ldr) & 0xF0) == 0 && (ldr & m->dest & 0x0F);
}

static bool match(const struct lapic *l, const struct intr_msg *m)
{
    if (m->dest == (m->dest32 ? UINT32_MAX : 0xFF)) return true;
    return m->logical ? match_logical(l, m) : l->initial_id == m->dest;
}

/* Fixed and lowest-priority messages are dropped by an APIC that software has not enabled. */
static void arrive(struct lapic *l, const struct intr_msg *m)
{
    const struct intr_cpu *cpu = &l->set->cpu;
    if (!lapic_hw_enabled(l)) return;
    switch (m->mode) {
    case INTR_FIXED:
    case INTR_LOWEST:
        if (lapic_sw_enabled(l)) lapic_accept(l, m->vector, m->level);
        break;
    case INTR_NMI: cpu->ops->nmi(cpu->ctx, l->cpu); break;
    case INTR_INIT:
        lapic_init_state(l);
        cpu->ops->init(cpu->ctx, l->cpu);
        break;
    case INTR_SIPI: cpu->ops->sipi(cpu->ctx, l->cpu, m->vector); break;
    case INTR_EXTINT:
        l->extint_msg = true;
        lapic_update(l);
        break;
    default: break; /* SMI: there is no system-management mode; reserved modes do nothing */
    }
}

/* Of the matching enabled CPUs the one with the lowest processor priority; ties rotate. */
static void send_lowest(struct lapic_set *s, const struct intr_msg *m)
{
    struct lapic *best = NULL;
    u32 best_ppr = 0;
    for (u32 n = 0; n < s->cpus; n++) {
        struct lapic *l = s->lapic[(s->arb + n) % s->cpus];
        u32 ppr = lapic_ppr(l);
        if (!lapic_sw_enabled(l) || !match(l, m) || (best && ppr >= best_ppr)) continue;
        best = l;
        best_ppr = ppr;
    }
    if (!best) return;
    s->arb = (best->cpu + 1) % s->cpus;
    arrive(best, m);
}

void lapic_send(void *set, const struct intr_msg *m)
{
    struct lapic_set *s = set;
    if (m->mode == INTR_LOWEST) {
        send_lowest(s, m);
        return;
    }
    for (u32 i = 0; i < s->cpus; i++)
        if (match(s->lapic[i], m)) arrive(s->lapic[i], m);
}

/* ICR: 19..18 shorthand | 15 trigger | 14 level | 11 logical | 10..8 mode | 7..0 vector */
void lapic_icr_send(struct lapic *l)
{
    u32 icr = l->icr, to = (u32)bits(icr, 19, 18);
    bool x2 = lapic_is_x2(l);
    struct intr_msg m = {
        .dest = x2 ? l->icr_hi : l->icr_hi >> 24,
        .vector = (u8)icr,
        .mode = (u8)bits(icr, 10, 8),
        .logical = icr & ICR_LOGICAL,
        .dest32 = x2,
    };
    bool fixed = m.mode == INTR_FIXED || m.mode == INTR_LOWEST;
    if (m.mode == INTR_INIT && !(icr & ICR_ASSERT) && (icr & ICR_LEVEL)) return; /* de-assert */
    if (fixed && m.vector < 16) {
        lapic_error(l, ESR_SEND_VECTOR);
        return;
    }
    if (to == TO_DEST) {
        lapic_send(l->set, &m);
        return;
    }
    if (to == TO_SELF && !fixed) return; /* only fixed is allowed to oneself */
    for (u32 i = 0; i < l->set->cpus; i++) {
        struct lapic *t = l->set->lapic[i];
        if (to == TO_ALL || (to == TO_SELF) == (t == l)) arrive(t, &m);
    }
}
