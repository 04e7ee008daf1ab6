/* x_system - descriptor-table registers, machine status, invalidations, HLT and what else only a
 * kernel uses. Spec: SDM vol. 2 under each name; vol. 3A chapter 2. */
#include "cpu/cr.h"
#include "cpu/env.h"
#include "cpu/far.h"
#include "cpu/insn_exec.h"
#include "cpu/rm.h"
#include "cpu/vcpu_mode.h"

static enum x_result gp0(struct vcpu *v) { return vcpu_raise_err(v, EXC_GP, 0); }

/* User-mode instruction prevention. */
static bool umip_forbids(const struct vcpu *v) { return v->cr4 & CR4_UMIP && v->cpl > 0; }

/* ---- GDTR and IDTR --------------------------------------------------------------------------- */

static enum x_result load_table(struct vcpu *v, const struct insn *i, struct dtable *t)
{
    u64 limit, base;
    u64 ea = insn_ea(v, i), mask = mask_bytes(i->addrsize);
    u32 bytes = v->mode == ISA_64 ? 8 : 4;
    if (i->op[0].kind != OPND_MEM) return vcpu_raise(v, EXC_UD);
    if (seg_read(v, i->seg, ea, &limit, 2)) return X_FAULT;
    if (seg_read(v, i->seg, (ea + 2) & mask, &base, bytes)) return X_FAULT;
    if (bytes == 8 && !is_canonical(v, base)) return gp0(v);
    if (bytes == 4 && i->opsize == 2) base &= 0xFFFFFF;
    *t = (struct dtable){.base = base, .limit = (u16)limit};
    return X_NEXT;
}

static enum x_result store_table(struct vcpu *v, const struct insn *i, const struct dtable *t)
{
    u8 buf[10];
    gva_t lin;
    u32 bytes = v->mode == ISA_64 ? 10 : 6;
    if (i->op[0].kind != OPND_MEM) return vcpu_raise(v, EXC_UD);
    if (umip_forbids(v)) return gp0(v);
    memcpy(buf, &t->limit, 2);
    memcpy(buf + 2, &t->base, 8);
    if (seg_linear(v, i->seg, insn_ea(v, i), bytes, OPND_W, &lin)) return X_FAULT;
    return vcpu_write(v, lin, buf, bytes) ? X_FAULT : X_NEXT;
}

enum x_result x_lgdt(struct vcpu *v, const struct insn *i) { return load_table(v, i, &v->gdtr); }
enum x_result x_lidt(struct vcpu *v, const struct insn *i) { return load_table(v, i, &v->idtr); }
enum x_result x_sgdt(struct vcpu *v, const struct insn *i) { return store_table(v, i, &v->gdtr); }
enum x_result x_sidt(struct vcpu *v, const struct insn *i) { return store_table(v, i, &v->idtr); }

/* ---- LDTR and TR ----------------------------------------------------------------------------- */

/* System descriptor @sel of the GDT, 16 bytes in long mode. */
static int read_system(struct vcpu *v, u16 sel, u64 d[2], struct seg *s)
{
    u32 err = sel & 0xFFFC;
    bool wide = vcpu_is_long(v);
    if (sel & SEL_TI) return vcpu_raise_err(v, EXC_GP, err);
    if (seg_read_desc(v, sel, EXC_GP, d, wide)) return X_FAULT;
    seg_from_desc(s, sel, d[0]);
    if (!wide) return 0;
    s->base |= d[1] << 32;
    if (bits(d[1], 44, 40)) return vcpu_raise_err(v, EXC_GP, err); /* type 0 in the upper half */
    return is_canonical(v, s->base) ? 0 : (int)vcpu_raise_err(v, EXC_GP, err);
}

enum x_result x_lldt(struct vcpu *v, const struct insn *i)
{
    u64 val, d[2];
    struct seg s;
    if (opnd_read(v, i, 0, 2, &val)) return X_FAULT;
    u16 sel = (u16)val;
    if (!(sel & 0xFFFC)) {
        v->ldtr = (struct seg){.sel = sel, .attr = SEG_NULL};
        return X_NEXT;
    }
    if (read_system(v, sel, d, &s)) return X_FAULT;
    if (seg_sys_type(&s) != SYS_LDT) return vcpu_raise_err(v, EXC_GP, sel & 0xFFFC);
    if (!(s.attr & SEG_P)) return vcpu_raise_err(v, EXC_NP, sel & 0xFFFC);
    v->ldtr = s;
    return X_NEXT;
}

enum x_result x_ltr(struct vcpu *v, const struct insn *i)
{
    u64 val, d[2];
    struct seg s;
    if (opnd_read(v, i, 0, 2, &val)) return X_FAULT;
    u16 sel = (u16)val;
    if (!(sel & 0xFFFC)) return gp0(v);
    if (read_system(v, sel, d, &s)) return X_FAULT;
    u8 type = seg_sys_type(&s);
    bool ok = type == SYS_TSS32 || (type == SYS_TSS16 && !vcpu_is_long(v));
    if (!ok) return vcpu_raise_err(v, EXC_GP, sel & 0xFFFC);
    if (!(s.attr & SEG_P)) return vcpu_raise_err(v, EXC_NP, sel & 0xFFFC);
    if (seg_write_desc_type(v, sel, &d[0], d[0] | DESC_BUSY)) return X_FAULT;
    s.attr |= 2;
    v->tr = s;
    return X_NEXT;
}

enum x_result x_sldt(struct vcpu *v, const struct insn *i)
{
    if (umip_forbids(v)) return gp0(v);
    return opnd_write_word(v, i, v->ldtr.sel, i->opsize) ? X_FAULT : X_NEXT;
}

