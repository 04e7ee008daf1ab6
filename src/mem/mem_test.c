#include "mem/mem.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>

#include "base/test.h"

/* Notes of the listener. */
struct heard {
    u32 writes, protects;
    gpa_t gpa, page;
    u32 bytes;
    u8 trace, first_byte;
    struct mem *mem;
};
static void on_write(void *ctx, gpa_t gpa, u32 bytes, u8 trace)
{
    struct heard *h = ctx;
    h->writes++;
    h->gpa = gpa;
    h->bytes = bytes;
    h->trace = trace;
    mem_read(h->mem, gpa, &h->first_byte, 1); /* the bytes have already changed */
}
static void on_protect(void *ctx, gpa_t page)
{
    struct heard *h = ctx;
    h->protects++;
    h->page = page;
}

/* RAM at 0 (64 KiB) and 1 MiB (4 MiB), ROM at 0xf0000 (64 KiB), hole between; ROM touches the
 * second RAM. */
struct fixture {
    struct mem mem;
    struct heard heard;
};
static void set_up(struct fixture *f)
{
    *f = (struct fixture){0};
    assert_int_equal(mem_init(&f->mem, NULL), 0);
    assert_int_equal(mem_add(&f->mem, MIB(1), MIB(4), false, NULL), 0);
    assert_int_equal(mem_add(&f->mem, 0xf0000, KIB(64), true, NULL), 0);
    assert_int_equal(mem_add(&f->mem, 0, KIB(64), false, NULL), 0);
    f->heard.mem = &f->mem;
    mem_set_listener(&f->mem, on_write, on_protect, &f->heard);
}

static void test_slots_are_sorted_and_found(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    const struct mem *m = &f.mem;
    assert_int_equal(m->slots, 3);
    assert_int_equal(m->slot[0].base, 0);
    assert_int_equal(m->slot[1].base, 0xf0000);
    assert_int_equal(m->slot[2].base, MIB(1));
    assert_int_equal(m->ram_bytes, MIB(4) + KIB(64));
    assert_ptr_equal(mem_slot_find(m, 0xffff), &m->slot[0]);
    assert_null(mem_slot_find(m, 0x10000));
    assert_null(mem_slot_find(m, MIB(5)));
    assert_null(mem_slot_find(m, UINT64_MAX));
    assert_ptr_equal(mem_page_ptr(m, MIB(1) + 0x1fff), m->slot[2].hva + 0x1000);
    assert_null(mem_page_ptr(m, MIB(8)));
    mem_fini(&f.mem);
    mem_fini(&f.mem); /* again is harmless */
}

static void test_bad_ranges_are_refused(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    static const struct {
        gpa_t base;
        u64 bytes;
    } bad[] = {{0x800000, 0},
               {0x800001, 4096},
               {0x800000, 4097},
               {0, 4096},
               {MIB(5) - 4096, 8192},
               {0xe0000, MIB(1)},
               {BIT(GPA_BITS) - 4096, 8192},
               {UINT64_MAX - 4095, 4096},
               {4096, UINT64_MAX - 4095}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e = {0};
        int rc = mem_add(&f.mem, bad[i].base, bad[i].bytes, false, &e);
        assert_true(rc == E_INVAL || rc == E_BUSY);
        assert_true(strlen(e.text) > 0);
    }
    assert_int_equal(f.mem.slots, 3);
    for (u32 i = f.mem.slots; i < MEM_BACKINGS_MAX; i++)
        assert_int_equal(mem_add(&f.mem, GIB(1) + i * MIB(1), 4096, false, NULL), 0);
    assert_int_equal(mem_add(&f.mem, GIB(2), 4096, false, NULL), E_NOSPC);
    mem_fini(&f.mem);
}

