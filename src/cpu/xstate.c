/* xstate - layout of the XSAVE area and the in-use test of each component.
 * Spec: SDM vol. 1 sections 13.4-13.6, vol. 2A CPUID leaf 0DH. */
#include "cpu/xstate.h"

#include <string.h>

const struct xstate_comp xstate_comps[XSTATE_BITS] = {
    /* legacy area: x87 is not one piece */
    [XSTATE_SSE] = {160, 256, 0, 0, 16},
    /* extended area */
    [XSTATE_AVX] = {576, 256, 0, 16, 16},
    [XSTATE_OPMASK] = {1088, 64, 0, 0, 0},
    [XSTATE_ZMM_HI256] = {1152, 512, 0, 32, 32},
    [XSTATE_HI16_ZMM] = {1664, 1024, 16, 0, 64},
    [XSTATE_PKRU] = {2688, 8, 0, 0, 0},
};

u32 xstate_bytes(u64 mask)
{
    u32 end = XSAVE_EXTENDED;
    for (u32 b = 2; b < XSTATE_BITS; b++) {
        const struct xstate_comp *c = &xstate_comps[b];
        if (mask & BIT(b) && end < (u32)c->offset + c->bytes) end = c->offset + c->bytes;
    }
    return end;
}

u32 xstate_compact_offset(u64 mask, u32 bit)
{
    u32 off = XSAVE_EXTENDED;
    for (u32 b = 2; b < bit; b++) {
        if (mask & BIT(b)) off += xstate_comps[b].bytes;
    }
    return off;
}

/* Is every register part of a component zero, as far as the current mode sees it? */
static bool vec_zero(const struct vcpu *v, enum xstate_bit bit)
{
    const struct xstate_comp *c = &xstate_comps[bit];
    for (u32 r = 0, regs = xstate_regs(v, bit); r < regs; r++) {
        u64 any = 0;
        for (u32 b = 0; b < c->width; b += sizeof any) {
            u64 q;
            memcpy(&q, &v->vec[c->reg + r][c->from + b], sizeof q);
            any |= q;
        }
        if (any) return false;
    }
    return true;
}

static bool x87_init(const struct fxsave *f)
{
    static const u8 zero[sizeof f->st];
    return f->fcw == 0x37F && !f->fsw && !f->ftw && !f->fop && !f->fip && !f->fdp &&
           !memcmp(f->st, zero, sizeof zero);
}

u32 xstate_regs(const struct vcpu *v, enum xstate_bit bit)
{
    if (v->mode == ISA_64) return 16;
    return xstate_comps[bit].reg ? 0 : 8;
}

u64 xstate_inuse(const struct vcpu *v)
{
    static const u8 vec_bits[] = {XSTATE_SSE, XSTATE_AVX, XSTATE_ZMM_HI256, XSTATE_HI16_ZMM};
    u64 k = 0, used = 0;
    for (u32 i = 0; i < ARRAY_LEN(v->k); i++) k |= v->k[i];
    if (!x87_init(&v->fx)) used |= BIT(XSTATE_X87);
    if (k) used |= BIT(XSTATE_OPMASK);
    if (v->pkru) used |= BIT(XSTATE_PKRU);
    for (u32 i = 0; i < ARRAY_LEN(vec_bits); i++) {
        if (!vec_zero(v, vec_bits[i])) used |= BIT(vec_bits[i]);
    }
    return used;
}

bool xcr0_valid(u64 val, u64 offered)
{
    u64 avx512 = val & XCR0_AVX512;
    if (val & ~offered || !(val & XCR0_X87)) return false;
    if (val & XCR0_AVX && !(val & XCR0_SSE)) return false;
    return !avx512 || (avx512 == XCR0_AVX512 && val & XCR0_AVX);
}
