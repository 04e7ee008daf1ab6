/* jump.h - the tables of jump targets: host code by linear guest address, direct mapped. Translated
 * code (translate.c: tr_jump_table) looks into them without touching a flag. An entry that does not
 * match, or is empty, leads the long way. Mixing upper bits of the address into the index was
 * tried: no fewer misses in node, and every jump is 5 % of Lua's time dearer.
 *
 * Direct jumps to other pages look nothing up: each has a slot, by number, with the host code to go
 * to, at first its own way to the lookup (far.h).
 *
 * They lie below the translation tables (table.h), so that TB is their base as well: each of those
 * has four, by what the code assumes. Parts never used take no memory. */
#ifndef ENGINE_BT_JUMP_H
#define ENGINE_BT_JUMP_H
#include "engine/bt/bt_internal.h"
#include "engine/bt/targets.h"

enum {
    JUMP_KINDS = 4,          /* of one translation table: by vector state, and 64- or 32-bit code */
    JUMP_SLOTS = 1 << 17,    /* a quarter was used up after ten programs */
    JUMP_PAGES = 1 << 14,    /* as bt_code.pages */
    JUMP_FILLS = JUMP_SLOTS, /* noted, so that few slots are emptied fast */
    JUMP_BITS = 15,
    JUMP_ENTRIES = 1 << JUMP_BITS,
    JUMP_SHIFT = 2,                        /* few jumps go to addresses closer than 4 bytes */
    JUMP_GROUP = PAGE_BYTES >> JUMP_SHIFT, /* entries of pages with the same low five bits */
};

struct jump_table {
    u64 minus_address[JUMP_ENTRIES];
    const u8 *code[JUMP_ENTRIES];
    const u8 *slot[JUMP_SLOTS];
    u64 base[JUMP_PAGES];      /* linear address at which a page of code is entered (far.h) */
    u64 home[JUMP_PAGES];      /* far_tag() when that is valid */
    u32 slot_page[JUMP_SLOTS]; /* of a slot that was filled: linear page, low bits */
    u64 key;       /* of the code it is for (jump_cache.c); 0: of none, and nothing is in it */
    bool is_known; /* listed in bt_state.jump */
    bool orphan;   /* nothing has this key any more: its space was flushed */
    u16 mark;      /* of targets of this table */
    u32 epoch;     /* how often one was emptied by then */
    u64 root;      /* for user code: where the page tables are */
    struct jump_table *pair; /* of the supervisor: the other table its code may change to */
    /* slots from 1 to known are empty, but for those in filled[]; which has overflowed when there
     * are more than it can hold: then any may be filled */
    u32 known, fills, life; /* life: far_links.life when that was so */
    u32 filled[JUMP_FILLS];
    struct target_pages pages; /* targets are in */
};

/* Empty: what is there matches no address that leads to it (0 leads to the first entry). */
static inline u64 jump_nothing(u32 index) { return index ? 0 : 1; }

static inline u32 jump_index(u64 address)
{
    return (u32)bits(address, JUMP_SHIFT + JUMP_BITS - 1, JUMP_SHIFT);
}

/* May an instruction at @address go on in the next page? */
static inline bool jump_may_cross(u64 address)
{
    return (address & ~PAGE_MASK) + INSN_BYTES_MAX > PAGE_BYTES;
}

enum { JUMP_TABLE_BYTES = (sizeof(struct jump_table) + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES };
#define JUMP_AREA_BYTES ((u64)JUMP_KINDS * JUMP_TABLE_BYTES)
static inline u32 jump_kind(bool vectors, bool is32) { return (u32)vectors | (u32)is32 << 1; }
/** jump_at - what is at @off of the table of @kind, from TB. */
static inline s32 jump_at(u32 kind, size_t off)
{
    return (s32)off - (s32)((kind + 1) * JUMP_TABLE_BYTES) - TABLE_SHIFT;
}
/** jump_table_at - the table of @kind below translation table @table (v->eng.table). */
static inline struct jump_table *jump_table_at(u64 table, u32 kind)
{
    return (struct jump_table *)(uintptr_t)(table + (u64)(s64)jump_at(kind, 0));
}
#endif
