/* tests/fuzz/bt_fuzz.c - bt_diff.h without end: random programs under the interpreter and the
 * translator; stops at the first mismatch, reduced to what it needs. FUZZ_SEED chooses the first
 * round, FUZZ_ROUNDS how many (default: without end). */
#include "../bt_diff.h"

int main(void)
{
    const char *given = getenv("FUZZ_SEED"), *rounds = getenv("FUZZ_ROUNDS");
    u64 seed = given ? strtoull(given, NULL, 0) : (u64)time(NULL) << 20;
    u64 end = rounds ? seed + strtoull(rounds, NULL, 0) : 0;
    struct err e = {0};
    if (engine_bt.probe(&e) < 0) {
        printf("bt_fuzz: %s\n", e.text);
        return 0;
    }
    printf("bt_fuzz: FUZZ_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    bt_diff_start();
    while (bt_diff_round(seed)) {
        if (++seed == end) {
            printf("bt_fuzz: %" PRIu64 " programs, %" PRIu64 " endless, %" PRIu64 " exceptions\n",
                   T.programs, T.skipped, T.faults);
            return 0;
        }
    }
    return 1;
}
