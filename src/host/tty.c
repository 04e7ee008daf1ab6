/* tty - raw mode that is always undone: see tty.h. */
#include "host/tty.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

/* Written before `armed` is set, read after it was seen set. */
static struct {
    _Atomic bool armed;
    int fd;
    struct termios saved, raw;
} guard;

enum tty_key tty_key(bool *escaped, u8 byte)
{
    if (!*escaped) {
        *escaped = byte == TTY_ESCAPE;
        return *escaped ? TTY_KEY_NONE : TTY_KEY_SEND;
    }
    *escaped = false;
    switch (byte) {
    case TTY_ESCAPE: return TTY_KEY_SEND;
    case 'x': return TTY_KEY_QUIT;
    case 'h':
    case '?': return TTY_KEY_HELP;
    default: return TTY_KEY_NONE; /* 'c' is kept for the monitor's own prompt */
    }
}

const char *tty_help(void)
{
    return "\r\nCtrl-A h       this help\r\n"
           "Ctrl-A x       end the machine and leave\r\n"
           "Ctrl-A Ctrl-A  send Ctrl-A\r\n";
}

/* TCSANOW: nothing here may wait for a reader of the terminal. With SIGTTOU unblocked a process in
 * the background would be stopped instead of doing its last duty. */
static void set_undisturbed(int fd, const struct termios *t)
{
    sigset_t ttou, old;
    int sys = errno;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    pthread_sigmask(SIG_BLOCK, &ttou, &old);
    while (tcsetattr(fd, TCSANOW, t) < 0 && errno == EINTR) {
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    errno = sys;
}

void tty_restore(void)
{
    if (atomic_exchange(&guard.armed, false)) set_undisturbed(guard.fd, &guard.saved);
}

/* The shell may have changed the modes while we were stopped. */
static void on_continue(int sig)
{
    int sys = errno;
    (void)sig;
    if (atomic_load(&guard.armed)) tcsetattr(guard.fd, TCSANOW, &guard.raw);
    errno = sys;
}

static void on_crash(int sig)
{
    tty_restore();
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigaction(sig, &dfl, NULL);
    raise(sig); /* blocked here: it strikes when this handler returns */
}

static void handle(int sig, void (*fn)(int), int flags)
{
    struct sigaction sa = {.sa_handler = fn, .sa_flags = flags};
    sigemptyset(&sa.sa_mask);
    sigaction(sig, &sa, NULL);
}

void tty_guard_install(void)
{
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS, SIGTRAP};
    for (u32 i = 0; i < ARRAY_LEN(crashes); i++) handle(crashes[i], on_crash, SA_ONSTACK);
    handle(SIGPIPE, SIG_IGN, 0);
    handle(SIGXFSZ, SIG_IGN, 0);
}

int tty_raw(int fd, struct err *e)
{
    if (atomic_load(&guard.armed)) {
        return err_set(e, E_BUSY, "serial 'stdio': the terminal is in use by another machine");
    }
    if (tcgetattr(fd, &guard.saved) < 0) return err_errno(e, "serial 'stdio': the terminal");
    guard.raw = guard.saved;
    cfmakeraw(&guard.raw);
    guard.raw.c_oflag = guard.saved.c_oflag; /* log lines end in a bare newline */
    guard.raw.c_cc[VMIN] = 1;
    guard.raw.c_cc[VTIME] = 0;
    guard.fd = fd;
    atomic_store(&guard.armed, true);
    handle(SIGCONT, on_continue, SA_RESTART);
    if (tcsetattr(fd, TCSANOW, &guard.raw) == 0) return 0;
    int rc = err_errno(e, "serial 'stdio': the terminal");
    tty_restore();
    return rc;
}
