/* cache.h - decoded code of one vCPU: runs of instructions ("blocks"), found by guest-physical
 * address.
 *
 * A block ends at an unconditional transfer, at anything that may change how code is decoded, at
 * its page's end, or at BLOCK_INSNS. Each page with code has a record that names, for every byte
 * offset, the block starting there; records live in sets of ways by page number. Blocks and
 * instructions are only ever added; when a pool is full everything is forgotten at once.
 * Owner: the vCPU's thread. */
#ifndef ENGINE_COMMON_CACHE_H
#define ENGINE_COMMON_CACHE_H
#include "base/err.h"
#include "cpu/vcpu.h"
#include "isa/head.h"

enum {
    BLOCK_INSNS = 32,
    CACHE_WAYS = 4,
    CACHE_BLOCKS = 65535, /* a record names them in 16 bits, 0 for none */
    CROSSERS = 256,
    SINGLES = 1024,
};

struct block {
    const struct insn *first;
    u32 count; /* instructions, 1..BLOCK_INSNS */
    u16 bytes;
    u16 mode; /* what decoding depended on: enum isa_mode */
};
struct code_page {
    u64 page; /* guest-physical page number + 1; 0 when unused */
    u16 start[PAGE_BYTES];
};
/* An instruction that crosses pages: reused while its bytes are still the same. */
struct crosser {
    gva_t lin;
    struct insn insn;
};
/* One instruction, of no block: reused while its bytes are still the same. */
struct single {
    gpa_t gpa;
    struct block block;
    struct insn insn;
};
/* How much one holds: sets of page records (a power of two; 32 KiB each when used) and decoded
 * instructions. */
struct cache_size {
    u32 sets, insns;
};
struct cache {
    struct cache_size size;
    struct code_page *pages;  /* [sets][CACHE_WAYS]; untouched ones cost nothing */
    struct code_page *last;   /* found last */
    struct block *blocks;     /* [CACHE_BLOCKS + 1], 1-based */
    struct insn *pool;        /* [insns] */
    struct crosser *crosser;  /* [CROSSERS] */
    struct single *single;    /* [SINGLES] */
    struct insn_shape *shape; /* [INSN_SHAPES]: nothing decodes twice */
    u32 blocks_used, insns_used, victim;
    struct block passing; /* decoded last by cache_pass */
    struct insn passing_insn[BLOCK_INSNS];
    struct insn once; /* by cache_once */
};
int cache_init(struct cache *c, struct cache_size size, struct err *e) MUST_USE;
void cache_fini(struct cache *c);
/** cache_drop - forget every block that starts in a page of [start, end). */
void cache_drop(struct cache *c, gpa_t start, gpa_t end);

/** cache_page - the record of the page holding @gpa, or NULL. */
struct code_page *cache_page(struct cache *c, gpa_t gpa);

/** cache_find - the block at @gpa decoded for the current code size, or NULL. */
static inline const struct block *cache_find(struct cache *c, const struct vcpu *v, gpa_t gpa)
{
    struct code_page *p = c->last;
    if (unlikely(p->page != (gpa >> PAGE_SHIFT) + 1)) {
        p = cache_page(c, gpa);
        if (!p) return NULL;
        c->last = p;
    }
    const struct block *b = &c->blocks[p->start[gpa & (PAGE_BYTES - 1)]];
    return likely(b->mode == v->mode && b->count) ? b : NULL;
}

/**
 * cache_build - decode the block at v->rip, whose first byte is at @gpa and *@code.
 * Returns it, or NULL when the first instruction crosses the page or does not decode: the caller
 * takes the precise path.
 */
const struct block *cache_build(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code);
/** cache_pass - the same, not to be found again: valid until the next call. */
const struct block *cache_pass(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code);
/** cache_single - the same for nothing but the first instruction, found again as long as that is
 * what it was: valid until the next call. Nobody is told that there is code. */
const struct block *cache_single(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code);
/** cache_once - the instruction at *@code, of which @avail bytes are there, to be executed now:
 * valid until the next call. Nobody is told that there is code. NULL when it does not decode. */
const struct insn *cache_once(struct cache *c, struct vcpu *v, const u8 *code, u32 avail);
/** cache_ends_block - may nothing be decoded ahead past @i? */
bool cache_ends_block(const struct insn *i);
/** cache_crosser - the instruction at v->rip, linear @lin, that crosses a page, decoded now or
 * before. NULL with the fault raised. */
const struct insn *cache_crosser(struct cache *c, struct vcpu *v, gva_t lin);
#endif
