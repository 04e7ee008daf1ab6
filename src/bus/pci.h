/* bus/pci.h - one conventional PCI bus: functions with 256 bytes of configuration space, BARs
 * mapped on the bus as the guest programs them, INTx wires, capabilities, MSI.
 *
 * A PCI device embeds `struct pci_fn` beside its `struct dev`. Its BARs are region rows of its
 * class (not fixed); the generic code decodes configuration accesses, sizes and maps BARs and
 * calls cfg_write only for what it did not handle. Configuration space is bytes + a write mask:
 * guest-writable bits are listed, all others are read-only.
 * Saved state: PCI_SER(type, field) in the device's field table; call pci_fn_post_load() in
 * post_load.
 * Threads: under the bus lock.  Spec: PCI Local Bus 3.0 chapter 6; MSI 6.8. */
#ifndef BUS_PCI_H
#define BUS_PCI_H
#include "base/ser.h"
#include "bus/dev.h"
#include "bus/irq.h"
#include "mem/map.h"

enum { PCI_FNS_MAX = 256, PCI_CFG_BYTES = 256, PCI_BARS = 6, PCI_ROM_BAR = 6, PCI_PIRQS = 4 };
enum pci_reg { /* configuration header, type 0; byte offsets */
               PCI_VENDOR_ID = 0x00,
               PCI_DEVICE_ID = 0x02,
               PCI_COMMAND = 0x04,
               PCI_STATUS = 0x06,
               PCI_REVISION = 0x08,
               PCI_CLASS_PROG = 0x09,
               PCI_CLASS_DEVICE = 0x0A,
               PCI_CACHE_LINE = 0x0C,
               PCI_LATENCY = 0x0D,
               PCI_HEADER_TYPE = 0x0E,
               PCI_BAR0 = 0x10,
               PCI_SUBSYS_VENDOR = 0x2C,
               PCI_SUBSYS_ID = 0x2E,
               PCI_ROM = 0x30,
               PCI_CAP_PTR = 0x34,
               PCI_INT_LINE = 0x3C,
               PCI_INT_PIN = 0x3D,
};
enum {
    CMD_IO = 1 << 0,
    CMD_MEM = 1 << 1,
    CMD_MASTER = 1 << 2,
    CMD_SERR = 1 << 8,
    CMD_INTX_OFF = 1 << 10
};
enum { STATUS_INTX = 1 << 3, STATUS_CAPS = 1 << 4 };
enum { BAR_IO = 1 << 0, BAR_64 = 1 << 2, BAR_PREFETCH = 1 << 3 };
enum { ROM_ENABLE = 1 << 0 };

struct pci_bus;
struct pci_fn;

struct pci_fn_cfg {
    u16 vendor, device, subsys_vendor, subsys;
    u32 class_code; /* 24 bits: class, subclass, interface */
    u8 revision;
    u8 int_pin; /* 0 none, 1..4 INTA..INTD */
    bool multi; /* function 0 of several   */
};
struct pci_bar {
    u8 region;  /* row of the class's region table + 1; 0: none    */
    u8 flags;   /* BAR_x                                           */
    u8 backing; /* guest memory: number of the backing + 1; 0: none */
};
struct pci_fn {
    struct pci_bus *bus;
    struct dev *dev;
    u8 devfn;
    u8 int_pin; /* as set up: routing never trusts a loaded image */
    bool intx;  /* level the device drives                 */
    bool wired; /* what PIRQ currently gets: intx, unmasked */
    u8 cfg[PCI_CFG_BYTES], wmask[PCI_CFG_BYTES], w1c[PCI_CFG_BYTES];
    struct pci_bar bar[PCI_BARS + 1]; /* the last is the expansion ROM */
    u8 cap_next;                      /* first free byte for capabilities */
    /* After the generic write of [off, off+bytes): capabilities, PIRQ routing, ... May be NULL. */
    void (*cfg_write)(struct pci_fn *f, u32 off, u32 bytes);
    /* Before [off, off+bytes) is read: bring it up to date. May be NULL. */
    void (*cfg_read)(struct pci_fn *f, u32 off, u32 bytes);
};
/* A device's saved fields for its embedded pci_fn called @f. */
#define PCI_SER(type, f) SER_ARRAY(type, f.cfg, 1), SER(type, f.intx, 1)

