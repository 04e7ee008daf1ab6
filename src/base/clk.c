/* clk - virtual time over the host's monotonic clock, and a heap of timers.
 * Writers hold c->lock and make seq odd *before* they read the host clock, so a reader whose seq
 * did not change read the host clock earlier than the writer did: time is monotonic over stop and
 * start too. */
#include "base/clk.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"

#define SLOT_DUE UINT32_MAX

static u64 host_now(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (u64)ts.tv_sec * NS_PER_S + (u64)ts.tv_nsec;
}

/* ---- time ------------------------------------------------------------------------------------ */

void clk_init(struct clk *c, bool manual)
{
    *c = (struct clk){.manual = manual};
    pthread_mutex_init(&c->lock, NULL);
    c->wall_base_s_ns = host_now(CLOCK_REALTIME);
}

void clk_fini(struct clk *c)
{
    ASSERT(c->inited == 0, "%u timers still initialised", c->inited);
    free(c->heap);
    pthread_mutex_destroy(&c->lock);
}

u64 clk_now_ns(const struct clk *c)
{
    for (;;) {
        u32 seq = atomic_load_explicit(&c->seq, memory_order_acquire);
        u64 now = atomic_load_explicit(&c->base_ns, memory_order_relaxed);
        u64 host = atomic_load_explicit(&c->host_ns, memory_order_relaxed);
        bool moving = atomic_load_explicit(&c->running, memory_order_relaxed) && !c->manual;
        if (moving) now += host_now(CLOCK_MONOTONIC) - host;
        atomic_thread_fence(memory_order_acquire);
        if (likely(!(seq & 1) && atomic_load_explicit(&c->seq, memory_order_relaxed) == seq))
            return now;
    }
}

u64 clk_host_ns(void) { return host_now(CLOCK_MONOTONIC); }
u64 clk_wall_ns(const struct clk *c) { return c->wall_base_s_ns + clk_now_ns(c); }

static void seq_begin(struct clk *c)
{
    atomic_fetch_add_explicit(&c->seq, 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_seq_cst);
}
static void seq_end(struct clk *c) { atomic_fetch_add_explicit(&c->seq, 1, memory_order_release); }

static void wake(struct clk *c)
{
    if (c->wake) c->wake(c->wake_ctx);
}

void clk_start(struct clk *c)
{
    pthread_mutex_lock(&c->lock);
    if (!c->running) {
        seq_begin(c);
        c->host_ns = host_now(CLOCK_MONOTONIC);
        c->running = true;
        seq_end(c);
    }
    pthread_mutex_unlock(&c->lock);
    wake(c);
}

void clk_stop(struct clk *c)
{
    pthread_mutex_lock(&c->lock);
    if (c->running) {
        seq_begin(c);
        if (!c->manual) c->base_ns += host_now(CLOCK_MONOTONIC) - c->host_ns;
        c->running = false;
        seq_end(c);
    }
    pthread_mutex_unlock(&c->lock);
}

/* Replace the time of a clock that does not move by itself. */
static void set_base(struct clk *c, u64 base_ns)
{
    seq_begin(c);
    c->base_ns = base_ns;
    seq_end(c);
}

void clk_advance(struct clk *c, u64 ns)
{
    ASSERT(c->manual, "only a manual clock is advanced");
    pthread_mutex_lock(&c->lock);
    set_base(c, c->base_ns + ns);
    pthread_mutex_unlock(&c->lock);
    wake(c);
}

void clk_set_ns(struct clk *c, u64 now_ns)
{
    pthread_mutex_lock(&c->lock);
    ASSERT(!c->running, "the time of a running clock cannot be set");
    set_base(c, now_ns);
    pthread_mutex_unlock(&c->lock);
}

void clk_set_wake(struct clk *c, clk_wake_fn *fn, void *ctx)
{
    c->wake_ctx = ctx;
    c->wake = fn;
}

/* ---- the heap: parent of i is (i-1)/2, every node is due no later than its children ---------- */

static void place(struct clk *c, u32 i, struct timer *t)
{
    c->heap[i] = t;
    t->slot = i + 1;
}

