/* state - a processor's state to KVM and back, at instruction boundaries (state.h).
 *
 * What KVM cannot know stays in *v: pending requests, MSRs of ours, TSC offset. What KVM may have
 * begun and not finished - an event between its acceptance and its handler's first instruction -
 * comes back in k->unfinished, for cpu/exc.c to finish: then *v stands at an instruction boundary
 * like every other. Spec: api.rst sections 4.11-4.12, 4.20-4.22, 4.31-4.36, 4.42-4.46. */
#include <string.h>
#include <sys/ioctl.h>

#include "cpu/env.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"
#include "engine/kvm/kvm_internal.h"

enum { APIC_BASE_MSR = 0x1B };
#define APIC_BASE_X2APIC BIT(10)
#define DR6_CAUSES 0xE00Full

/* ---- segments -------------------------------------------------------------------------------- */

static struct kvm_segment seg_to_kvm(const struct seg *s)
{
    return (struct kvm_segment){
        .base = s->base,
        .limit = s->limit,
        .selector = s->sel,
        .type = s->attr & SEG_TYPE,
        .s = !!(s->attr & SEG_S),
        .dpl = (s->attr & SEG_DPL) >> SEG_DPL_SHIFT,
        .present = !!(s->attr & SEG_P),
        .avl = !!(s->attr & SEG_AVL),
        .l = !!(s->attr & SEG_L),
        .db = !!(s->attr & SEG_DB),
        .g = !!(s->attr & SEG_G),
        .unusable = !!(s->attr & SEG_NULL),
    };
}

static struct seg seg_from_kvm(const struct kvm_segment *k)
{
    u32 attr = (k->type & SEG_TYPE) | (u32)(k->dpl & 3) << SEG_DPL_SHIFT;
    if (k->s) attr |= SEG_S;
    if (k->present) attr |= SEG_P;
    if (k->avl) attr |= SEG_AVL;
    if (k->l) attr |= SEG_L;
    if (k->db) attr |= SEG_DB;
    if (k->g) attr |= SEG_G;
    if (k->unusable) attr |= SEG_NULL;
    return (struct seg){.base = k->base, .limit = k->limit, .attr = attr, .sel = k->selector};
}

/* Where KVM's structure has our segment register. */
static struct kvm_segment *kvm_seg(struct kvm_sregs2 *s, u32 which)
{
    struct kvm_segment *const at[SEGS] = {
        [ES] = &s->es, [CS] = &s->cs, [SS] = &s->ss, [DS] = &s->ds, [FS] = &s->fs, [GS] = &s->gs};
    return at[which];
}

/* ---- system registers ------------------------------------------------------------------------ */

static bool pae_paging(const struct vcpu *v)
{
    return v->cr0 & CR0_PG && v->cr4 & CR4_PAE && !(v->efer & EFER_LMA);
}

static u64 apic_base(struct vcpu *v)
{
    u64 base = 0;
    if (!v->env->apic_msr_read || !v->env->apic_msr_read(v->env->ctx, v, APIC_BASE_MSR, &base))
        return 0;
    return base & ~APIC_BASE_X2APIC;
}

/* The two structures begin alike. */
enum { COMMON_BYTES = offsetof(struct kvm_sregs, interrupt_bitmap) };
static_assert(offsetof(struct kvm_sregs2, flags) == COMMON_BYTES, "kvm_sregs and kvm_sregs2");

static int put_sregs(const struct kvm_cpu *k, struct kvm_sregs2 *s, struct err *e)
{
    struct kvm_sregs old = {0};
    int rc;
    if (k->vm->sregs2) {
        rc = kvm_call(k->fd, KVM_SET_SREGS2, s, "KVM_SET_SREGS2", e);
    } else {
        memcpy(&old, s, COMMON_BYTES);
        rc = kvm_call(k->fd, KVM_SET_SREGS, &old, "KVM_SET_SREGS", e);
    }
    return rc < 0 ? rc : 0;
}

/* PAE's PDPTEs are not among what KVM shares. */
static bool shared_pae(const struct kvm_sregs *s)
{
    return s->cr0 & CR0_PG && s->cr4 & CR4_PAE && !(s->efer & EFER_LMA);
}

