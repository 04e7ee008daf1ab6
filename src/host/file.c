/* file - whole-file reading. */
#include "host/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_kind(const char *what, const char *path, const struct stat *st, struct err *e)
{
    if (S_ISDIR(st->st_mode)) return err_set(e, E_INVAL, "%s '%s': is a directory", what, path);
    if (!S_ISREG(st->st_mode)) {
        return err_set(e, E_INVAL, "%s '%s': is not a regular file", what, path);
    }
    if (st->st_size == 0) return err_set(e, E_FORMAT, "%s '%s': is empty", what, path);
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

int file_read_all(struct file_data *out, const char *what, const char *path, u64 max_bytes,
                  struct err *e)
{
    struct stat st;
    int rc;
    *out = (struct file_data){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) return err_errno(e, "%s '%s'", what, path);
    if (fstat(fd, &st) < 0) {
        rc = err_errno(e, "%s '%s'", what, path);
        goto close_fd;
    }
    rc = check_kind(what, path, &st, e);
    if (rc < 0) goto close_fd;
    u64 bytes = (u64)st.st_size;
    if (bytes > max_bytes) {
        rc = err_set(e, E_RANGE, "%s '%s': %llu bytes are more than the %llu accepted", what, path,
                     (unsigned long long)bytes, (unsigned long long)max_bytes);
        goto close_fd;
    }
    u8 *data = malloc(bytes);
    if (!data) {
        rc = err_set(e, E_NOMEM, "%s '%s': no memory for its %llu bytes", what, path,
                     (unsigned long long)bytes);
        goto close_fd;
    }
    rc = read_exact(fd, data, bytes);
    if (rc < 0) rc = err_errno(e, "%s '%s': read", what, path);
    if (rc > 0) rc = err_set(e, E_FORMAT, "%s '%s': shrank while being read", what, path);
    if (rc < 0) free(data);
    else *out = (struct file_data){data, bytes};
close_fd:
    close(fd);
    return rc;
}

void file_data_fini(struct file_data *f)
{
    free(f->data);
    *f = (struct file_data){0};
}
