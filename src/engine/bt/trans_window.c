/* trans_window.c - 64-bit user code, whose RSP is in a window (window.h): instructions that name
 * RSP, and those that push and pop.
 *
 *   memory operand [RSP + near]         the guest's instruction, as it is
 *   PUSH, POP, RET                      the host's
 *   RSP + constant                      as it is: the low twelve bits are the guest's, and both
 *                                       addresses are far from 0 and 2^63, so flags are the same
 *   RSP as a value, or as an address    host RSP + eng.stack_guest, in T1 or TB
 *     with an index, far away
 *   RSP = a value                       + eng.stack_host, after a test that it is in this window:
 *                                       else the interpreter does it, and the window is changed
 *
 * RSP has to stay near its window without tests. Each access at RSP + near shows that it is there
 * (elsewhere nothing is mapped). trans.loose bounds how far RSP may have gone since the last access
 * for certain; before a jump it is WINDOW_SLACK at most again. A constant that is added to RSP is
 * followed by an access, or by the end of translated code, before any jump: else memory where RSP
 * will be is read first. */
#include "engine/bt/trans_window.h"

#include <Zydis/Mnemonic.h>

#include "cpu/insn_exec.h"
#include "engine/bt/trans_hints.h"

#define GS_STACK(f) offsetof(struct vcpu, eng.stack_##f)
enum { WINDOW_SHIFT = 21 };
static_assert(WINDOW_BYTES == BIT(WINDOW_SHIFT), "what test_inside() cuts off");

static u64 magnitude(s64 val) { return val < 0 ? 0 - (u64)val : (u64)val; }

/* ---- RSP as a value -------------------------------------------------------------------------- */

void tr_window_rsp(struct trans *t, u8 dst)
{
    em_load_gs(&t->e, dst, GS_STACK(guest));
    em_lea_sum(&t->e, dst, RSP, dst);
}

u8 tr_guest(struct trans *t, u8 reg, u8 tmp)
{
    const bool rsp = t->window && reg == RSP;
    if (!rsp && !is_homed(reg)) return reg;
    if (rsp) tr_window_rsp(t, tmp);
    else em_load_gs(&t->e, tmp, gpr_off(reg));
    return tmp;
}

/* T1 = the host address for guest address @base. */
static void to_host(struct trans *t, u8 base)
{
    const u8 tmp = base == T1 ? T2 : T1;
    em_load_gs(&t->e, tmp, GS_STACK(host));
    em_lea_sum(&t->e, T1, base, tmp);
}
/* Leave to the interpreter unless host address T1 is in the window. T2 is lost. */
static void test_inside(struct trans *t)
{
    struct emit *e = &t->e;
    em_mov(e, T2, RCX);
    em_load_gs(e, RCX, GS_STACK(low));
    em_lea_sum(e, RCX, RCX, T1);
    if (e->plain) em_mm_cut(e, RCX, RCX, (const u8[]){0, WINDOW_SHIFT});
    else em_pext_gs(e, RCX, RCX, offsetof(struct vcpu, eng.mask) + 8u * MASK_WINDOW);
    const u32 good = em_jump8(e, EM_JRCXZ);
    tr_cold(t, COLD_LEAVE, em_jump32(e, EM_JMP), 0);
    em_fix8(e, good);
    em_mov(e, RCX, T2);
}
/* Guest RSP = @base, a register with a guest address. */
static void set_rsp(struct trans *t, u8 base)
{
    to_host(t, base);
    test_inside(t);
    em_mov(&t->e, RSP, T1);
    t->loose = 0;
}

/* ---- operands on the stack ------------------------------------------------------------------- */

