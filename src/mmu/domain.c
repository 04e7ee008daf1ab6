/* domain.c - coherence between the vCPUs of one machine: who may still write through a fast entry,
 * and who holds decoded code.
 *
 * Protecting a page of code. An engine may decode bytes only when every later change to them will
 * be noticed. So it marks the lines it is going to read, sets the page's trace bit and has every
 * vCPU drop its fast write entries for the page, waiting for those that are in guest. A waiting
 * vCPU serves requests made of itself meanwhile, so two may wait for each other without harm; a
 * vCPU outside the guest serves its requests when it enters.
 *
 * Changing code. A write to a traced page goes the slow way: store, fence, look at the trace bits.
 * If it touches marked lines their marks are taken off and every vCPU is told to forget what it
 * decoded from them; decoding them again protects them again. Writes to other lines of such a page
 * cost only the slow path. A page that is written again and again - it has become data, or code is
 * generated there - loses all of its marks and the trace bit; each time that happens it takes more
 * writes, so data beside code causes no storm. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "cpu/engine.h"
#include "mmu/mmu_internal.h"

/* ---- requests -------------------------------------------------------------------------------- */

static void attract(struct mmu_state *m, u32 bits)
{
    vcpu_attention(m->v, bits);
    if (m->v->kick) m->v->kick(m->v);
}

static void queue_protect(struct mmu_state *m, gpa_t page_gpa)
{
    pthread_mutex_lock(&m->lock);
    if (m->protect_count < PROTECT_QUEUE) m->protect[m->protect_count] = page_gpa;
    if (m->protect_count <= PROTECT_QUEUE) m->protect_count++;
    atomic_fetch_add(&m->asked, 1);
    pthread_mutex_unlock(&m->lock);
    attract(m, ATT_FLUSH);
}

static void queue_code(struct mmu_state *m, gpa_t start, gpa_t end)
{
    pthread_mutex_lock(&m->lock);
    struct code_change *last = &m->code[m->code_count ? m->code_count - 1 : 0];
    if (m->code_count && m->code_count <= CODE_QUEUE && !((last->start ^ start) & PAGE_MASK)) {
        last->start = min_u64(last->start, start); /* of the same page */
        last->end = max_u64(last->end, end);
    } else {
        if (m->code_count < CODE_QUEUE) m->code[m->code_count] = (struct code_change){start, end};
        if (m->code_count <= CODE_QUEUE) m->code_count++;
    }
    pthread_mutex_unlock(&m->lock);
    attract(m, ATT_CODE);
}

void mmu_service(struct vcpu *v)
{
    struct mmu_state *m = mmu_of(v);
    atomic_fetch_and(&v->attention, ~(u32)ATT_FLUSH);
    pthread_mutex_lock(&m->lock);
    if (m->map_changed) tlb_drop_all(v);
    else if (m->protect_count > PROTECT_QUEUE) tlb_drop_all_writes(v);
    else
        for (u32 i = 0; i < m->protect_count; i++) tlb_drop_writes(v, m->protect[i]);
    m->protect_count = 0;
    m->map_changed = false;
    atomic_store(&m->done, atomic_load(&m->asked));
    pthread_mutex_unlock(&m->lock);
}

bool mmu_code_changed_take(struct vcpu *v, struct code_change *c)
{
    struct mmu_state *m = mmu_of(v);
    bool have = true;
    pthread_mutex_lock(&m->lock);
    if (m->code_count > CODE_QUEUE) {
        *c = (struct code_change){0, ~0ull};
        m->code_count = 0;
    } else if (m->code_count) {
        *c = m->code[--m->code_count];
    } else {
        atomic_fetch_and(&v->attention, ~(u32)ATT_CODE);
        have = false;
    }
    pthread_mutex_unlock(&m->lock);
    return have;
}

void mmu_map_changed(void *domain, gpa_t start, gpa_t end)
{
    struct mmu_domain *d = domain;
    for (u32 i = 0; i < VCPUS_MAX; i++) {
        struct mmu_state *m = atomic_load(&d->member[i]);
        if (!m) continue;
        pthread_mutex_lock(&m->lock);
        m->map_changed = true;
        atomic_fetch_add(&m->asked, 1);
        pthread_mutex_unlock(&m->lock);
        vcpu_attention(m->v, ATT_FLUSH);
        if (start < end) queue_code(m, start, end);
    }
}

