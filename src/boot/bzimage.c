/* bzimage - Linux kernels with a setup header, protocol 2.00 to 2.15.
 *
 * File:  boot sector and real-mode setup code, (setup_sects + 1) * 512 bytes, the header at 0x1f1;
 *        then the protected-mode payload, which is loaded at load_gpa and entered at its start
 * (32-bit) or 0x200 bytes in (64-bit). The real-mode code is not used. The payload unpacks itself
 * to run_gpa, and needs run_bytes of RAM there. Spec: Linux Documentation/arch/x86/boot.rst,
 * zero-page.rst. */
#include <string.h>

#include "boot/boot_internal.h"

enum { /* offsets in the file and in the zero page alike */
       HDR_START = 0x1f1,
       HDR_SETUP_SECTS = 0x1f1,
       HDR_SYSSIZE = 0x1f4,
       HDR_BOOT_FLAG = 0x1fe,
       HDR_JUMP_LENGTH = 0x201,
       HDR_MAGIC = 0x202,
       HDR_VERSION = 0x206,
       HDR_TYPE_OF_LOADER = 0x210,
       HDR_LOADFLAGS = 0x211,
       HDR_CODE32_START = 0x214,
       HDR_RAMDISK_IMAGE = 0x218,
       HDR_RAMDISK_SIZE = 0x21c,
       HDR_CMD_LINE_PTR = 0x228,
       HDR_INITRD_ADDR_MAX = 0x22c,
       HDR_KERNEL_ALIGNMENT = 0x230,
       HDR_RELOCATABLE = 0x234,
       HDR_XLOADFLAGS = 0x236,
       HDR_CMDLINE_SIZE = 0x238,
       HDR_SETUP_DATA = 0x250,
       HDR_PREF_ADDRESS = 0x258,
       HDR_INIT_SIZE = 0x260,
       HDR_END_MAX = 0x290,
       /* zero page only */
       ZP_EXT_MEM_K = 0x002,
       ZP_VIDEO_MODE = 0x006,
       ZP_VIDEO_COLS = 0x007,
       ZP_VIDEO_EGA_BX = 0x00a,
       ZP_VIDEO_LINES = 0x00e,
       ZP_VIDEO_IS_VGA = 0x00f,
       ZP_VIDEO_POINTS = 0x010,
       ZP_OLD_CL_MAGIC = 0x020,
       ZP_OLD_CL_OFFSET = 0x022,
       ZP_ACPI_RSDP = 0x070,
       ZP_EXT_RAMDISK_IMAGE = 0x0c0,
       ZP_EXT_RAMDISK_SIZE = 0x0c4,
       ZP_ALT_MEM_K = 0x1e0,
       ZP_E820_ENTRIES = 0x1e8,
       ZP_E820_TABLE = 0x2d0,
};
enum {
    SECTOR = 512,
    SYSSIZE_UNIT = 16,
    BOOT_FLAG = 0xaa55,
    MAGIC_HDRS = 0x53726448,
    OLD_CL_MAGIC = 0xa33f,
    LOADED_HIGH = 1 << 0,
    XLF_KERNEL_64 = 1 << 0,
    XLF_CAN_BE_LOADED_ABOVE_4G = 1 << 1,
    ENTRY64_OFFSET = 0x200,
    LOADER_UNKNOWN = 0xff,
    CMDLINE_MAX_DEFAULT = 255,
    INITRD_ADDR_MAX_DEFAULT = 0x37ffffff,
    ALIGNMENT_MAX = 1 << 30,
};

static int broken(const struct boot_image *img, const char *fault, struct err *e)
{
    return err_set(e, E_FORMAT, "kernel '%s': %s", img->kernel_path, fault);
}

/* A header field, or @absent when the image's protocol is older than the field. */
static u64 field(const struct boot_image *img, u32 off, u32 bytes, u16 since, u64 absent)
{
    if (img->bz.version < since || off + bytes > img->bz.header_end) return absent;
    return load_le(img->kernel.data + off, bytes);
}

static int parse_sizes(struct boot_image *img, struct err *e)
{
    struct bzimage_info *bz = &img->bz;
    u32 sects = img->kernel.data[HDR_SETUP_SECTS];
    bz->setup_bytes = ((sects ? sects : 4) + 1) * SECTOR;
    if (bz->setup_bytes >= img->kernel.bytes) return broken(img, "truncated in its setup code", e);
    bz->payload_bytes = img->kernel.bytes - bz->setup_bytes;
    /* syssize counts 16-byte units, the last of which need not be whole in the file; before 2.04
     * it had 16 bits and was not reliable */
    u64 promised = field(img, HDR_SYSSIZE, 4, 0x204, 0) * SYSSIZE_UNIT;
    if (promised > align_up(bz->payload_bytes, SYSSIZE_UNIT)) {
        return err_set(e, E_FORMAT, "kernel '%s': truncated: has %llu of %llu bytes",
                       img->kernel_path, (unsigned long long)img->kernel.bytes,
                       (unsigned long long)(promised + bz->setup_bytes));
    }
    if (promised) bz->payload_bytes = min_u64(promised, bz->payload_bytes);
    return 0;
}

