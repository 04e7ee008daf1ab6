/* trans_x87.c - x87 and MMX instructions: copied, like other COMPUTE instructions, while the
 * guest's registers are in the host's (x87.h). FLDENV, FNSTENV, FRSTOR and FNSAVE are left to the
 * interpreter, and so is FLDCW when it would unmask an exception.
 *
 * Memory operands (measured with AC = 1): those of 2, 4 and 8 bytes trap when misaligned, those of
 * 10 when not at a multiple of 8, and these may cross a page although they are. So operands of 10
 * bytes always have the page-crossing test. Where AC has trapped, the instruction works on a copy
 * of its operand; a store to there must not fail any more when its result has left the register
 * stack, so that the page may be written is found out first. */
#include <Zydis/Mnemonic.h>

#include "engine/bt/light.h"
#include "engine/bt/plan.h"
#include "engine/bt/trans_hints.h"
#include "engine/bt/trans_x87.h"

#define GS_X87(f) (offsetof(struct vcpu, eng_x87) + offsetof(struct engine_x87, f))
enum { WIDE = 10, FCW_MASKS = 6 /* bits, from bit 0 */ };

/* ---- registers present ----------------------------------------------------------------------- */

static void need_registers(struct trans *t)
{
    struct emit *e = &t->e;
    if (t->has_x87) return;
    em_mov(e, TB, RCX);
    em_load_gs(e, RCX, GS_X87(absent));
    u32 there = em_jump8(e, EM_JRCXZ);
    tr_cold(t, COLD_X87, em_jump32(e, EM_JMP), 0);
    em_fix8(e, there);
    em_mov(e, RCX, TB);
    tr_table_reload(t);
    t->cold[t->colds - 1].back = e->n;
    t->has_x87 = true;
}

void tr_put_x87(struct trans *t, const struct cold *c)
{
    em_mov(&t->e, RCX, TB);
    em_mov_imm(&t->e, T1, tr_place(t, c->off));
    em_mov_imm(&t->e, T2, (t->code_off + c->back) | (u32)LIGHT_X87 << LIGHT_SHIFT);
    tr_jump_stub(t, t->bt->stubs.light);
}

/* ---- spelling -------------------------------------------------------------------------------- */

struct spelled {
    u8 bytes[RESPELL_BYTES_MAX];
    u32 len;
};

static bool spell(struct spelled *s, const struct insn *i, u8 base, u8 index)
{
    struct respell_map map = {.base = base, .index = index};
    for (u8 n = 0; n < GPRS; n++) map.gpr[n] = n;
    int len = respell(s->bytes, i->bytes, i->len, (enum isa_mode)i->mode, &map);
    s->len = len > 0 ? (u32)len : 0;
    return len > 0;
}

static void put(struct trans *t, const struct spelled *s) { em_bytes(&t->e, s->bytes, s->len); }

/* The instruction on eng_x87.copy; T2 is lost. */
static void put_on_copy(struct trans *t, const struct spelled *s)
{
    em_mov_imm(&t->e, T2, GS_X87(copy));
    em_byte(&t->e, 0x65);
    put(t, s);
}

/* ---- memory operands ------------------------------------------------------------------------- */

static bool is_store(const struct trans *t) { return t->i->mem_rw & OPND_W; }

static void lookup(struct trans *t)
{
    tr_address_t1(t);
    if (is_store(t)) tr_lookup_write(t, T1);
    else tr_lookup_read(t, T1);
}

/* The host may have reset TOP and tags when the access of an MMX instruction faults: a plain one of
 * the same size comes first. */
static void touch_all(struct trans *t)
{
    const u32 bytes = t->i->mem_bytes, width = bytes == 8 ? EM_64 : EM_32;
    em_mem_op(&t->e, bytes == 2 ? EM_MOVZX16 : EM_MOV_LOAD, width, TB, tr_at(T1));
    if (is_store(t)) em_mem_op(&t->e, EM_MOV_STORE, width, TB, tr_at(T1));
}
static bool changes_early(const struct insn *i)
{
    return i->fpu == FPU_MMX || i->op[0].file == RF_MMX || i->op[1].file == RF_MMX;
}

static void access_plain(struct trans *t, const struct spelled *s)
{
    const bool wide = t->i->mem_bytes == WIDE, early = changes_early(t->i);
    lookup(t);
    if (wide) tr_window(t, 16, true);
    if (early) touch_all(t);
    put(t, s);
    if (wide || early) tr_table_reload(t);
}

/* Of an operand of 10 bytes @bytes at @at; its address is in T1 and SAVE_ADDRESS. */
static void copy_in(struct trans *t, u32 at, u32 bytes)
{
    if (at) {
        tr_table_reload(t);
        em_load_gs(&t->e, T1, SAVE_ADDRESS);
        em_lea_disp(&t->e, T1, T1, (s32)at);
        tr_lookup(t, T1);
    }
    tr_load_any(t, bytes);
    em_store_gs(&t->e, GS_X87(copy) + at, T1);
}

