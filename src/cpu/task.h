/* cpu/task.h - hardware task switches (protected mode only). Spec: SDM vol. 3A chapter 8. */
#ifndef CPU_TASK_H
#define CPU_TASK_H
#include "cpu/vcpu.h"

enum task_reason {
    TASK_JMP,
    TASK_CALL,
    TASK_IRET,
    TASK_EVENT /* interrupt or exception through a task gate */
};
/**
 * task_switch - leave the current task for the TSS @sel; @next_rip is where the old task will go
 * on. Privilege checks (DPL of the gate or TSS) are the caller's; everything else of table 8-1 is
 * here. Returns 0; or X_FAULT with v->exc: before the commit point nothing changed, after it the
 * fault belongs to the new task (v->rip is the new task's).
 */
int task_switch(struct vcpu *v, u16 sel, enum task_reason why, u64 next_rip);
/** task_return - IRET with NT set: switch to the task in the back link. */
int task_return(struct vcpu *v, u64 next_rip);
/** task_push_error - the error code of an exception, on the new task's stack. */
int task_push_error(struct vcpu *v, u32 error);
#endif
