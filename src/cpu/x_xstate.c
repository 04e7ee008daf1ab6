/* x_xstate - FXSAVE, FXRSTOR, the XSAVE family, XGETBV and XSETBV.
 *
 * A save is built in a local image first, as a list of the byte runs the instruction writes
 * (hardware leaves the rest of the area alone, and so do we); then all runs are checked for
 * writability, then written. A restore reads everything into the image, checks it, then changes
 * registers. So faults are precise. Spec: SDM vol. 1 chapter 13; vol. 2A FXSAVE, FXRSTOR; vol. 2C
 * XSAVE and its kin. */
#include <string.h>

#include "base/check.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"
#include "cpu/x87.h"
#include "cpu/xstate.h"

enum { FX_ALIGN = 16, X_ALIGN = 64, FX_BYTES = 512 };
enum { FX_MXCSR = 24, FX_ST = 32, FX_XMM = 160, FX_USED = 416 };
enum { RUNS_MAX = 12 }; /* x87 control, MXCSR, ST, XMM, header, six components; neighbours merge */
enum {
    FCW_BITS = 0x1F3F,
    FCW_FIXED = 0x40,
    FSW_ES_B = 0x8080,
    FSW_EXCEPTIONS = 0x3F,
    FOP_BITS = 0x7FF
};
enum { FIP_BYTES = 6 }; /* FIP holds a linear address, 48 bits wide on our models */
#define SSE_OR_AVX (XCR0_SSE | XCR0_AVX)
static_assert(offsetof(struct fxsave, mxcsr) == FX_MXCSR && offsetof(struct fxsave, st) == FX_ST,
              "struct fxsave is the memory image");

struct run {
    u16 off, bytes;
};
struct image {
    u32 runs;
    struct run run[RUNS_MAX];
    u8 b[XSAVE_BYTES_MAX] __attribute__((aligned(64)));
};

/* ---- memory ---------------------------------------------------------------------------------- */

static gva_t lin_add(const struct vcpu *v, gva_t lin, u64 off)
{
    return v->mode == ISA_64 ? lin + off : (u32)(lin + off);
}

/* Linear address of the operand, @bytes long: FX_BYTES means FXSAVE's alignment, else XSAVE's. */
static int operand(struct vcpu *v, const struct insn *i, u32 bytes, u8 rw, gva_t *lin)
{
    u32 align = bytes == FX_BYTES ? FX_ALIGN : X_ALIGN;
    if (seg_linear(v, i->seg, insn_ea(v, i), bytes, rw, lin)) return X_FAULT;
    return *lin & (align - 1) ? (int)vcpu_raise_err(v, EXC_GP, 0) : 0;
}

/* Claim [off, off + bytes) of the image as written; returns where to build it. */
static u8 *claim(struct image *m, u32 off, u32 bytes)
{
    struct run *last = m->runs ? &m->run[m->runs - 1] : NULL;
    if (last && (u32)last->off + last->bytes == off) last->bytes = (u16)(last->bytes + bytes);
    else if (bytes) m->run[m->runs++] = (struct run){(u16)off, (u16)bytes};
    return m->b + off;
}

/* End of the last byte written, at least @least. */
static u32 image_end(const struct image *m, u32 least)
{
    for (u32 k = 0; k < m->runs; k++) {
        u32 end = (u32)m->run[k].off + m->run[k].bytes;
        if (end > least) least = end;
    }
    return least;
}

static int image_write(struct vcpu *v, gva_t lin, const struct image *m)
{
    for (u32 k = 0; k < m->runs; k++) {
        const struct run *r = &m->run[k];
        gva_t at = lin_add(v, lin, r->off);
        if (tlb_find(v, at, r->bytes, ACC_WRITE)) continue;
        if (v->mmu->probe(v, at, r->bytes, ACC_WRITE, false)) return X_FAULT;
    }
    for (u32 k = 0; k < m->runs; k++) {
        const struct run *r = &m->run[k];
        if (vcpu_write(v, lin_add(v, lin, r->off), m->b + r->off, r->bytes)) return X_FAULT;
    }
    return 0;
}

static int image_read(struct vcpu *v, gva_t lin, struct image *m, u32 off, u32 bytes)
{
    return vcpu_read(v, lin_add(v, lin, off), m->b + off, bytes);
}

