/* dev/lapic_timer.c - the local APIC timer: one-shot, periodic, TSC deadline; and the guest's TSC.
 *
 * A running counter is stored as the virtual time of its next expiry; the current count is
 * computed from it when the guest asks. Input clock bus_khz, divided by 1..128.  Spec: SDM vol 3A
 * 11.5.4. */
#include "dev/lapic_internal.h"

/* A shorter period cannot be served by a host timer and would only starve the event loop. */
#define PERIOD_NS_MIN US_TO_NS(20)

static u64 mul_div(u64 a, u64 b, u64 c) { return (u64)((u128)a * b / c); }
static u64 mul_div_up(u64 a, u64 b, u64 c)
{
    u128 q = ((u128)a * b + c - 1) / c;
    return q > UINT64_MAX ? UINT64_MAX : (u64)q;
}

static u64 bus_khz(const struct lapic *l) { return l->set->bus_khz ? l->set->bus_khz : 1000000; }
static u32 mode(const struct lapic *l) { return l->lvt[LVT_TIMER] & LVT_TIMER_MODE; }

/* Bits 3, 1, 0 of the register are 000..110 for 2..128 and 111 for 1. */
static u32 divisor(u32 div) { return 1u << ((((div & 3) | (div >> 1 & 4)) + 1) & 7); }

static u64 count_to_ns(const struct lapic *l, u64 count)
{
    return mul_div_up(count * divisor(l->timer_div), 1000000, bus_khz(l));
}

u64 lapic_tsc(const struct lapic *l)
{
    return mul_div(clk_now_ns(l->set->clk), l->set->tsc_khz, 1000000) + l->tsc_offset;
}

/* Virtual time at which the guest's TSC reaches @tsc: 0 when it has. */
static u64 tsc_to_ns(const struct lapic *l, u64 tsc)
{
    if (tsc <= lapic_tsc(l)) return 0;
    return mul_div_up(tsc - l->tsc_offset, 1000000, l->set->tsc_khz);
}

void lapic_timer_stop(struct lapic *l)
{
    l->timer_due_ns = 0;
    l->tsc_deadline = 0;
    timer_cancel(&l->timer);
}

void lapic_timer_sync(struct lapic *l)
{
    bool deadline = mode(l) == LVT_TSC_DEADLINE;
    if (deadline && l->tsc_deadline) timer_arm(&l->timer, tsc_to_ns(l, l->tsc_deadline));
    else if (!deadline && l->timer_due_ns) timer_arm(&l->timer, l->timer_due_ns);
    else timer_cancel(&l->timer);
}

/* Next expiry of a periodic counter: keeps its phase, skips what was missed. */
static u64 next_period(const struct lapic *l, u64 now)
{
    u64 period = max_u64(count_to_ns(l, l->timer_init), PERIOD_NS_MIN);
    u64 due = l->timer_due_ns + period;
    return due > now ? due : now + period - (now - l->timer_due_ns) % period;
}

void lapic_timer_fire(struct timer *t)
{
    struct lapic *l = container_of(t, struct lapic, timer);
    u64 now = timer_now_ns(t);
    if (mode(l) == LVT_TSC_DEADLINE) {
        if (!l->tsc_deadline) return;
        if (lapic_tsc(l) < l->tsc_deadline) { /* rounding; or the TSC was set back */
            timer_arm(t, max_u64(tsc_to_ns(l, l->tsc_deadline), now + 1));
            return;
        }
        l->tsc_deadline = 0;
    } else {
        if (!l->timer_due_ns) return;
        l->timer_due_ns = mode(l) == LVT_PERIODIC ? next_period(l, now) : 0;
        lapic_timer_sync(l);
    }
    lapic_lvt_raise(l, LVT_TIMER);
}

u32 lapic_timer_current(const struct lapic *l)
{
    u64 now = clk_now_ns(l->set->clk);
    if (mode(l) == LVT_TSC_DEADLINE || l->timer_due_ns <= now) return 0;
    u64 count = mul_div(l->timer_due_ns - now, bus_khz(l), 1000000ull * divisor(l->timer_div));
    return (u32)min_u64(count, l->timer_init);
}

void lapic_timer_write_init(struct lapic *l, u32 count)
{
    if (mode(l) == LVT_TSC_DEADLINE) return;
    l->timer_init = count;
    l->timer_due_ns = count ? clk_now_ns(l->set->clk) + count_to_ns(l, count) : 0;
    lapic_timer_sync(l);
}

void lapic_timer_write_div(struct lapic *l, u32 div)
{
    u32 left = lapic_timer_current(l);
    bool running = l->timer_due_ns != 0;
    l->timer_div = div & 0xB;
    if (!running) return;
    l->timer_due_ns = clk_now_ns(l->set->clk) + count_to_ns(l, left);
    lapic_timer_sync(l);
}

/* Entering or leaving TSC-deadline mode stops the timer (SDM 11.5.4.1). */
void lapic_timer_write_lvt(struct lapic *l, u32 lvt)
{
    bool was = mode(l) == LVT_TSC_DEADLINE;
    l->lvt[LVT_TIMER] = lvt;
    if (was != (mode(l) == LVT_TSC_DEADLINE)) {
        l->timer_init = 0;
        lapic_timer_stop(l);
    }
}

void lapic_timer_write_deadline(struct lapic *l, u64 tsc)
{
    if (mode(l) != LVT_TSC_DEADLINE) return;
    l->tsc_deadline = tsc;
    if (tsc && tsc <= lapic_tsc(l)) { /* already past: no need to wake the event loop */
        l->tsc_deadline = 0;
        timer_cancel(&l->timer);
        lapic_lvt_raise(l, LVT_TIMER);
        return;
    }
    lapic_timer_sync(l);
}

void lapic_set_tsc_offset(struct lapic *l, u64 offset)
{
    l->tsc_offset = offset;
    if (mode(l) == LVT_TSC_DEADLINE && l->tsc_deadline) lapic_timer_sync(l);
}