static void load_any(struct trans *t, const struct spelled *on_copy)
{
    const u32 bytes = t->i->mem_bytes;
    lookup(t);
    tr_window(t, bytes, false);
    copy_in(t, 0, bytes == WIDE ? 8 : bytes);
    if (bytes == WIDE) copy_in(t, 8, 2);
    put_on_copy(t, on_copy);
    tr_table_reload(t);
}

static void value_of_copy(struct trans *t) { em_load_gs(&t->e, TB, GS_X87(copy)); }

static void store_bytes(struct trans *t)
{
    for (u32 k = 0; k < WIDE; k++) {
        if (k % 8 == 0) em_load_gs(&t->e, TB, GS_X87(copy) + k);
        else em_shift_down(&t->e, TB, TB, 8);
        em_mem_op(&t->e, EM_MOV_STORE8, EM_32, TB, (struct em_mem){T1, T2, 0, (s32)k});
    }
}

/* The operand's first byte through TB. What is written back will be overwritten. */
static void touch(struct trans *t)
{
    em_mem_op(&t->e, EM_MOVZX8, EM_32, TB, tr_at(T1));
    if (is_store(t)) em_mem_op(&t->e, EM_MOV_STORE8, EM_32, TB, tr_at(T1));
}

/* The first byte is written before the instruction: from then on nothing can fail. */
static void store_any(struct trans *t, const struct spelled *on_copy)
{
    const u32 bytes = t->i->mem_bytes;
    lookup(t);
    tr_window(t, bytes, false);
    touch(t);
    put_on_copy(t, on_copy);
    tr_table_reload(t);
    tr_lookup(t, T1);
    if (bytes == WIDE) store_bytes(t);
    else tr_store_any(t, bytes, value_of_copy);
    tr_table_reload(t);
}

static enum tr with_memory(struct trans *t)
{
    struct spelled s;
    const bool checked = is_checked(t);
    if (!spell(&s, t->i, checked ? T2 : T1, checked ? REG_NONE : T2)) return TR_NONE;
    need_registers(t);
    if (!checked) access_plain(t, &s);
    else if (is_store(t)) store_any(t, &s);
    else load_any(t, &s);
    return TR_NEXT;
}

/* FLDCW: exceptions stay masked, or it is left to the interpreter. */
static enum tr fldcw(struct trans *t)
{
    struct emit *e = &t->e;
    if (is_checked(t)) return TR_NONE;
    need_registers(t);
    tr_address_t1(t);
    tr_lookup_read(t, T1);
    em_mov(e, TB, RCX);
    em_mem_op(e, EM_MOVZX16, EM_32, RCX, tr_at(T1));
    em_store_gs(e, GS_X87(copy), RCX);
    em_mov(e, T2, RCX);
    em_not(e, EM_32, T2);
    em_field(e, RCX, T2, 0, FCW_MASKS);
    u32 masked = em_jump8(e, EM_JRCXZ);
    tr_cold(t, COLD_STEP, em_jump32(e, EM_JMP), 0);
    em_fix8(e, masked);
    em_mov(e, RCX, TB);
    em_gs_op(e, 0xD9, EM_32, 5, GS_X87(copy));
    tr_table_reload(t);
    return TR_NEXT;
}

/* ---- selection ------------------------------------------------------------------------------- */

static bool is_plain_size(const struct insn *i)
{
    const u32 bytes = i->mem_bytes;
    if (bytes == 2) return !(changes_early(i) && i->mem_rw & OPND_W);
    return bytes == 4 || bytes == 8 || bytes == WIDE;
}

static enum tr put_insn(struct trans *t, const struct plan *p)
{
    struct spelled s;
    if (t->i->mnemonic == ZYDIS_MNEMONIC_FLDCW) return fldcw(t);
    if (p->mem) return is_plain_size(t->i) ? with_memory(t) : TR_NONE;
    if (!spell(&s, t->i, REG_NONE, REG_NONE)) return TR_NONE;
    need_registers(t);
    put(t, &s);
    return TR_NEXT;
}

enum tr tr_x87(struct trans *t, const struct plan *p)
{
    if (!t->bt->has_x87 || p->gpr_used & HOMED) return TR_NONE;
    if (t->i->fpu >= FPU_SSE) return TR_NONE; /* #XM, with TOP and tags changed already */
    const enum tr r = put_insn(t, p);
    if (r != TR_NEXT || !p->x87_pointers || t->has_x87_base) return r;
    tr_base(t, T1);
    em_store_gs(&t->e, GS_X87(base), T1);
    t->has_x87_base = true;
    return r;
}
