/* isa/respell.c - see respell.h. An instruction is taken apart into a draft (prefixes, opcode, the
 * register numbers by field, trailing immediate bytes), the numbers are replaced, and the draft is
 * spelled out again. Where the 64-bit mode defaults differ from the source mode's, the operand-size
 * prefix or the W bit is tried both ways and the decoder says which is right. */
#include "isa/respell.h"

#include <Zydis/Zydis.h>
#include <string.h>

enum form { FORM_LEGACY, FORM_VEX, FORM_XOP, FORM_EVEX };

struct draft {
    u8 legacy[4], legacy_n; /* 66, F0, F2, F3: each at most once */
    u8 form;                /* enum form */
    u8 payload[3];          /* VEX, XOP: two bytes; EVEX: three */
    u8 op[3], op_n;         /* legacy: escapes and opcode; else the opcode */
    bool modrm, mem, rex_w;
    bool byte_rex; /* SPL..DIL: a REX prefix must be there */
    bool high;     /* AH..BH: a REX prefix must not be there */
    u8 reg, rm, vvvv;
    s8 op_reg; /* register in the opcode's low bits, -1 when none */
    u8 tail[8], tail_n;
    u8 base, index; /* index: REG_NONE when there is none */
    s32 disp;
};

struct source {
    ZydisDecodedInstruction insn;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

static bool decode(struct source *s, const u8 *bytes, u32 len, enum isa_mode mode)
{
    static const ZydisMachineMode machine[] = {
        ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth stack[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                            ZYDIS_STACK_WIDTH_64};
    ZydisDecoder d;
    if (!ZYAN_SUCCESS(ZydisDecoderInit(&d, machine[mode], stack[mode]))) return false;
    return ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, bytes, len, &s->insn, s->op));
}

static bool is_gpr(ZydisRegister r)
{
    ZydisRegisterClass c = ZydisRegisterGetClass(r);
    return c >= ZYDIS_REGCLASS_GPR8 && c <= ZYDIS_REGCLASS_GPR64;
}
static bool is_high_byte(ZydisRegister r)
{
    return r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH;
}

/* Number of a general register whatever its width. */
static u8 gpr_number(ZydisRegister r)
{
    ZydisRegister full = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
    return (u8)ZydisRegisterGetId(full) & 15;
}

static u8 new_number(struct draft *d, ZydisRegister r, const struct respell_map *map)
{
    if (!is_gpr(r)) return (u8)ZydisRegisterGetId(r) & 31;
    u8 n = map->gpr[gpr_number(r)] & 15;
    if (is_high_byte(r)) {
        d->high = true;
        return (u8)(n < 4 ? n + 4 : 0xFF);
    }
    if (ZydisRegisterGetClass(r) == ZYDIS_REGCLASS_GPR8 && n >= 4) d->byte_rex = true;
    return n;
}

static void add_legacy(struct draft *d, u8 byte)
{
    for (u32 i = 0; i < d->legacy_n; i++) {
        if (d->legacy[i] != byte) continue;
        memmove(d->legacy + i, d->legacy + i + 1, d->legacy_n - i - 1u);
        d->legacy_n--;
        break;
    }
    if (d->legacy_n < sizeof d->legacy) d->legacy[d->legacy_n++] = byte;
}

/* Legacy and REX prefixes; returns the offset of what follows. */
static u32 take_prefixes(struct draft *d, const u8 *b, u32 len, enum isa_mode mode)
{
    u32 p = 0;
    for (; p < len; p++) {
        switch (b[p]) {
        case 0x66:
        case 0xF0:
        case 0xF2:
        case 0xF3: add_legacy(d, b[p]); continue;
        case 0x67:
        case 0x26:
        case 0x2E:
        case 0x36:
        case 0x3E:
        case 0x64:
        case 0x65: continue;
        default: break;
        }
        if (mode != ISA_64 || (b[p] & 0xF0) != 0x40) break;
        if (p + 1 < len && !memchr("\x66\x67\xF0\xF2\xF3\x26\x2E\x36\x3E\x64\x65", b[p + 1], 11) &&
            (b[p + 1] & 0xF0) != 0x40) {
            d->rex_w = b[p] >> 3 & 1;
            return p + 1;
        }
    }
    return p;
}

