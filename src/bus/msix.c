/* bus/msix.c - MSI-X. */
#include "bus/msix.h"

#include <string.h>

#include "base/check.h"

enum { CAP_MSIX = 0x11, CAP_BYTES = 12, CONTROL = 2, TABLE = 4, PBA = 8 };
enum { CONTROL_ON = 0x80, CONTROL_MASK = 0x40 }; /* of the control register's high byte */
enum { ENTRY_ADDR, ENTRY_ADDR_HIGH, ENTRY_DATA, ENTRY_CONTROL, ENTRY_WORDS };

void msix_init(struct msix *m, struct pci_fn *fn, u32 vectors, u32 bar)
{
    ASSERT(vectors && vectors <= MSIX_VECTORS_MAX, "%u vectors", vectors);
    m->fn = fn;
    m->vectors = vectors;
    m->cap = pci_fn_add_cap(fn, CAP_MSIX, CAP_BYTES);
    fn->cfg[m->cap + CONTROL] = (u8)(vectors - 1);
    fn->wmask[m->cap + CONTROL + 1] = CONTROL_ON | CONTROL_MASK;
    fn->cfg[m->cap + TABLE] = (u8)bar;
    fn->cfg[m->cap + PBA] = (u8)bar;
    fn->cfg[m->cap + PBA + 1] = MSIX_PBA >> 8;
}

void msix_reset(struct msix *m)
{
    memset(m->table, 0, sizeof m->table);
    for (u32 i = 0; i < m->vectors; i++) m->table[i * ENTRY_WORDS + ENTRY_CONTROL] = 1;
    m->pending = 0;
    m->fn->cfg[m->cap + CONTROL + 1] = 0;
}

bool msix_is_on(const struct msix *m) { return m->fn->cfg[m->cap + CONTROL + 1] & CONTROL_ON; }

static bool is_masked(const struct msix *m, u32 n)
{
    if (m->fn->cfg[m->cap + CONTROL + 1] & CONTROL_MASK) return true;
    return m->table[n * ENTRY_WORDS + ENTRY_CONTROL] & 1;
}

void msix_fire(struct msix *m, u32 n)
{
    const u32 *e = &m->table[n % MSIX_VECTORS_MAX * ENTRY_WORDS];
    if (n >= m->vectors || !msix_is_on(m)) return;
    if (is_masked(m, n)) {
        m->pending |= 1u << n;
        return;
    }
    m->pending &= ~(1u << n);
    if (pci_get(m->fn, PCI_COMMAND, 2) & CMD_MASTER)
        msi_send(&m->fn->bus->msi, e[ENTRY_ADDR] | (u64)e[ENTRY_ADDR_HIGH] << 32, e[ENTRY_DATA]);
}

void msix_check(struct msix *m)
{
    for (u32 n = 0; n < m->vectors; n++)
        if (m->pending >> n & 1 && !is_masked(m, n)) msix_fire(m, n);
}

u32 msix_read(const struct msix *m, u32 off)
{
    if (off < m->vectors * ENTRY_WORDS * 4) return m->table[off / 4];
    return off == MSIX_PBA ? m->pending : 0;
}

void msix_write(struct msix *m, u32 off, u32 val)
{
    if (off >= m->vectors * ENTRY_WORDS * 4) return;
    bool control = off / 4 % ENTRY_WORDS == ENTRY_CONTROL;
    m->table[off / 4] = control ? val & 1 : val;
    msix_check(m);
}
