/* multiboot - version 1: a header within the first 8 KiB of the file; the image is an ELF
 * executable, or flat with its addresses in the header. EAX = magic, EBX -> information structure.
 * Layout at BOOT_INFO: information (88 bytes), module entries (16 each), loader name, the memory
 * map, and at 8 KiB the modules' strings. Spec: Multiboot Specification 0.6.96 §3.1 (header), §3.2
 * (machine state), §3.3 (information). */
#include <string.h>

#include "boot/boot_internal.h"

enum {
    HEADER_MAGIC = 0x1badb002,
    ENTRY_MAGIC = 0x2badb002,
    SEARCH_BYTES = 8192,
    HEADER_BYTES = 12,
    ADDRESSES_BYTES = 32,
    WANTS_ALIGNED_MODULES = 1 << 0,
    WANTS_MEMORY = 1 << 1,
    MUST_UNDERSTAND = 0xffff,
    HAS_ADDRESSES = 1 << 16,
};
enum { /* information structure */
       MBI_FLAGS = 0,
       MBI_MEM_LOWER = 4,
       MBI_MEM_UPPER = 8,
       MBI_CMDLINE = 16,
       MBI_MODS_COUNT = 20,
       MBI_MODS_ADDR = 24,
       MBI_MMAP_LENGTH = 44,
       MBI_MMAP_ADDR = 48,
       MBI_LOADER_NAME = 64,
       MBI_BYTES = 88,
       MOD_BYTES = 16,
       NAME_BYTES = 8,
       MMAP_BYTES = 24,
       STRINGS_AT = 8192,
       FLAG_MEM = 1 << 0,
       FLAG_CMDLINE = 1 << 2,
       FLAG_MODS = 1 << 3,
       FLAG_MMAP = 1 << 6,
       FLAG_LOADER_NAME = 1 << 9,
};

static int broken(const struct boot_image *img, const char *fault, struct err *e)
{
    return err_set(e, E_FORMAT, "kernel '%s': multiboot header: %s", img->kernel_path, fault);
}

/* Offset of the header, or UINT64_MAX. */
static u64 find_header(const struct file_data *f)
{
    u64 end = min_u64(f->bytes, SEARCH_BYTES);
    for (u64 at = 0; at + HEADER_BYTES <= end; at += 4) {
        const u8 *h = f->data + at;
        u32 magic = (u32)load_le(h, 4), flags = (u32)load_le(h + 4, 4);
        if (magic == HEADER_MAGIC && magic + flags + (u32)load_le(h + 8, 4) == 0) return at;
    }
    return UINT64_MAX;
}

/* Fields after the checksum: header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr. */
static int parse_addresses(struct boot_image *img, u64 at, struct err *e)
{
    const struct file_data *f = &img->kernel;
    struct multiboot_info *m = &img->multiboot;
    if (f->bytes - at < ADDRESSES_BYTES) return broken(img, "truncated", e);
    const u8 *h = f->data + at;
    u64 header = load_le(h + 12, 4), load = load_le(h + 16, 4), load_end = load_le(h + 20, 4);
    u64 bss_end = load_le(h + 24, 4);
    if (load > header || header - load > at) return broken(img, "bad load address", e);
    u64 offset = at - (header - load), bytes = f->bytes - offset;
    if (load_end) {
        if (load_end < load) return broken(img, "loading ends before it starts", e);
        if (load_end - load > bytes)
            return broken(img, "truncated: loading ends after the file", e);
        bytes = load_end - load;
    }
    if (bss_end && bss_end < load + bytes) return broken(img, "bss ends before the data", e);
    u64 mem_bytes = bss_end ? bss_end - load : bytes;
    m->entry = (u32)load_le(h + 28, 4);
    if (mem_bytes == 0) return broken(img, "nothing to load", e);
    if (m->entry < load || m->entry - load >= mem_bytes) {
        return broken(img, "its entry point is outside the image", e);
    }
    m->segment = (struct elf_segment){offset, bytes, load, load, mem_bytes};
    m->is_flat = true;
    return 0;
}

