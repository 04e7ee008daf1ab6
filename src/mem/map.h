/* mem/map.h - what lies where in guest-physical memory, and changing it.
 *
 * RAM that mem_add() put somewhere stays there. Everything else - shadow RAM and ROM below 1 MiB,
 * firmware, frame buffers, option ROMs - is mapped, moved, unmapped and switched between read-only
 * and writable by making a new map and applying it:
 *     mem_map_fixed(mem, map);                 only what mem_add() put there
 *     mem_map_add(map, mem, &piece, e);        for each piece; the first to claim a place has it
 *     mem_map_apply(mem, map, changed, ctx);   says which ranges are different now
 * No vCPU may run meanwhile, and every consumer has to forget what it knows of the changed ranges
 * (mmu_map_changed).  Threads: the machine's loop thread, or set-up. */
#ifndef MEM_MAP_H
#define MEM_MAP_H
#include "mem/mem.h"

enum { MEM_PIECE_DROPPED = 0 };
/* Bytes [offset, offset + bytes) of a backing at guest-physical @base. */
struct mem_piece {
    gpa_t base;
    u64 bytes;
    u32 backing;
    u64 offset;
    bool rom;    /* the guest only reads it                                          */
    bool fixed;  /* mem_add's own                                                    */
    u32 written; /* @rom: MEM_PIECE_DROPPED, or number + 1 of the backing writes go to */
    u64 written_offset;
};
struct mem_map {
    u32 slots;
    struct mem_slot slot[MEM_SLOTS_MAX]; /* sorted, disjoint; neighbours that fit are one */
};

/** mem_map_fixed - the map with nothing but what mem_add() put there; mem_map_now - as it is. */
void mem_map_fixed(const struct mem *mem, struct mem_map *map);
void mem_map_now(const struct mem *mem, struct mem_map *map);
/** mem_map_check - could a piece go to [p->base, p->base + p->bytes)? Its backing is not looked at.
 * Errors: E_INVAL (not whole pages, beyond GPA_BITS), E_BUSY (overlaps), E_NOSPC (too many). */
int mem_map_check(const struct mem_map *map, const struct mem_piece *p, struct err *e) MUST_USE;
/** mem_map_add - put a piece there. Errors: as mem_map_check; E_INVAL when it is not inside its
 * backing. A device may ignore E_BUSY: what the guest puts over something else does not answer. */
int mem_map_add(struct mem_map *map, const struct mem *mem, const struct mem_piece *p,
                struct err *e);
/** mem_map_apply - from now on @mem is mapped so. @changed (may be NULL) is called for each range
 * that was, or is now, mapped differently, after the change. */
typedef void mem_changed_fn(void *ctx, gpa_t start, gpa_t end);
void mem_map_apply(struct mem *mem, const struct mem_map *map, mem_changed_fn *changed, void *ctx);
#endif