void mmu_enter_guest(struct vcpu *v)
{
    struct mmu_state *m = mmu_of(v);
    m->thread = pthread_self();
    atomic_store(&m->in_guest, true);
    if (atomic_load(&m->done) != atomic_load(&m->asked)) mmu_service(v);
}

void mmu_leave_guest(struct vcpu *v) { atomic_store(&mmu_of(v)->in_guest, false); }

/* ---- the mem listener ------------------------------------------------------------------------ */

static struct mmu_state *member_of_this_thread(struct mmu_domain *d)
{
    for (u32 i = 0; i < VCPUS_MAX; i++) {
        struct mmu_state *m = atomic_load(&d->member[i]);
        if (m && atomic_load(&m->in_guest) && pthread_equal(m->thread, pthread_self())) return m;
    }
    return NULL;
}

static void wait_served(struct mmu_state *m, struct mmu_state *self)
{
    u64 want = atomic_load(&m->asked);
    while (atomic_load(&m->in_guest) && atomic_load(&m->done) < want) {
        if (self && atomic_load(&self->done) != atomic_load(&self->asked)) mmu_service(self->v);
        sched_yield();
    }
}

/* mem_protect_fn: no vCPU may keep a fast write entry for the page. */
static void protect_page(void *ctx, gpa_t page_gpa)
{
    struct mmu_domain *d = ctx;
    struct mmu_state *self = member_of_this_thread(d);
    for (u32 i = 0; i < VCPUS_MAX; i++) {
        struct mmu_state *m = atomic_load(&d->member[i]);
        if (m && m != self) queue_protect(m, page_gpa);
    }
    if (self) tlb_drop_writes(self->v, page_gpa);
    for (u32 i = 0; i < VCPUS_MAX; i++) {
        struct mmu_state *m = atomic_load(&d->member[i]);
        if (m && m != self) wait_served(m, self);
    }
}

/* Index of a page in code_lines: its number in the memfd; ~0 for a hole. */
static u64 page_index(const struct mmu_domain *d, gpa_t gpa)
{
    const struct mem_slot *s = mem_slot_find(d->mem, gpa);
    return s ? (s->fd_offset + (gpa - s->base)) >> PAGE_SHIFT : ~0ull;
}

static u64 line_mask(gpa_t gpa, u32 bytes)
{
    u32 first = (u32)(gpa & ~PAGE_MASK) >> LINE_SHIFT;
    u32 last = (u32)((gpa + bytes - 1) & ~PAGE_MASK) >> LINE_SHIFT;
    return bits(~0ull, last - first, 0) << first;
}

/* Marks of @mine off, everybody told, trace bit off when no marks are left, in this order and under
 * lines_lock: whoever finds no marks where it has written waits for the lock while this goes on,
 * and then all have been told. */
static void forget_lines(struct mmu_domain *d, u64 index, gpa_t page, u64 mine)
{
    const u64 gone = atomic_load(&d->code_lines[index]) & mine;
    if (gone) {
        const gpa_t start = page + ((u64)__builtin_ctzll(gone) << LINE_SHIFT);
        const gpa_t end = page + ((64u - (u64)__builtin_clzll(gone)) << LINE_SHIFT);
        atomic_fetch_add(&d->changing, 1);
        atomic_fetch_and(&d->code_lines[index], ~mine);
        for (u32 i = 0; i < VCPUS_MAX; i++) {
            struct mmu_state *m = atomic_load(&d->member[i]);
            if (m) queue_code(m, start, end);
        }
    }
    if (!atomic_load(&d->code_lines[index])) mem_trace_clear(d->mem, page, MEM_TRACE_CODE);
    if (gone) atomic_fetch_sub(&d->changing, 1);
}

/* Count a slow write. True: there were so many that the whole page is to be forgotten, which makes
 * writes fast until its code is executed again. */
static bool is_too_slow(struct mmu_domain *d, u64 index)
{
    const u16 n = atomic_load_explicit(&d->slow[index], memory_order_relaxed);
    const u16 level = n >> SLOW_LEVEL_SHIFT, count = (u16)((n & (BIT(SLOW_LEVEL_SHIFT) - 1)) + 1);
    const bool much = count >= SLOW_WRITES_MIN << level;
    const u16 next = level < SLOW_LEVEL_MAX ? level + 1 : level;
    const u16 now =
        much ? (u16)(next << SLOW_LEVEL_SHIFT) : (u16)(level << SLOW_LEVEL_SHIFT | count);
    atomic_store_explicit(&d->slow[index], now, memory_order_relaxed);
    return much;
}

