/* dev/fdc_data.c - floppy commands that move data.
 * A track's sectors, from the first wanted to the last, are one request to the host; what the guest
 * does not take because its count runs out is dropped. The count (TC) ends a command well; without
 * it, running past the last sector is an error, as in the FIFO mode of this controller.
 * Spec: 82077AA 5.1, 6.  Threads: under the bus lock. */
#include <string.h>

#include "dev/fdc_internal.h"

static struct fdc_drive *unit(struct fdc *f) { return &f->drive[f->unit & 1]; }
static bool by_dma(const struct fdc *f) { return f->dor & DOR_DMA && !(f->specify[1] & 1); }

/* ---- ends ------------------------------------------------------------------------------------ */

void fdc_end(struct fdc *f, u8 st0, u8 st1, u8 st2)
{
    f->result[0] = (u8)(st0 | f->last_head << 2 | f->unit);
    f->result[1] = st1;
    f->result[2] = st2;
    f->result[3] = f->cyl;
    f->result[4] = f->head;
    f->result[5] = f->sector;
    f->result[6] = 2; /* 512 bytes */
    fdc_result(f, 7);
    fdc_irq(f, true);
}

static void fail(struct fdc *f, u8 st1, u8 st2) { fdc_end(f, ST0_ABNORMAL, st1, st2); }

/* The next sector; false when the transfer stands behind its last. */
static bool next_sector(struct fdc *f, u32 count)
{
    f->sector = (u8)(f->sector + count);
    if (f->sector <= f->eot) return true;
    f->sector = 1;
    if (f->multi && !f->head && unit(f)->heads > 1) {
        f->head = 1;
        return true;
    }
    if (f->multi) f->head = 0;
    f->cyl++;
    return false;
}

/* ---- the disk -------------------------------------------------------------------------------- */

static void on_done(struct block_req *r);

static void submit(struct fdc *f, enum block_op op, u32 sectors)
{
    const struct fdc_drive *u = unit(f);
    u64 first = ((u64)f->cyl * u->heads + f->head) * u->spt + f->sector - 1u;
    f->phase = FDC_DISK;
    f->last_head = f->head;
    f->iov = (struct iovec){f->buf, sectors * SECTOR_BYTES};
    f->req = (struct block_req){.op = op,
                                .offset = first * SECTOR_BYTES,
                                .bytes = f->iov.iov_len,
                                .iov = &f->iov,
                                .iovs = 1,
                                .done = on_done};
    f->in_flight = true;
    block_submit(u->block, &f->req);
}

/* Sectors from the current one to the end of this side. */
static u32 side_sectors(const struct fdc *f)
{
    u32 last = f->eot < f->drive[f->unit & 1].spt ? f->eot : f->drive[f->unit & 1].spt;
    return f->sector <= last ? last - f->sector + 1u : 0;
}

/* What is wrong with the address: 0, or ST1. */
static u8 address_error(struct fdc *f)
{
    const struct fdc_drive *u = unit(f);
    if (!u->block || !(u->rates >> (f->rate & 3) & 1)) return ST1_MA;
    if (f->cyl != u->track || f->cyl >= u->cyls || f->head >= u->heads) return ST1_ND;
    return !f->sector || f->sector > u->spt ? ST1_ND : 0;
}

static void move_by_dma(struct fdc *f);

/* The current side of the track, as far as wanted. */
static void next_side(struct fdc *f)
{
    u32 n = side_sectors(f);
    u8 wrong = address_error(f);
    if (wrong || !n) {
        fail(f, wrong ? wrong : ST1_ND, 0);
        return;
    }
    f->pos = 0;
    f->end = n * SECTOR_BYTES;
    if (!f->writes) {
        submit(f, BLOCK_READ, n);
        return;
    }
    f->phase = FDC_OUT;
    if (by_dma(f)) move_by_dma(f);
    else fdc_irq(f, true);
}

/* The guest has given what it had for this side: whole sectors, the last filled up. */
static void write_side(struct fdc *f)
{
    u32 bytes = (u32)align_up(f->pos, SECTOR_BYTES);
    memset(f->buf + f->pos, 0, bytes - f->pos);
    if (bytes) submit(f, BLOCK_WRITE, bytes / SECTOR_BYTES);
    else fail(f, ST1_EN, 0);
}

/* All of the side was moved, or the count ran out before. */
static void side_done(struct fdc *f, u32 bytes)
{
    bool more = next_sector(f, (bytes + SECTOR_BYTES - 1) / SECTOR_BYTES);
    if (f->tc) fdc_end(f, 0, 0, 0);
    else if (more && f->sector == 1) next_side(f);
    else if (f->verifies) fdc_end(f, 0, 0, 0);
    else fail(f, ST1_EN, 0);
}

