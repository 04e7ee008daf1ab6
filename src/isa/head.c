/* head.c - see head.h. */
#include "isa/head.h"

#include <string.h>

/* ---- measuring ------------------------------------------------------------------------------- */

/* Of an opcode. ODD: not measured here - those of other modes, 8F (XOP), A0-A3, 9A, EA, C8 and
 * prefixes in the wrong place; of two bytes 3DNow!, moves of control registers (mod is ignored) and
 * others. */
enum {
    MODRM = 1,
    RM = MODRM | 2, /* ModRM.rm may be any register */
    REG = RM | 4,   /* and so may ModRM.reg */
    ODD = 8,
    PREFIX = ODD | 16,
    VEX = 32, /* not of the tables: its registers are elsewhere */
};
static const u8 one_byte[256] = {
    [0x00 ... 0x03] = REG,
    [0x06 ... 0x07] = ODD,
    [0x08 ... 0x0B] = REG,
    [0x0E] = ODD,
    [0x10 ... 0x13] = REG,
    [0x16 ... 0x17] = ODD,
    [0x18 ... 0x1B] = REG,
    [0x1E ... 0x1F] = ODD,
    [0x20 ... 0x23] = REG,
    [0x26] = PREFIX,
    [0x27] = ODD,
    [0x28 ... 0x2B] = REG,
    [0x2E] = PREFIX,
    [0x2F] = ODD,
    [0x30 ... 0x33] = REG,
    [0x36] = PREFIX,
    [0x37] = ODD,
    [0x38 ... 0x3B] = REG,
    [0x3E] = PREFIX,
    [0x3F] = ODD,
    [0x40 ... 0x4F] = ODD, /* REX, or INC and DEC */
    [0x60 ... 0x62] = ODD,
    [0x63] = REG,
    [0x64 ... 0x67] = PREFIX,
    [0x69] = REG,
    [0x6B] = REG,
    [0x80 ... 0x83] = RM,
    [0x84 ... 0x8B] = REG,
    [0x8C] = MODRM,
    [0x8D] = REG,
    [0x8E] = MODRM,
    [0x8F] = ODD,
    [0x9A] = ODD,
    [0xA0 ... 0xA3] = ODD,
    [0xC0 ... 0xC1] = RM,
    [0xC4 ... 0xC5] = ODD,
    [0xC6 ... 0xC7] = RM,
    [0xC8] = ODD,
    [0xD0 ... 0xD3] = RM,
    [0xD8 ... 0xDF] = MODRM,
    [0xEA] = ODD,
    [0xF0] = PREFIX,
    [0xF2 ... 0xF3] = PREFIX,
    [0xF6 ... 0xF7] = RM,
    [0xFE ... 0xFF] = RM,
};
static const u8 two_byte[256] = {
    /* after 0F; 38 and 3A are seen to */
    [0x00 ... 0x03] = MODRM,
    [0x04] = ODD,
    [0x0A] = ODD,
    [0x0C] = ODD,
    [0x0D] = MODRM,
    [0x0E ... 0x0F] = ODD,
    [0x10 ... 0x17] = REG,
    [0x18 ... 0x1F] = MODRM,
    [0x20 ... 0x27] = ODD,
    [0x28 ... 0x2F] = REG,
    [0x39] = ODD,
    [0x3B ... 0x3F] = ODD,
    [0x40 ... 0x70] = REG,
    [0x71 ... 0x73] = MODRM,
    [0x74 ... 0x76] = REG,
    [0x78 ... 0x79] = MODRM,
    [0x7A ... 0x7B] = MODRM,
    [0x7C ... 0x7F] = REG,
    [0x90 ... 0x9F] = RM,
    [0xA3 ... 0xA5] = REG,
    [0xA6 ... 0xA7] = ODD,
    [0xAB] = REG,
    [0xAC ... 0xAD] = REG,
    [0xAE] = MODRM,
    [0xAF] = REG,
    [0xB0 ... 0xB1] = REG,
    [0xB2] = MODRM,
    [0xB3] = REG,
    [0xB4 ... 0xB5] = MODRM,
    [0xB6 ... 0xB8] = REG,
    [0xB9] = MODRM,
    [0xBA] = RM,
    [0xBB ... 0xBF] = REG,
    [0xC0 ... 0xC2] = REG,
    [0xC3] = REG,
    [0xC4 ... 0xC6] = REG,
    [0xC7] = MODRM,
    [0xD0 ... 0xFE] = REG,
    [0xFF] = MODRM,
};

