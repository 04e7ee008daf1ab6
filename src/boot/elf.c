/* elf - ELF32 and ELF64 executables: program headers, the PVH note. The file is hostile: every
 * offset and count is checked against the file before it is followed. Section headers are not
 * looked at. Spec: System V ABI (gABI) chapters 4-5; Xen public/elfnote.h for the note. */
#include <string.h>

#include "boot/boot_internal.h"

enum {
    EI_CLASS = 4,
    EI_DATA = 5,
    EI_VERSION = 6,
    CLASS_32 = 1,
    CLASS_64 = 2,
    DATA_LSB = 1,
    ET_EXEC = 2,
    ET_DYN = 3,
    EM_386 = 3,
    EM_X86_64 = 62,
    PT_LOAD = 1,
    PT_NOTE = 4,
    PHNUM_MAX = 256,
    NOTE_HEADER = 12,
    NOTES_BYTES_MAX = 1 << 20,
    XEN_ELFNOTE_PHYS32_ENTRY = 18,
};

/* Where the fields lie in each class. */
struct elf_layout {
    u8 word; /* bytes of an address or offset */
    u8 ehdr_bytes, e_entry, e_phoff, e_phentsize, e_phnum;
    u8 phdr_bytes, p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align;
};
static const struct elf_layout layout32 = {4, 52, 24, 28, 42, 44, 32, 4, 8, 12, 16, 20, 28};
static const struct elf_layout layout64 = {8, 64, 24, 32, 54, 56, 56, 8, 16, 24, 32, 40, 48};

static int broken(const struct boot_image *img, const char *fault, struct err *e)
{
    return err_set(e, E_FORMAT, "kernel '%s': ELF file: %s", img->kernel_path, fault);
}

static bool in_file(const struct boot_image *img, u64 offset, u64 bytes)
{
    return offset <= img->kernel.bytes && bytes <= img->kernel.bytes - offset;
}

static int check_header(const struct boot_image *img, struct err *e)
{
    const u8 *h = img->kernel.data;
    if (img->kernel.bytes < layout32.ehdr_bytes) return broken(img, "truncated", e);
    if (h[EI_CLASS] != CLASS_32 && h[EI_CLASS] != CLASS_64) return broken(img, "bad class", e);
    if (h[EI_CLASS] == CLASS_64 && img->kernel.bytes < layout64.ehdr_bytes) {
        return broken(img, "truncated", e);
    }
    u64 type = load_le(h + 16, 2), machine = load_le(h + 18, 2);
    if (h[EI_DATA] != DATA_LSB || (machine != EM_386 && machine != EM_X86_64)) {
        return broken(img, "not for x86", e);
    }
    if (h[EI_CLASS] == CLASS_64 && machine != EM_X86_64) return broken(img, "not for x86-64", e);
    if (type != ET_EXEC && type != ET_DYN) return broken(img, "not an executable", e);
    if (h[EI_VERSION] != 1) return broken(img, "unknown version", e);
    return 0;
}

static int parse_load(struct boot_image *img, const struct elf_layout *l, const u8 *ph,
                      struct err *e)
{
    struct elf_segment s = {
        .file_offset = load_le(ph + l->p_offset, l->word),
        .file_bytes = load_le(ph + l->p_filesz, l->word),
        .gpa = load_le(ph + l->p_paddr, l->word),
        .gva = load_le(ph + l->p_vaddr, l->word),
        .mem_bytes = load_le(ph + l->p_memsz, l->word),
    };
    if (s.mem_bytes == 0) return 0;
    if (s.file_bytes > s.mem_bytes)
        return broken(img, "a segment is larger in the file than in memory", e);
    if (!in_file(img, s.file_offset, s.file_bytes)) {
        return broken(img, "truncated: a segment ends after the file", e);
    }
    if (s.gpa + s.mem_bytes < s.gpa) return broken(img, "a segment wraps around", e);
    if (img->elf.count == ELF_SEGMENTS_MAX) return broken(img, "too many segments", e);
    img->elf.segment[img->elf.count++] = s;
    return 0;
}

/* Notes: {name bytes, descriptor bytes, type}, name, descriptor, each padded. A malformed list
 * ends. */
