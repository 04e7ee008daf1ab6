/* pc_disks.c - drives to controllers; requests that end come back to the devices on the loop's
 * thread, under the bus lock. */
#include "machine/pc_disks.h"

#include <stdio.h>
#include <stdlib.h>

#include "dev/fdc.h"
#include "dev/ide.h"
#include "dev/rtc.h"
#include "dev/virtio/blk.h"
#include "host/block.h"
#include "machine/bootorder.h"
#include "machine/machine.h"

enum { CMOS_FLOPPY = 0x10, CMOS_EQUIPMENT = 0x14, EQUIPMENT = 0x06 };
enum { IRQ_FDC = 6, IRQ_IDE = 14, IDE_BM_BASE = 0xC000 };
enum { WORKERS = 1, VIRTIO_WORKERS = 2 }; /* threads */

struct pc_disk {
    struct block *block;    /* owned; NULL: no disc */
    struct loop_wake *wake; /* the loop's */
    struct bus *bus;
};
struct pc_disks {
    struct drive_set set;
    struct pc_disk disk[DRIVES_MAX]; /* as set.drive */
    struct dev *ide;
};

static void on_wake(void *ctx)
{
    struct pc_disk *d = ctx;
    bus_lock(d->bus);
    block_complete(d->block);
    bus_unlock(d->bus);
}

static void on_notify(void *ctx) { loop_wake_send(((struct pc_disk *)ctx)->wake); }

static int open_disk(struct machine *m, struct pc_disk *d, const struct drive *from, struct err *e)
{
    struct block_spec spec = {.path = from->path,
                              .offset = from->offset,
                              .size = from->size,
                              .readonly = from->readonly,
                              .snapshot = from->snapshot,
                              .log = &m->log};
    d->bus = &m->bus;
    if (!from->path) return 0;
    int rc = block_open(&d->block, &spec, e);
    if (rc < 0) return rc;
    d->wake = loop_wake_add(m->loop, on_wake, d, e);
    if (!d->wake) return e->code;
    block_set_notify(d->block, on_notify, d);
    return 0;
}

static int add_ide(struct machine *m, struct err *e)
{
    struct pc_disks *p = m->disks;
    struct ide_cfg cfg = {.pci = &m->pci};
    for (u32 i = 0; i < IDE_CHANNELS; i++) cfg.irq[i] = &m->gsi[IRQ_IDE + i];
    for (u32 i = 0; i < p->set.count; i++) {
        const struct drive *d = &p->set.drive[i];
        if (d->iface != DRIVE_IDE) continue;
        cfg.disk[d->index / IDE_UNITS][d->index % IDE_UNITS] =
            (struct ide_disk){p->disk[i].block, d->cdrom};
    }
    p->ide = dev_create(&m->devs, &ide_class, "ide", &cfg, e);
    return p->ide ? 0 : e->code;
}

/* The firmware reads in CMOS which floppy drives there are. */
static int add_fdc(struct machine *m, struct err *e)
{
    struct pc_disks *p = m->disks;
    struct dev *rtc = dev_find(&m->devs, "rtc");
    struct fdc_cfg cfg = {.irq = &m->gsi[IRQ_FDC], .dma = dev_find(&m->devs, "isa_dma")};
    u8 type[FDC_DRIVES] = {0};
    for (u32 i = 0; i < p->set.count; i++) {
        const struct drive *d = &p->set.drive[i];
        if (d->iface != DRIVE_FLOPPY) continue;
        cfg.disk[d->index] = p->disk[i].block;
        type[d->index] = fdc_drive_type(block_bytes(p->disk[i].block));
    }
    if (!dev_create(&m->devs, &fdc_class, "fdc", &cfg, e)) return e->code;
    rtc_cmos_set(rtc, CMOS_FLOPPY, (u8)(type[0] << 4 | type[1]));
    if (type[0] || type[1])
        rtc_cmos_set(rtc, CMOS_EQUIPMENT, EQUIPMENT | 1 | (type[0] && type[1] ? 1 << 6 : 0));
    return 0;
}

static int add_virtio(struct machine *m, struct err *e)
{
    struct pc_disks *p = m->disks;
    for (u32 i = 0; i < p->set.count; i++) {
        const struct drive *d = &p->set.drive[i];
        struct virtio_blk_cfg cfg = {.pci = &m->pci, .disk = p->disk[i].block};
        char name[DEV_NAME_BYTES];
        if (d->iface != DRIVE_VIRTIO) continue;
        cfg.devfn = (u8)((BOOT_VIRTIO_SLOT + d->index) << 3);
        snprintf(cfg.serial, sizeof cfg.serial, "R3V%08d", d->index);
        snprintf(name, sizeof name, "virtio_blk%d", d->index);
        if (!dev_create(&m->devs, &virtio_blk_class, name, &cfg, e)) return e->code;
    }
    return 0;
}

int pc_disks_create(struct machine *m, struct err *e)
{
    struct pc_disks *p = m->disks = calloc(1, sizeof *p);
    struct boot_order order; /* checked here even when no firmware will look at it */
    if (!p) return err_set(e, E_NOMEM, "disks");
    int rc = boot_order_parse(&order, m->cfg.boot, e);
    if (rc == 0) rc = drive_set_init(&p->set, &m->cfg, e);
    for (u32 i = 0; i < p->set.count && rc == 0; i++)
        rc = open_disk(m, &p->disk[i], &p->set.drive[i], e);
    if (rc == 0) rc = add_ide(m, e);
    if (rc == 0) rc = add_fdc(m, e);
    if (rc == 0) rc = add_virtio(m, e);
    return rc;
}

const struct drive_set *pc_disks_set(const struct machine *m) { return &m->disks->set; }

bool pc_disks_has_floppy(const struct machine *m)
{
    const struct drive_set *s = &m->disks->set;
    for (u32 i = 0; i < s->count; i++)
        if (s->drive[i].iface == DRIVE_FLOPPY) return true;
    return false;
}

void pc_disks_destroy(struct machine *m)
{
    struct pc_disks *p = m->disks;
    if (!p) return;
    for (u32 i = 0; i < DRIVES_MAX; i++) block_close(p->disk[i].block);
    drive_set_fini(&p->set);
    free(p);
    m->disks = NULL;
}

int pc_disks_firmware(struct machine *m, struct err *e)
{
    return ide_firmware(m->disks->ide, IDE_BM_BASE, e);
}

int pc_disks_start(struct machine *m, struct err *e)
{
    struct pc_disks *p = m->disks;
    int rc = 0;
    for (u32 i = 0; i < p->set.count && rc == 0; i++) {
        u32 workers = p->set.drive[i].iface == DRIVE_VIRTIO ? VIRTIO_WORKERS : WORKERS;
        if (p->disk[i].block) rc = block_start(p->disk[i].block, workers, e);
    }
    return rc;
}

void pc_disks_stop(struct machine *m)
{
    struct pc_disks *p = m->disks;
    for (u32 i = 0; i < p->set.count; i++)
        if (p->disk[i].block) block_stop(p->disk[i].block);
}

void pc_disks_pump(struct machine *m)
{
    struct pc_disks *p = m->disks;
    bus_lock(&m->bus);
    for (u32 i = 0; i < p->set.count; i++)
        if (p->disk[i].block) block_drain(p->disk[i].block);
    bus_unlock(&m->bus);
}
