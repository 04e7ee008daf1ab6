/* seg - segmentation: checks of effective addresses, descriptor loads, the stack.
 * Spec: SDM vol. 3A sections 3.4, 5.2-5.8; vol. 2B MOV, PUSH, POP. */
#include "cpu/seg.h"

#include "cpu/far.h"
#include "cpu/vcpu_mode.h"

/* ---- effective to linear --------------------------------------------------------------------- */

static int seg_fault(struct vcpu *v, u8 seg)
{
    return vcpu_raise_err(v, seg == SS ? EXC_SS : EXC_GP, 0);
}

/* Are all bytes of [off, off+bytes) inside the segment? (section 5.3) */
bool seg_in_limit(const struct seg *s, u64 off, u32 bytes)
{
    u64 last = off + (bytes ? bytes - 1 : 0);
    bool expand_down = (s->attr & (SEG_S | SEG_CODE | SEG_E)) == (SEG_S | SEG_E);
    if (likely(!expand_down)) return last <= s->limit;
    return off > s->limit && last <= (s->attr & SEG_DB ? 0xFFFFFFFFu : 0xFFFFu);
}

static bool type_allows(const struct seg *s, u8 rw)
{
    if (s->attr & SEG_NULL) return false;
    if (s->attr & SEG_CODE) return !(rw & OPND_W) && (!(rw & OPND_R) || s->attr & SEG_R);
    return !(rw & OPND_W) || s->attr & SEG_W;
}

