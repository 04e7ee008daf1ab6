/* tests/bt_random_test.c - random programs under the interpreter and under the translator; see
 * bt_diff.h. BT_SEED and BT_ROUNDS choose other ones, BT_MODEL a CPU model; a mismatch prints both
 * states, the program reduced to what it takes, and the seed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above */
#include <cmocka.h>

#include "bt_diff.h"
#include "child.h"

enum { ROUNDS = 150, ROUNDS_OTHER = 30, SEED = 20000 };

static u64 env_u64(const char *name, u64 otherwise)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 0) : otherwise;
}

/* In a process of its own (child.h). */
static int rounds(u64 count)
{
    u64 seed = env_u64("BT_SEED", SEED), end = seed + env_u64("BT_ROUNDS", count);
    bt_diff_start();
    while (seed < end && bt_diff_round(seed)) seed++;
    if (seed < end) return 1;
    printf("%" PRIu64 " programs, %" PRIu64 " of them endless; %" PRIu64 " exceptions\n",
           T.programs, T.skipped, T.faults);
    /* they do what they are for: most end, and they fault */
    return T.skipped * 4 < T.programs && T.faults > T.programs ? 0 : 2;
}

static void agree(const char *name, const char *value, u64 count)
{
    struct err e = {0};
    if (engine_bt.probe(&e) < 0) {
        print_message("%s\n", e.text);
        skip();
    }
    const pid_t pid = child_start();
    if (pid == 0) {
        if (name) setenv(name, value, 1);
        child_end(rounds(count));
    }
    child_passes(pid);
}

static void test_programs_agree(void **state)
{
    (void)state;
    agree(NULL, NULL, ROUNDS);
}
static void test_programs_agree_without_bmi2(void **state)
{
    (void)state;
    agree("RING3_BT_WITHOUT", "bmi2", ROUNDS_OTHER);
}
static void test_programs_agree_without_patience(void **state)
{
    (void)state;
    agree("RING3_BT_WITHOUT", "patience", ROUNDS_OTHER);
}
static void test_programs_agree_without_avx(void **state)
{
    (void)state;
    agree("BT_MODEL", "x86-64-v2", ROUNDS_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_programs_agree),
                                       cmocka_unit_test(test_programs_agree_without_bmi2),
                                       cmocka_unit_test(test_programs_agree_without_patience),
                                       cmocka_unit_test(test_programs_agree_without_avx)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
