/* dev/pci_host.c - i440FX: configuration mechanism #1 and the host bridge function; reset control
 * at 0xCF9.
 * Spec: 440FX data sheet (290549) 3.1 (CONFADD, CONFDATA), 3.2; PIIX3 (290550) 2.5.8 (reset
 * control).
 * Threads: under the bus lock. */
#include "dev/pci_host.h"

enum { CONFADD_ENABLE = 1u << 31, CONFADD_BITS = 0x00FFFFFC };
enum { RCR = 1, RCR_HARD = 1 << 1, RCR_CPU = 1 << 2 };
enum { I440_PMC = 0x50, I440_PAM0 = 0x59, I440_PAM_REGS = 7, I440_SMRAM = 0x72 };
enum { PAM_READ = 1 << 0, PAM_WRITE = 1 << 1, PAM_OPEN = 0x33, PAM0_OPEN = 0x30 };
enum {
    SHADOW_START = 0xC0000,
    SHADOW_BIOS = 0xF0000,
    SHADOW_END = 0x100000,
    SEGMENT_BYTES = 0x4000,
    LOW_ROM_BYTES_MAX = 0x20000, /* of the ROM's end, below 1 MiB */
};
#define ROM_END GIB(4)

struct i440fx {
    struct dev dev;
    struct pci_fn pci;
    struct i440fx_cfg wiring;
    u32 address; /* CONFADD */
    u8 rcr;
};

static struct i440fx *self(struct dev *d) { return container_of(d, struct i440fx, dev); }

/* Only a dword at 0xCF8 is the address register; its second byte is the reset control register. */
static u64 add_read(struct dev *d, u64 off, u32 bytes)
{
    if (off == 0 && bytes == 4) return self(d)->address;
    if (off == RCR && bytes == 1) return self(d)->rcr;
    return mask_bytes(bytes);
}

static void add_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct i440fx *h = self(d);
    if (off == 0 && bytes == 4) h->address = (u32)val & (CONFADD_ENABLE | CONFADD_BITS);
    if (off != RCR || bytes != 1) return;
    bool fire = (val & RCR_CPU) && !(h->rcr & RCR_CPU);
    h->rcr = (u8)val & (RCR_HARD | RCR_CPU);
    if (fire) dev_request_reset(d);
}

/* 31 enable | 23..16 bus | 15..8 devfn | 7..2 register. There is one bus. */
static bool target(const struct i440fx *h, u8 *devfn)
{
    *devfn = (u8)(h->address >> 8);
    return (h->address & CONFADD_ENABLE) && !(h->address & 0x00FF0000);
}

static u64 data_read(struct dev *d, u64 off, u32 bytes)
{
    struct i440fx *h = self(d);
    u8 devfn;
    if (!target(h, &devfn)) return mask_bytes(bytes);
    return pci_cfg_read(h->pci.bus, devfn, (h->address & 0xFC) + (u32)off, bytes);
}

static void data_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct i440fx *h = self(d);
    u8 devfn;
    if (!target(h, &devfn)) return;
    pci_cfg_write(h->pci.bus, devfn, (h->address & 0xFC) + (u32)off, (u32)val, bytes);
}

/* ---- PAM ---------------------------------------------------------------------------------------
 *
 *   59h  7:4 F0000-FFFFF                      5Dh  3:0 D8000-DBFFF  7:4 DC000-DFFFF
 *   5Ah  3:0 C0000-C3FFF  7:4 C4000-C7FFF     5Eh  3:0 E0000-E3FFF  7:4 E4000-E7FFF
 *   ...                                       5Fh  3:0 E8000-EBFFF  7:4 EC000-EFFFF
 * Each nibble: bit 0 reads go to RAM, bit 1 writes do. */

static u8 segment_bits(const struct i440fx *h, u32 base)
{
    if (base >= SHADOW_BIOS) return h->pci.cfg[I440_PAM0] >> 4 & 3;
    u32 n = (base - SHADOW_START) / SEGMENT_BYTES;
    return h->pci.cfg[I440_PAM0 + 1 + n / 2] >> (n & 1 ? 4 : 0) & 3;
}

/* Where the segment's reads go in the ROM. False: it has nothing there. */
static bool rom_piece(const struct i440fx *h, u32 base, struct mem_piece *p)
{
    if (!h->wiring.rom) return false;
    u64 bytes = h->pci.bus->mem->backing[h->wiring.rom_id].bytes;
    u64 below_end = SHADOW_END - base;
    if (below_end > min_u64(bytes, LOW_ROM_BYTES_MAX)) return false;
    p->backing = h->wiring.rom_id;
    p->offset = bytes - below_end;
    p->rom = true;
    return true;
}

