/* dev/ide_cd_test.c - the ATAPI CD-ROM drive under a driver: packets by PIO and DMA, sense data,
 * every command, no disc, the tray, resets. */
#include "dev/disk_rig_test.h"
#include "dev/ide.h"

enum { CMD = 0x170, CTL = 0x376, BM = 0xC000, BM2 = BM + 8 };
enum { ERR = 1, COUNT, LBAL, LBAM, LBAH, SEL, STATUS };
enum { DRQ = 0x08, OK = 0x50, CD_SECTORS = 100, PRDT = 0x1000, DATA = 0x10000 };

static struct disk_rig g;
static struct dev *d;
static u8 got[1 << 16];
static u32 bursts;

static int setup_with(bool disc)
{
    struct err e = {0};
    disk_rig_init(&g);
    struct ide_cfg cfg = {.pci = &g.pci, .irq = {&g.pin[0], &g.pin[1]}};
    cfg.disk[1][0].cdrom = true;
    if (disc) cfg.disk[1][0].block = disk_make(&g, CD_SECTORS * 4, true);
    d = rig_create(&g.r, &ide_class, &cfg);
    assert_int_equal(ide_firmware(d, BM, &e), 0);
    pci_cfg_write(&g.pci, 9, PCI_COMMAND, CMD_IO | CMD_MASTER, 2);
    return 0;
}
static int setup(void **state) { return (void)state, setup_with(true); }
static int setup_empty(void **state) { return (void)state, setup_with(false); }
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

static u8 reg(u32 r) { return in8(&g.r, (u16)(CMD + r)); }
static void set(u32 r, u8 v) { out8(&g.r, (u16)(CMD + r), v); }

static void send_packet(const u8 *p, u32 limit, bool dma)
{
    set(SEL, 0xA0);
    set(ERR, dma);
    set(LBAM, (u8)limit);
    set(LBAH, (u8)(limit >> 8));
    set(STATUS, 0xA0);
    assert_int_equal(reg(STATUS), OK | DRQ);
    assert_int_equal(reg(COUNT), 1);
    for (u32 i = 0; i < 12; i += 2) disk_out16(&g, CMD, (u16)(p[i] | p[i + 1] << 8));
    disk_pump(&g);
}

/* Run a packet by PIO; returns the bytes that came, in got[]; -1: it failed. */
static int run(const u8 *p, u32 limit)
{
    u32 n = 0;
    bursts = 0;
    send_packet(p, limit, false);
    while (reg(STATUS) & DRQ) {
        u32 burst = reg(LBAM) | (u32)reg(LBAH) << 8;
        assert_int_equal(reg(COUNT), 2);
        assert_true(burst > 0 && burst <= limit);
        for (u32 i = 0; i < burst; i += 2) {
            u16 w = disk_in16(&g, CMD);
            memcpy(got + (n + i) % sizeof got, &w, 2);
        }
        n += burst;
        bursts++;
        disk_pump(&g);
    }
    assert_int_equal(reg(COUNT), 3);
    return reg(STATUS) & 1 ? -1 : (int)n;
}
static void expect_sense(u8 key, u8 asc)
{
    assert_int_equal(run((u8[12]){0x03, 0, 0, 0, 18}, 0xFFFE), 18);
    assert_int_equal(got[2], key);
    assert_int_equal(got[12], asc);
}
static void ready(void)
{
    assert_int_equal(run((u8[12]){0}, 0xFFFE), -1); /* power-on */
    assert_int_equal(reg(ERR) >> 4, 6);
    expect_sense(6, 0x29);
}
static void expect_data(const u8 *at, u32 lba, u32 count)
{
    for (u32 i = 0; i < count * 2048; i++)
        if (at[i] != disk_byte(lba * 4 + i / 512, i % 512)) fail_msg("byte %u", i);
}

static void test_signature(void **state)
{
    (void)state;
    assert_int_equal(reg(STATUS), 0);
    assert_int_equal(reg(LBAM) | reg(LBAH) << 8, 0xEB14);
    set(STATUS, 0xEC);
    assert_int_equal(reg(STATUS), OK | 1);
    assert_int_equal(reg(LBAM) | reg(LBAH) << 8, 0xEB14);
    set(STATUS, 0xA1);
    assert_int_equal(reg(STATUS), OK | DRQ);
    assert_int_equal(disk_in16(&g, CMD), 0x85C0);
    set(STATUS, 0x08);
    assert_int_equal(reg(STATUS), 0);
    assert_int_equal(reg(LBAM) | reg(LBAH) << 8, 0xEB14);
    set(STATUS, 0x20);
    assert_int_equal(reg(STATUS), OK | 1);
}

