/* tests/fuzz/smp_fuzz.c - several processors under the translator (and some under the interpreter):
 * litmus tests against a model of x86-TSO, and programs that change each other's code and mappings
 * (tests/smp_litmus.h, tests/smp_chaos.h). Without end; stops at the first thing that must not
 * happen. Threads run as they like, so a seed gives the same programs, not the same run. */
#include "../smp_chaos.h"
#include "../smp_litmus.h"
#include "fuzz.h"

enum { HANG_SECONDS = 120 }; /* threads wait for each other, and the host may be busy */

int main(void)
{
    struct err e = {0};
    if (engine_bt.probe(&e) < 0) {
        printf("smp_fuzz: %s\n", e.text);
        return 0;
    }
    fuzz_start("smp_fuzz");
    while (fuzz_next()) {
        const u64 seed = fuzz_u64();
        alarm(HANG_SECONDS);
        FUZZ_CHECK(fuzz_below(2) ? smp_litmus(seed) : smp_chaos(seed));
    }
    return 0;
}
