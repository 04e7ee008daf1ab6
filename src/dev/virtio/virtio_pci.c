/* dev/virtio/virtio_pci.c - virtio over PCI. A reset the driver asks for may have to wait for
 * requests under way; the status register stays what it was until then, for which drivers wait.
 * Spec: virtio 1.2 4.1. */
#include "dev/virtio/virtio_pci.h"

#include <string.h>

enum { CAP_VENDOR = 0x09, CAP_BYTES = 16 };
enum { CFG_COMMON = 1, CFG_NOTIFY, CFG_ISR, CFG_DEVICE, CFG_WINDOW };
enum { CAP_BAR = 4, CAP_OFFSET = 8, CAP_LENGTH = 12, CAP_DATA = 16 };
enum { AT_COMMON = 0, AT_ISR = 0x1000, AT_DEVICE = 0x2000, AT_NOTIFY = 0x3000, PART = 0x1000 };
enum { REGION_VIRTIO, REGION_MSIX, BAR_MSIX = 1, BAR_VIRTIO = 4, NOTIFY_STEP = 4 };
enum { ISR_QUEUE = 1, ISR_CONFIG = 2, CONFIG_MAX = 64 };

enum { /* common configuration */
       C_OFFER_SEL = 0x00,
       C_OFFER = 0x04,
       C_ACCEPT_SEL = 0x08,
       C_ACCEPT = 0x0C,
       C_CONFIG_VECTOR = 0x10,
       C_QUEUES = 0x12,
       C_STATUS = 0x14,
       C_QUEUE_SEL = 0x16,
       C_QUEUE_SIZE = 0x18,
       C_QUEUE_VECTOR = 0x1A,
       C_QUEUE_ENABLE = 0x1C,
       C_QUEUE_NOTIFY = 0x1E,
       C_QUEUE_DESC = 0x20,
       C_QUEUE_AVAIL = 0x28,
       C_QUEUE_USED = 0x30,
       C_BYTES = 0x38,
};

/* ---- set-up ---------------------------------------------------------------------------------- */

static void put32(u8 *p, u32 v) { memcpy(p, &v, sizeof v); }

static void add_cap(struct virtio *v, u8 type, u32 at, u32 bytes)
{
    u32 len = type == CFG_NOTIFY || type == CFG_WINDOW ? CAP_BYTES + 4 : CAP_BYTES;
    u8 off = pci_fn_add_cap(&v->pci, CAP_VENDOR, len), *c = &v->pci.cfg[off];
    c[2] = (u8)len;
    c[3] = type;
    c[4] = BAR_VIRTIO;
    put32(c + 8, at);
    put32(c + 12, bytes);
    if (type == CFG_NOTIFY) put32(c + 16, NOTIFY_STEP);
    if (type != CFG_WINDOW) return;
    v->window = off;
    memset(v->pci.wmask + off + CAP_BAR, 0xFF, 1);
    memset(v->pci.wmask + off + CAP_OFFSET, 0xFF, CAP_BYTES + 4 - CAP_OFFSET);
}

/* The window in configuration space through which firmware reaches the BAR before it is mapped:
 * does the access of [off, off + bytes) touch its data, and what is aimed at? */
static bool window_hit(const struct virtio *v, u32 off, u32 bytes, u32 *at, u32 *len)
{
    const u32 w = v->window;
    *at = pci_get(&v->pci, w + CAP_OFFSET, 4);
    *len = pci_get(&v->pci, w + CAP_LENGTH, 4);
    if (off >= w + CAP_DATA + 4 || off + bytes <= w + CAP_DATA) return false;
    if (v->pci.cfg[w + CAP_BAR] != BAR_VIRTIO || *at >= AT_NOTIFY + PART) return false;
    return (*len == 1 || *len == 2 || *len == 4) && *at % *len == 0;
}

static void on_cfg_read(struct pci_fn *f, u32 off, u32 bytes)
{
    struct virtio *v = container_of(f, struct virtio, pci);
    u32 at, len;
    if (window_hit(v, off, bytes, &at, &len))
        put32(&f->cfg[v->window + CAP_DATA], (u32)virtio_read(v, at, len));
}

static void on_cfg_write(struct pci_fn *f, u32 off, u32 bytes)
{
    struct virtio *v = container_of(f, struct virtio, pci);
    u32 at, len;
    if (window_hit(v, off, bytes, &at, &len))
        virtio_write(v, at, pci_get(f, v->window + CAP_DATA, len), len);
    msix_check(&v->msix);
}

