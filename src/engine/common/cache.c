/* cache.c - see cache.h. */
#include "engine/common/cache.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/insn_exec.h"
#include "engine/common/hostmem.h"
#include "engine/common/native.h"
#include "engine/common/step.h"
#include "mmu/mmu.h"

enum { CODE_LINE_BYTES = 64 }; /* mmu_protect_code works on whole lines */

static size_t pages_bytes(const struct cache *c)
{
    return sizeof(struct code_page) * c->size.sets * CACHE_WAYS;
}
static size_t pool_bytes(const struct cache *c) { return sizeof(struct insn) * c->size.insns; }
static const size_t blocks_bytes = sizeof(struct block) * (CACHE_BLOCKS + 1);
static const size_t crosser_bytes = sizeof(struct crosser) * CROSSERS;
static const size_t single_bytes = sizeof(struct single) * SINGLES;
static const size_t shape_bytes = sizeof(struct insn_shape) * INSN_SHAPES;

int cache_init(struct cache *c, struct cache_size size, struct err *e)
{
    *c = (struct cache){.size = size};
    c->pages = hostmem_reserve(pages_bytes(c));
    c->blocks = hostmem_reserve(blocks_bytes);
    c->pool = hostmem_reserve(pool_bytes(c));
    c->crosser = hostmem_reserve(crosser_bytes);
    c->single = hostmem_reserve(single_bytes);
    c->shape = hostmem_reserve(shape_bytes);
    c->last = c->pages;
    if (c->pages && c->blocks && c->pool && c->crosser && c->single && c->shape) return 0;
    cache_fini(c);
    return err_set(e, E_NOMEM, "interpreter: no memory for decoded code");
}

void cache_fini(struct cache *c)
{
    hostmem_release(c->pages, pages_bytes(c));
    hostmem_release(c->blocks, blocks_bytes);
    hostmem_release(c->pool, pool_bytes(c));
    hostmem_release(c->crosser, crosser_bytes);
    hostmem_release(c->single, single_bytes);
    hostmem_release(c->shape, shape_bytes);
    *c = (struct cache){0};
}

static void drop_all(struct cache *c)
{
    for (u32 i = 0; i < c->size.sets * CACHE_WAYS; i++)
        if (c->pages[i].page) c->pages[i].page = 0; /* untouched ones stay so */
    c->blocks_used = c->insns_used = 0;
}

static struct code_page *set_of(struct cache *c, u64 page)
{
    return &c->pages[(page ^ page >> 10) % c->size.sets * CACHE_WAYS];
}

struct code_page *cache_page(struct cache *c, gpa_t gpa)
{
    u64 page = gpa >> PAGE_SHIFT;
    struct code_page *set = set_of(c, page);
    for (u32 i = 0; i < CACHE_WAYS; i++) {
        if (set[i].page == page + 1) return &set[i];
    }
    return NULL;
}

/* A record for the page, taking over another's when the set is full. */
static struct code_page *page_make(struct cache *c, gpa_t gpa)
{
    u64 page = gpa >> PAGE_SHIFT;
    struct code_page *p = cache_page(c, gpa), *set = set_of(c, page);
    if (p) return p;
    for (u32 i = 0; i < CACHE_WAYS && !p; i++) {
        if (!set[i].page) p = &set[i];
    }
    if (!p) p = &set[c->victim++ % CACHE_WAYS];
    memset(p->start, 0, sizeof p->start);
    p->page = page + 1;
    return p;
}

void cache_drop(struct cache *c, gpa_t start, gpa_t end)
{
    u64 first = start >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;
    if (last - first < c->size.sets) {
        for (u64 page = first; page <= last; page++) {
            struct code_page *p = cache_page(c, page << PAGE_SHIFT);
            if (p) p->page = 0;
        }
        return;
    }
    for (u32 i = 0; i < c->size.sets * CACHE_WAYS; i++) {
        if (c->pages[i].page - 1 >= first && c->pages[i].page - 1 <= last) c->pages[i].page = 0;
    }
}

/* A conditional jump that is not taken goes on inside. */
bool cache_ends_block(const struct insn *i)
{
    if (i->row >= insn_rows_count) return true; /* INSN_UD: has no row, ends in #UD */
    u16 attr = insn_rows[i->row].attr;
    return attr & A_ENDBLOCK && !(attr & A_CONDITIONAL);
}

