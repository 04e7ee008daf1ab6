/* block_open - finding, checking and locking what a disk is made of. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/block_internal.h"

/* Bits of the map of written sectors per byte of the disk, and its size in whole words. */
static u64 map_bytes(u64 disk_bytes) { return align_up(disk_bytes / SECTOR_BYTES, 64) / 8; }

static int check_kind(const struct block *b, const struct stat *st, struct err *e)
{
    if (S_ISREG(st->st_mode) || S_ISBLK(st->st_mode)) return 0;
    if (S_ISDIR(st->st_mode)) return err_set(e, E_INVAL, "disk '%s': is a directory", b->path);
    return err_set(e, E_INVAL, "disk '%s': is neither a regular file nor a block device", b->path);
}

/* Looked at before it is opened: opening some devices does things. */
static int open_base(struct block *b, bool write, struct err *e)
{
    struct stat st;
    if (stat(b->path, &st) < 0) return err_errno(e, "disk '%s'", b->path);
    int rc = check_kind(b, &st, e);
    if (rc < 0) return rc;
    int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY | (write ? O_RDWR : O_RDONLY);
    if (write && S_ISBLK(st.st_mode)) flags |= O_EXCL; /* not one that is mounted */
    b->fd = open(b->path, flags);
    if (b->fd >= 0)
        return fstat(b->fd, &st) < 0 ? err_errno(e, "disk '%s'", b->path) : check_kind(b, &st, e);
    if (errno == EBUSY) return err_set(e, E_BUSY, "disk '%s': the host uses it", b->path);
    bool refused = write && (errno == EACCES || errno == EROFS || errno == EPERM);
    rc = err_errno(e, "disk '%s'", b->path);
    if (refused)
        rc = err_set(e, E_PERM, "disk '%s': cannot be written: use readonly or snapshot", b->path);
    return rc;
}

static int check_slice(struct block *b, const struct block_spec *s, struct err *e)
{
    struct stat st;
    off_t end = lseek(b->fd, 0, SEEK_END);
    if (end < 0 || fstat(b->fd, &st) < 0) return err_errno(e, "disk '%s'", b->path);
    u64 bytes = (u64)end;
    b->device = S_ISBLK(st.st_mode);
    if (!bytes) return err_set(e, E_FORMAT, "disk '%s': is empty", b->path);
    if (s->offset % SECTOR_BYTES || s->size % SECTOR_BYTES)
        return err_set(e, E_INVAL, "disk '%s': offset and size must be multiples of 512", b->path);
    if (s->offset >= bytes || s->size > bytes - s->offset)
        return err_set(e, E_RANGE, "disk '%s': the slice ends behind the file's %llu bytes",
                       b->path, (unsigned long long)bytes);
    b->base = s->offset;
    b->bytes = s->size ? s->size : bytes - s->offset;
    if (b->bytes % SECTOR_BYTES)
        return err_set(e, E_FORMAT, "disk '%s': its %llu bytes are not whole sectors of 512 bytes",
                       b->path, (unsigned long long)b->bytes);
    return 0;
}

/* Only the bytes used: slices of one device may belong to different machines. */
static int lock_slice(struct block *b, bool write, struct err *e)
{
    struct flock lock = {.l_type = write ? F_WRLCK : F_RDLCK,
                         .l_whence = SEEK_SET,
                         .l_start = (off_t)b->base,
                         .l_len = (off_t)b->bytes};
    if (fcntl(b->fd, F_OFD_SETLK, &lock) == 0) return 0;
    if (errno == EAGAIN || errno == EACCES)
        return err_set(e, E_BUSY, "disk '%s': is in use by another drive or machine", b->path);
    if (errno == EINVAL || errno == ENOLCK || errno == EOPNOTSUPP) return 0; /* no locks there */
    return err_errno(e, "disk '%s': lock", b->path);
}

static int temporary_file(void)
{
    const char *folder = getenv("TMPDIR");
    int fd = open(folder && *folder ? folder : "/var/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return fd >= 0 ? fd : memfd_create("ring3-snapshot", MFD_CLOEXEC);
}

static int open_overlay(struct block *b, struct err *e)
{
    b->overlay = temporary_file();
    if (b->overlay < 0) return err_errno(e, "disk '%s': temporary file for its snapshot", b->path);
    if (ftruncate(b->overlay, (off_t)b->bytes) < 0)
        return err_errno(e, "disk '%s': temporary file for its snapshot", b->path);
    b->written_bytes = map_bytes(b->bytes);
    void *map = mmap(NULL, b->written_bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return err_set(e, E_NOMEM, "disk '%s': snapshot", b->path);
    b->written = map;
    return 0;
}

int block_open_files(struct block *b, const struct block_spec *spec, struct err *e)
{
    bool write = !spec->readonly && !spec->snapshot;
    b->fd = b->overlay = -1;
    b->log = spec->log;
    b->readonly = spec->readonly;
    b->path = strdup(spec->path);
    if (!b->path) return err_set(e, E_NOMEM, "disk '%s'", spec->path);
    int rc = open_base(b, write, e);
    if (rc == 0) rc = check_slice(b, spec, e);
    if (rc == 0) rc = lock_slice(b, write, e);
    if (rc == 0 && spec->snapshot && !spec->readonly) rc = open_overlay(b, e);
    return rc;
}

void block_close_files(struct block *b)
{
    if (b->written) munmap((void *)b->written, b->written_bytes);
    if (b->overlay >= 0) close(b->overlay);
    if (b->fd >= 0) close(b->fd);
    free(b->path);
}