/* The prefix of VEX or EVEX at code[*n - 1], *n moved past the opcode. */
static u8 take_vex(struct insn_head *h, const u8 *code, u32 *n)
{
    const u8 first = code[*n - 1], map = first == 0xC5 ? 1 : code[*n] & 0x1F;
    *n += first == 0xC5 ? 1 : first == 0xC4 ? 2 : 3;
    h->op_at = (u8)*n;
    const u8 op = code[(*n)++];
    return first != 0x62 && map == 1 && op == 0x77 ? VEX : VEX | MODRM;
}

/* The opcode at code[*n], *n moved past it. */
static u8 take_opcode(struct insn_head *h, const u8 *code, u32 *n, bool is32)
{
    const u8 op = code[(*n)++];
    if (op == 0x0F) {
        const u8 second = code[(*n)++];
        if (second != 0x38 && second != 0x3A) return two_byte[second];
        (*n)++;
        return MODRM;
    }
    if (is32) return (op & 0xF0) == 0x40 ? 0 : one_byte[op];
    if (!h->rex && (op == 0x62 || op == 0xC4 || op == 0xC5)) return take_vex(h, code, n);
    return one_byte[op];
}

/* What of ModRM and SIB, at code[h->modrm_at], is no part of the key: bits of the two bytes, and of
 * REX in bits 18:16. The bytes of displacement go into *h. */
static u32 free_bits(struct insn_head *h, const u8 *code, u8 kind)
{
    const u8 modrm = code[h->modrm_at], sib = code[h->modrm_at + 1], mod = modrm >> 6;
    const bool has_sib = mod != 3 && (modrm & 7) == 4;
    const u8 base = has_sib ? sib & 7 : modrm & 7;
    u32 bits = 0;
    h->disp_bytes = mod == 1 ? 1 : mod == 2 || (mod == 0 && base == 5) ? 4 : 0;
    if (kind & VEX) return 0;
    if (kind == REG) {
        h->any |= HEAD_ANY_REG;
        bits |= 0x40038;
    }
    if (mod == 3) {
        if (!(kind & RM & ~MODRM)) return bits;
        h->any |= HEAD_ANY_RM;
        return bits | 0x10007;
    }
    if (mod || base != 5) {
        h->any |= HEAD_ANY_BASE;
        bits |= has_sib ? 0x10700 : 0x10007;
    }
    if (has_sib && ((sib & 0x38) != 0x20 || h->rex & 2)) {
        h->any |= HEAD_ANY_INDEX;
        bits |= 0x2F800;
    }
    return bits;
}

/* The opcode, ModRM and SIB, and the key without the length. Returns false when it is not measured.
 */
static bool measure(struct insn_head *h, const u8 *code, u32 n, bool is32)
{
    u32 bits = 0;
    h->op_at = (u8)n;
    const u8 kind = take_opcode(h, code, &n, is32);
    if (kind & ODD) return false;
    if (kind & MODRM) {
        h->modrm_at = (u8)n;
        bits = free_bits(h, code, kind);
        n += code[n] < 0xC0 && (code[n] & 7) == 4 ? 2 : 1;
    }
    if (n > HEAD_BYTES_MAX) return false;
    h->len = (u8)n;
    memcpy(&h->key, code, sizeof h->key);
    h->key &= ~0ull >> (64 - 8 * n);
    h->key &= ~((u64)(bits & 0xFFFF) << 8 * h->modrm_at);
    if (h->rex) h->key &= ~((u64)(bits >> 16) << 8 * (h->op_at - 1u));
    return true;
}

bool isa_head(struct insn_head *h, const u8 *code, u32 avail, enum isa_mode mode)
{
    const bool is32 = mode == ISA_32;
    u32 n = 0;
    *h = (struct insn_head){0};
    for (; (one_byte[code[n]] & PREFIX) == PREFIX; n++)
        if (n == HEAD_BYTES_MAX || (is32 && code[n] == 0x67)) return false;
    if (!is32 && (code[n] & 0xF0) == 0x40) h->rex = code[n++];
    if (n + 2 > HEAD_BYTES_MAX || !measure(h, code, n, is32)) return false;
    h->key |= (u64)(h->len | (is32 ? 0x80 : 0)) << 56;
    return (u32)h->len + h->disp_bytes <= avail;
}

