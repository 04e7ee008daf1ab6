/* engine/common/step.h - fetch, decode and execute one instruction of any kind, precisely: the
 * common denominator of all engines. */
#ifndef ENGINE_COMMON_STEP_H
#define ENGINE_COMMON_STEP_H
#include "cpu/vcpu.h"

/** step_fetch - decode and bind the instruction at v->rip into @out. 0, or X_FAULT (#PF, #GP, #UD
 * raised in v->exc). */
int step_fetch(struct vcpu *v, struct insn *out);
/**
 * step_one - execute exactly one instruction (or one REP iteration batch) at v->rip, with
 * everything the architecture does around it: code breakpoints and RF, interrupt shadow,
 * single-step and data-breakpoint traps, delivery of its exception. Returns X_JUMP (state
 * advanced), X_HALT or X_SHUTDOWN.
 */
enum x_result step_one(struct vcpu *v);
/** step_finish - account for @r of instruction @i: advance RIP, deliver the fault. Returns X_JUMP,
 * X_AGAIN, X_HALT or X_SHUTDOWN. */
enum x_result step_finish(struct vcpu *v, const struct insn *i, enum x_result r);
#endif
