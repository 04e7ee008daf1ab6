/* engine/common/thunk_plan.h - what a thunk has to load, run and store: the facts about one
 * instruction that thunk.c turns into code. Private to thunk.c and thunk_plan.c. */
#ifndef ENGINE_COMMON_THUNK_PLAN_H
#define ENGINE_COMMON_THUNK_PLAN_H
#include <Zydis/Zydis.h>

#include "engine/common/native_internal.h"
#include "isa/respell.h"

enum { R_V = 7 /* RDI: the vCPU */, R_MEM = 6 /* RSI: the memory operand */ };
enum vec_use { VEC_NONE, VEC_SSE, VEC_VEX, VEC_EVEX };

struct thunk_plan {
    ZydisDecodedInstruction zi;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    const ZydisDecodedOperand *mem;
    struct respell_map map;
    u32 gpr_used, gpr_written;      /* guest numbers */
    u32 implicit, implicit_written; /* guest numbers that must not move */
    u32 vec_used, vec_written;
    u8 k_used, k_written;
    u8 bt_reg; /* bt_mem: the guest register with the bit offset */
    u8 vec;    /* enum vec_use */
    bool high, x87, mxcsr, bt_mem;
    u32 flags_in; /* arithmetic flags to load */
    bool flags_out;
};

/** thunk_plan_make - fill @p for @i. False when the instruction must not run on the host: it
 * touches more than registers, arithmetic flags and one plain memory operand, or belongs to an
 * instruction set that is not offered. */
bool thunk_plan_make(struct thunk_plan *p, const struct insn *i);
/** thunk_plan_describe - the facts the caller of the thunk needs; @insn is the respelled
 * instruction, @len bytes. */
void thunk_plan_describe(struct native_thunk *m, const struct thunk_plan *p, const u8 *insn,
                         u32 len);
#endif
