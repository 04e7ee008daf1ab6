/* fuzz_fdc - the floppy and ISA DMA controllers: commands with and without sense, channels set up
 * right and wrong, resets at any moment, damaged state. */
#include "dev/fdc.h"
#include "fuzz_disk.h"

enum { DOR = 0x3F2, FIFO = 0x3F5 };

static void out(struct disk_fuzz *g, u16 port, u64 val) { bus_port_write(&g->bus, port, val, 1); }

static void channel(struct disk_fuzz *g)
{
    out(g, 0x0A, 6);
    out(g, 0x0C, 0);
    out(g, 0x0B, fuzz_one_in(2) ? 0x46 : fuzz_one_in(2) ? 0x4A : fuzz_below(256));
    for (u32 i = 0; i < 2; i++) out(g, 0x04, fuzz_below(256));
    for (u32 i = 0; i < 2; i++) out(g, 0x05, fuzz_below(i ? 64 : 256));
    out(g, 0x81, fuzz_below(20));
    out(g, 0x0A, fuzz_one_in(8) ? 6 : 2);
}

static void command(struct disk_fuzz *g)
{
    static const u8 known[] = {0x03, 0x04, 0x45, 0xC5, 0x46, 0xE6, 0x07, 0x08, 0x4A, 0x4D,
                               0x0E, 0x0F, 0x10, 0x12, 0x13, 0x94, 0x14, 0x56, 0xCF, 0x8F};
    u8 track = (u8)fuzz_below(4);
    const u8 seek[] = {0x0F, 0, track};
    for (u32 i = 0; i < 3 && fuzz_one_in(2); i++) out(g, FIFO, seek[i]);
    out(g, FIFO, fuzz_one_in(16) ? fuzz_below(256) : known[fuzz_below(sizeof known)]);
    u8 head = (u8)fuzz_below(2);
    const u8 rest[] = {
        (u8)(head << 2 | fuzz_one_in(8)), track, head, (u8)fuzz_below(20), 2, 18, 0x1B, 0xFF};
    for (u32 i = 0; i < 8; i++) out(g, FIFO, fuzz_one_in(12) ? fuzz_below(256) : rest[i]);
}

static void step(struct disk_fuzz *g, struct dev *d, struct dev *dma)
{
    switch (fuzz_below(10)) {
    case 0:
    case 1:
    case 2: command(g); break;
    case 3: channel(g); break;
    case 4:
    case 5:
        for (u32 n = fuzz_below(600); n; n--) (void)bus_port_read(&g->bus, FIFO, 1);
        break;
    case 6: disk_port(g, fuzz_one_in(2) ? d : dma); break;
    case 7:
        for (u32 n = fuzz_below(600); n; n--) out(g, FIFO, fuzz_u64());
        break;
    case 8:
        if (fuzz_one_in(4)) out(g, DOR, fuzz_below(256));
        out(g, DOR, 0x1C);
        if (fuzz_one_in(4)) out(g, 0x3F7, 0);
        break;
    default:
        if (fuzz_one_in(20)) disk_save_load(g, fuzz_one_in(2) ? d : dma);
        if (fuzz_one_in(40)) dev_reset_all(&g->set);
    }
    if (fuzz_one_in(2)) disk_pump(g);
}

int main(void)
{
    static struct disk_fuzz g;
    static const u32 sectors[] = {320, 720, 1440, 2400, 2880, 5760};
    fuzz_start("fuzz_fdc");
    while (fuzz_next()) {
        disk_init(&g);
        struct dev *dma = disk_dev(&g, &isa_dma_class, &(struct isa_dma_cfg){&g.mem});
        struct fdc_cfg cfg = {.irq = &g.pin[0], .dma = dma};
        for (u32 i = 0; i < FDC_DRIVES; i++)
            if (!fuzz_one_in(4))
                cfg.disk[i] = disk_image(&g, sectors[fuzz_below(ARRAY_LEN(sectors))] * 512ull);
        struct dev *d = disk_dev(&g, &fdc_class, &cfg);
        for (u32 i = 0; i < 2000; i++) step(&g, d, dma);
        disk_fini(&g);
    }
    return 0;
}
