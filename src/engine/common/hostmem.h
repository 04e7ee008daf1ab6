/* engine/common/hostmem.h - memory of the engines' own: big tables that cost nothing until touched,
 * and generated code that is never writable and executable through one mapping. */
#ifndef ENGINE_COMMON_HOSTMEM_H
#define ENGINE_COMMON_HOSTMEM_H
#include "base/err.h"
#include "base/types.h"

/** hostmem_reserve - @bytes of zeroes, readable and writable. NULL when the host refuses.
 * hostmem_release gives them back; NULL is fine. */
void *hostmem_reserve(u64 bytes);
void hostmem_release(void *p, u64 bytes);
/** hostmem_map_code - one memfd called @name mapped twice: at *rw to write, at *rx to execute.
 * On failure both are NULL. Release both. Errors: those of err_errno. */
int hostmem_map_code(const char *name, u64 bytes, u8 **rw, u8 **rx, struct err *e) MUST_USE;
/** hostmem_populate - have the pages of [at, at + bytes) there before they are touched: all at once
 * is cheaper than a host fault for each. @write: for writing, else for reading. Advice only. */
void hostmem_populate(u8 *at, u64 bytes, bool write);
#endif
