/* bus/bus.c - address decoding and access splitting.
 *
 * Ports: one u16 per port says which region claims it (128 KiB, O(1)). MMIO: a sorted array,
 * searched binarily, with the last hit tried first. Both change only at set-up and when the guest
 * moves a PCI BAR. */
#include "bus/bus.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

int bus_init(struct bus *b, struct err *e)
{
    memset(b, 0, sizeof *b);
    b->port = calloc(PORTS_MAX, sizeof *b->port);
    if (!b->port) return err_set(e, E_NOMEM, "port table");
    pthread_mutex_init(&b->lock, NULL);
    return 0;
}

void bus_fini(struct bus *b)
{
    ASSERT(b->mmio_count == 0, "%u MMIO regions still mapped", b->mmio_count);
    pthread_mutex_destroy(&b->lock);
    free(b->port);
    b->port = NULL;
}

void bus_lock(struct bus *b) { pthread_mutex_lock(&b->lock); }
void bus_unlock(struct bus *b) { pthread_mutex_unlock(&b->lock); }

/* ---- maps ------------------------------------------------------------------------------------ */

/* Index of the first MMIO region that ends above @addr. */
static u32 mmio_lower(const struct bus *b, u64 addr)
{
    u32 lo = 0, hi = b->mmio_count;
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        const struct bus_region *r = b->mmio[mid];
        if (addr - r->base < r->row->bytes || addr < r->base) hi = mid;
        else lo = mid + 1;
    }
    return lo;
}

/* The region holding @addr; or NULL, and then *@gap bytes from @addr on are nobody's. */
static struct bus_region *mmio_at(struct bus *b, u64 addr, u64 *gap)
{
    u32 i = b->mmio_hit;
    if (i < b->mmio_count && addr - b->mmio[i]->base < b->mmio[i]->row->bytes) return b->mmio[i];
    i = mmio_lower(b, addr);
    if (i == b->mmio_count) {
        *gap = UINT64_MAX;
        return NULL;
    }
    struct bus_region *r = b->mmio[i];
    if (addr < r->base) {
        *gap = r->base - addr;
        return NULL;
    }
    b->mmio_hit = i;
    return r;
}

static struct bus_region *port_at(struct bus *b, u64 port, u64 *gap)
{
    u16 i = b->port[port & (PORTS_MAX - 1)];
    *gap = 1;
    return i ? b->ports[i - 1] : NULL;
}

static int port_map(struct bus *b, struct bus_region *r, u64 base, struct err *e)
{
    u64 bytes = r->row->bytes;
    u32 slot = 0;
    if (bytes > PORTS_MAX || base > PORTS_MAX - bytes)
        return err_set(e, E_INVAL, "%s: ports end at 0xFFFF", r->row->name);
    for (u64 p = base; p < base + bytes; p++)
        if (b->port[p]) return err_set(e, E_BUSY, "%s: port 0x%x taken", r->row->name, (unsigned)p);
    while (slot < BUS_REGIONS_MAX && b->ports[slot]) slot++;
    if (slot == BUS_REGIONS_MAX) return err_set(e, E_NOSPC, "%s: too many regions", r->row->name);
    b->ports[slot] = r;
    for (u64 p = base; p < base + bytes; p++) b->port[p] = (u16)(slot + 1);
    return 0;
}

static int mmio_map(struct bus *b, struct bus_region *r, u64 base, struct err *e)
{
    u64 bytes = r->row->bytes;
    if (base > UINT64_MAX - bytes)
        return err_set(e, E_INVAL, "%s: beyond the address space", r->row->name);
    u32 i = mmio_lower(b, base);
    if (i < b->mmio_count && b->mmio[i]->base < base + bytes)
        return err_set(e, E_BUSY, "%s: 0x%llx taken by %s", r->row->name, (unsigned long long)base,
                       b->mmio[i]->row->name);
    if (b->mmio_count == BUS_REGIONS_MAX)
        return err_set(e, E_NOSPC, "%s: too many regions", r->row->name);
    memmove(&b->mmio[i + 1], &b->mmio[i], (b->mmio_count - i) * sizeof b->mmio[0]);
    b->mmio[i] = r;
    b->mmio_count++;
    return 0;
}

