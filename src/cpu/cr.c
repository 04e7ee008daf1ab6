/* cr - control registers and EFER: what may be written, and what follows from it. */
#include "cpu/cr.h"

#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/far.h"
#include "cpu/insn_exec.h"
#include "cpu/vcpu_mode.h"

static bool has(const struct vcpu *v, enum cpu_feature f)
{
    return !v->model || cpu_model_has(v->model, f);
}

static int gp0(struct vcpu *v) { return vcpu_raise_err(v, EXC_GP, 0); }

static bool pae_paging(u64 cr0, u64 cr4, u64 efer)
{
    return cr0 & CR0_PG && cr4 & CR4_PAE && !(efer & EFER_LMA);
}

/* ---- CR0 ------------------------------------------------------------------------------------- */

/* May paging be switched on while EFER.LME is set? */
static bool can_enter_long(const struct vcpu *v)
{
    u8 tss = seg_sys_type(&v->tr);
    bool tss16 = tss == SYS_TSS16 || tss == SYS_TSS16_BUSY;
    return v->cr4 & CR4_PAE && !(v->seg[CS].attr & SEG_L) && !tss16;
}

static bool cr0_ok(const struct vcpu *v, u64 val)
{
    bool pg = val & CR0_PG, was_pg = v->cr0 & CR0_PG;
    if (val >> 32) return false;
    if (pg && !(val & CR0_PE)) return false;
    if (val & CR0_NW && !(val & CR0_CD)) return false;
    if (pg && !was_pg && v->efer & EFER_LME) return can_enter_long(v);
    if (!pg && was_pg) return v->mode != ISA_64 && !(v->cr4 & CR4_PCIDE);
    return true;
}

int vcpu_write_cr0(struct vcpu *v, u64 val)
{
    u64 efer = v->efer & ~EFER_LMA;
    if (!cr0_ok(v, val)) return gp0(v);
    val = (val & CR0_VALID) | CR0_ET;
    u64 changed = val ^ v->cr0;
    if (val & CR0_PG && v->efer & EFER_LME) efer |= EFER_LMA;
    if (changed & (CR0_PG | CR0_CD | CR0_NW) && pae_paging(val, v->cr4, efer)) {
        if (v->mmu->load_pdptes(v, v->cr3)) return X_FAULT;
    }
    TRACE(&v->trace, CR, 0, val, v->rip);
    v->cr0 = val;
    v->efer = efer;
    if (changed & (CR0_PG | CR0_PE | CR0_WP)) v->mmu->flush_all(v);
    vcpu_mode_changed(v);
    return 0;
}

/* ---- CR3 ------------------------------------------------------------------------------------- */

int vcpu_write_cr3(struct vcpu *v, u64 val)
{
    u64 reserved = ~(BIT(GPA_BITS) - 1);
    if (v->cr4 & CR4_PCIDE) reserved &= ~CR3_NOFLUSH;
    if (!vcpu_is_long(v)) val = (u32)val;
    if (val & reserved) return gp0(v);
    if (pae_paging(v->cr0, v->cr4, v->efer) && v->mmu->load_pdptes(v, val)) return X_FAULT;
    v->cr3 = val & ~CR3_NOFLUSH;
    v->mmu->cr3_loaded(v, val);
    return 0;
}

/* ---- CR4 ------------------------------------------------------------------------------------- */

static const struct {
    u64 bit;
    enum cpu_feature feature;
} cr4_bits[] = {
    {CR4_VME, FEAT_VME},       {CR4_PVI, FEAT_VME},           {CR4_TSD, FEAT_TSC},
    {CR4_DE, FEAT_DE},         {CR4_PSE, FEAT_PSE},           {CR4_PAE, FEAT_PAE},
    {CR4_MCE, FEAT_MCE},       {CR4_PGE, FEAT_PGE},           {CR4_PCE, FEAT_BASE},
    {CR4_OSFXSR, FEAT_FXSR},   {CR4_OSXMMEXCPT, FEAT_SSE},    {CR4_UMIP, FEAT_UMIP},
    {CR4_LA57, FEAT_LA57},     {CR4_FSGSBASE, FEAT_FSGSBASE}, {CR4_PCIDE, FEAT_PCID},
    {CR4_OSXSAVE, FEAT_XSAVE}, {CR4_SMEP, FEAT_SMEP},         {CR4_SMAP, FEAT_SMAP},
    {CR4_PKE, FEAT_PKU},
};

