/* dev/vga_rig_test.h - what the VGA's tests start from: a bus with PCI, the device, a pixmap. */
#ifndef DEV_VGA_RIG_TEST_H
#define DEV_VGA_RIG_TEST_H
#include <stdlib.h>

#include "dev/test_storm.h"
#include "dev/vga.h"
#include "dev/vga_modes_test.h"
#include "mem/mem.h"

#define LFB_GPA 0xE0000000ull
#define REGS_GPA 0xE1000000ull
#define ROM_GPA 0xE2000000ull
enum { VGA_DEVFN = 2 << 3 };

static const u8 vga_test_rom[5000] = {0x55, 0xAA, 10, 0xCB, [4999] = 0x77};

struct vga_rig {
    struct rig r;
    struct mem mem;
    struct pci_bus pci;
    struct dev *d;
    struct pixmap p;
};

static void rig_out(void *rig, u16 port, u8 val) { out8(&((struct vga_rig *)rig)->r, port, val); }
static u8 rig_in(void *rig, u16 port) { return in8(&((struct vga_rig *)rig)->r, port); }

static inline void vga_rig_init(struct vga_rig *g)
{
    struct err e = {0};
    memset(g, 0, sizeof *g);
    rig_init(&g->r);
    assert_int_equal(mem_init(&g->mem, &e), 0);
    pci_bus_init(&g->pci, &g->r.bus, &g->mem, (struct intr_sink){0});
    const struct vga_cfg cfg = {.clk = &g->r.clk,
                                .pci = &g->pci,
                                .devfn = VGA_DEVFN,
                                .rom = vga_test_rom,
                                .rom_bytes = sizeof vga_test_rom};
    g->d = rig_create(&g->r, &vga_class, &cfg);
    g->p.px = malloc(sizeof(u32) * PIXMAP_WIDTH_MAX * PIXMAP_HEIGHT_MAX);
    assert_non_null(g->p.px);
}
static inline void vga_rig_fini(struct vga_rig *g)
{
    rig_fini(&g->r);
    mem_fini(&g->mem);
    free(g->p.px);
}

/* What the machine does when a memory BAR moved. */
static inline void vga_rig_map(struct vga_rig *g)
{
    struct mem_map map;
    mem_map_fixed(&g->mem, &map);
    dev_map_all(&g->r.set, &map);
    mem_map_apply(&g->mem, &map, NULL, NULL);
}
/* What firmware does: BARs and decoding. */
static inline void vga_rig_bars(struct vga_rig *g)
{
    pci_cfg_write(&g->pci, VGA_DEVFN, PCI_BAR0, (u32)LFB_GPA, 4);
    pci_cfg_write(&g->pci, VGA_DEVFN, PCI_BAR0 + 8, (u32)REGS_GPA, 4);
    pci_cfg_write(&g->pci, VGA_DEVFN, PCI_COMMAND, CMD_MEM | CMD_IO, 2);
    vga_rig_map(g);
}
static inline void lfb_write(struct vga_rig *g, u64 off, u64 val, u32 bytes)
{
    assert_int_equal(mem_write(&g->mem, LFB_GPA + off, &val, bytes), 0);
}

static inline void mode_set(struct vga_rig *g, const struct test_mode *m)
{
    test_mode_set(m, rig_out, rig_in, g);
}
/* An indexed register: 3C4, 3CE or 3D4. */
static inline void reg_set(struct vga_rig *g, u16 port, u8 index, u8 val)
{
    out8(&g->r, port, index);
    out8(&g->r, (u16)(port + 1), val);
}
static inline u8 reg_get(struct vga_rig *g, u16 port, u8 index)
{
    out8(&g->r, port, index);
    return in8(&g->r, (u16)(port + 1));
}
static inline void attr_set(struct vga_rig *g, u8 index, u8 val)
{
    (void)in8(&g->r, 0x3DA);
    out8(&g->r, 0x3C0, index);
    out8(&g->r, 0x3C0, val);
    out8(&g->r, 0x3C0, 0x20);
}
static inline void vbe_set(struct vga_rig *g, u16 index, u16 val)
{
    bus_port_write(&g->r.bus, 0x1CE, index, 2);
    bus_port_write(&g->r.bus, 0x1CF, val, 2);
}
static inline u16 vbe_get(struct vga_rig *g, u16 index)
{
    bus_port_write(&g->r.bus, 0x1CE, index, 2);
    return (u16)bus_port_read(&g->r.bus, 0x1CF, 2);
}
static inline void poke(struct vga_rig *g, u32 gpa, u8 val)
{
    bus_mmio_write(&g->r.bus, gpa, val, 1);
}
static inline u8 peek(struct vga_rig *g, u32 gpa) { return (u8)bus_mmio_read(&g->r.bus, gpa, 1); }

/* A palette that tells all entries apart: entry i is red i/4, green 63 - i/4, blue i & 63. */
static inline void dac_fill(struct vga_rig *g)
{
    out8(&g->r, 0x3C8, 0);
    for (u32 i = 0; i < 256; i++) {
        out8(&g->r, 0x3C9, (u8)(i / 4));
        out8(&g->r, 0x3C9, (u8)(63 - i / 4));
        out8(&g->r, 0x3C9, (u8)(i & 63));
    }
}
/* What entry @i of that palette looks like: six bits spread over eight. */
static inline u32 dac_rgb(u32 i)
{
    const u32 c[3] = {i / 4, 63 - i / 4, i & 63};
    u32 px = 0;
    for (u32 n = 0; n < 3; n++) px = px << 8 | (c[n] * 4 + c[n] / 16);
    return px;
}

static inline void render(struct vga_rig *g)
{
    bus_lock(&g->r.bus);
    vga_render(g->d, &g->p);
    bus_unlock(&g->r.bus);
}

/* The picture must be @w x @h of what @model says of each place. */
typedef u32 model_fn(const void *ctx, u32 x, u32 y);
static inline void expect_picture(struct vga_rig *g, u32 w, u32 h, model_fn *model, const void *ctx)
{
    render(g);
    assert_int_equal(g->p.width, w);
    assert_int_equal(g->p.height, h);
    for (u32 y = 0; y < h; y++) {
        for (u32 x = 0; x < w; x++) {
            u32 is = g->p.px[(size_t)y * w + x], want = model(ctx, x, y);
            if (is != want) fail_msg("pixel %u,%u is %06x, not %06x", x, y, is, want);
        }
    }
}
#endif
