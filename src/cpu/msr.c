/* msr - RDMSR and WRMSR over the table of cpu/msr.def.
 *
 * What ARCH_CAPABILITIES claims, and why. Its *_NO bits say that a hardware weakness does not let
 * one privilege level read another's data, so that the guest's kernel need not spend time on a
 * mitigation. In this product guest privilege levels are not hardware privilege levels: all guest
 * code, kernel and user, is interpreted or translated and runs as one unprivileged host process,
 * behind address checks in software. The guest's page tables are never loaded into CR3, so RDCL,
 * L1TF, PSCHANGE_MC, MDS, TAA, RFDS, GDS and the MMIO stale-data bits describe boundaries the
 * hardware does not draw inside a guest, and the guest's KPTI, VERW or L1D flush could not restore
 * one; isolating the monitor's process is the host kernel's work, done with the host's own
 * mitigations. The claim is not that the guest's user code can learn nothing by speculation:
 * software checks can be speculated past as in Spectre v1, and the host's predictors are shared. It
 * is that these guest-side mitigations would not help. IBRS_ALL, BHI_NO, ITS_NO, PBRSB_NO: a
 * guest's branches are not host branches with the guest's addresses, so retpolines, predictor
 * flushes and barriers in the guest act on nothing; SPEC_CTRL and PRED_CMD are accepted for kernels
 * that write them, BHI_DIS_S included: Debian 12's Linux was seen to assume branch history
 * injection with BHI_NO set and would otherwise run a clearing loop in every system call. An engine
 * that runs guest user code directly on the host CPU has to revisit this list (engine/direct,
 * engine/kvm). */
#include "cpu/msr.h"

#include <string.h>

#include "cpu/cpuid.h"
#include "cpu/cr.h"
#include "cpu/env.h"
#include "cpu/insn_exec.h"
#include "cpu/kvmclock.h"
#include "cpu/seg.h"
#include "cpu/tsc.h"

#define MTRR_PAGE_BITS ((BIT(GPA_BITS) - 1) & PAGE_MASK)
#define MTRR_BASE_BITS (MTRR_PAGE_BITS | 0xFF)
#define MTRR_MASK_BITS (MTRR_PAGE_BITS | BIT(11))
enum { MTRR_CAP = 8 /* variable ranges */ | 1 << 8 /* fixed */ | 1 << 10 /* WC */ };
enum { DEF_TYPE_E = 1 << 11, DEF_TYPE_FE = 1 << 10, MEM_WB = 6 };
enum { MISC_BTS_UNAVAILABLE = 1 << 11, MISC_PEBS_UNAVAILABLE = 1 << 12 };
enum { X2APIC_FIRST = 0x800, X2APIC_LAST = 0x8FF };

#define CAP_RDCL_NO BIT(0)
#define CAP_IBRS_ALL BIT(1)
#define CAP_SKIP_L1DFL_VMENTRY BIT(3)
#define CAP_SSB_NO BIT(4)
#define CAP_MDS_NO BIT(5)
#define CAP_PSCHANGE_MC_NO BIT(6)
#define CAP_TAA_NO BIT(8)
#define CAP_SBDR_SSDP_NO BIT(13)
#define CAP_FBSDP_NO BIT(14)
#define CAP_PSDP_NO BIT(15)
#define CAP_BHI_NO BIT(20)
#define CAP_PBRSB_NO BIT(24)
#define CAP_GDS_NO BIT(26)
#define CAP_RFDS_NO BIT(27)
#define CAP_ITS_NO BIT(62)
#define ARCH_CAP                                                                                   \
    (CAP_RDCL_NO | CAP_IBRS_ALL | CAP_SKIP_L1DFL_VMENTRY | CAP_SSB_NO | CAP_MDS_NO |               \
     CAP_PSCHANGE_MC_NO | CAP_TAA_NO | CAP_SBDR_SSDP_NO | CAP_FBSDP_NO | CAP_PSDP_NO |             \
     CAP_BHI_NO | CAP_PBRSB_NO | CAP_GDS_NO | CAP_RFDS_NO | CAP_ITS_NO)

struct msr_row {
    u32 addr;
    u8 kind;   /* enum msr_kind     */
    u8 needs;  /* enum cpu_feature  */
    u32 field; /* offset in struct vcpu; NONE */
    u64 mask, reset;
    const char *name;
};
/* 0, or nonzero for #GP(0). @addr may differ from the row's in a range. */
typedef int msr_read_fn(struct vcpu *v, const struct msr_row *r, u32 addr, u64 *val);
typedef int msr_write_fn(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val);
enum { REFUSED = 1, TRACE_REFUSED = 2 /* added to the traced write flag */ };
enum { NONE = 0 };
static_assert(offsetof(struct vcpu, gpr) == NONE, "no register's field is at offset 0");

