/* dev/ide_identify.c - the 512 bytes of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE, and SMART's.
 * Spec: ATA/ATAPI-6 8.15, 8.16, 8.41.  Threads: under the bus lock. */
#include <stdio.h>
#include <string.h>

#include "dev/ide_internal.h"

enum { WORDS = 256, CYLINDERS_MAX = 16383, HEADS = 16, SPT = 63 };
#define LBA28_MAX 0x0FFFFFFFull

static void put_word(u8 *out, u32 word, u32 val)
{
    out[word * 2] = (u8)val;
    out[word * 2 + 1] = (u8)(val >> 8);
}

static void put_dword(u8 *out, u32 word, u64 val)
{
    put_word(out, word, (u32)val & 0xFFFF);
    put_word(out, word + 1, (u32)(val >> 16) & 0xFFFF);
}

/* Text stands padded with blanks, the bytes of every word swapped. */
static void put_text(u8 *out, u32 word, u32 words, const char *text)
{
    size_t len = strlen(text);
    for (u32 i = 0; i < words * 2; i++) out[(word * 2 + i) ^ 1] = i < len ? (u8)text[i] : ' ';
}

static void put_names(u8 *out, const char *model, u32 serial)
{
    char text[24];
    snprintf(text, sizeof text, "R3%08u", serial);
    put_text(out, 10, 10, text);
    put_text(out, 23, 4, "1.0");
    put_text(out, 27, 20, model);
}

/* Words 62-70 and 88: modes, and which of them is selected. */
static void put_modes(const struct ide_unit *u, u8 *out)
{
    u32 kind = u->mode >> 3, selected = 1u << (u->mode & 7);
    put_word(out, 53, 1 << 1 | 1 << 2);
    put_word(out, 63, 7 | (kind == 4 ? selected << 8 : 0));
    put_word(out, 64, 3); /* PIO 3 and 4 */
    for (u32 w = 65; w <= 68; w++) put_word(out, w, 120);
    put_word(out, 88, 0x3F | (kind == 8 ? selected << 8 : 0));
}

static void put_geometry(const struct ide_unit *u, u8 *out)
{
    u32 cyls = (u32)min_u64(u->sectors / (HEADS * SPT), CYLINDERS_MAX);
    u32 per = (u32)u->heads * u->spt, now = per ? (u32)min_u64(u->sectors / per, 65535) : 0;
    put_word(out, 1, cyls);
    put_word(out, 3, HEADS);
    put_word(out, 6, SPT);
    put_word(out, 54, now);
    put_word(out, 55, u->heads);
    put_word(out, 56, u->spt);
    put_dword(out, 57, (u64)now * per);
}

void ide_identify(const struct ide_unit *u, u32 serial, u8 *out)
{
    u32 features = 1 << 0 | 1 << 3 | 1 << 5 | 1 << 6; /* SMART, power, write cache, look-ahead */
    u32 on = features & ~(1u << 0 | 1u << 5 | 1u << 6);
    if (u->smart) on |= 1 << 0;
    if (u->write_cache) on |= 1 << 5;
    if (u->look_ahead) on |= 1 << 6;
    memset(out, 0, WORDS * 2);
    put_word(out, 0, 0x0040);
    put_names(out, "RING3 HARDDISK", serial);
    put_geometry(u, out);
    put_word(out, 47, 0x8000 | MULTIPLE_MAX);
    put_word(out, 49, 1 << 8 | 1 << 9 | 1 << 11); /* DMA, LBA, IORDY */
    put_word(out, 50, 0x4000);
    put_word(out, 59, u->multiple ? 0x100u | u->multiple : 0);
    put_dword(out, 60, min_u64(u->sectors, LBA28_MAX));
    put_modes(u, out);
    put_word(out, 53, 7);
    put_word(out, 80, 0x7E); /* ATA-1 to ATA/ATAPI-6 */
    put_word(out, 82, features);
    put_word(out, 83, 0x4000 | 1 << 10 | 1 << 12 | 1 << 13); /* LBA48, FLUSH CACHE (EXT) */
    put_word(out, 84, 0x4000);
    put_word(out, 85, on);
    put_word(out, 86, 1 << 10 | 1 << 12 | 1 << 13);
    put_word(out, 87, 0x4000);
    put_word(out, 93, 0x6001); /* 80-conductor cable */
    put_dword(out, 100, u->sectors);
    put_dword(out, 102, u->sectors >> 32);
}

void ide_identify_packet(const struct ide_unit *u, u32 serial, u8 *out)
{
    memset(out, 0, WORDS * 2);
    put_word(out, 0, 0x85C0); /* ATAPI CD-ROM, removable, 12-byte packets, DRQ within 50 us */
    put_names(out, "RING3 CD-ROM", serial);
    put_word(out, 49, 1 << 8 | 1 << 9 | 1 << 11);
    put_modes(u, out);
    put_word(out, 80, 0x7E);
    put_word(out, 82, 1 << 4 | 1 << 9); /* PACKET, DEVICE RESET */
    put_word(out, 83, 0x4000);
    put_word(out, 84, 0x4000);
    put_word(out, 85, 1 << 4 | 1 << 9);
    put_word(out, 87, 0x4000);
}

/* No attributes; off-line collection never started; a checksum of zero over all. */
void ide_smart_data(u8 *out)
{
    u8 sum = 0;
    memset(out, 0, WORDS * 2);
    out[0] = 1;
    for (u32 i = 0; i < WORDS * 2 - 1; i++) sum += out[i];
    out[WORDS * 2 - 1] = (u8)-sum;
}
