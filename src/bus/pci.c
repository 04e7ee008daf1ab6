/* bus/pci.c - PCI functions: configuration space, BARs, INTx.
 *
 * BAR model: the guest's value lives in cfg[]; the write mask keeps the low size bits zero, so
 * that sizing (write all-ones, read back) needs no code. After every change that matters,
 * bars_update() makes the bus agree: what should decode and does not gets mapped, and when the
 * guest put a BAR over something, it simply does not answer until the place is free - every later
 * change of any BAR tries again. */
#include "bus/pci.h"

#include <string.h>

#include "base/check.h"

static void put(struct pci_fn *f, u32 off, u32 val, u32 bytes)
{
    for (u32 i = 0; i < bytes; i++) f->cfg[off + i] = (u8)(val >> 8 * i);
}

static void set_mask(struct pci_fn *f, u32 off, u32 val, u32 bytes)
{
    for (u32 i = 0; i < bytes; i++) f->wmask[off + i] = (u8)(val >> 8 * i);
}

void pci_bus_init(struct pci_bus *p, struct bus *bus, struct mem *mem, struct intr_sink msi)
{
    *p = (struct pci_bus){.bus = bus, .mem = mem, .msi = msi};
}

int pci_fn_init(struct pci_fn *f, struct dev *d, struct pci_bus *p, u8 devfn, struct err *e)
{
    if (p->fn[devfn]) return err_set(e, E_BUSY, "PCI %02x.%u is taken", devfn >> 3, devfn & 7u);
    f->bus = p;
    f->dev = d;
    f->devfn = devfn;
    f->cap_next = 0x40;
    set_mask(f, PCI_COMMAND, CMD_IO | CMD_MEM | CMD_MASTER | CMD_SERR | CMD_INTX_OFF, 2);
    set_mask(f, PCI_CACHE_LINE, 0xFF, 1);
    set_mask(f, PCI_LATENCY, 0xFF, 1);
    set_mask(f, PCI_INT_LINE, 0xFF, 1);
    p->fn[devfn] = f;
    return 0;
}

void pci_fn_set_ids(struct pci_fn *f, const struct pci_fn_cfg *c)
{
    put(f, PCI_VENDOR_ID, c->vendor, 2);
    put(f, PCI_DEVICE_ID, c->device, 2);
    put(f, PCI_REVISION, c->revision, 1);
    put(f, PCI_CLASS_PROG, c->class_code, 3);
    put(f, PCI_HEADER_TYPE, c->multi ? 0x80 : 0, 1);
    put(f, PCI_SUBSYS_VENDOR, c->subsys_vendor, 2);
    put(f, PCI_SUBSYS_ID, c->subsys, 2);
    put(f, PCI_INT_PIN, c->int_pin, 1);
    f->int_pin = c->int_pin;
}

/* ---- BARs ------------------------------------------------------------------------------------ */

static struct bus_region *bar_region(const struct pci_fn *f, u32 n)
{
    return f->bar[n].region ? &f->dev->region[f->bar[n].region - 1] : NULL;
}

/* Where BAR @n should decode, or false when it should not. Address 0 means "not assigned". */
static bool bar_wants(const struct pci_fn *f, u32 n, u64 *base)
{
    u32 cmd = pci_get(f, PCI_COMMAND, 2), flags = f->bar[n].flags;
    if (n == PCI_ROM_BAR) {
        u32 rom = pci_get(f, PCI_ROM, 4);
        *base = rom & ~(u32)(PAGE_BYTES - 1);
        return *base && rom & ROM_ENABLE && cmd & CMD_MEM;
    }
    u64 v = pci_get(f, PCI_BAR0 + 4 * n, 4) & ~(flags & BAR_IO ? 3u : 15u);
    if (flags & BAR_64) v |= (u64)pci_get(f, PCI_BAR0 + 4 * n + 4, 4) << 32;
    *base = v;
    return v != 0 && (cmd & (flags & BAR_IO ? CMD_IO : CMD_MEM));
}

static void bar_unmap_stale(struct pci_fn *f)
{
    u64 base;
    for (u32 n = 0; n < PCI_BARS; n++) {
        struct bus_region *r = bar_region(f, n);
        if (r && r->mapped && !(bar_wants(f, n, &base) && base == r->base))
            bus_unmap(f->bus->bus, r);
    }
}

static void bar_map_wanted(struct pci_fn *f)
{
    u64 base;
    for (u32 n = 0; n < PCI_BARS; n++) {
        struct bus_region *r = bar_region(f, n);
        if (r && !r->mapped && bar_wants(f, n, &base) && bus_map(f->bus->bus, r, base, NULL) < 0)
            f->bus->bus->stats.bar_conflicts++;
    }
}

