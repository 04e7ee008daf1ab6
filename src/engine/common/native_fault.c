/* engine/common/native_fault.c - host exceptions of guest instructions become the guest's.
 * Signal dispositions belong to the process, so the list of code ranges does too: it is the one
 * piece of process-wide state here, lock-free for the handler. A signal whose instruction pointer
 * is in a registered range is ours: RDI still holds the vCPU (thunks never write it), the exception
 * is recorded there and the thunk is left through the cache's fault exit. Everything else goes to
 * the handler that was installed before. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <ucontext.h>

#include "engine/common/native_internal.h"

enum { CACHES_MAX = 1024 };
static _Atomic(struct native_cache *) caches[CACHES_MAX];
static pthread_once_t install_once = PTHREAD_ONCE_INIT;
static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS};
static struct sigaction previous[ARRAY_LEN(signals)];
static int install_error;

static struct native_cache *find_cache(u64 rip)
{
    for (u32 n = 0; n < CACHES_MAX; n++) {
        struct native_cache *c = atomic_load_explicit(&caches[n], memory_order_acquire);
        if (c && rip - (u64)(uintptr_t)c->rx < NATIVE_CODE_BYTES) return c;
    }
    return NULL;
}

static void call_previous(int sig, siginfo_t *info, void *context)
{
    u32 n = 0;
    while (n < ARRAY_LEN(signals) - 1 && signals[n] != sig) n++;
    const struct sigaction *old = &previous[n];
    if (old->sa_flags & SA_SIGINFO) {
        old->sa_sigaction(sig, info, context);
    } else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
        old->sa_handler(sig);
    } else {
        struct sigaction dfl = {.sa_handler = SIG_DFL};
        sigaction(sig, &dfl, NULL); /* the instruction runs again and ends the process as usual */
    }
}

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

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    greg_t *g = uc->uc_mcontext.gregs;
    struct native_cache *c = find_cache((u64)g[REG_RIP]);
    if (!c || !raise_in_guest((struct vcpu *)(uintptr_t)g[REG_RDI], (u64)g[REG_TRAPNO], uc)) {
        call_previous(sig, info, context);
        return;
    }
    g[REG_RIP] = (greg_t)(uintptr_t)(c->rx + c->fault_off);
}

static void install(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&sa.sa_mask);
    for (u32 n = 0; n < ARRAY_LEN(signals); n++)
        if (sigaction(signals[n], &sa, &previous[n]) < 0) install_error = E_SYS;
}

int native_fault_register(struct native_cache *c, struct err *e)
{
    pthread_once(&install_once, install);
    if (install_error) return err_set(e, install_error, "native: cannot install fault handlers");
    for (u32 n = 0; n < CACHES_MAX; n++) {
        struct native_cache *empty = NULL;
        if (atomic_compare_exchange_strong(&caches[n], &empty, c)) return 0;
    }
    return err_set(e, E_NOMEM, "native: more than %d vCPUs in one process", CACHES_MAX);
}

void native_fault_unregister(struct native_cache *c)
{
    for (u32 n = 0; n < CACHES_MAX; n++) {
        struct native_cache *mine = c;
        if (atomic_compare_exchange_strong(&caches[n], &mine, NULL)) return;
    }
}
