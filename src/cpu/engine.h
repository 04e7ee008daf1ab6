/* cpu/engine.h - the contract every engine keeps (DESIGN section 2): interpreter, translator,
 * direct execution, KVM. One suite tests them all. All calls but kick() come from the vCPU's own
 * thread. */
#ifndef CPU_ENGINE_H
#define CPU_ENGINE_H
#include "base/err.h"
#include "cpu/vcpu.h"

enum run_exit {
    RUN_BUDGET,   /* executed at least the budget                                   */
    RUN_KICKED,   /* ATT_STOP was set, or something is in vcpu->posted for the machine */
    RUN_HALTED,   /* HLT with nothing deliverable; vcpu->run_state is VCPU_HALTED   */
    RUN_SHUTDOWN, /* triple fault                                                   */
    RUN_FAILED,   /* the engine itself cannot go on; its struct err says why        */
};
struct engine {
    const char *name;
    /* Engine-wide support on this host; fills @e with why not and the remedy. */
    int (*probe)(struct err *e);
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
};
#endif