static u64 *field(struct vcpu *v, const struct msr_row *r)
{
    return (u64 *)(void *)((u8 *)v + r->field);
}

/* ---- kinds ----------------------------------------------------------------------------------- */

static int read_field(struct vcpu *v, const struct msr_row *r, u32 addr, u64 *val)
{
    (void)addr;
    *val = *field(v, r);
    return 0;
}
static int write_field(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)addr;
    *field(v, r) = val;
    return 0;
}
static int write_canon(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    if (!is_canonical(v, val)) return REFUSED;
    return write_field(v, r, addr, val);
}
static int read_value(struct vcpu *v, const struct msr_row *r, u32 addr, u64 *val)
{
    (void)v, (void)addr;
    *val = r->reset;
    return 0;
}
static int write_nothing(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)v, (void)r, (void)addr, (void)val;
    return 0;
}
static int read_refused(struct vcpu *v, const struct msr_row *r, u32 addr, u64 *val)
{
    (void)v, (void)r, (void)addr, (void)val;
    return REFUSED;
}
static int write_refused(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)v, (void)r, (void)addr, (void)val;
    return REFUSED;
}

static int read_tsc(struct vcpu *v, const struct msr_row *r, u32 addr, u64 *val)
{
    (void)r, (void)addr;
    *val = tsc_now(v);
    return 0;
}
static int write_tsc(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)r, (void)addr;
    tsc_set(v, val);
    return 0;
}
static int write_tsc_adjust(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)r, (void)addr;
    tsc_set_offset(v, val);
    return 0;
}

static int read_apic(struct vcpu *v, const struct msr_row *r, u32 addr, u64 *val)
{
    (void)r;
    return v->env->apic_msr_read(v->env->ctx, v, addr, val) ? 0 : REFUSED;
}
static int write_apic(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)r;
    return v->env->apic_msr_write(v->env->ctx, v, addr, val) ? 0 : REFUSED;
}

static int read_misc_enable(struct vcpu *v, const struct msr_row *r, u32 addr, u64 *val)
{
    (void)r, (void)addr;
    *val = v->misc_enable | MISC_BTS_UNAVAILABLE | MISC_PEBS_UNAVAILABLE;
    return 0;
}
static int write_misc_enable(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)addr;
    v->misc_enable = val & r->mask; /* the two read-only bits come back as read */
    return 0;
}

static int write_efer(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)r, (void)addr;
    return vcpu_write_efer(v, val) ? REFUSED : 0;
}

/* Memory types: UC 0, WC 1, WT 4, WP 5, WB 6; PAT also has UC- 7. */
static bool types_valid(u64 types, u32 count, bool uc_minus)
{
    u32 known = 0x73 | (uc_minus ? 0x80 : 0);
    for (u32 i = 0; i < count; i++) {
        u32 t = (u32)(types >> (i * 8)) & 0xFF;
        if (t > 7 || !(known >> t & 1)) return false;
    }
    return true;
}
static int write_mtrr_base(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    return types_valid(val, 1, false) ? write_field(v, r, addr, val) : REFUSED;
}
static int write_mtrr_fix(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    return types_valid(val, 8, false) ? write_field(v, r, addr, val) : REFUSED;
}
static int write_pat(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    return types_valid(val, 8, true) ? write_field(v, r, addr, val) : REFUSED;
}

static int write_kvm_wall(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)r, (void)addr;
    kvmclock_set_wall(v, val);
    return 0;
}
static int write_kvm_time(struct vcpu *v, const struct msr_row *r, u32 addr, u64 val)
{
    (void)r, (void)addr;
    kvmclock_set_time(v, val);
    return 0;
}

enum msr_kind {
    KIND_FIELD,
    KIND_CANON,
    KIND_CONST,
    KIND_SINK,
    KIND_CMD,
    KIND_TSC,
    KIND_TSC_ADJUST,
    KIND_APIC,
    KIND_MISC_ENABLE,
    KIND_EFER,
    KIND_MTRR_BASE,
    KIND_MTRR_FIX,
    KIND_PAT,
    KIND_KVM_WALL,
    KIND_KVM_TIME,
};
static const struct {
    msr_read_fn *read;
    msr_write_fn *write;
    bool mask_in_fn; /* the function knows which bits are reserved */
} kinds[] = {
    [KIND_FIELD] = {read_field, write_field, false},
    [KIND_CANON] = {read_field, write_canon, false},
    [KIND_CONST] = {read_value, write_refused, false},
    [KIND_SINK] = {read_value, write_nothing, false},
    [KIND_CMD] = {read_refused, write_nothing, false},
    [KIND_TSC] = {read_tsc, write_tsc, false},
    [KIND_TSC_ADJUST] = {read_field, write_tsc_adjust, false},
    [KIND_APIC] = {read_apic, write_apic, false},
    [KIND_MISC_ENABLE] = {read_misc_enable, write_misc_enable, true},
    [KIND_EFER] = {read_field, write_efer, false},
    [KIND_MTRR_BASE] = {read_field, write_mtrr_base, false},
    [KIND_MTRR_FIX] = {read_field, write_mtrr_fix, false},
    [KIND_PAT] = {read_field, write_pat, false},
    [KIND_KVM_WALL] = {read_field, write_kvm_wall, false},
    [KIND_KVM_TIME] = {read_field, write_kvm_time, false},
};

