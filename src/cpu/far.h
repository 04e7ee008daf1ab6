/* cpu/far.h - parts shared by far transfers, exception delivery, IRET and task switches (private to
 * cpu/). Functions returning int give 0, or X_FAULT with v->exc filled and no register changed.
 * Spec: SDM vol. 3A chapters 5, 6 and 8. */
#ifndef CPU_FAR_H
#define CPU_FAR_H
#include "cpu/seg.h"

/* Descriptor bits in their 8-byte form. */
#define DESC_ACCESSED BIT(40)
#define DESC_BUSY BIT(41)
/* System descriptor types (table 3-2); the 32-bit names are the 64-bit ones in long mode. */
enum sys_type {
    SYS_TSS16 = 1,
    SYS_LDT = 2,
    SYS_TSS16_BUSY = 3,
    SYS_CALL16 = 4,
    SYS_TASK_GATE = 5,
    SYS_INT16 = 6,
    SYS_TRAP16 = 7,
    SYS_TSS32 = 9,
    SYS_TSS32_BUSY = 11,
    SYS_CALL32 = 12,
    SYS_INT32 = 14,
    SYS_TRAP32 = 15,
};

static inline u8 seg_dpl(const struct seg *s) { return (s->attr >> SEG_DPL_SHIFT) & 3; }
static inline bool seg_is_code(const struct seg *s)
{
    return (s->attr & (SEG_S | SEG_CODE)) == (SEG_S | SEG_CODE);
}
static inline bool seg_is_conforming(const struct seg *s)
{
    return (s->attr & (SEG_S | SEG_CODE | SEG_C)) == (SEG_S | SEG_CODE | SEG_C);
}
/* System descriptor type, or 0 (reserved) for code and data. */
static inline u8 seg_sys_type(const struct seg *s)
{
    return s->attr & SEG_S ? 0 : s->attr & SEG_TYPE;
}

bool seg_in_limit(const struct seg *s, u64 off, u32 bytes);
/* As seg_read_desc, but a null selector or one outside its table only gives *found = false. */
int seg_try_desc(struct vcpu *v, u16 sel, u64 *desc, bool *found);
/* Rewrite the type byte of @sel's descriptor in memory (accessed, busy); *desc follows on success.
 */
int seg_write_desc_type(struct vcpu *v, u16 sel, u64 *desc, u64 new_desc);
int seg_set_accessed(struct vcpu *v, u16 sel, u64 *desc);
void seg_set_null(struct vcpu *v, enum seg_id seg, u16 sel);
/* Descriptor for SS at privilege @cpl: writable data, RPL = DPL = @cpl, else @vec(sel); not
 * present: #SS(sel). */
int seg_check_stack(struct vcpu *v, u16 sel, u8 cpl, u8 vec, struct seg *out);
/* Descriptor for a data segment register at the current CPL; wrong: @vec(sel); not present:
 * #NP(sel). */
int seg_check_data(struct vcpu *v, u16 sel, u8 vec, struct seg *out);
u64 stack_mask(const struct vcpu *v);
void stack_set(struct vcpu *v, u64 sp);

/* ---- far.c ---- */
/* Code segment target of a transfer, found but not yet loaded. */
struct far_target {
    struct seg cs;
    u64 desc; /* its descriptor, for the accessed bit */
    u64 rip;
    u8 cpl; /* privilege it runs at */
};
/* Is @rip a place @cs can execute at: canonical in 64-bit code, within the limit otherwise? Else
 * #GP(0). */
int far_check_rip(struct vcpu *v, const struct seg *cs, u64 rip);
/* Read @sel as a code segment: null is #GP(0), no code segment or (long mode) L and D both set is
 * #GP(sel). No privilege or presence checks. */
int far_read_code(struct vcpu *v, u16 sel, struct far_target *t);
/* The checks of RET and IRET on the code segment @sel they return to; t->cpl becomes its RPL. */
int far_return_code(struct vcpu *v, u16 sel, u64 rip, struct far_target *t);
/* ... and on the stack segment; null is fine below privilege 3 in 64-bit code. */
int far_return_stack(struct vcpu *v, u16 sel, const struct far_target *t, struct seg *ss);
/* Make @t current: CS with RPL = cpl, CPL, RIP. Derived fields are the caller's to refresh
 * (vcpu_cs_changed). */
void far_commit(struct vcpu *v, const struct far_target *t);
/* Enter privilege @cpl for memory accesses; returns the old one. */
u8 far_set_cpl(struct vcpu *v, u8 cpl);

/* A stack that is not (yet) the current one. */
struct far_stack {
    struct seg ss;
    u64 sp;   /* whole register; only the bits of mask move */
    u64 mask; /* 0xFFFF, 0xFFFFFFFF or all ones               */
    u32 err;  /* selector in #SS when a push does not fit: 0 for the current stack */
    u8 cpl;
    bool long_mode; /* 64-bit stack: no segment, canonical addresses only */
};
enum { FAR_SLOTS_MAX = 48 };
/* Write @n elements of @bytes each, slot[0] at the lowest address, as privilege st->cpl, and move
 * st->sp down. Outside the segment: #SS(st->err). */
int far_push(struct vcpu *v, struct far_stack *st, const u64 *slot, u32 n, u32 bytes);
/* The current stack as a far_stack. */
void far_stack_current(const struct vcpu *v, struct far_stack *st);
/* Inner stack for @cpl from the TSS (not 64-bit), with every #TS and #SS check; sp and ss filled.
 */
int far_stack_tss(struct vcpu *v, u8 cpl, struct far_stack *st);
/* RSP0-2 (@slot 0..2) or IST1-7 (@slot 3 + ist, 4..10) from the 64-bit TSS. */
int far_stack_tss64(struct vcpu *v, u32 slot, u64 *rsp);
/* After moving to a less privileged level: null DS, ES, FS, GS that it may not see; null selectors
 * become 0. */
void far_drop_segments(struct vcpu *v);
#endif