static void map_segment(const struct i440fx *h, u32 base, u32 bytes, struct mem_map *map)
{
    const u8 pam = segment_bits(h, base);
    struct mem_piece p = {.base = base, .bytes = bytes};
    if (pam & PAM_READ) {
        p.backing = h->wiring.shadow_id;
        p.offset = base - SHADOW_START;
        p.rom = !(pam & PAM_WRITE);
    } else if (!rom_piece(h, base, &p)) {
        return; /* nobody answers there */
    } else if (pam & PAM_WRITE) {
        p.written = h->wiring.shadow_id + 1;
        p.written_offset = base - SHADOW_START;
    }
    mem_map_add(map, h->pci.bus->mem, &p, NULL);
}

static void i440fx_map(struct dev *d, struct mem_map *map)
{
    const struct i440fx *h = self(d);
    if (!h->wiring.shadow) return;
    for (u32 at = SHADOW_START; at < SHADOW_BIOS; at += SEGMENT_BYTES)
        map_segment(h, at, SEGMENT_BYTES, map);
    map_segment(h, SHADOW_BIOS, SHADOW_END - SHADOW_BIOS, map);
    if (!h->wiring.rom) return;
    struct mem_piece p = {.backing = h->wiring.rom_id, .rom = true};
    p.bytes = h->pci.bus->mem->backing[p.backing].bytes;
    p.base = ROM_END - p.bytes;
    mem_map_add(map, h->pci.bus->mem, &p, NULL);
}

static void on_cfg_write(struct pci_fn *f, u32 off, u32 bytes)
{
    if (off < I440_PAM0 + I440_PAM_REGS && off + bytes > I440_PAM0) dev_request_remap(f->dev);
}

/* ---- class ----------------------------------------------------------------------------------- */

static int i440fx_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct i440fx_cfg *c = cfg;
    struct pci_fn *f = &self(d)->pci;
    static const struct pci_fn_cfg ids = {.vendor = 0x8086,
                                          .device = 0x1237,
                                          .subsys_vendor = 0x1AF4,
                                          .subsys = 0x1100,
                                          .class_code = 0x060000,
                                          .revision = 2};
    if (pci_fn_init(f, d, c->pci, 0, e) < 0) return e ? e->code : E_BUSY;
    pci_fn_set_ids(f, &ids);
    self(d)->wiring = *c;
    f->cfg_write = on_cfg_write;
    /* SMRAM control is kept for firmware; there is no system management mode. */
    for (u32 r = I440_PMC; r < I440_PMC + 2; r++) f->wmask[r] = 0xFF;
    for (u32 r = I440_PAM0; r < I440_PAM0 + I440_PAM_REGS; r++) f->wmask[r] = 0x77;
    f->wmask[I440_SMRAM] = 0x7F;
    return 0;
}

static void i440fx_fini(struct dev *d) { pci_fn_fini(&self(d)->pci); }

static void i440fx_reset(struct dev *d)
{
    struct i440fx *h = self(d);
    pci_fn_reset(&h->pci);
    h->pci.cfg[I440_PMC] = h->pci.cfg[I440_PMC + 1] = 0;
    for (u32 r = I440_PAM0; r < I440_PAM0 + I440_PAM_REGS; r++)
        h->pci.cfg[r] = h->wiring.pam_open ? PAM_OPEN : 0;
    if (h->wiring.pam_open) h->pci.cfg[I440_PAM0] = PAM0_OPEN;
    h->pci.cfg[I440_SMRAM] = 0x02;
    h->address = 0;
    h->rcr = 0;
    dev_request_remap(d);
}

static void i440fx_post_load(struct dev *d)
{
    self(d)->address &= CONFADD_ENABLE | CONFADD_BITS;
    pci_fn_post_load(&self(d)->pci);
}

static const struct ser_field i440fx_fields[] = {PCI_SER(struct i440fx, pci),
                                                 SER(struct i440fx, address, 1),
                                                 SER(struct i440fx, rcr, 1), SER_END};
static const struct dev_region i440fx_regions[] = {
    {"pci-address", BUS_PORT, true, 0xCF8, 4, 1, 4, add_read, add_write},
    {"pci-data", BUS_PORT, true, 0xCFC, 4, 1, 4, data_read, data_write},
    {0},
};

const struct dev_class i440fx_class = {
    .name = "i440fx",
    .version = 1,
    .inst_bytes = sizeof(struct i440fx),
    .regions = i440fx_regions,
    .fields = i440fx_fields,
    .init = i440fx_init,
    .fini = i440fx_fini,
    .reset = i440fx_reset,
    .post_load = i440fx_post_load,
    .map = i440fx_map,
};
