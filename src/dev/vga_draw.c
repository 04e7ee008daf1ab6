/* vga_draw - from registers and video memory to pixels.
 *
 * The modes with a CRTC are drawn line by line as the hardware scans them: an address counter, a
 * row scan, the split screen. A row goes into the pixmap only when it differs from what is there.
 * Nothing is drawn while no register, visible byte or blinking phase has changed; linear modes look
 * at each row's pages besides. */
#include <string.h>

#include "dev/vga_internal.h"

enum { DOTS_MAX = 18, LINE_PX = PIXMAP_WIDTH_MAX + DOTS_MAX };

/* ---- colours --------------------------------------------------------------------------------- */

static u32 dac_pixel(const struct vga *v, u32 i)
{
    const u8 *c = &v->dac[i * 3];
    u32 px = 0;
    for (u32 n = 0; n < 3; n++) {
        bool wide = v->vbe[VBE_ENABLE] & VBE_DAC8;
        px = px << 8 | (wide ? c[n] : (u8)((c[n] & 0x3F) << 2 | (c[n] & 0x3F) >> 4));
    }
    return px;
}

/* Which entry of the DAC the attribute controller makes of colour @c. */
static u32 attr_color(const struct vga *v, u32 c)
{
    u32 pal = v->attr[c & v->attr[AR_PLANES] & 15], select = v->attr[AR_SELECT];
    if (v->attr[AR_MODE] & AR_MODE_P54) pal = (pal & 15) | (select & 3) << 4;
    return (pal & 0x3F) | (select & 12) << 4;
}

static void colors_update(struct vga *v)
{
    for (u32 i = 0; i < 256; i++) v->palette[i] = dac_pixel(v, i & v->dac_mask);
    for (u32 i = 0; i < 16; i++) v->color[i] = v->palette[attr_color(v, i)];
}

/* ---- one line of graphics -------------------------------------------------------------------- */

static u32 *put(const struct vga_mode *m, u32 *px, u32 color)
{
    *px++ = color;
    if (m->double_dots) *px++ = color;
    return px;
}

static u32 *planar_char(const struct vga *v, const struct vga_mode *m, u32 word, u32 *px)
{
    for (u32 i = 8; i-- > 0;) {
        u32 c = (word >> i & 1) | (word >> (8 + i) & 1) << 1 | (word >> (16 + i) & 1) << 2 |
                (word >> (24 + i) & 1) << 3;
        px = put(m, px, v->color[c]);
    }
    return px;
}

/* Two bits from plane 0 or 1, the upper two of the colour from plane 2 or 3. */
static u32 *cga_char(const struct vga *v, const struct vga_mode *m, u32 word, u32 *px)
{
    for (u32 i = 0; i < 8; i++) {
        u32 half = word >> (i < 4 ? 0 : 8), shift = 6 - 2 * (i & 3);
        px = put(m, px, v->color[(half >> shift & 3) | (half >> (16 + shift) & 3) << 2]);
    }
    return px;
}

/* Four colours of eight bits, each two dots wide. */
static u32 *packed_char(const struct vga *v, const struct vga_mode *m, u32 word, u32 *px)
{
    for (u32 i = 0; i < 8; i++) px = put(m, px, v->palette[word >> 8 * (i / 2) & 0xFF]);
    return px;
}

static void graphics_line(const struct vga *v, const struct vga_mode *m, const struct vga_line *l)
{
    u32 *px = l->px;
    for (u32 x = 0; x < l->chars; x++) {
        u32 word = vga_word(v->seen, vga_crtc_addr(v, m, l->ma + (x >> m->count_shift), l->ra));
        if (m->kind == VGA_PACKED) px = packed_char(v, m, word, px);
        else if (m->kind == VGA_CGA4) px = cga_char(v, m, word, px);
        else px = planar_char(v, m, word, px);
    }
}

/* Dots the picture is shifted to the left: AR13. */
static u32 panning(const struct vga *v, const struct vga_mode *m)
{
    u32 pan = v->attr[AR_PANNING];
    if (vga_vbe_on(v) || m->kind == VGA_BLANK) return 0;
    if (m->kind == VGA_PACKED) pan &= 6;
    else if (m->dots >> m->double_dots == 9) pan = pan >= 8 ? 0 : pan + 1;
    else pan &= 7;
    return pan << m->double_dots;
}

/* ---- pixmap ---------------------------------------------------------------------------------- */

static void emit_row(struct pixmap *p, u32 y, const u32 *row)
{
    u32 *to = &p->px[(size_t)y * p->width];
    if (!p->resized && !memcmp(to, row, p->width * sizeof *to)) return;
    memcpy(to, row, p->width * sizeof *to);
    if (p->dirty_end == 0) p->dirty_top = y;
    p->dirty_end = y + 1;
}

/* The counters of the CRTC while it goes down the screen. */
struct scan {
    u32 ma, ra, pan;
    bool second; /* of the two lines of a double scan */
};

static void scan_next(struct scan *s, const struct vga_mode *m)
{
    s->second = m->double_scan && !s->second;
    if (s->second || ++s->ra < m->rows_per_char) return;
    s->ra = 0;
    s->ma += m->pitch;
}

