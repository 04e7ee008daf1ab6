/* work.c - mixed compute work: sorting, hashing, CRC, integer and floating-point matrices, strings,
 * a byte-code loop (indirect branches), pointer chasing and recursion.  No tables from outside, no
 * library, no allocation; arrays total about 1.3 MiB so that both caches and TLB take part. */
#include "guest/bench/work.h"

enum { SORT_N = 60000, HASH_BYTES = 262144, MAT_N = 72, TEXT_BYTES = 131072, LIST_N = 32768 };

static uint32_t nums[SORT_N], crc_table[256];
static uint8_t bytes[HASH_BYTES], text[TEXT_BYTES];
static int32_t mat_a[MAT_N][MAT_N], mat_b[MAT_N][MAT_N], mat_c[MAT_N][MAT_N];
static double dbl_a[MAT_N][MAT_N], dbl_b[MAT_N][MAT_N], dbl_c[MAT_N][MAT_N];
static struct node {
    struct node *next;
    uint64_t val;
} list[LIST_N];
static uint32_t rng;

static uint32_t next_random(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 17;
    return rng ^= rng << 5;
}

static void quick_sort(uint32_t *a, int lo, int hi)
{
    while (lo < hi) {
        uint32_t pivot = a[lo + (hi - lo) / 2];
        int i = lo, j = hi;
        while (i <= j) {
            while (a[i] < pivot) i++;
            while (a[j] > pivot) j--;
            if (i > j) break;
            uint32_t t = a[i];
            a[i++] = a[j];
            a[j--] = t;
        }
        if (j - lo < hi - i) {
            quick_sort(a, lo, j);
            lo = i;
        } else {
            quick_sort(a, i, hi);
            hi = j;
        }
    }
}

static uint64_t work_sort(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < SORT_N; i++) nums[i] = next_random();
    quick_sort(nums, 0, SORT_N - 1);
    for (int i = 0; i < SORT_N; i++) sum = sum * 31 + nums[i];
    return sum;
}

static uint32_t rotl(uint32_t v, int n) { return v << n | v >> (32 - n); }

static uint64_t work_hash(void)
{
    uint32_t s[4] = {0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344};
    for (int i = 0; i < HASH_BYTES; i++) bytes[i] = (uint8_t)next_random();
    for (int i = 0; i + 16 <= HASH_BYTES; i += 16) {
        for (int k = 0; k < 4; k++) {
            uint32_t w = bytes[i + 4 * k] | bytes[i + 4 * k + 1] << 8 | bytes[i + 4 * k + 2] << 16 |
                         (uint32_t)bytes[i + 4 * k + 3] << 24;
            s[k] = rotl(s[k] ^ w, 7) + s[(k + 1) & 3] * 5;
        }
        for (int r = 0; r < 4; r++) {
            s[0] += s[1];
            s[3] = rotl(s[3] ^ s[0], 16);
            s[2] += s[3];
            s[1] = rotl(s[1] ^ s[2], 12);
        }
    }
    return ((uint64_t)s[0] << 32 | s[1]) ^ ((uint64_t)s[2] << 32 | s[3]);
}

static uint64_t work_crc(void)
{
    uint32_t crc = ~0u;
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xEDB88320u ^ c >> 1 : c >> 1;
        crc_table[i] = c;
    }
    for (int i = 0; i < HASH_BYTES; i++) crc = crc_table[(crc ^ bytes[i]) & 255] ^ crc >> 8;
    return ~crc;
}

