/* dev/fdc_test.c - the floppy controller and the ISA DMA controller under a driver: reset, seeking,
 * the change line, reading and writing by DMA and through the FIFO, both sides, formatting, errors;
 * DMA modes. */
#include "dev/disk_rig_test.h"
#include "dev/fdc.h"

enum { DOR = 0x3F2, MSR = 0x3F4, FIFO = 0x3F5, DIR = 0x3F7, BUF = 0x20000 };
enum { RQM = 0x80, DIO = 0x40, NDMA = 0x20, BUSY = 0x10, TO_MEMORY = 0x46, FROM_MEMORY = 0x4A };

static struct disk_rig g;
static struct dev *d, *dma;
static u8 result[16];

static int setup_with(u64 sectors, bool readonly)
{
    disk_rig_init(&g);
    dma = rig_create(&g.r, &isa_dma_class, &(struct isa_dma_cfg){&g.mem});
    struct fdc_cfg cfg = {.irq = &g.pin[0], .dma = dma};
    cfg.disk[0] = disk_make(&g, sectors, readonly);
    d = rig_create(&g.r, &fdc_class, &cfg);
    return 0;
}
static int setup(void **state) { return (void)state, setup_with(2880, false); }
static int setup_readonly(void **state) { return (void)state, setup_with(2880, true); }
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&g.r, d);
    rig_storm(&g.r, d, 30000);
    rig_storm(&g.r, dma, 5000);
    disk_pump(&g);
    rig_save_load_compare(&g.r, d);
    rig_damaged_loads(&g.r, d, 300);
    disk_pump(&g);
    disk_rig_fini(&g);
    return 0;
}