int seg_linear_slow(struct vcpu *v, u8 seg, u64 off, u32 bytes, u8 rw, gva_t *lin)
{
    const struct seg *s = &v->seg[seg];
    if (v->mode == ISA_64) {
        u64 a = seg >= FS ? off + s->base : off;
        if (!is_canonical(v, a) || !is_canonical(v, a + (bytes ? bytes - 1 : 0)))
            return seg_fault(v, seg);
        *lin = a;
        return 0;
    }
    if (vcpu_is_protected(v) && !type_allows(s, rw)) return seg_fault(v, seg);
    if (!seg_in_limit(s, (u32)off, bytes)) return seg_fault(v, seg);
    *lin = (u32)(s->base + off);
    return 0;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

void seg_from_desc(struct seg *s, u16 sel, u64 desc)
{
    u32 limit = (u32)(desc & 0xFFFF) | (u32)bits(desc, 51, 48) << 16;
    s->sel = sel;
    s->base = bits(desc, 39, 16) | bits(desc, 63, 56) << 24;
    s->attr = (u32)bits(desc, 55, 40) & 0xF0FF;
    s->limit = s->attr & SEG_G ? limit << 12 | 0xFFF : limit;
}

static bool desc_gva(const struct vcpu *v, u16 sel, u32 bytes, gva_t *gva)
{
    u64 base = v->gdtr.base;
    u32 limit = v->gdtr.limit, off = sel & 0xFFF8;
    if (sel & SEL_TI) {
        if (v->ldtr.attr & SEG_NULL) return false;
        base = v->ldtr.base;
        limit = v->ldtr.limit;
    }
    if (off + bytes - 1 > limit) return false;
    *gva = vcpu_is_long(v) ? base + off : (u32)(base + off);
    return true;
}

int seg_try_desc(struct vcpu *v, u16 sel, u64 *desc, bool *found)
{
    gva_t gva;
    *found = (sel & 0xFFFC) && desc_gva(v, sel, 8, &gva);
    return *found ? vcpu_read_sys(v, gva, desc, 8) : 0;
}

int seg_read_desc(struct vcpu *v, u16 sel, u8 vec, u64 desc[2], bool wide)
{
    gva_t gva;
    u32 bytes = wide ? 16 : 8;
    desc[1] = 0;
    if (!desc_gva(v, sel, bytes, &gva)) return vcpu_raise_err(v, vec, sel & 0xFFFC);
    return vcpu_read_sys(v, gva, desc, bytes);
}

int seg_write_desc_type(struct vcpu *v, u16 sel, u64 *desc, u64 new_desc)
{
    gva_t gva;
    u8 byte = (u8)(new_desc >> 40);
    if (!desc_gva(v, sel, 8, &gva)) return vcpu_raise_err(v, EXC_GP, sel & 0xFFFC);
    int r = vcpu_write_sys(v, gva + 5, &byte, 1);
    if (r == 0) *desc = new_desc;
    return r;
}

int seg_set_accessed(struct vcpu *v, u16 sel, u64 *desc)
{
    if (likely(*desc & DESC_ACCESSED)) return 0;
    return seg_write_desc_type(v, sel, desc, *desc | DESC_ACCESSED);
}

/* ---- loads ----------------------------------------------------------------------------------- */

void seg_set_real(struct vcpu *v, enum seg_id seg, u16 sel)
{
    struct seg *s = &v->seg[seg];
    s->sel = sel;
    s->base = (u64)sel << 4;
    if (v->rflags & RFLAGS_VM) {
        s->limit = 0xFFFF;
        s->attr = SEG_P | SEG_DPL | SEG_S | SEG_W | SEG_A;
    } else { /* limit and size stay: "unreal" mode */
        u32 keep = s->attr & (SEG_DB | SEG_G | SEG_AVL);
        s->attr = keep | SEG_P | SEG_S | SEG_W | SEG_A | (seg == CS ? SEG_CODE : 0);
    }
}

void seg_set_null(struct vcpu *v, enum seg_id seg, u16 sel)
{
    v->seg[seg] = (struct seg){.sel = sel, .attr = SEG_NULL | (u32)v->cpl << SEG_DPL_SHIFT};
}

int seg_check_stack(struct vcpu *v, u16 sel, u8 cpl, u8 vec, struct seg *out)
{
    u64 d[2];
    u32 err = sel & 0xFFFC;
    if (seg_read_desc(v, sel, vec, d, false)) return X_FAULT;
    seg_from_desc(out, sel, d[0]);
    u32 type = out->attr & (SEG_S | SEG_CODE | SEG_W);
    if ((sel & 3) != cpl || seg_dpl(out) != cpl || type != (SEG_S | SEG_W))
        return vcpu_raise_err(v, vec, err);
    if (!(out->attr & SEG_P)) return vcpu_raise_err(v, EXC_SS, err);
    if (seg_set_accessed(v, sel, d)) return X_FAULT;
    out->attr |= SEG_A;
    return 0;
}

static int load_stack(struct vcpu *v, u16 sel)
{
    struct seg s;
    if (!(sel & 0xFFFC)) {
        if (v->mode != ISA_64 || v->cpl == 3 || (sel & 3) != v->cpl)
            return vcpu_raise_err(v, EXC_GP, 0);
        seg_set_null(v, SS, sel);
        return 0;
    }
    if (seg_check_stack(v, sel, v->cpl, EXC_GP, &s)) return X_FAULT;
    v->seg[SS] = s;
    return 0;
}

int seg_check_data(struct vcpu *v, u16 sel, u8 vec, struct seg *out)
{
    u64 d[2];
    u32 err = sel & 0xFFFC;
    if (seg_read_desc(v, sel, vec, d, false)) return X_FAULT;
    seg_from_desc(out, sel, d[0]);
    if (!(out->attr & SEG_S) || (out->attr & (SEG_CODE | SEG_R)) == SEG_CODE)
        return vcpu_raise_err(v, vec, err);
    bool conforming = (out->attr & (SEG_CODE | SEG_C)) == (SEG_CODE | SEG_C);
    if (!conforming && (seg_dpl(out) < (sel & 3) || seg_dpl(out) < v->cpl))
        return vcpu_raise_err(v, vec, err);
    if (!(out->attr & SEG_P)) return vcpu_raise_err(v, EXC_NP, err);
    if (seg_set_accessed(v, sel, d)) return X_FAULT;
    out->attr |= SEG_A;
    return 0;
}

static int load_data(struct vcpu *v, enum seg_id seg, u16 sel)
{
    struct seg s;
    if (!(sel & 0xFFFC)) {
        seg_set_null(v, seg, sel);
        return 0;
    }
    if (seg_check_data(v, sel, EXC_GP, &s)) return X_FAULT;
    v->seg[seg] = s;
    return 0;
}

int seg_load(struct vcpu *v, enum seg_id seg, u16 sel)
{
    if (!vcpu_is_protected(v)) seg_set_real(v, seg, sel);
    else if (seg == SS ? load_stack(v, sel) : load_data(v, seg, sel)) return X_FAULT;
    if (v->mode != ISA_64 && seg < FS) vcpu_cs_changed(v);
    return 0;
}

/* ---- near targets and the stack -------------------------------------------------------------- */

int seg_set_rip(struct vcpu *v, u64 rip)
{
    if (likely(v->mode == ISA_64)) {
        if (unlikely(!is_canonical(v, rip))) return vcpu_raise_err(v, EXC_GP, 0);
    } else {
        if ((u32)rip > v->seg[CS].limit) return vcpu_raise_err(v, EXC_GP, 0);
        rip = (u32)rip;
    }
    v->rip = rip;
    return 0;
}

u32 stack_bits(const struct vcpu *v)
{
    if (v->mode == ISA_64) return 64;
    return v->seg[SS].attr & SEG_DB ? 32 : 16;
}

u64 stack_mask(const struct vcpu *v) { return mask_bytes(stack_bits(v) / 8); }

void stack_set(struct vcpu *v, u64 sp)
{
    u64 mask = stack_mask(v);
    if (mask == 0xFFFF) v->gpr[RSP] = (v->gpr[RSP] & ~mask) | (sp & mask);
    else v->gpr[RSP] = sp & mask;
}

void stack_add(struct vcpu *v, s64 delta_bytes) { stack_set(v, v->gpr[RSP] + (u64)delta_bytes); }

int stack_push(struct vcpu *v, u64 val, u32 bytes)
{
    gva_t lin;
    u64 sp = (v->gpr[RSP] - bytes) & stack_mask(v);
    if (seg_linear(v, SS, sp, bytes, OPND_W, &lin)) return X_FAULT;
    if (vcpu_write(v, lin, &val, bytes)) return X_FAULT;
    stack_set(v, sp);
    return 0;
}

int stack_peek(struct vcpu *v, u64 depth_bytes, u64 *val, u32 bytes)
{
    gva_t lin;
    u64 sp = (v->gpr[RSP] + depth_bytes) & stack_mask(v), out = 0;
    if (seg_linear(v, SS, sp, bytes, OPND_R, &lin)) return X_FAULT;
    if (vcpu_read(v, lin, &out, bytes)) return X_FAULT;
    *val = out;
    return 0;
}

int stack_pop(struct vcpu *v, u64 *val, u32 bytes)
{
    if (stack_peek(v, 0, val, bytes)) return X_FAULT;
    stack_add(v, bytes);
    return 0;
}
