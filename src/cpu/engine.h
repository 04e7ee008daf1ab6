/* cpu/engine.h - the contract every engine keeps (DESIGN section 2): interpreter, translator,
 * direct execution, KVM. One suite tests them all. All calls but kick() come from the vCPU's own
 * thread. */
#ifndef CPU_ENGINE_H
#define CPU_ENGINE_H
#include "base/err.h"
#include "cpu/vcpu.h"

struct cpu_model;

enum run_exit {
    RUN_BUDGET,   /* executed at least the budget                                   */
    RUN_KICKED,   /* ATT_STOP was set, or something is in vcpu->posted for the machine */
    RUN_HALTED,   /* HLT with nothing deliverable; vcpu->run_state is VCPU_HALTED   */
    RUN_SHUTDOWN, /* triple fault                                                   */
    RUN_BREAK,    /* before the instruction at a breakpoint of cpu/breakpoint.h     */
    RUN_FAILED,   /* the engine itself cannot go on: failure() says why             */
};
/* Members marked "may be NULL" are for engines that have something to say there. */
struct engine {
    const char *name;
    /* Engine-wide support on this host; fills @e with why not and the remedy. */
    int (*probe)(struct err *e);
    /* What works when asked for by name is not always worth choosing: 0, or why --engine auto had
     * better take another one. Only after a probe() of 0. May be NULL: 0. */
    int (*prefer)(struct err *e);
    /* Take off the model what this engine cannot give: features, the TSC frequency. Called before
     * any vCPU has it; E_UNSUPPORTED when a named model would break its promise. May be NULL:
     * gives everything. */
    int (*fit)(struct cpu_model *m, struct err *e);
    /* init and fini of the vCPUs of one struct mem are called one at a time. */
    int (*init)(struct vcpu *v, struct err *e);
    void (*fini)(struct vcpu *v);
    /* Run until about @budget instructions retired (0: no bound) or something above happened. On
     * return *v is architecturally complete, at an instruction boundary, with no event half
     * delivered. */
    enum run_exit (*run)(struct vcpu *v, u64 budget);
    /* Bytes of guest-physical [start, end) changed under decoded or translated code. From the
     * vCPU's thread. */
    void (*invalidate)(struct vcpu *v, gpa_t start, gpa_t end);
    /* Make run() return or notice vcpu->attention soon. From any thread; the caller has set
     * attention bits already. */
    void (*kick)(struct vcpu *v);
    /* After RUN_FAILED: one line, valid until the next run() or fini(). May be NULL. */
    const struct err *(*failure)(const struct vcpu *v);
};
#endif