int bus_map(struct bus *b, struct bus_region *r, u64 base, struct err *e)
{
    ASSERT(!r->mapped && r->row->bytes, "%s mapped twice or empty", r->row->name);
    int rc = r->row->space == BUS_PORT ? port_map(b, r, base, e) : mmio_map(b, r, base, e);
    if (rc < 0) return rc;
    r->base = base;
    r->mapped = true;
    return 0;
}

void bus_unmap(struct bus *b, struct bus_region *r)
{
    if (!r->mapped) return;
    r->mapped = false;
    if (r->row->space == BUS_PORT) {
        u16 slot = b->port[r->base];
        memset(&b->port[r->base], 0, r->row->bytes * sizeof b->port[0]);
        b->ports[slot - 1] = NULL;
        return;
    }
    u32 i = mmio_lower(b, r->base);
    ASSERT(i < b->mmio_count && b->mmio[i] == r, "%s not in the map", r->row->name);
    memmove(&b->mmio[i], &b->mmio[i + 1], (b->mmio_count - i - 1) * sizeof b->mmio[0]);
    b->mmio_count--;
}

const struct bus_region *bus_find(struct bus *b, enum bus_space space, u64 addr)
{
    u64 gap;
    return space == BUS_PORT ? port_at(b, addr, &gap) : mmio_at(b, addr, &gap);
}

/* ---- accesses -------------------------------------------------------------------------------- */

/* Largest aligned power of two at @off not above @bytes nor the region's widest access. */
static u32 piece_bytes(const struct dev_region *row, u64 off, u32 bytes)
{
    u32 n = row->max_bytes;
    while (n > bytes || (off & (n - 1))) n /= 2;
    return n;
}

static bool fits(const struct dev_region *row, u64 off, u32 bytes)
{
    return bytes >= row->min_bytes && bytes <= row->max_bytes && !(off & (bytes - 1)) &&
           !(bytes & (bytes - 1));
}

/* @bytes (1..8) at @off, all inside @r. */
static u64 region_read(struct bus_region *r, u64 off, u32 bytes)
{
    const struct dev_region *row = r->row;
    u64 val = 0;
    if (likely(fits(row, off, bytes))) return row->read(r->dev, off, bytes) & mask_bytes(bytes);
    for (u32 done = 0; done < bytes;) {
        u32 n = piece_bytes(row, off + done, bytes - done);
        u64 unit = align_down(off + done, row->min_bytes), v;
        if (n >= row->min_bytes) v = row->read(r->dev, off + done, n);
        else v = row->read(r->dev, unit, row->min_bytes) >> (off + done - unit) * 8;
        val |= (v & mask_bytes(n)) << done * 8;
        done += n;
    }
    return val;
}

static void region_write(struct bus *b, struct bus_region *r, u64 off, u64 val, u32 bytes)
{
    const struct dev_region *row = r->row;
    if (likely(fits(row, off, bytes))) {
        row->write(r->dev, off, val & mask_bytes(bytes), bytes);
        return;
    }
    for (u32 done = 0; done < bytes;) {
        u64 at = off + done;
        u32 n = piece_bytes(row, at, bytes - done);
        u64 v = val >> done * 8 & mask_bytes(n);
        if (n >= row->min_bytes) row->write(r->dev, at, v, n);
        else if (!(at & (row->min_bytes - 1u))) row->write(r->dev, at, v, row->min_bytes);
        else b->stats.narrow_writes++;
        done += n;
    }
}

typedef struct bus_region *at_fn(struct bus *b, u64 addr, u64 *gap);

