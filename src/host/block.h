/* host/block.h - a disk's contents on the host: a raw image, a block device, or a slice of either.
 *
 * Requests are queued by the device and executed by worker threads of the block; finished ones wait
 * in a list until somebody calls block_complete(), which runs their done(). The machine does that
 * on the loop's thread under the bus lock when notify() told it that there is something:
 *
 *   device (bus lock)         worker                      loop's thread
 *   block_submit() ---------> preadv, pwritev, ...
 *                             notify() -----------------> bus_lock, block_complete -> done()
 *
 * Without workers (block_start was not called: tests, fuzzers) block_wait() executes what is queued
 * on its caller's thread. Requests run in any order; a flush covers what was complete when it was
 * submitted.
 * What the host refuses becomes the request's result and one line in the log naming the file. */
#ifndef HOST_BLOCK_H
#define HOST_BLOCK_H
#include <sys/uio.h>

#include "base/err.h"
#include "base/log.h"
#include "base/types.h"

enum { SECTOR_BYTES = 512, BLOCK_WORKERS_MAX = 4 };

struct block;
struct block_spec {
    const char *path;      /* regular file or block device                              */
    u64 offset, size;      /* bytes, multiples of 512; size 0: to the end               */
    bool readonly;         /* writes fail with E_PERM                                   */
    bool snapshot;         /* writes go to a temporary file and vanish with the block   */
    const struct log *log; /* borrowed; may be NULL                                    */
};

enum block_op {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,   /* fdatasync; offset, bytes and iov unused         */
    BLOCK_DISCARD, /* contents become undefined; may do nothing       */
    BLOCK_ZERO,    /* reads as zeroes from here on                    */
};
/* One request, embedded in the device. From block_submit() until done() it and what it points to
 * belong to the block. */
struct block_req {
    enum block_op op;
    u64 offset, bytes;       /* within the disk, multiples of 512                   */
    const struct iovec *iov; /* READ, WRITE: together exactly @bytes                */
    u32 iovs;
    void (*done)(struct block_req *r); /* from block_complete(); may submit again   */
    int result;                        /* 0; E_SYS, E_NOSPC, E_PERM, E_RANGE        */
    struct block_req *next;            /* the block's                               */
};

/**
 * block_open - open @spec and lock it against other users (an OFD lock on the bytes used: shared
 * for reading, exclusive for writing). The monitor's own machines count as users.
 * Errors name the path: E_NOENT, E_PERM, E_SYS (open), E_INVAL (a directory, a pipe, an offset that
 * is no multiple of 512), E_FORMAT (empty, not whole sectors), E_RANGE (the slice ends behind the
 * file), E_BUSY (in use), E_NOMEM.
 */
int block_open(struct block **out, const struct block_spec *spec, struct err *e) MUST_USE;
/** block_close - finish what is queued, make it durable, close; done() is not called any more. NULL
 * is fine. */
void block_close(struct block *b);

/* Called from a worker when the list of finished requests stops being empty; must not block. */
typedef void block_notify_fn(void *ctx);
void block_set_notify(struct block *b, block_notify_fn *fn, void *ctx);
/** block_start - from now on @workers (1..BLOCK_WORKERS_MAX) threads execute requests. E_SYS. */
int block_start(struct block *b, u32 workers, struct err *e) MUST_USE;
/** block_stop - execute what is queued, end the workers, fdatasync. Finished requests stay. */
void block_stop(struct block *b);

u64 block_bytes(const struct block *b); /* size of the disk: whole sectors, fixed */
bool block_is_readonly(const struct block *b);
const char *block_path(const struct block *b);

/** block_submit - queue @r; from any thread, never blocks. Ranges outside the disk are the guest's
 * mistake and end with E_RANGE. */
void block_submit(struct block *b, struct block_req *r);
/** block_complete - run done() of every finished request; returns how many. One thread at a time,
 * under the lock the done() functions expect. */
u32 block_complete(struct block *b);
/** block_wait - until nothing is queued or running. Blocks; for reset, saving and the end. */
void block_wait(struct block *b);
/** block_drain - block_wait() and block_complete() until done() functions submit nothing new. */
void block_drain(struct block *b);
#endif
