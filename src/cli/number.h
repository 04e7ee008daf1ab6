/* cli/number.h - numbers as people type them, read strictly: the whole text or an error naming it.
 */
#ifndef CLI_NUMBER_H
#define CLI_NUMBER_H
#include "base/err.h"
#include "base/types.h"

struct number_range {
    u64 min, max;
};
/** number_u64 - a decimal number in @range. @what is named in the error (E_INVAL). */
int number_u64(const char *what, const char *text, struct number_range range, u64 *out,
               struct err *e) MUST_USE;
/**
 * number_size - an amount of memory in bytes: "512M", "2G", "2GiB"; K, M, G, T in either case,
 * powers of 1024; a bare number is in MiB. E_INVAL, naming @what: empty, negative, zero, a
 * fraction, an unknown suffix, more than 64 bits.
 */
int number_size(const char *what, const char *text, u64 *bytes, struct err *e) MUST_USE;
/** number_distance - how many letters must be changed, added or removed to make @b of @a
 * (Levenshtein); names up to 63 bytes. */
u32 number_distance(const char *a, const char *b);
#endif
