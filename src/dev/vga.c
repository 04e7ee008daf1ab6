/* vga - the device around the VGA's parts: ports, windows, PCI function, reset, saved state.
 * See vga.h, vga_internal.h. */
#include <string.h>
#include <sys/mman.h>

#include "dev/vga_internal.h"

enum { PORTS_MONO = 0x3B0, PORTS_VGA = 0x3C0, PORTS_COLOR = 0x3D0, PORTS_VBE = 0x1CE };
enum { WINDOW_GPA = 0xA0000, WINDOW_BYTES = 0x20000 };
enum { REGS_BYTES = 0x1000, REGS_VGA = 0x400, REGS_VBE = 0x500, REGS_EXT = 0x600 };
enum { REGS_VGA_END = REGS_VGA + 0x20, REGS_VBE_END = REGS_VBE + 2 * (VBE_MEMORY_64K + 1) };
enum { EXT_SIZE = REGS_EXT, EXT_ENDIAN = REGS_EXT + 4, EXT_BYTES = 8 };
#define EXT_LITTLE 0x1E1E1E1Eu
enum vga_region { R_MONO, R_VGA, R_COLOR, R_VBE, R_WINDOW, R_REGS };

/* ---- ports ----------------------------------------------------------------------------------- */

static u64 mono_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return vga_reg_read(vga_of(d), PORTS_MONO + (u32)off);
}
static void mono_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    vga_reg_write(vga_of(d), PORTS_MONO + (u32)off, (u8)val);
}
static u64 vga_port_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return vga_reg_read(vga_of(d), PORTS_VGA + (u32)off);
}
static void vga_port_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    vga_reg_write(vga_of(d), PORTS_VGA + (u32)off, (u8)val);
}
static u64 color_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return vga_reg_read(vga_of(d), PORTS_COLOR + (u32)off);
}
static void color_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    vga_reg_write(vga_of(d), PORTS_COLOR + (u32)off, (u8)val);
}

/* Index at 1CE, data at 1D0 and, misaligned as it is, at 1CF: a word there arrives as the two bytes
 * 1CF (low) and 1D0 (high). */
static u64 vbe_port_read(struct dev *d, u64 off, u32 bytes)
{
    struct vga *v = vga_of(d);
    u16 data = vga_vbe_read(v, v->vbe_index);
    if (off == 0) return v->vbe_index;
    return off == 2 && bytes == 1 ? data >> 8 : data;
}
static void vbe_port_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct vga *v = vga_of(d);
    if (off == 0) v->vbe_index = (u16)val;
    else if (off == 1) v->vbe_low = (u8)val;
    else if (off == 2)
        vga_vbe_write(v, v->vbe_index, (u16)(bytes == 1 ? v->vbe_low | val << 8 : val));
}

/* ---- memory ---------------------------------------------------------------------------------- */

static u64 window_read(struct dev *d, u64 off, u32 bytes)
{
    u64 val = 0;
    for (u32 i = 0; i < bytes; i++) val |= (u64)vga_window_read(vga_of(d), (u32)off + i) << 8 * i;
    return val;
}
static void window_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    for (u32 i = 0; i < bytes; i++) vga_window_write(vga_of(d), (u32)off + i, (u8)(val >> 8 * i));
}

