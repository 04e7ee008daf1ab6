/* base/stats.h - counters of one vCPU or one machine, built from stats.def.
 * The owner increments plainly (`vcpu->stats.insns++`); another thread that reads while it runs
 * sees a recent value of each counter. Adding a counter is adding a row. */
#ifndef BASE_STATS_H
#define BASE_STATS_H
#include "base/types.h"

struct stats {
#define STAT(name, help) u64 name;
#include "base/stats.def"
#undef STAT
};

/** stats_add - add every counter of @more to @sum (a machine's total over its vCPUs). */
void stats_add(struct stats *sum, const struct stats *more);
/** stats_count - number of counters; stats_name, stats_help, stats_value - of counter @i, 0 <= i <
 * stats_count(). */
u32 stats_count(void);
const char *stats_name(u32 i);
const char *stats_help(u32 i);
u64 stats_value(const struct stats *s, u32 i);
/** stats_text - one line "name value  help" per counter into @buf, always terminated; returns the
 * bytes the whole text needs without the terminator (as snprintf), so that a caller can size the
 * buffer. */
size_t stats_text(const struct stats *s, char *buf, size_t bytes);
/** stats_json - the same as one JSON object {"name": value, ...}, without newline. */
size_t stats_json(const struct stats *s, char *buf, size_t bytes);
#endif
