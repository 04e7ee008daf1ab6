/* pflash_test.c - the commands of the flash, what is kept, and hostile sequences. */
#include "dev/pflash.h"
#include "dev/test_storm.h"

#define BASE 0xFFC00000ull
enum { BYTES = 33 * 4096 }; /* no power of two, as Debian's variable stores */

static struct rig r;
static struct mem mem;
static struct dev *flash;
static u32 kept, kept_bytes;
static u64 kept_at;
static bool full;

static bool written(void *ctx, u64 off, const void *data, u32 bytes)
{
    (void)ctx, (void)data;
    kept++;
    kept_at = off;
    kept_bytes = bytes;
    return !full;
}

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    assert_int_equal(mem_init(&mem, NULL), 0);
    int id = mem_add_device(&mem, BYTES, "vars", NULL);
    assert_true(id >= 0);
    memset(mem.backing[id].hva, 0x5A, BYTES);
    struct pflash_cfg cfg = {.mem = &mem, .backing = (u32)id, .base = BASE, .written = written};
    flash = rig_create(&r, &pflash_class, &cfg);
    kept = 0;
    full = false;
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_fini(&r);
    mem_fini(&mem);
    return 0;
}
static u8 get(u64 off) { return (u8)bus_mmio_read(&r.bus, BASE + off, 1); }
static void put(u64 off, u8 v) { bus_mmio_write(&r.bus, BASE + off, v, 1); }

/* What OVMF does to tell flash from RAM and ROM. */
static void test_detection(void **state)
{
    (void)state;
    put(16, 0x50);
    assert_int_equal(get(16), 0x5A);
    put(16, 0x70);
    assert_int_equal(get(16), 0);
    put(16, 0xFF);
    assert_int_equal(get(16), 0x5A);
    assert_int_equal(bus_mmio_read(&r.bus, BASE + 9, 8), 0x5A5A5A5A5A5A5A5A);
}

static void test_program_and_erase(void **state)
{
    (void)state;
    put(5, 0x10);
    put(5, 0xF0); /* only clears bits */
    assert_int_equal(get(5), 0x80);
    put(5, 0xFF);
    assert_int_equal(get(5), 0x50);
    assert_true(kept == 1 && kept_at == 5 && kept_bytes == 1);
    put(4096 + 7, 0x20);
    put(4096 + 7, 0xD0);
    put(0, 0xFF);
    assert_int_equal(get(4096), 0xFF);
    assert_int_equal(get(8191), 0xFF);
    assert_int_equal(get(8192), 0x5A);
    assert_int_equal(get(4095), 0x5A);
    assert_true(kept == 2 && kept_at == 4096 && kept_bytes == 4096);
    put(0, 0x20); /* not confirmed */
    put(0, 0xFF);
    assert_int_equal(get(0), 0x80 | 0x30);
    put(0, 0x50);
    assert_int_equal(get(0), 0);
    put(0, 0xFF);
    assert_int_equal(get(0), 0x5A);
}

static void test_buffer(void **state)
{
    (void)state;
    put(8192, 0x20);
    put(8192, 0xD0);
    put(8192, 0xE8);
    assert_int_equal(get(8192), 0x80);
    put(8192, 3);
    for (u32 i = 0; i < 4; i++) put(8192 + 10 + i, (u8)i);
    put(8192, 0xD0);
    put(0, 0xFF);
    assert_int_equal(bus_mmio_read(&r.bus, BASE + 8192 + 10, 4), 0x03020100);
    assert_int_equal(get(8192 + 9), 0xFF);
}

static void test_identification(void **state)
{
    (void)state;
    put(0, 0x98);
    assert_int_equal(bus_mmio_read(&r.bus, BASE + 0x10, 4), 0x01595251);
    assert_int_equal(get(0x27), 18);
    assert_int_equal(bus_mmio_read(&r.bus, BASE + 0x2D, 4), 0x00100020);
    put(0, 0x90);
    assert_int_equal(get(0), 0x89);
}

static void test_host_full(void **state)
{
    (void)state;
    full = true;
    put(5, 0x40);
    put(5, 0);
    assert_int_equal(get(5), 0x90);
    put(5, 0x20);
    put(5, 0xD0);
    assert_int_equal(get(5), 0xB0);
}

static void test_hostile(void **state)
{
    (void)state;
    put(BYTES - 1, 0xE8);
    put(BYTES - 1, 0xFF);
    for (u32 i = 0; i < 300; i++) bus_mmio_write(&r.bus, BASE + BYTES - 8, ~0ull, 8);
    put(BYTES - 1, 0x40);
    bus_mmio_write(&r.bus, BASE + BYTES - 1, 0, 8); /* runs off the end */
    rig_storm(&r, flash, 20000);
    rig_damaged_loads(&r, flash, 200);
}

static void test_save(void **state)
{
    (void)state;
    put(0, 0xE8);
    put(0, 9);
    put(3, 0x12);
    rig_save_load_compare(&r, flash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_detection, setup, teardown),
        cmocka_unit_test_setup_teardown(test_program_and_erase, setup, teardown),
        cmocka_unit_test_setup_teardown(test_buffer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_identification, setup, teardown),
        cmocka_unit_test_setup_teardown(test_host_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile, setup, teardown),
        cmocka_unit_test_setup_teardown(test_save, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