static void test_more_than_the_host_has(void **state)
{
    (void)state;
    struct mem m;
    struct err e = {0};
    assert_int_equal(mem_host_can_back(BIT(50), &e), E_NOMEM);
    assert_non_null(strstr(e.text, "MiB"));
    assert_int_equal(mem_host_can_back(4096, &e), 0);
    assert_int_equal(mem_init(&m, NULL), 0);
    assert_int_equal(mem_add(&m, 0, BIT(GPA_BITS), false, &e), E_NOMEM);
    assert_int_equal(m.slots, 0);
    mem_fini(&m);
}

static void test_copies_of_every_size_and_alignment(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    u8 out[64], in[64];
    for (u32 i = 0; i < sizeof out; i++) out[i] = (u8)(i * 7 + 1);
    for (u32 at = 0; at < 16; at++) {
        for (u32 n = 0; n <= sizeof out; n++) {
            gpa_t gpa = MIB(1) + 4096 - 8 + at; /* across a page boundary */
            mem_fill(&f.mem, MIB(1) + 4000, 0xee, 256);
            assert_int_equal(mem_write(&f.mem, gpa, out, n), 0);
            memset(in, 0, sizeof in);
            assert_int_equal(mem_read(&f.mem, gpa, in, n), 0);
            assert_memory_equal(in, out, n);
            u8 around[2];
            mem_read(&f.mem, gpa - 1, &around[0], 1);
            mem_read(&f.mem, gpa + n, &around[1], 1);
            assert_int_equal(around[0], 0xee);
            assert_int_equal(around[1], 0xee);
        }
    }
    mem_fini(&f.mem);
}

static void test_holes_read_ones_and_drop_writes(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    u8 in[16], out[16] = {0};
    mem_fill(&f.mem, 0xfff8, 0x11, 8);
    assert_int_equal(mem_read(&f.mem, 0xfff8, in, 16), E_GUEST);
    for (u32 i = 0; i < 16; i++) assert_int_equal(in[i], i < 8 ? 0x11 : 0xff);
    assert_int_equal(mem_write(&f.mem, 0xfff8, out, 16), E_GUEST);
    assert_int_equal(mem_read(&f.mem, 0xfff8, in, 8), 0);
    assert_memory_equal(in, out, 8);
    /* at the top of the address space nothing wraps to address 0 */
    memset(out, 0x22, sizeof out);
    assert_int_equal(mem_write(&f.mem, UINT64_MAX - 3, out, 16), E_GUEST);
    assert_int_equal(mem_read(&f.mem, 0, in, 16), 0);
    assert_int_equal(in[0], 0);
    assert_int_equal(mem_read(&f.mem, UINT64_MAX - 3, in, 16), E_GUEST);
    for (u32 i = 0; i < 16; i++) assert_int_equal(in[i], 0xff);
    mem_fini(&f.mem);
}

static void test_rom_takes_loads_only(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    const u8 code[4] = {1, 2, 3, 4};
    u8 in[8], span[8] = {9, 9, 9, 9, 8, 8, 8, 8};
    assert_int_equal(mem_page_trace(&f.mem, 0xff000), MEM_ROM);
    assert_int_equal(mem_load(&f.mem, 0xffffc, code, 4), 0);
    assert_int_equal(mem_write(&f.mem, 0xffffc, span, 8), 0); /* half ROM, half RAM */
    assert_int_equal(mem_read(&f.mem, 0xffffc, in, 8), 0);
    assert_memory_equal(in, code, 4);
    assert_memory_equal(in + 4, span + 4, 4);
    assert_int_equal(mem_cmpxchg(&f.mem, 0xffffc, 0x04030201, 0, 4), E_GUEST);
    mem_fini(&f.mem);
}

