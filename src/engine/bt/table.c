/* table.c - which pages of the tables are accessible, which table is in use, and dropping entries.
 *
 * Pages of a table become accessible one by one and stay so, refilled with poison when dropped:
 * dropping a table costs its used pages. Two bounds, on the pages and on the mappings of the
 * process that scattered pages cost, hold over all tables of the vCPU; at a bound the user table
 * used longest ago is given back to the host whole, with the host's page tables, and if that does
 * not help all are. */
#include "engine/bt/table.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/check.h"
#include "engine/bt/bt_internal.h"
#include "engine/bt/host.h"
#include "engine/bt/table_internal.h"

static_assert((PAGE_BYTES & 63) == 0 && TABLE_SHIFT < 64, "TB's low six bits are the shift count");

/* ---- pages ----------------------------------------------------------------------------------- */

static u32 hash_of(u32 k, u32 region)
{
    return (u32)((region + k * 0x9E3779B1u) * 0x85EBCA6Bull >> 7) & (PAGE_HASH - 1);
}

struct table_page *table_page_find(struct bt_tables *t, u32 k, u32 region)
{
    for (u32 id = t->hash[hash_of(k, region)]; id; id = t->page[id].same_hash) {
        struct table_page *p = &t->page[id];
        if (p->region == region && p->table == k) return p;
    }
    return NULL;
}

static void hash_remove(struct bt_tables *t, u16 id)
{
    u16 *at = &t->hash[hash_of(t->page[id].table, t->page[id].region)];
    while (*at != id) at = &t->page[*at].same_hash;
    *at = t->page[id].same_hash;
}

static void poison(struct bt_tables *t, struct table_page *p)
{
    u64 *e = page_entries(t, p);
    const gva_t gva = region_gva(p->region);
    const u64 value = gva & BIT(47) ? 0 : BT_POISON_LOW;
    if (p->table >= TABLE_USERS)
        windows_drop(&t->windows, p->table - TABLE_USERS, gva, BIT(REGION_SHIFT));
    for (u32 i = 0; i < REGION_ENTRIES; i++) e[i] = value;
    if (p->region == region_of(BT_VSYSCALL))
        e[entry_of(BT_VSYSCALL)] = bt_table_poison(BT_VSYSCALL);
    p->flags &= PAGE_NONGLOBAL;
}

static void drop_page(struct bt_tables *t, struct table_page *p)
{
    if (p->flags & PAGE_USED) poison(t, p);
}

static void drop_table(struct bt_tables *t, u32 k)
{
    for (u32 id = t->table[k].first_page; id; id = t->page[id].next) drop_page(t, &t->page[id]);
}

