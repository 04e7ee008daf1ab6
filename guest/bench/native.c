/* native.c - the same work as a Linux process. */
#include "guest/bench/work.h"
#include <stdio.h>
#include <time.h>

int main(void)
{
    struct timespec a, b;
    uint64_t sum = 0;
    clock_gettime(CLOCK_MONOTONIC, &a);
    for (uint32_t i = 0; i < BENCH_ROUNDS; i++) sum = sum * 31 + bench_round(i + 1);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("bench done rounds %d sum %lx us %ld\n", BENCH_ROUNDS, sum,
           (b.tv_sec - a.tv_sec) * 1000000 + (b.tv_nsec - a.tv_nsec) / 1000);
    return 0;
}
