/* pty_test - the terminal is as it was after every end of the program: Ctrl-A x, termination
 * signals, crashes; and what passes through it while the machine runs. Starts $RING3 (the runner
 * sets it) on a pseudo-terminal. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "base/test.h"
#include "base/types.h"

/* A multiboot image for 1 MiB: prints "!" and then sends back what COM1 brings, waiting by polling.
 */
static const u8 echo_guest[] = {
    0x02, 0xb0, 0xad, 0x1b, 0,    0,    1,    0,    0xfe, 0x4f, 0x51, 0xe4, 0, 0,
    0x10, 0,    0,    0,    0x10, 0,    0,    0,    0,    0,    0,    0,    0, 0,
    0x20, 0,    0x10, 0,    0x66, 0xba, 0xf8, 0x03, 0xb0, '!',  0xee, /* mov dx, 3F8h; mov al, '!';
                                                                         out dx, al   */
    0x66, 0xba, 0xfd, 0x03, 0xec, 0xa8, 0x01, 0x74, 0xfb, /* mov dx, 3FDh; in al, dx; test al, 1; jz
                                                           */
    0x66, 0xba, 0xf8, 0x03, 0xec, 0xee, 0xeb, 0xef, /* mov dx, 3F8h; in al, dx; out dx, al; jmp */
};
/* The same, but deaf: "!" and hlt. */
static const u8 deaf_guest[] = {
    0x02, 0xb0, 0xad, 0x1b, 0,    0,    1,    0,    0xfe, 0x4f, 0x51, 0xe4, 0,    0,
    0x10, 0,    0,    0,    0x10, 0,    0,    0,    0,    0,    0,    0,    0,    0,
    0x20, 0,    0x10, 0,    0x66, 0xba, 0xf8, 0x03, 0xb0, '!',  0xee, 0xf4, 0xeb, 0xfd,
};

struct term {
    int master, slave;
    struct termios before;
    char kernel[32];
    pid_t pid;
    char seen[1 << 16];
    size_t seen_bytes;
};

static int setup(void **state)
{
    struct term *t = calloc(1, sizeof *t);
    t->master = posix_openpt(O_RDWR | O_NOCTTY);
    if (t->master < 0 || grantpt(t->master) < 0 || unlockpt(t->master) < 0) return -1;
    t->slave = open(ptsname(t->master), O_RDWR | O_NOCTTY);
    if (t->slave < 0 || tcgetattr(t->slave, &t->before) < 0) return -1;
    snprintf(t->kernel, sizeof t->kernel, "/tmp/ring3-pty-XXXXXX");
    *state = t;
    return 0;
}

static int teardown(void **state)
{
    struct term *t = *state;
    if (t->pid > 0) {
        kill(t->pid, SIGKILL);
        waitpid(t->pid, NULL, 0);
    }
    unlink(t->kernel);
    close(t->master);
    close(t->slave);
    free(t);
    return 0;
}

static void start_on(struct term *t, const u8 *guest, size_t bytes, const char *serial)
{
    const char *program = getenv("RING3");
    if (!program) skip();
    int fd = mkstemp(t->kernel);
    assert_int_equal(write(fd, guest, bytes), (ssize_t)bytes);
    close(fd);
    t->pid = fork();
    assert_true(t->pid >= 0);
    if (t->pid != 0) return;
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    /* of sanitizer builds: the leak checker needs system calls the jail forbids */
    setenv("ASAN_OPTIONS", "detect_leaks=0:allow_user_segv_handler=1", 1);
    setsid();
    ioctl(t->slave, TIOCSCTTY, 0);
    for (int n = 0; n < 3; n++) dup2(t->slave, n);
    execl(program, "ring3", "run", "--kernel", t->kernel, "--memory", "16M", "--serial", serial,
          (char *)NULL);
    _exit(127);
}

static void start(struct term *t, const u8 *guest, size_t bytes)
{
    start_on(t, guest, bytes, "stdio");
}

/* Read from the terminal until @text was seen. */
static void expect(struct term *t, const char *text)
{
    while (!memmem(t->seen, t->seen_bytes, text, strlen(text))) {
        struct pollfd p = {.fd = t->master, .events = POLLIN};
        if (poll(&p, 1, 20000) <= 0 || t->seen_bytes == sizeof t->seen)
            fail_msg("'%s' never came; seen: %.*s", text, (int)t->seen_bytes, t->seen);
        ssize_t n = read(t->master, t->seen + t->seen_bytes, sizeof t->seen - t->seen_bytes);
        if (n > 0) t->seen_bytes += (size_t)n;
    }
}

static void type(struct term *t, const char *text, size_t bytes)
{
    assert_int_equal(write(t->master, text, bytes), (ssize_t)bytes);
}

static bool is_raw(struct term *t)
{
    struct termios now;
    tcgetattr(t->slave, &now);
    return !(now.c_lflag & (ICANON | ECHO | ISIG));
}

