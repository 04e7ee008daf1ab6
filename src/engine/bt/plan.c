/* plan.c - see plan.h. */
#include "engine/bt/plan.h"

#include <string.h>

#include "engine/common/thunk_plan.h"

/* ---- unaligned vector moves
 * ------------------------------------------------------------------------
 */

struct twin {
    u16 mnemonic;
    u8 opcode_add; /* to the opcode: 10, 11 -> 28, 29 */
    u8 opcode;     /* or the opcode itself, 0: no change */
    bool prefix66; /* the mandatory prefix becomes 66 */
};
static const struct twin twins[] = {
    {ZYDIS_MNEMONIC_MOVUPS, 0x18, 0, false},  {ZYDIS_MNEMONIC_MOVUPD, 0x18, 0, false},
    {ZYDIS_MNEMONIC_VMOVUPS, 0x18, 0, false}, {ZYDIS_MNEMONIC_VMOVUPD, 0x18, 0, false},
    {ZYDIS_MNEMONIC_MOVDQU, 0, 0, true},      {ZYDIS_MNEMONIC_VMOVDQU, 0, 0, true},
    {ZYDIS_MNEMONIC_LDDQU, 0, 0x6F, true},    {ZYDIS_MNEMONIC_VLDDQU, 0, 0x6F, true},
    {ZYDIS_MNEMONIC_VMOVDQU8, 0, 0, true},    {ZYDIS_MNEMONIC_VMOVDQU16, 0, 0, true},
    {ZYDIS_MNEMONIC_VMOVDQU32, 0, 0, true},   {ZYDIS_MNEMONIC_VMOVDQU64, 0, 0, true},
};

enum { TWIN_NO_PREFIX = 0xFF, TWIN_LEGACY = 0xFE }; /* twin_at: else of a payload byte */
static void find_twin(struct plan *p, const ZydisDecodedInstruction *z, const u8 *bytes)
{
    if (!z->raw.modrm.offset) return;
    for (u32 k = 0; k < ARRAY_LEN(twins); k++) {
        const struct twin *w = &twins[k];
        if (w->mnemonic != z->mnemonic) continue;
        p->has_twin = true;
        p->twin_op = w->opcode ? w->opcode : (u8)(bytes[p->modrm_at - 1] + w->opcode_add);
        p->twin_at = TWIN_NO_PREFIX;
        if (!w->prefix66) return;
        if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) p->twin_at = z->raw.evex.offset + 2;
        else if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX)
            p->twin_at = z->raw.vex.offset + z->raw.vex.size - 1;
        else p->twin_at = TWIN_LEGACY;
        return;
    }
}

/* The mandatory prefix becomes 66, whichever kind of prefix it is in. */
static void make_twin(const struct plan *p, u8 *b)
{
    b[p->modrm_at - 1] = p->twin_op;
    if (p->twin_at < INSN_BYTES_MAX) b[p->twin_at] = (u8)((b[p->twin_at] & ~3) | 1);
    if (p->twin_at != TWIN_LEGACY) return;
    for (u8 k = 0; k < p->op_at; k++)
        if (b[k] == 0xF2 || b[k] == 0xF3) b[k] = 0x66;
}

/* ---- plans ----------------------------------------------------------------------------------- */

static u8 reg_of(const struct thunk_plan *full)
{
    for (u32 n = 0; n < full->zi.operand_count; n++) {
        const ZydisDecodedOperand *o = &full->op[n];
        if (o->type != ZYDIS_OPERAND_TYPE_REGISTER ||
            o->encoding != ZYDIS_OPERAND_ENCODING_MODRM_REG)
            continue;
        switch (ZydisRegisterGetClass(o->reg.value)) {
        case ZYDIS_REGCLASS_GPR8: return PLAN_REG_BYTE;
        case ZYDIS_REGCLASS_GPR16:
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64: return PLAN_REG_GPR;
        case ZYDIS_REGCLASS_XMM: return PLAN_REG_VEC;
        default: return PLAN_REG_NONE;
        }
    }
    return PLAN_REG_NONE;
}

/* Where the escapes and the opcode begin. */
static u8 op_at(const ZydisDecodedInstruction *z)
{
    const u8 bytes = z->opcode_map == ZYDIS_OPCODE_MAP_DEFAULT ? 1
                     : z->opcode_map == ZYDIS_OPCODE_MAP_0F    ? 2
                                                               : 3;
    return z->raw.modrm.offset > bytes ? z->raw.modrm.offset - bytes : 0;
}

