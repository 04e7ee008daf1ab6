/* dev/ide.h - PIIX3 IDE: two channels at the legacy ports, up to two drives each, ATA disks and
 * ATAPI CD-ROMs, PIO and bus-master DMA. Function 1 of the ISA bridge's device.
 * Requests to the disks run elsewhere (host/block.h); their ends come back under the bus lock.
 * Spec: PIIX3 data sheet (290550) 2.4, 2.8; Programming Interface for Bus Master IDE 1.0;
 * ATA/ATAPI-6 (T13 1410D r3b); MMC-4 (T10 1545D r5a). */
#ifndef DEV_IDE_H
#define DEV_IDE_H
#include "bus/irq.h"
#include "bus/pci.h"
#include "host/block.h"

extern const struct dev_class ide_class;

enum { IDE_CHANNELS = 2, IDE_UNITS = 2 };
struct ide_disk {
    struct block *block; /* borrowed; NULL: no drive, or a CD-ROM drive without a disc */
    bool cdrom;
};
struct ide_cfg {
    struct pci_bus *pci;
    struct irq_pin *irq[IDE_CHANNELS]; /* ISA 14 and 15 */
    struct ide_disk disk[IDE_CHANNELS][IDE_UNITS];
};
/** ide_firmware - what firmware leaves behind: both channels decoded, the bus master's registers
 * at @base (16 ports). For machines that boot a kernel directly. E_BUSY, E_INVAL. */
int ide_firmware(struct dev *d, u16 base, struct err *e) MUST_USE;
#endif
