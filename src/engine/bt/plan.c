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

/* F3 or F2 of the original becomes 66, in whichever kind of prefix it is. */
static void set_prefix66(const ZydisDecodedInstruction *z, u8 *b)
{
    if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX) {
        b[z->raw.evex.offset + 2] = (u8)((b[z->raw.evex.offset + 2] & ~3) | 1);
    } else if (z->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        u8 at = z->raw.vex.offset + z->raw.vex.size - 1;
        b[at] = (u8)((b[at] & ~3) | 1);
    } else {
        for (u8 k = 0; k < z->raw.prefix_count; k++)
            if (b[k] == 0xF2 || b[k] == 0xF3) b[k] = 0x66;
    }
}
static bool make_twin(const ZydisDecodedInstruction *z, u8 *b)
{
    if (!z->raw.modrm.offset) return false;
    for (u32 k = 0; k < ARRAY_LEN(twins); k++) {
        const struct twin *w = &twins[k];
        if (w->mnemonic != z->mnemonic) continue;
        u8 *op = &b[z->raw.modrm.offset - 1];
        *op = w->opcode ? w->opcode : (u8)(*op + w->opcode_add);
        if (w->prefix66) set_prefix66(z, b);
        return true;
    }
    return false;
}

/* ---- plans ----------------------------------------------------------------------------------- */

static void plan_make(struct plan *p, const struct insn *i)
{
    struct thunk_plan full;
    struct native_thunk facts = {0};
    if (!thunk_plan_make(&full, i)) return;
    p->ok = true;
    p->x87 = full.x87;
    p->mem = full.mem != NULL;
    p->high = full.high;
    p->bt_mem = full.bt_mem;
    p->avx512 = full.vec == VEC_EVEX || full.k_used;
    p->avx = full.vec == VEC_VEX;
    p->gpr_used = (u16)full.gpr_used;
    p->gpr_written = (u16)full.gpr_written;
    thunk_plan_describe(&facts, &full, NULL, 0);
    p->x87_pointers = facts.flags & THUNK_X87_PTR;
    if (!full.mem) return;
    p->aligned = facts.align;
    p->masked = facts.touch != TOUCH_ALL;
    memcpy(p->twin, i->bytes, sizeof p->twin);
    p->has_twin = make_twin(&full.zi, p->twin);
}

void plan_find(struct plan_cache *c, struct plan *p, const struct insn *i)
{
    struct insn_head h;
    bool keep = c && i->mode == ISA_64 && isa_head(&h, i->bytes, i->len);
    struct plan *known = keep ? &c->plan[isa_shape_index(h.key) % PLANS] : NULL;
    if (keep && known->key == h.key) {
        *p = *known;
        return;
    }
    *p = (struct plan){.key = keep ? h.key : 0};
    plan_make(p, i);
    if (keep) *known = *p;
}

/* ---- spellings ------------------------------------------------------------------------------- */

static bool is_spelling(const struct spelling *a, const struct spelling *b)
{
    return a->key == b->key && a->base == b->base && a->index == b->index &&
           a->of_twin == b->of_twin && a->wide == b->wide;
}
static u32 spelling_index(const struct spelling *s)
{
    return isa_shape_index(s->key + s->base * 4u + s->of_twin + s->wide * 2u + s->index * 64u) %
           SPELLINGS;
}

/* A displacement that is kept has a placeholder of four bytes. */
static int spell_anew(struct spelling *s, const u8 *bytes, const struct insn *i,
                      const struct respell_map *map, bool keep)
{
    struct respell_map m = *map;
    if (s->wide && keep) m.disp = 0x5A5A5A5A;
    return respell(s->bytes, bytes, i->len, (enum isa_mode)i->mode, &m);
}

bool plan_spell(struct plan_cache *c, struct spelling *s, const struct insn *i,
                const struct plan *twin, const struct respell_map *map)
{
    struct insn_head h;
    u8 bytes[INSN_BYTES_MAX];
    const bool keep = c && i->mode == ISA_64 && isa_head(&h, i->bytes, i->len);
    *s = (struct spelling){.key = keep ? h.key : 0,
                           .base = map->base,
                           .index = map->index,
                           .of_twin = twin,
                           .wide = map->disp};
    struct spelling *known = keep ? &c->spelling[spelling_index(s)] : NULL;
    if (keep && is_spelling(known, s)) {
        *s = *known;
    } else {
        memcpy(bytes, i->bytes, sizeof bytes);
        if (twin && keep) memcpy(bytes, twin->twin, h.len);
        else if (twin) memcpy(bytes, twin->twin, sizeof bytes);
        int len = spell_anew(s, bytes, i, map, keep);
        if (len <= 0) return false;
        s->imm_bytes = keep ? (u8)(i->len - h.len - h.disp_bytes) : 0;
        s->len = (u8)(len - s->imm_bytes);
        if (keep) *known = *s;
    }
    if (s->wide && keep) memcpy(s->bytes + s->len - 4, &map->disp, 4);
    return true;
}
