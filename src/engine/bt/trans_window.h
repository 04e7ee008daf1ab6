/* trans_window.h - 64-bit user code: RSP is the host address of the guest's stack (window.h).
 * Private to trans*.c; see trans_window.c. */
#ifndef ENGINE_BT_TRANS_WINDOW_H
#define ENGINE_BT_TRANS_WINDOW_H
#include "engine/bt/trans.h"
#include "engine/bt/window.h"

/** tr_window_operand - is the memory operand of the instruction at hand, RSP and a displacement, to
 * be accessed as it is? */
bool tr_window_operand(const struct trans *t);
/** tr_window_leaves - does the instruction at hand access the stack and leave T1 and T2 alone? */
bool tr_window_leaves(const struct trans *t);
/** tr_window_uses_rsp - does @i, at hand, of class COMPUTE, name RSP? */
bool tr_window_uses_rsp(const struct trans *t, const struct insn *i);
/** tr_window_compute - an instruction of class COMPUTE that names RSP. */
enum tr tr_window_compute(struct trans *t);
/** tr_window_rsp - @dst, a temporary, becomes the guest's RSP. */
void tr_window_rsp(struct trans *t, u8 dst);
/** tr_window_load - T1 = the operand accepted by tr_window_operand(). */
void tr_window_load(struct trans *t);
/** tr_window_is_loose - RSP may be too far from where it was accessed last for the block to end. */
bool tr_window_is_loose(const struct trans *t);

/* Rows that push and pop; their operands are 8 bytes. */
enum tr tr_window_push(struct trans *t);
enum tr tr_window_pop(struct trans *t);
enum tr tr_window_leave(struct trans *t);
void tr_window_push_next(struct trans *t); /* the address of the next instruction; T1 stays */
void tr_window_pop_t1(struct trans *t);    /* RET: T1 = the address, then its immediate */
void tr_window_push_t1(struct trans *t);
#endif
