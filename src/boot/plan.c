/* plan - chunks with their checks, and the parts every protocol needs: command line, initrd, GDT,
 * page tables, processor state. */
#include <string.h>

#include "base/check.h"
#include "boot/boot_internal.h"

int plan_add(struct boot_plan *p, const struct boot_chunk *c, struct err *e)
{
    const char *path = p->img->kernel_path;
    ASSERT(c->data_bytes <= c->bytes, "chunk '%s'", c->what);
    if (!e820_is_ram(&p->map, c->gpa, c->bytes)) {
        return err_set(
            e, E_RANGE,
            "kernel '%s': its %s, %llu bytes at %#llx, does not fit in memory (RAM ends at "
            "%#llx)",
            path, c->what, (unsigned long long)c->bytes, (unsigned long long)c->gpa,
            (unsigned long long)e820_ram_end(&p->map, UINT64_MAX));
    }
    for (u32 i = 0; i < p->count; i++) {
        const struct boot_chunk *o = &p->chunk[i];
        if (c->gpa < o->gpa + o->bytes && o->gpa < c->gpa + c->bytes) {
            return err_set(e, E_FORMAT, "kernel '%s': its %s at %#llx overlaps the %s at %#llx",
                           path, c->what, (unsigned long long)c->gpa, o->what,
                           (unsigned long long)o->gpa);
        }
    }
    ASSERT(p->count < PLAN_CHUNKS_MAX, "too many chunks");
    p->chunk[p->count++] = *c;
    return 0;
}

int plan_add_elf(struct boot_plan *p, struct err *e)
{
    const struct boot_image *img = p->img;
    for (u32 i = 0; i < img->elf.count; i++) {
        const struct elf_segment *s = &img->elf.segment[i];
        int rc = plan_add(p,
                          &(struct boot_chunk){"segment", s->gpa, img->kernel.data + s->file_offset,
                                               s->file_bytes, s->mem_bytes},
                          e);
        if (rc < 0) return rc;
    }
    return 0;
}

gpa_t plan_kernel_end(const struct boot_plan *p)
{
    gpa_t end = HIGH_RAM_START;
    for (u32 i = 0; i < p->count; i++) end = max_u64(end, p->chunk[i].gpa + p->chunk[i].bytes);
    return end;
}

int plan_add_initrd(struct boot_plan *p, gpa_t floor, gpa_t end, bool above_4g, struct err *e)
{
    const struct file_data *f = &p->img->initrd;
    if (!p->img->initrd_path) return 0;
    gpa_t at = e820_find_high(&p->map, floor, end, f->bytes, PAGE_BYTES);
    if (!at && above_4g)
        at = e820_find_high(&p->map, RAM_ABOVE_4G, UINT64_MAX, f->bytes, PAGE_BYTES);
    if (!at) {
        gpa_t ram_end = e820_ram_end(&p->map, end);
        return err_set(
            e, E_RANGE,
            "initrd '%s': %llu KiB do not fit in the %llu KiB of memory the kernel leaves for "
            "it",
            p->img->initrd_path, (unsigned long long)(align_up(f->bytes, 1024) >> 10),
            (unsigned long long)(ram_end > floor ? (ram_end - floor) >> 10 : 0));
    }
    p->initrd_gpa = at;
    return plan_add(p, &(struct boot_chunk){"initrd", at, f->data, f->bytes, f->bytes}, e);
}

const char *plan_module_args(const struct boot_plan *p, u32 i)
{
    const struct boot_file *f = &p->img->module[i];
    return f->args ? f->args : f->path;
}

/* The first module is the highest: plan_add_initrd found its place. */
static int add_more_modules(struct boot_plan *p, gpa_t floor, struct err *e)
{
    gpa_t end = p->module_gpa[0] = p->initrd_gpa;
    for (u32 i = 1; i < p->img->modules; i++) {
        const struct boot_file *f = &p->img->module[i];
        end = p->module_gpa[i] = e820_find_high(&p->map, floor, end, f->data.bytes, PAGE_BYTES);
        if (!end)
            return err_set(e, E_RANGE, "module '%s': %llu KiB do not fit in memory", f->path,
                           (unsigned long long)(align_up(f->data.bytes, 1024) >> 10));
        const struct boot_chunk c = {"module", end, f->data.data, f->data.bytes, f->data.bytes};
        int rc = plan_add(p, &c, e);
        if (rc < 0) return rc;
    }
    return 0;
}

int plan_add_multiboot(struct boot_plan *p, const struct multiboot_info *m, struct err *e)
{
    const struct elf_segment *s = &m->segment;
    const u8 *data = p->img->kernel.data + s->file_offset;
    int rc =
        m->is_flat
            ? plan_add(p, &(struct boot_chunk){"image", s->gpa, data, s->file_bytes, s->mem_bytes},
                       e)
            : plan_add_elf(p, e);
    if (rc < 0) return rc;
    const gpa_t floor = plan_kernel_end(p);
    rc = plan_add_initrd(p, floor, RAM_ABOVE_4G, false, e);
    if (rc == 0) rc = add_more_modules(p, floor, e);
    return rc < 0 ? rc : plan_entry32(p, m->is_flat ? m->entry : (u32)p->img->elf.entry, e);
}

