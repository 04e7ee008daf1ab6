/* x_stack - PUSH, POP, PUSHA, POPA, ENTER, LEAVE. The element size is i->stack_bytes, the width of
 * the stack pointer is that of SS (cpu/seg.h). Spec: SDM vol. 2A ENTER, LEAVE; vol. 2B POP, POPA,
 * PUSH, PUSHA. */
#include "cpu/x_internal.h"

/* PUSH RSP stores the value from before. */
enum x_result x_push_reg(struct vcpu *v, const struct insn *i)
{
    return push_value(v, v->gpr[i->op[0].reg], i->stack_bytes) ? X_FAULT : X_NEXT;
}

enum x_result x_push_imm(struct vcpu *v, const struct insn *i)
{
    return push_value(v, i->imm, i->stack_bytes) ? X_FAULT : X_NEXT;
}

enum x_result x_push_mem(struct vcpu *v, const struct insn *i)
{
    u64 val;
    if (rm_read(v, i, &val, i->stack_bytes)) return X_FAULT;
    return push_value(v, val, i->stack_bytes) ? X_FAULT : X_NEXT;
}

/* With a 32-bit operand size current processors write the selector's two bytes only. */
enum x_result x_push_seg(struct vcpu *v, const struct insn *i)
{
    u16 sel = v->seg[i->op[0].reg].sel;
    u64 mask = mask_bytes(stack_bits(v) / 8), sp = (v->gpr[RSP] - i->stack_bytes) & mask;
    if (seg_write(v, SS, sp, sel, i->stack_bytes == 4 ? 2 : i->stack_bytes)) return X_FAULT;
    stack_add(v, -(s64)i->stack_bytes);
    return X_NEXT;
}

/* POP RSP: the increment comes first, so the popped value stays. */
enum x_result x_pop_reg(struct vcpu *v, const struct insn *i)
{
    u64 val;
    if (stack_top(v, &val, i->stack_bytes)) return X_FAULT;
    stack_drop(v, i->stack_bytes);
    gpr_write(v, i->op[0].reg, val, i->stack_bytes);
    return X_NEXT;
}

/* An address based on RSP uses the incremented value. */
enum x_result x_pop_mem(struct vcpu *v, const struct insn *i)
{
    u64 val, old = v->gpr[RSP];
    if (stack_top(v, &val, i->stack_bytes)) return X_FAULT;
    stack_drop(v, i->stack_bytes);
    if (!seg_write(v, i->seg, insn_ea(v, i), val, i->stack_bytes)) return X_NEXT;
    v->gpr[RSP] = old;
    return X_FAULT;
}

/* AX CX DX BX, the old SP, BP SI DI. RSP goes back when one of the eight faults. */
enum x_result x_pusha(struct vcpu *v, const struct insn *i)
{
    u64 old = v->gpr[RSP];
    for (int r = RAX; r <= RDI; r++) {
        if (stack_push(v, r == RSP ? old : v->gpr[r], i->stack_bytes)) {
            v->gpr[RSP] = old;
            return X_FAULT;
        }
    }
    return X_NEXT;
}

enum x_result x_popa(struct vcpu *v, const struct insn *i)
{
    u64 val[8] = {0};
    for (unsigned k = 0; k < 8; k++) { /* the last pushed, DI, first; SP's slot is skipped */
        if (7 - k != RSP && stack_peek(v, k * i->stack_bytes, &val[7 - k], i->stack_bytes))
            return X_FAULT;
    }
    stack_add(v, 8 * i->stack_bytes);
    for (unsigned r = RAX; r <= RDI; r++) {
        if (r != RSP) gpr_write(v, r, val[r], i->stack_bytes);
    }
    return X_NEXT;
}

/* Copy the display of @level - 1 outer frame pointers and push the new one, @frame. */
static int enter_display(struct vcpu *v, const struct insn *i, unsigned level, u64 frame)
{
    u64 mask = mask_bytes(stack_bits(v) / 8), bp = v->gpr[RBP], val;
    for (unsigned k = 1; k < level; k++) {
        bp = (bp - i->stack_bytes) & mask;
        if (seg_read(v, SS, bp, &val, i->stack_bytes)) return X_FAULT;
        if (push_value(v, val, i->stack_bytes)) return X_FAULT;
    }
    return level ? push_value(v, frame, i->stack_bytes) : 0;
}

/* imm: bytes of locals; imm2: nesting level, 0..31. The final stack pointer must be writable. */
enum x_result x_enter(struct vcpu *v, const struct insn *i)
{
    u64 old = v->gpr[RSP], frame;
    gva_t lin;
    if (push_value(v, v->gpr[RBP], i->stack_bytes)) return X_FAULT;
    frame = v->gpr[RSP];
    if (enter_display(v, i, i->imm2 & 31, frame)) goto fault;
    stack_add(v, -(s64)(u16)i->imm);
    u64 sp = v->gpr[RSP] & mask_bytes(stack_bits(v) / 8);
    if (seg_linear(v, SS, sp, i->stack_bytes, OPND_W, &lin)) goto fault;
    if (!tlb_find(v, lin, i->stack_bytes, ACC_WRITE) &&
        v->mmu->probe(v, lin, i->stack_bytes, ACC_WRITE, false)) {
        goto fault;
    }
    gpr_write(v, RBP, frame, i->stack_bytes);
    return X_NEXT;
fault:
    v->gpr[RSP] = old;
    return X_FAULT;
}

enum x_result x_leave(struct vcpu *v, const struct insn *i)
{
    u64 val, old = v->gpr[RSP];
    gpr_write(v, RSP, v->gpr[RBP], stack_bits(v) / 8);
    if (stack_top(v, &val, i->stack_bytes)) {
        v->gpr[RSP] = old;
        return X_FAULT;
    }
    stack_drop(v, i->stack_bytes);
    gpr_write(v, RBP, val, i->stack_bytes);
    return X_NEXT;
}
