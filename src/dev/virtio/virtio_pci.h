/* dev/virtio/virtio_pci.h - the PCI transport of virtio 1.x devices (modern only), with MSI-X or
 * INTx. A device embeds struct virtio beside its struct dev and takes VIRTIO_REGIONS as its region
 * table.
 *   BAR 1  MSI-X                     BAR 4  0x0000 common, 0x1000 ISR, 0x2000 device, 0x3000 notify
 * Threads: under the bus lock.  Spec: virtio 1.2 2.1-2.4, 4.1. */
#ifndef DEV_VIRTIO_PCI_H
#define DEV_VIRTIO_PCI_H
#include "bus/msix.h"
#include "dev/virtio/virtq.h"

enum { VIRTIO_QUEUES_MAX = 4 };
enum { /* device status */
       VIRTIO_DRIVER_OK = 1 << 2,
       VIRTIO_FEATURES_OK = 1 << 3,
       VIRTIO_NEEDS_RESET = 1 << 6,
};
#define VIRTIO_F_INDIRECT BIT(28)
#define VIRTIO_F_VERSION_1 BIT(32)

struct virtio;
struct virtio_ops {
    void (*notify)(struct virtio *v, u32 queue); /* there may be chains to take         */
    /* Forget everything under way; true: done. False: virtio_reset_done() will be called. */
    bool (*reset)(struct virtio *v);
    void (*config)(struct virtio *v, u8 *out); /* fill config_bytes of device configuration */
};
struct virtio_cfg {
    struct pci_bus *pci;
    u8 devfn;
    u16 id; /* device type: 2 block */
    u32 class_code, queues, config_bytes;
    u64 features; /* of the device type */
};
struct virtio {
    struct pci_fn pci;
    struct msix msix;
    const struct virtio_ops *ops;
    u64 offered;
    u32 queues, config_bytes;
    u8 window;    /* where the capability of the same name is */
    u64 accepted; /* by the driver */
    u32 offer_sel, accept_sel;
    u16 config_vector, queue_sel;
    u8 status, isr;
    bool resetting;
    struct virtq q[VIRTIO_QUEUES_MAX];
};
/* clang-format off */
#define VIRTIO_SER(type, v)                                                                        \
    PCI_SER(type, v.pci), MSIX_SER(type, v.msix), SER(type, v.accepted, 1),                        \
        SER(type, v.offer_sel, 1), SER(type, v.accept_sel, 1), SER(type, v.config_vector, 1),      \
        SER(type, v.queue_sel, 1), SER(type, v.status, 1), SER(type, v.isr, 1),                    \
        VIRTQ_SER(type, v.q[0]), VIRTQ_SER(type, v.q[1]), VIRTQ_SER(type, v.q[2]),                 \
        VIRTQ_SER(type, v.q[3])
#define VIRTIO_REGION(read, write) {"virtio", BUS_MMIO, false, 0, 0x4000, 1, 4, read, write}
#define VIRTIO_MSIX_REGION(read, write)                                                            \
    {"virtio-msix", BUS_MMIO, false, 0, MSIX_BAR_BYTES, 4, 4, read, write}
/* clang-format on */

/** virtio_init - put @v, whose device @d has the two regions above first, on the bus. E_BUSY. */
int virtio_init(struct virtio *v, struct dev *d, const struct virtio_cfg *c,
                const struct virtio_ops *ops, struct err *e) MUST_USE;
void virtio_fini(struct virtio *v);
void virtio_reset(struct virtio *v); /* power-on; the device is idle */
void virtio_reset_done(struct virtio *v);
void virtio_post_load(struct virtio *v);
int virtio_validate(const struct virtio *v, struct err *e);

/* For the device's region callbacks. */
u64 virtio_read(struct virtio *v, u64 off, u32 bytes);
void virtio_write(struct virtio *v, u64 off, u64 val, u32 bytes);

/** virtio_pop - as virtq_pop; a broken queue tells the driver that the device needs a reset. */
int virtio_pop(struct virtio *v, u32 queue, struct virtq_req *r);
/** virtio_push - as virtq_push, and the interrupt. */
void virtio_push(struct virtio *v, u32 queue, u16 head, u32 bytes);
/** virtio_break - the driver sent something no device can make sense of. */
void virtio_break(struct virtio *v, u32 queue);
#endif
