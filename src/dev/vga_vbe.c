/* vga_vbe - Bochs VBE: a mode is a width, a height and a depth in words behind an index port.
 * Whatever the guest writes, the words are made consistent at once (vga_vbe_fix): the visible part
 * lies in the virtual screen, and that in video memory.
 * Spec: Bochs VBE interface 0xB0C5 (vbe_display_api.txt), QEMU docs/specs/standard-vga. */
#include <string.h>

#include "dev/vga_internal.h"

enum { ID_FIRST = 0xB0C0, ID_LAST = 0xB0C5 };
enum { WIDTH_STEP = 8, BANK_BYTES_SHIFT = 16 };

static u16 clamp(u32 val, u32 lo, u32 hi) { return (u16)(val < lo ? lo : val > hi ? hi : val); }

static u16 fix_bpp(u16 bpp)
{
    static const u8 known[] = {4, 8, 15, 16, 24, 32};
    for (u32 i = 0; i < ARRAY_LEN(known); i++)
        if (bpp == known[i]) return bpp;
    return 8;
}

/* Bytes a virtual screen may have: planar depths see a quarter, once per plane. */
static u32 memory_bytes(const struct vga *v)
{
    return v->vbe[VBE_BPP] == 4 ? VGA_VRAM_BYTES / 4 : VGA_VRAM_BYTES;
}

void vga_vbe_fix(struct vga *v)
{
    u16 *r = v->vbe;
    if (r[VBE_ID] < ID_FIRST || r[VBE_ID] > ID_LAST) r[VBE_ID] = ID_LAST;
    if (!vga_vbe_on(v)) return;
    r[VBE_BPP] = fix_bpp(r[VBE_BPP]);
    r[VBE_XRES] = clamp(align_down(r[VBE_XRES], WIDTH_STEP), WIDTH_STEP, PIXMAP_WIDTH_MAX);
    r[VBE_YRES] = clamp(r[VBE_YRES], 1, PIXMAP_HEIGHT_MAX);
    u32 line_max = memory_bytes(v) / r[VBE_YRES],
        unit = r[VBE_BPP] == 4 ? 1 : (r[VBE_BPP] + 7u) / 8;
    u32 width_max = r[VBE_BPP] == 4 ? line_max * 8 : line_max / unit;
    width_max = (u32)align_down(min_u64(width_max, UINT16_MAX), WIDTH_STEP);
    r[VBE_VIRT_WIDTH] = clamp(align_down(r[VBE_VIRT_WIDTH], WIDTH_STEP), r[VBE_XRES], width_max);
    r[VBE_VIRT_HEIGHT] = clamp(memory_bytes(v) / vga_vbe_line_bytes(v), 1, UINT16_MAX);
    r[VBE_X_OFFSET] = clamp(r[VBE_X_OFFSET], 0, r[VBE_VIRT_WIDTH] - r[VBE_XRES]);
    r[VBE_Y_OFFSET] = clamp(r[VBE_Y_OFFSET], 0, r[VBE_VIRT_HEIGHT] - r[VBE_YRES]);
    r[VBE_BANK] &= (u16)((memory_bytes(v) >> BANK_BYTES_SHIFT) - 1);
}

u16 vga_vbe_read(const struct vga *v, u32 index)
{
    bool caps = v->vbe[VBE_ENABLE] & VBE_CAPS;
    if (index == VBE_MEMORY_64K) return VGA_VRAM_BYTES >> BANK_BYTES_SHIFT;
    if (index >= VBE_COUNT) return 0;
    if (caps && index == VBE_XRES) return PIXMAP_WIDTH_MAX;
    if (caps && index == VBE_YRES) return PIXMAP_HEIGHT_MAX;
    if (caps && index == VBE_BPP) return 32;
    return v->vbe[index];
}

static void clear(struct vga *v)
{
    u64 bytes = (u64)v->vbe[VBE_YRES] * vga_vbe_line_bytes(v);
    memset(v->vram, 0, v->vbe[VBE_BPP] == 4 ? bytes * 4 : bytes);
}

/* Switching on starts at the origin with the virtual screen as wide as the visible one. */
static void enable_write(struct vga *v, u16 val)
{
    bool was_on = vga_vbe_on(v);
    v->vbe[VBE_ENABLE] = val & (VBE_ON | VBE_CAPS | VBE_DAC8 | VBE_LFB | VBE_KEEP);
    v->vbe[VBE_BANK] = 0;
    if (was_on || !vga_vbe_on(v)) return;
    v->vbe[VBE_VIRT_WIDTH] = v->vbe[VBE_X_OFFSET] = v->vbe[VBE_Y_OFFSET] = 0;
    vga_vbe_fix(v);
    if (!(val & VBE_KEEP)) clear(v);
}

void vga_vbe_write(struct vga *v, u32 index, u16 val)
{
    if (index >= VBE_COUNT || index == VBE_VIRT_HEIGHT) return;
    if (index == VBE_ID && (val < ID_FIRST || val > ID_LAST)) return;
    if (index == VBE_ENABLE) enable_write(v, val);
    else v->vbe[index] = val;
    vga_vbe_fix(v);
    if (index != VBE_BANK && index != VBE_ID) v->redraw = true;
}
