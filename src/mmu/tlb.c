/* tlb.c - the software TLB: tags, fills, and every kind of invalidation (SDM vol. 3A section 4.10).
 *
 * An entry's tag is page | address space number | privilege. A space is a CR3's PCID (or "the"
 * space without PCIDs); flushing a space gives it a fresh number instead of touching entries, so
 * the arrays are swept only when numbers run out, or global translations go. An entry of a global
 * page serves every space (tlb_holds). An entry exists only where the fast path is
 * exactly right: plain RAM, permission for that privilege, A (and D for writes) already set, no
 * write trace, no data breakpoint on the page. */
#include <string.h>

#include "mmu/mmu_internal.h"

static void tell_all(struct vcpu *v)
{
    for (struct tlb_observer *o = mmu_of(v)->observers; o; o = o->next) o->all(o->ctx);
}

static void sweep(struct vcpu *v)
{
    memset(v->tlb.e, 0xFF, sizeof v->tlb.e);
    struct mmu_state *m = mmu_of(v);
    tell_all(v);
    memset(m->region_4m, 0, sizeof m->region_4m);
    memset(m->region_1g, 0, sizeof m->region_1g);
}

/* A never-used number; when they run out every space loses its own and the arrays are swept. */
static u16 fresh_asn(struct vcpu *v)
{
    struct mmu_state *m = mmu_of(v);
    if (m->next_asn == ASN_COUNT) {
        sweep(v);
        for (u32 i = 0; i < SPACES; i++) m->space[i].valid = false;
        m->next_asn = 0;
    }
    return m->next_asn++;
}

static void space_use(struct vcpu *v, u32 i)
{
    struct mmu_state *m = mmu_of(v);
    m->current = i;
    m->space[i].used = ++m->uses;
    tlb_mode_changed(v);
}

static void space_renew(struct vcpu *v, u32 i, u64 key)
{
    struct mmu_state *m = mmu_of(v);
    for (struct tlb_observer *o = m->observers; o && m->space[i].valid; o = o->next)
        o->space_dropped(o->ctx, m->space[i].asn);
    u16 asn = fresh_asn(v);
    m->space[i] = (struct space){.key = key, .asn = asn, .valid = true};
}

/* Index of the space with @key, or of the least recently used one to reuse. */
static u32 space_pick(struct mmu_state *m, u64 key, bool *found)
{
    u32 oldest = 0;
    for (u32 i = 0; i < SPACES; i++) {
        if (m->space[i].valid && m->space[i].key == key) {
            *found = true;
            return i;
        }
        if (!m->space[i].valid) m->space[i].used = 0;
        if (m->space[i].used < m->space[oldest].used) oldest = i;
    }
    *found = false;
    return oldest;
}

void tlb_cr3_loaded(struct vcpu *v, u64 operand)
{
    struct mmu_state *m = mmu_of(v);
    bool pcide = v->cr4 & CR4_PCIDE;
    u64 key = pcide ? operand & CR3_PCID_MASK : 0;
    bool found;
    u32 i = space_pick(m, key, &found);
    if (!found || !(pcide && operand & CR3_NOFLUSH)) space_renew(v, i, key);
    space_use(v, i);
}

void tlb_flush_spaces(struct vcpu *v)
{
    struct mmu_state *m = mmu_of(v);
    tell_all(v);
    memset(v->tlb.e, 0xFF, sizeof v->tlb.e); /* those of global pages count in every space */
    for (u32 i = 0; i < SPACES; i++) m->space[i].valid = false;
    tlb_cr3_loaded(v, v->cr3);
}

void tlb_drop_all(struct vcpu *v)
{
    sweep(v);
    tlb_flush_spaces(v);
}

u64 tlb_ctx(const struct vcpu *v, bool sys)
{
    const struct mmu_state *m = v->mmu_state;
    u32 priv = PRIV_SUPERVISOR;
    if (v->cpl == 3) priv = sys ? PRIV_SUPERVISOR : PRIV_USER;
    else if (!sys && v->cr4 & CR4_SMAP && v->rflags & RFLAGS_AC) priv = PRIV_SUPERVISOR_AC;
    return (u64)m->space[m->current].asn << PRIV_BITS | priv;
}

void tlb_mode_changed(struct vcpu *v)
{
    v->tlb.ctx = tlb_ctx(v, false);
    for (struct tlb_observer *o = mmu_of(v)->observers; o; o = o->next) o->ctx_changed(o->ctx);
}

void mmu_observe(struct vcpu *v, struct tlb_observer *o)
{
    o->next = mmu_of(v)->observers;
    mmu_of(v)->observers = o;
    o->all(o->ctx);
    o->ctx_changed(o->ctx);
}

void mmu_unobserve(struct vcpu *v, struct tlb_observer *o)
{
    struct tlb_observer **at = &mmu_of(v)->observers;
    while (*at && *at != o) at = &(*at)->next;
    if (*at) *at = o->next;
}

/* ---- large pages: remember hashed regions that have them ------------------------------------- */

static void region_mark(u64 *map, u64 region)
{
    map[region % REGION_SLOTS / 64] |= BIT(region % 64);
}
static bool region_marked(const u64 *map, u64 region)
{
    return map[region % REGION_SLOTS / 64] & BIT(region % 64);
}

