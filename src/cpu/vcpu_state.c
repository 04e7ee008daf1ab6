/* vcpu_state - a processor's saved state: one table per structure, checked completely before a
 * processor takes it. A saved processor stands at an instruction boundary, so no fault or delivery
 * is under way. */
#include <stdlib.h>
#include <string.h>

#include "base/ser.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/cr.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"
#include "cpu/xstate.h"

enum { VCPU_STATE_VERSION = 1 };
#define FIELD(f) SER(struct vcpu, f, 1)
#define FIELDS(f) SER_ARRAY(struct vcpu, f, 1)
#define BYTES(name, f)                                                                             \
    {                                                                                              \
        name, offsetof(struct vcpu, f), 1, sizeof(((struct vcpu *)0)->f), 1                        \
    }

static const struct ser_field vcpu_fields[] = {FIELDS(gpr),
                                               FIELD(rip),
                                               FIELD(rflags),
                                               FIELD(cpl),
                                               FIELD(shadow),
                                               FIELD(run_state),
                                               FIELD(nmi_masked),
                                               FIELD(x87_ferr),
                                               FIELD(pending_dbg),
                                               {"posted", offsetof(struct vcpu, posted), 4, 1, 1},
                                               FIELD(gdtr.base),
                                               FIELD(gdtr.limit),
                                               FIELD(idtr.base),
                                               FIELD(idtr.limit),
                                               FIELD(cr0),
                                               FIELD(cr2),
                                               FIELD(cr3),
                                               FIELD(cr4),
                                               FIELD(xcr0),
                                               FIELD(xss),
                                               FIELD(efer),
                                               FIELDS(dr),
                                               FIELD(dr6),
                                               FIELD(dr7),
                                               FIELDS(pdpte),
                                               FIELD(star),
                                               FIELD(lstar),
                                               FIELD(cstar),
                                               FIELD(fmask),
                                               FIELD(kernel_gs_base),
                                               FIELD(tsc_aux),
                                               FIELD(sysenter_cs),
                                               FIELD(sysenter_esp),
                                               FIELD(sysenter_eip),
                                               FIELD(pat),
                                               FIELD(misc_enable),
                                               FIELD(spec_ctrl),
                                               FIELD(mtrr_def_type),
                                               FIELDS(mtrr_phys),
                                               FIELDS(mtrr_fixed),
                                               FIELD(tsc_offset),
                                               FIELD(kvm_wall_clock),
                                               FIELD(kvm_system_time),
                                               FIELD(kvm_poll_control),
                                               FIELD(kvm_async_pf),
                                               FIELD(kvm_clock_version),
                                               FIELD(fx.fcw),
                                               FIELD(fx.fsw),
                                               FIELD(fx.ftw),
                                               FIELD(fx.fop),
                                               FIELD(fx.fip),
                                               FIELD(fx.fdp),
                                               FIELD(fx.mxcsr),
                                               BYTES("fx.st", fx.st),
                                               BYTES("vec", vec),
                                               FIELDS(k),
                                               FIELD(pkru),
                                               SER_END};

static const struct ser_field seg_fields[] = {SER(struct seg, base, 1), SER(struct seg, limit, 1),
                                              SER(struct seg, attr, 1), SER(struct seg, sel, 1),
                                              SER_END};

static const char *const seg_section[SEGS + 2] = {"vcpu.es", "vcpu.cs", "vcpu.ss",   "vcpu.ds",
                                                  "vcpu.fs", "vcpu.gs", "vcpu.ldtr", "vcpu.tr"};

static struct seg *seg_of(struct vcpu *v, u32 k)
{
    return k < SEGS ? &v->seg[k] : k == SEGS ? &v->ldtr : &v->tr;
}

int vcpu_save(const struct vcpu *v, struct ser_buf *b, struct err *e)
{
    int r = ser_save(b, "vcpu", VCPU_STATE_VERSION, vcpu_fields, v, e);
    for (u32 k = 0; k < SEGS + 2 && r >= 0; k++) {
        const struct seg *s = seg_of((struct vcpu *)(uintptr_t)v, k);
        r = ser_save(b, seg_section[k], VCPU_STATE_VERSION, seg_fields, s, e);
    }
    return r;
}

/* ---- validation ------------------------------------------------------------------------------ */

static bool control_ok(const struct vcpu *v)
{
    bool pg = v->cr0 & CR0_PG, lme = v->efer & EFER_LME, lma = v->efer & EFER_LMA;
    if (v->cr0 & ~CR0_VALID || !(v->cr0 & CR0_ET)) return false;
    if ((pg && !(v->cr0 & CR0_PE)) || (v->cr0 & CR0_NW && !(v->cr0 & CR0_CD))) return false;
    if (v->cr4 & ~cr4_valid_bits(v) || v->efer & ~efer_valid_bits(v)) return false;
    if (lma != (lme && pg) || (lma && !(v->cr4 & CR4_PAE))) return false;
    if (v->cr4 & CR4_PCIDE && !lma) return false;
    if (v->cr3 >> GPA_BITS) return false;
    return xcr0_valid(v->xcr0, v->model ? v->model->xcr0 : ~0ull);
}

