/* cpu/breakpoint.h - breakpoints of a debugger. The guest neither sees them nor can it switch them
 * off: its debug registers and its memory stay its own.
 *
 * While any is set, every engine's run() returns RUN_BREAK before the instruction at one of these
 * linear addresses executes, except the one run() started at (so that a debugger goes on by calling
 * run() again; an instruction that jumps to itself therefore stops once). Single-stepping is
 * run(v, 1).
 * Owner: the vCPU's thread, or whoever has it while run() does not run. */
#ifndef CPU_BREAKPOINT_H
#define CPU_BREAKPOINT_H
#include "cpu/vcpu.h"

/** vcpu_break_add - stop before the instruction at linear @at. 0, E_BUSY (there is one already),
 * E_NOSPC (BREAKPOINTS_MAX are set). */
int vcpu_break_add(struct vcpu *v, gva_t at) MUST_USE;
/** vcpu_break_remove - forget the one at @at. 0, E_NOENT. */
int vcpu_break_remove(struct vcpu *v, gva_t at);
/** vcpu_break_at - is there one at @at? */
bool vcpu_break_at(const struct vcpu *v, gva_t at);

/* For engines. */
/** vcpu_break_begin - run() starts here: this instruction is not stopped at. */
void vcpu_break_begin(struct vcpu *v);
/** vcpu_break_due - must run() stop before the next instruction? Only while any is set. */
bool vcpu_break_due(struct vcpu *v);
#endif