int virtio_init(struct virtio *v, struct dev *d, const struct virtio_cfg *c,
                const struct virtio_ops *ops, struct err *e)
{
    const struct pci_fn_cfg ids = {.vendor = 0x1AF4,
                                   .device = (u16)(0x1040 + c->id),
                                   .subsys_vendor = 0x1AF4,
                                   .subsys = 0x1100,
                                   .class_code = c->class_code,
                                   .revision = 1,
                                   .int_pin = 1};
    int rc = pci_fn_init(&v->pci, d, c->pci, c->devfn, e);
    if (rc < 0) return rc;
    pci_fn_set_ids(&v->pci, &ids);
    pci_fn_add_bar(&v->pci, BAR_MSIX, REGION_MSIX, 0);
    pci_fn_add_bar(&v->pci, BAR_VIRTIO, REGION_VIRTIO, BAR_64 | BAR_PREFETCH);
    v->pci.cfg_write = on_cfg_write;
    v->pci.cfg_read = on_cfg_read;
    v->ops = ops;
    v->queues = c->queues;
    v->config_bytes = c->config_bytes;
    v->offered = c->features | VIRTIO_F_INDIRECT | VIRTIO_F_VERSION_1;
    msix_init(&v->msix, &v->pci, c->queues + 1, BAR_MSIX);
    add_cap(v, CFG_COMMON, AT_COMMON, C_BYTES);
    add_cap(v, CFG_NOTIFY, AT_NOTIFY, c->queues * NOTIFY_STEP);
    add_cap(v, CFG_ISR, AT_ISR, 1);
    add_cap(v, CFG_DEVICE, AT_DEVICE, c->config_bytes);
    add_cap(v, CFG_WINDOW, 0, 0);
    return 0;
}

void virtio_fini(struct virtio *v) { pci_fn_fini(&v->pci); }

/* ---- reset, load ----------------------------------------------------------------------------- */

static void clear(struct virtio *v)
{
    v->accepted = 0;
    v->offer_sel = v->accept_sel = 0;
    v->config_vector = MSIX_NONE;
    v->queue_sel = 0;
    v->status = v->isr = 0;
    v->resetting = false;
    for (u32 i = 0; i < VIRTIO_QUEUES_MAX; i++) virtq_reset(&v->q[i]);
    pci_intx(&v->pci, false);
}

void virtio_reset(struct virtio *v)
{
    clear(v);
    msix_reset(&v->msix);
    pci_fn_reset(&v->pci);
}

void virtio_reset_done(struct virtio *v)
{
    if (v->resetting) clear(v);
}

void virtio_post_load(struct virtio *v)
{
    v->resetting = false;
    pci_fn_post_load(&v->pci);
}

