/* The event loop: timers fire once and in order, wake-ups from any number of threads are neither
 * lost nor invented, descriptors and signals reach their functions, everything is closed at the
 * end. */
#include "host/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/test.h"

enum { TIMERS = 8, THREADS = 4, SENDS = 5000 };

static struct loop *make(void)
{
    struct loop *l;
    struct err e = {0};
    if (loop_create(&l, &e) < 0) fail_msg("%s", e.text);
    return l;
}

/* ---- timers ---------------------------------------------------------------------------------- */

struct order {
    struct loop *loop;
    u32 fired[TIMERS], count, until;
};
struct one {
    struct order *o;
    u32 id;
};
static void on_timer(void *ctx)
{
    struct one *t = ctx;
    if (t->o->count < TIMERS) t->o->fired[t->o->count] = t->id;
    if (++t->o->count == t->o->until) loop_stop(t->o->loop);
}

/* Set in one order, due 20 ms apart in another: fire by deadline. */
static void test_timer_order(void **state)
{
    (void)state;
    static const u32 due[TIMERS] = {3, 0, 6, 1, 7, 2, 5, 4};
    struct order o = {.loop = make(), .until = TIMERS};
    struct one one[TIMERS];
    struct loop_timer *t[TIMERS];
    struct err e;
    for (u32 i = 0; i < TIMERS; i++) {
        one[i] = (struct one){&o, i};
        t[i] = loop_timer_add(o.loop, on_timer, &one[i], &e);
        assert_non_null(t[i]);
    }
    for (u32 i = 0; i < TIMERS; i++) loop_timer_set(t[i], MS_TO_NS(20 * due[i]));
    loop_run(o.loop);
    for (u32 i = 0; i < TIMERS; i++) assert_int_equal(due[o.fired[i]], i);
    loop_destroy(o.loop);
}

/* Moved, cancelled and never set ones: only what is due fires, and once. */
static void test_timer_changes(void **state)
{
    (void)state;
    struct order o = {.loop = make(), .until = 3};
    struct one one[4];
    struct loop_timer *t[4];
    struct err e;
    for (u32 i = 0; i < 4; i++) {
        one[i] = (struct one){&o, i};
        t[i] = loop_timer_add(o.loop, on_timer, &one[i], &e);
    }
    loop_timer_set(t[0], 0);
    loop_timer_set(t[0], MS_TO_NS(40)); /* later than it was */
    loop_timer_set(t[1], MS_TO_NS(3600000));
    loop_timer_set(t[1], MS_TO_NS(10)); /* sooner */
    loop_timer_set(t[2], MS_TO_NS(1));
    loop_timer_set(t[2], UINT64_MAX); /* not at all */
    loop_timer_set(t[3], MS_TO_NS(60));
    loop_run(o.loop);
    assert_int_equal(o.count, 3);
    assert_int_equal(o.fired[0], 1);
    assert_int_equal(o.fired[1], 0);
    assert_int_equal(o.fired[2], 3);
    loop_destroy(o.loop);
}

/* ---- wake-ups -------------------------------------------------------------------------------- */

struct waker {
    struct loop *loop;
    struct loop_wake *wake;
    _Atomic u32 posted;
    u32 seen, calls;
};
static void on_wake(void *ctx)
{
    struct waker *w = ctx;
    w->calls++;
    w->seen = atomic_load(&w->posted);
    if (w->seen == THREADS * SENDS) loop_stop(w->loop);
}
static void *send_many(void *arg)
{
    struct waker *w = arg;
    for (u32 i = 0; i < SENDS; i++) {
        atomic_fetch_add(&w->posted, 1);
        loop_wake_send(w->wake);
    }
    return NULL;
}
static void test_wake(void **state)
{
    (void)state;
    struct waker w = {.loop = make()};
    struct err e;
    pthread_t thread[THREADS];
    w.wake = loop_wake_add(w.loop, on_wake, &w, &e);
    assert_non_null(w.wake);
    for (u32 i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, send_many, &w), 0);
    loop_run(w.loop); /* ends only when the last send was followed by a call */
    for (u32 i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    assert_int_equal(w.seen, THREADS * SENDS);
    assert_in_range(w.calls, 1, THREADS * SENDS);
    loop_destroy(w.loop);
}

/* Timers may be set, and the loop stopped, from other threads. */
struct setter {
    struct loop_timer *timer;
};
static void *set_timer(void *arg)
{
    loop_timer_set(((struct setter *)arg)->timer, 0);
    return NULL;
}
static void *stop_loop(void *arg)
{
    loop_stop(arg);
    return NULL;
}
static void test_other_threads(void **state)
{
    (void)state;
    struct order o = {.loop = make(), .until = 1};
    struct one one = {&o, 0};
    struct err e;
    pthread_t thread;
    struct setter s = {loop_timer_add(o.loop, on_timer, &one, &e)};
    assert_int_equal(pthread_create(&thread, NULL, set_timer, &s), 0);
    loop_run(o.loop);
    pthread_join(thread, NULL);
    assert_int_equal(o.count, 1);
    assert_int_equal(pthread_create(&thread, NULL, stop_loop, o.loop), 0);
    loop_run(o.loop);
    pthread_join(thread, NULL);
    loop_destroy(o.loop);
}

/* ---- descriptors and signals ----------------------------------------------------------------- */

struct reader {
    struct loop *loop;
    struct loop_fd *fd;
    int in;
    char got[8];
    u32 bytes;
};
static void on_readable(void *ctx, int revents)
{
    struct reader *r = ctx;
    assert_true(revents & LOOP_READ);
    assert_int_equal(read(r->in, r->got + r->bytes, 1), 1); /* level-triggered: called again */
    if (++r->bytes == 3) {
        loop_fd_set(r->fd, 0);
        loop_stop(r->loop);
    }
}
static void test_descriptor(void **state)
{
    (void)state;
    int p[2];
    struct err e;
    assert_int_equal(pipe(p), 0);
    struct reader r = {.loop = make(), .in = p[0]};
    r.fd = loop_fd_add(r.loop, p[0], on_readable, &r, &e);
    assert_non_null(r.fd);
    assert_int_equal(write(p[1], "abcd", 4), 4);
    loop_fd_set(r.fd, LOOP_READ);
    loop_run(r.loop);
    assert_memory_equal(r.got, "abc", 3);
    loop_fd_remove(r.fd);
    loop_fd_remove(NULL);
    assert_null(loop_fd_add(r.loop, -1, on_readable, &r, &e));
    assert_true(e.code < 0);
    loop_destroy(r.loop);
    close(p[0]);
    close(p[1]);
}

static void on_signal(void *ctx, int signum)
{
    assert_int_equal(signum, SIGUSR1);
    loop_stop(ctx);
}
static void test_signal(void **state)
{
    (void)state;
    struct loop *l = make();
    struct err e;
    assert_int_equal(loop_signal_add(l, SIGUSR1, on_signal, l, &e), 0);
    raise(SIGUSR1);
    loop_run(l);
    loop_destroy(l);
    loop_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timer_order), cmocka_unit_test(test_timer_changes),
        cmocka_unit_test(test_wake),        cmocka_unit_test(test_other_threads),
        cmocka_unit_test(test_descriptor),  cmocka_unit_test(test_signal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
