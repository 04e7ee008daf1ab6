/* debug - a processor stopped after every instruction, or before chosen ones. KVM lends the
 * processor's debug registers for that; the guest's own keep their values and do nothing meanwhile.
 * Spec: api.rst section 4.87; SDM vol. 3B chapter 18. */
#include <string.h>

#include "cpu/breakpoint.h"
#include "engine/kvm/kvm_internal.h"

enum { DEBUG_REGISTERS = 4, DR7_SLOT = 7, DR7_GLOBAL = 1 << 1 };

/* Breakpoints on execution, one byte each: R/W and LEN are 0 in DR7. */
static struct kvm_guest_debug wanted(const struct vcpu *v, bool step)
{
    struct kvm_guest_debug d = {0};
    if (step) d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
    if (step || !v->breaks.count) return d;
    d.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;
    d.arch.debugreg[DR7_SLOT] = DR7_FIXED;
    for (u32 i = 0; i < v->breaks.count && i < DEBUG_REGISTERS; i++) {
        d.arch.debugreg[i] = v->breaks.at[i];
        d.arch.debugreg[DR7_SLOT] |= (u64)DR7_GLOBAL << (2 * i);
    }
    return d;
}

int kvm_debug_set(struct kvm_cpu *k, const struct vcpu *v, bool step)
{
    struct kvm_guest_debug d = wanted(v, step);
    if (!memcmp(&d, &k->debug, sizeof d)) return 0;
    k->debug = d;
    return kvm_call(k->fd, KVM_SET_GUEST_DEBUG, &d, "KVM_SET_GUEST_DEBUG", &k->why);
}

bool kvm_debug_needs_step(const struct vcpu *v)
{
    return v->breaks.count > DEBUG_REGISTERS || (v->breaks.count && v->breaks.resuming);
}

/* Where KVM emulates HLT (real mode on old processors, software emulations), a step over it is
 * reported as a step only: from the byte F4 to the next one is what HLT looks like. */
static bool stepped_halt(const struct kvm_cpu *k, const struct vcpu *v, u64 from)
{
    enum { HLT = 0xF4 };
    struct kvm_translation t = {.linear_address = from};
    struct err e;
    u8 byte = 0;
    if (k->pc != from + 1 || kvm_call(k->fd, KVM_TRANSLATE, &t, "KVM_TRANSLATE", &e) < 0)
        return false;
    return t.valid && !mem_read(v->mem, t.physical_address, &byte, 1) && byte == HLT;
}

/* Was a step made? Else it was a breakpoint: the instruction there has not been executed. */
static bool was_step(const struct kvm_cpu *k) { return k->debug.control & KVM_GUESTDBG_SINGLESTEP; }

enum kvm_next kvm_debug_exit(struct kvm_cpu *k, struct vcpu *v)
{
    u64 from = k->pc;
    k->pc = k->run->debug.arch.pc;
    if (!was_step(k)) return KVM_NEXT_BREAK;
    v->stats.insns++;
    if (stepped_halt(k, v, from)) return KVM_NEXT_HALT;
    v->breaks.resuming &= k->pc == v->breaks.resumed;
    return !v->breaks.resuming && vcpu_break_at(v, k->pc) ? KVM_NEXT_BREAK : KVM_NEXT_RUN;
}
