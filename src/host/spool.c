/* spool - see spool.h. */
#include "host/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BUFFER_BYTES = 1 << 16, JOBS_MAX = 999999, FORM_FEED = 0x0C };
enum { AFTER_FORM_FEED_S = 2, AFTER_SILENCE_S = 30, RETRY_S = 3 };

struct spool {
    struct spool_events ev;
    struct loop_wake *wake;
    struct loop_timer *timer; /* end of the document, or the next try */
    int folder, file;         /* file: -1 between documents */
    u32 job;                  /* the last one's number       */
    u8 last;                  /* byte written                */
    _Atomic bool stuck;
    pthread_mutex_t lock; /* guards what follows; only the loop's thread takes bytes out */
    u32 used;
    bool ending; /* the document ends behind the buffer; nothing is taken before it has */
    bool waited; /* somebody was turned away */
    u8 buffer[BUFFER_BYTES];
};

/* ---- any thread ------------------------------------------------------------------------------ */

u32 spool_write(struct spool *s, const u8 *buf, u32 bytes)
{
    pthread_mutex_lock(&s->lock);
    u32 n = s->ending ? 0 : (u32)min_u64(bytes, BUFFER_BYTES - s->used);
    memcpy(s->buffer + s->used, buf, n);
    bool was_empty = s->used == 0;
    s->used += n;
    s->waited |= n < bytes;
    pthread_mutex_unlock(&s->lock);
    if (was_empty && n) loop_wake_send(s->wake);
    return n;
}

void spool_end(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    s->ending = true;
    pthread_mutex_unlock(&s->lock);
    loop_wake_send(s->wake);
}

bool spool_stuck(const struct spool *s) { return atomic_load(&s->stuck); }
int spool_folder_fd(const struct spool *s) { return s->folder; }

/* ---- the loop's thread ----------------------------------------------------------------------- */

static void trouble(struct spool *s, const char *what)
{
    char why[160], reason[64];
    snprintf(why, sizeof why, "%s: %s", what, strerror_r(errno, reason, sizeof reason));
    if (!atomic_exchange(&s->stuck, true) && s->ev.stuck) s->ev.stuck(s->ev.ctx, why);
    loop_timer_set(s->timer, RETRY_S * NS_PER_S);
}

static bool open_job(struct spool *s)
{
    char name[32];
    while (s->file < 0 && s->job < JOBS_MAX) {
        snprintf(name, sizeof name, "job-%06u.prn", s->job + 1);
        s->file =
            openat(s->folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        if (s->file < 0 && errno != EEXIST && errno != EINTR) {
            trouble(s, name);
            return false;
        }
        if (s->file >= 0 || errno == EEXIST) s->job++;
    }
    if (s->file >= 0) return true;
    errno = ENOSPC;
    trouble(s, "all numbers are used");
    return false;
}

static void close_job(struct spool *s)
{
    if (s->file >= 0) close(s->file);
    s->file = -1;
    s->last = 0;
}

/* Write @n bytes of the buffer; how many went. */
static u32 write_job(struct spool *s, u32 n)
{
    u32 done = 0;
    while (done < n && open_job(s)) {
        ssize_t took = write(s->file, s->buffer + done, n - done);
        if (took < 0 && errno == EINTR) continue;
        if (took < 0) {
            trouble(s, "write");
            break;
        }
        done += (u32)took;
    }
    if (done) s->last = s->buffer[done - 1];
    if (done == n) atomic_store(&s->stuck, false);
    return done;
}

/* Write what is there, end the document if that was asked for. */
static void drain(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    u32 n = s->used;
    pthread_mutex_unlock(&s->lock);
    u32 done = write_job(s, n); /* others only append meanwhile */
    pthread_mutex_lock(&s->lock);
    s->used -= done;
    memmove(s->buffer, s->buffer + done, s->used);
    bool more = s->used > 0, end = s->ending && !more;
    s->ending &= !end;
    bool tell = s->waited && !s->ending && s->used < BUFFER_BYTES && !spool_stuck(s);
    s->waited &= !tell;
    pthread_mutex_unlock(&s->lock);
    if (end) close_job(s);
    if (more && !spool_stuck(s)) loop_wake_send(s->wake); /* it came meanwhile */
    if (!spool_stuck(s))
        loop_timer_set(s->timer, s->file < 0            ? UINT64_MAX
                                 : s->last == FORM_FEED ? AFTER_FORM_FEED_S * NS_PER_S
                                                        : AFTER_SILENCE_S * NS_PER_S);
    if (tell && s->ev.writable) s->ev.writable(s->ev.ctx);
}

static void on_wake(void *ctx) { drain(ctx); }

static void on_timer(void *ctx)
{
    struct spool *s = ctx;
    pthread_mutex_lock(&s->lock);
    bool silent = s->used == 0;
    pthread_mutex_unlock(&s->lock);
    if (silent && !spool_stuck(s)) close_job(s);
    drain(s);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void spool_free(struct spool *s)
{
    if (s->folder >= 0) close(s->folder);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int spool_open(struct spool **out, const char *folder, struct loop *l,
               const struct spool_events *ev, struct err *e)
{
    struct spool *s = calloc(1, sizeof *s);
    if (!s) return err_set(e, E_NOMEM, "spool '%s'", folder);
    pthread_mutex_init(&s->lock, NULL);
    s->ev = *ev;
    s->file = -1;
    s->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->folder < 0) err_errno(e, "parallel 'spool:%s'", folder);
    else if (faccessat(s->folder, ".", W_OK | X_OK, AT_EACCESS) < 0)
        err_errno(e, "parallel 'spool:%s'", folder);
    else if (!(s->wake = loop_wake_add(l, on_wake, s, e))) (void)0;
    else if (!(s->timer = loop_timer_add(l, on_timer, s, e))) (void)0;
    else {
        *out = s;
        return 0;
    }
    spool_free(s);
    return e->code;
}

void spool_close(struct spool *s)
{
    if (!s) return;
    s->ev = (struct spool_events){0};
    (void)write_job(s, s->used);
    close_job(s);
    spool_free(s);
}
