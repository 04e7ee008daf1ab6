/* dev/ide_atapi.c - packet commands of the CD-ROM drive.
 * A command that fails leaves its reason as sense data and the key in the error register. Unit
 * attention (power-on, the disc was taken out or put in) fails the next command but the few that
 * tell about it.
 * Spec: MMC-4 6; SPC-3 6.24 (REQUEST SENSE).  Threads: under the bus lock. */
#include <string.h>

#include "dev/ide_internal.h"

enum { /* sense keys; additional sense codes */
       KEY_NOT_READY = 2,
       KEY_ILLEGAL = 5,
       KEY_ATTENTION = 6,
       ASC_OPCODE = 0x20,
       ASC_LBA = 0x21,
       ASC_FIELD = 0x24,
       ASC_NO_MEDIUM = 0x3A,
       ASC_LOCKED = 0x53,
       ASC_MEDIUM_CHANGED = 0x28,
};
enum { P_MEDIUM = 1 << 0, P_ATTENTION_OK = 1 << 1 };
struct packet_command {
    u8 op, flags; /* needs a disc; works although a unit attention waits */
    void (*run)(struct ide_chan *c, struct ide_unit *u, const u8 *p);
};

static u32 be16(const u8 *p) { return (u32)p[0] << 8 | p[1]; }
static u32 be24(const u8 *p) { return (u32)p[0] << 16 | be16(p + 1); }
static u32 be32(const u8 *p) { return be16(p) << 16 | be16(p + 2); }
static void put32(u8 *p, u32 v)
{
    for (u32 i = 0; i < 4; i++) p[i] = (u8)(v >> 8 * (3 - i));
}

static bool has_disc(const struct ide_unit *u) { return u->block && !u->open; }

static void check(struct ide_chan *c, u8 key, u8 asc, u8 ascq)
{
    struct ide_unit *u = ide_active(c);
    u->key = key;
    u->asc = asc;
    u->ascq = ascq;
    ide_fail(c, (u8)(key << 4 | (key == KEY_ILLEGAL ? ER_ABRT : 0)));
}

static void invalid(struct ide_chan *c) { check(c, KEY_ILLEGAL, ASC_FIELD, 0); }

/* pio[] holds @bytes of data; the guest gets what it has room for. */
static void reply(struct ide_chan *c, u32 bytes, u32 room)
{
    ide_reply(c, (u32)min_u64(bytes, room));
}

/* ---- reading --------------------------------------------------------------------------------- */

static void read_sectors(struct ide_chan *c, struct ide_unit *u, u64 lba, u32 count)
{
    if (lba > u->sectors || count > u->sectors - lba) {
        check(c, KEY_ILLEGAL, ASC_LBA, 0);
        return;
    }
    if (!count) {
        ide_complete(c);
        return;
    }
    c->lba = lba;
    c->left = count;
    ide_read_disk(c);
}

static void p_read10(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    read_sectors(c, u, be32(p + 2), be16(p + 7));
}

static void p_read12(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    read_sectors(c, u, be32(p + 2), be32(p + 6));
}

/* Byte 9 says which parts of a sector: only the data, all of it, or none. */
static void p_read_cd(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    u32 count = be24(p + 6), type = p[1] >> 2 & 7;
    if (type != 0 && type != 2 && type != 4) { /* any, mode 1, mode 2 form 1 */
        check(c, KEY_ILLEGAL, 0x64, 0);        /* illegal mode for this track */
        return;
    }
    switch (p[9] & 0xF8) {
    case 0x00: count = 0; break;
    case 0x10: break;
    case 0xF8: c->guest_bytes = CD_RAW_BYTES; break;
    default: invalid(c); return;
    }
    read_sectors(c, u, be32(p + 2), count);
}

static void p_seek(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    if (be32(p + 2) < u->sectors) ide_complete(c);
    else check(c, KEY_ILLEGAL, ASC_LBA, 0);
}

static void p_capacity(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    (void)p;
    put32(c->pio, (u32)(u->sectors - 1));
    put32(c->pio + 4, CD_BYTES);
    reply(c, 8, 8);
}

/* ---- state ----------------------------------------------------------------------------------- */

static void p_ok(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    (void)u, (void)p;
    ide_complete(c);
}

static void p_sense(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    memset(c->pio, 0, 18);
    c->pio[0] = 0x70;
    c->pio[2] = u->key;
    c->pio[7] = 10;
    c->pio[12] = u->asc;
    c->pio[13] = u->ascq;
    u->key = u->asc = u->ascq = 0;
    u->attention = false;
    reply(c, 18, p[4]);
}

static void p_inquiry(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    (void)u;
    if (p[1] & 3 || p[2]) { /* vital product data */
        invalid(c);
        return;
    }
    reply(c, mmc_inquiry(c->pio), be16(p + 3));
}

static void p_prevent(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    u->locked = p[4] & 1;
    ide_complete(c);
}

