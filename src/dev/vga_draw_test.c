/* dev/vga_draw_test.c - the picture in every kind of mode, against models that know how a program
 * addresses the screen and nothing of the device. */
#include "dev/vga_rig_test.h"

static struct vga_rig g;

static int setup(void **state)
{
    (void)state;
    vga_rig_init(&g);
    dac_fill(&g);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    vga_rig_fini(&g);
    return 0;
}

/* Numbers that look random: what a test draws at a place. */
static u32 hash(u32 x, u32 y)
{
    u32 v = x * 2654435761u ^ y * 2246822519u;
    v ^= v >> 15;
    v *= 2654435761u;
    return v ^ v >> 13;
}

/* ---- graphics -------------------------------------------------------------------------------- */

static u32 model_13h(const void *ctx, u32 x, u32 y)
{
    u32 shift = *(const u32 *)ctx; /* rows the start address moved down */
    return dac_rgb(hash(x / 2, y / 2 + shift) & 0xFF);
}

static void test_mode_13h(void **state)
{
    u32 shift = 0;
    (void)state;
    mode_set(&g, &mode_13h);
    for (u32 y = 0; y < 204; y++)
        for (u32 x = 0; x < 320; x++) poke(&g, 0xA0000 + y * 320 + x, (u8)hash(x, y));
    assert_int_equal(peek(&g, 0xA0000 + 5 * 320 + 7), hash(7, 5) & 0xFF);
    expect_picture(&g, 640, 400, model_13h, &shift);
    shift = 4;
    reg_set(&g, 0x3D4, 0x0D, (u8)(shift * 80)); /* in dwords; the high part is in 0C */
    reg_set(&g, 0x3D4, 0x0C, (u8)(shift * 80 >> 8));
    expect_picture(&g, 640, 400, model_13h, &shift);
}

static void test_mode_x(void **state)
{
    u32 shift = 0;
    (void)state;
    mode_set(&g, &mode_x);
    for (u32 x = 0; x < 320; x++) {
        reg_set(&g, 0x3C4, 2, (u8)(1u << (x & 3)));
        for (u32 y = 0; y < 200; y++) poke(&g, 0xA0000 + y * 80 + x / 4, (u8)hash(x, y));
    }
    expect_picture(&g, 640, 400, model_13h, &shift);
}

/* The colour of attribute @c with PAL_16 and the palette of dac_fill(). */
static u32 rgb16(u32 c) { return dac_rgb(c == 6 ? 0x14 : c < 8 ? c : 0x30 + c); }

/* 16 colours, where the picture is split, and panned above the split. */
struct planar {
    u32 split, pan, scroll;
};
static u32 model_12h(const void *ctx, u32 x, u32 y)
{
    const struct planar *m = ctx;
    if (y >= m->split) return rgb16(hash(x, y - m->split) & 15);
    return rgb16(hash(x + m->pan, y + m->scroll) & 15);
}

static void draw_12h(void)
{
    for (u32 plane = 0; plane < 4; plane++) {
        reg_set(&g, 0x3C4, 2, (u8)(1u << plane));
        for (u32 at = 0; at < 80 * 500; at++) {
            u8 bits = 0;
            for (u32 i = 0; i < 8; i++)
                bits |= (u8)((hash(at % 80 * 8 + i, at / 80) >> plane & 1) << (7 - i));
            poke(&g, 0xA0000 + at, bits);
        }
    }
}

static void test_mode_12h(void **state)
{
    struct planar m = {.split = 480};
    (void)state;
    mode_set(&g, &mode_12h);
    draw_12h();
    expect_picture(&g, 640, 480, model_12h, &m);
    m.scroll = 10; /* start address */
    reg_set(&g, 0x3D4, 0x0C, 800 >> 8);
    reg_set(&g, 0x3D4, 0x0D, (u8)800);
    expect_picture(&g, 640, 480, model_12h, &m);
    m.split = 301; /* line compare 300: bit 8 is in 07, bit 9 in 09 */
    reg_set(&g, 0x3D4, 0x18, 300 - 256);
    reg_set(&g, 0x3D4, 0x09, 0x00);
    reg_set(&g, 0x3D4, 0x11, 0x0C);
    reg_set(&g, 0x3D4, 0x07, 0x3E);
    expect_picture(&g, 640, 480, model_12h, &m);
}

