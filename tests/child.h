/* child.h - a test's body in a process of its own: cmocka has signal handlers around each test, and
 * translated code needs the engine's. */
#ifndef TESTS_CHILD_H
#define TESTS_CHILD_H
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"

/** child_start - fork; 0 in the child, which ends with child_end(). */
static inline pid_t child_start(void)
{
    fflush(stdout);
    const pid_t pid = fork();
    assert_true(pid >= 0);
    return pid;
}
static inline void child_end(int status)
{
    fflush(stdout);
    _exit(status);
}
/** child_passes - wait for @pid; the test fails unless it ended with status 0. */
static inline void child_passes(pid_t pid)
{
    int status;
    assert_true(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) fail_msg("signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
#endif