static u64 regs_read(struct dev *d, u64 off, u32 bytes)
{
    struct vga *v = vga_of(d);
    u64 val = 0;
    if (off == EXT_SIZE) return EXT_BYTES;
    if (off == EXT_ENDIAN) return EXT_LITTLE;
    for (u32 i = 0; i < bytes; i++, off++) {
        u32 byte = 0;
        if (off >= REGS_VGA && off < REGS_VGA_END)
            byte = vga_reg_read(v, (u32)(PORTS_VGA + off - REGS_VGA));
        else if (off >= REGS_VBE && off < REGS_VBE_END)
            byte = vga_vbe_read(v, (u32)(off - REGS_VBE) / 2) >> 8 * (off & 1);
        val |= (u64)(byte & 0xFF) << 8 * i;
    }
    return val;
}
static void regs_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct vga *v = vga_of(d);
    u32 step = off >= REGS_VBE ? 2 : 1;
    for (u32 i = 0; i < bytes; i += step, off += step) {
        u64 part = val >> 8 * i;
        if (off >= REGS_VGA && off < REGS_VGA_END)
            vga_reg_write(v, (u32)(PORTS_VGA + off - REGS_VGA), (u8)part);
        else if (off >= REGS_VBE && off < REGS_VBE_END && bytes >= 2)
            vga_vbe_write(v, (u32)(off - REGS_VBE) / 2, (u16)part);
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static const struct pci_fn_cfg ids = {.vendor = 0x1234,
                                      .device = 0x1111,
                                      .subsys_vendor = 0x1AF4,
                                      .subsys = 0x1100,
                                      .class_code = 0x030000,
                                      .revision = 2};

/* The option ROM goes into memory of its own, a power of two. */
static int rom_add(struct vga *v, const struct vga_cfg *c, struct err *e)
{
    u64 bytes = PAGE_BYTES;
    if (!c->rom || !c->rom_bytes) return 0;
    if (c->rom_bytes > VGA_ROM_BYTES_MAX)
        return err_set(e, E_RANGE, "vga: option ROM of %u bytes, at most %d", c->rom_bytes,
                       VGA_ROM_BYTES_MAX);
    while (bytes < c->rom_bytes) bytes *= 2;
    int id = mem_add_device(c->pci->mem, bytes, "vga-rom", e);
    if (id < 0) return id;
    u8 *rom = c->pci->mem->backing[id].hva;
    memcpy(rom, c->rom, c->rom_bytes);
    v->font = vga_font_find(rom, c->rom_bytes);
    pci_fn_add_rom(&v->pci, (u32)id);
    return 0;
}

static int function_add(struct vga *v, const struct vga_cfg *c, struct err *e)
{
    int id = mem_add_device(c->pci->mem, VGA_VRAM_BYTES, "vga", e);
    if (id < 0) return id;
    v->vram = c->pci->mem->backing[id].hva;
    int rc = pci_fn_init(&v->pci, &v->dev, c->pci, c->devfn, e);
    if (rc < 0) return rc;
    pci_fn_set_ids(&v->pci, &ids);
    pci_fn_add_mem_bar(&v->pci, 0, (u32)id, BAR_PREFETCH);
    pci_fn_add_bar(&v->pci, 2, R_REGS, 0);
    rc = rom_add(v, c, e);
    if (rc < 0) pci_fn_fini(&v->pci);
    return rc;
}

static int vga_init(struct dev *d, const void *cfg, struct err *e)
{
    struct vga *v = vga_of(d);
    const struct vga_cfg *c = cfg;
    v->clk = c->clk;
    v->seen = mmap(NULL, VGA_VRAM_BYTES, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (v->seen == MAP_FAILED) return err_set(e, E_NOMEM, "vga: video memory");
    int rc = function_add(v, c, e);
    if (rc < 0) munmap(v->seen, VGA_VRAM_BYTES);
    return rc;
}

static void vga_fini(struct dev *d)
{
    struct vga *v = vga_of(d);
    pci_fn_fini(&v->pci);
    munmap(v->seen, VGA_VRAM_BYTES);
}

static void vga_map(struct dev *d, struct mem_map *map) { pci_fn_map(&vga_of(d)->pci, map); }

/* Power-on: every register 0, the screen off. Video memory keeps what it has. */
static void vga_reset(struct dev *d)
{
    struct vga *v = vga_of(d);
    memset(v->seq, 0, sizeof v->seq);
    memset(v->gc, 0, sizeof v->gc);
    memset(v->crtc, 0, sizeof v->crtc);
    memset(v->attr, 0, sizeof v->attr);
    memset(v->dac, 0, sizeof v->dac);
    memset(v->dac_new, 0, sizeof v->dac_new);
    memset(v->vbe, 0, sizeof v->vbe);
    v->seq_index = v->gc_index = v->crtc_index = v->attr_index = 0;
    v->misc = v->feature = v->dac_read = v->dac_write = v->dac_sub = v->vbe_low = 0;
    v->attr_data = v->dac_reading = false;
    v->dac_mask = 0xFF;
    v->latch = 0;
    v->vbe_index = 0;
    vga_vbe_fix(v);
    v->redraw = true;
    pci_fn_reset(&v->pci);
}

static int vga_validate(const struct dev *d, struct err *e)
{
    const struct vga *v = container_of(d, struct vga, dev);
    struct vga fixed = {0};
    memcpy(fixed.vbe, v->vbe, sizeof fixed.vbe);
    vga_vbe_fix(&fixed);
    if (memcmp(fixed.vbe, v->vbe, sizeof fixed.vbe) != 0 || v->dac_sub > 2)
        return err_set(e, E_FORMAT, "%s: registers no guest could have left", d->name);
    return 0;
}

static void vga_post_load(struct dev *d)
{
    vga_of(d)->redraw = true;
    pci_fn_post_load(&vga_of(d)->pci);
}

static const struct dev_region regions[] = {
    [R_MONO] = {"vga-mono", BUS_PORT, true, PORTS_MONO, 0xC, 1, 1, mono_read, mono_write},
    [R_VGA] = {"vga", BUS_PORT, true, PORTS_VGA, 0x10, 1, 1, vga_port_read, vga_port_write},
    [R_COLOR] = {"vga-color", BUS_PORT, true, PORTS_COLOR, 0x10, 1, 1, color_read, color_write},
    [R_VBE] = {"vbe", BUS_PORT, true, PORTS_VBE, 4, 1, 2, vbe_port_read, vbe_port_write},
    [R_WINDOW] = {"vga-window", BUS_MMIO, true, WINDOW_GPA, WINDOW_BYTES, 1, 8, window_read,
                  window_write},
    [R_REGS] = {"vga-regs", BUS_MMIO, false, 0, REGS_BYTES, 1, 4, regs_read, regs_write},
    {0}};

/* Video memory is not here: it is guest memory. */
static const struct ser_field fields[] = {
    SER(struct vga, seq_index, 1),  SER(struct vga, gc_index, 1),
    SER(struct vga, crtc_index, 1), SER(struct vga, attr_index, 1),
    SER(struct vga, attr_data, 1),  SER_ARRAY(struct vga, seq, 1),
    SER_ARRAY(struct vga, gc, 1),   SER_ARRAY(struct vga, crtc, 1),
    SER_ARRAY(struct vga, attr, 1), SER(struct vga, misc, 1),
    SER(struct vga, feature, 1),    SER(struct vga, dac_mask, 1),
    SER(struct vga, dac_read, 1),   SER(struct vga, dac_write, 1),
    SER(struct vga, dac_sub, 1),    SER(struct vga, dac_reading, 1),
    SER_ARRAY(struct vga, dac, 1),  SER_ARRAY(struct vga, dac_new, 1),
    SER(struct vga, latch, 1),      SER(struct vga, vbe_index, 1),
    SER_ARRAY(struct vga, vbe, 1),  SER(struct vga, vbe_low, 1),
    PCI_SER(struct vga, pci),       SER_END};

const struct dev_class vga_class = {.name = "vga",
                                    .version = 1,
                                    .inst_bytes = sizeof(struct vga),
                                    .regions = regions,
                                    .fields = fields,
                                    .init = vga_init,
                                    .fini = vga_fini,
                                    .reset = vga_reset,
                                    .validate = vga_validate,
                                    .post_load = vga_post_load,
                                    .map = vga_map};