/* Panned by three dots: columns come from the right, the last ones from the next row. */
static u32 model_panned(const void *ctx, u32 x, u32 y)
{
    (void)ctx;
    x += 3;
    return rgb16(hash(x % 640, y + x / 640) & 15);
}
static void test_panning(void **state)
{
    (void)state;
    mode_set(&g, &mode_12h);
    draw_12h();
    attr_set(&g, 0x13, 3);
    expect_picture(&g, 640, 480, model_panned, NULL);
}

/* PAL_CGA */
static u32 rgb_cga(u32 c)
{
    static const u8 pal[16] = {PAL_CGA};
    return dac_rgb(pal[c]);
}
static u32 model_0dh(const void *ctx, u32 x, u32 y)
{
    (void)ctx;
    return rgb_cga(hash(x / 2, y / 2) & 15);
}
static void test_mode_0dh(void **state)
{
    (void)state;
    mode_set(&g, &mode_0dh);
    reg_set(&g, 0x3CE, 5, 2); /* write mode 2: one pixel at a time through the bit mask */
    for (u32 y = 0; y < 200; y++) {
        for (u32 x = 0; x < 320; x++) {
            reg_set(&g, 0x3CE, 8, (u8)(0x80 >> (x & 7)));
            (void)peek(&g, 0xA0000 + y * 40 + x / 8);
            poke(&g, 0xA0000 + y * 40 + x / 8, (u8)(hash(x, y) & 15));
        }
    }
    expect_picture(&g, 640, 400, model_0dh, NULL);
}

static u32 model_04h(const void *ctx, u32 x, u32 y)
{
    (void)ctx;
    return rgb_cga(hash(x / 2, y / 2) & 3);
}
static void test_mode_04h(void **state)
{
    (void)state;
    mode_set(&g, &mode_04h);
    for (u32 y = 0; y < 200; y++) {
        for (u32 x = 0; x < 320; x += 4) {
            u32 b = 0;
            for (u32 i = 0; i < 4; i++) b = b << 2 | (hash(x + i, y) & 3);
            poke(&g, 0xB8000 + (y & 1) * 0x2000 + y / 2 * 80 + x / 4, (u8)b);
        }
    }
    expect_picture(&g, 640, 400, model_04h, NULL);
}

static u32 model_06h(const void *ctx, u32 x, u32 y)
{
    (void)ctx;
    return hash(x, y / 2) & 1 ? dac_rgb(0x17) : dac_rgb(0);
}
static void test_mode_06h(void **state)
{
    (void)state;
    mode_set(&g, &mode_06h);
    for (u32 y = 0; y < 200; y++) {
        for (u32 x = 0; x < 640; x += 8) {
            u32 b = 0;
            for (u32 i = 0; i < 8; i++) b = b << 1 | (hash(x + i, y) & 1);
            poke(&g, 0xB8000 + (y & 1) * 0x2000 + y / 2 * 80 + x / 8, (u8)b);
        }
    }
    expect_picture(&g, 640, 400, model_06h, NULL);
}

/* ---- text ------------------------------------------------------------------------------------ */

/* Font @n: byte of character @ch in row @y. */
static u8 glyph(u32 n, u32 ch, u32 y) { return (u8)hash(ch + 1000 * n, y); }

/* As a BIOS loads a font: plane 2 alone, addresses flat, at A0000; then back. */
static void load_fonts(const struct test_mode *m)
{
    reg_set(&g, 0x3C4, 2, 4);
    reg_set(&g, 0x3C4, 4, 7);
    reg_set(&g, 0x3CE, 5, 0);
    reg_set(&g, 0x3CE, 6, 4);
    for (u32 n = 0; n < 2; n++)
        for (u32 ch = 0; ch < 256; ch++)
            for (u32 y = 0; y < 16; y++)
                poke(&g, 0xA0000 + n * 0x4000 + ch * 32 + y, glyph(n, ch, y));
    reg_set(&g, 0x3C4, 2, m->seq[2]);
    reg_set(&g, 0x3C4, 4, m->seq[4]);
    reg_set(&g, 0x3CE, 5, m->gc[5]);
    reg_set(&g, 0x3CE, 6, m->gc[6]);
}

struct text {
    u32 columns, dot; /* a dot is so many pixels wide */
    u32 scan;         /* lines of a character         */
    bool cursor;      /* at row 3, column 5           */
    bool hidden;      /* blinking characters          */
    bool two_fonts;   /* attribute bit 3 chooses      */
};
static u8 text_ch(u32 col, u32 row) { return (u8)hash(col, row); }
static u8 text_attr(u32 col, u32 row) { return (u8)(hash(col, row) >> 8); }

