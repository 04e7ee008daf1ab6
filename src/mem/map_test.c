/* map_test.c - pieces of device memory: places, merging, rights, what an application reports. */
#include "mem/map.h"

#include <stdatomic.h>
#include <string.h>

#include "base/test.h"

enum { RANGES = 8 };
struct heard {
    u32 count;
    struct {
        gpa_t start, end;
    } range[RANGES];
};
static void on_changed(void *ctx, gpa_t start, gpa_t end)
{
    struct heard *h = ctx;
    assert_true(h->count < RANGES);
    h->range[h->count].start = start;
    h->range[h->count++].end = end;
}

static struct mem mem;
static struct mem_map map;
static u32 ram, rom;

static int set_up(void **state)
{
    (void)state;
    assert_int_equal(mem_init(&mem, NULL), 0);
    assert_int_equal(mem_add(&mem, 0, KIB(64), false, NULL), 0);
    ram = (u32)mem_add_device(&mem, KIB(64), "ram", NULL);
    rom = (u32)mem_add_device(&mem, KIB(32), "rom", NULL);
    assert_int_equal(mem_find_device(&mem, "rom"), rom);
    assert_int_equal(mem.slots, 1);
    mem_map_fixed(&mem, &map);
    return 0;
}
static int tear_down(void **state)
{
    (void)state;
    mem_fini(&mem);
    return 0;
}

static struct mem_piece piece(u32 backing, gpa_t base, u64 offset, u64 bytes)
{
    return (struct mem_piece){.base = base, .bytes = bytes, .backing = backing, .offset = offset};
}
static int add(struct mem_piece p) { return mem_map_add(&map, &mem, &p, NULL); }
static u32 get(gpa_t gpa)
{
    u32 v;
    mem_read(&mem, gpa, &v, sizeof v);
    return v;
}
static void put(gpa_t gpa, u32 v) { mem_write(&mem, gpa, &v, sizeof v); }

static void test_places(void **state)
{
    (void)state;
    struct heard h = {0};
    assert_int_equal(add(piece(ram, MIB(1), 0, KIB(64))), 0);
    assert_int_equal(add(piece(rom, MIB(1) + KIB(60), 0, KIB(32))), E_BUSY);
    assert_int_equal(add(piece(rom, KIB(32), 0, KIB(32))), E_BUSY);
    assert_int_equal(add(piece(rom, MIB(4), KIB(4), KIB(32))), E_INVAL);
    assert_int_equal(add(piece(rom, MIB(4), UINT64_MAX - 4095, KIB(32))), E_INVAL);
    assert_int_equal(add(piece(rom + 1, MIB(4), 0, KIB(32))), E_INVAL);
    assert_int_equal(add(piece(rom, MIB(4) + 1, 0, KIB(32))), E_INVAL);
    assert_int_equal(add(piece(rom, UINT64_MAX - 4095, 0, KIB(32))), E_INVAL);
    mem_map_apply(&mem, &map, on_changed, &h);
    assert_int_equal(h.count, 1);
    assert_true(h.range[0].start == MIB(1) && h.range[0].end == MIB(1) + KIB(64));
    put(MIB(1) + 8, 77);
    mem_map_fixed(&mem, &map);
    assert_int_equal(add(piece(ram, MIB(8), 0, KIB(64))), 0);
    u32 generation = mem.generation;
    mem_map_apply(&mem, &map, on_changed, &h);
    assert_int_not_equal(mem.generation, generation);
    assert_int_equal(h.count, 3); /* where it is, where it was */
    assert_int_equal(get(MIB(8) + 8), 77);
    assert_null(mem_page_ptr(&mem, MIB(1)));
    mem_map_apply(&mem, &map, on_changed, &h);
    assert_int_equal(h.count, 3); /* the same again */
}

static void test_neighbours_merge(void **state)
{
    (void)state;
    for (u32 i = 16; i-- > 0;)
        assert_int_equal(add(piece(ram, MIB(1) + i * KIB(4), i * KIB(4), KIB(4))), 0);
    assert_int_equal(map.slots, 2);
    assert_int_equal(map.slot[1].bytes, KIB(64));
    struct mem_piece p = piece(rom, MIB(1) + KIB(64), 0, KIB(4));
    assert_int_equal(add(p), 0); /* another backing */
    p = piece(rom, MIB(1) + KIB(68), KIB(4), KIB(4));
    p.rom = true;
    assert_int_equal(add(p), 0); /* other rights */
    assert_int_equal(map.slots, 4);
    for (u32 i = 0; map.slots < MEM_SLOTS_MAX; i++)
        assert_int_equal(add(piece(rom, MIB(2) + i * KIB(8), 0, KIB(4))), 0);
    assert_int_equal(add(piece(rom, MIB(16), 0, KIB(4))), E_NOSPC);
}

/* Reads from ROM; writes to RAM, which can be seen later. */
static void test_split(void **state)
{
    (void)state;
    struct mem_piece p = piece(rom, MIB(1), 0, KIB(32));
    p.rom = true;
    assert_int_equal(add(p), 0);
    mem_map_apply(&mem, &map, NULL, NULL);
    mem_load(&mem, MIB(1), &(u32){1}, 4);
    put(MIB(1), 2);
    assert_int_equal(get(MIB(1)), 1);
    assert_true(mem_page_trace(&mem, MIB(1)) & MEM_ROM);
    p.written = ram + 1;
    p.written_offset = KIB(32);
    mem_map_fixed(&mem, &map);
    assert_int_equal(add(p), 0);
    mem_map_apply(&mem, &map, NULL, NULL);
    put(MIB(1), 3);
    assert_int_equal(get(MIB(1)), 1);
    mem_map_fixed(&mem, &map);
    assert_int_equal(add(piece(ram, MIB(1), KIB(32), KIB(32))), 0);
    mem_map_apply(&mem, &map, NULL, NULL);
    assert_int_equal(get(MIB(1)), 3);
    assert_false(mem_page_trace(&mem, MIB(1)) & MEM_ROM);
    p.written_offset = KIB(36);
    mem_map_fixed(&mem, &map);
    assert_int_equal(add(p), E_INVAL);
}

static void test_device_memory_is_bounded(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(mem_add_device(&mem, MEM_DEVICE_BYTES_MAX, "much", &e), E_NOSPC);
    assert_true(strlen(e.text) > 0);
    u64 pages = mem_pages_max(&mem);
    for (u32 i = mem.backings; i < MEM_BACKINGS_MAX; i++) {
        assert_true(mem_add_device(&mem, i == 5 ? MIB(16) : KIB(4), "more", &e) >= 0);
        assert_true(mem.fd_bytes >> PAGE_SHIFT <= pages);
    }
    assert_int_equal(mem_add_device(&mem, KIB(4), "more", &e), E_NOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_places, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_neighbours_merge, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_split, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_device_memory_is_bounded, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
