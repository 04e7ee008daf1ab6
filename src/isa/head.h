/* isa/head.h - what tells one instruction from others of its kind, without decoding it.
 *
 * The bytes in front of displacement and immediate - prefixes, REX or VEX, opcode, ModRM, SIB - are
 * an instruction's head. Instructions with the same head differ in those two numbers only, and
 * many heads differ in nothing but the numbers of registers. So the key of a head leaves out what
 * just names a register: the base and index of a memory operand, and register operands of opcodes
 * known to take any. Whatever is found out about an instruction, but for these numbers, holds for
 * all with its key. Three-byte opcodes, VEX and EVEX forms keep their register operands in the key;
 * 3DNow!, XOP, moffs, 16-bit addresses and the few others whose length or meaning needs more have
 * none. Pure. Spec: SDM vol. 2A chapter 2, vol. 2D appendix A. */
#ifndef ISA_HEAD_H
#define ISA_HEAD_H
#include "isa/insn.h"

enum { HEAD_BYTES_MAX = 7 };
enum head_any {                     /* numbers that are not in the key */
                HEAD_ANY_REG = 1,   /* ModRM.reg */
                HEAD_ANY_RM = 2,    /* ModRM.rm, a register */
                HEAD_ANY_BASE = 4,  /* of the memory operand */
                HEAD_ANY_INDEX = 8, /* and its scale */
};
struct insn_head {
    u64 key; /* the head's bytes without these numbers, length and mode in the top byte; never 0 */
    u8 len;  /* bytes before the displacement */
    u8 disp_bytes;
    u8 any;      /* enum head_any */
    u8 rex;      /* the REX byte, or 0 */
    u8 op_at;    /* of the opcode, escapes included; behind the prefix of VEX and EVEX */
    u8 modrm_at; /* 0: there is none */
};
/** isa_head - measure the head of the instruction at @code, of which @avail bytes are there, all 15
 * readable. False: not of a kind that is measured, or cut short. That it is a valid instruction is
 * not checked. @mode: not ISA_16. */
bool isa_head(struct insn_head *h, const u8 *code, u32 avail, enum isa_mode mode);

/* Decoded instructions by their heads. */
struct insn_shape {
    _Alignas(64) u64 key; /* 0: empty */
    u8 disp_bytes, imm_bytes;
    bool imm_signed;
    u8 disp_scale;    /* shift: of the one byte of EVEX forms */
    u8 reg_op, rm_op; /* operands named by ModRM.reg and .rm, or INSN_OPNDS */
    struct insn insn;
};
enum { INSN_SHAPES = 1 << 13 };
static inline u32 isa_shape_index(u64 key) { return (u32)(key * 0x9E3779B97F4A7C15ull >> 51); }

/** isa_decode_shaped - isa_decode that decodes each kind of head once, and notes the head's key in
 * the instruction. The @avail bytes are looked at once: others may be changing them. @shape is
 * [INSN_SHAPES], zeroes at first; owned by the caller. */
int isa_decode_shaped(struct insn_shape *shape, struct insn *out, const u8 *code, u32 avail,
                      enum isa_mode mode);
#endif
