/* work.h - the fixed amount of work every engine is timed on; same object file in the bare-metal
 * image and in the native program. */
#ifndef GUEST_BENCH_WORK_H
#define GUEST_BENCH_WORK_H
#include <stdint.h>

enum { BENCH_ROUNDS = 8 };           /* work units of one run */
uint64_t bench_round(uint32_t seed); /* one unit; returns a checksum of all results */

#endif