static u32 model_text(const void *ctx, u32 x, u32 y)
{
    const struct text *t = ctx;
    u32 col = x / t->dot / 9, dot = x / t->dot % 9, row = y / t->scan, line = y % t->scan;
    u8 ch = text_ch(col, row), attr = text_attr(col, row);
    u8 bits = glyph(t->two_fonts && (attr & 8), ch, line);
    bool on = dot < 8 ? bits >> (7 - dot) & 1 : ch >= 0xC0 && ch <= 0xDF && (bits & 1);
    if (t->hidden && (attr & 0x80)) on = false;
    if (t->cursor && col == 5 && row == 3 && (line == 13 || line == 14)) on = true;
    return rgb16(on ? attr & 15 : attr >> 4 & 7);
}

static void fill_text(u32 columns, u32 rows)
{
    for (u32 row = 0; row < rows; row++) {
        for (u32 col = 0; col < columns; col++) {
            u32 at = 0xB8000 + 2 * (row * columns + col);
            bus_mmio_write(&g.r.bus, at, text_ch(col, row) | text_attr(col, row) << 8, 2);
        }
    }
}

/* One frame of these modes takes 14.3 ms: the cursor changes every 8, characters every 16. */
static void test_mode_03h(void **state)
{
    struct text t = {.columns = 80, .dot = 1, .scan = 16, .cursor = true};
    (void)state;
    mode_set(&g, &mode_03h);
    load_fonts(&mode_03h);
    fill_text(80, 25);
    reg_set(&g, 0x3D4, 0x0F, 3 * 80 + 5);
    expect_picture(&g, 720, 400, model_text, &t);
    clk_advance(&g.r.clk, MS_TO_NS(150));
    t.cursor = false;
    expect_picture(&g, 720, 400, model_text, &t);
    clk_advance(&g.r.clk, MS_TO_NS(100));
    t.cursor = t.hidden = true;
    expect_picture(&g, 720, 400, model_text, &t);
    reg_set(&g, 0x3D4, 0x0A, 0x2D); /* cursor off */
    t.cursor = false;
    reg_set(&g, 0x3C4, 3, 0x04); /* characters with attribute bit 3 from font 1 (at 16 KiB) */
    t.two_fonts = true;
    expect_picture(&g, 720, 400, model_text, &t);
}

static void test_mode_01h(void **state)
{
    struct text t = {.columns = 40, .dot = 2, .scan = 16, .cursor = true};
    (void)state;
    mode_set(&g, &mode_01h);
    load_fonts(&mode_01h);
    fill_text(40, 25);
    reg_set(&g, 0x3D4, 0x0F, 3 * 40 + 5);
    expect_picture(&g, 720, 400, model_text, &t);
}

/* 50 lines: characters of 8 lines. */
static void test_50_lines(void **state)
{
    struct text t = {.columns = 80, .dot = 1, .scan = 8};
    struct text_screen s;
    (void)state;
    mode_set(&g, &mode_03h);
    load_fonts(&mode_03h);
    fill_text(80, 50);
    reg_set(&g, 0x3D4, 0x09, 0x47);
    reg_set(&g, 0x3D4, 0x0A, 0x20);
    expect_picture(&g, 720, 400, model_text, &t);
    bus_lock(&g.r.bus);
    vga_text(g.d, &s);
    bus_unlock(&g.r.bus);
    assert_true(s.present);
    assert_int_equal(s.rows, 50);
    assert_int_equal(s.columns, 80);
    assert_false(s.cursor);
    for (u32 y = 0; y < 50; y++) {
        for (u32 x = 0; x < 80; x++) {
            assert_int_equal(s.cell[y][x].ch, text_ch(x, y));
            assert_int_equal(s.cell[y][x].attr, text_attr(x, y));
        }
    }
}

