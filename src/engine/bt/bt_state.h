/* bt_state.h - the translator's state of one vCPU, shared by bt.c and fault.c. Owner: the vCPU's
 * thread, but for @armed. */
#ifndef ENGINE_BT_BT_STATE_H
#define ENGINE_BT_BT_STATE_H
#include "engine/bt/bt_internal.h"
#include "engine/bt/far.h"
#include "engine/bt/late.h"
#include "engine/bt/sites.h"
#include "engine/bt/table.h"
#include "engine/bt/window.h"
#include "engine/common/fault.h"
#include "mmu/mmu.h"

enum {
    EXEC_PAGE_BITS = 1 << 15,
    EXEC_REGION_BITS = 1 << 12,
    EXEC_REGION_SHIFT = 30,
    CROSS_SLOTS = 8192,
};
enum { JUMP_TABLES_MAX = BT_TABLES_MAX * JUMP_KINDS };
/* Translated instructions that cross a page, by where both parts are. */
struct cross {
    gpa_t first, second; /* of the first byte; page of the rest */
    const struct bt_slot *slot;
    u64 flushes; /* of the code cache when made */
    u32 variant;
};
/* A segment loaded by IRETQ, and the descriptor it came from (light.c). */
struct light_seg {
    u64 desc;
    struct seg seg;
    bool known;
};
struct bt_state {
    struct bt bt; /* what the translator sees */
    struct vcpu *v;
    void *vec_load, *vec_save; /* routines for the host's vector width */
    struct cache decoded;
    struct bt_code code;
    struct bt_late late;
    struct bt_views views;
    struct bt_tables *tables;
    struct jump_table *jump[JUMP_TABLES_MAX]; /* those that were ever used */
    u32 jumps;
    struct targets targets; /* of all of them */
    struct far_links far;
    u32 variant;                         /* being executed */
    u64 space;                           /* address space number last seen */
    bool global_code;                    /* the supervisor's entries are all from global pages */
    u64 exec_pages[EXEC_PAGE_BITS / 64]; /* hashed linear pages that have jump cache entries */
    u64 exec_regions[EXEC_REGION_BITS /
                     64]; /* hashed 1 GiB regions that have them in large pages */
    struct cross cross[CROSS_SLOTS];
    /* what the cached blocks assume */
    u64 cr4;
    u8 fpu_fault[FPU_CLASSES];
    struct tlb_observer observer;
    struct fault_region region;
    struct fault_stack stack;
    struct err err;      /* why run() failed */
    _Atomic bool inside; /* translated code may be running */
    _Atomic bool armed;  /* the poll page is unreadable    */
    struct bt_sites sites;
    struct light_seg iret_seg[8]; /* by selector */
    struct bt_x87_area *x87;      /* x87.c */
    struct lockstep *lockstep;    /* of the engine lockstep, else NULL */
};
static inline struct cross *cross_of(struct bt_state *s, gpa_t first, gpa_t second)
{
    const u64 mixed = (first ^ second << 20) * 0x9E3779B97F4A7C15ull;
    return &s->cross[(mixed >> 32) % CROSS_SLOTS];
}
static inline u64 exec_page_hash(u64 address) { return (address >> PAGE_SHIFT) % EXEC_PAGE_BITS; }
/* Large pages may be up to 1 GiB; what lies in one is dropped with all of it. */
static inline u64 exec_region_hash(u64 address)
{
    return (address >> EXEC_REGION_SHIFT) % EXEC_REGION_BITS;
}
static inline bool is_set(const u64 *map, u64 bit) { return map[bit / 64] >> (bit % 64) & 1; }
/* Do invalidations already take account of an entry for @address, whose TLB entry has @exec_page?
 */
static inline bool jump_is_noted(const struct bt_state *s, u64 address, u64 exec_page)
{
    if (!is_set(s->exec_pages, exec_page_hash(address))) return false;
    if (exec_page & TLB_EXEC_LARGE && !is_set(s->exec_regions, exec_region_hash(address)))
        return false;
    return exec_page & TLB_EXEC_GLOBAL || s->v->cpl == 3 || !s->global_code;
}
/* Is RSP where a stack may be (window.h)? */
static inline bool bt_has_stack(const struct vcpu *v)
{
    return v->gpr[RSP] - WINDOW_LOWEST < WINDOW_HIGHEST - WINDOW_LOWEST;
}
/* Is the code at CS:RIP of a kind that is translated? 64-bit code, and 32-bit code with flat
 * segments, of CPL 0 (whose checks of privilege never fail) or 3. */
static inline bool bt_is_translatable(const struct vcpu *v)
{
    if (unlikely(v->cpl != 0 && v->cpl != 3)) return false;
    if (likely(v->mode == ISA_64)) return v->cpl == 0 || likely(bt_has_stack(v));
    return v->mode == ISA_32 && v->flat;
}
/* User code starts with the guest's vector registers in the host's, since all of it uses them soon;
 * the supervisor, which hardly ever does, starts without, until an instruction wants them. */
static inline bool bt_starts_with_vectors(const struct vcpu *v)
{
    return v->cpl == 3 && !v->fpu_fault[FPU_SSE];
}
static inline u32 bt_variant_of(const struct bt_state *s)
{
    return (s->v->cpl == 3 ? VARIANT_USER : 0) | (s->bt.vec_loaded ? VARIANT_VEC : 0) |
           (s->v->mode == ISA_32 ? VARIANT_32 : 0);
}
enum { JUMP_KEY_SUPERVISOR = 1 };
/* What the present code's jump table must be for: nobody's is 0. */
static inline u64 jump_key(const struct bt_state *s)
{
    return s->v->cpl == 3 ? s->v->tlb.ctx * VARIANTS + bt_variant_of(s) : JUMP_KEY_SUPERVISOR;
}
/* The one below the present translation table, for code of @variant. */
static inline struct jump_table *jump_of(const struct vcpu *v, u32 variant)
{
    return jump_table_at(v->eng.table, jump_kind(variant & VARIANT_VEC, variant & VARIANT_32));
}
/* Added to the addresses of FS and GS in 32-bit code: one that makes them fault, unless the segment
 * is writable data up to 4 GiB. */
static inline u64 seg_guard(const struct seg *s)
{
    enum { MUST = SEG_P | SEG_S | SEG_W };
    bool plain = s->limit == 0xFFFFFFFF && (s->attr & (MUST | SEG_NULL | SEG_CODE | SEG_E)) == MUST;
    return plain ? 0 : BIT(47);
}
static inline void bt_guard_segments(struct vcpu *v)
{
    v->eng.seg_guard[0] = seg_guard(&v->seg[FS]);
    v->eng.seg_guard[1] = seg_guard(&v->seg[GS]);
}
static inline struct bt_state *state_of(struct vcpu *v) { return v->engine_state; }

/* bt.c: see there */
void bt_check_assumptions(struct bt_state *s);
const struct bt_slot *bt_find_block(struct bt_state *s);
enum x_result bt_serve_step(struct bt_state *s);
/** bt_dumped - dump.c: @slot, after showing it if that is wanted. */
const struct bt_slot *bt_dumped(const struct bt_state *s, const struct bt_slot *slot);
bool bt_alignment_checked(const struct vcpu *v);
const struct bt_slot *bt_translate_at(struct bt_state *s, const struct block *b, gpa_t gpa);
/* fault.c */
bool bt_on_fault(struct fault_region *r, siginfo_t *info, ucontext_t *uc);
#endif
