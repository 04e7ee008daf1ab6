/* dev/ide_ata.c - the command register: a table of commands, and what disks do for each.
 * Spec: ATA/ATAPI-6 6.2 (feature sets), 8 (commands), 9.12 (signature).
 * Threads: under the bus lock. */
#include <string.h>

#include "dev/ide_internal.h"

enum { /* which drives know a command, and how it is to be read */
       C_ATA = 1 << 0,
       C_PI = 1 << 1,
       C_EXT = 1 << 2, /* 48-bit address and count */
       C_DMA = 1 << 3,
       C_MULTI = 1 << 4, /* several sectors per interrupt */
};
struct command {
    u8 op, flags;
    void (*run)(struct ide_chan *c, struct ide_unit *u, u8 flags);
};

void ide_signature(struct ide_unit *u)
{
    memset(&u->hob, 0, sizeof u->hob);
    u->reg.count = u->reg.lba_l = 1;
    u->reg.lba_m = u->cdrom ? 0x14 : 0;
    u->reg.lba_h = u->cdrom ? 0xEB : 0;
}

/* ---- addresses ------------------------------------------------------------------------------- */

static u64 lba48(const struct ide_unit *u)
{
    u64 low = u->reg.lba_l | (u32)u->reg.lba_m << 8 | (u32)u->reg.lba_h << 16;
    return low | (u64)u->hob.lba_l << 24 | (u64)u->hob.lba_m << 32 | (u64)u->hob.lba_h << 40;
}

/* First sector of the command, by its kind of address; past the end when there is no such. */
static u64 first_sector(const struct ide_chan *c, const struct ide_unit *u, u8 flags)
{
    u32 head = c->select & SEL_HEAD, low = (u32)lba48(u) & 0xFFFFFF;
    if (flags & C_EXT) return lba48(u);
    if (c->select & SEL_LBA) return low | head << 24;
    u32 cylinder = low >> 8, sector = low & 0xFF;
    if (!sector || sector > u->spt || head >= u->heads) return u->sectors;
    return ((u64)cylinder * u->heads + head) * u->spt + sector - 1;
}

static u32 sector_count(const struct ide_unit *u, u8 flags)
{
    u32 n = flags & C_EXT ? u->reg.count | (u32)u->hob.count << 8 : u->reg.count;
    return n ? n : flags & C_EXT ? 65536 : 256;
}

/* Address and length of a command that reads or writes; false: it failed. */
static bool begin(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    c->lba = first_sector(c, u, flags);
    c->left = sector_count(u, flags);
    c->dma = flags & C_DMA;
    c->guest_bytes = SECTOR_BYTES;
    c->drq_bytes = flags & C_MULTI ? u->multiple * (u32)SECTOR_BYTES : SECTOR_BYTES;
    if (flags & C_MULTI && !u->multiple) {
        ide_fail(c, ER_ABRT);
        return false;
    }
    if (c->lba <= u->sectors && c->left <= u->sectors - c->lba) return true;
    ide_fail(c, ER_IDNF);
    return false;
}

/* ---- commands -------------------------------------------------------------------------------- */

static void x_abort(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)u, (void)flags;
    ide_fail(c, ER_ABRT);
}

static void x_done(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)u, (void)flags;
    ide_complete(c);
}

static void x_read(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    if (begin(c, u, flags)) ide_read_disk(c);
}

static void x_write(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    if (begin(c, u, flags)) ide_write_disk(c);
}

/* Verify and seek: the sectors exist. */
static void x_verify(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    if (begin(c, u, flags)) ide_complete(c);
}

static void x_seek(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    if (first_sector(c, u, flags) < u->sectors) ide_complete(c);
    else ide_fail(c, ER_IDNF);
}

static void x_flush(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)flags;
    c->guest_bytes = u->sector_bytes;
    if (u->block) ide_flush_disk(c);
    else ide_complete(c);
}

