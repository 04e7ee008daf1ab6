/* tsc - the guest's RDTSC is the processor's own counter plus an offset, and has to agree with
 * tsc_now(), which counts virtual time (cpu/tsc.h).
 *
 * All processors of a VM use one base, so that they agree with each other exactly; it is set when
 * the first one enters after virtual time stood still, never while another one may be looking. A
 * KVM that takes no offset (software emulations) dictates the base: then the guest's offset follows
 * it, and with it deadlines and the paravirtual clock. Spec: api.rst KVM_SET_TSC_KHZ;
 * Documentation/virt/kvm/devices/vcpu.rst KVM_VCPU_TSC_OFFSET. */
#include "cpu/tsc.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/kvm/kvm_internal.h"

enum { MSR_TSC = 0x10, TOLERANCE_PPM = 250 /* KVM's own without scaling */ };

static int set_offset(const struct kvm_cpu *k, u64 offset, struct err *e)
{
    struct kvm_device_attr a = {
        .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET, .addr = (u64)(uintptr_t)&offset};
    int rc = kvm_call(k->fd, KVM_SET_DEVICE_ATTR, &a, "KVM_SET_DEVICE_ATTR TSC offset", e);
    return rc < 0 ? rc : 0;
}

static s64 max_s64(s64 a, s64 b) { return a > b ? a : b; }

/* How far KVM's counter is ahead of where it should be, as far as reading both one after the other
 * can tell. */
static int measure(const struct kvm_cpu *k, const struct vcpu *v, s64 *ahead, struct err *e)
{
    struct {
        u32 nmsrs, pad;
        struct kvm_msr_entry row;
    } b = {.nmsrs = 1, .row.index = MSR_TSC};
    u64 before = tsc_now(v);
    int rc = kvm_call(k->fd, KVM_GET_MSRS, &b, "KVM_GET_MSRS TSC", e);
    u64 after = tsc_now(v), is = b.row.data;
    if (rc < 0) return rc;
    if (rc != 1) return err_set(e, E_UNSUPPORTED, "KVM: the guest's TSC cannot be read");
    *ahead = 0;
    if ((s64)(is - before) < 0) *ahead = (s64)(is - before);
    else if ((s64)(is - after) > 0) *ahead = (s64)(is - after);
    return 0;
}

void kvm_tsc_store(struct kvm_cpu *k, const struct vcpu *v)
{
    struct err e;
    s64 ahead;
    if (measure(k, v, &ahead, &e) < 0) return;
    u64 ticks = tsc_now(v) + (u64)max_s64(ahead, 0) - v->tsc_offset;
    pthread_mutex_lock(&k->vm->lock);
    k->vm->tsc_seen = max_u64(k->vm->tsc_seen, ticks);
    pthread_mutex_unlock(&k->vm->lock);
}

/* More than a millisecond off. */
static bool is_off(s64 ahead, const struct vcpu *v)
{
    return ahead > (s64)v->tsc_khz || ahead < -(s64)v->tsc_khz;
}

/* Give the processor the VM's base and the guest's offset. */
static int apply(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    const struct kvm_vm *vm = k->vm;
    if (k->tsc_given && k->tsc_base == vm->tsc_base && k->tsc_offset == v->tsc_offset) return 0;
    if (vm->tsc_fixed && v->tsc_offset != vm->tsc_base) tsc_set_offset(v, vm->tsc_base);
    int rc = vm->tsc_fixed ? 0 : set_offset(k, vm->tsc_base + v->tsc_offset, e);
    k->tsc_given = rc == 0;
    k->tsc_offset = v->tsc_offset;
    k->tsc_base = vm->tsc_base;
    return rc;
}

/* Nobody is looking: find the base that makes the counter right. */
static int rebase(struct kvm_cpu *k, struct vcpu *v, s64 ahead, struct err *e)
{
    struct kvm_vm *vm = k->vm;
    if (!vm->tsc_fixed) {
        s64 unseen = (s64)(tsc_now(v) + (u64)ahead - v->tsc_offset - vm->tsc_seen);
        if (ahead > unseen)
            ahead = max_s64(unseen, 0); /* never back behind what a guest has read */
        vm->tsc_base -= (u64)ahead;
        int rc = apply(k, v, e);
        if (rc == 0) rc = measure(k, v, &ahead, e);
        if (rc < 0 || !is_off(ahead, v) || vm->tsc_based) return rc;
        vm->tsc_fixed = true; /* the very first offset had no effect */
    }
    vm->tsc_base = v->tsc_offset + (u64)ahead;
    return apply(k, v, e);
}

int kvm_tsc_load(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_vm *vm = k->vm;
    s64 ahead = 0;
    pthread_mutex_lock(&vm->lock);
    int rc = apply(k, v, e);
    if (rc == 0 && (!vm->tsc_based || vm->running <= 1)) {
        rc = measure(k, v, &ahead, e);
        if (rc == 0 && is_off(ahead, v)) rc = rebase(k, v, ahead, e);
        vm->tsc_based = rc == 0;
    }
    pthread_mutex_unlock(&vm->lock);
    return rc;
}

static bool is_near(u64 a, u64 b)
{
    u64 apart = a > b ? a - b : b - a;
    return apart * 1000000 <= b * TOLERANCE_PPM;
}

int kvm_tsc_init(struct kvm_cpu *k, const struct vcpu *v, struct err *e)
{
    if (ioctl(k->fd, KVM_SET_TSC_KHZ, v->tsc_khz) == 0) return 0;
    int khz = kvm_call(k->fd, KVM_GET_TSC_KHZ, NULL, "KVM_GET_TSC_KHZ", e);
    if (khz < 0) return khz;
    if (is_near((u64)khz, v->tsc_khz)) return 0;
    return err_set(e, E_UNSUPPORTED,
                   "KVM: a TSC of %llu kHz is not possible: this processor counts at %d kHz and "
                   "cannot scale",
                   (unsigned long long)v->tsc_khz, khz);
}

u64 kvm_tsc_khz(u64 wanted)
{
    struct err e;
    u64 khz = wanted;
    int dev = kvm_open(&e), vm = -1, cpu = -1;
    if (dev >= 0) vm = ioctl(dev, KVM_CREATE_VM, 0);
    if (vm >= 0) cpu = ioctl(vm, KVM_CREATE_VCPU, 0);
    if (cpu >= 0 && ioctl(cpu, KVM_SET_TSC_KHZ, wanted) < 0) {
        int own = ioctl(cpu, KVM_GET_TSC_KHZ, 0);
        if (own >= 1000) khz = (u64)own;
    }
    if (cpu >= 0) close(cpu);
    if (vm >= 0) close(vm);
    if (dev >= 0) close(dev);
    return khz;
}
