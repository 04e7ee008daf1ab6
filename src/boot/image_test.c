/* image_test - every protocol loaded from a generated kernel, and every fault reported in one line.
 */
#include "boot/boot.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "boot/boot_fixture.h"

struct vm {
    struct mem mem;
    struct boot_entry entry;
    struct err err;
};

static void vm_init(struct vm *vm, u64 ram)
{
    memset(vm, 0, sizeof *vm);
    assert_int_equal(mem_init(&vm->mem, &vm->err), 0);
    assert_int_equal(e820_add_ram(&vm->mem, ram, &vm->err), 0);
}

static int boot(struct vm *vm, const char *kernel, const char *initrd,
                const struct boot_config *cfg)
{
    struct boot_image *img = NULL;
    int rc = boot_image_open(&img, kernel, initrd, &vm->err);
    if (rc == 0) rc = boot_image_load(img, &vm->mem, cfg, &vm->entry, &vm->err);
    boot_image_close(img);
    return rc;
}

static u64 peek(struct vm *vm, gpa_t gpa, u32 bytes)
{
    u64 v = 0;
    assert_int_equal(mem_read(&vm->mem, gpa, &v, bytes), 0);
    return v;
}

static void check_bytes(struct vm *vm, gpa_t gpa, const void *want, u64 bytes)
{
    u8 *got = malloc(bytes);
    assert_int_equal(mem_read(&vm->mem, gpa, got, bytes), 0);
    assert_memory_equal(got, want, bytes);
    free(got);
}

static void check_segments(const struct vm *vm, u16 code_access)
{
    const struct boot_entry *n = &vm->entry;
    assert_int_equal(n->cs.sel, 0x10);
    assert_int_equal(n->cs.access, code_access);
    assert_int_equal(n->cs.limit, UINT32_MAX);
    assert_int_equal(n->data.sel, 0x18);
    assert_int_equal(n->data.access, 0xc093);
    assert_int_equal(n->tr.limit, 0x67);
    assert_int_equal(n->gdt_base, BOOT_GDT);
    assert_int_equal(n->rflags, 2);
}

/* Walk the boot page tables for @gva. */
static u64 translate(struct vm *vm, u64 gva)
{
    u64 e = vm->entry.cr3;
    for (int level = 3; level >= 1; level--) {
        e = peek(vm, (e & ~0xfffull) + (gva >> (12 + 9 * level) & 511) * 8, 8);
        assert_int_equal(e & 3, 3);
        if (level == 1) assert_int_equal(e & 0x80, 0x80);
    }
    return (e & ~(u64)(MIB(2) - 1)) | (gva & (MIB(2) - 1));
}

static const u8 initrd_bytes[5000] = {1, 2, 3, [4999] = 9};

