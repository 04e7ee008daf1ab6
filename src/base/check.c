/* check - what happens when an ASSERT fails: the condition, the values, the thread's own dump,
 * abort(). */
#include "base/check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Thread_local struct {
    check_dump_fn *fn;
    void *ctx;
    bool busy; /* a dump that asserts must not dump again */
} dump;

void check_set_dump(check_dump_fn *fn, void *ctx)
{
    dump.fn = fn;
    dump.ctx = ctx;
}

void check_dump(int fd)
{
    if (!dump.fn || dump.busy) return;
    dump.busy = true;
    dump.fn(dump.ctx, fd);
    dump.busy = false;
}

void check_fail(const char *file, int line, const char *cond, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    dprintf(STDERR_FILENO, "%s:%d: assertion failed: %s: %s\n", file, line, cond, text);
    check_dump(STDERR_FILENO);
    abort();
}
