/* stream_open - the kinds of stream: standard input and output, a file, a Unix socket, nothing. See
 * stream.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/stream_internal.h"

typedef int open_fn(struct stream *s, const char *path, struct err *e);

/* ---- standard input and output --------------------------------------------------------------- */

static int watch_add(struct loop_fd **out, struct stream *s, int fd, struct err *e)
{
    *out = loop_fd_add(s->loop, fd, stream_on_ready, s, e);
    return *out ? 0 : e->code;
}

/* O_NONBLOCK belongs to the open file, which the shell and other processes share: never set it on
 * an inherited descriptor. A terminal or a pipe can be opened a second time through /proc; the
 * second one is ours alone. */
static void stdout_choose(struct stream *s)
{
    struct stat st;
    s->out_how = OUT_NONE;
    if (fstat(STDOUT_FILENO, &st) < 0) return;
    s->out_fd = STDOUT_FILENO;
    s->out_how = OUT_POLLED;
    if (S_ISSOCK(st.st_mode)) s->out_how = OUT_SOCKET;
    if (S_ISREG(st.st_mode)) s->out_how = OUT_FILE;
    if (s->out_how != OUT_POLLED) return;
    int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return;
    s->out_how = OUT_NONBLOCK;
    s->out_fd = s->own_fd = fd;
}

static int open_stdio(struct stream *s, const char *path, struct err *e)
{
    struct err ignored;
    (void)path;
    if (fcntl(STDIN_FILENO, F_GETFD) >= 0) {
        s->in_fd = STDIN_FILENO;
        s->in_tty = isatty(STDIN_FILENO);
        if (watch_add(&s->in_watch, s, STDIN_FILENO, &ignored) < 0) s->in_plain = true;
    }
    stdout_choose(s);
    if (s->out_how == OUT_NONE || s->out_how == OUT_FILE) return 0;
    /* a device like /dev/null cannot be polled, and never makes anybody wait */
    if (watch_add(&s->out_watch, s, s->out_fd, &ignored) < 0) s->out_how = OUT_FILE;
    (void)e;
    return 0;
}

/* ---- file ------------------------------------------------------------------------------------ */

static int open_file(struct stream *s, const char *path, struct err *e)
{
    struct stat st;
    int rc;
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0644);
    if (fd < 0) return err_errno(e, "serial 'file:%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
        rc = err_set(e, E_BUSY, "serial 'file:%s': another machine writes to it", path);
        goto close_fd;
    }
    if (fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && ftruncate(fd, 0) < 0)) {
        rc = err_errno(e, "serial 'file:%s'", path);
        goto close_fd;
    }
    if (!S_ISREG(st.st_mode)) {
        struct err ignored;
        if (watch_add(&s->out_watch, s, fd, &ignored) < 0) s->out_watch = NULL;
    }
    s->out_how = s->out_watch ? OUT_NONBLOCK : OUT_FILE;
    s->out_fd = s->own_fd = fd;
    return 0;
close_fd:
    close(fd);
    return rc;
}

/* ---- Unix socket ----------------------------------------------------------------------------- */

static void on_listen(void *stream, int revents)
{
    struct stream *s = stream;
    struct err ignored;
    struct loop_fd *watch;
    (void)revents;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if (watch_add(&watch, s, fd, &ignored) < 0) {
        close(fd);
        return;
    }
    loop_fd_set(s->listen_watch, 0); /* the next client waits in the backlog */
    s->in_watch = s->out_watch = watch;
    s->in_fd = fd;
    pthread_mutex_lock(&s->lock);
    s->out_how = OUT_SOCKET;
    s->out_fd = fd;
    s->out_dead = false;
    pthread_mutex_unlock(&s->lock);
    stream_watch(s);
}

void stream_client_gone(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    bool tell = s->blocked;
    s->out_how = OUT_NONE;
    s->out_dead = s->blocked = false;
    s->out.used = 0;
    s->out_fd = -1;
    pthread_mutex_unlock(&s->lock);
    loop_fd_remove(s->in_watch);
    s->in_watch = s->out_watch = NULL;
    close(s->in_fd);
    s->in_fd = -1;
    loop_fd_set(s->listen_watch, LOOP_READ);
    if (tell) s->ev.writable(s->ev.ctx);
}

/* bind() found @sa's path taken: remove it if it is the socket of a process that is gone. 0, or
 * E_BUSY. */
