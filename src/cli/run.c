/* run - `ring3 run`: options to configuration, configuration to machine, its end to an exit status.
 */
#include <stdio.h>
#include <string.h>

#include "cli/options.h"
#include "cli/signals.h"
#include "cli/verbs.h"
#include "host/tty.h"

static int status_of(const struct ring3_result *r)
{
    switch (r->end) {
    case RING3_POWEROFF: return STATUS_OFF;
    case RING3_DEBUG_EXIT: return r->status & 0xFF;
    case RING3_RESET: return STATUS_RESET;
    case RING3_TRIPLE_FAULT: return STATUS_TRIPLE;
    case RING3_PANIC: return STATUS_PANIC;
    case RING3_TIMEOUT: return STATUS_TIMEOUT;
    case RING3_STOPPED: return signals_caught() ? STATUS_SIGNAL + signals_caught() : STATUS_OFF;
    case RING3_FAILED: break;
    }
    return STATUS_MONITOR;
}

static void print_end(const struct ring3_result *r)
{
    if (r->end == RING3_POWEROFF || r->end == RING3_DEBUG_EXIT) return;
    if (r->end == RING3_STOPPED && signals_caught())
        fprintf(stderr, "ring3: stopped by signal %d (%s)\n", signals_caught(),
                strsignal(signals_caught()));
    else fprintf(stderr, "ring3: %s\n", r->reason);
}

static int run(const struct run_options *o)
{
    struct ring3_error error;
    struct ring3_result result = {.end = RING3_FAILED};
    struct ring3_vm *vm;
    tty_guard_install(); /* before the engine's own fault handlers */
    signals_install();
    if (ring3_create(&vm, &o->cfg, &error) < 0) {
        fprintf(stderr, "ring3: %s\n", error.text);
        return STATUS_USAGE;
    }
    signals_stop(vm);
    (void)ring3_run(vm, &result);
    signals_stop(NULL);
    ring3_destroy(vm);
    print_end(&result);
    return status_of(&result);
}

int verb_run(int argc, char **argv)
{
    struct run_options o;
    struct err e;
    if (options_parse(&o, argc, argv, &e) < 0) {
        fprintf(stderr, "ring3: %s\n", e.text);
        return STATUS_USAGE;
    }
    if (o.help) options_help(stdout);
    else if (o.list) options_list(o.list, stdout);
    else return run(&o);
    return STATUS_OFF;
}
