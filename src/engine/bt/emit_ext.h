/* emit_ext.h - further encodings, see emit.h: jumps. */
#ifndef ENGINE_BT_EMIT_EXT_H
#define ENGINE_BT_EMIT_EXT_H
#include "engine/bt/emit.h"

enum { EM_JMP = -1, EM_JMP32 = 0xE9 };

/* jmp [m] */
static inline void em_jump_mem(struct emit *e, struct em_mem m)
{
    em_rex(e, EM_32, 0, m.index, m.base);
    em_byte(e, 0xFF);
    em_modrm_mem(e, 4, m);
}

/* Jumps return the place of their displacement, for em_fix*. @cc: condition code or EM_JMP. */
static inline u32 em_jump32(struct emit *e, int cc)
{
    if (cc >= 0) em_byte(e, 0x0F);
    em_byte(e, cc < 0 ? EM_JMP32 : 0x80 | (u32)cc);
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
/* Jump when RCX is 0, without a jump taken when it is not: JRCXZ into a long NOP, whose SIB byte
 * and displacement are a JMP (nop [rcx + rbp * 8 + disp32]). For em_fix32. */
static inline u32 em_jump_rcx_zero(struct emit *e)
{
    em_bytes(e, "\xE3\x03\x0F\x1F\x84\xE9", 6);
    em_u32(e, 0);
    return e->n - 4;
}
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