enum x_result x_str(struct vcpu *v, const struct insn *i)
{
    if (umip_forbids(v)) return gp0(v);
    return opnd_write_word(v, i, v->tr.sel, i->opsize) ? X_FAULT : X_NEXT;
}

/* ---- machine status word --------------------------------------------------------------------- */

enum x_result x_smsw(struct vcpu *v, const struct insn *i)
{
    if (umip_forbids(v)) return gp0(v);
    return opnd_write_word(v, i, v->cr0, i->opsize) ? X_FAULT : X_NEXT;
}

/* LMSW loads PE, MP, EM, TS; it can set PE but not clear it. */
enum x_result x_lmsw(struct vcpu *v, const struct insn *i)
{
    u64 val;
    if (opnd_read(v, i, 0, 2, &val)) return X_FAULT;
    u64 cr0 = (v->cr0 & ~(CR0_MP | CR0_EM | CR0_TS)) | (val & 0xF);
    return vcpu_write_cr0(v, cr0) ? X_FAULT : X_NEXT;
}

enum x_result x_clts(struct vcpu *v, const struct insn *i)
{
    (void)i;
    v->cr0 &= ~CR0_TS;
    vcpu_mode_changed(v);
    return X_NEXT;
}

/* ---- invalidations --------------------------------------------------------------------------- */

enum x_result x_invlpg(struct vcpu *v, const struct insn *i)
{
    if (i->op[0].kind != OPND_MEM) return vcpu_raise(v, EXC_UD);
    u64 a = insn_ea(v, i);
    if (v->mode != ISA_64) a = (u32)(a + v->seg[i->seg].base);
    else if (i->seg >= FS) a += v->seg[i->seg].base;
    if (is_canonical(v, a)) v->mmu->invlpg(v, a);
    return X_NEXT;
}

enum x_result x_invpcid(struct vcpu *v, const struct insn *i)
{
    u64 d[2], type = gpr_read(v, i->op[0].reg, v->mode == ISA_64 ? 8 : 4);
    gva_t lin;
    if (i->op[1].kind != OPND_MEM) return vcpu_raise(v, EXC_UD);
    if (seg_linear(v, i->seg, insn_ea(v, i), 16, OPND_R, &lin)) return X_FAULT;
    if (vcpu_read(v, lin, d, 16)) return X_FAULT;
    if (type > 3 || d[0] & ~CR3_PCID_MASK) return gp0(v);
    if (type < 2 && d[0] && !(v->cr4 & CR4_PCIDE)) return gp0(v);
    if (type == 0 && !is_canonical(v, d[1])) return gp0(v);
    return v->mmu->invpcid(v, type, d[0], d[1]) ? X_FAULT : X_NEXT;
}

/* INVD, WBINVD: guest memory is coherent, so there is nothing to write back or drop. */
enum x_result x_invd(struct vcpu *v, const struct insn *i)
{
    (void)v;
    (void)i;
    return X_NEXT;
}

/* ---- waiting --------------------------------------------------------------------------------- */

enum x_result x_hlt(struct vcpu *v, const struct insn *i)
{
    v->rip = vcpu_next_rip(v, i);
    v->run_state = VCPU_HALTED;
    v->shadow = 0; /* of the STI before: it covers HLT, not the wait */
    vcpu_update_step(v);
    return X_HALT;
}

enum x_result x_monitor(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    u8 byte;
    u64 ea = v->gpr[RAX] & mask_bytes(i->addrsize);
    u8 seg = i->prefixes & PFX_SEG ? i->seg : DS;
    if (v->cpl) return vcpu_raise(v, EXC_UD);
    if ((u32)v->gpr[RCX]) return gp0(v);
    if (seg_linear(v, seg, ea, 1, OPND_R, &lin)) return X_FAULT;
    return vcpu_read(v, lin, &byte, 1) ? X_FAULT : X_NEXT;
}

/* Nothing watches the monitored line, so MWAIT always finds it written: a short pause. */
enum x_result x_mwait(struct vcpu *v, const struct insn *i)
{
    (void)i;
    if (v->cpl) return vcpu_raise(v, EXC_UD);
    if ((u32)v->gpr[RCX] > 1) return gp0(v);
    return X_NEXT;
}

/* ---- the rest -------------------------------------------------------------------------------- */

enum x_result x_vmcall(struct vcpu *v, const struct insn *i)
{
    (void)i;
    if (!v->env->hypercall || !v->env->hypercall(v->env->ctx, v)) return vcpu_raise(v, EXC_UD);
    v->stats.hypercalls++;
    return X_NEXT;
}

enum x_result x_rdpkru(struct vcpu *v, const struct insn *i)
{
    (void)i;
    if (!(v->cr4 & CR4_PKE)) return vcpu_raise(v, EXC_UD);
    if ((u32)v->gpr[RCX]) return gp0(v);
    v->gpr[RAX] = v->pkru;
    v->gpr[RDX] = 0;
    return X_NEXT;
}

enum x_result x_wrpkru(struct vcpu *v, const struct insn *i)
{
    (void)i;
    if (!(v->cr4 & CR4_PKE)) return vcpu_raise(v, EXC_UD);
    if ((u32)v->gpr[RCX] || (u32)v->gpr[RDX]) return gp0(v);
    u32 val = (u32)v->gpr[RAX];
    bool changed = val != v->pkru;
    v->pkru = val;
    if (changed) v->mmu->flush_all(v); /* fast entries hold the old rights */
    return X_NEXT;
}

enum x_result x_ud(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return vcpu_raise(v, EXC_UD);
}