/* @f's BARs or its command register changed. */
static void bars_update(struct pci_fn *f)
{
    bar_unmap_stale(f);
    for (u32 i = 0; i < PCI_FNS_MAX; i++)
        if (f->bus->fn[i]) bar_map_wanted(f->bus->fn[i]);
}

/* ---- memory BARs ----------------------------------------------------------------------------- */

static u64 backing_bytes(const struct pci_fn *f, u32 id) { return f->bus->mem->backing[id].bytes; }

static void check_backing(const struct pci_fn *f, u32 id)
{
    u64 bytes = id < f->bus->mem->backings ? backing_bytes(f, id) : 0;
    ASSERT(bytes && !(bytes & (bytes - 1)) && bytes <= BIT(31), "%s: memory", f->dev->name);
}

void pci_fn_add_mem_bar(struct pci_fn *f, u32 n, u32 id, u8 flags)
{
    ASSERT(n < PCI_BARS && !(flags & BAR_IO), "%s: BAR %u", f->dev->name, n);
    check_backing(f, id);
    f->bar[n] = (struct pci_bar){.backing = (u8)(id + 1), .flags = flags};
    put(f, PCI_BAR0 + 4 * n, flags, 4);
    set_mask(f, PCI_BAR0 + 4 * n, ~(u32)(backing_bytes(f, id) - 1), 4);
    if (flags & BAR_64) set_mask(f, PCI_BAR0 + 4 * n + 4, ~0u, 4);
}

void pci_fn_add_rom(struct pci_fn *f, u32 id)
{
    check_backing(f, id);
    f->bar[PCI_ROM_BAR] = (struct pci_bar){.backing = (u8)(id + 1)};
    set_mask(f, PCI_ROM, ~(u32)(backing_bytes(f, id) - 1) | ROM_ENABLE, 4);
}

u64 pci_fn_mem_base(const struct pci_fn *f, u32 n)
{
    u64 base;
    return f->bar[n].backing && bar_wants(f, n, &base) ? base : 0;
}

void pci_fn_map(const struct pci_fn *f, struct mem_map *map)
{
    for (u32 n = 0; n <= PCI_ROM_BAR; n++) {
        struct mem_piece p = {.base = pci_fn_mem_base(f, n), .rom = n == PCI_ROM_BAR};
        if (!p.base) continue;
        p.backing = f->bar[n].backing - 1u;
        p.bytes = backing_bytes(f, p.backing);
        if (mem_map_add(map, f->bus->mem, &p, NULL) < 0) f->bus->bus->stats.bar_conflicts++;
    }
}

/* Has what pci_fn_map() does changed with the write that made @was what it is now? */
static void mem_bars_update(struct pci_fn *f, const u64 was[PCI_BARS + 1])
{
    bool moved = false;
    for (u32 n = 0; n <= PCI_ROM_BAR; n++) moved |= was[n] != pci_fn_mem_base(f, n);
    if (moved) dev_request_remap(f->dev);
}

static void mem_bars_note(const struct pci_fn *f, u64 was[PCI_BARS + 1])
{
    for (u32 n = 0; n <= PCI_ROM_BAR; n++) was[n] = pci_fn_mem_base(f, n);
}

void pci_fn_fini(struct pci_fn *f)
{
    if (!f->bus) return;
    pci_intx(f, false);
    f->bus->fn[f->devfn] = NULL;
}

void pci_fn_add_bar(struct pci_fn *f, u32 n, u32 region, u8 flags)
{
    u64 bytes = f->dev->region[region].row->bytes;
    ASSERT(n < PCI_BARS && region < f->dev->regions, "%s: BAR %u", f->dev->name, n);
    ASSERT(bytes >= 4 && !(bytes & (bytes - 1)), "%s: BAR %u size", f->dev->name, n);
    f->bar[n] = (struct pci_bar){.region = (u8)(region + 1), .flags = flags};
    put(f, PCI_BAR0 + 4 * n, flags, 4);
    set_mask(f, PCI_BAR0 + 4 * n, ~(u32)(bytes - 1), 4);
    if (flags & BAR_64) set_mask(f, PCI_BAR0 + 4 * n + 4, (u32)(~(bytes - 1) >> 32), 4);
}

