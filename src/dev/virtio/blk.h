/* dev/virtio/blk.h - virtio block device over PCI.
 * Spec: virtio 1.2 5.2.  Threads: under the bus lock. */
#ifndef DEV_VIRTIO_BLK_H
#define DEV_VIRTIO_BLK_H
#include "bus/pci.h"
#include "host/block.h"

extern const struct dev_class virtio_blk_class;
enum { VIRTIO_BLK_ID_BYTES = 20 };
struct virtio_blk_cfg {
    struct pci_bus *pci;
    u8 devfn;
    struct block *disk;               /* borrowed */
    char serial[VIRTIO_BLK_ID_BYTES]; /* NUL-padded; what the guest sees as its serial number */
};
#endif
