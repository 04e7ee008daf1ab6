/* cpu/kvmclock.h - KVM's paravirtual clock: the guest computes nanoseconds from its TSC with a
 * scale we write into its memory. Spec: KVM's Documentation/virt/kvm/x86/msr.rst; "pvclock" ABI of
 * cpuid.rst. */
#ifndef CPU_KVMCLOCK_H
#define CPU_KVMCLOCK_H
#include "cpu/vcpu.h"

/* ns = ((shift >= 0 ? ticks << shift : ticks >> -shift) * mul) >> 32 */
struct kvmclock_scale {
    u32 mul;
    s8 shift;
};
/** kvmclock_scale - the most precise scale for a TSC of @tsc_khz (1..2^32-1): mul is in [2^31,
 * 2^32), rounded to nearest, so its error is below 2^-32 of the time since power-on. */
struct kvmclock_scale kvmclock_scale(u64 tsc_khz);

/** kvmclock_set_wall - WRMSR to KVM_WALL_CLOCK: write the wall clock's value at virtual time 0 to
 * the guest-physical address @val. Addresses that are not memory are ignored (a guest's mistake).
 */
void kvmclock_set_wall(struct vcpu *v, u64 val);
/** kvmclock_set_time - WRMSR to KVM_SYSTEM_TIME: bit 0 enables, the rest is the guest-physical
 * address of this vCPU's time record, which is written at once. */
void kvmclock_set_time(struct vcpu *v, u64 val);
/** kvmclock_refresh - write the record again when enabled: after the TSC offset changed or state
 * was loaded. */
void kvmclock_refresh(struct vcpu *v);
#endif