/* Give the whole table back to the host; a supervisor's only together with all others. */
static void release_table(struct bt_tables *t, u32 k)
{
    struct one_table *o = &t->table[k];
    if (!o->first_page) return;
    if (k >= TABLE_USERS) windows_drop(&t->windows, k - TABLE_USERS, 0, BIT(47));
    void *at = table_at(t, k);
    void *p = mmap(at, BT_TABLE_BYTES, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    ASSERT(p == at, "the host cannot take back table %u", k); /* there might be a hole now */
    madvise(at, BT_TABLE_BYTES, MADV_DONTDUMP);
    for (u16 id = o->first_page, next; id; id = next) {
        next = t->page[id].next;
        hash_remove(t, id);
        t->page[id] = (struct table_page){.table = TABLE_NONE, .next = t->free_page};
        t->free_page = id;
    }
    o->first_page = 0;
    t->vmas -= o->vmas;
    o->vmas = 0;
}

/* The only way the supervisor's pages go: so the list of their non-global ones is empty then. */
static void release_all(struct bt_tables *t)
{
    t->nonglobal = 0;
    for (u32 k = 0; k < t->count; k++) release_table(t, k);
}

/* Release something, anything but @keep if possible. */
static void make_room(struct bt_tables *t, u32 keep)
{
    u32 oldest = TABLE_NONE;
    for (u32 k = TABLE_USERS; k < t->count; k++) {
        const struct one_table *o = &t->table[k];
        if (k == keep || !o->first_page) continue;
        if (oldest == TABLE_NONE || o->used < t->table[oldest].used) oldest = k;
    }
    if (oldest != TABLE_NONE) release_table(t, oldest);
    else release_all(t);
}

/* Mappings one more page costs: it splits the inaccessible area, or joins its neighbours. */
static int vma_cost(struct bt_tables *t, u32 k, u32 region)
{
    int beside =
        (region && table_page_find(t, k, region - 1)) + !!table_page_find(t, k, region + 1);
    return beside == 0 ? 2 : beside == 1 ? 0 : -1;
}

static bool make_accessible(struct bt_tables *t, u32 k, u32 region)
{
    u8 *at = table_at(t, k) + (u64)region * PAGE_BYTES;
    if (mprotect(at, PAGE_BYTES, PROT_READ | PROT_WRITE) == 0) return true;
    release_all(t);
    return mprotect(at, PAGE_BYTES, PROT_READ | PROT_WRITE) == 0;
}

struct table_page *table_page_get(struct bt_tables *t, u32 k, u32 region)
{
    struct table_page *p = table_page_find(t, k, region);
    if (likely(p != NULL)) return p;
    while (!t->free_page || t->vmas + 2 > VMAS_MAX) make_room(t, k);
    if (!make_accessible(t, k, region)) return NULL;
    struct one_table *o = &t->table[k];
    int cost = vma_cost(t, k, region);
    if (cost < 0 && !o->vmas) cost = 0;
    o->vmas += (u32)cost;
    t->vmas += (u32)cost;
    u16 id = t->free_page;
    u16 *bucket = &t->hash[hash_of(k, region)];
    p = &t->page[id];
    t->free_page = p->next;
    *p = (struct table_page){
        .region = region, .table = (u8)k, .same_hash = *bucket, .next = o->first_page};
    *bucket = o->first_page = id;
    poison(t, p);
    return p;
}

bool bt_table_populate(struct bt_tables *t, gva_t gva)
{
    return table_page_get(t, table_now(t), region_of(gva)) != NULL;
}

bool bt_table_is_table_fault(const struct bt_tables *t, u64 host_addr, gva_t *gva_page)
{
    u64 off = host_addr - (u64)(uintptr_t)t->base;
    if (off >= t->count * TABLE_STRIDE || off % TABLE_STRIDE < JUMP_AREA_BYTES) return false;
    u64 index = (off % TABLE_STRIDE - JUMP_AREA_BYTES) / sizeof(u64);
    *gva_page = sign_extend(index << PAGE_SHIFT, 6);
    return true;
}

/* ---- which table ----------------------------------------------------------------------------- */

static void drop_nonglobal(struct bt_tables *t)
{
    for (u16 id = t->nonglobal, next; id; id = next) {
        struct table_page *p = &t->page[id];
        next = p->next_nonglobal;
        drop_page(t, p);
        p->flags = 0;
        p->next_nonglobal = 0;
    }
    t->nonglobal = 0;
}

static void disown(struct bt_tables *t, u32 k)
{
    if (t->table[k].asn != ASN_NONE) t->table_of[t->table[k].asn] = 0;
    t->table[k].asn = ASN_NONE;
}

/* The user table of space @asn: its own, or a free one, or that used longest ago. */
static u32 user_table(struct bt_tables *t, u32 asn)
{
    u32 k = t->table_of[asn];
    if (!k) {
        k = TABLE_USERS;
        for (u32 i = k; i < t->count && t->table[k].asn != ASN_NONE; i++) {
            if (t->table[i].asn == ASN_NONE || t->table[i].used < t->table[k].used) k = i;
        }
        disown(t, k);
        drop_table(t, k);
        windows_release(&t->windows, k - TABLE_USERS);
        t->table[k].asn = (u16)asn;
        t->table_of[asn] = (u8)k;
    }
    t->table[k].used = ++t->uses;
    return k;
}

static void on_ctx_changed(void *ctx)
{
    struct bt_tables *t = ctx;
    const u64 tlb_ctx = t->v->tlb.ctx;
    const u32 priv = (u32)bits(tlb_ctx, PRIV_BITS - 1, 0), asn = (u32)(tlb_ctx >> PRIV_BITS);
    if (unlikely(asn != t->asn)) {
        drop_nonglobal(t);
        t->asn = asn;
        t->tb[PRIV_USER] = 0;
    }
    if (unlikely(!t->tb[priv])) t->tb[priv] = table_tb(t, user_table(t, asn));
    t->v->eng.table = t->tb[priv];
}

/* ---- invalidation ---------------------------------------------------------------------------- */

static void drop_1g(struct bt_tables *t, u32 k, u32 region)
{
    enum { REGIONS_SHIFT = 30 - REGION_SHIFT };
    for (u32 id = t->table[k].first_page; id; id = t->page[id].next) {
        struct table_page *p = &t->page[id];
        if (p->flags & PAGE_1G && p->region >> REGIONS_SHIFT == region >> REGIONS_SHIFT)
            drop_page(t, p);
    }
}

static void drop_entry(struct bt_tables *t, const struct table_page *p, gva_t gva)
{
    if (p->table >= TABLE_USERS)
        windows_drop(&t->windows, p->table - TABLE_USERS, gva & PAGE_MASK, PAGE_BYTES);
    page_entries(t, p)[entry_of(gva)] = bt_table_poison(gva);
}

static void drop_gva(struct bt_tables *t, u32 k, gva_t gva)
{
    const u32 region = region_of(gva);
    struct table_page *p = table_page_find(t, k, region);
    if (p && p->flags & PAGE_LARGE) drop_page(t, p);
    else if (p) drop_entry(t, p, gva);
    if (t->has_4m && (p = table_page_find(t, k, region ^ 1)) && p->flags & PAGE_4M) drop_page(t, p);
    const u32 gib = (u32)bits(gva, 47, 30) % GIB_FILTER;
    if (t->has_1g[gib / 64] & BIT(gib % 64)) drop_1g(t, k, region);
}

static void on_page(void *ctx, gva_t gva, u32 asn)
{
    struct bt_tables *t = ctx;
    drop_gva(t, TABLE_K, gva);
    drop_gva(t, TABLE_KA, gva);
    if (t->user_globals) {
        for (u32 k = TABLE_USERS; k < t->count; k++) drop_gva(t, k, gva);
    } else if (asn < ASNS && t->table_of[asn]) {
        drop_gva(t, t->table_of[asn], gva);
    }
}

/* Its table is dropped when it is given to another space. */
static void on_space_dropped(void *ctx, u32 asn)
{
    struct bt_tables *t = ctx;
    if (t->table_of[asn]) disown(t, t->table_of[asn]);
    if (asn != t->asn) return;
    drop_nonglobal(t);
    t->tb[PRIV_USER] = 0;
    t->asn = ASN_NONE;
}

static void on_all(void *ctx)
{
    struct bt_tables *t = ctx;
    for (u32 k = 0; k < t->count; k++) {
        drop_table(t, k);
        if (k >= TABLE_USERS) disown(t, k);
    }
    drop_nonglobal(t);
    t->has_4m = t->user_globals = false;
    for (u32 i = 0; i < ARRAY_LEN(t->has_1g); i++) t->has_1g[i] = 0;
    t->asn = ASN_NONE;
    on_ctx_changed(t); /* the run may go on with the context it has */
}

static void on_writes(void *ctx, gpa_t page_gpa) { table_protect(ctx, page_gpa); }

/* ---- life ------------------------------------------------------------------------------------ */

static void *reserve(u64 bytes, int prot)
{
    void *p = mmap(NULL, bytes, prot, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void init_records(struct bt_tables *t)
{
    for (u32 id = PAGE_IDS - 1; id > 0; id--) {
        t->page[id] = (struct table_page){.table = TABLE_NONE, .next = t->free_page};
        t->free_page = (u16)id;
    }
    for (u32 k = 0; k < TABLES_MAX; k++) t->table[k].asn = ASN_NONE;
    t->asn = ASN_NONE;
    t->tb[PRIV_SUPERVISOR] = table_tb(t, TABLE_K);
    t->tb[PRIV_SUPERVISOR_AC] = table_tb(t, TABLE_KA);
    t->observer = (struct tlb_observer){.ctx = t,
                                        .page = on_page,
                                        .space_dropped = on_space_dropped,
                                        .all = on_all,
                                        .writes = on_writes,
                                        .ctx_changed = on_ctx_changed};
}

int bt_tables_create(struct bt_tables **out, struct vcpu *v, const struct bt_views *views,
                     u32 users, struct err *e)
{
    ASSERT(users && TABLE_USERS + users <= TABLES_MAX, "%u user tables", users);
    struct bt_tables *t = calloc(1, sizeof *t);
    if (!t) return err_set(e, E_NOMEM, "translation tables of cpu %u", v->id);
    t->v = v;
    t->views = views;
    t->count = TABLE_USERS + users;
    t->names = reserve(max_u64(views->pages, 1) * sizeof *t->names, PROT_READ | PROT_WRITE);
    if (!t->names) goto free_tables;
    t->base = reserve(t->count * TABLE_STRIDE, PROT_NONE);
    if (!t->base) goto unmap_names;
    madvise(t->base, t->count * TABLE_STRIDE, MADV_DONTDUMP);
    for (u32 k = 0; k < t->count; k++)
        if (mprotect(t->base + k * TABLE_STRIDE, JUMP_AREA_BYTES, PROT_READ | PROT_WRITE) < 0)
            goto unmap_tables;
    init_records(t);
    if (bt_views_divided(views) && bt_host_find().windows) windows_init(&t->windows, users);
    mmu_observe(v, &t->observer);
    *out = t;
    return 0;
unmap_tables:
    munmap(t->base, t->count * TABLE_STRIDE);
unmap_names:
    munmap(t->names, max_u64(views->pages, 1) * sizeof *t->names);
free_tables:
    free(t);
    return err_set(e, E_NOMEM, "no address space for the translation tables of cpu %u", v->id);
}

void bt_tables_destroy(struct bt_tables *t)
{
    if (!t) return;
    mmu_unobserve(t->v, &t->observer);
    windows_fini(&t->windows);
    munmap(t->base, t->count * TABLE_STRIDE);
    munmap(t->names, max_u64(t->views->pages, 1) * sizeof *t->names);
    free(t);
}

u64 bt_table_supervisor(const struct bt_tables *t, bool ac)
{
    return t->tb[ac ? PRIV_SUPERVISOR_AC : PRIV_SUPERVISOR];
}
