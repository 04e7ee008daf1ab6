/* e820 - built by walking the slots in address order and cutting out what is not for the guest's
 * use. */
#include "boot/e820.h"

#include <stdlib.h>

#include "base/check.h"
#include "boot/layout.h"
#include "mem/map.h"

/* Mapped as RAM, for machines that have no host bridge to say otherwise. */
static int add_shadow(struct mem *mem, struct err *e)
{
    struct mem_map *map = malloc(sizeof *map);
    if (!map) return err_set(e, E_NOMEM, "guest memory");
    int rc = mem_add_device(mem, HIGH_RAM_START - VGA_END, E820_SHADOW, e);
    struct mem_piece p = {
        .base = VGA_END, .bytes = HIGH_RAM_START - VGA_END, .backing = (u32)rc, .rom = false};
    mem_map_now(mem, map);
    if (rc >= 0) rc = mem_map_add(map, mem, &p, e);
    if (rc >= 0) mem_map_apply(mem, map, NULL, NULL);
    free(map);
    return rc;
}

int e820_add_ram(struct mem *mem, u64 ram_bytes, struct err *e)
{
    if (ram_bytes < MEM_BYTES_MIN || ram_bytes > MEM_BYTES_MAX || ram_bytes % PAGE_BYTES) {
        return err_set(e, E_RANGE,
                       "memory of %llu bytes: not whole pages, or not %llu MiB to %llu GiB",
                       (unsigned long long)ram_bytes, (unsigned long long)(MEM_BYTES_MIN >> 20),
                       (unsigned long long)(MEM_BYTES_MAX >> 30));
    }
    u64 low = min_u64(ram_bytes, PCI_HOLE_START);
    int rc = mem_add(mem, 0, LOW_RAM_END, false, e);
    if (rc < 0) return rc;
    rc = add_shadow(mem, e);
    if (rc == 0 && low > HIGH_RAM_START)
        rc = mem_add(mem, HIGH_RAM_START, low - HIGH_RAM_START, false, e);
    if (rc < 0 || ram_bytes == low) return rc;
    return mem_add(mem, RAM_ABOVE_4G, ram_bytes - low, false, e);
}

/* Append [start, end); an empty range adds nothing, a neighbour of the same type grows. */
static void add(struct e820 *map, gpa_t start, gpa_t end, enum e820_type type)
{
    if (start >= end) return;
    struct e820_entry *last = map->count ? &map->entry[map->count - 1] : NULL;
    if (last && last->type == type && last->base + last->bytes == start) {
        last->bytes += end - start;
        return;
    }
    ASSERT(map->count < E820_ENTRIES_MAX, "e820 entries for %u slots", (unsigned)MEM_SLOTS_MAX);
    map->entry[map->count++] = (struct e820_entry){start, end - start, type};
}

/* The part of slot @s inside [window[0], window[1]). */
static void add_part(struct e820 *map, const struct mem_slot *s, const gpa_t window[2],
                     enum e820_type type)
{
    add(map, max_u64(s->base, window[0]), min_u64(s->base + s->bytes, window[1]), type);
}

static const struct {
    gpa_t window[2];
    enum e820_type type;
} regions[] = {
    /* what memory at these addresses is for; between them it is not mentioned */
    {{0, EBDA_START}, E820_RAM},
    {{EBDA_START, LOW_RAM_END}, E820_RESERVED},
    {{ACPI_START, ACPI_END}, E820_RESERVED},
    {{HIGH_RAM_START, UINT64_MAX}, E820_RAM},
};
static_assert(MEM_SLOTS_MAX + ARRAY_LEN(regions) <= E820_ENTRIES_MAX,
              "each slot adds one entry, each region border one more");

void e820_build(struct e820 *map, const struct mem *mem)
{
    map->count = 0;
    for (u32 i = 0; i < mem->slots; i++) {
        const struct mem_slot *s = &mem->slot[i];
        if (s->rom) {
            add(map, s->base, s->base + s->bytes, E820_RESERVED);
            continue;
        }
        if (!s->fixed && s->base >= HIGH_RAM_START) continue;
        for (u32 r = 0; r < ARRAY_LEN(regions); r++) {
            add_part(map, s, regions[r].window, regions[r].type);
        }
    }
}

bool e820_is_ram(const struct e820 *map, gpa_t base, u64 bytes)
{
    if (bytes == 0 || base + bytes < base) return false;
    for (u32 i = 0; i < map->count; i++) {
        const struct e820_entry *r = &map->entry[i];
        if (r->type == E820_RAM && base >= r->base && base + bytes <= r->base + r->bytes) {
            return true;
        }
    }
    return false;
}

gpa_t e820_find_high(const struct e820 *map, gpa_t floor, gpa_t end, u64 bytes, u64 align)
{
    for (u32 i = map->count; i-- > 0;) {
        const struct e820_entry *r = &map->entry[i];
        gpa_t lo = max_u64(r->base, floor), hi = min_u64(r->base + r->bytes, end);
        if (r->type != E820_RAM || hi <= lo || hi - lo < bytes) continue;
        gpa_t at = align_down(hi - bytes, align);
        if (at >= lo) return at;
    }
    return 0;
}

gpa_t e820_ram_end(const struct e820 *map, gpa_t limit)
{
    gpa_t end = 0;
    for (u32 i = 0; i < map->count; i++) {
        const struct e820_entry *r = &map->entry[i];
        if (r->type == E820_RAM && r->base < limit) end = min_u64(r->base + r->bytes, limit);
    }
    return end;
}
