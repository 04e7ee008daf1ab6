/* tests/bt_smp_test.c - some rounds of tests/fuzz/smp_fuzz.c: what several processors see of each
 * other's writes, code and mappings. SMP_SEED and SMP_ROUNDS choose other ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above */
#include <cmocka.h>
#include <sys/wait.h>
#include <unistd.h>

#include "smp_chaos.h"
#include "smp_litmus.h"

enum { ROUNDS = 4, SEED = 1, HANG_SECONDS = 100 };

static u64 env_u64(const char *name, u64 otherwise)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 0) : otherwise;
}

static int rounds(bool (*round)(u64 seed))
{
    u64 seed = env_u64("SMP_SEED", SEED), end = seed + env_u64("SMP_ROUNDS", ROUNDS);
    alarm(HANG_SECONDS);
    for (; seed < end; seed++) {
        if (round(seed)) continue;
        printf("SMP_SEED=%" PRIu64 "\n", seed);
        fflush(stdout);
        return 1;
    }
    return 0;
}

/* In a process of its own: cmocka has signal handlers around each test. */
static void apart(bool (*round)(u64 seed))
{
    struct err e = {0};
    int status;
    if (engine_bt.probe(&e) < 0) skip();
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) _exit(rounds(round));
    assert_true(pid > 0);
    assert_true(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) fail_msg("signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_litmus_outcomes_are_those_of_tso(void **state)
{
    (void)state;
    apart(smp_litmus);
}
static void test_code_mappings_and_atomics_hold(void **state)
{
    (void)state;
    apart(smp_chaos);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_litmus_outcomes_are_those_of_tso),
                                       cmocka_unit_test(test_code_mappings_and_atomics_hold)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
