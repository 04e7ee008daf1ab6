/* stream - moving bytes between a device and a descriptor without ever making either wait: see
 * stream.h.
 *
 *   device --stream_write--> (direct write while the queue is empty) --> out fifo --loop:
 * writable--> descriptor descriptor --loop: readable--> [escape key] --> in fifo
 * --room()/input()--> device
 *
 * A terminal is always read, even when the guest takes nothing: Ctrl-A x must work on a hung guest.
 * Its excess input is dropped. Everything else is read only as far as there is room for it. */
#include "host/stream_internal.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/tty.h"

enum {
    CHUNK = 4096,      /* bytes of one read                                    */
    POLLED_MAX = 64,   /* bytes written to a shared descriptor that has room   */
    DRAIN_ROUNDS = 20, /* of DRAIN_MS: how long closing waits for a slow reader */
    DRAIN_MS = 50,
};

/* ---- queues ---------------------------------------------------------------------------------- */

u32 fifo_push(struct fifo *f, const u8 *buf, u32 bytes)
{
    u32 n = (u32)min_u64(bytes, FIFO_BYTES - f->used);
    u32 at = (f->head + f->used) % FIFO_BYTES;
    u32 first = (u32)min_u64(n, FIFO_BYTES - at);
    memcpy(f->data + at, buf, first);
    memcpy(f->data, buf + first, n - first);
    f->used += n;
    return n;
}

u32 fifo_peek(const struct fifo *f, const u8 **at)
{
    *at = f->data + f->head;
    return (u32)min_u64(f->used, FIFO_BYTES - f->head);
}

void fifo_drop(struct fifo *f, u32 bytes)
{
    f->head = (f->head + bytes) % FIFO_BYTES;
    f->used -= bytes;
}

/* ---- output ---------------------------------------------------------------------------------- */

static ssize_t write_polled(int fd, const u8 *buf, u32 bytes)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    if (poll(&p, 1, 0) <= 0) {
        errno = EAGAIN;
        return -1;
    }
    return write(fd, buf, min_u64(bytes, POLLED_MAX));
}

/* How many bytes went out, 0 when it would block, -1 when the other end is gone. Lock held. */
static s64 write_some(struct stream *s, const u8 *buf, u32 bytes)
{
    for (;;) {
        ssize_t n;
        if (s->out_how == OUT_SOCKET) n = send(s->out_fd, buf, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        else if (s->out_how == OUT_POLLED) n = write_polled(s->out_fd, buf, bytes);
        else n = write(s->out_fd, buf, bytes);
        if (n >= 0) return n;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return 0;
        if (errno != EINTR) return -1;
    }
}

static void out_broke(struct stream *s)
{
    s->out_dead = true;
    s->out_errno = s->out_how == OUT_FILE ? errno : 0;
    s->out.used = 0;
}

/* Lock held. */
static void flush(struct stream *s)
{
    while (s->out.used && !s->out_dead) {
        const u8 *at;
        u32 run = fifo_peek(&s->out, &at);
        s64 n = write_some(s, at, run);
        if (n < 0) out_broke(s);
        if (n <= 0) return;
        fifo_drop(&s->out, (u32)n);
    }
}

u32 stream_write(struct stream *s, const u8 *buf, u32 bytes)
{
    u32 done = 0;
    pthread_mutex_lock(&s->lock);
    if (s->out_how == OUT_NONE || s->out_dead) {
        pthread_mutex_unlock(&s->lock);
        return bytes;
    }
    while (!s->out.used && done < bytes) {
        s64 n = write_some(s, buf + done, bytes - done);
        if (n < 0) {
            out_broke(s);
            done = bytes;
        }
        if (n <= 0) break;
        done += (u32)n;
    }
    done += fifo_push(&s->out, buf + done, bytes - done);
    s->blocked = done < bytes;
    bool wake = s->out.used > 0 || s->out_dead;
    pthread_mutex_unlock(&s->lock);
    if (wake) loop_wake_send(s->wake);
    return done;
}

static void tell_lost(struct stream *s, int error)
{
    char buf[96];
    if (error && s->ev.lost) s->ev.lost(s->ev.ctx, strerror_r(error, buf, sizeof buf));
}

/* Send what is queued; tell the device when it was refused before and may try again. Loop thread.
 */
static void push(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    flush(s);
    bool gone = s->out_dead && s->out_how == OUT_SOCKET;
    bool tell = s->blocked && s->out.used <= FIFO_BYTES / 2;
    if (tell) s->blocked = false;
    int lost = s->out_errno;
    s->out_errno = 0;
    pthread_mutex_unlock(&s->lock);
    tell_lost(s, lost);
    if (gone) stream_client_gone(s);
    if (tell) s->ev.writable(s->ev.ctx);
}

/* ---- input ----------------------------------------------------------------------------------- */

static void deliver(struct stream *s)
{
    while (s->in.used) {
        u32 room = s->ev.room(s->ev.ctx);
        if (!room) return;
        const u8 *at;
        u32 n = (u32)min_u64(room, fifo_peek(&s->in, &at));
        s->ev.input(s->ev.ctx, at, n);
        fifo_drop(&s->in, n);
    }
}

/* Take the keys that are ours out of @buf; returns how many bytes are left in it. */
static u32 filter_keys(struct stream *s, u8 *buf, u32 bytes)
{
    u32 kept = 0;
    for (u32 i = 0; i < bytes; i++) {
        switch (tty_key(&s->escaped, buf[i])) {
        case TTY_KEY_SEND: buf[kept++] = buf[i]; break;
        case TTY_KEY_NONE: break;
        case TTY_KEY_HELP:
            (void)stream_write(s, (const u8 *)tty_help(), (u32)strlen(tty_help()));
            break;
        case TTY_KEY_QUIT:
            if (!s->quit) s->ev.quit(s->ev.ctx);
            s->quit = true;
            return kept;
        }
    }
    return kept;
}

/* How much to read now. */
static u32 appetite(const struct stream *s)
{
    if (!s->started || s->in_fd < 0) return 0;
    if (s->in_tty) return CHUNK;
    return s->in.used < CHUNK ? CHUNK - s->in.used : 0;
}

static void input_ended(struct stream *s)
{
    if (s->listen_fd >= 0) {
        stream_client_gone(s);
        return;
    }
    loop_fd_remove(s->in_watch);
    s->in_watch = NULL;
    s->in_fd = -1;
}

static void pull(struct stream *s)
{
    u8 buf[CHUNK];
    u32 want = appetite(s);
    if (!want) return;
    ssize_t n = read(s->in_fd, buf, want);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0) {
        input_ended(s);
        return;
    }
    u32 bytes = (u32)n;
    if (s->in_tty) bytes = filter_keys(s, buf, bytes);
    (void)fifo_push(&s->in, buf, bytes);
}

