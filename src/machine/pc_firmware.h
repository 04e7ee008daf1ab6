/* machine/pc_firmware.h - starting at the reset vector instead of at a kernel's entry. Private to
 * machine/. m->fw is NULL when a kernel starts without firmware. */
#ifndef MACHINE_PC_FIRMWARE_H
#define MACHINE_PC_FIRMWARE_H
#include "dev/pci_host.h"
#include "machine/machine.h"

/* linux_rom.S: the option ROM that boots a kernel */
extern const u8 linux_rom[], linux_rom_end[];

/** firmware_open - read the image of cfg.firmware, or SeaBIOS when there is no kernel either, into
 * guest memory. Errors name the file: file_read_all's, E_FORMAT (its size), E_INVAL. */
int firmware_open(struct machine *m, struct err *e) MUST_USE;
void firmware_close(struct machine *m);
/** firmware_host_bridge - what the host bridge has to know of the image. */
void firmware_host_bridge(const struct machine *m, struct i440fx_cfg *cfg);
/** firmware_pirq_irq - the ISA IRQs of the four PCI interrupt links, as the tables say. */
const u8 *firmware_pirq_irq(const struct machine *m);
/** firmware_add_devices - fw_cfg with all its items; CMOS bytes. After every other device, and
 * pc_describe(). */
int firmware_add_devices(struct machine *m, struct err *e) MUST_USE;
#endif