static void test_read(void **state)
{
    (void)state;
    ready();
    u32 before = g.rises[1];
    assert_int_equal(run((u8[12]){0x28, 0, 0, 0, 0, 7, 0, 0, 3}, 2048), 3 * 2048);
    assert_int_equal(bursts, 3);
    assert_int_equal(g.rises[1] - before, 4);
    expect_data(got, 7, 3);
    assert_int_equal(run((u8[12]){0x28, 0, 0, 0, 0, 7, 0, 0, 2}, 3000), 2 * 2048);
    expect_data(got, 7, 2);
    assert_int_equal(run((u8[12]){0xA8, 0, 0, 0, 0, 0, 0, 0, 0, 30}, 0xFFFE), 30 * 2048);
    expect_data(got, 0, 30);
    assert_int_equal(run((u8[12]){0x28}, 2048), 0);
    assert_int_equal(run((u8[12]){0x28, 0, 0, 0, 0, 99, 0, 0, 2}, 2048), -1);
    expect_sense(5, 0x21);
    assert_int_equal(run((u8[12]){0x28, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 2}, 2048), -1);
    expect_sense(5, 0x21);
}

static void test_read_cd(void **state)
{
    (void)state;
    ready();
    assert_int_equal(run((u8[12]){0xBE, 0, 0, 0, 0, 20, 0, 0, 15, 0xF8}, 0xFFFE), 15 * 2352);
    for (u32 i = 0; i < 15; i++) {
        const u8 *s = got + i * 2352;
        assert_int_equal(s[0] | s[1] << 8 | s[11] << 16, 0xFF00);
        assert_int_equal(s[12] | s[13] << 8 | s[15] << 24, 0x01000200);
        assert_int_equal(s[14], (20 + i) / 10 << 4 | (20 + i) % 10);
        expect_data(s + 16, 20 + i, 1);
    }
    assert_int_equal(run((u8[12]){0xBE, 0, 0, 0, 0, 20, 0, 0, 1, 0x10}, 0xFFFE), 2048);
    expect_data(got, 20, 1);
    assert_int_equal(run((u8[12]){0xBE, 0, 0, 0, 0, 20, 0, 0, 1, 0x40}, 0xFFFE), -1);
    expect_sense(5, 0x24);
}

static void test_dma(void **state)
{
    (void)state;
    u8 buf[2048];
    ready();
    for (u32 i = 0; i < 4; i++) disk_poke32(&g, PRDT + i * 8, DATA + i * 0x10000);
    for (u32 i = 0; i < 3; i++) disk_poke32(&g, PRDT + i * 8 + 4, 0);
    disk_poke32(&g, PRDT + 3 * 8 + 4, (96 * 2048 - 0x30000) | 1u << 31);
    disk_poke32(&g, PRDT + 2 * 8 + 4, 0x80000000u);
    disk_out32(&g, BM2 + 4, PRDT);
    send_packet((u8[12]){0x28, 0, 0, 0, 0, 4, 0, 0, 96}, 0, true);
    assert_int_equal(in8(&g.r, BM2 + 2), 4); /* of the packets before */
    out8(&g.r, BM2 + 2, 4);
    out8(&g.r, BM2, 9);
    disk_pump(&g);
    assert_int_equal(in8(&g.r, BM2 + 2), 4);
    assert_int_equal(reg(STATUS), OK);
    for (u32 i = 0; i < 96; i++) {
        mem_read(&g.mem, DATA + i * 2048, buf, sizeof buf);
        expect_data(buf, 4 + i, 1);
    }
    out8(&g.r, BM2, 0);
    disk_poke32(&g, PRDT + 4, 36 | 1u << 31);
    out8(&g.r, BM2, 9);
    send_packet((u8[12]){0x12, 0, 0, 0, 36}, 0, true);
    assert_int_equal(reg(STATUS), OK);
    mem_read(&g.mem, DATA, buf, 36);
    assert_memory_equal(buf + 8, "RING3   CD-ROM", 14);
}

