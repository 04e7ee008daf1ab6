/* dev/pflash.h - NOR flash with the Intel command set (CFI 0001h), 8 bits wide, blocks of 4 KiB:
 * the variable store of UEFI firmware. Reads are array data, status, identification or the CFI
 * table, as the last command says; a program only clears bits, an erase sets a block to ones. The
 * contents are guest memory that is mapped nowhere (mem_add_device), so they are saved with it.
 * Spec: Intel 28F128J3A data sheet 4; JEDEC JESD68 (CFI).  Threads: under the bus lock. */
#ifndef DEV_PFLASH_H
#define DEV_PFLASH_H
#include "bus/dev.h"
#include "mem/mem.h"

enum { PFLASH_BLOCK_BYTES = 4096 };
#define PFLASH_BYTES_MAX MIB(8)

extern const struct dev_class pflash_class;
struct pflash_cfg {
    struct mem *mem;
    u32 backing; /* number of the contents: whole blocks, at most PFLASH_BYTES_MAX */
    gpa_t base;
    /* Bytes [off, off + bytes) at @data have changed: keep them. False: they could not be kept, and
     * the guest is told that its command failed. May be NULL. */
    bool (*written)(void *ctx, u64 off, const void *data, u32 bytes);
    void *ctx;
};
#endif
