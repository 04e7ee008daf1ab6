/* routes - the table of routes and what each does. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "machine/control.h"

enum body { B_NONE, B_EMPTY /* nothing, or {} */, B_OBJECT };
typedef void route_fn(struct api *a, const json_t *body, struct response *r);

void response_fini(struct response *r)
{
    free(r->body);
    *r = (struct response){0};
}

/* ---- answers --------------------------------------------------------------------------------- */

static void answer_json(struct response *r, int status, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
    json_decref(object);
    if (!text) status = 500;
    *r = (struct response){.status = status, .type = "application/json", .body = text};
    r->bytes = text ? strlen(text) : 0;
}

void response_fault(struct response *r, int status, const char *fmt, ...)
{
    char text[600];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    json_t *message = json_string(text);
    if (!message) message = json_string("(not UTF-8)");
    answer_json(r, status, json_pack("{s:o}", "fault_message", message));
}

static void answer_err(struct response *r, const struct err *e)
{
    response_fault(r, err_http(e->code), "%s", e->text);
}

static void answer_done(struct response *r) { *r = (struct response){.status = 204}; }

/* A string that may be NULL or no UTF-8 (a path). */
static json_t *text_or_null(const char *s)
{
    json_t *v = s ? json_string(s) : NULL;
    return v ? v : json_null();
}

/* ---- routes ---------------------------------------------------------------------------------- */

static const char *const states[] = {
    [MACHINE_PAUSED] = "Paused", [MACHINE_RUNNING] = "Running", [MACHINE_ENDED] = "Ended"};

static void get_instance(struct api *a, const json_t *body, struct response *r)
{
    struct machine_info info;
    (void)body;
    machine_info(a->vm, &info);
    answer_json(r, 200,
                json_pack("{s:s,s:s,s:s,s:s}", "id", a->name, "state", states[info.state],
                          "vmm_version", ring3_version(), "app_name", "ring3"));
}

static void get_version(struct api *a, const json_t *body, struct response *r)
{
    (void)a, (void)body;
    answer_json(r, 200, json_pack("{s:s}", "firecracker_version", ring3_version()));
}

static json_t *machine_config(const struct ring3_config *c)
{
    return json_pack("{s:i,s:I,s:b,s:b}", "vcpu_count", (int)c->cpus, "mem_size_mib",
                     (json_int_t)(c->memory_bytes >> 20), "smt", 0, "track_dirty_pages", 0);
}

static void get_machine_config(struct api *a, const json_t *body, struct response *r)
{
    struct machine_info info;
    (void)body;
    machine_info(a->vm, &info);
    answer_json(r, 200, machine_config(info.cfg));
}

static void get_vm_config(struct api *a, const json_t *body, struct response *r)
{
    struct machine_info info;
    (void)body;
    machine_info(a->vm, &info);
    json_t *boot = json_pack("{s:o,s:o,s:o}", "kernel_image_path", text_or_null(info.cfg->kernel),
                             "initrd_path", text_or_null(info.cfg->initrd), "boot_args",
                             text_or_null(info.cfg->cmdline));
    answer_json(
        r, 200,
        json_pack("{s:o,s:o}", "machine-config", machine_config(info.cfg), "boot-source", boot));
}

static void get_status(struct api *a, const json_t *body, struct response *r)
{
    struct machine_info info;
    (void)body;
    machine_info(a->vm, &info);
    answer_json(r, 200,
                json_pack("{s:s,s:i,s:s,s:s,s:i,s:I,s:I}", "name", a->name, "pid", (int)getpid(),
                          "state", states[info.state], "engine", info.engine, "cpus",
                          (int)info.cfg->cpus, "memory_bytes", (json_int_t)info.cfg->memory_bytes,
                          "uptime_ms", (json_int_t)(info.uptime_ns / MS_TO_NS(1))));
}

static void get_stats(struct api *a, const json_t *body, struct response *r)
{
    (void)body;
    size_t n = ring3_stats(a->vm, true, NULL, 0), room = n + 256; /* counters grow meanwhile */
    char *text = malloc(room);
    if (!text) {
        response_fault(r, 500, "out of memory");
        return;
    }
    n = ring3_stats(a->vm, true, text, room);
    *r = (struct response){.status = 200, .type = "application/json", .body = text};
    r->bytes = n < room ? n : room - 1;
}

static void get_screen_png(struct api *a, const json_t *body, struct response *r)
{
    struct err e;
    u8 *png;
    size_t bytes;
    (void)body;
    if (machine_screenshot_png(a->vm, &png, &bytes, &e) < 0) answer_err(r, &e);
    else
        *r = (struct response){
            .status = 200, .type = "image/png", .body = (char *)png, .bytes = bytes};
}

/* Rows without the spaces at their ends; what is not ASCII becomes a '.' ('#' and the like for
 * blocks and lines would be guesses). */
static size_t screen_rows(const struct text_screen *s, char *to)
{
    char *at = to;
    for (u32 y = 0; y < s->rows && y < TEXT_ROWS_MAX; y++) {
        char *end = at;
        for (u32 x = 0; x < s->columns && x < TEXT_COLUMNS_MAX; x++) {
            u8 ch = s->cell[y][x].ch;
            at[x] = ch == 0 ? ' ' : ch < ' ' || ch >= 0x7F ? '.' : (char)ch;
            if (at[x] != ' ') end = at + x + 1;
        }
        at = end;
        *at++ = '\n';
    }
    return (size_t)(at - to);
}

