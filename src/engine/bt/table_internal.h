/* table_internal.h - what table.c (which pages of the tables exist, and dropping) and table_fill.c
 * (entries, and who may write to a guest page) share. */
#ifndef ENGINE_BT_TABLE_INTERNAL_H
#define ENGINE_BT_TABLE_INTERNAL_H
#include "engine/bt/jump.h"
#include "engine/bt/table.h"
#include "engine/bt/window.h"
#include "mmu/mmu.h"

enum {
    TABLE_K,     /* supervisor                      */
    TABLE_KA,    /* supervisor, AC set under SMAP   */
    TABLE_USERS, /* first of the user tables        */
    TABLES_MAX = BT_TABLES_MAX,
    TABLE_NONE = 0xFF,
    REGION_SHIFT = 21, /* one page of a table covers 2 MiB of guest addresses */
    REGION_ENTRIES = 512,
    PAGE_IDS = 4096, /* 0 is none: 4095 pages of tables, 16 MiB */
    PAGE_HASH = 8192,
    VMAS_MAX = 1024, /* 32 vCPUs: half of the 65530 mappings a process may have */
    ASNS = 1 << (PAGE_SHIFT - PRIV_BITS),
    GIB_FILTER = 1024,
    NAME_BITS = 21, /* | page id 20:9 | entry 8:0 |; 0: none */
    NAMES = 3,
    AROUND = 16, /* pages looked at around one that missed, a power of two */
};
#define NAMES_OVERFLOW BIT(63)
static_assert(NAMES * NAME_BITS <= 63, "names beside the overflow bit");

enum page_flags {
    PAGE_USED = 1 << 0,      /* some entry may be full                                   */
    PAGE_LARGE = 1 << 1,     /* some are of a large page: INVLPG takes them all          */
    PAGE_4M = 1 << 2,        /* and of a 4 MiB page: those of the neighbour as well      */
    PAGE_1G = 1 << 3,        /* and of a 1 GiB page                                      */
    PAGE_NONGLOBAL = 1 << 4, /* in the list of what goes when the address space changes  */
};
/* One accessible page of a table. */
struct table_page {
    u32 region; /* bits 47:21 of its guest addresses       */
    u8 table;   /* TABLE_NONE: this record is free          */
    u8 flags;
    u16 same_hash; /* page ids                                 */
    u16 next;      /* of the same table, or the next free one  */
    u16 next_nonglobal;
};
struct one_table {
    u64 used; /* time of last use, users only       */
    u16 asn;  /* users only; ASN_NONE: nobody's     */
    u16 first_page;
    u32 vmas; /* mappings its pages cost            */
};

struct bt_tables {
    struct vcpu *v;
    const struct bt_views *views;
    u8 *base; /* table k at k * TABLE_STRIDE, behind its jump tables */
    u32 count;
    u32 asn; /* the space that K's non-global entries and tb[PRIV_USER] are for */
    u32 vmas;
    u64 uses;
    u64 tb[3];  /* enum tlb_priv: value of v->eng.table; 0: not chosen yet (user) */
    u64 *names; /* of each guest page: entries through which it may be written, or NAMES_OVERFLOW */
    bool has_4m, user_globals;
    u64 has_1g[GIB_FILTER / 64]; /* hashed by bits 47:30 */
    u16 free_page, nonglobal;
    struct tlb_observer observer;
    struct windows windows;
    struct one_table table[TABLES_MAX];
    u8 table_of[ASNS]; /* 0: none */
    u16 hash[PAGE_HASH];
    struct table_page page[PAGE_IDS];
};

static inline u32 region_of(gva_t gva) { return (u32)bits(gva, 47, REGION_SHIFT); }
static inline u32 entry_of(gva_t gva) { return (u32)bits(gva, REGION_SHIFT - 1, PAGE_SHIFT); }
/* Canonical address of a region's first byte. */
static inline gva_t region_gva(u32 region)
{
    return (u64)((s64)((u64)region << (REGION_SHIFT + 16)) >> 16);
}
#define TABLE_STRIDE (JUMP_AREA_BYTES + BT_TABLE_BYTES)
static inline u8 *table_at(const struct bt_tables *t, u32 k)
{
    return t->base + k * TABLE_STRIDE + JUMP_AREA_BYTES;
}
/* The value of v->eng.table for it. */
static inline u64 table_tb(const struct bt_tables *t, u32 k)
{
    return (u64)(uintptr_t)table_at(t, k) + TABLE_SHIFT;
}
static inline u64 *page_entries(const struct bt_tables *t, const struct table_page *p)
{
    return (u64 *)(table_at(t, p->table) + (u64)p->region * PAGE_BYTES);
}
/* The table in use at the present privilege. */
static inline u32 table_now(const struct bt_tables *t)
{
    return (u32)((t->v->eng.table - (u64)(uintptr_t)t->base) / TABLE_STRIDE);
}
/* table.c: the page of table @k for @gva: NULL when absent / when the host has no room. */
struct table_page *table_page_find(struct bt_tables *t, u32 k, u32 region);
struct table_page *table_page_get(struct bt_tables *t, u32 k, u32 region);
/* table_fill.c: no entry lets anybody write to the guest page any more. */
void table_protect(struct bt_tables *t, gpa_t page_gpa);
#endif
