/* jump.h - the table of jump targets: host code by linear guest address, direct mapped. Translated
 * code (translate.c: tr_jump_table) and enter.S (bt_jump) look into it without touching a flag. An
 * entry that does not match, or is empty, leads the long way. Mixing upper bits of the address into
 * the index was tried: no fewer misses in node, and every jump is 5 % of Lua's time dearer.
 *
 * Direct jumps to other pages look nothing up: each has a slot, by number, with the host code to go
 * to, at first its own way to the lookup (far.h). */
#ifndef ENGINE_BT_JUMP_H
#define ENGINE_BT_JUMP_H
#include "engine/bt/bt_internal.h"

enum {
    JUMP_CACHES = 12,
    JUMP_SUPERVISOR = 4, /* the first ones: by vector state, and 64- or 32-bit code */
    JUMP_SLOTS = 1 << 15,
    JUMP_FILLS = JUMP_SLOTS, /* noted, so that few slots are emptied fast */
    JUMP_BITS = 15,
    JUMP_ENTRIES = 1 << JUMP_BITS,
    JUMP_SHIFT = 2,                        /* few jumps go to addresses closer than 4 bytes */
    JUMP_GROUP = PAGE_BYTES >> JUMP_SHIFT, /* entries of pages with the same low five bits */
};
#define JUMP_MASK 0x1FFFCull /* address bits 16:2 choose the entry */

struct jump_table {
    u64 minus_address[JUMP_ENTRIES];
    const u8 *code[JUMP_ENTRIES];
    const u8 *slot[JUMP_SLOTS];
    u32 slot_page[JUMP_SLOTS]; /* of a slot that was filled: linear page, low bits */
    u32 index, epoch;          /* which one it is; how often one was emptied by then */
    /* slots from 1 to known are empty, but for those in filled[]; which has overflowed when there
     * are more than it can hold: then any may be filled */
    u32 known, fills, life; /* life: far_links.life when that was so */
    u32 filled[JUMP_FILLS];
};

/* Empty: what is there matches no address that leads to it (0 leads to the first entry). */
static inline u64 jump_nothing(u32 index) { return index ? 0 : 1; }

static inline u32 jump_index(u64 address) { return (u32)((address & JUMP_MASK) >> JUMP_SHIFT); }
#endif