static void sift_up(struct clk *c, u32 i)
{
    struct timer *t = c->heap[i];
    for (; i > 0 && t->due_ns < c->heap[(i - 1) / 2]->due_ns; i = (i - 1) / 2)
        place(c, i, c->heap[(i - 1) / 2]);
    place(c, i, t);
}

static void sift_down(struct clk *c, u32 i)
{
    struct timer *t = c->heap[i];
    for (u32 kid; (kid = 2 * i + 1) < c->armed; i = kid) {
        if (kid + 1 < c->armed && c->heap[kid + 1]->due_ns < c->heap[kid]->due_ns) kid++;
        if (t->due_ns <= c->heap[kid]->due_ns) break;
        place(c, i, c->heap[kid]);
    }
    place(c, i, t);
}

static void heap_remove(struct clk *c, struct timer *t)
{
    u32 i = t->slot - 1;
    struct timer *last = c->heap[--c->armed];
    t->slot = 0;
    if (last == t) return;
    place(c, i, last);
    sift_down(c, i);
    sift_up(c, last->slot - 1);
}

static void due_remove(struct clk *c, struct timer *t)
{
    struct timer **at = &c->due;
    while (*at != t) at = &(*at)->next;
    *at = t->next;
    t->slot = 0;
}

static void disarm(struct clk *c, struct timer *t)
{
    if (t->slot == SLOT_DUE) due_remove(c, t);
    else if (t->slot) heap_remove(c, t);
}

static u64 earliest(const struct clk *c) { return c->armed ? c->heap[0]->due_ns : UINT64_MAX; }

/* ---- timers ---------------------------------------------------------------------------------- */

void timer_init(struct timer *t, struct clk *c, timer_fn *fn)
{
    *t = (struct timer){.clk = c, .fn = fn};
    pthread_mutex_lock(&c->lock);
    if (++c->inited > c->slots) {
        u32 slots = c->slots ? c->slots * 2 : 16;
        struct timer **heap = realloc(c->heap, slots * sizeof *heap);
        ASSERT(heap, "no memory for %u timers", slots);
        c->heap = heap;
        c->slots = slots;
    }
    pthread_mutex_unlock(&c->lock);
}

void timer_fini(struct timer *t)
{
    if (!t->clk) return;
    pthread_mutex_lock(&t->clk->lock);
    disarm(t->clk, t);
    t->clk->inited--;
    pthread_mutex_unlock(&t->clk->lock);
    t->clk = NULL;
}

void timer_arm(struct timer *t, u64 due_ns)
{
    struct clk *c = t->clk;
    pthread_mutex_lock(&c->lock);
    u64 before = earliest(c);
    disarm(c, t);
    t->due_ns = due_ns;
    place(c, c->armed++, t);
    sift_up(c, c->armed - 1);
    bool nearer = earliest(c) < before;
    pthread_mutex_unlock(&c->lock);
    if (nearer) wake(c);
}

void timer_cancel(struct timer *t)
{
    pthread_mutex_lock(&t->clk->lock);
    disarm(t->clk, t);
    pthread_mutex_unlock(&t->clk->lock);
}

bool timer_is_armed(const struct timer *t)
{
    pthread_mutex_lock(&t->clk->lock);
    bool armed = t->slot != 0;
    pthread_mutex_unlock(&t->clk->lock);
    return armed;
}

u64 clk_next_ns(struct clk *c)
{
    pthread_mutex_lock(&c->lock);
    u64 next = earliest(c);
    pthread_mutex_unlock(&c->lock);
    return next;
}

/* Move everything due from the heap to the due list, in order. */
static void collect_due(struct clk *c, u64 now)
{
    struct timer **tail = &c->due;
    while (*tail) tail = &(*tail)->next;
    while (c->armed && c->heap[0]->due_ns <= now) {
        struct timer *t = c->heap[0];
        heap_remove(c, t);
        t->slot = SLOT_DUE;
        t->next = NULL;
        *tail = t;
        tail = &t->next;
    }
}

u32 clk_run(struct clk *c)
{
    u64 now = clk_now_ns(c);
    u32 ran = 0;
    pthread_mutex_lock(&c->lock);
    collect_due(c, now);
    while (c->due) {
        struct timer *t = c->due;
        due_remove(c, t);
        pthread_mutex_unlock(&c->lock);
        t->fn(t);
        ran++;
        pthread_mutex_lock(&c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return ran;
}
