/* base/clk.h - virtual time and timers. The one source of time for guests and devices (DESIGN
 * section 5). A clk counts nanoseconds while running, starting from 0; it can be paused, saved and
 * set. Timers belong to a clk and are run by whoever calls clk_run(): the machine's event-loop
 * thread, under the bus lock. Threads: clk_now_ns may be called from any thread. timer_* and
 * clk_run take the clk's own lock, so timers may be armed from any thread; callbacks run on the
 * clk_run caller with no clk lock held. */
#ifndef BASE_CLK_H
#define BASE_CLK_H
#include <pthread.h>

#include "base/types.h"

struct timer;
typedef void timer_fn(struct timer *t);
/* The earliest deadline came nearer, or time started or jumped: re-read clk_next_ns. Called without
 * locks held. A deadline that moves away is not reported: the sleeper wakes once for nothing. */
typedef void clk_wake_fn(void *ctx);

struct clk {
    pthread_mutex_t lock;     /* guards heap and due list; makes writers of time single */
    struct timer **heap;      /* binary heap by due_ns; grown at timer_init, not on arm */
    u32 armed, slots, inited; /* heap use, capacity, timers initialised                 */
    struct timer *due;        /* taken off the heap by clk_run, not yet run             */
    bool manual;              /* time moves only by clk_advance (tests, replay)         */
    u64 wall_base_s_ns;       /* wall clock (ns since 1970, UTC) at virtual time 0      */
    clk_wake_fn *wake;        /* this, wake_ctx, manual: set before the clock is shared */
    void *wake_ctx;
    /* Time itself, a sequence lock: readers retry while seq is odd or has changed, and never block.
     */
    _Atomic u32 seq;
    _Atomic bool running;
    _Atomic u64 base_ns; /* virtual time when last started, or now when paused */
    _Atomic u64 host_ns; /* host monotonic time at that moment                 */
};
/** clk_init - stopped at 0; wall clock read from the host here, once. @manual: for tests. */
void clk_init(struct clk *c, bool manual);
void clk_fini(struct clk *c);
void clk_start(struct clk *c);
void clk_stop(struct clk *c);
/** clk_now_ns - virtual time; lock-free, never goes backwards except by clk_set_ns. Cost: one
 * clock_gettime. */
u64 clk_now_ns(const struct clk *c);
/** clk_host_ns - the host's monotonic time, for counters of how long something took; never for what
 * a guest can see. */
u64 clk_host_ns(void);
/* Nanoseconds since 1970 UTC of the guest's wall clock: wall base + clk_now_ns. */
u64 clk_wall_ns(const struct clk *c);
/* Move a manual clock forward; does not run timers. */
void clk_advance(struct clk *c, u64 ns);
/* Set the time of a stopped clock (state load). */
void clk_set_ns(struct clk *c, u64 now_ns);
void clk_set_wake(struct clk *c, clk_wake_fn *fn, void *ctx);
/* Earliest deadline, or UINT64_MAX. */
u64 clk_next_ns(struct clk *c);
/* Run every timer that is due (bounded: each at most once); returns how many ran. */
u32 clk_run(struct clk *c);

struct timer {
    struct clk *clk; /* borrowed */
    timer_fn *fn;
    u64 due_ns;
    u32 slot;           /* index in the heap + 1; 0 when not armed; UINT32_MAX while due */
    struct timer *next; /* on the due list */
};
/** timer_init - ready to be armed. May allocate (set-up time only); timer_fini cancels and must
 * precede clk_fini. */
void timer_init(struct timer *t, struct clk *c, timer_fn *fn);
void timer_fini(struct timer *t);
void timer_arm(struct timer *t, u64 due_ns); /* re-arming moves it */
void timer_cancel(struct timer *t);
bool timer_is_armed(const struct timer *t);
static inline u64 timer_now_ns(const struct timer *t) { return clk_now_ns(t->clk); }
#endif
