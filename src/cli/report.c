/* report - see report.h. */
#include "cli/report.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

int report_status(const struct ring3_result *r, int sig)
{
    switch (r->end) {
    case RING3_POWEROFF: return STATUS_OFF;
    case RING3_DEBUG_EXIT: return r->status & 0xFF;
    case RING3_RESET: return STATUS_RESET;
    case RING3_TRIPLE_FAULT: return STATUS_TRIPLE;
    case RING3_PANIC: return STATUS_PANIC;
    case RING3_TIMEOUT: return STATUS_TIMEOUT;
    case RING3_STOPPED: return sig ? STATUS_SIGNAL + sig : STATUS_OFF;
    case RING3_ENGINE: return STATUS_ENGINE;
    case RING3_FAILED: break;
    }
    return STATUS_MONITOR;
}

void report_end(const struct ring3_result *r, int sig)
{
    if (r->end == RING3_POWEROFF || r->end == RING3_DEBUG_EXIT) return;
    if (r->end == RING3_STOPPED && sig)
        fprintf(stderr, "ring3: stopped by SIG%s\n", sigabbrev_np(sig));
    else fprintf(stderr, "ring3: %s\n", r->reason);
}

/* The counters as ring3_stats() gives them; owned by the caller, NULL without memory. */
static char *counters(struct ring3_vm *vm, bool json)
{
    size_t bytes = ring3_stats(vm, json, NULL, 0) + 1;
    char *text = malloc(bytes);
    if (text) (void)ring3_stats(vm, json, text, bytes);
    return text;
}

struct figures {
    double elapsed_s, speed, share;
    long peak_kib;
};

static char *as_json(json_t *object, const struct figures *f)
{
    json_object_set_new(object, "elapsed_s", json_real(f->elapsed_s));
    if (f->share >= 0) json_object_set_new(object, "translated_share", json_real(f->share));
    json_object_set_new(object, "insns_per_s", json_integer((json_int_t)f->speed));
    json_object_set_new(object, "peak_memory_kib", json_integer(f->peak_kib));
    return json_dumps(object, JSON_REAL_PRECISION(6));
}

static char *as_text(struct ring3_vm *vm, const struct figures *f)
{
    char *text = counters(vm, false), *all = NULL;
    char share[100] = "";
    if (f->share >= 0)
        snprintf(
            share, sizeof share,
            "translated_share %.6f  of the guest's instructions, executed by translated code\n",
            f->share);
    int n = asprintf(&all,
                     "%s%s"
                     "elapsed_s %.3f  seconds of host time the machine ran\n"
                     "insns_per_s %.0f  guest instructions per second of it\n"
                     "peak_memory_kib %ld  most memory the monitor used, guest memory included",
                     text ? text : "", share, f->elapsed_s, f->speed, f->peak_kib);
    free(text);
    return n < 0 ? NULL : all;
}

char *report_stats(struct ring3_vm *vm, enum stats_form form, u64 elapsed_ns)
{
    struct rusage usage = {0};
    getrusage(RUSAGE_SELF, &usage);
    char *text = counters(vm, true);
    json_t *object = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    struct figures f = {.elapsed_s = (double)elapsed_ns / (double)NS_PER_S,
                        .peak_kib = usage.ru_maxrss};
    const double translated = (double)json_integer_value(json_object_get(object, "bt_insns"));
    const double insns = translated + (double)json_integer_value(json_object_get(object, "insns"));
    f.speed = elapsed_ns ? insns / f.elapsed_s : 0;
    f.share = translated > 0 ? translated / insns : -1;
    char *all = NULL;
    if (object) all = form == STATS_JSON ? as_json(object, &f) : as_text(vm, &f);
    json_decref(object);
    return all;
}
