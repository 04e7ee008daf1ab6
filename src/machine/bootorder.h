/* machine/bootorder.h - the fw_cfg file "bootorder": the drives firmware may start from, as Open
 * Firmware device paths, most wanted first. SeaBIOS and OVMF both obey it. Private to machine/. */
#ifndef MACHINE_BOOTORDER_H
#define MACHINE_BOOTORDER_H
#include "machine/drive.h"

/* Where the controllers are: a PCI slot and function, or an ISA port. */
enum { BOOT_IDE_SLOT = 1, BOOT_IDE_FN = 1, BOOT_ISA_SLOT = 1, BOOT_FDC_PORT = 0x3F0 };
enum { BOOT_VIRTIO_SLOT = 16 }; /* PCI slot of the first virtio disk */

enum { BOOTORDER_LINE_BYTES = 56, BOOTORDER_BYTES = (DRIVES_MAX + 1) * BOOTORDER_LINE_BYTES };
/**
 * bootorder_text - one line for each drive of @s whose kind a letter of @order names; within a kind
 * as the drives were given. Kinds without a letter, and networks, have no line.
 * @first  NULL, or a line of its own before all others, shorter than BOOTORDER_LINE_BYTES
 * @out    room for BOOTORDER_BYTES, terminated
 * Returns the bytes of the file, the final NUL included; 0 when there is no line.
 * Spec: QEMU docs/bootindex; IEEE 1275 device paths.
 */
u32 bootorder_text(const struct drive_set *s, const char *order, const char *first, char *out);

/** bootorder_cmos - the first three letters of @order as CMOS bytes 3Dh (low) and 38h (high) have
 * them: 1 floppy, 2 disk, 3 CD-ROM, 4 network; first in bits 3:0, third in 15:12. */
u16 bootorder_cmos(const char *order);
#endif
