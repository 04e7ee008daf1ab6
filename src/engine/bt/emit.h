/* emit.h - host instructions as bytes: encodings only, nothing about guests or blocks. Registers
 * are hardware numbers (enum gpr); operands are 64 bits wide unless the name says otherwise. Only
 * instructions that leave the flags alone are here. Writing past the room is counted, not done: the
 * caller compares n with room. Spec: SDM vol. 2A chapter 2. */
#ifndef ENGINE_BT_EMIT_H
#define ENGINE_BT_EMIT_H
#include <string.h>

#include "isa/insn.h"

struct emit {
    u8 *at;
    u32 n, room; /* bytes written, bytes there are */
    bool plain;  /* for a host without BMI2: emit_bits.h */
    bool slow_pext;
};
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

static inline void em_byte(struct emit *e, u32 byte)
{
    if (e->n < e->room) e->at[e->n] = (u8)byte;
    e->n++;
}
static inline void em_bytes(struct emit *e, const void *bytes, u32 n)
{
    for (u32 k = 0; k < n; k++) em_byte(e, ((const u8 *)bytes)[k]);
}
static inline void em_u32(struct emit *e, u32 val) { em_bytes(e, &val, 4); }

static inline void em_rex(struct emit *e, u32 w, u8 reg, u8 index, u8 base)
{
    u32 rex = w | (reg & 8) >> 1 | (index != REG_NONE ? (index & 8) >> 2 : 0) |
              (base != REG_NONE ? (base & 8) >> 3 : 0);
    if (rex) em_byte(e, 0x40 | rex);
}
static inline void em_opcode(struct emit *e, u32 op)
{
    if (op > 0xFF) em_byte(e, op >> 8);
    em_byte(e, op);
}
static inline void em_modrm_mem(struct emit *e, u8 reg, struct em_mem m)
{
    u32 r = (reg & 7u) << 3, index = m.index == REG_NONE ? 4 : m.index & 7;
    if (m.base == REG_NONE) { /* a SIB with base 5 and mod 0: only the displacement */
        em_byte(e, r | 4);
        em_byte(e, (u32)m.scale << 6 | index << 3 | 5);
        em_u32(e, (u32)m.disp);
        return;
    }
    u32 base = m.base & 7, mod = m.disp == (s8)m.disp ? 0x40 : 0x80;
    if (!m.disp && base != 5) mod = 0;
    bool sib = m.index != REG_NONE || base == 4;
    em_byte(e, mod | r | (sib ? 4 : base));
    if (sib) em_byte(e, (u32)m.scale << 6 | index << 3 | base);
    if (mod == 0x40) em_byte(e, (u32)m.disp);
    if (mod == 0x80) em_u32(e, (u32)m.disp);
}
/* op reg, [m]: MOV and LEA in both directions, MOVZX */
static inline void em_mem_op(struct emit *e, u32 op, u32 w, u8 reg, struct em_mem m)
{
    em_rex(e, w, reg, m.index, m.base);
    em_opcode(e, op);
    em_modrm_mem(e, reg, m);
}
static inline void em_reg_op(struct emit *e, u32 op, u32 w, u8 reg, u8 rm)
{
    em_rex(e, w, reg, REG_NONE, rm);
    em_opcode(e, op);
    em_byte(e, 0xC0 | (reg & 7u) << 3 | (rm & 7u));
}
/* the same with an operand at @off of the structure GS points to */
static inline void em_gs_op(struct emit *e, u32 op, u32 w, u8 reg, size_t off)
{
    em_byte(e, 0x65);
    em_mem_op(e, op, w, reg, (struct em_mem){REG_NONE, REG_NONE, 0, (s32)off});
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