int plan_add_cmdline(struct boot_plan *p, u64 chars_max, struct err *e)
{
    const char *text = p->cfg->cmdline ? p->cfg->cmdline : "";
    const char *name = p->name_first ? p->img->kernel_path : "";
    size_t name_len = strlen(name) + p->name_first, len = strlen(text) + name_len;
    chars_max = min_u64(chars_max, BOOT_CMDLINE_BYTES_MAX - 1);
    if (len > chars_max) {
        return err_set(e, E_RANGE, "command line of %zu bytes: kernel '%s' takes at most %llu", len,
                       p->img->kernel_path, (unsigned long long)chars_max);
    }
    memcpy(p->cmdline, name, name_len);
    if (name_len) p->cmdline[name_len - 1] = ' ';
    memcpy(p->cmdline + name_len, text, len - name_len + 1);
    return plan_add(p,
                    &(struct boot_chunk){"command line", BOOT_CMDLINE, (const u8 *)p->cmdline,
                                         len + 1, len + 1},
                    e);
}

/* Flat descriptors at the selectors of the Linux boot protocol (boot.rst, "32-bit Boot Protocol"):
 * __BOOT_CS 0x10, __BOOT_DS 0x18; a task state segment after them. */
enum { SEL_CS = 0x10, SEL_DS = 0x18, SEL_TSS = 0x20, GDT_BYTES = 0x30, TSS_LIMIT = 0x67 };

static u64 descriptor(const struct boot_seg *s)
{
    u64 limit = s->limit >> 12 && (s->access & 0x8000) ? s->limit >> 12 : s->limit;
    return (limit & 0xffff) | (s->base & 0xffffff) << 16 | (u64)(s->access & 0xf0ff) << 40 |
           (limit >> 16 & 15) << 48 | (s->base >> 24 & 0xff) << 56;
}

static int add_gdt(struct boot_plan *p, u16 code_access, struct err *e)
{
    struct boot_entry *n = &p->entry;
    n->cs = (struct boot_seg){SEL_CS, code_access, UINT32_MAX, 0};
    n->data = (struct boot_seg){SEL_DS, BOOT_ACCESS_DATA, UINT32_MAX, 0};
    n->tr = (struct boot_seg){SEL_TSS, BOOT_ACCESS_TSS_BUSY, TSS_LIMIT, 0};
    n->gdt_base = BOOT_GDT;
    n->gdt_limit = GDT_BYTES - 1;
    store_le(p->gdt + SEL_CS, descriptor(&n->cs), 8);
    store_le(p->gdt + SEL_DS, descriptor(&n->data), 8);
    store_le(p->gdt + SEL_TSS, descriptor(&n->tr), 8);
    return plan_add(p, &(struct boot_chunk){"GDT", BOOT_GDT, p->gdt, GDT_BYTES, GDT_BYTES}, e);
}

enum { CR0_PE_ET = 0x11, RFLAGS_ONE = 2, CR4_PAE_BIT = 1 << 5, EFER_LME_LMA = 0x500 };
#define CR0_PG_BIT 0x80000000ull

int plan_entry32(struct boot_plan *p, u32 rip, struct err *e)
{
    p->entry.mode = BOOT_MODE_PROT32;
    p->entry.rip = rip;
    p->entry.rsp = BOOT_STACK;
    p->entry.rflags = RFLAGS_ONE;
    p->entry.cr0 = CR0_PE_ET;
    return add_gdt(p, BOOT_ACCESS_CODE32, e);
}

/* 0..4 GiB onto itself in 2 MiB pages: PML4 -> PDPT -> 4 page directories. */
static void fill_pgtables(u8 *t)
{
    enum { PRESENT_RW = 3, LARGE = 0x80, DIRS = 4, ENTRIES = 512 };
    store_le(t, (BOOT_PGTABLES + PAGE_BYTES) | PRESENT_RW, 8);
    for (u64 i = 0; i < DIRS; i++) {
        u64 dir_gpa = BOOT_PGTABLES + (2 + i) * PAGE_BYTES;
        store_le(t + PAGE_BYTES + i * 8, dir_gpa | PRESENT_RW, 8);
    }
    u8 *dir = t + 2 * PAGE_BYTES;
    for (u64 i = 0; i < DIRS * ENTRIES; i++) store_le(dir + i * 8, i << 21 | LARGE | PRESENT_RW, 8);
}

int plan_entry64(struct boot_plan *p, u64 rip, struct err *e)
{
    p->entry.mode = BOOT_MODE_LONG64;
    p->entry.rip = rip;
    p->entry.rsp = BOOT_STACK;
    p->entry.rflags = RFLAGS_ONE;
    p->entry.cr0 = CR0_PE_ET | CR0_PG_BIT;
    p->entry.cr3 = BOOT_PGTABLES;
    p->entry.cr4 = CR4_PAE_BIT;
    p->entry.efer = EFER_LME_LMA;
    fill_pgtables(p->pgtables);
    int rc = plan_add(p,
                      &(struct boot_chunk){"page tables", BOOT_PGTABLES, p->pgtables,
                                           sizeof p->pgtables, sizeof p->pgtables},
                      e);
    return rc < 0 ? rc : add_gdt(p, BOOT_ACCESS_CODE64, e);
}
