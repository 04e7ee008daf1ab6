/* cpu/xstate.h - the XSAVE area: where each state component lies, and what of it is in use.
 * Spec: SDM vol. 1 chapter 13. Offsets of the standard format are Intel's on every host: they are
 * ours to choose, and the guest learns them from CPUID leaf 0DH. */
#ifndef CPU_XSTATE_H
#define CPU_XSTATE_H
#include "cpu/vcpu.h"

enum xstate_bit {
    XSTATE_X87 = 0,
    XSTATE_SSE = 1,
    XSTATE_AVX = 2,       /* upper halves of YMM0..15 */
    XSTATE_OPMASK = 5,    /* k0..k7                   */
    XSTATE_ZMM_HI256 = 6, /* upper halves of ZMM0..15 */
    XSTATE_HI16_ZMM = 7,  /* ZMM16..31                */
    XSTATE_PKRU = 9,
    XSTATE_BITS = 10,
};
enum {
    XSAVE_HEADER = 512, /* offset of XSTATE_BV; XCOMP_BV follows */
    XSAVE_EXTENDED = 576,
    XSAVE_BYTES_MAX = 2696, /* standard format with every component above */
    MXCSR_INIT = 0x1F80,
};
#define XCOMP_COMPACTED BIT(63)

struct xstate_comp {
    u16 offset; /* in the standard format; 0: no such component */
    u16 bytes;
    /* Parts of vector registers: bytes [from, from + width) of 16 registers from @reg on, one after
     * the other. width 0: not of that kind. */
    u8 reg, from, width;
};
extern const struct xstate_comp xstate_comps[XSTATE_BITS];

/** xstate_bytes - size of the standard-format area holding the components of @mask. */
u32 xstate_bytes(u64 mask);
/** xstate_compact_offset - offset of component @bit (2..9) in a compacted area whose XCOMP_BV is
 * @mask; with @bit = XSTATE_BITS, the size of that area. */
u32 xstate_compact_offset(u64 mask, u32 bit);
/** xstate_regs - registers of vector component @bit that the current mode reaches: 16, 8 or 0. */
u32 xstate_regs(const struct vcpu *v, enum xstate_bit bit);
/** xstate_inuse - XINUSE (SDM vol. 1 section 13.6): components of @v that differ from their initial
 * configuration. SSE means XMM registers; MXCSR does not count. */
u64 xstate_inuse(const struct vcpu *v);
/** xcr0_valid - could XSETBV load @val on a processor offering @offered? */
bool xcr0_valid(u64 val, u64 offered);
#endif
