/* base/check.h - ASSERT: our own bugs abort at once, loudly, in release builds too (STYLE section
 * 6, third kind). Never for anything a guest, a file or a caller chose. */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H
#include "base/types.h"

/* What to print before aborting: a thread that owns something worth seeing (a vCPU) installs one.
 * Thread-local because a failing assertion has no argument to find it by. */
typedef void check_dump_fn(void *ctx, int fd);
void check_set_dump(check_dump_fn *fn, void *ctx);
/* Runs the installed dump of this thread, if any. */
void check_dump(int fd);

_Noreturn void check_fail(const char *file, int line, const char *cond, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
#define ASSERT(cond, ...)                                                                          \
    do {                                                                                           \
        if (unlikely(!(cond))) check_fail(__FILE__, __LINE__, #cond, __VA_ARGS__);                 \
    } while (0)
#endif
