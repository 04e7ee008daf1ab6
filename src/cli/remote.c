/* remote - verbs that ask something of a running machine: stop, screenshot, keys. */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clk.h"
#include "cli/client.h"
#include "cli/number.h"
#include "cli/options.h"
#include "cli/verbs.h"

static int usage(const char *text)
{
    fprintf(stderr, "ring3: usage: ring3 %s\n", text);
    return STATUS_USAGE;
}

/* Says what went wrong; the exit status for it. */
static int failed(const struct err *e)
{
    bool asked_wrongly =
        e->code == E_NOENT || e->code == E_INVAL || e->code == E_RANGE || e->code == E_BUSY;
    fprintf(stderr, "ring3: %s\n", e->text);
    return asked_wrongly ? STATUS_USAGE : STATUS_MONITOR;
}

/* One request to the machine called @name. The reply is the caller's. */
static int ask(const char *name, const char *request, const char *body, struct client_reply *out,
               struct err *e)
{
    int fd = client_open(name, e);
    if (fd < 0) return fd;
    int rc = client_do(fd, request, body, out, e);
    close(fd);
    return rc;
}

/* ---- stop ------------------------------------------------------------------------------------ */

/* Wait until nobody listens there any more; a machine closes idle connections now and then, so the
 * end of one means little. */
static bool wait_gone(const char *name, u64 timeout_ns)
{
    struct clk clk;
    struct err ignored;
    bool gone = false;
    clk_init(&clk, false);
    clk_start(&clk);
    while (!gone && clk_now_ns(&clk) < timeout_ns) {
        int fd = client_open(name, &ignored);
        gone = fd < 0;
        if (gone) break;
        u64 left_ms = (timeout_ns - clk_now_ns(&clk)) / MS_TO_NS(1) + 1;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        (void)poll(&p, 1, (int)min_u64(left_ms, INT32_MAX));
        close(fd);
    }
    clk_fini(&clk);
    return gone;
}

struct stop_options {
    const char *name;
    u64 timeout_s;
    bool force;
};

static int stop_parse(struct stop_options *o, int argc, char **argv, struct err *e)
{
    enum { DEFAULT_S = 60, YEAR_S = 365 * 24 * 3600 };
    *o = (struct stop_options){.timeout_s = DEFAULT_S};
    for (int i = 0; i < argc; i++) {
        int rc = 0;
        if (!strcmp(argv[i], "--force")) o->force = true;
        else if (!strcmp(argv[i], "--timeout") && i + 1 < argc)
            rc = number_u64("--timeout", argv[++i], (struct number_range){1, YEAR_S}, &o->timeout_s,
                            e);
        else if (*argv[i] != '-' && !o->name) o->name = argv[i];
        else rc = err_set(e, E_INVAL, "usage: ring3 stop NAME [--force] [--timeout SECONDS]");
        if (rc < 0) return rc;
    }
    if (o->name) return 0;
    return err_set(e, E_INVAL, "usage: ring3 stop NAME [--force] [--timeout SECONDS]");
}

int verb_stop(int argc, char **argv)
{
    struct stop_options o;
    struct client_reply r;
    struct err e;
    if (stop_parse(&o, argc, argv, &e) < 0 ||
        ask(o.name, o.force ? "PUT /stop" : "PUT /power-button", NULL, &r, &e) < 0)
        return failed(&e);
    client_reply_fini(&r);
    if (wait_gone(o.name, o.timeout_s * NS_PER_S)) return STATUS_OFF;
    fprintf(stderr, "ring3: '%s' has not shut down within %llu s%s\n", o.name,
            (unsigned long long)o.timeout_s, o.force ? "" : " (--force ends it)");
    return STATUS_TIMEOUT;
}

/* ---- screenshot ------------------------------------------------------------------------------ */

static int write_all(int fd, const char *at, size_t n, const char *what, struct err *e)
{
    while (n > 0) {
        ssize_t took = write(fd, at, n);
        if (took < 0 && errno == EINTR) continue;
        if (took < 0) return err_errno(e, "'%s'", what);
        at += took, n -= (size_t)took;
    }
    return 0;
}

static int write_file(const char *path, const struct client_reply *r, struct err *e)
{
    if (!strcmp(path, "-"))
        return write_all(STDOUT_FILENO, r->body, r->bytes, "standard output", e);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) return err_errno(e, "'%s'", path);
    int rc = write_all(fd, r->body, r->bytes, path, e);
    if (close(fd) < 0 && rc == 0) rc = err_errno(e, "'%s'", path);
    return rc;
}

int verb_screenshot(int argc, char **argv)
{
    struct client_reply r;
    struct err e;
    const char *name = NULL, *path = NULL;
    bool text = false, wrong = false;
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--text")) text = true;
        else if (argv[i][0] == '-' && argv[i][1]) wrong = true;
        else if (!name) name = argv[i];
        else if (!path) path = argv[i];
        else wrong = true;
    }
    if (text && !path) path = "-";
    if (wrong || !name || !path) return usage("screenshot NAME FILE.png | NAME --text [FILE]");
    if (ask(name, text ? "GET /screen.txt" : "GET /screen.png", NULL, &r, &e) < 0)
        return failed(&e);
    int rc = write_file(path, &r, &e);
    client_reply_fini(&r);
    return rc < 0 ? failed(&e) : STATUS_OFF;
}

/* ---- keys ------------------------------------------------------------------------------------ */

int verb_keys(int argc, char **argv)
{
    struct client_reply r;
    struct err e;
    if (argc < 2) return usage("keys NAME KEYS... (ctrl-alt-delete, ret, text:hello)");
    json_t *list = json_array();
    for (int i = 1; i < argc; i++) {
        if (json_array_append_new(list, json_string(argv[i])) == 0) continue;
        fprintf(stderr, "ring3: keys: argument %d is not UTF-8\n", i);
        json_decref(list);
        return STATUS_USAGE;
    }
    json_t *object = json_pack("{s:o}", "keys", list);
    char *body = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    int rc = body ? ask(argv[0], "PUT /keys", body, &r, &e) : err_set(&e, E_NOMEM, "keys");
    free(body);
    if (rc < 0) return failed(&e);
    client_reply_fini(&r);
    return STATUS_OFF;
}