/* ---- events ---------------------------------------------------------------------------------- */

void stream_watch(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    int out = s->out.used && !s->out_dead ? LOOP_WRITE : 0;
    pthread_mutex_unlock(&s->lock);
    int in = appetite(s) ? LOOP_READ : 0;
    if (s->in_watch && s->in_watch == s->out_watch) {
        loop_fd_set(s->in_watch, in | out);
        return;
    }
    if (s->in_watch) loop_fd_set(s->in_watch, in);
    if (s->out_watch) loop_fd_set(s->out_watch, out);
}

void stream_on_ready(void *stream, int revents)
{
    struct stream *s = stream;
    if (revents & LOOP_READ) pull(s);
    deliver(s);
    if (revents & LOOP_WRITE) push(s);
    stream_watch(s);
}

/* More input wanted, or output queued by another thread. */
void stream_on_wake(void *stream)
{
    struct stream *s = stream;
    deliver(s);
    if (s->in_plain && appetite(s)) {
        pull(s);
        deliver(s);
        if (appetite(s))
            loop_wake_send(s->wake); /* until it is full or at its end; others get their turn */
    }
    push(s);
    stream_watch(s);
}

void stream_input_ready(struct stream *s) { loop_wake_send(s->wake); }

void stream_start(struct stream *s)
{
    struct err e;
    if (s->in_tty && tty_raw(s->in_fd, &e) < 0) s->in_tty = false; /* then as a plain pipe */
    s->started = true;
    loop_wake_send(s->wake);
}

/* ---- the end --------------------------------------------------------------------------------- */

/* The guest's last words: wait for a slow reader, but not for ever. */
static void drain(struct stream *s)
{
    for (u32 i = 0; i < DRAIN_ROUNDS; i++) {
        pthread_mutex_lock(&s->lock);
        u32 before = s->out.used;
        flush(s);
        u32 after = s->out.used;
        pthread_mutex_unlock(&s->lock);
        if (!after) return;
        if (after < before) i = 0;
        struct pollfd p = {.fd = s->out_fd, .events = POLLOUT};
        poll(&p, 1, DRAIN_MS);
    }
}

void stream_close(struct stream *s)
{
    if (!s) return;
    drain(s);
    if (s->in_tty && s->started) tty_restore();
    stream_release(s);
}
