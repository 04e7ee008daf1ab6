/* kvmclock - the two records of KVM's paravirtual clock in guest memory.
 *
 * Every vCPU's record says the same thing: at TSC = tsc_offset the time was 0. Guest TSC minus
 * tsc_offset is the same function of virtual time on all vCPUs (tsc.h), so they compute
 * equal times from equal moments, to the bit, and the "stable" flag is true. One write lasts for
 * ever. */
#include "cpu/kvmclock.h"

#include "cpu/env.h"
#include "mem/mem.h"

enum { PVCLOCK_TSC_STABLE = 1 << 0 };
#define KVM_TIME_ENABLE 1ull

/* Guest ABI, little-endian as the host is. */
struct pvclock_time {
    u32 version; /* odd while being written */
    u32 pad0;
    u64 tsc_timestamp;
    u64 system_time; /* ns at tsc_timestamp */
    u32 tsc_to_system_mul;
    s8 tsc_shift;
    u8 flags;
    u8 pad[2];
};
static_assert(sizeof(struct pvclock_time) == 32, "pvclock ABI");
struct pvclock_wall {
    u32 version, sec, nsec;
};
static_assert(sizeof(struct pvclock_wall) == 12, "pvclock ABI");

struct kvmclock_scale kvmclock_scale(u64 tsc_khz)
{
    /* mul = 10^6 / khz * 2^(32 - shift), brought into [2^31, 2^32) by the choice of shift */
    u128 num = (u128)1000000 << 32;
    s8 shift = 0;
    u128 mul;
    while (num / tsc_khz >= BIT(32)) { /* slower than 1 GHz: 1..20 times */
        num >>= 1;
        shift++;
    }
    while (num / tsc_khz < BIT(31)) { /* faster: 0..12 times */
        num <<= 1;
        shift--;
    }
    mul = (num + tsc_khz / 2) / tsc_khz;
    return (struct kvmclock_scale){.mul = mul > UINT32_MAX ? UINT32_MAX : (u32)mul, .shift = shift};
}

/* Write @bytes at @gpa under the version protocol; the version is the record's first word and
 * @rec's. Other vCPUs may be reading. Not memory: nothing happens. */
static void publish(struct vcpu *v, gpa_t gpa, void *rec, u32 bytes, u32 even)
{
    u32 odd = even - 1;
    if (mem_write(v->mem, gpa, &odd, sizeof odd)) return;
    atomic_thread_fence(memory_order_release);
    if (mem_write(v->mem, gpa + sizeof odd, (u8 *)rec + sizeof odd, bytes - sizeof odd)) return;
    atomic_thread_fence(memory_order_release);
    if (mem_write(v->mem, gpa, &even, sizeof even)) return;
}

void kvmclock_refresh(struct vcpu *v)
{
    struct kvmclock_scale s = kvmclock_scale(v->tsc_khz);
    struct pvclock_time rec = {
        .tsc_timestamp = v->tsc_offset,
        .tsc_to_system_mul = s.mul,
        .tsc_shift = s.shift,
        .flags = PVCLOCK_TSC_STABLE,
    };
    if (!(v->kvm_system_time & KVM_TIME_ENABLE)) return;
    v->kvm_clock_version += 2; /* stays even */
    publish(v, v->kvm_system_time & ~KVM_TIME_ENABLE, &rec, sizeof rec, v->kvm_clock_version);
}

void kvmclock_set_time(struct vcpu *v, u64 val)
{
    v->kvm_system_time = val;
    kvmclock_refresh(v);
}

void kvmclock_set_wall(struct vcpu *v, u64 val)
{
    u64 boot_ns = v->env->wall_ns(v->env->ctx) - v->env->clock_ns(v->env->ctx);
    u32 version = 0;
    struct pvclock_wall rec = {.sec = (u32)(boot_ns / NS_PER_S), .nsec = (u32)(boot_ns % NS_PER_S)};
    v->kvm_wall_clock = val;
    if (!val || mem_read(v->mem, val, &version, sizeof version)) return;
    publish(v, val, &rec, sizeof rec, (version | 1) + 1);
}
