/* base/trace.h - what happened, for us: binary records in a ring per owner, chosen at run time by a
 * mask. With its mask bit off an event costs one load, one test and a not-taken branch. Events are
 * rows of trace.def. Threads: one writer per ring (a vCPU's thread, or whoever holds the bus lock);
 * dump when that writer is stopped, or accept that the newest records may be torn. */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H
#include "base/clk.h"
#include "base/err.h"
#include "base/types.h"

enum trace_event {
#define TRACE_EVENT(id, name, format, help) TRACE_##id,
#include "base/trace.def"
#undef TRACE_EVENT
    TRACE_EVENTS,
};

struct trace_rec {
    u64 ns; /* virtual time; 0 without a clock */
    u32 event;
    u64 a, b, c;
};
struct trace_ring {
    u32 mask;              /* BIT(enum trace_event): on                            */
    u32 records;           /* capacity, a power of two                             */
    u64 written;           /* ever; the newest is at (written - 1) % records       */
    struct trace_rec *rec; /* owned; NULL while nothing was ever traced            */
    const struct clk *clk; /* borrowed, may be NULL                                */
    int live_fd;           /* every record is also printed here at once; -1: never */
    char owner[24];        /* printed in front of each line, e.g. "cpu0"           */
};

/**
 * trace_init - a ring for @owner; with @mask 0 it holds no memory and traces nothing.
 * @records capacity, rounded up to a power of two. Returns 0 or E_NOMEM. trace_fini frees.
 */
int trace_init(struct trace_ring *r, const char *owner, u32 mask, u32 records,
               struct err *e) MUST_USE;
void trace_fini(struct trace_ring *r);
/* Record one event; use TRACE. */
void trace_put(struct trace_ring *r, enum trace_event event, u64 a, u64 b, u64 c);
/* TRACE(&vcpu->trace, EXC, vector, error, rip) */
#define TRACE(ring, event, a, b, c)                                                                \
    do {                                                                                           \
        if (unlikely((ring)->mask & BIT(TRACE_##event)))                                           \
            trace_put((ring), TRACE_##event, (a), (b), (c));                                       \
    } while (0)

/** trace_dump - print the newest @max records, oldest first, one line each, to @fd. Safe in a
 * check_dump_fn. */
void trace_dump(const struct trace_ring *r, int fd, u32 max);
/**
 * trace_mask_parse - "irq,mmio,exc", "all", "none", or a number (decimal or 0x...) as mask of bits.
 * Returns 0; E_INVAL naming the unknown event and listing the known ones.
 */
int trace_mask_parse(const char *text, u32 *mask, struct err *e) MUST_USE;
/** trace_name, trace_help - of an event, for --help and lists. */
const char *trace_name(enum trace_event event);
const char *trace_help(enum trace_event event);
#endif