static void on_done(struct block_req *r)
{
    struct fdc *f = container_of(r, struct fdc, req);
    f->in_flight = false;
    if (f->abandoned) {
        f->abandoned = false;
        return;
    }
    if (r->result == E_PERM) {
        fail(f, ST1_NW, 0);
    } else if (r->result < 0) {
        fail(f, ST1_DE, ST2_DD);
    } else if (f->formats) {
        fdc_end(f, 0, 0, 0);
    } else if (r->op == BLOCK_WRITE || f->verifies) {
        side_done(f, (u32)r->bytes);
    } else {
        f->phase = FDC_IN;
        if (by_dma(f)) move_by_dma(f);
        else fdc_irq(f, true);
    }
}

/* ---- the guest's side ------------------------------------------------------------------------ */

static void format_side(struct fdc *f);

/* All there is to move at once; a channel that is not ready ends the command as an overrun. */
static void move_by_dma(struct fdc *f)
{
    bool in = f->phase == FDC_IN;
    struct isa_dma_xfer x = {.buf = f->buf + f->pos, .bytes = f->end - f->pos, .to_memory = in};
    f->pos += isa_dma_move(f->dma, FDC_DMA, &x);
    f->tc = x.tc;
    if (!x.tc && f->pos < f->end) {
        fail(f, 0x10, 0); /* OR: overrun */
    } else if (in) {
        side_done(f, f->pos);
    } else if (f->formats) {
        format_side(f);
    } else {
        write_side(f);
    }
}

u8 fdc_fifo_read(struct fdc *f)
{
    if (f->pos >= f->end) return 0;
    u8 val = f->buf[f->pos++];
    fdc_irq(f, false);
    if (f->pos == f->end) side_done(f, f->end);
    else fdc_irq(f, true);
    return val;
}

void fdc_fifo_write(struct fdc *f, u8 val)
{
    if (f->pos >= f->end) return;
    f->buf[f->pos++] = val;
    fdc_irq(f, false);
    if (f->pos < f->end) fdc_irq(f, true);
    else if (f->formats) format_side(f);
    else write_side(f);
}

/* ---- commands -------------------------------------------------------------------------------- */

void fdc_begin(struct fdc *f)
{
    u8 op = f->cmd[0] & 0x1F;
    f->unit = f->cmd[1] & 3;
    f->head = f->last_head = f->cmd[1] >> 2 & 1;
    f->cyl = f->cmd[2];
    f->sector = f->cmd[4];
    f->eot = f->cmd[6];
    f->multi = f->cmd[0] >> 7;
    f->writes = op == 0x05 || op == 0x09;
    f->verifies = op == 0x16;
    f->formats = f->tc = false;
    if (f->cmd[3] != f->head || f->cmd[5] != 2) fail(f, ST1_ND, 0);
    else if (f->unit >= FDC_DRIVES) fail(f, ST1_MA, 0);
    else next_side(f);
}

/* The host gives an address for every sector; all of them get the fill byte. */
static void format_side(struct fdc *f)
{
    const struct fdc_drive *u = unit(f);
    f->sector = 1;
    memset(f->buf, f->cmd[5], u->spt * (u32)SECTOR_BYTES);
    submit(f, BLOCK_WRITE, u->spt);
}

void fdc_begin_format(struct fdc *f)
{
    f->unit = f->cmd[1] & 3;
    f->head = f->last_head = f->cmd[1] >> 2 & 1;
    f->cyl = f->drive[f->unit & 1].track;
    f->sector = 1;
    f->writes = f->formats = true;
    f->verifies = f->tc = false;
    u8 wrong = f->unit < FDC_DRIVES ? address_error(f) : ST1_MA;
    if (!wrong && (f->cmd[2] != 2 || f->cmd[3] != unit(f)->spt)) wrong = ST1_ND;
    if (wrong) {
        fail(f, wrong, 0);
        return;
    }
    f->pos = 0;
    f->end = f->cmd[3] * 4u;
    f->phase = FDC_OUT;
    if (by_dma(f)) move_by_dma(f);
    else fdc_irq(f, true);
}

/* The first address under the head: sector 1 of where it stands. */
void fdc_read_id(struct fdc *f)
{
    f->unit = f->cmd[1] & 3;
    f->head = f->last_head = f->cmd[1] >> 2 & 1;
    f->cyl = f->drive[f->unit & 1].track;
    f->sector = 1;
    u8 wrong = f->unit < FDC_DRIVES ? address_error(f) : ST1_MA;
    if (wrong) fail(f, ST1_MA, 0);
    else fdc_end(f, 0, 0, 0);
}

void fdc_drain(struct fdc *f)
{
    while (f->in_flight) {
        struct block *b = unit(f)->block;
        block_wait(b);
        block_complete(b);
    }
}
