/* cpu/access.h - guest-virtual memory as the processor's own semantics see it. The fast path is
 * here, the slow paths are mmu/'s, reached through a table so that cpu/ need not know the walker.
 * Results: 0, or X_FAULT with v->exc filled. Addresses are linear: segmentation is done before
 * (cpu/seg.h). */
#ifndef CPU_ACCESS_H
#define CPU_ACCESS_H
#include <string.h>

#include "cpu/vcpu.h"

/* A memory operand made addressable: host bytes to work on, and what has to happen afterwards. */
enum { ACCESS_BYTES_MAX = 64, ACCESS_BOUNCE_BYTES = 128 };
struct access_map {
    hva_t ptr; /* @bytes bytes to read and write                          */
    u8 state;  /* enum map_state                                          */
    u8 kind;   /* OPND_R | OPND_W as asked                                */
    u16 bytes;
    gpa_t gpa[2]; /* physical address of the first byte, and of the first byte in the second page */
    hva_t hva[2]; /* the same as host addresses; NULL for MMIO               */
    u16 first;    /* bytes in the first page                                 */
    u8 bounce[ACCESS_BOUNCE_BYTES] __attribute__((aligned(64))); /* ptr keeps gva's low six bits */
};
enum map_state { MAP_DIRECT, MAP_TRACED, MAP_BOUNCE };

struct vcpu_mmu_ops {
    /* Copy with faults checked for every page first, so that a faulting write changes nothing.
     * @sys: an implicit supervisor access (descriptor tables, TSS) whatever the CPL. Any length up
     * to a few pages. */
    int (*read)(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys);
    int (*write)(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys);
    /* See vcpu_map. */
    int (*map)(struct vcpu *v, gva_t gva, u32 bytes, u8 rw, struct access_map *m);
    void (*unmap)(struct vcpu *v, struct access_map *m);
    /* Check that [gva, gva+bytes) could be written (or read) without touching it: PUSH-type probes,
     * ENTER, gates. */
    int (*probe)(struct vcpu *v, gva_t gva, u32 bytes, enum access kind, bool sys);
    /* INVLPG; INVPCID; CR3/CR0/CR4/EFER/PCID changes. */
    void (*invlpg)(struct vcpu *v, gva_t gva);
    int (*invpcid)(struct vcpu *v, u64 type, u64 pcid, gva_t gva);
    /* v->cr3 is set already; bit 63 is in the operand only */
    void (*cr3_loaded)(struct vcpu *v, u64 new_cr3_operand);
    void (*flush_all)(struct vcpu *v);    /* globals included */
    void (*mode_changed)(struct vcpu *v); /* recompute v->tlb.ctx */
    /* PAE: load and check the four PDPTEs; X_FAULT with #GP(0) on reserved bits. */
    int (*load_pdptes)(struct vcpu *v, u64 cr3);
};

/* Host address of [gva, gva+bytes) when a fast entry covers it, else NULL. */
static inline hva_t tlb_find(const struct vcpu *v, gva_t gva, u32 bytes, enum access kind)
{
    const struct tlb_entry *e = &v->tlb.e[kind][(gva >> PAGE_SHIFT) & (TLB_ENTRIES - 1)];
    if (unlikely(e->tag != ((gva & PAGE_MASK) | v->tlb.ctx))) return NULL;
    if (unlikely((gva & ~PAGE_MASK) + bytes > PAGE_BYTES)) return NULL;
    return (hva_t)(uintptr_t)(gva + e->addend);
}

/* Copy 1, 2, 4 or 8 bytes as one access each, other sizes anyhow. */
static inline void access_copy(void *dst, const void *src, u32 bytes)
{
    /* sizes are only known at run time: no bounds for the compiler to reason about */
    __asm__("" : "+r"(dst), "+r"(src));
    switch (bytes) {
    case 1: *(u8 *)dst = *(const u8 *)src; break;
    case 2: memcpy(dst, src, 2); break;
    case 4: memcpy(dst, src, 4); break;
    case 8: memcpy(dst, src, 8); break;
    default: memcpy(dst, src, bytes);
    }
}

static inline int vcpu_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes)
{
    hva_t p = tlb_find(v, gva, bytes, ACC_READ);
    if (unlikely(!p)) return v->mmu->read(v, gva, buf, bytes, false);
    access_copy(buf, p, bytes);
    return 0;
}
static inline int vcpu_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes)
{
    hva_t p = tlb_find(v, gva, bytes, ACC_WRITE);
    if (unlikely(!p)) return v->mmu->write(v, gva, buf, bytes, false);
    access_copy(p, buf, bytes);
    return 0;
}
/* Implicit supervisor accesses: GDT, LDT, IDT, TSS. */
static inline int vcpu_read_sys(struct vcpu *v, gva_t gva, void *buf, u32 bytes)
{
    return v->mmu->read(v, gva, buf, bytes, true);
}
static inline int vcpu_write_sys(struct vcpu *v, gva_t gva, const void *buf, u32 bytes)
{
    return v->mmu->write(v, gva, buf, bytes, true);
}

/**
 * vcpu_map - make @bytes (1..64) at linear @gva addressable for a COMPUTE instruction.
 * @rw  OPND_R, OPND_W or both; a write-only operand is not read (MMIO). On success the instruction
 * runs on m->ptr, then vcpu_unmap() commits. Within one page of RAM the pointer is the guest's
 * memory itself, so LOCK forms are atomic; across pages and for MMIO it is the bounce buffer. Both
 * pages are checked before anything changes.
 */
static inline int vcpu_map(struct vcpu *v, gva_t gva, u32 bytes, u8 rw, struct access_map *m)
{
    m->ptr = tlb_find(v, gva, bytes, rw & OPND_W ? ACC_WRITE : ACC_READ);
    m->state = MAP_DIRECT;
    if (likely(m->ptr != NULL)) return 0;
    return v->mmu->map(v, gva, bytes, rw, m);
}
static inline void vcpu_unmap(struct vcpu *v, struct access_map *m)
{
    if (unlikely(m->state != MAP_DIRECT)) v->mmu->unmap(v, m);
}
#endif
