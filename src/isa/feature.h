/* isa/feature.h - processor features by name, from isa/feature.def. FEAT_BASE is what every
 * processor of this product has; it needs no CPUID bit. */
#ifndef ISA_FEATURE_H
#define ISA_FEATURE_H
#include "base/types.h"

enum cpu_feature {
    FEAT_BASE = 0,
#define FEATURE(name, leaf, subleaf, reg, bit, text) FEAT_##name,
#include "isa/feature.def"
#undef FEATURE
    FEATURES
};
static_assert(FEATURES <= 256, "struct insn keeps features in a byte");
#endif
