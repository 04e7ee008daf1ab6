/* engine/common/fault.h - host exceptions raised by generated code: who owns a code range decides
 * what they mean. Signal dispositions belong to the process, so the list of ranges does too. A
 * signal whose instruction pointer is in a registered range goes to its owner; everything else goes
 * to the handler that was installed before ring3's. */
#ifndef ENGINE_COMMON_FAULT_H
#define ENGINE_COMMON_FAULT_H
#include <signal.h>
#include <ucontext.h>

#include "base/err.h"
#include "base/types.h"

struct fault_region {
    u64 start, bytes; /* host addresses of the executable mapping */
    /* Runs on the faulting thread's signal stack, with RFLAGS.AC clear. Changes @uc and returns
     * true to go on, or false: not expected, a bug of ours. */
    bool (*fn)(struct fault_region *r, siginfo_t *info, ucontext_t *uc);
};

/** fault_register - @r is borrowed until fault_unregister. Installs the handlers of SIGSEGV,
 * SIGBUS, SIGFPE and SIGILL the first time. Any thread. Errors: E_NOMEM (too many ranges), E_SYS.
 */
int fault_register(struct fault_region *r, struct err *e) MUST_USE;
void fault_unregister(struct fault_region *r);

/* A thread that runs code whose stack pointer is the guest's needs a signal stack of its own. */
struct fault_stack {
    void *memory; /* owned */
};
/** fault_stack_init - memory for one. Returns 0, E_NOMEM. fault_stack_fini frees it. */
int fault_stack_init(struct fault_stack *s, struct err *e) MUST_USE;
void fault_stack_fini(struct fault_stack *s);
/** fault_stack_enter - signals of this thread use @s from now on, whatever RSP holds.
 * fault_stack_leave: no longer. Errors: E_SYS. */
int fault_stack_enter(const struct fault_stack *s, struct err *e) MUST_USE;
void fault_stack_leave(void);
#endif
