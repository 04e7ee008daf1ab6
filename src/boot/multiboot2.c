/* multiboot2 - version 2: a header of tags within the first 32 KiB of the file; the image is an ELF
 * executable, or flat with its addresses in tags. EAX = magic, EBX -> information, also tags. Every
 * tag is u32 type, u32 bytes, contents, padded to 8 bytes (in the header: u16 type, u16 flags).
 * Spec: Multiboot2 Specification 2.0 section 3.1 (header), 3.3 (machine state), 3.6 (information).
 */
#include <string.h>

#include "boot/boot_internal.h"

enum {
    SEARCH_BYTES = 32768,
    HEADER_BYTES = 16,
    TAG_BYTES = 8,
    TAGS_MAX = 64,
    OPTIONAL = 1 << 0,
    ARCH_I386 = 0,
};
#define HEADER_MAGIC 0xE85250D6u
#define ENTRY_MAGIC 0x36D76289u
enum header_tag {
    HT_END = 0,
    HT_INFO = 1,
    HT_ADDRESS = 2,
    HT_ENTRY = 3,
    HT_CONSOLE = 4,
    HT_FRAMEBUFFER = 5,
    HT_ALIGNED = 6,
    HT_EFI_FIRST = 7,
    HT_EFI_LAST = 9,
    HT_RELOCATABLE = 10,
};
enum info_tag { IT_END = 0, IT_CMDLINE = 1, IT_LOADER = 2, IT_MODULE = 3, IT_MEM = 4, IT_MMAP = 6 };

static int broken(const struct boot_image *img, const char *fault, struct err *e)
{
    return err_set(e, E_FORMAT, "kernel '%s': multiboot2 header: %s", img->kernel_path, fault);
}

/* ---- header ---------------------------------------------------------------------------------- */

static u64 find_header(const struct file_data *f)
{
    u64 end = min_u64(f->bytes, SEARCH_BYTES);
    for (u64 at = 0; at + HEADER_BYTES <= end; at += 8) {
        const u8 *h = f->data + at;
        u32 arch = (u32)load_le(h + 4, 4), length = (u32)load_le(h + 8, 4);
        u32 sum = (u32)load_le(h, 4) + arch + length + (u32)load_le(h + 12, 4);
        if (load_le(h, 4) == HEADER_MAGIC && sum == 0 && arch == ARCH_I386) return at;
    }
    return UINT64_MAX;
}

/* header_addr, load_addr, load_end_addr, bss_end_addr; @at is the header's place in the file. */
static int parse_address(struct boot_image *img, const u8 *tag, u64 at, struct err *e)
{
    struct multiboot_info *m = &img->multiboot2;
    u64 header = load_le(tag + 8, 4), load = load_le(tag + 12, 4), end = load_le(tag + 16, 4);
    u64 bss_end = load_le(tag + 20, 4);
    if (load > header || header - load > at) return broken(img, "bad load address", e);
    u64 offset = at - (header - load), bytes = img->kernel.bytes - offset;
    if (end && (end < load || end - load > bytes)) return broken(img, "bad end of loading", e);
    if (end) bytes = end - load;
    if (bss_end && bss_end < load + bytes) return broken(img, "bss ends before the data", e);
    u64 mem_bytes = bss_end ? bss_end - load : bytes;
    if (mem_bytes == 0) return broken(img, "nothing to load", e);
    m->segment = (struct elf_segment){offset, bytes, load, load, mem_bytes};
    m->is_flat = true;
    return 0;
}

/* Does the kernel insist on information we do not have? */
static bool insists(const u8 *tag, u32 bytes)
{
    for (u32 i = TAG_BYTES; i + 4 <= bytes; i += 4) {
        u64 type = load_le(tag + i, 4);
        if (type > IT_MMAP || type == 5) return true;
    }
    return false;
}

/* One tag of @bytes, inside the file. 1: the last one. */
static int parse_tag(struct boot_image *img, const u8 *tag, u32 bytes, u64 at, struct err *e)
{
    const u64 type = load_le(tag, 2);
    const bool optional = load_le(tag + 2, 2) & OPTIONAL;
    switch (type) {
    case HT_END: return 1;
    case HT_INFO:
        if (!optional && insists(tag, bytes))
            return broken(img, "asks for information not offered", e);
        return 0;
    case HT_ADDRESS:
        if (bytes < 24) return broken(img, "truncated", e);
        return parse_address(img, tag, at, e);
    case HT_ENTRY:
        if (bytes < 12) return broken(img, "truncated", e);
        img->multiboot2.entry = (u32)load_le(tag + 8, 4);
        return 0;
    case HT_CONSOLE:
    case HT_ALIGNED:
    case HT_RELOCATABLE: return 0;
    default:
        if (optional || (type >= HT_EFI_FIRST && type <= HT_EFI_LAST)) return 0;
        return broken(img, "asks for a video mode or another thing not offered", e);
    }
}