static void test_bzimage64(void **state)
{
    (void)state;
    struct vm vm;
    u8 k[FIX_BZ_BYTES];
    fixture_bzimage(k);
    struct fixture_file kf = fixture_file(k, sizeof k);
    struct fixture_file rf = fixture_file(initrd_bytes, sizeof initrd_bytes);
    vm_init(&vm, MIB(16));
    struct boot_config cfg = {.cmdline = "console=ttyS0", .rsdp_gpa = 0xe0000};
    assert_int_equal(boot(&vm, kf.path, rf.path, &cfg), 0);
    assert_int_equal(vm.entry.protocol, BOOT_LINUX64);
    assert_int_equal(vm.entry.mode, BOOT_MODE_LONG64);
    assert_int_equal(vm.entry.rip, MIB(2) + 0x200);
    assert_int_equal(vm.entry.rsi, BOOT_ZERO_PAGE);
    assert_int_equal(vm.entry.cr0, 0x80000011);
    assert_int_equal(vm.entry.cr4, 0x20);
    assert_int_equal(vm.entry.efer, 0x500);
    check_segments(&vm, 0xa09b);
    assert_int_equal(peek(&vm, BOOT_GDT + 0x10, 8), 0x00af9b000000ffff);
    assert_int_equal(peek(&vm, BOOT_GDT + 0x18, 8), 0x00cf93000000ffff);
    assert_int_equal(peek(&vm, BOOT_GDT + 0x20, 8), 0x00008b0000000067);
    static const u64 gvas[] = {0, 0x201234, MIB(16), GIB(1), GIB(3) + 5, GIB(4) - 1};
    for (u32 i = 0; i < ARRAY_LEN(gvas); i++) assert_int_equal(translate(&vm, gvas[i]), gvas[i]);

    check_bytes(&vm, MIB(2), k + FIX_SETUP, FIX_PAYLOAD);
    gpa_t z = BOOT_ZERO_PAGE;
    assert_int_equal(peek(&vm, z + 0x1ef, 1), 0);
    check_bytes(&vm, z + 0x202, "HdrS", 4);
    assert_int_equal(peek(&vm, z + 0x210, 1), 0xff);
    assert_int_equal(peek(&vm, z + 0x214, 4), MIB(2));
    assert_int_equal(peek(&vm, z + 0x070, 8), 0xe0000);
    gpa_t cmd = peek(&vm, z + 0x228, 4), rd = peek(&vm, z + 0x218, 4);
    check_bytes(&vm, cmd, "console=ttyS0", 14);
    assert_int_equal(peek(&vm, z + 0x21c, 4), sizeof initrd_bytes);
    assert_int_equal(rd, MIB(16) - 8192);
    check_bytes(&vm, rd, initrd_bytes, sizeof initrd_bytes);
    assert_int_equal(peek(&vm, z + 0x1e8, 1), 4);
    assert_int_equal(peek(&vm, z + 0x2d0 + 60, 8), MIB(1)); /* last entry: high RAM */
    assert_int_equal(peek(&vm, z + 0x2d0 + 68, 8), MIB(15));
    assert_int_equal(peek(&vm, z + 0x2d0 + 76, 4), E820_RAM);
    mem_fini(&vm.mem);
    close(kf.fd);
    close(rf.fd);
}

/* struct screen_info and the BIOS data area, when the VGA is in mode 3 and when it is not. */
static void test_vga_text(void **state)
{
    (void)state;
    u8 k[FIX_BZ_BYTES];
    fixture_bzimage(k);
    for (u32 text = 0; text < 2; text++) {
        struct fixture_file kf = fixture_file(k, sizeof k);
        struct vm vm;
        vm_init(&vm, MIB(16));
        struct boot_config cfg = {.cmdline = "", .vga_text = text};
        assert_int_equal(boot(&vm, kf.path, NULL, &cfg), 0);
        assert_int_equal(peek(&vm, BOOT_ZERO_PAGE + 0x06, 2), text ? 80 << 8 | 3 : 0);
        assert_int_equal(peek(&vm, BOOT_ZERO_PAGE + 0x0e, 2), text ? 1 << 8 | 25 : 0);
        assert_int_equal(peek(&vm, BOOT_ZERO_PAGE + 0x10, 2), text ? 16 : 0);
        assert_int_equal(peek(&vm, 0x449, 3), text ? 80 << 8 | 3 : 0);
        assert_int_equal(peek(&vm, 0x463, 2), text ? 0x3d4 : 0);
        mem_fini(&vm.mem);
        close(kf.fd);
    }
}

/* A reset loads the same image again, from the file as it was. */
static void test_loads_again(void **state)
{
    (void)state;
    struct vm vm;
    u8 k[FIX_BZ_BYTES];
    const u8 other = 0x77;
    struct boot_image *img;
    struct boot_config cfg = {.cmdline = "quiet"};
    fixture_bzimage(k);
    struct fixture_file kf = fixture_file(k, sizeof k);
    struct fixture_file rf = fixture_file(initrd_bytes, sizeof initrd_bytes);
    vm_init(&vm, MIB(16));
    assert_int_equal(boot_image_open(&img, kf.path, rf.path, &vm.err), 0);
    for (u32 n = 0; n < 4; n++) {
        const bool changed = n == 2;
        if (n) assert_int_equal(pwrite(rf.fd, changed ? &other : initrd_bytes + 7, 1, 7), 1);
        assert_int_equal(mem_fill(&vm.mem, MIB(1), 0, MIB(15)), 0);
        int rc = boot_image_load(img, &vm.mem, &cfg, &vm.entry, &vm.err);
        assert_int_equal(rc, changed ? E_FORMAT : 0);
        if (changed) assert_non_null(strstr(vm.err.text, "initrd '"));
        if (changed) assert_non_null(strstr(vm.err.text, "has changed"));
        if (changed) continue;
        check_bytes(&vm, MIB(2), k + FIX_SETUP, FIX_PAYLOAD);
        check_bytes(&vm, MIB(16) - 8192, initrd_bytes, sizeof initrd_bytes);
    }
    boot_image_close(img);
    mem_fini(&vm.mem);
    close(kf.fd);
    close(rf.fd);
}

