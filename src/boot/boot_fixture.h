/* boot/boot_fixture.h - for the tests of this folder: kernels made in memory, as files. */
#ifndef BOOT_FIXTURE_H
#define BOOT_FIXTURE_H
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/test.h"
#include "boot/boot_internal.h"

struct fixture_file {
    int fd;
    char path[32];
};

static inline void fixture_put(struct fixture_file *f, const void *data, size_t bytes)
{
    assert_int_equal(ftruncate(f->fd, (off_t)bytes), 0);
    assert_int_equal(pwrite(f->fd, data, bytes, 0), bytes);
}

static inline struct fixture_file fixture_file(const void *data, size_t bytes)
{
    struct fixture_file f = {.fd = memfd_create("fixture", MFD_CLOEXEC)};
    assert_true(f.fd >= 0);
    snprintf(f.path, sizeof f.path, "/proc/self/fd/%d", f.fd);
    fixture_put(&f, data, bytes);
    return f;
}

/* A bzImage: one setup sector, 16 KiB of payload, protocol 2.15, loads at 2 MiB, runs in 1 MiB. */
enum { FIX_SETUP = 1024, FIX_PAYLOAD = 16384, FIX_BZ_BYTES = FIX_SETUP + FIX_PAYLOAD };
static inline void fixture_bzimage(u8 k[FIX_BZ_BYTES])
{
    memset(k, 0, FIX_SETUP);
    for (u32 i = 0; i < FIX_PAYLOAD; i++) k[FIX_SETUP + i] = (u8)(i * 7 + (i >> 8));
    k[0x1ef] = 0xff; /* sentinel: must not reach the zero page */
    k[0x1f1] = 1;
    store_le(k + 0x1f4, FIX_PAYLOAD / 16, 4);
    store_le(k + 0x1fe, 0xaa55, 2);
    k[0x200] = 0xeb;
    k[0x201] = 0x6a; /* header ends at 0x26c */
    memcpy(k + 0x202, "HdrS", 4);
    store_le(k + 0x206, 0x20f, 2);
    k[0x211] = 1;
    store_le(k + 0x22c, 0x7fffffff, 4);
    store_le(k + 0x230, MIB(2), 4);
    k[0x234] = 1;
    store_le(k + 0x236, 3, 2);
    store_le(k + 0x238, 2047, 4);
    store_le(k + 0x258, MIB(2), 8);
    store_le(k + 0x260, MIB(1), 4);
}

/* An ELF64 or ELF32 executable: code at 1 MiB with 64 bytes of bss, a note segment. */
enum { FIX_ELF_BYTES = 4096, FIX_NOTE_AT = 0x200, FIX_CODE_AT = 0x400, FIX_CODE = 0x300 };
static inline void fixture_elf64(u8 f[FIX_ELF_BYTES])
{
    memset(f, 0, FIX_ELF_BYTES);
    memcpy(f, "\177ELF\2\1\1", 7);
    store_le(f + 16, 2, 2);
    store_le(f + 18, 62, 2);
    store_le(f + 24, MIB(1) + 0x40, 8);
    store_le(f + 32, 64, 8);
    store_le(f + 54, 56, 2);
    store_le(f + 56, 2, 2);
    u8 *ph = f + 64;
    store_le(ph, 1, 4);
    store_le(ph + 8, FIX_CODE_AT, 8);
    store_le(ph + 16, 0xffffffff80100000, 8);
    store_le(ph + 24, MIB(1), 8);
    store_le(ph + 32, FIX_CODE, 8);
    store_le(ph + 40, FIX_CODE + 64, 8);
    ph += 56;
    store_le(ph, 4, 4);
    store_le(ph + 8, FIX_NOTE_AT, 8);
    store_le(ph + 32, 40, 8);
    store_le(ph + 48, 4, 8);
    u8 *n = f + FIX_NOTE_AT; /* another note, then ours */
    store_le(n, 4, 4);
    store_le(n + 4, 2, 4);
    memcpy(n + 12, "Xen", 4);
    store_le(n + 8, 6, 4);
    n += 20;
    store_le(n, 4, 4);
    store_le(n + 4, 4, 4);
    store_le(n + 8, 18, 4);
    memcpy(n + 12, "Xen", 4);
    store_le(n + 16, MIB(1) + 0x80, 4);
    for (u32 i = 0; i < FIX_CODE; i++) f[FIX_CODE_AT + i] = (u8)(i * 3 + 1);
}

static inline void fixture_elf32(u8 f[FIX_ELF_BYTES])
{
    memset(f, 0, FIX_ELF_BYTES);
    memcpy(f, "\177ELF\1\1\1", 7);
    store_le(f + 16, 2, 2);
    store_le(f + 18, 3, 2);
    store_le(f + 24, MIB(1) + 0x40, 4);
    store_le(f + 28, 52, 4);
    store_le(f + 42, 32, 2);
    store_le(f + 44, 1, 2);
    u8 *ph = f + 52;
    store_le(ph, 1, 4);
    store_le(ph + 4, FIX_CODE_AT, 4);
    store_le(ph + 8, MIB(1), 4);
    store_le(ph + 12, MIB(1), 4);
    store_le(ph + 16, FIX_CODE, 4);
    store_le(ph + 20, FIX_CODE + 64, 4);
    for (u32 i = 0; i < FIX_CODE; i++) f[FIX_CODE_AT + i] = (u8)(i * 3 + 1);
}

/* A multiboot header at @at; @addresses: flat, loaded at 1 MiB from the start of the file. */
static inline void fixture_multiboot(u8 *f, u32 at, bool addresses)
{
    u32 flags = addresses ? 0x10003 : 3;
    store_le(f + at, 0x1badb002, 4);
    store_le(f + at + 4, flags, 4);
    store_le(f + at + 8, -(0x1badb002 + flags), 4);
    if (!addresses) return;
    store_le(f + at + 12, MIB(1) + at, 4);
    store_le(f + at + 16, MIB(1), 4);
    store_le(f + at + 20, 0, 4);
    store_le(f + at + 24, MIB(1) + FIX_ELF_BYTES + 256, 4);
    store_le(f + at + 28, MIB(1) + 0x400, 4);
}
#endif
