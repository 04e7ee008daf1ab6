/* boot/layout.h - where things lie in the physical address space of machine `pc` before the first
 * guest instruction.
 *
 *   0000_0000  BIOS data area (only EBDA pointer, base-memory size and text mode are filled)
 *   0000_1000  boot GDT
 *   0000_2000  identity page tables of the first 4 GiB: PML4, PDPT, 4 page directories
 *   0001_0000  PVH start info or multiboot information, with their lists
 *   0009_0000  Linux boot_params ("zero page")
 *   0009_8000  kernel command line
 *   0009_fc00  extended BIOS data area (reserved)
 *   000a_0000  VGA window: not memory
 *   000c_0000  option ROM area
 *   000e_0000  RSDP, then the other ACPI tables (reserved)
 *   000f_0000  SMBIOS entry point and tables (reserved)
 *   0010_0000  RAM; kernels are loaded here or higher, the initrd as high as the kernel allows
 *   c000_0000  32-bit PCI window, IOAPIC, LAPIC, firmware flash: not memory
 *   1_0000_0000  the rest of RAM */
#ifndef BOOT_LAYOUT_H
#define BOOT_LAYOUT_H
#include "base/types.h"

enum {
    BDA_EBDA_SEG = 0x40e,   /* u16: EBDA address >> 4             */
    BDA_BASE_KIB = 0x413,   /* u16: KiB of memory below the EBDA  */
    BDA_VIDEO_MODE = 0x449, /* u8, then u16 columns             */
    BDA_CRTC_PORT = 0x463,  /* u16                              */
    BDA_VIDEO_ROWS = 0x484, /* u8 rows - 1, then u16 scan lines of a character */
    BOOT_GDT = 0x1000,
    BOOT_PGTABLES = 0x2000,
    BOOT_PGTABLES_END = 0x8000,
    BOOT_INFO = 0x10000, /* PVH, multiboot */
    BOOT_INFO_END = 0x20000,
    BOOT_ZERO_PAGE = 0x90000,
    BOOT_CMDLINE = 0x98000,
    BOOT_CMDLINE_END = 0x9f000,
    BOOT_STACK = 0x90000, /* grows down; entry protocols need none, tests like one */
    EBDA_START = 0x9fc00,
    LOW_RAM_END = 0xa0000,
    VGA_START = 0xa0000,
    VGA_END = 0xc0000,
    ACPI_START = 0xe0000,
    SMBIOS_START = 0xf0000,
    ACPI_END = 0x100000, /* of both */
    HIGH_RAM_START = 0x100000,
};
#define PCI_HOLE_START 0xc0000000ull /* end of RAM below 4 GiB                    */
#define PCI_MMIO_END 0xfec00000ull   /* end of the window BARs may be placed in   */
#define IOAPIC_GPA 0xfec00000ull
#define LAPIC_GPA 0xfee00000ull
#define RAM_ABOVE_4G 0x100000000ull
#endif
