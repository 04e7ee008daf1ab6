/* cpu/x87.h - x87 errors the way the IBM PC reports them (CR0.NE = 0): the FERR# pin, the IGNNE#
 * pin. Spec: SDM vol. 1 section 8.7 and appendix D; vol. 3A section 2.5 (NE). */
#ifndef CPU_X87_H
#define CPU_X87_H
#include "cpu/vcpu.h"

enum { FSW_ERROR = 1 << 7, FSW_BUSY = 1 << 15 }; /* ES, B */

/** x87_is_external - an unmasked x87 error is reported by FERR# instead of #MF. */
bool x87_is_external(const struct vcpu *v);
/**
 * x87_report - a waiting x87 instruction at v->rip found an error pending while
 * x87_is_external(). FERR# goes up. X_HALT: the processor stands still before the instruction until
 * an interrupt comes. X_JUMP: IGNNE# is asserted, so the instruction is to be started again, this
 * time without the error; the exceptions concerned stay masked until the program loads FCW.
 */
enum x_result x87_report(struct vcpu *v);
/** x87_ferr_drop - FERR# goes down: v->x87_ferr is set and no error is pending any more. */
void x87_ferr_drop(struct vcpu *v);
/** x87_changed - call after anything that may have changed v->fx.fsw. */
static inline void x87_changed(struct vcpu *v)
{
    if (unlikely(v->x87_ferr) && !(v->fx.fsw & FSW_ERROR)) x87_ferr_drop(v);
}
#endif
