/* cpu/exc_internal.h - shared by exc.c and exc_legacy.c only. */
#ifndef CPU_EXC_INTERNAL_H
#define CPU_EXC_INTERNAL_H
#include "cpu/exc.h"
#include "cpu/far.h"

/* An IDT gate that passed the checks of its own. */
struct gate {
    u64 rip;
    u16 sel;
    u8 type; /* enum sys_type */
    u8 ist;
};
/* INT n, INT3, INTO: the program asked for it, so gate DPL counts and EXT stays clear. */
static inline bool exc_is_soft(const struct event *ev)
{
    return ev->kind == EV_SOFT_INT || ev->kind == EV_SOFT_EXC;
}
/* RFLAGS as pushed: RF is set by faults, so that the instruction's own breakpoint does not hit
 * again (SDM vol. 3B 18.3.1.1). */
u64 exc_flags_image(const struct vcpu *v, const struct event *ev);
/* All of these: 0, or X_FAULT with v->exc filled and no register changed. */
int exc_read_gate(struct vcpu *v, const struct event *ev, struct gate *g);
int exc_gate_target(struct vcpu *v, const struct gate *g, struct far_target *t);
/* Flags, CS, RIP and CPL of the handler; the stack is the caller's. */
void exc_enter(struct vcpu *v, const struct gate *g, const struct far_target *t);
int exc_deliver_protected(struct vcpu *v, const struct event *ev, u64 ret_rip);
int exc_deliver_real(struct vcpu *v, const struct event *ev, u64 ret_rip);
/* INT n in virtual-8086 mode: #GP(0) or redirection through the v86 task's own IVT (CR4.VME);
 * EXC_V86_USE_IDT: neither, go through the IDT. */
enum { EXC_V86_USE_IDT = -1 };
int exc_v86_int(struct vcpu *v, u8 vector, u64 next_rip);
#endif
