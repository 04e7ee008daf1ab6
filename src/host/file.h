/* host/file.h - read a whole regular file, with errors a person can act on. */
#ifndef HOST_FILE_H
#define HOST_FILE_H
#include "base/err.h"
#include "base/types.h"

struct file_data {
    u8 *data; /* owned: file_data_fini; NULL when empty */
    u64 bytes;
};

/**
 * file_read_all - read @path, a regular file of at most @max_bytes, into memory.
 * @what  what the file is for, in the error text: "kernel", "initrd"
 * Errors, each naming @what, the path and the fault: E_NOENT, E_PERM, E_SYS (open, read), E_INVAL
 * (a directory, a device, a pipe), E_FORMAT (empty, or it shrank while being read), E_RANGE (too
 * large), E_NOMEM. Never blocks on a pipe. On error @out is empty.
 */
int file_read_all(struct file_data *out, const char *what, const char *path, u64 max_bytes,
                  struct err *e) MUST_USE;
void file_data_fini(struct file_data *f);

/* What error texts call a file. Both borrowed. */
struct file_name {
    const char *what; /* what it is for: "kernel", "initrd" */
    const char *path;
};

/* A file that is needed now and then and not kept in memory between. */
struct file_again {
    struct file_name name; /* as given: borrowed as long as this is open */
    bool open;
    int fd;            /* owned while open: the same file, whatever its name means later */
    u64 bytes, digest; /* of what was read first */
};
/** file_read_first - as file_read_all, and prepare to read the same again. On error @again is not
 * open. */
int file_read_first(struct file_data *out, struct file_again *again, const struct file_name *name,
                    u64 max_bytes, struct err *e) MUST_USE;
/** file_read_again - the bytes that file_read_first gave. E_FORMAT when the file has other contents
 * now, E_SYS, E_NOMEM. On error @out is empty. System calls: lseek and read. */
int file_read_again(struct file_data *out, const struct file_again *again, struct err *e) MUST_USE;
void file_again_fini(struct file_again *again);
#endif