static void reply_512(struct ide_chan *c)
{
    c->dma = false;
    c->drq_bytes = SECTOR_BYTES;
    c->guest_bytes = ide_active(c)->sector_bytes;
    ide_reply(c, SECTOR_BYTES);
}

static u32 serial_of(const struct ide_chan *c) { return (u32)(c != c->ide->chan) * 2 + c->active; }

static void x_identify(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)flags;
    if (u->cdrom) { /* says what it is, and refuses */
        ide_signature(u);
        ide_fail(c, ER_ABRT);
        u->reg.count = 1;
        return;
    }
    ide_identify(u, serial_of(c), c->pio);
    reply_512(c);
}

static void x_identify_packet(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)flags;
    ide_identify_packet(u, serial_of(c), c->pio);
    reply_512(c);
    u->reg.count = IREASON_IO;
}

/* Both drives run it, whichever is selected. */
static void x_diagnose(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)u, (void)flags;
    c->select &= (u8)~SEL_DEV;
    ide_reset_units(c, 3);
    if (c->unit[0].present) ide_raise(c, &c->unit[0]);
}

static void x_init_params(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)flags;
    if (!u->reg.count) {
        ide_fail(c, ER_ABRT);
        return;
    }
    u->spt = u->reg.count;
    u->heads = (c->select & SEL_HEAD) + 1;
    ide_complete(c);
}

static void x_set_multiple(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    u8 n = u->reg.count;
    (void)flags;
    if (n > MULTIPLE_MAX || n & (n - 1)) {
        ide_fail(c, ER_ABRT);
        return;
    }
    u->multiple = n;
    ide_complete(c);
}

static void x_native_max(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    u64 max = flags & C_EXT ? u->sectors - 1 : min_u64(u->sectors, 0x10000000) - 1;
    u->reg.lba_l = (u8)max;
    u->reg.lba_m = (u8)(max >> 8);
    u->reg.lba_h = (u8)(max >> 16);
    u->hob.lba_l = (u8)(max >> 24);
    u->hob.lba_m = (u8)(max >> 32);
    u->hob.lba_h = (u8)(max >> 40);
    if (!(flags & C_EXT)) c->select = (u8)((c->select & ~SEL_HEAD) | (max >> 24 & SEL_HEAD));
    ide_complete(c);
}

/* Transfer modes: PIO 0-4 (and the default), multiword DMA 0-2, ultra DMA 0-5. */
static bool mode_known(u8 mode)
{
    u8 kind = mode >> 3, n = mode & 7;
    return kind == 0 ? n <= 1 : kind == 1 ? n <= 4 : kind == 4 ? n <= 2 : kind == 8 && n <= 5;
}

static void x_features(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    bool ok = true;
    (void)flags;
    switch (u->reg.feature) {
    case 0x02: u->write_cache = true; break;
    case 0x82: u->write_cache = false; break;
    case 0xAA: u->look_ahead = true; break;
    case 0x55: u->look_ahead = false; break;
    case 0x66: /* keep settings over a reset, or do not: they are kept */
    case 0xCC: break;
    case 0x03:
        ok = mode_known(u->reg.count);
        if (ok) u->mode = u->reg.count;
        break;
    default: ok = false;
    }
    if (ok) ide_complete(c);
    else ide_fail(c, ER_ABRT);
}

static void x_power_mode(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)flags;
    ide_complete(c);
    u->reg.count = 0xFF; /* active or idle */
}

static void x_smart(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    u8 what = u->reg.feature;
    bool key = u->reg.lba_m == 0x4F && u->reg.lba_h == 0xC2;
    (void)flags;
    if (!key || (!u->smart && what != 0xD8)) {
        ide_fail(c, ER_ABRT);
        return;
    }
    switch (what) {
    case 0xD0: /* data */
    case 0xD1: /* thresholds */
        ide_smart_data(c->pio);
        reply_512(c);
        return;
    case 0xD8: u->smart = true; break;
    case 0xD9: u->smart = false; break;
    case 0xD2: /* attribute autosave */
    case 0xDA: /* status: the key stays, nothing is about to fail */ break;
    default: ide_fail(c, ER_ABRT); return;
    }
    ide_complete(c);
}

