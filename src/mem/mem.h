/* mem/mem.h - guest-physical memory: slots backed by one memfd, bounds-checked access, per-page
 * trace bits.
 *
 * Every consumer (devices' DMA, loaders, the page walker, engines) goes through here. Nothing
 * assumes that gpa -> hva is one addition, except a host pointer to one page handed out by
 * mem_page_ptr(), which stays valid until what lies where changes.
 *
 * Trace bits are the one mechanism for self-modifying code, shadow coherence and dirty logging
 * (DESIGN section 4): a page with MEM_TRACE_x for writes never gets a fast write entry in any TLB;
 * slow-path writers (vCPUs and DMA) call mem_write(), which tells the listener once the bytes have
 * changed. Threads: reads and writes from any thread, as racy as real memory; what lies where
 * changes only while no vCPU runs (mem/map.h). */
#ifndef MEM_MEM_H
#define MEM_MEM_H
#include "base/err.h"
#include "base/limits.h"
#include "base/types.h"

enum mem_trace {
    MEM_TRACE_CODE = 1 << 0,  /* some engine holds a decoded or translated copy */
    MEM_TRACE_PT = 1 << 1,    /* shadowed as a page table                       */
    MEM_TRACE_DIRTY = 1 << 2, /* clean page under dirty logging                 */
    MEM_ROM = 1 << 3,         /* guest writes are dropped, or go elsewhere      */
};

/* Told when a traced page was written by anyone but a fast TLB entry. Called on the writer's
 * thread, after the bytes changed; @gpa..+bytes lies in one page. */
typedef void mem_traced_fn(void *ctx, gpa_t gpa, u32 bytes, u8 trace);
/* Told when a page must lose its fast write entries everywhere, before a trace bit is relied on.
 * Must return only when no vCPU can still write through a stale entry. */
typedef void mem_protect_fn(void *ctx, gpa_t page_gpa);

/* What can be mapped: RAM, or the memory of a device (ROM, frame buffer). Lives as long as @mem. */
struct mem_backing {
    const char *name;
    hva_t hva;
    u64 bytes;         /* whole pages */
    u64 fd_offset;     /* of its first byte in the memfd */
    _Atomic u8 *trace; /* one byte of enum mem_trace per page */
};
/* A piece of a backing at its place in guest-physical memory. */
struct mem_slot {
    gpa_t base;
    u64 bytes;         /* whole pages */
    hva_t hva;         /* start of this slot's mapping */
    u64 fd_offset;     /* of the slot's first byte in the memfd */
    _Atomic u8 *trace; /* one byte of enum mem_trace per page */
    u32 backing;
    bool rom;      /* read only for the guest, but: */
    bool fixed;    /* put there by mem_add, for ever */
    hva_t written; /* where a ROM's writes go, or NULL: dropped */
};

struct mem {
    int fd;           /* memfd holding every backing */
    u64 ram_bytes;    /* as configured */
    u64 device_bytes; /* of mem_add_device() */
    u64 fd_bytes;
    u32 slots, backings;
    u32 largest;    /* index of the largest slot: most accesses are there */
    u32 generation; /* of slot[]: changes with every mem_map_apply() */
    u64 a20_clear;  /* address bits the processors' bus does not have: BIT(20), or 0 */
    struct mem_backing backing[MEM_BACKINGS_MAX];
    struct mem_slot slot[MEM_SLOTS_MAX]; /* sorted by base, disjoint */
    mem_traced_fn *traced;
    mem_protect_fn *protect;
    void *listener;
    void *shared; /* what the engines of the vCPUs of this memory have in common; theirs, or NULL */
};

/** mem_host_can_back - can this host provide @bytes of guest memory? Compares with the process's
 * limits (address space, file size), the container's memory limit, and the memory and swap now
 * free. 0, or E_NOMEM saying which one is short. A promise about now only: pages are given on first
 * touch. */
int mem_host_can_back(u64 bytes, struct err *e);

/** mem_init - empty memory. @mem embedded in the machine. */
int mem_init(struct mem *mem, struct err *e) MUST_USE;
void mem_fini(struct mem *mem);
/** mem_add - back [base, base+bytes) with zeroed pages. Errors: E_INVAL (alignment), E_BUSY
 * (overlap), E_NOSPC (too many), E_NOMEM (host refuses). */
int mem_add(struct mem *mem, gpa_t base, u64 bytes, bool rom, struct err *e) MUST_USE;
/** mem_add_device - zeroed memory that is mapped nowhere yet; mem/map.h puts it somewhere.
 * @name  borrowed for ever. Returns its number. Errors: E_INVAL, E_NOSPC (more than
 * MEM_BACKINGS_MAX, or all together above MEM_DEVICE_BYTES_MAX), E_NOMEM. Set-up only. */
int mem_add_device(struct mem *mem, u64 bytes, const char *name, struct err *e) MUST_USE;
/** mem_find_device - the number of the backing called @name, which must exist. */
u32 mem_find_device(const struct mem *mem, const char *name);
/** mem_pages_max - pages of all backings, those a device may still add included; slot->fd_offset >>
 * PAGE_SHIFT and what follows it is below. */
u64 mem_pages_max(const struct mem *mem);
void mem_set_listener(struct mem *mem, mem_traced_fn *traced, mem_protect_fn *protect, void *ctx);

/** mem_slot_find - the slot holding @gpa, or NULL (a hole: MMIO or nothing). */
const struct mem_slot *mem_slot_find(const struct mem *mem, gpa_t gpa);
/** mem_page_ptr - host address of the page holding @gpa (of a ROM: what is read), or NULL for a
 * hole. O(slots), small. */
hva_t mem_page_ptr(const struct mem *mem, gpa_t gpa);
/** mem_page_trace - trace bits of a page; 0 for a hole. */
u8 mem_page_trace(const struct mem *mem, gpa_t gpa);
/** mem_trace_set - set bits; when the page had no write-trace before, calls the protect listener
 * before returning. Two threads tracing one page at once: only the first waits, so they serialise
 * on what the bit protects. */
void mem_trace_set(struct mem *mem, gpa_t gpa, u8 bits);
void mem_trace_clear(struct mem *mem, gpa_t gpa, u8 bits);

/* Copy between guest-physical memory and a buffer. Any length, any alignment, crossing pages and
 * slots. Aligned accesses of 1, 2, 4 and 8 bytes are single copies. Returns 0, or E_GUEST when any
 * byte is not memory (reads then give all-ones there, writes there are dropped). mem_write honours
 * ROM and trace bits. */
int mem_read(const struct mem *mem, gpa_t gpa, void *buf, u64 bytes);
int mem_write(struct mem *mem, gpa_t gpa, const void *buf, u64 bytes);
/** mem_wrote - bytes of one page were changed through a host pointer: tell the listener if the page
 * is traced. */
void mem_wrote(struct mem *mem, gpa_t gpa, u32 bytes);
/* As mem_write, ROM included: loaders and firmware only. */
int mem_load(struct mem *mem, gpa_t gpa, const void *buf, u64 bytes);
int mem_fill(struct mem *mem, gpa_t gpa, u8 byte, u64 bytes);
/** mem_cmpxchg - atomic compare-and-swap of an aligned 4- or 8-byte word (page-table A/D bits).
 * Returns 1 swapped, 0 not equal, E_GUEST not memory or ROM. */
int mem_cmpxchg(struct mem *mem, gpa_t gpa, u64 old, u64 new_val, u32 bytes);
#endif