static u8 msr(void) { return in8(&g.r, MSR); }
static void send(const u8 *cmd, u32 n)
{
    for (u32 i = 0; i < n; i++) {
        assert_int_equal(msr() & (RQM | DIO), RQM);
        out8(&g.r, FIFO, cmd[i]);
    }
    disk_pump(&g);
}
static void results(u32 n)
{
    for (u32 i = 0; i < n; i++) {
        assert_int_equal(msr(), RQM | DIO | BUSY);
        result[i] = in8(&g.r, FIFO);
    }
    assert_int_equal(msr(), RQM);
}
static void sense(u8 st0, u8 track)
{
    send((u8[]){0x08}, 1);
    results(2);
    assert_int_equal(result[0], st0);
    assert_int_equal(result[1], track);
}
/* Reset, rate of a 1.44 MB disk, track 0. */
static void start(void)
{
    u32 before = g.rises[0];
    out8(&g.r, DOR, 0x18);
    out8(&g.r, DOR, 0x1C);
    assert_int_equal(g.rises[0], before + 1);
    for (u8 i = 0; i < 4; i++) sense((u8)(0xC0 | i), 0);
    assert_int_equal(g.pin[0].asserted, 0);
    out8(&g.r, DIR, 0);
    send((u8[]){0x03, 0xDF, 0x02}, 3);
    send((u8[]){0x07, 0}, 2);
    sense(0x20, 0);
}
static void seek(u8 track, u8 head)
{
    send((u8[]){0x0F, (u8)(head << 2), track}, 3);
    sense((u8)(0x20 | head << 2), track);
}
static void program(u8 mode, u32 at, u32 bytes)
{
    out8(&g.r, 0x0A, 6);
    out8(&g.r, 0x0C, 0);
    out8(&g.r, 0x0B, mode);
    out8(&g.r, 0x04, (u8)at);
    out8(&g.r, 0x04, (u8)(at >> 8));
    out8(&g.r, 0x81, (u8)(at >> 16));
    out8(&g.r, 0x05, (u8)(bytes - 1));
    out8(&g.r, 0x05, (u8)((bytes - 1) >> 8));
    out8(&g.r, 0x0A, 2);
}
/* READ or WRITE of cylinder, head, sector up to the 18th; ST0 and ST1 as wanted. */
static void transfer(u8 op, u8 c, u8 h, u8 s, u8 st0, u8 st1)
{
    send((u8[]){op, (u8)(h << 2), c, h, s, 2, 18, 0x1B, 0xFF}, 9);
    results(7);
    assert_int_equal(result[0], st0);
    assert_int_equal(result[1], st1);
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

static void test_reset(void **state)
{
    (void)state;
    assert_int_equal(msr(), 0);
    start();
    send((u8[]){0x08}, 1); /* nothing to tell */
    results(1);
    assert_int_equal(result[0], 0x80);
    send((u8[]){0x10}, 1);
    results(1);
    assert_int_equal(result[0], 0x90);
    send((u8[]){0x1F}, 1);
    results(1);
    assert_int_equal(result[0], 0x80);
    send((u8[]){0x04, 0}, 2);
    results(1);
    assert_int_equal(result[0], 0x38);
    send((u8[]){0x04, 1}, 2);
    results(1);
    assert_int_equal(result[0], 0x29);
    send((u8[]){0x13, 0, 0x57, 0}, 4);
    send((u8[]){0x94}, 1);
    results(1);
    assert_int_equal(result[0], 0x10);
    send((u8[]){0x0E}, 1);
    results(10);
    assert_int_equal(result[8], 0x57);
}

static void test_change_line(void **state)
{
    (void)state;
    out8(&g.r, DOR, 0x1C);
    assert_int_equal(in8(&g.r, DIR), 0x80);
    out8(&g.r, DOR, 0x0C);
    assert_int_equal(in8(&g.r, DIR), 0);
    start();
    assert_int_equal(in8(&g.r, DIR), 0);
    out8(&g.r, DOR, 0x2D); /* no second drive */
    assert_int_equal(in8(&g.r, DIR), 0);
    send((u8[]){0x0F, 1, 5}, 3);
    sense(0x69, 0);
}

/* What isa_dma_move() says. */
static u32 moved(u32 chan, u8 *buf, u32 bytes, bool to_memory, bool *tc)
{
    struct isa_dma_xfer x = {buf, bytes, to_memory, false};
    u32 n = isa_dma_move(dma, chan, &x);
    *tc = x.tc;
    return n;
}

static void test_read(void **state)
{
    bool tc;
    u8 buf[4];
    (void)state;
    start();
    seek(3, 0);
    program(TO_MEMORY, BUF, 5 * 512);
    transfer(0xE6, 3, 0, 2, 0, 0);
    in_memory(BUF, 3 * 36 + 1, 5);
    assert_int_equal(result[5], 7);
    /* over to the other side */
    program(TO_MEMORY, BUF, 20 * 512);
    transfer(0xE6, 3, 0, 10, 0x04, 0);
    in_memory(BUF, 3 * 36 + 9, 20);
    /* no more sectors before the count is up */
    program(TO_MEMORY, BUF, 30 * 512);
    transfer(0xE6, 3, 0, 10, 0x40 | 4, 0x80);
    in_memory(BUF, 3 * 36 + 9, 27);
    /* one side only */
    program(TO_MEMORY, BUF, 30 * 512);
    transfer(0x46, 3, 0, 10, 0x40, 0x80);
    /* READ ID */
    send((u8[]){0x4A, 4}, 2);
    results(7);
    assert_int_equal(result[0], 4);
    assert_int_equal(result[3] | result[4] << 8, 0x0103);
    assert_int_equal(moved(2, buf, 4, true, &tc), 4); /* more fits: count not up */
    assert_false(tc);
}

static void test_write(void **state)
{
    u8 buf[512];
    (void)state;
    start();
    for (u32 k = 0; k < 3; k++) {
        for (u32 i = 0; i < 512; i++) buf[i] = disk_byte(1000 + k, i);
        mem_write(&g.mem, BUF + k * 512, buf, 512);
    }
    seek(7, 1);
    program(FROM_MEMORY, BUF, 3 * 512);
    transfer(0xC5, 7, 1, 17, 0x40 | 4, 0x80); /* the last two of the side, then nothing */
    disk_expect(&g, 0, 7 * 36 + 18 + 15, 7 * 36 + 18 + 15);
    disk_expect(&g, 0, 7 * 36 + 18 + 16, 1000);
    disk_expect(&g, 0, 7 * 36 + 18 + 17, 1001);
    program(FROM_MEMORY, BUF, 3 * 512);
    transfer(0xC5, 7, 0, 18, 0x04, 0);
    disk_expect(&g, 0, 7 * 36 + 17, 1000);
    disk_expect(&g, 0, 7 * 36 + 18, 1001);
    disk_expect(&g, 0, 7 * 36 + 19, 1002);
    disk_expect(&g, 0, 7 * 36 + 20, 7 * 36 + 20);
}

static void test_fifo(void **state)
{
    (void)state;
    start();
    send((u8[]){0x03, 0xDF, 0x03}, 3); /* no DMA */
    send((u8[]){0x46, 0, 0, 0, 2, 2, 3, 0x1B, 0xFF}, 9);
    for (u32 i = 0; i < 1024; i++) {
        assert_int_equal(msr(), RQM | DIO | NDMA | BUSY);
        assert_int_equal(g.pin[0].asserted, 1);
        assert_int_equal(in8(&g.r, FIFO), disk_byte(1 + i / 512, i % 512));
        disk_pump(&g);
    }
    results(7);
    assert_int_equal(result[0] | result[1] << 8, 0x8040);
    send((u8[]){0x45, 0, 0, 0, 5, 2, 5, 0x1B, 0xFF}, 9);
    for (u32 i = 0; i < 512; i++) out8(&g.r, FIFO, disk_byte(77, i));
    disk_pump(&g);
    results(7);
    disk_expect(&g, 0, 4, 77);
    disk_expect(&g, 0, 5, 5);
}

static void test_format(void **state)
{
    u8 line[512];
    (void)state;
    start();
    seek(2, 0);
    program(FROM_MEMORY, BUF, 18 * 4);
    send((u8[]){0x4D, 0, 2, 18, 0x54, 0xF6}, 6);
    results(7);
    assert_int_equal(result[0], 0);
    FILE *f = fopen(g.path[0], "r");
    fseek(f, 2 * 36 * 512, SEEK_SET);
    assert_int_equal(fread(line, 1, 512, f), 512);
    for (u32 i = 0; i < 512; i++) assert_int_equal(line[i], 0xF6);
    fclose(f);
    disk_expect(&g, 0, 2 * 36 + 18, 2 * 36 + 18);
    disk_expect(&g, 0, 2 * 36 - 1, 2 * 36 - 1);
}

static void test_errors(void **state)
{
    (void)state;
    start();
    program(TO_MEMORY, BUF, 512);
    transfer(0x46, 1, 0, 1, 0x40, 0x04); /* the heads stand elsewhere */
    transfer(0x46, 0, 0, 19, 0x40, 0x04);
    transfer(0x46, 0, 0, 0, 0x40, 0x04);
    out8(&g.r, DIR, 2); /* another data rate */
    transfer(0x46, 0, 0, 1, 0x40, 0x01);
    out8(&g.r, DIR, 0);
    out8(&g.r, 0x0A, 6); /* channel masked */
    transfer(0x46, 0, 0, 1, 0x40, 0x10);
    program(TO_MEMORY, BUF, 512);
    assert_int_equal(truncate(g.path[0], 0), 0);
    transfer(0x46, 0, 0, 1, 0x40, 0x20);
    assert_int_equal(result[2], 0x20);
}

static void test_readonly(void **state)
{
    (void)state;
    start();
    program(FROM_MEMORY, BUF, 512);
    transfer(0xC5, 0, 0, 1, 0x40, 0x02);
    send((u8[]){0x04, 0}, 2);
    results(1);
    assert_int_equal(result[0], 0x78);
}

/* A reset while the host reads. */
static void test_abandon(void **state)
{
    static const u8 cmd[] = {0x46, 0, 0, 0, 1, 2, 18, 0x1B, 0xFF};
    (void)state;
    start();
    program(TO_MEMORY, BUF, 512);
    for (u32 i = 0; i < sizeof cmd; i++) out8(&g.r, FIFO, cmd[i]);
    assert_int_equal(msr(), BUSY);
    out8(&g.r, DOR, 0x18);
    out8(&g.r, DOR, 0x1C);
    assert_int_equal(msr(), 0);
    disk_pump(&g);
    assert_int_equal(msr(), RQM);
    sense(0xC0, 0);
}

static void test_dma(void **state)
{
    u8 buf[8] = {1, 2, 3, 4, 5, 6, 7, 8}, got[8];
    bool tc;
    (void)state;
    out8(&g.r, 0x0F, 0);
    program(0x56, 0x12FFFE & 0xFFFFF, 6); /* auto-initialise; wraps in its page */
    assert_int_equal(moved(2, buf, 4, true, &tc), 4);
    assert_false(tc);
    mem_read(&g.mem, 0x2FFFE, got, 2);
    assert_memory_equal(got, "\1\2", 2);
    mem_read(&g.mem, 0x20000, got, 2);
    assert_memory_equal(got, "\3\4", 2);
    assert_int_equal(moved(2, buf, 8, true, &tc), 2);
    assert_true(tc);
    assert_int_equal(in8(&g.r, 0x08) & 4, 4);
    assert_int_equal(in8(&g.r, 0x08) & 4, 0);
    assert_int_equal(moved(2, buf, 1, true, &tc), 1); /* starts over */
    assert_int_equal(moved(2, buf, 1, false, &tc), 0);
    out8(&g.r, 0x0C, 0);
    assert_int_equal(in8(&g.r, 0x04) | in8(&g.r, 0x04) << 8, 0xFFFF);
    program(0x66, 0x20005, 3); /* downwards */
    assert_int_equal(moved(2, buf, 3, true, &tc), 3);
    assert_true(tc);
    mem_read(&g.mem, 0x20003, got, 3);
    assert_memory_equal(got, "\3\2\1", 3);
    assert_int_equal(moved(2, buf, 1, true, &tc), 0); /* masked now */
    /* words: channel 5 */
    out8(&g.r, 0xD8, 0);
    out8(&g.r, 0xD6, 0x45);
    out8(&g.r, 0xC4, 0x00);
    out8(&g.r, 0xC4, 0x80);
    out8(&g.r, 0x8B, 2);
    out8(&g.r, 0xC6, 2);
    out8(&g.r, 0xC6, 0);
    out8(&g.r, 0xD4, 1);
    assert_int_equal(moved(5, buf, 7, true, &tc), 6);
    assert_true(tc);
    mem_read(&g.mem, 0x30000, got, 6);
    assert_memory_equal(got, buf, 6);
}

static void test_sizes(void **state)
{
    struct err e = {0};
    struct fdc_cfg cfg = {.irq = &g.pin[0], .dma = dma};
    (void)state;
    assert_int_equal(fdc_drive_type(1474560), 4);
    assert_int_equal(fdc_drive_type(368640), 1);
    assert_int_equal(fdc_drive_type(512), 0);
    cfg.disk[0] = disk_make(&g, 100, false);
    assert_null(dev_create(&g.r.set, &fdc_class, "fdc2", &cfg, &e));
    assert_non_null(strstr(e.text, "no floppy disk has 51200 bytes"));
}

#define FDC_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        FDC_TEST(test_reset),
        FDC_TEST(test_change_line),
        FDC_TEST(test_read),
        FDC_TEST(test_write),
        FDC_TEST(test_fifo),
        FDC_TEST(test_format),
        FDC_TEST(test_errors),
        FDC_TEST(test_abandon),
        FDC_TEST(test_dma),
        FDC_TEST(test_sizes),
        cmocka_unit_test_setup_teardown(test_readonly, setup_readonly, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
