/* hints.h - what is known about the instructions of a page, by byte offset, from earlier
 * executions. Owner: the code cache (code_hints, code_hints_make). */
#ifndef ENGINE_BT_HINTS_H
#define ENGINE_BT_HINTS_H
#include "base/types.h"

enum { HINT_BYTES = PAGE_BYTES / 8 };
struct bt_hints {
    u8 checked[HINT_BYTES]; /* may cross a page: translate with the explicit test */
    u8 stepped[HINT_BYTES]; /* keeps faulting (MMIO, traced page): leave it to the interpreter */
    u8 tested[HINT_BYTES];  /* entries are missing often: translate with a test (fill.c) */
    u8 hot[HINT_BYTES];     /* blocks that begin here run often (hot.c) */
    u32 tests;              /* how often a bit was set in tested */
};
/** bt_hint - is page offset @off in @bits, one of the maps? bt_hint_set - from now on it is. */
static inline bool bt_hint(const u8 *bits, u32 off) { return bits[off / 8] >> (off % 8) & 1; }
static inline void bt_hint_set(u8 *bits, u32 off) { bits[off / 8] |= (u8)(1u << (off % 8)); }
static inline void bt_hint_clear(u8 *bits, u32 off) { bits[off / 8] &= (u8) ~(1u << (off % 8)); }
#endif
