/* aml - AML encodings. Every length is written minimal, as a compiler would. */
#include "boot/aml.h"

#include <string.h>

#include "base/check.h"

enum { /* opcodes and prefixes, ACPI 6.5 §20.2 */
       AML_ZERO = 0x00,
       AML_ONE = 0x01,
       AML_NAME = 0x08,
       AML_BYTE = 0x0a,
       AML_WORD = 0x0b,
       AML_DWORD = 0x0c,
       AML_STRING = 0x0d,
       AML_QWORD = 0x0e,
       AML_SCOPE = 0x10,
       AML_BUFFER = 0x11,
       AML_PACKAGE = 0x12,
       AML_METHOD = 0x14,
       AML_DUAL = 0x2e,
       AML_MULTI = 0x2f,
       AML_EXT = 0x5b,
       AML_EXT_DEVICE = 0x82,
};
enum { /* resource descriptors, ACPI 6.5 §6.4.2-6.4.3 */
       RES_IRQ_NO_FLAGS = 0x22,
       RES_DMA = 0x2a,
       RES_IO = 0x47,
       RES_END_TAG = 0x79,
       RES_DWORD_SPACE = 0x87,
       RES_WORD_SPACE = 0x88,
       RES_INTERRUPT = 0x89,
       RES_QWORD_SPACE = 0x8a,
};
enum { SPACE_MEM = 0, SPACE_IO = 1, SPACE_BUS = 2 };
enum {
    SPACE_FIXED = 0x0c,     /* general flags: producer, positive decode, min and max fixed */
    SPACE_MEM_RW = 0x01,    /* memory flags: read-write, not cacheable                     */
    SPACE_IO_ENTIRE = 0x03, /* I/O flags: ISA and non-ISA addresses                        */
    IO_DECODE16 = 0x01,     /* I/O port descriptor                                         */
    INTERRUPT_FLAGS = 0x09, /* consumer (bit 0), level, active high, shared (3) */
};

void aml_init(struct aml *a, void *buf, size_t cap) { *a = (struct aml){.buf = buf, .cap = cap}; }

static void put(struct aml *a, const void *data, size_t bytes)
{
    if (a->failed || bytes > a->cap - a->bytes) {
        a->failed = true;
        return;
    }
    memcpy(a->buf + a->bytes, data, bytes);
    a->bytes += bytes;
}

/* @val as @bytes little-endian bytes */
static void put_le(struct aml *a, u64 val, u32 bytes)
{
    for (u32 i = 0; i < bytes; i++) put(a, &(u8){(u8)(val >> (8 * i))}, 1);
}

static void put8(struct aml *a, u8 val) { put(a, &val, 1); }

/* NameSeg: up to four characters, padded with '_'. */
static void put_seg(struct aml *a, const char *s, size_t len)
{
    u8 seg[4] = {'_', '_', '_', '_'};
    ASSERT(len >= 1 && len <= 4, "AML name segment '%s'", s);
    memcpy(seg, s, len);
    put(a, seg, 4);
}

/* NameString: optional '\', then one, two or more segments separated by '.'. */
static void put_path(struct aml *a, const char *path)
{
    u32 segs = 1;
    if (*path == '\\') {
        put8(a, (u8)*path++);
    }
    if (!*path) {
        put8(a, AML_ZERO);
        return;
    }
    for (const char *p = path; *p; p++) segs += *p == '.';
    if (segs == 2) put8(a, AML_DUAL);
    if (segs > 2) {
        put8(a, AML_MULTI);
        put8(a, (u8)segs);
    }
    while (segs-- > 0) {
        size_t len = strcspn(path, ".");
        put_seg(a, path, len);
        path += len + (path[len] == '.');
    }
}

static void open_term(struct aml *a)
{
    ASSERT(a->depth < AML_DEPTH_MAX, "AML nesting");
    a->open[a->depth++] = a->bytes;
}

/* PkgLength counts itself: one byte up to 63, else a lead byte with the low 4 bits and the number
 * of bytes that follow. */
static u32 pkg_length(u8 out[4], size_t content)
{
    if (content + 1 < 64) {
        out[0] = (u8)(content + 1);
        return 1;
    }
    u32 bytes = content + 2 < BIT(12) ? 2 : content + 3 < BIT(20) ? 3 : 4;
    size_t total = content + bytes;
    out[0] = (u8)((bytes - 1) << 6 | (total & 15));
    for (u32 i = 1; i < bytes; i++) out[i] = (u8)(total >> (8 * i - 4));
    return bytes;
}

/* Put @head before everything written since @start. */
static void insert(struct aml *a, size_t start, const u8 *head, u32 head_bytes)
{
    if (a->failed || head_bytes > a->cap - a->bytes) {
        a->failed = true;
        return;
    }
    memmove(a->buf + start + head_bytes, a->buf + start, a->bytes - start);
    memcpy(a->buf + start, head, head_bytes);
    a->bytes += head_bytes;
}

void aml_close(struct aml *a)
{
    u8 len[4];
    ASSERT(a->depth > 0, "AML close without open");
    size_t start = a->open[--a->depth];
    if (!a->failed) insert(a, start, len, pkg_length(len, a->bytes - start));
}

void aml_open_scope(struct aml *a, const char *name)
{
    put8(a, AML_SCOPE);
    open_term(a);
    put_path(a, name);
}

