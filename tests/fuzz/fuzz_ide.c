/* fuzz_ide - the IDE controller under a driver that makes every mistake: commands with and without
 * sense, packets, PRD tables, data too much and too little, resets at any moment, state saved and
 * damaged state loaded in between, images that shrink. */
#include "dev/ide.h"
#include "fuzz_disk.h"

enum { BM = 0xC000, PRDT = 0x8000 };

static u16 chan_base(void) { return fuzz_one_in(2) ? 0x1F0 : 0x170; }

static void registers(struct disk_fuzz *g, u16 base)
{
    for (u32 r = 1; r < 7; r++) {
        if (fuzz_one_in(6)) continue;
        if (fuzz_one_in(3)) bus_port_write(&g->bus, (u16)(base + r), 0, 1);
        bus_port_write(&g->bus, (u16)(base + r), fuzz_one_in(2) ? fuzz_below(8) : fuzz_below(256),
                       1);
    }
    bus_port_write(&g->bus, (u16)(base + 6), 0xE0 | (fuzz_one_in(4) ? 0x10 : 0), 1);
}

static void command(struct disk_fuzz *g, u16 base)
{
    static const u8 known[] = {0x08, 0x10, 0x20, 0x24, 0x25, 0x27, 0x29, 0x30, 0x34, 0x35,
                               0x39, 0x40, 0x70, 0x90, 0x91, 0xA0, 0xA0, 0xA1, 0xB0, 0xC4,
                               0xC5, 0xC6, 0xC8, 0xCA, 0xE5, 0xE7, 0xEA, 0xEC, 0xEF, 0xF8};
    u8 op = fuzz_one_in(16) ? (u8)fuzz_u64() : known[fuzz_below(sizeof known)];
    registers(g, base);
    bus_port_write(&g->bus, (u16)(base + 7), op, 1);
}

static void packet(struct disk_fuzz *g, u16 base)
{
    static const u8 known[] = {0x00, 0x03, 0x12, 0x1B, 0x1E, 0x25, 0x28, 0x2B, 0x43,
                               0x46, 0x4A, 0x51, 0x52, 0x5A, 0xA8, 0xBB, 0xBD, 0xBE};
    u8 p[12];
    fuzz_fill(p, sizeof p);
    p[0] = known[fuzz_below(sizeof known)];
    if (fuzz_one_in(2)) memset(p + 2, 0, 5);
    if (fuzz_one_in(2)) p[9] = 0xF8;
    for (u32 i = 0; i < 12; i += 2) bus_port_write(&g->bus, base, p[i] | p[i + 1] << 8, 2);
}

static void data(struct disk_fuzz *g, u16 base)
{
    u32 bytes = 1u << fuzz_below(3), n = fuzz_below(600);
    bool out = fuzz_one_in(2);
    for (u32 i = 0; i < n; i++) {
        if (out) bus_port_write(&g->bus, base, fuzz_u64(), bytes);
        else (void)bus_port_read(&g->bus, base, bytes);
    }
}

static void master(struct disk_fuzz *g, u16 base)
{
    u16 bm = base == 0x1F0 ? BM : BM + 8;
    disk_poke(g, PRDT, 32);
    if (fuzz_one_in(2)) {
        u32 last = fuzz_below(0x10000) | 1u << 31;
        (void)mem_write(&g->mem, PRDT + fuzz_below(16) * 8 + 4, &last, 4);
    }
    bus_port_write(&g->bus, (u16)(bm + 4), fuzz_one_in(8) ? fuzz_value() : PRDT, 4);
    bus_port_write(&g->bus, bm, 0, 1);
    bus_port_write(&g->bus, bm, fuzz_one_in(2) ? 9 : 1, 1);
}

static void step(struct disk_fuzz *g, struct dev *d)
{
    u16 base = chan_base();
    switch (fuzz_below(12)) {
    case 0:
    case 1:
    case 2: command(g, base); break;
    case 3:
    case 4: packet(g, base); break;
    case 5: data(g, base); break;
    case 6:
    case 7: master(g, base); break;
    case 8: disk_port(g, d); break;
    case 9:
        bus_port_write(&g->bus, (u16)(base + 0x206), fuzz_one_in(4) ? 4 : fuzz_below(256) & ~4u, 1);
        break;
    case 10:
        if (fuzz_one_in(20)) disk_save_load(g, d);
        if (fuzz_one_in(40)) dev_reset_all(&g->set);
        pci_cfg_write(&g->pci, 9, PCI_COMMAND, fuzz_one_in(8) ? 0 : CMD_IO | CMD_MASTER, 2);
        break;
    default: (void)bus_port_read(&g->bus, (u16)(base + 7), 1);
    }
    if (fuzz_one_in(2)) disk_pump(g);
}

int main(void)
{
    static struct disk_fuzz g;
    struct err e = {0};
    fuzz_start("fuzz_ide");
    while (fuzz_next()) {
        disk_init(&g);
        struct ide_cfg cfg = {.pci = &g.pci, .irq = {&g.pin[0], &g.pin[1]}};
        for (u32 i = 0; i < 4; i++) {
            struct ide_disk *k = &cfg.disk[i / 2][i % 2];
            k->cdrom = i == 2 || fuzz_one_in(4);
            if (!fuzz_one_in(4)) k->block = disk_image(&g, (1 + fuzz_below(4000)) * 512);
        }
        struct dev *d = disk_dev(&g, &ide_class, &cfg);
        disk_try(ide_firmware(d, BM, &e), &e);
        for (u32 i = 0; i < 2000; i++) step(&g, d);
        disk_fini(&g);
    }
    return 0;
}
