/* base/log.h - messages for operators: rare, one line, naming the VM and the object.
 * A struct log is borrowed by whoever may speak; there is no default one. Only cli/ prints
 * otherwise. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/types.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO };
struct log {
    int fd;               /* where lines go; -1 drops them                      */
    enum log_level level; /* most verbose level written                         */
    char vm[64];          /* name of the machine, printed in front of each line */
};
void log_init(struct log *log, int fd, enum log_level level, const char *vm);
/* Each writes "ring3[vm]: level: text\n" in one write(2). @log may be NULL (dropped). Any thread.
 */
void log_error(const struct log *log, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_warn(const struct log *log, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_info(const struct log *log, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* Things a guest can provoke are logged through a limiter: the first LOG_BURST, then powers of two.
 */
enum { LOG_BURST = 4 };
struct log_limit {
    u64 count;
};
/** log_allow - count one event; true when it should be written. */
bool log_allow(struct log_limit *l);
#endif