/* ---- table ----------------------------------------------------------------------------------- */

static const struct msr_row msr_table[] = {
#define AT(member) offsetof(struct vcpu, member)
#define MSR(addr, name, kind, field, mask, reset, needs, spec)                                     \
    {addr, KIND_##kind, FEAT_##needs, field, mask, reset, #name},
#include "cpu/msr.def"
#undef MSR
#undef AT
};

u32 msr_count(void) { return ARRAY_LEN(msr_table); }
const char *msr_name(u32 i) { return msr_table[i].name; }
u32 msr_address(u32 i) { return msr_table[i].addr; }

/* The row of @addr on this processor, or NULL. */
static const struct msr_row *find(const struct vcpu *v, u32 addr)
{
    u32 lo = 0, hi = ARRAY_LEN(msr_table), key = addr;
    if (addr >= X2APIC_FIRST && addr <= X2APIC_LAST) key = X2APIC_FIRST;
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        if (msr_table[mid].addr < key) lo = mid + 1;
        else hi = mid;
    }
    if (lo == ARRAY_LEN(msr_table) || msr_table[lo].addr != key) return NULL;
    return cpu_model_has(v->model, msr_table[lo].needs) ? &msr_table[lo] : NULL;
}

int msr_read(struct vcpu *v, u32 addr, u64 *val)
{
    const struct msr_row *r = find(v, addr);
    v->stats.msr_reads++;
    *val = 0;
    if (!r) v->stats.msr_unknown++;
    if (!r || kinds[r->kind].read(v, r, addr, val)) {
        TRACE(&v->trace, MSR, addr, 0, TRACE_REFUSED);
        return vcpu_raise_err(v, EXC_GP, 0);
    }
    TRACE(&v->trace, MSR, addr, *val, 0);
    return 0;
}

int msr_write(struct vcpu *v, u32 addr, u64 val)
{
    const struct msr_row *r = find(v, addr);
    v->stats.msr_writes++;
    if (!r) v->stats.msr_unknown++;
    if (!r || (val & ~r->mask && !kinds[r->kind].mask_in_fn) ||
        kinds[r->kind].write(v, r, addr, val)) {
        TRACE(&v->trace, MSR, addr, val, 1 | TRACE_REFUSED);
        return vcpu_raise_err(v, EXC_GP, 0);
    }
    TRACE(&v->trace, MSR, addr, val, 1);
    return 0;
}

void msr_reset(struct vcpu *v)
{
    for (u32 i = 0; i < ARRAY_LEN(msr_table); i++) {
        const struct msr_row *r = &msr_table[i];
        if (r->field != NONE && r->kind != KIND_EFER && r->kind != KIND_TSC_ADJUST)
            *field(v, r) = r->reset;
    }
}

void msr_firmware(struct vcpu *v)
{
    v->mtrr_def_type = DEF_TYPE_E | DEF_TYPE_FE | MEM_WB;
    memset(v->mtrr_fixed, MEM_WB, sizeof v->mtrr_fixed);
    v->mtrr_fixed[2] = 0; /* A0000..BFFFF: the VGA window, uncached */
}

/* ---- instructions ---------------------------------------------------------------------------- */

enum x_result x_rdmsr(struct vcpu *v, const struct insn *i)
{
    u64 val;
    (void)i;
    if (msr_read(v, (u32)v->gpr[RCX], &val)) return X_FAULT;
    v->gpr[RAX] = (u32)val;
    v->gpr[RDX] = val >> 32;
    return X_NEXT;
}

enum x_result x_wrmsr(struct vcpu *v, const struct insn *i)
{
    u64 val = (v->gpr[RDX] & 0xFFFFFFFF) << 32 | (u32)v->gpr[RAX];
    (void)i;
    return msr_write(v, (u32)v->gpr[RCX], val) ? X_FAULT : X_NEXT;
}
