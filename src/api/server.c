/* server - the control socket: claiming a name, clients, requests in, responses out.
 *
 * Each client has a buffer for one request and at most one response under way; while that is not
 * sent nothing is read, so a client that does not read waits for itself. Requests sent ahead
 * (pipelining) are answered in order. A client that neither sends nor reads for IDLE_TICKS is
 * dropped; when every place is taken, the one idle longest makes room. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "api/api_internal.h"
#include "host/local.h"
#include "machine/control.h"

enum { CLIENTS_MAX = 16, TICK_S = 5, IDLE_TICKS = 6, NAMES_MAX = 1000, NAME_BYTES = 64 };
enum { IN_BYTES = HTTP_HEAD_MAX + HTTP_BODY_MAX, HEAD_BYTES = 512 };

struct client {
    struct control *c;
    struct loop_fd *watch; /* NULL: a free place */
    int fd;
    char *in; /* IN_BYTES */
    size_t in_bytes;
    char head[HEAD_BYTES]; /* of the response under way */
    size_t head_bytes;
    struct response r;
    size_t sent; /* of head and body together */
    bool sending, close_after, ended /* by the other side */, continued;
    u32 idle; /* ticks */
    u64 touched;
};
struct control {
    char path[LOCAL_PATH_BYTES], name[NAME_BYTES];
    int fd;
    dev_t dev; /* of the socket's file */
    ino_t ino;
    uid_t uid; /* who may connect, besides root */
    struct loop *loop;
    struct loop_fd *watch;
    struct loop_timer *tick;
    u64 events;
    struct client client[CLIENTS_MAX];
    struct api api;
};

/* ---- one client ------------------------------------------------------------------------------ */

static void client_close(struct client *k)
{
    loop_fd_remove(k->watch);
    close(k->fd);
    free(k->in);
    response_fini(&k->r);
    *k = (struct client){.c = k->c, .fd = -1};
}

static size_t response_bytes(const struct client *k) { return k->head_bytes + k->r.bytes; }

