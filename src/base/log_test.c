#include "base/log.h"

#include <string.h>
#include <unistd.h>

#include "base/test.h"

/* What was written to the pipe @fd so far. */
static const char *drain(int fd, char *buf, size_t bytes)
{
    ssize_t n = read(fd, buf, bytes - 1);
    assert_true(n >= 0);
    buf[n] = 0;
    return buf;
}

static void test_lines(void **state)
{
    (void)state;
    int fd[2];
    char got[4096];
    struct log log;
    assert_int_equal(pipe(fd), 0);
    log_init(&log, fd[1], LOG_WARN, "web1");
    log_info(&log, "not written");
    log_error(&log, "disk %d", 3);
    log_warn(&log, "two\nlines \033[2J");
    assert_string_equal(drain(fd[0], got, sizeof got),
                        "ring3[web1]: error: disk 3\nring3[web1]: warning: two?lines ?[2J\n");
    log_init(&log, fd[1], LOG_INFO, NULL);
    log_info(&log, "ready");
    assert_string_equal(drain(fd[0], got, sizeof got), "ring3: info: ready\n");
    log_error(NULL, "dropped");
    log.fd = -1;
    log_error(&log, "dropped");
    close(fd[0]);
    close(fd[1]);
}

static void test_long_line_is_cut_and_ended(void **state)
{
    (void)state;
    int fd[2];
    char got[4096], big[3000];
    struct log log;
    memset(big, 'y', sizeof big - 1);
    big[sizeof big - 1] = 0;
    assert_int_equal(pipe(fd), 0);
    log_init(&log, fd[1], LOG_INFO, big); /* the name is cut too */
    log_info(&log, "%s", big);
    drain(fd[0], got, sizeof got);
    assert_true(strlen(got) < sizeof big);
    assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
    close(fd[0]);
    close(fd[1]);
}

static void test_limiter(void **state)
{
    (void)state;
    struct log_limit l = {0};
    u32 allowed = 0;
    for (u32 i = 1; i <= 1024; i++) {
        bool yes = log_allow(&l);
        allowed += yes;
        if (i <= LOG_BURST) assert_true(yes);
    }
    /* 1 2 3 4, then 8 16 ... 1024 */
    assert_int_equal(allowed, LOG_BURST + 8);
    assert_int_equal(l.count, 1024);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_long_line_is_cut_and_ended),
        cmocka_unit_test(test_limiter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
