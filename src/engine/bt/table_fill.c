/* table_fill.c - what goes into the tables, and taking away the right to write.
 *
 * An entry points into the writable view only where a write needs nothing else done: allowed, D
 * set, page neither traced nor ROM. Otherwise it points into the read-only view, where a read is
 * right. To take the right away from a guest page exactly, the page remembers by name up to three
 * entries that were made writable. Names are not removed when entries go; each is checked when
 * used. A page written through more entries at once is found by looking at every entry. */
#include <stdatomic.h>

#include "base/check.h"
#include "engine/bt/table_internal.h"

/* ---- names of writable entries --------------------------------------------------------------- */

static u64 name_make(const struct bt_tables *t, const struct table_page *p, u32 entry)
{
    return (u64)(p - t->page) * REGION_ENTRIES | entry;
}
static u64 name_get(u64 names, u32 i) { return names >> (i * NAME_BITS) & (BIT(NAME_BITS) - 1); }

static gva_t entry_gva(const struct table_page *p, u32 entry)
{
    return region_gva(p->region) + entry * (u64)PAGE_BYTES;
}

/* Does entry @entry of @p let write to @host_page of the writable view? */
static bool is_entry_of(const struct bt_tables *t, const struct table_page *p, u32 entry,
                        u64 host_page)
{
    const u64 host = page_entries(t, p)[entry] + entry_gva(p, entry);
    return windows_view(&t->windows, host) == host_page;
}

static bool is_name_of(const struct bt_tables *t, u64 name, u64 host_page)
{
    const struct table_page *p = &t->page[name / REGION_ENTRIES];
    return name && p->table != TABLE_NONE &&
           is_entry_of(t, p, (u32)(name % REGION_ENTRIES), host_page);
}

/* Remember that entry @name will be made writable for the guest page whose names are *@names. */
static void name_add(const struct bt_tables *t, u64 *names, u64 name, u64 host_page)
{
    u32 room = NAMES;
    if (*names & NAMES_OVERFLOW) return;
    for (u32 i = NAMES; i-- > 0;) {
        u64 have = name_get(*names, i);
        if (have == name) return;
        if (!have) room = i;
    }
    for (u32 i = 0; room == NAMES && i < NAMES; i++) {
        if (!is_name_of(t, name_get(*names, i), host_page)) room = i;
    }
    if (room == NAMES) {
        *names |= NAMES_OVERFLOW;
        return;
    }
    *names &= ~((BIT(NAME_BITS) - 1) << (room * NAME_BITS));
    *names |= name << (room * NAME_BITS);
}

/* The entry becomes one for reading, through @ro. */
static void make_read_only(struct bt_tables *t, const struct table_page *p, u32 entry, u64 ro)
{
    const gva_t gva = entry_gva(p, entry);
    if (p->table >= TABLE_USERS) windows_drop(&t->windows, p->table - TABLE_USERS, gva, PAGE_BYTES);
    page_entries(t, p)[entry] = ro - gva;
}

/* The same wherever an entry lets write to @rw. */
static void make_all_read_only(struct bt_tables *t, u64 rw, u64 ro)
{
    for (u32 id = 1; id < PAGE_IDS; id++) {
        const struct table_page *p = &t->page[id];
        if (p->table == TABLE_NONE || !(p->flags & PAGE_USED)) continue;
        for (u32 i = 0; i < REGION_ENTRIES; i++)
            if (is_entry_of(t, p, i, rw)) make_read_only(t, p, i, ro);
    }
}

