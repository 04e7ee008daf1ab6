/* dev/virtio/virtq.h - a split virtqueue, from the device's side. All of it lies in guest memory
 * and is the guest's to change at any moment: everything is read once, checked and bounded; a chain
 * that makes no sense breaks the queue until the driver resets the device.
 * Threads: under the bus lock.  Spec: virtio 1.2 2.7. */
#ifndef DEV_VIRTIO_VIRTQ_H
#define DEV_VIRTIO_VIRTQ_H
#include "bus/pci.h"

enum { VIRTQ_SIZE = 128, VIRTQ_SEGS_MAX = 130 };

struct virtq {
    u16 size;    /* as the driver chose it: a power of two up to VIRTQ_SIZE */
    u16 vector;  /* MSI-X, or MSIX_NONE */
    u16 avail_i; /* next entry of the available ring to take */
    u16 used_i;  /* next entry of the used ring to write     */
    bool enabled, broken;
    u64 desc, avail, used; /* guest-physical */
};
#define VIRTQ_SER(type, q)                                                                         \
    SER(type, q.size, 1), SER(type, q.vector, 1), SER(type, q.avail_i, 1), SER(type, q.used_i, 1), \
        SER(type, q.enabled, 1), SER(type, q.broken, 1), SER(type, q.desc, 1),                     \
        SER(type, q.avail, 1), SER(type, q.used, 1)

struct virtq_seg {
    gpa_t gpa;
    u32 bytes;
};
/* One chain: what the device reads first, then what it writes. */
struct virtq_req {
    u16 head;
    u32 segs, outs; /* all segments; those the device reads   */
    u64 out_bytes, in_bytes;
    struct virtq_seg seg[VIRTQ_SEGS_MAX];
};

void virtq_reset(struct virtq *q);
/**
 * virtq_pop - take the next chain the driver has made available.
 * Returns 1 and fills @r; 0 when there is none; E_GUEST for a chain that loops, is too long, mixes
 * directions or lies outside memory: the queue is broken then.
 */
int virtq_pop(struct virtq *q, const struct pci_fn *f, struct virtq_req *r);
/** virtq_push - give chain @head back, @bytes of it written. Returns whether the driver wants an
 * interrupt. */
bool virtq_push(struct virtq *q, const struct pci_fn *f, u16 head, u32 bytes);
/* Copy [off, off + bytes) of what the device reads into @buf; or of @buf into what it writes. The
 * range must lie within out_bytes or in_bytes. 0, or E_GUEST when some of it is not memory. */
int virtq_copy_out(const struct virtq_req *r, const struct pci_fn *f, u64 off, void *buf,
                   u64 bytes);
int virtq_copy_in(const struct virtq_req *r, const struct pci_fn *f, u64 off, const void *buf,
                  u64 bytes);
/** virtq_is_valid - could the code have produced this state? */
bool virtq_is_valid(const struct virtq *q);
#endif
