/* cpu/tsc.h - the guest's time-stamp counter as a function of virtual time.
 * By construction guest TSC = floor(clock_ns * tsc_khz / 10^6) + tsc_offset on every vCPU, so it is
 * invariant, counts while halted, and is the same on all processors whose offsets agree. */
#ifndef CPU_TSC_H
#define CPU_TSC_H
#include "cpu/env.h"
#include "cpu/vcpu.h"

enum { TSC_NS_SCALE = 1000000 }; /* ns * khz / 10^6 = ticks */

/** tsc_from_ns - exact floor(ns * khz / 10^6) modulo 2^64; @khz below 2^43. Split so that no
 * 128-bit division is needed: a millisecond is a whole number of ticks. */
static inline u64 tsc_from_ns(u64 ns, u64 khz)
{
    return ns / TSC_NS_SCALE * khz + ns % TSC_NS_SCALE * khz / TSC_NS_SCALE;
}
/** tsc_to_ns - the first nanosecond at which tsc_from_ns() reaches @ticks; @khz is 1..2^43. */
static inline u64 tsc_to_ns(u64 ticks, u64 khz)
{
    return ticks / khz * TSC_NS_SCALE + (ticks % khz * TSC_NS_SCALE + khz - 1) / khz;
}
/** tsc_now - what RDTSC gives on @v now. Cost: one clock read. */
static inline u64 tsc_now(const struct vcpu *v)
{
    return tsc_from_ns(v->env->clock_ns(v->env->ctx), v->tsc_khz) + v->tsc_offset;
}
/** tsc_set - WRMSR to IA32_TIME_STAMP_COUNTER: TSC_ADJUST moves by the same amount. */
void tsc_set(struct vcpu *v, u64 val);
/** tsc_set_offset - WRMSR to IA32_TSC_ADJUST; tells the world (armed deadlines, the paravirtual
 * clock). */
void tsc_set_offset(struct vcpu *v, u64 offset);
#endif