static uint64_t work_matrix(void)
{
    uint64_t sum = 0;
    for (int i = 0; i < MAT_N; i++)
        for (int j = 0; j < MAT_N; j++) {
            mat_a[i][j] = (int32_t)(next_random() & 0xFFF);
            mat_b[i][j] = (int32_t)(next_random() & 0xFFF);
            dbl_a[i][j] = mat_a[i][j] * 0.125;
            dbl_b[i][j] = mat_b[i][j] * 0.25;
        }
    for (int i = 0; i < MAT_N; i++)
        for (int j = 0; j < MAT_N; j++) {
            int32_t acc = 0;
            double d = 0;
            for (int k = 0; k < MAT_N; k++) {
                acc += mat_a[i][k] * mat_b[k][j];
                d += dbl_a[i][k] * dbl_b[k][j];
            }
            mat_c[i][j] = acc;
            dbl_c[i][j] = d;
        }
    for (int i = 0; i < MAT_N; i++)
        for (int j = 0; j < MAT_N; j++)
            sum = sum * 33 + (uint32_t)mat_c[i][j] + (uint64_t)(int64_t)dbl_c[i][j];
    return sum;
}

static uint64_t work_text(void)
{
    uint64_t words = 0, longest = 0, len = 0, hash = 5381;
    for (int i = 0; i < TEXT_BYTES; i++) {
        uint32_t r = next_random();
        text[i] = (uint8_t)(r % 6 == 0 ? ' ' : 'a' + (r >> 8) % 26);
    }
    for (int i = 0; i < TEXT_BYTES; i++) {
        uint8_t c = text[i];
        if (c == ' ') {
            words += len != 0;
            if (len > longest) longest = len;
            len = 0;
            continue;
        }
        len++;
        text[i] = (uint8_t)(c >= 'n' ? c - 13 : c + 13);
        hash = hash * 33 ^ text[i];
    }
    __builtin_memcpy(bytes, text, TEXT_BYTES);
    for (int i = 0, j = TEXT_BYTES - 1; i < j; i++, j--) {
        uint8_t t = bytes[i];
        bytes[i] = bytes[j];
        bytes[j] = t;
    }
    return hash + words * 7 + longest + bytes[17];
}

static uint64_t work_bytecode(void)
{
    enum { ADD, SUB, XOR, ROT, MUL, LOAD, STORE, SKIP, OPS };
    static uint8_t code[4096];
    uint64_t r[8] = {1, 2, 3, 4, 5, 6, 7, 8}, mem[64] = {0};
    for (int i = 0; i < 4096; i++) code[i] = (uint8_t)next_random();
    for (int rep = 0; rep < 60; rep++)
        for (int pc = 0; pc + 1 < 4096; pc++) {
            uint64_t *d = &r[code[pc] >> 3 & 7], s = r[code[pc + 1] & 7];
            switch (code[pc] % OPS) {
            case ADD: *d += s; break;
            case SUB: *d -= s; break;
            case XOR: *d ^= s; break;
            case ROT: *d = *d << 9 | *d >> 55; break;
            case MUL: *d *= s | 1; break;
            case LOAD: *d = mem[s & 63]; break;
            case STORE: mem[s & 63] = *d; break;
            case SKIP: pc += *d & 1; break;
            }
        }
    for (int i = 1; i < 8; i++) r[0] = r[0] * 31 + r[i];
    return r[0];
}

static uint64_t work_list(void)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < LIST_N; i++) {
        list[i].next = &list[(i * 12345u + 6789u) % LIST_N];
        list[i].val = next_random();
    }
    struct node *n = list;
    for (int i = 0; i < 6 * LIST_N; i++, n = n->next) sum += n->val ^ (uint64_t)i;
    return sum;
}

__attribute__((noinline)) static uint32_t fib(uint32_t n)
{
    __asm__ volatile("");
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

uint64_t bench_round(uint32_t seed)
{
    rng = seed * 2654435761u | 1;
    uint64_t sum = work_sort();
    sum = sum * 31 + work_hash();
    sum = sum * 31 + work_crc();
    sum = sum * 31 + work_matrix();
    sum = sum * 31 + work_text();
    sum = sum * 31 + work_bytecode();
    sum = sum * 31 + work_list();
    return sum * 31 + fib(24);
}
