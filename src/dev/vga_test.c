/* dev/vga_test.c - the VGA's registers, its memory window, VBE, PCI, time and saved state. */
#include "dev/vga_internal.h"
#include "dev/vga_rig_test.h"

static struct vga_rig g;

static int setup(void **state)
{
    (void)state;
    vga_rig_init(&g);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    vga_rig_fini(&g);
    return 0;
}

/* ---- registers ------------------------------------------------------------------------------- */

/* Every register keeps its implemented bits, the others read 0. */
static void test_indexed(void **state)
{
    static const struct {
        u16 port;
        u8 count, mask[25];
    } group[] = {
        {0x3C4, 5, {0x03, 0x3D, 0x0F, 0x3F, 0x0E}},
        {0x3CE, 9, {0x0F, 0x0F, 0x0F, 0x1F, 0x03, 0x7B, 0x0F, 0x0F, 0xFF}},
    };
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(group); i++) {
        for (u8 r = 0; r < group[i].count; r++) {
            reg_set(&g, group[i].port, r, 0xFF);
            assert_int_equal(reg_get(&g, group[i].port, r), group[i].mask[r]);
            reg_set(&g, group[i].port, r, 0);
            assert_int_equal(reg_get(&g, group[i].port, r), 0);
        }
        reg_set(&g, group[i].port, group[i].count, 0xFF); /* behind the last: nothing */
        assert_int_equal(reg_get(&g, group[i].port, group[i].count), 0);
    }
    bus_port_write(&g.r.bus, 0x3CE, 0xA508, 2); /* index and data in one word */
    assert_int_equal(reg_get(&g, 0x3CE, 8), 0xA5);
}

static void test_crtc(void **state)
{
    (void)state;
    assert_int_equal(reg_get(&g, 0x3B4, 0), 0); /* power-on: monochrome addresses */
    reg_set(&g, 0x3B4, 0x0C, 0x12);
    assert_int_equal(in8(&g.r, 0x3D5), 0xFF);
    out8(&g.r, 0x3C2, 0x01);
    assert_int_equal(in8(&g.r, 0x3CC), 0x01);
    assert_int_equal(in8(&g.r, 0x3B5), 0xFF);
    assert_int_equal(in8(&g.r, 0x3BA), 0xFF);
    assert_int_equal(reg_get(&g, 0x3D4, 0x0C), 0x12);
    for (u8 i = 0; i < 25; i++) {
        reg_set(&g, 0x3D4, i, (u8)(0x40 + i));
        assert_int_equal(reg_get(&g, 0x3D4, i), 0x40 + i);
    }
    reg_set(&g, 0x3D4, 0x11, 0x80); /* 0 to 7 protected, but for the line compare's bit 8 */
    for (u8 i = 0; i < 8; i++) reg_set(&g, 0x3D4, i, 0xBF);
    for (u8 i = 0; i < 7; i++) assert_int_equal(reg_get(&g, 0x3D4, i), 0x40 + i);
    assert_int_equal(reg_get(&g, 0x3D4, 7), 0x57);
    reg_set(&g, 0x3D4, 8, 0xBF);
    assert_int_equal(reg_get(&g, 0x3D4, 8), 0xBF);
    reg_set(&g, 0x3D4, 0x3F, 0xFF);
    assert_int_equal(reg_get(&g, 0x3D4, 0x3F), 0);
}

static void test_attributes(void **state)
{
    (void)state;
    out8(&g.r, 0x3C2, 0x01);
    attr_set(&g, 3, 0xFF);
    (void)in8(&g.r, 0x3DA);
    out8(&g.r, 0x3C0, 3);
    assert_int_equal(in8(&g.r, 0x3C1), 0x3F);
    assert_int_equal(in8(&g.r, 0x3C1), 0x3F); /* reading data changes nothing */
    out8(&g.r, 0x3C0, 0x2A);                  /* so this is data */
    out8(&g.r, 0x3C0, 3);                     /* and this an index */
    assert_int_equal(in8(&g.r, 0x3C1), 0x2A);
    assert_int_equal(in8(&g.r, 0x3C0), 3);
    out8(&g.r, 0x3C0, 0); /* data; then status 1 makes the next one an index, too */
    (void)in8(&g.r, 0x3DA);
    out8(&g.r, 0x3C0, 0x1F); /* no such register */
    out8(&g.r, 0x3C0, 0xFF);
    assert_int_equal(in8(&g.r, 0x3C1), 0);
}