void table_protect(struct bt_tables *t, gpa_t page_gpa)
{
    const struct bt_view *w = bt_view_find(t->views, page_gpa);
    if (!w) return;
    const u64 off = (page_gpa & PAGE_MASK) - w->slot->base;
    const u64 rw = (u64)(uintptr_t)w->rw + off, ro = (u64)(uintptr_t)w->ro + off;
    u64 *names = &t->names[w->first_page + (off >> PAGE_SHIFT)];
    if (*names & NAMES_OVERFLOW) make_all_read_only(t, rw, ro);
    for (u32 i = 0; i < NAMES && !(*names & NAMES_OVERFLOW); i++) {
        const u64 name = name_get(*names, i);
        if (is_name_of(t, name, rw))
            make_read_only(t, &t->page[name / REGION_ENTRIES], (u32)(name % REGION_ENTRIES), ro);
    }
    *names = 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

/* One miss being served. */
struct miss {
    struct bt_tables *t;
    struct table_page *page;
    u64 *entries;
    gva_t base; /* of the region */
};

static u8 trace_of(const struct bt_view *w, gpa_t gpa)
{
    return atomic_load(&w->slot->trace[(gpa - w->slot->base) >> PAGE_SHIFT]);
}

/* Entry @i becomes the page at @gpa in @w. */
static void install(const struct miss *m, u32 i, const struct bt_view *w, gpa_t gpa, bool writable)
{
    const u64 off = (gpa & PAGE_MASK) - w->slot->base;
    const gva_t gva = m->base + i * (u64)PAGE_BYTES;
    const bool write = writable && !trace_of(w, gpa);
    const u64 rw = (u64)(uintptr_t)w->rw + off;
    u64 host = rw;
    if (m->page->table >= TABLE_USERS)
        windows_keep(&m->t->windows, m->page->table - TABLE_USERS, gva, write ? rw : 0, &host);
    if (write) {
        u64 *names = &m->t->names[w->first_page + (off >> PAGE_SHIFT)];
        name_add(m->t, names, name_make(m->t, m->page, i), rw);
        m->entries[i] = host - gva;
    } else {
        m->entries[i] = (u64)(uintptr_t)w->ro + off - gva;
    }
}

/* Note what dropping has to know about the mapping now entering the page. */
static void note_mapping(const struct miss *m, const struct walk *w)
{
    struct bt_tables *t = m->t;
    struct table_page *p = m->page;
    p->flags |= PAGE_USED;
    if (w->page_shift > PAGE_SHIFT) p->flags |= PAGE_LARGE;
    if (w->page_shift == 22) {
        p->flags |= PAGE_4M;
        t->has_4m = true;
    }
    if (w->page_shift == 30) {
        const u32 gib = (p->region >> (30 - REGION_SHIFT)) % GIB_FILTER;
        p->flags |= PAGE_1G;
        t->has_1g[gib / 64] |= BIT(gib % 64);
    }
    if (p->table >= TABLE_USERS) {
        t->user_globals |= w->global;
    } else if (!w->global && !(p->flags & PAGE_NONGLOBAL)) {
        p->flags |= PAGE_NONGLOBAL;
        p->next_nonglobal = t->nonglobal;
        t->nonglobal = (u16)(p - t->page);
    }
}

/* The part of a large page that this table page covers. */
static void install_region(const struct miss *m, const struct walk *walk)
{
    gpa_t gpa = align_down(walk->gpa, BIT(REGION_SHIFT));
    const struct bt_view *w = NULL;
    for (u32 i = 0; i < REGION_ENTRIES; i++, gpa += PAGE_BYTES) {
        if (!w || gpa - w->slot->base >= w->slot->bytes) w = bt_view_find(m->t->views, gpa);
        if (!w || mmu_watched(m->t->v, m->base + i * (u64)PAGE_BYTES)) continue;
        install(m, i, w, gpa, walk->writable);
    }
}

/* Empty entries around @i whose translations the processor might have cached, too: A is set. */
static void install_around(const struct miss *m, u32 i, const struct walk *at_i)
{
    struct vcpu *v = m->t->v;
    const u32 first = i & ~(u32)(AROUND - 1);
    for (u32 j = first; j < first + AROUND; j++) {
        const gva_t gva = m->base + j * (u64)PAGE_BYTES;
        struct walk walk;
        if (m->entries[j] != bt_table_poison(gva) || mmu_watched(v, gva)) continue;
        if (mmu_walk_beside(v, at_i, (s32)j - (s32)i, &walk) || !walk.accessed) continue;
        const struct bt_view *w = bt_view_find(m->t->views, walk.gpa);
        if (!w) continue;
        note_mapping(m, &walk);
        install(m, j, w, walk.gpa, walk.writable);
    }
}

/* Addresses the tables can stand for; others the interpreter refuses or truncates. */
static bool is_reachable(const struct vcpu *v, gva_t gva)
{
    if (v->mode != ISA_64) return gva >> 32 == 0;
    return sign_extend(gva, 6) == gva && !(v->cr4 & CR4_LA57);
}

enum bt_fill bt_table_fill(struct bt_tables *t, struct vcpu *v, gva_t gva, enum access kind)
{
    ASSERT(v == t->v && kind != ACC_EXEC, "tables of cpu %u", t->v->id);
    struct walk walk;
    if (!is_reachable(v, gva) || mmu_watched(v, gva)) return FILL_SLOW;
    if (unlikely(v->mem->a20_clear)) return FILL_SLOW; /* large pages have holes */
    if (mmu_walk(v, gva, kind, 0, &walk) || !walk.accessed) return FILL_SLOW;
    const struct bt_view *w = bt_view_find(t->views, walk.gpa);
    if (!w) return FILL_SLOW;
    if (kind == ACC_WRITE && (!walk.writable || trace_of(w, walk.gpa))) return FILL_SLOW;
    struct miss m = {.t = t, .page = table_page_get(t, table_now(t), region_of(gva))};
    if (!m.page) return FILL_SLOW;
    m.entries = page_entries(t, m.page);
    m.base = region_gva(m.page->region);
    const u32 i = entry_of(gva);
    const bool was_empty = m.entries[i] == bt_table_poison(gva);
    note_mapping(&m, &walk);
    if (walk.page_shift > PAGE_SHIFT) {
        install_region(&m, &walk);
    } else {
        install(&m, i, w, walk.gpa, walk.writable);
        if (was_empty) install_around(&m, i, &walk);
    }
    v->stats.tlb_fills++;
    return FILL_DONE;
}
