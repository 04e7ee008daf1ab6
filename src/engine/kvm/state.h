/* state.h - a processor's state between struct vcpu and KVM, in parts that move one by one.
 *
 * Each move is a system call (9 us on a software emulation of KVM), so none is made without need:
 * @held says which parts of *v are current while the rest is KVM's; what KVM was last known to have
 * is kept, and a part that is still equal does not go back. Once an instruction had to be stepped
 * (step.c), KVM leaves the most wanted parts in its shared page (KVM_CAP_SYNC_REGS). */
#ifndef ENGINE_KVM_STATE_H
#define ENGINE_KVM_STATE_H
#include <linux/kvm.h>

#include "base/err.h"
#include "base/types.h"

struct kvm_cpu;
struct vcpu;

enum kvm_part {
    PART_SREGS = 1 << 0, /* segments, tables, control registers, EFER */
    PART_REGS = 1 << 1,
    PART_XSTATE = 1 << 2,
    PART_XCR0 = 1 << 3,
    PART_DEBUG = 1 << 4,
    PART_MSRS = 1 << 5,   /* those of msr.c */
    PART_EVENTS = 1 << 6, /* interrupt shadow, NMI mask, an event under way */
    PART_ALL = (1 << 7) - 1,
    /* without which no instruction can be executed, nor an exception delivered */
    PART_BASE = PART_SREGS | PART_REGS | PART_DEBUG | PART_EVENTS,
};
enum { KVM_MSRS_MAX = 16 };
struct kvm_msr_block {
    u32 nmsrs, pad;
    struct kvm_msr_entry row[KVM_MSRS_MAX];
};
static_assert(offsetof(struct kvm_msr_block, row) == offsetof(struct kvm_msrs, entries), "layout");

/* What KVM has, of the parts in @known: nothing has run since. */
struct kvm_copy {
    u32 held; /* enum kvm_part: current in *v, KVM's may be old */
    u32 known;
    bool shared; /* the last KVM_RUN left registers and events in run->s.regs */
    struct kvm_sregs2 sregs;
    struct kvm_regs regs;
    u64 xcr0;
    struct kvm_debugregs debug;
    struct kvm_msr_block msrs;
    struct kvm_vcpu_events events;
    u8 *xsave; /* xsave_bytes, the vCPU's values in kvm_xsave_pack()'s form */
};

/** kvm_state_load - all that *v holds to KVM; from here on *v is old. */
int kvm_state_load(struct kvm_cpu *k, struct vcpu *v, struct err *e) MUST_USE;
/** kvm_state_store - @parts (enum kvm_part) to *v, those it does not hold already. An event under
 * way comes in k->unfinished. */
int kvm_state_store(struct kvm_cpu *k, struct vcpu *v, u32 parts, struct err *e) MUST_USE;
/** kvm_state_ran - KVM_RUN was called: what was known is old. */
void kvm_state_ran(struct kvm_cpu *k);
/** kvm_state_share - from now on KVM_RUN leaves registers and events where reading them is cheap,
 * if this KVM can. */
void kvm_state_share(struct kvm_cpu *k);
/* xsave.c: an XSAVE area of xsave_bytes from *v; k->xsave to *v */
int kvm_xsave_pack(const struct kvm_cpu *k, const struct vcpu *v, u8 *area, struct err *e) MUST_USE;
void kvm_xsave_unpack(const struct kvm_cpu *k, struct vcpu *v);
/* msr.c: the PART_MSRS */
int kvm_msr_load(struct kvm_cpu *k, const struct vcpu *v, struct err *e) MUST_USE;
int kvm_msr_store(struct kvm_cpu *k, struct vcpu *v, struct err *e) MUST_USE;
#endif
