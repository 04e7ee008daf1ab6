/* emit.h - host instructions as bytes: encodings only, nothing about guests or blocks. Registers
 * are hardware numbers (enum gpr); operands are 64 bits wide unless the name says otherwise. Only
 * instructions that leave the flags alone are here. Spec: SDM vol. 2A chapter 2. */
#ifndef ENGINE_BT_EMIT_H
#define ENGINE_BT_EMIT_H
#include "engine/bt/emit_bytes.h"

/* [base + index << scale + disp]; REG_NONE for none; the index is never RSP */
struct em_mem {
    u8 base, index, scale;
    s32 disp;
};
enum { EM_32 = 0, EM_64 = 8 }; /* REX.W */
enum {
    EM_MOV_LOAD = 0x8B,
    EM_MOV_STORE = 0x89,
    EM_LEA = 0x8D,
    EM_MOV_STORE8 = 0x88,
    EM_MOV_LOAD8 = 0x8A
};
enum { EM_MOVZX8 = 0x0FB6, EM_MOVZX16 = 0x0FB7 };

static inline void em_add_rex(struct em_word *to, u32 w, u8 reg, u8 index, u8 base)
{
    u32 rex = w | (reg & 8) >> 1 | (index != REG_NONE ? (index & 8) >> 2 : 0) |
              (base != REG_NONE ? (base & 8) >> 3 : 0);
    if (rex) em_add(to, 0x40 | rex);
}
static inline void em_add_opcode(struct em_word *to, u32 op)
{
    if (op > 0xFF) em_add(to, op >> 8);
    em_add(to, op & 0xFF);
}
static inline void em_rex(struct emit *e, u32 w, u8 reg, u8 index, u8 base)
{
    struct em_word word = {0};
    em_add_rex(&word, w, reg, index, base);
    em_put(e, word);
}
/* ModRM, SIB and displacement behind the at most 4 bytes of @to; that is the instruction, or all of
 * it but an immediate. */
static inline void em_word_mem(struct emit *e, struct em_word to, u8 reg, struct em_mem m)
{
    const u32 r = (reg & 7u) << 3, index = m.index == REG_NONE ? 4 : m.index & 7;
    const bool based = m.base != REG_NONE; /* if not: a SIB with base 5 and mod 0 */
    const u32 base = based ? m.base & 7 : 5;
    u32 mod = m.disp == (s8)m.disp ? 0x40 : 0x80;
    if (!based || (!m.disp && base != 5)) mod = 0;
    const bool sib = !based || m.index != REG_NONE || base == 4;
    em_add(&to, mod | r | (sib ? 4 : base));
    if (sib) em_add(&to, (u32)m.scale << 6 | index << 3 | base);
    if (mod == 0x40) em_add(&to, m.disp & 0xFF);
    if (mod == 0x80 || !based) em_put_disp(e, to, m.disp);
    else em_put(e, to);
}
static inline void em_modrm_mem(struct emit *e, u8 reg, struct em_mem m)
{
    em_word_mem(e, (struct em_word){0}, reg, m);
}
/* op reg, [m]: MOV and LEA in both directions, MOVZX */
static inline void em_mem_op(struct emit *e, u32 op, u32 w, u8 reg, struct em_mem m)
{
    struct em_word word = {0};
    em_add_rex(&word, w, reg, m.index, m.base);
    em_add_opcode(&word, op);
    em_word_mem(e, word, reg, m);
}
static inline void em_reg_op(struct emit *e, u32 op, u32 w, u8 reg, u8 rm)
{
    struct em_word word = {0};
    em_add_rex(&word, w, reg, REG_NONE, rm);
    em_add_opcode(&word, op);
    em_add(&word, 0xC0 | (reg & 7u) << 3 | (rm & 7u));
    em_put(e, word);
}
/* the same with an operand at @off of the structure GS points to */
static inline void em_gs_op(struct emit *e, u32 op, u32 w, u8 reg, size_t off)
{
    struct em_word word = {0x65, 1};
    em_add_rex(&word, w, reg, REG_NONE, REG_NONE);
    em_add_opcode(&word, op);
    em_word_mem(e, word, reg, (struct em_mem){REG_NONE, REG_NONE, 0, (s32)off});
}
static inline void em_load_gs(struct emit *e, u8 reg, size_t off)
{
    em_gs_op(e, EM_MOV_LOAD, EM_64, reg, off);
}
static inline void em_store_gs(struct emit *e, size_t off, u8 reg)
{
    em_gs_op(e, EM_MOV_STORE, EM_64, reg, off);
}
static inline void em_load_gs16(struct emit *e, u8 reg, size_t off)
{
    em_byte(e, 0x66);
    em_gs_op(e, EM_MOV_LOAD, EM_32, reg, off);
}
static inline void em_mov(struct emit *e, u8 dst, u8 src)
{
    if (dst != src) em_reg_op(e, EM_MOV_LOAD, EM_64, dst, src);
}
static inline void em_mov32(struct emit *e, u8 dst, u8 src)
{
    em_reg_op(e, EM_MOV_LOAD, EM_32, dst, src);
}
static inline void em_lea(struct emit *e, u8 dst, struct em_mem m)
{
    em_mem_op(e, EM_LEA, EM_64, dst, m);
}
static inline void em_lea_disp(struct emit *e, u8 dst, u8 base, s32 disp)
{
    em_lea(e, dst, (struct em_mem){base, REG_NONE, 0, disp});
}
/* dst = a + b; @b is not RSP */
static inline void em_lea_sum(struct emit *e, u8 dst, u8 a, u8 b)
{
    em_lea(e, dst, (struct em_mem){a, b, 0, 0});
}
/* The shortest MOV of a constant. */
static inline void em_mov_imm(struct emit *e, u8 dst, u64 val)
{
    bool narrow = val <= 0xFFFFFFFF, wide = val != (u64)(s64)(s32)val && !narrow;
    em_rex(e, narrow ? EM_32 : EM_64, 0, REG_NONE, dst);
    if (narrow || wide) {
        em_byte(e, 0xB8 | (dst & 7u));
    } else {
        em_byte(e, 0xC7);
        em_byte(e, 0xC0 | (dst & 7u));
    }
    em_bytes(e, &val, wide ? 8 : 4);
}
static inline void em_not(struct emit *e, u32 w, u8 reg) { em_reg_op(e, 0xF7, w, 2, reg); }
#endif
