/* trans_compute.c - COMPUTE instructions: copied when they have no memory operand (trans_homed.c;
 * homed registers of rare ones are loaded into the host registers of the same numbers, and stored
 * after), respelled with [base + T2] otherwise, a homed register operand being T1, T2 or TB. What
 * may run on the host at all is engine/common's decision (thunk_plan). x87 and MMX: trans_x87.c.
 * Gathers are left to the interpreter.
 *
 * Which accesses need more than AC (measured with AC = 1: operands of 2, 4 and 8 bytes trap at
 * every misaligned address, those of 16 and more never; VCVTPH2PS is checked element by element):
 *   1 byte                         nothing
 *   2, 4, 8 bytes                  nothing; where AC has trapped, trans_mem.c's forms
 *   16 and more, must be aligned   nothing: misaligned ones fault
 *   16 and more, plain moves       the move that must be aligned, until it has faulted
 *   masked, others                 the page-crossing test */
#include <Zydis/Mnemonic.h>

#include "engine/bt/plan.h"
#include "engine/bt/trans_hints.h"
#include "engine/bt/trans_system.h"
#include "engine/bt/trans_window.h"
#include "engine/bt/trans_x87.h"

/* ---- without memory operand
 * ----------------------------------------------------------------------
 */

static void load_homed(struct trans *t, u32 regs)
{
    for (u32 left = regs & HOMED; left; left &= left - 1) {
        const u8 n = (u8)__builtin_ctz(left);
        em_load_gs(&t->e, n, gpr_off(n));
    }
}
static void store_homed(struct trans *t, u32 regs)
{
    for (u32 left = regs & HOMED; left; left &= left - 1) {
        const u8 n = (u8)__builtin_ctz(left);
        em_store_gs(&t->e, gpr_off(n), n);
    }
}
static void put_spelling(struct trans *t, const struct spelling *s)
{
    const u8 *imm = t->i->bytes + t->i->len - s->imm_bytes;
    em_insn(&t->e, s->bytes, s->len);
    if (s->imm_bytes == 1) em_byte(&t->e, *imm);
    else if (s->imm_bytes) em_bytes(&t->e, imm, s->imm_bytes);
}
/* 32-bit code: the same instruction as 64-bit code spells it. */
static enum tr copy32(struct trans *t)
{
    static const struct respell_map same = {
        .gpr = {RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI}, .base = REG_NONE, .index = REG_NONE};
    struct spelling s;
    if (!plan_spell(t->bt->plans, &s, t->i, NULL, &same)) return TR_NONE;
    put_spelling(t, &s);
    return TR_NEXT;
}
static enum tr copy(struct trans *t, const struct compute *c)
{
    if (t->is32) return copy32(t);
    if (tr_homed_copy(t, c)) return TR_NEXT;
    if (!(c->homed & 1u << T1)) t->in_t1 = t->was_in_t1;
    load_homed(t, c->homed);
    em_insn(&t->e, t->i->bytes, t->i->len);
    store_homed(t, c->plan.gpr_written);
    if (c->homed & 1u << TB) tr_table_reload(t);
    return TR_NEXT;
}

static enum tr lea(struct trans *t)
{
    const struct insn *i = t->i;
    if (tr_homed_lea(t)) return TR_NEXT;
    u8 dst = i->op[0].reg, to = is_homed(dst) || i->opsize == 2 ? T1 : dst;
    tr_effective(t, 0, to);
    if (i->opsize == 2) {
        em_byte(&t->e, 0x66);
        if (is_homed(dst)) em_gs_op(&t->e, EM_MOV_STORE, EM_32, T1, gpr_off(dst));
        else em_mov32(&t->e, dst, T1);
        return TR_NEXT;
    }
    if (i->opsize == 4) em_mov32(&t->e, to, to);
    if (is_homed(dst)) em_store_gs(&t->e, gpr_off(dst), T1);
    return TR_NEXT;
}
/* No register of it is homed, and it is not relative to RIP: as it is. */
static bool is_simple_lea(const struct insn *i)
{
    return i->mode == ISA_64 && !is_homed(i->op[0].reg) && !is_homed(i->base) &&
           !is_homed(i->index) && i->base != BASE_RIP;
}

/* ---- plain accesses
 * ------------------------------------------------------------------------------
 */

/* Emit the instruction on @at, with @home for a homed register; false when that cannot be
 * spelled. */
