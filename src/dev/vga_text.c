/* vga_text - text modes: characters from plane 0, attributes from plane 1, their shapes from the
 * fonts in plane 2 (eight of 8 KiB, 32 bytes a character), the cursor.
 * Spec: IBM PS/2 HITR, "alphanumeric modes". */
#include <string.h>

#include "dev/vga_internal.h"

enum { CURSOR_OFF = 0x20, SCAN_MASK = 0x1F, FONT_BYTES = 8192, GLYPH_BYTES = 32 };
enum { CURSOR_BLINK_FRAMES = 8, CHAR_BLINK_FRAMES = 16 };
enum { ATTR_BLINK = 0x80, ATTR_FONT = 8, ATTR_UNDERLINE = 1, ATTR_UNDERLINE_MASK = 0x77 };

bool vga_cursor_on(const struct vga *v)
{
    return !(v->crtc[CR_CURSOR_START] & CURSOR_OFF) && !(vga_frames(v) / CURSOR_BLINK_FRAMES & 1);
}
bool vga_chars_on(const struct vga *v)
{
    return !(v->attr[AR_MODE] & AR_MODE_BLINK) || !(vga_frames(v) / CHAR_BLINK_FRAMES & 1);
}

/* Plane address of the shapes for characters with @attr; SR3 names one of eight fonts for each. */
static u32 font_addr(const struct vga *v, u8 attr)
{
    u32 s = v->seq[SR_FONT];
    u32 font = attr & ATTR_FONT ? (s >> 5 & 1) | (s >> 1 & 6) : (s >> 4 & 1) | (s << 1 & 6);
    return font * FONT_BYTES;
}

/* A character on its way to the screen. */
struct glyph {
    u32 bits; /* 9: bit 8 leftmost */
    u32 fg, bg;
};

static struct glyph glyph_get(const struct vga *v, u32 word, u32 ra)
{
    u8 ch = (u8)word, attr = (u8)(word >> 8), back = attr >> 4;
    bool blinks = v->attr[AR_MODE] & AR_MODE_BLINK;
    u32 row = vga_word(v->seen, font_addr(v, attr) + ch * GLYPH_BYTES + ra) >> 16 & 0xFF;
    struct glyph g = {.bits = row << 1};
    if ((v->attr[AR_MODE] & AR_MODE_LINE9) && (ch & 0xE0) == 0xC0) g.bits |= row & 1;
    if ((attr & ATTR_UNDERLINE_MASK) == ATTR_UNDERLINE && ra == (v->crtc[CR_UNDERLINE] & SCAN_MASK))
        g.bits = 0x1FF;
    if (blinks && (attr & ATTR_BLINK) && !v->drawn_chars) g.bits = 0;
    g.fg = v->color[attr & 15];
    g.bg = v->color[blinks ? back & 7 : back];
    return g;
}

static bool cursor_covers(const struct vga *v, u32 ma, u32 ra)
{
    u32 pos = (u32)v->crtc[CR_CURSOR_HI] << 8 | v->crtc[CR_CURSOR_LO];
    return v->drawn_cursor && (ma & 0xFFFF) == pos &&
           ra >= (v->crtc[CR_CURSOR_START] & SCAN_MASK) &&
           ra <= (v->crtc[CR_CURSOR_END] & SCAN_MASK);
}

void vga_text_line(const struct vga *v, const struct vga_mode *m, const struct vga_line *l)
{
    u32 *px = l->px;
    for (u32 x = 0; x < l->chars; x++) {
        u32 ma = l->ma + (x >> m->count_shift);
        struct glyph g = glyph_get(v, vga_word(v->seen, vga_crtc_addr(v, m, ma, l->ra)), l->ra);
        if (cursor_covers(v, ma, l->ra)) g.bits = 0x1FF;
        for (u32 i = 0; i < m->dots; i++)
            *px++ = g.bits >> (8 - (i >> m->double_dots)) & 1 ? g.fg : g.bg;
    }
}

/* Address counter at the left end of text row @row. */
static u32 row_ma(const struct vga_mode *m, u32 row, u32 row_lines)
{
    u32 y = row * row_lines;
    return y < m->split ? m->start + row * m->pitch : (y - m->split) / row_lines * m->pitch;
}

void vga_text(struct dev *d, struct text_screen *t)
{
    struct vga *v = vga_of(d);
    struct vga_mode m;
    vga_mode_get(v, &m);
    memset(t, 0, sizeof *t);
    if (m.kind != VGA_TEXT) return;
    u32 row_lines = m.rows_per_char << m.double_scan;
    u32 pos = (u32)v->crtc[CR_CURSOR_HI] << 8 | v->crtc[CR_CURSOR_LO];
    t->present = true;
    t->columns = (u32)min_u64(m.chars, TEXT_COLUMNS_MAX);
    t->rows = (u32)min_u64(m.height / row_lines, TEXT_ROWS_MAX);
    for (u32 y = 0; y < t->rows; y++) {
        for (u32 x = 0; x < t->columns; x++) {
            u32 ma = row_ma(&m, y, row_lines) + (x >> m.count_shift);
            u32 word = vga_word(v->vram, vga_crtc_addr(v, &m, ma, 0));
            t->cell[y][x] = (struct text_cell){.ch = (u8)word, .attr = (u8)(word >> 8)};
            if ((ma & 0xFFFF) != pos || (v->crtc[CR_CURSOR_START] & CURSOR_OFF)) continue;
            t->cursor = true;
            t->cursor_row = y;
            t->cursor_column = x;
        }
    }
}
