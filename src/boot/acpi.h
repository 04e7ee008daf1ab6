/* boot/acpi.h - the ACPI tables of machine `pc`, built in code: RSDP, RSDT, XSDT, FADT, FACS, MADT,
 * DSDT. The numbers below are the contract with the devices (dev/acpi_pm, dev/ioapic, PCI routing).
 * Spec: ACPI 6.4 §5.2 (tables), §4.8 (fixed hardware), §19-20 (AML). */
#ifndef BOOT_ACPI_H
#define BOOT_ACPI_H
#include "base/err.h"
#include "base/types.h"
#include "mem/mem.h"

/* Fixed hardware: I/O ports. */
enum {
    ACPI_PM1A_EVT = 0x600, /* 4 bytes: status u16, enable u16              */
    ACPI_PM1A_CNT = 0x604, /* 2 bytes; SLP_TYP 5 (\_S5 below), SLP_EN      */
    ACPI_PM_TMR = 0x608,   /* 4 bytes, 3.579545 MHz, 32 bits wide          */
    ACPI_GPE0 = 0x620,     /* ACPI_GPE0_BYTES: status half, enable half    */
    ACPI_GPE0_BYTES = 16,
    ACPI_RESET_PORT = 0xcf9,
    ACPI_RESET_VALUE = 6,
    ACPI_SCI_GSI = 9, /* level, active high */
    ACPI_S5_TYP = 5,  /* SLP_TYPa that powers off */
    ACPI_IOAPIC_PINS = 24,
    ACPI_PIT_GSI = 2, /* ISA IRQ 0 arrives at IOAPIC pin 2 */
};
/* PCI INTx as a PIIX3 routes it once its firmware has run: device d, pin p (0 is INTA) drives link
 * (d + p - 1) & 3; links A to D (PIRQRC 0x60..0x63) go to IRQ 10, 10, 11, 11, the same on PIC and
 * IOAPIC, level, active high (ELCR bits set). */
static inline u32 acpi_pci_gsi(u32 device, u32 pin) { return ((device + pin - 1) & 2) ? 11 : 10; }

struct acpi_config {
    u32 cpus;       /* 1..VCPUS_MAX; APIC IDs 0..cpus-1              */
    u32 uart_mask;  /* bit n: COM(n+1) present at its usual place    */
    bool has_i8042; /* PS/2 controller at 0x60/0x64                  */
    bool has_vga;   /* something answers in the VGA window           */
    u64 pci64_base; /* 64-bit PCI window, 0 bytes for none           */
    u64 pci64_bytes;
};

/**
 * acpi_build - write the tables to [ACPI_START, ACPI_END) of @mem.
 * @rsdp_gpa  out: where the RSDP is (ACPI_START)
 * Errors: E_INVAL (cpus), E_RANGE (the tables outgrew their area or it is not memory), E_NOMEM.
 */
int acpi_build(struct mem *mem, const struct acpi_config *cfg, gpa_t *rsdp_gpa,
               struct err *e) MUST_USE;
#endif
