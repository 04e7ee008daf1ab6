/* dev/virtio/blk.c - virtio block: reads, writes, flush, discard, write zeroes, serial number.
 * A request occupies one of a fixed number of slots, each with a buffer through which its data goes
 * piece by piece; when all slots are taken, chains wait in the ring.
 *   readable: {u32 type, u32 reserved, u64 sector}, data    writable: data, u8 status
 * Spec: virtio 1.2 5.2.6.  Threads: under the bus lock. */
#include "dev/virtio/blk.h"

#include <stdlib.h>
#include <string.h>

#include "dev/virtio/virtio_pci.h"

enum { SLOTS = 16, BUF_BYTES = 1 << 17, SEG_MAX = 126, QUEUE = 0, CONFIG_BYTES = 60 };
enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK, S_IOERR, S_UNSUPP };
enum { HEADER_BYTES = 16, RANGE_BYTES = 16, RANGE_SECTORS_MAX = 1 << 21 };
#define BLK_F_SEG_MAX BIT(2)
#define BLK_F_RO BIT(5)
#define BLK_F_BLK_SIZE BIT(6)
#define BLK_F_FLUSH BIT(9)
#define BLK_F_DISCARD BIT(13)
#define BLK_F_WRITE_ZEROES BIT(14)

struct virtio_blk;
struct slot {
    struct virtio_blk *blk;
    bool busy;
    struct virtq_req chain;
    struct block_req req;
    struct iovec iov;
    u8 *buf;         /* BUF_BYTES */
    u64 at;          /* of the disk, next byte    */
    u64 done, bytes; /* of the data               */
};
struct virtio_blk {
    struct dev dev;
    struct virtio v;
    struct block *disk;
    char serial[VIRTIO_BLK_ID_BYTES];
    struct slot *slot; /* owned, SLOTS of them */
    u32 busy;
    bool running; /* run() is under way: it is not entered twice */
};
struct header {
    u32 type, reserved;
    u64 sector;
};
struct range {
    u64 sector;
    u32 sectors, flags;
};

static struct virtio_blk *self(struct dev *d) { return container_of(d, struct virtio_blk, dev); }

/* ---- ends ------------------------------------------------------------------------------------ */

static void run(struct virtio_blk *b);

