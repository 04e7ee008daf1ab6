/* dev/pit_test.c - 8254: modes, latches, gate 2, port 61h, and the rate of IRQ 0. */
#include "dev/pit.h"
#include "dev/test_storm.h"

static struct rig r;
static struct dev *d;

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    d = rig_create(&r, &pit_class, &(struct pit_cfg){.clk = &r.clk, .irq = &r.pin});
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&r, d);
    rig_storm(&r, d, 5000);
    rig_save_load_compare(&r, d);
    rig_damaged_loads(&r, d, 1000);
    rig_fini(&r);
    return 0;
}
static void program(u32 n, u8 control, u16 count)
{
    out8(&r, 0x43, control);
    out8(&r, (u16)(0x40 + n), (u8)count);
    out8(&r, (u16)(0x40 + n), (u8)(count >> 8));
}
static u16 word(u32 n)
{
    u16 lo = in8(&r, (u16)(0x40 + n));
    return (u16)(lo | in8(&r, (u16)(0x40 + n)) << 8);
}

static void test_rate(void **state)
{
    (void)state;
    program(0, 0x34, 11932); /* mode 2, 100 Hz */
    rig_run(&r, NS_PER_S);
    assert_in_range(r.rises, 99, 101);
    program(0, 0x36, 11932); /* mode 3 */
    r.rises = 0;
    rig_run(&r, NS_PER_S);
    assert_in_range(r.rises, 99, 101);
}

static void test_one_shot(void **state)
{
    (void)state;
    program(0, 0x30, 1193); /* mode 0: 1 ms */
    assert_false(r.level);
    rig_run(&r, 990000);
    assert_false(r.level);
    rig_run(&r, 20000);
    assert_true(r.level);
    rig_run(&r, NS_PER_S);
    assert_int_equal(r.rises, 1);
    out8(&r, 0x43, 0xE2); /* read back status: out, mode 0, word */
    assert_int_equal(in8(&r, 0x40), 0xB0);
}

static void test_latch(void **state)
{
    (void)state;
    program(0, 0x34, 0);
    rig_run(&r, 1000000); /* 1193 ticks */
    out8(&r, 0x43, 0x00);
    rig_run(&r, 1000000);
    assert_int_equal(word(0), 65536 - 1193);
    assert_in_range(word(0), 65536 - 2388, 65536 - 2386);
    out8(&r, 0x43, 0xC2); /* status and count */
    assert_int_equal(in8(&r, 0x40), 0xB4);
    assert_in_range(word(0), 65536 - 2388, 65536 - 2386);
    program(1, 0x31 | 0x40, 0x9999); /* BCD, mode 0 */
    rig_run(&r, 1000000);
    assert_int_equal(word(1), 0x8806);
}

static void test_new_count_waits(void **state)
{
    (void)state;
    program(0, 0x34, 1000);
    rig_run(&r, 100000);  /* 119 ticks in */
    out8(&r, 0x40, 0xD0); /* 2000 from the next cycle */
    out8(&r, 0x40, 0x07);
    assert_in_range(word(0), 879, 882);
    rig_run(&r, 800000); /* at 1073 ticks */
    assert_in_range(word(0), 1924, 1928);
    assert_int_equal(r.rises, 2); /* OUT high at programming, then one cycle */
}

/* How kernels calibrate: counter 2, mode 0, gate through port 61h, wait for OUT2. */
static void test_gate(void **state)
{
    (void)state;
    out8(&r, 0x61, 0);
    program(2, 0xB0, 11932);
    rig_run(&r, 50000000);
    assert_int_equal(in8(&r, 0x61) & 0x20, 0); /* gate low: does not count */
    out8(&r, 0x61, 1);
    rig_run(&r, 9990000);
    assert_int_equal(in8(&r, 0x61) & 0x21, 0x01);
    rig_run(&r, 20000);
    assert_int_equal(in8(&r, 0x61) & 0x20, 0x20);
    u8 a = in8(&r, 0x61);
    rig_run(&r, 15085);
    assert_int_equal((a ^ in8(&r, 0x61)) & 0x10, 0x10); /* refresh */
    out8(&r, 0x61, 0);
    program(2, 0xB2, 1193); /* mode 1: triggered */
    rig_run(&r, 5000000);
    assert_int_equal(in8(&r, 0x61) & 0x20, 0x20);
    out8(&r, 0x61, 1);
    assert_int_equal(in8(&r, 0x61) & 0x20, 0);
    rig_run(&r, 1010000);
    assert_int_equal(in8(&r, 0x61) & 0x20, 0x20);
}

static void test_strobe(void **state)
{
    (void)state;
    program(0, 0x38, 1193); /* mode 4 */
    assert_true(r.level);
    rig_run(&r, 3000000);
    assert_int_equal(r.rises, 2);
    assert_true(r.level);
}

/* The line stays high after an edge, whatever OUT does; a restored machine must not see another. */
static void test_saved_line(void **state)
{
    (void)state;
    out8(&r, 0x43, 0x34); /* OUT goes high at once, counting starts later */
    assert_true(r.level);
    rig_save_load_compare(&r, d);
    assert_true(r.level);
    program(0, 0x36, 1193);
    rig_run(&r, 700000); /* low half of the square wave */
    assert_true(r.level);
    rig_save_load_compare(&r, d);
    assert_true(r.level);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        UNIT(test_rate), UNIT(test_one_shot), UNIT(test_latch),     UNIT(test_new_count_waits),
        UNIT(test_gate), UNIT(test_strobe),   UNIT(test_saved_line)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