static void x_packet(struct ide_chan *c, struct ide_unit *u, u8 flags)
{
    (void)flags;
    if (u->reg.feature & 2) { /* overlapped */
        ide_fail(c, ER_ABRT);
        return;
    }
    c->phase = PH_PACKET;
    c->dma = u->reg.feature & 1;
    c->to_disk = false;
    c->left = 0;
    c->pos = 0;
    c->drq_end = PACKET_BYTES;
    u32 limit = u->reg.lba_m | (u32)u->reg.lba_h << 8;
    c->drq_bytes = limit < 2 || limit == 0xFFFF ? 0xFFFE : limit & 0xFFFE;
    c->guest_bytes = CD_BYTES;
    u->reg.count = IREASON_COD;
    u->status = ST_OK | ST_DRQ;
}

static const struct command commands[] = {
    {0x00, C_ATA | C_PI, x_abort}, /* NOP always aborts */
    {0x10, C_ATA, x_done},         /* RECALIBRATE */
    {0x20, C_ATA, x_read},
    {0x21, C_ATA, x_read},
    {0x24, C_ATA | C_EXT, x_read},
    {0x25, C_ATA | C_EXT | C_DMA, x_read},
    {0x27, C_ATA | C_EXT, x_native_max},
    {0x29, C_ATA | C_EXT | C_MULTI, x_read},
    {0x30, C_ATA, x_write},
    {0x31, C_ATA, x_write},
    {0x34, C_ATA | C_EXT, x_write},
    {0x35, C_ATA | C_EXT | C_DMA, x_write},
    {0x39, C_ATA | C_EXT | C_MULTI, x_write},
    {0x40, C_ATA, x_verify},
    {0x41, C_ATA, x_verify},
    {0x42, C_ATA | C_EXT, x_verify},
    {0x70, C_ATA, x_seek},
    {0x90, C_ATA | C_PI, x_diagnose},
    {0x91, C_ATA, x_init_params},
    {0xA0, C_PI, x_packet},
    {0xA1, C_PI, x_identify_packet},
    {0xB0, C_ATA, x_smart},
    {0xC4, C_ATA | C_MULTI, x_read},
    {0xC5, C_ATA | C_MULTI, x_write},
    {0xC6, C_ATA, x_set_multiple},
    {0xC8, C_ATA | C_DMA, x_read},
    {0xC9, C_ATA | C_DMA, x_read},
    {0xCA, C_ATA | C_DMA, x_write},
    {0xCB, C_ATA | C_DMA, x_write},
    {0xE0, C_ATA | C_PI, x_done}, /* STANDBY IMMEDIATE, IDLE IMMEDIATE, STANDBY, IDLE */
    {0xE1, C_ATA | C_PI, x_done},
    {0xE2, C_ATA | C_PI, x_done},
    {0xE3, C_ATA | C_PI, x_done},
    {0xE5, C_ATA | C_PI, x_power_mode},
    {0xE6, C_ATA | C_PI, x_done}, /* SLEEP */
    {0xE7, C_ATA | C_PI, x_flush},
    {0xEA, C_ATA, x_flush},
    {0xEC, C_ATA | C_PI, x_identify},
    {0xEF, C_ATA | C_PI, x_features},
    {0xF8, C_ATA, x_native_max},
};

void ide_command(struct ide_chan *c, u8 op)
{
    struct ide_unit *u = ide_active(c);
    ide_idle(c);
    u->error = 0;
    for (u32 i = 0; i < ARRAY_LEN(commands); i++) {
        const struct command *k = &commands[i];
        if (k->op != op || !(k->flags & (u->cdrom ? C_PI : C_ATA))) continue;
        k->run(c, u, k->flags);
        return;
    }
    ide_fail(c, ER_ABRT);
}
