/* jail_test - what a confined process can still do, each tried in a child of its own. */
#include "cli/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "cli/options.h"
#include "host/tty.h"

/* Asked by the leak checker of sanitizer builds: at exit it needs system calls the jail forbids. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void) { return 1; }

enum { FINE = 42, OTHER = 43 };
static const char *const no_sockets = NULL;
static const struct jail_needs nothing = {.sockets = &no_sockets, .spool_fd = -1};

static int confined_with(const struct jail_needs *needs, int (*deed)(void))
{
    struct err e;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(STDERR_FILENO);
        tty_guard_install();
        _exit(jail_enter(needs, &e) < 0 ? OTHER + 1 : deed());
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int confined(int (*deed)(void)) { return confined_with(&nothing, deed); }

static int deed_nothing(void) { return FINE; }
static int deed_allocate(void)
{
    char *p = malloc(MIB(4));
    if (!p) return OTHER;
    memset(p, 1, MIB(4));
    free(p);
    return FINE;
}
static int deed_open(void)
{
    return open("/etc/passwd", O_RDONLY) < 0 && errno == EACCES ? FINE : OTHER;
}
enum { SPOOL_FD = 99 };
static bool has_landlock; /* asking is not possible inside */
static int deed_document(void)
{
    int fd = openat(SPOOL_FD, "document", O_WRONLY | O_CREAT | O_EXCL, 0600);
    bool made = fd >= 0 && write(fd, "x", 1) == 1;
    bool kept_out = openat(AT_FDCWD, "/etc/passwd", O_RDONLY) < 0 && errno == EACCES;
    bool no_reading = !has_landlock || openat(SPOOL_FD, "/etc/passwd", O_RDONLY) < 0;
    return made && kept_out && no_reading ? FINE : OTHER;
}
static int deed_write_and_execute(void)
{
    mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return OTHER;
}
static int deed_socket(void) { return socket(AF_INET, SOCK_STREAM, 0) < 0 ? FINE : OTHER; }
static int deed_fork(void) { return fork() < 0 ? FINE : OTHER; }
static int deed_execute(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return OTHER;
}
static int deed_kill(void) { return kill(getppid(), 0) < 0 ? FINE : OTHER; }
static int deed_unlink(void) { return unlink("/nosuch") < 0 ? FINE : OTHER; }
static int deed_abort(void) { abort(); }

static void test_allowed(void **state)
{
    (void)state;
    assert_int_equal(confined(deed_nothing), FINE);
    assert_int_equal(confined(deed_allocate), FINE);
    assert_int_equal(confined(deed_open), FINE);
    assert_int_equal(confined(deed_abort), 128 + 6);
}

static void test_spool(void **state)
{
    char folder[] = "/tmp/ring3-jail-XXXXXX", path[64];
    const struct jail_needs needs = {.sockets = &no_sockets, .spool_fd = SPOOL_FD};
    (void)state;
    has_landlock = jail_landlock_abi() > 0;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chmod(folder, 0777), 0); /* root becomes nobody */
    snprintf(path, sizeof path, "%s/document", folder);
    int fd = open(folder, O_RDONLY | O_DIRECTORY);
    assert_int_equal(dup2(fd, SPOOL_FD), SPOOL_FD);
    assert_int_equal(confined_with(&needs, deed_document), FINE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0);
    close(fd), close(SPOOL_FD);
}

static void test_refused(void **state)
{
    (void)state;
    assert_int_equal(confined(deed_write_and_execute), STATUS_MONITOR);
    assert_int_equal(confined(deed_socket), STATUS_MONITOR);
    assert_int_equal(confined(deed_fork), STATUS_MONITOR);
    assert_int_equal(confined(deed_execute), STATUS_MONITOR);
    assert_int_equal(confined(deed_kill), STATUS_MONITOR);
    assert_int_equal(confined(deed_unlink), STATUS_MONITOR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_allowed), cmocka_unit_test(test_spool),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
