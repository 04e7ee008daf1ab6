/* trans_homed.h - guest R10, R11 and R15, which live in v->gpr[], in instructions without memory
 * operand. Private to trans*.c; see trans_homed.c. */
#ifndef ENGINE_BT_TRANS_HOMED_H
#define ENGINE_BT_TRANS_HOMED_H
#include "base/types.h"

struct trans;
struct compute;

/* What T1 and T2 hold between two instructions. */
struct hold {
    u8 reg;     /* a homed register; 0: none */
    bool dirty; /* it has changed: v->gpr[] has the old value */
};
struct holds {
    struct hold t1, t2;
};

/** tr_homed_settle - before the mark of the instruction at hand: what it may fault with is stored,
 * what it does not keep is forgotten. @left: it is left to the interpreter. */
void tr_homed_settle(struct trans *t, bool left);
/** tr_homed_is_direct - is the memory operand at hand one register and a displacement, and nothing
 * tests its table entry? Then T2 alone suffices for the access, and T1 holds what it held, but in
 * a second form (trans_group.c). */
bool tr_homed_is_direct(const struct trans *t);
/** tr_homed_in - where homed register @reg is: T1, T2 or REG_NONE. */
u8 tr_homed_in(const struct trans *t, u8 reg);
/** tr_homed_hold - @tmp, T1 or T2, holds @reg from now on; @dirty: it has changed. */
void tr_homed_hold(struct trans *t, u8 tmp, u8 reg, bool dirty);
/** tr_homed_store - store what has changed. Leaves the flags alone; nothing of it faults. */
void tr_homed_store(struct trans *t);
/** tr_homed_copy - the instruction at hand, of 64-bit code, which has no memory operand. False: its
 * homed registers are to be in the host's registers of the same numbers. */
bool tr_homed_copy(struct trans *t, const struct compute *c);
/** tr_homed_lea - the LEA at hand. False: it is of no plain form. */
bool tr_homed_lea(struct trans *t);
#endif
