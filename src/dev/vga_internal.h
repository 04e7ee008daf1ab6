/* dev/vga_internal.h - shared by the files of the VGA: registers, the geometry derived from them.
 *
 * Video memory is one array: byte p of word o is plane p at plane address o, so that the four
 * latches are one word, and the linear frame buffer of VBE is the same array read straight on.
 *
 * Nobody is told of writes to it: vCPUs write it like RAM. Drawing compares its visible pages with
 * a copy of what it drew last and draws from the copy, so nothing is missed under any engine, and
 * while nobody looks it costs nothing.
 *
 *   vga.c         the device: regions, PCI, reset, state     vga_vbe.c    Bochs VBE registers
 *   vga_reg.c     sequencer, CRTC, graphics, attributes, DAC vga_mode.c   geometry and timing
 *   vga_mem.c     the legacy window: chains, latches, modes  vga_draw.c, vga_text.c  the picture
 *   vga_firmware.c  text mode without a BIOS */
#ifndef DEV_VGA_INTERNAL_H
#define DEV_VGA_INTERNAL_H
#include "dev/vga.h"
#include "dev/vga_regs.h"

struct vga {
    struct dev dev;
    struct pci_fn pci;
    struct clk *clk;
    u8 *vram;       /* VGA_VRAM_BYTES of guest memory */
    const u8 *font; /* 8x16, 256 characters, in the option ROM; NULL: none */

    u8 seq_index, gc_index, crtc_index, attr_index;
    bool attr_data; /* the next write to 3C0 is data */
    u8 seq[SR_COUNT], gc[GR_COUNT], crtc[CR_COUNT], attr[AR_COUNT];
    u8 misc, feature;
    u8 dac_mask, dac_read, dac_write, dac_sub; /* sub: which of red, green, blue is next */
    bool dac_reading;
    u8 dac[256 * 3], dac_new[3];
    u32 latch;
    u16 vbe_index, vbe[VBE_COUNT];
    u8 vbe_low; /* first half of a data word written as two bytes */

    /* What the picture was last drawn from; not saved. */
    bool redraw;                    /* a register changed it                  */
    bool dirty[VGA_PAGES];          /* found different from @seen by the present drawing      */
    u8 *seen;                       /* owned, VGA_VRAM_BYTES: video memory as last drawn      */
    bool drawn_cursor, drawn_chars; /* phases of blinking                     */
    u32 palette[256];               /* pixels of the colours of the DAC       */
    u32 color[16];                  /* and of the 16 the attribute controller makes of them */
};
static inline struct vga *vga_of(struct dev *d) { return container_of(d, struct vga, dev); }

/* ---- geometry: all of it bounded, whatever the registers hold -------------------------------- */

enum vga_kind { VGA_BLANK, VGA_TEXT, VGA_PLANAR, VGA_CGA4, VGA_PACKED, VGA_LINEAR };
struct vga_mode {
    enum vga_kind kind;
    u32 width, height; /* of the picture: 1..PIXMAP_WIDTH_MAX, 1..PIXMAP_HEIGHT_MAX        */
    u32 chars;         /* character clocks in a row                                       */
    u32 dots;          /* pixels of one: 8 or 9, times 2 when the dot clock is halved     */
    u32 rows_per_char; /* 1..32                                                           */
    bool double_dots, double_scan;
    u32 start, pitch; /* address counter units; VGA_LINEAR: bytes                        */
    u32 count_shift;  /* the counter advances once in 1 << this character clocks         */
    u32 addr_mask;    /* plane addresses: 64 KiB, or all there is under VBE              */
    u32 split;        /* first scan line after the line compare                          */
    u32 bits;         /* VGA_LINEAR: 8, 15, 16, 24, 32                                    */
};
void vga_mode_get(const struct vga *v, struct vga_mode *m);
/** vga_crtc_addr - the plane address the CRTC puts out for counter value @ma in row scan @ra. */
u32 vga_crtc_addr(const struct vga *v, const struct vga_mode *m, u32 ma, u32 ra);

/* Where the beam is, by the virtual clock. */
struct vga_beam {
    bool blank, retrace;
};
struct vga_beam vga_beam_get(const struct vga *v);
/** vga_frames - frames since virtual time 0 (60 or 70 a second): blinking counts them. */
u64 vga_frames(const struct vga *v);

/* ---- parts ----------------------------------------------------------------------------------- */

/* vga_reg.c: @port is 3B0..3DF */
u8 vga_reg_read(struct vga *v, u32 port);
void vga_reg_write(struct vga *v, u32 port, u8 val);
/* vga_vbe.c */
u16 vga_vbe_read(const struct vga *v, u32 index);
void vga_vbe_write(struct vga *v, u32 index, u16 val);
/** vga_vbe_fix - make every VBE register one the code can have produced. */
void vga_vbe_fix(struct vga *v);
static inline bool vga_vbe_on(const struct vga *v) { return v->vbe[VBE_ENABLE] & VBE_ON; }
static inline bool vga_vbe_linear(const struct vga *v)
{
    return vga_vbe_on(v) && v->vbe[VBE_BPP] > 4;
}
static inline u32 vga_vbe_line_bytes(const struct vga *v)
{
    u32 bpp = v->vbe[VBE_BPP], w = v->vbe[VBE_VIRT_WIDTH];
    return bpp == 4 ? w / 8 : w * ((bpp + 7) / 8);
}
/* vga_mem.c: @off from A0000, below 128 KiB */
u8 vga_window_read(struct vga *v, u32 off);
void vga_window_write(struct vga *v, u32 off, u8 val);
/* Expands bit p of a nibble to byte p. */
static inline u32 vga_expand(u32 nibble)
{
    return (nibble & 1 ? 0xFFu : 0) | (nibble & 2 ? 0xFF00u : 0) | (nibble & 4 ? 0xFF0000u : 0) |
           (nibble & 8 ? 0xFF000000u : 0);
}
/* The four planes at @addr of @mem: v->vram or v->seen. */
static inline u32 vga_word(const u8 *mem, u32 addr)
{
    const u8 *p = &mem[4 * addr % VGA_VRAM_BYTES];
    return p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}
/* vga_firmware.c: the 8x16 font in an option ROM, all of it inside; NULL: none */
const u8 *vga_font_find(const u8 *rom, u32 bytes);
/* vga_text.c: one scan line of characters, m->dots pixels each */
struct vga_line {
    u32 ma, ra; /* address counter at its left end; row scan */
    u32 chars;  /* how many to draw                          */
    u32 *px;
};
void vga_text_line(const struct vga *v, const struct vga_mode *m, const struct vga_line *l);
bool vga_cursor_on(const struct vga *v);
bool vga_chars_on(const struct vga *v);
#endif
