/* pc.c - machine `pc`: its devices, and which wire goes where (DESIGN section 9).
 *
 *   device --irq_line--> gsi[n] --+--> 8259A input n --INTR--> LINT0 of every local APIC
 *                                 +--> I/O APIC input n (GSI 0: input 2, as on every PC) -> local
 * APICs */
#include <stdio.h>
#include <string.h>

#include "boot/e820.h"
#include "dev/acpi_pm.h"
#include "dev/i8042.h"
#include "dev/ioapic.h"
#include "dev/isa_dma.h"
#include "dev/misc.h"
#include "dev/pci_host.h"
#include "dev/pic.h"
#include "dev/pit.h"
#include "dev/rtc.h"
#include "dev/uart.h"
#include "dev/x87_ferr.h"
#include "machine/machine.h"
#include "machine/pc_disks.h"
#include "machine/pc_firmware.h"
#include "machine/pc_ports.h"

enum {
    ISA_IRQS = 16,
    IRQ_PIT = 0,
    IRQ_KBD = 1,
    IRQ_COM1 = 4,
    IRQ_AUX = 12,
    IRQ_FERR = 13,
    PIT_IOAPIC_INPUT = 2,
    COM1_BASE = 0x3F8,
};
static struct dev *add(struct machine *m, const struct dev_class *cls, const char *name,
                       const void *cfg, struct err *e)
{
    return dev_create(&m->devs, cls, name, cfg, e);
}

static int add_lapics(struct machine *m, struct err *e)
{
    m->lapics = (struct lapic_set){
        .clk = &m->clk, .cpu = {.ops = &cpus_intr_ops, .ctx = m}, .tsc_khz = (u32)m->model.tsc_khz};
    for (u32 i = 0; i < m->cfg.cpus; i++) {
        char name[DEV_NAME_BYTES];
        struct lapic_cfg cfg = {.set = &m->lapics, .cpu = i, .apic_id = i};
        snprintf(name, sizeof name, "lapic%u", i);
        if (!add(m, &lapic_class, name, &cfg, e)) return e->code;
        m->cpu[i]->lapic = m->lapics.lapic[i];
    }
    return 0;
}

static int add_interrupt_controllers(struct machine *m, struct err *e)
{
    struct pic_cfg pic_cfg = {.intr = &m->pic_intr};
    struct dev *pic = add(m, &pic_class, "pic", &pic_cfg, e);
    if (!pic) return e->code;
    struct ioapic_cfg io_cfg = {.sink = {lapic_send, &m->lapics}, .id = (u8)m->cfg.cpus};
    struct dev *ioapic = add(m, &ioapic_class, "ioapic", &io_cfg, e);
    if (!ioapic) return e->code;
    m->lapics.extint = (struct extint_source){pic_ack, pic};
    m->lapics.eoi = ioapic_eoi;
    m->lapics.eoi_ctx = ioapic;
    irq_pin_route(&m->pic_intr, lapic_extint, &m->lapics, 0);
    for (u32 i = 0; i < GSI_COUNT; i++) {
        if (i < ISA_IRQS) irq_pin_route(&m->gsi[i], pic_set, pic, i);
        if (i != PIT_IOAPIC_INPUT)
            irq_pin_route(&m->gsi[i], ioapic_set, ioapic, i == IRQ_PIT ? PIT_IOAPIC_INPUT : i);
    }
    return 0;
}

static int add_timers(struct machine *m, struct err *e)
{
    struct pit_cfg pit = {.clk = &m->clk, .irq = &m->legacy_timer[0]};
    if (!add(m, &pit_class, "pit", &pit, e)) return e->code;
    const u64 below = min_u64(m->cfg.memory_bytes, PCI_HOLE_START);
    struct rtc_cfg rtc = {.clk = &m->clk,
                          .irq = &m->legacy_timer[1],
                          .ram_below_4g = below,
                          .ram_above_4g = m->cfg.memory_bytes - below,
                          .cpus = m->cfg.cpus};
    return add(m, &rtc_class, "rtc", &rtc, e) ? 0 : e->code;
}

static int add_pci(struct machine *m, struct err *e)
{
    pci_bus_init(&m->pci, &m->bus, &m->mem, (struct intr_sink){lapic_send, &m->lapics});
    struct i440fx_cfg host = {.pci = &m->pci, .shadow = true};
    firmware_host_bridge(m, &host);
    host.shadow_id = mem_find_device(&m->mem, E820_SHADOW);
    if (!add(m, &i440fx_class, "i440fx", &host, e)) return e->code;
    struct piix3_cfg isa = {.pci = &m->pci, .isa = m->gsi};
    for (u32 i = 0; i < PCI_PIRQS && !m->fw; i++) isa.pirq_irq[i] = firmware_pirq_irq(m)[i];
    if (!add(m, &piix3_class, "piix3", &isa, e)) return e->code;
    struct acpi_pm_cfg pm = {.clk = &m->clk,
                             .sci = &m->gsi[ACPI_SCI_GSI],
                             .sci_en = true,
                             .pci = &m->pci,
                             .firmware = m->fw};
    return add(m, &acpi_pm_class, "acpi_pm", &pm, e) ? 0 : e->code;
}

