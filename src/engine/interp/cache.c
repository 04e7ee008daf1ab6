/* cache.c - see cache.h. */
#include "engine/interp/cache.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/insn_exec.h"
#include "engine/common/native.h"
#include "engine/common/step.h"
#include "mmu/mmu.h"

int cache_init(struct cache *c, struct err *e)
{
    *c = (struct cache){0};
    c->block = calloc((size_t)CACHE_SETS * CACHE_WAYS, sizeof *c->block);
    c->pool = calloc(CACHE_INSNS, sizeof *c->pool);
    c->crosser = calloc(CROSSERS, sizeof *c->crosser);
    if (c->block && c->pool && c->crosser) return 0;
    cache_fini(c);
    return err_set(e, E_NOMEM, "interpreter: no memory for decoded code");
}

void cache_fini(struct cache *c)
{
    free(c->block);
    free(c->pool);
    free(c->crosser);
    *c = (struct cache){0};
}

void cache_drop_all(struct cache *c)
{
    memset(c->block, 0, (size_t)CACHE_SETS * CACHE_WAYS * sizeof *c->block);
    c->used = 0;
}

static void drop_page(struct cache *c, gpa_t page)
{
    u64 set = (u64)(cache_slot(c, page) - c->block) / CACHE_WAYS;
    for (u32 i = 0; i < CACHE_WAYS; i++) {
        struct block *b = &c->block[set * CACHE_WAYS + i];
        if (b->key >> (PAGE_SHIFT + 4) == page >> PAGE_SHIFT) b->key = 0;
    }
}

void cache_drop(struct cache *c, gpa_t start, gpa_t end)
{
    if (end - start > (u64)CACHE_SETS * PAGE_BYTES) {
        memset(c->block, 0, (size_t)CACHE_SETS * CACHE_WAYS * sizeof *c->block);
        return;
    }
    for (gpa_t page = start & PAGE_MASK; page < end; page += PAGE_BYTES) drop_page(c, page);
}

/* Nothing may be decoded ahead past @i. */
static bool ends_block(const struct insn *i)
{
    return insn_rows[i->row].attr & A_ENDBLOCK;
}

const struct block *cache_build(struct cache *c, struct vcpu *v, gpa_t gpa, const u8 *code)
{
    if (c->used + BLOCK_INSNS > CACHE_INSNS) cache_drop_all(c);
    struct insn *first = &c->pool[c->used], *i = first;
    u32 room = PAGE_BYTES - (u32)(gpa & (PAGE_BYTES - 1)), at = 0;
    while (i - first < BLOCK_INSNS && at < room) {
        u32 avail = (u32)min_u64(room - at, INSN_BYTES_MAX);
        mmu_protect_code(v, gpa + at, avail);
        u8 copy[INSN_BYTES_MAX]; /* one look at bytes another vCPU may be changing */
        memcpy(copy, code + at, avail);
        int len = isa_decode(i, copy, avail, v->mode);
        if (len <= 0) break;
        insn_bind(v, i, native_exec);
        at += (u32)len;
        if (ends_block(i++)) break;
    }
    if (i == first) return NULL;
    c->used += (u32)(i - first);
    v->stats.decodes += (u64)(i - first);
    struct block *b = cache_slot(c, gpa);
    *b = (struct block){cache_key(v, gpa), first, (u32)(i - first), at};
    return b;
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
    u64 key = cache_key(v, lin);
    u32 first = PAGE_BYTES - (u32)(lin & ~PAGE_MASK);
    if (x->key == key && x->insn.len > first && same_bytes(v, lin, &x->insn)) return &x->insn;
    x->key = 0;
    if (step_fetch(v, &x->insn)) return NULL;
    x->key = key;
    return &x->insn;
}
