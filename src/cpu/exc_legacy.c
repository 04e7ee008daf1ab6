/* exc_legacy - exception and interrupt delivery outside long mode: real, virtual-8086 and protected
 * mode. Spec: SDM vol. 3A sections 6.11-6.13; vol. 3B 21.1.4, 21.3; vol. 2A INT n. */
#include "cpu/exc_internal.h"
#include "cpu/task.h"
#include "cpu/vcpu_mode.h"

/* ---- protected mode -------------------------------------------------------------------------- */

static int deliver_task(struct vcpu *v, const struct event *ev, const struct gate *g, u64 ret_rip)
{
    if (task_switch(v, g->sel, TASK_EVENT, ret_rip)) return X_FAULT;
    return ev->has_error ? task_push_error(v, ev->error) : 0;
}

/* Frame from the error code up; @wide adds the old stack, v86 also the data segments. Returns
 * elements. */
static u32 build_frame(const struct vcpu *v, const struct event *ev, u64 ret_rip, bool wide, u64 *f)
{
    u32 n = 0;
    if (ev->has_error) f[n++] = ev->error;
    f[n++] = ret_rip;
    f[n++] = v->seg[CS].sel;
    f[n++] = exc_flags_image(v, ev);
    if (!wide) return n;
    f[n++] = v->gpr[RSP];
    f[n++] = v->seg[SS].sel;
    if (!(v->rflags & RFLAGS_VM)) return n;
    f[n++] = v->seg[ES].sel;
    f[n++] = v->seg[DS].sel;
    f[n++] = v->seg[FS].sel;
    f[n++] = v->seg[GS].sel;
    return n;
}

static void null_data_segments(struct vcpu *v)
{
    seg_set_null(v, ES, 0);
    seg_set_null(v, DS, 0);
    seg_set_null(v, FS, 0);
    seg_set_null(v, GS, 0);
}

int exc_deliver_protected(struct vcpu *v, const struct event *ev, u64 ret_rip)
{
    struct gate g;
    struct far_target t;
    struct far_stack st;
    u64 frame[10];
    if (exc_read_gate(v, ev, &g)) return X_FAULT;
    if (g.type == SYS_TASK_GATE) return deliver_task(v, ev, &g, ret_rip);
    if (exc_gate_target(v, &g, &t)) return X_FAULT;
    bool inner = t.cpl < v->cpl, from_v86 = v->rflags & RFLAGS_VM;
    if (!inner) far_stack_current(v, &st);
    else if (far_stack_tss(v, t.cpl, &st)) return X_FAULT;
    if (far_check_rip(v, &t.cs, t.rip)) return X_FAULT;
    u32 n = build_frame(v, ev, ret_rip, inner, frame), bytes = g.type & 8 ? 4 : 2;
    if (far_push(v, &st, frame, n, bytes)) return X_FAULT;
    exc_enter(v, &g, &t);
    if (inner) v->seg[SS] = st.ss;
    if (from_v86) null_data_segments(v);
    v->gpr[RSP] = st.sp;
    vcpu_mode_changed(v);
    return 0;
}

/* ---- real mode, and the 8086 half of virtual-8086 mode --------------------------------------- */

/* Push FLAGS, CS, IP and go to @vector's entry of the table at @ivt_base. */
static int enter_8086(struct vcpu *v, gva_t ivt_base, u8 vector, u64 flags, u64 ret_rip)
{
    u16 entry[2];
    struct far_stack st;
    u64 frame[3] = {ret_rip, v->seg[CS].sel, flags};
    gva_t gva = (u32)(ivt_base + vector * 4u);
    if (vcpu_read_sys(v, gva, entry, sizeof entry)) return X_FAULT;
    if (entry[0] > v->seg[CS].limit) return vcpu_raise_err(v, EXC_GP, 0);
    far_stack_current(v, &st);
    if (far_push(v, &st, frame, 3, 2)) return X_FAULT;
    seg_set_real(v, CS, entry[1]);
    v->rip = entry[0];
    v->gpr[RSP] = st.sp;
    return 0;
}

int exc_deliver_real(struct vcpu *v, const struct event *ev, u64 ret_rip)
{
    u32 err = (u32)ev->vector << 3 | SEL_IDT;
    if (ev->vector * 4u + 3 > v->idtr.limit) return vcpu_raise_err(v, EXC_GP, err);
    if (enter_8086(v, v->idtr.base, ev->vector, exc_flags_image(v, ev), ret_rip)) return X_FAULT;
    v->rflags &= ~(u64)(RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_RF);
    vcpu_mode_changed(v);
    return 0;
}

/* Bit @vector of the TSS's interrupt redirection map, which lies just below the I/O map; absent
 * counts as set. */
static int redirection_bit(struct vcpu *v, u8 vector, bool *set)
{
    u16 io_map;
    u8 byte;
    *set = true;
    if (!(seg_sys_type(&v->tr) & 8) || v->tr.limit < 0x67) return 0;
    if (vcpu_read_sys(v, (u32)(v->tr.base + 0x66), &io_map, 2)) return X_FAULT;
    if (io_map < 32 + 0x68 || (u32)io_map - 32 + vector / 8 > v->tr.limit) return 0;
    if (vcpu_read_sys(v, (u32)(v->tr.base + io_map - 32 + vector / 8), &byte, 1)) return X_FAULT;
    *set = byte >> (vector & 7) & 1;
    return 0;
}

int exc_v86_int(struct vcpu *v, u8 vector, u64 next_rip)
{
    bool iopl3 = (v->rflags & RFLAGS_IOPL) == RFLAGS_IOPL, through_idt = true;
    if (v->cr4 & CR4_VME && redirection_bit(v, vector, &through_idt)) return X_FAULT;
    if (through_idt) return iopl3 ? EXC_V86_USE_IDT : (int)vcpu_raise_err(v, EXC_GP, 0);
    /* With IOPL below 3 the 8086 program sees VIF as its IF, and an IOPL of 3. */
    u64 flags = v->rflags & ~(u64)RFLAGS_RF, off = RFLAGS_IF;
    if (!iopl3) {
        flags = (flags & ~(u64)RFLAGS_IF) | RFLAGS_IOPL;
        if (flags & RFLAGS_VIF) flags |= RFLAGS_IF;
        off = RFLAGS_VIF;
    }
    if (enter_8086(v, 0, vector, flags, next_rip)) return X_FAULT;
    v->rflags &= ~(off | RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_AC);
    vcpu_mode_changed(v);
    vcpu_update_step(v);
    return 0;
}
