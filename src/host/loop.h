/* host/loop.h - the machine's event loop thread (libuv underneath): descriptors, a nanosecond
 * deadline, wake-ups. Threads: everything on the loop's thread unless it says otherwise. */
#ifndef HOST_LOOP_H
#define HOST_LOOP_H
#include "base/err.h"
#include "base/types.h"

struct loop;
int loop_create(struct loop **out, struct err *e) MUST_USE;
/** loop_destroy - closes every handle still open; NULL is fine. */
void loop_destroy(struct loop *l);
/** loop_run - until loop_stop(). The caller becomes the loop's thread. */
void loop_run(struct loop *l);
/** loop_stop - from any thread or a signal handler. */
void loop_stop(struct loop *l);

/* A descriptor to watch. @events and @revents: LOOP_READ, LOOP_WRITE. */
enum { LOOP_READ = 1, LOOP_WRITE = 2 };
struct loop_fd;
typedef void loop_fd_fn(void *ctx, int revents);
/** loop_fd_add - watch @fd (borrowed) with no events at first. NULL with @e filled when the loop
 * cannot poll it. */
struct loop_fd *loop_fd_add(struct loop *l, int fd, loop_fd_fn *fn, void *ctx, struct err *e);
void loop_fd_set(struct loop_fd *f, int events);
void loop_fd_remove(struct loop_fd *f); /* NULL is fine; the descriptor stays open */

/* A one-shot deadline with nanosecond resolution (timerfd). */
struct loop_timer;
typedef void loop_fn(void *ctx);
struct loop_timer *loop_timer_add(struct loop *l, loop_fn *fn, void *ctx, struct err *e);
/** loop_timer_set - fire once after @delay_ns (0: at once; UINT64_MAX: not at all). From any
 * thread. */
void loop_timer_set(struct loop_timer *t, u64 delay_ns);

/* Have @fn called on the loop's thread soon, once for any number of calls before it ran. */
struct loop_wake;
struct loop_wake *loop_wake_add(struct loop *l, loop_fn *fn, void *ctx, struct err *e);
/** loop_wake_send - from any thread or a signal handler. */
void loop_wake_send(struct loop_wake *w);

/* Signals delivered to the process while the loop runs. */
typedef void loop_signal_fn(void *ctx, int signum);
int loop_signal_add(struct loop *l, int signum, loop_signal_fn *fn, void *ctx,
                    struct err *e) MUST_USE;
#endif