static void plan_make(struct plan *p, struct thunk_plan *full, const struct insn *i)
{
    struct native_thunk facts = {0};
    if (!thunk_plan_make(full, i)) return;
    const ZydisDecodedInstruction *z = &full->zi;
    p->ok = true;
    p->x87 = full->x87;
    p->mem = full->mem != NULL;
    p->high = full->high;
    p->bt_mem = full->bt_mem;
    p->avx512 = full->vec == VEC_EVEX || full->k_used;
    p->avx = full->vec == VEC_VEX;
    p->gpr_used = (u16)full->gpr_used;
    p->gpr_written = (u16)full->gpr_written;
    p->modrm_at = z->raw.modrm.offset;
    p->op_at = op_at(z);
    p->simple = z->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && p->modrm_at;
    p->reg = reg_of(full);
    thunk_plan_describe(&facts, full, NULL, 0);
    p->x87_pointers = facts.flags & THUNK_X87_PTR;
    if (!full->mem) return;
    p->aligned = facts.align;
    p->masked = facts.touch != TOUCH_ALL;
    find_twin(p, z, i->bytes);
}

static bool is_high(const struct insn_opnd *o)
{
    return o->kind == OPND_REG && o->file == RF_GPR_HIGH;
}

/* What is kept of a plan holds for every instruction with its key, so registers that are operands
 * are not in it. */
static void plan_learn(struct plan *p, const struct insn *i)
{
    struct insn_head h;
    struct thunk_plan full;
    *p = (struct plan){.key = i->head};
    plan_make(p, &full, i);
    if (!isa_head(&h, i->bytes, i->len, (enum isa_mode)i->mode)) return; /* cannot be */
    p->head_len = h.len;
    p->imm_bytes = (u8)(i->len - h.len - h.disp_bytes);
    if (!p->ok) return;
    for (u32 k = 0; k < i->opnds; k++) p->high &= !is_high(&i->op[k]);
    p->gpr_used = (u16)full.implicit;
    p->gpr_written = (u16)full.implicit_written;
}
static struct plan *plan_kept(struct plan_cache *c, const struct insn *i)
{
    struct plan *known = &c->plan[isa_shape_index(i->head)];
    if (unlikely(known->key != i->head)) plan_learn(known, i);
    return known;
}

static void add_operands(struct plan *p, const struct insn *i)
{
    for (u32 k = 0; k < i->opnds; k++) {
        const struct insn_opnd *o = &i->op[k];
        if (o->kind != OPND_REG || (o->file != RF_GPR && o->file != RF_GPR_HIGH)) continue;
        p->gpr_used |= (u16)(1u << (o->reg & 15));
        if (o->rw & OPND_W) p->gpr_written |= (u16)(1u << (o->reg & 15));
        p->high |= o->file == RF_GPR_HIGH;
    }
}

void plan_find(struct plan_cache *c, struct plan *p, const struct insn *i)
{
    if (c && i->head) {
        *p = *plan_kept(c, i);
        if (p->ok) add_operands(p, i);
    } else {
        struct thunk_plan full;
        *p = (struct plan){0};
        plan_make(p, &full, i);
    }
}

/* ---- spellings ------------------------------------------------------------------------------- */

static bool is_spelling(const struct spelling *a, const struct spelling *b)
{
    return a->key == b->key && a->base == b->base && a->index == b->index && a->home == b->home &&
           a->of_twin == b->of_twin && a->wide == b->wide;
}
static u32 spelling_index(const struct spelling *s)
{
    return isa_shape_index(s->key + s->base * 4u + s->of_twin + s->wide * 2u + s->index * 64u +
                           s->home * 4096u) %
           SPELLINGS;
}

/* The bytes of its head, and the mode. */
static u64 head_bytes(const struct insn *i, const struct plan *p)
{
    u64 bytes;
    memcpy(&bytes, i->bytes, sizeof bytes);
    return (bytes & ~0ull >> (64 - 8 * p->head_len)) | (i->head & 0xFFull << 56);
}

/* By Zydis, and checked by it. A displacement that is kept has a placeholder of four bytes. */
static bool spell_anew(struct spelling *s, const struct insn *i, const struct plan *p,
                       const struct respell_map *map)
{
    struct respell_map m = *map;
    u8 bytes[INSN_BYTES_MAX];
    memcpy(bytes, i->bytes, sizeof bytes);
    if (s->of_twin) make_twin(p, bytes);
    if (s->wide && s->key) m.disp = 0x5A5A5A5A;
    const int len = respell(s->bytes, bytes, i->len, (enum isa_mode)i->mode, &m);
    if (len <= 0) return false;
    s->imm_bytes = s->key ? p->imm_bytes : 0;
    s->len = (u8)(len - s->imm_bytes);
    return true;
}

static bool spell_known(struct plan_cache *c, struct spelling *s, const struct insn *i,
                        const struct plan *p, const struct respell_map *map)
{
    struct spelling *known = &c->spelling[spelling_index(s)];
    if (is_spelling(known, s)) {
        *s = *known;
    } else {
        if (!spell_anew(s, i, p, map)) return false;
        *known = *s;
    }
    if (s->wide) memcpy(s->bytes + s->len - 4, &map->disp, 4);
    return true;
}

