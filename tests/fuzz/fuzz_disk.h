/* fuzz_disk.h - what fuzzers of disk controllers start from: a bus, memory, a PCI bus, images on
 * the host, and one device that gets every kind of access. Requests run when disk_pump() says so.
 */
#ifndef TESTS_FUZZ_DISK_H
#define TESTS_FUZZ_DISK_H
#include "base/clk.h"
#include "bus/pci.h"
#include "fuzz.h"
#include "host/block.h"

enum { DISK_MEM = 1 << 20, DISK_IMAGES = 4 };
struct disk_fuzz {
    struct bus bus;
    struct clk clk;
    struct dev_set set;
    struct mem mem;
    struct pci_bus pci;
    struct irq_pin pin[2];
    struct block *disk[DISK_IMAGES];
    char path[DISK_IMAGES][48];
    u32 disks;
};

static inline void disk_try(int rc, const struct err *e)
{
    if (rc >= 0) return;
    fprintf(stderr, "%s: %s\n", fuzz.name, e->text);
    _exit(2);
}
static inline void disk_msi(void *ctx, const struct intr_msg *msg) { (void)ctx, (void)msg; }

static inline void disk_init(struct disk_fuzz *g)
{
    struct err e = {0};
    memset(g, 0, sizeof *g);
    disk_try(bus_init(&g->bus, &e), &e);
    clk_init(&g->clk, true);
    clk_start(&g->clk);
    dev_set_init(&g->set, &g->bus, NULL, NULL);
    disk_try(mem_init(&g->mem, &e), &e);
    disk_try(mem_add(&g->mem, 0, DISK_MEM, false, &e), &e);
    pci_bus_init(&g->pci, &g->bus, &g->mem, (struct intr_sink){disk_msi, g});
}
static inline void disk_fini(struct disk_fuzz *g)
{
    dev_set_fini(&g->set);
    for (u32 i = 0; i < g->disks; i++) {
        block_close(g->disk[i]);
        unlink(g->path[i]);
    }
    mem_fini(&g->mem);
    bus_fini(&g->bus);
    clk_fini(&g->clk);
}
static inline struct block *disk_image(struct disk_fuzz *g, u64 bytes)
{
    struct err e = {0};
    char *path = g->path[g->disks];
    snprintf(path, sizeof g->path[0], "/tmp/ring3-fuzz-XXXXXX");
    int fd = mkstemp(path);
    FUZZ_CHECK(fd >= 0 && ftruncate(fd, (off_t)bytes) == 0);
    close(fd);
    struct block_spec spec = {.path = path, .readonly = fuzz_one_in(4), .snapshot = fuzz_one_in(4)};
    disk_try(block_open(&g->disk[g->disks], &spec, &e), &e);
    return g->disk[g->disks++];
}
/* What is asked for happens; now and then the host's file has become shorter before. */
static inline void disk_pump(struct disk_fuzz *g)
{
    for (u32 i = 0; i < g->disks; i++) {
        if (fuzz_one_in(400)) FUZZ_CHECK(truncate(g->path[i], fuzz_below(64) * 512) == 0);
        block_drain(g->disk[i]);
    }
}
static inline struct dev *disk_dev(struct disk_fuzz *g, const struct dev_class *cls,
                                   const void *cfg)
{
    struct err e = {0};
    struct dev *d = dev_create(&g->set, cls, cls->name, cfg, &e);
    disk_try(d ? 0 : -1, &e);
    return d;
}
/* Saves, loads the same or something damaged. */
static inline void disk_save_load(struct disk_fuzz *g, struct dev *d)
{
    struct ser_buf a, b;
    struct err e = {0};
    ser_buf_init(&a);
    ser_buf_init(&b);
    disk_try(dev_save(d, &a, &e), &e);
    if (fuzz_one_in(2)) {
        fuzz_damage(a.data, a.bytes, 1 + fuzz_below(8));
        struct ser_view bad = {a.data, a.bytes, 0};
        (void)!dev_load(d, &bad, &e);
    } else {
        struct ser_view good = {a.data, a.bytes, 0};
        disk_try(dev_load(d, &good, &e), &e);
        disk_try(dev_save(d, &b, &e), &e);
        FUZZ_CHECK(a.bytes == b.bytes && !memcmp(a.data, b.data, a.bytes));
    }
    ser_buf_fini(&a);
    ser_buf_fini(&b);
    (void)g;
}
/* Any port of the device, any size. */
static inline void disk_port(struct disk_fuzz *g, const struct dev *d)
{
    const struct bus_region *r = &d->region[fuzz_below(d->regions)];
    u32 bytes = 1u << fuzz_below(3);
    u64 at = r->base + fuzz_below(r->row->bytes);
    if (!r->mapped) return;
    if (r->row->space == BUS_MMIO && fuzz_one_in(2))
        bus_mmio_write(&g->bus, at, fuzz_value(), bytes);
    else if (r->row->space == BUS_MMIO) (void)bus_mmio_read(&g->bus, at, bytes);
    else if (fuzz_one_in(2)) bus_port_write(&g->bus, (u16)at, fuzz_value(), bytes);
    else (void)bus_port_read(&g->bus, (u16)at, bytes);
}
/* Guest memory gets words a table could hold: addresses inside, outside, at the ends. */
static inline void disk_poke(struct disk_fuzz *g, gpa_t at, u32 words)
{
    for (u32 i = 0; i < words; i++) {
        u32 v = fuzz_one_in(2) ? fuzz_below(DISK_MEM) : (u32)fuzz_value();
        (void)mem_write(&g->mem, at + i * 4, &v, 4);
    }
}
#endif
