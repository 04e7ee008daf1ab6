/* task - hardware task switches: JMP, CALL, IRET, interrupts and exceptions through a TSS.
 *
 * Everything that can fault in the old task (descriptor checks, page faults on either TSS) comes
 * first; then registers change; then segment descriptors are loaded in the new task, whose faults
 * they are. Spec: SDM vol. 3A chapter 8 (checks: table 8-1; flags and links: table 8-2). */
#include "cpu/task.h"

#include <string.h>

#include "cpu/far.h"
#include "cpu/vcpu_mode.h"

enum { /* offsets in the TSS, 32-bit and 16-bit form */
       TSS32_CR3 = 0x1C,
       TSS32_STATE = 0x20,
       TSS32_STATE_END = 0x60,
       TSS32_LDT = 0x60,
       TSS32_TRAP = 0x64,
       TSS32_BYTES = 0x68,
       TSS16_STATE = 0x0E,
       TSS16_STATE_END = 0x2A,
       TSS16_LDT = 0x2A,
       TSS16_BYTES = 0x2C,
       TSS_STATE_MAX = TSS32_STATE_END - TSS32_STATE,
};

/* The dynamic part of a TSS, in the order both forms have it. */
struct task_state {
    u32 ip, flags;
    u32 gpr[8];
    u32 sel[SEGS];
    u32 ldt, cr3;
    bool trap;
};

static bool is_tss32(const struct seg *tss) { return tss->attr & 8; }
static gva_t tss_at(const struct seg *tss, u32 off) { return (u32)(tss->base + off); }

static int raise_sel(struct vcpu *v, u8 vector, u16 sel)
{
    return vcpu_raise_err(v, vector, sel & 0xFFFC);
}

/* ---- before the commit point ----------------------------------------------------------------- */

static int find_tss(struct vcpu *v, u16 sel, enum task_reason why, struct seg *tss, u64 *desc)
{
    u64 d[2];
    u8 vec = why == TASK_IRET ? EXC_TS : EXC_GP;
    if (!(sel & 0xFFFC) || sel & SEL_TI) return raise_sel(v, vec, sel);
    if (seg_read_desc(v, sel, vec, d, false)) return X_FAULT;
    seg_from_desc(tss, sel, d[0]);
    u8 type = seg_sys_type(tss), busy = why == TASK_IRET ? 2 : 0;
    if (type != (SYS_TSS16 | busy) && type != (SYS_TSS32 | busy)) return raise_sel(v, vec, sel);
    if (!(tss->attr & SEG_P)) return raise_sel(v, EXC_NP, sel);
    u32 bytes = is_tss32(tss) ? TSS32_BYTES : TSS16_BYTES;
    if (tss->limit < bytes - 1) return raise_sel(v, EXC_TS, sel);
    *desc = d[0];
    return 0;
}

static u32 get(const u8 *p, u32 bytes)
{
    u32 val = 0;
    memcpy(&val, p, bytes);
    return val;
}

static int read_state(struct vcpu *v, const struct seg *tss, struct task_state *s)
{
    u8 buf[TSS32_BYTES];
    bool wide = is_tss32(tss);
    u32 w = wide ? 4 : 2, segs = wide ? 6 : 4;
    const u8 *p = buf + (wide ? TSS32_STATE : TSS16_STATE);
    if (vcpu_read_sys(v, tss_at(tss, 0), buf, wide ? TSS32_BYTES : TSS16_BYTES)) return X_FAULT;
    memset(s, 0, sizeof *s);
    s->ip = get(p, w);
    s->flags = get(p + w, w);
    for (u32 k = 0; k < 8; k++) {
        s->gpr[k] = get(p + (2 + k) * w, w);
        if (!wide) s->gpr[k] |= 0xFFFF0000;
    }
    for (u32 k = 0; k < segs; k++) s->sel[k] = get(p + (10 + k) * w, 2);
    s->ldt = get(buf + (wide ? TSS32_LDT : TSS16_LDT), 2);
    s->cr3 = wide ? get(buf + TSS32_CR3, 4) : 0;
    s->trap = wide && buf[TSS32_TRAP] & 1;
    return 0;
}

