/* x_syscall - fast system calls and the FS and GS bases. Spec: SDM vol. 2B SYSCALL, SYSRET,
 * SYSENTER, SYSEXIT, SWAPGS, RDFSBASE; APM vol. 3 SYSCALL for what AMD processors do outside 64-bit
 * mode. */
#include "cpu/cpuid.h"
#include "cpu/far.h"
#include "cpu/insn_exec.h"
#include "cpu/vcpu_mode.h"
#include "cpu/x_internal.h"

enum {
    FLAT_CODE = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_G,
    FLAT_DATA = SEG_P | SEG_S | SEG_W | SEG_A | SEG_G | SEG_DB,
    SYSRET_FLAGS = 0x3C7FD7,
};

/* Fixed flat segments: these instructions read no descriptors. */
static void set_flat(struct vcpu *v, u16 cs, u16 ss, u8 cpl, bool code64)
{
    u32 dpl = (u32)cpl << SEG_DPL_SHIFT;
    u32 code = FLAT_CODE | dpl | (code64 ? SEG_L : SEG_DB);
    v->seg[CS] = (struct seg){.limit = 0xFFFFFFFF, .attr = code, .sel = (u16)((cs & ~3) | cpl)};
    v->seg[SS] =
        (struct seg){.limit = 0xFFFFFFFF, .attr = FLAT_DATA | dpl, .sel = (u16)((ss & ~3) | cpl)};
    v->cpl = cpl;
    vcpu_cs_changed(v);
}

static bool is_amd(const struct vcpu *v) { return v->model && v->model->amd; }

/* ---- SYSCALL and SYSRET ---------------------------------------------------------------------- */

enum x_result x_syscall(struct vcpu *v, const struct insn *i)
{
    u16 cs = (u16)(v->star >> 32);
    u64 next = vcpu_next_rip(v, i);
    bool outside64 = v->mode != ISA_64;
    if (!(v->efer & EFER_SCE) || (outside64 && (!is_amd(v) || !vcpu_is_protected(v))))
        return vcpu_raise(v, EXC_UD);
    v->gpr[RCX] = next;
    if (vcpu_is_long(v)) {
        v->gpr[R11] = v->rflags & ~(u64)RFLAGS_RF;
        v->rip = outside64 ? v->cstar : v->lstar;
        v->rflags = (v->rflags & ~(v->fmask | RFLAGS_RF)) | RFLAGS_FIXED;
    } else { /* AMD legacy mode */
        v->rip = (u32)v->star;
        v->rflags &= ~(u64)(RFLAGS_IF | RFLAGS_VM | RFLAGS_RF);
    }
    set_flat(v, cs, (u16)(cs + 8), 0, vcpu_is_long(v));
    vcpu_update_step(v);
    return X_JUMP;
}

enum x_result x_sysret(struct vcpu *v, const struct insn *i)
{
    u16 star = (u16)(v->star >> 48);
    bool to64 = i->opsize == 8;
    bool outside64 = v->mode != ISA_64;
    if (!(v->efer & EFER_SCE) || (outside64 && (!is_amd(v) || !vcpu_is_protected(v))))
        return vcpu_raise(v, EXC_UD);
    if (v->cpl || (to64 && !is_canonical(v, v->gpr[RCX]))) return vcpu_raise_err(v, EXC_GP, 0);
    v->rip = to64 ? v->gpr[RCX] : (u32)v->gpr[RCX];
    if (vcpu_is_long(v)) v->rflags = (v->gpr[R11] & SYSRET_FLAGS) | RFLAGS_FIXED;
    else v->rflags |= RFLAGS_IF;
    set_flat(v, (u16)(to64 ? star + 16 : star), (u16)(star + 8), 3, to64);
    vcpu_update_step(v);
    return X_JUMP;
}

/* ---- SYSENTER and SYSEXIT -------------------------------------------------------------------- */

static bool sysenter_usable(const struct vcpu *v)
{
    return v->cr0 & CR0_PE && v->sysenter_cs & 0xFFFC;
}

enum x_result x_sysenter(struct vcpu *v, const struct insn *i)
{
    (void)i;
    u16 cs = (u16)v->sysenter_cs;
    bool is_long = vcpu_is_long(v), was_v86 = v->rflags & RFLAGS_VM;
    if (is_long && is_amd(v)) return vcpu_raise(v, EXC_UD);
    if (!sysenter_usable(v)) return vcpu_raise_err(v, EXC_GP, 0);
    v->rflags &= ~(u64)(RFLAGS_VM | RFLAGS_IF | RFLAGS_RF);
    v->gpr[RSP] = is_long ? v->sysenter_esp : (u32)v->sysenter_esp;
    v->rip = is_long ? v->sysenter_eip : (u32)v->sysenter_eip;
    set_flat(v, cs, (u16)((cs & ~3) + 8), 0, is_long);
    if (was_v86) vcpu_mode_changed(v);
    return X_JUMP;
}

enum x_result x_sysexit(struct vcpu *v, const struct insn *i)
{
    u16 cs = v->sysenter_cs & 0xFFFC;
    bool to64 = i->opsize == 8;
    if (vcpu_is_long(v) && is_amd(v)) return vcpu_raise(v, EXC_UD);
    if (!sysenter_usable(v)) return vcpu_raise_err(v, EXC_GP, 0);
    if (to64 && (!is_canonical(v, v->gpr[RCX]) || !is_canonical(v, v->gpr[RDX])))
        return vcpu_raise_err(v, EXC_GP, 0);
    v->gpr[RSP] = to64 ? v->gpr[RCX] : (u32)v->gpr[RCX];
    v->rip = to64 ? v->gpr[RDX] : (u32)v->gpr[RDX];
    set_flat(v, (u16)(cs + (to64 ? 32 : 16)), (u16)(cs + (to64 ? 40 : 24)), 3, to64);
    return X_JUMP;
}

/* ---- FS and GS bases ------------------------------------------------------------------------- */

enum x_result x_swapgs(struct vcpu *v, const struct insn *i)
{
    (void)i;
    u64 base = v->seg[GS].base;
    v->seg[GS].base = v->kernel_gs_base;
    v->kernel_gs_base = base;
    return X_NEXT;
}

static enum x_result read_base(struct vcpu *v, const struct insn *i, enum seg_id seg)
{
    if (!(v->cr4 & CR4_FSGSBASE)) return vcpu_raise(v, EXC_UD);
    gpr_write(v, i->op[0].reg, v->seg[seg].base, i->opsize);
    return X_NEXT;
}

static enum x_result write_base(struct vcpu *v, const struct insn *i, enum seg_id seg)
{
    u64 base = gpr_read(v, i->op[0].reg, i->opsize);
    if (!(v->cr4 & CR4_FSGSBASE)) return vcpu_raise(v, EXC_UD);
    if (!is_canonical(v, base)) return vcpu_raise_err(v, EXC_GP, 0);
    v->seg[seg].base = base;
    return X_NEXT;
}

enum x_result x_rdfsbase(struct vcpu *v, const struct insn *i) { return read_base(v, i, FS); }
enum x_result x_rdgsbase(struct vcpu *v, const struct insn *i) { return read_base(v, i, GS); }
enum x_result x_wrfsbase(struct vcpu *v, const struct insn *i) { return write_base(v, i, FS); }
enum x_result x_wrgsbase(struct vcpu *v, const struct insn *i) { return write_base(v, i, GS); }
