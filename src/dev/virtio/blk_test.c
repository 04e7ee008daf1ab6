/* dev/virtio/blk_test.c - the virtio block device under a driver: set-up, reads and writes of every
 * shape, flush, discard, zeroes, serial, indirect tables, MSI-X and INTx, resets under way, and
 * rings no honest driver would make. */
#include "dev/virtio/blk.h"

#include "dev/disk_rig_test.h"

enum { BAR = 0xE0000000, MSIX = 0xE0008000, DEVFN = 16 << 3, SECTORS = 1000 };
enum { DESC = 0x1000, AVAIL = 0x3000, USED = 0x4000, HEADER = 0x5000, STATUS = 0x5800 };
enum { DATA = 0x10000, INDIRECT = 0x8000, N = 64 };
enum { NEXT = 1, WRITE = 2, TABLE = 4 };

static struct disk_rig g;
static struct dev *d;
static u16 avail_i;

static u64 rd(u32 off, u32 n) { return bus_mmio_read(&g.r.bus, BAR + off, n); }
static void wr(u32 off, u64 v, u32 n) { bus_mmio_write(&g.r.bus, BAR + off, v, n); }
static void cfg(u32 off, u32 v, u32 n) { pci_cfg_write(&g.pci, DEVFN, off, v, n); }

static void start_driver(void)
{
    avail_i = 0;
    mem_fill(&g.mem, AVAIL, 0, 0x2000);
    wr(0x14, 0, 1);
    assert_int_equal(rd(0x14, 1), 0);
    wr(0x14, 3, 1);
    wr(0x00, 1, 4);
    assert_int_equal(rd(0x04, 4), 1); /* VERSION_1 */
    wr(0x08, 1, 4);
    wr(0x0C, 1, 4);
    wr(0x08, 0, 4);
    wr(0x0C, 0xFFFFFFFF, 4);
    wr(0x14, 0xB, 1);
    assert_int_equal(rd(0x14, 1), 0xB);
    wr(0x16, 0, 2);
    assert_int_equal(rd(0x18, 2), 128);
    wr(0x18, N, 2);
    wr(0x1A, 1, 2);
    wr(0x20, DESC, 4);
    wr(0x28, AVAIL, 4);
    wr(0x30, USED, 8);
    wr(0x1C, 1, 2);
    wr(0x10, 0, 2);
    wr(0x14, 0xF, 1);
}

static int setup_with(bool readonly)
{
    disk_rig_init(&g);
    struct virtio_blk_cfg c = {
        .pci = &g.pci, .devfn = DEVFN, .disk = disk_make(&g, SECTORS, readonly), .serial = "abc"};
    d = rig_create(&g.r, &virtio_blk_class, &c);
    cfg(0x14, MSIX, 4);
    cfg(0x20, BAR, 4);
    cfg(PCI_COMMAND, CMD_MEM | CMD_MASTER, 2);
    start_driver();
    return 0;
}
static int setup(void **state) { return (void)state, setup_with(false); }
static int setup_readonly(void **state) { return (void)state, setup_with(true); }
static int teardown(void **state)
{
    (void)state;
    disk_pump(&g);
    rig_save_load_compare(&g.r, d);
    rig_storm(&g.r, d, 20000);
    disk_pump(&g);
    rig_damaged_loads(&g.r, d, 500);
    disk_pump(&g);
    disk_rig_fini(&g);
    return 0;
}

/* ---- a driver -------------------------------------------------------------------------------- */