static void get_screen_txt(struct api *a, const json_t *body, struct response *r)
{
    struct err e;
    (void)body;
    struct text_screen *s = malloc(sizeof *s);
    char *text = malloc(TEXT_ROWS_MAX * (TEXT_COLUMNS_MAX + 1));
    if (!s || !text) {
        response_fault(r, 500, "out of memory");
    } else if (machine_screen_text(a->vm, s, &e) < 0) {
        answer_err(r, &e);
    } else if (!s->present) {
        response_fault(r, 409, "the screen is in a graphics mode");
    } else {
        *r = (struct response){.status = 200, .type = "text/plain; charset=us-ascii"};
        r->bytes = screen_rows(s, text);
        r->body = text;
        text = NULL;
    }
    free(text);
    free(s);
}

static void put_actions(struct api *a, const json_t *body, struct response *r)
{
    struct err e;
    struct key_stroke s;
    const char *type = json_string_value(json_object_get(body, "action_type"));
    if (!type || json_object_size(body) != 1) {
        response_fault(r, 400, "the body must be {\"action_type\": \"...\"}");
    } else if (!strcmp(type, "InstanceStart")) {
        response_fault(r, 400, "the machine is running already");
    } else if (strcmp(type, "SendCtrlAltDel") != 0) {
        response_fault(r, 400, "action_type '%.64s': only SendCtrlAltDel is known", type);
    } else if (keys_parse("ctrl-alt-delete", &s, 1, &e) < 0 ||
               typer_add(&a->typer, &s, 1, &e) < 0) {
        answer_err(r, &e);
    } else {
        answer_done(r);
    }
}

/* All strokes of @list into @to; negative with @e filled. */
static int strokes_of(const json_t *list, struct key_stroke *to, struct err *e)
{
    u32 n = 0;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *text = json_string_value(json_array_get(list, i));
        if (!text) return err_set(e, E_INVAL, "keys[%zu] is no string", i);
        int got = keys_parse(text, to + n, TYPER_STROKES - n, e);
        if (got < 0) return got;
        n += (u32)got;
    }
    return (int)n;
}

static void put_keys(struct api *a, const json_t *body, struct response *r)
{
    struct err e;
    const json_t *list = json_object_get(body, "keys");
    if (!json_is_array(list) || json_object_size(body) != 1) {
        response_fault(r, 400, "the body must be {\"keys\": [\"...\", ...]}");
        return;
    }
    struct key_stroke *strokes = malloc(TYPER_STROKES * sizeof *strokes);
    int n = strokes ? strokes_of(list, strokes, &e) : err_set(&e, E_NOMEM, "keys");
    if (n >= 0) n = typer_add(&a->typer, strokes, (u32)n, &e);
    free(strokes);
    if (n < 0) answer_err(r, &e);
    else answer_done(r);
}

static void put_power_button(struct api *a, const json_t *body, struct response *r)
{
    (void)body;
    ring3_power_button(a->vm);
    answer_done(r);
}

static void put_stop(struct api *a, const json_t *body, struct response *r)
{
    (void)body;
    ring3_stop(a->vm);
    answer_done(r);
}

/* ---- the table ------------------------------------------------------------------------------- */

static const struct route {
    enum http_method method;
    const char *path;
    route_fn *fn;
    enum body body;
} routes[] = {
#define ROUTE(method, path, fn, body, what) {HTTP_##method, path, fn, body},
#include "api/routes.def"
#undef ROUTE
};

/* The route of @req; NULL: there is none, and @allow is the path's methods, or NULL. */
static const struct route *find(const struct http_request *req, const char **allow)
{
    size_t n = strcspn(req->target, "?");
    enum http_method m = req->method == HTTP_HEAD ? HTTP_GET : req->method;
    *allow = NULL;
    for (u32 i = 0; i < ARRAY_LEN(routes); i++) {
        const struct route *t = &routes[i];
        if (strlen(t->path) != n || memcmp(t->path, req->target, n) != 0) continue;
        if (t->method == m) return t;
        *allow = http_method_name(t->method);
    }
    return NULL;
}

/* The body as @t wants it; false with the fault in @r. */
static bool read_body(const struct route *t, const struct http_request *req, const char *body,
                      json_t **out, struct response *r)
{
    json_error_t why;
    *out = NULL;
    if (t->body != B_OBJECT && req->body_bytes == 0) return true;
    if (t->body == B_NONE) {
        response_fault(r, 400, "%s takes no body", t->path);
        return false;
    }
    *out = json_loadb(body, req->body_bytes, JSON_REJECT_DUPLICATES, &why);
    if (!*out) response_fault(r, 400, "the body is no JSON: line %d: %s", why.line, why.text);
    else if (!json_is_object(*out)) response_fault(r, 400, "the body is no JSON object");
    else if (t->body == B_EMPTY && json_object_size(*out) > 0)
        response_fault(r, 400, "%s: the body must be empty or {}", t->path);
    else return true;
    json_decref(*out);
    *out = NULL;
    return false;
}

void routes_answer(struct api *a, const struct http_request *req, const char *body,
                   struct response *r)
{
    const char *allow;
    json_t *object;
    *r = (struct response){0};
    const struct route *t = find(req, &allow);
    if (!t && allow) {
        response_fault(r, 405, "%.64s: only %s", req->target, allow);
        r->allow = allow;
    } else if (!t) {
        response_fault(r, 404, "%.64s: no such path", req->target);
    } else if (read_body(t, req, body, &object, r)) {
        t->fn(a, object, r);
        json_decref(object);
    }
}
