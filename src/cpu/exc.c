/* exc - delivery of exceptions and interrupts: entry points, 64-bit mode, faults during delivery.
 * Legacy modes are in exc_legacy.c. Spec: SDM vol. 3A chapter 6 (double fault: table 6-5;
 * priorities: table 6-2). */
#include "cpu/exc.h"

#include "cpu/env.h"
#include "cpu/exc_internal.h"
#include "cpu/vcpu_mode.h"
#include "cpu/x87.h"

/* ---- common parts ---------------------------------------------------------------------------- */

u64 exc_flags_image(const struct vcpu *v, const struct event *ev)
{
    bool fault = ev->kind == EV_FAULT && ev->vector != EXC_DB && ev->vector != EXC_DF;
    if (fault) return v->rflags | RFLAGS_RF;
    return exc_is_soft(ev) ? v->rflags & ~(u64)RFLAGS_RF : v->rflags;
}

static bool gate_type_ok(const struct vcpu *v, u8 type)
{
    if (type == SYS_INT32 || type == SYS_TRAP32) return true;
    return !vcpu_is_long(v) && (type == SYS_INT16 || type == SYS_TRAP16 || type == SYS_TASK_GATE);
}

int exc_read_gate(struct vcpu *v, const struct event *ev, struct gate *g)
{
    u64 d[2] = {0, 0};
    u32 err = (u32)ev->vector << 3 | SEL_IDT, bytes = vcpu_is_long(v) ? 16 : 8;
    u32 off = ev->vector * bytes;
    if (off + bytes - 1 > v->idtr.limit) return vcpu_raise_err(v, EXC_GP, err);
    gva_t gva = vcpu_is_long(v) ? v->idtr.base + off : (u32)(v->idtr.base + off);
    if (vcpu_read_sys(v, gva, d, bytes)) return X_FAULT;
    g->sel = (u16)(d[0] >> 16);
    g->ist = vcpu_is_long(v) ? (d[0] >> 32) & 7 : 0;
    g->type = (d[0] >> 40) & 0x1F; /* with the S bit: code and data never match */
    g->rip = (d[0] & 0xFFFF) | (d[0] >> 48) << 16 | d[1] << 32;
    if (g->type == SYS_INT16 || g->type == SYS_TRAP16) g->rip &= 0xFFFF;
    if (!gate_type_ok(v, g->type)) return vcpu_raise_err(v, EXC_GP, err);
    if (exc_is_soft(ev) && ((d[0] >> 45) & 3) < v->cpl) return vcpu_raise_err(v, EXC_GP, err);
    if (!(d[0] & BIT(47))) return vcpu_raise_err(v, EXC_NP, err);
    return 0;
}

int exc_gate_target(struct vcpu *v, const struct gate *g, struct far_target *t)
{
    u32 err = g->sel & 0xFFFC;
    if (far_read_code(v, g->sel, t)) return X_FAULT;
    if (seg_dpl(&t->cs) > v->cpl) return vcpu_raise_err(v, EXC_GP, err);
    if (vcpu_is_long(v) && !(t->cs.attr & SEG_L)) return vcpu_raise_err(v, EXC_GP, err);
    if (!(t->cs.attr & SEG_P)) return vcpu_raise_err(v, EXC_NP, err);
    t->cpl = seg_is_conforming(&t->cs) ? v->cpl : seg_dpl(&t->cs);
    if (v->rflags & RFLAGS_VM && t->cpl != 0) return vcpu_raise_err(v, EXC_GP, err);
    t->rip = g->rip;
    return seg_set_accessed(v, g->sel, &t->desc);
}

void exc_enter(struct vcpu *v, const struct gate *g, const struct far_target *t)
{
    v->rflags &= ~(u64)(RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM);
    if (!(g->type & 1)) v->rflags &= ~(u64)RFLAGS_IF; /* interrupt gates have even types */
    far_commit(v, t);
}

/* ---- 64-bit mode ----------------------------------------------------------------------------- */

static int deliver_long(struct vcpu *v, const struct event *ev, u64 ret_rip)
{
    struct gate g;
    struct far_target t;
    u64 frame[6] = {ev->error,   ret_rip,       v->seg[CS].sel, exc_flags_image(v, ev),
                    v->gpr[RSP], v->seg[SS].sel};
    u64 rsp = v->gpr[RSP];
    u32 skip = ev->has_error ? 0 : 1;
    if (exc_read_gate(v, ev, &g) || exc_gate_target(v, &g, &t)) return X_FAULT;
    if (g.ist) {
        if (far_stack_tss64(v, 3u + g.ist, &rsp)) return X_FAULT;
    } else if (t.cpl < v->cpl) {
        if (far_stack_tss64(v, t.cpl, &rsp)) return X_FAULT;
    }
    if (!is_canonical(v, rsp)) return vcpu_raise_err(v, EXC_SS, 0);
    if (!is_canonical(v, t.rip)) return vcpu_raise_err(v, EXC_GP, 0);
    struct far_stack st = {.sp = rsp & ~15ull, .mask = ~0ull, .cpl = t.cpl, .long_mode = true};
    if (far_push(v, &st, frame + skip, 6 - skip, 8)) return X_FAULT;
    bool inner = t.cpl < v->cpl;
    exc_enter(v, &g, &t);
    if (inner) seg_set_null(v, SS, t.cpl);
    v->gpr[RSP] = st.sp;
    vcpu_cs_changed(v);
    return 0;
}

/* ---- faults during delivery ------------------------------------------------------------------ */