/* ---- shapes ---------------------------------------------------------------------------------- */

/* @bytes of a number, little-endian; eight are readable. */
static u64 number(const u8 *at, u32 bytes, bool is_signed)
{
    u64 val;
    memcpy(&val, at, sizeof val);
    const u32 unused = 64 - 8 * bytes;
    return is_signed ? (u64)((s64)(val << unused) >> unused) : val << unused >> unused;
}

static void put_reg(struct insn_opnd *o, u8 n, u8 rex)
{
    if (o->file == RF_MMX) n &= 7;
    if (o->file == RF_GPR || o->file == RF_GPR_HIGH) {
        const bool high = o->bytes == 1 && !rex && n >= 4;
        o->file = high ? RF_GPR_HIGH : RF_GPR;
        if (high) n -= 4;
    }
    o->reg = n;
}

/* What the key leaves out. */
static void put_numbers(const struct insn_shape *s, const struct insn_head *h, struct insn *out,
                        const u8 *code)
{
    const u8 modrm = code[h->modrm_at], sib = code[h->modrm_at + 1];
    const bool has_sib = modrm < 0xC0 && (modrm & 7) == 4;
    const u8 rm = (u8)(((has_sib ? sib : modrm) & 7) | (h->rex & 1) << 3);
    out->modrm = modrm;
    if (s->reg_op < INSN_OPNDS)
        put_reg(&out->op[s->reg_op], (u8)((modrm >> 3 & 7) | (h->rex & 4) << 1), h->rex);
    if (s->rm_op < INSN_OPNDS) put_reg(&out->op[s->rm_op], rm, h->rex);
    if (h->any & HEAD_ANY_BASE) {
        out->base = rm;
        if (out->mode == ISA_64 ? out->seg < FS : !(out->prefixes & PFX_SEG))
            out->seg = rm == RSP || rm == RBP ? SS : DS;
    }
    if (h->any & HEAD_ANY_INDEX) {
        out->index = (u8)((sib >> 3 & 7) | (h->rex & 2) << 2);
        out->scale = sib >> 6;
    }
}

/* The instruction at @code, which has the key of @s; 8 bytes behind the 15 are readable, too. */
static void shape_apply(const struct insn_shape *s, const struct insn_head *h, struct insn *out,
                        const u8 *code)
{
    const u32 len = s->insn.len;
    u64 half[2];
    memcpy(half, code, sizeof half);
    if (len <= 8) half[0] &= ~0ull >> (64 - 8 * len);
    half[1] = len <= 8 ? 0 : half[1] & ~0ull >> (128 - 8 * len);
    *out = s->insn;
    memcpy(out->bytes, half, sizeof out->bytes);
    if (s->disp_bytes)
        out->disp = (s64)(number(code + h->len, s->disp_bytes, true) << s->disp_scale);
    if (s->imm_bytes)
        out->imm = number(code + out->len - s->imm_bytes, s->imm_bytes, s->imm_signed);
    if (h->any) put_numbers(s, h, out, code);
}

/* Registers of the @p-th of the instructions a shape is tried with. */
enum { PROBES = 8 };
static void probe_numbers(const struct insn_head *h, u8 *code, u32 p)
{
    static const u8 number_of[PROBES] = {4, 13, 1, 7, 10, 2, 15, 5};
    u8 reg = number_of[p], rm = number_of[(p + 3) % PROBES], index = number_of[(p + 5) % PROBES];
    u8 *modrm = &code[h->modrm_at], *rex = &code[h->op_at - 1u];
    const bool sib = *modrm < 0xC0 && (*modrm & 7) == 4;
    if (h->any & HEAD_ANY_BASE && *modrm < 0x40 && (rm & 7) == 5) rm++;
    if (h->any & HEAD_ANY_BASE && !sib && (rm & 7) == 4) rm--;
    if (index == 4) index++;
    if (h->any & HEAD_ANY_REG) *modrm = (u8)((*modrm & 0xC7) | (reg & 7) << 3);
    if (h->any & (HEAD_ANY_RM | HEAD_ANY_BASE)) {
        if (sib) modrm[1] = (u8)((modrm[1] & 0xF8) | (rm & 7));
        else *modrm = (u8)((*modrm & 0xF8) | (rm & 7));
    }
    if (h->any & HEAD_ANY_INDEX) modrm[1] = (u8)((modrm[1] & 7) | (index & 7) << 3 | (p & 3) << 6);
    if (!h->rex) return;
    if (h->any & HEAD_ANY_REG) *rex = (u8)((*rex & ~4) | (reg & 8) >> 1);
    if (h->any & HEAD_ANY_INDEX) *rex = (u8)((*rex & ~2) | (index & 8) >> 2);
    if (h->any & (HEAD_ANY_RM | HEAD_ANY_BASE)) *rex = (u8)((*rex & ~1) | rm >> 3);
}