static bool spell(struct trans *t, const struct compute *c, struct em_mem at, u8 home)
{
    struct respell_map map = {
        .gpr = {RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, home, home, R12, R13, R14, home},
        .base = at.base,
        .index = at.index,
        .disp = at.disp};
    static_assert(HOMED == (1 << R10 | 1 << R11 | 1 << R15), "@home in their place");
    struct spelling s;
    if (!plan_spell(t->bt->plans, &s, t->i, c->how == HOW_ALIGNED_TWIN ? &c->plan : NULL, &map))
        return false;
    put_spelling(t, &s);
    return true;
}
static u8 homed_operand(const struct compute *c)
{
    return c->homed ? (u8)__builtin_ctz(c->homed) : REG_NONE;
}
/* A load that changes all of its register. */
static bool is_whole_load(const struct insn *i)
{
    const u16 m = i->mnemonic;
    return i->op[0].kind == OPND_REG && i->opsize >= 4 && i->fpu == FPU_NONE &&
           (m == ZYDIS_MNEMONIC_MOV || m == ZYDIS_MNEMONIC_MOVZX || m == ZYDIS_MNEMONIC_MOVSX ||
            m == ZYDIS_MNEMONIC_MOVSXD);
}
/* The host register for a homed operand beside @at: a temporary, if there is one. */
static u8 home_beside(const struct trans *t, const struct compute *c, struct em_mem at)
{
    if (c->how >= HOW_WINDOW) return TB;
    if (at.index == REG_NONE) return T2;
    if (at.base != T1) return T1;
    return is_whole_load(t->i) && !is_in_group(t) ? T1 : TB;
}
bool tr_spell(struct trans *t, const struct compute *c, struct em_mem at)
{
    const u8 reg = homed_operand(c);
    if (reg == REG_NONE) return spell(t, c, at, TB);
    const u8 home = home_beside(t, c, at);
    const bool writes = c->plan.gpr_written >> reg & 1;
    if (tr_homed_in(t, reg) != home && !is_whole_load(t->i)) em_load_gs(&t->e, home, gpr_off(reg));
    if (!spell(t, c, at, home)) return false;
    if (home != TB) {
        tr_homed_hold(t, home, reg, writes);
        return true;
    }
    if (writes) em_store_gs(&t->e, gpr_off(reg), TB);
    tr_table_reload(t);
    return true;
}

/* The look-up of an access that will be made, but for faults it may raise before: a misaligned
 * write that must be aligned would not set D. */
static void lookup(struct trans *t, const struct compute *c, u8 base)
{
    const bool writes = t->i->mem_rw & OPND_W;
    if (c->plan.masked || (writes && c->plan.aligned)) tr_lookup(t, base);
    else if (writes) tr_lookup_write(t, base);
    else tr_lookup_read(t, base);
}

static bool access_plain(struct trans *t, const struct compute *c)
{
    if (tr_homed_is_direct(t) && (c->homed || t->holds.t1.reg)) {
        const struct em_mem at = {t->i->base, T2, 0, (s32)t->i->disp};
        em_lea_disp(&t->e, T2, at.base, at.disp);
        tr_lookup(t, T2);
        return tr_spell(t, c, at);
    }
    u8 base = tr_address(t, 0);
    lookup(t, c, base);
    return tr_spell(t, c, tr_at(base));
}

/* An address of 32 bits, which may wrap, and where there are no more marks. */
static bool access_window32(struct trans *t, const struct compute *c)
{
    tr_address_t1(t);
    lookup(t, c, T1);
    tr_window(t, t->i->mem_bytes, t->i->mem_bytes >= 16);
    if (!tr_spell(t, c, tr_at(T1))) return false;
    if (!c->homed) tr_table_reload(t);
    return true;
}
/* The test comes before the look-up, while T2 is free. */
static bool access_window(struct trans *t, const struct compute *c)
{
    const bool may_wrap = t->is32 || t->i->addrsize != 8;
    if (may_wrap || t->aheads == BT_BLOCK_AHEADS) return access_window32(t, c);
    const u32 ahead = t->i->mem_bytes > 16 ? t->i->mem_bytes : 16;
    em_mov(&t->e, T1, tr_address(t, (s32)ahead));
    struct cold *const may_cross = tr_window_ahead(t, ahead);
    lookup(t, c, T1);
    may_cross->back = t->e.n;
    return tr_spell(t, c, (struct em_mem){T1, T2, 0, -(s32)ahead});
}

/* ---- AH..BH beside a memory operand
 * ---------------------------------------------------------------- No REX prefix can be there, so
 * no T1. Only MOV; TB takes the byte's place. */