static bool is_bit_string(const struct insn *i)
{
    const u16 m = i->mnemonic;
    return (m == ZYDIS_MNEMONIC_BT || m == ZYDIS_MNEMONIC_BTS || m == ZYDIS_MNEMONIC_BTR ||
            m == ZYDIS_MNEMONIC_BTC) &&
           i->op[1].kind == OPND_REG;
}
/* Is @i's memory operand one the host may access as it is, RSP being at most @loose astray? */
static bool is_on_stack(const struct insn *i, u64 loose)
{
    return i->mem_bytes && i->base == RSP && i->index >= GPRS && i->seg != FS && i->seg != GS &&
           i->addrsize == 8 && magnitude(i->disp) + loose <= WINDOW_NEAR;
}
static bool hinted(const struct trans *t, u16 off)
{
    const struct bt_hints *h = t->bt->hints;
    return h && (bt_hint(h->checked, off) || bt_hint(h->stepped, off));
}
bool tr_window_operand(const struct trans *t)
{
    return t->window && !hinted(t, t->off) && is_on_stack(t->i, t->loose);
}
/* The same, and nothing but that operand is in the way of copying compute instruction @i. */
static bool is_direct(const struct insn *i, const struct compute *c, u64 loose)
{
    return c->plan.ok && !c->plan.x87 && c->how != HOW_NONE && !is_bit_string(i) &&
           !(c->plan.gpr_used >> RSP & 1) && is_on_stack(i, loose);
}
bool tr_window_leaves(const struct trans *t)
{
    const struct insn *i = t->i;
    const struct insn_opnd *o = &i->op[0];
    if (!t->window || hinted(t, t->off)) return false;
    if (i->row == INSN_COMPUTE) return !t->compute->homed && is_direct(i, t->compute, t->loose);
    if (i->row == INSN_UD || i->stack_bytes != 8) return false;
    insn_exec_fn *exec = insn_row_exec(i->row);
    return exec == x_push_imm ||
           ((exec == x_push_reg || exec == x_pop_reg) && !is_homed(o->reg) && o->reg != RSP);
}
void tr_window_load(struct trans *t)
{
    em_mem_op(&t->e, EM_MOV_LOAD, EM_64, T1, (struct em_mem){RSP, REG_NONE, 0, (s32)t->i->disp});
}

/* An access at RSP + @disp has been made. */
static void accessed(struct trans *t, s64 disp)
{
    const u64 loose = magnitude(disp);
    if (loose < t->loose) t->loose = loose;
}

/* ---- constants added to RSP ------------------------------------------------------------------ */

/* Does an access at RSP follow, or the end of translated code, before anything else can jump? RSP
 * is @loose astray then. */
static bool is_accessed_soon(const struct trans *t, u64 loose)
{
    u32 off = t->off;
    for (u32 n = 0; t->k + n < t->insns; off += t->i[n].len, n++) {
        const struct insn *i = &t->i[n];
        const struct compute *c = &t->compute[n];
        if (n == 0) continue;
        if (hinted(t, (u16)off)) return bt_hint(t->bt->hints->stepped, off);
        if (i->row == INSN_UD) return true;
        if (i->row == INSN_COMPUTE) {
            if (is_direct(i, c, loose) && !c->plan.masked) return true;
            continue;
        }
        insn_exec_fn *exec = insn_row_exec(i->row);
        if (exec == x_nop) continue;
        return i->stack_bytes == 8 && (exec == x_push_reg || exec == x_push_imm ||
                                       exec == x_pop_reg || exec == x_call_rel || exec == x_ret);
    }
    return false;
}

/* Read a byte at RSP + @disp, before anything has changed. T2 is lost. */
static void access_ahead(struct trans *t, s64 disp)
{
    em_mem_op(&t->e, EM_MOVZX8, EM_32, T2, (struct em_mem){RSP, REG_NONE, 0, (s32)disp});
}

/* The instruction at hand, which adds @val to RSP, as it is. */
static enum tr add_to_rsp(struct trans *t, s64 val)
{
    const u64 loose = t->loose + magnitude(val);
    if (loose > (t->is_second ? WINDOW_NEAR / 2 : WINDOW_LOOSE_MAX)) return TR_NONE;
    if (is_accessed_soon(t, loose)) {
        t->loose = loose;
    } else {
        access_ahead(t, val);
        t->loose = 0;
    }
    em_insn(&t->e, t->i->bytes, t->i->len);
    return TR_NEXT;
}

/* AND with the negative of a power of two. */
static enum tr align_rsp(struct trans *t)
{
    const u64 size = 0 - t->i->imm, loose = t->loose + size;
    if (!size || size & (size - 1) || size > PAGE_BYTES) return TR_NONE;
    if (is_accessed_soon(t, loose)) {
        t->loose = loose;
    } else {
        if (size > WINDOW_SLACK) return TR_NONE;
        access_ahead(t, -(s64)size);
        t->loose = size;
    }
    em_insn(&t->e, t->i->bytes, t->i->len);
    return TR_NEXT;
}

bool tr_window_is_loose(const struct trans *t) { return t->window && t->loose > WINDOW_SLACK; }

/* ---- instructions ---------------------------------------------------------------------------- */

static bool is_rsp(const struct insn_opnd *o)
{
    return o->kind == OPND_REG && o->file == RF_GPR && o->reg == RSP;
}