static int get_sregs(const struct kvm_cpu *k, struct kvm_sregs2 *s, struct err *e)
{
    const struct kvm_sregs *shared = &k->run->s.regs.sregs;
    struct kvm_sregs old;
    int rc = 0;
    *s = (struct kvm_sregs2){0};
    if (k->copy.shared && !(k->vm->sregs2 && shared_pae(shared))) {
        memcpy(s, shared, COMMON_BYTES);
    } else if (k->vm->sregs2) {
        rc = kvm_call(k->fd, KVM_GET_SREGS2, s, "KVM_GET_SREGS2", e);
    } else {
        rc = kvm_call(k->fd, KVM_GET_SREGS, &old, "KVM_GET_SREGS", e);
        if (rc >= 0) memcpy(s, &old, COMMON_BYTES);
    }
    return rc < 0 ? rc : 0;
}

/* Is what KVM has of @part, @own, what it shall have? */
static bool same(const struct kvm_cpu *k, u32 part, const void *own, const void *wanted, size_t n)
{
    return k->copy.known & part && !memcmp(own, wanted, n);
}

static int load_sregs(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_sregs2 s = {
        .gdt = {.base = v->gdtr.base, .limit = v->gdtr.limit},
        .idt = {.base = v->idtr.base, .limit = v->idtr.limit},
        .cr0 = v->cr0,
        .cr2 = v->cr2,
        .cr3 = v->cr3,
        .cr4 = v->cr4,
        .cr8 = k->run->cr8,
        .efer = v->efer,
        .apic_base = apic_base(v),
    };
    for (u32 i = 0; i < SEGS; i++) *kvm_seg(&s, i) = seg_to_kvm(&v->seg[i]);
    s.ss.dpl = v->cpl & 3; /* what KVM takes for the privilege level */
    s.ldt = seg_to_kvm(&v->ldtr);
    s.tr = seg_to_kvm(&v->tr);
    if (pae_paging(v)) {
        s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
        memcpy(s.pdptrs, v->pdpte, sizeof s.pdptrs);
    }
    if (same(k, PART_SREGS, &k->copy.sregs, &s, sizeof s)) return 0;
    k->copy.sregs = s;
    return put_sregs(k, &s, e);
}

static int store_sregs(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_sregs2 s;
    int rc = get_sregs(k, &s, e);
    if (rc < 0) return rc;
    k->copy.sregs = s;
    for (u32 i = 0; i < SEGS; i++) v->seg[i] = seg_from_kvm(kvm_seg(&s, i));
    v->ldtr = seg_from_kvm(&s.ldt);
    v->tr = seg_from_kvm(&s.tr);
    v->gdtr = (struct dtable){s.gdt.base, s.gdt.limit};
    v->idtr = (struct dtable){s.idt.base, s.idt.limit};
    v->cr0 = s.cr0;
    v->cr2 = s.cr2;
    v->cr3 = s.cr3;
    v->cr4 = s.cr4;
    v->efer = s.efer;
    v->cpl = s.cr0 & CR0_PE ? s.ss.dpl & 3 : 0;
    if (v->rflags & RFLAGS_VM) v->cpl = 3;
    if (s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID) memcpy(v->pdpte, s.pdptrs, sizeof v->pdpte);
    else if (pae_paging(v)) (void)v->mmu->load_pdptes(v, v->cr3);
    return 0;
}

/* ---- general registers ----------------------------------------------------------------------- */

static int load_regs(struct kvm_cpu *k, const struct vcpu *v, struct err *e)
{
    const u64 *g = v->gpr;
    struct kvm_regs r = {.rax = g[RAX],
                         .rbx = g[RBX],
                         .rcx = g[RCX],
                         .rdx = g[RDX],
                         .rsi = g[RSI],
                         .rdi = g[RDI],
                         .rsp = g[RSP],
                         .rbp = g[RBP],
                         .r8 = g[R8],
                         .r9 = g[R9],
                         .r10 = g[R10],
                         .r11 = g[R11],
                         .r12 = g[R12],
                         .r13 = g[R13],
                         .r14 = g[R14],
                         .r15 = g[R15],
                         .rip = v->rip,
                         .rflags = v->rflags};
    if (same(k, PART_REGS, &k->copy.regs, &r, sizeof r)) return 0;
    k->copy.regs = r;
    int rc = kvm_call(k->fd, KVM_SET_REGS, &r, "KVM_SET_REGS", e);
    return rc < 0 ? rc : 0;
}

