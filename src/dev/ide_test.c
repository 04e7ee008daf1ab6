/* dev/ide_test.c - the IDE controller under a driver: identification, reading and writing by PIO
 * and by DMA, every kind of address, errors, resets, hostile PRD tables. CD-ROM: ide_cd_test.c. */
#include "dev/disk_rig_test.h"
#include "dev/ide.h"

enum { CMD = 0x1F0, CTL = 0x3F6, CMD2 = 0x170, CTL2 = 0x376, BM = 0xC000 };
enum { ERR = 1, COUNT, LBAL, LBAM, LBAH, SEL, STATUS };
enum { BSY = 0x80, DRDY = 0x40, DSC = 0x10, DRQ = 0x08, ERRBIT = 0x01, OK = 0x50 };
enum { SECTORS = 600, PRDT = 0x1000, DATA = 0x10000 };

static struct disk_rig g;
static struct dev *d;

static int setup_with(bool slave)
{
    struct err e = {0};
    disk_rig_init(&g);
    struct ide_cfg cfg = {.pci = &g.pci, .irq = {&g.pin[0], &g.pin[1]}};
    cfg.disk[0][0].block = disk_make(&g, SECTORS, false);
    if (slave) cfg.disk[0][1].block = disk_make(&g, SECTORS, true);
    d = rig_create(&g.r, &ide_class, &cfg);
    assert_int_equal(ide_firmware(d, BM, &e), 0);
    pci_cfg_write(&g.pci, 9, PCI_COMMAND, CMD_IO | CMD_MASTER, 2);
    return 0;
}
static int setup(void **state) { return (void)state, setup_with(false); }
static int setup_two(void **state) { return (void)state, setup_with(true); }
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&g.r, d);
    rig_storm(&g.r, d, 20000);
    rig_save_load_compare(&g.r, d);
    rig_damaged_loads(&g.r, d, 300);
    disk_rig_fini(&g);
    return 0;
}

/* ---- a driver -------------------------------------------------------------------------------- */

static u8 reg(u32 r) { return in8(&g.r, (u16)(CMD + r)); }
static void set(u32 r, u8 v) { out8(&g.r, (u16)(CMD + r), v); }
static u8 alt(void) { return in8(&g.r, CTL); }

static void address(u64 lba, u32 count, bool ext)
{
    if (ext) {
        set(COUNT, (u8)(count >> 8));
        set(LBAL, (u8)(lba >> 24));
        set(LBAM, (u8)(lba >> 32));
        set(LBAH, (u8)(lba >> 40));
    }
    set(SEL, (u8)(0xE0 | (ext ? 0 : lba >> 24 & 15)));
    set(COUNT, (u8)count);
    set(LBAL, (u8)lba);
    set(LBAM, (u8)(lba >> 8));
    set(LBAH, (u8)(lba >> 16));
}
static void command(u8 op)
{
    set(STATUS, op);
    disk_pump(&g);
}
static void expect_words(u64 n)
{
    for (u32 i = 0; i < 512; i += 2) {
        u16 w = disk_in16(&g, CMD), want = (u16)(disk_byte(n, i) | disk_byte(n, i + 1) << 8);
        if (w != want) fail_msg("sector %u byte %u: %04x, not %04x", (u32)n, i, w, want);
    }
    disk_pump(&g);
}
static void send_words(u64 as)
{
    for (u32 i = 0; i < 512; i += 2)
        disk_out16(&g, CMD, (u16)(disk_byte(as, i) | disk_byte(as, i + 1) << 8));
    disk_pump(&g);
}
static void expect_error(u8 error)
{
    assert_int_equal(alt(), OK | ERRBIT);
    assert_int_equal(reg(ERR), error);
}

