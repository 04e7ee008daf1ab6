/* dev/lapic_internal.h - shared by lapic.c (state, priorities), lapic_reg.c (registers and MSRs),
 * lapic_ipi.c (messages) and lapic_timer.c. Everything runs under the bus lock. */
#ifndef DEV_LAPIC_INTERNAL_H
#define DEV_LAPIC_INTERNAL_H
#include "dev/lapic.h"

/* Register numbers: MMIO offset >> 4, MSR - 0x800. SDM vol 3A table 11-1 and 11-6. */
enum lapic_reg {
    REG_ID = 0x02,
    REG_VERSION = 0x03,
    REG_TPR = 0x08,
    REG_APR = 0x09,
    REG_PPR = 0x0A,
    REG_EOI = 0x0B,
    REG_RRD = 0x0C,
    REG_LDR = 0x0D,
    REG_DFR = 0x0E,
    REG_SVR = 0x0F,
    REG_ISR = 0x10,
    REG_TMR = 0x18,
    REG_IRR = 0x20,
    REG_ESR = 0x28,
    REG_ICR = 0x30,
    REG_ICR_HI = 0x31,
    REG_LVT = 0x32, /* timer, thermal, performance, LINT0, LINT1, error */
    REG_TIMER_INIT = 0x38,
    REG_TIMER_CUR = 0x39,
    REG_TIMER_DIV = 0x3E,
    REG_SELF_IPI = 0x3F,
    REGS = 0x40,
};
enum { LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR, LVTS };
enum {
    LVT_VECTOR = 0xFF,
    LVT_MASKED = 1 << 16,
    LVT_PERIODIC = 1 << 17,
    LVT_TSC_DEADLINE = 1 << 18,
    LVT_TIMER_MODE = LVT_PERIODIC | LVT_TSC_DEADLINE,
};
enum { SVR_ENABLED = 1 << 8, SVR_WRITABLE = 0x3FF };
enum { ESR_SEND_VECTOR = 1 << 5, ESR_RECV_VECTOR = 1 << 6, ESR_REGISTER = 1 << 7 };
enum { BASE_BSP = 1 << 8, BASE_X2APIC = 1 << 10, BASE_ENABLED = 1 << 11 };

struct lapic {
    struct dev dev;
    struct lapic_set *set; /* borrowed                                         */
    struct timer timer;    /* due at timer_due_ns or at the TSC deadline       */
    u32 cpu, initial_id;
    bool pin;          /* INTR as last told to the processor                */
    bool lint0, lint1; /* input levels; follow the wires, never saved       */

    /* saved */
    u64 base; /* IA32_APIC_BASE                                */
    u32 tpr, ldr, dfr, svr, esr, esr_new;
    u32 icr, icr_hi; /* low word; 8-bit (bits 31:24) or 32-bit destination */
    u32 lvt[LVTS];
    u32 timer_init, timer_div;
    u64 timer_due_ns; /* next expiry of a running counter; 0: stopped  */
    u64 tsc_deadline, tsc_offset;
    u64 irr[4], isr[4], tmr[4]; /* bit v of the 256                              */
    bool extint_msg;            /* an ExtINT message waits to be acknowledged    */
};

static inline bool lapic_hw_enabled(const struct lapic *l) { return l->base & BASE_ENABLED; }
static inline bool lapic_sw_enabled(const struct lapic *l)
{
    return (l->base & BASE_ENABLED) && (l->svr & SVR_ENABLED);
}
static inline bool lapic_is_x2(const struct lapic *l) { return l->base & BASE_X2APIC; }

/* lapic.c */
void lapic_update(struct lapic *l);     /* recompute the INTR pin                */
void lapic_init_state(struct lapic *l); /* INIT: everything but id, base and TSC */
void lapic_accept(struct lapic *l, u8 vector, bool level); /* fixed interrupt into IRR   */
void lapic_error(struct lapic *l, u32 esr_bit);
u32 lapic_ppr(const struct lapic *l);
void lapic_eoi(struct lapic *l);
void lapic_lvt_raise(struct lapic *l, u32 index); /* the source of LVT @index fires (edge) */
/* lapic_ipi.c */
void lapic_icr_send(struct lapic *l);
/* lapic_timer.c */
void lapic_timer_fire(struct timer *t);
void lapic_timer_stop(struct lapic *l);
void lapic_timer_write_init(struct lapic *l, u32 count);
void lapic_timer_write_div(struct lapic *l, u32 div);
void lapic_timer_write_lvt(struct lapic *l, u32 lvt);
void lapic_timer_write_deadline(struct lapic *l, u64 tsc);
u32 lapic_timer_current(const struct lapic *l);
void lapic_timer_sync(struct lapic *l); /* arm or cancel from the saved fields */
#endif
