/* dev/ide_xfer.c - how an IDE command moves its data.
 *
 *   PIO read    disk -> pio[] as much as fits; the guest takes it, drq_bytes per interrupt
 *   PIO write   the guest fills pio[] with drq_bytes; -> disk; interrupt; again
 *   DMA read    disk -> dma_buf -> PRD table, IDE_DMA_BYTES at a time; interrupt at the end
 *   DMA write   PRD table -> dma_buf -> disk
 *   reply       pio[] holds all of it: IDENTIFY, most packet commands
 * While the disk works the drive is busy, and nothing but a reset is accepted. A guest may turn the
 * bus master off at any time: a DMA read then starts again where it stood.
 * Spec: ATA/ATAPI-6 9.  Threads: under the bus lock. */
#include <string.h>

#include "dev/ide_internal.h"

/* ---- ends ------------------------------------------------------------------------------------ */

void ide_idle(struct ide_chan *c)
{
    c->phase = PH_IDLE;
    c->lba = 0;
    c->left = 0;
    c->pos = c->end = c->drq_end = 0;
}

void ide_complete(struct ide_chan *c)
{
    struct ide_unit *u = ide_active(c);
    ide_idle(c);
    u->status = ST_OK;
    u->error = 0;
    if (u->cdrom) u->reg.count = IREASON_IO | IREASON_COD;
    ide_raise(c, u);
}

/* Where a failing disk command stopped. */
static void report_lba(struct ide_chan *c, struct ide_unit *u)
{
    u32 lba = (u32)c->lba;
    u->reg.lba_l = (u8)lba;
    u->reg.lba_m = (u8)(lba >> 8);
    u->reg.lba_h = (u8)(lba >> 16);
    u->hob.lba_l = (u8)(lba >> 24);
    u->hob.lba_m = (u8)(c->lba >> 32);
    u->hob.lba_h = (u8)(c->lba >> 40);
}

void ide_fail(struct ide_chan *c, u8 error)
{
    struct ide_unit *u = ide_active(c);
    ide_idle(c);
    u->status = ST_OK | ST_ERR;
    u->error = error;
    if (u->cdrom) u->reg.count = IREASON_IO | IREASON_COD;
    ide_raise(c, u);
}

/* The host could not do it. */
static void fail_disk(struct ide_chan *c, int result)
{
    struct ide_unit *u = ide_active(c);
    if (u->cdrom) { /* medium error, unrecovered read error */
        u->key = 3;
        u->asc = 0x11;
        u->ascq = 0;
        ide_fail(c, (u8)(3 << 4 | ER_ABRT));
        return;
    }
    report_lba(c, u);
    if (result == E_RANGE) ide_fail(c, ER_IDNF);
    else ide_fail(c, c->to_disk ? ER_ABRT : ER_UNC);
}

/* ---- requests -------------------------------------------------------------------------------- */

static void on_done(struct block_req *r);

static void submit(struct ide_chan *c, enum block_op op, u8 *buf, u32 sectors)
{
    struct ide_unit *u = ide_active(c);
    u64 bytes = (u64)sectors * u->sector_bytes;
    c->chunk = sectors;
    c->iov = (struct iovec){buf, bytes};
    c->req = (struct block_req){.op = op,
                                .offset = c->lba * u->sector_bytes,
                                .bytes = bytes,
                                .iov = &c->iov,
                                .iovs = 1,
                                .done = on_done};
    c->in_flight = true;
    u->status = ST_BSY;
    block_submit(u->block, &c->req);
}

void ide_flush_disk(struct ide_chan *c)
{
    c->phase = PH_DISK;
    c->to_disk = true;
    c->left = 0;
    submit(c, BLOCK_FLUSH, NULL, 0);
}

/* How many sectors to read into a buffer of @room bytes. */
static u32 read_chunk(const struct ide_chan *c, u32 room)
{
    u32 fits = room / c->guest_bytes, small = c->dma ? 1 : c->drq_bytes / c->guest_bytes;
    u64 n = c->careful ? min_u64(fits, small ? small : 1) : fits;
    return (u32)min_u64(n, c->left);
}

/* The chunk just read is in @buf; a raw CD read wants more than is on the disk. */
static void make_raw(struct ide_chan *c, u8 *buf)
{
    if (c->guest_bytes != CD_RAW_BYTES) return;
    for (u32 i = c->chunk; i-- > 0;) {
        memmove(buf + i * CD_RAW_BYTES, buf + i * CD_BYTES, CD_BYTES);
        mmc_raw(buf + i * CD_RAW_BYTES, (u32)c->lba + i);
    }
}

static void advance(struct ide_chan *c)
{
    c->lba += c->chunk;
    c->left -= c->chunk;
}

/* ---- PIO ------------------------------------------------------------------------------------- */

/* Offer the guest the next part of what pio[] holds. */
static void drq_in(struct ide_chan *c)
{
    struct ide_unit *u = ide_active(c);
    c->phase = PH_PIO_IN;
    c->drq_end = (u32)min_u64(c->pos + c->drq_bytes, c->end);
    u->status = ST_OK | ST_DRQ;
    if (u->cdrom) {
        u32 n = c->drq_end - c->pos;
        u->reg.count = IREASON_IO;
        u->reg.lba_m = (u8)n;
        u->reg.lba_h = (u8)(n >> 8);
    }
    ide_raise(c, u);
}

static void drq_out(struct ide_chan *c)
{
    c->phase = PH_PIO_OUT;
    c->pos = 0;
    c->drq_end = (u32)min_u64(c->drq_bytes, (u64)c->left * SECTOR_BYTES);
    ide_active(c)->status = ST_OK | ST_DRQ;
}

