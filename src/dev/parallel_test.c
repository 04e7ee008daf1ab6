/* dev/parallel_test.c - bytes, busy, paper out, INIT, interrupts. */
#include "dev/parallel.h"

#include "dev/test_storm.h"

enum { DATA = 0x378, STATUS, CONTROL };

static struct rig r;
static struct dev *d;
static struct chardev chr;
static u8 got[64];
static u32 bytes_got, room, inits;
static bool out;

static u32 back_write(void *ctx, const u8 *buf, u32 bytes)
{
    (void)ctx, (void)bytes;
    if (!room) return 0;
    room--;
    if (bytes_got < sizeof got) got[bytes_got++] = *buf;
    return 1;
}
static const struct chardev_back_ops back = {back_write, NULL};
static void on_init(void *ctx)
{
    (void)ctx;
    inits++;
}
static bool on_paper_out(void *ctx)
{
    (void)ctx;
    return out;
}

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    chr = (struct chardev){.back = &back};
    bytes_got = inits = 0;
    room = UINT32_MAX;
    out = false;
    struct parallel_cfg cfg = {
        .irq = &r.pin, .chardev = &chr, .init = on_init, .paper_out = on_paper_out};
    d = rig_create(&r, &parallel_class, &cfg);
    assert_int_equal(dev_attach(d, 0, DATA, NULL), 0);
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
    assert_null(chr.front);
    return 0;
}

static void print(u8 v)
{
    out8(&r, DATA, v);
    out8(&r, CONTROL, 0x0D);
    out8(&r, CONTROL, 0x0C);
}

static void test_bytes(void **state)
{
    (void)state;
    assert_int_equal(in8(&r, STATUS), 0xDF);
    assert_int_equal(in8(&r, CONTROL), 0xCC);
    print('o'), print('k');
    assert_int_equal(bytes_got, 2);
    assert_memory_equal(got, "ok", 2);
    assert_int_equal(in8(&r, DATA), 'k');
    out8(&r, CONTROL, 0x2C);
    assert_int_equal(in8(&r, DATA), 0xFF);
    assert_int_equal(r.rises, 0);
    out8(&r, CONTROL, 0x1D);
    assert_int_equal(r.rises, 1);
    out8(&r, CONTROL, 0x1D); /* no edge, no byte */
    assert_int_equal(bytes_got, 3);
}

static void test_busy(void **state)
{
    (void)state;
    room = 0;
    print('a');
    assert_int_equal(in8(&r, STATUS) & 0x80, 0);
    print('b'); /* who does not look loses bytes */
    rig_save_load_compare(&r, d);
    room = 10;
    chardev_tx_ready(&chr);
    assert_int_equal(in8(&r, STATUS) & 0x80, 0x80);
    assert_true(bytes_got == 1 && got[0] == 'a');
    chardev_tx_ready(&chr);
    assert_int_equal(bytes_got, 1);
    out = true;
    assert_int_equal(in8(&r, STATUS), 0x77);
}

static void test_init(void **state)
{
    (void)state;
    room = 0;
    print('a');
    out8(&r, CONTROL, 0x08);
    assert_int_equal(inits, 1);
    room = 10;
    out8(&r, CONTROL, 0x09); /* nothing is taken while INIT is low */
    out8(&r, CONTROL, 0x0C);
    assert_true(inits == 1 && bytes_got == 0);
    print('c');
    assert_true(bytes_got == 1 && got[0] == 'c');
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_bytes), UNIT(test_busy), UNIT(test_init)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