static void test_dac(void **state)
{
    (void)state;
    assert_int_equal(in8(&g.r, 0x3C6), 0xFF);
    out8(&g.r, 0x3C8, 254);
    assert_int_equal(in8(&g.r, 0x3C7), 0);
    for (u32 i = 0; i < 9; i++) out8(&g.r, 0x3C9, (u8)(0x41 + i)); /* 254, 255, 0 */
    out8(&g.r, 0x3C9, 0x3F); /* an unfinished colour changes nothing */
    out8(&g.r, 0x3C7, 254);
    assert_int_equal(in8(&g.r, 0x3C7), 3);
    for (u32 i = 0; i < 9; i++) assert_int_equal(in8(&g.r, 0x3C9), 1 + i);
    assert_int_equal(in8(&g.r, 0x3C9), 0);
    vbe_set(&g, 4, 0x20); /* eight bits */
    out8(&g.r, 0x3C8, 9);
    for (u32 i = 0; i < 3; i++) out8(&g.r, 0x3C9, (u8)(0xF0 + i));
    out8(&g.r, 0x3C7, 9);
    for (u32 i = 0; i < 3; i++) assert_int_equal(in8(&g.r, 0x3C9), 0xF0 + i);
}

/* ---- the beam -------------------------------------------------------------------------------- */

/* Sample a frame every 5 us: 449 lines of 800 pixels at 25.175 MHz, 400 of them visible, the
 * retrace in line 412 and the one after. */
static void test_retrace(void **state)
{
    u32 retrace = 0, blank = 0, samples = 0, rises = 0;
    bool was = true;
    (void)state;
    mode_set(&g, &mode_13h);
    const u64 frame_ns = 449ull * 800 * 1000000 / 25175;
    for (u64 t = 0; t < 3 * frame_ns; t += 5000, samples++) {
        u8 s = in8(&g.r, 0x3DA);
        if (s & 8) retrace++;
        if (s & 1) blank++;
        if ((s & 8) && !was) rises++;
        if (s & 8) assert_true(s & 1);
        was = s & 8;
        clk_advance(&g.r.clk, 5000);
    }
    assert_int_equal(rises, 3);
    assert_in_range(retrace * 1000 / samples, 2 * 1000 / 449 - 1, 2 * 1000 / 449 + 1);
    /* visible: 400/449 of the lines, 640/800 of each */
    assert_in_range(blank * 1000 / samples, 277, 297);
}

/* ---- the window ------------------------------------------------------------------------------ */

/* Byte of plane @p at plane address @at, by way of read mode 0. */
static u8 plane(u32 p, u32 at)
{
    reg_set(&g, 0x3CE, 4, (u8)p);
    return peek(&g, 0xA0000 + at);
}
static void fill_planes(const u8 val[4], u32 at)
{
    reg_set(&g, 0x3CE, 5, 0);
    reg_set(&g, 0x3CE, 1, 0);
    reg_set(&g, 0x3CE, 3, 0);
    reg_set(&g, 0x3CE, 8, 0xFF);
    for (u32 p = 0; p < 4; p++) {
        reg_set(&g, 0x3C4, 2, (u8)(1u << p));
        poke(&g, 0xA0000 + at, val[p]);
    }
    reg_set(&g, 0x3C4, 2, 0x0F);
}

