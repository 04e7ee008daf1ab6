/* code_index.h - the blocks of the code cache by guest-physical address and variant. A set that
 * overflows forgets one, which is translated again if need be. */
#ifndef ENGINE_BT_CODE_INDEX_H
#define ENGINE_BT_CODE_INDEX_H
#include "engine/bt/code.h"

enum { BLOCK_SETS = 1 << 16, BLOCK_WAYS = 8 };
struct block_ref {
    u32 slot; /* 0 when empty */
    u32 tag;  /* of the key: not all of it */
};
static inline u64 block_key(gpa_t gpa, u32 variant) { return gpa * VARIANTS + variant + 1; }
static inline u32 block_tag(u64 key) { return (u32)(key * 0x9E3779B97F4A7C15ull >> 20); }
/* Those of a guest page are in one page of the index. */
static inline struct block_ref *block_set(const struct bt_code *c, u64 key)
{
    enum { PAGE_SETS = PAGE_BYTES / (BLOCK_WAYS * sizeof(struct block_ref)) };
    const u64 off = (key - 1) / VARIANTS % PAGE_BYTES, page = (key - 1) / (VARIANTS * PAGE_BYTES);
    const u64 at = (page * VARIANTS + (key - 1) % VARIANTS) * 0x9E3779B97F4A7C15ull >> 32;
    const u64 set =
        at % (BLOCK_SETS / PAGE_SETS) * PAGE_SETS + (off * 0x9E3779B1u >> 12) % PAGE_SETS;
    return &c->index[set * BLOCK_WAYS];
}
static inline u64 slot_key(const struct bt_slot *s)
{
    return block_key(s->page_gpa + s->b.guest_off, s->variant);
}
/** code_known - block of @variant at @gpa, dropped perhaps, but not dead; or NULL. */
static inline const struct bt_slot *code_known(const struct bt_code *c, gpa_t gpa, u32 variant)
{
    const u64 key = block_key(gpa, variant);
    const struct block_ref *set = block_set(c, key);
    for (u32 i = 0; i < BLOCK_WAYS; i++) {
        const struct bt_slot *s = &c->slot[set[i].slot];
        if (set[i].tag == block_tag(key) && set[i].slot && slot_key(s) == key) return s;
    }
    return NULL;
}
/** code_find - the same if it may be entered. */
static inline const struct bt_slot *code_find(const struct bt_code *c, gpa_t gpa, u32 variant)
{
    const struct bt_slot *s = code_known(c, gpa, variant);
    return s && !s->dropped ? s : NULL;
}
#endif
