/* x_iret - IRET in every mode, and the software interrupts. Spec: SDM vol. 2A IRET, INT n; vol.
 * 3A 6.7.1; vol. 3B 21.3.2. */
#include "cpu/exc.h"
#include "cpu/far.h"
#include "cpu/insn_exec.h"
#include "cpu/task.h"
#include "cpu/vcpu_mode.h"

enum { /* what any IRET may load; the rest depends on privilege and operand size */
       FLAGS_ALWAYS = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT,
       FLAGS_WIDE = RFLAGS_RF | RFLAGS_AC | RFLAGS_ID, /* not with a 16-bit operand size */
};

/* RF only keeps the next instruction's own breakpoint quiet. While none is enabled it is dropped at
 * once, so that engines need not clear it after that instruction. */
static void load_flags(struct vcpu *v, u64 image, u64 mask)
{
    v->rflags = (v->rflags & ~mask) | (image & mask);
    if (!(v->dr7 & 0xFF)) v->rflags &= ~(u64)RFLAGS_RF;
}

/* Flags that IRET from protected mode may change, at the privilege it executes at. */
static u64 flags_mask(const struct vcpu *v, u8 opsize)
{
    u64 mask = FLAGS_ALWAYS;
    if (opsize > 2) mask |= FLAGS_WIDE;
    if (v->cpl <= bits(v->rflags, 13, 12)) mask |= RFLAGS_IF;
    if (v->cpl == 0) mask |= opsize > 2 ? RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP : RFLAGS_IOPL;
    return mask;
}

/* @n elements of @bytes from the top of the stack, which stays. */
static int peek_frame(struct vcpu *v, u64 *f, u32 n, u32 bytes)
{
    gva_t lin;
    if (likely(v->mode == ISA_64 && bytes == 8)) {
        if (seg_linear(v, SS, v->gpr[RSP], n * 8, OPND_R, &lin)) return X_FAULT;
        return vcpu_read(v, lin, f, n * 8);
    }
    for (u32 k = 0; k < n; k++) {
        if (stack_peek(v, (u64)k * bytes, &f[k], bytes)) return X_FAULT;
    }
    return 0;
}

static enum x_result finish(struct vcpu *v)
{
    vcpu_cs_changed(v);
    vcpu_update_step(v);
    return X_JUMP;
}

/* ---- real and virtual-8086 mode -------------------------------------------------------------- */

enum { REAL_FLAGS32 = 0x257FD5 }; /* SDM vol. 2A IRET */

static enum x_result iret_real(struct vcpu *v, const struct insn *i)
{
    u64 f[3];
    if (peek_frame(v, f, 3, i->opsize)) return X_FAULT;
    if (f[0] > v->seg[CS].limit) return vcpu_raise_err(v, EXC_GP, 0);
    stack_add(v, 3 * i->opsize);
    seg_set_real(v, CS, (u16)f[1]);
    v->rip = f[0];
    load_flags(v, f[2], i->opsize == 2 ? 0x7FD5 : REAL_FLAGS32);
    return finish(v);
}

static enum x_result iret_v86(struct vcpu *v, const struct insn *i)
{
    u64 f[3], mask = FLAGS_ALWAYS | RFLAGS_IF;
    bool iopl3 = (v->rflags & RFLAGS_IOPL) == RFLAGS_IOPL;
    bool vme = v->cr4 & CR4_VME && i->opsize == 2;
    if (!iopl3 && !vme) return vcpu_raise_err(v, EXC_GP, 0);
    if (peek_frame(v, f, 3, i->opsize)) return X_FAULT;
    if (!iopl3) { /* the program's IF is VIF */
        if (f[2] & RFLAGS_TF || (f[2] & RFLAGS_IF && v->rflags & RFLAGS_VIP))
            return vcpu_raise_err(v, EXC_GP, 0);
        mask = (mask & ~(u64)RFLAGS_IF) | RFLAGS_VIF;
        f[2] = f[2] & RFLAGS_IF ? f[2] | RFLAGS_VIF : f[2] & ~(u64)RFLAGS_VIF;
    } else if (i->opsize > 2) {
        mask |= FLAGS_WIDE;
    }
    if (f[0] > v->seg[CS].limit) return vcpu_raise_err(v, EXC_GP, 0);
    stack_add(v, 3 * i->opsize);
    seg_set_real(v, CS, (u16)f[1]);
    v->rip = f[0];
    load_flags(v, f[2], mask);
    return finish(v);
}

