/* The floating point work, built once for SSE2 and once for AVX2; each returns a figure to compare.
 */
#pragma once

struct float_work {
    double (*matmul)(unsigned long n); /* n products of two 128x128 float matrices */
    double (*nbody)(unsigned long n);  /* n thousand steps of five bodies, double */
    double (*fft)(unsigned long n);    /* n transforms of 4096 complex doubles, forward and back */
    double (*mandel)(unsigned long n); /* n x n points, at most 200 steps each, double */
};

extern const struct float_work float_sse2, float_avx2;
