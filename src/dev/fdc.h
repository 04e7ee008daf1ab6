/* dev/fdc.h - 82077AA floppy disk controller in AT mode, with up to two drives. Data moves through
 * channel 2 of the ISA bus's DMA controller, or through the FIFO.
 * Spec: Intel 290166 (82077AA).  Threads: under the bus lock. */
#ifndef DEV_FDC_H
#define DEV_FDC_H
#include "bus/irq.h"
#include "dev/isa_dma.h"
#include "host/block.h"

extern const struct dev_class fdc_class;
enum { FDC_DRIVES = 2 };
struct fdc_cfg {
    struct irq_pin *irq;            /* ISA 6 */
    struct dev *dma;                /* of class isa_dma; borrowed */
    struct block *disk[FDC_DRIVES]; /* borrowed; NULL: there is no drive */
};
/** fdc_drive_type - the drive an image of @bytes needs, as the PC's CMOS counts them: 1 360K,
 * 2 1.2M, 3 720K, 4 1.44M, 5 2.88M; 0: no floppy has that size. */
u8 fdc_drive_type(u64 bytes);
#endif
