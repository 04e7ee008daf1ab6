/* x_legacy - instructions 64-bit mode has not (but XLAT): decimal adjustment, SALC, BOUND, ARPL.
 * Flags the manuals leave undefined are as current Intel processors leave them (measured over all
 * inputs): SF, ZF and PF of the resulting AL, the others 0; AAD sets all six as the ADD AL, AH *
 * base in it does. Spec: SDM vol. 2A AAA, AAD, AAM, AAS, ARPL, BOUND, DAA, DAS; vol. 2C XLAT. */
#include "cpu/x_internal.h"

static inline u8 al_of(const struct vcpu *v) { return (u8)v->gpr[RAX]; }
static inline u8 ah_of(const struct vcpu *v) { return (u8)(v->gpr[RAX] >> 8); }

/* SF, ZF and PF of a byte. */
static u64 byte_flags(u8 val)
{
    return (__builtin_parity(val) ? 0 : RFLAGS_PF) | (val ? 0 : RFLAGS_ZF) | (val & RFLAGS_SF);
}

static enum x_result commit(struct vcpu *v, u16 ax, u64 flags)
{
    gpr_write(v, RAX, ax, 2);
    v->rflags = (v->rflags & ~(u64)RFLAGS_ARITH) | flags | byte_flags((u8)ax);
    return X_NEXT;
}

/* AAA adds 6 to AL and 1 to AH after a sum of two unpacked digits; AAS subtracts. */
static enum x_result ascii_adjust(struct vcpu *v, int delta)
{
    bool adjust = (al_of(v) & 0xF) > 9 || v->rflags & RFLAGS_AF;
    u16 ax = (u16)(v->gpr[RAX] + (u64)(s64)(adjust ? delta : 0)) & 0xFF0F;
    return commit(v, ax, adjust ? RFLAGS_AF | RFLAGS_CF : 0);
}

enum x_result x_aaa(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return ascii_adjust(v, 0x106);
}

enum x_result x_aas(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return ascii_adjust(v, -0x106);
}

/* DAA (@sign 1) and DAS (@sign -1) on packed digits. */
static enum x_result decimal_adjust(struct vcpu *v, int sign)
{
    int old = al_of(v), al = old;
    u64 flags = 0, carry = v->rflags & RFLAGS_CF;
    if ((old & 0xF) > 9 || v->rflags & RFLAGS_AF) {
        al += 6 * sign;
        flags |= RFLAGS_AF | carry | (al < 0 || al > 0xFF ? RFLAGS_CF : 0);
    }
    if (old > 0x99 || carry) {
        al += 0x60 * sign;
        flags |= RFLAGS_CF;
    }
    return commit(v, (u16)(ah_of(v) << 8 | (al & 0xFF)), flags);
}

enum x_result x_daa(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return decimal_adjust(v, 1);
}

enum x_result x_das(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return decimal_adjust(v, -1);
}

enum x_result x_aam(struct vcpu *v, const struct insn *i)
{
    u8 base = (u8)i->imm, al = al_of(v);
    if (!base) return vcpu_raise(v, EXC_DE);
    return commit(v, (u16)((al / base) << 8 | al % base), 0);
}

enum x_result x_aad(struct vcpu *v, const struct insn *i)
{
    u8 al = al_of(v), add = (u8)(ah_of(v) * (u8)i->imm), sum = (u8)(al + add);
    u64 flags = sum < al ? RFLAGS_CF : 0;
    flags |= (al ^ add ^ sum) & RFLAGS_AF;
    if (~(al ^ add) & (al ^ sum) & 0x80) flags |= RFLAGS_OF;
    return commit(v, sum, flags);
}

enum x_result x_salc(struct vcpu *v, const struct insn *i)
{
    (void)i;
    gpr_write(v, RAX, v->rflags & RFLAGS_CF ? 0xFF : 0, 1);
    return X_NEXT;
}

/* The decoder gives rBX as base; AL is added within the address size. */
enum x_result x_xlat(struct vcpu *v, const struct insn *i)
{
    u64 val, off = (insn_ea(v, i) + al_of(v)) & mask_bytes(i->addrsize);
    if (seg_read(v, i->seg, off, &val, 1)) return X_FAULT;
    gpr_write(v, RAX, val, 1);
    return X_NEXT;
}

/* The memory operand is a signed lower and upper bound, both inclusive. The upper one is not looked
 * at when the index is below the lower one. */
enum x_result x_bound(struct vcpu *v, const struct insn *i)
{
    u64 low, high, ea = insn_ea(v, i);
    u32 n = i->opsize;
    s64 idx = (s64)sign_extend(v->gpr[i->op[0].reg], n);
    if (seg_read(v, i->seg, ea, &low, n)) return X_FAULT;
    if (idx < (s64)sign_extend(low, n)) return vcpu_raise(v, EXC_BR);
    if (seg_read(v, i->seg, (ea + n) & mask_bytes(i->addrsize), &high, n)) return X_FAULT;
    return idx > (s64)sign_extend(high, n) ? vcpu_raise(v, EXC_BR) : X_NEXT;
}

/* Raise the RPL of the destination selector to the source's; ZF tells whether it was lower. */
static u16 raise_rpl(struct vcpu *v, u16 sel, u16 than)
{
    bool lower = (sel & 3) < (than & 3);
    v->rflags = (v->rflags & ~(u64)RFLAGS_ZF) | (lower ? RFLAGS_ZF : 0);
    return lower ? (u16)((sel & ~3) | (than & 3)) : sel;
}

/* Memory is read first, and written only where it changes, as processors do. */
enum x_result x_arpl(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    u64 old = 0;
    u16 src = (u16)v->gpr[i->op[1].reg];
    if (i->op[0].kind == OPND_REG) {
        gpr_write(v, i->op[0].reg, raise_rpl(v, (u16)v->gpr[i->op[0].reg], src), 2);
        return X_NEXT;
    }
    if (seg_read(v, i->seg, insn_ea(v, i), &old, 2)) return X_FAULT;
    if ((old & 3) < (src & 3)) {
        u16 raised = (u16)((old & ~3ull) | (src & 3));
        if (seg_linear(v, i->seg, insn_ea(v, i), 2, OPND_W, &lin)) return X_FAULT;
        if (vcpu_write(v, lin, &raised, 2)) return X_FAULT;
    }
    raise_rpl(v, (u16)old, src);
    return X_NEXT;
}
