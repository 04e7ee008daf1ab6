/* fuzz_virtio - the virtio block device under a hostile driver: rings, chains and indirect tables
 * half right and half random, registers in any order, MSI-X tables, resets, damaged state. */
#include "dev/virtio/blk.h"
#include "fuzz_disk.h"

enum { BAR = 0xE0000000, MSIX = 0xE0008000, DEVFN = 16 << 3, RING = 0x2000, N = 32 };
enum { DESC = RING, AVAIL = RING + 0x1000, USED = RING + 0x2000, BUF = 0x10000 };

static void wr(struct disk_fuzz *g, u32 off, u64 v, u32 n)
{
    bus_mmio_write(&g->bus, BAR + off, v, n);
}

static void start(struct disk_fuzz *g)
{
    wr(g, 0x14, 0, 1);
    wr(g, 0x14, 3, 1);
    wr(g, 0x08, 1, 4);
    wr(g, 0x0C, 1, 4);
    wr(g, 0x14, 0xB, 1);
    wr(g, 0x16, 0, 2);
    wr(g, 0x18, N, 2);
    wr(g, 0x1A, 1, 2);
    wr(g, 0x20, DESC, 4);
    wr(g, 0x28, AVAIL, 4);
    wr(g, 0x30, USED, 4);
    wr(g, 0x1C, 1, 2);
    (void)mem_fill(&g->mem, AVAIL, 0, 0x2000);
    wr(g, 0x14, 0xF, 1);
}

static void put_desc(struct disk_fuzz *g, u32 i)
{
    bool indirect = fuzz_one_in(12);
    u64 addr = fuzz_one_in(10) ? fuzz_value() : BUF + fuzz_below(0x8000);
    u32 w[4] = {(u32)addr, (u32)(addr >> 32), fuzz_one_in(8) ? (u32)fuzz_value() : 512, 0};
    if (fuzz_one_in(3)) w[2] = 16;
    if (indirect) w[2] = fuzz_below(140) * 16;
    w[3] = (fuzz_one_in(3) ? 0 : 1) | (fuzz_one_in(2) ? 2 : 0) | (indirect ? 4 : 0);
    w[3] |= (fuzz_one_in(10) ? fuzz_below(0x10000) : (i + 1) % N) << 16;
    (void)mem_write(&g->mem, DESC + i * 16, w, sizeof w);
}

/* A chain as it should be, most of the time. */
static void put_chain(struct disk_fuzz *g, u32 i)
{
    static const u32 types[] = {0, 0, 1, 1, 4, 8, 11, 13, 99};
    u32 type = types[fuzz_below(ARRAY_LEN(types))], bytes = fuzz_below(20) * 512;
    bool in = type == 0 || type == 8;
    const u32 header[4] = {type, 0, fuzz_below(600), fuzz_one_in(30)};
    const u32 range[4] = {fuzz_below(600), 0, fuzz_below(64), fuzz_below(2)};
    if (type >= 11) bytes = 16;
    (void)mem_write(&g->mem, BUF + i * 16, header, 16);
    if (!in) (void)mem_write(&g->mem, BUF + 0x1000, range, 16);
    const u32 d[3][4] = {{BUF + i * 16, 0, 16, 1 | (i + 1) % N << 16},
                         {BUF + 0x1000, 0, bytes, 1 | (in ? 2 : 0) | (i + 2) % N << 16},
                         {BUF, 0, 1, 2}};
    for (u32 k = 0; k < 3; k++)
        if (!fuzz_one_in(30)) (void)mem_write(&g->mem, DESC + (i + k) % N * 16, d[k], 16);
}

static void offer(struct disk_fuzz *g)
{
    u16 idx, head = (u16)(fuzz_one_in(30) ? fuzz_u64() : fuzz_below(N));
    if (!fuzz_one_in(4)) put_chain(g, head % N);
    (void)mem_read(&g->mem, AVAIL + 2, &idx, 2);
    (void)mem_write(&g->mem, AVAIL + 4 + idx % N * 2u, &head, 2);
    idx = (u16)(fuzz_one_in(100) ? fuzz_u64() : idx + 1u);
    (void)mem_write(&g->mem, AVAIL + 2, &idx, 2);
    if (!fuzz_one_in(3)) wr(g, 0x3000, 0, 2);
}

static void step(struct disk_fuzz *g, struct dev *d)
{
    switch (fuzz_below(16)) {
    case 0: put_desc(g, fuzz_below(N)); break;
    case 1: disk_port(g, d); break;
    case 2: wr(g, fuzz_below(0x40), fuzz_value(), 1u << fuzz_below(3)); break;
    case 3:
        bus_mmio_write(&g->bus, MSIX + fuzz_below(16) * 4,
                       fuzz_one_in(2) ? 0xFEE00000 : fuzz_value(), 4);
        pci_cfg_write(&g->pci, DEVFN, 0x42, fuzz_below(4) << 14, 2);
        break;
    case 4: disk_poke(g, RING + fuzz_below(0x3000), 4); break;
    case 5:
        if (fuzz_one_in(4)) start(g);
        break;
    case 6:
        if (fuzz_one_in(10)) disk_save_load(g, d);
        if (fuzz_one_in(30)) dev_reset_all(&g->set);
        pci_cfg_write(&g->pci, DEVFN, 0x14, MSIX, 4);
        pci_cfg_write(&g->pci, DEVFN, 0x20, BAR, 4);
        pci_cfg_write(&g->pci, DEVFN, 0x24, 0, 4);
        pci_cfg_write(&g->pci, DEVFN, PCI_COMMAND,
                      fuzz_one_in(20) ? fuzz_below(8) : CMD_MEM | CMD_MASTER, 2);
        break;
    default: offer(g);
    }
    if (fuzz_one_in(3)) disk_pump(g);
}

int main(void)
{
    static struct disk_fuzz g;
    fuzz_start("fuzz_virtio");
    while (fuzz_next()) {
        disk_init(&g);
        struct virtio_blk_cfg cfg = {.pci = &g.pci, .devfn = DEVFN};
        cfg.disk = disk_image(&g, 512 * 512);
        struct dev *d = disk_dev(&g, &virtio_blk_class, &cfg);
        for (u32 i = 0; i < 3000; i++) step(&g, d);
        disk_fini(&g);
    }
    return 0;
}
