/* dev/ide_bm.c - the bus master of an IDE channel.
 *   +0 command  0 start, 3 direction (1: to memory)
 *   +2 status   0 active, 1 error (w1c), 2 interrupt (w1c), 5-6 drive capable (kept)
 *   +4 address of the PRD table
 * An entry: u32 address (even); u32: 15..1 byte count (0: 64 KiB), 31 last.
 * The table and what it points to are the guest's: every entry moves at least two bytes of a
 * bounded transfer, so a walk ends. Active goes off at the end of the last entry; a table that is
 * longer than the transfer leaves it on, a shorter one leaves the drive waiting.
 * Spec: Bus Master IDE 1.0; PIIX3 data sheet 2.8.  Threads: under the bus lock. */
#include "bus/dma.h"
#include "dev/ide_internal.h"

enum { BM_COMMAND = 0, BM_STATUS = 2, BM_TABLE = 4, BM_CHAN_BYTES = 8 };
enum { PRD_BYTES = 8, PRD_64K = 0x10000 };
#define PRD_LAST (1u << 31)

static void bm_error(struct ide_bm *bm) { bm->status = (u8)((bm->status & ~BM_ACTIVE) | BM_ERROR); }

/* The next entry of the table becomes the current one. */
static bool fetch(struct ide_chan *c)
{
    struct ide_bm *bm = &c->bm;
    u32 entry[2];
    if (bm->last) return false;
    if (dma_read(&c->ide->pci, bm->next, entry, PRD_BYTES) < 0) {
        bm_error(bm);
        return false;
    }
    bm->next += PRD_BYTES;
    bm->addr = entry[0] & ~1u;
    bm->left = entry[1] & 0xFFFE;
    if (!bm->left) bm->left = PRD_64K;
    bm->last = entry[1] & PRD_LAST;
    return true;
}

u32 ide_bm_move(struct ide_chan *c, u8 *buf, u32 bytes, bool to_guest)
{
    struct ide_bm *bm = &c->bm;
    u32 moved = 0;
    while (moved < bytes) {
        if (!bm->left && !fetch(c)) break;
        u32 n = (u32)min_u64(bm->left, bytes - moved);
        int rc = to_guest ? dma_write(&c->ide->pci, bm->addr, buf + moved, n)
                          : dma_read(&c->ide->pci, bm->addr, buf + moved, n);
        if (rc < 0) {
            bm_error(bm);
            return moved;
        }
        bm->addr += n;
        bm->left -= n;
        moved += n;
    }
    if (!bm->left && bm->last) bm->status &= (u8)~BM_ACTIVE;
    return moved;
}

static void command(struct ide_chan *c, u8 val)
{
    struct ide_bm *bm = &c->bm;
    bool start = (val & BM_START) && !(bm->cmd & BM_START);
    bm->cmd = val & (BM_START | BM_TO_MEMORY);
    if (!(val & BM_START)) bm->status &= (u8)~BM_ACTIVE;
    if (!start) return;
    bm->next = bm->table;
    bm->left = 0;
    bm->last = false;
    bm->status |= BM_ACTIVE;
    ide_dma_kick(c);
}

static struct ide_chan *chan_at(struct dev *d, u64 off)
{
    return &container_of(d, struct ide, dev)->chan[off / BM_CHAN_BYTES & 1];
}

static u8 read_byte(const struct ide_chan *c, u32 reg)
{
    if (reg == BM_COMMAND) return c->bm.cmd;
    if (reg == BM_STATUS) return c->bm.status;
    return reg >= BM_TABLE ? (u8)(c->bm.table >> 8 * (reg - BM_TABLE)) : 0;
}

static void write_byte(struct ide_chan *c, u32 reg, u8 val)
{
    struct ide_bm *bm = &c->bm;
    if (reg == BM_COMMAND) command(c, val);
    if (reg == BM_STATUS) {
        bm->status &= (u8) ~(val & (BM_ERROR | BM_INT));
        bm->status = (u8)((bm->status & ~BM_CAPABLE) | (val & BM_CAPABLE));
    }
    if (reg < BM_TABLE) return;
    u32 shift = 8 * (reg - BM_TABLE);
    bm->table = ((bm->table & ~(0xFFu << shift)) | (u32)val << shift) & ~3u;
}

u64 ide_bm_read(struct dev *d, u64 off, u32 bytes)
{
    u64 val = 0;
    for (u32 i = 0; i < bytes; i++)
        val |= (u64)read_byte(chan_at(d, off), (u32)(off + i) % BM_CHAN_BYTES) << 8 * i;
    return val;
}

void ide_bm_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    for (u32 i = 0; i < bytes; i++)
        write_byte(chan_at(d, off), (u32)(off + i) % BM_CHAN_BYTES, (u8)(val >> 8 * i));
}
