/* far - parts shared by far transfers, exception delivery, IRET and task switches.
 * Spec: SDM vol. 3A sections 5.8, 6.12-6.14, 8.7. */
#include "cpu/far.h"

#include <string.h>

#include "cpu/vcpu_mode.h"

int far_check_rip(struct vcpu *v, const struct seg *cs, u64 rip)
{
    bool ok = vcpu_is_long(v) && cs->attr & SEG_L ? is_canonical(v, rip) : rip <= cs->limit;
    return ok ? 0 : (int)vcpu_raise_err(v, EXC_GP, 0);
}

int far_read_code(struct vcpu *v, u16 sel, struct far_target *t)
{
    u64 d[2];
    if (!(sel & 0xFFFC)) return vcpu_raise_err(v, EXC_GP, 0);
    if (seg_read_desc(v, sel, EXC_GP, d, false)) return X_FAULT;
    seg_from_desc(&t->cs, sel, d[0]);
    t->desc = d[0];
    bool both = (t->cs.attr & (SEG_L | SEG_DB)) == (SEG_L | SEG_DB);
    if (!seg_is_code(&t->cs) || (vcpu_is_long(v) && both))
        return vcpu_raise_err(v, EXC_GP, sel & 0xFFFC);
    return 0;
}

void far_commit(struct vcpu *v, const struct far_target *t)
{
    v->seg[CS] = t->cs;
    v->seg[CS].sel = (u16)((t->cs.sel & 0xFFFC) | t->cpl);
    v->seg[CS].attr |= SEG_A;
    v->cpl = t->cpl;
    v->rip = t->rip;
}

int far_return_code(struct vcpu *v, u16 sel, u64 rip, struct far_target *t)
{
    u32 err = sel & 0xFFFC, rpl = sel & 3;
    if (far_read_code(v, sel, t)) return X_FAULT;
    bool ok = seg_is_conforming(&t->cs) ? seg_dpl(&t->cs) <= rpl : seg_dpl(&t->cs) == rpl;
    if (rpl < v->cpl || !ok) return vcpu_raise_err(v, EXC_GP, err);
    if (!(t->cs.attr & SEG_P)) return vcpu_raise_err(v, EXC_NP, err);
    t->cpl = (u8)rpl;
    t->rip = rip;
    return seg_set_accessed(v, sel, &t->desc);
}

int far_return_stack(struct vcpu *v, u16 sel, const struct far_target *t, struct seg *ss)
{
    if (sel & 0xFFFC) return seg_check_stack(v, sel, t->cpl, EXC_GP, ss);
    bool to64 = vcpu_is_long(v) && t->cs.attr & SEG_L;
    if (!to64 || t->cpl == 3 || (sel & 3) != t->cpl) return vcpu_raise_err(v, EXC_GP, 0);
    *ss = (struct seg){.sel = sel, .attr = SEG_NULL | (u32)t->cpl << SEG_DPL_SHIFT};
    return 0;
}

u8 far_set_cpl(struct vcpu *v, u8 cpl)
{
    u8 old = v->cpl;
    if (cpl != old) {
        v->cpl = cpl;
        v->mmu->mode_changed(v);
    }
    return old;
}

/* ---- stacks that are not the current one ----------------------------------------------------- */

void far_stack_current(const struct vcpu *v, struct far_stack *st)
{
    bool long_mode = v->mode == ISA_64;
    *st = (struct far_stack){.ss = v->seg[SS],
                             .sp = long_mode ? v->gpr[RSP] : (u32)v->gpr[RSP],
                             .mask = stack_mask(v),
                             .cpl = v->cpl,
                             .long_mode = long_mode};
}

/* Linear address of [off, off+bytes) on @st; #SS(st->err) when it is not all there. */
static int stack_linear(struct vcpu *v, const struct far_stack *st, u64 off, u32 bytes, gva_t *lin)
{
    bool ok;
    if (st->long_mode) ok = is_canonical(v, off) && is_canonical(v, off + bytes - 1);
    else ok = seg_in_limit(&st->ss, off, bytes);
    if (!ok) return vcpu_raise_err(v, EXC_SS, st->err);
    *lin = st->long_mode ? off : (u32)(st->ss.base + off);
    return 0;
}

