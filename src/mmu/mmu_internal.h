/* mmu_internal.h - what the files of mmu/ share: per-vCPU translation state and the coherence
 * domain. */
#ifndef MMU_MMU_INTERNAL_H
#define MMU_MMU_INTERNAL_H
#include <pthread.h>

#include "base/check.h"
#include "base/stats.h"
#include "cpu/x86.h"
#include "mmu/mmu.h"

enum {
    ASN_COUNT = 1 << (PAGE_SHIFT - PRIV_BITS),
    SPACES = 16, /* address spaces (PCIDs) whose entries survive a CR3 write */
    REGION_SLOTS = 1024,
    REGION_4M_SHIFT = 22,
    REGION_1G_SHIFT = 30,
    PROTECT_QUEUE = 16,
    CODE_QUEUE = 16,
    /* slow writes to a traced page after which it is taken for data: twice as many each time */
    SLOW_WRITES_MIN = 8,
    SLOW_LEVEL_MAX = 7,
    SLOW_LEVEL_SHIFT = 12,
    LINE_SHIFT = 6, /* code is tracked by 64-byte lines */
};

struct space {
    u64 key; /* PCID, or 0 without PCIDs */
    u16 asn;
    bool valid;
    u64 used; /* for least-recently-used replacement */
};

struct mmu_state {
    struct vcpu *v;
    struct mmu_domain *domain;
    /* owned by the vCPU's thread */
    struct space space[SPACES];
    u32 current;  /* index of the space in use     */
    u16 next_asn; /* next never-used number        */
    u64 uses;
    struct tlb_observer *observers; /* borrowed list */
    /* regions mapped by large pages, hashed: INVLPG there has to look for all their 4 KiB pieces */
    u64 region_4m[REGION_SLOTS / 64], region_1g[REGION_SLOTS / 64];
    /* shared with other threads */
    _Atomic bool in_guest;
    _Atomic u64 asked, done; /* requests posted, and all of them served up to here */
    pthread_t thread;        /* valid while in_guest */
    pthread_mutex_t lock;    /* guards the two queues */
    gpa_t protect[PROTECT_QUEUE];
    u32 protect_count; /* above PROTECT_QUEUE: every write entry goes */
    bool map_changed;  /* other memory lies there now: everything goes */
    struct code_change code[CODE_QUEUE];
    u32 code_count;
};

struct mmu_domain {
    struct mem *mem;
    pthread_mutex_t protect_lock; /* one page at a time becomes protected */
    _Atomic u32 protecting;
    pthread_mutex_t lines_lock; /* innermost but mmu_state.lock: marks and what follows from them */
    _Atomic(struct mmu_state *) member[VCPUS_MAX];
    _Atomic u64 *code_lines; /* per page of the memfd: which 64-byte lines hold decoded code */
    _Atomic u32 changing;    /* threads that have taken marks off and not yet told everybody */
    _Atomic u16 *slow; /* per page: slow writes since, and how often that were too many (level,
                          in the upper bits); a hint */
    u64 code_pages;    /* length of code_lines */
};

static inline struct mmu_state *mmu_of(struct vcpu *v) { return v->mmu_state; }
static inline u64 tlb_index(gva_t gva) { return (gva >> PAGE_SHIFT) & (TLB_ENTRIES - 1); }

/* tlb.c */
u64 tlb_ctx(const struct vcpu *v, bool sys);
void tlb_fill(struct vcpu *v, gva_t gva, enum access kind, u64 ctx, const struct walk *w);
void tlb_drop_writes(struct vcpu *v, gpa_t page_gpa);
void tlb_drop_all_writes(struct vcpu *v);
void tlb_drop_all(struct vcpu *v);
void tlb_cr3_loaded(struct vcpu *v, u64 operand);
void tlb_flush_spaces(struct vcpu *v);
void tlb_invlpg(struct vcpu *v, gva_t gva);
int tlb_invpcid(struct vcpu *v, u64 type, u64 pcid, gva_t gva);
void tlb_mode_changed(struct vcpu *v);
/* walk.c */
int walk_load_pdptes(struct vcpu *v, u64 cr3);
/* access.c */
extern const struct vcpu_mmu_ops mmu_ops;
#endif