/* The characters follow the start address, and so does the cursor. */
static void test_text_scrolled(void **state)
{
    struct text_screen s;
    (void)state;
    mode_set(&g, &mode_03h);
    fill_text(80, 30);
    reg_set(&g, 0x3D4, 0x0C, 0);
    reg_set(&g, 0x3D4, 0x0D, 2 * 80);
    reg_set(&g, 0x3D4, 0x0E, (4 * 80 + 7) >> 8);
    reg_set(&g, 0x3D4, 0x0F, (u8)(4 * 80 + 7));
    vga_text(g.d, &s);
    assert_int_equal(s.rows, 25);
    assert_int_equal(s.cell[0][3].ch, text_ch(3, 2));
    assert_true(s.cursor);
    assert_int_equal(s.cursor_row, 2);
    assert_int_equal(s.cursor_column, 7);
    mode_set(&g, &mode_13h);
    vga_text(g.d, &s);
    assert_false(s.present);
}

/* ---- VBE ------------------------------------------------------------------------------------- */

static void vbe_mode(u16 w, u16 h, u16 bpp, u16 flags)
{
    vbe_set(&g, 4, 0);
    vbe_set(&g, 1, w);
    vbe_set(&g, 2, h);
    vbe_set(&g, 3, bpp);
    vbe_set(&g, 4, (u16)(1 | flags));
    (void)in8(&g.r, 0x3DA);
    out8(&g.r, 0x3C0, 0x20);
}

struct linear {
    u32 bpp, x, y; /* depth; offset of the picture in the virtual screen */
};
static u32 spread(u32 v, u32 n) { return n == 5 ? v << 3 | v >> 2 : v << 2 | v >> 4; }
static u32 model_linear(const void *ctx, u32 x, u32 y)
{
    const struct linear *m = ctx;
    u32 c = hash(x + m->x, y + m->y);
    switch (m->bpp) {
    case 8: return dac_rgb(c & 0xFF);
    case 15: return spread(c >> 10 & 31, 5) << 16 | spread(c >> 5 & 31, 5) << 8 | spread(c & 31, 5);
    case 16: return spread(c >> 11 & 31, 5) << 16 | spread(c >> 5 & 63, 6) << 8 | spread(c & 31, 5);
    default: return c & 0xFFFFFF;
    }
}

static void test_linear_depths(void **state)
{
    static const u16 depth[] = {8, 15, 16, 24, 32};
    (void)state;
    vga_rig_bars(&g);
    for (u32 i = 0; i < ARRAY_LEN(depth); i++) {
        struct linear m = {.bpp = depth[i]};
        u32 bytes = (depth[i] + 7u) / 8;
        vbe_mode(160, 100, depth[i], 0x40);
        for (u32 y = 0; y < 100; y++) {
            for (u32 x = 0; x < 160; x++) {
                u32 c = hash(x, y);
                for (u32 b = 0; b < bytes; b++)
                    lfb_write(&g, (y * 160 + x) * bytes + b, c >> 8 * b & 0xFF, 1);
            }
        }
        expect_picture(&g, 160, 100, model_linear, &m);
    }
}

static void test_virtual_screen(void **state)
{
    struct linear m = {.bpp = 32, .x = 33, .y = 20};
    (void)state;
    vga_rig_bars(&g);
    vbe_mode(160, 100, 32, 0x40);
    vbe_set(&g, 6, 256);
    assert_int_equal(vbe_get(&g, 6), 256);
    assert_int_equal(vbe_get(&g, 7), MIB(16) / 1024);
    for (u32 y = 0; y < 130; y++)
        for (u32 x = 0; x < 256; x++) lfb_write(&g, (y * 256 + x) * 4, hash(x, y), 4);
    vbe_set(&g, 8, 33);
    vbe_set(&g, 9, 20);
    expect_picture(&g, 160, 100, model_linear, &m);
    vbe_set(&g, 9, 0xFFFF); /* as far down as there is memory */
    assert_int_equal(vbe_get(&g, 9), MIB(16) / 1024 - 100);
    render(&g);
}

/* Banks of 64 KiB through the legacy window; the largest mode. */
static void test_banks(void **state)
{
    struct linear m = {.bpp = 32};
    (void)state;
    vbe_mode(1920, 1080, 32, 0);
    for (u32 y = 0; y < 1080; y++) {
        for (u32 x = 0; x < 1920; x += 2) {
            u32 at = (y * 1920 + x) * 4;
            if (!(at & 0xFFFF)) vbe_set(&g, 5, (u16)(at >> 16));
            u64 two = hash(x, y) | (u64)hash(x + 1, y) << 32;
            bus_mmio_write(&g.r.bus, 0xA0000 + (at & 0xFFFF), two, 8);
        }
    }
    expect_picture(&g, 1920, 1080, model_linear, &m);
}

