/* log - one line per message, one write(2) per line, so lines of several threads never mix. */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/text.h"

enum { LINE_BYTES = 1024 };

void log_init(struct log *log, int fd, enum log_level level, const char *vm)
{
    log->fd = fd;
    log->level = level;
    snprintf(log->vm, sizeof log->vm, "%s", vm ? vm : "");
}

static void write_line(const struct log *log, enum log_level level, const char *fmt, va_list ap)
{
    static const char *const names[] = {"error", "warning", "info"};
    if (!log || log->fd < 0 || level > log->level) return;
    char line[LINE_BYTES];
    const size_t room = sizeof line - 1; /* the newline */
    int n = log->vm[0] ? snprintf(line, room, "ring3[%s]: %s: ", log->vm, names[level])
                       : snprintf(line, room, "ring3: %s: ", names[level]);
    int m = vsnprintf(line + n, room - (size_t)n, fmt, ap);
    size_t used = min_u64((u64)n + (m < 0 ? 0 : (u64)m), room - 1);
    line[used] = 0;
    text_one_line(line);
    line[used++] = '\n';
    ssize_t done = write(log->fd, line, used);
    (void)done; /* nobody to tell */
}

#define LOG_FN(name, level)                                                                        \
    void name(const struct log *log, const char *fmt, ...)                                         \
    {                                                                                              \
        va_list ap;                                                                                \
        va_start(ap, fmt);                                                                         \
        write_line(log, level, fmt, ap);                                                           \
        va_end(ap);                                                                                \
    }
LOG_FN(log_error, LOG_ERROR)
LOG_FN(log_warn, LOG_WARN)
LOG_FN(log_info, LOG_INFO)

bool log_allow(struct log_limit *l)
{
    u64 n = ++l->count;
    return n <= LOG_BURST || (n & (n - 1)) == 0;
}
