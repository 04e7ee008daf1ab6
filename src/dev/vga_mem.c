/* vga_mem - the legacy window at A0000-BFFFF.
 *
 * Three ways from a host address to planes, chosen by the sequencer and the graphics controller:
 *   flat      address = plane address; the map mask says which planes are written
 *   odd/even  address bit 0 chooses between planes 0 and 1 (2 and 3); text and CGA modes
 *   chain 4   address bits 1-0 choose the plane, and bits 15-14 take their place; mode 13h
 * In the linear modes of VBE the window is a 64 KiB bank of video memory instead.
 * Spec: IBM PS/2 HITR, graphics controller and sequencer; Bochs VBE. */
#include "dev/vga_internal.h"

enum { WINDOW_A = 0, WINDOW_B = 0x10000, WINDOW_C = 0x18000, FLOATING = 0xFF };

/* Which part of the window answers: GR6 bits 3-2. */
static const struct window {
    u32 start, bytes;
} windows[4] = {{WINDOW_A, 0x20000}, {WINDOW_A, 0x10000}, {WINDOW_B, 0x8000}, {WINDOW_C, 0x8000}};

/* @off as an offset into the part that answers; false: nobody does. */
static bool decode(const struct vga *v, u32 off, u32 *at)
{
    const struct window *w = &windows[v->gc[GR_MISC] >> 2 & 3];
    if (vga_vbe_linear(v)) w = &windows[1];
    *at = off - w->start;
    return *at < w->bytes && (vga_vbe_linear(v) || (v->misc & MISC_RAM));
}

static u32 bank(const struct vga *v)
{
    return vga_vbe_on(v) ? (u32)v->vbe[VBE_BANK] * VGA_PLANE_BYTES : 0;
}

static u8 *linear(struct vga *v, u32 at) { return &v->vram[(bank(v) + at) % VGA_VRAM_BYTES]; }

/* Where a host address leads: plane address, and the planes it selects. */
struct target {
    u32 addr;
    u32 planes; /* nibble */
};

/* The plane address of @at when its lowest bits choose planes. */
static struct target route(const struct vga *v, u32 at, bool odd_even)
{
    struct target t = {.addr = at & (VGA_PLANE_BYTES - 1), .planes = 15};
    if (v->seq[SR_MEMORY] & SR_MEMORY_CHAIN4) {
        t.planes = 1u << (at & 3);
        t.addr = (t.addr & ~3u) | (t.addr >> 14 & 3);
    } else if (odd_even) {
        t.planes = 5u << (at & 1);
        if (v->gc[GR_MISC] & GR_MISC_CHAIN) t.addr = (t.addr & ~1u) | at >> 16;
    }
    if (vga_vbe_on(v)) t.addr = (t.addr + bank(v)) % (VGA_VRAM_BYTES / 4);
    return t;
}

/* ---- reading --------------------------------------------------------------------------------- */

static u8 color_compare(const struct vga *v)
{
    u32 differ = (v->latch ^ vga_expand(v->gc[GR_COMPARE])) & vga_expand(v->gc[GR_DONT_CARE]);
    return (u8) ~(differ | differ >> 8 | differ >> 16 | differ >> 24);
}

u8 vga_window_read(struct vga *v, u32 off)
{
    u32 at;
    if (!decode(v, off, &at)) return FLOATING;
    if (vga_vbe_linear(v)) return *linear(v, at);
    bool odd_even = v->gc[GR_MODE] & GR_MODE_ODD_EVEN;
    struct target t = route(v, at, odd_even);
    v->latch = vga_word(v->vram, t.addr);
    if (v->gc[GR_MODE] & GR_MODE_READ1) return color_compare(v);
    u32 plane = v->gc[GR_READ_MAP] & 3;
    if (v->seq[SR_MEMORY] & SR_MEMORY_CHAIN4) plane = at & 3;
    else if (odd_even) plane = (plane & 2) | (at & 1);
    return (u8)(v->latch >> 8 * plane);
}

/* ---- writing --------------------------------------------------------------------------------- */

static u32 replicate(u8 b) { return b * 0x01010101u; }
static u8 rotate(const struct vga *v, u8 val)
{
    u32 n = v->gc[GR_ROTATE] & 7;
    return (u8)(val >> n | val << (8 - n));
}

/* What the four planes get: write modes 0 to 3 (GR5 bits 1-0), before the map mask. */
static u32 combine(const struct vga *v, u8 val)
{
    u32 set = vga_expand(v->gc[GR_SET_RESET]), enable = vga_expand(v->gc[GR_ENABLE_SR]), in;
    u8 bit_mask = v->gc[GR_BIT_MASK];
    switch (v->gc[GR_MODE] & 3) {
    case 0: in = (replicate(rotate(v, val)) & ~enable) | (set & enable); break;
    case 1: return v->latch;
    case 2: in = vga_expand(val & 15); break;
    default: in = set; bit_mask &= rotate(v, val);
    }
    switch (v->gc[GR_ROTATE] >> 3) {
    case 1: in &= v->latch; break;
    case 2: in |= v->latch; break;
    case 3: in ^= v->latch; break;
    default: break;
    }
    return (in & replicate(bit_mask)) | (v->latch & ~replicate(bit_mask));
}

void vga_window_write(struct vga *v, u32 off, u8 val)
{
    u32 at;
    if (!decode(v, off, &at)) return;
    if (vga_vbe_linear(v)) {
        *linear(v, at) = val;
        return;
    }
    struct target t = route(v, at, !(v->seq[SR_MEMORY] & SR_MEMORY_FLAT));
    u32 planes = t.planes & v->seq[SR_MAP_MASK], word = combine(v, val);
    u8 *to = &v->vram[4 * t.addr % VGA_VRAM_BYTES];
    for (u32 p = 0; p < 4; p++)
        if (planes >> p & 1) to[p] = (u8)(word >> 8 * p);
}
