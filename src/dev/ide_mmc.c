/* dev/ide_mmc.c - what the CD-ROM drive tells about itself and its disc: one data track that starts
 * at 0 and fills the disc.
 * Spec: MMC-4 5 (features), 6.3 (commands), 7 (mode pages); SPC-3 6.4 (INQUIRY); ECMA-130
 * (sectors). Threads: under the bus lock. */
#include <string.h>

#include "dev/ide_internal.h"

enum { LEADOUT = 0xAA, TRACK_DATA = 0x14, FRAMES = 75, PREGAP = 150 };
enum { PROFILE_CD = 8, PROFILE_DVD = 0x10, CD_SECTORS_MAX = 450000 };

static void put16(u8 *p, u32 v)
{
    p[0] = (u8)(v >> 8);
    p[1] = (u8)v;
}
static void put32(u8 *p, u32 v)
{
    put16(p, v >> 16);
    put16(p + 2, v & 0xFFFF);
}

/* Minute, second, frame of sector @lba. */
static void put_msf(u8 *p, u32 lba)
{
    lba += PREGAP;
    p[0] = (u8)(lba / (60 * FRAMES));
    p[1] = (u8)(lba / FRAMES % 60);
    p[2] = (u8)(lba % FRAMES);
}

static u8 bcd(u8 v) { return (u8)(v / 10 % 10 << 4 | v % 10); }

u32 mmc_inquiry(u8 *out)
{
    static const u8 head[8] = {0x05, 0x80, 0x00, 0x21, 31, 0, 0, 0};
    memcpy(out, head, 8);
    memcpy(out + 8, "RING3   CD-ROM          1.0 ", 28);
    return 36;
}

/* An address in a table of contents: as minutes or as a sector. */
static void put_start(u8 *p, u32 lba, bool msf)
{
    p[0] = 0;
    if (msf) put_msf(p + 1, lba);
    else put32(p, lba);
}

static u8 *put_track(u8 *p, u8 track, u32 lba, bool msf)
{
    memset(p, 0, 8);
    p[1] = TRACK_DATA;
    p[2] = track;
    put_start(p + 4, lba, msf);
    return p + 8;
}

/* Format 2, one line: session 1, point, its address in minutes. */
static u8 *put_full(u8 *p, u8 point, u32 lba)
{
    memset(p, 0, 11);
    p[0] = 1;
    p[1] = TRACK_DATA;
    p[3] = point;
    if (point == 0xA0 || point == 0xA1) p[8] = 1; /* first and last track */
    else put_msf(p + 8, lba);
    return p + 11;
}

u32 mmc_toc(const struct ide_unit *u, const u8 *packet, u8 *out)
{
    bool msf = packet[1] & 2;
    u8 format = packet[2] & 15, start = packet[6], *p = out + 4;
    u32 end = (u32)u->sectors;
    if (!format) format = packet[9] >> 6; /* where older drivers put it */
    out[2] = out[3] = 1;                  /* first and last track or session */
    switch (format) {
    case 0:
        if (start > 1 && start != LEADOUT) return 0;
        if (start <= 1) p = put_track(p, 1, 0, msf);
        p = put_track(p, LEADOUT, end, msf);
        break;
    case 1: p = put_track(p, 1, 0, msf); break;
    case 2:
        p = put_full(p, 0xA0, 0);
        p = put_full(p, 0xA1, 0);
        p = put_full(p, 0xA2, end);
        p = put_full(p, 1, 0);
        break;
    default: return 0;
    }
    put16(out, (u32)(p - out - 2));
    return (u32)(p - out);
}

/* One feature descriptor; @flags: version << 2, persistent 2, current 1. */
static u8 *put_feature(u8 *p, u32 code, u8 flags, u8 extra)
{
    memset(p, 0, 4u + extra);
    put16(p, code);
    p[2] = flags;
    p[3] = extra;
    return p + 4;
}