/* One bit of one plane, as the data sheet's diagram of the write path has it. */
struct write_path {
    u32 mode, rotate, function, set_reset, enable, bit_mask, map_mask, val;
    u8 old[4], latch[4];
};
static bool alu(u32 function, bool a, bool latch)
{
    if (function == 1) return a && latch;
    if (function == 2) return a || latch;
    if (function == 3) return a != latch;
    return a;
}
static bool model_bit(const struct write_path *w, u32 p, u32 bit)
{
    bool data = w->val >> ((bit + w->rotate) % 8) & 1, latch = w->latch[p] >> bit & 1;
    bool set = w->set_reset >> p & 1, mask = w->bit_mask >> bit & 1;
    if (!(w->map_mask >> p & 1)) return w->old[p] >> bit & 1;
    switch (w->mode) {
    case 0: return mask ? alu(w->function, w->enable >> p & 1 ? set : data, latch) : latch;
    case 1: return latch;
    case 2: return mask ? alu(w->function, w->val >> p & 1, latch) : latch;
    default: return mask && data ? alu(w->function, set, latch) : latch;
    }
}

static void test_write_modes(void **state)
{
    u64 x = 0x9E3779B97F4A7C15ull;
    (void)state;
    mode_set(&g, &mode_12h);
    for (u32 round = 0; round < 4000; round++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        struct write_path w = {
            x & 3,         x >> 2 & 7,   x >> 5 & 3,    x >> 7 & 15, x >> 11 & 15,
            x >> 15 & 255, x >> 23 & 15, x >> 27 & 255, {0},         {0}};
        for (u32 p = 0; p < 4; p++) {
            w.old[p] = (u8)((x >> 32) * (p + 3) >> 4);
            w.latch[p] = (u8)((x >> 32) * (p + 11) >> 7);
        }
        fill_planes(w.old, 100);
        fill_planes(w.latch, 200);
        reg_set(&g, 0x3CE, 5, (u8)w.mode);
        reg_set(&g, 0x3CE, 3, (u8)(w.rotate | w.function << 3));
        reg_set(&g, 0x3CE, 0, (u8)w.set_reset);
        reg_set(&g, 0x3CE, 1, (u8)w.enable);
        reg_set(&g, 0x3CE, 8, (u8)w.bit_mask);
        reg_set(&g, 0x3C4, 2, (u8)w.map_mask);
        (void)peek(&g, 0xA0000 + 200); /* loads the latches */
        poke(&g, 0xA0000 + 100, (u8)w.val);
        for (u32 p = 0; p < 4; p++) {
            u8 want = 0;
            for (u32 bit = 0; bit < 8; bit++) want |= (u8)(model_bit(&w, p, bit) << bit);
            assert_int_equal(plane(p, 100), want);
        }
    }
}

static void test_color_compare(void **state)
{
    static const u8 val[4] = {0x0F, 0x33, 0x55, 0x80};
    (void)state;
    mode_set(&g, &mode_12h);
    fill_planes(val, 7);
    reg_set(&g, 0x3CE, 5, 8);
    for (u32 color = 0; color < 16; color++) {
        for (u32 care = 0; care < 16; care++) {
            u8 want = 0;
            for (u32 bit = 0; bit < 8; bit++) {
                bool equal = true;
                for (u32 p = 0; p < 4; p++)
                    if (care >> p & 1) equal &= (val[p] >> bit & 1) == (color >> p & 1);
                want |= (u8)(equal << bit);
            }
            reg_set(&g, 0x3CE, 2, (u8)color);
            reg_set(&g, 0x3CE, 7, (u8)care);
            assert_int_equal(peek(&g, 0xA0007), want);
        }
    }
}

