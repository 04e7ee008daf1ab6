/* trans_system.c - the system instructions that kernels execute all the time, without leaving
 * translated code: flags of privilege, SWAPGS, segment bases, reads of segment and control
 * registers, bit strings in memory, PUSHF. What they depend on beyond the block's variant (CPL) is
 * listed in struct bt: SMAP and FSGSBASE. Spec: SDM vol. 2. */
#include <Zydis/Mnemonic.h>

#include "engine/bt/light.h"
#include "engine/bt/trans_hints.h"
#include "engine/bt/trans_system.h"
#include "engine/bt/trans_window.h"
#include "isa/respell.h"
#include "mmu/mmu.h"

#define GS_RFLAGS offsetof(struct vcpu, rflags)
#define GS_SEG(s, f)                                                                               \
    (offsetof(struct vcpu, seg) + sizeof(struct seg) * (s) + offsetof(struct seg, f))
enum { BIT_IF = 9, BIT_DF = 10, BIT_AC = 18, BIT_CTX_AC = 1 };
static_assert(PRIV_SUPERVISOR == 0 && PRIV_SUPERVISOR_AC == 1 << BIT_CTX_AC, "tlb.ctx privilege");

/* Bit @n of the 64-bit word at GS:@off = @value; T1 is lost. */
static void put_bit(struct trans *t, size_t off, u8 n, bool value)
{
    struct emit *e = &t->e;
    if (e->plain) {
        em_mov_imm(e, T1, BIT(n));
        em_mm_move(e, EM_MM_FROM, 0, T1);
        em_gs_op(e, EM_MM_LOAD, EM_32, 1, off);
        em_mm_op(e, value ? EM_MM_OR : EM_MM_ANDN, 0, 1);
        em_gs_op(e, EM_MM_STORE, EM_32, 0, off);
        return;
    }
    /* rotate the bit to the top, shift it out and the new one in, rotate back */
    em_load_gs(e, T1, off);
    em_rorx(e, T1, T1, (u8)(n + 1));
    em_lea(e, T1, (struct em_mem){T1, T1, 0, value});
    em_rorx(e, T1, T1, (u8)(64 - n));
    em_store_gs(e, off, T1);
}

enum tr tr_cli(struct trans *t)
{
    if (t->bt->user) return TR_NONE;
    put_bit(t, GS_RFLAGS, BIT_IF, false);
    return TR_NEXT;
}

/* Inline while no interrupt waits; else the interpreter does it, with the shadow. The instruction
 * that follows must be in this block, before the next poll: one that comes up now is taken after
 * it. */
enum tr tr_sti(struct trans *t)
{
    if (t->bt->user || t->is_last) return TR_NONE;
    em_mov(&t->e, TB, RCX);
    em_gs_op(&t->e, EM_MOVZX8, EM_32, RCX, offsetof(struct vcpu, intr_line));
    u32 none = em_jump8(&t->e, EM_JRCXZ);
    tr_cold(t, COLD_STEP, em_jump32(&t->e, EM_JMP), 0);
    em_fix8(&t->e, none);
    em_mov(&t->e, RCX, TB);
    tr_table_reload(t);
    put_bit(t, GS_RFLAGS, BIT_IF, true);
    return TR_NEXT;
}

enum tr tr_cld(struct trans *t)
{
    put_bit(t, GS_RFLAGS, BIT_DF, false);
    return TR_NEXT;
}
enum tr tr_std(struct trans *t)
{
    put_bit(t, GS_RFLAGS, BIT_DF, true);
    return TR_NEXT;
}

/* The supervisor's two tables differ in what SMAP forbids. */
static enum tr set_ac(struct trans *t, bool ac)
{
    if (t->bt->user || !t->bt->smap) return TR_NONE;
    put_bit(t, GS_RFLAGS, BIT_AC, ac);
    put_bit(t, offsetof(struct vcpu, tlb.ctx), BIT_CTX_AC, ac);
    em_mov_imm(&t->e, TB, t->bt->table[ac]);
    em_store_gs(&t->e, offsetof(struct vcpu, eng.table), TB);
    return TR_NEXT;
}
enum tr tr_clac(struct trans *t) { return set_ac(t, false); }
enum tr tr_stac(struct trans *t) { return set_ac(t, true); }

