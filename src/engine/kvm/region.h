/* region.h - a piece of guest memory as KVM is told of it. */
#ifndef ENGINE_KVM_REGION_H
#define ENGINE_KVM_REGION_H
#include "mem/mem.h"

struct kvm_region {
    gpa_t base;
    u64 bytes; /* 0: unused */
    hva_t hva;
    bool rom;
};
enum { KVM_REGIONS_MAX = MEM_SLOTS_MAX + 16 };
#endif