static u32 model_dac8(const void *ctx, u32 x, u32 y)
{
    (void)ctx, (void)y;
    return x * 0x010203 & 0xFFFFFF;
}
static void test_dac8(void **state)
{
    (void)state;
    vga_rig_bars(&g);
    vbe_mode(64, 4, 8, 0x60);
    out8(&g.r, 0x3C8, 0);
    for (u32 i = 0; i < 64; i++)
        for (u32 n = 0; n < 3; n++) out8(&g.r, 0x3C9, (u8)(i * 0x010203 >> (16 - 8 * n)));
    for (u32 i = 0; i < 64 * 4; i++) lfb_write(&g, i, i & 63, 1);
    expect_picture(&g, 64, 4, model_dac8, NULL);
}

static u32 model_planar_vbe(const void *ctx, u32 x, u32 y)
{
    (void)ctx;
    return rgb16(hash(x, y) & 15);
}
/* 1024x768 in four planes: more than 64 KiB a plane, so two banks. */
static void test_vbe_planar(void **state)
{
    (void)state;
    mode_set(&g, &mode_12h);
    vbe_mode(1024, 768, 4, 0);
    for (u32 plane = 0; plane < 4; plane++) {
        reg_set(&g, 0x3C4, 2, (u8)(1u << plane));
        for (u32 at = 0; at < 128 * 768; at++) {
            u32 b = 0;
            if (!(at & 0xFFFF)) vbe_set(&g, 5, (u16)(at >> 16));
            for (u32 i = 0; i < 8; i++)
                b = b << 1 | (hash(at % 128 * 8 + i, at / 128) >> plane & 1);
            poke(&g, 0xA0000 + (at & 0xFFFF), (u8)b);
        }
    }
    expect_picture(&g, 1024, 768, model_planar_vbe, NULL);
}

/* ---- what changed ---------------------------------------------------------------------------- */

static void test_dirty_rows(void **state)
{
    (void)state;
    vga_rig_bars(&g);
    vbe_mode(320, 200, 32, 0x40);
    render(&g);
    assert_true(g.p.resized);
    assert_int_equal(g.p.dirty_top, 0);
    assert_int_equal(g.p.dirty_end, 200);
    render(&g);
    assert_false(g.p.resized);
    assert_int_equal(g.p.dirty_end, 0);
    lfb_write(&g, 50 * 1280 + 8, 0x123456, 4);
    lfb_write(&g, 61 * 1280 + 8, 0x123456, 4);
    render(&g);
    assert_int_equal(g.p.dirty_top, 50);
    assert_int_equal(g.p.dirty_end, 62);
    assert_int_equal(g.p.px[61 * 320 + 2], 0x123456);
    lfb_write(&g, 61 * 1280 + 8, 0x123456, 4); /* the same again */
    render(&g);
    assert_int_equal(g.p.dirty_end, 0);
    mode_set(&g, &mode_03h); /* VBE stays on until it is switched off */
    vbe_set(&g, 4, 0);
    render(&g);
    assert_true(g.p.resized);
    assert_int_equal(g.p.width, 720);
}

static u32 model_black(const void *ctx, u32 x, u32 y)
{
    (void)ctx, (void)x, (void)y;
    return 0;
}
static void test_screen_off(void **state)
{
    (void)state;
    expect_picture(&g, 720, 400, model_black, NULL); /* power-on */
    mode_set(&g, &mode_12h);
    draw_12h();
    reg_set(&g, 0x3C4, 1, 0x21);
    expect_picture(&g, 640, 480, model_black, NULL);
    reg_set(&g, 0x3C4, 1, 0x01);
    (void)in8(&g.r, 0x3DA);
    out8(&g.r, 0x3C0, 0x00); /* palette belongs to the processor: screen off, too */
    expect_picture(&g, 640, 480, model_black, NULL);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_mode_13h),       TEST(test_mode_x),        TEST(test_mode_12h),
        TEST(test_panning),        TEST(test_mode_0dh),      TEST(test_mode_04h),
        TEST(test_mode_06h),       TEST(test_mode_03h),      TEST(test_mode_01h),
        TEST(test_50_lines),       TEST(test_text_scrolled), TEST(test_linear_depths),
        TEST(test_virtual_screen), TEST(test_banks),         TEST(test_dac8),
        TEST(test_vbe_planar),     TEST(test_dirty_rows),    TEST(test_screen_off),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
