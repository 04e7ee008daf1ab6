/* smbios - see smbios.h. A structure is its fixed part, whose first four bytes are type, length and
 * handle, and its strings, each with a NUL, another NUL behind the last. A field that is a string
 * holds its number, counted from 1. */
#include "boot/smbios.h"

#include <string.h>

#include "base/check.h"
#include "boot/layout.h"

enum { MAJOR = 2, MINOR = 8, ANCHOR_HALF = 0x10 };
enum { HEADER_BYTES = 4, STRING_BYTES_MAX = 64, TABLES_GAP = 0x20 };
/* handles: the type in the high byte, then a count */
enum { H_FIRMWARE = 0x0000, H_SYSTEM = 0x0100, H_CHASSIS = 0x0300, H_PROCESSOR = 0x0400 };
enum { H_ARRAY = 0x1000, H_DEVICE = 0x1100, H_MAPPED = 0x1300, H_BOOT = 0x2000, H_END = 0x7F00 };
enum { UNKNOWN = 2, OTHER = 1, STATE_SAFE = 3, NO_HANDLE = 0xFFFF, NO_ERROR_INFO = 0xFFFE };

struct writer {
    u8 *at, *end;
    u8 *fixed;   /* the structure being written */
    u8 strings;  /* of it, so far               */
    u16 count;   /* structures                  */
    u16 largest; /* bytes of the largest        */
};

static void put(u8 *p, u64 val, u32 bytes) { memcpy(p, &val, bytes); }

/* A structure of @bytes, zeroed but for its header; fields first, then strings, then close(). */
static u8 *open(struct writer *w, u16 handle, u8 bytes)
{
    ASSERT(w->at + bytes < w->end, "SMBIOS: %u structures are too many", w->count);
    w->fixed = w->at;
    w->strings = 0;
    memset(w->fixed, 0, bytes);
    w->fixed[0] = (u8)(handle >> 8);
    w->fixed[1] = bytes;
    put(w->fixed + 2, handle, 2);
    w->at += bytes;
    return w->fixed;
}

static void string(struct writer *w, u32 field, const char *text)
{
    const size_t len = strnlen(text, STRING_BYTES_MAX);
    if (!len) return; /* number 0: none */
    ASSERT(w->at + len < w->end, "SMBIOS: strings are too long");
    memcpy(w->at, text, len);
    w->at[len] = 0;
    w->at += len + 1;
    w->fixed[field] = ++w->strings;
}

static void close(struct writer *w)
{
    ASSERT(w->at + 2 <= w->end, "SMBIOS: the tables are full");
    if (!w->strings) *w->at++ = 0;
    *w->at++ = 0;
    w->count++;
    w->largest = (u16)max_u64(w->largest, (u64)(w->at - w->fixed));
}

/* ---- structures ------------------------------------------------------------------------------ */

/* 7.1 */
static void firmware(struct writer *w)
{
    enum { NO_CHARACTERISTICS = 1 << 3, EXT2_VIRTUAL = 1 << 4 };
    u8 *t = open(w, H_FIRMWARE, 0x18);
    put(t + 0x06, 0xE800, 2);
    put(t + 0x0A, NO_CHARACTERISTICS, 8);
    t[0x13] = EXT2_VIRTUAL;
    t[0x14] = 1;              /* release 1.0 */
    put(t + 0x16, 0xFFFF, 2); /* no embedded controller */
    string(w, 0x04, "ring3");
    string(w, 0x05, "1.0");
    string(w, 0x08, "01/01/2024");
    close(w);
}

/* 7.2 */
static void system_info(struct writer *w)
{
    enum { WAKE_POWER_SWITCH = 6 };
    u8 *t = open(w, H_SYSTEM, 0x1B);
    t[0x18] = WAKE_POWER_SWITCH; /* the UUID before it is 0: none */
    string(w, 0x04, "ring3");
    string(w, 0x05, "pc");
    string(w, 0x06, "1.0");
    close(w);
}

/* 7.4 */
static void chassis(struct writer *w)
{
    u8 *t = open(w, H_CHASSIS, 0x16);
    t[0x05] = OTHER;
    t[0x09] = t[0x0A] = t[0x0B] = STATE_SAFE; /* as booted, power supply, temperature */
    t[0x0C] = UNKNOWN;                        /* security */
    string(w, 0x04, "ring3");
    close(w);
}

/* 7.5 */
static void processor(struct writer *w, const struct smbios_config *c)
{
    enum { CENTRAL = 3, ENABLED_POPULATED = 0x41, SOCKET_OTHER = 1, BITS64 = 1 << 2 };
    u8 *t = open(w, H_PROCESSOR, 0x2A);
    t[0x05] = CENTRAL;
    t[0x06] = OTHER;
    put(t + 0x08, c->signature, 4);
    put(t + 0x14, c->mhz, 2);
    put(t + 0x16, c->mhz, 2);
    t[0x18] = ENABLED_POPULATED;
    t[0x19] = SOCKET_OTHER;
    put(t + 0x1A, NO_HANDLE, 2); /* no cache structures */
    put(t + 0x1C, NO_HANDLE, 2);
    put(t + 0x1E, NO_HANDLE, 2);
    t[0x23] = t[0x24] = t[0x25] = (u8)c->cpus; /* cores, enabled, threads */
    put(t + 0x26, BITS64, 2);
    put(t + 0x28, OTHER, 2);
    string(w, 0x04, "CPU 0");
    string(w, 0x07, c->vendor);
    close(w);
}

