/* emit_bits.h - shifts and bit fields that touch no flag, see emit.h. In two spellings: with BMI2
 * (RORX, SHLX, SHRX, PEXT), and, where the host has none of it (emit.plain), through MMX registers,
 * which are free in translated code: guest x87 and MMX state is in v->fx. Who returns to C
 * executes EMMS then (bt.c: enter). Spec: SDM vol. 2. */
#ifndef ENGINE_BT_EMIT_BITS_H
#define ENGINE_BT_EMIT_BITS_H
#include "engine/bt/emit.h"

/* ---- MMX: @mm is 0 to 7 ---- */

enum em_mm_op {
    EM_MM_FROM = 0x0F6E, /* MOVQ mm, r64 */
    EM_MM_TO = 0x0F7E,   /* MOVQ r64, mm */
    EM_MM_LOAD = 0x0F6F,
    EM_MM_STORE = 0x0F7F,
    EM_MM_SHL = 0x0FF3,
    EM_MM_SHR = 0x0FD3,
    EM_MM_OR = 0x0FEB,
    EM_MM_ANDN = 0x0FDF, /* ~dst & src */
};
static inline void em_mm_move(struct emit *e, enum em_mm_op op, u8 mm, u8 reg)
{
    em_reg_op(e, op, EM_64, mm, reg);
}
static inline void em_mm_op(struct emit *e, enum em_mm_op op, u8 dst, u8 src)
{
    em_reg_op(e, op, EM_32, dst, src);
}
enum { EM_MM_IMM_SHR = 2, EM_MM_IMM_SHL = 6 };
static inline void em_mm_shift(struct emit *e, u8 digit, u8 mm, u8 count)
{
    em_reg_op(e, 0x0F73, EM_32, digit, mm);
    em_byte(e, count);
}
/* dst = src << up >> down */
static inline void em_mm_cut(struct emit *e, u8 dst, u8 src, const u8 up_down[2])
{
    em_mm_move(e, EM_MM_FROM, 0, src);
    if (up_down[0]) em_mm_shift(e, EM_MM_IMM_SHL, 0, up_down[0]);
    if (up_down[1]) em_mm_shift(e, EM_MM_IMM_SHR, 0, up_down[1]);
    em_mm_move(e, EM_MM_TO, 0, dst);
}

/* ---- BMI2 ---- */

/* pp: 1 = 66, 2 = F3, 3 = F2; map: 2 = 0F38, 3 = 0F3A */
static inline void em_vex(struct emit *e, u8 map_pp, u32 w, const u8 reg_v_rm[3])
{
    const u8 r = reg_v_rm[0], v = reg_v_rm[1], b = reg_v_rm[2];
    const u32 one = (r & 8 ? 0u : 0x80u) | 0x40 | (b & 8 ? 0u : 0x20u) | map_pp >> 4;
    const u32 two = w << 4 | (~v & 15u) << 3 | (map_pp & 3);
    em_put(e, (struct em_word){0xC4 | one << 8 | two << 16, 3});
}
static inline void em_vex_modrm(struct emit *e, u8 op, u8 reg, u8 rm)
{
    em_put(e, (struct em_word){op | (0xC0u | (reg & 7u) << 3 | (rm & 7u)) << 8, 2});
}
static inline void em_rorx(struct emit *e, u8 dst, u8 src, u8 count)
{
    em_vex(e, 0x33, EM_64, (const u8[]){dst, 0, src});
    em_vex_modrm(e, 0xF0, dst, src);
    em_byte(e, count);
}
enum em_shift { EM_SHLX = 1, EM_SHRX = 3 };
static inline void em_shiftx(struct emit *e, enum em_shift pp, u8 dst, u8 src, u8 count)
{
    em_vex(e, (u8)(0x20 | pp), EM_64, (const u8[]){dst, count, src});
    em_vex_modrm(e, 0xF7, dst, src);
}
/* dst = the bits of src that are set in mask; dst is not src */
static inline void em_pext(struct emit *e, u8 dst, u8 src, u64 mask)
{
    em_mov_imm(e, dst, mask);
    em_vex(e, 0x22, EM_64, (const u8[]){dst, src, dst});
    em_vex_modrm(e, 0xF5, dst, dst);
}

/* dst = the bits of src that are set in the word at GS:@off */
static inline void em_pext_gs(struct emit *e, u8 dst, u8 src, size_t off)
{
    em_byte(e, 0x65);
    em_vex(e, 0x22, EM_64, (const u8[]){dst, src, 0});
    em_byte(e, 0xF5);
    em_modrm_mem(e, dst, (struct em_mem){REG_NONE, REG_NONE, 0, (s32)off});
}

/* ---- either ---- */

/* dst = src << or >> (count mod 64), all registers */
static inline void em_shift(struct emit *e, enum em_shift way, u8 dst, u8 src, u8 count)
{
    if (!e->plain) {
        em_shiftx(e, way, dst, src, count);
        return;
    }
    em_mm_move(e, EM_MM_FROM, 1, count);
    em_mm_shift(e, EM_MM_IMM_SHL, 1, 58);
    em_mm_shift(e, EM_MM_IMM_SHR, 1, 58);
    em_mm_move(e, EM_MM_FROM, 0, src);
    em_mm_op(e, way == EM_SHLX ? EM_MM_SHL : EM_MM_SHR, 0, 1);
    em_mm_move(e, EM_MM_TO, 0, dst);
}
/* dst = src >> n; its upper n bits are anything */
static inline void em_shift_down(struct emit *e, u8 dst, u8 src, u8 n)
{
    if (!e->plain) em_rorx(e, dst, src, n);
    else em_mm_cut(e, dst, src, (const u8[]){0, n});
}
/* dst = src << n; dst is not src */
static inline void em_shift_up(struct emit *e, u8 dst, u8 src, u8 n)
{
    if (e->plain) {
        em_mm_cut(e, dst, src, (const u8[]){n, 0});
        return;
    }
    em_mov_imm(e, dst, n);
    em_shiftx(e, EM_SHLX, dst, src, dst);
}
/* dst = the @count bits of src from bit @low on; dst is not src */
static inline void em_field(struct emit *e, u8 dst, u8 src, u8 low, u8 count)
{
    if (e->plain) {
        em_mm_cut(e, dst, src, (const u8[]){(u8)(64 - low - count), (u8)(64 - count)});
    } else if (low + count == 64) {
        em_mov_imm(e, dst, low);
        em_shiftx(e, EM_SHRX, dst, src, dst);
    } else {
        em_pext(e, dst, src, (BIT(count) - 1) << low);
    }
}
/* dst = bits 47:12 of src, perhaps dst; TB's low six bits are 28. RORX and SHRX share two ports of
 * Intel's cores: behind a computed address PEXT is faster. */
static inline void em_page_number(struct emit *e, u8 dst, u8 src, u8 tb)
{
    if (e->plain) {
        em_mm_cut(e, dst, src, (const u8[]){16, 28});
    } else if (src == R10 && dst != src && !e->slow_pext) {
        em_pext(e, dst, src, BIT(48) - BIT(12));
    } else {
        em_rorx(e, dst, src, 48);
        em_shiftx(e, EM_SHRX, dst, dst, tb);
    }
}
#endif
