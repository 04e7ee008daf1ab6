/* dev/vga.h - standard VGA with Bochs VBE, as PCI function 1234:1111.
 *
 * Registers at the usual ports (3B0-3BB, 3C0-3CF, 3D0-3DF), VBE at 1CE-1D1, the legacy window at
 * A0000-BFFFF, BAR0 the linear frame buffer, BAR2 the registers again: VGA ports from 0x400, VBE
 * words from 0x500. Video memory is guest memory (mem_add_device "vga"): the guest reads and writes
 * it through BAR0 as fast as RAM, and it is saved with RAM.
 * Spec: IBM VGA (PS/2 Hardware Interface Technical Reference, video subsystem), Bochs VBE 0xB0C5,
 * QEMU docs/specs/standard-vga.  Threads: under the bus lock. */
#ifndef DEV_VGA_H
#define DEV_VGA_H
#include "base/clk.h"
#include "base/pixmap.h"
#include "bus/dev.h"
#include "bus/pci.h"

#define VGA_VRAM_BYTES MIB(16)
enum { VGA_ROM_BYTES_MAX = 1 << 18 };

extern const struct dev_class vga_class;
struct vga_cfg {
    struct clk *clk;
    struct pci_bus *pci;
    u8 devfn;
    const u8 *rom; /* option ROM image, copied; NULL: none */
    u32 rom_bytes; /* 0..VGA_ROM_BYTES_MAX                 */
};

/**
 * vga_render - bring @p up to date with the screen. Only what changed since the last call is drawn,
 * so a device has one pixmap, always the same; width and height 0 at first.
 * @p  out: width, height, px; rows [dirty_top, dirty_end) changed; resized as it says
 * Under the bus lock. Cost: bounded by one frame; nothing to speak of when nothing changed.
 */
void vga_render(struct dev *d, struct pixmap *p);
/** vga_firmware - after a reset: what a VGA BIOS leaves behind, mode 3 with an empty screen, for
 * machines without one. Its font is the option ROM's; without, characters have no shapes. Under the
 * bus lock. */
void vga_firmware(struct dev *d);
/** vga_text - the characters of a text mode; @t->present is false in the others, and while the
 * guest has switched the screen off. Under the bus lock. */
void vga_text(struct dev *d, struct text_screen *t);
#endif