/* 7.17 */
static void memory_array(struct writer *w, u64 bytes)
{
    enum { LOCATION_OTHER = 1, USE_SYSTEM = 3, ECC_NONE = 3 };
    u8 *t = open(w, H_ARRAY, 0x17);
    t[0x04] = LOCATION_OTHER;
    t[0x05] = USE_SYSTEM;
    t[0x06] = ECC_NONE;
    put(t + 0x07, 0x80000000, 4); /* capacity: below */
    put(t + 0x0B, NO_ERROR_INFO, 2);
    put(t + 0x0D, 1, 2); /* devices */
    put(t + 0x0F, bytes, 8);
    close(w);
}

/* 7.18: one device with everything; its size in MiB, or in KiB when it is no whole number of them.
 */
static void memory_device(struct writer *w, u64 bytes)
{
    enum { FORM_DIMM = 9, TYPE_RAM = 7, DETAIL_OTHER = 1 << 1, EXTENDED = 0x7FFF };
    const u64 mib = bytes >> 20;
    u8 *t = open(w, H_DEVICE, 0x28);
    put(t + 0x04, H_ARRAY, 2);
    put(t + 0x06, NO_ERROR_INFO, 2);
    put(t + 0x08, 0xFFFF, 2); /* widths: unknown */
    put(t + 0x0A, 0xFFFF, 2);
    put(t + 0x0C, min_u64(mib, EXTENDED), 2);
    t[0x0E] = FORM_DIMM;
    t[0x12] = TYPE_RAM;
    put(t + 0x13, DETAIL_OTHER, 2);
    if (mib >= EXTENDED) put(t + 0x1C, mib, 4);
    string(w, 0x10, "DIMM 0");
    string(w, 0x17, "ring3");
    close(w);
}

/* 7.20 */
static void mapped(struct writer *w, u16 index, u64 base, u64 bytes)
{
    if (!bytes) return;
    u8 *t = open(w, (u16)(H_MAPPED + index), 0x1F);
    const u64 last = base + bytes - 1;
    const bool wide = last >> 42 != 0; /* KiB in 32 bits */
    put(t + 0x04, wide ? UINT32_MAX : base >> 10, 4);
    put(t + 0x08, wide ? UINT32_MAX : last >> 10, 4);
    put(t + 0x0C, H_ARRAY, 2);
    t[0x0E] = 1; /* devices in a row */
    if (wide) put(t + 0x0F, base, 8), put(t + 0x17, last, 8);
    close(w);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void checksum(u8 *at, const u8 *from, u32 bytes)
{
    u8 sum = 0;
    *at = 0;
    for (u32 i = 0; i < bytes; i++) sum = (u8)(sum + from[i]);
    *at = (u8)-sum;
}

/* 5.2.1: the 32-bit entry point; its second half, "_DMI_", has a checksum of its own. */
static void anchor(struct smbios *s, const struct writer *w, u32 tables_gpa)
{
    u8 *a = s->anchor;
    memset(a, 0, SMBIOS_ANCHOR_BYTES);
    memcpy(a, "_SM_", 4);
    a[5] = SMBIOS_ANCHOR_BYTES;
    a[6] = MAJOR;
    a[7] = MINOR;
    put(a + 8, w->largest, 2);
    memcpy(a + ANCHOR_HALF, "_DMI_", 5);
    put(a + 0x16, s->bytes, 2);
    put(a + 0x18, tables_gpa, 4);
    put(a + 0x1C, w->count, 2);
    a[0x1E] = MAJOR << 4 | MINOR;
    checksum(a + 0x15, a + ANCHOR_HALF, SMBIOS_ANCHOR_BYTES - ANCHOR_HALF);
    checksum(a + 4, a, SMBIOS_ANCHOR_BYTES);
}

void smbios_make(struct smbios *out, const struct smbios_config *cfg, u32 tables_gpa)
{
    struct writer w = {.at = out->tables, .end = out->tables + SMBIOS_TABLES_BYTES_MAX};
    const u64 bytes = cfg->low_bytes + cfg->high_bytes;
    firmware(&w);
    system_info(&w);
    chassis(&w);
    processor(&w, cfg);
    memory_array(&w, bytes);
    memory_device(&w, bytes);
    mapped(&w, 0, 0, cfg->low_bytes);
    mapped(&w, 1, RAM_ABOVE_4G, cfg->high_bytes);
    open(&w, H_BOOT, 0x0B); /* 7.33: status 0, no error */
    close(&w);
    open(&w, H_END, HEADER_BYTES);
    close(&w);
    out->bytes = (u32)(w.at - out->tables);
    anchor(out, &w, tables_gpa);
}

int smbios_build(struct mem *mem, const struct smbios_config *cfg, struct err *e)
{
    struct smbios s;
    smbios_make(&s, cfg, SMBIOS_START + TABLES_GAP);
    if (mem_load(mem, SMBIOS_START, s.anchor, sizeof s.anchor) < 0 ||
        mem_load(mem, SMBIOS_START + TABLES_GAP, s.tables, s.bytes) < 0)
        return err_set(e, E_RANGE, "no memory at %#x for the SMBIOS tables", SMBIOS_START);
    return 0;
}