/* GR6 bits 3-2 say which part of A0000-BFFFF answers. */
static void test_map(void **state)
{
    static const struct {
        u32 base, bytes;
    } part[4] = {{0xA0000, 0x20000}, {0xA0000, 0x10000}, {0xB0000, 0x8000}, {0xB8000, 0x8000}};
    (void)state;
    mode_set(&g, &mode_12h);
    for (u32 i = 0; i < 4; i++) {
        reg_set(&g, 0x3CE, 6, (u8)(1 | i << 2));
        for (u32 at = 0xA0000; at < 0xC0000; at += 0x4000) {
            poke(&g, at, 0x5A);
            bool mine = at >= part[i].base && at < part[i].base + part[i].bytes;
            assert_int_equal(peek(&g, at), mine ? 0x5A : 0xFF);
        }
    }
    out8(&g.r, 0x3C2, 0xE1); /* RAM off */
    assert_int_equal(peek(&g, 0xB8000), 0xFF);
}

/* Even bytes are plane 0, odd ones plane 1; chain 4: four planes. Both are the same memory a flat
 * address sees at the same place. */
static void test_chains(void **state)
{
    (void)state;
    mode_set(&g, &mode_03h);
    bus_mmio_write(&g.r.bus, 0xB8000 + 6, 0x1741, 2);
    assert_int_equal(bus_mmio_read(&g.r.bus, 0xB8000 + 6, 2), 0x1741);
    mode_set(&g, &mode_12h);
    assert_int_equal(plane(0, 6), 0x41);
    assert_int_equal(plane(1, 6), 0x17);
    mode_set(&g, &mode_13h);
    bus_mmio_write(&g.r.bus, 0xA0010, 0x8877665544332211, 8);
    assert_int_equal(bus_mmio_read(&g.r.bus, 0xA0010, 8), 0x8877665544332211);
    mode_set(&g, &mode_12h);
    for (u32 p = 0; p < 4; p++) assert_int_equal(plane(p, 0x10), 0x11 * (p + 1));
    for (u32 p = 0; p < 4; p++) assert_int_equal(plane(p, 0x14), 0x11 * (p + 5));
}

/* ---- VBE, PCI -------------------------------------------------------------------------------- */

static void test_vbe_registers(void **state)
{
    (void)state;
    assert_int_equal(vbe_get(&g, 0), 0xB0C5);
    vbe_set(&g, 0, 0xB0C2);
    assert_int_equal(vbe_get(&g, 0), 0xB0C2);
    vbe_set(&g, 0, 0x1234);
    assert_int_equal(vbe_get(&g, 0), 0xB0C2);
    assert_int_equal(vbe_get(&g, 10), 256); /* 64 KiB units */
    vbe_set(&g, 4, 2);
    assert_int_equal(vbe_get(&g, 1), PIXMAP_WIDTH_MAX);
    assert_int_equal(vbe_get(&g, 2), PIXMAP_HEIGHT_MAX);
    assert_int_equal(vbe_get(&g, 3), 32);
    vbe_set(&g, 4, 0);
    vbe_set(&g, 1, 1027); /* a multiple of eight */
    vbe_set(&g, 2, 5000);
    vbe_set(&g, 3, 17);
    vbe_set(&g, 4, 1);
    assert_int_equal(vbe_get(&g, 1), 1024);
    assert_int_equal(vbe_get(&g, 2), PIXMAP_HEIGHT_MAX);
    assert_int_equal(vbe_get(&g, 3), 8);
    assert_int_equal(vbe_get(&g, 6), 1024);
    assert_int_equal(vbe_get(&g, 77), 0);
    bus_port_write(&g.r.bus, 0x1CE, 6, 2); /* data at 1D0, too */
    bus_port_write(&g.r.bus, 0x1D0, 2048, 2);
    assert_int_equal(bus_port_read(&g.r.bus, 0x1D0, 2), 2048);
}

static void test_vbe_clears(void **state)
{
    (void)state;
    vga_rig_bars(&g);
    for (u32 keep = 0; keep < 2; keep++) {
        lfb_write(&g, 100, 0x77, 1);
        vbe_set(&g, 4, 0);
        vbe_set(&g, 1, 64);
        vbe_set(&g, 2, 64);
        vbe_set(&g, 3, 8);
        vbe_set(&g, 4, keep ? 0x81 : 0x01);
        assert_int_equal(peek(&g, 0xA0000 + 100), keep ? 0x77 : 0);
    }
}