static int add_input(struct machine *m, struct err *e)
{
    struct i8042_cfg cfg = {
        .clk = &m->clk, .kbd_irq = &m->gsi[IRQ_KBD], .aux_irq = &m->gsi[IRQ_AUX]};
    struct dev *d = add(m, &i8042_class, "i8042", &cfg, e);
    if (d) m->input = (struct input_sink){i8042_event, d};
    return d ? 0 : e->code;
}

static int add_ports(struct machine *m, struct err *e)
{
    struct uart_cfg uart = {
        .clk = &m->clk, .irq = &m->gsi[IRQ_COM1], .chardev = &m->serial.chardev};
    struct dev *com1 = add(m, &uart_class, "uart0", &uart, e);
    if (!com1 || dev_attach(com1, 0, COM1_BASE, e) < 0) return e->code;
    if (!add(m, &sysctl_class, "sysctl", NULL, e)) return e->code;
    if (!add(m, &isa_dma_class, "isa_dma", &(struct isa_dma_cfg){&m->mem}, e)) return e->code;
    struct x87_ferr_cfg ferr = {.irq = &m->gsi[IRQ_FERR]};
    if (!add(m, &x87_ferr_class, "x87_ferr", &ferr, e)) return e->code;
    if (!add(m, &pvpanic_class, "pvpanic", NULL, e)) return e->code;
    if (!m->cfg.debug_exit) return 0;
    struct debug_con_cfg con = {.chardev = &m->serial.chardev};
    if (!add(m, &debug_con_class, "debugcon", &con, e)) return e->code;
    return add(m, &debug_exit_class, "debug_exit", NULL, e) ? 0 : e->code;
}

/* What the ACPI tables have to say about the devices above. */
void pc_describe(struct machine *m)
{
    const u16 pm = acpi_pm_base(dev_find(&m->devs, "acpi_pm"));
    const u64 low = min_u64(m->cfg.memory_bytes, PCI_HOLE_START);
    m->acpi = (struct acpi_config){
        .cpus = m->cfg.cpus,
        .uart_mask = 1,
        .has_i8042 = true,
        .has_fdc = pc_disks_has_floppy(m),
        .has_vga = m->screen.vga != NULL,
        .ioapic_id = (u8)m->cfg.cpus,
        .pm1_evt = (u16)(pm + ACPI_PM1_EVT),
        .pm1_cnt = (u16)(pm + ACPI_PM1_CNT),
        .pm_tmr = (u16)(pm + ACPI_PM_TMR),
        .gpe0 = (u16)(pm + ACPI_GPE0),
        .gpe0_bytes = 4,
        .s5_type = ACPI_S5_TYPE,
        .sci_irq = ACPI_SCI_GSI,
        .reset_port = ACPI_RESET_PORT,
        .reset_value = ACPI_RESET_VALUE,
        .pvpanic_port = PVPANIC_PORT,
        .century_index = 0x32,
        /* firmware may put BARs right above RAM, down to 2 GiB */
        .pci32_base = m->fw ? max_u64(low, GIB(2)) : PCI_HOLE_START,
    };
    for (u32 i = 0; i < PCI_PIRQS; i++) m->acpi.pirq_irq[i] = firmware_pirq_irq(m)[i];
    pc_ports_describe(m);
}

void pc_describe_smbios(const struct machine *m, struct smbios_config *out)
{
    const u64 low = min_u64(m->cfg.memory_bytes, PCI_HOLE_START);
    *out = (struct smbios_config){.cpus = m->cfg.cpus,
                                  .low_bytes = low,
                                  .high_bytes = m->cfg.memory_bytes - low,
                                  .signature = m->model.signature,
                                  .mhz = (u32)(m->model.tsc_khz / 1000)};
    memcpy(out->vendor, m->model.vendor, sizeof m->model.vendor);
}

int pc_create(struct machine *m, struct err *e)
{
    int rc = bus_init(&m->bus, e);
    if (rc < 0) return rc;
    dev_set_init(&m->devs, &m->bus, &machine_host_ops, m);
    static int (*const parts[])(struct machine *,
                                struct err *) = {add_lapics,     add_interrupt_controllers,
                                                 add_timers,     add_pci,
                                                 screen_add_vga, add_input,
                                                 add_ports,      pc_ports_create};
    for (u32 i = 0; i < ARRAY_LEN(parts) && rc == 0; i++) rc = parts[i](m, e);
    if (rc == 0) rc = pc_disks_create(m, e);
    if (rc < 0) return rc;
    pc_describe(m);
    return firmware_add_devices(m, e);
}

void pc_destroy(struct machine *m)
{
    if (!m->bus.port) return; /* never initialised */
    /* a device that goes lowers its line, and what it leads to may be gone already */
    for (u32 i = 0; i < GSI_COUNT; i++) irq_pin_cut(&m->gsi[i]);
    for (u32 i = 0; i < ARRAY_LEN(m->legacy_timer); i++) irq_pin_cut(&m->legacy_timer[i]);
    irq_pin_cut(&m->pic_intr);
    dev_set_fini(&m->devs);
    pc_disks_destroy(m);
    bus_fini(&m->bus);
}
