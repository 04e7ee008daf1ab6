/* code_index.h - the blocks of the code cache by guest-physical address and variant: chains of
 * those with the same hash, the latest first. */
#ifndef ENGINE_BT_CODE_INDEX_H
#define ENGINE_BT_CODE_INDEX_H
#include "engine/bt/code.h"

enum { BLOCK_BUCKETS = 1 << 17 };
static inline u64 block_key(gpa_t gpa, u32 variant) { return gpa * VARIANTS + variant + 1; }
/* Those of a guest page are in one page of the index. */
static inline u32 *block_bucket(const struct bt_code *c, u64 key)
{
    enum { PAGE_BUCKETS = PAGE_BYTES / sizeof(u32) };
    const u64 off = (key - 1) / VARIANTS % PAGE_BYTES, page = (key - 1) / (VARIANTS * PAGE_BYTES);
    const u64 at = (page * VARIANTS + (key - 1) % VARIANTS) * 0x9E3779B97F4A7C15ull >> 32;
    return &c->index[at % (BLOCK_BUCKETS / PAGE_BUCKETS) * PAGE_BUCKETS +
                     (off * 0x9E3779B1u >> 12) % PAGE_BUCKETS];
}
static inline u64 slot_key(const struct bt_slot *s)
{
    return block_key(s->page_gpa + s->b.guest_off, s->variant);
}
/** code_known - block of @variant at @gpa, dropped perhaps, but not dead; or NULL. */
static inline const struct bt_slot *code_known(const struct bt_code *c, gpa_t gpa, u32 variant)
{
    const u64 key = block_key(gpa, variant);
    for (u32 i = *block_bucket(c, key); i; i = c->slot[i].same_hash)
        if (slot_key(&c->slot[i]) == key) return &c->slot[i];
    return NULL;
}
/** code_find - the same if it may be entered. */
static inline const struct bt_slot *code_find(const struct bt_code *c, gpa_t gpa, u32 variant)
{
    const struct bt_slot *s = code_known(c, gpa, variant);
    return s && !s->dropped ? s : NULL;
}
#endif