static bool addresses_ok(const struct vcpu *v)
{
    const u64 a[] = {v->gdtr.base,    v->idtr.base,    v->ldtr.base,      v->tr.base,
                     v->lstar,        v->cstar,        v->kernel_gs_base, v->sysenter_esp,
                     v->sysenter_eip, v->seg[FS].base, v->seg[GS].base,   v->seg[ES].base,
                     v->seg[CS].base, v->seg[SS].base, v->seg[DS].base};
    for (u32 k = 0; k < ARRAY_LEN(a); k++) {
        if (!is_canonical(v, a[k])) return false;
    }
    bool code64 = vcpu_is_long(v) && v->seg[CS].attr & SEG_L;
    return code64 ? is_canonical(v, v->rip) : v->rip >> 32 == 0;
}

static bool flags_ok(const struct vcpu *v)
{
    const u64 known = RFLAGS_ARITH | RFLAGS_FIXED | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF |
                      RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM | RFLAGS_AC | RFLAGS_VIF |
                      RFLAGS_VIP | RFLAGS_ID;
    bool vm = v->rflags & RFLAGS_VM, pe = v->cr0 & CR0_PE;
    if (v->rflags & ~known || !(v->rflags & RFLAGS_FIXED)) return false;
    if (vm && (!pe || v->cpl != 3 || vcpu_is_long(v))) return false;
    return v->cpl <= (pe ? 3 : 0);
}

static bool rest_ok(const struct vcpu *v)
{
    enum { POSTED = POST_NMI | POST_INIT | POST_SIPI | POST_MASK_VECTOR };
    const u64 dbg = DR6_BS | DR6_BT | DR6_BD | 0xF;
    if (v->run_state > VCPU_SHUTDOWN || v->shadow & ~(SHADOW_STI | SHADOW_MOVSS)) return false;
    if (atomic_load(&v->posted) & ~(u32)POSTED || v->pending_dbg & ~dbg) return false;
    if ((v->dr6 & ~DR6_WRITABLE) != DR6_FIXED || (v->dr7 & ~DR7_WRITABLE) != DR7_FIXED)
        return false;
    if (v->fx.mxcsr & ~0xFFFFu) return false;
    for (u32 k = 0; k < SEGS; k++) {
        if (v->seg[k].attr & ~(u32)(0xF0FF | SEG_NULL)) return false;
    }
    return true;
}

static int check(const struct vcpu *v, struct err *e)
{
    if (!control_ok(v))
        return err_set(e, E_FORMAT, "vcpu %u: control registers the processor cannot hold", v->id);
    if (!addresses_ok(v)) return err_set(e, E_FORMAT, "vcpu %u: non-canonical address", v->id);
    if (!flags_ok(v)) return err_set(e, E_FORMAT, "vcpu %u: impossible RFLAGS or CPL", v->id);
    if (!rest_ok(v)) return err_set(e, E_FORMAT, "vcpu %u: impossible processor state", v->id);
    return 0;
}

/* ---- loading --------------------------------------------------------------------------------- */

static int load_sections(struct vcpu *v, struct ser_view *s, struct err *e)
{
    int r = ser_load(s, "vcpu", VCPU_STATE_VERSION, vcpu_fields, v, e);
    for (u32 k = 0; k < SEGS + 2 && r >= 0; k++)
        r = ser_load(s, seg_section[k], VCPU_STATE_VERSION, seg_fields, seg_of(v, k), e);
    return r < 0 ? r : check(v, e);
}

/* Take over what the tables list from @from. */
static void copy_state(struct vcpu *v, const struct vcpu *from)
{
    for (const struct ser_field *f = vcpu_fields; f->name; f++) {
        u32 elem = f->elem_bytes == SER_BOOL ? 1 : f->elem_bytes;
        memcpy((u8 *)v + f->offset, (const u8 *)from + f->offset, (size_t)elem * f->count);
    }
    memcpy(v->seg, from->seg, sizeof v->seg);
    v->ldtr = from->ldtr;
    v->tr = from->tr;
}

int vcpu_load(struct vcpu *v, struct ser_view *s, struct err *e)
{
    struct vcpu *tmp = aligned_alloc(_Alignof(struct vcpu), sizeof *tmp);
    if (!tmp) return err_set(e, E_NOMEM, "vcpu %u: no memory to check its state", v->id);
    memcpy(tmp, v, sizeof *tmp);
    int r = load_sections(tmp, s, e);
    if (r >= 0) {
        copy_state(v, tmp);
        v->exc.kind = v->injected.kind = EV_NONE;
        vcpu_mode_changed(v);
        if (v->mmu) v->mmu->flush_all(v);
        vcpu_update_step(v);
    }
    free(tmp);
    return r;
}