int virtio_validate(const struct virtio *v, struct err *e)
{
    for (u32 i = 0; i < VIRTIO_QUEUES_MAX; i++)
        if (!virtq_is_valid(&v->q[i])) return err_set(e, E_FORMAT, "queue %u: impossible size", i);
    if (v->accepted & ~v->offered) return err_set(e, E_FORMAT, "features that are not offered");
    return 0;
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static void interrupt(struct virtio *v, u16 vector, u8 isr)
{
    if (msix_is_on(&v->msix)) {
        msix_fire(&v->msix, vector);
        return;
    }
    v->isr |= isr;
    pci_intx(&v->pci, true);
}

void virtio_break(struct virtio *v, u32 queue)
{
    v->q[queue].broken = true;
    if (v->status & VIRTIO_NEEDS_RESET) return;
    v->status |= VIRTIO_NEEDS_RESET;
    if (v->status & VIRTIO_DRIVER_OK) interrupt(v, v->config_vector, ISR_CONFIG);
}

int virtio_pop(struct virtio *v, u32 queue, struct virtq_req *r)
{
    if (!(v->status & VIRTIO_DRIVER_OK) || v->resetting) return 0;
    int rc = virtq_pop(&v->q[queue], &v->pci, r);
    if (rc < 0) virtio_break(v, queue);
    return rc;
}

void virtio_push(struct virtio *v, u32 queue, u16 head, u32 bytes)
{
    if (virtq_push(&v->q[queue], &v->pci, head, bytes)) interrupt(v, v->q[queue].vector, ISR_QUEUE);
}

/* ---- common configuration -------------------------------------------------------------------- */

static struct virtq *selected(struct virtio *v)
{
    return v->queue_sel < v->queues ? &v->q[v->queue_sel] : NULL;
}

static void put(u8 *image, u32 at, u64 val, u32 bytes) { memcpy(image + at, &val, bytes); }

/* The registers as they read now. */
static void common_image(struct virtio *v, u8 *image)
{
    const struct virtq *q = selected(v);
    memset(image, 0, C_BYTES);
    put(image, C_OFFER_SEL, v->offer_sel, 4);
    if (v->offer_sel < 2) put(image, C_OFFER, v->offered >> 32 * v->offer_sel, 4);
    put(image, C_ACCEPT_SEL, v->accept_sel, 4);
    if (v->accept_sel < 2) put(image, C_ACCEPT, v->accepted >> 32 * v->accept_sel, 4);
    put(image, C_CONFIG_VECTOR, v->config_vector, 2);
    put(image, C_QUEUES, v->queues, 2);
    put(image, C_STATUS, v->status, 1);
    put(image, C_QUEUE_SEL, v->queue_sel, 2);
    if (!q) return; /* size 0: there is no such queue */
    put(image, C_QUEUE_SIZE, q->size, 2);
    put(image, C_QUEUE_VECTOR, q->vector, 2);
    put(image, C_QUEUE_ENABLE, q->enabled, 2);
    put(image, C_QUEUE_NOTIFY, v->queue_sel, 2);
    put(image, C_QUEUE_DESC, q->desc, 8);
    put(image, C_QUEUE_AVAIL, q->avail, 8);
    put(image, C_QUEUE_USED, q->used, 8);
}

static u16 vector_of(const struct virtio *v, u64 val)
{
    return val < v->msix.vectors ? (u16)val : MSIX_NONE;
}

static void write_status(struct virtio *v, u8 val)
{
    if (v->resetting) return;
    if (!val) {
        v->resetting = true;
        if (v->ops->reset(v)) virtio_reset_done(v);
        return;
    }
    /* what we cannot work with stays not OK */
    if (!(v->accepted & VIRTIO_F_VERSION_1)) val &= (u8)~VIRTIO_FEATURES_OK;
    v->status = (u8)((v->status & VIRTIO_NEEDS_RESET) | val);
    if (v->status & VIRTIO_DRIVER_OK)
        for (u32 i = 0; i < v->queues; i++) v->ops->notify(v, i);
}

static void set_half(u64 *reg, u32 half, u32 val)
{
    *reg = (*reg & ~(0xFFFFFFFFull << 32 * half)) | (u64)val << 32 * half;
}

static void write_queue(struct virtio *v, u32 off, u32 val, u32 bytes)
{
    struct virtq *q = selected(v);
    if (!q) return;
    if (off == C_QUEUE_VECTOR && bytes == 2) q->vector = vector_of(v, val);
    if (q->enabled) return;
    if (off == C_QUEUE_SIZE && bytes == 2 && val && val <= VIRTQ_SIZE && !(val & (val - 1)))
        q->size = (u16)val;
    if (off == C_QUEUE_ENABLE && bytes == 2 && val == 1) q->enabled = true;
    if (off < C_QUEUE_DESC || bytes != 4) return;
    u64 *reg[] = {&q->desc, &q->avail, &q->used};
    set_half(reg[(off - C_QUEUE_DESC) / 8], off / 4 & 1, val);
}

static void write_common(struct virtio *v, u32 off, u32 val, u32 bytes)
{
    switch (off) {
    case C_OFFER_SEL:
        if (bytes == 4) v->offer_sel = val;
        break;
    case C_ACCEPT_SEL:
        if (bytes == 4) v->accept_sel = val;
        break;
    case C_ACCEPT:
        if (bytes != 4 || v->accept_sel > 1 || v->status & VIRTIO_FEATURES_OK) break;
        set_half(&v->accepted, v->accept_sel, val);
        v->accepted &= v->offered;
        break;
    case C_CONFIG_VECTOR:
        if (bytes == 2) v->config_vector = vector_of(v, val);
        break;
    case C_STATUS:
        if (bytes == 1) write_status(v, (u8)val);
        break;
    case C_QUEUE_SEL:
        if (bytes == 2) v->queue_sel = (u16)val;
        break;
    default:
        if (off >= C_QUEUE_SIZE && off < C_BYTES) write_queue(v, off, val, bytes);
    }
}

/* ---- BAR ------------------------------------------------------------------------------------- */

static u64 read_image(const u8 *image, u32 size, u32 off, u32 bytes)
{
    u64 val = 0;
    if (off + bytes <= size) memcpy(&val, image + off, bytes);
    return val;
}

u64 virtio_read(struct virtio *v, u64 off, u32 bytes)
{
    u8 image[CONFIG_MAX];
    u32 at = (u32)off % PART;
    switch (off - at) {
    case AT_COMMON: common_image(v, image); return read_image(image, C_BYTES, at, bytes);
    case AT_DEVICE: v->ops->config(v, image); return read_image(image, v->config_bytes, at, bytes);
    case AT_ISR: break;
    default: return 0;
    }
    u8 isr = v->isr;
    if (at) return 0;
    v->isr = 0;
    pci_intx(&v->pci, false);
    return isr;
}

void virtio_write(struct virtio *v, u64 off, u64 val, u32 bytes)
{
    u32 at = (u32)off % PART;
    if (off < PART) write_common(v, at, (u32)val, bytes);
    if (off - at == AT_NOTIFY && at / NOTIFY_STEP < v->queues && v->status & VIRTIO_DRIVER_OK)
        v->ops->notify(v, at / NOTIFY_STEP);
}
