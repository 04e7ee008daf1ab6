/* cpu/rm.h - operands of system and segment instructions, by position. Results: 0, or X_FAULT. */
#ifndef CPU_RM_H
#define CPU_RM_H
#include "cpu/x_internal.h"

/* Operand @k as an unsigned integer of @bytes bytes (from memory: exactly those are read). */
static inline int opnd_read(struct vcpu *v, const struct insn *i, u32 k, u32 bytes, u64 *val)
{
    if (i->op[k].kind == OPND_MEM) return seg_read(v, i->seg, insn_ea(v, i), val, bytes);
    *val = gpr_read(v, i->op[k].reg, bytes);
    return 0;
}
/* Store to operand 0: a register takes @reg_bytes, memory the low two bytes. */
static inline int opnd_write_word(struct vcpu *v, const struct insn *i, u64 val, u32 reg_bytes)
{
    if (i->op[0].kind == OPND_MEM) return seg_write(v, i->seg, insn_ea(v, i), val, 2);
    gpr_write(v, i->op[0].reg, val, reg_bytes);
    return 0;
}
#endif