static int save_state(struct vcpu *v, enum task_reason why, u64 next_rip)
{
    u8 buf[TSS_STATE_MAX] = {0};
    bool wide = is_tss32(&v->tr);
    u32 w = wide ? 4 : 2, segs = wide ? 6 : 4, flags = (u32)v->rflags;
    if (why == TASK_IRET) flags &= ~(u32)RFLAGS_NT;
    if (why == TASK_EVENT && v->injected.kind == EV_FAULT) flags |= RFLAGS_RF;
    memcpy(buf, &next_rip, w);
    memcpy(buf + w, &flags, w);
    for (u32 k = 0; k < 8; k++) memcpy(buf + (2 + k) * w, &v->gpr[k], w);
    for (u32 k = 0; k < segs; k++) memcpy(buf + (10 + k) * w, &v->seg[k].sel, 2);
    return vcpu_write_sys(v, tss_at(&v->tr, wide ? TSS32_STATE : TSS16_STATE), buf,
                          (10 + segs) * w);
}

/* Busy bits and back link (table 8-2). */
static int link_tasks(struct vcpu *v, const struct seg *tss, u64 *desc, enum task_reason why)
{
    u64 d[2];
    bool nested = why == TASK_CALL || why == TASK_EVENT;
    if (nested && vcpu_write_sys(v, tss_at(tss, 0), &v->tr.sel, 2)) return X_FAULT;
    if (why != TASK_IRET && seg_write_desc_type(v, tss->sel, desc, *desc | DESC_BUSY))
        return X_FAULT;
    if (nested) return 0;
    if (seg_read_desc(v, v->tr.sel, EXC_TS, d, false)) return X_FAULT;
    return seg_write_desc_type(v, v->tr.sel, d, d[0] & ~DESC_BUSY);
}

/* ---- in the new task ------------------------------------------------------------------------- */

static int load_ldt(struct vcpu *v, u16 sel)
{
    u64 d[2];
    struct seg s;
    v->ldtr = (struct seg){.sel = sel, .attr = SEG_NULL};
    if (!(sel & 0xFFFC)) return 0;
    if (sel & SEL_TI) return raise_sel(v, EXC_TS, sel);
    if (seg_read_desc(v, sel, EXC_TS, d, false)) return X_FAULT;
    seg_from_desc(&s, sel, d[0]);
    if (seg_sys_type(&s) != SYS_LDT || !(s.attr & SEG_P)) return raise_sel(v, EXC_TS, sel);
    v->ldtr = s;
    return 0;
}

static int load_code(struct vcpu *v, u16 sel)
{
    u64 d[2];
    struct seg s;
    u8 rpl = sel & 3;
    if (!(sel & 0xFFFC)) return raise_sel(v, EXC_TS, sel);
    if (seg_read_desc(v, sel, EXC_TS, d, false)) return X_FAULT;
    seg_from_desc(&s, sel, d[0]);
    bool ok = seg_is_conforming(&s) ? seg_dpl(&s) <= rpl : seg_dpl(&s) == rpl;
    if (!seg_is_code(&s) || !ok) return raise_sel(v, EXC_TS, sel);
    if (!(s.attr & SEG_P)) return raise_sel(v, EXC_NP, sel);
    if (seg_set_accessed(v, sel, d)) return X_FAULT;
    s.attr |= SEG_A;
    v->seg[CS] = s;
    return 0;
}

