/* dev/vga_regs.h - the VGA's registers and their bits by the names of the IBM manual (CR: CRT
 * controller, SR: sequencer, GR: graphics controller, AR: attribute controller), and those of
 * Bochs VBE. For the files of the VGA only. */
#ifndef DEV_VGA_REGS_H
#define DEV_VGA_REGS_H
#include "dev/vga.h"

enum { VGA_PAGES = VGA_VRAM_BYTES >> PAGE_SHIFT, VGA_PLANE_BYTES = 1 << 16 };
enum vga_crtc {
    CR_HTOTAL = 0x00,
    CR_HDISP_END = 0x01,
    CR_VTOTAL = 0x06,
    CR_OVERFLOW = 0x07,
    CR_PRESET_ROW = 0x08,
    CR_MAX_SCAN = 0x09,
    CR_CURSOR_START = 0x0A,
    CR_CURSOR_END = 0x0B,
    CR_START_HI = 0x0C,
    CR_START_LO = 0x0D,
    CR_CURSOR_HI = 0x0E,
    CR_CURSOR_LO = 0x0F,
    CR_VSYNC_START = 0x10,
    CR_VSYNC_END = 0x11,
    CR_VDISP_END = 0x12,
    CR_OFFSET = 0x13,
    CR_UNDERLINE = 0x14,
    CR_MODE = 0x17,
    CR_LINE_COMPARE = 0x18,
    CR_COUNT = 0x19,
};
enum vga_seq { SR_CLOCK = 1, SR_MAP_MASK = 2, SR_FONT = 3, SR_MEMORY = 4, SR_COUNT = 5 };
enum { SR_CLOCK_8DOT = 1, SR_CLOCK_HALF = 8, SR_CLOCK_OFF = 0x20 };
enum { SR_MEMORY_FLAT = 4, SR_MEMORY_CHAIN4 = 8 };
enum vga_gc {
    GR_SET_RESET = 0,
    GR_ENABLE_SR = 1,
    GR_COMPARE = 2,
    GR_ROTATE = 3,
    GR_READ_MAP = 4,
    GR_MODE = 5,
    GR_MISC = 6,
    GR_DONT_CARE = 7,
    GR_BIT_MASK = 8,
    GR_COUNT = 9,
};
enum { GR_MODE_READ1 = 8, GR_MODE_ODD_EVEN = 0x10, GR_MODE_SHIFT = 0x20, GR_MODE_256 = 0x40 };
enum { GR_MISC_GRAPHICS = 1, GR_MISC_CHAIN = 2 };
enum vga_attr {
    AR_MODE = 0x10,
    AR_OVERSCAN = 0x11,
    AR_PLANES = 0x12,
    AR_PANNING = 0x13,
    AR_SELECT = 0x14,
    AR_COUNT = 0x15,
};
enum { AR_MODE_LINE9 = 4, AR_MODE_BLINK = 8, AR_MODE_PAN_STOP = 0x20, AR_MODE_P54 = 0x80 };
enum { AR_INDEX_ON = 0x20 };
enum vga_misc { MISC_COLOR = 1, MISC_RAM = 2, MISC_CLOCK = 0x0C };
enum vga_vbe {
    VBE_ID,
    VBE_XRES,
    VBE_YRES,
    VBE_BPP,
    VBE_ENABLE,
    VBE_BANK,
    VBE_VIRT_WIDTH,
    VBE_VIRT_HEIGHT,
    VBE_X_OFFSET,
    VBE_Y_OFFSET,
    VBE_COUNT,
    VBE_MEMORY_64K = VBE_COUNT, /* read-only, not kept */
};
enum { VBE_ON = 1, VBE_CAPS = 2, VBE_DAC8 = 0x20, VBE_LFB = 0x40, VBE_KEEP = 0x80 };
#endif
