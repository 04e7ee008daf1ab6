/* dev/acpi_pm_test.c - ACPI fixed hardware: timer, events, SCI, power off. */
#include "dev/acpi_pm.h"
#include "dev/test_storm.h"

enum { STS = 0x600, EN = 0x602, CNT = 0x604, TMR = 0x608, GPE_STS = 0x620, GPE_EN = 0x622 };

static struct rig r;
static struct dev *d;

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    d = rig_create(&r, &acpi_pm_class, &(struct acpi_pm_cfg){.clk = &r.clk, .sci = &r.pin});
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&r, d);
    rig_storm(&r, d, 10000);
    rig_save_load_compare(&r, d);
    rig_damaged_loads(&r, d, 1000);
    rig_fini(&r);
    return 0;
}
static u32 in(u16 port, u32 bytes) { return (u32)bus_port_read(&r.bus, port, bytes); }
static void out(u16 port, u32 v, u32 bytes) { bus_port_write(&r.bus, port, v, bytes); }

static void test_timer(void **state)
{
    (void)state;
    u32 a = in(TMR, 4);
    rig_run(&r, NS_PER_S);
    assert_int_equal(in(TMR, 4) - a, 3579545);
    assert_int_equal(in(STS, 2), 0);
    rig_run(&r, 600 * NS_PER_S); /* 2^31 ticks take 599.9 s */
    assert_int_equal(in(STS, 2), 1);
    out(STS, 1, 2);
    out(CNT, 1, 2);
    assert_int_equal(in(CNT, 2), 0); /* SCI_EN is not written here ... */
    out(0xB2, ACPI_ENABLE, 1);
    assert_int_equal(in(CNT, 2), 1); /* ... but there */
    out(EN, 1, 2);
    rig_run(&r, 601 * NS_PER_S);
    assert_true(r.level);
    out(STS, 1, 2);
    assert_false(r.level);
}

static void test_button_and_off(void **state)
{
    (void)state;
    out(0xB2, ACPI_ENABLE, 1);
    acpi_pm_power_button(d);
    assert_false(r.level);
    out(EN, 0x100, 2);
    assert_true(r.level);
    assert_int_equal(in(STS, 4), 0x01000100);
    out(STS, 0x100, 2);
    assert_false(r.level);
    out(CNT, 0x2000 | 5 << 10, 2); /* a sleep we do not offer */
    assert_int_equal(r.poweroffs, 0);
    out(CNT, 0x2000 | ACPI_S5_TYPE << 10, 2);
    assert_int_equal(r.poweroffs, 1);
    assert_int_equal(in(CNT, 2), 1);
}

static void test_gpe(void **state)
{
    (void)state;
    out(0xB2, ACPI_ENABLE, 1);
    out(GPE_EN, 0x0204, 2);
    acpi_pm_gpe(d, 3);
    assert_false(r.level);
    acpi_pm_gpe(d, 9);
    assert_true(r.level);
    assert_int_equal(in(GPE_STS, 4), 0x02040208);
    out(GPE_STS + 1, 0x02, 1);
    assert_false(r.level);
    out(0xB3, 0x77, 1);
    assert_int_equal(in(0xB3, 1), 0x77);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_timer), UNIT(test_button_and_off), UNIT(test_gpe)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
