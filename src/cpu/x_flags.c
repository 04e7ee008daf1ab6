/* x_flags - the flags programs may not change freely: PUSHF, POPF, CLI, STI, and CLD, STD, CLAC,
 * STAC. Spec: SDM vol. 2A CLAC, CLI; vol. 2B POPF, PUSHF, STAC, STI; vol. 3B section 21.3
 * (virtual-8086 extensions). */
#include "cpu/vcpu_mode.h"
#include "cpu/x_internal.h"

static inline unsigned iopl(const struct vcpu *v) { return v->rflags >> 12 & 3; }
static inline bool in_v86(const struct vcpu *v) { return (v->rflags & RFLAGS_VM) != 0; }

/* Replace RFLAGS and bring up to date what depends on it. */
static void set_rflags(struct vcpu *v, u64 new_flags)
{
    u64 changed = v->rflags ^ new_flags;
    v->rflags = new_flags;
    if (changed & RFLAGS_AC) vcpu_cs_changed(v);
    if (changed & RFLAGS_TF) vcpu_update_step(v);
    if (changed & new_flags & RFLAGS_IF &&
        atomic_load_explicit(&v->intr_line, memory_order_relaxed)) {
        vcpu_attention(v, ATT_KICK);
    }
}

/* In virtual-8086 mode below IOPL 3, VIF stands in for IF, in 16-bit images and with CR4.VME only.
 */
enum x_result x_pushf(struct vcpu *v, const struct insn *i)
{
    u64 image = v->rflags & ~(u64)(RFLAGS_VM | RFLAGS_RF);
    if (in_v86(v) && iopl(v) < 3) {
        if (!(v->cr4 & CR4_VME) || i->stack_bytes != 2) return vcpu_raise_err(v, EXC_GP, 0);
        image = (image & ~(u64)RFLAGS_IF) | RFLAGS_IOPL;
        if (v->rflags & RFLAGS_VIF) image |= RFLAGS_IF;
    }
    return push_value(v, image, i->stack_bytes) ? X_FAULT : X_NEXT;
}

/* Flags POPF may change here; 0 when it is the virtual-8086 extension's business or forbidden. */
static u64 popf_mask(const struct vcpu *v, u32 bytes)
{
    u64 mask = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;
    if (bytes > 2) mask |= RFLAGS_AC | RFLAGS_ID;
    if (in_v86(v)) return iopl(v) == 3 ? mask | RFLAGS_IF : 0;
    if (v->cpl == 0) mask |= RFLAGS_IOPL;
    if (v->cpl <= iopl(v)) mask |= RFLAGS_IF;
    return mask;
}

/* The 16-bit POPF of a virtual-8086 program below IOPL 3. */
static enum x_result popf_vme(struct vcpu *v, const struct insn *i, u64 image)
{
    u64 mask = RFLAGS_ARITH | RFLAGS_DF | RFLAGS_NT | RFLAGS_VIF;
    bool wants_if = image & RFLAGS_IF;
    if (!(v->cr4 & CR4_VME) || i->stack_bytes != 2 || image & RFLAGS_TF ||
        (wants_if && v->rflags & RFLAGS_VIP)) {
        return vcpu_raise_err(v, EXC_GP, 0);
    }
    image = (image & ~(u64)RFLAGS_VIF) | (wants_if ? RFLAGS_VIF : 0);
    stack_drop(v, i->stack_bytes);
    set_rflags(v, (v->rflags & ~(mask | RFLAGS_RF | RFLAGS_TF)) | (image & mask));
    return X_NEXT;
}

enum x_result x_popf(struct vcpu *v, const struct insn *i)
{
    u64 image, mask = popf_mask(v, i->stack_bytes);
    if (!mask && (!(v->cr4 & CR4_VME) || i->stack_bytes != 2)) return vcpu_raise_err(v, EXC_GP, 0);
    if (stack_top(v, &image, i->stack_bytes)) return X_FAULT;
    if (!mask) return popf_vme(v, i, image);
    stack_drop(v, i->stack_bytes);
    set_rflags(v, (v->rflags & ~(mask | RFLAGS_RF)) | (image & mask));
    return X_NEXT;
}

/* Which flag CLI and STI change: IF, VIF, or none (#GP). */
static u64 interrupt_flag(const struct vcpu *v)
{
    if (in_v86(v)) return iopl(v) == 3 ? RFLAGS_IF : v->cr4 & CR4_VME ? RFLAGS_VIF : 0;
    if (v->cpl <= iopl(v)) return RFLAGS_IF; /* real mode: CPL is 0 */
    return v->cpl == 3 && v->cr4 & CR4_PVI ? RFLAGS_VIF : 0;
}

enum x_result x_cli(struct vcpu *v, const struct insn *i)
{
    u64 flag = interrupt_flag(v);
    (void)i;
    if (!flag) return vcpu_raise_err(v, EXC_GP, 0);
    v->rflags &= ~flag;
    return X_NEXT;
}

/* Interrupts stay away for one more instruction when IF was clear. */
enum x_result x_sti(struct vcpu *v, const struct insn *i)
{
    u64 flag = interrupt_flag(v);
    (void)i;
    if (!flag || (flag == RFLAGS_VIF && v->rflags & RFLAGS_VIP))
        return vcpu_raise_err(v, EXC_GP, 0);
    if (flag == RFLAGS_IF && !(v->rflags & RFLAGS_IF)) {
        v->shadow |= SHADOW_STI;
        vcpu_update_step(v);
    }
    set_rflags(v, v->rflags | flag);
    return X_NEXT;
}

enum x_result x_cld(struct vcpu *v, const struct insn *i)
{
    (void)i;
    v->rflags &= ~(u64)RFLAGS_DF;
    return X_NEXT;
}

enum x_result x_std(struct vcpu *v, const struct insn *i)
{
    (void)i;
    v->rflags |= RFLAGS_DF;
    return X_NEXT;
}

static enum x_result set_ac(struct vcpu *v, u64 ac)
{
    if (v->cpl) return vcpu_raise(v, EXC_UD);
    set_rflags(v, (v->rflags & ~(u64)RFLAGS_AC) | ac);
    return X_NEXT;
}

enum x_result x_clac(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return set_ac(v, 0);
}

enum x_result x_stac(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return set_ac(v, RFLAGS_AC);
}
