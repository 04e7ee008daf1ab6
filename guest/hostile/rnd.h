/* rnd.h - the one pseudo-random generator of the hostile images (xorshift64*), seeded by a constant
 * so that every run is the same. */
#ifndef HOSTILE_RND_H
#define HOSTILE_RND_H
#include "guest/lib/rt.h"

static u64 rnd_state = 0x9E3779B97F4A7C15ull;
static inline u64 rnd(void)
{
    rnd_state ^= rnd_state >> 12;
    rnd_state ^= rnd_state << 25;
    rnd_state ^= rnd_state >> 27;
    return rnd_state * 0x2545F4914F6CDD1Dull;
}
static inline bool ignore_trap(struct frame *f)
{
    (void)f;
    return true;
}

#endif
