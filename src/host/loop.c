/* loop.c - see loop.h. Handles live in lists of the loop and are closed by loop_destroy(). */
#include "host/loop.h"

#include <stdlib.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <uv.h>

struct loop {
    uv_loop_t uv;
    uv_async_t stop;
};
struct loop_fd {
    uv_poll_t poll;
    loop_fd_fn *fn;
    void *ctx;
};
struct loop_timer {
    struct loop_fd *watch;
    int fd; /* owned */
    loop_fn *fn;
    void *ctx;
};
struct loop_wake {
    uv_async_t async;
    loop_fn *fn;
    void *ctx;
};
struct loop_signal {
    uv_signal_t signal;
    loop_signal_fn *fn;
    void *ctx;
};

static int err_uv(struct err *e, const char *what, int rc)
{
    return err_set(e, E_SYS, "%s: %s", what, uv_strerror(rc));
}

static void on_stop(uv_async_t *a) { uv_stop(a->loop); }

int loop_create(struct loop **out, struct err *e)
{
    struct loop *l = calloc(1, sizeof *l);
    if (!l) return err_set(e, E_NOMEM, "event loop");
    int rc = uv_loop_init(&l->uv);
    if (rc < 0) goto free_loop;
    rc = uv_async_init(&l->uv, &l->stop, on_stop);
    if (rc < 0) goto close_loop;
    *out = l;
    return 0;
close_loop:
    uv_loop_close(&l->uv);
free_loop:
    free(l);
    return err_uv(e, "event loop", rc);
}

/* Handle types other than the stop handle own the struct they are the first member of. */
static void free_handle(uv_handle_t *h) { free(h); }

static void close_handle(uv_handle_t *h, void *loop)
{
    struct loop *l = loop;
    if (uv_is_closing(h)) return;
    if (h->data) { /* a timer's descriptor */
        struct loop_timer *t = h->data;
        close(t->fd);
        free(t);
    }
    uv_close(h, h == (uv_handle_t *)&l->stop ? NULL : free_handle);
}

void loop_destroy(struct loop *l)
{
    if (!l) return;
    uv_walk(&l->uv, close_handle, l);
    uv_run(&l->uv, UV_RUN_DEFAULT); /* runs the close callbacks */
    uv_loop_close(&l->uv);
    free(l);
}

void loop_run(struct loop *l) { uv_run(&l->uv, UV_RUN_DEFAULT); }
void loop_stop(struct loop *l) { uv_async_send(&l->stop); }

/* ---- descriptors ----------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *p, int status, int events)
{
    struct loop_fd *f = container_of(p, struct loop_fd, poll);
    int revents = (events & UV_READABLE ? LOOP_READ : 0) | (events & UV_WRITABLE ? LOOP_WRITE : 0);
    if (status < 0) revents = LOOP_READ | LOOP_WRITE; /* the owner's read or write will tell */
    f->fn(f->ctx, revents);
}

struct loop_fd *loop_fd_add(struct loop *l, int fd, loop_fd_fn *fn, void *ctx, struct err *e)
{
    struct loop_fd *f = calloc(1, sizeof *f);
    if (!f) {
        err_set(e, E_NOMEM, "watch a descriptor");
        return NULL;
    }
    f->fn = fn;
    f->ctx = ctx;
    int rc = uv_poll_init(&l->uv, &f->poll, fd);
    if (rc < 0) {
        err_uv(e, "watch a descriptor", rc);
        free(f);
        return NULL;
    }
    return f;
}

void loop_fd_set(struct loop_fd *f, int events)
{
    int uv = (events & LOOP_READ ? UV_READABLE : 0) | (events & LOOP_WRITE ? UV_WRITABLE : 0);
    if (uv) uv_poll_start(&f->poll, uv, on_poll);
    else uv_poll_stop(&f->poll);
}

void loop_fd_remove(struct loop_fd *f)
{
    if (f) uv_close((uv_handle_t *)&f->poll, free_handle);
}

/* ---- timers ---------------------------------------------------------------------------------- */

static void on_timer(void *ctx, int revents)
{
    struct loop_timer *t = ctx;
    u64 count;
    (void)revents;
    if (read(t->fd, &count, sizeof count) == (ssize_t)sizeof count) t->fn(t->ctx);
}

struct loop_timer *loop_timer_add(struct loop *l, loop_fn *fn, void *ctx, struct err *e)
{
    struct loop_timer *t = calloc(1, sizeof *t);
    if (!t) {
        err_set(e, E_NOMEM, "timer");
        return NULL;
    }
    t->fn = fn;
    t->ctx = ctx;
    t->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (t->fd < 0) {
        err_errno(e, "timer");
        goto free_timer;
    }
    t->watch = loop_fd_add(l, t->fd, on_timer, t, e);
    if (!t->watch) goto close_fd;
    t->watch->poll.data = t;
    loop_fd_set(t->watch, LOOP_READ);
    return t;
close_fd:
    close(t->fd);
free_timer:
    free(t);
    return NULL;
}

void loop_timer_set(struct loop_timer *t, u64 delay_ns)
{
    struct itimerspec spec = {0};
    if (delay_ns != UINT64_MAX) {
        u64 ns = max_u64(delay_ns, 1);
        spec.it_value.tv_sec = (time_t)(ns / NS_PER_S);
        spec.it_value.tv_nsec = (long)(ns % NS_PER_S);
    }
    timerfd_settime(t->fd, 0, &spec, NULL);
}

/* ---- wake-ups and signals -------------------------------------------------------------------- */

static void on_wake(uv_async_t *a)
{
    struct loop_wake *w = container_of(a, struct loop_wake, async);
    w->fn(w->ctx);
}

struct loop_wake *loop_wake_add(struct loop *l, loop_fn *fn, void *ctx, struct err *e)
{
    struct loop_wake *w = calloc(1, sizeof *w);
    if (!w) {
        err_set(e, E_NOMEM, "wake-up");
        return NULL;
    }
    w->fn = fn;
    w->ctx = ctx;
    int rc = uv_async_init(&l->uv, &w->async, on_wake);
    if (rc < 0) {
        err_uv(e, "wake-up", rc);
        free(w);
        return NULL;
    }
    return w;
}

void loop_wake_send(struct loop_wake *w) { uv_async_send(&w->async); }

static void on_signal(uv_signal_t *s, int signum)
{
    struct loop_signal *ls = container_of(s, struct loop_signal, signal);
    ls->fn(ls->ctx, signum);
}

int loop_signal_add(struct loop *l, int signum, loop_signal_fn *fn, void *ctx, struct err *e)
{
    struct loop_signal *s = calloc(1, sizeof *s);
    if (!s) return err_set(e, E_NOMEM, "signal %d", signum);
    s->fn = fn;
    s->ctx = ctx;
    int rc = uv_signal_init(&l->uv, &s->signal);
    if (rc < 0) {
        free(s);
        return err_uv(e, "signal", rc);
    }
    rc = uv_signal_start(&s->signal, on_signal, signum);
    return rc < 0 ? err_uv(e, "signal", rc) : 0;
}
