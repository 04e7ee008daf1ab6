/* host/gunzip.h - unpack a file in the gzip format, in memory. Spec: RFC 1952. */
#ifndef HOST_GUNZIP_H
#define HOST_GUNZIP_H
#include "host/file.h"

/** gunzip - when @f begins as a gzip file, replace its bytes by what it holds; else leave it.
 * @what, @path  for the error text
 * Errors: E_FORMAT (damaged), E_RANGE (more than @max_bytes), E_NOMEM; @f is then as before. */
int gunzip(struct file_data *f, u64 max_bytes, const char *what, const char *path,
           struct err *e) MUST_USE;
#endif