u8 pci_fn_add_cap(struct pci_fn *f, u8 id, u32 bytes)
{
    u8 at = f->cap_next;
    ASSERT(at + bytes <= PCI_CFG_BYTES, "%s: capabilities overflow", f->dev->name);
    f->cfg[at] = id;
    f->cfg[at + 1] = f->cfg[PCI_CAP_PTR];
    f->cfg[PCI_CAP_PTR] = at;
    f->cfg[PCI_STATUS] |= STATUS_CAPS;
    f->cap_next = (u8)align_up(at + bytes, 4);
    return at;
}

int pci_set_bar(struct pci_fn *f, u32 n, u64 base, struct err *e)
{
    struct bus_region *r = n < PCI_BARS ? bar_region(f, n) : NULL;
    u32 flags = r ? f->bar[n].flags : 0;
    if (!r || (base & (r->row->bytes - 1)) || !base) return err_set(e, E_INVAL, "BAR %u", n);
    if (!(flags & BAR_64) && base > UINT32_MAX) return err_set(e, E_INVAL, "BAR %u is 32-bit", n);
    put(f, PCI_BAR0 + 4 * n, (u32)base | flags, 4);
    if (flags & BAR_64) put(f, PCI_BAR0 + 4 * n + 4, (u32)(base >> 32), 4);
    f->cfg[PCI_COMMAND] |= flags & BAR_IO ? CMD_IO : CMD_MEM;
    bars_update(f);
    return r->mapped ? 0 : err_set(e, E_BUSY, "BAR %u: address taken", n);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

u32 pci_pirq(u8 devfn, u8 int_pin)
{
    return ((devfn >> 3) + PCI_PIRQS - 1 + int_pin - 1u) & (PCI_PIRQS - 1);
}

/* Make the wire agree with what the device drives and the guest masks. */
static void intx_update(struct pci_fn *f)
{
    u8 pin = f->int_pin;
    bool want = pin && f->intx && !(pci_get(f, PCI_COMMAND, 2) & CMD_INTX_OFF);
    if (want == f->wired) return;
    f->wired = want;
    struct pci_bus *p = f->bus;
    u32 q = pci_pirq(f->devfn, pin);
    bool was = p->pirq_count[q] > 0;
    p->pirq_count[q] += want ? 1u : -1u;
    bool is = p->pirq_count[q] > 0;
    if (was != is && p->pirq) p->pirq(p->pirq_ctx, q, is);
}

void pci_intx(struct pci_fn *f, bool level)
{
    f->intx = level;
    f->cfg[PCI_STATUS] = (u8)((f->cfg[PCI_STATUS] & ~STATUS_INTX) | (level ? STATUS_INTX : 0));
    intx_update(f);
}

/* ---- reset, load ----------------------------------------------------------------------------- */

void pci_fn_reset(struct pci_fn *f)
{
    u64 was[PCI_BARS + 1];
    mem_bars_note(f, was);
    for (u32 i = 0; i < 0x40; i++) f->cfg[i] &= (u8) ~(f->wmask[i] | f->w1c[i]);
    pci_intx(f, false);
    bars_update(f);
    mem_bars_update(f, was);
}

void pci_fn_post_load(struct pci_fn *f)
{
    pci_intx(f, f->intx);
    bars_update(f);
    dev_request_remap(f->dev);
}

/* ---- configuration cycles -------------------------------------------------------------------- */

u32 pci_cfg_read(struct pci_bus *p, u8 devfn, u32 off, u32 bytes)
{
    struct pci_fn *f = p->fn[devfn];
    if (!f || off + bytes > PCI_CFG_BYTES) return (u32)mask_bytes(bytes);
    if (f->cfg_read) f->cfg_read(f, off, bytes);
    return pci_get(f, off, bytes);
}

void pci_cfg_write(struct pci_bus *p, u8 devfn, u32 off, u32 val, u32 bytes)
{
    struct pci_fn *f = p->fn[devfn];
    u64 was[PCI_BARS + 1];
    if (!f || off + bytes > PCI_CFG_BYTES) return;
    mem_bars_note(f, was);
    for (u32 i = 0; i < bytes; i++) {
        u8 v = (u8)(val >> 8 * i), *c = &f->cfg[off + i], m = f->wmask[off + i];
        *c = (u8)((*c & ~m) | (v & m));
        *c &= (u8) ~(v & f->w1c[off + i]);
    }
    if (off < PCI_BAR0 + 4 * PCI_BARS && off + bytes > PCI_COMMAND) {
        bars_update(f);
        intx_update(f);
    }
    mem_bars_update(f, was);
    if (f->cfg_write) f->cfg_write(f, off, bytes);
}
