/* cpu/x_internal.h - what the x_*.c files share: operands by size, and inline fast paths of the
 * stack and of near transfers for 64-bit mode. Everything here keeps the rule of cpu/insn_exec.h:
 * no change on X_FAULT. */
#ifndef CPU_X_INTERNAL_H
#define CPU_X_INTERNAL_H
#include "cpu/access.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"

/* General register @reg as an operand of @bytes: 1 and 2 keep the rest of the register, 4 clears
 * the upper half. */
static inline void gpr_write(struct vcpu *v, unsigned reg, u64 val, u32 bytes)
{
    u64 *r = &v->gpr[reg & (GPRS - 1)];
    if (bytes >= 4) *r = bytes == 4 ? (u32)val : val;
    else *r = (*r & ~mask_bytes(bytes)) | (val & mask_bytes(bytes));
}
static inline u64 gpr_read(const struct vcpu *v, unsigned reg, u32 bytes)
{
    return v->gpr[reg & (GPRS - 1)] & mask_bytes(bytes);
}

/* Read @bytes at offset @off of @seg, zero-extended; 0 or X_FAULT. */
static inline int seg_read(struct vcpu *v, u8 seg, u64 off, u64 *val, u32 bytes)
{
    gva_t lin;
    u64 out = 0;
    if (seg_linear(v, seg, off, bytes, OPND_R, &lin)) return X_FAULT;
    if (vcpu_read(v, lin, &out, bytes)) return X_FAULT;
    *val = out;
    return 0;
}
static inline int seg_write(struct vcpu *v, u8 seg, u64 off, u64 val, u32 bytes)
{
    gva_t lin;
    if (seg_linear(v, seg, off, bytes, OPND_W, &lin)) return X_FAULT;
    return vcpu_write(v, lin, &val, bytes);
}

/* First operand of a near transfer, PUSH or their kind: a register or the memory operand, @bytes of
 * it. */
static inline int rm_read(struct vcpu *v, const struct insn *i, u64 *val, u32 bytes)
{
    if (i->op[0].kind != OPND_REG) return seg_read(v, i->seg, insn_ea(v, i), val, bytes);
    *val = gpr_read(v, i->op[0].reg, bytes);
    return 0;
}

static inline int push_value(struct vcpu *v, u64 val, u32 bytes)
{
    if (unlikely(v->mode != ISA_64)) return stack_push(v, val, bytes);
    u64 sp = v->gpr[RSP] - bytes;
    if (seg_write(v, SS, sp, val, bytes)) return X_FAULT;
    v->gpr[RSP] = sp;
    return 0;
}
/* Value on top of the stack; the caller pops it with stack_drop() once nothing can fault any more.
 */
static inline int stack_top(struct vcpu *v, u64 *val, u32 bytes)
{
    if (unlikely(v->mode != ISA_64)) return stack_peek(v, 0, val, bytes);
    return seg_read(v, SS, v->gpr[RSP], val, bytes);
}
static inline void stack_drop(struct vcpu *v, u32 bytes)
{
    if (likely(v->mode == ISA_64)) v->gpr[RSP] += bytes;
    else stack_add(v, bytes);
}

/* Near transfer to @rip, already truncated to the operand size. */
static inline int jump_to(struct vcpu *v, u64 rip)
{
    if (likely(v->mode == ISA_64 && (u64)(((s64)rip >> 47) + 1) <= 1)) {
        v->rip = rip;
        return 0;
    }
    return seg_set_rip(v, rip);
}

/**
 * io_allowed - may the current program access @bytes ports at @port? Checks CPL against IOPL and
 * the I/O permission bitmap of the TSS. Returns 0, or X_FAULT: #GP(0), or a fault of reading the
 * TSS. Spec: SDM vol. 1 section 19.5.
 */
int io_allowed(struct vcpu *v, u16 port, u32 bytes);
/** io_breakpoints - after an access to @bytes ports at @port: note hits of the I/O breakpoints in
 * DR0-3 (CR4.DE) for the debug trap after this instruction. Spec: SDM vol. 3B section 18.2.4. */
void io_breakpoints(struct vcpu *v, u16 port, u32 bytes);
static inline void io_done(struct vcpu *v, u16 port, u32 bytes)
{
    if (unlikely(v->dr7 & 0xFF)) io_breakpoints(v, port, bytes);
}
#endif