/* The chain goes back with @written bytes of data and its status. */
static void finish(struct slot *s, u8 status, u64 written)
{
    struct virtio_blk *b = s->blk;
    s->busy = false;
    b->busy--;
    if (b->v.resetting) {
        if (!b->busy) virtio_reset_done(&b->v);
        return;
    }
    (void)virtq_copy_in(&s->chain, &b->v.pci, s->chain.in_bytes - 1, &status, 1);
    virtio_push(&b->v, QUEUE, s->chain.head, (u32)(written + 1));
    run(b);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void on_done(struct block_req *r);

static void submit(struct slot *s, enum block_op op, u64 bytes)
{
    s->iov = (struct iovec){s->buf, bytes};
    s->req = (struct block_req){
        .op = op, .offset = s->at, .bytes = bytes, .iov = &s->iov, .iovs = 1, .done = on_done};
    block_submit(s->blk->disk, &s->req);
}

static void next_piece(struct slot *s, enum block_op op)
{
    u64 n = min_u64(s->bytes - s->done, BUF_BYTES);
    if (op == BLOCK_WRITE &&
        virtq_copy_out(&s->chain, &s->blk->v.pci, HEADER_BYTES + s->done, s->buf, n) < 0)
        finish(s, S_IOERR, 0);
    else submit(s, op, n);
}

static void on_done(struct block_req *r)
{
    struct slot *s = container_of(r, struct slot, req);
    bool moves = r->op == BLOCK_READ || r->op == BLOCK_WRITE;
    if (s->blk->v.resetting || r->result < 0) {
        finish(s, S_IOERR, 0);
        return;
    }
    if (r->op == BLOCK_READ &&
        virtq_copy_in(&s->chain, &s->blk->v.pci, s->done, s->buf, r->bytes) < 0) {
        finish(s, S_IOERR, 0);
        return;
    }
    s->done += r->bytes;
    s->at += r->bytes;
    if (moves && s->done < s->bytes) next_piece(s, r->op);
    else finish(s, S_OK, r->op == BLOCK_READ ? s->bytes : 0);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool in_disk(const struct virtio_blk *b, u64 sector, u64 bytes)
{
    u64 sectors = block_bytes(b->disk) / SECTOR_BYTES;
    return bytes && bytes % SECTOR_BYTES == 0 && sector < sectors &&
           bytes / SECTOR_BYTES <= sectors - sector;
}

static void begin_transfer(struct slot *s, enum block_op op, u64 sector)
{
    bool reads = op == BLOCK_READ;
    s->at = sector * SECTOR_BYTES;
    s->done = 0;
    s->bytes = reads ? s->chain.in_bytes - 1 : s->chain.out_bytes - HEADER_BYTES;
    if (in_disk(s->blk, sector, s->bytes)) next_piece(s, op);
    else finish(s, S_IOERR, 0);
}

static void begin_range(struct slot *s, enum block_op op)
{
    struct range range;
    u32 known = op == BLOCK_ZERO ? 1 : 0; /* flags: unmap */
    if (s->chain.out_bytes != HEADER_BYTES + RANGE_BYTES) {
        finish(s, S_IOERR, 0);
        return;
    }
    int rc = virtq_copy_out(&s->chain, &s->blk->v.pci, HEADER_BYTES, &range, sizeof range);
    u64 bytes = (u64)range.sectors * SECTOR_BYTES;
    if (rc < 0 || range.sectors > RANGE_SECTORS_MAX || !in_disk(s->blk, range.sector, bytes)) {
        finish(s, S_IOERR, 0);
    } else if (range.flags & ~known) {
        finish(s, S_UNSUPP, 0);
    } else {
        s->at = range.sector * SECTOR_BYTES;
        submit(s, op, bytes);
    }
}

static void get_id(struct slot *s)
{
    u64 n = min_u64(s->chain.in_bytes - 1, VIRTIO_BLK_ID_BYTES);
    int rc = virtq_copy_in(&s->chain, &s->blk->v.pci, 0, s->blk->serial, n);
    finish(s, rc < 0 ? S_IOERR : S_OK, n);
}

static void begin(struct slot *s)
{
    struct header h;
    if (virtq_copy_out(&s->chain, &s->blk->v.pci, 0, &h, sizeof h) < 0) {
        finish(s, S_IOERR, 0);
        return;
    }
    switch (h.type) {
    case T_IN: begin_transfer(s, BLOCK_READ, h.sector); break;
    case T_OUT: begin_transfer(s, BLOCK_WRITE, h.sector); break;
    case T_FLUSH: submit(s, BLOCK_FLUSH, 0); break;
    case T_GET_ID: get_id(s); break;
    case T_DISCARD: begin_range(s, BLOCK_DISCARD); break;
    case T_WRITE_ZEROES: begin_range(s, BLOCK_ZERO); break;
    default: finish(s, S_UNSUPP, 0);
    }
}

static struct slot *free_slot(struct virtio_blk *b)
{
    for (u32 i = 0; i < SLOTS; i++)
        if (!b->slot[i].busy) return &b->slot[i];
    return NULL;
}

/* Take what is available while there are slots; at most a ring's worth at a time. */
static void run(struct virtio_blk *b)
{
    if (b->running) return;
    b->running = true;
    for (u32 n = 0; n < VIRTQ_SIZE; n++) {
        struct slot *s = free_slot(b);
        if (!s || virtio_pop(&b->v, QUEUE, &s->chain) <= 0) break;
        if (s->chain.out_bytes < HEADER_BYTES || !s->chain.in_bytes) {
            virtio_break(&b->v, QUEUE);
            break;
        }
        s->busy = true;
        b->busy++;
        begin(s);
    }
    b->running = false;
}

/* ---- transport ------------------------------------------------------------------------------- */

static struct virtio_blk *of_virtio(struct virtio *v)
{
    return container_of(v, struct virtio_blk, v);
}
static void on_notify(struct virtio *v, u32 queue)
{
    (void)queue;
    run(of_virtio(v));
}
static bool on_reset(struct virtio *v) { return !of_virtio(v)->busy; }

static void put(u8 *out, u32 at, u64 val, u32 bytes) { memcpy(out + at, &val, bytes); }

static void on_config(struct virtio *v, u8 *out)
{
    memset(out, 0, CONFIG_BYTES);
    put(out, 0, block_bytes(of_virtio(v)->disk) / SECTOR_BYTES, 8);
    put(out, 12, SEG_MAX, 4);
    put(out, 20, SECTOR_BYTES, 4);
    put(out, 36, RANGE_SECTORS_MAX, 4); /* discard: sectors, ranges, alignment */
    put(out, 40, 1, 4);
    put(out, 44, 1, 4);
    put(out, 48, RANGE_SECTORS_MAX, 4); /* write zeroes: sectors, ranges, may unmap */
    put(out, 52, 1, 4);
    put(out, 56, 1, 1);
}

static const struct virtio_ops ops = {.notify = on_notify, .reset = on_reset, .config = on_config};

/* ---- life ------------------------------------------------------------------------------------ */

static int make_slots(struct virtio_blk *b, struct err *e)
{
    b->slot = calloc(SLOTS, sizeof *b->slot);
    u8 *buf = b->slot ? malloc((size_t)SLOTS * BUF_BYTES) : NULL;
    if (!buf) {
        free(b->slot);
        return err_set(e, E_NOMEM, "request buffers");
    }
    for (u32 i = 0; i < SLOTS; i++) {
        b->slot[i].blk = b;
        b->slot[i].buf = buf + (size_t)i * BUF_BYTES;
    }
    return 0;
}

static int blk_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct virtio_blk_cfg *c = cfg;
    struct virtio_blk *b = self(d);
    bool readonly = block_is_readonly(c->disk);
    struct virtio_cfg vc = {.pci = c->pci,
                            .devfn = c->devfn,
                            .id = 2,
                            .class_code = 0x010000,
                            .queues = 1,
                            .config_bytes = CONFIG_BYTES};
    vc.features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH |
                  (readonly ? BLK_F_RO : BLK_F_DISCARD | BLK_F_WRITE_ZEROES);
    b->disk = c->disk;
    memcpy(b->serial, c->serial, sizeof b->serial);
    int rc = make_slots(b, e);
    if (rc < 0) return rc;
    rc = virtio_init(&b->v, d, &vc, &ops, e);
    if (rc == 0) return 0;
    free(b->slot[0].buf);
    free(b->slot);
    return rc;
}

static void blk_quiesce(struct dev *d)
{
    struct virtio_blk *b = self(d);
    while (b->busy) {
        block_wait(b->disk);
        block_complete(b->disk);
    }
}

static void blk_reset(struct dev *d)
{
    struct virtio_blk *b = self(d);
    b->v.resetting = true;
    blk_quiesce(d);
    virtio_reset(&b->v);
}

static void blk_fini(struct dev *d)
{
    struct virtio_blk *b = self(d);
    b->v.resetting = true;
    blk_quiesce(d);
    virtio_fini(&b->v);
    free(b->slot[0].buf);
    free(b->slot);
}

static int blk_validate(const struct dev *d, struct err *e)
{
    return virtio_validate(&container_of(d, struct virtio_blk, dev)->v, e);
}

static void blk_post_load(struct dev *d) { virtio_post_load(&self(d)->v); }

static u64 blk_read(struct dev *d, u64 off, u32 n) { return virtio_read(&self(d)->v, off, n); }
static void blk_write(struct dev *d, u64 off, u64 val, u32 n)
{
    virtio_write(&self(d)->v, off, val, n);
}
static u64 blk_msix_read(struct dev *d, u64 off, u32 n)
{
    return (void)n, msix_read(&self(d)->v.msix, (u32)off);
}
static void blk_msix_write(struct dev *d, u64 off, u64 val, u32 n)
{
    (void)n;
    msix_write(&self(d)->v.msix, (u32)off, (u32)val);
}

static const struct ser_field blk_fields[] = {VIRTIO_SER(struct virtio_blk, v), SER_END};
static const struct dev_region blk_regions[] = {
    VIRTIO_REGION(blk_read, blk_write), VIRTIO_MSIX_REGION(blk_msix_read, blk_msix_write), {0}};

const struct dev_class virtio_blk_class = {
    .name = "virtio_blk",
    .version = 1,
    .inst_bytes = sizeof(struct virtio_blk),
    .regions = blk_regions,
    .fields = blk_fields,
    .init = blk_init,
    .fini = blk_fini,
    .reset = blk_reset,
    .quiesce = blk_quiesce,
    .validate = blk_validate,
    .post_load = blk_post_load,
};
