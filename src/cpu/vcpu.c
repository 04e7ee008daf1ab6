/* vcpu - power-on state, derived fields and fault recording of one virtual processor.
 * Saving and loading are in vcpu_state.c. Spec: SDM vol. 3A sections 2.5, 10.1 (table 10-1), 13. */
#include "cpu/vcpu.h"

#include <stdio.h>
#include <string.h>

#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/vcpu_mode.h"

/* ---- reset ----------------------------------------------------------------------------------- */

enum {
    ATTR_CODE_RW = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A, /* 9B */
    ATTR_DATA_RW = SEG_P | SEG_S | SEG_W | SEG_A,            /* 93 */
    ATTR_LDT = SEG_P | 2,
    ATTR_TSS32_BUSY = SEG_P | 11,
};
#define PAT_RESET 0x0007040600070406ull
#define DR6_RESET DR6_FIXED

static struct seg reset_seg(u16 sel, u64 base, u32 attr)
{
    return (struct seg){.base = base, .limit = 0xFFFF, .attr = attr, .sel = sel};
}

static void reset_msrs(struct vcpu *v)
{
    v->star = v->lstar = v->cstar = v->fmask = v->kernel_gs_base = v->tsc_aux = 0;
    v->sysenter_cs = v->sysenter_esp = v->sysenter_eip = 0;
    v->pat = PAT_RESET;
    v->misc_enable = BIT(0); /* fast strings */
    v->spec_ctrl = v->mtrr_def_type = 0;
    memset(v->mtrr_phys, 0, sizeof v->mtrr_phys);
    memset(v->mtrr_fixed, 0, sizeof v->mtrr_fixed);
    v->kvm_wall_clock = v->kvm_system_time = v->kvm_async_pf = 0;
    v->kvm_poll_control = 1;
    v->kvm_clock_version = 0;
    v->xss = 0;
}

static void reset_fpu(struct vcpu *v)
{
    memset(&v->fx, 0, sizeof v->fx);
    v->fx.fcw = 0x40;
    v->fx.ftw = 0xFF; /* tag word 5555h: every register holds zero */
    v->fx.mxcsr = 0x1F80;
    v->fx.mxcsr_mask = 0xFFFF;
    memset(v->vec, 0, sizeof v->vec);
    memset(v->k, 0, sizeof v->k);
    v->xcr0 = XCR0_X87;
    v->pkru = 0;
}

static void reset_segments(struct vcpu *v)
{
    for (int s = 0; s < SEGS; s++) v->seg[s] = reset_seg(0, 0, ATTR_DATA_RW);
    v->seg[CS] = reset_seg(0xF000, 0xFFFF0000, ATTR_CODE_RW);
    v->ldtr = reset_seg(0, 0, ATTR_LDT);
    v->tr = reset_seg(0, 0, ATTR_TSS32_BUSY);
    v->gdtr = v->idtr = (struct dtable){.base = 0, .limit = 0xFFFF};
}

void vcpu_reset(struct vcpu *v, bool init)
{
    memset(v->gpr, 0, sizeof v->gpr);
    v->gpr[RDX] = v->model ? cpu_model_signature(v->model) : 0x600;
    v->rip = 0xFFF0;
    v->rflags = RFLAGS_FIXED;
    v->cr0 = CR0_ET | (init ? v->cr0 & (CR0_CD | CR0_NW) : CR0_CD | CR0_NW);
    v->cr2 = v->cr3 = v->cr4 = v->efer = 0;
    memset(v->dr, 0, sizeof v->dr);
    memset(v->pdpte, 0, sizeof v->pdpte);
    v->dr6 = DR6_RESET;
    v->dr7 = DR7_FIXED;
    reset_segments(v);
    if (!init) {
        reset_msrs(v);
        reset_fpu(v);
    }
    v->cpl = 0;
    v->shadow = 0;
    v->nmi_masked = false;
    v->run_state = VCPU_RUNNING;
    v->exc.kind = v->injected.kind = EV_NONE;
    v->pending_dbg = 0;
    vcpu_mode_changed(v);
    if (v->mmu) v->mmu->flush_all(v);
    vcpu_update_step(v);
}

