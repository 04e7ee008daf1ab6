/* engine/common/fault.c - see fault.h. The list is lock-free for the handler. */
#define _GNU_SOURCE
#include "engine/common/fault.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { REGIONS_MAX = 1024, STACK_BYTES = 128 * 1024 };
/* SS_AUTODISARM of linux/signal.h, which does not mix with signal.h */
static const int stack_autodisarm = (int)(1u << 31);
static struct fault_region *_Atomic regions[REGIONS_MAX];
static pthread_once_t install_once = PTHREAD_ONCE_INIT;
static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS};
static struct sigaction previous[ARRAY_LEN(signals)];
static int install_error;

static struct fault_region *find(u64 rip)
{
    for (u32 n = 0; n < REGIONS_MAX; n++) {
        struct fault_region *r = atomic_load_explicit(&regions[n], memory_order_acquire);
        if (r && rip - r->start < r->bytes) return r;
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

static void on_fault(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    /* the kernel leaves AC as the translator set it; C code may misalign */
    __asm__ volatile("pushfq\n\tandl $~0x40000, (%%rsp)\n\tpopfq" ::: "memory", "cc");
    struct fault_region *r = find((u64)uc->uc_mcontext.gregs[REG_RIP]);
    if (!r || !r->fn(r, info, uc)) call_previous(sig, info, context);
}

static void install(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&sa.sa_mask);
    for (u32 n = 0; n < ARRAY_LEN(signals); n++)
        if (sigaction(signals[n], &sa, &previous[n]) < 0) install_error = E_SYS;
}

int fault_register(struct fault_region *r, struct err *e)
{
    pthread_once(&install_once, install);
    if (install_error) return err_set(e, install_error, "cannot install fault handlers");
    for (u32 n = 0; n < REGIONS_MAX; n++) {
        struct fault_region *empty = NULL;
        if (atomic_compare_exchange_strong(&regions[n], &empty, r)) return 0;
    }
    return err_set(e, E_NOMEM, "more than %d code caches in one process", REGIONS_MAX);
}

void fault_unregister(struct fault_region *r)
{
    for (u32 n = 0; n < REGIONS_MAX; n++) {
        struct fault_region *mine = r;
        if (atomic_compare_exchange_strong(&regions[n], &mine, NULL)) return;
    }
}

int fault_stack_init(struct fault_stack *s, struct err *e)
{
    s->memory = malloc(STACK_BYTES);
    return s->memory ? 0 : err_set(e, E_NOMEM, "signal stack");
}

void fault_stack_fini(struct fault_stack *s)
{
    free(s->memory);
    s->memory = NULL;
}

/* AUTODISARM: the kernel does not look whether RSP happens to point into this stack, which a guest
 * could arrange. */
int fault_stack_enter(const struct fault_stack *s, struct err *e)
{
    stack_t ss = {.ss_sp = s->memory, .ss_size = STACK_BYTES, .ss_flags = stack_autodisarm};
    return sigaltstack(&ss, NULL) == 0 ? 0 : err_errno(e, "signal stack");
}

void fault_stack_leave(void)
{
    stack_t off = {.ss_flags = SS_DISABLE};
    sigaltstack(&off, NULL);
}
