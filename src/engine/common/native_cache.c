/* engine/common/native_cache.c - where thunks live: one memfd mapped twice, writable and
 * executable, never both at once. Equal code is stored once. Nothing is ever moved or dropped, so a
 * pointer kept in a decoded instruction stays good until native_fini(); when the space is used up,
 * further thunks are built in a scratch page for one execution at a time. */
#define _GNU_SOURCE
#include <string.h>

#include "engine/common/hostmem.h"
#include "engine/common/native_internal.h"

/* Where a thunk whose instruction faulted continues: give the monitor its own floating-point
 * environment back and return X_FAULT. */
static void put_fault_exit(struct native_cache *c)
{
    static const u8 head[] = {0xDB, 0xE3, 0xC7, 0x44, 0x24, 0xF8, 0x80, 0x1F,
                              0,    0,    0x0F, 0xAE, 0x54, 0x24, 0xF8}; /* fninit; ldmxcsr 1F80 */
    static const u8 vzeroupper[] = {0xC5, 0xF8, 0x77};
    static const u8 tail[] = {0xB8, X_FAULT, 0, 0, 0, 0xC3}; /* mov eax, X_FAULT; ret */
    u32 n = c->fault_off = c->used;
    memcpy(c->rw + n, head, sizeof head);
    n += sizeof head;
    if (c->host.avx) {
        memcpy(c->rw + n, vzeroupper, sizeof vzeroupper);
        n += sizeof vzeroupper;
    }
    memcpy(c->rw + n, tail, sizeof tail);
    c->used = (u32)align_up(n + sizeof tail, 64);
}

int native_cache_init(struct native_cache *c, struct err *e)
{
    __builtin_cpu_init();
    memset(c, 0, sizeof *c);
    c->host.avx = __builtin_cpu_supports("avx2");
    c->host.avx512 = c->host.avx && __builtin_cpu_supports("avx512f") &&
                     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    int r = hostmem_map_code("ring3-native", NATIVE_CODE_BYTES, &c->rw, &c->rx, e);
    if (r < 0) goto fail;
    c->table = hostmem_reserve(NATIVE_THUNKS_MAX * sizeof *c->table);
    c->bucket = hostmem_reserve(NATIVE_BUCKETS * sizeof *c->bucket);
    if (!c->table || !c->bucket) {
        r = err_set(e, E_NOMEM, "native: thunk tables");
        goto fail;
    }
    c->thunks = 1;
    put_fault_exit(c);
    return 0;
fail:
    native_cache_fini(c);
    return r;
}

void native_cache_fini(struct native_cache *c)
{
    hostmem_release(c->rw, NATIVE_CODE_BYTES);
    hostmem_release(c->rx, NATIVE_CODE_BYTES);
    hostmem_release(c->table, NATIVE_THUNKS_MAX * sizeof *c->table);
    hostmem_release(c->bucket, NATIVE_BUCKETS * sizeof *c->bucket);
    memset(c, 0, sizeof *c);
}

static u64 hash(const struct thunk_draft *d)
{
    u64 h = 0xCBF29CE484222325ull ^ d->meta.guest_fop;
    for (u32 n = 0; n < d->n; n++) h = (h ^ d->buf[n]) * 0x100000001B3ull;
    return h ^ h >> 29;
}

/* The entry but for its address. */
static bool equal(const struct native_cache *c, const struct native_thunk *t,
                  const struct thunk_draft *d)
{
    struct native_thunk a = *t;
    a.code = NULL;
    return !memcmp(&a, &d->meta, sizeof a) &&
           !memcmp((u8 *)(uintptr_t)t->code - c->rx + c->rw, d->buf, d->n);
}

static void place(struct native_cache *c, struct native_thunk *t, const struct thunk_draft *d,
                  u32 off)
{
    memcpy(c->rw + off, d->buf, d->n);
    memcpy(t, &d->meta, sizeof *t);
    t->code = (thunk_fn *)(uintptr_t)(c->rx + off);
}

/* The scratch page held other code a moment ago: CPUID makes the processor forget it (SDM vol.
 * 3A 9.1.3). */
static const struct native_thunk *place_scratch(struct native_cache *c, const struct thunk_draft *d)
{
    u32 eax = 0, ebx, ecx = 0, edx;
    place(c, &c->scratch, d, (u32)(NATIVE_CODE_BYTES - NATIVE_SCRATCH_BYTES));
    __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx) : : "memory");
    return &c->scratch;
}

const struct native_thunk *native_cache_add(struct native_cache *c, const struct thunk_draft *d)
{
    u32 b = (u32)hash(d) & (NATIVE_BUCKETS - 1);
    while (c->bucket[b]) { /* at most half full, so an empty bucket ends this */
        const struct native_thunk *t = &c->table[c->bucket[b]];
        if (t->code_bytes == d->n && equal(c, t, d)) return t;
        b = (b + 1) & (NATIVE_BUCKETS - 1);
    }
    u64 end = align_up(c->used + (u64)d->n, 16);
    if (c->thunks >= NATIVE_THUNKS_MAX || end > NATIVE_CODE_BYTES - NATIVE_SCRATCH_BYTES)
        return place_scratch(c, d);
    struct native_thunk *t = &c->table[c->thunks];
    place(c, t, d, c->used);
    c->used = (u32)end;
    c->bucket[b] = c->thunks++;
    return t;
}
