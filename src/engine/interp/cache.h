/* cache.h - decoded code of one vCPU: runs of instructions ("blocks"), found by guest-physical address.
 * A block ends at an unconditional transfer, at anything that may change how code is decoded, at its page's end, or at
 * BLOCK_INSNS. Blocks of one page share a set of slots, so forgetting a page looks at one set. Instructions stay in place until the pool is
 * full; then everything is forgotten at once. Owner: the vCPU's thread. */
#ifndef ENGINE_INTERP_CACHE_H
#define ENGINE_INTERP_CACHE_H
#include "base/err.h"
#include "cpu/vcpu.h"

enum { BLOCK_INSNS = 32, CACHE_SETS = 1024, CACHE_WAYS = 128, CACHE_INSNS = 96 * 1024, CROSSERS = 256 };

struct block {
    u64 key; /* see cache_key; 0 when empty */
    const struct insn *first;
    u32 count; /* instructions, 1..BLOCK_INSNS */
    u32 bytes;
};
/* An instruction that crosses pages: reused while its bytes are still the same. */
struct crosser {
    u64 key; /* rip and mode */
    struct insn insn;
};
struct cache {
    struct block *block; /* [CACHE_SETS][CACHE_WAYS] */
    struct insn *pool;
    struct crosser *crosser; /* [CROSSERS] */
    u32 used;                /* of the pool */
};
int cache_init(struct cache *c, struct err *e) MUST_USE;
void cache_fini(struct cache *c);
void cache_drop_all(struct cache *c);
/** cache_drop - forget every block that starts in a page of [start, end). */
void cache_drop(struct cache *c, gpa_t start, gpa_t end);

/* What a block's decoding depended on: its physical address, code size, and protection (some rows differ in real mode). */
static inline u64 cache_key(const struct vcpu *v, gpa_t gpa)
{
    return gpa << 4 | (u64)vcpu_is_protected(v) << 3 | v->mode << 1 | 1;
}
static inline struct block *cache_slot(const struct cache *c, gpa_t gpa)
{
    u64 page = gpa >> PAGE_SHIFT, off = gpa & (PAGE_BYTES - 1);
    u64 set = (page ^ page >> 10) % CACHE_SETS, way = (off ^ off >> 5) % CACHE_WAYS;
    return &c->block[set * CACHE_WAYS + way];
}

/**
 * cache_build - decode the block at v->rip, whose first byte is at @gpa and *@code.
 * Returns it, or NULL when the first instruction crosses the page or does not decode: the caller takes the precise path.
 */
const struct block *cache_build(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code);
/**
 * cache_crosser - the instruction at v->rip that crosses a page, decoded now or before. NULL with the fault raised.
 */
const struct insn *cache_crosser(struct cache *c, struct vcpu *v, gva_t lin);
#endif