/* Wait for the program; its status as a shell gives it. */
static int end_status(struct term *t)
{
    int status;
    waitpid(t->pid, &status, 0);
    t->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void assert_restored(struct term *t)
{
    struct termios now;
    tcgetattr(t->slave, &now);
    assert_int_equal(now.c_iflag, t->before.c_iflag);
    assert_int_equal(now.c_oflag, t->before.c_oflag);
    assert_int_equal(now.c_lflag, t->before.c_lflag);
    assert_int_equal(now.c_cflag, t->before.c_cflag);
    assert_memory_equal(now.c_cc, t->before.c_cc, sizeof now.c_cc);
}

static void test_leave(void **state)
{
    struct term *t = *state;
    start(t, deaf_guest, sizeof deaf_guest);
    expect(t, "!");
    assert_true(is_raw(t));
    char flood[3000];
    memset(flood, 'a', sizeof flood); /* the guest takes none of it, the key still works */
    type(t, flood, sizeof flood);
    type(t, "\x01x", 2);
    expect(t, "left the console");
    assert_int_equal(end_status(t), 0);
    assert_restored(t);
}

static void test_keys(void **state)
{
    struct term *t = *state;
    start(t, echo_guest, sizeof echo_guest);
    expect(t, "!");
    type(t, "\x03\x1a\x1c", 3); /* Ctrl-C, Ctrl-Z and Ctrl-\ are the guest's */
    expect(t, "\x03\x1a\x1c");
    type(t,
         "A\x01\x01"
         "B\x01qC",
         7);
    expect(t, "A\x01"
              "BC");
    type(t, "\x01h", 2);
    expect(t, "Ctrl-A x");
    type(t, "\x01x", 2);
    assert_int_equal(end_status(t), 0);
    assert_restored(t);
}

static void test_signal(struct term *t, int sig, int status)
{
    start(t, echo_guest, sizeof echo_guest);
    expect(t, "!");
    assert_true(is_raw(t));
    kill(t->pid, sig);
    assert_int_equal(end_status(t), status);
    assert_restored(t);
}

static void test_term(void **state) { test_signal(*state, SIGTERM, 128 + SIGTERM); }
static void test_int(void **state) { test_signal(*state, SIGINT, 128 + SIGINT); }
static void test_hup(void **state) { test_signal(*state, SIGHUP, 128 + SIGHUP); }
static void test_quit(void **state) { test_signal(*state, SIGQUIT, 128 + SIGQUIT); }
static void test_segv(void **state) { test_signal(*state, SIGSEGV, 128 + SIGSEGV); }
static void test_abrt(void **state) { test_signal(*state, SIGABRT, 128 + SIGABRT); }
static void test_fpe(void **state) { test_signal(*state, SIGFPE, 128 + SIGFPE); }
static void test_bus(void **state) { test_signal(*state, SIGBUS, 128 + SIGBUS); }

/* A shell that got the terminal meanwhile may have changed it: raw again after SIGCONT, as before
 * in the end. */
static void test_stop_and_continue(void **state)
{
    struct term *t = *state;
    start(t, echo_guest, sizeof echo_guest);
    expect(t, "!");
    kill(t->pid, SIGSTOP);
    waitpid(t->pid, NULL, WUNTRACED);
    tcsetattr(t->slave, TCSANOW, &t->before);
    kill(t->pid, SIGCONT);
    for (u32 i = 0; i < 1000 && !is_raw(t); i++) usleep(10000);
    assert_true(is_raw(t));
    type(t, "\x01x", 2);
    assert_int_equal(end_status(t), 0);
    assert_restored(t);
}

/* A console on a socket, through the jail: clients one after the other, and the socket is gone in
 * the end. */
static void test_socket(void **state)
{
    struct term *t = *state;
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/ring3-pty-XXXXXX", serial[128];
    assert_non_null(mkdtemp(folder));
    chmod(folder, 0777); /* root becomes nobody, who has to remove the socket */
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s/socket", folder);
    snprintf(serial, sizeof serial, "unix:%s", sa.sun_path);
    start_on(t, echo_guest, sizeof echo_guest, serial);
    for (char c = 'a'; c < 'e'; c++) {
        int fd = socket(AF_UNIX, SOCK_STREAM, 0);
        for (u32 i = 0; connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0 && i < 1000; i++)
            usleep(10000);
        char back = 0;
        assert_int_equal(write(fd, &c, 1), 1);
        while (back != c) assert_int_equal(read(fd, &back, 1), 1);
        close(fd);
    }
    kill(t->pid, SIGTERM);
    assert_int_equal(end_status(t), 128 + SIGTERM);
    assert_int_equal(access(sa.sun_path, F_OK), -1);
    assert_int_equal(rmdir(folder), 0);
}

#define ON_PTY(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_PTY(test_leave),
        ON_PTY(test_keys),
        ON_PTY(test_term),
        ON_PTY(test_int),
        ON_PTY(test_hup),
        ON_PTY(test_quit),
        ON_PTY(test_segv),
        ON_PTY(test_abrt),
        ON_PTY(test_fpe),
        ON_PTY(test_bus),
        ON_PTY(test_stop_and_continue),
        ON_PTY(test_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
