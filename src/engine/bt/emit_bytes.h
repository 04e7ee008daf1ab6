/* emit_bytes.h - where host instructions go, byte by byte or up to eight at a time. Writing past
 * the room is counted, not done: the caller compares n with room. */
#ifndef ENGINE_BT_EMIT_BYTES_H
#define ENGINE_BT_EMIT_BYTES_H
#include <string.h>

#include "isa/insn.h"

struct emit {
    u8 *at;
    u32 n, room; /* bytes written, bytes there are */
    bool plain;  /* for a host without BMI2: emit_bits.h */
    bool slow_pext;
};
static inline void em_byte(struct emit *e, u32 byte)
{
    if (e->n < e->room) e->at[e->n] = (u8)byte;
    e->n++;
}
static inline void em_bytes(struct emit *e, const void *bytes, u32 n)
{
    if (e->n + n <= e->room) memcpy(e->at + e->n, bytes, n);
    e->n += n;
}
static inline void em_u32(struct emit *e, u32 val) { em_bytes(e, &val, 4); }
/* An instruction of @n of the 15 bytes there. */
static inline void em_insn(struct emit *e, const u8 *bytes, u32 n)
{
    if (unlikely(e->n + INSN_BYTES_MAX > e->room)) {
        em_bytes(e, bytes, n);
        return;
    }
    memcpy(e->at + e->n, bytes, INSN_BYTES_MAX);
    e->n += n;
}

/* An instruction being made: its first bytes, the lowest the first, and how many they are. */
struct em_word {
    u64 bytes;
    u32 n;
};
static inline void em_add(struct em_word *w, u32 byte)
{
    w->bytes |= (u64)byte << 8 * w->n;
    w->n++;
}
static inline void em_put(struct emit *e, struct em_word w)
{
    if (likely(e->n + 8 <= e->room)) {
        memcpy(e->at + e->n, &w.bytes, 8);
        e->n += w.n;
    } else {
        em_bytes(e, &w.bytes, w.n);
    }
}
/* And four bytes behind them. */
static inline void em_put_disp(struct emit *e, struct em_word w, s32 disp)
{
    if (likely(e->n + 12 <= e->room)) {
        memcpy(e->at + e->n, &w.bytes, 8);
        memcpy(e->at + e->n + w.n, &disp, 4);
        e->n += w.n + 4;
    } else {
        em_bytes(e, &w.bytes, w.n);
        em_bytes(e, &disp, 4);
    }
}
#endif
