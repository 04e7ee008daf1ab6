/* bootorder - see bootorder.h. */
#include "machine/bootorder.h"

#include <stdio.h>
#include <string.h>

enum { CMOS_DEVICES = 3, CMOS_THIRD = 12 };

static char letter_of(const struct drive *d)
{
    if (d->iface == DRIVE_FLOPPY) return 'a';
    return d->cdrom ? 'd' : 'c';
}

static int path_of(const struct drive *d, char *out)
{
    const size_t room = BOOTORDER_LINE_BYTES;
    switch (d->iface) {
    case DRIVE_FLOPPY:
        return snprintf(out, room, "/pci@i0cf8/isa@%x/fdc@%04x/floppy@%x\n", BOOT_ISA_SLOT,
                        BOOT_FDC_PORT, d->index);
    case DRIVE_VIRTIO:
        return snprintf(out, room, "/pci@i0cf8/scsi@%x/disk@0,0\n", BOOT_VIRTIO_SLOT + d->index);
    default:
        return snprintf(out, room, "/pci@i0cf8/ide@%x,%x/drive@%x/disk@%x\n", BOOT_IDE_SLOT,
                        BOOT_IDE_FN, d->index / 2, d->index % 2);
    }
}

u32 bootorder_text(const struct drive_set *s, const char *order, const char *first, char *out)
{
    u32 n = 0;
    if (first) n += (u32)snprintf(out, BOOTORDER_LINE_BYTES, "%s\n", first);
    for (; *order; order++) {
        for (u32 i = 0; i < s->count; i++)
            if (letter_of(&s->drive[i]) == *order) n += (u32)path_of(&s->drive[i], out + n);
    }
    out[n] = 0;
    return n ? n + 1 : 0;
}

u16 bootorder_cmos(const char *order)
{
    static const char letters[] = "acdn";
    u32 devices = 0;
    for (u32 i = 0; i < CMOS_DEVICES && order[i]; i++)
        devices |= (u32)(strchr(letters, order[i]) - letters + 1) << 4 * i;
    return (u16)((devices & 0xFF) | (devices >> 8 & 0xF) << CMOS_THIRD);
}
