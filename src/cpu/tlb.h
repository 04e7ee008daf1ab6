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
enum { TLB_SPACE = 0xFFC }; /* bits of a tag that name the address space */
#define TLB_EMPTY (~0ull)
struct tlb {
    struct tlb_entry e[ACC_KINDS][TLB_ENTRIES];
    u64 exec_page[TLB_ENTRIES]; /* of each ACC_EXEC entry: physical page | enum tlb_exec */
    u64 global[ACC_EXEC][TLB_ENTRIES / 64]; /* which data entries are of global pages */
    /* low 12 bits of tags now: address space and privilege; vcpu_mode_changed() keeps it current */
    u64 ctx;
};

static inline bool tlb_is_global(const struct tlb *t, u64 i, enum access kind)
{
    if (kind == ACC_EXEC) return t->exec_page[i] & TLB_EXEC_GLOBAL;
    return t->global[kind][i / 64] >> (i % 64) & 1;
}
/** tlb_holds - is the entry @gva selects for @kind the one wanted, whose tag is @tag? One of a
 * global page serves every address space: it becomes the present one's. */
static inline bool tlb_holds(struct tlb *t, u64 gva, enum access kind, u64 tag)
{
    const u64 i = (gva >> PAGE_SHIFT) & (TLB_ENTRIES - 1);
    struct tlb_entry *e = &t->e[kind][i];
    if (likely(e->tag == tag)) return true;
    if ((e->tag ^ tag) & ~(u64)TLB_SPACE || !tlb_is_global(t, i, kind)) return false;
    e->tag = tag;
    return true;
}
#endif
