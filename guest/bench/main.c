/* main.c - the bare-metal side of the benchmark: prints a line, works, prints a line.  The host
 * times the span between the two lines; tsc is for machines whose TSC counts instructions (Bochs,
 * QEMU with -icount shift=0). */
#include "guest/bench/work.h"
#include "guest/lib/rt.h"

static void marker(const char *s) /* Bochs prints port 0xE9 unbuffered, its serial file not */
{
    while (*s) outb(0xE9, (u8)*s++);
}

int main(void)
{
    u64 sum = 0;
    say("bench start\n");
    marker("bench start\n");
    u64 t0 = rdtsc();
    for (u32 i = 0; i < BENCH_ROUNDS; i++) sum = sum * 31 + bench_round(i + 1);
    u64 t1 = rdtsc();
    say("bench done rounds %u sum %x tsc %u\n", (u64)BENCH_ROUNDS, sum, t1 - t0);
    marker("bench done\n");
    debug_exit(0);
}