static void desc_at(gpa_t table, u32 i, u64 addr, u32 len, u32 flags_next)
{
    u32 w[4] = {(u32)addr, (u32)(addr >> 32), len, flags_next};
    assert_int_equal(mem_write(&g.mem, table + i * 16, w, 16), 0);
}
static void desc(u32 i, u64 addr, u32 len, u32 flags)
{
    desc_at(DESC, i, addr, len, flags | (i + 1) << 16);
}
static void offer(u16 head)
{
    mem_write(&g.mem, AVAIL + 4 + avail_i % N * 2u, &head, 2);
    avail_i++;
    mem_write(&g.mem, AVAIL + 2, &avail_i, 2);
    wr(0x3000, 0, 2);
}
static void header(u32 type, u64 sector)
{
    u32 w[4] = {type, 0, (u32)sector, (u32)(sector >> 32)};
    u8 none = 0x77;
    mem_write(&g.mem, HEADER, w, 16);
    mem_write(&g.mem, STATUS, &none, 1);
}
static u8 status(void)
{
    u8 s;
    mem_read(&g.mem, STATUS, &s, 1);
    return s;
}
static u16 used(void)
{
    u16 i;
    mem_read(&g.mem, USED + 2, &i, 2);
    return i;
}
static u32 used_len(u16 n)
{
    u32 e[2];
    mem_read(&g.mem, USED + 4 + n % N * 8u, e, 8);
    return e[1];
}
/* Header, one buffer, status. */
static void request(u32 type, u64 sector, u32 bytes, bool device_writes)
{
    header(type, sector);
    desc(0, HEADER, 16, NEXT);
    if (bytes) desc(1, DATA, bytes, NEXT | (device_writes ? WRITE : 0));
    desc(1 + !!bytes, STATUS, 1, WRITE);
    offer(0);
    disk_pump(&g);
}
static void in_memory(gpa_t at, u64 sector, u32 count)
{
    u8 buf[512];
    for (u32 k = 0; k < count; k++) {
        assert_int_equal(mem_read(&g.mem, at + k * 512, buf, 512), 0);
        for (u32 i = 0; i < 512; i++)
            if (buf[i] != disk_byte(sector + k, i)) fail_msg("sector %u+%u", (u32)sector, k);
    }
}
static void expect_broken(void)
{
    disk_pump(&g);
    assert_int_equal(rd(0x14, 1) & 0x40, 0x40);
    start_driver();
    request(0, 3, 512, true);
    assert_int_equal(status(), 0);
    in_memory(DATA, 3, 1);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_identity(void **state)
{
    (void)state;
    assert_int_equal(pci_cfg_read(&g.pci, DEVFN, 0, 4), 0x10421AF4);
    assert_int_equal(rd(0x2000, 4), SECTORS);
    assert_int_equal(rd(0x2014, 4), 512);
    assert_int_equal(rd(0x12, 2), 1);
    wr(0x16, 1, 2);
    assert_int_equal(rd(0x18, 2), 0);
    u32 cap = pci_cfg_read(&g.pci, DEVFN, 0x34, 1), seen = 0;
    for (u32 i = 0; cap && i < 8; i++, cap = pci_cfg_read(&g.pci, DEVFN, cap + 1, 1))
        if (pci_cfg_read(&g.pci, DEVFN, cap, 1) == 9)
            seen |= 1u << pci_cfg_read(&g.pci, DEVFN, cap + 3, 1);
    assert_int_equal(seen, 0x3E);
    /* a driver that does not speak 1.x gets no FEATURES_OK */
    wr(0x14, 0, 1);
    wr(0x14, 3, 1);
    wr(0x14, 0xB, 1);
    assert_int_equal(rd(0x14, 1), 3);
}

static void test_read_write(void **state)
{
    (void)state;
    request(0, 5, 8 * 512, true);
    assert_int_equal(used(), 1);
    assert_int_equal(used_len(0), 8 * 512 + 1);
    assert_int_equal(status(), 0);
    in_memory(DATA, 5, 8);
    request(1, 100, 8 * 512, false);
    assert_int_equal(status(), 0);
    assert_int_equal(used_len(1), 1);
    disk_expect(&g, 0, 100, 5);
    disk_expect(&g, 0, 107, 12);
    disk_expect(&g, 0, 108, 108);
    request(0, 0, 300 * 512, true); /* in pieces */
    assert_int_equal(status(), 0);
    in_memory(DATA, 0, 100);
    in_memory(DATA + 108 * 512, 108, 192);
    request(1, 500, 300 * 512, false);
    disk_expect(&g, 0, 799, 299);
    request(4, 0, 0, false);
    assert_int_equal(status(), 0);
}

/* Segments that start and end anywhere, and an indirect table. */
static void test_segments(void **state)
{
    (void)state;
    header(0, 7);
    desc(0, HEADER, 9, NEXT);
    desc(1, HEADER + 9, 7, NEXT);
    desc(2, DATA, 100, NEXT | WRITE);
    desc(3, DATA + 100, 1, NEXT | WRITE);
    desc(4, DATA + 101, 923, NEXT | WRITE);
    desc(5, STATUS, 1, WRITE);
    offer(0);
    disk_pump(&g);
    assert_int_equal(status(), 0);
    in_memory(DATA, 7, 2);
    header(0, 9);
    desc_at(INDIRECT, 0, HEADER, 16, NEXT | 5 << 16);
    desc_at(INDIRECT, 5, DATA, 1024, NEXT | WRITE | 2 << 16);
    desc_at(INDIRECT, 2, STATUS, 1, WRITE);
    desc(7, INDIRECT, 6 * 16, TABLE);
    offer(7);
    disk_pump(&g);
    assert_int_equal(status(), 0);
    in_memory(DATA, 9, 2);
}

static void test_other(void **state)
{
    u32 range[4] = {10, 0, 4, 0};
    u8 id[20], zero[512] = {0}, got[512];
    (void)state;
    request(8, 0, 20, true);
    mem_read(&g.mem, DATA, id, 20);
    assert_memory_equal(id, "abc\0", 4);
    mem_write(&g.mem, DATA, range, 16);
    request(13, 0, 16, false);
    assert_int_equal(status(), 0);
    request(0, 13, 512, true);
    mem_read(&g.mem, DATA, got, 512);
    assert_memory_equal(got, zero, 512);
    disk_expect(&g, 0, 14, 14);
    range[0] = 20;
    mem_write(&g.mem, DATA, range, 16);
    request(11, 0, 16, false);
    assert_int_equal(status(), 0);
    disk_expect(&g, 0, 24, 24);
    range[3] = 1; /* discard knows no flags */
    mem_write(&g.mem, DATA, range, 16);
    request(11, 0, 16, false);
    assert_int_equal(status(), 2);
    request(99, 0, 0, false);
    assert_int_equal(status(), 2);
}

static void test_errors(void **state)
{
    (void)state;
    request(0, SECTORS, 512, true);
    assert_int_equal(status(), 1);
    request(0, ~0ull, 512, true);
    assert_int_equal(status(), 1);
    request(0, SECTORS - 1, 1024, true);
    assert_int_equal(status(), 1);
    request(0, 1, 100, true);
    assert_int_equal(status(), 1);
    assert_int_equal(truncate(g.path[0], 5 * 512), 0);
    request(0, 10, 512, true);
    assert_int_equal(status(), 1);
    request(1, 10, 512, false);
    assert_int_equal(status(), 1);
    header(0, 1); /* data into nothing */
    desc(0, HEADER, 16, NEXT);
    desc(1, 1ull << 40, 512, NEXT | WRITE);
    desc(2, STATUS, 1, WRITE);
    offer(0);
    disk_pump(&g);
    assert_int_equal(status(), 1);
}

static void test_readonly(void **state)
{
    (void)state;
    wr(0x00, 0, 4);
    assert_int_equal(rd(0x04, 4) & (1 << 5 | 1 << 13), 1 << 5);
    request(1, 1, 512, false);
    assert_int_equal(status(), 1);
    request(0, 1, 512, true);
    assert_int_equal(status(), 0);
}

static void test_interrupts(void **state)
{
    (void)state;
    u16 off = 1;
    cfg(0x04, CMD_MEM | CMD_MASTER, 2);
    request(0, 1, 512, true);
    assert_int_equal(rd(0x1000, 1), 1); /* INTx */
    assert_int_equal(rd(0x1000, 1), 0);
    mem_write(&g.mem, AVAIL, &off, 2);
    request(0, 1, 512, true);
    assert_int_equal(rd(0x1000, 1), 0);
    off = 0;
    mem_write(&g.mem, AVAIL, &off, 2);
    u32 cap = pci_cfg_read(&g.pci, DEVFN, 0x34, 1);
    while (pci_cfg_read(&g.pci, DEVFN, cap, 1) != 0x11)
        cap = pci_cfg_read(&g.pci, DEVFN, cap + 1, 1);
    assert_int_equal(pci_cfg_read(&g.pci, DEVFN, cap + 2, 2), 1);
    cfg(cap + 2, 0x8000, 2);
    bus_mmio_write(&g.r.bus, MSIX + 16, 0xFEE00000, 4);
    bus_mmio_write(&g.r.bus, MSIX + 24, 0x41, 4);
    request(0, 1, 512, true);
    assert_int_equal(g.msis, 0); /* masked */
    assert_int_equal(bus_mmio_read(&g.r.bus, MSIX + 0x800, 4), 2);
    bus_mmio_write(&g.r.bus, MSIX + 28, 0, 4);
    assert_int_equal(g.msis, 1);
    assert_int_equal(g.last_msi, 0x41);
    cfg(cap + 2, 0xC000, 2);
    request(0, 1, 512, true);
    assert_int_equal(g.msis, 1);
    cfg(cap + 2, 0x8000, 2);
    assert_int_equal(g.msis, 2);
    wr(0x1A, 9, 2); /* no such vector */
    assert_int_equal(rd(0x1A, 2), 0xFFFF);
}

static void test_reset(void **state)
{
    (void)state;
    header(0, 1);
    desc(0, HEADER, 16, NEXT);
    desc(1, DATA, 512, NEXT | WRITE);
    desc(2, STATUS, 1, WRITE);
    offer(0);
    wr(0x14, 0, 1);
    assert_int_equal(rd(0x14, 1), 0xF); /* not yet */
    disk_pump(&g);
    assert_int_equal(rd(0x14, 1), 0);
    assert_int_equal(status(), 0x77); /* and nothing of it reached memory */
    assert_int_equal(used(), 0);
    start_driver();
    request(0, 1, 512, true);
    assert_int_equal(status(), 0);
    offer(0);
    dev_reset_all(&g.r.set);
}

/* The window in configuration space, BARs off. */
static void test_window(void **state)
{
    u32 cap = pci_cfg_read(&g.pci, DEVFN, 0x34, 1);
    (void)state;
    while (pci_cfg_read(&g.pci, DEVFN, cap, 1) != 9 || pci_cfg_read(&g.pci, DEVFN, cap + 3, 1) != 5)
        cap = pci_cfg_read(&g.pci, DEVFN, cap + 1, 1);
    cfg(PCI_COMMAND, CMD_MASTER, 2);
    cfg(cap + 4, 4, 1);
    cfg(cap + 8, 0x2000, 4);
    cfg(cap + 12, 4, 4);
    assert_int_equal(pci_cfg_read(&g.pci, DEVFN, cap + 16, 4), SECTORS);
    cfg(cap + 8, 0x14, 4);
    cfg(cap + 12, 1, 4);
    assert_int_equal(pci_cfg_read(&g.pci, DEVFN, cap + 16, 1), 0xF);
    cfg(cap + 16, 0, 1);
    assert_int_equal(pci_cfg_read(&g.pci, DEVFN, cap + 16, 1), 0);
    cfg(cap + 16, 3, 1);
    assert_int_equal(pci_cfg_read(&g.pci, DEVFN, cap + 16, 1), 3);
    cfg(cap + 12, 8, 4); /* no such width; beyond the BAR */
    cfg(cap + 16, 0, 4);
    cfg(cap + 12, 4, 4);
    cfg(cap + 8, 0x4000, 4);
    cfg(cap + 16, 0, 4);
    cfg(PCI_COMMAND, CMD_MEM | CMD_MASTER, 2);
    assert_int_equal(rd(0x14, 1), 3);
}

/* More requests than slots. */
static void test_many(void **state)
{
    (void)state;
    header(0, 50);
    for (u32 i = 0; i < N / 3; i++) {
        desc(i * 3, HEADER, 16, NEXT);
        desc(i * 3 + 1, DATA + i * 1024, 1024, NEXT | WRITE);
        desc(i * 3 + 2, STATUS, 1, WRITE);
    }
    for (u16 i = 0; i < N / 3; i++) offer((u16)(i * 3));
    disk_pump(&g);
    assert_int_equal(used(), N / 3);
    for (u32 i = 0; i < N / 3; i++) in_memory(DATA + i * 1024, 50, 2);
}

static void test_hostile(void **state)
{
    (void)state;
    desc(0, HEADER, 16, NEXT); /* a loop */
    desc_at(DESC, 1, DATA, 16, NEXT | 0 << 16);
    offer(0);
    expect_broken();
    offer(N); /* no such descriptor */
    expect_broken();
    desc_at(DESC, 0, HEADER, 16, NEXT | 999 << 16);
    offer(0);
    expect_broken();
    desc(0, STATUS, 1, WRITE | NEXT); /* reads after writes */
    desc(1, HEADER, 16, 0);
    offer(0);
    expect_broken();
    desc(0, HEADER, 15, NEXT); /* no room for a header, for a status */
    desc(1, STATUS, 1, WRITE);
    offer(0);
    expect_broken();
    desc(0, HEADER, 16, 0);
    offer(0);
    expect_broken();
    desc(0, INDIRECT, 17, TABLE);
    offer(0);
    expect_broken();
    desc_at(INDIRECT, 0, INDIRECT, 16, TABLE); /* nested */
    desc(0, INDIRECT, 16, TABLE);
    offer(0);
    expect_broken();
    desc(0, ~0ull, 16, 0); /* beyond the address space */
    offer(0);
    expect_broken();
    u16 far = (u16)(avail_i + N + 1); /* more available than there is room for */
    mem_write(&g.mem, AVAIL + 2, &far, 2);
    wr(0x3000, 0, 2);
    expect_broken();
    wr(0x14, 0, 1); /* rings nowhere */
    start_driver();
    wr(0x14, 0, 1);
    wr(0x14, 3, 1);
    wr(0x08, 1, 4);
    wr(0x0C, 1, 4);
    wr(0x28, 0xFFFFFFF0, 4);
    wr(0x2C, 0xFFFFFFFF, 4);
    wr(0x1C, 1, 2);
    wr(0x14, 0xF, 1);
    wr(0x3000, 0, 2);
    expect_broken();
}

#define BLK_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        BLK_TEST(test_identity),
        BLK_TEST(test_read_write),
        BLK_TEST(test_segments),
        BLK_TEST(test_other),
        BLK_TEST(test_errors),
        BLK_TEST(test_interrupts),
        BLK_TEST(test_reset),
        BLK_TEST(test_window),
        BLK_TEST(test_many),
        BLK_TEST(test_hostile),
        cmocka_unit_test_setup_teardown(test_readonly, setup_readonly, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
