/* x87 - see x87.h. */
#include "cpu/x87.h"

#include "cpu/env.h"

enum { FSW_EXCEPTIONS = 0x3F };

bool x87_is_external(const struct vcpu *v) { return !(v->cr0 & CR0_NE) && v->env->x87_ferr; }

enum x_result x87_report(struct vcpu *v)
{
    v->x87_ferr = true;
    v->exc.kind = EV_NONE;
    if (!v->env->x87_ferr(v->env->ctx, v, true)) {
        v->run_state = VCPU_HALTED;
        return X_HALT;
    }
    v->fx.fcw |= v->fx.fsw & FSW_EXCEPTIONS;
    v->fx.fsw &= (u16) ~(FSW_ERROR | FSW_BUSY);
    return X_JUMP;
}

void x87_ferr_drop(struct vcpu *v)
{
    v->x87_ferr = false;
    if (v->env->x87_ferr) v->env->x87_ferr(v->env->ctx, v, false);
}
