/* dev/x87_ferr_test.c - FERR# latches IRQ 13, port F0h clears it and asserts IGNNE#. */
#include "dev/x87_ferr.h"

#include "dev/test_storm.h"

enum { CLEAR = 0xF0, RESET = 0xF1 };
static struct rig r;

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_fini(&r);
    return 0;
}
static struct dev *make(void)
{
    struct x87_ferr_cfg cfg = {.irq = &r.pin};
    return rig_create(&r, &x87_ferr_class, &cfg);
}

static void test_error_and_clear(void **state)
{
    (void)state;
    struct dev *d = make();
    assert_false(x87_ferr_set(d, true));
    assert_true(r.level && r.rises == 1);
    assert_false(x87_ferr_set(d, true)); /* a level, not an event */
    assert_int_equal(r.rises, 1);
    out8(&r, CLEAR, 0);
    assert_false(r.level);
    assert_true(x87_ferr_set(d, true)); /* IGNNE# */
    assert_false(r.level);
    assert_false(x87_ferr_set(d, false));
    assert_false(x87_ferr_set(d, true));
    assert_true(r.level && r.rises == 2);
}

static void test_latch_outlives_ferr(void **state)
{
    (void)state;
    struct dev *d = make();
    x87_ferr_set(d, true);
    x87_ferr_set(d, false);
    assert_true(r.level);
    out8(&r, CLEAR, 0); /* FERR# is down: nothing to ignore */
    assert_false(r.level);
    assert_false(x87_ferr_set(d, true));
    out8(&r, RESET, 0);
    assert_false(r.level);
    assert_false(x87_ferr_set(d, true));
}

static void test_state(void **state)
{
    (void)state;
    struct dev *d = make();
    x87_ferr_set(d, true);
    rig_save_load_compare(&r, d);
    assert_true(r.level);
    rig_damaged_loads(&r, d, 100);
    rig_storm(&r, d, 2000);
    d->cls->reset(d);
    assert_false(r.level);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_error_and_clear), UNIT(test_latch_outlives_ferr),
                                       UNIT(test_state)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
