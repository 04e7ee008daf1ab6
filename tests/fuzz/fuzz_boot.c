/* fuzz_boot - damaged kernels and initrds: opening and loading them gives an error or a kernel
 * inside guest memory, and an error leaves guest memory as it was. */
#include "boot/boot_fixture.h"
#include "boot/e820.h"
#include "fuzz.h"

enum { INITRD_MAX = 1 << 16 };

static u32 make_kernel(u8 k[FIX_BZ_BYTES])
{
    u32 n = fuzz_below(5);
    memset(k, 0, FIX_BZ_BYTES);
    if (n == 0) fixture_elf64(k);
    if (n == 1) fixture_elf32(k);
    if (n == 2) fixture_elf64(k), fixture_multiboot(k, 0x800 + 4 * fuzz_below(64), fuzz_one_in(2));
    if (n == 3) fixture_multiboot(k, 4 * fuzz_below(512), true);
    if (n < 4) return FIX_ELF_BYTES;
    fixture_bzimage(k);
    return FIX_BZ_BYTES;
}

/* Most headers are in the first KiB; there damage counts. */
static u32 damage(u8 *k, u32 bytes)
{
    static const u16 ends[] = {64, 128, 256, 0x290, 0x300};
    if (fuzz_one_in(8)) return fuzz_below(bytes + 1);
    fuzz_damage(k, ends[fuzz_below(ARRAY_LEN(ends))], fuzz_below(4));
    fuzz_damage(k + 0x1f0, 0xa0, fuzz_below(3));
    fuzz_damage(k, bytes, fuzz_below(4));
    return bytes;
}

static u64 digest(const struct mem *m)
{
    u64 h = 0;
    for (u32 s = 0; s < m->slots; s++) {
        const u64 *p = (const void *)m->slot[s].hva;
        for (u64 i = 0; i < m->slot[s].bytes / 8; i++) h = (h ^ p[i]) * 0x100000001B3ull;
    }
    return h;
}

static void load(struct boot_image *img, const char *cmdline)
{
    static const u64 sizes[] = {MIB(1), MIB(2), MIB(3), MIB(4), MIB(8)};
    struct err e = {0};
    struct mem mem;
    struct boot_entry entry = {0};
    struct boot_config cfg = {.cmdline = fuzz_one_in(3) ? NULL : cmdline,
                              .rsdp_gpa = fuzz_one_in(2) ? 0xE0000 : 0,
                              .protocol = (enum boot_protocol)fuzz_below(BOOT_MULTIBOOT + 1)};
    u64 bytes = fuzz_one_in(8) ? GIB(5) : sizes[fuzz_below(ARRAY_LEN(sizes))];
    FUZZ_CHECK(mem_init(&mem, &e) == 0 && e820_add_ram(&mem, bytes, &e) == 0);
    bool look = bytes <= MIB(4);
    u64 before = look ? digest(&mem) : 0;
    int rc = boot_image_load(img, &mem, &cfg, &entry, &e);
    if (rc < 0) FUZZ_CHECK(e.text[0] && !strchr(e.text, '\n') && (!look || digest(&mem) == before));
    else FUZZ_CHECK(entry.protocol != BOOT_AUTO && entry.cs.access != 0);
    mem_fini(&mem);
}

static void round_of(u8 *kernel, u8 *initrd)
{
    struct err e = {0};
    struct boot_image *img = NULL;
    char cmdline[3000];
    u32 bytes = damage(kernel, make_kernel(kernel));
    memset(cmdline, 'a', sizeof cmdline);
    cmdline[fuzz_below(sizeof cmdline)] = 0;
    cmdline[sizeof cmdline - 1] = 0;
    struct fixture_file k = fixture_file(kernel, bytes);
    struct fixture_file r = fixture_file(initrd, fuzz_below(INITRD_MAX));
    int rc = boot_image_open(&img, k.path, fuzz_one_in(2) ? NULL : r.path, &e);
    if (rc < 0) FUZZ_CHECK(e.text[0] && !strchr(e.text, '\n') && strstr(e.text, "/proc/self/fd/"));
    else
        for (u32 i = 0; i < 4; i++) load(img, cmdline);
    boot_image_close(img);
    close(k.fd);
    close(r.fd);
}

int main(void)
{
    static u8 kernel[FIX_BZ_BYTES], initrd[INITRD_MAX];
    fuzz_start("fuzz_boot");
    while (fuzz_next()) round_of(kernel, initrd);
    return 0;
}
