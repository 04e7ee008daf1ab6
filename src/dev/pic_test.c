/* dev/pic_test.c - 8259A: priorities, modes, cascade, spurious interrupts. */
#include "dev/pic.h"
#include "dev/test_storm.h"

static struct rig r;
static struct dev *d;

static void program(u16 port, u8 base, u8 icw3, u8 icw4)
{
    out8(&r, port, 0x11);
    out8(&r, port + 1, base);
    out8(&r, port + 1, icw3);
    out8(&r, port + 1, icw4);
    out8(&r, port + 1, 0);
}
static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    d = rig_create(&r, &pic_class, &(struct pic_cfg){.intr = &r.pin});
    program(0x20, 0x20, 4, 1);
    program(0xA0, 0x28, 2, 1);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&r, d);
    rig_storm(&r, d, 5000);
    rig_damaged_loads(&r, d, 1000);
    rig_fini(&r);
    return 0;
}

static void test_priority(void **state)
{
    (void)state;
    pic_set(d, 4, true);
    assert_true(r.level);
    assert_int_equal(pic_ack(d), 0x24);
    assert_false(r.level);
    pic_set(d, 6, true); /* below what is in service */
    assert_false(r.level);
    pic_set(d, 1, true); /* above */
    assert_int_equal(pic_ack(d), 0x21);
    out8(&r, 0x20, 0x20);
    assert_false(r.level);
    out8(&r, 0x20, 0x20);
    assert_true(r.level);
    assert_int_equal(pic_ack(d), 0x26);
    out8(&r, 0x20, 0x66); /* specific */
    out8(&r, 0x20, 0x0B);
    assert_int_equal(in8(&r, 0x20), 0);
}

static void test_cascade_and_spurious(void **state)
{
    (void)state;
    pic_set(d, 8, true);
    assert_true(r.level);
    assert_int_equal(pic_ack(d), 0x28);
    out8(&r, 0xA0, 0x20);
    out8(&r, 0x20, 0x20);
    assert_int_equal(pic_ack(d), 0x27); /* nobody: IRQ 7 ... */
    out8(&r, 0x20, 0x0B);
    assert_int_equal(in8(&r, 0x20), 0); /* ... with nothing in service */
    pic_set(d, 10, true);
    out8(&r, 0xA1, 0xFF); /* masked away before the acknowledge */
    assert_false(r.level);
    out8(&r, 0xA1, 0);
    assert_int_equal(pic_ack(d), 0x2A);
}

static void test_edge_level(void **state)
{
    (void)state;
    pic_set(d, 5, true);
    assert_int_equal(pic_ack(d), 0x25);
    out8(&r, 0x20, 0x20);
    assert_false(r.level); /* still high, but no new edge */
    pic_set(d, 5, false);
    out8(&r, 0x4D0, 0xFF);
    assert_int_equal(in8(&r, 0x4D0), 0xF8);
    pic_set(d, 5, true);
    assert_int_equal(pic_ack(d), 0x25);
    out8(&r, 0x20, 0x20);
    assert_true(r.level); /* level: again */
    pic_set(d, 5, false);
    assert_false(r.level);
}

static void test_rotation_and_special_mask(void **state)
{
    (void)state;
    pic_set(d, 3, true);
    pic_ack(d);
    out8(&r, 0x20, 0xA0); /* rotate on EOI: 3 is lowest now */
    pic_set(d, 3, false);
    pic_set(d, 3, true);
    pic_set(d, 7, true);
    assert_int_equal(pic_ack(d), 0x27);
    out8(&r, 0x20, 0x20);
    assert_int_equal(pic_ack(d), 0x23);
    out8(&r, 0x20, 0x20);
    out8(&r, 0x20, 0xC7); /* 7 lowest again */
    pic_set(d, 0, true);
    assert_int_equal(pic_ack(d), 0x20);
    pic_set(d, 6, true);
    assert_false(r.level);
    out8(&r, 0x21, 0x01);
    out8(&r, 0x20, 0x68); /* special mask mode: the masked 0 no longer blocks */
    assert_int_equal(pic_ack(d), 0x26);
}

static void test_auto_eoi_poll(void **state)
{
    (void)state;
    program(0x20, 0x40, 4, 3);
    pic_set(d, 1, true);
    assert_int_equal(pic_ack(d), 0x41);
    pic_set(d, 6, true);
    assert_true(r.level);
    out8(&r, 0x20, 0x0C);
    assert_int_equal(in8(&r, 0x20), 0x86);
    assert_false(r.level);
    out8(&r, 0x20, 0x0C);
    assert_int_equal(in8(&r, 0x20), 0);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_priority), UNIT(test_cascade_and_spurious),
                                       UNIT(test_edge_level), UNIT(test_rotation_and_special_mask),
                                       UNIT(test_auto_eoi_poll)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
