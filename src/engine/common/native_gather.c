/* engine/common/native_gather.c - gather and scatter: one memory access per element, restartable.
 * Each element's mask bit is cleared when it is done, so a fault in the middle leaves the finished
 * elements finished and the instruction starts again with the rest. Spec: SDM vol. 2C VPGATHERDD,
 * VPSCATTERDD; vol. 2A 2.3.12 and 2.7 for VSIB. */
#include <Zydis/Mnemonic.h>

#include "engine/common/native_internal.h"

struct shape {
    u8 index_bytes, elem_bytes;
    bool scatter, evex;
    u8 mask;  /* EVEX: k; VEX: vec */
    u8 data;  /* vec               */
    u8 index; /* vec               */
    u32 elems, vector_bytes;
};

static const struct {
    u16 mnemonic;
    u8 index_bytes, elem_bytes;
    bool scatter;
} forms[] = {
    {ZYDIS_MNEMONIC_VGATHERDPS, 4, 4, false}, {ZYDIS_MNEMONIC_VGATHERQPS, 8, 4, false},
    {ZYDIS_MNEMONIC_VGATHERDPD, 4, 8, false}, {ZYDIS_MNEMONIC_VGATHERQPD, 8, 8, false},
    {ZYDIS_MNEMONIC_VPGATHERDD, 4, 4, false}, {ZYDIS_MNEMONIC_VPGATHERQD, 8, 4, false},
    {ZYDIS_MNEMONIC_VPGATHERDQ, 4, 8, false}, {ZYDIS_MNEMONIC_VPGATHERQQ, 8, 8, false},
    {ZYDIS_MNEMONIC_VSCATTERDPS, 4, 4, true}, {ZYDIS_MNEMONIC_VSCATTERQPS, 8, 4, true},
    {ZYDIS_MNEMONIC_VSCATTERDPD, 4, 8, true}, {ZYDIS_MNEMONIC_VSCATTERQPD, 8, 8, true},
    {ZYDIS_MNEMONIC_VPSCATTERDD, 4, 4, true}, {ZYDIS_MNEMONIC_VPSCATTERQD, 8, 4, true},
    {ZYDIS_MNEMONIC_VPSCATTERDQ, 4, 8, true}, {ZYDIS_MNEMONIC_VPSCATTERQQ, 8, 8, true},
};

/* The vector length and the mask register are only in the VEX or EVEX prefix. */
static void shape_prefix(struct shape *s, const struct insn *i)
{
    u32 p = 0, len = 16;
    while (p + 4u < i->len && i->bytes[p] != 0xC4 && i->bytes[p] != 0x62) p++;
    s->evex = i->bytes[p] == 0x62;
    if (s->evex) {
        len = 16u << (i->bytes[p + 3] >> 5 & 3);
        s->mask = i->bytes[p + 3] & 7;
    } else {
        len = i->bytes[p + 2] & 4 ? 32 : 16;
        s->mask = i->op[2].reg & 31;
    }
    s->vector_bytes = len > 64 ? 64 : len;
}

static bool shape_of(struct shape *s, const struct insn *i)
{
    memset(s, 0, sizeof *s);
    for (u32 n = 0; n < ARRAY_LEN(forms); n++) {
        if (forms[n].mnemonic != i->mnemonic) continue;
        s->index_bytes = forms[n].index_bytes;
        s->elem_bytes = forms[n].elem_bytes;
        s->scatter = forms[n].scatter;
    }
    if (!s->elem_bytes) return false;
    shape_prefix(s, i);
    s->data = i->op[s->scatter ? 1 : 0].reg & 31;
    s->index = i->index & 31;
    s->elems = s->vector_bytes / (s->index_bytes > s->elem_bytes ? s->index_bytes : s->elem_bytes);
    if (s->evex) return s->mask != 0 && (s->scatter || s->data != s->index);
    return s->data != s->index && s->data != s->mask && s->mask != s->index;
}

static bool is_on(const struct vcpu *v, const struct shape *s, u32 n)
{
    if (s->evex) return v->k[s->mask] >> n & 1;
    return v->vec[s->mask][(n + 1) * s->elem_bytes - 1] >> 7;
}
static void turn_off(struct vcpu *v, const struct shape *s, u32 n)
{
    if (s->evex) v->k[s->mask] &= ~BIT(n);
    else memset(v->vec[s->mask] + n * s->elem_bytes, 0, s->elem_bytes);
}

static int access_element(struct vcpu *v, const struct insn *i, const struct shape *s, u32 n)
{
    s64 index = 0;
    gva_t lin;
    memcpy(&index, v->vec[s->index] + n * s->index_bytes, s->index_bytes);
    if (s->index_bytes == 4) index = (s32)index;
    u64 ea = (u64)i->disp + (i->base < GPRS ? v->gpr[i->base] : 0) + ((u64)index << i->scale);
    if (i->addrsize < 8) ea &= mask_bytes(i->addrsize);
    u8 *data = v->vec[s->data] + n * s->elem_bytes;
    if (seg_linear(v, i->seg, ea, s->elem_bytes, s->scatter ? OPND_W : OPND_R, &lin))
        return X_FAULT;
    return s->scatter ? vcpu_write(v, lin, data, s->elem_bytes)
                      : vcpu_read(v, lin, data, s->elem_bytes);
}

enum x_result native_gather(struct vcpu *v, const struct insn *i)
{
    struct shape s;
    if (v->fpu_fault[i->fpu]) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    if (!shape_of(&s, i)) return vcpu_raise(v, EXC_UD);
    u32 used = s.elems * s.elem_bytes;
    if (!s.evex) { /* mask elements become all-ones or zero, whatever happens next */
        for (u32 n = 0; n < s.vector_bytes / s.elem_bytes; n++)
            memset(v->vec[s.mask] + n * s.elem_bytes, is_on(v, &s, n) ? 0xFF : 0, s.elem_bytes);
        memset(v->vec[s.mask] + s.vector_bytes, 0, 64 - s.vector_bytes);
    }
    for (u32 n = 0; n < s.elems; n++) {
        if (!is_on(v, &s, n)) continue;
        if (access_element(v, i, &s, n)) return X_FAULT;
        turn_off(v, &s, n);
        if (!s.scatter)
            memset(v->vec[s.data] + s.vector_bytes, 0,
                   64 - s.vector_bytes); /* with the first element, as processors do */
    }
    if (s.evex) v->k[s.mask] = 0;
    else memset(v->vec[s.mask], 0, 64);
    if (!s.scatter) memset(v->vec[s.data] + used, 0, 64 - used);
    return X_NEXT;
}
