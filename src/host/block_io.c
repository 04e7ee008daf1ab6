/* block_io - executing one request on the host's files.
 *
 * Transfers are cut into runs that come from one file: without a snapshot there is one run; with
 * one, sectors that were written come from the overlay and the others from the image. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/block_internal.h"

enum { IOVS_AT_ONCE = 64, ZERO_BYTES = 1 << 16 };
static const u8 zeroes[ZERO_BYTES];

/* A piece of a request: [at, at + bytes) of the disk, in @fd at @fd_at. */
struct run {
    int fd;
    u64 fd_at, bytes;
};

static const char *const op_names[] = {
    [BLOCK_READ] = "read",       [BLOCK_WRITE] = "write", [BLOCK_FLUSH] = "flush",
    [BLOCK_DISCARD] = "discard", [BLOCK_ZERO] = "zero",
};

/* One line for the operator, not one for each of the guest's many tries. */
static int complain(struct block *b, const struct block_req *r, const char *why, int code)
{
    pthread_mutex_lock(&b->lock);
    bool tell = log_allow(&b->complaints);
    u64 count = b->complaints.count;
    pthread_mutex_unlock(&b->lock);
    if (tell && r->op == BLOCK_FLUSH)
        log_error(b->log, "disk '%s': flush: %s (error %llu)", b->path, why,
                  (unsigned long long)count);
    else if (tell)
        log_error(b->log, "disk '%s': %s of %llu bytes at %llu: %s (error %llu)", b->path,
                  op_names[r->op], (unsigned long long)r->bytes, (unsigned long long)r->offset, why,
                  (unsigned long long)count);
    return code;
}

static int host_error(struct block *b, const struct block_req *r)
{
    int error = errno;
    char why[128];
    int code = error == ENOSPC || error == EDQUOT || error == EFBIG ? E_NOSPC : E_SYS;
    return complain(b, r, strerror_r(error, why, sizeof why), code);
}

/* Up to @max entries of @r's list from byte @skip of it on, @bytes in all at most. */
static u32 cut_iov(const struct block_req *r, u64 skip, u64 bytes, struct iovec *out)
{
    u32 n = 0;
    for (u32 i = 0; i < r->iovs && n < IOVS_AT_ONCE && bytes; i++) {
        u64 len = r->iov[i].iov_len;
        if (skip >= len) {
            skip -= len;
            continue;
        }
        u64 take = min_u64(len - skip, bytes);
        out[n++] = (struct iovec){(u8 *)r->iov[i].iov_base + skip, take};
        bytes -= take;
        skip = 0;
    }
    return n;
}

/* Bytes from @done of @r on, all in @run. */
static int transfer(struct block *b, struct block_req *r, u64 done, const struct run *run)
{
    struct iovec iov[IOVS_AT_ONCE];
    for (u64 moved = 0; moved < run->bytes;) {
        u32 n = cut_iov(r, done + moved, run->bytes - moved, iov);
        off_t at = (off_t)(run->fd_at + moved);
        ssize_t got = r->op == BLOCK_READ ? preadv(run->fd, iov, (int)n, at)
                                          : pwritev(run->fd, iov, (int)n, at);
        if (got > 0) moved += (u64)got;
        else if (got == 0) return complain(b, r, "the file ends before", E_SYS);
        else if (errno != EINTR) return host_error(b, r);
    }
    return 0;
}

/* ---- snapshots ------------------------------------------------------------------------------- */

static bool is_written(const struct block *b, u64 sector)
{
    return atomic_load_explicit(&b->written[sector / 64], memory_order_acquire) & BIT(sector % 64);
}

static void mark_written(struct block *b, u64 offset, u64 bytes)
{
    if (!b->written) return;
    for (u64 s = offset / SECTOR_BYTES; s < (offset + bytes) / SECTOR_BYTES; s++)
        atomic_fetch_or_explicit(&b->written[s / 64], BIT(s % 64), memory_order_release);
}

/* Where the disk's bytes [at, end) are to be read from, as far as it is one place. */
static struct run read_run(const struct block *b, u64 at, u64 end)
{
    if (!b->written) return (struct run){b->fd, b->base + at, end - at};
    bool over = is_written(b, at / SECTOR_BYTES);
    u64 stop = at + SECTOR_BYTES;
    while (stop < end && is_written(b, stop / SECTOR_BYTES) == over) stop += SECTOR_BYTES;
    return (struct run){over ? b->overlay : b->fd, over ? at : b->base + at, stop - at};
}