/* Drop every entry whose page lies in the 2^shift region of @gva. */
static void drop_region(struct vcpu *v, gva_t gva, u32 shift)
{
    for (u32 k = 0; k < ACC_KINDS; k++) {
        for (u32 i = 0; i < TLB_ENTRIES; i++) {
            struct tlb_entry *e = &v->tlb.e[k][i];
            if (e->tag >> shift == gva >> shift) e->tag = TLB_EMPTY;
        }
    }
}

/* The page's entries in space @asn and the global ones. Here they share a slot in every space. */
static void drop_page(struct vcpu *v, gva_t gva, u32 asn)
{
    struct mmu_state *m = mmu_of(v);
    for (struct tlb_observer *o = m->observers; o; o = o->next) o->page(o->ctx, gva, asn);
    u64 i = tlb_index(gva);
    for (u32 k = 0; k < ACC_KINDS; k++) v->tlb.e[k][i].tag = TLB_EMPTY;
    if (region_marked(m->region_4m, gva >> REGION_4M_SHIFT)) drop_region(v, gva, REGION_4M_SHIFT);
    if (region_marked(m->region_1g, gva >> REGION_1G_SHIFT)) drop_region(v, gva, REGION_1G_SHIFT);
}

void tlb_invlpg(struct vcpu *v, gva_t gva)
{
    const struct mmu_state *m = mmu_of(v);
    drop_page(v, gva, m->space[m->current].asn);
}

static u32 asn_of(const struct mmu_state *m, u64 key)
{
    for (u32 i = 0; i < SPACES; i++) {
        if (m->space[i].valid && m->space[i].key == key) return m->space[i].asn;
    }
    return ASN_NONE;
}

int tlb_invpcid(struct vcpu *v, u64 type, u64 pcid, gva_t gva)
{
    struct mmu_state *m = mmu_of(v);
    enum { ADDRESS, SINGLE, ALL_GLOBAL, ALL };
    switch (type) {
    case ADDRESS: drop_page(v, gva, asn_of(m, pcid)); break;
    case SINGLE:
        for (u32 i = 0; i < SPACES; i++) {
            if (m->space[i].valid && m->space[i].key == pcid) space_renew(v, i, pcid);
        }
        if (!m->space[m->current].valid) tlb_flush_spaces(v);
        tlb_mode_changed(v);
        break;
    case ALL_GLOBAL:
    case ALL: tlb_flush_spaces(v); break;
    }
    return 0;
}

/* ---- filling --------------------------------------------------------------------------------- */

/* A data breakpoint on the page keeps its accesses on the slow path. */
bool mmu_watched(const struct vcpu *v, gva_t gva)
{
    if (likely(!(v->dr7 & 0xFF))) return false;
    for (u32 i = 0; i < 4; i++) {
        if (v->dr7 >> (i * 2) & 3 && (v->dr[i] & PAGE_MASK) == (gva & PAGE_MASK)) return true;
    }
    return false;
}

static void note_global(struct vcpu *v, u64 i, enum access kind, bool global)
{
    if (kind == ACC_EXEC) return; /* exec_page says it */
    u64 *word = &v->tlb.global[kind][i / 64];
    *word = (*word & ~BIT(i % 64)) | (global ? BIT(i % 64) : 0);
}

void tlb_fill(struct vcpu *v, gva_t gva, enum access kind, u64 ctx, const struct walk *w)
{
    struct mmu_state *m = mmu_of(v);
    hva_t page = mem_page_ptr(v->mem, w->gpa);
    if (!page) return;
    if (kind != ACC_EXEC && mmu_watched(v, gva)) return;
    if (kind == ACC_WRITE && (!w->writable || mem_page_trace(v->mem, w->gpa))) return;
    struct tlb_entry *e = &v->tlb.e[kind][tlb_index(gva)];
    e->tag = (gva & PAGE_MASK) | ctx;
    e->addend = (u64)(uintptr_t)page - (gva & PAGE_MASK);
    note_global(v, tlb_index(gva), kind, w->global);
    if (kind == ACC_EXEC)
        v->tlb.exec_page[tlb_index(gva)] = (w->gpa & PAGE_MASK) |
                                           (w->global ? TLB_EXEC_GLOBAL : 0) |
                                           (w->page_shift > PAGE_SHIFT ? TLB_EXEC_LARGE : 0);
    if (w->page_shift == REGION_1G_SHIFT) region_mark(m->region_1g, gva >> REGION_1G_SHIFT);
    else if (w->page_shift > PAGE_SHIFT) region_mark(m->region_4m, gva >> REGION_4M_SHIFT);
    v->stats.tlb_fills++;
}

void tlb_drop_writes(struct vcpu *v, gpa_t page_gpa)
{
    for (struct tlb_observer *o = mmu_of(v)->observers; o; o = o->next) o->writes(o->ctx, page_gpa);
    hva_t page = mem_page_ptr(v->mem, page_gpa);
    for (u32 i = 0; i < TLB_ENTRIES; i++) {
        struct tlb_entry *e = &v->tlb.e[ACC_WRITE][i];
        if (e->tag != TLB_EMPTY && (e->tag & PAGE_MASK) + e->addend == (u64)(uintptr_t)page)
            e->tag = TLB_EMPTY;
    }
}

void tlb_drop_all_writes(struct vcpu *v)
{
    tell_all(v);
    memset(v->tlb.e[ACC_WRITE], 0xFF, sizeof v->tlb.e[ACC_WRITE]);
}
