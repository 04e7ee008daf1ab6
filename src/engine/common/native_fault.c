/* engine/common/native_fault.c - host exceptions of guest instructions become the guest's.
 * RDI still holds the vCPU (thunks never write it): the exception is recorded there and the thunk
 * is left through the cache's fault exit. */
#define _GNU_SOURCE
#include "engine/common/native_internal.h"

/* False when the trap is no business of the guest: a page fault in a thunk is our own bug. */
static bool raise_in_guest(struct vcpu *v, u64 trap, const ucontext_t *uc)
{
    switch (trap) {
    case EXC_DE:
    case EXC_UD:
    case EXC_MF: vcpu_raise(v, (u8)trap); return true;
    case EXC_GP:
    case EXC_AC: vcpu_raise_err(v, (u8)trap, 0); return true;
    case EXC_XM: /* the status bits of the exception are set although the instruction did not
                    complete */
        v->fx.mxcsr = uc->uc_mcontext.fpregs->mxcsr;
        vcpu_raise(v, v->cr4 & CR4_OSXMMEXCPT ? EXC_XM : EXC_UD);
        return true;
    default: return false;
    }
}

static bool on_fault(struct fault_region *r, siginfo_t *info, ucontext_t *uc)
{
    struct native_cache *c = container_of(r, struct native_cache, region);
    greg_t *g = uc->uc_mcontext.gregs;
    (void)info;
    if (!raise_in_guest((struct vcpu *)(uintptr_t)g[REG_RDI], (u64)g[REG_TRAPNO], uc)) return false;
    g[REG_RIP] = (greg_t)(uintptr_t)(c->rx + c->fault_off);
    return true;
}

int native_fault_register(struct native_cache *c, struct err *e)
{
    c->region = (struct fault_region){(u64)(uintptr_t)c->rx, NATIVE_CODE_BYTES, on_fault};
    return fault_register(&c->region, e);
}

void native_fault_unregister(struct native_cache *c) { fault_unregister(&c->region); }
