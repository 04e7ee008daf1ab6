/* digest.h - guest code a block was made of, in eight bytes, to see later whether it is the same.
 *
 * The code's words of seven bytes are the coefficients of a polynomial, whose value modulo 2^61 - 1
 * at a secret point is the digest. Two different pieces of n words agree at n points at most, so
 * whoever does not know the point finds such a piece with a chance of n in 2^61 for each try. */
#ifndef ENGINE_BT_DIGEST_H
#define ENGINE_BT_DIGEST_H
#include <string.h>

#include "base/types.h"

enum { DIGEST_BITS = 61, DIGEST_WORD = 7 };
/** code_digest - that of @code[@bytes], compared with others of as many bytes; @point is below
 * 2^61 - 1. */
static inline u64 code_digest(const u8 *code, u32 bytes, u64 point)
{
    const u64 prime = BIT(DIGEST_BITS) - 1;
    u64 sum = 0;
    for (u32 at = 0; at < bytes; at += DIGEST_WORD) {
        u64 word = 0;
        memcpy(&word, code + at, bytes - at < DIGEST_WORD ? bytes - at : DIGEST_WORD);
        const unsigned __int128 product = (unsigned __int128)(sum + word) * point;
        sum = ((u64)product & prime) + (u64)(product >> DIGEST_BITS);
        if (sum >= prime) sum -= prime;
    }
    return sum;
}
#endif
