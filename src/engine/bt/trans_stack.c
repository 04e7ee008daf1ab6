/* trans_stack.c - PUSH, POP, CALL, RET, LEAVE and indirect JMP. RSP changes after the access that
 * may fault. A misaligned stack is left to the interpreter, as are element sizes other than the
 * word of the code: 8 bytes, 4 in 32-bit code. Spec: SDM vol. 2A CALL, JMP, LEAVE; vol. 2B POP,
 * PUSH, RET. */
#include "engine/bt/trans_hints.h"
#include "engine/bt/trans_window.h"

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

/* ---- members of groups (trans_group.c) ------------------------------------------------------- */

void tr_rsp_settle(struct trans *t)
{
    if (t->rsp_late) move_rsp(t, t->rsp_late);
    t->rsp_late = 0;
}

static void moved_in_group(struct trans *t, s32 bytes)
{
    tr_group_accessed(t);
    t->rsp_late += bytes;
    if (!tr_group_goes_on(t)) tr_rsp_settle(t);
}

static enum tr push_in_group(struct trans *t)
{
    const struct insn_opnd *o = &t->i->op[0];
    const struct em_mem at = tr_group_operand(t);
    const u8 free = at.index == T2 ? TB : T2;
    if (o->kind == OPND_IMM) {
        em_rex(&t->e, EM_64, 0, at.index, at.base);
        em_byte(&t->e, 0xC7);
        em_modrm_mem(&t->e, 0, at);
        em_u32(&t->e, (u32)t->i->imm);
    } else {
        em_mem_op(&t->e, EM_MOV_STORE, EM_64, tr_guest(t, o->reg, free), at);
        if (is_homed(o->reg) && free == TB) tr_table_reload(t);
    }
    moved_in_group(t, -8);
    return TR_NEXT;
}

static enum tr pop_in_group(struct trans *t)
{
    const u8 reg = t->i->op[0].reg;
    const struct em_mem at = tr_group_operand(t);
    const u8 free = at.index == T2 ? TB : T2, dst = is_homed(reg) ? free : reg;
    em_mem_op(&t->e, EM_MOV_LOAD, EM_64, dst, at);
    if (is_homed(reg)) {
        em_store_gs(&t->e, gpr_off(reg), dst);
        if (dst == TB) tr_table_reload(t);
    }
    moved_in_group(t, 8);
    return TR_NEXT;
}

/* Never the first of its group, as there is none behind it. */
static void call_in_group(struct trans *t)
{
    const struct em_mem at = tr_group_operand(t);
    tr_code_address(t, T2, next_off(t));
    em_mem_op(&t->e, EM_MOV_STORE, EM_64, T2, at);
    moved_in_group(t, -8);
}

static void ret_in_group(struct trans *t)
{
    em_mem_op(&t->e, EM_MOV_LOAD, EM_64, T1, tr_group_operand(t));
    t->rsp_late += 8 + (u16)t->i->imm;
    tr_rsp_settle(t);
}

/* ---- instructions ---------------------------------------------------------------------------- */

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
    if (tr_window_operand(t)) {
        tr_window_load(t);
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
    if (is_in_group(t)) return push_in_group(t);
    if (o->kind == OPND_MEM) {
        load_operand(t);
        if (t->window) {
            tr_window_push_t1(t);
            return TR_NEXT;
        }
        em_store_gs(&t->e, SAVE_VALUE, T1);
    }
    if (t->window) return tr_window_push(t);
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
    if (t->window) return tr_window_pop(t);
    if (is_in_group(t)) return pop_in_group(t);
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
    if (t->window) return tr_window_leave(t);
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
    if (t->window) {
        tr_window_push_next(t);
        tr_jump_table(t);
        return;
    }
    em_store_gs(&t->e, SAVE_VALUE, T1);
    push_return_address(t);
    em_load_gs(&t->e, T1, SAVE_VALUE);
    tr_jump_table(t);
}

enum tr tr_call(struct trans *t)
{
    if (!is_plain(t) || t->i->opsize != t->word) return TR_NONE;
    if (t->i->op[0].kind == OPND_REL) {
        if (t->window) tr_window_push_next(t);
        else if (is_in_group(t)) call_in_group(t);
        else push_return_address(t);
        tr_branch(t, EM_JMP, next_off(t) + (s64)t->i->imm);
    } else {
        call_indirect(t);
    }
    return TR_END;
}

enum tr tr_ret(struct trans *t)
{
    if (!is_plain(t) || t->i->opsize != t->word) return TR_NONE;
    if (t->window) {
        tr_window_pop_t1(t);
    } else if (is_in_group(t)) {
        ret_in_group(t);
    } else {
        u8 top = tr_pointer(t, RSP);
        tr_lookup_read(t, top);
        em_mem_op(&t->e, EM_MOV_LOAD, tr_width(t), T1, tr_at(top));
        move_rsp(t, t->word + (u16)t->i->imm);
    }
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