static int parse_tags(struct boot_image *img, u64 at, struct err *e)
{
    const u8 *h = img->kernel.data + at;
    const u64 length = load_le(h + 8, 4);
    if (length > img->kernel.bytes - at) return broken(img, "truncated", e);
    u64 off = HEADER_BYTES;
    for (u32 n = 0; n < TAGS_MAX && off + TAG_BYTES <= length; n++) {
        const u64 bytes = load_le(h + off + 4, 4);
        if (bytes < TAG_BYTES || bytes > length - off) break;
        int rc = parse_tag(img, h + off, (u32)bytes, at, e);
        if (rc) return rc;
        off += align_up(bytes, 8);
    }
    return broken(img, "its tags do not end", e);
}

int multiboot2_parse(struct boot_image *img, struct err *e)
{
    struct multiboot_info *m = &img->multiboot2;
    u64 at = find_header(&img->kernel);
    if (at == UINT64_MAX) return 0;
    int rc = parse_tags(img, at, e);
    if (rc < 0) return rc;
    const struct elf_segment *s = &m->segment;
    if (m->is_flat && (m->entry < s->gpa || m->entry - s->gpa >= s->mem_bytes))
        return broken(img, "its entry point is outside the image", e);
    if (!m->is_flat && img->kind != IMAGE_ELF)
        return broken(img, "neither addresses nor an ELF file", e);
    if (img->kind != IMAGE_ELF) img->kind = IMAGE_FLAT;
    m->present = true;
    return 1;
}

/* ---- information ----------------------------------------------------------------------------- */

/* Room for a tag of @bytes; NULL when there is none. */
static u8 *add_tag(struct boot_plan *p, u32 *used, enum info_tag type, size_t bytes)
{
    const u64 padded = align_up(bytes, 8);
    if (padded > sizeof p->info - *used) return NULL;
    u8 *tag = p->info + *used;
    store_le(tag, type, 4);
    store_le(tag + 4, bytes, 4);
    *used += (u32)padded;
    return tag;
}

static bool add_text(struct boot_plan *p, u32 *used, enum info_tag type, const char *text)
{
    u8 *tag = add_tag(p, used, type, TAG_BYTES + strlen(text) + 1);
    if (tag) memcpy(tag + TAG_BYTES, text, strlen(text) + 1);
    return tag;
}

static bool add_modules(struct boot_plan *p, u32 *used)
{
    for (u32 i = 0; i < p->img->modules; i++) {
        const char *args = plan_module_args(p, i);
        u8 *tag = add_tag(p, used, IT_MODULE, 16 + strlen(args) + 1);
        if (!tag) return false;
        store_le(tag + 8, p->module_gpa[i], 4);
        store_le(tag + 12, p->module_gpa[i] + p->img->module[i].data.bytes, 4);
        memcpy(tag + 16, args, strlen(args) + 1);
    }
    return true;
}

static bool add_memory(struct boot_plan *p, u32 *used)
{
    enum { ENTRY_BYTES = 24, MMAP_HEAD = 16 };
    u64 upper = max_u64(e820_ram_end(&p->map, RAM_ABOVE_4G), HIGH_RAM_START) - HIGH_RAM_START;
    u8 *tag = add_tag(p, used, IT_MEM, 16);
    if (!tag) return false;
    store_le(tag + 8, EBDA_START >> 10, 4);
    store_le(tag + 12, upper >> 10, 4);
    tag = add_tag(p, used, IT_MMAP, MMAP_HEAD + p->map.count * ENTRY_BYTES);
    if (!tag) return false;
    store_le(tag + 8, ENTRY_BYTES, 4);
    u8 *row = tag + MMAP_HEAD;
    for (u32 i = 0; i < p->map.count; i++, row += ENTRY_BYTES) {
        store_le(row, p->map.entry[i].base, 8);
        store_le(row + 8, p->map.entry[i].bytes, 8);
        store_le(row + 16, p->map.entry[i].type, 4);
    }
    return true;
}

static int add_info(struct boot_plan *p, struct err *e)
{
    u32 used = 8; /* total size, reserved */
    bool fits = add_text(p, &used, IT_CMDLINE, p->cmdline) &&
                add_text(p, &used, IT_LOADER, "ring3") && add_modules(p, &used) &&
                add_memory(p, &used) && add_tag(p, &used, IT_END, TAG_BYTES);
    if (!fits)
        return err_set(e, E_RANGE,
                       "kernel '%s': its arguments and those of the modules are too long",
                       p->img->kernel_path);
    store_le(p->info, used, 4);
    return plan_add(
        p, &(struct boot_chunk){"multiboot information", BOOT_INFO, p->info, used, used}, e);
}

int multiboot2_plan(struct boot_plan *p, struct err *e)
{
    int rc = plan_add_multiboot(p, &p->img->multiboot2, e);
    p->name_first = true;
    if (rc == 0) rc = plan_add_cmdline(p, BOOT_CMDLINE_BYTES_MAX, e); /* into p->cmdline */
    if (rc == 0) rc = add_info(p, e);
    p->entry.rax = ENTRY_MAGIC;
    p->entry.rbx = BOOT_INFO;
    return rc;
}
