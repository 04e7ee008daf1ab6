/* dev/hpet_test.c - counter, comparators, interrupts, legacy replacement. */
#include "dev/hpet.h"

#include "dev/test_storm.h"

enum { CONF = 0x10, STATUS = 0x20, COUNTER = 0xF0, T0 = 0x100, T1 = 0x120, T2 = 0x140, CMP = 8 };
enum { LEVEL = 2, ENABLE = 4, PERIODIC = 8, SET = 64, W32 = 256 };
#define ROUTE(n) ((n) << 9)

static struct rig r;
static struct dev *d;
static struct irq_pin gsi[GSI_COUNT];
static u32 rises[GSI_COUNT];
static bool level[GSI_COUNT];

static void on_gsi(void *ctx, u32 input, bool up)
{
    (void)ctx;
    rises[input] += up;
    level[input] = up;
}

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    memset(gsi, 0, sizeof gsi);
    memset(rises, 0, sizeof rises);
    for (u32 i = 0; i < GSI_COUNT; i++) irq_pin_route(&gsi[i], on_gsi, NULL, i);
    d = rig_create(&r, &hpet_class, &(struct hpet_cfg){&r.clk, gsi});
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
    for (u32 i = 0; i < GSI_COUNT; i++) assert_int_equal(gsi[i].asserted, 0);
    return 0;
}

static u64 rd(u32 reg) { return bus_mmio_read(&r.bus, HPET_GPA + reg, 8); }
static void wr(u32 reg, u64 v) { bus_mmio_write(&r.bus, HPET_GPA + reg, v, 8); }
static void wr32(u32 reg, u32 v) { bus_mmio_write(&r.bus, HPET_GPA + reg, v, 4); }

static void test_counter(void **state)
{
    (void)state;
    assert_int_equal(rd(0), 10000000ull << 32 | HPET_ID);
    assert_int_equal(bus_mmio_read(&r.bus, HPET_GPA + 4, 4), 10000000);
    clk_advance(&r.clk, 1000);
    assert_int_equal(rd(COUNTER), 0); /* it stands after reset */
    wr(CONF, 1);
    clk_advance(&r.clk, 12345);
    assert_int_equal(rd(COUNTER), 1234);
    rig_save_load_compare(&r, d);
    assert_int_equal(rd(COUNTER), 1234);
    wr(CONF, 0);
    clk_advance(&r.clk, 1000);
    assert_int_equal(rd(COUNTER), 1234);
    wr32(COUNTER + 4, 7);
    assert_int_equal(rd(COUNTER), 7ull << 32 | 1234);
    wr(COUNTER, UINT64_MAX);
    wr(CONF, 1);
    clk_advance(&r.clk, 10);
    assert_int_equal(rd(COUNTER), 0);
}

static void test_one_shot(void **state)
{
    (void)state;
    assert_int_equal(rd(T0) & 0xFFFFFFFF00000030, 0x00F0000000000030);
    wr(T0, ENABLE | ROUTE(20));
    wr(T0 + CMP, 100000);
    wr(CONF, 1);
    rig_run(&r, 999990);
    assert_int_equal(rises[20], 0);
    rig_save_load_compare(&r, d);
    rig_run(&r, 10);
    assert_int_equal(rises[20], 1);
    assert_int_equal(rd(STATUS), 0); /* edges leave no trace */
    rig_run(&r, NS_PER_S);
    assert_int_equal(rises[20], 1);
    wr(T0, ENABLE | ROUTE(5)); /* not a place it may go */
    wr(T0 + CMP, rd(COUNTER) + 10);
    rig_run(&r, 1000);
    assert_int_equal(rises[5], 0);
    wr(T0, ROUTE(20));
    wr(T0 + CMP, rd(COUNTER) + 10);
    rig_run(&r, 1000);
    assert_int_equal(rises[20], 1);
}

/* In 32-bit mode the counter's upper half does not matter. */
static void test_32_bits(void **state)
{
    (void)state;
    wr(COUNTER, 0xFFFFFFF0);
    wr(T2, ENABLE | W32 | ROUTE(23));
    wr(T2 + CMP, 0xFFFFFFFF00000010);
    assert_int_equal(rd(T2 + CMP), 0x10);
    wr(CONF, 1);
    rig_run(&r, 320);
    assert_int_equal(rises[23], 1);
    rig_run(&r, 10ull << 32);
    assert_int_equal(rises[23], 2);
}

static void test_level(void **state)
{
    (void)state;
    wr(T1, ENABLE | LEVEL | ROUTE(21));
    wr(T1 + CMP, 100);
    wr(CONF, 1);
    rig_run(&r, 1000);
    assert_true(level[21]);
    assert_int_equal(rd(STATUS), 2);
    rig_save_load_compare(&r, d);
    assert_true(level[21]);
    wr(STATUS, 1);
    assert_true(level[21]);
    wr32(STATUS, 2);
    assert_false(level[21]);
}

static void test_periodic(void **state)
{
    (void)state;
    wr(T0, ENABLE | PERIODIC | SET | ROUTE(20));
    wr(T0 + CMP, 1000); /* first match */
    wr(T0 + CMP, 5000); /* period      */
    wr(CONF, 1);
    rig_run(&r, 9990);
    assert_int_equal(rises[20], 0);
    rig_run(&r, 10);
    assert_int_equal(rises[20], 1);
    rig_run(&r, 500000);
    assert_int_equal(rises[20], 11);
    assert_int_equal(rd(T0 + CMP), 56000);
    clk_advance(&r.clk, 500000); /* nobody ran it meanwhile */
    rig_run(&r, 195000);
    assert_int_equal(rises[20], 24);
    clk_advance(&r.clk, 100 * NS_PER_S);
    rig_run(&r, 0);
    assert_int_equal(rises[20], 25); /* what is too late is left out */
    rig_run(&r, 50000);
    assert_int_equal(rises[20], 26);
    wr(T0 + CMP, 1); /* as fast as it gets: 100 kHz */
    u32 before = rises[20];
    rig_run(&r, MS_TO_NS(10));
    assert_in_range(rises[20] - before, 900, 1100);
    wr(T0 + CMP, 0);
    rig_run(&r, NS_PER_S);
}

static void test_legacy(void **state)
{
    (void)state;
    hpet_legacy(d, 0, true);
    hpet_legacy(d, 1, true);
    assert_true(level[0] && level[8]);
    rig_save_load_compare(&r, d);
    assert_true(level[0] && level[8]);
    wr(CONF, 3);
    assert_false(level[0] || level[8]);
    wr(T0, ENABLE | ROUTE(20));
    wr(T0 + CMP, rd(COUNTER) + 10);
    wr(T1, ENABLE);
    wr(T1 + CMP, rd(COUNTER) + 10);
    rig_run(&r, 100);
    assert_true(rises[0] == 2 && rises[8] == 2 && rises[20] == 0);
    hpet_legacy(d, 0, false);
    wr(CONF, 1);
    assert_true(!level[0] && level[8]);
    hpet_legacy(d, 7, true);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_counter), UNIT(test_one_shot), UNIT(test_32_bits),
                                       UNIT(test_level),   UNIT(test_periodic), UNIT(test_legacy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
