/* dev/misc_test.c - the small devices: sysctl, isa_dma, debug ports; and the class table. */
#include "dev/classes.h"
#include "dev/isa_dma.h"
#include "dev/misc.h"
#include "dev/test_storm.h"

static struct rig r;
static char text[16];
static u32 chars;

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

static void test_sysctl(void **state)
{
    (void)state;
    struct dev *d = rig_create(&r, &sysctl_class, NULL);
    assert_true(r.a20);
    out8(&r, 0x92, 0x00);
    assert_false(r.a20);
    rig_save_load_compare(&r, d);
    assert_false(r.a20);
    rig_damaged_loads(&r, d, 100);
    d->cls->reset(d);
    r.resets = 0;
    out8(&r, 0x92, 0x00);
    out8(&r, 0x92, 0x03);
    assert_true(r.a20 && r.resets == 1);
}

static void test_pvpanic(void **state)
{
    (void)state;
    struct dev *d = rig_create(&r, &pvpanic_class, NULL);
    assert_int_equal(in8(&r, PVPANIC_PORT), 3);
    out8(&r, PVPANIC_PORT, 2); /* a crash kernel takes over: not the machine's business */
    out8(&r, PVPANIC_PORT, 0xFC);
    assert_int_equal(r.panics, 0);
    out8(&r, PVPANIC_PORT, 1);
    assert_int_equal(r.panics, 1);
    rig_storm(&r, d, 2000);
    rig_save_load_compare(&r, d);
}

static void test_isa_dma(void **state)
{
    (void)state;
    struct dev *d = rig_create(&r, &isa_dma_class, NULL);
    out8(&r, 0x80, 0x55);
    out8(&r, 0x87, 0x12);
    assert_int_equal(in8(&r, 0x87), 0x12);
    assert_int_equal(in8(&r, 0x08), 0);
    assert_int_equal(in8(&r, 0xD0), 0);
    rig_storm(&r, d, 2000);
    rig_save_load_compare(&r, d);
    rig_damaged_loads(&r, d, 100);
}

static u32 con_write(void *ctx, const u8 *buf, u32 bytes)
{
    (void)ctx;
    if (chars < sizeof text) text[chars++] = (char)buf[0];
    return bytes;
}
static void test_debug(void **state)
{
    static const struct chardev_back_ops back = {con_write, NULL};
    struct chardev chr = {.back = &back};
    (void)state;
    rig_create(&r, &debug_exit_class, NULL);
    struct dev *con = rig_create(&r, &debug_con_class, &(struct debug_con_cfg){.chardev = &chr});
    chars = 0;
    out8(&r, 0xE9, 'o');
    out8(&r, 0xE9, 'k');
    assert_memory_equal(text, "ok", 2);
    assert_int_equal(in8(&r, 0xE9), 0xE9);
    out8(&r, 0xF4, 0x10);
    assert_true(r.exits == 1 && r.status == 0x21);
    bus_port_write(&r.bus, 0xF4, UINT32_MAX, 4);
    assert_true(r.exits == 2 && r.status == -1);
    rig_save_load_compare(&r, con);
}

/* Every row: sorted, its own name, sane regions, fields inside the instance with unique names. */
static void test_classes(void **state)
{
    u32 n;
    const struct dev_class_row *rows = dev_classes(&n);
    (void)state;
    assert_true(n >= 13);
    for (u32 i = 0; i < n; i++) {
        const struct dev_class *c = rows[i].cls;
        if (i) assert_true(strcmp(rows[i - 1].cls->name, c->name) < 0);
        assert_ptr_equal(dev_class_find(c->name), c);
        assert_true(c->version && c->inst_bytes >= sizeof(struct dev) && *rows[i].text &&
                    *rows[i].spec);
        for (const struct dev_region *g = c->regions; g && g->read; g++) {
            assert_true(g->write && g->bytes && g->min_bytes <= g->max_bytes && g->max_bytes <= 8);
            assert_int_equal(g->bytes % g->min_bytes, 0);
            assert_int_equal(g->min_bytes & (g->min_bytes - 1), 0);
            assert_int_equal(g->max_bytes & (g->max_bytes - 1), 0);
        }
        for (const struct ser_field *f = c->fields; f && f->name; f++)
            for (const struct ser_field *o = c->fields; o != f; o++)
                assert_string_not_equal(o->name, f->name);
    }
    assert_null(dev_class_find("nothing"));
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_sysctl), UNIT(test_pvpanic), UNIT(test_isa_dma),
                                       UNIT(test_debug), UNIT(test_classes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
