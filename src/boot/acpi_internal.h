/* boot/acpi_internal.h - shared by acpi.c and dsdt.c. */
#ifndef BOOT_ACPI_INTERNAL_H
#define BOOT_ACPI_INTERNAL_H
#include "boot/acpi.h"
#include "boot/aml.h"

/* dsdt_write - append the definition block (the AML after the table header) of the machine. */
void dsdt_write(struct aml *a, const struct acpi_config *cfg);
#endif