static int write_slots(struct vcpu *v, const struct far_stack *st, const u64 *slot, u32 n,
                       u32 bytes)
{
    u8 buf[FAR_SLOTS_MAX * 4];
    gva_t lin;
    u64 sp = (st->sp - (u64)n * bytes) & st->mask;
    if (((st->sp - 1) & st->mask) >= sp) { /* in one piece */
        if (stack_linear(v, st, sp, n * bytes, &lin)) return X_FAULT;
        if (bytes == 8) return vcpu_write(v, lin, slot, n * bytes);
        for (u32 k = 0; k < n; k++) memcpy(buf + k * bytes, &slot[k], bytes);
        return vcpu_write(v, lin, buf, n * bytes);
    }
    for (u32 k = n; k-- > 0;) { /* SP wraps on the way: as separate pushes */
        u64 off = (sp + (u64)k * bytes) & st->mask;
        if (stack_linear(v, st, off, bytes, &lin)) return X_FAULT;
        if (vcpu_write(v, lin, &slot[k], bytes)) return X_FAULT;
    }
    return 0;
}

int far_push(struct vcpu *v, struct far_stack *st, const u64 *slot, u32 n, u32 bytes)
{
    u8 old = far_set_cpl(v, st->cpl);
    int r = write_slots(v, st, slot, n, bytes);
    far_set_cpl(v, old);
    if (r == 0) st->sp = (st->sp & ~st->mask) | ((st->sp - (u64)n * bytes) & st->mask);
    return r;
}

int far_stack_tss(struct vcpu *v, u8 cpl, struct far_stack *st)
{
    bool tss32 = seg_sys_type(&v->tr) & 8;
    u32 off = tss32 ? 4 + 8u * cpl : 2 + 4u * cpl, bytes = tss32 ? 6 : 4;
    u8 buf[8] = {0};
    u16 sel;
    if (off + bytes - 1 > v->tr.limit) return vcpu_raise_err(v, EXC_TS, v->tr.sel & 0xFFFC);
    gva_t gva = vcpu_is_long(v) ? v->tr.base + off : (u32)(v->tr.base + off);
    if (vcpu_read_sys(v, gva, buf, bytes)) return X_FAULT;
    memcpy(&sel, buf + bytes - 2, 2);
    st->sp = 0;
    memcpy(&st->sp, buf, bytes - 2);
    if (!(sel & 0xFFFC)) return vcpu_raise_err(v, EXC_TS, 0);
    if (seg_check_stack(v, sel, cpl, EXC_TS, &st->ss)) return X_FAULT;
    st->mask = st->ss.attr & SEG_DB ? 0xFFFFFFFF : 0xFFFF;
    st->cpl = cpl;
    st->err = sel & 0xFFFC;
    st->long_mode = false;
    return 0;
}

int far_stack_tss64(struct vcpu *v, u32 slot, u64 *rsp)
{
    u32 off = slot < 3 ? 4 + 8 * slot : 0x24 + 8 * (slot - 4); /* IST1 is slot 4 */
    if (off + 7 > v->tr.limit) return vcpu_raise_err(v, EXC_TS, v->tr.sel & 0xFFFC);
    return vcpu_read_sys(v, v->tr.base + off, rsp, 8);
}

void far_drop_segments(struct vcpu *v)
{
    static const enum seg_id data_segs[] = {ES, DS, FS, GS};
    for (u32 k = 0; k < ARRAY_LEN(data_segs); k++) {
        struct seg *s = &v->seg[data_segs[k]];
        if (s->attr & SEG_NULL) s->sel = 0; /* 1 to 3 become 0; the bases of FS and GS stay */
        else if (!seg_is_conforming(s) && seg_dpl(s) < v->cpl) seg_set_null(v, data_segs[k], 0);
    }
}
