/* tests/fuzz/isa_fuzz.c - isa_diff.h without end: stops at the first mismatch, or when it is
 * killed. FUZZ_SEED chooses the start. */
#include <time.h>

#include "../isa_diff.h"

int main(void)
{
    if (DIFF_SHADOWED) return puts(DIFF_SKIP) < 0;
    const char *given = getenv("FUZZ_SEED");
    u64 seed = given ? strtoull(given, NULL, 0) : (u64)time(NULL);
    printf("isa_fuzz: FUZZ_SEED=%" PRIu64 "\n", seed);
    fflush(stdout);
    diff_init(seed * 0x9E3779B97F4A7C15ull);
    while (!D.mismatches) {
        if (!diff_set_mode((enum isa_mode)below(3), below(2))) continue;
        for (u32 n = 0; n < 5000 && diff_case(); n++) continue;
    }
    diff_fini();
    return 1;
}