static enum tr lea_from(struct trans *t)
{
    const struct insn *i = t->i;
    const u8 dst = i->op[0].reg, to = is_homed(dst) ? T1 : dst;
    if (i->opsize < 4 || i->addrsize != 8 || i->disp != (s32)i->disp) return TR_NONE;
    em_load_gs(&t->e, T1, GS_STACK(guest));
    if (i->index >= GPRS) {
        em_lea(&t->e, to, (struct em_mem){RSP, T1, 0, (s32)i->disp});
    } else {
        em_lea(&t->e, T1, (struct em_mem){RSP, T1, 0, (s32)i->disp});
        em_lea(&t->e, to, (struct em_mem){T1, tr_guest(t, i->index, T2), i->scale, 0});
    }
    if (i->opsize == 4) em_mov32(&t->e, to, to);
    if (is_homed(dst)) em_store_gs(&t->e, gpr_off(dst), T1);
    return TR_NEXT;
}

static enum tr lea(struct trans *t)
{
    const struct insn *i = t->i;
    if (!is_rsp(&i->op[0])) return lea_from(t);
    if (i->opsize != 8 || i->addrsize != 8) return TR_NONE;
    if (i->base == RSP && i->index >= GPRS) return add_to_rsp(t, i->disp);
    tr_effective(t, 0, T1);
    set_rsp(t, T1);
    return TR_NEXT;
}

static enum tr mov_from(struct trans *t, u8 dst)
{
    const u8 to = is_homed(dst) ? T1 : dst;
    em_load_gs(&t->e, T1, GS_STACK(guest));
    em_lea_sum(&t->e, to, RSP, T1);
    if (is_homed(dst)) em_store_gs(&t->e, gpr_off(dst), T1);
    return TR_NEXT;
}

/* Instructions that change RSP, without memory operand. */
static enum tr change(struct trans *t)
{
    const struct insn *i = t->i;
    const struct insn_opnd *from = &i->op[1];
    const bool constant = from->kind == OPND_IMM && (s64)i->imm == (s32)i->imm;
    if (i->opsize != 8 || !is_rsp(&i->op[0])) return TR_NONE;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_ADD: return constant ? add_to_rsp(t, (s64)i->imm) : TR_NONE;
    case ZYDIS_MNEMONIC_SUB: return constant ? add_to_rsp(t, -(s64)i->imm) : TR_NONE;
    case ZYDIS_MNEMONIC_AND: return constant ? align_rsp(t) : TR_NONE;
    case ZYDIS_MNEMONIC_MOV:
        if (from->kind != OPND_REG || is_rsp(from)) return TR_NONE;
        set_rsp(t, tr_guest(t, from->reg, T1));
        return TR_NEXT;
    default: return TR_NONE;
    }
}

/* Instructions that read RSP. It is in TB for them. */
static enum tr read(struct trans *t, const struct compute *c)
{
    const struct insn *i = t->i;
    struct respell_map map = {.base = REG_NONE, .index = REG_NONE};
    struct spelling s;
    if (i->mnemonic == ZYDIS_MNEMONIC_MOV && i->opsize == 8 && !i->mem_bytes &&
        i->op[0].kind == OPND_REG && is_rsp(&i->op[1]))
        return mov_from(t, i->op[0].reg);
    if (c->homed || c->plan.high || (i->mem_bytes && c->how > HOW_ALIGNED_TWIN)) return TR_NONE;
    for (u8 r = 0; r < GPRS; r++) map.gpr[r] = r == RSP ? TB : r;
    if (i->mem_bytes) {
        map.base = tr_address(t, 0);
        map.index = T2;
        if (i->mem_rw & OPND_W) tr_lookup_write(t, map.base);
        else tr_lookup_read(t, map.base);
    }
    tr_window_rsp(t, TB);
    if (!plan_spell(NULL, &s, i, NULL, &map)) return TR_NONE;
    em_insn(&t->e, s.bytes, s.len);
    tr_table_reload(t);
    return TR_NEXT;
}

/* MOV RSP, [memory] */
static enum tr load_rsp(struct trans *t, const struct compute *c)
{
    const struct insn *i = t->i;
    if (i->mnemonic != ZYDIS_MNEMONIC_MOV || i->opsize != 8 || c->how != HOW_PLAIN) return TR_NONE;
    if (tr_window_operand(t)) {
        tr_window_load(t);
    } else {
        const u8 base = tr_address(t, 0);
        tr_lookup_read(t, base);
        em_mem_op(&t->e, EM_MOV_LOAD, EM_64, T1, tr_at(base));
    }
    set_rsp(t, T1);
    return TR_NEXT;
}

