/* engine/common/native_partial.c - vector instructions that touch only some elements of their
 * memory operand: EVEX with an opmask, compress and expand, VMASKMOV. Elements that are masked off
 * are not accessed and cannot fault (SDM vol. 2A 2.7.6). When all elements are on, the operand is
 * an ordinary one. Otherwise the instruction runs on a copy made element by element. */
#include "engine/common/native_internal.h"

/* Bit n: element n of the memory operand is accessed. */
static u64 touched(const struct vcpu *v, const struct native_thunk *t)
{
    u64 on = 0;
    if (t->touch == TOUCH_SIGN) {
        for (u32 n = 0; n < t->elems; n++)
            on |= (u64)(v->vec[t->mask & 31][(n + 1) * t->elem_bytes - 1] >> 7) << n;
        return on;
    }
    u64 k = v->k[t->mask & 7];
    if (t->mask_bits < 64) k &= BIT(t->mask_bits) - 1;
    if (t->touch == TOUCH_PACKED) {
        u32 count = (u32)__builtin_popcountll(k);
        return count >= 64 ? ~0ull : BIT(count) - 1;
    }
    for (u32 n = 0; n < t->mask_bits; n++)
        if (k >> n & 1) on |= BIT(n % t->elems);
    return on;
}

static u64 all_elements(const struct native_thunk *t)
{
    return t->elems >= 64 ? ~0ull : BIT(t->elems) - 1;
}

/* Linear address of element @n (only the operand's first byte is subject to the address size),
 * checked for the whole access. */
static int element(struct vcpu *v, const struct insn *i, const struct native_thunk *t, u32 n,
                   gva_t *lin)
{
    u64 ea = insn_ea(v, i) + n * t->elem_bytes;
    return seg_linear(v, i->seg, ea, t->elem_bytes, i->mem_rw, lin);
}

static int read_elements(struct vcpu *v, const struct insn *i, const struct native_thunk *t, u64 on,
                         u8 *buf)
{
    gva_t lin;
    for (u32 n = 0; n < t->elems; n++) {
        if (!(on >> n & 1)) continue;
        if (element(v, i, t, n, &lin) || vcpu_read(v, lin, buf + n * t->elem_bytes, t->elem_bytes))
            return X_FAULT;
    }
    return 0;
}

/* All elements are checked before the first is written. */
static int write_elements(struct vcpu *v, const struct insn *i, const struct native_thunk *t,
                          u64 on, const u8 *buf)
{
    gva_t lin;
    for (u32 n = 0; n < t->elems; n++) {
        if (!(on >> n & 1)) continue;
        if (element(v, i, t, n, &lin) || vcpu_write(v, lin, buf + n * t->elem_bytes, t->elem_bytes))
            return X_FAULT;
    }
    return 0;
}
static int probe_elements(struct vcpu *v, const struct insn *i, const struct native_thunk *t,
                          u64 on)
{
    gva_t lin;
    for (u32 n = 0; n < t->elems; n++) {
        if (!(on >> n & 1)) continue;
        if (element(v, i, t, n, &lin) || v->mmu->probe(v, lin, t->elem_bytes, ACC_WRITE, false))
            return X_FAULT;
    }
    return 0;
}

enum x_result native_run_partial(struct vcpu *v, const struct insn *i, const struct native_thunk *t)
{
    u8 buf[64] __attribute__((aligned(64))) = {0};
    u64 on = touched(v, t);
    bool writes = i->mem_rw & OPND_W;
    gva_t lin;
    if (!t->elems || (u32)t->elems * t->elem_bytes > sizeof buf) return vcpu_raise(v, EXC_UD);
    if (on == all_elements(t) && !is_misaligned(v, i, t->align))
        return insn_linear(v, i, &lin) ? X_FAULT : native_run(v, i, t, lin);
    if (on && is_misaligned(v, i, t->align)) return vcpu_raise_err(v, EXC_GP, 0);
    if (on && native_alignment_fault(v, i, insn_ea(v, i))) return vcpu_raise_err(v, EXC_AC, 0);
    bool late = t->flags & THUNK_STORES_LATE;
    if (late && t->code(v, buf, i)) return X_FAULT;
    if (writes ? probe_elements(v, i, t, on) : read_elements(v, i, t, on, buf)) return X_FAULT;
    if (!late && t->code(v, buf, i)) return X_FAULT;
    return writes && write_elements(v, i, t, on, buf) ? X_FAULT : X_NEXT;
}
