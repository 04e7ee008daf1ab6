/* cpu/insn_exec.h - from rows of isa/insn.def to the functions that execute them.
 * One pure function per row (or family), named x_*, in cpu/x_<family>.c. v->rip is the
 * instruction's own address while it runs. An exec function fetches operands, runs, then commits;
 * on X_FAULT nothing has changed. */
#ifndef CPU_INSN_EXEC_H
#define CPU_INSN_EXEC_H
#include "cpu/vcpu.h"
#include "isa/insn.h"

/**
 * insn_bind - choose i->exec for a freshly decoded instruction: rows whose attributes forbid this
 * code size, LOCK where it is not allowed, and instructions the CPU model does not offer bind to
 * x_ud (TZCNT and LZCNT become the BSF and BSR they are on such processors). Rows with run-time
 * rules bind to insn_exec_checked, all others to the row's function. COMPUTE binds to @compute, the
 * engine's host runner, which itself checks v->fpu_fault[i->fpu] before anything else when i->fpu
 * is not FPU_NONE: 0 may run, else raise that vector (#UD or #NM). A vCPU without a model (unit
 * tests) offers everything.
 */
void insn_bind(const struct vcpu *v, struct insn *i, insn_exec_fn *compute);
/** insn_exec_checked - the row's run-time rules (A_PROT: #UD, A_CPL0: #GP(0), v->fpu_fault), then
 * exec. */
enum x_result insn_exec_checked(struct vcpu *v, const struct insn *i);
/** insn_row_exec - the function of row @row, for tests and the translator. NULL for INSN_COMPUTE
 * and beyond the table. */
insn_exec_fn *insn_row_exec(u16 row);

#define INSN(mnemonic, form, class, attr, exec, spec) insn_exec_fn exec;
#include "isa/insn.def"
#undef INSN
#endif
