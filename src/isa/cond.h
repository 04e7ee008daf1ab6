/* isa/cond.h - the sixteen condition codes of Jcc, SETcc and CMOVcc. Spec: SDM vol. 1 appendix B.
 */
#ifndef ISA_COND_H
#define ISA_COND_H
#include "base/types.h"

/* Does condition @cc (opcode bits 3:0) hold for RFLAGS value @rflags? No branches: every condition
 * pair is "some of these bits are set", once SF != OF has been put into bit 15, which RFLAGS keeps
 * 0. */
static inline bool cond_holds(u8 cc, u64 rflags)
{
    static const u16 any_of[8] = {
        1 << 11,                 /* O   NO  : OF            */
        1 << 0,                  /* B   NB  : CF            */
        1 << 6,                  /* Z   NZ  : ZF            */
        1 << 0 | 1 << 6,         /* BE  NBE : CF, ZF        */
        1 << 7,                  /* S   NS  : SF            */
        1 << 2,                  /* P   NP  : PF            */
        (u16)(1 << 15),          /* L   NL  : SF != OF      */
        (u16)(1 << 15 | 1 << 6), /* LE  NLE : SF != OF, ZF  */
    };
    u32 f = (u32)rflags;
    f |= ((f ^ (f >> 4)) & 0x80) << 8;
    return ((f & any_of[cc >> 1 & 7]) != 0) ^ (cc & 1);
}
#endif