void aml_open_device(struct aml *a, const char *name)
{
    put8(a, AML_EXT);
    put8(a, AML_EXT_DEVICE);
    open_term(a);
    put_path(a, name);
}

void aml_open_method(struct aml *a, const char *name, u8 args)
{
    put8(a, AML_METHOD);
    open_term(a);
    put_path(a, name);
    put8(a, args & 7);
}

void aml_open_package(struct aml *a, u8 elements)
{
    put8(a, AML_PACKAGE);
    open_term(a);
    put8(a, elements);
}

void aml_name(struct aml *a, const char *name)
{
    put8(a, AML_NAME);
    put_path(a, name);
}

void aml_int(struct aml *a, u64 val)
{
    static const u8 op[] = {[1] = AML_BYTE, [2] = AML_WORD, [4] = AML_DWORD, [8] = AML_QWORD};
    if (val <= 1) {
        put8(a, val ? AML_ONE : AML_ZERO);
        return;
    }
    u32 bytes = val < BIT(8) ? 1 : val < BIT(16) ? 2 : val < BIT(32) ? 4 : 8;
    put8(a, op[bytes]);
    put_le(a, val, bytes);
}

void aml_string(struct aml *a, const char *s)
{
    put8(a, AML_STRING);
    put(a, s, strlen(s) + 1);
}

void aml_path(struct aml *a, const char *path) { put_path(a, path); }

static u32 hex(char c) { return (u32)(c <= '9' ? c - '0' : c - 'A' + 10); }

/* Three letters of 5 bits and four hex digits, big-endian (ACPI 6.5 §19.3.4). */
void aml_eisaid(struct aml *a, const char *id)
{
    ASSERT(strlen(id) == 7, "EISA id '%s'", id);
    u32 v = (u32)(id[0] - '@') << 26 | (u32)(id[1] - '@') << 21 | (u32)(id[2] - '@') << 16 |
            hex(id[3]) << 12 | hex(id[4]) << 8 | hex(id[5]) << 4 | hex(id[6]);
    put8(a, AML_DWORD);
    put_le(a, __builtin_bswap32(v), 4);
}

void aml_name_int(struct aml *a, const char *name, u64 val)
{
    aml_name(a, name);
    aml_int(a, val);
}

void aml_name_eisaid(struct aml *a, const char *name, const char *id)
{
    aml_name(a, name);
    aml_eisaid(a, id);
}

void aml_res_open(struct aml *a)
{
    put8(a, AML_BUFFER);
    open_term(a);
}

/* End tag with checksum 0 ("not checked"), then the buffer size and the package length in front. */
void aml_res_close(struct aml *a)
{
    put8(a, RES_END_TAG);
    put8(a, 0);
    ASSERT(a->depth > 0, "AML close without open");
    size_t start = a->open[a->depth - 1], bytes = a->bytes - start;
    u8 size[3] = {AML_WORD, (u8)bytes, (u8)(bytes >> 8)};
    insert(a, start, size, 3);
    aml_close(a);
}

void aml_res_io(struct aml *a, u16 port, u8 bytes)
{
    put8(a, RES_IO);
    put8(a, IO_DECODE16);
    put_le(a, port, 2); /* lowest and highest base */
    put_le(a, port, 2);
    put8(a, 1); /* alignment */
    put8(a, bytes);
}

void aml_res_irq(struct aml *a, u8 irq)
{
    put8(a, RES_IRQ_NO_FLAGS);
    put_le(a, BIT(irq), 2);
}

void aml_res_dma(struct aml *a, u8 channel)
{
    put8(a, RES_DMA);
    put8(a, (u8)BIT(channel));
    put8(a, 0);
}

void aml_res_interrupt(struct aml *a, u32 gsi)
{
    put8(a, RES_INTERRUPT);
    put_le(a, 6, 2); /* bytes that follow */
    put8(a, INTERRUPT_FLAGS);
    put8(a, 1); /* one number */
    put_le(a, gsi, 4);
}

/* Word, DWord or QWord address space: granularity, minimum, maximum, translation, length. */
static void window(struct aml *a, u8 space, u8 flags, u32 bytes, const u64 range[2])
{
    put8(a, bytes == 2 ? RES_WORD_SPACE : bytes == 4 ? RES_DWORD_SPACE : RES_QWORD_SPACE);
    put_le(a, 3 + 5 * bytes, 2);
    put8(a, space);
    put8(a, SPACE_FIXED);
    put8(a, flags);
    put_le(a, 0, bytes);
    put_le(a, range[0], bytes);
    put_le(a, range[1], bytes);
    put_le(a, 0, bytes);
    put_le(a, range[1] - range[0] + 1, bytes);
}

void aml_res_bus(struct aml *a, u16 first, u16 last)
{
    window(a, SPACE_BUS, 0, 2, (u64[]){first, last});
}

void aml_res_window_io(struct aml *a, u16 first, u16 last)
{
    window(a, SPACE_IO, SPACE_IO_ENTIRE, 2, (u64[]){first, last});
}

void aml_res_window_mem32(struct aml *a, u32 first, u32 last)
{
    window(a, SPACE_MEM, SPACE_MEM_RW, 4, (u64[]){first, last});
}

void aml_res_window_mem64(struct aml *a, u64 first, u64 last)
{
    window(a, SPACE_MEM, SPACE_MEM_RW, 8, (u64[]){first, last});
}