/* ---- the legacy area ------------------------------------------------------------------------- */

/* Two pieces around MXCSR. Without REX.W the pointers are 32 bits with selectors, and those are
 * zero (CPUID.7.0:EBX.ZERO_FCS_FDS). */
static void save_x87_control(const struct vcpu *v, struct image *m, bool wide)
{
    struct fxsave *f = (struct fxsave *)(void *)claim(m, 0, FX_MXCSR);
    memcpy(f, &v->fx, FX_MXCSR);
    f->rsvd = 0;
    if (!wide) {
        f->fip = (u32)f->fip;
        f->fdp = (u32)f->fdp;
    }
}
static void save_st(const struct vcpu *v, struct image *m)
{
    u8(*st)[16] = (void *)claim(m, FX_ST, sizeof v->fx.st);
    for (u32 r = 0; r < 8; r++) {
        memcpy(st[r], v->fx.st[r], 10);
        memset(st[r] + 10, 0, 6);
    }
}
static void save_mxcsr(const struct vcpu *v, struct image *m)
{
    memcpy(claim(m, FX_MXCSR, 8), &v->fx.mxcsr, 8); /* and MXCSR_MASK */
}

/* Legacy parts in ascending order, so that neighbours merge. */
static void save_legacy(const struct vcpu *v, struct image *m, u64 parts, bool mxcsr, bool wide)
{
    if (parts & XCR0_X87) save_x87_control(v, m, wide);
    if (mxcsr) save_mxcsr(v, m);
    if (parts & XCR0_X87) save_st(v, m);
}

static void load_x87(struct vcpu *v, const u8 *b, bool wide)
{
    struct fxsave f;
    memcpy(&f, b, FX_XMM);
    v->fx.fcw = (f.fcw & FCW_BITS) | FCW_FIXED;
    v->fx.fsw = f.fsw & (u16)~FSW_ES_B;
    if (f.fsw & ~v->fx.fcw & FSW_EXCEPTIONS) v->fx.fsw |= FSW_ES_B; /* unmasked and pending */
    v->fx.ftw = f.ftw;
    v->fx.fop = f.fop & FOP_BITS;
    v->fx.fip = wide ? sign_extend(f.fip, FIP_BYTES) : (u32)f.fip; /* FDP keeps all its bits */
    v->fx.fdp = wide ? f.fdp : (u32)f.fdp;
    for (u32 r = 0; r < 8; r++) memcpy(v->fx.st[r], f.st[r], 10);
    x87_changed(v);
}

static void init_x87(struct vcpu *v)
{
    memset(&v->fx, 0, FX_MXCSR);
    memset(v->fx.st, 0, sizeof v->fx.st);
    v->fx.fcw = 0x37F;
    x87_changed(v);
}

static bool mxcsr_valid(const struct vcpu *v, const u8 *b)
{
    u32 mxcsr;
    memcpy(&mxcsr, b + FX_MXCSR, sizeof mxcsr);
    return !(mxcsr & ~v->fx.mxcsr_mask);
}

/* ---- components other than x87 --------------------------------------------------------------- */

/* Bytes of component @bit the current mode reads and writes: fewer registers outside 64-bit mode.
 */
static u32 comp_bytes(const struct vcpu *v, enum xstate_bit bit)
{
    const struct xstate_comp *c = &xstate_comps[bit];
    return c->width ? c->width * xstate_regs(v, bit) : c->bytes;
}

/* Parts of vector registers, @step bytes from one to the next; 0: the same bytes again and again.
 */
struct pieces {
    u8 *at;
    u32 step;
};
/* @n pieces of @width bytes (constant where this is called). */
static inline __attribute__((always_inline)) void copy_pieces(struct pieces to, struct pieces from,
                                                              u32 n, u32 width)
{
    for (; n; n--, to.at += to.step, from.at += from.step) memcpy(to.at, from.at, width);
}
static void copy_regs(struct pieces to, struct pieces from, u32 n, u32 width)
{
    switch (width) {
    case 16: copy_pieces(to, from, n, 16); break;
    case 32: copy_pieces(to, from, n, 32); break;
    case 64: copy_pieces(to, from, n, 64); break;
    default: ASSERT(!width, "parts of %u bytes", width);
    }
}