static int store_regs(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_regs r = k->run->s.regs.regs;
    int rc = k->copy.shared ? 0 : kvm_call(k->fd, KVM_GET_REGS, &r, "KVM_GET_REGS", e);
    if (rc < 0) return rc;
    k->copy.regs = r;
    const u64 g[GPRS] = {
        [RAX] = r.rax, [RBX] = r.rbx, [RCX] = r.rcx, [RDX] = r.rdx, [RSI] = r.rsi, [RDI] = r.rdi,
        [RSP] = r.rsp, [RBP] = r.rbp, [R8] = r.r8,   [R9] = r.r9,   [R10] = r.r10, [R11] = r.r11,
        [R12] = r.r12, [R13] = r.r13, [R14] = r.r14, [R15] = r.r15};
    memcpy(v->gpr, g, sizeof v->gpr);
    v->rip = r.rip;
    v->rflags = r.rflags;
    return 0;
}

/* ---- debug registers, XCR0, vector state ----------------------------------------------------- */

static int load_debug(struct kvm_cpu *k, const struct vcpu *v, struct err *e)
{
    struct kvm_debugregs d = {.dr6 = v->dr6, .dr7 = v->dr7};
    memcpy(d.db, v->dr, sizeof d.db);
    if (same(k, PART_DEBUG, &k->copy.debug, &d, sizeof d)) return 0;
    k->copy.debug = d;
    int rc = kvm_call(k->fd, KVM_SET_DEBUGREGS, &d, "KVM_SET_DEBUGREGS", e);
    return rc < 0 ? rc : 0;
}

static int store_debug(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_debugregs *d = &k->copy.debug;
    int rc = kvm_call(k->fd, KVM_GET_DEBUGREGS, d, "KVM_GET_DEBUGREGS", e);
    if (rc < 0) return rc;
    memcpy(v->dr, d->db, sizeof v->dr);
    v->dr6 = d->dr6;
    v->dr7 = d->dr7;
    return 0;
}

static int load_xstate(struct kvm_cpu *k, const struct vcpu *v, struct err *e)
{
    int rc = kvm_xsave_pack(k, v, k->xsave, e);
    if (rc < 0) return rc;
    if (same(k, PART_XSTATE, k->copy.xsave, k->xsave, k->vm->xsave_bytes)) return 0;
    memcpy(k->copy.xsave, k->xsave, k->vm->xsave_bytes);
    rc = kvm_call(k->fd, KVM_SET_XSAVE, k->xsave, "KVM_SET_XSAVE", e);
    return rc < 0 ? rc : 0;
}

static int store_xstate(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    bool wide = k->vm->xsave_bytes > sizeof(struct kvm_xsave);
    int rc = kvm_call(k->fd, wide ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, k->xsave, "KVM_GET_XSAVE", e);
    if (rc < 0) return rc;
    kvm_xsave_unpack(k, v);
    return kvm_xsave_pack(k, v, k->copy.xsave, e);
}

static int load_xcr0(struct kvm_cpu *k, const struct vcpu *v, struct err *e)
{
    struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs[0] = {.xcr = 0, .value = v->xcr0}};
    if (same(k, PART_XCR0, &k->copy.xcr0, &v->xcr0, sizeof v->xcr0)) return 0;
    k->copy.xcr0 = v->xcr0;
    int rc = kvm_call(k->fd, KVM_SET_XCRS, &x, "KVM_SET_XCRS", e);
    return rc < 0 ? rc : 0;
}

static int store_xcr0(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_xcrs x;
    int rc = kvm_call(k->fd, KVM_GET_XCRS, &x, "KVM_GET_XCRS", e);
    if (rc < 0) return rc;
    if (x.nr_xcrs && x.xcrs[0].xcr == 0) v->xcr0 = x.xcrs[0].value;
    k->copy.xcr0 = v->xcr0;
    return 0;
}

/* ---- events ---------------------------------------------------------------------------------- */

enum { EVENTS_SET = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW };

static int load_events(struct kvm_cpu *k, const struct vcpu *v, struct err *e)
{
    struct kvm_vcpu_events ev = {.flags = EVENTS_SET, .nmi.masked = v->nmi_masked};
    if (v->shadow & SHADOW_STI) ev.interrupt.shadow |= KVM_X86_SHADOW_INT_STI;
    if (v->shadow & SHADOW_MOVSS) ev.interrupt.shadow |= KVM_X86_SHADOW_INT_MOV_SS;
    if (same(k, PART_EVENTS, &k->copy.events, &ev, sizeof ev)) return 0;
    k->copy.events = ev;
    int rc = kvm_call(k->fd, KVM_SET_VCPU_EVENTS, &ev, "KVM_SET_VCPU_EVENTS", e);
    return rc < 0 ? rc : 0;
}