/* PUSHFQ: the arithmetic flags are the host's, the rest is v->rflags. */
enum tr tr_pushf(struct trans *t)
{
    static const u8 fetch[] = {
        0x9F,                            /* lahf                    */
        0x0F, 0x90, 0xC0,                /* seto al                 */
        0x41, 0x81, 0xE3, 0,    0, 0, 0, /* and r11d, imm32 (below) */
        0x44, 0x0F, 0xB6, 0xD0,          /* movzx r10d, al          */
        0x41, 0xC1, 0xE2, 0x0B,          /* shl r10d, 11            */
        0x45, 0x09, 0xD3,                /* or r11d, r10d           */
        0x41, 0x89, 0xC2,                /* mov r10d, eax           */
        0x41, 0xC1, 0xEA, 0x08,          /* shr r10d, 8             */
        0x41, 0x81, 0xE2, 0xD5, 0, 0, 0, /* and r10d, 0xD5       */
        0x45, 0x09, 0xD3,                /* or r11d, r10d           */
        0x04, 0x7F,                      /* add al, 0x7F            */
        0x9E,                            /* sahf                    */
    };
    enum { AND_IMM = 7 };
    const u32 keep = ~(u32)(RFLAGS_ARITH | RFLAGS_RF | RFLAGS_VM);
    if (t->i->stack_bytes != t->word || is_checked(t)) return TR_NONE;
    em_mov(&t->e, TB, RAX);
    em_load_gs(&t->e, T2, GS_RFLAGS);
    u32 at = t->e.n;
    em_bytes(&t->e, fetch, sizeof fetch);
    if (t->e.n <= t->e.room) memcpy(t->e.at + at + AND_IMM, &keep, sizeof keep);
    em_mov(&t->e, RAX, TB);
    if (t->window) {
        em_mov(&t->e, T1, T2);
        tr_table_reload(t);
        tr_window_push_t1(t);
        return TR_NEXT;
    }
    em_store_gs(&t->e, SAVE_VALUE, T2);
    tr_table_reload(t);
    const struct em_mem top = {RSP, REG_NONE, 0, -(s32)t->word};
    em_mem_op(&t->e, EM_LEA, tr_width(t), T1, top);
    tr_lookup(t, T1);
    em_load_gs(&t->e, TB, SAVE_VALUE);
    em_mem_op(&t->e, EM_MOV_STORE, tr_width(t), TB, tr_at(T1));
    em_mem_op(&t->e, EM_LEA, tr_width(t), RSP, top);
    tr_table_reload(t);
    return TR_NEXT;
}

enum tr tr_swapgs(struct trans *t)
{
    if (t->bt->user) return TR_NONE;
    em_load_gs(&t->e, T1, GS_SEG(GS, base));
    em_load_gs(&t->e, T2, offsetof(struct vcpu, kernel_gs_base));
    em_store_gs(&t->e, GS_SEG(GS, base), T2);
    em_store_gs(&t->e, offsetof(struct vcpu, kernel_gs_base), T1);
    return TR_NEXT;
}

/* 16-, 32- or 64-bit load of a general register from the vCPU. */
static enum tr load_reg(struct trans *t, size_t off, u32 op)
{
    const struct insn_opnd *o = &t->i->op[0];
    if (o->kind != OPND_REG || o->file != RF_GPR || o->bytes < 2) return TR_NONE;
    u8 dst = is_homed(o->reg) ? T1 : o->reg;
    if (t->window && o->reg == RSP) return TR_NONE;
    if (o->bytes == 2) { /* the rest of the register stays */
        if (dst == T1) em_load_gs(&t->e, T1, gpr_off(o->reg));
        em_load_gs16(&t->e, dst, off);
    } else {
        em_gs_op(&t->e, op, o->bytes == 8 ? EM_64 : EM_32, dst, off);
    }
    if (dst == T1) em_store_gs(&t->e, gpr_off(o->reg), T1);
    return TR_NEXT;
}

enum tr tr_rdfsbase(struct trans *t)
{
    return t->bt->fsgsbase ? load_reg(t, GS_SEG(FS, base), EM_MOV_LOAD) : TR_NONE;
}
enum tr tr_rdgsbase(struct trans *t)
{
    return t->bt->fsgsbase ? load_reg(t, GS_SEG(GS, base), EM_MOV_LOAD) : TR_NONE;
}
enum tr tr_mov_from_seg(struct trans *t)
{
    u8 seg = t->i->op[1].reg;
    return seg < SEGS ? load_reg(t, GS_SEG(seg, sel), EM_MOVZX16) : TR_NONE;
}
enum tr tr_mov_from_cr(struct trans *t)
{
    static const size_t off[] = {[0] = offsetof(struct vcpu, cr0),
                                 [2] = offsetof(struct vcpu, cr2),
                                 [3] = offsetof(struct vcpu, cr3),
                                 [4] = offsetof(struct vcpu, cr4)};
    u8 cr = t->i->op[1].reg;
    if (t->bt->user || cr >= ARRAY_LEN(off) || !off[cr]) return TR_NONE;
    return load_reg(t, off[cr], EM_MOV_LOAD);
}

