/* gen LINES SEED FILE - deterministic text: words of a small vocabulary with numbers between, one
 * record a line.  It compresses about as well as a log file does. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static void word(uint64_t *state)
{
    uint64_t letters = next(state) % 3000 * 2654435761u + 12345;
    for (unsigned i = 3 + (unsigned)(letters % 7); i > 0; i--) {
        putchar('a' + (int)(letters % 26));
        letters = letters / 26 * 31 + letters % 1009;
    }
}

int main(int argc, char **argv)
{
    if (argc != 4 || !freopen(argv[3], "w", stdout))
        return fprintf(stderr, "usage: gen LINES SEED FILE\n"), 2;
    uint64_t state = strtoull(argv[2], NULL, 10) * 2 + 1;
    for (unsigned long lines = strtoul(argv[1], NULL, 10); lines > 0; lines--) {
        word(&state);
        for (unsigned i = 2 + next(&state) % 6; i > 0; i--) {
            if (next(&state) % 4 == 0) printf(" %u", next(&state) % 100000);
            putchar(' ');
            word(&state);
        }
        putchar('\n');
    }
    return 0;
}
