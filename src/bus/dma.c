/* bus/dma.c - bus-master access. */
#include "bus/dma.h"

#include <string.h>

static bool is_master(const struct pci_fn *f) { return pci_get(f, PCI_COMMAND, 2) & CMD_MASTER; }

int dma_read(const struct pci_fn *f, gpa_t gpa, void *buf, u64 bytes)
{
    if (is_master(f)) return mem_read(f->bus->mem, gpa, buf, bytes);
    memset(buf, 0xFF, bytes);
    return E_GUEST;
}

int dma_write(const struct pci_fn *f, gpa_t gpa, const void *buf, u64 bytes)
{
    u32 data;
    if (!is_master(f)) return E_GUEST;
    if ((gpa & ~0xFFFFFull) != 0xFEE00000ull) return mem_write(f->bus->mem, gpa, buf, bytes);
    if (bytes != sizeof data) return E_GUEST;
    memcpy(&data, buf, sizeof data);
    msi_send(&f->bus->msi, gpa, data);
    return 0;
}