/* One PRD entry. */
static void prd(u32 n, u32 addr, u32 bytes, bool last)
{
    disk_poke32(&g, PRDT + n * 8, addr);
    disk_poke32(&g, PRDT + n * 8 + 4, (bytes & 0xFFFF) | (last ? 1u << 31 : 0));
}
static void bm_start(bool to_memory)
{
    disk_out32(&g, BM + 4, PRDT);
    out8(&g.r, BM + 2, 6);
    out8(&g.r, BM, to_memory ? 8 : 0);
    out8(&g.r, BM, to_memory ? 9 : 1);
    disk_pump(&g);
}
static u8 bm_status(void) { return in8(&g.r, BM + 2) & 7; }
static void in_memory(gpa_t at, u64 sector, u32 count)
{
    u8 buf[512];
    for (u32 k = 0; k < count; k++) {
        assert_int_equal(mem_read(&g.mem, at + k * 512, buf, 512), 0);
        for (u32 i = 0; i < 512; i++)
            if (buf[i] != disk_byte(sector + k, i)) fail_msg("sector %u+%u", (u32)sector, k);
    }
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_identify(void **state)
{
    u16 w[256];
    (void)state;
    assert_int_equal(pci_cfg_read(&g.pci, 9, 0, 4), 0x70108086);
    assert_int_equal(pci_cfg_read(&g.pci, 9, 8, 4) >> 8, 0x010180);
    assert_int_equal(reg(STATUS), OK);
    assert_int_equal(reg(ERR), 1);
    assert_int_equal(reg(COUNT) | reg(LBAL) << 8, 0x0101);
    command(0xEC);
    assert_int_equal(g.rises[0], 1);
    assert_int_equal(alt(), OK | DRQ);
    assert_int_equal(reg(STATUS), OK | DRQ);
    for (u32 i = 0; i < 256; i++) w[i] = disk_in16(&g, CMD);
    assert_int_equal(alt(), OK);
    assert_int_equal(w[60] | w[61] << 16, SECTORS);
    assert_int_equal(w[100], SECTORS);
    assert_int_equal(w[47], 0x8010);
    assert_int_equal(w[27], 'R' << 8 | 'I');
    command(0xA1); /* not a packet device */
    expect_error(4);
    command(0x5F); /* no such command */
    expect_error(4);
}

static void test_pio_read(void **state)
{
    (void)state;
    address(5, 3, false);
    command(0x20);
    for (u32 i = 0; i < 3; i++) {
        assert_int_equal(reg(STATUS), OK | DRQ);
        assert_int_equal(g.rises[0], i + 1);
        expect_words(5 + i);
    }
    assert_int_equal(reg(STATUS), OK);
    assert_int_equal(g.rises[0], 3);
    address(100, 0, false); /* 256 sectors */
    command(0x20);
    for (u32 i = 0; i < 256; i++) {
        reg(STATUS);
        expect_words(100 + i);
    }
    assert_int_equal(g.rises[0], 3 + 256);
    assert_int_equal(alt(), OK);
    assert_int_equal(disk_in16(&g, CMD), 0); /* nothing there */
}

static void test_multiple(void **state)
{
    (void)state;
    address(0, 8, false);
    command(0xC6);
    address(40, 20, true);
    command(0x29);
    for (u32 i = 0; i < 20; i++) {
        if (i % 8 == 0) assert_int_equal(g.rises[0], 2 + i / 8);
        reg(STATUS);
        expect_words(40 + i);
    }
    assert_int_equal(alt(), OK);
    assert_int_equal(g.rises[0], 1 + 3);
    address(0, 5, false);
    command(0xC6); /* not a power of two */
    expect_error(4);
    address(0, 0, false);
    command(0xC6);
    address(0, 1, false);
    command(0xC4); /* turned off */
    expect_error(4);
}

static void test_pio_write(void **state)
{
    (void)state;
    address(20, 2, false);
    command(0x30);
    assert_int_equal(g.rises[0], 0);
    assert_int_equal(alt(), OK | DRQ);
    send_words(300);
    assert_int_equal(g.rises[0], 1);
    assert_int_equal(reg(STATUS), OK | DRQ);
    send_words(301);
    assert_int_equal(g.rises[0], 2);
    assert_int_equal(reg(STATUS), OK);
    command(0xE7);
    assert_int_equal(alt(), OK);
    disk_expect(&g, 0, 19, 19);
    disk_expect(&g, 0, 20, 300);
    disk_expect(&g, 0, 21, 301);
    disk_expect(&g, 0, 22, 22);
    address(50, 18, false);
    command(0xC5); /* WRITE MULTIPLE: 16 and 2 */
    for (u32 i = 0; i < 18; i++) send_words(400 + i);
    assert_int_equal(reg(STATUS), OK);
    disk_expect(&g, 0, 50, 400);
    disk_expect(&g, 0, 67, 417);
    disk_expect(&g, 0, 68, 68);
}

static void test_chs(void **state)
{
    (void)state;
    set(SEL, 0xA1); /* head 1 */
    set(COUNT, 1);
    set(LBAL, 4);
    set(LBAM, 0);
    set(LBAH, 0);
    command(0x20);
    expect_words(63 + 3);
    set(SEL, 0xA3); /* 4 heads of 10 sectors */
    set(COUNT, 10);
    command(0x91);
    set(SEL, 0xA2);
    set(COUNT, 1);
    set(LBAL, 10);
    set(LBAM, 3);
    command(0x20);
    expect_words((3 * 4 + 2) * 10 + 9);
    set(LBAL, 11);
    command(0x20);
    expect_error(0x10);
    set(LBAL, 0);
    command(0x20);
    expect_error(0x10);
}

static void test_dma(void **state)
{
    (void)state;
    prd(0, DATA, 1024, false);
    prd(1, DATA + 1024, 512, true);
    address(7, 3, false);
    command(0xC8);
    assert_int_equal(g.rises[0], 0);
    bm_start(true);
    assert_int_equal(bm_status(), 4);
    assert_int_equal(g.rises[0], 1);
    assert_int_equal(reg(STATUS), OK);
    in_memory(DATA, 7, 3);
    out8(&g.r, BM, 0);
    /* the bus master first, then the command; 500 sectors in pieces of 64 KiB */
    for (u32 i = 0; i < 3; i++) prd(i, DATA + i * 0x10000, 0, false);
    prd(3, DATA + 0x30000, 500 * 512 - 0x30000, true);
    bm_start(true);
    assert_int_equal(bm_status(), 1);
    address(11, 500, true);
    command(0x25);
    assert_int_equal(bm_status(), 4);
    in_memory(DATA, 11, 500);
    out8(&g.r, BM, 0);
    /* and back, elsewhere */
    address(100, 500, true);
    command(0x35);
    bm_start(false);
    assert_int_equal(bm_status(), 4);
    disk_expect(&g, 0, 99, 99);
    disk_expect(&g, 0, 100, 11);
    disk_expect(&g, 0, 599, 510);
}

static void test_prd(void **state)
{
    (void)state;
    /* too short: the drive waits */
    prd(0, DATA, 512, true);
    address(1, 2, false);
    command(0xC8);
    bm_start(true);
    assert_int_equal(bm_status(), 0);
    assert_int_equal(alt(), OK | DRQ);
    assert_int_equal(g.rises[0], 0);
    /* off and on with a good table */
    out8(&g.r, BM, 0);
    prd(0, DATA, 1024, true);
    bm_start(true);
    assert_int_equal(bm_status(), 4);
    in_memory(DATA, 1, 2);
    /* too long: active stays */
    prd(0, DATA, 4096, true);
    out8(&g.r, BM, 0);
    address(1, 2, false);
    command(0xC8);
    bm_start(true);
    assert_int_equal(bm_status(), 5);
    out8(&g.r, BM, 0);
    assert_int_equal(bm_status(), 4);
    /* into nothing, and a table that is nowhere */
    prd(0, 0x80000000, 1024, true);
    address(1, 2, false);
    command(0xC8);
    bm_start(true);
    assert_int_equal(bm_status(), 2);
    out8(&g.r, BM, 0);
    disk_out32(&g, BM + 4, 0xFFFFFFFC);
    out8(&g.r, BM + 2, 6);
    out8(&g.r, BM, 9);
    disk_pump(&g);
    assert_int_equal(bm_status(), 2);
    /* mastering off */
    out8(&g.r, BM, 0);
    pci_cfg_write(&g.pci, 9, PCI_COMMAND, CMD_IO, 2);
    prd(0, DATA, 1024, true);
    bm_start(true);
    assert_int_equal(bm_status(), 2);
}

static void test_errors(void **state)
{
    (void)state;
    address(SECTORS - 1, 2, false);
    command(0x20);
    expect_error(0x10);
    address(1ull << 47, 1, true);
    command(0x24);
    expect_error(0x10);
    /* the file shrinks under it: good sectors are read, the first bad one is named */
    assert_int_equal(truncate(g.path[0], 10 * 512), 0);
    address(8, 5, false);
    command(0x20);
    expect_words(8);
    expect_words(9);
    expect_error(0x40);
    assert_int_equal(reg(LBAL), 10);
    prd(0, DATA, 5 * 512, true);
    address(8, 5, false);
    command(0xC8);
    bm_start(true);
    expect_error(0x40);
    in_memory(DATA, 8, 2);
    assert_int_equal(bm_status(), 5);
    address(20, 1, false);
    command(0x30);
    send_words(1);
    expect_error(4);
}

static void test_interrupts(void **state)
{
    (void)state;
    out8(&g.r, CTL, 2); /* nIEN */
    command(0xEC);
    assert_int_equal(g.rises[0], 0);
    out8(&g.r, CTL, 0); /* still pending */
    assert_int_equal(g.rises[0], 1);
    alt();
    assert_int_equal(g.pin[0].asserted, 1);
    reg(STATUS);
    assert_int_equal(g.pin[0].asserted, 0);
}

static void test_reset(void **state)
{
    (void)state;
    address(5, 3, false);
    set(STATUS, 0x20); /* under way */
    assert_int_equal(alt(), BSY);
    assert_int_equal(reg(LBAL), BSY);
    set(LBAL, 99); /* ignored */
    out8(&g.r, CTL, 4);
    assert_int_equal(alt(), BSY);
    out8(&g.r, CTL, 0);
    assert_int_equal(alt(), BSY); /* the host is not done yet */
    disk_pump(&g);
    assert_int_equal(alt(), OK);
    assert_int_equal(reg(LBAL), 1);
    assert_int_equal(reg(ERR), 1);
    assert_int_equal(g.rises[0], 0);
    command(0x90);
    assert_int_equal(reg(ERR), 1);
    assert_int_equal(g.rises[0], 1);
    address(5, 3, false);
    set(STATUS, 0x20);
    dev_reset_all(&g.r.set);
    assert_int_equal(alt(), OK);
}

static void test_features(void **state)
{
    (void)state;
    set(ERR, 3);
    set(COUNT, 0x45);
    command(0xEF);
    assert_int_equal(alt(), OK);
    command(0xEC);
    for (u32 i = 0; i < 256; i++) {
        u16 w = disk_in16(&g, CMD);
        if (i == 88) assert_int_equal(w, 0x203F);
    }
    set(ERR, 3);
    set(COUNT, 0x46);
    command(0xEF);
    expect_error(4);
    address(0, 0, true);
    command(0x27);
    assert_int_equal(reg(LBAL) | reg(LBAM) << 8, SECTORS - 1);
    command(0xE5);
    assert_int_equal(reg(COUNT), 0xFF);
    set(ERR, 0xDA);
    set(LBAM, 0x4F);
    set(LBAH, 0xC2);
    command(0xB0);
    assert_int_equal(alt(), OK);
    assert_int_equal(reg(LBAM), 0x4F);
}

static void test_two(void **state)
{
    (void)state;
    assert_int_equal(in8(&g.r, CMD2 + 7), 0x7F);
    assert_int_equal(in8(&g.r, CTL2), 0x7F);
    out8(&g.r, CMD2 + 7, 0xEC);
    address(3, 1, false);
    set(SEL, 0xF0);
    command(0x20);
    expect_words(3);
    address(3, 1, false);
    set(SEL, 0xF0);
    command(0x30);
    send_words(9);
    expect_error(4); /* read-only */
    disk_expect(&g, 1, 3, 3);
    set(SEL, 0xE0);
    assert_int_equal(alt(), OK);
    assert_int_equal(g.pin[0].asserted, 0);
}

static void test_no_slave(void **state)
{
    (void)state;
    set(SEL, 0xB0);
    assert_int_equal(reg(STATUS), 0);
    set(COUNT, 0x55);
    assert_int_equal(reg(COUNT), 0);
    set(STATUS, 0xEC);
    assert_int_equal(reg(STATUS), 0);
    set(SEL, 0xA0);
    assert_int_equal(reg(STATUS), OK);
}

/* What is under way ends before the state is saved, and goes on after a load. */
static void test_save(void **state)
{
    (void)state;
    struct ser_buf b;
    struct err e = {0};
    ser_buf_init(&b);
    address(5, 2, false);
    set(STATUS, 0x20);
    assert_int_equal(dev_save_all(&g.r.set, &b, &e), 0);
    command(0xEC);
    struct ser_view v = {b.data, b.bytes, 0};
    assert_int_equal(dev_load_all(&g.r.set, &v, &e), 0);
    expect_words(5);
    expect_words(6);
    assert_int_equal(reg(STATUS), OK);
    ser_buf_fini(&b);
}

#define IDE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        IDE_TEST(test_identify),   IDE_TEST(test_pio_read),
        IDE_TEST(test_multiple),   IDE_TEST(test_pio_write),
        IDE_TEST(test_chs),        IDE_TEST(test_dma),
        IDE_TEST(test_prd),        IDE_TEST(test_errors),
        IDE_TEST(test_interrupts), IDE_TEST(test_reset),
        IDE_TEST(test_features),   IDE_TEST(test_no_slave),
        IDE_TEST(test_save),       cmocka_unit_test_setup_teardown(test_two, setup_two, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
