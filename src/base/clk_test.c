#include "base/clk.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/test.h"

/* A timer that notes the order it ran in and may re-arm itself or cancel another. */
struct probe {
    struct timer timer;
    u32 *order; /* shared sequence number */
    u32 ran_at, runs;
    s64 again_ns; /* re-arm this far from now; 0: do not */
    struct timer *victim;
};
static void fire(struct timer *t)
{
    struct probe *p = container_of(t, struct probe, timer);
    p->ran_at = ++*p->order;
    p->runs++;
    if (p->again_ns) timer_arm(t, timer_now_ns(t) + (u64)p->again_ns);
    if (p->victim) timer_cancel(p->victim);
}

static void test_manual_time(void **state)
{
    (void)state;
    struct clk c;
    clk_init(&c, true);
    assert_int_equal(clk_now_ns(&c), 0);
    assert_int_equal(clk_wall_ns(&c), c.wall_base_s_ns);
    clk_advance(&c, 100);
    assert_int_equal(clk_now_ns(&c), 100);
    assert_int_equal(clk_wall_ns(&c), c.wall_base_s_ns + 100);
    clk_set_ns(&c, 7);
    assert_int_equal(clk_now_ns(&c), 7);
    clk_start(&c);
    clk_stop(&c);
    assert_int_equal(clk_now_ns(&c), 7);
    assert_true(c.wall_base_s_ns > 1500000000ull * NS_PER_S);
    clk_fini(&c);
}

static void test_host_time_runs_only_while_started(void **state)
{
    (void)state;
    struct clk c;
    clk_init(&c, false);
    assert_int_equal(clk_now_ns(&c), 0);
    clk_start(&c);
    while (clk_now_ns(&c) < 1000) {
    }
    clk_stop(&c);
    u64 stopped = clk_now_ns(&c);
    assert_true(stopped >= 1000);
    assert_int_equal(clk_now_ns(&c), stopped);
    clk_start(&c);
    assert_true(clk_now_ns(&c) >= stopped);
    clk_stop(&c);
    clk_fini(&c);
}

struct toggler {
    struct clk *clk;
    _Atomic bool done;
};
static void *toggle(void *arg)
{
    struct toggler *t = arg;
    for (u32 i = 0; i < 20000; i++) {
        clk_stop(t->clk);
        clk_start(t->clk);
    }
    t->done = true;
    return NULL;
}

static void test_never_backwards_across_stop_and_start(void **state)
{
    (void)state;
    struct clk c;
    clk_init(&c, false);
    clk_start(&c);
    struct toggler t = {.clk = &c};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, toggle, &t), 0);
    u64 last = 0;
    while (!t.done) {
        u64 now = clk_now_ns(&c);
        assert_true(now >= last);
        last = now;
    }
    pthread_join(thread, NULL);
    clk_fini(&c);
}

static void test_timers_run_in_order_when_due(void **state)
{
    (void)state;
    enum { N = 100 };
    struct clk c;
    struct probe p[N] = {0};
    u32 order = 0;
    clk_init(&c, true);
    for (u32 i = 0; i < N; i++) {
        timer_init(&p[i].timer, &c, fire);
        p[i].order = &order;
        timer_arm(&p[i].timer, 1000 + (i * 37 % N)); /* a permutation of 1000..1099 */
    }
    assert_int_equal(clk_next_ns(&c), 1000);
    assert_int_equal(clk_run(&c), 0);
    for (u32 i = 0; i < N; i += 3) timer_cancel(&p[i].timer);
    clk_advance(&c, 1049);
    u32 due = 0;
    for (u32 i = 0; i < N; i++) due += i % 3 != 0 && i * 37 % N < 50;
    assert_int_equal(clk_run(&c), due);
    clk_advance(&c, 1000);
    clk_run(&c);
    assert_int_equal(clk_next_ns(&c), UINT64_MAX);
    for (u32 i = 0; i < N; i++) {
        assert_int_equal(p[i].runs, i % 3 != 0);
        for (u32 j = 0; j < i; j++) {
            if (p[i].runs && p[j].runs)
                assert_int_equal(p[i].ran_at < p[j].ran_at, i * 37 % N < j * 37 % N);
        }
        timer_fini(&p[i].timer);
    }
    clk_fini(&c);
}

static void test_rearmed_in_the_past_runs_once_per_call(void **state)
{
    (void)state;
    struct clk c;
    u32 order = 0;
    clk_init(&c, true);
    struct probe eager = {.order = &order, .again_ns = -5}, other = {.order = &order};
    timer_init(&eager.timer, &c, fire);
    timer_init(&other.timer, &c, fire);
    clk_advance(&c, 100);
    timer_arm(&eager.timer, 10);
    timer_arm(&other.timer, 99);
    assert_int_equal(clk_run(&c), 2); /* the eager one does not starve the other */
    assert_int_equal(eager.runs, 1);
    assert_true(timer_is_armed(&eager.timer));
    assert_false(timer_is_armed(&other.timer));
    assert_int_equal(clk_next_ns(&c), 95);
    timer_fini(&eager.timer);
    timer_fini(&other.timer);
    clk_fini(&c);
}

static void test_callback_may_cancel_a_due_timer(void **state)
{
    (void)state;
    struct clk c;
    u32 order = 0;
    clk_init(&c, true);
    struct probe victim = {.order = &order};
    struct probe killer = {.order = &order, .victim = &victim.timer};
    timer_init(&victim.timer, &c, fire);
    timer_init(&killer.timer, &c, fire);
    timer_arm(&killer.timer, 1);
    timer_arm(&victim.timer, 2);
    clk_advance(&c, 5);
    assert_int_equal(clk_run(&c), 1);
    assert_int_equal(victim.runs, 0);
    assert_false(timer_is_armed(&victim.timer));
    timer_fini(&victim.timer);
    timer_fini(&killer.timer);
    timer_fini(&killer.timer); /* a second fini is harmless */
    clk_fini(&c);
}

static void count_wake(void *ctx) { ++*(u32 *)ctx; }

static void test_wake_when_the_next_deadline_comes_nearer(void **state)
{
    (void)state;
    struct clk c;
    u32 wakes = 0;
    struct timer a, b;
    clk_init(&c, true);
    clk_set_wake(&c, count_wake, &wakes);
    timer_init(&a, &c, NULL);
    timer_init(&b, &c, NULL);
    timer_arm(&a, 100);
    assert_int_equal(wakes, 1);
    timer_arm(&b, 200);
    timer_arm(&b, 150);
    assert_int_equal(wakes, 1);
    timer_arm(&b, 50);
    assert_int_equal(wakes, 2);
    timer_arm(&b, 300);
    assert_int_equal(clk_next_ns(&c), 100);
    clk_advance(&c, 1);
    assert_int_equal(wakes, 3);
    timer_fini(&a);
    timer_fini(&b);
    clk_fini(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_manual_time),
        cmocka_unit_test(test_host_time_runs_only_while_started),
        cmocka_unit_test(test_never_backwards_across_stop_and_start),
        cmocka_unit_test(test_timers_run_in_order_when_due),
        cmocka_unit_test(test_rearmed_in_the_past_runs_once_per_call),
        cmocka_unit_test(test_callback_may_cancel_a_due_timer),
        cmocka_unit_test(test_wake_when_the_next_deadline_comes_nearer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