static int parse_placement(struct boot_image *img, struct err *e)
{
    struct bzimage_info *bz = &img->bz;
    bool relocatable = field(img, HDR_RELOCATABLE, 1, 0x205, 0) != 0;
    u64 align = field(img, HDR_KERNEL_ALIGNMENT, 4, 0x205, 0);
    u64 pref = field(img, HDR_PREF_ADDRESS, 8, 0x20a, 0);
    u64 init_bytes = field(img, HDR_INIT_SIZE, 4, 0x20a, 0);
    if (relocatable && (!align || align & (align - 1) || align > ALIGNMENT_MAX)) {
        return broken(img, "kernel_alignment in its header is not a power of two", e);
    }
    if (pref >= RAM_ABOVE_4G) return broken(img, "wants to be loaded above 4 GiB", e);
    u64 home = max_u64(pref, HIGH_RAM_START);
    if (relocatable) home = align_up(home, align);
    bz->load_gpa = relocatable && pref ? home : HIGH_RAM_START;
    bz->run_gpa = home;
    bz->run_bytes = max_u64(init_bytes, bz->payload_bytes);
    return 0;
}

int bzimage_parse(struct boot_image *img, struct err *e)
{
    struct bzimage_info *bz = &img->bz;
    const u8 *k = img->kernel.data;
    if (img->kernel.bytes < HDR_VERSION + 2 || load_le(k + HDR_BOOT_FLAG, 2) != BOOT_FLAG ||
        load_le(k + HDR_MAGIC, 4) != MAGIC_HDRS) {
        return 0;
    }
    img->kind = IMAGE_BZIMAGE;
    bz->version = (u16)load_le(k + HDR_VERSION, 2);
    if (bz->version >> 8 != 2) return broken(img, "unknown version of the Linux boot protocol", e);
    if (img->kernel.bytes < HDR_END_MAX) return broken(img, "truncated in its header", e);
    bz->header_end = (u32)min_u64(HDR_MAGIC + k[HDR_JUMP_LENGTH], HDR_END_MAX);
    if (bz->header_end < HDR_RAMDISK_SIZE + 4)
        return broken(img, "its setup header is too short", e);
    if (!(k[HDR_LOADFLAGS] & LOADED_HIGH)) {
        return broken(img, "is a zImage, which only firmware can start", e);
    }
    int rc = parse_sizes(img, e);
    if (rc == 0) rc = parse_placement(img, e);
    if (rc < 0) return rc;
    u64 xlf = field(img, HDR_XLOADFLAGS, 2, 0x20c, 0);
    bz->has_entry64 = xlf & XLF_KERNEL_64 && bz->payload_bytes > ENTRY64_OFFSET;
    bz->initrd_above_4g = (xlf & XLF_CAN_BE_LOADED_ABOVE_4G) != 0;
    bz->initrd_end = field(img, HDR_INITRD_ADDR_MAX, 4, 0x203, INITRD_ADDR_MAX_DEFAULT) + 1;
    bz->cmdline_max = (u32)field(img, HDR_CMDLINE_SIZE, 4, 0x206, CMDLINE_MAX_DEFAULT);
    return 1;
}

/* Setup header of a bzImage: the file's own, with what a boot loader fills in. */
static void fill_header(struct boot_plan *p)
{
    const struct bzimage_info *bz = &p->img->bz;
    u8 *z = p->zero_page;
    memcpy(z + HDR_START, p->img->kernel.data + HDR_START, bz->header_end - HDR_START);
    store_le(z + HDR_CODE32_START, bz->load_gpa, 4);
    if (bz->version >= 0x209 && bz->header_end >= HDR_SETUP_DATA + 8) {
        store_le(z + HDR_SETUP_DATA, 0, 8);
    }
    if (bz->version < 0x202) { /* relative to the zero page, which then is at 0x90000 */
        store_le(z + ZP_OLD_CL_MAGIC, OLD_CL_MAGIC, 2);
        store_le(z + ZP_OLD_CL_OFFSET, BOOT_CMDLINE - BOOT_ZERO_PAGE, 2);
    }
}

/* struct screen_info of a VGA in mode 3: the text console and early messages start from it. */
static void fill_screen_info(u8 *z)
{
    enum { MODE_3 = 3, COLUMNS = 80, ROWS = 25, POINTS = 16, VIDEO_TYPE_VGAC = 1, EGA_BX = 3 };
    z[ZP_VIDEO_MODE] = MODE_3;
    z[ZP_VIDEO_COLS] = COLUMNS;
    store_le(z + ZP_VIDEO_EGA_BX, EGA_BX, 2);
    z[ZP_VIDEO_LINES] = ROWS;
    z[ZP_VIDEO_IS_VGA] = VIDEO_TYPE_VGAC;
    store_le(z + ZP_VIDEO_POINTS, POINTS, 2);
}

