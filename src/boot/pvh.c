/* pvh - start through the note XEN_ELFNOTE_PHYS32_ENTRY: 32-bit protected mode, EBX -> start info.
 * Layout at BOOT_INFO: start info (56 bytes), one module entry (32), then the memory map (24 each).
 * Spec: Xen docs/misc/pvh.pandoc, public/arch-x86/hvm/start_info.h version 1. */
#include "boot/boot_internal.h"

enum { /* hvm_start_info; all addresses are u64 */
       SI_MAGIC = 0,
       SI_VERSION = 4,
       SI_NR_MODULES = 12,
       SI_MODLIST = 16,
       SI_CMDLINE = 24,
       SI_RSDP = 32,
       SI_MEMMAP = 40,
       SI_MEMMAP_ENTRIES = 48,
       SI_BYTES = 56,
       MOD_ADDR = 0,
       MOD_SIZE = 8,
       MOD_BYTES = 32,
       MAP_BYTES = 24,
       START_INFO_MAGIC = 0x336ec578,
};

static int add_start_info(struct boot_plan *p, struct err *e)
{
    u8 *si = p->info, *mod = si + SI_BYTES, *map = mod + MOD_BYTES;
    store_le(si + SI_MAGIC, START_INFO_MAGIC, 4);
    store_le(si + SI_VERSION, 1, 4);
    store_le(si + SI_CMDLINE, BOOT_CMDLINE, 8);
    store_le(si + SI_RSDP, p->cfg->rsdp_gpa, 8);
    if (p->initrd_gpa) {
        store_le(si + SI_NR_MODULES, 1, 4);
        store_le(si + SI_MODLIST, BOOT_INFO + SI_BYTES, 8);
        store_le(mod + MOD_ADDR, p->initrd_gpa, 8);
        store_le(mod + MOD_SIZE, p->img->initrd.bytes, 8);
    }
    store_le(si + SI_MEMMAP, BOOT_INFO + SI_BYTES + MOD_BYTES, 8);
    store_le(si + SI_MEMMAP_ENTRIES, p->map.count, 4);
    for (u32 i = 0; i < p->map.count; i++, map += MAP_BYTES) {
        store_le(map, p->map.entry[i].base, 8);
        store_le(map + 8, p->map.entry[i].bytes, 8);
        store_le(map + 16, p->map.entry[i].type, 4);
    }
    u64 bytes = (u64)(map - si);
    return plan_add(p, &(struct boot_chunk){"start info", BOOT_INFO, si, bytes, bytes}, e);
}

int pvh_plan(struct boot_plan *p, struct err *e)
{
    int rc = plan_add_elf(p, e);
    if (rc < 0) return rc;
    rc = plan_add_initrd(p, plan_kernel_end(p), RAM_ABOVE_4G, false, e);
    if (rc < 0) return rc;
    rc = plan_add_cmdline(p, BOOT_CMDLINE_BYTES_MAX, e);
    if (rc < 0) return rc;
    rc = add_start_info(p, e);
    if (rc < 0) return rc;
    p->entry.rbx = BOOT_INFO;
    return plan_entry32(p, p->img->elf.pvh_entry, e);
}