static void test_traced_writes_are_reported_per_page(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    struct heard *h = &f.heard;
    u8 out[64];
    memset(out, 0x5a, sizeof out);
    mem_trace_set(&f.mem, MIB(1) + 0x1234, MEM_TRACE_CODE);
    assert_int_equal(h->protects, 1);
    assert_int_equal(h->page, MIB(1) + 0x1000);
    mem_trace_set(&f.mem, MIB(1) + 0x1fff, MEM_TRACE_DIRTY); /* already slow: nothing to revoke */
    assert_int_equal(h->protects, 1);
    assert_int_equal(mem_page_trace(&f.mem, MIB(1) + 0x1000), MEM_TRACE_CODE | MEM_TRACE_DIRTY);
    assert_int_equal(mem_page_trace(&f.mem, MIB(1) + 0x2000), 0);

    assert_int_equal(mem_write(&f.mem, MIB(1) + 0x1000 - 16, out, 64), 0);
    assert_int_equal(h->writes, 1); /* the untraced page before is silent */
    assert_int_equal(h->gpa, MIB(1) + 0x1000);
    assert_int_equal(h->bytes, 48);
    assert_int_equal(h->trace, MEM_TRACE_CODE | MEM_TRACE_DIRTY);
    assert_int_equal(h->first_byte, 0x5a);

    mem_trace_clear(&f.mem, MIB(1) + 0x1000, MEM_TRACE_CODE | MEM_TRACE_DIRTY);
    mem_write(&f.mem, MIB(1) + 0x1000, out, 8);
    assert_int_equal(h->writes, 1);
    mem_trace_set(&f.mem, MIB(9), MEM_TRACE_CODE); /* a hole: nothing */
    mem_trace_clear(&f.mem, MIB(9), MEM_TRACE_CODE);
    assert_int_equal(h->protects, 1);
    mem_fini(&f.mem);
}

static void test_cmpxchg(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    u64 v = 0x1122334455667788, got;
    mem_write(&f.mem, 0x100, &v, 8);
    assert_int_equal(mem_cmpxchg(&f.mem, 0x100, v + 1, 5, 8), 0);
    assert_int_equal(mem_cmpxchg(&f.mem, 0x100, v, v | 0x20, 8), 1);
    assert_int_equal(mem_cmpxchg(&f.mem, 0x104, 0x11223344, 7, 4), 1);
    mem_read(&f.mem, 0x100, &got, 8);
    assert_int_equal(got, 0x00000007556677a8);
    mem_trace_set(&f.mem, 0x100, MEM_TRACE_PT);
    assert_int_equal(mem_cmpxchg(&f.mem, 0x104, 7, 8, 4), 1);
    assert_int_equal(f.heard.writes, 1);
    assert_int_equal(f.heard.gpa, 0x104);
    assert_int_equal(mem_cmpxchg(&f.mem, 0x102, 0, 0, 4), E_GUEST);
    assert_int_equal(mem_cmpxchg(&f.mem, 0x100, 0, 0, 3), E_GUEST);
    assert_int_equal(mem_cmpxchg(&f.mem, MIB(7), 0, 0, 8), E_GUEST);
    mem_fini(&f.mem);
}

/* The same pages are visible through the memfd: other processes and snapshots map it. */
static void test_memfd_shows_the_same_bytes(void **state)
{
    (void)state;
    struct fixture f;
    set_up(&f);
    const struct mem_slot *s = mem_slot_find(&f.mem, MIB(1));
    mem_write(&f.mem, MIB(1) + 5, "ring3", 5);
    u8 *other = mmap(NULL, s->bytes, PROT_READ, MAP_SHARED, f.mem.fd, (off_t)s->fd_offset);
    assert_ptr_not_equal(other, MAP_FAILED);
    assert_memory_equal(other + 5, "ring3", 5);
    munmap(other, s->bytes);
    mem_fini(&f.mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots_are_sorted_and_found),
        cmocka_unit_test(test_bad_ranges_are_refused),
        cmocka_unit_test(test_more_than_the_host_has),
        cmocka_unit_test(test_copies_of_every_size_and_alignment),
        cmocka_unit_test(test_holes_read_ones_and_drop_writes),
        cmocka_unit_test(test_rom_takes_loads_only),
        cmocka_unit_test(test_traced_writes_are_reported_per_page),
        cmocka_unit_test(test_cmpxchg),
        cmocka_unit_test(test_memfd_shows_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