/* INT n, INT3 and INTO stand before the instruction: executing it again is what finishing means. */
static struct event event_under_way(const struct vcpu *v, const struct kvm_vcpu_events *ev)
{
    u8 vec = ev->exception.nr;
    if (ev->exception.injected) {
        if (vec == EXC_BP || vec == EXC_OF) return (struct event){.kind = EV_NONE};
        return (struct event){.kind = vec == EXC_DB ? EV_TRAP : EV_FAULT,
                              .vector = vec,
                              .has_error = ev->exception.has_error_code,
                              .error = ev->exception.error_code,
                              .payload = vec == EXC_PF   ? v->cr2
                                         : vec == EXC_DB ? v->dr6 & DR6_CAUSES
                                                         : 0};
    }
    if (ev->nmi.injected) return (struct event){.kind = EV_NMI, .vector = EXC_NMI};
    if (ev->interrupt.injected && !ev->interrupt.soft)
        return (struct event){.kind = EV_EXTINT, .vector = ev->interrupt.nr};
    return (struct event){.kind = EV_NONE};
}

static int store_events(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_vcpu_events ev = k->run->s.regs.events;
    int rc =
        k->copy.shared ? 0 : kvm_call(k->fd, KVM_GET_VCPU_EVENTS, &ev, "KVM_GET_VCPU_EVENTS", e);
    if (rc < 0) return rc;
    k->copy.events = ev;
    k->copy.events.flags = EVENTS_SET; /* to compare with what would be set */
    k->unfinished = event_under_way(v, &ev);
    v->nmi_masked = ev.nmi.masked;
    if (ev.nmi.pending) atomic_fetch_or(&v->posted, POST_NMI);
    v->shadow = 0;
    if (ev.interrupt.shadow & KVM_X86_SHADOW_INT_STI) v->shadow |= SHADOW_STI;
    if (ev.interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS) v->shadow |= SHADOW_MOVSS;
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int kvm_state_load(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    const u32 held = k->copy.held;
    int rc = 0;
    if (held & PART_SREGS) rc = load_sregs(k, v, e);
    if (rc == 0 && held & PART_REGS) rc = load_regs(k, v, e);
    if (rc == 0 && held & PART_XSTATE) rc = load_xstate(k, v, e);
    if (rc == 0 && held & PART_XCR0) rc = load_xcr0(k, v, e);
    if (rc == 0 && held & PART_DEBUG) rc = load_debug(k, v, e);
    if (rc == 0 && held & PART_MSRS) rc = kvm_msr_load(k, v, e);
    if (rc == 0 && held & PART_EVENTS) rc = load_events(k, v, e);
    k->copy.known = rc < 0 ? 0 : k->copy.known | held;
    if (rc == 0) k->copy.held = 0;
    k->copy.shared = false;
    return rc;
}

int kvm_state_store(struct kvm_cpu *k, struct vcpu *v, u32 parts, struct err *e)
{
    const u32 want = parts & ~k->copy.held;
    int rc = 0;
    if (want & PART_REGS) rc = store_regs(k, v, e);
    if (rc == 0 && want & PART_SREGS) rc = store_sregs(k, v, e);
    if (rc == 0 && want & PART_XSTATE) rc = store_xstate(k, v, e);
    if (rc == 0 && want & PART_XCR0) rc = store_xcr0(k, v, e);
    if (rc == 0 && want & PART_DEBUG) rc = store_debug(k, v, e);
    if (rc == 0 && want & PART_MSRS) rc = kvm_msr_store(k, v, e);
    if (rc == 0 && want & PART_EVENTS) rc = store_events(k, v, e);
    if (rc == 0) k->copy.held |= want, k->copy.known |= want;
    vcpu_mode_changed(v);
    v->mmu->flush_all(v);
    vcpu_update_step(v);
    return rc;
}

void kvm_state_ran(struct kvm_cpu *k)
{
    k->copy.held = k->copy.known = 0;
    k->copy.shared = k->run->kvm_valid_regs;
}

void kvm_state_share(struct kvm_cpu *k)
{
    enum { WANTED = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS };
    if ((k->vm->shared & WANTED) == WANTED) k->run->kvm_valid_regs = WANTED;
}
