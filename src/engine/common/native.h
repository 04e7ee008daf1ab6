/* engine/common/native.h - run one COMPUTE instruction on the host CPU (DESIGN section 3).
 * The same opcode is re-encoded with its registers and memory operand replaced, wrapped in a small
 * generated thunk that loads what the instruction reads from struct vcpu, runs it, and stores what
 * it wrote; thunks are cached by encoding. Flags, rounding, NaNs and undefined results are the
 * host's. Host faults (#DE, #MF, #XM) come back as the guest's. The cache is never writable and
 * executable through one mapping. */
#ifndef ENGINE_COMMON_NATIVE_H
#define ENGINE_COMMON_NATIVE_H
#include "base/err.h"
#include "cpu/vcpu.h"

/** native_init - code cache for @v (v->native_state) and this process's fault handlers (installed
 * once, chained, process-wide). */
int native_init(struct vcpu *v, struct err *e) MUST_USE;
void native_fini(struct vcpu *v);
/** native_exec - insn_exec_fn of every COMPUTE instruction: builds the thunk on first use, computes
 * and maps the memory operand, runs. X_NEXT or X_FAULT. */
enum x_result native_exec(struct vcpu *v, const struct insn *i);
/** native_supported - true when the host can run this COMPUTE instruction through a thunk (for
 * coverage and tests). */
bool native_supported(const struct insn *i);
#endif
