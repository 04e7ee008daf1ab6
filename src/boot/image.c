/* image - open: read the files and find out what the kernel is; load: make the plan for the chosen
 * protocol and carry it out. */
#include <stdlib.h>
#include <string.h>

#include "boot/boot_internal.h"

static const char *const protocol_names[] = {
    [BOOT_AUTO] = "auto", [BOOT_LINUX32] = "linux32",     [BOOT_LINUX64] = "linux64",
    [BOOT_PVH] = "pvh",   [BOOT_MULTIBOOT] = "multiboot", [BOOT_MULTIBOOT2] = "multiboot2",
};

const char *boot_protocol_name(enum boot_protocol p)
{
    return (u32)p < ARRAY_LEN(protocol_names) ? protocol_names[p] : "?";
}

int boot_protocol_parse(const char *name, struct err *e)
{
    for (u32 i = 0; i < ARRAY_LEN(protocol_names); i++) {
        if (!strcmp(name, protocol_names[i])) return (int)i;
    }
    return err_set(e, E_INVAL,
                   "boot protocol '%s': not auto, linux32, linux64, pvh, multiboot or multiboot2",
                   name);
}

static int parse(struct boot_image *img, struct err *e)
{
    static int (*const parsers[])(struct boot_image *, struct err *) = {
        bzimage_parse, elf_parse, multiboot_parse, multiboot2_parse};
    for (u32 i = 0; i < ARRAY_LEN(parsers); i++) {
        int rc = parsers[i](img, e);
        if (rc != 0) return rc;
    }
    return err_set(e, E_FORMAT, "kernel '%s': not a kernel (no bzImage, ELF or multiboot header)",
                   img->kernel_path);
}

int boot_image_open(struct boot_image **out, const char *kernel, const char *initrd, struct err *e)
{
    struct boot_image *img = calloc(1, sizeof *img);
    if (!img) return err_set(e, E_NOMEM, "kernel '%s'", kernel);
    int rc = boot_files_open(img, kernel, e);
    if (rc == 0) rc = parse(img, e);
    if (rc >= 0 && initrd) rc = boot_files_add_initrd(img, initrd, e);
    if (rc < 0) {
        boot_image_close(img);
        return rc;
    }
    *out = img;
    return 0;
}

void boot_image_close(struct boot_image *img)
{
    if (!img) return;
    boot_files_close(img);
    free(img);
}

int boot_image_raw(const struct boot_image *img, struct boot_raw *out, struct err *e)
{
    if (img->kind != IMAGE_BZIMAGE || img->kernel.bytes > UINT32_MAX ||
        img->initrd.bytes > UINT32_MAX)
        return err_set(e, E_UNSUPPORTED, "kernel '%s': firmware starts bzImages only",
                       img->kernel_path);
    *out = (struct boot_raw){.kernel = img->kernel.data,
                             .initrd = img->initrd.data,
                             .kernel_bytes = img->kernel.bytes,
                             .initrd_bytes = img->initrd.bytes,
                             .setup_bytes = img->bz.setup_bytes,
                             .initrd_end = img->bz.initrd_end};
    return 0;
}

static bool offers(const struct boot_image *img, enum boot_protocol p)
{
    bool is_elf = img->kind == IMAGE_ELF, is_bz = img->kind == IMAGE_BZIMAGE;
    switch (p) {
    case BOOT_LINUX64: return (is_bz && img->bz.has_entry64) || (is_elf && img->elf.is_64);
    case BOOT_LINUX32: return is_bz || (is_elf && !img->elf.is_64);
    case BOOT_PVH: return is_elf && img->elf.has_pvh;
    case BOOT_MULTIBOOT: return !is_bz && img->multiboot.present;
    case BOOT_MULTIBOOT2: return !is_bz && img->multiboot2.present;
    default: return false;
    }
}

static int choose(const struct boot_image *img, enum boot_protocol wanted, struct err *e)
{
    static const enum boot_protocol best_first[] = {BOOT_PVH, BOOT_MULTIBOOT2, BOOT_MULTIBOOT,
                                                    BOOT_LINUX64, BOOT_LINUX32};
    for (u32 i = 0; i < ARRAY_LEN(best_first); i++) {
        enum boot_protocol p = best_first[i];
        if (p == BOOT_PVH && wanted == BOOT_AUTO && boot_files_is_list(img)) continue;
        if ((wanted == BOOT_AUTO || wanted == p) && offers(img, p)) return (int)p;
    }
    return err_set(e, E_INVAL, "kernel '%s': cannot be started through the %s protocol",
                   img->kernel_path, boot_protocol_name(wanted));
}

static int make_plan(struct boot_plan *p, enum boot_protocol protocol, struct err *e)
{
    p->entry.protocol = protocol;
    switch (protocol) {
    case BOOT_PVH: return pvh_plan(p, e);
    case BOOT_MULTIBOOT: return multiboot_plan(p, e);
    case BOOT_MULTIBOOT2: return multiboot2_plan(p, e);
    default:
        return p->img->kind == IMAGE_BZIMAGE ? bzimage_plan(p, protocol == BOOT_LINUX64, e)
                                             : vmlinux_plan(p, e);
    }
}

/* What the BIOS data area says: memory, and mode 3 when the VGA is in it. */
static int fill_bda(struct mem *mem, bool vga_text)
{
    const u16 ebda_seg = EBDA_START >> 4, base_kib = EBDA_START >> 10, crtc = 0x3D4;
    static const u8 mode[] = {3, 80, 0}, rows[] = {24, 16, 0};
    int rc = mem_load(mem, BDA_EBDA_SEG, &ebda_seg, 2);
    if (rc == 0) rc = mem_load(mem, BDA_BASE_KIB, &base_kib, 2);
    if (!vga_text) return rc;
    if (rc == 0) rc = mem_load(mem, BDA_VIDEO_MODE, mode, sizeof mode);
    if (rc == 0) rc = mem_load(mem, BDA_CRTC_PORT, &crtc, 2);
    return rc == 0 ? mem_load(mem, BDA_VIDEO_ROWS, rows, sizeof rows) : rc;
}

/* Cannot fail after plan_add's checks, short of memory that is no longer there. */
static int carry_out(const struct boot_plan *p, struct mem *mem, struct err *e)
{
    int rc = fill_bda(mem, p->cfg->vga_text);
    for (u32 i = 0; i < p->count && rc == 0; i++) {
        const struct boot_chunk *c = &p->chunk[i];
        rc = mem_load(mem, c->gpa, c->data, c->data_bytes);
        if (rc == 0) rc = mem_fill(mem, c->gpa + c->data_bytes, 0, c->bytes - c->data_bytes);
    }
    return rc < 0 ? err_set(e, E_RANGE, "kernel '%s': guest memory is missing", p->img->kernel_path)
                  : 0;
}

int boot_image_load(struct boot_image *img, struct mem *mem, const struct boot_config *cfg,
                    struct boot_entry *out, struct err *e)
{
    int rc = choose(img, cfg->protocol, e);
    if (rc < 0) return rc;
    const int protocol = rc;
    rc = boot_files_wake(img, e);
    if (rc < 0) return rc;
    struct boot_plan *p = calloc(1, sizeof *p);
    if (!p) return err_set(e, E_NOMEM, "kernel '%s'", img->kernel_path);
    p->img = img;
    p->cfg = cfg;
    e820_build(&p->map, mem);
    rc = make_plan(p, (enum boot_protocol)protocol, e);
    if (rc == 0) rc = carry_out(p, mem, e);
    if (rc == 0) *out = p->entry;
    boot_files_sleep(img);
    free(p);
    return rc;
}