static void test_bzimage32_and_old(void **state)
{
    (void)state;
    struct vm vm;
    u8 k[FIX_BZ_BYTES];
    fixture_bzimage(k);
    struct fixture_file kf = fixture_file(k, sizeof k);
    vm_init(&vm, MIB(8));
    struct boot_config cfg = {.protocol = BOOT_LINUX32};
    assert_int_equal(boot(&vm, kf.path, NULL, &cfg), 0);
    assert_int_equal(vm.entry.mode, BOOT_MODE_PROT32);
    assert_int_equal(vm.entry.rip, MIB(2));
    assert_int_equal(vm.entry.rsi, BOOT_ZERO_PAGE);
    assert_int_equal(vm.entry.cr0, 0x11);
    check_segments(&vm, 0xc09b);
    assert_int_equal(peek(&vm, BOOT_GDT + 0x10, 8), 0x00cf9b000000ffff);
    assert_int_equal(peek(&vm, BOOT_ZERO_PAGE + 0x21c, 4), 0); /* no initrd */

    store_le(k + 0x206, 0x201, 2); /* before most fields existed */
    fixture_put(&kf, k, sizeof k);
    cfg.protocol = BOOT_AUTO;
    cfg.cmdline = "old";
    assert_int_equal(boot(&vm, kf.path, NULL, &cfg), 0);
    assert_int_equal(vm.entry.protocol, BOOT_LINUX32);
    assert_int_equal(vm.entry.rip, MIB(1));
    assert_int_equal(peek(&vm, BOOT_ZERO_PAGE + 0x20, 2), 0xa33f);
    check_bytes(&vm, BOOT_ZERO_PAGE + peek(&vm, BOOT_ZERO_PAGE + 0x22, 2), "old", 4);
    mem_fini(&vm.mem);
    close(kf.fd);
}

static void test_pvh(void **state)
{
    (void)state;
    struct vm vm;
    u8 f[FIX_ELF_BYTES];
    fixture_elf64(f);
    struct fixture_file kf = fixture_file(f, sizeof f);
    struct fixture_file rf = fixture_file(initrd_bytes, sizeof initrd_bytes);
    vm_init(&vm, MIB(4));
    mem_fill(&vm.mem, MIB(1) + FIX_CODE, 0xcc, 64);
    struct boot_config cfg = {.cmdline = "pvh", .rsdp_gpa = 0xe0000};
    assert_int_equal(boot(&vm, kf.path, rf.path, &cfg), 0);
    assert_int_equal(vm.entry.protocol, BOOT_PVH);
    assert_int_equal(vm.entry.rip, MIB(1) + 0x80);
    assert_int_equal(vm.entry.cr0, 0x11);
    check_segments(&vm, 0xc09b);
    check_bytes(&vm, MIB(1), f + FIX_CODE_AT, FIX_CODE);
    assert_int_equal(peek(&vm, MIB(1) + FIX_CODE + 56, 8), 0); /* bss */
    gpa_t si = vm.entry.rbx;
    assert_int_equal(peek(&vm, si, 4), 0x336ec578);
    assert_int_equal(peek(&vm, si + 4, 4), 1);
    assert_int_equal(peek(&vm, si + 12, 4), 1);
    gpa_t mod = peek(&vm, si + 16, 8), map = peek(&vm, si + 40, 8);
    check_bytes(&vm, peek(&vm, mod, 8), initrd_bytes, sizeof initrd_bytes);
    assert_int_equal(peek(&vm, mod + 8, 8), sizeof initrd_bytes);
    check_bytes(&vm, peek(&vm, si + 24, 8), "pvh", 4);
    assert_int_equal(peek(&vm, si + 32, 8), 0xe0000);
    assert_int_equal(peek(&vm, si + 48, 4), 4);
    assert_int_equal(peek(&vm, map + 24 + 16, 4), E820_RESERVED);
    assert_int_equal(peek(&vm, map + 72, 8), MIB(1));

    cfg.protocol = BOOT_LINUX64; /* the same file as vmlinux */
    assert_int_equal(boot(&vm, kf.path, rf.path, &cfg), 0);
    assert_int_equal(vm.entry.rip, MIB(1) + 0x40);
    check_bytes(&vm, BOOT_ZERO_PAGE + 0x202, "HdrS", 4);
    store_le(f + 24, 0xffffffff80100010, 8); /* a virtual entry point */
    fixture_put(&kf, f, sizeof f);
    assert_int_equal(boot(&vm, kf.path, rf.path, &cfg), 0);
    assert_int_equal(vm.entry.rip, MIB(1) + 0x10);
    mem_fini(&vm.mem);
    close(kf.fd);
    close(rf.fd);
}

