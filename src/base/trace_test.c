#include "base/trace.h"

#include <string.h>
#include <unistd.h>

#include "base/test.h"

static void test_off_costs_nothing_and_keeps_nothing(void **state)
{
    (void)state;
    struct trace_ring r;
    assert_int_equal(trace_init(&r, "cpu0", 0, 64, NULL), 0);
    TRACE(&r, EXC, 1, 2, 3);
    trace_put(&r, TRACE_EXC, 1, 2, 3);
    assert_null(r.rec);
    assert_int_equal(r.written, 0);
    trace_fini(&r);
}

static void test_mask_selects_and_ring_wraps(void **state)
{
    (void)state;
    struct trace_ring r;
    assert_int_equal(trace_init(&r, "cpu0", BIT(TRACE_IRQ), 3, NULL), 0);
    assert_int_equal(r.records, 4);
    for (u64 i = 0; i < 6; i++) {
        TRACE(&r, IRQ, i, 0, 0x1000 + i);
        TRACE(&r, EXC, i, 0, 0);
    }
    assert_int_equal(r.written, 6);
    int fd[2];
    char got[2048];
    assert_int_equal(pipe(fd), 0);
    trace_dump(&r, fd[1], 3);
    ssize_t n = read(fd[0], got, sizeof got - 1);
    assert_true(n > 0);
    got[n] = 0;
    assert_string_equal(got, "cpu0 0.000000 irq: vector 3 source 0 rip 0x1003\n"
                             "cpu0 0.000000 irq: vector 4 source 0 rip 0x1004\n"
                             "cpu0 0.000000 irq: vector 5 source 0 rip 0x1005\n");
    close(fd[0]);
    close(fd[1]);
    trace_fini(&r);
}

static void test_live_and_stamped(void **state)
{
    (void)state;
    struct trace_ring r;
    struct clk clk;
    int fd[2];
    char got[256];
    assert_int_equal(pipe(fd), 0);
    clk_init(&clk, true);
    clk_advance(&clk, 2 * NS_PER_S + US_TO_NS(5));
    assert_int_equal(trace_init(&r, "vm", BIT(TRACE_RESET), 1, NULL), 0);
    r.clk = &clk;
    r.live_fd = fd[1];
    TRACE(&r, RESET, 1, 0, 0);
    ssize_t n = read(fd[0], got, sizeof got - 1);
    assert_true(n > 0);
    got[n] = 0;
    assert_string_equal(got, "vm 2.000005 reset: reason 1 rip 0 value 0\n");
    trace_fini(&r);
    clk_fini(&clk);
    close(fd[0]);
    close(fd[1]);
}

static void test_mask_parse(void **state)
{
    (void)state;
    u32 m = 0;
    struct err e = {0};
    assert_int_equal(trace_mask_parse("irq,mmio,exc", &m, &e), 0);
    assert_int_equal(m, BIT(TRACE_IRQ) | BIT(TRACE_MMIO) | BIT(TRACE_EXC));
    assert_int_equal(trace_mask_parse("all", &m, &e), 0);
    assert_int_equal(m, BIT(TRACE_EVENTS) - 1);
    assert_int_equal(trace_mask_parse("none", &m, &e), 0);
    assert_int_equal(m, 0);
    assert_int_equal(trace_mask_parse("0x5", &m, &e), 0);
    assert_int_equal(m, 5);
    static const char *const bad[] = {"",    "irq,", "irq,,exc",   "ir",       "irqs",
                                      "12x", "-1",   "0x80000000", "irq mmio", "ALL"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        m = 77;
        assert_int_equal(trace_mask_parse(bad[i], &m, &e), E_INVAL);
        assert_int_equal(m, 77);
    }
    assert_int_equal(trace_mask_parse("irq,foo", &m, &e), E_INVAL);
    assert_non_null(strstr(e.text, "'foo'"));
    assert_non_null(strstr(e.text, "hypercall"));
}

static void test_table(void **state)
{
    (void)state;
    for (u32 i = 0; i < TRACE_EVENTS; i++) {
        u32 m;
        assert_int_equal(trace_mask_parse(trace_name(i), &m, NULL), 0);
        assert_int_equal(m, BIT(i));
        assert_true(strlen(trace_help(i)) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off_costs_nothing_and_keeps_nothing),
        cmocka_unit_test(test_mask_selects_and_ring_wraps),
        cmocka_unit_test(test_live_and_stamped),
        cmocka_unit_test(test_mask_parse),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