static void parse_notes(struct boot_image *img, const struct elf_layout *l, const u8 *ph)
{
    u64 at = load_le(ph + l->p_offset, l->word), bytes = load_le(ph + l->p_filesz, l->word);
    u64 align = load_le(ph + l->p_align, l->word) == 8 ? 8 : 4;
    if (!in_file(img, at, bytes) || bytes > NOTES_BYTES_MAX) return;
    for (u64 end = at + bytes; end - at >= NOTE_HEADER;) {
        const u8 *n = img->kernel.data + at;
        u64 name_bytes = load_le(n, 4), desc_bytes = load_le(n + 4, 4);
        u64 desc = NOTE_HEADER + align_up(name_bytes, align);
        if (desc + desc_bytes > end - at) return;
        if (name_bytes == 4 && !memcmp(n + NOTE_HEADER, "Xen", 4) &&
            load_le(n + 8, 4) == XEN_ELFNOTE_PHYS32_ENTRY && (desc_bytes == 4 || desc_bytes == 8)) {
            img->elf.has_pvh = true;
            img->elf.pvh_entry = (u32)load_le(n + desc, 4);
            return;
        }
        at = min_u64(at + align_up(desc + desc_bytes, align), end);
    }
}

static int parse_phdrs(struct boot_image *img, const struct elf_layout *l, struct err *e)
{
    const u8 *h = img->kernel.data;
    u64 phoff = load_le(h + l->e_phoff, l->word);
    u64 entry_bytes = load_le(h + l->e_phentsize, 2), count = load_le(h + l->e_phnum, 2);
    if (count == 0) return broken(img, "no program headers", e);
    if (count > PHNUM_MAX) return broken(img, "too many program headers", e);
    if (entry_bytes < l->phdr_bytes) return broken(img, "program headers are too small", e);
    if (!in_file(img, phoff, entry_bytes * count)) {
        return broken(img, "truncated: the program headers lie outside the file", e);
    }
    for (u64 i = 0; i < count; i++) {
        const u8 *ph = h + phoff + i * entry_bytes;
        u64 type = load_le(ph, 4);
        int rc = type == PT_LOAD ? parse_load(img, l, ph, e) : 0;
        if (rc < 0) return rc;
        if (type == PT_NOTE && !img->elf.has_pvh) parse_notes(img, l, ph);
    }
    return img->elf.count ? 0 : broken(img, "nothing to load", e);
}

static bool loaded(const struct elf_info *elf, gpa_t gpa)
{
    for (u32 i = 0; i < elf->count; i++) {
        const struct elf_segment *s = &elf->segment[i];
        if (gpa >= s->gpa && gpa - s->gpa < s->mem_bytes) return true;
    }
    return false;
}

/* e_entry is physical in kernels; where it is not, it is translated by the segment it lies in. */
static int parse_entry(struct boot_image *img, u64 entry, struct err *e)
{
    struct elf_info *elf = &img->elf;
    bool found = loaded(elf, entry);
    elf->entry = entry;
    for (u32 i = 0; i < elf->count && !found; i++) {
        const struct elf_segment *s = &elf->segment[i];
        if (entry < s->gva || entry - s->gva >= s->mem_bytes) continue;
        elf->entry = entry - s->gva + s->gpa;
        found = true;
    }
    if (!found) return broken(img, "its entry point is in no segment", e);
    if (elf->entry >= RAM_ABOVE_4G) return broken(img, "its entry point is above 4 GiB", e);
    if (elf->has_pvh && !loaded(elf, elf->pvh_entry)) {
        return broken(img, "its PVH entry point is in no segment", e);
    }
    return 0;
}

int elf_parse(struct boot_image *img, struct err *e)
{
    const u8 *h = img->kernel.data;
    if (img->kernel.bytes < 4 || memcmp(h, "\177ELF", 4) != 0) return 0;
    img->kind = IMAGE_ELF;
    int rc = check_header(img, e);
    if (rc < 0) return rc;
    img->elf.is_64 = h[EI_CLASS] == CLASS_64;
    const struct elf_layout *l = img->elf.is_64 ? &layout64 : &layout32;
    rc = parse_phdrs(img, l, e);
    if (rc == 0) rc = parse_entry(img, load_le(h + l->e_entry, l->word), e);
    if (rc < 0) return rc;
    rc = multiboot2_parse(img, e);
    if (rc >= 0) rc = multiboot_parse(img, e);
    if (rc >= 0) return 1;
    /* a header we cannot serve: matters when there is no other way in */
    img->multiboot.present = false;
    return img->elf.has_pvh || img->multiboot2.present ? 1 : rc;
}
