/* isa/respell.h - the same instruction with other registers and another memory operand.
 * Pure: bytes in, bytes out, no state. The result is always a 64-bit mode encoding that runs on the
 * host: ModRM, SIB, REX, VEX, EVEX and opcode-embedded register fields are rewritten; segment
 * override, address size, SIB and displacement are dropped; operand size, LOCK, F2/F3 and
 * immediates stay. Vector, mask, x87 and MMX registers keep their numbers. Every result is decoded
 * again and compared with the original before it is returned. Spec: SDM vol. 2A chapter 2. */
#ifndef ISA_RESPELL_H
#define ISA_RESPELL_H
#include "base/types.h"
#include "isa/insn.h"

struct respell_map {
    u8 gpr[GPRS]; /* new number of each general register, 0..15; a high-byte register AH..BH needs
                     0..3 */
    u8 base;      /* the memory operand becomes [base + index + disp]; ignored when there is none */
    u8 index; /* REG_NONE: no index; not RSP                                                   */
    s32 disp;
};
enum { RESPELL_BYTES_MAX = 24 };

/**
 * respell - write @bytes (one whole instruction of @len bytes, decoded for @mode) with the
 * registers of @map. Implicit registers (RAX of MUL, CL of shifts) are not in the encoding: their
 * entry in @map must be the identity or the caller moves them. Outside 64-bit mode, the encodings
 * that mean something else there (40-4F, 82, A0-A3, operand-size defaults, ignored W bits) are
 * turned into their 64-bit mode equivalents. Returns the length of @out, at most 15; 0 when there
 * is no such encoding: a high-byte register beside one that needs REX, a vector index (gather), an
 * implicit memory operand, a segment or control register, an instruction without 64-bit form.
 */
int respell(u8 out[RESPELL_BYTES_MAX], const u8 *bytes, u32 len, enum isa_mode mode,
            const struct respell_map *map);
#endif
