/* cpu/tlb.h - the arrays of fast translations inside struct vcpu: cpu/access.h looks them up, mmu/
 * fills and flushes them. Included by cpu/vcpu.h. */
#ifndef CPU_TLB_H
#define CPU_TLB_H
#include "base/types.h"

/* Fast translations: one direct-mapped array per kind of access (DESIGN section 4). tag = page
 * address | context, see mmu. */
enum access { ACC_READ, ACC_WRITE, ACC_EXEC, ACC_KINDS };
enum { TLB_ENTRIES = 1024 };
struct tlb_entry {
    u64 tag;    /* gva page | tlb context; TLB_EMPTY when unused */
    u64 addend; /* host address minus gva                        */
};
/* What an engine's caches of jump targets have to know of the mapping. */
enum tlb_exec { TLB_EXEC_GLOBAL = 1 << 0, TLB_EXEC_LARGE = 1 << 1 };
#define TLB_EMPTY (~0ull)
struct tlb {
    struct tlb_entry e[ACC_KINDS][TLB_ENTRIES];
    u64 exec_page[TLB_ENTRIES]; /* of each ACC_EXEC entry: physical page | enum tlb_exec */
    /* low 12 bits of tags now: address space and privilege; vcpu_mode_changed() keeps it current */
    u64 ctx;
};
#endif
