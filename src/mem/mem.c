/* mem - guest-physical memory over one memfd.
 *
 * Every access is cut into pieces that lie in one page, so a slot is looked up once per page and a
 * trace callback always concerns one page. A writer stores first and looks at the trace byte after
 * a full fence; whoever sets a trace bit does so with a full fence before it reads the page: one of
 * the two always sees the other, so no write is missed. */
#include "mem/mem.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/check.h"
#include "mem/map.h"

enum { TRACE_ON_WRITE = MEM_TRACE_CODE | MEM_TRACE_PT | MEM_TRACE_DIRTY };
#define HUGE_BYTES MIB(2)

/* ---- what the host can give ------------------------------------------------------------------ */

/* The number after @key in /proc/meminfo, in bytes; 0 when absent. */
static u64 meminfo_bytes(const char *key)
{
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f) return 0;
    char line[128];
    unsigned long long kib = 0;
    size_t len = strlen(key);
    while (fgets(line, sizeof line, f)) {
        if (strncmp(line, key, len) == 0 && sscanf(line + len, ": %llu", &kib) == 1) break;
    }
    fclose(f);
    return KIB(kib);
}

/* The limit of the control group this process sees as its root (a container's), or UINT64_MAX. */
static u64 cgroup_bytes(void)
{
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");
    if (!f) return UINT64_MAX;
    unsigned long long limit;
    if (fscanf(f, "%llu", &limit) != 1) limit = UINT64_MAX; /* "max" */
    fclose(f);
    return limit;
}

int mem_host_can_back(u64 bytes, struct err *e)
{
    static const struct {
        int which;
        const char *name;
    } limits[] = {{RLIMIT_AS, "ulimit -v"}, {RLIMIT_FSIZE, "ulimit -f"}};
    for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
        struct rlimit r;
        if (getrlimit(limits[i].which, &r) == 0 && r.rlim_cur != RLIM_INFINITY &&
            bytes > r.rlim_cur)
            return err_set(e, E_NOMEM, "%llu MiB of guest memory exceed this process's limit (%s)",
                           (unsigned long long)(bytes >> 20), limits[i].name);
    }
    u64 have = min_u64(meminfo_bytes("MemAvailable") + meminfo_bytes("SwapFree"), cgroup_bytes());
    if (have && bytes > have)
        return err_set(e, E_NOMEM,
                       "%llu MiB of guest memory are more than the %llu MiB this host has free",
                       (unsigned long long)(bytes >> 20), (unsigned long long)(have >> 20));
    return 0;
}

/* ---- slots ----------------------------------------------------------------------------------- */

int mem_init(struct mem *mem, struct err *e)
{
    *mem = (struct mem){.fd = memfd_create("ring3-ram", MFD_CLOEXEC)};
    if (mem->fd < 0) return err_errno(e, "guest memory: memfd_create");
    return 0;
}

void mem_fini(struct mem *mem)
{
    for (u32 i = 0; i < mem->backings; i++) {
        munmap(mem->backing[i].hva, mem->backing[i].bytes);
        munmap((void *)mem->backing[i].trace, mem->backing[i].bytes >> PAGE_SHIFT);
    }
    if (mem->fd >= 0) close(mem->fd);
    *mem = (struct mem){.fd = -1};
}

/* Map @bytes of @fd at @offset, 2 MiB aligned so that huge pages are possible. NULL and errno on
 * failure. */
static hva_t map_aligned(int fd, u64 offset, u64 bytes)
{
    u64 room = bytes + HUGE_BYTES;
    u8 *area = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) return NULL;
    u8 *start = (u8 *)align_up((u64)area, HUGE_BYTES);
    u8 *hva = mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, fd,
                   (off_t)offset);
    if (hva == MAP_FAILED) {
        munmap(area, room);
        return NULL;
    }
    if (start > area) munmap(area, (size_t)(start - area));
    munmap(start + bytes, (size_t)(area + room - (start + bytes)));
    madvise(hva, bytes, MADV_HUGEPAGE); /* advice: a host without huge pages says no */
    return hva;
}

