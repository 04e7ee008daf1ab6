#include "base/check.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"

static void say_state(void *ctx, int fd)
{
    dprintf(fd, "dump of %s\n", (const char *)ctx);
    ASSERT(ctx == NULL, "a dump that fails itself");
}

/* Runs in a child whose stderr is @fd; never returns. */
static _Noreturn void fail_in_child(int fd)
{
    signal(SIGABRT, SIG_DFL);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    dup2(fd, STDERR_FILENO);
    int pages = 3;
    ASSERT(pages == 3, "holds");
    check_set_dump(say_state, "vm0");
    ASSERT(pages > 4, "only %d pages", pages);
    _exit(0);
}

static void test_failure_prints_dumps_and_aborts(void **state)
{
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) fail_in_child(fd[1]);
    close(fd[1]);
    char text[1024];
    size_t used = 0;
    for (ssize_t n; (n = read(fd[0], text + used, sizeof text - 1 - used)) > 0;) used += (size_t)n;
    text[used] = 0;
    close(fd[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    assert_non_null(strstr(text, "check_test.c:"));
    assert_non_null(strstr(text, "assertion failed: pages > 4: only 3 pages\n"));
    assert_non_null(strstr(text, "dump of vm0\n"));
}

static void count_dump(void *ctx, int fd)
{
    (void)fd;
    ++*(int *)ctx;
}

static void test_dump_runs_when_installed(void **state)
{
    (void)state;
    int n = 0;
    check_dump(-1);
    check_set_dump(count_dump, &n);
    check_dump(-1);
    check_set_dump(NULL, NULL);
    check_dump(-1);
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure_prints_dumps_and_aborts),
        cmocka_unit_test(test_dump_runs_when_installed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