static void test_multiboot(void **state)
{
    (void)state;
    struct vm vm;
    u8 f[FIX_ELF_BYTES];
    struct boot_config cfg = {.cmdline = "mb"};
    struct fixture_file rf = fixture_file(initrd_bytes, sizeof initrd_bytes);
    vm_init(&vm, MIB(4));
    for (u32 flat = 0; flat < 2; flat++) {
        if (flat) memset(f, 0x90, sizeof f);
        else fixture_elf32(f);
        fixture_multiboot(f, 0x404, flat);
        struct fixture_file kf = fixture_file(f, sizeof f);
        assert_int_equal(boot(&vm, kf.path, rf.path, &cfg), 0);
        assert_int_equal(vm.entry.protocol, BOOT_MULTIBOOT);
        assert_int_equal(vm.entry.rip, flat ? MIB(1) + 0x400 : MIB(1) + 0x40);
        assert_int_equal(vm.entry.rax, 0x2badb002);
        check_bytes(&vm, MIB(1), flat ? f : f + FIX_CODE_AT, FIX_CODE);
        gpa_t mbi = vm.entry.rbx;
        assert_int_equal(peek(&vm, mbi, 4), 0x24d);
        assert_int_equal(peek(&vm, mbi + 4, 4), 639);
        assert_int_equal(peek(&vm, mbi + 8, 4), 3072);
        char line[64];
        int n = snprintf(line, sizeof line, "%s mb", kf.path);
        check_bytes(&vm, peek(&vm, mbi + 16, 4), line, (u64)n + 1);
        gpa_t mod = peek(&vm, mbi + 24, 4), map = peek(&vm, mbi + 48, 4);
        assert_int_equal(peek(&vm, mbi + 20, 4), 1);
        check_bytes(&vm, peek(&vm, mod, 4), initrd_bytes, sizeof initrd_bytes);
        assert_int_equal(peek(&vm, mod + 4, 4) - peek(&vm, mod, 4), sizeof initrd_bytes);
        assert_int_equal(peek(&vm, mbi + 44, 4), 4 * 24);
        assert_int_equal(peek(&vm, map, 4), 20);
        assert_int_equal(peek(&vm, map + 12, 8), EBDA_START);
        check_bytes(&vm, peek(&vm, mbi + 64, 4), "ring3", 6);
        close(kf.fd);
    }
    mem_fini(&vm.mem);
    close(rf.fd);
}

/* A multiboot2 header at @at: optional console flags, and the addresses of a flat image. */
static void put_multiboot2(u8 *f, u32 at, bool addresses)
{
    const u32 length = addresses ? 16 + 16 + 24 + 16 + 8 : 16 + 16 + 8;
    u8 *h = f + at, *t = h + 16;
    memset(h, 0, length);
    store_le(h, 0xE85250D6, 4);
    store_le(h + 8, length, 4);
    store_le(h + 12, 0 - (0xE85250D6u + length), 4);
    store_le(t, 4 | 1 << 16, 4);
    store_le(t + 4, 12, 4);
    t += 16;
    if (addresses) {
        store_le(t, 2, 4);
        store_le(t + 4, 24, 4);
        store_le(t + 8, MIB(1) + at, 4);
        store_le(t + 12, MIB(1), 4);
        store_le(t + 20, MIB(1) + FIX_ELF_BYTES + 256, 4);
        store_le(t + 24, 3, 4);
        store_le(t + 28, 12, 4);
        store_le(t + 32, MIB(1) + 0x400, 4);
        t += 40;
    }
    store_le(t + 4, 8, 4);
}