static void test_pci(void **state)
{
    (void)state;
    assert_int_equal(pci_cfg_read(&g.pci, VGA_DEVFN, 0, 4), 0x11111234);
    assert_int_equal(pci_cfg_read(&g.pci, VGA_DEVFN, 0x0A, 2), 0x0300);
    pci_cfg_write(&g.pci, VGA_DEVFN, PCI_BAR0, ~0u, 4);
    assert_int_equal(pci_cfg_read(&g.pci, VGA_DEVFN, PCI_BAR0, 4), 0xFF000008);
    pci_cfg_write(&g.pci, VGA_DEVFN, PCI_BAR0 + 8, ~0u, 4);
    assert_int_equal(pci_cfg_read(&g.pci, VGA_DEVFN, PCI_BAR0 + 8, 4), 0xFFFFF000);
    vga_rig_bars(&g);
    assert_int_equal(bus_mmio_read(&g.r.bus, REGS_GPA + 0x500, 2), 0xB0C5);
    bus_mmio_write(&g.r.bus, REGS_GPA + 0x502, 640, 2);
    assert_int_equal(vbe_get(&g, 1), 640);
    bus_mmio_write(&g.r.bus, REGS_GPA + 0x402, 0x67, 1); /* port 3C2 */
    assert_int_equal(in8(&g.r, 0x3CC), 0x67);
    bus_mmio_write(&g.r.bus, REGS_GPA + 0x40E, 0x5508, 2); /* 3CE and 3CF */
    assert_int_equal(reg_get(&g, 0x3CE, 8), 0x55);
    assert_int_equal(bus_mmio_read(&g.r.bus, REGS_GPA + 0x600, 4), 8);
    assert_int_equal(bus_mmio_read(&g.r.bus, REGS_GPA + 0x604, 4), 0x1E1E1E1E);
}

/* Frame buffer and option ROM are memory that moves with its BAR. */
static void test_memory(void **state)
{
    u8 rom[sizeof vga_test_rom], b = 0;
    (void)state;
    vga_rig_bars(&g);
    lfb_write(&g, 5, 0x5A, 1);
    pci_cfg_write(&g.pci, VGA_DEVFN, PCI_BAR0, 0xD0000000, 4);
    pci_cfg_write(&g.pci, VGA_DEVFN, PCI_ROM, ~0u, 4);
    assert_int_equal(pci_cfg_read(&g.pci, VGA_DEVFN, PCI_ROM, 4), 0xFFFFE001);
    pci_cfg_write(&g.pci, VGA_DEVFN, PCI_ROM, (u32)ROM_GPA | 1, 4);
    vga_rig_map(&g);
    assert_true(mem_read(&g.mem, LFB_GPA + 5, &b, 1) < 0);
    assert_int_equal(mem_read(&g.mem, 0xD0000005, &b, 1), 0);
    assert_int_equal(b, 0x5A);
    assert_int_equal(mem_read(&g.mem, ROM_GPA, rom, sizeof rom), 0);
    assert_memory_equal(rom, vga_test_rom, sizeof rom);
    pci_cfg_write(&g.pci, VGA_DEVFN, PCI_COMMAND, 0, 2);
    vga_rig_map(&g);
    assert_null(mem_slot_find(&g.mem, 0xD0000000));
    assert_null(mem_slot_find(&g.mem, ROM_GPA));
}

/* ---- state, hostility ------------------------------------------------------------------------ */

static void test_state(void **state)
{
    u32 *before = malloc(sizeof(u32) * 720 * 400);
    (void)state;
    assert_non_null(before);
    vga_rig_bars(&g);
    dac_fill(&g);
    mode_set(&g, &mode_03h);
    for (u32 i = 0; i < 2000; i++) bus_mmio_write(&g.r.bus, 0xB8000 + 2 * i, i * 31, 2);
    render(&g);
    memcpy(before, g.p.px, sizeof(u32) * 720 * 400);
    rig_save_load_compare(&g.r, g.d);
    render(&g);
    assert_int_equal(g.p.width, 720);
    assert_memory_equal(before, g.p.px, sizeof(u32) * 720 * 400);
    free(before);
}