/* The VEX, XOP or EVEX prefix, or the legacy escapes, and the opcode. Returns the offset after the
 * opcode. */
static u32 take_opcode(struct draft *d, const struct source *s, const u8 *b, u32 p)
{
    switch (s->insn.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
        d->form = FORM_VEX;
        if (b[p] == 0xC5) {
            d->payload[0] = 0x61;
            d->payload[1] = b[p + 1] & 0x7F;
            p += 2;
            break;
        }
        /* fallthrough */
    case ZYDIS_INSTRUCTION_ENCODING_XOP:
        if (b[p] == 0x8F) d->form = FORM_XOP;
        memcpy(d->payload, b + p + 1, 2);
        p += 3;
        break;
    case ZYDIS_INSTRUCTION_ENCODING_EVEX:
        d->form = FORM_EVEX;
        memcpy(d->payload, b + p + 1, 3);
        p += 4;
        break;
    default:
        if (b[p] != 0x0F) break;
        d->op[d->op_n++] = b[p++];
        if (b[p] == 0x38 || b[p] == 0x3A) d->op[d->op_n++] = b[p++];
    }
    d->op[d->op_n++] = b[p];
    return p + 1;
}

static bool take_operand(struct draft *d, const ZydisDecodedOperand *o,
                         const struct respell_map *map)
{
    if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
        bool vsib = o->mem.type == ZYDIS_MEMOP_TYPE_VSIB || o->mem.type == ZYDIS_MEMOP_TYPE_MIB;
        if (vsib || (o->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM &&
                     o->encoding != ZYDIS_OPERAND_ENCODING_DISP16_32_64))
            return false;
        d->mem = true;
        return true;
    }
    if (o->type != ZYDIS_OPERAND_TYPE_REGISTER) return o->type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
    ZydisRegisterClass c = ZydisRegisterGetClass(o->reg.value);
    if (c == ZYDIS_REGCLASS_SEGMENT || c == ZYDIS_REGCLASS_CONTROL || c == ZYDIS_REGCLASS_DEBUG)
        return false;
    if (o->encoding == ZYDIS_OPERAND_ENCODING_NONE) return true;
    u8 n = new_number(d, o->reg.value, map);
    if (n == 0xFF) return false;
    switch (o->encoding) {
    case ZYDIS_OPERAND_ENCODING_MODRM_REG: d->reg = n; break;
    case ZYDIS_OPERAND_ENCODING_MODRM_RM: d->rm = n; break;
    case ZYDIS_OPERAND_ENCODING_NDSNDD: d->vvvv = n; break;
    case ZYDIS_OPERAND_ENCODING_OPCODE: d->op_reg = (s8)n; break;
    case ZYDIS_OPERAND_ENCODING_IS4: /* bit 7 is ignored where there are eight registers */
        d->tail[0] = (u8)((d->tail[0] & 0x0F) | (n & 15) << 4);
        break;
    case ZYDIS_OPERAND_ENCODING_MASK: break;
    default: return false;
    }
    return true;
}

/* Encodings that exist only outside 64-bit mode, and moffs, which has no register form of address.
 */
static void modernise(struct draft *d, const struct source *s, enum isa_mode mode,
                      const struct respell_map *map)
{
    u8 op = d->op[0];
    bool lengths = s->insn.mnemonic == ZYDIS_MNEMONIC_VPCMPESTRI ||
                   s->insn.mnemonic == ZYDIS_MNEMONIC_VPCMPESTRM;
    if (lengths && mode != ISA_64) d->payload[1] &= 0x7F; /* EAX and EDX, whatever W says */
    if (d->form != FORM_LEGACY || d->op_n != 1) return;
    if (op >= 0x90 && op <= 0x97) { /* F3 90 is PAUSE, whatever REX says */
        bool word = memchr(d->legacy, 0x66, d->legacy_n) != NULL;
        d->legacy[0] = 0x66;
        d->legacy_n = word;
    }
    if (op >= 0xA0 && op <= 0xA3 && s->insn.raw.modrm.offset == 0) {
        static const u8 general[] = {0x8A, 0x8B, 0x88, 0x89};
        d->op[0] = general[op - 0xA0];
        d->modrm = true;
        d->reg = map->gpr[RAX];
        d->byte_rex = !(op & 1) && d->reg >= 4;
    } else if (mode != ISA_64 && op >= 0x40 && op <= 0x4F) {
        d->op[0] = 0xFF;
        d->modrm = true;
        d->reg = op >> 3 & 1;
        d->rm = (u8)d->op_reg;
        d->op_reg = -1;
    } else if (mode != ISA_64 && op == 0x82) {
        d->op[0] = 0x80;
    }
}

