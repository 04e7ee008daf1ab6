/* cpu/seg.h - segmentation: effective to linear addresses, descriptor loads, far transfers' common
 * parts. Spec: SDM vol. 3A chapters 3 and 5. */
#ifndef CPU_SEG_H
#define CPU_SEG_H
#include "cpu/access.h"
#include "cpu/vcpu.h"

/* Slow checks: limits, expand-down, types, canonical form. Returns 0 and *lin, or X_FAULT (#SS for
 * SS, else #GP, error 0). */
int seg_linear_slow(struct vcpu *v, u8 seg, u64 off, u32 bytes, u8 rw, gva_t *lin);

static inline bool is_canonical(const struct vcpu *v, u64 a)
{
    unsigned shift = v->cr4 & CR4_LA57 ? 7 : 16;
    return (u64)((s64)(a << shift) >> shift) == a;
}
/* Linear address of [off, off+bytes) in @seg for the access @rw (OPND_R/OPND_W). */
static inline int seg_linear(struct vcpu *v, u8 seg, u64 off, u32 bytes, u8 rw, gva_t *lin)
{
    if (likely(v->mode == ISA_64)) {
        u64 a = seg >= FS ? off + v->seg[seg].base : off;
        /* lower half fast; everything else through the slow check (upper half is common too: test
         * the sign run) */
        if (likely((u64)(((s64)a >> 47) + 1) <= 1 && (a & ~PAGE_MASK) + bytes <= PAGE_BYTES)) {
            *lin = a;
            return 0;
        }
    }
    return seg_linear_slow(v, seg, off, bytes, rw, lin);
}
/* Effective address of the instruction's memory operand, truncated to its address size. @v->rip is
 * the instruction's. */
static inline u64 insn_ea(const struct vcpu *v, const struct insn *i)
{
    u64 a = (u64)i->disp;
    if (i->base < GPRS) a += v->gpr[i->base];
    else if (i->base == BASE_RIP) a += v->rip + i->len;
    if (i->index < GPRS) a += v->gpr[i->index] << i->scale;
    return i->addrsize == 8 ? a : i->addrsize == 4 ? (u32)a : (u16)a;
}
/* Linear address of the memory operand for its own access kind and size. */
static inline int insn_linear(struct vcpu *v, const struct insn *i, gva_t *lin)
{
    return seg_linear(v, i->seg, insn_ea(v, i), i->mem_bytes, i->mem_rw, lin);
}

/** seg_load - MOV/POP/LxS to a data or stack segment register, every check of SDM vol. 2B MOV.
 * Returns 0 or X_FAULT. */
int seg_load(struct vcpu *v, enum seg_id seg, u16 sel);
/** seg_set_real - real-mode / virtual-8086 load: base = sel << 4. */
void seg_set_real(struct vcpu *v, enum seg_id seg, u16 sel);
/** seg_read_desc - the 8 bytes (16 for system descriptors in long mode: @wide) of @sel. #GP(sel) or
 * @vec(sel) outside the table. */
int seg_read_desc(struct vcpu *v, u16 sel, u8 vec, u64 desc[2], bool wide);
/** seg_from_desc - hidden part from descriptor bytes. */
void seg_from_desc(struct seg *s, u16 sel, u64 desc);
/** seg_set_rip - near transfer target check: limit (#GP) or canonical (#GP), then RIP. */
int seg_set_rip(struct vcpu *v, u64 rip);
/* Stack access at the current SS/stack size: push and pop @bytes; RSP changes on success only. */
int stack_push(struct vcpu *v, u64 val, u32 bytes);
int stack_pop(struct vcpu *v, u64 *val, u32 bytes);
int stack_peek(struct vcpu *v, u64 depth_bytes, u64 *val, u32 bytes);
u32 stack_bits(const struct vcpu *v); /* 16, 32, 64: width of the stack pointer */
void stack_add(struct vcpu *v, s64 delta_bytes);
#endif
