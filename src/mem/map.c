/* map.c - see map.h. */
#include "mem/map.h"

#include <stdatomic.h>
#include <string.h>

#include "base/check.h"

void mem_map_now(const struct mem *mem, struct mem_map *map)
{
    map->slots = mem->slots;
    memcpy(map->slot, mem->slot, sizeof map->slot);
}

void mem_map_fixed(const struct mem *mem, struct mem_map *map)
{
    map->slots = 0;
    for (u32 i = 0; i < mem->slots; i++) {
        if (mem->slot[i].fixed) map->slot[map->slots++] = mem->slot[i];
    }
}

int mem_map_check(const struct mem_map *map, const struct mem_piece *p, struct err *e)
{
    const unsigned long long b = p->base, n = p->bytes;
    if (!p->bytes || (p->base | p->bytes) & ~PAGE_MASK)
        return err_set(e, E_INVAL, "guest memory at %#llx, %#llx bytes: not whole pages", b, n);
    if (p->bytes > BIT(GPA_BITS) || p->base > BIT(GPA_BITS) - p->bytes)
        return err_set(e, E_INVAL, "guest memory at %#llx, %#llx bytes: beyond %d address bits", b,
                       n, GPA_BITS);
    for (u32 i = 0; i < map->slots; i++) {
        const struct mem_slot *s = &map->slot[i];
        if (p->base < s->base + s->bytes && s->base < p->base + p->bytes)
            return err_set(e, E_BUSY, "guest memory at %#llx, %#llx bytes: overlaps", b, n);
    }
    if (map->slots == MEM_SLOTS_MAX)
        return err_set(e, E_NOSPC, "guest memory: more than %d pieces", MEM_SLOTS_MAX);
    return 0;
}

/* Does @b go on where @a ends, in the same way? */
static bool continues(const struct mem_slot *a, const struct mem_slot *b)
{
    const u64 n = a->bytes;
    return a->base + n == b->base && a->backing == b->backing && a->hva + n == b->hva &&
           a->rom == b->rom && a->fixed == b->fixed && !a->fixed &&
           (a->written ? a->written + n == b->written : !b->written);
}

static void remove_slot(struct mem_map *map, u32 i)
{
    map->slots--;
    memmove(&map->slot[i], &map->slot[i + 1], (map->slots - i) * sizeof map->slot[0]);
}

static void insert_slot(struct mem_map *map, const struct mem_slot *slot)
{
    u32 i = map->slots++;
    for (; i > 0 && map->slot[i - 1].base > slot->base; i--) map->slot[i] = map->slot[i - 1];
    map->slot[i] = *slot;
    if (i + 1 < map->slots && continues(&map->slot[i], &map->slot[i + 1])) {
        map->slot[i].bytes += map->slot[i + 1].bytes;
        remove_slot(map, i + 1);
    }
    if (i > 0 && continues(&map->slot[i - 1], &map->slot[i])) {
        map->slot[i - 1].bytes += map->slot[i].bytes;
        remove_slot(map, i);
    }
}

static bool inside(const struct mem *mem, u32 backing, u64 offset, u64 bytes)
{
    return backing < mem->backings && !(offset & ~PAGE_MASK) &&
           bytes <= mem->backing[backing].bytes && offset <= mem->backing[backing].bytes - bytes;
}

int mem_map_add(struct mem_map *map, const struct mem *mem, const struct mem_piece *p,
                struct err *e)
{
    int rc = mem_map_check(map, p, e);
    if (rc < 0) return rc;
    if (!inside(mem, p->backing, p->offset, p->bytes) ||
        (p->written && !inside(mem, p->written - 1, p->written_offset, p->bytes)))
        return err_set(e, E_INVAL, "guest memory at %#llx: not inside what backs it",
                       (unsigned long long)p->base);
    const struct mem_backing *b = &mem->backing[p->backing];
    struct mem_slot s = {.base = p->base,
                         .bytes = p->bytes,
                         .hva = b->hva + p->offset,
                         .fd_offset = b->fd_offset + p->offset,
                         .trace = b->trace + (p->offset >> PAGE_SHIFT),
                         .backing = p->backing,
                         .rom = p->rom,
                         .fixed = p->fixed};
    if (p->rom && p->written) s.written = mem->backing[p->written - 1].hva + p->written_offset;
    insert_slot(map, &s);
    return 0;
}

/* ---- applying -------------------------------------------------------------------------------- */

static bool same(const struct mem_slot *a, const struct mem_slot *b)
{
    return a->base == b->base && a->bytes == b->bytes && a->hva == b->hva && a->rom == b->rom &&
           a->written == b->written;
}

static bool has(const struct mem_slot *slot, u32 slots, const struct mem_slot *s)
{
    for (u32 i = 0; i < slots; i++) {
        if (same(&slot[i], s)) return true;
    }
    return false;
}

static void mark_rom(const struct mem_slot *s)
{
    for (u64 i = 0; i < s->bytes >> PAGE_SHIFT; i++) {
        u8 trace = atomic_load(&s->trace[i]);
        if (s->rom && !(trace & MEM_ROM)) atomic_fetch_or(&s->trace[i], MEM_ROM);
        if (!s->rom && trace & MEM_ROM) atomic_fetch_and(&s->trace[i], (u8)~MEM_ROM);
    }
}

static u32 largest(const struct mem_map *map)
{
    u32 best = 0;
    for (u32 i = 1; i < map->slots; i++) {
        if (map->slot[i].bytes > map->slot[best].bytes) best = i;
    }
    return best;
}

void mem_map_apply(struct mem *mem, const struct mem_map *map, mem_changed_fn *changed, void *ctx)
{
    struct mem_map old;
    ASSERT(map->slots <= MEM_SLOTS_MAX, "%u slots", map->slots);
    mem_map_now(mem, &old);
    memcpy(mem->slot, map->slot, map->slots * sizeof map->slot[0]);
    memset(mem->slot + map->slots, 0, (MEM_SLOTS_MAX - map->slots) * sizeof map->slot[0]);
    mem->slots = map->slots;
    mem->largest = largest(map);
    mem->generation++;
    for (u32 i = 0; i < mem->slots; i++) {
        const struct mem_slot *s = &mem->slot[i];
        if (has(old.slot, old.slots, s)) continue;
        if (s->rom || !s->fixed) mark_rom(s);
        if (changed) changed(ctx, s->base, s->base + s->bytes);
    }
    for (u32 i = 0; i < old.slots && changed; i++) {
        const struct mem_slot *s = &old.slot[i];
        if (!has(mem->slot, mem->slots, s)) changed(ctx, s->base, s->base + s->bytes);
    }
}
