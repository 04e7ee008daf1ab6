/* run - `ring3 run`: options to configuration, configuration to machine, its end to an exit status.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clk.h"
#include "cli/jail.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/verbs.h"
#include "host/tty.h"

/* Confine ourselves and run @vm to its end. */
static int run_confined(struct ring3_vm *vm, const struct run_options *o,
                        struct ring3_result *result)
{
    struct err e;
    if (!o->no_jail && jail_enter(o->cfg.serial, &e) < 0) {
        snprintf(result->reason, sizeof result->reason, "%.200s (--no-jail runs without)", e.text);
        return -1;
    }
    signals_stop(vm);
    int rc = ring3_run(vm, result);
    signals_stop(NULL);
    return rc;
}

static int run(const struct run_options *o)
{
    struct ring3_error error;
    struct ring3_result result = {.end = RING3_FAILED};
    struct ring3_vm *vm;
    struct clk clk;
    tty_guard_install(); /* before the engine's own fault handlers */
    signals_install();
    if (ring3_create(&vm, &o->cfg, &error) < 0) {
        fprintf(stderr, "ring3: %s\n", error.text);
        return STATUS_USAGE;
    }
    clk_init(&clk, false);
    clk_start(&clk);
    (void)run_confined(vm, o, &result);
    clk_stop(&clk);
    char *stats = o->stats ? report_stats(vm, o->stats, clk_now_ns(&clk)) : NULL;
    clk_fini(&clk);
    ring3_destroy(vm); /* the guest's last words come first, and the terminal is put back */
    report_end(&result, signals_caught());
    if (stats) fprintf(stderr, "%s\n", stats);
    free(stats);
    return report_status(&result, signals_caught());
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
