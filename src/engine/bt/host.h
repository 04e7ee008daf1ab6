/* host.h - what of the host's instruction set translated code may use. */
#ifndef ENGINE_BT_HOST_H
#define ENGINE_BT_HOST_H
#include "base/types.h"

struct bt_host {
    bool lahf;      /* LAHF and SAHF in 64-bit code: the translator needs them */
    bool bmi2;      /* else code is spelled without (emit_bits.h) */
    bool slow_pext; /* microcode: AMD before Zen 3 */
    bool avx, avx2, avx512;
};
/**
 * bt_host_find - ask CPUID. For tests, the environment variable RING3_BT_WITHOUT takes some away:
 * "bmi2", "pext" (where there is another way). What is to be without AVX or AVX-512 needs a CPU
 * model without. Spec: SDM vol. 2A CPUID.
 */
struct bt_host bt_host_find(void);
#endif
