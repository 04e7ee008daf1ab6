/* dev/lapic_reg.c - the register file, once for the MMIO page and once for the x2APIC MSRs.
 *
 * regs[] says for each register who may read or write it and which bits exist; the two doors
 * differ only in how they complain: MMIO sets "illegal register address" in the ESR, an MSR access
 * is #GP.
 * Spec: SDM vol 3A 11.4.1, 11.5, 11.8, 11.12.1 (table 11-6). */
#include "dev/lapic_internal.h"

enum { R = 1 << 0, W = 1 << 1, XR = 1 << 2, XW = 1 << 3, RX = R | XR, WX = W | XW };
static const struct {
    u8 access;    /* R, W: xAPIC; XR, XW: x2APIC            */
    u32 writable; /* bits that exist; others read as zero   */
} regs[REGS] = {
    [REG_ID] = {RX | W, 0},
    [REG_VERSION] = {RX, 0},
    [REG_TPR] = {RX | WX, 0xFF},
    [REG_APR] = {R, 0},
    [REG_PPR] = {RX, 0},
    [REG_EOI] = {WX, 0},
    [REG_RRD] = {R, 0},
    [REG_LDR] = {RX | W, 0xFF000000},
    [REG_DFR] = {R | W, 0xF0000000},
    [REG_SVR] = {RX | WX, SVR_WRITABLE},
    [REG_ISR... REG_ISR + 7] = {RX, 0},
    [REG_TMR... REG_TMR + 7] = {RX, 0},
    [REG_IRR... REG_IRR + 7] = {RX, 0},
    [REG_ESR] = {RX | WX, 0},
    [REG_ICR] = {RX | WX, 0xCCFFF},
    [REG_ICR_HI] = {R | W, 0xFF000000},
    [REG_LVT + LVT_TIMER] = {RX | WX, 0x700FF},
    [REG_LVT + LVT_THERMAL] = {RX | WX, 0x107FF},
    [REG_LVT + LVT_PERF] = {RX | WX, 0x107FF},
    [REG_LVT + LVT_LINT0] = {RX | WX, 0x1A7FF},
    [REG_LVT + LVT_LINT1] = {RX | WX, 0x1A7FF},
    [REG_LVT + LVT_ERROR] = {RX | WX, 0x100FF},
    [REG_TIMER_INIT] = {RX | WX, UINT32_MAX},
    [REG_TIMER_CUR] = {RX, 0},
    [REG_TIMER_DIV] = {RX | WX, 0xB},
    [REG_SELF_IPI] = {XW, 0xFF},
};
/* Read-only status bits the guest may write back without a #GP: delivery status and remote IRR. */
enum { LVT_STATUS_BITS = 1 << 12 | 1 << 14 };

static u32 word(const u64 set[4], u32 i) { return (u32)(set[i / 2] >> i % 2 * 32); }

static u32 read_id(const struct lapic *l)
{
    return lapic_is_x2(l) ? l->initial_id : l->initial_id << 24;
}

static u32 read_ldr(const struct lapic *l)
{
    if (!lapic_is_x2(l)) return l->ldr;
    return (l->initial_id >> 4) << 16 | 1u << (l->initial_id & 15);
}

/* @reg is readable. */
static u32 reg_read(const struct lapic *l, u32 reg)
{
    switch (reg) {
    case REG_ID: return read_id(l);
    case REG_VERSION: return (LVTS - 1) << 16 | 0x14;
    case REG_TPR: return l->tpr;
    case REG_PPR: return lapic_ppr(l);
    case REG_LDR: return read_ldr(l);
    case REG_DFR: return l->dfr;
    case REG_SVR: return l->svr;
    case REG_ISR ... REG_ISR + 7: return word(l->isr, reg - REG_ISR);
    case REG_TMR ... REG_TMR + 7: return word(l->tmr, reg - REG_TMR);
    case REG_IRR ... REG_IRR + 7: return word(l->irr, reg - REG_IRR);
    case REG_ESR: return l->esr;
    case REG_ICR: return l->icr;
    case REG_ICR_HI: return l->icr_hi;
    case REG_LVT ... REG_LVT + LVTS - 1: return l->lvt[reg - REG_LVT];
    case REG_TIMER_INIT: return l->timer_init;
    case REG_TIMER_CUR: return lapic_timer_current(l);
    case REG_TIMER_DIV: return l->timer_div;
    default: return 0;
    }
}

/* Software disable masks every LVT entry, and they stay masked until enabled (SDM 11.4.7.2). */
static void write_svr(struct lapic *l, u32 val)
{
    l->svr = val;
    if (!(val & SVR_ENABLED))
        for (u32 i = 0; i < LVTS; i++) l->lvt[i] |= LVT_MASKED;
    lapic_update(l);
}

static void write_lvt(struct lapic *l, u32 index, u32 val)
{
    if (!(l->svr & SVR_ENABLED)) val |= LVT_MASKED;
    if (index == LVT_TIMER) lapic_timer_write_lvt(l, val);
    else l->lvt[index] = val;
    if (index == LVT_LINT0) lapic_update(l);
}