/* The information's tag of @type number @n. */
static gpa_t find_tag(struct vm *vm, gpa_t mbi, u32 type, u32 n)
{
    const gpa_t end = mbi + peek(vm, mbi, 4);
    for (gpa_t t = mbi + 8; t < end; t += align_up(peek(vm, t + 4, 4), 8)) {
        if (peek(vm, t, 4) == type && !n--) return t;
        if (!peek(vm, t, 4)) break;
    }
    fail_msg("no tag %u", type);
    return 0;
}

static void test_multiboot2(void **state)
{
    (void)state;
    struct vm vm;
    u8 f[FIX_ELF_BYTES];
    char list[128], want[64];
    struct boot_config cfg = {.cmdline = "mb"};
    struct fixture_file rf = fixture_file(initrd_bytes, sizeof initrd_bytes);
    snprintf(list, sizeof list, "%s one,, two,%s", rf.path, rf.path);
    vm_init(&vm, MIB(4));
    for (u32 flat = 0; flat < 2; flat++) {
        if (flat) memset(f, 0x90, sizeof f);
        else fixture_elf64(f); /* has a PVH entry, which takes no list */
        put_multiboot2(f, 0x808, flat);
        struct fixture_file kf = fixture_file(f, sizeof f);
        assert_int_equal(boot(&vm, kf.path, list, &cfg), 0);
        assert_int_equal(vm.entry.protocol, BOOT_MULTIBOOT2);
        assert_int_equal(vm.entry.rip, flat ? MIB(1) + 0x400 : MIB(1) + 0x40);
        assert_int_equal(vm.entry.rax, 0x36D76289);
        gpa_t mbi = vm.entry.rbx;
        int n = snprintf(want, sizeof want, "%s mb", kf.path);
        check_bytes(&vm, find_tag(&vm, mbi, 1, 0) + 8, want, (u64)n + 1);
        gpa_t mod = find_tag(&vm, mbi, 3, 0);
        n = snprintf(want, sizeof want, "%s one, two", rf.path);
        check_bytes(&vm, mod + 16, want, (u64)n + 1);
        mod = find_tag(&vm, mbi, 3, 1);
        check_bytes(&vm, peek(&vm, mod + 8, 4), initrd_bytes, sizeof initrd_bytes);
        assert_int_equal(peek(&vm, mod + 12, 4) - peek(&vm, mod + 8, 4), sizeof initrd_bytes);
        assert_int_equal(peek(&vm, find_tag(&vm, mbi, 4, 0) + 12, 4), 3072);
        assert_int_equal(peek(&vm, find_tag(&vm, mbi, 6, 0) + 4, 4), 16 + 4 * 24);
        store_le(f + 0x808 + 18, 0, 2); /* that tag is required now: known, so all is well */
        store_le(f + 0x808 + 16, 5, 2); /* a frame buffer, required */
        fixture_put(&kf, f, sizeof f);
        int rc = boot(&vm, kf.path, list, &cfg);
        assert_true(flat ? rc == E_FORMAT : rc < 0);
        close(kf.fd);
    }
    mem_fini(&vm.mem);
    close(rf.fd);
}