static bool take_apart(struct draft *d, const struct source *s, const u8 *b, enum isa_mode mode,
                       const struct respell_map *map)
{
    const ZydisDecodedInstruction *zi = &s->insn;
    u32 len = zi->length;
    *d = (struct draft){
        .op_reg = -1, .base = map->base & 15, .index = map->index, .disp = map->disp};
    u32 p = take_opcode(d, s, b, take_prefixes(d, b, len, mode));
    if (zi->attributes & ZYDIS_ATTRIB_HAS_MODRM) {
        d->modrm = true;
        d->reg = zi->raw.modrm.reg;
        d->rm = zi->raw.modrm.rm;
        p = zi->raw.modrm.offset + 1u + (zi->raw.sib.offset ? 1u : 0u);
    }
    p += zi->raw.disp.size / 8u;
    if (p > len || len - p > sizeof d->tail) return false;
    d->tail_n = (u8)(len - p);
    memcpy(d->tail, b + p, d->tail_n);
    for (u32 i = 0; i < zi->operand_count; i++) {
        if (s->op[i].visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) {
            if (s->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY) return false;
            continue;
        }
        if (!take_operand(d, &s->op[i], map)) return false;
    }
    if (!zi->operand_count_visible && d->modrm && zi->raw.modrm.mod != 3) return false;
    modernise(d, s, mode, map);
    return true;
}

/* ModRM, SIB and displacement. [base] needs a SIB for RSP and R12, a displacement for RBP and R13.
 */
static u32 put_modrm(const struct draft *d, u8 *out)
{
    u32 n = 0;
    u8 reg = (u8)((d->reg & 7) << 3);
    if (!d->mem) {
        out[n++] = (u8)(0xC0 | reg | (d->rm & 7));
        return n;
    }
    bool wide = d->disp != 0, zero = !wide && (d->base & 7) == 5;
    u8 mod = wide ? 0x80 : zero ? 0x40 : 0;
    if (d->index != REG_NONE || (d->base & 7) == 4) {
        out[n++] = mod | reg | 4;
        out[n++] = (u8)((d->index == REG_NONE ? 4 : d->index & 7) << 3 | (d->base & 7));
    } else {
        out[n++] = (u8)(mod | reg | (d->base & 7));
    }
    if (zero) out[n++] = 0;
    if (wide) {
        memcpy(out + n, &d->disp, 4);
        n += 4;
    }
    return n;
}

static bool high_index(const struct draft *d)
{
    return d->mem && d->index != REG_NONE && d->index & 8;
}

static u32 put_lead(const struct draft *d, u8 *out)
{
    static const u8 lead[] = {0, 0xC4, 0x8F, 0x62};
    u8 b = d->mem ? d->base : d->rm, *p0 = out + 1, *p1 = out + 2;
    out[0] = lead[d->form];
    memcpy(out + 1, d->payload, d->form == FORM_EVEX ? 3 : 2);
    *p0 = (u8)((*p0 & 0x1F) | (d->reg & 8 ? 0 : 0x80) | (high_index(d) ? 0 : 0x40) |
               (b & 8 ? 0 : 0x20));
    *p1 = (u8)((*p1 & 0x87) | (~d->vvvv & 15) << 3);
    if (d->form != FORM_EVEX) return 3;
    *p0 = (u8)((*p0 & ~0x10) | (d->reg & 16 ? 0 : 0x10));
    if (!d->mem && d->rm & 16) *p0 &= (u8)~0x40;
    out[3] = (u8)((out[3] & ~8) | (d->vvvv & 16 ? 0 : 8));
    return 4;
}