/* Decode the block whose first byte is at @gpa and *@code into @first[BLOCK_INSNS]; count 0 when
 * the first instruction crosses the page or does not decode. */
static struct block decode(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code,
                           struct insn *first)
{
    struct insn *i = first;
    u32 room = PAGE_BYTES - (u32)(gpa & (PAGE_BYTES - 1)), at = 0, safe = 0;
    while (i - first < BLOCK_INSNS && at < room) {
        u32 avail = (u32)min_u64(room - at, INSN_BYTES_MAX);
        if (at + avail > safe) { /* whole lines are protected */
            safe = (u32)(align_up(gpa + at + avail, CODE_LINE_BYTES) - gpa);
            mmu_protect_code(v, gpa + at, safe - at);
        }
        int len = isa_decode_shaped(c->shape, i, code + at, avail, v->mode);
        if (len <= 0) break;
        insn_bind(v, i, native_exec);
        at += (u32)len;
        if (cache_ends_block(i++)) break;
    }
    v->stats.decodes += (u64)(i - first);
    return (struct block){first, (u32)(i - first), (u16)at, v->mode};
}

const struct block *cache_build(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code)
{
    if (c->insns_used + BLOCK_INSNS > c->size.insns || c->blocks_used == CACHE_BLOCKS) drop_all(c);
    const struct block b = decode(c, v, gpa, code, &c->pool[c->insns_used]);
    if (!b.count) return NULL;
    c->insns_used += b.count;
    u32 index = ++c->blocks_used;
    c->last = page_make(c, gpa);
    c->last->start[gpa & (PAGE_BYTES - 1)] = (u16)index;
    c->blocks[index] = b;
    return &c->blocks[index];
}

const struct block *cache_pass(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code)
{
    c->passing = decode(c, v, gpa, code, c->passing_insn);
    return c->passing.count ? &c->passing : NULL;
}

const struct insn *cache_once(struct cache *c, struct vcpu *v, const u8 *code, u32 avail)
{
    const u32 bytes = (u32)min_u64(avail, INSN_BYTES_MAX);
    if (isa_decode_shaped(c->shape, &c->once, code, bytes, v->mode) <= 0) return NULL;
    insn_bind(v, &c->once, native_exec);
    v->stats.decodes++;
    return &c->once;
}

const struct block *cache_single(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code)
{
    struct single *s = &c->single[(gpa ^ gpa >> PAGE_SHIFT) % SINGLES];
    const u32 room = PAGE_BYTES - (u32)(gpa & (PAGE_BYTES - 1));
    if (likely(s->gpa == gpa && s->block.count && s->block.mode == v->mode) &&
        likely(!memcmp(code, s->insn.bytes, s->insn.len)))
        return &s->block;
    s->block.count = 0;
    const int len =
        isa_decode_shaped(c->shape, &s->insn, code, (u32)min_u64(room, INSN_BYTES_MAX), v->mode);
    if (len <= 0) return NULL;
    insn_bind(v, &s->insn, native_exec);
    v->stats.decodes++;
    s->gpa = gpa;
    s->block = (struct block){&s->insn, 1, (u16)len, v->mode};
    return &s->block;
}

/* Are the bytes at @lin still those of @i? Both pages must be fetchable. */
static bool same_bytes(struct vcpu *v, gva_t lin, const struct insn *i)
{
    hva_t page[2];
    gpa_t gpa;
    u32 first = PAGE_BYTES - (u32)(lin & ~PAGE_MASK);
    if (mmu_fetch_page(v, lin, &page[0], &gpa) || !page[0]) return false;
    if (mmu_fetch_page(v, lin + first, &page[1], &gpa) || !page[1]) return false;
    return !memcmp(page[0] + PAGE_BYTES - first, i->bytes, first) &&
           !memcmp(page[1], i->bytes + first, i->len - first);
}

const struct insn *cache_crosser(struct cache *c, struct vcpu *v, gva_t lin)
{
    struct crosser *x = &c->crosser[(lin >> PAGE_SHIFT) % CROSSERS];
    u32 first = PAGE_BYTES - (u32)(lin & ~PAGE_MASK);
    if (x->lin == lin && x->insn.mode == v->mode && x->insn.len > first &&
        same_bytes(v, lin, &x->insn))
        return &x->insn;
    x->lin = 0;
    if (step_fetch(v, &x->insn)) return NULL;
    x->lin = lin;
    return &x->insn;
}
