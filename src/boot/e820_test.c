#include "boot/e820.h"

#include <string.h>

#include "base/test.h"
#include "boot/layout.h"

static void make(struct mem *mem, struct e820 *map, u64 ram)
{
    struct err e = {0};
    assert_int_equal(mem_init(mem, &e), 0);
    assert_int_equal(e820_add_ram(mem, ram, &e), 0);
    e820_build(map, mem);
}

static void test_small_and_large(void **state)
{
    (void)state;
    struct mem mem;
    struct e820 map;
    make(&mem, &map, MIB(64));
    assert_int_equal(map.count, 4);
    static const struct e820_entry want[] = {
        {0, EBDA_START, E820_RAM},
        {EBDA_START, LOW_RAM_END - EBDA_START, E820_RESERVED},
        {ACPI_START, ACPI_END - ACPI_START, E820_RESERVED},
        {HIGH_RAM_START, MIB(63), E820_RAM},
    };
    for (u32 i = 0; i < 4; i++) {
        assert_int_equal(map.entry[i].base, want[i].base);
        assert_int_equal(map.entry[i].bytes, want[i].bytes);
        assert_int_equal(map.entry[i].type, want[i].type);
    }
    assert_null(mem_slot_find(&mem, VGA_START));
    mem_fini(&mem);

    make(&mem, &map, GIB(3) + PAGE_BYTES);
    assert_int_equal(map.count, 5);
    assert_int_equal(map.entry[3].bytes, GIB(3) - MIB(1));
    assert_int_equal(map.entry[4].base, GIB(4));
    assert_int_equal(map.entry[4].bytes, PAGE_BYTES);
    assert_int_equal(e820_ram_end(&map, GIB(4)), GIB(3));
    assert_int_equal(e820_ram_end(&map, UINT64_MAX), GIB(4) + PAGE_BYTES);
    assert_int_equal(e820_ram_end(&map, MIB(2)), MIB(2));
    mem_fini(&mem);
}

static void test_limits(void **state)
{
    (void)state;
    static const u64 bad[] = {0,          PAGE_BYTES, MIB(1) - PAGE_BYTES,
                              MIB(2) + 1, UINT64_MAX, MEM_BYTES_MAX + PAGE_BYTES};
    for (u32 i = 0; i < ARRAY_LEN(bad); i++) {
        struct mem mem;
        struct err e = {0};
        assert_int_equal(mem_init(&mem, &e), 0);
        assert_int_equal(e820_add_ram(&mem, bad[i], &e), E_RANGE);
        assert_int_equal(mem.slots, 0);
        mem_fini(&mem);
    }
    struct mem mem;
    struct e820 map;
    make(&mem, &map, MEM_BYTES_MIN); /* no high RAM at all */
    assert_int_equal(map.count, 3);
    mem_fini(&mem);
}

static void test_find(void **state)
{
    (void)state;
    struct mem mem;
    struct e820 map;
    make(&mem, &map, MIB(16));
    assert_int_equal(e820_find_high(&map, MIB(1), UINT64_MAX, 5000, 4096), MIB(16) - 8192);
    assert_int_equal(e820_find_high(&map, MIB(1), MIB(2), 4096, 4096), MIB(2) - 4096);
    assert_int_equal(e820_find_high(&map, MIB(1), UINT64_MAX, MIB(15), 4096), MIB(1));
    assert_int_equal(e820_find_high(&map, MIB(1), UINT64_MAX, MIB(15) + 1, 4096), 0);
    assert_int_equal(e820_find_high(&map, MIB(16), UINT64_MAX, 1, 4096), 0);
    assert_int_equal(e820_find_high(&map, MIB(1), UINT64_MAX, UINT64_MAX, 4096), 0);
    assert_int_equal(e820_find_high(&map, MIB(1) + 1, MIB(2), MIB(1) - 1, 4096), 0);
    assert_true(e820_is_ram(&map, 0, EBDA_START));
    assert_false(e820_is_ram(&map, 0, EBDA_START + 1));
    assert_false(e820_is_ram(&map, MIB(1), 0));
    assert_false(e820_is_ram(&map, MIB(1), UINT64_MAX));
    assert_true(e820_is_ram(&map, MIB(16) - 1, 1));
    mem_fini(&mem);
}

static void test_rom(void **state)
{
    (void)state;
    struct mem mem;
    struct e820 map;
    struct err e = {0};
    assert_int_equal(mem_init(&mem, &e), 0);
    assert_int_equal(e820_add_ram(&mem, MIB(4), &e), 0);
    assert_int_equal(mem_add(&mem, 0xfffc0000, KIB(256), true, &e), 0);
    e820_build(&map, &mem);
    assert_int_equal(map.count, 5);
    assert_int_equal(map.entry[4].type, E820_RESERVED);
    assert_int_equal(map.entry[4].base, 0xfffc0000);
    mem_fini(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_and_large),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_rom),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
