/* vga_fuzz - a guest that does anything to the VGA: registers by port and by MMIO, the legacy
 * window, the frame buffer, its BARs; between standard modes and half-set ones. Whatever it left is
 * drawn, must lie within the pixmap's bounds, and must survive saving and loading. */
#include "dev/vga.h"
#include "dev/vga_modes_test.h"
#include "fuzz.h"
#include "mem/map.h"

enum { DEVFN = 2 << 3, WINDOW = 0xA0000, WINDOW_BYTES = 0x20000, STEPS = 3000 };
#define LFB 0xE0000000u
#define REGS 0xE1000000u

struct rig {
    struct bus bus;
    struct clk clk;
    struct mem mem;
    struct pci_bus pci;
    struct dev_set set;
    struct dev *d;
    struct pixmap p;
    struct text_screen text;
};

static void check(int rc, const struct err *e)
{
    if (rc < 0) fprintf(stderr, "%s\n", e->text);
    FUZZ_CHECK(rc >= 0);
}

static void map(struct rig *r)
{
    struct mem_map m;
    mem_map_fixed(&r->mem, &m);
    dev_map_all(&r->set, &m);
    mem_map_apply(&r->mem, &m, NULL, NULL);
}

static void rig_init(struct rig *r, u32 *px)
{
    static const struct dev_host_ops no_ops = {0};
    static const u8 rom[3000] = {0x55, 0xAA};
    struct err e = {0};
    memset(r, 0, sizeof *r);
    check(bus_init(&r->bus, &e), &e);
    clk_init(&r->clk, true);
    clk_start(&r->clk);
    check(mem_init(&r->mem, &e), &e);
    dev_set_init(&r->set, &r->bus, &no_ops, r);
    pci_bus_init(&r->pci, &r->bus, &r->mem, (struct intr_sink){0});
    const struct vga_cfg cfg = {
        .clk = &r->clk, .pci = &r->pci, .devfn = DEVFN, .rom = rom, .rom_bytes = sizeof rom};
    r->d = dev_create(&r->set, &vga_class, "vga", &cfg, &e);
    FUZZ_CHECK(r->d != NULL);
    r->p.px = px;
    pci_cfg_write(&r->pci, DEVFN, PCI_BAR0, LFB, 4);
    pci_cfg_write(&r->pci, DEVFN, PCI_BAR0 + 8, REGS, 4);
    pci_cfg_write(&r->pci, DEVFN, PCI_COMMAND, CMD_MEM | CMD_IO, 2);
    map(r);
}
static void rig_fini(struct rig *r)
{
    dev_set_fini(&r->set);
    bus_fini(&r->bus);
    clk_fini(&r->clk);
    mem_fini(&r->mem);
}

static void out(void *rig, u16 port, u8 val)
{
    bus_port_write(&((struct rig *)rig)->bus, port, val, 1);
}
static u8 in(void *rig, u16 port) { return (u8)bus_port_read(&((struct rig *)rig)->bus, port, 1); }

/* ---- what a guest does ----------------------------------------------------------------------- */

static void mode(struct rig *r)
{
    static const struct test_mode *const modes[] = {&mode_01h, &mode_03h, &mode_04h, &mode_06h,
                                                    &mode_0dh, &mode_12h, &mode_13h, &mode_x};
    test_mode_set(modes[fuzz_below(ARRAY_LEN(modes))], out, in, r);
}

static void vbe(struct rig *r, u16 index, u16 val)
{
    bus_port_write(&r->bus, 0x1CE, index, 2);
    bus_port_write(&r->bus, 0x1CF, val, 2);
}
static void vbe_mode(struct rig *r)
{
    static const u16 bpp[] = {4, 8, 15, 16, 24, 32};
    vbe(r, 1, (u16)fuzz_value());
    vbe(r, 2, (u16)fuzz_value());
    vbe(r, 3, bpp[fuzz_below(ARRAY_LEN(bpp))]);
    vbe(r, 4, (u16)(1 | (fuzz_u64() & 0xE2)));
    (void)in(r, 0x3DA);
    out(r, 0x3C0, 0x20);
}

static void port(struct rig *r)
{
    static const u16 indexed[] = {0x3C4, 0x3CE, 0x3D4, 0x3B4};
    u16 at = (u16)(0x3B0 + fuzz_below(0x30));
    switch (fuzz_below(4)) {
    case 0:
        at = indexed[fuzz_below(ARRAY_LEN(indexed))];
        bus_port_write(&r->bus, at, fuzz_below(0x1A) | (u32)(fuzz_u64() & 0xFF) << 8, 2);
        break;
    case 1: bus_port_write(&r->bus, at, fuzz_value(), 1u << fuzz_below(3)); break;
    case 2: (void)bus_port_read(&r->bus, at, 1u << fuzz_below(3)); break;
    default: vbe(r, (u16)fuzz_below(12), (u16)fuzz_value());
    }
}