u64 cr4_valid_bits(const struct vcpu *v)
{
    u64 mask = 0;
    for (u32 k = 0; k < ARRAY_LEN(cr4_bits); k++) {
        if (cr4_bits[k].feature == FEAT_BASE || has(v, cr4_bits[k].feature))
            mask |= cr4_bits[k].bit;
    }
    return mask;
}

static bool cr4_ok(const struct vcpu *v, u64 val)
{
    u64 changed = val ^ v->cr4;
    if (val & ~cr4_valid_bits(v)) return false;
    if (vcpu_is_long(v) && changed & (CR4_PAE | CR4_LA57)) return false;
    if (changed & val & CR4_PCIDE) return vcpu_is_long(v) && !(v->cr3 & CR3_PCID_MASK);
    return true;
}

int vcpu_write_cr4(struct vcpu *v, u64 val)
{
    enum { PDPTE_BITS = CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP };
    const u64 flush = PDPTE_BITS | CR4_PCIDE | CR4_SMAP | CR4_LA57 | CR4_PKE;
    if (!cr4_ok(v, val)) return gp0(v);
    u64 changed = val ^ v->cr4;
    if (changed & PDPTE_BITS && pae_paging(v->cr0, val, v->efer)) {
        if (v->mmu->load_pdptes(v, v->cr3)) return X_FAULT;
    }
    TRACE(&v->trace, CR, 4, val, v->rip);
    v->cr4 = val;
    if (changed & flush) v->mmu->flush_all(v);
    vcpu_mode_changed(v);
    return 0;
}

/* ---- EFER ------------------------------------------------------------------------------------ */

u64 efer_valid_bits(const struct vcpu *v)
{
    u64 mask = 0;
    if (has(v, FEAT_SYSCALL)) mask |= EFER_SCE;
    if (has(v, FEAT_LM)) mask |= EFER_LME | EFER_LMA;
    if (has(v, FEAT_NX)) mask |= EFER_NXE;
    return mask;
}

int vcpu_write_efer(struct vcpu *v, u64 val)
{
    if (val & ~efer_valid_bits(v)) return gp0(v);
    val = (val & ~EFER_LMA) | (v->efer & EFER_LMA);
    u64 changed = val ^ v->efer;
    if (changed & EFER_LME && v->cr0 & CR0_PG) return gp0(v);
    v->efer = val;
    if (changed & EFER_NXE) v->mmu->flush_all(v);
    vcpu_mode_changed(v);
    return 0;
}

/* ---- MOV to and from control registers ------------------------------------------------------- */

enum x_result x_mov_cr_read(struct vcpu *v, const struct insn *i)
{
    u64 val;
    switch (i->op[1].reg) {
    case 0: val = v->cr0; break;
    case 2: val = v->cr2; break;
    case 3: val = v->cr3; break;
    case 4: val = v->cr4; break;
    case 8: val = v->env->cr8_get(v->env->ctx, v); break;
    default: return vcpu_raise(v, EXC_UD);
    }
    v->gpr[i->op[0].reg & (GPRS - 1)] = v->mode == ISA_64 ? val : (u32)val;
    return X_NEXT;
}

static int write_cr8(struct vcpu *v, u64 val)
{
    if (val > 15) return gp0(v);
    v->env->cr8_set(v->env->ctx, v, (u8)val);
    return 0;
}

enum x_result x_mov_cr_write(struct vcpu *v, const struct insn *i)
{
    u64 val = v->gpr[i->op[1].reg & (GPRS - 1)];
    int r = 0;
    if (v->mode != ISA_64) val = (u32)val;
    switch (i->op[0].reg) {
    case 0: r = vcpu_write_cr0(v, val); break;
    case 2: v->cr2 = val; break;
    case 3: r = vcpu_write_cr3(v, val); break;
    case 4: r = vcpu_write_cr4(v, val); break;
    case 8: r = write_cr8(v, val); break;
    default: return vcpu_raise(v, EXC_UD);
    }
    return r ? X_FAULT : X_NEXT;
}