static void comp_save(const struct vcpu *v, enum xstate_bit bit, u8 *to)
{
    const struct xstate_comp *c = &xstate_comps[bit];
    const struct pieces regs = {(u8 *)(uintptr_t)&v->vec[c->reg][c->from], sizeof v->vec[0]};
    copy_regs((struct pieces){to, c->width}, regs, xstate_regs(v, bit), c->width);
    if (bit == XSTATE_OPMASK) memcpy(to, v->k, sizeof v->k);
    if (bit == XSTATE_PKRU) memcpy(to, (u64[]){v->pkru}, sizeof(u64));
}

/* @from NULL: the initial configuration, zero. */
static void comp_load(struct vcpu *v, enum xstate_bit bit, const u8 *from)
{
    static const u8 zero[64];
    const struct xstate_comp *c = &xstate_comps[bit];
    const struct pieces source = {(u8 *)(uintptr_t)(from ? from : zero), from ? c->width : 0};
    copy_regs((struct pieces){&v->vec[c->reg][c->from], sizeof v->vec[0]}, source,
              xstate_regs(v, bit), c->width);
    if (bit == XSTATE_OPMASK) memcpy(v->k, from ? from : zero, sizeof v->k);
    if (bit == XSTATE_PKRU) memcpy(&v->pkru, from ? from : zero, sizeof v->pkru);
}

/* Save @parts; @layout is XCOMP_BV of a compacted area, 0 for the standard format. */
static void save_extended(const struct vcpu *v, struct image *m, u64 parts, u64 layout)
{
    for (u32 bit = 2; bit < XSTATE_BITS; bit++) {
        u32 off = layout ? xstate_compact_offset(layout, bit) : xstate_comps[bit].offset;
        if (parts & BIT(bit))
            comp_save(v, (enum xstate_bit)bit, claim(m, off, comp_bytes(v, (enum xstate_bit)bit)));
    }
}

static void save_xmm(const struct vcpu *v, struct image *m)
{
    comp_save(v, XSTATE_SSE, claim(m, FX_XMM, comp_bytes(v, XSTATE_SSE)));
}

/* ---- FXSAVE, FXRSTOR ------------------------------------------------------------------------- */

static bool is_wide(const struct insn *i) { return i->opsize == 8; }

enum x_result x_fxsave(struct vcpu *v, const struct insn *i)
{
    struct image m;
    bool sse = v->cr4 & CR4_OSFXSR;
    gva_t lin;
    m.runs = 0;
    if (operand(v, i, FX_BYTES, OPND_W, &lin)) return X_FAULT;
    save_legacy(v, &m, XCR0_X87, sse, is_wide(i));
    if (sse) save_xmm(v, &m);
    return image_write(v, lin, &m) ? X_FAULT : X_NEXT;
}

enum x_result x_fxrstor(struct vcpu *v, const struct insn *i)
{
    struct image m;
    bool sse = v->cr4 & CR4_OSFXSR;
    gva_t lin;
    if (operand(v, i, FX_BYTES, OPND_R, &lin)) return X_FAULT;
    if (image_read(v, lin, &m, 0, FX_USED)) return X_FAULT;
    if (sse && !mxcsr_valid(v, m.b)) return vcpu_raise_err(v, EXC_GP, 0);
    load_x87(v, m.b, is_wide(i));
    if (sse) {
        memcpy(&v->fx.mxcsr, m.b + FX_MXCSR, sizeof v->fx.mxcsr);
        comp_load(v, XSTATE_SSE, m.b + FX_XMM);
    }
    return X_NEXT;
}

/* ---- XSAVE ----------------------------------------------------------------------------------- */

/* #UD without CR4.OSXSAVE, #NM with CR0.TS. */
static int xsave_fault(struct vcpu *v)
{
    if (!(v->cr4 & CR4_OSXSAVE)) return (int)vcpu_raise(v, EXC_UD);
    return v->cr0 & CR0_TS ? (int)vcpu_raise(v, EXC_NM) : 0;
}

static u64 requested(const struct vcpu *v)
{
    return (v->gpr[RDX] & 0xFFFFFFFF) << 32 | (u32)v->gpr[RAX];
}

/* Standard format. @opt: components in their initial configuration are not written (the modified
 * optimisation is not used: hardware need not either). */