/* mem_traced_fn: bytes of a page with decoded code may have changed. */
static void page_written(void *ctx, gpa_t gpa, u32 bytes, u8 trace)
{
    struct mmu_domain *d = ctx;
    u64 index = page_index(d, gpa);
    if (!(trace & MEM_TRACE_CODE) || index >= d->code_pages || !bytes) return;
    u64 lines = atomic_load(&d->code_lines[index]), mine = line_mask(gpa, bytes);
    const bool much = is_too_slow(d, index);
    if (lines && !(lines & mine) && !much && !atomic_load(&d->changing)) return;
    pthread_mutex_lock(&d->lines_lock);
    forget_lines(d, index, gpa & PAGE_MASK, much ? ~0ull : mine);
    pthread_mutex_unlock(&d->lines_lock);
}

void mmu_protect_code(struct vcpu *v, gpa_t gpa, u32 bytes)
{
    struct mmu_state *m = mmu_of(v);
    struct mmu_domain *d = m->domain;
    u64 index = page_index(d, gpa);
    if (index >= d->code_pages) return;
    u64 want = line_mask(gpa, bytes);
    if (mem_page_trace(d->mem, gpa) & MEM_TRACE_CODE && !atomic_load(&d->protecting) &&
        (atomic_load(&d->code_lines[index]) & want) == want)
        return;
    while (pthread_mutex_trylock(&d->protect_lock)) {
        if (atomic_load(&m->done) != atomic_load(&m->asked)) mmu_service(v);
        sched_yield();
    }
    atomic_fetch_add(&d->protecting, 1);
    pthread_mutex_lock(&d->lines_lock);
    atomic_fetch_or(&d->code_lines[index], want);
    pthread_mutex_unlock(&d->lines_lock);
    mem_trace_set(d->mem, gpa, MEM_TRACE_CODE);
    atomic_fetch_sub(&d->protecting, 1);
    pthread_mutex_unlock(&d->protect_lock);
}

/* ---- life ------------------------------------------------------------------------------------ */

static size_t lines_bytes(const struct mmu_domain *d)
{
    return max_u64(d->code_pages, 1) * (sizeof *d->code_lines + sizeof *d->slow);
}

int mmu_domain_create(struct mmu_domain **out, struct mem *mem, struct err *e)
{
    struct mmu_domain *d = calloc(1, sizeof *d);
    if (!d) return err_set(e, E_NOMEM, "mmu");
    d->mem = mem;
    d->code_pages = mem_pages_max(mem);
    size_t bytes = lines_bytes(d);
    void *lines = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (lines == MAP_FAILED) {
        free(d);
        return err_set(e, E_NOMEM, "mmu: no memory to track code");
    }
    d->code_lines = lines;
    d->slow = (void *)(d->code_lines + max_u64(d->code_pages, 1));
    pthread_mutex_init(&d->protect_lock, NULL);
    pthread_mutex_init(&d->lines_lock, NULL);
    mem_set_listener(mem, page_written, protect_page, d);
    *out = d;
    return 0;
}

void mmu_domain_destroy(struct mmu_domain *d)
{
    if (!d) return;
    mem_set_listener(d->mem, NULL, NULL, NULL);
    munmap(d->code_lines, lines_bytes(d));
    pthread_mutex_destroy(&d->lines_lock);
    pthread_mutex_destroy(&d->protect_lock);
    free(d);
}

int mmu_init(struct vcpu *v, struct mmu_domain *d, struct err *e)
{
    ASSERT(v->id < VCPUS_MAX, "vCPU id %u", v->id);
    struct mmu_state *m = calloc(1, sizeof *m);
    if (!m) return err_set(e, E_NOMEM, "mmu of cpu %u", v->id);
    m->v = v;
    m->domain = d;
    pthread_mutex_init(&m->lock, NULL);
    v->mmu_state = m;
    v->mmu = &mmu_ops;
    tlb_drop_all(v);
    atomic_store(&d->member[v->id], m);
    return 0;
}

void mmu_fini(struct vcpu *v)
{
    struct mmu_state *m = mmu_of(v);
    if (!m) return;
    atomic_store(&m->domain->member[v->id], NULL);
    pthread_mutex_destroy(&m->lock);
    free(m);
    v->mmu_state = NULL;
}
