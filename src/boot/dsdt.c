/* dsdt - the machine's ACPI name space: processors, PCI host bridge with its windows and interrupt
 * routing, interrupt links, the ISA devices, and the soft-off state.
 * Spec: ACPI 6.5 §5.6.3, §6.1 (_HID..), §6.2.13 (_PRT), §7.4.2 (_S5), §8.4 (processors). */
#include <stdio.h>

#include "boot/acpi_internal.h"
#include "boot/layout.h"
#include "bus/pci.h"

enum { PCI_SLOTS = 32, PCI_INT_PINS = 4, PIIX3_SLOT = 1 };
enum { STA_PRESENT = 0x0f, STA_HIDDEN = 0x0b };

struct isa_device {
    const char *name, *hid;
    u16 port;
    u8 bytes, irq;
};
enum { FDC_PORT = 0x3f2, FDC_PORT_DIR = 0x3f7, FDC_IRQ = 6, FDC_DMA = 2 };
static const struct isa_device coms[] = {
    {"COM1", "PNP0501", 0x3f8, 8, 4},
    {"COM2", "PNP0501", 0x2f8, 8, 3},
    {"COM3", "PNP0501", 0x3e8, 8, 4},
    {"COM4", "PNP0501", 0x2e8, 8, 3},
};

static void isa_device(struct aml *a, const struct isa_device *d, u32 uid)
{
    aml_open_device(a, d->name);
    aml_name_eisaid(a, "_HID", d->hid);
    aml_name_int(a, "_UID", uid);
    aml_name_int(a, "_STA", STA_PRESENT);
    aml_name(a, "_CRS");
    aml_res_open(a);
    aml_res_io(a, d->port, d->bytes);
    aml_res_irq(a, d->irq);
    aml_res_close(a);
    aml_close(a);
}

/* Ports 3F0 and 3F1 are not in it: they are no part of an AT's controller; 3F6 is the disk's. */
static void fdc(struct aml *a)
{
    aml_open_device(a, "FDC0");
    aml_name_eisaid(a, "_HID", "PNP0700");
    aml_name_int(a, "_STA", STA_PRESENT);
    aml_name(a, "_CRS");
    aml_res_open(a);
    aml_res_io(a, FDC_PORT, 4);
    aml_res_io(a, FDC_PORT_DIR, 1);
    aml_res_irq(a, FDC_IRQ);
    aml_res_dma(a, FDC_DMA);
    aml_res_close(a);
    aml_close(a);
}

/* Keyboard with both controller ports, then the mouse. */
static void ps2(struct aml *a)
{
    aml_open_device(a, "KBD");
    aml_name_eisaid(a, "_HID", "PNP0303");
    aml_name_int(a, "_STA", STA_PRESENT);
    aml_name(a, "_CRS");
    aml_res_open(a);
    aml_res_io(a, 0x60, 1);
    aml_res_io(a, 0x64, 1);
    aml_res_irq(a, 1);
    aml_res_close(a);
    aml_close(a);
    aml_open_device(a, "MOU");
    aml_name_eisaid(a, "_HID", "PNP0F13");
    aml_name_int(a, "_STA", STA_PRESENT);
    aml_name(a, "_CRS");
    aml_res_open(a);
    aml_res_irq(a, 12);
    aml_res_close(a);
    aml_close(a);
}

/* Panic notification: QEMU docs/specs/pvpanic. */
static void pvpanic(struct aml *a, u16 port)
{
    aml_open_device(a, "PEVT");
    aml_name(a, "_HID");
    aml_string(a, "QEMU0001");
    aml_name_int(a, "_STA", STA_PRESENT);
    aml_name(a, "_CRS");
    aml_res_open(a);
    aml_res_io(a, port, 1);
    aml_res_close(a);
    aml_close(a);
}

