/* dev/virtio/virtq.c - the split ring. Layout (le): descriptors {u64 addr, u32 len, u16 flags,
 * u16 next}; available ring {u16 flags, u16 idx, u16 ring[]}; used ring {u16 flags, u16 idx,
 * {u32 id, u32 len} ring[]}.  Spec: virtio 1.2 2.7.5-2.7.8. */
#include "dev/virtio/virtq.h"

#include <stdatomic.h>
#include <string.h>

#include "bus/dma.h"

enum { DESC_NEXT = 1, DESC_WRITE = 2, DESC_INDIRECT = 4, DESC_BYTES = 16 };
enum { AVAIL_NO_INTERRUPT = 1, RING_IDX = 2, AVAIL_RING = 4, USED_RING = 4, USED_ELEM = 8 };

struct desc {
    u64 addr;
    u32 len;
    u16 flags, next;
};
static_assert(sizeof(struct desc) == DESC_BYTES, "as in guest memory");

/* A table of descriptors: the queue's, or an indirect one. */
struct table {
    u64 base;
    u32 count;
    bool indirect;
};

void virtq_reset(struct virtq *q) { *q = (struct virtq){.size = VIRTQ_SIZE, .vector = 0xFFFF}; }

static int broken(struct virtq *q)
{
    q->broken = true;
    return E_GUEST;
}

static int add_segment(struct virtq_req *r, const struct desc *d)
{
    bool writes = d->flags & DESC_WRITE;
    if (r->segs == VIRTQ_SEGS_MAX) return E_GUEST;
    if (!writes && r->segs > r->outs) return E_GUEST; /* read after write */
    if (d->addr + d->len < d->addr) return E_GUEST;
    r->seg[r->segs++] = (struct virtq_seg){d->addr, d->len};
    if (writes) {
        r->in_bytes += d->len;
    } else {
        r->outs++;
        r->out_bytes += d->len;
    }
    return 0;
}

/* An indirect table stands alone in its chain and holds whole descriptors. */
static int enter_indirect(const struct desc *d, struct table *t)
{
    if (t->indirect || d->flags & DESC_NEXT) return E_GUEST;
    if (!d->len || d->len % DESC_BYTES || d->len / DESC_BYTES > VIRTQ_SEGS_MAX) return E_GUEST;
    *t = (struct table){d->addr, d->len / DESC_BYTES, true};
    return 0;
}

/* Follow the chain from @r->head on; more steps than descriptors is a loop. */
static int walk(const struct pci_fn *f, struct table *t, struct virtq_req *r)
{
    struct desc d;
    u32 i = r->head;
    for (u32 steps = 0; steps <= t->count; steps++) {
        if (i >= t->count || dma_read(f, t->base + (u64)i * DESC_BYTES, &d, sizeof d) < 0)
            return E_GUEST;
        if (d.flags & DESC_INDIRECT) {
            if (enter_indirect(&d, t) < 0) return E_GUEST;
            i = steps = 0;
            continue;
        }
        if (add_segment(r, &d) < 0) return E_GUEST;
        if (!(d.flags & DESC_NEXT)) return 1;
        i = d.next;
    }
    return E_GUEST;
}

int virtq_pop(struct virtq *q, const struct pci_fn *f, struct virtq_req *r)
{
    u16 idx, head;
    if (!q->enabled || q->broken) return 0;
    if (dma_read(f, q->avail + RING_IDX, &idx, sizeof idx) < 0) return broken(q);
    u16 waiting = (u16)(idx - q->avail_i);
    if (!waiting) return 0;
    if (waiting > q->size) return broken(q);
    atomic_thread_fence(memory_order_acquire);
    u64 at = q->avail + AVAIL_RING + 2ull * (q->avail_i & (q->size - 1u));
    if (dma_read(f, at, &head, sizeof head) < 0) return broken(q);
    struct table t = {q->desc, q->size, false};
    r->head = head;
    r->segs = r->outs = 0;
    r->out_bytes = r->in_bytes = 0;
    if (walk(f, &t, r) < 0) return broken(q);
    q->avail_i++;
    return 1;
}

bool virtq_push(struct virtq *q, const struct pci_fn *f, u16 head, u32 bytes)
{
    u32 elem[2] = {head, bytes};
    u16 flags = 0;
    u64 at = q->used + USED_RING + (u64)USED_ELEM * (q->used_i & (q->size - 1u));
    if (!q->enabled || dma_write(f, at, elem, sizeof elem) < 0) return false;
    atomic_thread_fence(memory_order_release);
    q->used_i++;
    if (dma_write(f, q->used + RING_IDX, &q->used_i, sizeof q->used_i) < 0) return false;
    atomic_thread_fence(memory_order_seq_cst);
    (void)dma_read(f, q->avail, &flags, sizeof flags);
    return !(flags & AVAIL_NO_INTERRUPT);
}

/* The parts of segments [first, end) that hold bytes [off, off + bytes) of them. */
struct span {
    u32 first, end;
    u64 off, bytes;
};

static int copy(const struct virtq_req *r, const struct pci_fn *f, struct span s, u8 *buf, bool in)
{
    int rc = 0;
    for (u32 i = s.first; i < s.end && s.bytes; i++) {
        const struct virtq_seg *g = &r->seg[i];
        if (s.off >= g->bytes) {
            s.off -= g->bytes;
            continue;
        }
        u64 n = min_u64(g->bytes - s.off, s.bytes);
        int one = in ? dma_write(f, g->gpa + s.off, buf, n) : dma_read(f, g->gpa + s.off, buf, n);
        if (one < 0) rc = one;
        buf += n;
        s.bytes -= n;
        s.off = 0;
    }
    return rc;
}

int virtq_copy_out(const struct virtq_req *r, const struct pci_fn *f, u64 off, void *buf, u64 bytes)
{
    return copy(r, f, (struct span){0, r->outs, off, bytes}, buf, false);
}

int virtq_copy_in(const struct virtq_req *r, const struct pci_fn *f, u64 off, const void *buf,
                  u64 bytes)
{
    return copy(r, f, (struct span){r->outs, r->segs, off, bytes}, (u8 *)buf, true);
}

bool virtq_is_valid(const struct virtq *q)
{
    return q->size && q->size <= VIRTQ_SIZE && !(q->size & (q->size - 1));
}