static void test_describe(void **state)
{
    (void)state;
    assert_int_equal(run((u8[12]){0x12, 0, 0, 0, 36}, 0xFFFE), 36); /* before the attention */
    assert_int_equal(got[0] | got[1] << 8, 0x8005);
    ready();
    assert_int_equal(run((u8[12]){0}, 2), 0);
    assert_int_equal(run((u8[12]){0x25}, 0xFFFE), 8);
    assert_memory_equal(got, "\0\0\0\x63\0\0\x08\0", 8);
    assert_int_equal(run((u8[12]){0x43, 2, 0, 0, 0, 0, 0, 0, 200}, 0xFFFE), 20);
    assert_memory_equal(got, "\0\x12\1\1\0\x14\1\0\0\0\2\0\0\x14\xAA\0\0\0\3\x19", 20);
    assert_int_equal(run((u8[12]){0x43, 0, 1, 0, 0, 0, 0, 0, 4}, 0xFFFE), 4);
    assert_int_equal(run((u8[12]){0x43, 0, 2, 0, 0, 0, 0, 1, 0}, 0xFFFE), 48);
    assert_int_equal(run((u8[12]){0x43, 0, 5, 0, 0, 0, 0, 1, 0}, 0xFFFE), -1);
    assert_int_equal(run((u8[12]){0x46, 0, 0, 0, 0, 0, 0, 1, 0}, 0xFFFE), 8 + 12 + 12 + 8 + 12 + 8);
    assert_int_equal(got[7], 8);
    assert_int_equal(run((u8[12]){0x46, 2, 0, 3, 0, 0, 0, 1, 0}, 0xFFFE), 16);
    assert_int_equal(run((u8[12]){0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8}, 0xFFFE), 8);
    assert_int_equal(got[5], 2);
    assert_int_equal(run((u8[12]){0x4A, 1, 0, 0, 0x02, 0, 0, 0, 8}, 0xFFFE), 4);
    assert_int_equal(run((u8[12]){0x4A, 0}, 0xFFFE), -1);
    assert_int_equal(run((u8[12]){0x5A, 0, 0x2A, 0, 0, 0, 0, 1, 0}, 0xFFFE), 28);
    assert_int_equal(run((u8[12]){0x5A, 0, 0x3F, 0, 0, 0, 0, 1, 0}, 0xFFFE), 36);
    assert_int_equal(run((u8[12]){0x5A, 0, 0x05, 0, 0, 0, 0, 1, 0}, 0xFFFE), -1);
    assert_int_equal(run((u8[12]){0x51, 0, 0, 0, 0, 0, 0, 1, 0}, 0xFFFE), 34);
    assert_int_equal(run((u8[12]){0x52, 0, 0, 0, 0, 0, 0, 1, 0}, 0xFFFE), 28);
    assert_int_equal(run((u8[12]){0xBD, 0, 0, 0, 0, 0, 0, 0, 0, 8}, 0xFFFE), 8);
    assert_int_equal(run((u8[12]){0xFF}, 0xFFFE), -1);
    expect_sense(5, 0x20);
    expect_sense(0, 0);
}

static void test_tray(void **state)
{
    (void)state;
    ready();
    assert_int_equal(run((u8[12]){0x1E, 0, 0, 0, 1}, 0xFFFE), 0);
    assert_int_equal(run((u8[12]){0x1B, 0, 0, 0, 2}, 0xFFFE), -1);
    expect_sense(5, 0x53);
    assert_int_equal(run((u8[12]){0x1E, 0, 0, 0, 0}, 0xFFFE), 0);
    assert_int_equal(run((u8[12]){0x1B, 0, 0, 0, 2}, 0xFFFE), 0);
    assert_int_equal(run((u8[12]){0}, 0xFFFE), -1);
    expect_sense(2, 0x3A);
    assert_int_equal(run((u8[12]){0x4A, 1, 0, 0, 0x10, 0, 0, 0, 8}, 0xFFFE), 8);
    assert_int_equal(got[5], 1);
    assert_int_equal(run((u8[12]){0x1B, 0, 0, 0, 3}, 0xFFFE), 0);
    assert_int_equal(run((u8[12]){0}, 0xFFFE), -1);
    expect_sense(6, 0x28);
    assert_int_equal(run((u8[12]){0}, 0xFFFE), 0);
}

static void test_empty(void **state)
{
    (void)state;
    ready();
    assert_int_equal(run((u8[12]){0}, 0xFFFE), -1);
    expect_sense(2, 0x3A);
    assert_int_equal(run((u8[12]){0x28, 0, 0, 0, 0, 0, 0, 0, 1}, 0xFFFE), -1);
    expect_sense(2, 0x3A);
    assert_int_equal(run((u8[12]){0x46, 0, 0, 0, 0, 0, 0, 1, 0}, 0xFFFE), 60);
    set(STATUS, 0xE7);
    assert_int_equal(reg(STATUS), OK);
}

static void test_truncated(void **state)
{
    (void)state;
    ready();
    assert_int_equal(truncate(g.path[0], 10 * 2048), 0);
    assert_int_equal(run((u8[12]){0x28, 0, 0, 0, 0, 8, 0, 0, 5}, 2048), -1);
    assert_int_equal(bursts, 2);
    expect_data(got, 8, 2);
    expect_sense(3, 0x11);
}

/* DEVICE RESET while the disk is read. */
static void test_reset(void **state)
{
    (void)state;
    static const u8 p[12] = {0x28, 0, 0, 0, 0, 8, 0, 0, 5};
    ready();
    set(STATUS, 0xA0);
    for (u32 i = 0; i < 12; i += 2) disk_out16(&g, CMD, (u16)(p[i] | p[i + 1] << 8));
    assert_int_equal(reg(STATUS), 0x80);
    set(STATUS, 0x08);
    assert_int_equal(reg(STATUS), 0x80);
    disk_pump(&g);
    assert_int_equal(reg(STATUS), 0);
    assert_int_equal(run((u8[12]){0}, 0xFFFE), 0);
}

#define IDE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        IDE_TEST(test_signature),
        IDE_TEST(test_read),
        IDE_TEST(test_read_cd),
        IDE_TEST(test_dma),
        IDE_TEST(test_describe),
        IDE_TEST(test_tray),
        IDE_TEST(test_truncated),
        IDE_TEST(test_reset),
        cmocka_unit_test_setup_teardown(test_empty, setup_empty, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