struct pci_bus {
    struct bus *bus;      /* borrowed */
    struct mem *mem;      /* borrowed: DMA */
    struct intr_sink msi; /* where MSIs go */
    struct pci_fn *fn[PCI_FNS_MAX];
    u32 pirq_count[PCI_PIRQS];                     /* functions asserting each wire */
    void (*pirq)(void *ctx, u32 pirq, bool level); /* set by the ISA bridge */
    void *pirq_ctx;
};

/** pci_bus_init - empty bus over @bus and @mem. Embedded in the machine. */
void pci_bus_init(struct pci_bus *p, struct bus *bus, struct mem *mem, struct intr_sink msi);
/** pci_fn_init - fill the header of @f and put it on @p at @devfn (device << 3 | function). E_BUSY
 * when taken. */
int pci_fn_init(struct pci_fn *f, struct dev *d, struct pci_bus *p, u8 devfn,
                struct err *e) MUST_USE;
void pci_fn_set_ids(struct pci_fn *f, const struct pci_fn_cfg *c);
void pci_fn_fini(struct pci_fn *f);
/** pci_fn_add_bar - BAR @n decodes region row @region (power-of-two bytes, at least 4 (I/O) or
 * 16); BAR_64 takes n+1 too. */
void pci_fn_add_bar(struct pci_fn *f, u32 n, u32 region, u8 flags);
/** pci_fn_add_mem_bar - BAR @n is memory: backing @id of p->mem (mem_add_device), a power of two of
 * at least a page; BAR_64 takes n+1 too. The class's map() calls pci_fn_map(). */
void pci_fn_add_mem_bar(struct pci_fn *f, u32 n, u32 id, u8 flags);
/** pci_fn_add_rom - expansion ROM: backing @id, as above, which holds the image already. */
void pci_fn_add_rom(struct pci_fn *f, u32 id);
/** pci_fn_map - put the memory BARs and the ROM of @f that decode into @map; for dev_class.map. */
void pci_fn_map(const struct pci_fn *f, struct mem_map *map);
/** pci_fn_mem_base - where memory BAR @n decodes now, or 0: nowhere. */
u64 pci_fn_mem_base(const struct pci_fn *f, u32 n);
/** pci_fn_add_cap - append a capability of @bytes (header included); returns its offset. Set-up
 * only. */
u8 pci_fn_add_cap(struct pci_fn *f, u8 id, u32 bytes);
/** pci_fn_reset - command, BARs, interrupt line and status to power-on values; unmaps. */
void pci_fn_reset(struct pci_fn *f);
void pci_fn_post_load(struct pci_fn *f);
/** pci_set_bar - what firmware does: program BAR @n and enable decoding (boot without firmware).
 * E_BUSY, E_INVAL. */
int pci_set_bar(struct pci_fn *f, u32 n, u64 base, struct err *e) MUST_USE;
/** pci_intx - drive the function's interrupt pin; masked by CMD_INTX_OFF. */
void pci_intx(struct pci_fn *f, bool level);
/** pci_pirq - which of the four wires pin @int_pin (1..4) of @devfn reaches: (device + pin - 2) &
 * 3, as the boards SeaBIOS knows are wired. */
u32 pci_pirq(u8 devfn, u8 int_pin);

/* Configuration cycles. Absent functions read all-ones. @bytes 1, 2, 4, aligned. */
u32 pci_cfg_read(struct pci_bus *p, u8 devfn, u32 off, u32 bytes);
void pci_cfg_write(struct pci_bus *p, u8 devfn, u32 off, u32 val, u32 bytes);
static inline u32 pci_get(const struct pci_fn *f, u32 off, u32 bytes)
{
    u32 v = 0;
    for (u32 i = 0; i < bytes; i++) v |= (u32)f->cfg[(off + i) & (PCI_CFG_BYTES - 1)] << (8 * i);
    return v;
}
#endif
