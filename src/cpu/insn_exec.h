/* cpu/insn_exec.h - from rows of isa/insn.def to the functions that execute them.
 * One pure function per row (or family), named x_*, in cpu/x_<family>.c. v->rip is the instruction's own address while it runs.
 * An exec function fetches operands, runs, then commits; on X_FAULT nothing has changed. */
#ifndef CPU_INSN_EXEC_H
#define CPU_INSN_EXEC_H
#include "cpu/vcpu.h"
#include "isa/insn.h"

/**
 * insn_bind - choose i->exec for a freshly decoded instruction, privilege and mode rules included: rows whose attributes forbid this
 * code size, invalid LOCK, and instructions the CPU model does not offer bind to x_ud. COMPUTE binds to @compute (the engine's host runner).
 */
void insn_bind(const struct vcpu *v, struct insn *i, insn_exec_fn *compute);
/** insn_exec_checked - the row's run-time rules (CPL, IOPL, fpu_fault), then exec. */
enum x_result insn_exec_checked(struct vcpu *v, const struct insn *i);

#define INSN(mnemonic, class, attr, exec, spec) insn_exec_fn exec;
#include "isa/insn.def"
#undef INSN
insn_exec_fn x_ud;
#endif
