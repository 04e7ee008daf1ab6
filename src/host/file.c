/* file - whole-file reading, once or again and again. */
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_kind(const struct file_name *name, const struct stat *st, struct err *e)
{
    const char *fault = S_ISDIR(st->st_mode)    ? "is a directory"
                        : !S_ISREG(st->st_mode) ? "is not a regular file"
                                                : NULL;
    if (fault) return err_set(e, E_INVAL, "%s '%s': %s", name->what, name->path, fault);
    if (st->st_size == 0) return err_set(e, E_FORMAT, "%s '%s': is empty", name->what, name->path);
    return 0;
}

/* Exactly @bytes bytes of @fd. Returns 0, 1 at an early end, or -1 with errno. */
static int read_exact(int fd, u8 *buf, u64 bytes)
{
    enum { CHUNK = 1 << 30 }; /* read(2) takes less than 2 GiB */
    for (u64 done = 0; done < bytes;) {
        ssize_t n = read(fd, buf + done, min_u64(bytes - done, CHUNK));
        if (n == 0) return 1;
        if (n > 0) done += (u64)n;
        else if (errno != EINTR) return -1;
    }
    return 0;
}

static int read_data(struct file_data *out, int fd, u64 bytes, const struct file_name *name,
                     struct err *e)
{
    u8 *data = malloc(bytes);
    if (!data) {
        return err_set(e, E_NOMEM, "%s '%s': no memory for its %llu bytes", name->what, name->path,
                       (unsigned long long)bytes);
    }
    int rc = read_exact(fd, data, bytes);
    if (rc < 0) rc = err_errno(e, "%s '%s': read", name->what, name->path);
    if (rc > 0)
        rc = err_set(e, E_FORMAT, "%s '%s': shrank while being read", name->what, name->path);
    if (rc < 0) free(data);
    else *out = (struct file_data){data, bytes};
    return rc;
}

/* Returns the open file, or a negative code. */
static int open_and_read(struct file_data *out, const struct file_name *name, u64 max_bytes,
                         struct err *e)
{
    struct stat st;
    int rc;
    *out = (struct file_data){0};
    int fd = open(name->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return err_errno(e, "%s '%s'", name->what, name->path);
    if (fstat(fd, &st) < 0) {
        rc = err_errno(e, "%s '%s'", name->what, name->path);
        goto close_fd;
    }
    rc = check_kind(name, &st, e);
    if (rc < 0) goto close_fd;
    u64 bytes = (u64)st.st_size;
    if (bytes > max_bytes) {
        rc = err_set(e, E_RANGE, "%s '%s': %llu bytes are more than the %llu accepted", name->what,
                     name->path, (unsigned long long)bytes, (unsigned long long)max_bytes);
        goto close_fd;
    }
    rc = read_data(out, fd, bytes, name, e);
    if (rc == 0) return fd;
close_fd:
    close(fd);
    return rc;
}

int file_read_all(struct file_data *out, const char *what, const char *path, u64 max_bytes,
                  struct err *e)
{
    int fd = open_and_read(out, &(struct file_name){what, path}, max_bytes, e);
    if (fd < 0) return fd;
    close(fd);
    return 0;
}

/* Tells contents apart that differ by accident: four lanes, so that it takes 1 ms for 15 MiB. */
static u64 digest_of(const struct file_data *f)
{
    enum { LANES = 4 };
    u64 lane[LANES] = {1, 2, 3, 4}, n = 0, h = f->bytes;
    for (; n + sizeof lane <= f->bytes; n += sizeof lane) {
        u64 word[LANES];
        memcpy(word, f->data + n, sizeof word);
        for (u32 k = 0; k < LANES; k++) {
            lane[k] = (lane[k] ^ word[k]) * 0x9E3779B97F4A7C15u;
            lane[k] ^= lane[k] >> 29;
        }
    }
    for (; n < f->bytes; n++) h = (h ^ f->data[n]) * 0x100000001B3u;
    for (u32 k = 0; k < LANES; k++) h = (h ^ lane[k]) * 0x9E3779B97F4A7C15u ^ h >> 31;
    return h;
}

int file_read_first(struct file_data *out, struct file_again *again, const struct file_name *name,
                    u64 max_bytes, struct err *e)
{
    *again = (struct file_again){0};
    int fd = open_and_read(out, name, max_bytes, e);
    if (fd < 0) return fd;
    *again = (struct file_again){*name, true, fd, out->bytes, digest_of(out)};
    return 0;
}

int file_read_again(struct file_data *out, const struct file_again *again, struct err *e)
{
    const struct file_name *name = &again->name;
    u8 more;
    *out = (struct file_data){0};
    if (lseek(again->fd, 0, SEEK_SET) < 0) return err_errno(e, "%s '%s'", name->what, name->path);
    int rc = read_data(out, again->fd, again->bytes, name, e);
    if (rc < 0) return rc;
    if (digest_of(out) == again->digest && read_exact(again->fd, &more, 1) == 1) return 0;
    file_data_fini(out);
    return err_set(e, E_FORMAT, "%s '%s': has changed since the machine was created", name->what,
                   name->path);
}

void file_again_fini(struct file_again *again)
{
    if (again->open) close(again->fd);
    *again = (struct file_again){0};
}

void file_data_fini(struct file_data *f)
{
    free(f->data);
    *f = (struct file_data){0};
}
