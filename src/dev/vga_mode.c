/* vga_mode - what the registers mean: the picture's geometry, CRTC addresses, and where the beam is
 * by the virtual clock. Every result is within the bounds vga_internal.h promises.
 * Spec: IBM PS/2 HITR, CRT controller. */
#include "dev/vga_internal.h"

enum { FALLBACK_WIDTH = 720, FALLBACK_HEIGHT = 400 };
enum { MODE_CGA13 = 1, MODE_CGA14 = 2, MODE_COUNT2 = 8, MODE_WRAP15 = 0x20, MODE_BYTE = 0x40 };
enum { UNDERLINE_COUNT4 = 0x20, UNDERLINE_DWORD = 0x40 };
enum { MAX_SCAN_COMPARE9 = 0x40, MAX_SCAN_DOUBLE = 0x80 };

/* The ten bits of a vertical register: two live in the overflow register. */
static u32 vertical(const struct vga *v, u32 low, u32 bit8, u32 bit9)
{
    u32 over = v->crtc[CR_OVERFLOW];
    return v->crtc[low] | (over >> bit8 & 1) << 8 | (over >> bit9 & 1) << 9;
}
static u32 visible_lines(const struct vga *v) { return vertical(v, CR_VDISP_END, 1, 6) + 1; }

/* ---- geometry -------------------------------------------------------------------------------- */

static enum vga_kind kind_of(const struct vga *v)
{
    if (!(v->attr_index & AR_INDEX_ON) || (v->seq[SR_CLOCK] & SR_CLOCK_OFF)) return VGA_BLANK;
    if (vga_vbe_linear(v)) return VGA_LINEAR;
    if (vga_vbe_on(v)) return VGA_PLANAR;
    if (!(v->gc[GR_MISC] & GR_MISC_GRAPHICS)) return VGA_TEXT;
    if (v->gc[GR_MODE] & GR_MODE_256) return VGA_PACKED;
    return v->gc[GR_MODE] & GR_MODE_SHIFT ? VGA_CGA4 : VGA_PLANAR;
}

static void vbe_mode(const struct vga *v, struct vga_mode *m)
{
    const u16 *r = v->vbe;
    bool planar = r[VBE_BPP] == 4;
    m->width = r[VBE_XRES];
    m->height = r[VBE_YRES];
    m->bits = r[VBE_BPP];
    m->chars = m->width / 8;
    m->pitch = vga_vbe_line_bytes(v);
    m->start = r[VBE_Y_OFFSET] * m->pitch;
    m->start += planar ? r[VBE_X_OFFSET] / 8u : r[VBE_X_OFFSET] * ((r[VBE_BPP] + 7u) / 8);
    m->addr_mask = VGA_VRAM_BYTES / 4 - 1;
    m->split = UINT32_MAX;
}

static void vga_only_mode(const struct vga *v, struct vga_mode *m)
{
    const u8 *cr = v->crtc;
    u32 compare = vertical(v, CR_LINE_COMPARE, 4, 4) & 0x1FF;
    m->double_dots = v->seq[SR_CLOCK] & SR_CLOCK_HALF;
    if (m->kind == VGA_TEXT && !(v->seq[SR_CLOCK] & SR_CLOCK_8DOT)) m->dots = 9;
    m->dots <<= m->double_dots;
    m->chars = (u32)min_u64(cr[CR_HDISP_END] + 1u, PIXMAP_WIDTH_MAX / m->dots);
    m->width = m->chars * m->dots;
    m->height = (u32)min_u64(visible_lines(v), PIXMAP_HEIGHT_MAX);
    m->rows_per_char = (cr[CR_MAX_SCAN] & 0x1F) + 1u;
    m->double_scan = cr[CR_MAX_SCAN] & MAX_SCAN_DOUBLE;
    m->start = (u32)cr[CR_START_HI] << 8 | cr[CR_START_LO];
    m->start += cr[CR_PRESET_ROW] >> 5 & 3;
    m->pitch = cr[CR_OFFSET] * 2u;
    if (cr[CR_MODE] & MODE_COUNT2) m->count_shift = 1;
    if (cr[CR_UNDERLINE] & UNDERLINE_COUNT4) m->count_shift = 2;
    m->addr_mask = VGA_PLANE_BYTES - 1;
    if (cr[CR_MAX_SCAN] & MAX_SCAN_COMPARE9) compare |= 0x200;
    m->split = compare + 1;
}

void vga_mode_get(const struct vga *v, struct vga_mode *m)
{
    *m = (struct vga_mode){.kind = kind_of(v), .dots = 8, .rows_per_char = 1};
    if (vga_vbe_on(v)) vbe_mode(v, m);
    else vga_only_mode(v, m);
    if (m->kind == VGA_BLANK && !vga_vbe_on(v) && m->height < 2) { /* never programmed */
        m->width = FALLBACK_WIDTH;
        m->height = FALLBACK_HEIGHT;
    }
}

u32 vga_crtc_addr(const struct vga *v, const struct vga_mode *m, u32 ma, u32 ra)
{
    u32 mode = v->crtc[CR_MODE], a = ma;
    if (vga_vbe_on(v)) return ma & m->addr_mask;
    if (v->crtc[CR_UNDERLINE] & UNDERLINE_DWORD) a = ma << 2 | (ma >> 12 & 3);
    else if (!(mode & MODE_BYTE)) a = ma << 1 | (ma >> (mode & MODE_WRAP15 ? 15 : 13) & 1);
    if (!(mode & MODE_CGA13)) a = (a & ~0x2000u) | (ra & 1) << 13;
    if (!(mode & MODE_CGA14)) a = (a & ~0x4000u) | (ra >> 1 & 1) << 14;
    return a & m->addr_mask;
}

/* ---- timing ---------------------------------------------------------------------------------- */

struct frame {
    u64 ns;
    u32 lines, chars; /* totals, at least 1 */
};

static struct frame frame_of(const struct vga *v)
{
    static const u32 clock_khz[4] = {25175, 28322, 25175, 25175};
    struct frame f = {.lines = vertical(v, CR_VTOTAL, 0, 5) + 2, .chars = v->crtc[CR_HTOTAL] + 5u};
    u64 dots = (u64)f.lines * f.chars * (v->seq[SR_CLOCK] & SR_CLOCK_8DOT ? 8 : 9);
    if (v->seq[SR_CLOCK] & SR_CLOCK_HALF) dots *= 2;
    f.ns = dots * 1000000 / clock_khz[v->misc >> 2 & 3];
    return f;
}

struct vga_beam vga_beam_get(const struct vga *v)
{
    struct frame f = frame_of(v);
    u64 pos = clk_now_ns(v->clk) % f.ns * f.lines; /* in 1/lines of a nanosecond */
    u32 line = (u32)(pos / f.ns), col = (u32)(pos % f.ns * f.chars / f.ns);
    u32 from = vertical(v, CR_VSYNC_START, 2, 7);
    u32 len = (v->crtc[CR_VSYNC_END] - from) & 15; /* the end is compared in four bits */
    struct vga_beam b = {.retrace = line >= from && line < from + (len ? len : 16)};
    b.blank = line >= visible_lines(v) || col > v->crtc[CR_HDISP_END];
    return b;
}

u64 vga_frames(const struct vga *v)
{
    u64 ns = frame_of(v).ns;
    return clk_now_ns(v->clk) / max_u64(ns, MS_TO_NS(5)); /* registers mid-change: no flicker */
}