static enum tr move_high_byte(struct trans *t)
{
    const struct insn *i = t->i;
    bool store = i->op[0].kind == OPND_MEM;
    const struct insn_opnd *o = &i->op[store ? 1 : 0];
    if (i->mnemonic != ZYDIS_MNEMONIC_MOV || o->file != RF_GPR_HIGH) return TR_NONE;
    u8 base = tr_address(t, 0), reg = o->reg & 3;
    if (store) tr_lookup_write(t, base);
    else tr_lookup_read(t, base);
    if (store) {
        em_shift_down(&t->e, TB, reg, 8);
        em_mem_op(&t->e, EM_MOV_STORE8, EM_32, TB, tr_at(base));
    } else {
        em_mem_op(&t->e, EM_MOVZX8, EM_32, TB, tr_at(base));
        em_gs_op(&t->e, EM_MOV_STORE8, EM_32, TB, SAVE_VALUE);
        em_gs_op(&t->e, EM_MOV_LOAD8, EM_32, reg | 4, SAVE_VALUE); /* without REX: AH to BH */
    }
    tr_table_reload(t);
    return TR_NEXT;
}

/* ---- scalars where AC has trapped
 * ------------------------------------------------------------------
 */

/* The instruction on the copy of its operand in SAVE_VALUE. */
static bool spell_on_copy(struct trans *t, const struct compute *c)
{
    em_mov_imm(&t->e, T2, SAVE_VALUE);
    if (homed_operand(c) != REG_NONE) em_load_gs(&t->e, TB, gpr_off(homed_operand(c)));
    em_byte(&t->e, 0x65);
    if (!spell(t, c, (struct em_mem){T2, REG_NONE, 0, 0}, TB)) return false;
    if (c->homed & c->plan.gpr_written) em_store_gs(&t->e, gpr_off(homed_operand(c)), TB);
    return true;
}

static bool is_mov(const struct insn *i)
{
    return i->mnemonic == ZYDIS_MNEMONIC_MOV && i->fpu == FPU_NONE;
}

static bool load_any(struct trans *t, const struct compute *c)
{
    const struct insn *i = t->i;
    bool mov = is_mov(i) && i->mem_bytes >= 4 && !c->homed;
    tr_address_t1(t);
    tr_lookup_read(t, T1);
    tr_window(t, i->mem_bytes, false);
    tr_load_any(t, i->mem_bytes);
    if (mov && i->mem_bytes == 8) em_mov(&t->e, i->op[0].reg, T1);
    else if (mov) em_mov32(&t->e, i->op[0].reg, T1);
    else em_store_gs(&t->e, SAVE_VALUE, T1);
    if (!mov && !spell_on_copy(t, c)) return false;
    tr_table_reload(t);
    return true;
}

static void value_of_copy(struct trans *t) { em_load_gs(&t->e, TB, SAVE_VALUE); }
static void value_of_mov(struct trans *t)
{
    const struct insn_opnd *o = &t->i->op[1];
    if (o->kind == OPND_IMM) em_mov_imm(&t->e, TB, t->i->imm);
    else em_mov(&t->e, TB, tr_guest(t, o->reg, TB));
}

static bool store_any(struct trans *t, const struct compute *c)
{
    bool mov = is_mov(t->i);
    if (!mov) {
        if (!spell_on_copy(t, c)) return false;
        if (c->homed) tr_table_reload(t);
    }
    tr_address_t1(t);
    tr_lookup_write(t, T1);
    tr_store_any(t, t->i->mem_bytes, mov ? value_of_mov : value_of_copy);
    tr_table_reload(t);
    return true;
}

/* Read, modify, write: on the copy, which is then stored. That the page may be written is found out
 * first, by writing a byte back: neither the guest's instruction nor this is atomic. */
static bool update_any(struct trans *t, const struct compute *c)
{
    struct emit *e = &t->e;
    if (t->i->prefixes & PFX_LOCK || t->i->mnemonic == ZYDIS_MNEMONIC_XCHG) return false;
    tr_address_t1(t);
    tr_lookup_write(t, T1);
    tr_window(t, t->i->mem_bytes, false);
    em_mem_op(e, EM_MOVZX8, EM_32, TB, tr_at(T1));
    em_mem_op(e, EM_MOV_STORE8, EM_32, TB, tr_at(T1));
    tr_load_any(t, t->i->mem_bytes);
    em_store_gs(e, SAVE_VALUE, T1);
    if (!spell_on_copy(t, c)) return false;
    tr_table_reload(t);
    em_load_gs(e, T1, SAVE_ADDRESS);
    tr_lookup(t, T1);
    tr_store_any(t, t->i->mem_bytes, value_of_copy);
    tr_table_reload(t);
    return true;
}

static bool access_any(struct trans *t, const struct compute *c)
{
    if (t->i->mem_rw == OPND_R) return load_any(t, c);
    return t->i->mem_rw == OPND_W ? store_any(t, c) : update_any(t, c);
}