/* One trace byte per page. NULL and errno on failure. */
static _Atomic u8 *map_trace(u64 bytes)
{
    u64 pages = bytes >> PAGE_SHIFT;
    u8 *trace = mmap(NULL, pages, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return trace == MAP_FAILED ? NULL : (_Atomic u8 *)trace;
}

/* Grow the memfd by @bytes and map them. The new backing's number, or an error. */
static int add_backing(struct mem *mem, u64 bytes, const char *name, struct err *e)
{
    if (!bytes || bytes & ~PAGE_MASK || bytes > BIT(GPA_BITS))
        return err_set(e, E_INVAL, "guest memory of %#llx bytes", (unsigned long long)bytes);
    if (mem->backings == MEM_BACKINGS_MAX)
        return err_set(e, E_NOSPC, "guest memory: more than %d pieces", MEM_BACKINGS_MAX);
    if (mem_host_can_back(mem->fd_bytes + bytes, e) < 0) return E_NOMEM;
    struct mem_backing b = {.name = name, .bytes = bytes};
    b.fd_offset = align_up(mem->fd_bytes, bytes >= HUGE_BYTES ? HUGE_BYTES : PAGE_BYTES);
    const unsigned long long mib = (bytes + MIB(1) - 1) >> 20;
    if (ftruncate(mem->fd, (off_t)(b.fd_offset + bytes)) < 0)
        return err_set(e, E_NOMEM, "the host refuses %llu MiB of guest memory (ftruncate)", mib);
    b.hva = map_aligned(mem->fd, b.fd_offset, bytes);
    if (!b.hva) return err_set(e, E_NOMEM, "the host refuses %llu MiB of guest memory (mmap)", mib);
    b.trace = map_trace(bytes);
    if (!b.trace) {
        munmap(b.hva, bytes);
        return err_set(e, E_NOMEM, "no memory to track %llu MiB of guest memory", mib);
    }
    mem->fd_bytes = b.fd_offset + bytes;
    mem->backing[mem->backings] = b;
    return (int)mem->backings++;
}

int mem_add(struct mem *mem, gpa_t base, u64 bytes, bool rom, struct err *e)
{
    struct mem_map *map = malloc(sizeof *map);
    if (!map) return err_set(e, E_NOMEM, "guest memory");
    struct mem_piece p = {.base = base,
                          .bytes = bytes,
                          .backing = mem->backings,
                          .rom = rom,
                          .fixed = true,
                          .written = MEM_PIECE_DROPPED};
    mem_map_now(mem, map);
    int rc = mem_map_check(map, &p, e);
    if (rc == 0) rc = add_backing(mem, bytes, rom ? "ROM" : "RAM", e);
    if (rc >= 0) rc = mem_map_add(map, mem, &p, e);
    if (rc >= 0) {
        mem_map_apply(mem, map, NULL, NULL);
        if (!rom) mem->ram_bytes += bytes;
    }
    free(map);
    return rc < 0 ? rc : 0;
}

int mem_add_device(struct mem *mem, u64 bytes, const char *name, struct err *e)
{
    if (bytes > MEM_DEVICE_BYTES_MAX - mem->device_bytes)
        return err_set(e, E_NOSPC, "%s: more than %u MiB of device memory", name,
                       (unsigned)(MEM_DEVICE_BYTES_MAX >> 20));
    int id = add_backing(mem, bytes, name, e);
    if (id >= 0) mem->device_bytes += bytes;
    return id;
}

u32 mem_find_device(const struct mem *mem, const char *name)
{
    u32 id = 0;
    while (id < mem->backings && strcmp(mem->backing[id].name, name) != 0) id++;
    ASSERT(id < mem->backings, "no memory called %s", name);
    return id;
}

u64 mem_pages_max(const struct mem *mem)
{
    /* what is still to come, each piece aligned to a huge page */
    u64 more = MEM_DEVICE_BYTES_MAX - mem->device_bytes + MEM_BACKINGS_MAX * HUGE_BYTES;
    return (mem->fd_bytes + more) >> PAGE_SHIFT;
}

void mem_set_listener(struct mem *mem, mem_traced_fn *traced, mem_protect_fn *protect, void *ctx)
{
    mem->traced = traced;
    mem->protect = protect;
    mem->listener = ctx;
}

const struct mem_slot *mem_slot_find(const struct mem *mem, gpa_t gpa)
{
    const struct mem_slot *most = &mem->slot[mem->largest];
    if (likely(gpa - most->base < most->bytes)) return most;
    for (u32 i = 0; i < mem->slots; i++) {
        if (gpa - mem->slot[i].base < mem->slot[i].bytes) return &mem->slot[i];
    }
    return NULL;
}

static hva_t slot_hva(const struct mem_slot *s, gpa_t gpa) { return s->hva + (gpa - s->base); }
static _Atomic u8 *slot_trace(const struct mem_slot *s, gpa_t gpa)
{
    return &s->trace[(gpa - s->base) >> PAGE_SHIFT];
}

hva_t mem_page_ptr(const struct mem *mem, gpa_t gpa)
{
    const struct mem_slot *s = mem_slot_find(mem, gpa);
    return s ? slot_hva(s, gpa & PAGE_MASK) : NULL;
}

u8 mem_page_trace(const struct mem *mem, gpa_t gpa)
{
    const struct mem_slot *s = mem_slot_find(mem, gpa);
    return s ? atomic_load(slot_trace(s, gpa)) : 0;
}

void mem_trace_set(struct mem *mem, gpa_t gpa, u8 bits)
{
    const struct mem_slot *s = mem_slot_find(mem, gpa);
    if (!s) return;
    u8 old = atomic_fetch_or(slot_trace(s, gpa), bits);
    if (!(old & (TRACE_ON_WRITE | MEM_ROM)) && mem->protect)
        mem->protect(mem->listener, gpa & PAGE_MASK);
}

void mem_trace_clear(struct mem *mem, gpa_t gpa, u8 bits)
{
    const struct mem_slot *s = mem_slot_find(mem, gpa);
    if (s) atomic_fetch_and(slot_trace(s, gpa), (u8)~bits);
}

/* ---- access ---------------------------------------------------------------------------------- */

/* Integers at any alignment, so that the compiler may neither assume one nor split the access. */
typedef u16 __attribute__((aligned(1), may_alias)) any_u16;
typedef u32 __attribute__((aligned(1), may_alias)) any_u32;
typedef u64 __attribute__((aligned(1), may_alias)) any_u64;

/* Copy inside one page. Sizes the hardware copies at once are one load and one store here too:
 * other vCPUs and devices look at the same bytes. */
static void copy_piece(void *dst, const void *src, u64 bytes)
{
    switch (bytes) {
    case 1: *(volatile u8 *)dst = *(const volatile u8 *)src; break;
    case 2: *(volatile any_u16 *)dst = *(const volatile any_u16 *)src; break;
    case 4: *(volatile any_u32 *)dst = *(const volatile any_u32 *)src; break;
    case 8: *(volatile any_u64 *)dst = *(const volatile any_u64 *)src; break;
    default: memcpy(dst, src, bytes);
    }
}

/* Bytes from @gpa on that lie in one page, at most @bytes. */
static u64 piece_bytes(gpa_t gpa, u64 bytes)
{
    return min_u64(bytes, PAGE_BYTES - (gpa & (PAGE_BYTES - 1)));
}

/* Bytes of [gpa, gpa+bytes) before the address would wrap; the rest is not memory. */
static u64 bytes_to_top(gpa_t gpa, u64 bytes) { return gpa ? min_u64(bytes, 0 - gpa) : bytes; }

int mem_read(const struct mem *mem, gpa_t gpa, void *buf, u64 bytes)
{
    u8 *out = buf;
    u64 inside = bytes_to_top(gpa, bytes);
    int rc = inside == bytes ? 0 : E_GUEST;
    memset(out + inside, 0xff, bytes - inside);
    for (u64 done = 0, n; done < inside; done += n) {
        n = piece_bytes(gpa + done, inside - done);
        const struct mem_slot *s = mem_slot_find(mem, gpa + done);
        if (s) {
            copy_piece(out + done, slot_hva(s, gpa + done), n);
        } else {
            memset(out + done, 0xff, n);
            rc = E_GUEST;
        }
    }
    return rc;
}

/* After a store: tell the tracer when the page turns out to be traced. */
static void after_store(const struct mem *mem, const struct mem_slot *s, gpa_t gpa, u64 bytes)
{
    atomic_thread_fence(memory_order_seq_cst);
    u8 trace = atomic_load_explicit(slot_trace(s, gpa), memory_order_relaxed) & TRACE_ON_WRITE;
    if (unlikely(trace) && mem->traced) mem->traced(mem->listener, gpa, (u32)bytes, trace);
}

void mem_wrote(struct mem *mem, gpa_t gpa, u32 bytes)
{
    const struct mem_slot *s = mem_slot_find(mem, gpa);
    if (s) after_store(mem, s, gpa, bytes);
}

static bool page_is_rom(const struct mem_slot *s, gpa_t gpa)
{
    return atomic_load_explicit(slot_trace(s, gpa), memory_order_relaxed) & MEM_ROM;
}

/* What is stored, and whether ROM takes it. */
struct store {
    const u8 *src; /* NULL: fill with @byte */
    u8 byte;
    bool rom_too;
};

static int store(struct mem *mem, gpa_t gpa, u64 bytes, const struct store *st)
{
    u64 inside = bytes_to_top(gpa, bytes);
    int rc = inside == bytes ? 0 : E_GUEST;
    for (u64 done = 0, n; done < inside; done += n) {
        const gpa_t at = gpa + done;
        n = piece_bytes(at, inside - done);
        const struct mem_slot *s = mem_slot_find(mem, at);
        if (!s) {
            rc = E_GUEST;
            continue;
        }
        hva_t to = slot_hva(s, at);
        if (!st->rom_too && page_is_rom(s, at)) {
            if (!s->written) continue;
            to = s->written + (at - s->base); /* mapped nowhere, so nobody has code from it */
        }
        if (st->src) copy_piece(to, st->src + done, n);
        else memset(to, st->byte, n);
        after_store(mem, s, at, n);
    }
    return rc;
}

int mem_write(struct mem *mem, gpa_t gpa, const void *buf, u64 bytes)
{
    return store(mem, gpa, bytes, &(struct store){.src = buf});
}

int mem_load(struct mem *mem, gpa_t gpa, const void *buf, u64 bytes)
{
    return store(mem, gpa, bytes, &(struct store){.src = buf, .rom_too = true});
}

int mem_fill(struct mem *mem, gpa_t gpa, u8 byte, u64 bytes)
{
    return store(mem, gpa, bytes, &(struct store){.byte = byte, .rom_too = true});
}

int mem_cmpxchg(struct mem *mem, gpa_t gpa, u64 old, u64 new_val, u32 bytes)
{
    const struct mem_slot *s = mem_slot_find(mem, gpa);
    if (!s || (bytes != 4 && bytes != 8) || gpa & (bytes - 1) || page_is_rom(s, gpa))
        return E_GUEST;
    void *at = slot_hva(s, gpa);
    bool swapped;
    if (bytes == 8) {
        swapped = __atomic_compare_exchange_n((u64 *)at, &old, new_val, false, __ATOMIC_SEQ_CST,
                                              __ATOMIC_SEQ_CST);
    } else {
        u32 old32 = (u32)old;
        swapped = __atomic_compare_exchange_n((u32 *)at, &old32, (u32)new_val, false,
                                              __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
    }
    if (swapped) after_store(mem, s, gpa, bytes);
    return swapped;
}