int plan_add_zero_page(struct boot_plan *p, struct err *e)
{
    u8 *z = p->zero_page;
    u64 initrd_bytes = p->img->initrd.bytes;
    u64 ext_k = max_u64(e820_ram_end(&p->map, RAM_ABOVE_4G), HIGH_RAM_START) - HIGH_RAM_START;
    z[HDR_TYPE_OF_LOADER] = LOADER_UNKNOWN;
    store_le(z + HDR_CMD_LINE_PTR, BOOT_CMDLINE, 4);
    if (p->initrd_gpa) {
        store_le(z + HDR_RAMDISK_IMAGE, p->initrd_gpa, 4);
        store_le(z + HDR_RAMDISK_SIZE, initrd_bytes, 4);
        store_le(z + ZP_EXT_RAMDISK_IMAGE, p->initrd_gpa >> 32, 4);
        store_le(z + ZP_EXT_RAMDISK_SIZE, initrd_bytes >> 32, 4);
    }
    if (p->cfg->vga_text) fill_screen_info(z);
    store_le(z + ZP_ACPI_RSDP, p->cfg->rsdp_gpa, 8);
    store_le(z + ZP_EXT_MEM_K, min_u64(ext_k >> 10, 0xffff), 2);
    store_le(z + ZP_ALT_MEM_K, ext_k >> 10, 4);
    z[ZP_E820_ENTRIES] = (u8)p->map.count;
    for (u32 i = 0; i < p->map.count; i++) {
        u8 *entry = z + ZP_E820_TABLE + i * 20;
        store_le(entry, p->map.entry[i].base, 8);
        store_le(entry + 8, p->map.entry[i].bytes, 8);
        store_le(entry + 16, p->map.entry[i].type, 4);
    }
    return plan_add(
        p, &(struct boot_chunk){"zero page", BOOT_ZERO_PAGE, z, ZERO_PAGE_BYTES, ZERO_PAGE_BYTES},
        e);
}

/* The payload where it is loaded, and RAM where it will run. */
static int add_payload(struct boot_plan *p, struct err *e)
{
    const struct boot_image *img = p->img;
    const struct bzimage_info *bz = &img->bz;
    gpa_t ram_end = e820_ram_end(&p->map, RAM_ABOVE_4G);
    if (!e820_is_ram(&p->map, bz->run_gpa, bz->run_bytes) ||
        bz->run_gpa + bz->run_bytes > RAM_ABOVE_4G) {
        return err_set(e, E_RANGE, "kernel '%s': needs memory up to %llu MiB, RAM ends at %llu MiB",
                       img->kernel_path,
                       (unsigned long long)(align_up(bz->run_gpa + bz->run_bytes, MIB(1)) >> 20),
                       (unsigned long long)(align_up(ram_end, MIB(1)) >> 20));
    }
    return plan_add(p,
                    &(struct boot_chunk){"payload", bz->load_gpa,
                                         img->kernel.data + bz->setup_bytes, bz->payload_bytes,
                                         bz->payload_bytes},
                    e);
}

int bzimage_plan(struct boot_plan *p, bool long_mode, struct err *e)
{
    const struct bzimage_info *bz = &p->img->bz;
    int rc = add_payload(p, e);
    if (rc < 0) return rc;
    gpa_t floor = max_u64(plan_kernel_end(p), bz->run_gpa + bz->run_bytes);
    rc = plan_add_initrd(p, floor, bz->initrd_end, long_mode && bz->initrd_above_4g, e);
    if (rc < 0) return rc;
    rc = plan_add_cmdline(p, bz->cmdline_max, e);
    if (rc < 0) return rc;
    fill_header(p);
    rc = plan_add_zero_page(p, e);
    if (rc < 0) return rc;
    p->entry.rsi = BOOT_ZERO_PAGE;
    return long_mode ? plan_entry64(p, bz->load_gpa + ENTRY64_OFFSET, e)
                     : plan_entry32(p, (u32)bz->load_gpa, e);
}

/* A bare vmlinux has no setup header in the file; the kernel looks at these fields of it. */
static void make_header(struct boot_plan *p)
{
    u8 *z = p->zero_page;
    store_le(z + HDR_BOOT_FLAG, BOOT_FLAG, 2);
    store_le(z + HDR_MAGIC, MAGIC_HDRS, 4);
    store_le(z + HDR_VERSION, 0x20f, 2);
    z[HDR_LOADFLAGS] = LOADED_HIGH;
    store_le(z + HDR_KERNEL_ALIGNMENT, MIB(16), 4);
    store_le(z + HDR_CMDLINE_SIZE, BOOT_CMDLINE_BYTES_MAX - 1, 4);
}

int vmlinux_plan(struct boot_plan *p, struct err *e)
{
    const struct elf_info *elf = &p->img->elf;
    int rc = plan_add_elf(p, e);
    if (rc < 0) return rc;
    rc = plan_add_initrd(p, plan_kernel_end(p), GIB(2), false, e);
    if (rc < 0) return rc;
    rc = plan_add_cmdline(p, BOOT_CMDLINE_BYTES_MAX, e);
    if (rc < 0) return rc;
    make_header(p);
    rc = plan_add_zero_page(p, e);
    if (rc < 0) return rc;
    p->entry.rsi = BOOT_ZERO_PAGE;
    return elf->is_64 ? plan_entry64(p, elf->entry, e) : plan_entry32(p, (u32)elf->entry, e);
}