static void draw_scanned(const struct vga *v, const struct vga_mode *m, struct pixmap *p)
{
    u32 line[LINE_PX];
    struct scan s = {.ma = m->start, .pan = panning(v, m)};
    if (!vga_vbe_on(v)) s.ra = (v->crtc[CR_PRESET_ROW] & 0x1F) % m->rows_per_char;
    memset(line, 0, sizeof line);
    for (u32 y = 0; y < m->height; y++) {
        struct vga_line l = {.ma = s.ma, .ra = s.ra, .chars = m->chars, .px = line};
        if (y == m->split) {
            l.ma = l.ra = 0;
            s = (struct scan){.pan = v->attr[AR_MODE] & AR_MODE_PAN_STOP ? 0 : s.pan};
        }
        if (s.pan) l.chars++;
        if (m->kind == VGA_TEXT) vga_text_line(v, m, &l);
        else if (m->kind != VGA_BLANK) graphics_line(v, m, &l);
        emit_row(p, y, line + s.pan);
        scan_next(&s, m);
    }
}

/* ---- linear modes ---------------------------------------------------------------------------- */

static u32 pixel16(u32 c, u32 green_bits)
{
    u32 b = c & 31, g = c >> 5 & ((1u << green_bits) - 1), r = c >> (5 + green_bits) & 31;
    g = green_bits == 6 ? g << 2 | g >> 4 : g << 3 | g >> 2;
    return (r << 3 | r >> 2) << 16 | g << 8 | (b << 3 | b >> 2);
}

static void linear_line(const struct vga *v, const struct vga_mode *m, const u8 *src, u32 *px)
{
    for (u32 x = 0; x < m->width; x++) {
        switch (m->bits) {
        case 8: px[x] = v->palette[src[x]]; break;
        case 15: px[x] = pixel16(src[2 * x] | (u32)src[2 * x + 1] << 8, 5); break;
        case 16: px[x] = pixel16(src[2 * x] | (u32)src[2 * x + 1] << 8, 6); break;
        case 24: px[x] = src[3 * x] | (u32)src[3 * x + 1] << 8 | (u32)src[3 * x + 2] << 16; break;
        default: memcpy(&px[x], &src[4 * x], 4); px[x] &= 0xFFFFFF;
        }
    }
}

static bool range_dirty(const struct vga *v, u64 from, u64 bytes)
{
    for (u64 page = from >> PAGE_SHIFT; page <= (from + bytes - 1) >> PAGE_SHIFT; page++)
        if (v->dirty[page % VGA_PAGES]) return true;
    return false;
}

static void draw_linear(const struct vga *v, const struct vga_mode *m, struct pixmap *p)
{
    u32 line[LINE_PX];
    u64 bytes = (u64)m->width * ((m->bits + 7) / 8);
    for (u32 y = 0; y < m->height; y++) {
        u64 from = m->start + (u64)y * m->pitch;
        if (from > VGA_VRAM_BYTES - bytes) break; /* vga_vbe_fix() does not allow it */
        if (!v->redraw && !range_dirty(v, from, bytes)) continue;
        linear_line(v, m, v->seen + from, line);
        emit_row(p, y, line);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* Bytes of video memory the picture comes from: [*from, *end). */
static void visible(const struct vga *v, const struct vga_mode *m, u64 *from, u64 *end)
{
    *from = 0;
    *end = vga_vbe_on(v) ? VGA_VRAM_BYTES : 4 * VGA_PLANE_BYTES;
    if (m->kind != VGA_LINEAR) return;
    *from = min_u64(m->start, VGA_VRAM_BYTES);
    *end = min_u64(m->start + (u64)m->height * m->pitch, VGA_VRAM_BYTES);
}

/* Bring v->seen up to date. @return is anything different? */
static bool look(struct vga *v, const struct vga_mode *m)
{
    bool any = false;
    u64 from, end;
    if (m->kind == VGA_BLANK) return false;
    visible(v, m, &from, &end);
    for (u64 at = align_down(from, PAGE_BYTES); at < end; at += PAGE_BYTES) {
        bool differs = memcmp(v->seen + at, v->vram + at, PAGE_BYTES) != 0;
        if (differs) memcpy(v->seen + at, v->vram + at, PAGE_BYTES);
        v->dirty[at / PAGE_BYTES] = differs;
        any |= differs;
    }
    return any;
}

/* Blinking counts only where something blinks. */
static void blink_update(struct vga *v, const struct vga_mode *m)
{
    if (m->kind != VGA_TEXT) return;
    bool cursor = vga_cursor_on(v), chars = vga_chars_on(v);
    if (cursor != v->drawn_cursor || chars != v->drawn_chars) v->redraw = true;
    v->drawn_cursor = cursor;
    v->drawn_chars = chars;
}

void vga_render(struct dev *d, struct pixmap *p)
{
    struct vga *v = vga_of(d);
    struct vga_mode m;
    vga_mode_get(v, &m);
    blink_update(v, &m);
    p->resized = p->width != m.width || p->height != m.height;
    p->width = m.width;
    p->height = m.height;
    p->dirty_top = p->dirty_end = 0;
    v->redraw |= p->resized;
    if (!look(v, &m) && !v->redraw) return;
    colors_update(v);
    if (m.kind == VGA_LINEAR) draw_linear(v, &m, p);
    else draw_scanned(v, &m, p);
    v->redraw = false;
}
