/* cpu/exc.h - delivery of exceptions and interrupts through the IVT or IDT, and IRET. Spec: SDM
 * vol. 3A chapter 6. */
#ifndef CPU_EXC_H
#define CPU_EXC_H
#include "cpu/vcpu.h"

/**
 * exc_deliver - deliver @ev at v->rip (faults: the faulting instruction; traps and interrupts: the
 * next one). Handles gates, IST, stack switches, exceptions during delivery (contributory, double
 * fault), task gates. Returns X_JUMP at the handler's first instruction, or X_SHUTDOWN for a triple
 * fault. #MF with CR0.NE clear is no exception but a pin (cpu/x87.h): X_HALT or X_JUMP at v->rip.
 */
enum x_result exc_deliver(struct vcpu *v, const struct event *ev);
/** exc_soft_int - INT n, INT3, INTO, INT1 from exec functions: checks gate DPL, IOPL in v86; pushes
 * @next_rip. Returns X_JUMP or X_FAULT. */
enum x_result exc_soft_int(struct vcpu *v, u8 vector, enum event_kind kind, u64 next_rip);
/**
 * exc_poll - at an instruction boundary: deliver the highest-priority thing that is due and allowed
 * now: pending debug traps, NMI, external interrupt (through env->intr_ack). Wakes a halted vCPU.
 * Returns true when state changed.
 */
bool exc_poll(struct vcpu *v);
/** exc_interruptible - IF set and no shadow: an external interrupt would be taken now. */
static inline bool exc_interruptible(const struct vcpu *v)
{
    return (v->rflags & RFLAGS_IF) && !v->shadow;
}
#endif