/* BT, BTS, BTR, BTC of a bit string: the host adds the bit offset's words to the address by itself,
 * so only the page looked up must be the right one. The fault handler knows (fault.c). */
enum tr tr_bit_string(struct trans *t)
{
    const struct insn *i = t->i;
    const struct insn_opnd *o = &i->op[1];
    struct respell_map map = {.base = T1, .index = T2};
    u8 out[RESPELL_BYTES_MAX];
    if (i->opsize < 4 || is_checked(t) || is_homed(o->reg)) return TR_NONE;
    for (u8 r = 0; r < GPRS; r++) map.gpr[r] = r;
    int n = respell(out, i->bytes, i->len, (enum isa_mode)i->mode, &map);
    if (n <= 0) return TR_NONE;
    tr_address_t1(t);
    /* the uppermost bits of the sum do not matter to the look-up */
    if (i->opsize == 4) em_reg_op(&t->e, 0x63, EM_64, T2, o->reg); /* movsxd */
    em_shift_down(&t->e, T2, i->opsize == 8 ? o->reg : T2, i->opsize == 8 ? 6 : 5);
    em_lea(&t->e, T2, (struct em_mem){T1, T2, i->opsize == 8 ? 3 : 2, 0});
    tr_lookup(t, T2);
    em_bytes(&t->e, out, (u32)n);
    return TR_NEXT;
}

static enum tr write_base(struct trans *t, u32 seg)
{
    const struct insn_opnd *o = &t->i->op[0];
    if (!t->bt->fsgsbase || o->kind != OPND_REG || o->bytes < 4) return TR_NONE;
    u8 src = tr_guest(t, o->reg, T1);
    if (o->bytes == 4) {
        em_mov32(&t->e, T1, src);
    } else {
        em_mov(&t->e, T1, src);
        tr_canonical(t);
    }
    em_store_gs(&t->e, GS_SEG(seg, base), T1);
    return TR_NEXT;
}
enum tr tr_wrfsbase(struct trans *t) { return write_base(t, FS); }
enum tr tr_wrgsbase(struct trans *t) { return write_base(t, GS); }

/* CR2 is only a word; the other control registers have consequences. */
enum tr tr_mov_to_cr(struct trans *t)
{
    if (t->bt->user || t->i->op[0].reg != 2) return TR_NONE;
    u8 src = tr_guest(t, t->i->op[1].reg, T1);
    if (t->is32) em_mov32(&t->e, T1, src);
    em_store_gs(&t->e, offsetof(struct vcpu, cr2), t->is32 ? T1 : src);
    return TR_NEXT;
}

/* ---- executed by light.c --------------------------------------------------------------------- */

static enum tr light(struct trans *t, enum bt_light kind, enum tr then)
{
    enum { MOV_IMM32_BYTES = 6, JMP_BYTES = 5 };
    em_mov_imm(&t->e, T1, tr_place(t, t->off));
    const u32 behind = t->code_off + t->e.n + MOV_IMM32_BYTES + JMP_BYTES;
    em_mov_imm(&t->e, T2, behind | (u32)kind << LIGHT_SHIFT);
    tr_jump_stub(t, t->bt->stubs.light);
    t->is_light = true;
    return then;
}

enum tr tr_syscall(struct trans *t)
{
    return t->i->len == 2 && !t->is32 ? light(t, LIGHT_SYSCALL, TR_END) : TR_NONE;
}
enum tr tr_sysret(struct trans *t)
{
    return t->bt->user || t->i->opsize != 8 ? TR_NONE : light(t, LIGHT_SYSRET, TR_END);
}
enum tr tr_iret(struct trans *t)
{
    return t->bt->user || t->i->opsize != 8 ? TR_NONE : light(t, LIGHT_IRET, TR_END);
}
/* V8 has one behind each FPREM; a step would take the x87 registers away as well. */
enum tr tr_popf(struct trans *t)
{
    return t->i->stack_bytes == 8 ? light(t, LIGHT_POPF, TR_NEXT) : TR_NONE;
}
enum tr tr_rdtsc(struct trans *t) { return light(t, LIGHT_RDTSC, TR_NEXT); }
enum tr tr_rdtscp(struct trans *t) { return light(t, LIGHT_RDTSCP, TR_NEXT); }
enum tr tr_vectors(struct trans *t) { return light(t, LIGHT_VECTORS, TR_END); }