/* More than 3 GiB of RAM and an initrd limit: above 4 GiB only when the kernel can. */
static void test_initrd_limits(void **state)
{
    (void)state;
    struct vm vm;
    u8 k[FIX_BZ_BYTES];
    fixture_bzimage(k);
    store_le(k + 0x22c, MIB(3) + 4095, 4); /* nothing above 3 MiB + 4 KiB */
    struct fixture_file kf = fixture_file(k, sizeof k);
    struct fixture_file rf = fixture_file(initrd_bytes, sizeof initrd_bytes);
    vm_init(&vm, GIB(3) + MIB(64));
    struct boot_config cfg = {0};
    assert_int_equal(boot(&vm, kf.path, rf.path, &cfg), 0);
    gpa_t z = BOOT_ZERO_PAGE;
    gpa_t rd = peek(&vm, z + 0x218, 4) | peek(&vm, z + 0xc0, 4) << 32;
    assert_int_equal(rd, RAM_ABOVE_4G + MIB(64) - 8192);
    check_bytes(&vm, rd, initrd_bytes, sizeof initrd_bytes);
    assert_int_equal(peek(&vm, z + 0x1e8, 1), 5);
    cfg.protocol = BOOT_LINUX32;
    assert_int_equal(boot(&vm, kf.path, rf.path, &cfg), E_RANGE);
    assert_non_null(strstr(vm.err.text, "initrd '"));
    assert_non_null(strstr(vm.err.text, "do not fit"));
    mem_fini(&vm.mem);
    close(kf.fd);
    close(rf.fd);
}

/* The last unit of syssize need not be whole in the file. */
static void test_partial_unit(void **state)
{
    enum { LESS = 5, UNIT = 16, SYSSIZE = 0x1f4 };
    struct vm vm;
    u8 *f = malloc(FIX_BZ_BYTES);
    (void)state;
    vm_init(&vm, MIB(32));
    fixture_bzimage(f);
    struct boot_config cfg = {0};
    u32 units = (FIX_BZ_BYTES - (f[0x1f1] + 1u) * 512) / UNIT;
    store_le(f + SYSSIZE, units, 4);
    struct fixture_file kf = fixture_file(f, FIX_BZ_BYTES - LESS);
    assert_int_equal(boot(&vm, kf.path, NULL, &cfg), 0);
    close(kf.fd);
    kf = fixture_file(f, FIX_BZ_BYTES - UNIT);
    assert_int_equal(boot(&vm, kf.path, NULL, &cfg), E_FORMAT);
    assert_non_null(strstr(vm.err.text, "truncated"));
    close(kf.fd);
    free(f);
    mem_fini(&vm.mem);
}

struct fault {
    u32 at, bytes;
    u64 val;
    int code;
    const char *says;
};

static void check_faults(void (*make)(u8 *), u32 file_bytes, const struct fault *faults, u32 count)
{
    struct vm vm;
    vm_init(&vm, MIB(4));
    u8 *f = malloc(file_bytes);
    for (u32 i = 0; i < count; i++) {
        make(f);
        store_le(f + faults[i].at, faults[i].val, faults[i].bytes);
        struct fixture_file kf = fixture_file(f, file_bytes);
        struct boot_config cfg = {0};
        assert_int_equal(boot(&vm, kf.path, NULL, &cfg), faults[i].code);
        assert_non_null(strstr(vm.err.text, kf.path));
        if (!strstr(vm.err.text, faults[i].says))
            fail_msg("'%s': not '%s'", vm.err.text, faults[i].says);
        assert_int_equal(peek(&vm, BOOT_GDT + 0x10, 8), 0); /* nothing loaded */
        assert_int_equal(peek(&vm, BDA_BASE_KIB, 2), 0);
        close(kf.fd);
    }
    free(f);
    mem_fini(&vm.mem);
}

