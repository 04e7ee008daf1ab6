/* stats - summing and formatting counters. struct stats is an array of u64 with names. */
#include "base/stats.h"

#include <stdio.h>

struct stat_row {
    size_t offset;
    const char *name, *help;
};
static const struct stat_row rows[] = {
#define STAT(name, help) {offsetof(struct stats, name), #name, help},
#include "base/stats.def"
#undef STAT
};
static_assert(sizeof(struct stats) == ARRAY_LEN(rows) * sizeof(u64), "only u64 counters");

void stats_add(struct stats *sum, const struct stats *more)
{
    u64 *to = (u64 *)sum;
    const u64 *from = (const u64 *)more;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) to[i] += from[i];
}

u32 stats_count(void) { return ARRAY_LEN(rows); }
const char *stats_name(u32 i) { return rows[i].name; }
const char *stats_help(u32 i) { return rows[i].help; }
u64 stats_value(const struct stats *s, u32 i)
{
    return *(const u64 *)((const char *)s + rows[i].offset);
}

/* Where the next piece goes when @used of @bytes are taken; snprintf accepts (NULL, 0). */
static char *tail(char *buf, size_t bytes, size_t used) { return used < bytes ? buf + used : NULL; }
static size_t left(size_t bytes, size_t used) { return used < bytes ? bytes - used : 0; }

size_t stats_text(const struct stats *s, char *buf, size_t bytes)
{
    size_t used = 0;
    for (u32 i = 0; i < stats_count(); i++) {
        used += (size_t)snprintf(tail(buf, bytes, used), left(bytes, used), "%-20s %16llu  %s\n",
                                 rows[i].name, (unsigned long long)stats_value(s, i), rows[i].help);
    }
    return used;
}

size_t stats_json(const struct stats *s, char *buf, size_t bytes)
{
    size_t used = 0;
    for (u32 i = 0; i < stats_count(); i++) {
        used +=
            (size_t)snprintf(tail(buf, bytes, used), left(bytes, used), "%s\"%s\": %llu",
                             i ? ", " : "{", rows[i].name, (unsigned long long)stats_value(s, i));
    }
    used += (size_t)snprintf(tail(buf, bytes, used), left(bytes, used), "}");
    return used;
}
