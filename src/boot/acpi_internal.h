/* boot/acpi_internal.h - shared by acpi.c, acpi_files.c and dsdt.c.
 *
 * One builder serves the direct boot and firmware: tables are laid out in one buffer that will lie
 * at guest-physical `base`, with pointers between them and checksums right for that base. Where
 * each pointer and each table is gets noted, so that firmware may put the buffer elsewhere. */
#ifndef BOOT_ACPI_INTERNAL_H
#define BOOT_ACPI_INTERNAL_H
#include "boot/acpi.h"
#include "boot/aml.h"
#include "boot/layout.h"

enum { ACPI_AREA_BYTES = SMBIOS_START - ACPI_START, ACPI_POINTERS_MAX = 16, ACPI_TABLES_MAX = 8 };
enum { ACPI_TABLE_ALIGN = 64, ACPI_RSDP_BYTES = 36, ACPI_RSDP_V1_BYTES = 20 };
enum { ACPI_HDR_CHECKSUM = 9, ACPI_RSDP_CHECKSUM = 8, ACPI_RSDP_CHECKSUM2 = 32 };
enum { ACPI_RSDP_RSDT = 16, ACPI_RSDP_XSDT = 24 };

struct acpi_area {
    u8 *buf;   /* ACPI_AREA_BYTES */
    u32 bytes; /* used */
    gpa_t base;
    bool full;
    u32 pointers, tables;
    struct {
        u32 at;
        u8 bytes;
    } pointer[ACPI_POINTERS_MAX];
    struct {
        u32 at, bytes;
    } table[ACPI_TABLES_MAX];
    u32 rsdt, xsdt; /* offsets */
};
/** acpi_area_build - fill @ar, whose buf and base are set, and put an RSDP for it at @rsdp. */
int acpi_area_build(struct acpi_area *ar, const struct acpi_config *cfg, u8 rsdp[ACPI_RSDP_BYTES],
                    struct err *e) MUST_USE;
/* dsdt_write - append the definition block (the AML after the table header) of the machine. */
void dsdt_write(struct aml *a, const struct acpi_config *cfg);
#endif