static struct run write_run(const struct block *b, const struct block_req *r)
{
    if (b->overlay >= 0) return (struct run){b->overlay, r->offset, r->bytes};
    return (struct run){b->fd, b->base + r->offset, r->bytes};
}

/* ---- operations ------------------------------------------------------------------------------ */

static int do_read(struct block *b, struct block_req *r)
{
    int rc = 0;
    for (u64 done = 0; done < r->bytes && rc == 0;) {
        struct run run = read_run(b, r->offset + done, r->offset + r->bytes);
        rc = transfer(b, r, done, &run);
        done += run.bytes;
    }
    return rc;
}

/* A file somebody shortened must not grow again with a hole of zeroes in the middle of the guest's
 * data; one that was removed still takes writes, but they end with it. */
static int check_base(struct block *b, const struct block_req *r)
{
    struct stat st;
    if (b->device || b->overlay >= 0) return 0;
    if (fstat(b->fd, &st) < 0) return host_error(b, r);
    if (!st.st_nlink) {
        pthread_mutex_lock(&b->lock);
        bool tell = !b->told_removed;
        b->told_removed = true;
        pthread_mutex_unlock(&b->lock);
        if (tell)
            log_warn(b->log, "disk '%s': was removed; it vanishes when the machine ends", b->path);
    }
    if ((u64)st.st_size >= b->base + r->offset + r->bytes) return 0;
    return complain(b, r, "the file was truncated", E_SYS);
}

static int do_write(struct block *b, struct block_req *r)
{
    struct run run = write_run(b, r);
    int rc = check_base(b, r);
    if (rc < 0) return rc;
    atomic_store(&b->unsynced, true);
    rc = transfer(b, r, 0, &run);
    if (rc == 0) mark_written(b, r->offset, r->bytes);
    return rc;
}

static int write_zeroes(struct block *b, struct block_req *r, const struct run *run)
{
    for (u64 done = 0; done < run->bytes;) {
        ssize_t n = pwrite(run->fd, zeroes, min_u64(run->bytes - done, ZERO_BYTES),
                           (off_t)(run->fd_at + done));
        if (n > 0) done += (u64)n;
        else if (n == 0 || errno != EINTR) return host_error(b, r);
    }
    return 0;
}

static int do_zero(struct block *b, struct block_req *r)
{
    struct run run = write_run(b, r);
    int rc = check_base(b, r);
    if (rc < 0) return rc;
    atomic_store(&b->unsynced, true);
    int how = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(run.fd, how, (off_t)run.fd_at, (off_t)run.bytes) < 0)
        rc = write_zeroes(b, r, &run); /* the file system cannot; the reason is told there */
    if (rc == 0) mark_written(b, r->offset, r->bytes);
    return rc;
}

/* Only a hint, so what the host cannot do is done. */
static int do_discard(struct block *b, struct block_req *r)
{
    struct run run = write_run(b, r);
    if (b->overlay >= 0) return 0;
    int rc = check_base(b, r);
    if (rc < 0) return rc;
    atomic_store(&b->unsynced, true);
    int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    if (fallocate(run.fd, how, (off_t)run.fd_at, (off_t)run.bytes) == 0) return 0;
    return errno == EIO ? host_error(b, r) : 0;
}

int block_sync(struct block *b)
{
    static const struct block_req flush = {.op = BLOCK_FLUSH};
    if (b->overlay >= 0 || !atomic_exchange(&b->unsynced, false)) return 0;
    while (fdatasync(b->fd) < 0) {
        if (errno == EINTR) continue;
        atomic_store(&b->unsynced, true);
        return host_error(b, &flush);
    }
    return 0;
}

void block_execute(struct block *b, struct block_req *r)
{
    bool ranged = r->op != BLOCK_FLUSH;
    if (ranged && ((r->offset | r->bytes) % SECTOR_BYTES || r->bytes > b->bytes ||
                   r->offset > b->bytes - r->bytes)) {
        r->result = E_RANGE;
        return;
    }
    if (r->op != BLOCK_READ && ranged && b->readonly) {
        r->result = E_PERM;
        return;
    }
    switch (r->op) {
    case BLOCK_READ: r->result = do_read(b, r); break;
    case BLOCK_WRITE: r->result = do_write(b, r); break;
    case BLOCK_FLUSH: r->result = block_sync(b); break;
    case BLOCK_DISCARD: r->result = do_discard(b, r); break;
    case BLOCK_ZERO: r->result = do_zero(b, r); break;
    }
}
