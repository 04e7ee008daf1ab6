/* dev/rtc_test.c - MC146818: encodings, setting, UIP, the three interrupts, CMOS sizes. */
#include "dev/rtc.h"
#include "dev/test_storm.h"

/* 2024-02-29 23:59:58 UTC, a Thursday */
#define START_NS (1709251198ull * NS_PER_S)

static struct rig r;
static struct dev *d;

static u8 get(u8 reg)
{
    out8(&r, 0x70, reg);
    return in8(&r, 0x71);
}
static void put(u8 reg, u8 v)
{
    out8(&r, 0x70, reg | 0x80);
    out8(&r, 0x71, v);
}
static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    r.clk.wall_base_s_ns = START_NS;
    d = rig_create(&r, &rtc_class,
                   &(struct rtc_cfg){.clk = &r.clk,
                                     .irq = &r.pin,
                                     .ram_below_4g = GIB(1),
                                     .ram_above_4g = GIB(2),
                                     .cpus = 4});
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&r, d);
    rig_storm(&r, d, 20000);
    rig_save_load_compare(&r, d);
    rig_damaged_loads(&r, d, 1000);
    rig_fini(&r);
    return 0;
}
static void expect_time(u8 h, u8 m, u8 s)
{
    assert_int_equal(get(4), h);
    assert_int_equal(get(2), m);
    assert_int_equal(get(0), s);
}
static void expect_date(u8 year, u8 month, u8 mday, u8 wday)
{
    assert_int_equal(get(9), year);
    assert_int_equal(get(8), month);
    assert_int_equal(get(7), mday);
    assert_int_equal(get(6), wday);
}

static void test_leap_midnight(void **state)
{
    (void)state;
    expect_time(0x23, 0x59, 0x58);
    expect_date(0x24, 0x02, 0x29, 5);
    assert_int_equal(get(0x32), 0x20);
    rig_run(&r, 2 * NS_PER_S);
    expect_time(0, 0, 0);
    expect_date(0x24, 0x03, 0x01, 6);
    put(0x0B, 0x06); /* binary, 24 h: the time stays */
    rig_run(&r, 15 * 3600 * NS_PER_S);
    expect_time(15, 0, 0);
    put(0x0B, 0x04); /* binary, 12 h */
    assert_int_equal(get(4), 0x83);
    put(0x0B, 0x00);
    assert_int_equal(get(4), 0x83);
    rig_run(&r, 9 * 3600 * NS_PER_S);
    assert_int_equal(get(4), 0x12); /* 12 am */
}

static void test_set(void **state)
{
    (void)state;
    put(0x0B, 0x82);
    put(4, 0x12);
    put(2, 0x34);
    put(0, 0x56);
    put(9, 0x99);
    put(8, 0x12);
    put(7, 0x31);
    put(0x32, 0x19);
    rig_run(&r, 5 * NS_PER_S);
    expect_time(0x12, 0x34, 0x56); /* held */
    put(0x0B, 0x02);
    expect_time(0x12, 0x34, 0x56);
    expect_date(0x99, 0x12, 0x31, 6);
    rig_run(&r, 4 * NS_PER_S);
    expect_time(0x12, 0x35, 0x00);
    put(4, 0x23); /* without SET */
    expect_time(0x23, 0x35, 0x00);
    put(8, 0xFF); /* nonsense is clamped */
    assert_in_range(get(8), 1, 0x12);
    put(0x0A, 0x66); /* divider reset: the next second comes half a second after release */
    put(0x0A, 0x26);
    u8 s = get(0);
    rig_run(&r, 499000000);
    assert_int_equal(get(0), s);
    rig_run(&r, 2000000);
    assert_int_not_equal(get(0), s);
}

static void test_uip(void **state)
{
    (void)state;
    assert_int_equal(get(0x0A), 0x26);
    rig_run(&r, 999000000);
    assert_int_equal(get(0x0A), 0xA6);
    rig_run(&r, 1000000);
    assert_int_equal(get(0x0A), 0x26);
    put(0x0B, 0x82);
    rig_run(&r, 999000000);
    assert_int_equal(get(0x0A), 0x26);
}

static void test_periodic(void **state)
{
    u32 n = 0;
    (void)state;
    put(0x0B, 0x42); /* 1024 Hz */
    get(0x0C);
    for (u32 i = 0; i < 1000; i++) {
        rig_run(&r, 1000000);
        if (r.level) {
            n++;
            assert_int_equal(get(0x0C) & 0xC0, 0xC0);
            assert_false(r.level);
        }
    }
    assert_in_range(n, 990, 1000); /* a few share a millisecond */
    put(0x0A, 0x20);
    get(0x0C);
    rig_run(&r, NS_PER_S);
    assert_false(r.level);
}

static void test_update_and_alarm(void **state)
{
    (void)state;
    get(0x0C);
    put(0x0B, 0x12);
    rig_run(&r, NS_PER_S);
    assert_true(r.level);
    assert_int_equal(get(0x0C) & 0x90, 0x90);
    put(0x0B, 0x22);
    put(5, 0x01);
    put(3, 0xC0); /* any minute */
    put(1, 0x05);
    get(0x0C);
    rig_run(&r, 3600 * NS_PER_S); /* 00:59:59 */
    assert_false(r.level);
    rig_run(&r, 7 * NS_PER_S); /* past 01:00:05 */
    assert_true(r.level);
    assert_int_equal(get(0x0C) & 0xA0, 0xA0);
    rig_run(&r, 60 * NS_PER_S);
    assert_true(r.level);
    put(5, 0x99); /* never */
    get(0x0C);
    rig_run(&r, 2 * 86400 * NS_PER_S);
    assert_false(r.level);
}

static void test_cmos(void **state)
{
    (void)state;
    assert_int_equal(get(0x34) | get(0x35) << 8, (1024 - 16) * 16);
    assert_int_equal(get(0x5B) | get(0x5C) << 8 | get(0x5D) << 16, 2 * 16384);
    assert_int_equal(get(0x5F), 3);
    assert_int_equal(get(0x0D), 0x80);
    rtc_cmos_set(d, 0x3D, 0x21);
    assert_int_equal(get(0x3D), 0x21);
    rtc_cmos_set(d, 0x00, 0x21); /* not the clock */
    put(0x0D, 0);
    assert_int_equal(get(0x0D), 0x80);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        UNIT(test_leap_midnight),    UNIT(test_set), UNIT(test_uip), UNIT(test_periodic),
        UNIT(test_update_and_alarm), UNIT(test_cmos)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
