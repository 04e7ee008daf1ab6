/* number - strict reading of numbers: see number.h. */
#include "cli/number.h"

#include <string.h>

/* Digits of @text into @out; returns where they end, NULL when there are none or they do not fit.
 */
static const char *digits(const char *text, u64 *out)
{
    u64 n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, (u64)(*p - '0'), &n))
            return NULL;
    }
    *out = n;
    return p == text ? NULL : p;
}

int number_u64(const char *what, const char *text, struct number_range range, u64 *out,
               struct err *e)
{
    const char *end = digits(text, out);
    if (end && !*end && *out >= range.min && *out <= range.max) return 0;
    return err_set(e, E_INVAL, "%s '%s': must be a number from %llu to %llu", what, text,
                   (unsigned long long)range.min, (unsigned long long)range.max);
}

/* Power of two of a size suffix, -1 when it is none. */
static int suffix_shift(const char *s)
{
    static const char letters[] = "kmgt";
    if (!*s) return 20;
    const char *at = strchr(letters, *s | 0x20);
    if (!at) return -1;
    bool plain = !s[1] || !strcmp(s + 1, "B") || !strcmp(s + 1, "iB");
    return plain ? (int)(at - letters + 1) * 10 : -1;
}

int number_size(const char *what, const char *text, u64 *bytes, struct err *e)
{
    u64 n;
    const char *end = digits(text, &n);
    int shift = end ? suffix_shift(end) : -1;
    if (*text == '-') return err_set(e, E_INVAL, "%s '%s': is negative", what, text);
    if (*text >= '0' && *text <= '9' && !end)
        return err_set(e, E_INVAL, "%s '%s': is too large", what, text);
    if (shift < 0)
        return err_set(e, E_INVAL, "%s '%s': must be a size like 512M or 2G", what, text);
    if (n == 0) return err_set(e, E_INVAL, "%s '%s': is zero", what, text);
    if (n > UINT64_MAX >> shift) return err_set(e, E_INVAL, "%s '%s': is too large", what, text);
    *bytes = n << shift;
    return 0;
}

u32 number_distance(const char *a, const char *b)
{
    enum { NAME_MAX_BYTES = 63 };
    u32 row[NAME_MAX_BYTES + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > NAME_MAX_BYTES || lb > NAME_MAX_BYTES) return UINT32_MAX;
    for (u32 j = 0; j <= lb; j++) row[j] = j;
    for (u32 i = 1; i <= la; i++) {
        u32 diagonal = row[0];
        row[0] = i;
        for (u32 j = 1; j <= lb; j++) {
            u32 above = row[j];
            u32 best = (u32)min_u64(above, row[j - 1]) + 1;
            row[j] = (u32)min_u64(best, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[lb];
}
