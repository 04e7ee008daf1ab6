/* bus/msix.h - MSI-X of a PCI function: the capability, and table and pending bits behind a memory
 * BAR that the device's region callbacks hand on to msix_read() and msix_write().
 *   [0, 16 * vectors)          table: address, upper address, data, control (bit 0: masked)
 *   [MSIX_PBA, MSIX_PBA + 8)   one bit per vector that fired while masked
 * Saved state: MSIX_SER; call msix_reset() and msix_post_load() from the device's.
 * Threads: under the bus lock.  Spec: PCI Local Bus 3.0 6.8.2. */
#ifndef BUS_MSIX_H
#define BUS_MSIX_H
#include "bus/pci.h"

enum { MSIX_VECTORS_MAX = 8, MSIX_PBA = 0x800, MSIX_BAR_BYTES = 0x1000, MSIX_NONE = 0xFFFF };
struct msix {
    struct pci_fn *fn;
    u8 cap;
    u32 vectors;
    u32 table[MSIX_VECTORS_MAX * 4];
    u32 pending;
};
#define MSIX_SER(type, m) SER_ARRAY(type, m.table, 1), SER(type, m.pending, 1)

/** msix_init - add the capability to @fn: @vectors (1..MSIX_VECTORS_MAX), tables in BAR @bar, whose
 * region has MSIX_BAR_BYTES. Set-up only. */
void msix_init(struct msix *m, struct pci_fn *fn, u32 vectors, u32 bar);
void msix_reset(struct msix *m);
bool msix_is_on(const struct msix *m);
/** msix_fire - send vector @n now, or when it is unmasked. Nothing for a vector that is not there.
 */
void msix_fire(struct msix *m, u32 n);
u32 msix_read(const struct msix *m, u32 off);
void msix_write(struct msix *m, u32 off, u32 val);
/** msix_check - the guest wrote configuration space, or a state was loaded: send what waited. */
void msix_check(struct msix *m);
#endif
