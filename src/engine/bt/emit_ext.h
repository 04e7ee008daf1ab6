/* emit_ext.h - further encodings, see emit.h: VEX instructions of BMI2, and jumps. */
#ifndef ENGINE_BT_EMIT_EXT_H
#define ENGINE_BT_EMIT_EXT_H
#include "engine/bt/emit.h"

enum { EM_SHLX = 1, EM_SHRX = 3, EM_JMP = -1 };

/* pp: 1 = 66, 2 = F3, 3 = F2; map: 2 = 0F38, 3 = 0F3A */
static inline void em_vex(struct emit *e, u8 map_pp, u32 w, const u8 reg_v_rm[3])
{
    u8 r = reg_v_rm[0], v = reg_v_rm[1], b = reg_v_rm[2];
    em_byte(e, 0xC4);
    em_byte(e, (r & 8 ? 0 : 0x80) | 0x40 | (b & 8 ? 0 : 0x20) | map_pp >> 4);
    em_byte(e, w << 4 | (~v & 15u) << 3 | (map_pp & 3));
}
static inline void em_vex_modrm(struct emit *e, u8 op, u8 reg, u8 rm)
{
    em_byte(e, op);
    em_byte(e, 0xC0 | (reg & 7u) << 3 | (rm & 7u));
}
static inline void em_rorx(struct emit *e, u32 w, u8 dst, u8 src, u8 count)
{
    em_vex(e, 0x33, w, (const u8[]){dst, 0, src});
    em_vex_modrm(e, 0xF0, dst, src);
    em_byte(e, count);
}
/* dst = src << or >> (count mod 64); @pp EM_SHLX or EM_SHRX */
static inline void em_shift(struct emit *e, u8 pp, u8 dst, u8 src, u8 count)
{
    em_vex(e, (u8)(0x20 | pp), EM_64, (const u8[]){dst, count, src});
    em_vex_modrm(e, 0xF7, dst, src);
}
static inline void em_sarx(struct emit *e, u32 w, u8 dst, u8 src, u8 count)
{
    em_vex(e, 0x22, w, (const u8[]){dst, count, src});
    em_vex_modrm(e, 0xF7, dst, src);
}
/* dst = the bits of the low half of src that mask names, packed */
static inline void em_pext32(struct emit *e, u8 dst, u8 src, u8 mask)
{
    em_vex(e, 0x22, EM_32, (const u8[]){dst, src, mask});
    em_vex_modrm(e, 0xF5, dst, mask);
}

/* dst = the bits of src that the mask at GS:@off names, packed */
static inline void em_pext_gs(struct emit *e, u8 dst, u8 src, size_t off)
{
    em_byte(e, 0x65);
    em_vex(e, 0x22, EM_64, (const u8[]){dst, src, 0});
    em_byte(e, 0xF5);
    em_modrm_mem(e, dst, (struct em_mem){REG_NONE, REG_NONE, 0, (s32)off});
}
/* jmp [base + disp] */
static inline void em_jump_mem(struct emit *e, u8 base, s32 disp)
{
    em_rex(e, EM_32, 0, REG_NONE, base);
    em_byte(e, 0xFF);
    em_modrm_mem(e, 4, (struct em_mem){base, REG_NONE, 0, disp});
}

/* Jumps return the place of their displacement, for em_fix*. @cc: condition code or EM_JMP. */
static inline u32 em_jump32(struct emit *e, int cc)
{
    if (cc >= 0) em_byte(e, 0x0F);
    em_byte(e, cc < 0 ? 0xE9 : 0x80 | (u32)cc);
    em_u32(e, 0);
    return e->n - 4;
}
static inline u32 em_jump8(struct emit *e, u8 opcode)
{
    em_byte(e, opcode);
    em_byte(e, 0);
    return e->n - 1;
}
enum { EM_JMP8 = 0xEB, EM_JRCXZ = 0xE3 };
static inline void em_fix32(struct emit *e, u32 site, u32 target)
{
    u32 rel = target - (site + 4);
    if (site + 4 <= e->room) memcpy(e->at + site, &rel, 4);
}
/* to the present position */
static inline void em_fix8(struct emit *e, u32 site)
{
    if (site < e->room) e->at[site] = (u8)(e->n - (site + 1));
}
#endif