/* ---- spellings put together ------------------------------------------------------------------ */

/* Legacy prefixes but 67 and segments, which are in the address; of the twin 66 for F2, F3. */
static u32 put_prefixes(u8 *out, const struct insn *i, const struct plan *p, bool twin)
{
    u32 n = 0;
    for (u32 k = 0; k < p->op_at; k++) {
        const u8 b = i->bytes[k];
        const bool rep = b == 0xF2 || b == 0xF3;
        if (rep || b == 0x66 || b == 0xF0)
            out[n++] = rep && twin && p->twin_at == TWIN_LEGACY ? 0x66 : b;
    }
    return n;
}

/* ModRM.reg as the host has it, with @rex (R, and whether there must be one) made to fit. Returns
 * REG_NONE where it cannot be spelled. */
static u8 new_reg(const struct insn *i, const struct plan *p, const struct respell_map *map,
                  u8 old_rex, u8 *rex)
{
    u8 reg = i->bytes[p->modrm_at] >> 3 & 7;
    if (p->reg == PLAN_REG_NONE) return reg;
    if (p->reg == PLAN_REG_BYTE && !old_rex && reg >= 4)
        return *rex ? REG_NONE : reg; /* AH to BH */
    reg |= (u8)((old_rex & 4) << 1);
    if (p->reg != PLAN_REG_VEC) reg = map->gpr[reg];
    if (reg & 8) *rex |= 0x44;
    if (p->reg == PLAN_REG_BYTE && reg >= 4) *rex |= 0x40;
    return reg & 7;
}

/* ModRM, SIB and displacement of [base + index + disp]. */
static u32 put_operand(u8 *out, u8 reg, const struct respell_map *map)
{
    const u8 base = map->base & 7, mod = map->disp ? 0x80 : base == 5 ? 0x40 : 0;
    u32 n = 0;
    if (map->index != REG_NONE || base == 4) {
        out[n++] = (u8)(mod | reg << 3 | 4);
        out[n++] = (u8)((map->index == REG_NONE ? 4 : map->index & 7) << 3 | base);
    } else {
        out[n++] = (u8)(mod | reg << 3 | base);
    }
    if (mod == 0x40) out[n++] = 0;
    if (mod != 0x80) return n;
    memcpy(out + n, &map->disp, 4);
    return n + 4;
}

/* The instruction with a memory operand, of which only ModRM and what is near it changes. */
static bool put_together(struct spelling *s, const struct insn *i, const struct plan *p,
                         const struct respell_map *map)
{
    const u8 before = p->op_at && i->mode == ISA_64 ? i->bytes[p->op_at - 1] : 0;
    const u8 old_rex = (before & 0xF0) == 0x40 ? before : 0;
    u8 rex = old_rex & 8 ? 0x48 : 0;
    if (map->base & 8) rex |= 0x41;
    if (map->index != REG_NONE && map->index & 8) rex |= 0x42;
    const u8 reg = new_reg(i, p, map, old_rex, &rex);
    if (reg == REG_NONE) return false;
    u32 n = put_prefixes(s->bytes, i, p, s->of_twin);
    if (rex) s->bytes[n++] = rex;
    for (u32 k = p->op_at; k < p->modrm_at; k++) s->bytes[n++] = i->bytes[k];
    if (s->of_twin) s->bytes[n - 1] = p->twin_op;
    n += put_operand(s->bytes + n, reg, map);
    s->len = (u8)n;
    s->imm_bytes = p->imm_bytes;
    return true;
}

/* It has to be put together right once, for each @form of operand, to be trusted. */
static void prove(struct plan *p, const struct spelling *right, const struct insn *i,
                  const struct respell_map *map, u32 form)
{
    struct spelling s = *right;
    if (put_together(&s, i, p, map) && s.len == right->len && !memcmp(s.bytes, right->bytes, s.len))
        p->sure |= (u8)(1u << form);
    else p->simple = false;
}

bool plan_spell(struct plan_cache *c, struct spelling *s, const struct insn *i,
                const struct plan *twin, const struct respell_map *map)
{
    struct plan *p = c && i->head ? plan_kept(c, i) : NULL;
    s->of_twin = twin;
    s->wide = map->disp;
    s->base = map->base;
    s->index = map->index;
    s->home = map->gpr[R15];
    s->key = p ? head_bytes(i, p) : 0;
    if (!p) return spell_anew(s, i, twin, map);
    const u32 form = s->of_twin | s->wide << 1 | (map->index != REG_NONE) << 2;
    const bool simple = p->simple && map->base != REG_NONE;
    if (likely(simple && p->sure >> form & 1) && put_together(s, i, p, map)) return true;
    if (!spell_known(c, s, i, p, map)) return false;
    if (simple) prove(p, s, i, map, form);
    return true;
}
