/* pc_boot.c - power-on: the processors at the reset vector; or, without firmware, what that would
 * leave behind: tables and the kernel in memory, CPU 0 at its entry. */
#include "cpu/msr.h"
#include "cpu/x86.h"
#include "machine/machine.h"
#include "machine/pc_disks.h"

static struct seg seg_of(const struct boot_seg *b)
{
    return (struct seg){.base = b->base, .limit = b->limit, .attr = b->access, .sel = b->sel};
}

/* The entry state of boot.h, on top of RESET. */
static void apply_entry(struct vcpu *v, const struct boot_entry *b)
{
    v->cr0 = b->cr0;
    v->cr3 = b->cr3;
    v->cr4 = b->cr4;
    v->efer = b->efer;
    v->rip = b->rip;
    v->rflags = b->rflags;
    for (u32 i = 0; i < GPRS; i++) v->gpr[i] = 0;
    v->gpr[RSP] = b->rsp;
    v->gpr[RAX] = b->rax;
    v->gpr[RBX] = b->rbx;
    v->gpr[RSI] = b->rsi;
    for (u32 i = 0; i < SEGS; i++) v->seg[i] = seg_of(&b->data);
    v->seg[CS] = seg_of(&b->cs);
    v->tr = seg_of(&b->tr);
    v->ldtr = (struct seg){.attr = SEG_NULL};
    v->gdtr = (struct dtable){.base = b->gdt_base, .limit = b->gdt_limit};
    v->idtr = (struct dtable){0};
    v->cpl = 0;
    v->mmu->flush_all(v);
    vcpu_mode_changed(v);
}

static int boot_kernel(struct machine *m, struct err *e)
{
    struct boot_config cfg = {.cmdline = m->cfg.cmdline};
    struct boot_entry entry;
    struct smbios_config smbios;
    int rc = acpi_build(&m->mem, &m->acpi, &cfg.rsdp_gpa, e);
    if (rc < 0) return rc;
    cfg.vga_text = screen_firmware(m);
    pc_describe_smbios(m, &smbios);
    rc = smbios_build(&m->mem, &smbios, e);
    if (rc < 0) return rc;
    rc = boot_protocol_parse(m->cfg.protocol, e);
    if (rc < 0) return rc;
    cfg.protocol = (enum boot_protocol)rc;
    rc = boot_image_load(m->image, &m->mem, &cfg, &entry, e);
    if (rc < 0) return rc;
    apply_entry(&m->cpu[0]->v, &entry);
    return pc_disks_firmware(m, e);
}

static void reset_processors(struct machine *m)
{
    for (u32 i = 0; i < m->cpus; i++) {
        struct vcpu *v = &m->cpu[i]->v;
        vcpu_reset(v, false);
        if (!m->fw) msr_firmware(v);
        v->mmu->flush_all(v);
        atomic_store(&v->posted, 0);
        v->run_state = i ? VCPU_WAIT_SIPI : VCPU_RUNNING;
    }
}

int pc_boot(struct machine *m, struct err *e)
{
    reset_processors(m);
    return m->fw ? 0 : boot_kernel(m, e);
}
