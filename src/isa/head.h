/* isa/head.h - where a 64-bit mode instruction's displacement and immediate are, without decoding
 * it.
 *
 * The bytes in front of them - prefixes, REX, opcode, ModRM, SIB - are its head. Two instructions
 * with the same head are the same but for those two numbers, so whatever is found out about one
 * (struct insn, how to translate it) holds for the other. Only legacy encodings are measured: VEX,
 * EVEX and XOP forms, 3DNow!, moffs and the few others whose length or meaning needs more have no
 * head. Pure. Spec: SDM vol. 2A chapter 2, vol. 2D appendix A. */
#ifndef ISA_HEAD_H
#define ISA_HEAD_H
#include "isa/insn.h"

enum { HEAD_BYTES_MAX = 7 };
struct insn_head {
    u64 key; /* the head's bytes, and its length in the top byte: never 0 */
    u8 len;  /* bytes before the displacement */
    u8 disp_bytes;
};
/** isa_head - measure the head of the instruction at @code, of which @avail bytes are there. False:
 * not of a kind that is measured, or cut short. That it is a valid instruction is not checked. */
bool isa_head(struct insn_head *h, const u8 *code, u32 avail);

/* Decoded instructions by their heads. */
struct insn_shape {
    u64 key; /* 0: empty */
    u8 disp_at, disp_bytes, imm_bytes;
    bool imm_signed;
    struct insn insn;
};
enum { INSN_SHAPES = 1 << 12 };
static inline u32 isa_shape_index(u64 key) { return (u32)(key * 0x9E3779B97F4A7C15ull >> 52); }

/** isa_decode_shaped - isa_decode for 64-bit mode that decodes each head once. @shape is
 * [INSN_SHAPES], zeroes at first; owned by the caller. */
int isa_decode_shaped(struct insn_shape *shape, struct insn *out, const u8 *code, u32 avail);
#endif