/* ---- selection
 * -----------------------------------------------------------------------------------
 */

static bool is_checked_by_element(u16 mnemonic) { return mnemonic == ZYDIS_MNEMONIC_VCVTPH2PS; }

static enum how choose(const struct trans *t, const struct compute *c)
{
    u32 bytes = t->i->mem_bytes;
    const struct plan *p = &c->plan;
    /* the host sets bits of MXCSR even when its store then faults */
    if (t->i->mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH) return HOW_NONE;
    if (p->bt_mem || __builtin_popcount(c->homed) > 1 || bytes > 64 || bytes & (bytes - 1))
        return HOW_NONE;
    if (bytes == 1 || (bytes >= 16 && p->aligned)) return HOW_PLAIN;
    /* masked: whether elements are there or not is the same for a whole page */
    if (p->masked && bytes < 16 && is_checked(t)) return HOW_NONE;
    if (p->masked || is_checked_by_element(t->i->mnemonic)) return HOW_WINDOW;
    if (bytes < 16) return is_checked(t) ? HOW_ANY : HOW_PLAIN;
    return !is_checked(t) && p->has_twin ? HOW_ALIGNED_TWIN : HOW_WINDOW;
}

static bool host_has(const struct bt *bt, const struct plan *p)
{
    return (!p->avx512 || bt->has_avx512) && (!p->avx || bt->has_avx);
}

static enum tr with_memory(struct trans *t, const struct compute *c)
{
    u32 start = t->e.n, colds = t->colds;
    if (c->how == HOW_NONE) return TR_NONE;
    if (c->plan.high) return move_high_byte(t);
    bool done = is_in_group(t)         ? tr_group_access(t, c)
                : c->how == HOW_ANY    ? access_any(t, c)
                : c->how == HOW_WINDOW ? access_window(t, c)
                                       : access_plain(t, c);
    if (done) return TR_NEXT;
    t->e.n = start;
    t->colds = colds;
    return TR_NONE;
}

/* BT, BTS, BTR, BTC with a register's bit offset into memory */
static bool is_bit_string(const struct insn *i)
{
    bool bt = i->mnemonic == ZYDIS_MNEMONIC_BT || i->mnemonic == ZYDIS_MNEMONIC_BTS ||
              i->mnemonic == ZYDIS_MNEMONIC_BTR || i->mnemonic == ZYDIS_MNEMONIC_BTC;
    return bt && i->op[0].kind == OPND_MEM && i->op[1].kind == OPND_REG;
}

void tr_compute_plan(struct trans *t, struct compute *c)
{
    *c = (struct compute){.how = HOW_NONE};
    if (!tr_may_run(t)) return;
    plan_find(t->bt->plans, &c->plan, t->i);
    c->plan.ok = c->plan.ok && host_has(t->bt, &c->plan);
    if (!c->plan.ok) return;
    c->homed = c->plan.gpr_used & HOMED;
    if (t->i->mem_bytes && !c->plan.x87) c->how = choose(t, c);
}

bool tr_is_groupable(const struct trans *t, const struct compute *c)
{
    const struct insn *i = t->i;
    const bool whole = !c->plan.masked && !is_checked_by_element(i->mnemonic);
    const bool based = i->base < GPRS || i->index < GPRS || i->base == BASE_RIP;
    return !tr_window_uses_rsp(t, i) && c->plan.ok && !c->plan.x87 && c->how < HOW_ANY && whole &&
           based && !c->plan.high && i->mem_bytes && i->mem_rw && i->addrsize == 8 &&
           i->mode == ISA_64 && i->seg != FS && i->seg != GS && i->disp == (s32)i->disp &&
           !is_bit_string(i);
}

enum tr tr_compute(struct trans *t)
{
    const struct insn *i = t->i;
    const struct compute *c = t->compute;
    if (!tr_may_run(t)) return TR_NONE;
    if (tr_window_uses_rsp(t, i)) {
        const enum tr r = tr_window_compute(t);
        const bool other = i->mnemonic == ZYDIS_MNEMONIC_LEA || c->plan.gpr_used >> RSP & 1;
        if (r != TR_NONE || other) return r;
    }
    if (i->mnemonic == ZYDIS_MNEMONIC_LEA && !is_simple_lea(i)) return lea(t);
    if (is_bit_string(i)) return tr_bit_string(t);
    if (!c->plan.ok) return TR_NONE;
    if (c->plan.x87) return tr_x87(t, &c->plan);
    if (!i->mem_bytes)
        return c->plan.mem && i->mnemonic != ZYDIS_MNEMONIC_LEA ? TR_NONE : copy(t, c);
    return with_memory(t, c);
}