static enum x_result save_standard(struct vcpu *v, const struct insn *i, bool opt)
{
    struct image m;
    u64 rfbm = v->xcr0 & requested(v), used = xstate_inuse(v), bv, parts = opt ? rfbm & used : rfbm;
    gva_t lin;
    m.runs = 0;
    if (xsave_fault(v)) return X_FAULT;
    if (operand(v, i, xstate_bytes(parts), OPND_W, &lin)) return X_FAULT;
    if (vcpu_read(v, lin_add(v, lin, XSAVE_HEADER), &bv, sizeof bv)) return X_FAULT;
    bv = (bv & ~rfbm) | (used & rfbm);
    save_legacy(v, &m, parts, rfbm & SSE_OR_AVX, is_wide(i));
    if (parts & XCR0_SSE) save_xmm(v, &m);
    memcpy(claim(&m, XSAVE_HEADER, sizeof bv), &bv, sizeof bv);
    save_extended(v, &m, parts, 0);
    return image_write(v, lin, &m) ? X_FAULT : X_NEXT;
}

static enum x_result save_compact(struct vcpu *v, const struct insn *i, u64 offered)
{
    struct image m;
    u64 rfbm = offered & requested(v), parts = rfbm & xstate_inuse(v), head[2];
    gva_t lin;
    m.runs = 0;
    if (xsave_fault(v)) return X_FAULT;
    if (v->fx.mxcsr != MXCSR_INIT) parts |= rfbm & XCR0_SSE;
    head[0] = parts;
    head[1] = rfbm | XCOMP_COMPACTED;
    save_legacy(v, &m, parts, parts & XCR0_SSE, is_wide(i));
    if (parts & XCR0_SSE) save_xmm(v, &m);
    memcpy(claim(&m, XSAVE_HEADER, sizeof head), head, sizeof head);
    save_extended(v, &m, parts, head[1]);
    if (operand(v, i, image_end(&m, XSAVE_EXTENDED), OPND_W, &lin)) return X_FAULT;
    return image_write(v, lin, &m) ? X_FAULT : X_NEXT;
}

enum x_result x_xsave(struct vcpu *v, const struct insn *i) { return save_standard(v, i, false); }
enum x_result x_xsaveopt(struct vcpu *v, const struct insn *i) { return save_standard(v, i, true); }
enum x_result x_xsavec(struct vcpu *v, const struct insn *i) { return save_compact(v, i, v->xcr0); }
enum x_result x_xsaves(struct vcpu *v, const struct insn *i)
{
    return save_compact(v, i, v->xcr0 | v->xss);
}

/* ---- XRSTOR ---------------------------------------------------------------------------------- */

struct restore {
    u64 bv, comp; /* XSTATE_BV, XCOMP_BV */
    u64 rfbm;
    bool compact;
};

/* The header's rules; @offered is what XCOMP_BV and XSTATE_BV may name. */
static bool header_valid(const struct restore *r, const u8 *header, u64 offered)
{
    static const u8 zero[48];
    if (!r->compact) return !r->comp && !(r->bv & ~offered) && !memcmp(header + 16, zero, 8);
    if ((r->comp & ~XCOMP_COMPACTED & ~offered) || r->bv & ~r->comp) return false;
    return !(r->bv & XCOMP_COMPACTED) && !memcmp(header + 16, zero, sizeof zero);
}

static u32 comp_offset(const struct restore *r, u32 bit)
{
    return r->compact ? xstate_compact_offset(r->comp, bit) : xstate_comps[bit].offset;
}

/* Does MXCSR come from memory? Compacted: as part of the SSE component only. */
static bool loads_mxcsr(const struct restore *r)
{
    return r->compact ? r->rfbm & r->bv & XCR0_SSE : r->rfbm & SSE_OR_AVX;
}

/* Everything that will be loaded, into the image. */
static int restore_read(struct vcpu *v, gva_t lin, struct image *m, const struct restore *r)
{
    u64 parts = r->rfbm & r->bv;
    if (parts & (XCR0_X87 | XCR0_SSE) || loads_mxcsr(r)) {
        if (image_read(v, lin, m, 0, FX_USED)) return X_FAULT;
    }
    for (u32 bit = 2; bit < XSTATE_BITS; bit++) {
        u32 bytes = comp_bytes(v, (enum xstate_bit)bit);
        if (!(parts & BIT(bit)) || !bytes) continue;
        if (image_read(v, lin, m, comp_offset(r, bit), bytes)) return X_FAULT;
    }
    return 0;
}

