/* x_flow - near control flow: JMP, Jcc, CALL, RET, LOOP, JCXZ.
 * The target is truncated to the operand size (in 64-bit mode that is 64 whatever 66 says), then
 * checked against the code segment limit or for canonical form before anything changes. Spec: SDM
 * vol. 2A JMP, Jcc, CALL, LOOP; vol. 2B RET. */
#include "cpu/x_internal.h"
#include "isa/cond.h"

static inline u64 rel_target(const struct vcpu *v, const struct insn *i)
{
    u64 rip = v->rip + i->len + i->imm;
    return likely(i->opsize == 8) ? rip : i->opsize == 4 ? (u32)rip : (u16)rip;
}

static inline enum x_result jump_rel(struct vcpu *v, const struct insn *i)
{
    return unlikely(jump_to(v, rel_target(v, i))) ? X_FAULT : X_JUMP;
}

enum x_result x_jmp_rel(struct vcpu *v, const struct insn *i) { return jump_rel(v, i); }

enum x_result x_jcc(struct vcpu *v, const struct insn *i)
{
    return cond_holds(i->cc, v->rflags) ? jump_rel(v, i) : X_NEXT;
}

enum x_result x_jmp_rm(struct vcpu *v, const struct insn *i)
{
    u64 rip;
    if (rm_read(v, i, &rip, i->opsize)) return X_FAULT;
    return jump_to(v, rip) ? X_FAULT : X_JUMP;
}

/* Both the target and the push are checked before either takes effect. */
static inline enum x_result call_to(struct vcpu *v, const struct insn *i, u64 target)
{
    u64 old = v->rip, next = vcpu_next_rip(v, i);
    if (jump_to(v, target)) return X_FAULT;
    if (likely(!push_value(v, next, i->opsize))) return X_JUMP;
    v->rip = old;
    return X_FAULT;
}

enum x_result x_call_rel(struct vcpu *v, const struct insn *i)
{
    return call_to(v, i, rel_target(v, i));
}

enum x_result x_call_rm(struct vcpu *v, const struct insn *i)
{
    u64 rip;
    if (rm_read(v, i, &rip, i->opsize)) return X_FAULT;
    return call_to(v, i, rip);
}

/* The immediate of RET imm16 is bytes of arguments to release; 0 without one. */
enum x_result x_ret(struct vcpu *v, const struct insn *i)
{
    u64 rip;
    if (stack_top(v, &rip, i->opsize)) return X_FAULT;
    if (jump_to(v, rip)) return X_FAULT;
    stack_drop(v, i->opsize + (u16)i->imm);
    return X_JUMP;
}

enum x_result x_jcxz(struct vcpu *v, const struct insn *i)
{
    return gpr_read(v, RCX, i->addrsize) ? X_NEXT : jump_rel(v, i);
}

/* The counter's width is the address size; it changes only when the jump does not fault. */
static enum x_result loop_if(struct vcpu *v, const struct insn *i, bool cond)
{
    u64 count = (gpr_read(v, RCX, i->addrsize) - 1) & mask_bytes(i->addrsize);
    enum x_result r = count && cond ? jump_rel(v, i) : X_NEXT;
    if (r != X_FAULT) gpr_write(v, RCX, count, i->addrsize);
    return r;
}

enum x_result x_loop(struct vcpu *v, const struct insn *i) { return loop_if(v, i, true); }
enum x_result x_loope(struct vcpu *v, const struct insn *i)
{
    return loop_if(v, i, v->rflags & RFLAGS_ZF);
}
enum x_result x_loopne(struct vcpu *v, const struct insn *i)
{
    return loop_if(v, i, !(v->rflags & RFLAGS_ZF));
}
