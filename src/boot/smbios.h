/* boot/smbios.h - the SMBIOS tables of machine `pc`: what dmidecode, an operating system's DMI code
 * and firmware read of vendor, chassis, processor and memory.
 *
 * Structures, in order: 0 firmware, 1 system, 3 chassis, 4 processor (one package, as CPUID says),
 * 16 memory array, 17 memory device, 19 memory addresses (one or two), 32 boot status, 127 end.
 * Spec: SMBIOS 2.8 (DMTF DSP0134). */
#ifndef BOOT_SMBIOS_H
#define BOOT_SMBIOS_H
#include "base/err.h"
#include "base/types.h"
#include "mem/mem.h"

enum { SMBIOS_ANCHOR_BYTES = 31, SMBIOS_TABLES_BYTES_MAX = 1024 };
#define SMBIOS_FILE_ANCHOR "etc/smbios/smbios-anchor"
#define SMBIOS_FILE_TABLES "etc/smbios/smbios-tables"

struct smbios_config {
    u32 cpus;        /* 1..VCPUS_MAX                                      */
    u64 low_bytes;   /* RAM from address 0 on, not 0                      */
    u64 high_bytes;  /* RAM from 4 GiB on                                 */
    char vendor[13]; /* of the processor, as CPUID says                   */
    u32 signature;   /* CPUID leaf 1 EAX                                  */
    u32 mhz;         /* 0: unknown                                        */
};
struct smbios {
    u8 anchor[SMBIOS_ANCHOR_BYTES];
    u8 tables[SMBIOS_TABLES_BYTES_MAX];
    u32 bytes; /* of tables */
};

/** smbios_make - the tables, and an entry point that finds them at @tables_gpa. For firmware, which
 * chooses the place itself, 0. Cannot fail: everything in @cfg is bounded. */
void smbios_make(struct smbios *out, const struct smbios_config *cfg, u32 tables_gpa);
/** smbios_build - write them to [SMBIOS_START, ACPI_END) of @mem, the entry point first, where an
 * operating system without UEFI looks for it. E_RANGE: no memory there. */
int smbios_build(struct mem *mem, const struct smbios_config *cfg, struct err *e) MUST_USE;
#endif
