/* bus/dma.h - bus-master access to guest memory, for PCI functions.
 * Nothing moves unless the guest set the function's Bus Master Enable bit. Writes into the
 * interrupt window 0xFEExxxxx are MSIs, as on real buses. Copy a request in once and validate the
 * copy: the guest keeps writing meanwhile.
 * Threads: under the bus lock, or wherever the device documents it (memory itself needs no lock).
 * */
#ifndef BUS_DMA_H
#define BUS_DMA_H
#include "bus/pci.h"

/* Return 0; E_GUEST when mastering is off (reads then give all-ones) or any byte is not memory. */
int dma_read(const struct pci_fn *f, gpa_t gpa, void *buf, u64 bytes);
int dma_write(const struct pci_fn *f, gpa_t gpa, const void *buf, u64 bytes);
#endif