/* @reg is writable and @val has only its bits. */
static void reg_write(struct lapic *l, u32 reg, u32 val)
{
    switch (reg) {
    case REG_TPR:
        l->tpr = val;
        lapic_update(l);
        break;
    case REG_EOI: lapic_eoi(l); break;
    case REG_LDR: l->ldr = val; break;
    case REG_DFR: l->dfr = val | 0x0FFFFFFF; break;
    case REG_SVR: write_svr(l, val); break;
    case REG_ESR:
        l->esr = l->esr_new;
        l->esr_new = 0;
        break;
    case REG_ICR:
        l->icr = val;
        lapic_icr_send(l);
        break;
    case REG_ICR_HI: l->icr_hi = val; break;
    case REG_LVT ... REG_LVT + LVTS - 1: write_lvt(l, reg - REG_LVT, val); break;
    case REG_TIMER_INIT: lapic_timer_write_init(l, val); break;
    case REG_TIMER_DIV: lapic_timer_write_div(l, val); break;
    default: break; /* the id is fixed */
    }
}

/* ---- MMIO ------------------------------------------------------------------------------------ */

bool lapic_mmio_hit(const struct lapic *l, gpa_t gpa)
{
    return (l->base & (BASE_ENABLED | BASE_X2APIC)) == BASE_ENABLED &&
           !((gpa ^ l->base) & PAGE_MASK);
}

u64 lapic_mmio_read(struct lapic *l, gpa_t gpa, u32 bytes)
{
    u32 off = gpa & (PAGE_BYTES - 1), reg = off >> 4;
    if (reg >= REGS || !(regs[reg].access & R)) {
        lapic_error(l, ESR_REGISTER);
        return 0;
    }
    if ((off & 15) > 3) return 0;
    return (u64)reg_read(l, reg) >> (off & 3) * 8 & mask_bytes(bytes);
}

void lapic_mmio_write(struct lapic *l, gpa_t gpa, u64 val, u32 bytes)
{
    u32 off = gpa & (PAGE_BYTES - 1), reg = off >> 4;
    if (off & 15) return;
    if (reg >= REGS || !(regs[reg].access & W)) {
        lapic_error(l, ESR_REGISTER);
        return;
    }
    reg_write(l, reg, (u32)(val & mask_bytes(bytes)) & regs[reg].writable);
}

/* ---- MSRs ------------------------------------------------------------------------------------ */

/* SDM 11.12.5, figure 11-27: disabled <-> xAPIC -> x2APIC -> disabled; every other change is #GP.
 * */
static bool write_base(struct lapic *l, u64 val)
{
    u64 allowed = (BIT(GPA_BITS) - 1) & PAGE_MASK;
    u64 was = l->base & (BASE_ENABLED | BASE_X2APIC), is = val & (BASE_ENABLED | BASE_X2APIC);
    if (val & ~(allowed | BASE_BSP | BASE_X2APIC | BASE_ENABLED)) return false;
    if (is == BASE_X2APIC) return false;
    if (was == (BASE_ENABLED | BASE_X2APIC) && is == BASE_ENABLED) return false;
    if (was == 0 && is == (BASE_ENABLED | BASE_X2APIC)) return false;
    l->base = (val & ~(u64)BASE_BSP) | (l->cpu == 0 ? BASE_BSP : 0);
    if (was != is && is == 0) lapic_init_state(l);
    if (was != is && (is & BASE_X2APIC)) l->icr_hi = 0;
    lapic_update(l);
    return true;
}

static bool x2_read(struct lapic *l, u32 reg, u64 *val)
{
    if (!lapic_is_x2(l) || reg >= REGS || !(regs[reg].access & XR)) return false;
    *val = reg_read(l, reg);
    if (reg == REG_ICR) *val |= (u64)l->icr_hi << 32;
    return true;
}

static bool x2_write(struct lapic *l, u32 reg, u64 val)
{
    if (!lapic_is_x2(l) || reg >= REGS || !(regs[reg].access & XW)) return false;
    u64 ok = regs[reg].writable;
    if (reg >= REG_LVT && reg < REG_LVT + LVTS) ok |= LVT_STATUS_BITS;
    if (reg == REG_ICR) ok |= 0xFFFFFFFFull << 32 | BIT(12);
    if (val & ~ok) return false;
    if (reg == REG_SELF_IPI) {
        l->icr = (u32)val | 1u << 18; /* as an ICR write with the self shorthand (SDM 11.12.11) */
        lapic_icr_send(l);
        return true;
    }
    if (reg == REG_ICR) l->icr_hi = (u32)(val >> 32);
    reg_write(l, reg, (u32)val & regs[reg].writable);
    return true;
}

bool lapic_msr_read(struct lapic *l, u32 msr, u64 *val)
{
    if (msr == MSR_LAPIC_BASE) {
        *val = l->base;
        return true;
    }
    if (msr == MSR_LAPIC_TSC_DEADLINE) {
        *val = l->tsc_deadline;
        return true;
    }
    if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST) return false;
    return x2_read(l, msr - MSR_X2APIC_FIRST, val);
}

bool lapic_msr_write(struct lapic *l, u32 msr, u64 val)
{
    if (msr == MSR_LAPIC_BASE) return write_base(l, val);
    if (msr == MSR_LAPIC_TSC_DEADLINE) {
        lapic_timer_write_deadline(l, val);
        return true;
    }
    if (msr < MSR_X2APIC_FIRST || msr > MSR_X2APIC_LAST) return false;
    return x2_write(l, msr - MSR_X2APIC_FIRST, val);
}