void vcpu_init(struct vcpu *v, const struct vcpu_cfg *cfg)
{
    memset(v, 0, sizeof *v);
    memset(v->tlb.e, 0xFF, sizeof v->tlb.e); /* TLB_EMPTY everywhere */
    v->id = cfg->id;
    v->tsc_khz = cfg->tsc_khz;
    v->mem = cfg->mem;
    v->env = cfg->env;
    v->model = cfg->model;
    vcpu_reset(v, false);
}

void vcpu_start_sipi(struct vcpu *v, u8 vector)
{
    v->seg[CS].sel = (u16)(vector << 8);
    v->seg[CS].base = (u64)vector << 12;
    v->rip = 0;
    v->run_state = VCPU_RUNNING;
    vcpu_mode_changed(v);
}

/* ---- derived fields -------------------------------------------------------------------------- */

static bool data_flat(const struct seg *s)
{
    enum { MUST = SEG_P | SEG_S | SEG_W };
    return s->base == 0 && s->limit == 0xFFFFFFFF &&
           (s->attr & (MUST | SEG_NULL | SEG_CODE | SEG_E)) == MUST;
}

static bool code_flat(const struct seg *s)
{
    enum { MUST = SEG_P | SEG_S | SEG_CODE | SEG_R };
    return s->base == 0 && s->limit == 0xFFFFFFFF && (s->attr & (MUST | SEG_NULL)) == MUST;
}

void vcpu_cs_changed(struct vcpu *v)
{
    if (vcpu_is_long(v) && v->seg[CS].attr & SEG_L) {
        v->mode = ISA_64;
        v->flat = true;
    } else {
        v->mode = v->seg[CS].attr & SEG_DB ? ISA_32 : ISA_16;
        v->flat = code_flat(&v->seg[CS]) && data_flat(&v->seg[SS]) && data_flat(&v->seg[DS]) &&
                  data_flat(&v->seg[ES]);
    }
    if (likely(v->mmu != NULL)) v->mmu->mode_changed(v);
}

static void update_fpu_fault(struct vcpu *v)
{
    bool em = v->cr0 & CR0_EM, mp = v->cr0 & CR0_MP;
    u8 ts = v->cr0 & CR0_TS ? EXC_NM : 0;
    bool xsave = v->cr4 & CR4_OSXSAVE;
    u64 avx = XCR0_SSE | XCR0_AVX, avx512 = avx | XCR0_AVX512;
    v->fpu_fault[FPU_NONE] = 0;
    v->fpu_fault[FPU_X87] = em ? EXC_NM : ts;
    v->fpu_fault[FPU_WAIT] = mp ? ts : 0;
    v->fpu_fault[FPU_MMX] = em ? EXC_UD : ts;
    v->fpu_fault[FPU_SSE] = em || !(v->cr4 & CR4_OSFXSR) ? EXC_UD : ts;
    bool prot = vcpu_is_protected(v); /* VEX and EVEX encodings need it */
    v->fpu_fault[FPU_VEX] = prot ? 0 : EXC_UD;
    v->fpu_fault[FPU_AVX] = !prot || !xsave || (v->xcr0 & avx) != avx ? EXC_UD : ts;
    v->fpu_fault[FPU_AVX512] = !prot || !xsave || (v->xcr0 & avx512) != avx512 ? EXC_UD : ts;
}

void vcpu_mode_changed(struct vcpu *v)
{
    update_fpu_fault(v);
    vcpu_cs_changed(v);
}

