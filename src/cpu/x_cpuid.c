/* x_cpuid - instructions that tell about the processor or give entropy: CPUID, RDPID, RDPMC,
 * RDRAND, RDSEED. Spec: SDM vol. 2A CPUID, vol. 2B RDPID, RDPMC, RDRAND, RDSEED. */
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/insn_exec.h"
#include "cpu/x_internal.h"

enum x_result x_cpuid(struct vcpu *v, const struct insn *i)
{
    u32 leaf = (u32)v->gpr[RAX], sub = (u32)v->gpr[RCX], r[CPUID_REGS];
    (void)i;
    v->stats.cpuid++;
    TRACE(&v->trace, CPUID, leaf, sub, v->rip);
    cpu_cpuid(v, leaf, sub, r);
    v->gpr[RAX] = r[CPUID_EAX];
    v->gpr[RBX] = r[CPUID_EBX];
    v->gpr[RCX] = r[CPUID_ECX];
    v->gpr[RDX] = r[CPUID_EDX];
    return X_NEXT;
}

enum x_result x_rdpid(struct vcpu *v, const struct insn *i)
{
    v->gpr[i->op[0].reg & (GPRS - 1)] = (u32)v->tsc_aux;
    return X_NEXT;
}

/* There are no performance counters (leaf 0AH), so every index is out of range; and without CR4.PCE
 * user code may not ask. */
enum x_result x_rdpmc(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return vcpu_raise_err(v, EXC_GP, 0);
}

/* The host always has entropy: CF = 1, the other arithmetic flags 0. */
enum x_result x_rdrand(struct vcpu *v, const struct insn *i)
{
    gpr_write(v, i->op[0].reg, v->env->random(v->env->ctx), i->opsize);
    v->rflags = (v->rflags & ~(u64)RFLAGS_ARITH) | RFLAGS_CF;
    return X_NEXT;
}

enum x_result x_rdseed(struct vcpu *v, const struct insn *i) { return x_rdrand(v, i); }
