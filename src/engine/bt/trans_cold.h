/* trans_cold.h - the exits of a block that are taken rarely. Private to trans*.c. */
#ifndef ENGINE_BT_TRANS_COLD_H
#define ENGINE_BT_TRANS_COLD_H
#include "engine/bt/bt_internal.h"

/* Code placed after the block's hot part, jumped to from the rel32 at @site. */
enum cold_kind {
    COLD_LINK,   /* exit to the same page: @arg = offset of the target   */
    COLD_FAR,    /* jump to offset @arg from the page                     */
    COLD_JUMP,   /* exit to stubs.jump with T1 */
    COLD_STEP,   /* RCX is in TB: give it back, exit to stubs.step        */
    COLD_WINDOW, /* as COLD_STEP, but back to @back when T1 is a multiple of @arg */
    COLD_AHEAD,  /* RCX is in T2: give it back; T1 is @arg bytes ahead of a vector operand: when it
                    crosses no page T2 = its entry, and on at @back, else exit to stubs.step */
    COLD_FILL,   /* RCX is elsewhere: give it back, fill an entry, and again */
    COLD_AGAIN,  /* RCX is in T2: give it back, and again */
    COLD_LEAVE,  /* RCX is in T2: give it back, exit to stubs.step */
    COLD_X87,    /* RCX is in TB: give it back, load the x87 registers, go on at @back */
};
struct cold {
    u8 kind; /* enum cold_kind */
    u16 off; /* of the instruction in its page */
    u8 mark; /* of the instruction: where again is */
    u32 site, back;
    s64 arg;
};
enum { COLDS_MAX = 12 * BT_BLOCK_INSNS + 6 }; /* a form of an instruction has six at most */
enum { FILL_KEEP = 4, FILL_WRITE = 1 << 8 };  /* @arg of COLD_FILL: address | keeper << 4 | write */
#endif