enum exc_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum exc_class class_of(const struct event *ev)
{
    if (ev->kind != EV_FAULT) return BENIGN;
    switch (ev->vector) {
    case EXC_DE:
    case EXC_TS:
    case EXC_NP:
    case EXC_SS:
    case EXC_GP: return CONTRIBUTORY;
    case EXC_PF: return PAGE_FAULT;
    case EXC_DF: return DOUBLE_FAULT;
    default: return BENIGN;
    }
}

/* Table 6-5: what to deliver when @second came up while delivering @first. False: shutdown. */
static bool combine(const struct event *first, const struct event *second, struct event *out)
{
    enum exc_class a = class_of(first), b = class_of(second);
    *out = *second;
    if (b == BENIGN || a == BENIGN) return true;
    if (a == DOUBLE_FAULT) return false;
    if (a == PAGE_FAULT || b == CONTRIBUTORY)
        *out = (struct event){.kind = EV_FAULT, .vector = EXC_DF, .has_error = true};
    return true;
}

/* What the event carries besides its vector becomes visible even when delivery then fails. A debug
 * exception reports everything that is due, also what a MOV SS held back: INT1 behind it must not
 * find another one at its handler's first instruction, on the same IST stack. */
static void commit_payload(struct vcpu *v, const struct event *ev)
{
    if (exc_is_soft(ev)) return;
    if (ev->vector == EXC_PF && ev->kind == EV_FAULT) v->cr2 = ev->payload;
    if (ev->vector == EXC_DB && (ev->kind == EV_FAULT || ev->kind == EV_TRAP)) {
        v->dr6 = (v->dr6 & ~0xFull) | ev->payload | v->pending_dbg;
        v->pending_dbg = 0;
        v->dr7 &= ~DR7_GD;
    }
}

/* Faults raised while an event that the program did not ask for is delivered say so. */
static void mark_external(struct vcpu *v, const struct event *ev)
{
    u8 vec = v->exc.vector;
    if (!exc_is_soft(ev) && vec >= EXC_TS && vec <= EXC_GP) v->exc.error |= SEL_EXT;
}

static int deliver(struct vcpu *v, const struct event *ev, u64 ret_rip)
{
    int r;
    v->injected = *ev;
    commit_payload(v, ev);
    if (ev->kind == EV_EXTINT) TRACE(&v->trace, IRQ, ev->vector, ev->kind, ret_rip);
    else TRACE(&v->trace, EXC, ev->vector, ev->error, ret_rip);
    if (likely(vcpu_is_long(v))) r = deliver_long(v, ev, ret_rip);
    else if (v->cr0 & CR0_PE) r = exc_deliver_protected(v, ev, ret_rip);
    else r = exc_deliver_real(v, ev, ret_rip);
    v->injected.kind = EV_NONE;
    if (unlikely(r)) {
        mark_external(v, ev);
        return r;
    }
    if (ev->kind == EV_EXTINT) v->stats.interrupts++;
    else v->stats.exceptions++;
    v->exc.kind = EV_NONE;
    v->shadow = 0;
    v->run_state = VCPU_RUNNING;
    vcpu_update_step(v);
    return 0;
}

enum x_result exc_deliver(struct vcpu *v, const struct event *ev)
{
    struct event cur = *ev;
    if (unlikely(ev->vector == EXC_MF) && ev->kind == EV_FAULT && x87_is_external(v))
        return x87_report(v);
    /* Ends: benign, contributory, page fault, double fault is the longest chain. */
    while (deliver(v, &cur, v->rip)) {
        struct event first = cur, second = v->exc;
        if (second.vector == EXC_PF) v->cr2 = second.payload;
        if (!combine(&first, &second, &cur)) {
            v->run_state = VCPU_SHUTDOWN;
            return X_SHUTDOWN;
        }
    }
    return X_JUMP;
}

enum x_result exc_soft_int(struct vcpu *v, u8 vector, enum event_kind kind, u64 next_rip)
{
    struct event ev = {.kind = (u8)kind, .vector = vector};
    if (v->rflags & RFLAGS_VM && kind == EV_SOFT_INT) {
        int r = exc_v86_int(v, vector, next_rip);
        if (r != EXC_V86_USE_IDT) return r ? X_FAULT : X_JUMP;
    }
    return deliver(v, &ev, next_rip) ? X_FAULT : X_JUMP;
}

/* ---- instruction boundaries ------------------------------------------------------------------ */

static bool poll_debug(struct vcpu *v)
{
    if (likely(!v->pending_dbg) || v->shadow & SHADOW_MOVSS) return false;
    struct event ev = {.kind = EV_TRAP, .vector = EXC_DB, .payload = v->pending_dbg};
    v->pending_dbg = 0;
    exc_deliver(v, &ev);
    return true;
}

static bool poll_nmi(struct vcpu *v)
{
    u32 posted = atomic_load_explicit(&v->posted, memory_order_acquire);
    if (likely(!(posted & POST_NMI)) || v->nmi_masked || v->shadow & SHADOW_MOVSS) return false;
    atomic_fetch_and_explicit(&v->posted, ~(u32)POST_NMI, memory_order_acq_rel);
    v->nmi_masked = true;
    exc_deliver(v, &(struct event){.kind = EV_NMI, .vector = EXC_NMI});
    return true;
}

static bool poll_interrupt(struct vcpu *v)
{
    if (!atomic_load_explicit(&v->intr_line, memory_order_acquire)) return false;
    if (!exc_interruptible(v)) return false;
    int vector = v->env->intr_ack(v->env->ctx, v);
    if (vector < 0 || vector > 0xFF) return false;
    exc_deliver(v, &(struct event){.kind = EV_EXTINT, .vector = (u8)vector});
    return true;
}

bool exc_poll(struct vcpu *v)
{
    if (v->run_state != VCPU_RUNNING && v->run_state != VCPU_HALTED) return false;
    return poll_debug(v) || poll_nmi(v) || poll_interrupt(v);
}