void vcpu_update_step(struct vcpu *v)
{
    bool step = (v->rflags & RFLAGS_TF) || (v->dr7 & 0xFF) || v->shadow || v->pending_dbg ||
                v->breaks.count;
    u32 now = atomic_load_explicit(&v->attention, memory_order_relaxed);
    if (likely(step == !!(now & ATT_STEP))) return;
    if (step) atomic_fetch_or_explicit(&v->attention, ATT_STEP, memory_order_seq_cst);
    else atomic_fetch_and_explicit(&v->attention, ~(u32)ATT_STEP, memory_order_seq_cst);
}

/* ---- faults ---------------------------------------------------------------------------------- */

enum x_result vcpu_raise(struct vcpu *v, u8 vector)
{
    v->exc = (struct event){.kind = EV_FAULT, .vector = vector};
    return X_FAULT;
}

enum x_result vcpu_raise_err(struct vcpu *v, u8 vector, u32 error)
{
    v->exc = (struct event){.kind = EV_FAULT, .vector = vector, .has_error = true, .error = error};
    return X_FAULT;
}

enum x_result vcpu_raise_pf(struct vcpu *v, gva_t cr2, u32 error)
{
    v->exc = (struct event){
        .kind = EV_FAULT, .vector = EXC_PF, .has_error = true, .error = error, .payload = cr2};
    return X_FAULT;
}

/* ---- dump ------------------------------------------------------------------------------------ */

static void dump_seg(int fd, const char *name, const struct seg *s)
{
    dprintf(fd, "%-4s %04x base %016llx limit %08x attr %05x\n", name, s->sel,
            (unsigned long long)s->base, s->limit, s->attr);
}

void vcpu_dump(const struct vcpu *v, int fd)
{
    static const char *const gpr_name[GPRS] = {"RAX", "RCX", "RDX", "RBX", "RSP", "RBP",
                                               "RSI", "RDI", "R8",  "R9",  "R10", "R11",
                                               "R12", "R13", "R14", "R15"};
    static const char *const seg_name[SEGS] = {"ES", "CS", "SS", "DS", "FS", "GS"};
    static const char *const mode_name[] = {"16-bit", "32-bit", "64-bit"};
    typedef unsigned long long ull;
    dprintf(fd, "vcpu %u: %s CPL %u state %u shadow %u attention %x\n", v->id, mode_name[v->mode],
            v->cpl, v->run_state, v->shadow, atomic_load(&v->attention));
    for (int r = 0; r < GPRS; r++)
        dprintf(fd, "%-4s%016llx%s", gpr_name[r], (ull)v->gpr[r], r % 4 == 3 ? "\n" : "  ");
    dprintf(fd, "RIP %016llx  RFLAGS %08llx\n", (ull)v->rip, (ull)v->rflags);
    for (int s = 0; s < SEGS; s++) dump_seg(fd, seg_name[s], &v->seg[s]);
    dump_seg(fd, "LDTR", &v->ldtr);
    dump_seg(fd, "TR", &v->tr);
    dprintf(fd, "GDTR %016llx:%04x  IDTR %016llx:%04x\n", (ull)v->gdtr.base, v->gdtr.limit,
            (ull)v->idtr.base, v->idtr.limit);
    dprintf(fd, "CR0 %08llx CR2 %016llx CR3 %016llx CR4 %08llx EFER %04llx XCR0 %llx\n",
            (ull)v->cr0, (ull)v->cr2, (ull)v->cr3, (ull)v->cr4, (ull)v->efer, (ull)v->xcr0);
    dprintf(fd, "DR0 %016llx DR1 %016llx DR2 %016llx DR3 %016llx DR6 %08llx DR7 %08llx\n",
            (ull)v->dr[0], (ull)v->dr[1], (ull)v->dr[2], (ull)v->dr[3], (ull)v->dr6, (ull)v->dr7);
    if (v->exc.kind)
        dprintf(fd, "exception %u error %x payload %llx\n", v->exc.vector, v->exc.error,
                (ull)v->exc.payload);
}
