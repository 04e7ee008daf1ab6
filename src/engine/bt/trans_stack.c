/* trans_stack.c - PUSH, POP, CALL, RET, LEAVE and indirect JMP. RSP changes after the access that
 * may fault. A misaligned stack is left to the interpreter, as are element sizes other than the
 * word of the code: 8 bytes, 4 in 32-bit code. Spec: SDM vol. 2A CALL, JMP, LEAVE; vol. 2B POP,
 * PUSH, RET. */
#include "engine/bt/trans.h"

/* Where only a memory operand besides the stack can have been misaligned, that is taken for it. */
static bool is_plain(const struct trans *t)
{
    bool operand = t->i->op[0].kind == OPND_MEM && t->i->op[0].rw == OPND_R;
    return t->i->stack_bytes == t->word && (operand || !is_checked(t));
}

static void move_rsp(struct trans *t, s32 bytes)
{
    em_mem_op(&t->e, EM_LEA, tr_width(t), RSP, (struct em_mem){RSP, REG_NONE, 0, bytes});
}

/* T1 = address of the new top element, T2 = its table entry */
static void new_top(struct trans *t)
{
    em_mem_op(&t->e, EM_LEA, tr_width(t), T1, (struct em_mem){RSP, REG_NONE, 0, -(s32)t->word});
    tr_lookup_write(t, T1);
}
/* Store @reg there; TB when it had to be fetched first. */
static void push_reg(struct trans *t, u8 reg)
{
    em_mem_op(&t->e, EM_MOV_STORE, tr_width(t), reg, tr_at(T1));
    em_mov(&t->e, RSP, T1);
    if (reg == TB) tr_table_reload(t);
}
/* T1 = the memory operand */
static void load_operand(struct trans *t)
{
    if (is_checked(t)) {
        tr_address_t1(t);
        tr_lookup_read(t, T1);
        tr_window(t, t->word, false);
        tr_load_any(t, t->word);
        tr_table_reload(t);
        if (t->is32) em_mov32(&t->e, T1, T1);
        return;
    }
    u8 base = tr_address(t, 0);
    tr_lookup_read(t, base);
    em_mem_op(&t->e, EM_MOV_LOAD, tr_width(t), T1, tr_at(base));
}

static void push_imm(struct trans *t)
{
    em_rex(&t->e, tr_width(t), 0, T2, T1);
    em_byte(&t->e, 0xC7);
    em_modrm_mem(&t->e, 0, tr_at(T1));
    em_u32(&t->e, (u32)t->i->imm);
    em_mov(&t->e, RSP, T1);
}

enum tr tr_push(struct trans *t)
{
    const struct insn_opnd *o = &t->i->op[0];
    if (!is_plain(t)) return TR_NONE;
    if (o->kind == OPND_MEM) {
        load_operand(t);
        em_store_gs(&t->e, SAVE_VALUE, T1);
    }
    new_top(t);
    if (o->kind == OPND_IMM) {
        push_imm(t);
    } else if (o->kind == OPND_MEM) {
        em_load_gs(&t->e, TB, SAVE_VALUE);
        push_reg(t, TB);
    } else {
        push_reg(t, tr_guest(t, o->reg, TB));
    }
    return TR_NEXT;
}

/* An address based on RSP uses the incremented value. */
static void pop_mem(struct trans *t)
{
    u8 top = tr_pointer(t, RSP);
    tr_lookup_read(t, top);
    em_mem_op(&t->e, EM_MOV_LOAD, tr_width(t), T1, tr_at(top));
    em_store_gs(&t->e, SAVE_VALUE, T1);
    u8 base = tr_address(t, t->i->base == RSP ? t->word : 0);
    tr_lookup_write(t, base);
    em_load_gs(&t->e, TB, SAVE_VALUE);
    em_mem_op(&t->e, EM_MOV_STORE, tr_width(t), TB, tr_at(base));
    move_rsp(t, t->word);
    tr_table_reload(t);
}

enum tr tr_pop(struct trans *t)
{
    const struct insn_opnd *o = &t->i->op[0];
    if (!is_plain(t)) return TR_NONE;
    if (o->kind == OPND_MEM) {
        pop_mem(t);
        return TR_NEXT;
    }
    u8 dst = is_homed(o->reg) ? T1 : o->reg;
    u8 top = tr_pointer(t, RSP);
    tr_lookup_read(t, top);
    em_mem_op(&t->e, EM_MOV_LOAD, tr_width(t), dst, tr_at(top));
    if (o->reg != RSP) move_rsp(t, t->word);
    if (is_homed(o->reg)) em_store_gs(&t->e, gpr_off(o->reg), T1);
    return TR_NEXT;
}

enum tr tr_leave(struct trans *t)
{
    if (!is_plain(t)) return TR_NONE;
    u8 top = tr_pointer(t, RBP);
    tr_lookup_read(t, top);
    em_mem_op(&t->e, EM_MOV_LOAD, tr_width(t), T1, tr_at(top));
    em_mem_op(&t->e, EM_LEA, tr_width(t), RSP, (struct em_mem){RBP, REG_NONE, 0, t->word});
    em_mov(&t->e, RBP, T1);
    return TR_NEXT;
}

static void push_return_address(struct trans *t)
{
    new_top(t);
    tr_base(t, TB);
    em_mem_op(&t->e, EM_LEA, tr_width(t), TB, (struct em_mem){TB, REG_NONE, 0, next_off(t)});
    push_reg(t, TB);
}

/* T1 = word-sized register operand */
static void register_operand(struct trans *t, u8 reg)
{
    u8 from = tr_guest(t, reg, T1);
    if (t->is32) em_mov32(&t->e, T1, from);
    else em_mov(&t->e, T1, from);
}

/* The target is read before anything changes. */
static void call_indirect(struct trans *t)
{
    const struct insn_opnd *o = &t->i->op[0];
    if (o->kind == OPND_MEM) load_operand(t);
    else register_operand(t, o->reg);
    if (!t->is32) tr_canonical(t); /* nothing may be pushed if not; 32-bit code: limit 4 GiB */
    em_store_gs(&t->e, SAVE_VALUE, T1);
    push_return_address(t);
    em_load_gs(&t->e, T1, SAVE_VALUE);
    tr_jump_table(t);
}

enum tr tr_call(struct trans *t)
{
    if (!is_plain(t) || t->i->opsize != t->word) return TR_NONE;
    if (t->i->op[0].kind == OPND_REL) {
        push_return_address(t);
        tr_branch(t, EM_JMP, next_off(t) + (s64)t->i->imm);
    } else {
        call_indirect(t);
    }
    return TR_END;
}

enum tr tr_ret(struct trans *t)
{
    if (!is_plain(t) || t->i->opsize != t->word) return TR_NONE;
    u8 top = tr_pointer(t, RSP);
    tr_lookup_read(t, top);
    em_mem_op(&t->e, EM_MOV_LOAD, tr_width(t), T1, tr_at(top));
    move_rsp(t, t->word + (u16)t->i->imm);
    tr_jump_table(t);
    return TR_END;
}

enum tr tr_jmp_mem_or_reg(struct trans *t)
{
    const struct insn_opnd *o = &t->i->op[0];
    if (t->i->opsize != t->word) return TR_NONE;
    if (o->kind == OPND_MEM) load_operand(t);
    else register_operand(t, o->reg);
    tr_jump_table(t);
    return TR_END;
}