u32 mmc_configuration(const struct ide_unit *u, const u8 *packet, u8 *out)
{
    u32 first = (u32)packet[2] << 8 | packet[3], how = packet[1] & 3;
    bool disc = u->block && !u->open, dvd = u->sectors > CD_SECTORS_MAX;
    u8 *p = out + 8;
    memset(out, 0, 8);
    if (disc) put16(out + 6, dvd ? PROFILE_DVD : PROFILE_CD);
    for (u32 code = 0; code <= 0x1E; code++) {
        if (how == 2 ? code != first : code < first) continue;
        if (code == 0) { /* profiles */
            p = put_feature(p, code, 3, 8);
            put16(p, PROFILE_DVD);
            p[2] = disc && dvd;
            put16(p + 4, PROFILE_CD);
            p[6] = disc && !dvd;
            p += 8;
        } else if (code == 1) { /* core: ATAPI */
            p = put_feature(p, code, 3 | 2 << 2, 8);
            p[3] = 2;
            p[4] = 1;
            p += 8;
        } else if (code == 3) { /* removable medium: tray, ejects, locks */
            p = put_feature(p, code, 3, 4);
            p[0] = 1 << 5 | 1 << 3 | 1;
            p += 4;
        } else if (code == 0x10 && (how != 1 || disc)) { /* random readable */
            p = put_feature(p, code, disc, 8);
            put32(p, CD_BYTES);
            put16(p + 4, 1);
            p += 8;
        } else if (code == 0x1E && (how != 1 || disc)) { /* CD read */
            p = put_feature(p, code, (u8)(2 << 2 | disc), 4) + 4;
        }
    }
    put32(out, (u32)(p - out - 4));
    return (u32)(p - out);
}

static u8 *put_capabilities(const struct ide_unit *u, u8 *p)
{
    memset(p, 0, 20);
    p[0] = 0x2A;
    p[1] = 18;
    p[2] = 0x3B;   /* reads CD-R, CD-RW, DVD-ROM, DVD-R, method 2 */
    p[4] = 1 << 4; /* mode 2 form 1 */
    p[6] = (u8)(1 << 5 | 1 << 3 | 1 | (u->locked ? 2 : 0)); /* tray, ejects, locks */
    put16(p + 8, 50 * 176);
    put16(p + 12, 512);
    put16(p + 14, 50 * 176);
    return p + 20;
}

static u8 *put_error_recovery(u8 *p)
{
    memset(p, 0, 8);
    p[0] = 0x01;
    p[1] = 6;
    p[3] = 5; /* retries */
    return p + 8;
}

u32 mmc_mode_page(const struct ide_unit *u, u8 page, u8 *out)
{
    u8 *p = out;
    if (page == 0x01 || page == 0x3F) p = put_error_recovery(p);
    if (page == 0x2A || page == 0x3F) p = put_capabilities(u, p);
    return (u32)(p - out);
}

u32 mmc_disc_info(u8 *out)
{
    memset(out, 0, 34);
    put16(out, 32);
    out[2] = 3 << 2 | 2; /* last session complete, disc complete */
    out[3] = out[4] = out[5] = out[6] = 1;
    out[7] = 0x20; /* unrestricted use */
    return 34;
}

u32 mmc_track_info(const struct ide_unit *u, u8 *out)
{
    memset(out, 0, 28);
    put16(out, 26);
    out[2] = out[3] = 1;
    out[5] = 4; /* data */
    out[6] = 1; /* mode 1 */
    put32(out + 24, (u32)u->sectors);
    return 28;
}

/* 12 bytes of synchronisation, header, data, then error codes, which we leave zero. */
void mmc_raw(u8 *sector, u32 lba)
{
    u8 msf[3];
    memmove(sector + 16, sector, CD_BYTES);
    memset(sector, 0xFF, 12);
    sector[0] = sector[11] = 0;
    put_msf(msf, lba);
    for (u32 i = 0; i < 3; i++) sector[12 + i] = bcd(msf[i]);
    sector[15] = 1; /* mode */
    memset(sector + 16 + CD_BYTES, 0, CD_RAW_BYTES - 16 - CD_BYTES);
}