static void test_storm(void **state)
{
    static const struct test_mode *const modes[] = {&mode_01h, &mode_03h, &mode_04h,
                                                    &mode_12h, &mode_13h, &mode_x};
    struct text_screen s;
    (void)state;
    vga_rig_bars(&g);
    for (u32 i = 0; i < 60; i++) {
        mode_set(&g, modes[i % ARRAY_LEN(modes)]);
        rig_storm(&g.r, g.d, 300);
        render(&g);
        assert_in_range(g.p.width, 1, PIXMAP_WIDTH_MAX);
        assert_in_range(g.p.height, 1, PIXMAP_HEIGHT_MAX);
        vga_text(g.d, &s);
    }
    vga_rig_bars(&g);
    rig_save_load_compare(&g.r, g.d);
    rig_damaged_loads(&g.r, g.d, 300);
    render(&g);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
/* What firmware would leave: the standard mode 3, colours, an empty screen; the font is found only
 * where all of it is. */
static void test_firmware(void **state)
{
    const struct test_mode *m = &mode_03h;
    struct text_screen t;
    (void)state;
    bus_lock(&g.r.bus);
    vga_firmware(g.d);
    vga_text(g.d, &t);
    bus_unlock(&g.r.bus);
    assert_int_equal(in8(&g.r, 0x3CC), m->misc);
    for (u8 i = 0; i < 5; i++) assert_int_equal(reg_get(&g, 0x3C4, i), m->seq[i]);
    for (u8 i = 0; i < 25; i++) assert_int_equal(reg_get(&g, 0x3D4, i), m->crtc[i]);
    for (u8 i = 0; i < 9; i++) assert_int_equal(reg_get(&g, 0x3CE, i), m->gc[i]);
    assert_true(t.present && t.columns == 80 && t.rows == 25);
    for (u32 y = 0; y < t.rows; y++)
        for (u32 x = 0; x < t.columns; x++)
            assert_true(t.cell[y][x].ch == ' ' && t.cell[y][x].attr == 7);
    poke(&g, 0xB8000, 'A');
    poke(&g, 0xB8001, 0x60); /* black on brown, of which green is a third */
    render(&g);
    assert_int_equal(g.p.width, 720);
    assert_int_equal(g.p.height, 400);
    assert_int_equal(g.p.px[0], 0xAA5500);
    assert_int_equal(g.p.px[100], 0);
}

static void test_font(void **state)
{
    enum { FONT_BYTES = 256 * 16, AT = 123 };
    static u8 rom[AT + FONT_BYTES];
    static const u8 face[16] = {0, 0, 0x7E, 0x81, 0xA5, 0x81, 0x81, 0xBD, 0x99, 0x81, 0x81, 0x7E};
    (void)state;
    assert_null(vga_font_find(rom, sizeof rom));
    memcpy(rom + AT + 16, face, sizeof face);
    assert_ptr_equal(vga_font_find(rom, sizeof rom), rom + AT);
    assert_null(vga_font_find(rom, sizeof rom - 1));
    assert_null(vga_font_find(rom, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_firmware, setup, teardown),
        cmocka_unit_test(test_font),
        TEST(test_indexed),
        TEST(test_crtc),
        TEST(test_attributes),
        TEST(test_dac),
        TEST(test_retrace),
        TEST(test_map),
        TEST(test_write_modes),
        TEST(test_color_compare),
        TEST(test_chains),
        TEST(test_vbe_registers),
        TEST(test_vbe_clears),
        TEST(test_pci),
        TEST(test_memory),
        TEST(test_state),
        TEST(test_storm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
