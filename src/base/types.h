/* base/types.h - the integer and address names every file uses, and the few helpers on them. */
#ifndef BASE_TYPES_H
#define BASE_TYPES_H
#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;
typedef unsigned __int128 u128;

typedef u64 gva_t; /* guest-virtual (linear) address  */
typedef u64 gpa_t; /* guest-physical address          */
typedef u8 *hva_t; /* address in this process         */

enum { PAGE_SHIFT = 12, PAGE_BYTES = 1 << PAGE_SHIFT };
#define PAGE_MASK (~(u64)(PAGE_BYTES - 1))
#define KIB(n) ((u64)(n) << 10)
#define MIB(n) ((u64)(n) << 20)
#define GIB(n) ((u64)(n) << 30)
#define NS_PER_S 1000000000ull
#define MS_TO_NS(ms) ((ms) * (u64)1000000)
#define US_TO_NS(us) ((us) * (u64)1000)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n) (1ull << (n))
#define MUST_USE __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define container_of(ptr, type, member) ((type *)(((char *)(ptr)) - offsetof(type, member)))

static inline u64 min_u64(u64 a, u64 b) { return a < b ? a : b; }
static inline u64 max_u64(u64 a, u64 b) { return a > b ? a : b; }
static inline u64 align_up(u64 v, u64 pow2) { return (v + pow2 - 1) & ~(pow2 - 1); }
static inline u64 align_down(u64 v, u64 pow2) { return v & ~(pow2 - 1); }
/* bits [hi:lo] of @v */
static inline u64 bits(u64 v, unsigned hi, unsigned lo)
{
    return (v >> lo) & (hi - lo == 63 ? ~0ull : (1ull << (hi - lo + 1)) - 1);
}
/* all-ones in the low @bytes bytes, 1..8 */
static inline u64 mask_bytes(unsigned bytes)
{
    return bytes >= 8 ? ~0ull : (1ull << (bytes * 8)) - 1;
}
/* sign-extend the low @bytes bytes of @v, 1..8 */
static inline u64 sign_extend(u64 v, unsigned bytes)
{
    unsigned shift = 64 - bytes * 8;
    return (u64)((s64)(v << shift) >> shift);
}
#endif