static void restore_commit(struct vcpu *v, const struct image *m, const struct restore *r,
                           bool wide)
{
    u64 parts = r->rfbm & r->bv;
    if (parts & XCR0_X87) load_x87(v, m->b, wide);
    else if (r->rfbm & XCR0_X87) init_x87(v);
    if (loads_mxcsr(r)) memcpy(&v->fx.mxcsr, m->b + FX_MXCSR, sizeof v->fx.mxcsr);
    else if (r->rfbm & XCR0_SSE) v->fx.mxcsr = MXCSR_INIT;
    for (u32 bit = 1; bit < XSTATE_BITS; bit++) {
        const u8 *from = bit == XSTATE_SSE ? m->b + FX_XMM : m->b + comp_offset(r, bit);
        if (r->rfbm & BIT(bit)) comp_load(v, (enum xstate_bit)bit, parts & BIT(bit) ? from : NULL);
    }
}

static enum x_result restore(struct vcpu *v, const struct insn *i, u64 offered, bool only_compact)
{
    struct image m;
    struct restore r;
    gva_t lin;
    u64 rest;
    if (xsave_fault(v)) return X_FAULT;
    if (operand(v, i, XSAVE_EXTENDED, OPND_R, &lin)) return X_FAULT;
    if (image_read(v, lin, &m, XSAVE_HEADER, XSAVE_EXTENDED - XSAVE_HEADER)) return X_FAULT;
    memcpy(&r.bv, m.b + XSAVE_HEADER, sizeof r.bv);
    memcpy(&r.comp, m.b + XSAVE_HEADER + 8, sizeof r.comp);
    r.compact = r.comp & XCOMP_COMPACTED && cpu_model_has(v->model, FEAT_XSAVEC);
    r.rfbm = offered & requested(v);
    if ((only_compact && !r.compact) || !header_valid(&r, m.b + XSAVE_HEADER, offered))
        return vcpu_raise_err(v, EXC_GP, 0);
    rest = r.rfbm & r.bv;
    if (operand(v, i, r.compact ? xstate_compact_offset(r.comp, XSTATE_BITS) : xstate_bytes(rest),
                OPND_R, &lin))
        return X_FAULT;
    if (restore_read(v, lin, &m, &r)) return X_FAULT;
    if (loads_mxcsr(&r) && !mxcsr_valid(v, m.b)) return vcpu_raise_err(v, EXC_GP, 0);
    restore_commit(v, &m, &r, is_wide(i));
    return X_NEXT;
}

enum x_result x_xrstor(struct vcpu *v, const struct insn *i)
{
    return restore(v, i, v->xcr0, false);
}
enum x_result x_xrstors(struct vcpu *v, const struct insn *i)
{
    return restore(v, i, v->xcr0 | v->xss, true);
}

/* ---- XGETBV, XSETBV -------------------------------------------------------------------------- */

enum x_result x_xgetbv(struct vcpu *v, const struct insn *i)
{
    u32 index = (u32)v->gpr[RCX];
    u64 val = v->xcr0;
    (void)i;
    if (!(v->cr4 & CR4_OSXSAVE)) return vcpu_raise(v, EXC_UD);
    if (index > 1 || (index == 1 && !cpu_model_has(v->model, FEAT_XGETBV1)))
        return vcpu_raise_err(v, EXC_GP, 0);
    if (index == 1) val &= xstate_inuse(v);
    v->gpr[RAX] = (u32)val;
    v->gpr[RDX] = val >> 32;
    return X_NEXT;
}

enum x_result x_xsetbv(struct vcpu *v, const struct insn *i)
{
    u64 val = requested(v);
    (void)i;
    if (!(v->cr4 & CR4_OSXSAVE)) return vcpu_raise(v, EXC_UD);
    if (v->cpl || (u32)v->gpr[RCX] || !xcr0_valid(val, v->model->xcr0))
        return vcpu_raise_err(v, EXC_GP, 0);
    v->xcr0 = val;
    vcpu_mode_changed(v);
    return X_NEXT;
}
