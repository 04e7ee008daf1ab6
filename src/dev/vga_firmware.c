/* vga_firmware - what a VGA BIOS leaves behind, for kernels that start without one: mode 3 (80x25
 * characters, 720x400), its palette, the 8x16 font of the option ROM, an empty screen.
 * Spec: IBM PS/2 HITR, video subsystem: register values of the BIOS modes. */
#include <string.h>

#include "dev/vga_internal.h"

enum { P_ATTR = 0x3C0, P_MISC = 0x3C2, P_SEQ = 0x3C4, P_DAC_MASK = 0x3C6, P_DAC_WRITE = 0x3C8 };
enum { P_GC = 0x3CE, P_CRTC = 0x3D4, P_STATUS1 = 0x3DA };
enum { FONT_PLANE = 2, FONT_CHARS = 256, GLYPH_BYTES = 16, GLYPH_STRIDE = 32 };
enum { TEXT_OFF = 0x18000, TEXT_CELLS = 80 * 25, BLANK = ' ', ATTR_NORMAL = 0x07 };
enum { EGA_COLORS = 64, COLOR_ALL = 0x2A, COLOR_THIRD = 0x15 };

static const u8 mode3_misc = 0x67;
static const u8 mode3_seq[SR_COUNT] = {0x03, 0x00, 0x03, 0x00, 0x02};
static const u8 mode3_crtc[CR_COUNT] = {0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00,
                                        0x4F, 0x0D, 0x0E, 0x00, 0x00, 0x00, 0x00, 0x9C, 0x8E,
                                        0x8F, 0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF};
static const u8 mode3_gc[GR_COUNT] = {0, 0, 0, 0, 0, 0x10, 0x0E, 0x0F, 0xFF};
static const u8 mode3_attr[AR_COUNT] = {0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x14,
                                        0x07, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D,
                                        0x3E, 0x3F, 0x0C, 0x00, 0x0F, 0x08, 0x00};

static void put_group(struct vga *v, u32 port, const u8 *val, u8 count)
{
    for (u8 i = 0; i < count; i++) {
        vga_reg_write(v, port, i);
        vga_reg_write(v, port + 1, val[i]);
    }
}

/* The registers 0 to 7 of the CRTC are not protected: the device has just been reset. */
static void put_mode(struct vga *v)
{
    vga_reg_write(v, P_MISC, mode3_misc);
    put_group(v, P_SEQ, mode3_seq, SR_COUNT);
    put_group(v, P_CRTC, mode3_crtc, CR_COUNT);
    put_group(v, P_GC, mode3_gc, GR_COUNT);
    (void)vga_reg_read(v, P_STATUS1); /* an index comes next */
    for (u8 i = 0; i < AR_COUNT; i++) {
        vga_reg_write(v, P_ATTR, i);
        vga_reg_write(v, P_ATTR, mode3_attr[i]);
    }
    vga_reg_write(v, P_ATTR, AR_INDEX_ON);
}

/* The 64 colours of the EGA: bits 5:3 are a third of red, green, blue, bits 2:0 two thirds. */
static void put_palette(struct vga *v)
{
    vga_reg_write(v, P_DAC_MASK, 0xFF);
    vga_reg_write(v, P_DAC_WRITE, 0);
    for (u32 i = 0; i < EGA_COLORS; i++) {
        for (u32 bit = 3; bit-- > 0;)
            vga_reg_write(
                v, P_DAC_WRITE + 1,
                (u8)((i >> bit & 1 ? COLOR_ALL : 0) + (i >> (bit + 3) & 1 ? COLOR_THIRD : 0)));
    }
}

static void put_font(struct vga *v)
{
    for (u32 i = 0; i < FONT_CHARS * GLYPH_BYTES; i++) {
        u32 addr = i / GLYPH_BYTES * GLYPH_STRIDE + i % GLYPH_BYTES;
        v->vram[4 * addr + FONT_PLANE] = v->font ? v->font[i] : 0;
    }
}

void vga_firmware(struct dev *d)
{
    struct vga *v = vga_of(d);
    put_mode(v);
    put_palette(v);
    put_font(v);
    for (u32 i = 0; i < TEXT_CELLS; i++) {
        vga_window_write(v, TEXT_OFF + 2 * i, BLANK);
        vga_window_write(v, TEXT_OFF + 2 * i + 1, ATTR_NORMAL);
    }
}

/* Characters 0 to 2 of every PC font: nothing, and the two faces, of which the first is known by
 * its outline. */
const u8 *vga_font_find(const u8 *rom, u32 bytes)
{
    static const u8 begin[2 * GLYPH_BYTES] = {
        [GLYPH_BYTES] = 0, 0, 0x7E, 0x81, 0xA5, 0x81, 0x81, 0xBD, 0x99, 0x81, 0x81, 0x7E};
    for (u32 at = 0; at + FONT_CHARS * GLYPH_BYTES <= bytes; at++)
        if (!memcmp(rom + at, begin, sizeof begin)) return rom + at;
    return NULL;
}
