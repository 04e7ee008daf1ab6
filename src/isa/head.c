/* head.c - see head.h. */
#include "isa/head.h"

#include <string.h>

/* Opcodes by row of sixteen, bit n for column n. */
static const u16 modrm_one[16] = {0x0F0F, 0x0F0F, 0x0F0F, 0x0F0F, 0,      0,      0x0A08, 0,
                                  0x7FFF, 0,      0,      0,      0x00C3, 0xFF0F, 0,      0xC0C0};
static const u16 modrm_two[16] = {0x200F, 0xFFFF, 0xFF0F, 0,      0xFFFF, 0xFFFF, 0xFFFF, 0xFF7F,
                                  0,      0xFFFF, 0xF838, 0xFFFF, 0x00FF, 0xFFFF, 0xFFFF, 0xFFFF};
/* Not measured. One byte: those of other modes, 62, 8F (XOP), A0-A3, C4, C5, C8 and prefixes in the
 * wrong place; two: 0F 04, 0A, 0C, 0E, 0F, 24-27, moves of control registers (mod is ignored). */
static const u16 odd_one[16] = {0xC0C0, 0xC0C0, 0xC0C0, 0xC0C0, 0xFFFF, 0, 0x00F7, 0,
                                0x8000, 0x0400, 0x000F, 0,      0x0130, 0, 0x0400, 0x000D};
static const u16 odd_two[16] = {0xD410, 0, 0x00FF, 0xFF00, 0, 0, 0, 0, 0, 0, 0x00C0, 0, 0, 0, 0, 0};

static bool has(const u16 *rows, u8 opcode) { return rows[opcode >> 4] >> (opcode & 15) & 1; }

static bool is_prefix(u8 b)
{
    return b == 0x66 || b == 0x67 || b == 0xF2 || b == 0xF3 || b == 0xF0 || b == 0x2E ||
           b == 0x36 || b == 0x3E || b == 0x26 || b == 0x64 || b == 0x65;
}

/* The opcode at code[*n], *n moved past it. Returns 0: not measured, 1: no ModRM, 2: ModRM. */
static u32 take_opcode(const u8 *code, u32 *n)
{
    u8 op = code[(*n)++];
    if (op != 0x0F) return has(odd_one, op) ? 0 : 1u + has(modrm_one, op);
    op = code[(*n)++];
    if (op == 0x38 || op == 0x3A) {
        (*n)++;
        return 2;
    }
    return has(odd_two, op) ? 0 : 1u + has(modrm_two, op);
}

/* ModRM and SIB at code[*n]. Returns the bytes of displacement. */
static u8 take_modrm(const u8 *code, u32 *n)
{
    const u8 modrm = code[(*n)++], mod = modrm >> 6, rm = modrm & 7;
    if (mod == 3) return 0;
    const u8 base = rm == 4 ? code[(*n)++] & 7 : rm;
    if (mod == 0) return base == 5 ? 4 : 0;
    return mod == 1 ? 1 : 4;
}

bool isa_head(struct insn_head *h, const u8 *code, u32 avail)
{
    u8 b[INSN_BYTES_MAX + 8] = {0};
    u32 n = 0;
    memcpy(b, code, min_u64(avail, INSN_BYTES_MAX));
    while (n < HEAD_BYTES_MAX && is_prefix(b[n])) n++;
    if ((b[n] & 0xF0) == 0x40) n++;
    if (n + 2 > HEAD_BYTES_MAX) return false;
    u32 kind = take_opcode(b, &n);
    if (!kind) return false;
    h->disp_bytes = kind == 2 ? take_modrm(b, &n) : 0;
    h->len = (u8)n;
    if (n > HEAD_BYTES_MAX || n + h->disp_bytes > avail) return false;
    u64 key = 0;
    memcpy(&key, b, n);
    h->key = key | (u64)n << 56;
    return true;
}

/* @bytes of a number, little-endian. */
static u64 number(const u8 *at, u32 bytes, bool is_signed)
{
    u64 val = 0;
    if (!bytes) return 0;
    memcpy(&val, at, bytes);
    const u32 unused = 64 - 8 * bytes;
    return is_signed ? (u64)((s64)(val << unused) >> unused) : val;
}

/* The instruction at @code, which has the head of @s. */
static void shape_apply(const struct insn_shape *s, struct insn *out, const u8 *code)
{
    *out = s->insn;
    memcpy(out->bytes, code, out->len);
    if (s->disp_bytes) out->disp = (s64)number(code + s->disp_at, s->disp_bytes, true);
    if (s->imm_bytes)
        out->imm = number(code + out->len - s->imm_bytes, s->imm_bytes, s->imm_signed);
}

/* Keep @i if its two numbers are all that tells it from others with its head: an instruction with
 * every bit of them set, decoded, shows that, and whether the immediate has a sign. */
static void shape_fill(struct insn_shape *s, const struct insn_head *h, const struct insn *i)
{
    struct insn other, made;
    const u32 imm_bytes = (u32)i->len - h->len - h->disp_bytes;
    u8 code[INSN_BYTES_MAX];
    s->key = 0;
    if (imm_bytes > 8 || imm_bytes & (imm_bytes - 1)) return;
    memset(code, 0xFF, sizeof code);
    memcpy(code, i->bytes, h->len);
    if (isa_decode(&other, code, sizeof code, ISA_64) != i->len) return;
    *s = (struct insn_shape){.imm_bytes = (u8)imm_bytes,
                             .imm_signed = other.imm == ~0ull,
                             .disp_at = h->len,
                             .disp_bytes = h->disp_bytes,
                             .insn = *i};
    shape_apply(s, &made, code);
    if (!memcmp(&made, &other, sizeof made)) s->key = h->key;
}

int isa_decode_shaped(struct insn_shape *shape, struct insn *out, const u8 *code, u32 avail)
{
    struct insn_head h;
    if (!isa_head(&h, code, avail)) return isa_decode(out, code, avail, ISA_64);
    struct insn_shape *s = &shape[isa_shape_index(h.key)];
    if (s->key == h.key && s->insn.len <= avail) {
        shape_apply(s, out, code);
        return out->len;
    }
    int len = isa_decode(out, code, avail, ISA_64);
    if (len > 0) shape_fill(s, &h, out);
    return len;
}
