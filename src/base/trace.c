/* trace - the ring, its text form, and masks by name. */
#include "base/trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct trace_row {
    const char *name, *format, *help;
};
static const struct trace_row rows[] = {
#define TRACE_EVENT(id, name, format, help) {name, format, help},
#include "base/trace.def"
#undef TRACE_EVENT
};
static_assert(ARRAY_LEN(rows) == TRACE_EVENTS && TRACE_EVENTS < 32, "a mask has 32 bits");
#define MASK_ALL ((u32)BIT(TRACE_EVENTS) - 1)

int trace_init(struct trace_ring *r, const char *owner, u32 mask, u32 records, struct err *e)
{
    *r = (struct trace_ring){.mask = mask, .records = 1, .live_fd = -1};
    snprintf(r->owner, sizeof r->owner, "%s", owner);
    if (!mask) return 0;
    while (r->records < records && r->records < BIT(24)) r->records *= 2;
    r->rec = calloc(r->records, sizeof *r->rec);
    if (r->rec) return 0;
    r->mask = 0;
    return err_set(e, E_NOMEM, "trace ring of %u records", r->records);
}

void trace_fini(struct trace_ring *r)
{
    free(r->rec);
    r->rec = NULL;
    r->mask = 0;
}

static void print_rec(const struct trace_ring *r, const struct trace_rec *t, int fd)
{
    if (t->event >= TRACE_EVENTS) return; /* torn by a running writer */
    char text[160];
    snprintf(text, sizeof text, rows[t->event].format, (unsigned long long)t->a,
             (unsigned long long)t->b, (unsigned long long)t->c);
    dprintf(fd, "%s %llu.%06llu %s: %s\n", r->owner, (unsigned long long)(t->ns / NS_PER_S),
            (unsigned long long)(t->ns % NS_PER_S / 1000), rows[t->event].name, text);
}

void trace_put(struct trace_ring *r, enum trace_event event, u64 a, u64 b, u64 c)
{
    if (!r->rec) return;
    struct trace_rec *t = &r->rec[r->written++ & (r->records - 1)];
    *t = (struct trace_rec){
        .ns = r->clk ? clk_now_ns(r->clk) : 0, .event = event, .a = a, .b = b, .c = c};
    if (r->live_fd >= 0) print_rec(r, t, r->live_fd);
}

void trace_dump(const struct trace_ring *r, int fd, u32 max)
{
    if (!r->rec) return;
    u64 n = min_u64(min_u64(r->written, r->records), max);
    for (u64 i = r->written - n; i < r->written; i++) {
        print_rec(r, &r->rec[i & (r->records - 1)], fd);
    }
}

static int unknown_event(const char *name, size_t len, struct err *e)
{
    char known[256] = "";
    size_t used = 0;
    for (u32 i = 0; i < TRACE_EVENTS && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, " %s", rows[i].name);
    }
    return err_set(e, E_INVAL, "unknown trace event '%.*s'; known: all none%s", (int)len, name,
                   known);
}

/* The bits of one name of @len bytes; false when there is none. */
static bool mask_of_name(const char *name, size_t len, u32 *mask)
{
    if (len == 3 && memcmp(name, "all", len) == 0) return *mask = MASK_ALL, true;
    if (len == 4 && memcmp(name, "none", len) == 0) return *mask = 0, true;
    for (u32 i = 0; i < TRACE_EVENTS; i++) {
        if (strlen(rows[i].name) == len && memcmp(name, rows[i].name, len) == 0)
            return *mask = (u32)BIT(i), true;
    }
    return false;
}

int trace_mask_parse(const char *text, u32 *mask, struct err *e)
{
    if (*text >= '0' && *text <= '9') {
        char *end;
        unsigned long long n = strtoull(text, &end, 0);
        if (*end || n & ~(u64)MASK_ALL)
            return err_set(e, E_INVAL, "trace mask '%s': not a mask up to %#x", text, MASK_ALL);
        *mask = (u32)n;
        return 0;
    }
    u32 all = 0;
    for (;; text++) {
        size_t len = strcspn(text, ",");
        u32 one;
        if (!mask_of_name(text, len, &one)) return unknown_event(text, len, e);
        all |= one;
        text += len;
        if (!*text) break;
    }
    *mask = all;
    return 0;
}

const char *trace_name(enum trace_event event) { return rows[event].name; }
const char *trace_help(enum trace_event event) { return rows[event].help; }
