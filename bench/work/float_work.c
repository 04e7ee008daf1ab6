/* The four kinds of floating point work; WORK names the table to define (float_sse2 or float_avx2).
 */
#include "float.h"
#include <math.h>
#include <stddef.h>

enum { DIM = 128, BODIES = 5, POINTS = 4096, LIMIT = 200 };

static double matmul(unsigned long n)
{
    static float a[DIM][DIM], b[DIM][DIM], c[DIM][DIM];
    for (size_t i = 0; i < DIM; i++)
        for (size_t j = 0; j < DIM; j++) {
            a[i][j] = (float)((i * 7 + j * 3) % 17) / 16;
            b[i][j] = (float)((i * 5 + j * 11) % 13) / 8;
        }
    for (; n > 0; n--) {
        for (size_t i = 0; i < DIM; i++)
            for (size_t k = 0; k < DIM; k++)
                for (size_t j = 0; j < DIM; j++) c[i][j] += a[i][k] * b[k][j];
        a[n % DIM][n * 7 % DIM] = c[n % DIM][0] / 1e6f;
    }
    double sum = 0;
    for (size_t i = 0; i < DIM; i++)
        for (size_t j = 0; j < DIM; j++) sum += (double)c[i][j];
    return sum;
}

struct body {
    double at[3], speed[3], mass;
};

static void attract(struct body *a, struct body *b, double dt)
{
    double d[3], square = 0;
    for (int k = 0; k < 3; k++) {
        d[k] = a->at[k] - b->at[k];
        square += d[k] * d[k];
    }
    double f = dt / (square * sqrt(square));
    for (int k = 0; k < 3; k++) {
        a->speed[k] -= d[k] * b->mass * f;
        b->speed[k] += d[k] * a->mass * f;
    }
}

static double nbody(unsigned long n)
{
    struct body w[BODIES];
    for (int i = 0; i < BODIES; i++)
        w[i] = (struct body){
            {i * 3.1, i * 1.7 - 2, i * 0.3}, {0.1 * i, 0.4 - 0.1 * i, 0.02 * i}, i ? 0.01 * i : 39};
    for (n *= 1000; n > 0; n--) {
        for (int i = 0; i < BODIES; i++)
            for (int j = i + 1; j < BODIES; j++) attract(&w[i], &w[j], 0.001);
        for (int i = 0; i < BODIES; i++)
            for (int k = 0; k < 3; k++) w[i].at[k] += 0.001 * w[i].speed[k];
    }
    return w[0].at[0] + w[1].at[1] + w[4].speed[2];
}

/* One radix-2 stage-by-stage transform; twiddles from a table, sign +1 or -1. */
static void transform(double *re, double *im, const double *cosine, const double *sine, double sign)
{
    for (size_t i = 1, j = 0; i < POINTS; i++) {
        size_t bit = POINTS >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i < j) {
            double t = re[i];
            re[i] = re[j], re[j] = t;
            t = im[i];
            im[i] = im[j], im[j] = t;
        }
    }
    for (size_t len = 2; len <= POINTS; len *= 2)
        for (size_t i = 0; i < POINTS; i += len)
            for (size_t k = 0; k < len / 2; k++) {
                double c = cosine[k * (POINTS / len)], s = sign * sine[k * (POINTS / len)];
                size_t p = i + k, q = p + len / 2;
                double x = re[q] * c - im[q] * s, y = re[q] * s + im[q] * c;
                re[q] = re[p] - x, im[q] = im[p] - y;
                re[p] += x, im[p] += y;
            }
}

static double fft(unsigned long n)
{
    static double re[POINTS], im[POINTS], cosine[POINTS / 2], sine[POINTS / 2];
    double c = 1, s = 0; /* rotation by recurrence: no library function whose version may differ */
    const double step_c = 0.99999882345170188, step_s = 0.0015339801862847655;
    for (size_t i = 0; i < POINTS / 2; i++) {
        cosine[i] = c, sine[i] = s;
        double t = c * step_c - s * step_s;
        s = s * step_c + c * step_s, c = t;
    }
    for (size_t i = 0; i < POINTS; i++) re[i] = (double)(i * 37 % 101) / 101, im[i] = 0;
    for (; n > 0; n--) {
        transform(re, im, cosine, sine, 1);
        transform(re, im, cosine, sine, -1);
        for (size_t i = 0; i < POINTS; i++) re[i] /= POINTS, im[i] /= POINTS;
    }
    return re[1] + re[100] + im[7];
}

static double mandel(unsigned long n)
{
    double steps = 0;
    for (unsigned long i = 0; i < n; i++)
        for (unsigned long j = 0; j < n; j++) {
            double cr = 3.0 * (double)i / (double)n - 2, ci = 2.0 * (double)j / (double)n - 1,
                   x = 0, y = 0;
            int k = 0;
            for (; k < LIMIT && x * x + y * y < 4; k++) {
                double t = x * x - y * y + cr;
                y = 2 * x * y + ci, x = t;
            }
            steps += k;
        }
    return steps;
}

const struct float_work WORK = {matmul, nbody, fft, mandel};
