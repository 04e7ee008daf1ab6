/* fuzz.h - what every fuzzer starts from: a seed, random numbers, an end.
 *
 * Work comes in rounds, each with a seed of its own: FUZZ_SEED=N begins with round N and repeats it
 * exactly; without, the clock chooses. A round that crashes, fails a FUZZ_CHECK or hangs (20 s)
 * tells its number, and the process aborts. FUZZ_SECONDS is the time to run; 0 or nothing: for
 * ever. */
#ifndef TESTS_FUZZ_H
#define TESTS_FUZZ_H
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/types.h"

enum { FUZZ_HANG_S = 20, FUZZ_HANG_SANITIZED_S = 120 };
struct fuzz {
    const char *name;
    u64 round; /* its seed */
    u64 rounds, state;
    time_t end; /* 0: none */
};
/* One per program: signal handlers need to find it. */
static struct fuzz fuzz;

#define FUZZ_CHECK(cond)                                                                           \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                             \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

static inline u64 fuzz_u64(void)
{
    u64 z = fuzz.state += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}
/* 0..n-1 */
static inline u32 fuzz_below(u64 n) { return (u32)(fuzz_u64() % n); }
/* true once in @n */
static inline bool fuzz_one_in(u32 n) { return fuzz_below(n) == 0; }

/* Numbers that find mistakes: small, near powers of two, near the ends, or anything. */
static inline u64 fuzz_value(void)
{
    u64 near = (u64)(s64)((s32)fuzz_below(9) - 4);
    switch (fuzz_below(8)) {
    case 0: return near;
    case 1: return (1ull << fuzz_below(64)) + near;
    case 2: return fuzz_below(256);
    case 3: return (u32)fuzz_u64();
    case 4: return (u64)(s64)(s32)fuzz_u64();
    case 5: return (u64)fuzz_below(1 << 20) << 12;
    default: return fuzz_u64() >> fuzz_below(64);
    }
}

static inline void fuzz_fill(void *buf, size_t bytes)
{
    u8 *p = buf;
    for (size_t i = 0; i < bytes; i++) p[i] = (u8)fuzz_u64();
}

/* Some bytes of @buf become others. */
static inline void fuzz_damage(u8 *buf, size_t bytes, u32 times)
{
    for (u32 n = 0; n < times && bytes > 0; n++) {
        u64 at = fuzz_u64() % bytes, v = fuzz_value();
        u32 len = 1u << fuzz_below(4);
        if (len > bytes - at) len = 1;
        memcpy(buf + at, &v, len);
    }
}

static inline void fuzz_tell(const char *what)
{
    char line[160];
    int n = snprintf(line, sizeof line, "%s: %s in round FUZZ_SEED=%" PRIu64 "\n", fuzz.name, what,
                     fuzz.round);
    (void)!write(2, line, (size_t)n);
}
static inline void fuzz_on_signal(int sig)
{
    fuzz_tell(sig == SIGALRM ? "hang" : "abort");
    signal(SIGABRT, SIG_DFL);
    abort();
}
/* The end of every process, also one a sanitizer ends: which round was it? */
static inline void fuzz_on_exit(void)
{
    if (fuzz.name) fuzz_tell("ended");
}

static inline void fuzz_start(const char *name)
{
    const char *seed = getenv("FUZZ_SEED"), *seconds = getenv("FUZZ_SECONDS");
    fuzz.name = name;
    fuzz.round = (seed ? strtoull(seed, NULL, 0) : (u64)time(NULL) << 20) - 1;
    if (seconds && atoi(seconds) > 0) fuzz.end = time(NULL) + atoi(seconds);
    printf("%s: FUZZ_SEED=%" PRIu64 "\n", name, fuzz.round + 1);
    fflush(stdout);
    signal(SIGALRM, fuzz_on_signal);
    signal(SIGABRT, fuzz_on_signal);
    atexit(fuzz_on_exit);
}

/* Begin the next round; false at the end. */
static inline bool fuzz_next(void)
{
    if (fuzz.end && time(NULL) >= fuzz.end) {
        printf("%s: %" PRIu64 " rounds\n", fuzz.name, fuzz.rounds);
        fuzz.name = NULL;
        alarm(0);
        return false;
    }
    fuzz.round++;
    fuzz.rounds++;
    fuzz.state = fuzz.round * 0xD1B54A32D192ED03ull;
#ifdef __SANITIZE_ADDRESS__
    alarm(FUZZ_HANG_SANITIZED_S);
#else
    alarm(FUZZ_HANG_S);
#endif
    return true;
}
#endif
