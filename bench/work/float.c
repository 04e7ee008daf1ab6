/* float TEST COUNT - floating point work with the best vectors the processor has; `float -TEST`
 * stays with SSE2. */
#include "float.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    if (argc != 3) return fprintf(stderr, "usage: float [-]TEST COUNT\n"), 2;
    const char *name = argv[1];
    unsigned long n = strtoul(argv[2], NULL, 10);
    const struct float_work *work = &float_sse2;
    if (*name == '-') name++;
    else if (__builtin_cpu_supports("avx2")) work = &float_avx2;
    double (*run)(unsigned long) = strcmp(name, "matmul") == 0  ? work->matmul
                                   : strcmp(name, "nbody") == 0 ? work->nbody
                                   : strcmp(name, "fft") == 0   ? work->fft
                                                                : work->mandel;
    printf("%s %s %.17g\n", work == &float_avx2 ? "avx2" : "sse2", name, run(n));
    return 0;
}
