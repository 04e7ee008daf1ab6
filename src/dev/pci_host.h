/* dev/pci_host.h - i440FX host bridge 00:00.0 with configuration mechanism #1, and the PIIX3 ISA
 * bridge 00:01.0. The host bridge also owns port 0xCF9 (reset control), because it lies inside its
 * address register.
 * Spec: 440FX data sheet (290549), PIIX3 data sheet (290550), PCI 3.0 section 3.2.2.3.2. */
#ifndef DEV_PCI_HOST_H
#define DEV_PCI_HOST_H
#include "bus/dev.h"
#include "bus/irq.h"
#include "bus/pci.h"

extern const struct dev_class i440fx_class;
extern const struct dev_class piix3_class;
/* The host bridge also decides what lies at [C0000, 100000): the PAM registers send reads and
 * writes of 13 segments to shadow RAM or to PCI, where the end of the ROM is. */
struct i440fx_cfg {
    struct pci_bus *pci;
    bool shadow;   /* pci->mem has: */
    u32 shadow_id; /* its backing of 256 KiB */
    bool rom;      /* and a ROM with firmware, whole at the end of the first 4 GiB: */
    u32 rom_id;    /* its backing */
    bool pam_open; /* without firmware: shadow RAM can be read and written from RESET on */
};
struct piix3_cfg {
    struct pci_bus *pci;
    struct irq_pin *isa; /* 16 pins: GSI 0..15, where PIRQs are routed */
    /* what firmware would have programmed: ISA IRQ 3..15 of PIRQA..D; 0 leaves it off */
    u8 pirq_irq[PCI_PIRQS];
};
#endif