static void isa_bridge(struct aml *a, const struct acpi_config *cfg)
{
    static const struct isa_device rtc = {"RTC", "PNP0B00", 0x70, 2, 8};
    static const struct isa_device lpt1 = {"LPT1", "PNP0400", 0x378, 3, 7};
    aml_open_device(a, "ISA");
    aml_name_int(a, "_ADR", PIIX3_SLOT << 16);
    isa_device(a, &rtc, 0);
    for (u32 i = 0; i < ARRAY_LEN(coms); i++) {
        if (cfg->uart_mask & BIT(i)) isa_device(a, &coms[i], i + 1);
    }
    if (cfg->has_lpt1) isa_device(a, &lpt1, 1);
    if (cfg->has_fdc) fdc(a);
    if (cfg->has_i8042) ps2(a);
    if (cfg->pvpanic_port) pvpanic(a, cfg->pvpanic_port);
    aml_close(a);
}

static const char *const links[PCI_PIRQS] = {"LNKA", "LNKB", "LNKC", "LNKD"};

/* Every function's pin to its link: the order of pci_pirq(). */
static void routing(struct aml *a)
{
    aml_name(a, "_PRT");
    aml_open_package(a, PCI_SLOTS * PCI_INT_PINS);
    for (u32 slot = 0; slot < PCI_SLOTS; slot++) {
        for (u32 pin = 0; pin < PCI_INT_PINS; pin++) {
            aml_open_package(a, 4);
            aml_int(a, (u64)slot << 16 | 0xffff);
            aml_int(a, pin);
            aml_path(a, links[pci_pirq((u8)(slot << 3), (u8)(pin + 1))]);
            aml_int(a, 0);
            aml_close(a);
        }
    }
    aml_close(a);
}

static void host_bridge(struct aml *a, const struct acpi_config *cfg)
{
    aml_open_device(a, "PCI0");
    aml_name_eisaid(a, "_HID", "PNP0A03");
    aml_name_int(a, "_UID", 0);
    aml_name(a, "_CRS");
    aml_res_open(a);
    aml_res_bus(a, 0, 0xff);
    aml_res_io(a, 0xcf8, 8); /* the configuration ports */
    aml_res_window_io(a, 0, 0xcf7);
    aml_res_window_io(a, 0xd00, 0xffff);
    aml_res_window_mem32(a, VGA_START, VGA_END - 1);
    aml_res_window_mem32(a, (u32)cfg->pci32_base, (u32)(PCI_MMIO_END - 1));
    if (cfg->pci64_bytes) {
        aml_res_window_mem64(a, cfg->pci64_base, cfg->pci64_base + cfg->pci64_bytes - 1);
    }
    aml_res_close(a);
    routing(a);
    isa_bridge(a, cfg);
    aml_close(a);
}

/* One interrupt, which the OS may choose as often as it likes: the router was programmed by us. */
static void link_device(struct aml *a, u32 i, u32 gsi)
{
    aml_open_device(a, links[i]);
    aml_name_eisaid(a, "_HID", "PNP0C0F");
    aml_name_int(a, "_UID", i);
    aml_name_int(a, "_STA", STA_HIDDEN);
    for (u32 k = 0; k < 2; k++) {
        aml_name(a, k == 0 ? "_PRS" : "_CRS");
        aml_res_open(a);
        aml_res_interrupt(a, gsi);
        aml_res_close(a);
    }
    aml_open_method(a, "_SRS", 1);
    aml_close(a);
    aml_open_method(a, "_DIS", 0);
    aml_close(a);
    aml_close(a);
}

static void processors(struct aml *a, u32 cpus)
{
    for (u32 i = 0; i < cpus; i++) {
        char name[5];
        snprintf(name, sizeof name, "C%03X", i & 0xfff);
        aml_open_device(a, name);
        aml_name(a, "_HID");
        aml_string(a, "ACPI0007");
        aml_name_int(a, "_UID", i);
        aml_name_int(a, "_STA", STA_PRESENT);
        aml_close(a);
    }
}

void dsdt_write(struct aml *a, const struct acpi_config *cfg)
{
    aml_open_scope(a, "\\_SB");
    processors(a, cfg->cpus);
    host_bridge(a, cfg);
    for (u32 i = 0; i < PCI_PIRQS; i++) link_device(a, i, cfg->pirq_irq[i]);
    aml_close(a);

    aml_name(a, "\\_S5");
    aml_open_package(a, 4);
    aml_int(a, cfg->s5_type);
    for (u32 i = 0; i < 3; i++) aml_int(a, 0);
    aml_close(a);
}
