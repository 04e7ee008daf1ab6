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
#endif
