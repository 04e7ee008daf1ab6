/* base/limits.h - every fixed bound in one place. */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H
#include "base/types.h"

enum {
    VCPUS_MAX = 32,
    MEM_SLOTS_MAX = 48,
    MEM_BACKINGS_MAX = 24,
    BUS_REGIONS_MAX = 256,
    INSN_BYTES_MAX = 15,
};
#define MEM_DEVICE_BYTES_MAX MIB(256) /* ROMs and frame buffers together */
#define MEM_BYTES_MIN MIB(1)
#define MEM_BYTES_MAX GIB(512)
#define GPA_BITS 40 /* guest-physical address width we advertise (CPUID 8000_0008) */
#endif