static void memory(struct rig *r)
{
    u32 bytes = 1u << fuzz_below(4);
    u64 val = fuzz_value(), lfb = LFB + fuzz_u64() % (VGA_VRAM_BYTES - 8);
    gpa_t at = WINDOW + fuzz_below(WINDOW_BYTES), reg = REGS + fuzz_below(0x1000);
    if (fuzz_one_in(2)) reg = REGS + 0x400 + fuzz_below(0x120);
    switch (fuzz_below(5)) {
    case 0: (void)bus_mmio_read(&r->bus, at, bytes); break;
    case 1: bus_mmio_write(&r->bus, reg, val, bytes); break;
    case 2: (void)bus_mmio_read(&r->bus, reg, bytes); break;
    case 3:
        (void)mem_write(&r->mem, fuzz_one_in(2) ? lfb : LFB + (val & 0x3FFFF), &val, bytes);
        break;
    default: bus_mmio_write(&r->bus, at, val, bytes);
    }
}

static void pci(struct rig *r)
{
    u32 off = fuzz_below(64) * 4;
    if (fuzz_one_in(2)) pci_cfg_write(&r->pci, DEVFN, off, (u32)fuzz_value(), 4);
    else (void)pci_cfg_read(&r->pci, DEVFN, off, 4);
    map(r);
    if (fuzz_one_in(4)) return;
    pci_cfg_write(&r->pci, DEVFN, PCI_BAR0, LFB, 4);
    pci_cfg_write(&r->pci, DEVFN, PCI_COMMAND, CMD_MEM | CMD_IO, 2);
    map(r);
}

/* ---- what must hold -------------------------------------------------------------------------- */

static void look(struct rig *r)
{
    vga_render(r->d, &r->p);
    FUZZ_CHECK(r->p.width >= 1 && r->p.width <= PIXMAP_WIDTH_MAX);
    FUZZ_CHECK(r->p.height >= 1 && r->p.height <= PIXMAP_HEIGHT_MAX);
    FUZZ_CHECK(r->p.dirty_top <= r->p.dirty_end && r->p.dirty_end <= r->p.height);
    vga_text(r->d, &r->text);
    FUZZ_CHECK(r->text.rows <= TEXT_ROWS_MAX && r->text.columns <= TEXT_COLUMNS_MAX);
}

/* Another device with the same state and memory shows the same. */
static void save_and_load(struct rig *r, struct rig *other)
{
    struct ser_buf b;
    struct err e = {0};
    ser_buf_init(&b);
    check(dev_save(r->d, &b, &e), &e);
    struct ser_view v = {b.data, b.bytes, 0};
    check(dev_load(other->d, &v, &e), &e);
    memcpy(other->mem.backing[0].hva, r->mem.backing[0].hva, VGA_VRAM_BYTES);
    clk_advance(&other->clk, clk_now_ns(&r->clk) - clk_now_ns(&other->clk));
    look(r);
    look(other);
    FUZZ_CHECK(other->p.width == r->p.width && other->p.height == r->p.height);
    FUZZ_CHECK(!memcmp(other->p.px, r->p.px, (size_t)r->p.width * r->p.height * sizeof(u32)));
    fuzz_damage(b.data, b.bytes, 1 + fuzz_below(8));
    v = (struct ser_view){b.data, b.bytes, 0};
    (void)!dev_load(other->d, &v, &e);
    look(other);
    ser_buf_fini(&b);
}

static void step(struct rig *r)
{
    u32 what = fuzz_below(256);
    if (what < 1) mode(r);
    else if (what < 2) vbe_mode(r);
    else if (what < 3) pci(r);
    else if (what < 5) clk_advance(&r->clk, fuzz_u64() >> (20 + fuzz_below(40)));
    else if (what < 110) port(r);
    else memory(r);
    if (fuzz_one_in(300)) look(r);
}

int main(void)
{
    static struct rig r, other;
    u32 *px[2];
    for (u32 i = 0; i < 2; i++) {
        px[i] = malloc(sizeof(u32) * PIXMAP_WIDTH_MAX * PIXMAP_HEIGHT_MAX);
        FUZZ_CHECK(px[i] != NULL);
    }
    fuzz_start("vga_fuzz");
    while (fuzz_next()) {
        rig_init(&r, px[0]);
        rig_init(&other, px[1]);
        if (fuzz_one_in(2)) mode(&r);
        for (u32 i = 0; i < STEPS; i++) step(&r);
        save_and_load(&r, &other);
        rig_fini(&r);
        rig_fini(&other);
    }
    for (u32 i = 0; i < 2; i++) free(px[i]);
    return 0;
}
