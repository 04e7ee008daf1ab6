/* tests/bt_smp_test.c - some rounds of tests/fuzz/smp_fuzz.c: what several processors see of each
 * other's writes, code and mappings. SMP_SEED and SMP_ROUNDS choose other ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above */
#include <cmocka.h>

#include "child.h"
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

static void apart(bool (*round)(u64 seed))
{
    struct err e = {0};
    if (engine_bt.probe(&e) < 0) skip();
    const pid_t pid = child_start();
    if (pid == 0) child_end(rounds(round));
    child_passes(pid);
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
