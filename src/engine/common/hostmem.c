/* hostmem.c - see hostmem.h. */
#define _GNU_SOURCE
#include "engine/common/hostmem.h"

#include <sys/mman.h>
#include <unistd.h>

static void *map(u64 bytes, int prot, int flags, int fd)
{
    void *p = mmap(NULL, bytes, prot, flags, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

void *hostmem_reserve(u64 bytes)
{
    return map(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

void hostmem_release(void *p, u64 bytes)
{
    if (p) munmap(p, bytes);
}

void hostmem_populate(u8 *at, u64 bytes, bool write)
{
    enum { POPULATE_READ = 22, POPULATE_WRITE = 23 }; /* madvise(2), Linux 5.14; others say no */
    madvise(at, bytes, write ? POPULATE_WRITE : POPULATE_READ);
}

int hostmem_map_code(const char *name, u64 bytes, u8 **rw, u8 **rx, struct err *e)
{
    *rw = *rx = NULL;
    int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0) return err_errno(e, "memory for code");
    if (ftruncate(fd, (off_t)bytes) == 0) {
        *rw = map(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
        *rx = *rw ? map(bytes, PROT_READ | PROT_EXEC, MAP_SHARED, fd) : NULL;
    }
    int rc = *rx ? 0 : err_errno(e, "memory for code");
    close(fd);
    if (rc < 0) {
        hostmem_release(*rw, bytes);
        *rw = NULL;
    }
    return rc;
}