/* Send what the socket takes; false when the client is gone. */
static bool client_flush(struct client *k)
{
    while (k->sending && k->sent < response_bytes(k)) {
        bool head = k->sent < k->head_bytes;
        const char *at = head ? k->head + k->sent : k->r.body + (k->sent - k->head_bytes);
        size_t n = head ? k->head_bytes - k->sent : response_bytes(k) - k->sent;
        ssize_t took = send(k->fd, at, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (took < 0 && errno == EINTR) continue;
        if (took < 0) return errno == EAGAIN || errno == EWOULDBLOCK;
        k->sent += (size_t)took;
        k->idle = 0;
    }
    if (!k->sending) return true;
    k->sending = false;
    response_fini(&k->r);
    return !k->close_after;
}

static void client_respond(struct client *k, const struct http_request *req)
{
    struct response *r = &k->r;
    char length[48] = "", allow[32] = "";
    if (r->status != 204) snprintf(length, sizeof length, "Content-Length: %zu\r\n", r->bytes);
    if (r->allow) snprintf(allow, sizeof allow, "Allow: %s\r\n", r->allow);
    int n = snprintf(k->head, sizeof k->head, "HTTP/1.1 %d %s\r\nServer: ring3\r\n%s%s%s%s%s%s\r\n",
                     r->status, http_reason(r->status), r->bytes ? "Content-Type: " : "",
                     r->bytes ? r->type : "", r->bytes ? "\r\n" : "", length, allow,
                     k->close_after ? "Connection: close\r\n" : "");
    k->head_bytes = (size_t)n < sizeof k->head ? (size_t)n : sizeof k->head - 1;
    if (req && req->method == HTTP_HEAD) r->bytes = 0;
    k->sent = 0;
    k->sending = true;
}

static void client_refuse(struct client *k, int status)
{
    k->close_after = true;
    response_fault(&k->r, status, "%s", http_reason(status));
    client_respond(k, NULL);
}

/* "Go on", asked for before a body; it is short enough for any socket that is not full. */
static void client_continue(struct client *k)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (k->continued) return;
    k->continued = true;
    (void)!send(k->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* The first request in the buffer, if it is whole. True when it was answered. */
static bool client_serve(struct client *k)
{
    struct http_request req;
    int rc = http_parse(&req, k->in, k->in_bytes);
    if (rc < 0) {
        client_refuse(k, -rc);
        return true;
    }
    size_t whole = req.head_bytes + req.body_bytes;
    if (rc == 0) return false;
    if (k->in_bytes < whole) {
        if (req.expects) client_continue(k);
        return false;
    }
    k->close_after = !req.keep_alive;
    k->continued = false;
    routes_answer(&k->c->api, &req, k->in + req.head_bytes, &k->r);
    client_respond(k, &req);
    k->in_bytes -= whole;
    memmove(k->in, k->in + whole, k->in_bytes);
    return true;
}

/* Read what is there; false when the client is gone. */
static bool client_receive(struct client *k)
{
    if (k->sending || k->ended || k->in_bytes == IN_BYTES) return true;
    ssize_t n = recv(k->fd, k->in + k->in_bytes, IN_BYTES - k->in_bytes, MSG_DONTWAIT);
    if (n < 0) return errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK;
    k->ended = n == 0;
    k->in_bytes += (size_t)n;
    k->idle = 0;
    k->touched = ++k->c->events;
    return true;
}

static void on_client(void *ctx, int revents)
{
    struct client *k = ctx;
    bool alive = true;
    if (revents & LOOP_READ) alive = client_receive(k);
    alive = alive && client_flush(k);
    while (alive && !k->sending && client_serve(k)) alive = client_flush(k);
    if (!alive || (k->ended && !k->sending)) client_close(k);
    else loop_fd_set(k->watch, k->sending ? LOOP_WRITE : LOOP_READ);
}

/* ---- all clients ----------------------------------------------------------------------------- */

static void on_tick(void *ctx)
{
    struct control *c = ctx;
    bool any = false;
    for (u32 i = 0; i < CLIENTS_MAX; i++) {
        struct client *k = &c->client[i];
        if (k->watch && ++k->idle > IDLE_TICKS) client_close(k);
        any |= k->watch != NULL;
    }
    loop_timer_set(c->tick, any ? TICK_S * NS_PER_S : UINT64_MAX);
}

static struct client *free_place(struct control *c)
{
    struct client *oldest = &c->client[0];
    for (u32 i = 0; i < CLIENTS_MAX; i++) {
        if (!c->client[i].watch) return &c->client[i];
        if (c->client[i].touched < oldest->touched) oldest = &c->client[i];
    }
    client_close(oldest);
    return oldest;
}

static void on_listen(void *ctx, int revents)
{
    struct control *c = ctx;
    struct err ignored;
    uid_t uid;
    pid_t pid;
    (void)revents;
    int fd = local_accept(c->fd);
    if (fd < 0) return;
    bool welcome = local_peer(fd, &uid, &pid) && (uid == c->uid || uid == 0);
    char *in = welcome ? malloc(IN_BYTES) : NULL;
    struct client *k = in ? free_place(c) : NULL;
    struct loop_fd *watch = k ? loop_fd_add(c->loop, fd, on_client, k, &ignored) : NULL;
    if (!watch) {
        free(in);
        close(fd);
        return;
    }
    *k = (struct client){.c = c, .watch = watch, .fd = fd, .in = in, .touched = ++c->events};
    loop_fd_set(watch, LOOP_READ);
    loop_timer_set(c->tick, TICK_S * NS_PER_S);
}

/* ---- claiming, serving, releasing ------------------------------------------------------------ */

static int claim_path(struct control *c, const char *path, struct err *e)
{
    struct stat st;
    int fd = local_listen(path, e);
    if (fd < 0) return fd;
    c->fd = fd;
    snprintf(c->path, sizeof c->path, "%s", path);
    if (lstat(path, &st) == 0) c->dev = st.st_dev, c->ino = st.st_ino;
    return 0;
}

/* NAME, or the first of NAME-2, NAME-3 ... that no machine has. */
static int claim_name(struct control *c, const struct control_cfg *cfg, struct err *e)
{
    char folder[LOCAL_PATH_BYTES], path[LOCAL_PATH_BYTES + NAME_BYTES];
    int rc = local_folder(folder, sizeof folder, e);
    if (rc < 0) return rc;
    int lock = local_lock(folder, e);
    if (lock < 0) return lock;
    for (u32 n = 1; n <= NAMES_MAX; n++) {
        if (n > 1) snprintf(c->name, sizeof c->name, "%.58s-%u", cfg->name, n);
        snprintf(path, sizeof path, "%s/%s", folder, c->name);
        rc = claim_path(c, path, e);
        if (rc != E_BUSY || cfg->name_chosen) break;
    }
    close(lock);
    if (rc == E_BUSY && cfg->name_chosen)
        return err_set(e, E_BUSY, "a machine called '%s' is running already", cfg->name);
    return rc;
}

int control_claim(struct control **out, const struct control_cfg *cfg, struct err *e)
{
    *out = NULL;
    if (cfg->where && !strcmp(cfg->where, "none")) return 0;
    struct control *c = calloc(1, sizeof *c);
    if (!c) return err_set(e, E_NOMEM, "control socket");
    c->fd = -1;
    c->uid = geteuid();
    snprintf(c->name, sizeof c->name, "%s", cfg->name);
    int rc = cfg->where ? claim_path(c, cfg->where, e) : claim_name(c, cfg, e);
    if (rc < 0) {
        if (cfg->where || rc != E_BUSY) err_wrap(e, "control socket");
        free(c);
        return rc;
    }
    *out = c;
    return 0;
}

const char *control_name(const struct control *c) { return c->name; }
const char *control_path(const struct control *c) { return c->path; }

int control_serve(struct control *c, struct ring3_vm *vm, struct err *e)
{
    json_object_seed(0); /* now: it reads a file that a confined process cannot open */
    c->loop = machine_loop(vm);
    c->api.vm = vm;
    c->api.name = c->name;
    int rc = typer_init(&c->api.typer, vm, e);
    if (rc < 0) return rc;
    c->tick = loop_timer_add(c->loop, on_tick, c, e);
    if (!c->tick) return e->code;
    c->watch = loop_fd_add(c->loop, c->fd, on_listen, c, e);
    if (!c->watch) return e->code;
    loop_fd_set(c->watch, LOOP_READ);
    return 0;
}

void control_release(struct control *c)
{
    struct stat st;
    if (!c) return;
    for (u32 i = 0; i < CLIENTS_MAX; i++)
        if (c->client[i].watch) client_close(&c->client[i]);
    loop_fd_remove(c->watch);
    if (lstat(c->path, &st) == 0 && st.st_dev == c->dev && st.st_ino == c->ino)
        (void)!unlink(c->path);
    close(c->fd);
    free(c);
}