static void test_faults(void **state)
{
    (void)state;
    static const struct fault bz[] = {
        {0x206, 2, 0x300, E_FORMAT, "unknown version"},
        {0x211, 1, 0, E_FORMAT, "zImage"},
        {0x201, 1, 4, E_FORMAT, "header is too short"},
        {0x1f1, 1, 200, E_FORMAT, "truncated in its setup"},
        {0x1f4, 4, 0x10000, E_FORMAT, "truncated: has 17408 of 1049600 bytes"},
        {0x230, 4, 3, E_FORMAT, "kernel_alignment"},
        {0x258, 8, GIB(5), E_FORMAT, "above 4 GiB"},
        {0x258, 8, MIB(16), E_RANGE, "needs memory up to 17 MiB, RAM ends at 4 MiB"},
        {0x260, 4, 0xfffff000, E_RANGE, "needs memory up to"},
        {0x202, 4, 0, E_FORMAT, "not a kernel"},
    };
    static const struct fault elf[] = {
        {4, 1, 3, E_FORMAT, "bad class"},
        {5, 1, 2, E_FORMAT, "not for x86"},
        {18, 2, 183, E_FORMAT, "not for x86"},
        {16, 2, 1, E_FORMAT, "not an executable"},
        {24, 8, 0x1234, E_FORMAT, "entry point is in no segment"},
        {32, 8, FIX_ELF_BYTES, E_FORMAT, "program headers lie outside"},
        {32, 8, UINT64_MAX, E_FORMAT, "program headers lie outside"},
        {54, 2, 8, E_FORMAT, "too small"},
        {56, 2, 0, E_FORMAT, "no program headers"},
        {56, 2, 0xffff, E_FORMAT, "too many"},
        {64, 4, 0, E_FORMAT, "nothing to load"},
        {64 + 8, 8, UINT64_MAX - 8, E_FORMAT, "ends after the file"},
        {64 + 32, 8, UINT64_MAX, E_FORMAT, "larger in the file"},
        {64 + 40, 8, UINT64_MAX, E_FORMAT, "wraps around"},
        {64 + 40, 8, GIB(1), E_RANGE, "does not fit in memory"},
        {64 + 24, 8, 0x9f000, E_FORMAT, "entry point is in no segment"},
        {FIX_NOTE_AT + 36, 4, 0x1000, E_FORMAT, "PVH entry point"},
    };
    check_faults(fixture_bzimage, FIX_BZ_BYTES, bz, ARRAY_LEN(bz));
    check_faults(fixture_elf64, FIX_ELF_BYTES, elf, ARRAY_LEN(elf));
}

static int open_only(const char *kernel, const char *initrd, struct err *e)
{
    struct boot_image *img = NULL;
    int rc = boot_image_open(&img, kernel, initrd, e);
    boot_image_close(img);
    return rc;
}

static void test_files(void **state)
{
    (void)state;
    struct err e = {0};
    u8 k[FIX_BZ_BYTES];
    fixture_bzimage(k);
    struct fixture_file kf = fixture_file(k, sizeof k), empty = fixture_file("", 0);
    assert_int_equal(open_only("/nonexistent/vmlinuz", NULL, &e), E_NOENT);
    assert_non_null(strstr(e.text, "kernel '/nonexistent/vmlinuz'"));
    assert_int_equal(open_only(empty.path, NULL, &e), E_FORMAT);
    assert_non_null(strstr(e.text, "empty"));
    assert_int_equal(open_only("/", NULL, &e), E_INVAL);
    assert_non_null(strstr(e.text, "kernel '/': is a directory"));
    assert_int_equal(open_only("/dev/null", NULL, &e), E_INVAL);
    assert_int_equal(open_only(kf.path, "/nonexistent/rd", &e), E_NOENT);
    assert_non_null(strstr(e.text, "initrd '/nonexistent/rd'"));
    assert_int_equal(open_only(kf.path, empty.path, &e), E_FORMAT);
    for (u32 bytes = 1; bytes < FIX_SETUP; bytes += 37) { /* cut anywhere */
        fixture_put(&kf, k, bytes);
        assert_int_equal(open_only(kf.path, NULL, &e), E_FORMAT);
        assert_non_null(strstr(e.text, kf.path));
    }
    close(kf.fd);
    close(empty.fd);
}

static void test_config(void **state)
{
    (void)state;
    struct vm vm;
    u8 k[FIX_BZ_BYTES];
    char line[2049];
    fixture_bzimage(k);
    struct fixture_file kf = fixture_file(k, sizeof k);
    vm_init(&vm, MIB(4));
    memset(line, 'x', sizeof line - 1);
    line[2048] = 0;
    struct boot_config cfg = {.cmdline = line};
    assert_int_equal(boot(&vm, kf.path, NULL, &cfg), E_RANGE);
    assert_non_null(strstr(vm.err.text, "command line of 2048 bytes"));
    line[2047] = 0;
    assert_int_equal(boot(&vm, kf.path, NULL, &cfg), 0);
    cfg.protocol = BOOT_PVH;
    assert_int_equal(boot(&vm, kf.path, NULL, &cfg), E_INVAL);
    assert_non_null(strstr(vm.err.text, "pvh"));
    for (int p = BOOT_AUTO; p <= BOOT_MULTIBOOT2; p++) {
        assert_int_equal(boot_protocol_parse(boot_protocol_name(p), &vm.err), p);
    }
    assert_int_equal(boot_protocol_parse("efi", &vm.err), E_INVAL);
    mem_fini(&vm.mem);
    close(kf.fd);
}