/* Load and eject: the disc stays in the drive, but behind an open tray it cannot be read. */
static void p_start_stop(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    bool eject = (p[4] & 3) == 2, load = (p[4] & 3) == 3;
    if (eject && u->locked) {
        check(c, has_disc(u) ? KEY_ILLEGAL : KEY_NOT_READY, ASC_LOCKED, 2);
        return;
    }
    if (load && u->open) {
        u->attention = true;
        u->key = KEY_ATTENTION;
        u->asc = ASC_MEDIUM_CHANGED;
        u->ascq = 0;
    }
    if (eject || load) u->open = eject;
    ide_complete(c);
}

static void p_mechanism(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    memset(c->pio, 0, 8);
    if (u->open) c->pio[1] |= 1 << 4;
    reply(c, 8, be16(p + 8));
}

/* Polled only; the one class of events we have is "media". */
static void p_event(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    u8 *out = c->pio;
    if (!(p[1] & 1)) { /* asynchronous */
        invalid(c);
        return;
    }
    memset(out, 0, 8);
    out[3] = 1 << 4; /* supported */
    if (!(p[4] & 1 << 4)) {
        out[1] = 2;
        out[2] = 0x80; /* none of what was asked for */
        reply(c, 4, be16(p + 7));
        return;
    }
    out[1] = 6;
    out[2] = 4;
    if (u->attention && u->asc == ASC_MEDIUM_CHANGED) out[4] = 2; /* new media */
    out[5] = (u8)((u->open ? 1 : 0) | (has_disc(u) ? 2 : 0));
    reply(c, 8, be16(p + 7));
}

/* ---- data ------------------------------------------------------------------------------------ */

static void p_toc(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    u32 n = mmc_toc(u, p, c->pio);
    if (n) reply(c, n, be16(p + 7));
    else invalid(c);
}

static void p_configuration(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    if ((p[1] & 3) > 2) invalid(c);
    else reply(c, mmc_configuration(u, p, c->pio), be16(p + 7));
}

/* Header of 8 bytes and one page, or all of them. */
static void p_mode_sense(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    u32 n = mmc_mode_page(u, p[2] & 0x3F, c->pio + 8);
    if (!n || p[2] >> 6 == 3) { /* saved values */
        invalid(c);
        return;
    }
    memset(c->pio, 0, 8);
    c->pio[1] = (u8)(6 + n);
    c->pio[2] = u->open ? 0x71 : has_disc(u) ? 0x01 : 0x70;
    if (p[2] >> 6 == 1) memset(c->pio + 10, 0, n - 2); /* changeable: nothing is */
    reply(c, 8 + n, be16(p + 7));
}

static void p_disc_info(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    (void)u;
    if (p[1] & 7) invalid(c);
    else reply(c, mmc_disc_info(c->pio), be16(p + 7));
}

static void p_track_info(struct ide_chan *c, struct ide_unit *u, const u8 *p)
{
    reply(c, mmc_track_info(u, c->pio), be16(p + 7));
}

static const struct packet_command packets[] = {
    {0x00, P_MEDIUM, p_ok}, /* TEST UNIT READY */
    {0x03, P_ATTENTION_OK, p_sense}, {0x12, P_ATTENTION_OK, p_inquiry},
    {0x1B, 0, p_start_stop},         {0x1E, 0, p_prevent},
    {0x25, P_MEDIUM, p_capacity},    {0x28, P_MEDIUM, p_read10},
    {0x2B, P_MEDIUM, p_seek},        {0x35, 0, p_ok}, /* SYNCHRONIZE CACHE */
    {0x43, P_MEDIUM, p_toc},         {0x46, P_ATTENTION_OK, p_configuration},
    {0x4A, P_ATTENTION_OK, p_event}, {0x51, P_MEDIUM, p_disc_info},
    {0x52, P_MEDIUM, p_track_info},  {0x5A, 0, p_mode_sense},
    {0xA8, P_MEDIUM, p_read12},      {0xBB, 0, p_ok}, /* SET CD SPEED */
    {0xBD, 0, p_mechanism},          {0xBE, P_MEDIUM, p_read_cd},
};

/* May @k run now? If not, it has failed already. */
static bool admitted(struct ide_chan *c, struct ide_unit *u, const struct packet_command *k)
{
    if (u->attention && !(k->flags & P_ATTENTION_OK)) {
        u->attention = false;
        check(c, KEY_ATTENTION, u->asc, u->ascq);
        return false;
    }
    if (!(k->flags & P_MEDIUM) || has_disc(u)) return true;
    check(c, KEY_NOT_READY, ASC_NO_MEDIUM, u->open ? 2 : 1);
    return false;
}

void ide_packet(struct ide_chan *c)
{
    struct ide_unit *u = ide_active(c);
    u8 p[PACKET_BYTES];
    memcpy(p, c->pio, sizeof p); /* replies are made in pio[] */
    for (u32 i = 0; i < ARRAY_LEN(packets); i++) {
        if (packets[i].op != p[0]) continue;
        if (!admitted(c, u, &packets[i])) return;
        if (!u->attention && p[0] != 0x03) u->key = u->asc = u->ascq = 0;
        packets[i].run(c, u, p);
        return;
    }
    check(c, KEY_ILLEGAL, ASC_OPCODE, 0);
}
