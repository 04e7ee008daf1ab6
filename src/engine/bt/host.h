/* host.h - what of the host's instruction set translated code may use. */
#ifndef ENGINE_BT_HOST_H
#define ENGINE_BT_HOST_H
#include "base/types.h"

struct bt_host {
    bool lahf;      /* LAHF and SAHF in 64-bit code: the translator needs them */
    bool bmi2;      /* else code is spelled without (emit_bits.h) */
    bool eager;     /* every block is taken for a hot one: hot.c */
    bool slow_pext; /* microcode: AMD before Zen 3 */
    bool windows;   /* not a matter of the host: window.h */
    bool avx, avx2, avx512;
};
/**
 * bt_host_find - ask CPUID. For tests, the environment variable RING3_BT_WITHOUT takes some away:
 * "bmi2", "pext" (where there is another way), "windows"; without "patience" the translator is
 * eager. What is to be without AVX or AVX-512 needs a CPU model without. Spec: SDM vol. 2A CPUID.
 */
struct bt_host bt_host_find(void);
/* Bits of an address that translated code extracts with PEXT: v->eng.mask[n], else bits 11:n. */
enum bt_mask {
    MASK_READ,  /* of a host address, some that are clear when it may be read (view.h) */
    MASK_WRITE, /* or written */
    MASK_LOW_MIN,
    MASK_WINDOW = PAGE_SHIFT, /* of the distance from a window's start, what is clear in it */
    MASKS,
};
struct vcpu;
/** bt_host_masks - set them. */
void bt_host_masks(struct vcpu *v);
#endif
