/* run - `ring3 run`: options to configuration, configuration to machine, its end to an exit status.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/clk.h"
#include "cli/jail.h"
#include "cli/options.h"
#include "cli/report.h"
#include "cli/signals.h"
#include "cli/verbs.h"
#include "host/display.h"
#include "host/tty.h"
#include "machine/control.h"

/* The sockets a running machine listens at: @path, NULL at the end. */
enum { SOCKETS_MAX = 6, SOCKET_PATH_BYTES = 108 };
struct sockets {
    const char *path[SOCKETS_MAX];
    char display[SOCKET_PATH_BYTES];
};
static void list_sockets(struct sockets *s, const struct run_options *o, const struct control *c)
{
    static const char prefix[] = "unix:";
    const char *const serials[] = {o->cfg.serial, o->cfg.serial2, o->cfg.debugcon};
    u32 n = 0;
    for (u32 i = 0; i < ARRAY_LEN(serials); i++)
        if (serials[i] && !strncmp(serials[i], prefix, sizeof prefix - 1))
            s->path[n++] = serials[i] + sizeof prefix - 1;
    if (display_socket(o->cfg.display, s->display, sizeof s->display)) s->path[n++] = s->display;
    if (c) s->path[n++] = control_path(c);
    s->path[n] = NULL;
}

/* Confine ourselves and run @vm to its end. */
static int run_confined(struct ring3_vm *vm, const struct run_options *o, const struct control *c,
                        struct ring3_result *result)
{
    struct err e;
    struct sockets sockets;
    list_sockets(&sockets, o, c);
    const struct jail_needs needs = {.sockets = sockets.path, .spool_fd = machine_spool_fd(vm)};
    if (!o->no_jail && jail_enter(&needs, &e) < 0) {
        snprintf(result->reason, sizeof result->reason, "%.200s (--no-jail runs without)", e.text);
        return -1;
    }
    signals_stop(vm);
    int rc = ring3_run(vm, result);
    signals_stop(NULL);
    return rc;
}

static int run(struct ring3_vm *vm, const struct run_options *o, struct control *control)
{
    struct ring3_result result = {.end = RING3_FAILED};
    struct clk clk;
    clk_init(&clk, false);
    clk_start(&clk);
    (void)run_confined(vm, o, control, &result);
    clk_stop(&clk);
    char *stats = o->stats ? report_stats(vm, o->stats, clk_now_ns(&clk)) : NULL;
    clk_fini(&clk);
    control_release(control);
    ring3_destroy(vm); /* the guest's last words come first, and the terminal is put back */
    report_end(&result, signals_caught());
    if (stats) fprintf(stderr, "%s\n", stats);
    free(stats);
    return report_status(&result, signals_caught());
}

/* The control socket. Only one that was asked for is missed: a host without a place for it is none
 * of the user's business. False: the machine must not start. */
static bool claim(struct control **out, struct run_options *o)
{
    struct err e;
    const struct control_cfg cfg = {
        .where = o->cfg.control, .name = o->cfg.name, .name_chosen = o->name_chosen};
    int rc = control_claim(out, &cfg, &e);
    if (*out) o->cfg.name = control_name(*out);
    if (rc == 0) return true;
    bool fatal = o->cfg.control || (o->name_chosen && rc == E_BUSY);
    if (fatal || !o->cfg.quiet) fprintf(stderr, "ring3: %s\n", e.text);
    return !fatal;
}

static int start(struct run_options *o)
{
    struct ring3_error error;
    struct ring3_vm *vm;
    struct control *control;
    struct err e;
    tty_guard_install(); /* before the engine's own fault handlers */
    signals_install();
    if (!claim(&control, o)) return STATUS_USAGE;
    if (ring3_create(&vm, &o->cfg, &error) < 0) {
        fprintf(stderr, "ring3: %s\n", error.text);
        control_release(control);
        return STATUS_USAGE;
    }
    if (!control || control_serve(control, vm, &e) == 0) return run(vm, o, control);
    fprintf(stderr, "ring3: %s\n", e.text);
    control_release(control);
    ring3_destroy(vm);
    return STATUS_MONITOR;
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
    else return start(&o);
    return STATUS_OFF;
}