static void fill_pio(struct ide_chan *c)
{
    c->phase = PH_DISK;
    submit(c, BLOCK_READ, c->pio, read_chunk(c, IDE_PIO_BYTES));
}

/* The guest took all it was offered. */
static void taken(struct ide_chan *c)
{
    struct ide_unit *u = ide_active(c);
    if (c->pos < c->end) {
        drq_in(c);
    } else if (c->left) {
        fill_pio(c);
    } else if (u->cdrom) {
        ide_complete(c);
    } else {
        ide_idle(c); /* a disk's last interrupt came with its last data */
        u->status = ST_OK;
    }
}

/* The guest wrote all that was asked for. */
static void given(struct ide_chan *c)
{
    if (c->phase == PH_PACKET) {
        ide_packet(c);
        return;
    }
    c->phase = PH_DISK;
    submit(c, BLOCK_WRITE, c->pio, c->drq_end / SECTOR_BYTES);
}

/* A request of a PIO command, or a flush, went well. */
static void disk_done(struct ide_chan *c)
{
    if (c->req.op == BLOCK_READ) make_raw(c, c->pio);
    advance(c);
    if (c->req.op == BLOCK_READ) {
        c->pos = 0;
        c->end = c->chunk * c->guest_bytes;
        drq_in(c);
    } else if (c->left) {
        drq_out(c);
        ide_raise(c, ide_active(c));
    } else {
        ide_complete(c);
    }
}

u32 ide_data_read(struct ide_chan *c, u32 bytes)
{
    u32 val = 0;
    if (c->phase != PH_PIO_IN || (c->select & SEL_DEV) / SEL_DEV != c->active) return 0;
    u32 n = (u32)min_u64(bytes, c->drq_end - c->pos);
    memcpy(&val, c->pio + c->pos, n);
    c->pos += n;
    if (c->pos == c->drq_end) taken(c);
    return val;
}

void ide_data_write(struct ide_chan *c, u32 val, u32 bytes)
{
    if (c->phase != PH_PIO_OUT && c->phase != PH_PACKET) return;
    if ((c->select & SEL_DEV) / SEL_DEV != c->active) return;
    u32 n = (u32)min_u64(bytes, c->drq_end - c->pos);
    memcpy(c->pio + c->pos, &val, n);
    c->pos += n;
    if (c->pos == c->drq_end) given(c);
}

/* ---- DMA ------------------------------------------------------------------------------------- */

static void dma_wait(struct ide_chan *c)
{
    c->phase = PH_DMA;
    ide_active(c)->status = ST_OK | ST_DRQ;
    ide_dma_kick(c);
}

static void dma_step_out(struct ide_chan *c)
{
    u32 want = (u32)min_u64(c->left, IDE_DMA_BYTES / SECTOR_BYTES);
    u32 sectors = ide_bm_move(c, c->dma_buf, want * SECTOR_BYTES, false) / SECTOR_BYTES;
    if (sectors) submit(c, BLOCK_WRITE, c->dma_buf, sectors);
}

void ide_dma_kick(struct ide_chan *c)
{
    if (c->phase != PH_DMA || c->in_flight || !(c->bm.status & BM_ACTIVE)) return;
    if (c->left && c->to_disk) {
        dma_step_out(c);
    } else if (c->left) {
        submit(c, BLOCK_READ, c->dma_buf, read_chunk(c, IDE_DMA_BYTES));
    } else {
        c->pos += ide_bm_move(c, c->pio + c->pos, c->end - c->pos, true);
        if (c->pos == c->end) ide_complete(c);
    }
}

/* A request of a DMA command went well. */
static void dma_done(struct ide_chan *c)
{
    u32 bytes = c->chunk * c->guest_bytes;
    ide_active(c)->status = ST_OK | ST_DRQ;
    if (!c->to_disk) {
        if (!(c->bm.status & BM_ACTIVE)) return; /* turned off meanwhile */
        make_raw(c, c->dma_buf);
        if (ide_bm_move(c, c->dma_buf, bytes, true) < bytes) return;
    }
    advance(c);
    if (c->left) ide_dma_kick(c);
    else ide_complete(c);
}

/* ---- both ------------------------------------------------------------------------------------ */

static void on_done(struct block_req *r)
{
    struct ide_chan *c = container_of(r, struct ide_chan, req);
    c->in_flight = false;
    if (c->abandoned) {
        u8 mask = c->abandoned;
        c->abandoned = 0;
        if (!(c->control & CTL_SRST)) ide_reset_units(c, mask);
        return;
    }
    if (r->result < 0 && r->op == BLOCK_READ && c->chunk > 1 && !c->careful) {
        c->careful = true;
        if (c->dma) dma_wait(c);
        else fill_pio(c);
        return;
    }
    if (r->result < 0) fail_disk(c, r->result);
    else if (c->phase == PH_DMA) dma_done(c);
    else disk_done(c);
}

void ide_read_disk(struct ide_chan *c)
{
    c->to_disk = c->careful = false;
    c->pos = c->end = 0;
    if (c->dma) dma_wait(c);
    else fill_pio(c);
}

void ide_write_disk(struct ide_chan *c)
{
    c->to_disk = true;
    c->pos = c->end = 0;
    if (c->dma) dma_wait(c);
    else drq_out(c);
}

void ide_reply(struct ide_chan *c, u32 bytes)
{
    c->to_disk = false;
    c->left = 0;
    c->pos = 0;
    c->end = bytes;
    if (!bytes) ide_complete(c);
    else if (c->dma) dma_wait(c);
    else drq_in(c);
}

void ide_drain(struct ide_chan *c)
{
    while (c->in_flight) {
        struct block *b = ide_active(c)->block;
        block_wait(b);
        block_complete(b);
    }
}