bool tr_window_uses_rsp(const struct trans *t, const struct insn *i)
{
    if (!t->window) return false;
    bool uses = i->base == RSP;
    for (u32 k = 0; k < i->opnds; k++) uses |= is_rsp(&i->op[k]);
    return uses;
}

static enum tr try(struct trans *t)
{
    const struct insn *i = t->i;
    struct compute c = *t->compute;
    if (i->mnemonic == ZYDIS_MNEMONIC_LEA) return lea(t);
    if (c.plan.gpr_written >> RSP & 1) return i->mem_bytes ? load_rsp(t, &c) : change(t);
    if (c.plan.gpr_used >> RSP & 1) return read(t, &c);
    if (hinted(t, t->off) || !is_direct(i, &c, t->loose)) return TR_NONE;
    if (c.homed) {
        c.how = HOW_PLAIN;
        if (!tr_spell(t, &c, (struct em_mem){RSP, REG_NONE, 0, (s32)i->disp})) return TR_NONE;
    } else {
        em_insn(&t->e, i->bytes, i->len);
        t->in_t1 = t->was_in_t1;
    }
    if (!c.plan.masked) accessed(t, i->disp);
    return TR_NEXT;
}

enum tr tr_window_compute(struct trans *t)
{
    const u32 start = t->e.n, colds = t->colds;
    if (!t->compute->plan.ok || t->compute->plan.x87) return TR_NONE;
    const enum tr r = try(t);
    if (r != TR_NONE) return r;
    t->e.n = start;
    t->colds = colds;
    return TR_NONE;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void push(struct trans *t, u8 reg)
{
    em_rex(&t->e, EM_32, 0, REG_NONE, reg);
    em_byte(&t->e, 0x50u | (reg & 7));
    t->loose = 0;
}
static void pop(struct trans *t, u8 reg)
{
    em_rex(&t->e, EM_32, 0, REG_NONE, reg);
    em_byte(&t->e, 0x58u | (reg & 7));
    t->loose = 8;
}
void tr_window_push_t1(struct trans *t) { push(t, T1); }

enum tr tr_window_push(struct trans *t)
{
    const struct insn_opnd *o = &t->i->op[0];
    if (o->kind == OPND_IMM) {
        const u32 imm = (u32)t->i->imm;
        em_byte(&t->e, 0x68);
        em_u32(&t->e, imm);
        t->loose = 0;
        t->in_t1 = t->was_in_t1;
        return TR_NEXT;
    }
    if (tr_window_leaves(t)) t->in_t1 = t->was_in_t1;
    push(t, tr_guest(t, o->reg, T1));
    return TR_NEXT;
}

enum tr tr_window_pop(struct trans *t)
{
    const struct insn_opnd *o = &t->i->op[0];
    const struct em_mem top = {RSP, REG_NONE, 0, 0};
    if (o->kind == OPND_MEM || is_rsp(o)) em_mem_op(&t->e, EM_MOV_LOAD, EM_64, T1, top);
    if (o->kind == OPND_MEM) {
        em_store_gs(&t->e, SAVE_VALUE, T1);
        const u8 base = tr_address(t, t->i->base == RSP ? 8 : 0);
        tr_lookup_write(t, base);
        em_load_gs(&t->e, TB, SAVE_VALUE);
        em_mem_op(&t->e, EM_MOV_STORE, EM_64, TB, tr_at(base));
        em_lea_disp(&t->e, RSP, RSP, 8);
        t->loose = 8;
        tr_table_reload(t);
    } else if (is_rsp(o)) {
        set_rsp(t, T1);
    } else {
        if (tr_window_leaves(t)) t->in_t1 = t->was_in_t1;
        pop(t, is_homed(o->reg) ? T1 : o->reg);
        if (is_homed(o->reg)) em_store_gs(&t->e, gpr_off(o->reg), T1);
    }
    return TR_NEXT;
}

enum tr tr_window_leave(struct trans *t)
{
    to_host(t, RBP);
    test_inside(t);
    em_mem_op(&t->e, EM_MOV_LOAD, EM_64, T2, (struct em_mem){T1, REG_NONE, 0, 0});
    em_lea_disp(&t->e, RSP, T1, 8);
    em_mov(&t->e, RBP, T2);
    t->loose = 8;
    return TR_NEXT;
}

void tr_window_push_next(struct trans *t)
{
    tr_code_address(t, T2, next_off(t));
    push(t, T2);
}

void tr_window_pop_t1(struct trans *t)
{
    const u16 more = (u16)t->i->imm;
    if (more) access_ahead(t, 8 + more);
    pop(t, T1);
    if (more) em_lea_disp(&t->e, RSP, RSP, more);
}