static u64 next_random(u64 *s) /* xorshift64* */
{
    *s ^= *s >> 12;
    *s ^= *s << 25;
    *s ^= *s >> 27;
    return *s * 0x2545f4914f6cdd1d;
}

static const u64 interesting[] = {
    0,      1,      0x7f,   0xff,      0xffff,     0x7fffffff,       0xffffffff,
    MIB(1), MIB(3), GIB(4), INT64_MAX, UINT64_MAX, UINT64_MAX - 4095};

/* Change up to four fields, flip up to eight bits, or cut the file. */
static u32 mutate(u8 *f, u32 bytes, u32 head, u64 *seed)
{
    for (u64 n = next_random(seed) % 5; n > 0; n--) {
        u32 width = 1u << (next_random(seed) & 3);
        u32 at = (u32)(next_random(seed) % (head - width));
        store_le(f + at, interesting[next_random(seed) % ARRAY_LEN(interesting)], width);
    }
    for (u64 n = next_random(seed) % 9; n > 0; n--) {
        f[next_random(seed) % head] ^= (u8)BIT(next_random(seed) & 7);
    }
    return next_random(seed) % 16 ? bytes : (u32)(next_random(seed) % bytes) + 1;
}

/* Whatever the file says: success or an error with a text, and no access outside (sanitizers
 * watch). */
static void test_hostile(void **state)
{
    (void)state;
    enum { ROUNDS = 4000 };
    static u8 f[FIX_BZ_BYTES];
    struct vm vm;
    vm_init(&vm, MIB(4));
    struct fixture_file kf = fixture_file("", 0);
    struct fixture_file rf = fixture_file(initrd_bytes, sizeof initrd_bytes);
    u64 seed = 0x9e3779b97f4a7c15;
    u32 loads = 0;
    for (u32 i = 0; i < ROUNDS; i++) {
        static const u32 heads[] = {0x290, 0x240, 0x100, 0x430};
        static const u32 at[] = {0x1f0, 0, 0, 0x400};
        u32 kind = i & 3, bytes = kind ? FIX_ELF_BYTES : FIX_BZ_BYTES;
        if (kind == 0) fixture_bzimage(f);
        if (kind == 1) fixture_elf64(f);
        if (kind == 2) fixture_elf32(f);
        if (kind == 3) memset(f, 0, sizeof f);
        if (kind >= 2) fixture_multiboot(f, 0x404, kind == 3);
        if (kind >= 2) put_multiboot2(f, 0x808, kind == 3);
        bytes = mutate(f + at[kind], bytes - at[kind], heads[kind] - at[kind], &seed) + at[kind];
        fixture_put(&kf, f, bytes);
        struct boot_config cfg = {.cmdline = "x", .protocol = (enum boot_protocol)(i >> 2) % 5};
        vm.err.text[0] = 0;
        int rc = boot(&vm, kf.path, i & 64 ? rf.path : NULL, &cfg);
        if (rc == 0) loads++;
        else assert_true(rc == vm.err.code && vm.err.text[0] && !strchr(vm.err.text, '\n'));
    }
    assert_true(loads > ROUNDS / 100); /* the mutations are not all trivial to refuse */
    mem_fini(&vm.mem);
    close(kf.fd);
    close(rf.fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bzimage64),
        cmocka_unit_test(test_vga_text),
        cmocka_unit_test(test_bzimage32_and_old),
        cmocka_unit_test(test_pvh),
        cmocka_unit_test(test_multiboot),
        cmocka_unit_test(test_multiboot2),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_initrd_limits),
        cmocka_unit_test(test_partial_unit),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_loads_again),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
