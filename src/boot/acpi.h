/* boot/acpi.h - the ACPI tables of machine `pc`, built in code: RSDP, RSDT, XSDT, FADT, FACS, MADT,
 * DSDT. PCI INTx pins reach the links A..D as pci_pirq() says.
 * Spec: ACPI 6.5 §5.2 (tables), §4.8 (fixed hardware), §19-20 (AML). */
#ifndef BOOT_ACPI_H
#define BOOT_ACPI_H
#include "base/err.h"
#include "base/types.h"
#include "mem/mem.h"

/* The fixed hardware and the rest of the machine as the tables must describe it. The machine fills
 * this in from the devices' own constants, so that each number is written once. */
struct acpi_config {
    u32 cpus;       /* 1..VCPUS_MAX; APIC IDs and processor UIDs 0..cpus-1   */
    u32 uart_mask;  /* bit n: COM(n+1) present at its usual port and IRQ     */
    bool has_i8042; /* PS/2 controller at 0x60/0x64                          */
    bool has_fdc;   /* floppy controller at 0x3F0, IRQ 6, DMA channel 2      */
    bool has_lpt1;  /* parallel port at 0x378, IRQ 7                         */
    bool has_vga;   /* something answers in the VGA window                   */
    u8 ioapic_id;   /* the IOAPIC: at IOAPIC_GPA, GSI 0..23                  */
    u8 pirq_irq[4]; /* IRQ (and GSI) of PCI interrupt links A..D: 3..15, level, active high */
    u16 pm1_evt;    /* I/O ports: 4 bytes, status and enable                 */
    u16 pm1_cnt;    /* 2 bytes                                               */
    u16 pm_tmr;     /* 4 bytes, 32-bit counter at 3.579545 MHz               */
    u16 gpe0;       /* gpe0_bytes: status half, enable half                  */
    u8 gpe0_bytes;
    u8 s5_type;     /* SLP_TYPa that powers off                              */
    u8 sci_irq;     /* ISA IRQ and GSI alike; level, active high             */
    u16 reset_port; /* byte port: writing reset_value resets                 */
    u8 reset_value;
    u16 pvpanic_port;             /* byte port for panic notification, 0 for none        */
    u8 century_index;             /* CMOS index of the century, 0 for none               */
    u64 hpet_gpa;                 /* registers of the HPET, 0 for none                   */
    u32 hpet_id;                  /* low half of its capabilities                        */
    u16 hpet_min_tick;            /* shortest period software should choose              */
    u16 smi_cmd;                  /* 0: the machine is always in ACPI mode               */
    u8 acpi_enable, acpi_disable; /* values for smi_cmd                      */
    u64 pci32_base;               /* 32-bit PCI window from here to PCI_MMIO_END         */
    u64 pci64_base;               /* 64-bit PCI window; 0 bytes for none     */
    u64 pci64_bytes;
};

/**
 * acpi_build - write the tables to [ACPI_START, SMBIOS_START) of @mem.
 * @rsdp_gpa  out: where the RSDP is (ACPI_START)
 * Errors: E_INVAL (a number above out of its range), E_RANGE (the tables outgrew their area or it
 * is not memory), E_NOMEM.
 */
int acpi_build(struct mem *mem, const struct acpi_config *cfg, gpa_t *rsdp_gpa,
               struct err *e) MUST_USE;

/* The same tables for firmware to place: three files, and the loader script that says how
 * (QEMU hw/acpi/bios-linker-loader: 128-byte commands). Owned by whoever has the
 * struct: acpi_files_fini. */
#define ACPI_FILE_TABLES "etc/acpi/tables"
#define ACPI_FILE_RSDP "etc/acpi/rsdp"
#define ACPI_FILE_LOADER "etc/table-loader"
struct acpi_files {
    u8 *tables, *rsdp, *loader;
    u32 tables_bytes, rsdp_bytes, loader_bytes;
};
/** acpi_files_build - make them; when @f has been built already the bytes are made anew in place,
 * and only numbers of the fixed hardware may be different in @cfg. Errors: as acpi_build. */
int acpi_files_build(struct acpi_files *f, const struct acpi_config *cfg, struct err *e) MUST_USE;
void acpi_files_fini(struct acpi_files *f);
#endif
