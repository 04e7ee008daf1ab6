/* mmu/mmu.h - guest paging: one walker for every mode, the software TLB behind cpu/access.h, and
 * coherence between vCPUs. Spec: SDM vol. 3A chapter 4. */
#ifndef MMU_MMU_H
#define MMU_MMU_H
#include "base/err.h"
#include "cpu/access.h"
#include "cpu/vcpu.h"
#include "mem/mem.h"

/* Outcome of a walk. */
struct walk {
    gpa_t gpa;     /* physical address of the byte                              */
    u8 page_shift; /* 12, 21, 22 or 30: size of the mapping                     */
    bool writable; /* data walks: a write is allowed and D is already set       */
    bool user;     /* U/S at every level                                        */
    bool exec;     /* not NX at any level                                       */
    bool global;
    bool accessed;  /* A is set at every level: the processor may keep the translation */
    u32 error;      /* #PF error code when the walk returned X_FAULT             */
    gpa_t entry_at; /* of the leaf entry; ~0 without paging                      */
    u8 above;       /* for mmu_walk_beside: rights the entries above the leaf give */
};
enum walk_flags {
    WALK_SYS = 1 << 0,  /* implicit supervisor access */
    WALK_PEEK = 1 << 1, /* set no A/D bits            */
};

/**
 * mmu_walk - translate @gva for @kind at the current privilege. Sets A and D atomically unless
 * WALK_PEEK. Returns 0, or X_FAULT with only w->error filled (the caller raises #PF). Works with
 * paging off too.
 */
int mmu_walk(struct vcpu *v, gva_t gva, enum access kind, u32 flags, struct walk *w);

/**
 * mmu_walk_beside - the page @pages behind (before, when negative) that of @near, which mmu_walk
 * just gave for a 4 KiB page whose A bits are set, in the same page table: as mmu_walk with
 * ACC_READ and WALK_PEEK, but reads one entry only. X_FAULT leaves @w undefined. Also X_FAULT
 * without paging.
 */
int mmu_walk_beside(struct vcpu *v, const struct walk *near, s32 pages, struct walk *w);

/* v->tlb.ctx: | address space number 11:2 | privilege 1:0 |. Numbers are not used again before
 * all(). */
enum tlb_priv { PRIV_SUPERVISOR, PRIV_USER, PRIV_SUPERVISOR_AC, PRIV_BITS = 2 };
/* An engine with translations of its own keeps them as valid as the arrays of cpu/tlb.h by hearing
 * of every invalidation. All are called on the vCPU's thread, before the invalidation is relied on;
 * they may be called from a fault handler, so they take no lock and allocate nothing. */
struct tlb_observer {
    struct tlb_observer *next; /* the MMU's */
    void *ctx;
    /* the page at @gva, whole if large, in space @asn and where it is global; ASN_NONE: no space */
    void (*page)(void *ctx, gva_t gva, u32 asn);
    void (*space_dropped)(void *ctx, u32 asn); /* never used again but for all() */
    void (*all)(void *ctx);                    /* globals included               */
    void (*writes)(void *ctx, gpa_t page_gpa); /* nobody may write to it directly any more */
    void (*ctx_changed)(void *ctx);            /* v->tlb.ctx is set: often the same again  */
};
enum { ASN_NONE = 0xFFFF };
/** mmu_observe - from now on tell @o too (borrowed until mmu_unobserve). What it knew before counts
 * as all() dropped; ctx_changed() is called at once. */
void mmu_observe(struct vcpu *v, struct tlb_observer *o);
void mmu_unobserve(struct vcpu *v, struct tlb_observer *o);
/** mmu_watched - is a data breakpoint armed on the page of @gva? Its accesses stay slow. */
bool mmu_watched(const struct vcpu *v, gva_t gva);

/** mmu_init - TLB and ops for @v; @shared is the machine's coherence domain. fini frees. */
struct mmu_domain;
int mmu_domain_create(struct mmu_domain **out, struct mem *mem, struct err *e) MUST_USE;
void mmu_domain_destroy(struct mmu_domain *d);
/** mmu_map_changed - other memory than before lies at guest-physical [start, end), or (empty range)
 * other addresses reach memory (A20): no vCPU goes on with translations or code it knows. While no
 * vCPU is in guest; a mem_changed_fn. @domain is a struct mmu_domain. */
void mmu_map_changed(void *domain, gpa_t start, gpa_t end);
int mmu_init(struct vcpu *v, struct mmu_domain *d, struct err *e) MUST_USE;
void mmu_fini(struct vcpu *v);

/* A vCPU is "in guest" while it may use fast entries. Entering and leaving bracket the engine's run
 * loop; while outside, other vCPUs need not wait for it: its pending flushes are done at the next
 * entry. */
void mmu_enter_guest(struct vcpu *v);
void mmu_leave_guest(struct vcpu *v);
/** mmu_service - do what ATT_FLUSH asks and acknowledge. Called by the engine at an instruction
 * boundary. */
void mmu_service(struct vcpu *v);

/**
 * mmu_fetch_page - host address of the page of code at linear @gva, its physical page, and X_FAULT
 * with the exception raised (instruction fetch #PF) otherwise. A fetch from a hole gives *page =
 * NULL (the caller reads bytes through MMIO or raises #GP).
 */
int mmu_fetch_page(struct vcpu *v, gva_t gva, hva_t *page, gpa_t *page_gpa);
/**
 * mmu_protect_code - from now on make writes to [gpa, gpa+bytes) (inside one page) visible to the
 * code listeners, on every vCPU, before returning. The bytes may be decoded after this call, not
 * before. Cheap when already so.
 */
void mmu_protect_code(struct vcpu *v, gpa_t gpa, u32 bytes);
/* Code listener: called on the writing vCPU's (or DMA) thread after bytes of a traced page changed;
 * the engine of each vCPU gets ATT_CODE and asks mmu_code_changed_take() at its next boundary. */
struct code_change {
    gpa_t start, end;
};
/** mmu_code_changed_take - next range changed since the last call for @v; false when none. Overflow
 * is reported as [0, ~0). */
bool mmu_code_changed_take(struct vcpu *v, struct code_change *c);
#endif
