/* dev/ioapic_test.c - 82093AA: registers, edges, levels, EOI. */
#include "dev/ioapic.h"
#include "dev/test_storm.h"

static struct rig r;
static struct dev *d;
static struct intr_msg last;
static u32 sent;

static void capture(void *ctx, const struct intr_msg *m)
{
    (void)ctx;
    last = *m;
    sent++;
}
static u32 get(u8 reg)
{
    bus_mmio_write(&r.bus, IOAPIC_BASE, reg, 4);
    return (u32)bus_mmio_read(&r.bus, IOAPIC_BASE + 0x10, 4);
}
static void put(u8 reg, u32 v)
{
    bus_mmio_write(&r.bus, IOAPIC_BASE, reg, 4);
    bus_mmio_write(&r.bus, IOAPIC_BASE + 0x10, v, 4);
}
static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    sent = 0;
    d = rig_create(&r, &ioapic_class, &(struct ioapic_cfg){.sink = {capture, NULL}, .id = 2});
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

static void test_registers(void **state)
{
    (void)state;
    assert_int_equal(get(0), 2u << 24);
    assert_int_equal(get(1), 0x00170011);
    assert_int_equal(get(0x10), 0x10000);
    put(0x10, UINT32_MAX);
    assert_int_equal(get(0x10), 0x1AFFF);
    put(0x11, UINT32_MAX);
    assert_int_equal(get(0x11), 0xFF000000);
    put(0x40, 1); /* past the table */
    assert_int_equal(get(0x40), 0);
    assert_int_equal(sent, 0);
}

static void test_edge(void **state)
{
    (void)state;
    ioapic_set(d, 4, true);
    ioapic_set(d, 4, false); /* masked: lost */
    put(0x19, 3u << 24);
    put(0x18, 0x0931); /* logical, lowest priority, vector 31h */
    assert_int_equal(sent, 0);
    ioapic_set(d, 4, true);
    ioapic_set(d, 4, true);
    assert_int_equal(sent, 1);
    assert_true(last.dest == 3 && last.vector == 0x31 && last.mode == INTR_LOWEST && last.logical &&
                !last.level);
    ioapic_set(d, 99, true);
}

static void test_level(void **state)
{
    (void)state;
    put(0x10 + 2 * 9, 0x8042);
    ioapic_set(d, 9, true);
    assert_int_equal(sent, 1);
    assert_true(last.level);
    assert_int_equal(get(0x10 + 2 * 9), 0xC042); /* remote IRR */
    ioapic_set(d, 9, false);
    ioapic_set(d, 9, true);
    assert_int_equal(sent, 1);
    ioapic_eoi(d, 0x43);
    assert_int_equal(sent, 1);
    ioapic_eoi(d, 0x42); /* still up */
    assert_int_equal(sent, 2);
    ioapic_set(d, 9, false);
    ioapic_eoi(d, 0x42);
    assert_int_equal(sent, 2);
    put(0x10 + 2 * 9, 0x18042);
    ioapic_set(d, 9, true);
    assert_int_equal(sent, 2);
    put(0x10 + 2 * 9, 0x8042); /* unmasked while up */
    assert_int_equal(sent, 3);
    put(0x10 + 2 * 9, 0x10042); /* edge clears remote IRR */
    assert_int_equal(get(0x10 + 2 * 9), 0x10042);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_registers), UNIT(test_edge), UNIT(test_level)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