/* Returns 0 when a high-byte register meets a REX prefix. */
static u32 put_legacy_lead(const struct draft *d, u8 *out)
{
    u32 n = 0;
    u8 b = d->op_reg >= 0 ? (u8)d->op_reg : d->modrm ? (d->mem ? d->base : d->rm) : 0;
    u8 rex = (u8)((d->rex_w ? 8 : 0) | (d->modrm && d->reg & 8 ? 4 : 0) | (high_index(d) ? 2 : 0) |
                  (b & 8 ? 1 : 0));
    if (rex || d->byte_rex) {
        if (d->high) return 0;
        out[n++] = (u8)(0x40 | rex);
    }
    memcpy(out + n, d->op, d->op_n);
    n += d->op_n;
    if (d->op_reg >= 0) out[n - 1] = (u8)((out[n - 1] & ~7) | (d->op_reg & 7));
    return n;
}

static u32 spell_out(const struct draft *d, u8 out[RESPELL_BYTES_MAX])
{
    u32 n = d->legacy_n;
    memcpy(out, d->legacy, n);
    if (d->form == FORM_LEGACY) {
        u32 lead = put_legacy_lead(d, out + n);
        if (!lead) return 0;
        n += lead;
    } else {
        n += put_lead(d, out + n);
        out[n++] = d->op[0];
    }
    if (d->modrm) n += put_modrm(d, out + n);
    memcpy(out + n, d->tail, d->tail_n);
    return n + d->tail_n;
}

static bool same_memory(const ZydisDecodedOperandMem *m, const struct respell_map *map)
{
    bool index = map->index == REG_NONE ? m->index == ZYDIS_REGISTER_NONE
                                        : m->index != ZYDIS_REGISTER_NONE &&
                                              gpr_number(m->index) == map->index && m->scale == 1;
    return index && gpr_number(m->base) == map->base && m->disp.value == map->disp;
}

static bool same_operand(const ZydisDecodedOperand *a, const ZydisDecodedOperand *b,
                         const struct respell_map *map)
{
    if (a->type != b->type || a->actions != b->actions) return false;
    if (a->type == ZYDIS_OPERAND_TYPE_IMMEDIATE) return a->imm.value.u == b->imm.value.u;
    if (a->size != b->size) return false;
    if (a->type == ZYDIS_OPERAND_TYPE_MEMORY) return same_memory(&b->mem, map);
    if (a->type != ZYDIS_OPERAND_TYPE_REGISTER) return true;
    if (a->reg.value == b->reg.value && b->encoding == ZYDIS_OPERAND_ENCODING_NONE) return true;
    if (!is_gpr(a->reg.value)) return a->reg.value == b->reg.value;
    return is_gpr(b->reg.value) && is_high_byte(a->reg.value) == is_high_byte(b->reg.value) &&
           gpr_number(b->reg.value) == map->gpr[gpr_number(a->reg.value)];
}

static bool same(const struct source *a, const u8 *out, u32 n, const struct respell_map *map)
{
    struct source b;
    if (n > INSN_BYTES_MAX || !decode(&b, out, n, ISA_64)) return false;
    if (b.insn.length != n || b.insn.mnemonic != a->insn.mnemonic ||
        b.insn.operand_count_visible != a->insn.operand_count_visible)
        return false;
    for (u32 i = 0; i < a->insn.operand_count_visible; i++)
        if (!same_operand(&a->op[i], &b.op[i], map)) return false;
    return true;
}

static void toggle_66(struct draft *d)
{
    for (u32 i = 0; i < d->legacy_n; i++) {
        if (d->legacy[i] != 0x66) continue;
        memmove(d->legacy + i, d->legacy + i + 1, d->legacy_n - i - 1u);
        d->legacy_n--;
        return;
    }
    add_legacy(d, 0x66);
}

int respell(u8 out[RESPELL_BYTES_MAX], const u8 *bytes, u32 len, enum isa_mode mode,
            const struct respell_map *map)
{
    struct source s;
    struct draft d;
    if (!decode(&s, bytes, len, mode) || !take_apart(&d, &s, bytes, mode, map)) return 0;
    u32 n = spell_out(&d, out);
    if (n && same(&s, out, n, map)) return (int)n;
    if (mode == ISA_64) return 0;
    if (d.form == FORM_LEGACY) {
        toggle_66(&d);
    } else {
        d.payload[1] &= 0x7F;
    }
    n = spell_out(&d, out);
    return n && same(&s, out, n, map) ? (int)n : 0;
}