static int load_segments(struct vcpu *v, const struct task_state *s)
{
    static const enum seg_id data_segs[] = {ES, DS, FS, GS};
    struct seg out;
    u16 ss = (u16)s->sel[SS];
    if (load_ldt(v, (u16)s->ldt)) return X_FAULT;
    if (v->rflags & RFLAGS_VM) return 0;
    if (load_code(v, (u16)s->sel[CS])) return X_FAULT;
    if (!(ss & 0xFFFC)) return raise_sel(v, EXC_TS, ss);
    if (seg_check_stack(v, ss, v->cpl, EXC_TS, &out)) return X_FAULT;
    v->seg[SS] = out;
    for (u32 k = 0; k < ARRAY_LEN(data_segs); k++) {
        enum seg_id seg = data_segs[k];
        u16 sel = (u16)s->sel[seg];
        if (!(sel & 0xFFFC)) continue;
        if (seg_check_data(v, sel, EXC_TS, &out)) return X_FAULT;
        v->seg[seg] = out;
    }
    return 0;
}

/* Selectors first, with nothing usable behind them; CS keeps its old hidden part until its
 * descriptor is read. */
static void set_selectors(struct vcpu *v, const struct task_state *s)
{
    v->cpl = v->rflags & RFLAGS_VM ? 3 : s->sel[CS] & 3;
    for (u32 k = 0; k < SEGS; k++) {
        if (v->rflags & RFLAGS_VM) seg_set_real(v, (enum seg_id)k, (u16)s->sel[k]);
        else if (k != CS) seg_set_null(v, (enum seg_id)k, (u16)s->sel[k]);
    }
    v->seg[CS].sel = (u16)s->sel[CS];
}

static int load_cr3(struct vcpu *v, const struct seg *tss, const struct task_state *s)
{
    if (!is_tss32(tss) || !(v->cr0 & CR0_PG)) return 0;
    if (v->cr4 & CR4_PAE && v->mmu->load_pdptes(v, s->cr3)) return X_FAULT;
    v->cr3 = s->cr3;
    v->mmu->cr3_loaded(v, s->cr3);
    return 0;
}

static int enter_task(struct vcpu *v, const struct seg *tss, const struct task_state *s,
                      enum task_reason why)
{
    enum { DR7_LOCAL = 0x155 };
    enum { KNOWN = 0x3F7FD5 };
    bool nested = why == TASK_CALL || why == TASK_EVENT;
    int cr3 = load_cr3(v, tss, s);
    v->tr = *tss;
    v->tr.attr |= 2; /* busy */
    v->cr0 |= CR0_TS;
    v->dr7 &= ~(u64)DR7_LOCAL;
    v->rip = s->ip;
    v->rflags = (s->flags & KNOWN) | RFLAGS_FIXED | (nested ? RFLAGS_NT : 0);
    for (u32 k = 0; k < 8; k++) v->gpr[k] = s->gpr[k];
    if (!(v->dr7 & 0xFF)) v->rflags &= ~(u64)RFLAGS_RF; /* as IRET does */
    set_selectors(v, s);
    vcpu_mode_changed(v);
    if (s->trap) v->pending_dbg |= DR6_BT;
    int r = cr3 ? cr3 : load_segments(v, s);
    vcpu_mode_changed(v);
    vcpu_update_step(v);
    if (r) return X_FAULT;
    return far_check_rip(v, &v->seg[CS], v->rip);
}

int task_switch(struct vcpu *v, u16 sel, enum task_reason why, u64 next_rip)
{
    struct seg tss;
    struct task_state s;
    u64 desc;
    if (find_tss(v, sel, why, &tss, &desc)) return X_FAULT;
    if (read_state(v, &tss, &s)) return X_FAULT;
    if (save_state(v, why, next_rip)) return X_FAULT;
    if (link_tasks(v, &tss, &desc, why)) return X_FAULT;
    return enter_task(v, &tss, &s, why);
}

int task_return(struct vcpu *v, u64 next_rip)
{
    u16 link;
    if (vcpu_read_sys(v, tss_at(&v->tr, 0), &link, 2)) return X_FAULT;
    return task_switch(v, link, TASK_IRET, next_rip);
}

int task_push_error(struct vcpu *v, u32 error)
{
    return stack_push(v, error, is_tss32(&v->tr) ? 4 : 2);
}
