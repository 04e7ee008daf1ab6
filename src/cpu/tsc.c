/* tsc - setting the guest's time-stamp counter, and the instructions that read it.
 * Spec: SDM vol. 3B section 18.17; vol. 2B RDTSC, RDTSCP. */
#include "cpu/tsc.h"

#include "cpu/insn_exec.h"
#include "cpu/kvmclock.h"

void tsc_set_offset(struct vcpu *v, u64 offset)
{
    v->tsc_offset = offset;
    kvmclock_refresh(v);
    if (v->env->tsc_changed) v->env->tsc_changed(v->env->ctx, v);
}

void tsc_set(struct vcpu *v, u64 val) { tsc_set_offset(v, v->tsc_offset + (val - tsc_now(v))); }

static bool is_forbidden(const struct vcpu *v)
{
    return v->cr4 & CR4_TSD && v->cpl && v->cr0 & CR0_PE;
}

static void load_tsc(struct vcpu *v)
{
    u64 t = tsc_now(v);
    v->gpr[RAX] = (u32)t;
    v->gpr[RDX] = t >> 32;
}

enum x_result x_rdtsc(struct vcpu *v, const struct insn *i)
{
    (void)i;
    if (unlikely(is_forbidden(v))) return vcpu_raise_err(v, EXC_GP, 0);
    load_tsc(v);
    return X_NEXT;
}

enum x_result x_rdtscp(struct vcpu *v, const struct insn *i)
{
    (void)i;
    if (unlikely(is_forbidden(v))) return vcpu_raise_err(v, EXC_GP, 0);
    load_tsc(v);
    v->gpr[RCX] = (u32)v->tsc_aux;
    return X_NEXT;
}