/* Is the instruction at @code, of the same key, what its shape says it is? */
static bool holds(const struct insn_shape *s, const u8 *code, enum isa_mode mode)
{
    struct insn made, other;
    struct insn_head h;
    if (!isa_head(&h, code, INSN_BYTES_MAX, mode) || h.key != s->insn.head) return false;
    if (isa_decode(&other, code, INSN_BYTES_MAX, mode) != s->insn.len) return false;
    other.head = h.key;
    shape_apply(s, &h, &made, code);
    return !memcmp(&made, &other, sizeof made);
}

/* The operand of @i that the bits @flip of its ModRM byte name. */
static u8 operand_of(const struct insn_head *h, const struct insn *i, u8 flip)
{
    struct insn other;
    u8 code[INSN_BYTES_MAX], k = 0;
    memcpy(code, i->bytes, sizeof code);
    code[h->modrm_at] ^= flip;
    if (isa_decode(&other, code, sizeof code, (enum isa_mode)i->mode) <= 0) return INSN_OPNDS;
    while (k < i->opnds && i->op[k].reg == other.op[k].reg) k++;
    return k < i->opnds && i->op[k].kind == OPND_REG ? k : INSN_OPNDS;
}

/* Whether the numbers that @h leaves out are all that tells @i from others with its key, found out
 * by decoding some of them; if not, s->insn.len becomes 0. */
static void shape_fill(struct insn_shape *s, const struct insn_head *h, const struct insn *i)
{
    const enum isa_mode mode = (enum isa_mode)i->mode;
    const u32 imm_bytes = (u32)i->len - h->len - h->disp_bytes;
    struct insn all;
    u8 code[INSN_BYTES_MAX + 8];
    *s = (struct insn_shape){.key = h->key, .disp_bytes = h->disp_bytes};
    memset(code, 0xFF, sizeof code);
    memcpy(code, i->bytes, h->len);
    if (imm_bytes > 8 || imm_bytes & (imm_bytes - 1)) return;
    if (isa_decode(&all, code, INSN_BYTES_MAX, mode) != i->len) return;
    s->imm_bytes = (u8)imm_bytes;
    s->imm_signed = all.imm == ~0ull;
    s->disp_scale = all.disp < 0 ? (u8)__builtin_ctzll((u64)all.disp) : 0;
    s->reg_op = h->any & HEAD_ANY_REG ? operand_of(h, i, 1 << 3) : INSN_OPNDS;
    s->rm_op = h->any & HEAD_ANY_RM ? operand_of(h, i, 1) : INSN_OPNDS;
    s->insn = *i;
    s->insn.head = h->key;
    bool ok = holds(s, code, mode);
    for (u32 p = 0; p < PROBES && ok && h->any; p++) {
        if (p) memcpy(code, i->bytes, INSN_BYTES_MAX);
        probe_numbers(h, code, p);
        ok = holds(s, code, mode);
    }
    if (!ok) s->insn.len = 0;
}

int isa_decode_shaped(struct insn_shape *shape, struct insn *out, const u8 *bytes, u32 avail,
                      enum isa_mode mode)
{
    struct insn_head h;
    u8 code[INSN_BYTES_MAX + 9] = {0};
    if (likely(avail >= INSN_BYTES_MAX)) memcpy(code, bytes, INSN_BYTES_MAX);
    else memcpy(code, bytes, avail);
    if (mode == ISA_16 || !isa_head(&h, code, avail, mode))
        return isa_decode(out, code, avail, mode);
    struct insn_shape *s = &shape[isa_shape_index(h.key)];
    if (likely(s->key == h.key && s->insn.len && s->insn.len <= avail)) {
        shape_apply(s, &h, out, code);
        return out->len;
    }
    int len = isa_decode(out, code, avail, mode);
    if (len <= 0 || s->key == h.key) return len;
    shape_fill(s, &h, out);
    if (s->insn.len) out->head = h.key;
    return len;
}