int multiboot_parse(struct boot_image *img, struct err *e)
{
    struct multiboot_info *m = &img->multiboot;
    u64 at = find_header(&img->kernel);
    if (at == UINT64_MAX) return 0;
    m->flags = (u32)load_le(img->kernel.data + at + 4, 4);
    m->present = true;
    if (m->flags & MUST_UNDERSTAND & ~(u32)(WANTS_ALIGNED_MODULES | WANTS_MEMORY)) {
        return broken(img, "asks for a video mode or another thing not offered", e);
    }
    if (m->flags & HAS_ADDRESSES) {
        int rc = parse_addresses(img, at, e);
        if (rc < 0) return rc;
    } else if (img->kind != IMAGE_ELF) {
        return broken(img, "neither addresses nor an ELF file", e);
    }
    if (img->kind != IMAGE_ELF) img->kind = IMAGE_FLAT;
    return 1;
}

/* @text at offset *@at of the information; its guest-physical address, 0 when it does not fit. */
static u32 add_string(struct boot_plan *p, const char *text, u32 *at)
{
    const size_t bytes = strlen(text) + 1;
    if (bytes > sizeof p->info - *at) return 0;
    memcpy(p->info + *at, text, bytes);
    *at += (u32)bytes;
    return (u32)(BOOT_INFO + *at - bytes);
}

static int add_info(struct boot_plan *p, struct err *e)
{
    u8 *mbi = p->info, *mod = mbi + MBI_BYTES, *name = mod + BOOT_MODULES_MAX * MOD_BYTES;
    u8 *map = name + NAME_BYTES;
    u32 strings = STRINGS_AT;
    u64 upper = max_u64(e820_ram_end(&p->map, RAM_ABOVE_4G), HIGH_RAM_START) - HIGH_RAM_START;
    store_le(mbi + MBI_FLAGS, FLAG_MEM | FLAG_CMDLINE | FLAG_MODS | FLAG_MMAP | FLAG_LOADER_NAME,
             4);
    store_le(mbi + MBI_MEM_LOWER, EBDA_START >> 10, 4);
    store_le(mbi + MBI_MEM_UPPER, upper >> 10, 4);
    store_le(mbi + MBI_CMDLINE, BOOT_CMDLINE, 4);
    store_le(mbi + MBI_MODS_ADDR, BOOT_INFO + MBI_BYTES, 4);
    store_le(mbi + MBI_MODS_COUNT, p->img->modules, 4);
    for (u32 i = 0; i < p->img->modules; i++, mod += MOD_BYTES) {
        const struct boot_file *f = &p->img->module[i];
        u32 at = add_string(p, plan_module_args(p, i), &strings);
        if (!at) return err_set(e, E_RANGE, "module '%s': its arguments are too long", f->path);
        store_le(mod, p->module_gpa[i], 4);
        store_le(mod + 4, p->module_gpa[i] + f->data.bytes, 4);
        store_le(mod + 8, at, 4);
    }
    memcpy(name, "ring3", 6);
    store_le(mbi + MBI_LOADER_NAME, BOOT_INFO + (u64)(name - mbi), 4);
    store_le(mbi + MBI_MMAP_ADDR, BOOT_INFO + (u64)(map - mbi), 4);
    store_le(mbi + MBI_MMAP_LENGTH, p->map.count * MMAP_BYTES, 4);
    for (u32 i = 0; i < p->map.count; i++, map += MMAP_BYTES) {
        store_le(map, MMAP_BYTES - 4, 4); /* size of the rest */
        store_le(map + 4, p->map.entry[i].base, 8);
        store_le(map + 12, p->map.entry[i].bytes, 8);
        store_le(map + 20, p->map.entry[i].type, 4);
    }
    u64 bytes = max_u64(strings, (u64)(map - mbi));
    return plan_add(p, &(struct boot_chunk){"multiboot information", BOOT_INFO, mbi, bytes, bytes},
                    e);
}

int multiboot_plan(struct boot_plan *p, struct err *e)
{
    int rc = plan_add_multiboot(p, &p->img->multiboot, e);
    if (rc < 0) return rc;
    p->name_first = true;
    rc = plan_add_cmdline(p, BOOT_CMDLINE_BYTES_MAX, e);
    if (rc < 0) return rc;
    rc = add_info(p, e);
    if (rc < 0) return rc;
    p->entry.rax = ENTRY_MAGIC;
    p->entry.rbx = BOOT_INFO;
    return 0;
}
