/* x_segment - segment register moves and descriptor queries.
 * Spec: SDM vol. 2 MOV, POP, LDS, LAR, LSL, VERR. */
#include "cpu/far.h"
#include "cpu/insn_exec.h"
#include "cpu/rm.h"
#include "cpu/vcpu_mode.h"

/* Loading SS holds back interrupts and debug traps for one instruction. */
static void after_load(struct vcpu *v, u8 seg)
{
    if (seg != SS) return;
    v->shadow |= SHADOW_MOVSS;
    vcpu_update_step(v);
}

enum x_result x_mov_seg_load(struct vcpu *v, const struct insn *i)
{
    u64 sel;
    u8 seg = i->op[0].reg;
    if (seg == CS || seg >= SEGS) return vcpu_raise(v, EXC_UD);
    if (opnd_read(v, i, 1, 2, &sel)) return X_FAULT;
    if (seg_load(v, seg, (u16)sel)) return X_FAULT;
    after_load(v, seg);
    return X_NEXT;
}

enum x_result x_mov_seg_store(struct vcpu *v, const struct insn *i)
{
    u8 seg = i->op[1].reg;
    if (seg >= SEGS) return vcpu_raise(v, EXC_UD);
    return opnd_write_word(v, i, v->seg[seg].sel, i->opsize) ? X_FAULT : X_NEXT;
}

enum x_result x_pop_seg(struct vcpu *v, const struct insn *i)
{
    u64 sel, old = v->gpr[RSP];
    u8 seg = i->op[0].reg;
    if (seg == CS || seg >= SEGS) return vcpu_raise(v, EXC_UD);
    if (stack_pop(v, &sel, i->stack_bytes)) return X_FAULT;
    if (seg_load(v, seg, (u16)sel)) { /* RSP moved at the old SS's width, so before the load */
        v->gpr[RSP] = old;
        return X_FAULT;
    }
    after_load(v, seg);
    return X_NEXT;
}

/* LES C4, LDS C5, LSS 0F B2, LFS 0F B4, LGS 0F B5 */
static u8 far_pointer_seg(u8 opcode)
{
    switch (opcode) {
    case 0xC4: return ES;
    case 0xC5: return DS;
    case 0xB2: return SS;
    case 0xB4: return FS;
    default: return GS;
    }
}

enum x_result x_lfp(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    u64 buf[2] = {0, 0};
    u16 sel;
    u8 seg = far_pointer_seg(i->opcode);
    if (i->op[1].kind != OPND_MEM) return vcpu_raise(v, EXC_UD);
    if (seg_linear(v, i->seg, insn_ea(v, i), i->opsize + 2u, OPND_R, &lin)) return X_FAULT;
    if (vcpu_read(v, lin, buf, i->opsize + 2u)) return X_FAULT;
    memcpy(&sel, (u8 *)buf + i->opsize, 2);
    if (seg_load(v, seg, sel)) return X_FAULT;
    gpr_write(v, i->op[0].reg, buf[0], i->opsize);
    return X_NEXT;
}

/* ---- descriptor queries: ZF says whether the selector may be used so ------------------------- */

static void set_zf(struct vcpu *v, bool on)
{
    v->rflags = on ? v->rflags | RFLAGS_ZF : v->rflags & ~(u64)RFLAGS_ZF;
}

/* Descriptor of @sel if it exists and (unless conforming code) CPL and RPL reach it. */
static int visible_desc(struct vcpu *v, u16 sel, u64 *desc, struct seg *s, bool *ok)
{
    if (seg_try_desc(v, sel, desc, ok)) return X_FAULT;
    if (!*ok) return 0;
    seg_from_desc(s, sel, *desc);
    u8 dpl = seg_dpl(s);
    if (!seg_is_conforming(s)) *ok = v->cpl <= dpl && (sel & 3) <= dpl;
    return 0;
}

enum { LAR_TYPES = BIT(1) | BIT(2) | BIT(3) | BIT(4) | BIT(5) | BIT(9) | BIT(11) | BIT(12) };
enum { LAR_TYPES_LONG = BIT(2) | BIT(9) | BIT(11) | BIT(12) };
enum { LSL_TYPES = BIT(1) | BIT(2) | BIT(3) | BIT(9) | BIT(11) };
enum { LSL_TYPES_LONG = BIT(2) | BIT(9) | BIT(11) };

static bool type_listed(const struct vcpu *v, const struct seg *s, u32 types, u32 types_long)
{
    if (s->attr & SEG_S) return true;
    return (vcpu_is_long(v) ? types_long : types) >> seg_sys_type(s) & 1;
}

enum x_result x_lar(struct vcpu *v, const struct insn *i)
{
    u64 sel, desc;
    struct seg s;
    bool ok;
    if (opnd_read(v, i, 1, 2, &sel)) return X_FAULT;
    if (visible_desc(v, (u16)sel, &desc, &s, &ok)) return X_FAULT;
    ok = ok && type_listed(v, &s, LAR_TYPES, LAR_TYPES_LONG);
    if (ok) gpr_write(v, i->op[0].reg, desc >> 32 & 0x00FFFF00, i->opsize);
    set_zf(v, ok);
    return X_NEXT;
}

enum x_result x_lsl(struct vcpu *v, const struct insn *i)
{
    u64 sel, desc;
    struct seg s;
    bool ok;
    if (opnd_read(v, i, 1, 2, &sel)) return X_FAULT;
    if (visible_desc(v, (u16)sel, &desc, &s, &ok)) return X_FAULT;
    ok = ok && type_listed(v, &s, LSL_TYPES, LSL_TYPES_LONG);
    if (ok) gpr_write(v, i->op[0].reg, s.limit, i->opsize);
    set_zf(v, ok);
    return X_NEXT;
}

static enum x_result verify(struct vcpu *v, const struct insn *i, bool write)
{
    u64 sel, desc;
    struct seg s;
    bool ok;
    if (opnd_read(v, i, 0, 2, &sel)) return X_FAULT;
    if (visible_desc(v, (u16)sel, &desc, &s, &ok)) return X_FAULT;
    if (ok) {
        bool code = s.attr & SEG_CODE,
             rw = s.attr & SEG_W; /* bit 1: writable data, readable code */
        ok = s.attr & SEG_S && (write ? !code && rw : !code || rw);
    }
    set_zf(v, ok);
    return X_NEXT;
}

enum x_result x_verr(struct vcpu *v, const struct insn *i) { return verify(v, i, false); }
enum x_result x_verw(struct vcpu *v, const struct insn *i) { return verify(v, i, true); }