static int remove_stale(const struct sockaddr_un *sa, struct err *e)
{
    struct stat st;
    if (lstat(sa->sun_path, &st) < 0)
        return errno == ENOENT ? 0 : err_errno(e, "serial 'unix:%s'", sa->sun_path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, E_BUSY, "serial 'unix:%s': exists and is not a socket", sa->sun_path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return err_errno(e, "serial 'unix:%s'", sa->sun_path);
    bool stale = connect(fd, (const struct sockaddr *)sa, sizeof *sa) < 0 && errno == ECONNREFUSED;
    close(fd);
    if (!stale) return err_set(e, E_BUSY, "serial 'unix:%s': already in use", sa->sun_path);
    if (unlink(sa->sun_path) < 0) return err_errno(e, "serial 'unix:%s': remove", sa->sun_path);
    return 0;
}

/* Only the owner may connect: the mode of the descriptor becomes that of the path. */
static int bind_private(int fd, const struct sockaddr_un *sa, struct err *e)
{
    if (fchmod(fd, 0600) < 0) return err_errno(e, "serial 'unix:%s'", sa->sun_path);
    if (bind(fd, (const struct sockaddr *)sa, sizeof *sa) == 0) return 0;
    if (errno != EADDRINUSE) return err_errno(e, "serial 'unix:%s'", sa->sun_path);
    int rc = remove_stale(sa, e);
    if (rc < 0) return rc;
    if (bind(fd, (const struct sockaddr *)sa, sizeof *sa) == 0) return 0;
    return err_errno(e, "serial 'unix:%s'", sa->sun_path);
}

static int open_unix(struct stream *s, const char *path, struct err *e)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    if (strlen(path) >= sizeof sa.sun_path) {
        return err_set(e, E_RANGE, "serial 'unix:%s': the path is longer than %zu bytes", path,
                       sizeof sa.sun_path - 1);
    }
    memcpy(sa.sun_path, path, strlen(path));
    s->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->listen_fd < 0) return err_errno(e, "serial 'unix:%s'", path);
    int rc = bind_private(s->listen_fd, &sa, e);
    if (rc < 0) return rc;
    if (lstat(path, &st) == 0) {
        s->socket_dev = st.st_dev;
        s->socket_ino = st.st_ino;
    }
    s->socket_path = strdup(path);
    if (!s->socket_path) {
        unlink(path);
        return err_set(e, E_NOMEM, "serial 'unix:%s'", path);
    }
    if (listen(s->listen_fd, 1) < 0) return err_errno(e, "serial 'unix:%s'", path);
    s->listen_watch = loop_fd_add(s->loop, s->listen_fd, on_listen, s, e);
    if (!s->listen_watch) return e->code;
    loop_fd_set(s->listen_watch, LOOP_READ);
    return 0;
}

static void remove_socket(struct stream *s)
{
    struct stat st;
    if (!s->socket_path || lstat(s->socket_path, &st) < 0) return;
    if (st.st_dev == s->socket_dev && st.st_ino == s->socket_ino) unlink(s->socket_path);
}

/* ---- nothing --------------------------------------------------------------------------------- */

static int open_none(struct stream *s, const char *path, struct err *e)
{
    (void)s, (void)path, (void)e;
    return 0;
}

/* ---- all kinds ------------------------------------------------------------------------------- */

static const struct {
    const char *prefix;
    bool has_path;
    open_fn *open;
} kinds[] = {
    {"stdio", false, open_stdio},
    {"file:", true, open_file},
    {"unix:", true, open_unix},
    {"none", false, open_none},
};

/* Index of the kind of @spec, or E_INVAL. */
static int find_kind(const char *spec, struct err *e)
{
    for (u32 i = 0; spec && i < ARRAY_LEN(kinds); i++) {
        size_t n = strlen(kinds[i].prefix);
        if (strncmp(spec, kinds[i].prefix, n) != 0) continue;
        if (kinds[i].has_path == (spec[n] != 0)) return (int)i;
        if (kinds[i].has_path) return err_set(e, E_INVAL, "serial '%s': the path is empty", spec);
    }
    return err_set(e, E_INVAL, "serial '%s': not one of stdio, file:PATH, unix:PATH, none",
                   spec ? spec : "");
}

int stream_spec_check(const char *spec, struct err *e)
{
    int rc = find_kind(spec, e);
    return rc < 0 ? rc : 0;
}

void stream_release(struct stream *s)
{
    if (s->out_watch != s->in_watch) loop_fd_remove(s->out_watch);
    loop_fd_remove(s->in_watch);
    loop_fd_remove(s->listen_watch);
    remove_socket(s);
    if (s->listen_fd >= 0 && s->in_fd >= 0) close(s->in_fd); /* the client */
    if (s->listen_fd >= 0) close(s->listen_fd);
    if (s->own_fd >= 0) close(s->own_fd);
    pthread_mutex_destroy(&s->lock);
    free(s->socket_path);
    free(s);
}

int stream_open(struct stream **out, const char *spec, struct loop *l,
                const struct stream_events *ev, struct err *e)
{
    int kind = find_kind(spec, e);
    if (kind < 0) return kind;
    struct stream *s = calloc(1, sizeof *s);
    if (!s) return err_set(e, E_NOMEM, "serial '%s'", spec);
    s->loop = l;
    s->ev = *ev;
    s->in_fd = s->out_fd = s->listen_fd = s->own_fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    s->wake = loop_wake_add(l, stream_on_wake, s, e);
    int rc = s->wake ? kinds[kind].open(s, spec + strlen(kinds[kind].prefix), e) : e->code;
    if (rc < 0) {
        stream_release(s);
        return rc;
    }
    *out = s;
    return 0;
}
