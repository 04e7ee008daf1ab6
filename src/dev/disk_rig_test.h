/* dev/disk_rig_test.h - what tests of disk controllers start from: the device rig, a PCI bus with
 * 1 MiB of memory, and images whose every sector tells its number. Requests are executed when the
 * test says so: disk_pump(). */
#ifndef DEV_DISK_RIG_TEST_H
#define DEV_DISK_RIG_TEST_H
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bus/pci.h"
#include "dev/test_storm.h"
#include "host/block.h"

enum { DISKS_MAX = 4, DISK_MEM = 1 << 20 };
struct disk_rig {
    struct rig r;
    struct mem mem;
    struct pci_bus pci;
    struct irq_pin pin[2];
    u32 rises[2];
    u32 msis; /* messages sent */
    u32 last_msi;
    struct block *disk[DISKS_MAX];
    char path[DISKS_MAX][48];
    u32 disks;
};

/* What byte @i of sector @n holds at first. */
static inline u8 disk_byte(u64 n, u32 i) { return (u8)(n * 7 + i + (n >> 8) + (i >> 8) * 3); }

static inline void disk_pin_set(void *ctx, u32 input, bool level)
{
    struct disk_rig *g = ctx;
    if (level) g->rises[input]++;
}
static inline void disk_msi(void *ctx, const struct intr_msg *msg)
{
    struct disk_rig *g = ctx;
    g->msis++;
    g->last_msi = msg->vector;
}

static inline void disk_rig_init(struct disk_rig *g)
{
    struct err e = {0};
    memset(g, 0, sizeof *g);
    rig_init(&g->r);
    assert_int_equal(mem_init(&g->mem, &e), 0);
    assert_int_equal(mem_add(&g->mem, 0, DISK_MEM, false, &e), 0);
    pci_bus_init(&g->pci, &g->r.bus, &g->mem, (struct intr_sink){disk_msi, g});
    for (u32 i = 0; i < 2; i++) irq_pin_route(&g->pin[i], disk_pin_set, g, i);
}
/* Destroys the devices first: they may have requests under way. */
static inline void disk_rig_fini(struct disk_rig *g)
{
    rig_fini(&g->r);
    for (u32 i = 0; i < g->disks; i++) {
        block_close(g->disk[i]);
        unlink(g->path[i]);
    }
    mem_fini(&g->mem);
}

/* A new image of @sectors, each of 512 bytes. */
static inline struct block *disk_make(struct disk_rig *g, u64 sectors, bool readonly)
{
    struct err e = {0};
    char *path = g->path[g->disks];
    snprintf(path, sizeof g->path[0], "/tmp/ring3-disk-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    for (u64 n = 0; n < sectors; n++)
        for (u32 i = 0; i < SECTOR_BYTES; i++) putc(disk_byte(n, i), f);
    fclose(f);
    struct block_spec spec = {.path = path, .readonly = readonly};
    if (block_open(&g->disk[g->disks], &spec, &e) < 0) fail_msg("%s", e.text);
    return g->disk[g->disks++];
}

/* Let the host do what was asked for, and the devices see it. */
static inline void disk_pump(struct disk_rig *g)
{
    for (u32 i = 0; i < g->disks; i++) block_drain(g->disk[i]);
}

/* Does sector @n of the image on the host hold byte @i as disk_byte() has it for sector @as? */
static inline void disk_expect(struct disk_rig *g, u32 disk, u64 n, u64 as)
{
    u8 buf[SECTOR_BYTES];
    FILE *f = fopen(g->path[disk], "r");
    assert_non_null(f);
    assert_int_equal(fseek(f, (long)(n * SECTOR_BYTES), SEEK_SET), 0);
    assert_int_equal(fread(buf, 1, sizeof buf, f), sizeof buf);
    fclose(f);
    for (u32 i = 0; i < SECTOR_BYTES; i++)
        if (buf[i] != disk_byte(as, i)) fail_msg("sector %u byte %u: %02x", (u32)n, i, buf[i]);
}

static inline u16 disk_in16(struct disk_rig *g, u16 port)
{
    return (u16)bus_port_read(&g->r.bus, port, 2);
}
static inline void disk_out16(struct disk_rig *g, u16 port, u16 v)
{
    bus_port_write(&g->r.bus, port, v, 2);
}
static inline void disk_out32(struct disk_rig *g, u16 port, u32 v)
{
    bus_port_write(&g->r.bus, port, v, 4);
}
static inline void disk_poke32(struct disk_rig *g, gpa_t gpa, u32 v)
{
    assert_int_equal(mem_write(&g->mem, gpa, &v, 4), 0);
}
#endif
