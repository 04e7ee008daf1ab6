/* bus/bus.h - where port and MMIO accesses go: two address spaces of regions, one lock.
 *
 * Accesses may have 1, 2, 4 or 8 bytes (ports: up to 4) at any alignment. The bus cuts them at
 * region borders and to the sizes a region declares, so a device only ever sees aligned accesses
 * of min_bytes..max_bytes:
 *   wider or misaligned   several accesses, lowest address first
 *   too narrow, read      the containing unit of min_bytes is read and the bytes are taken out of
 * it too narrow, write     zero-extended when it starts a unit, else dropped and counted (such
 *                         registers have no byte enables)
 *   nobody there          reads give all-ones, writes vanish; counted
 * Threads: the bus lock serialises all device code. bus_{port,mmio}_* take it; everything else
 * says so. */
#ifndef BUS_BUS_H
#define BUS_BUS_H
#include <pthread.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/types.h"

struct dev;

enum bus_space { BUS_PORT, BUS_MMIO };

/* One row of a device class's region table. A row with read == NULL ends the table. */
struct dev_region {
    const char *name;
    enum bus_space space;
    /* mapped at @base when the device is created; otherwise by dev_attach() or a PCI BAR */
    bool fixed;
    u64 base;     /* legacy address, when fixed                       */
    u64 bytes;    /* length                                           */
    u8 min_bytes; /* 1, 2, 4, 8: narrowest access the callbacks see   */
    u8 max_bytes; /* 1, 2, 4, 8: widest                               */
    /* @off is aligned to @bytes and inside the region; @val has no bits above @bytes. Under the
     * bus lock. */
    u64 (*read)(struct dev *d, u64 off, u32 bytes);
    void (*write)(struct dev *d, u64 off, u64 val, u32 bytes);
};

/* A region of one device instance. Embedded in struct dev; only bus.c writes it. */
struct bus_region {
    const struct dev_region *row; /* borrowed from the class */
    struct dev *dev;
    u64 base;
    bool mapped;
};

struct bus_stats {
    u64 port_reads, port_writes, mmio_reads, mmio_writes;
    u64 unclaimed_reads, unclaimed_writes; /* pieces nobody claimed                  */
    u64 narrow_writes;                     /* dropped: see above                     */
    u64 bar_conflicts;                     /* PCI BARs the guest put over something  */
};

enum { PORTS_MAX = 65536 };
struct bus {
    pthread_mutex_t lock; /* guards everything here and in every attached device */
    u16 *port;            /* PORTS_MAX entries: index into ports[] + 1, or 0     */
    struct bus_region *ports[BUS_REGIONS_MAX]; /* NULL: free slot                */
    struct bus_region *mmio[BUS_REGIONS_MAX];  /* sorted by base, disjoint       */
    u32 mmio_count, mmio_hit;                  /* entries; entry found last                       */
    struct bus_stats stats;
};

/** bus_init - empty spaces. @b is embedded in the machine. Returns 0, E_NOMEM. */
int bus_init(struct bus *b, struct err *e) MUST_USE;
/** bus_fini - every device must be gone. */
void bus_fini(struct bus *b);

/** bus_lock, bus_unlock - not recursive. The event loop holds it around clk_run(), back ends
 * around input. */
void bus_lock(struct bus *b);
void bus_unlock(struct bus *b);

/* Guest accesses, from any vCPU thread, without the lock. Values are zero-extended. @bytes 1, 2, 4
 * (MMIO: also 8). Port addresses wrap at 64 KiB as the processor's do. Cost: O(1) for ports, O(log
 * regions) for MMIO. */
u64 bus_port_read(struct bus *b, u16 port, u32 bytes);
void bus_port_write(struct bus *b, u16 port, u64 val, u32 bytes);
/* The same @count times, to and from an array: one lock, one search. */
void bus_port_read_string(struct bus *b, u16 port, void *buf, u32 bytes, u32 count);
void bus_port_write_string(struct bus *b, u16 port, const void *buf, u32 bytes, u32 count);
u64 bus_mmio_read(struct bus *b, gpa_t gpa, u32 bytes);
void bus_mmio_write(struct bus *b, gpa_t gpa, u64 val, u32 bytes);

/**
 * bus_map - make @r answer at [base, base + row->bytes). Under the lock, or before the machine
 * runs.
 * Returns 0; E_BUSY when something is there already, E_INVAL when it does not fit the space,
 * E_NOSPC when the tables are full. Moving a mapped region: unmap first.
 */
int bus_map(struct bus *b, struct bus_region *r, u64 base, struct err *e) MUST_USE;
/** bus_unmap - no-op when not mapped. Under the lock. */
void bus_unmap(struct bus *b, struct bus_region *r);
/** bus_find - the region answering at @addr, or NULL. Under the lock. */
const struct bus_region *bus_find(struct bus *b, enum bus_space space, u64 addr);
#endif