/* Bytes of the access from @addr on that one region, or one hole, answers. */
static u32 span_bytes(const struct bus_region *r, u64 addr, u64 gap, u32 left)
{
    return (u32)min_u64(left, r ? r->base + r->row->bytes - addr : gap);
}

static u64 read_any(struct bus *b, at_fn *at, u64 addr, u32 bytes)
{
    u64 val = 0, gap = 0;
    for (u32 done = 0; done < bytes;) {
        struct bus_region *r = at(b, addr + done, &gap);
        u32 n = span_bytes(r, addr + done, gap, bytes - done);
        u64 v = mask_bytes(n);
        if (r) v = region_read(r, addr + done - r->base, n);
        else b->stats.unclaimed_reads++;
        val |= v << done * 8;
        done += n;
    }
    return val;
}

static void write_any(struct bus *b, at_fn *at, u64 addr, u64 val, u32 bytes)
{
    u64 gap = 0;
    for (u32 done = 0; done < bytes;) {
        struct bus_region *r = at(b, addr + done, &gap);
        u32 n = span_bytes(r, addr + done, gap, bytes - done);
        if (r) region_write(b, r, addr + done - r->base, val >> done * 8 & mask_bytes(n), n);
        else b->stats.unclaimed_writes++;
        done += n;
    }
}

/* Ports wrap at 64 KiB: the part beyond 0xFFFF is split off here, so that read_any sees plain
 * runs. */
static u32 port_first(u16 port, u32 bytes) { return (u32)min_u64(bytes, PORTS_MAX - (u32)port); }

u64 bus_port_read(struct bus *b, u16 port, u32 bytes)
{
    u32 first = port_first(port, bytes);
    bus_lock(b);
    b->stats.port_reads++;
    u64 val = read_any(b, port_at, port, first);
    if (first < bytes) val |= read_any(b, port_at, 0, bytes - first) << first * 8;
    bus_unlock(b);
    return val;
}

void bus_port_write(struct bus *b, u16 port, u64 val, u32 bytes)
{
    u32 first = port_first(port, bytes);
    bus_lock(b);
    b->stats.port_writes++;
    write_any(b, port_at, port, val, first);
    if (first < bytes) write_any(b, port_at, 0, val >> first * 8, bytes - first);
    bus_unlock(b);
}

/* What a device does with one element may move regions, so each is looked up: one load. */
void bus_port_read_string(struct bus *b, u16 port, void *buf, u32 bytes, u32 count)
{
    u32 first = port_first(port, bytes);
    bus_lock(b);
    b->stats.port_reads += count;
    for (u32 i = 0; i < count; i++) {
        u64 val = read_any(b, port_at, port, first);
        if (first < bytes) val |= read_any(b, port_at, 0, bytes - first) << first * 8;
        memcpy((u8 *)buf + (u64)i * bytes, &val, bytes);
    }
    bus_unlock(b);
}

void bus_port_write_string(struct bus *b, u16 port, const void *buf, u32 bytes, u32 count)
{
    u32 first = port_first(port, bytes);
    bus_lock(b);
    b->stats.port_writes += count;
    for (u32 i = 0; i < count; i++) {
        u64 val = 0;
        memcpy(&val, (const u8 *)buf + (u64)i * bytes, bytes);
        write_any(b, port_at, port, val, first);
        if (first < bytes) write_any(b, port_at, 0, val >> first * 8, bytes - first);
    }
    bus_unlock(b);
}

u64 bus_mmio_read(struct bus *b, gpa_t gpa, u32 bytes)
{
    bus_lock(b);
    b->stats.mmio_reads++;
    u64 val = read_any(b, mmio_at, gpa, bytes);
    bus_unlock(b);
    return val;
}

void bus_mmio_write(struct bus *b, gpa_t gpa, u64 val, u32 bytes)
{
    bus_lock(b);
    b->stats.mmio_writes++;
    write_any(b, mmio_at, gpa, val, bytes);
    bus_unlock(b);
}