/* From privilege 0 with VM set in the image: EIP CS EFLAGS ESP SS ES DS FS GS. */
static enum x_result return_to_v86(struct vcpu *v, const struct insn *i)
{
    u64 f[9];
    if (peek_frame(v, f, 9, 4)) return X_FAULT;
    if (f[0] > 0xFFFF) return vcpu_raise_err(v, EXC_GP, 0);
    load_flags(v, f[2], flags_mask(v, i->opsize) | RFLAGS_VM);
    v->cpl = 3;
    v->rip = f[0];
    seg_set_real(v, CS, (u16)f[1]);
    v->gpr[RSP] = f[3];
    seg_set_real(v, SS, (u16)f[4]);
    seg_set_real(v, ES, (u16)f[5]);
    seg_set_real(v, DS, (u16)f[6]);
    seg_set_real(v, FS, (u16)f[7]);
    seg_set_real(v, GS, (u16)f[8]);
    vcpu_mode_changed(v);
    return finish(v);
}

/* ---- protected and 64-bit mode --------------------------------------------------------------- */

static enum x_result iret_protected(struct vcpu *v, const struct insn *i)
{
    u64 f[5], next = vcpu_next_rip(v, i);
    struct far_target t;
    struct seg ss = v->seg[SS];
    bool stack = v->mode == ISA_64; /* 64-bit code always pops SS:RSP */
    if (v->rflags & RFLAGS_NT) {
        if (vcpu_is_long(v)) return vcpu_raise_err(v, EXC_GP, 0);
        return task_return(v, next) ? X_FAULT : X_JUMP;
    }
    if (peek_frame(v, f, stack ? 5 : 3, i->opsize)) return X_FAULT;
    if (f[2] & RFLAGS_VM && v->cpl == 0 && i->opsize == 4 && !vcpu_is_long(v))
        return return_to_v86(v, i);
    if (far_return_code(v, (u16)f[1], f[0], &t)) return X_FAULT;
    if (!stack && t.cpl > v->cpl) {
        stack = true;
        if (peek_frame(v, f, 5, i->opsize)) return X_FAULT;
    }
    if (stack && far_return_stack(v, (u16)f[4], &t, &ss)) return X_FAULT;
    if (far_check_rip(v, &t.cs, t.rip)) return X_FAULT;
    bool outer = t.cpl > v->cpl;
    load_flags(v, f[2], flags_mask(v, i->opsize));
    if (!stack) stack_add(v, 3 * i->opsize);
    far_commit(v, &t);
    v->seg[SS] = ss;
    if (outer) far_drop_segments(v);
    vcpu_cs_changed(v);
    if (stack) stack_set(v, f[3]);
    vcpu_update_step(v);
    return X_JUMP;
}

enum x_result x_iret(struct vcpu *v, const struct insn *i)
{
    v->nmi_masked = false; /* even when it faults (SDM vol. 3A section 6.7.1) */
    if (vcpu_is_protected(v)) return iret_protected(v, i);
    return v->rflags & RFLAGS_VM ? iret_v86(v, i) : iret_real(v, i);
}

/* ---- software interrupts --------------------------------------------------------------------- */

enum x_result x_int(struct vcpu *v, const struct insn *i)
{
    return exc_soft_int(v, (u8)i->imm, EV_SOFT_INT, vcpu_next_rip(v, i));
}

enum x_result x_int3(struct vcpu *v, const struct insn *i)
{
    return exc_soft_int(v, EXC_BP, EV_SOFT_EXC, vcpu_next_rip(v, i));
}

/* INT1: the processor's own debug trap, so neither gate DPL nor IOPL count. */
enum x_result x_int1(struct vcpu *v, const struct insn *i)
{
    return exc_soft_int(v, EXC_DB, EV_TRAP, vcpu_next_rip(v, i));
}

enum x_result x_into(struct vcpu *v, const struct insn *i)
{
    if (!(v->rflags & RFLAGS_OF)) return X_NEXT;
    return exc_soft_int(v, EXC_OF, EV_SOFT_EXC, vcpu_next_rip(v, i));
}
