/* x_io - IN and OUT, and who may use which ports. INS and OUTS are in x_string.c.
 * Spec: SDM vol. 1 section 19.5; vol. 2A IN; vol. 2B OUT. */
#include "cpu/env.h"
#include "cpu/x_internal.h"

enum {
    TSS_IOMAP = 0x66,
    TSS_TYPE_32 = 9,
    TSS_BUSY = 2
}; /* offset of the u16 bitmap base; descriptor type */

static int bitmap_allows(struct vcpu *v, u16 port, u32 bytes)
{
    u16 map = 0, word = 0;
    if ((v->tr.attr & SEG_TYPE & ~TSS_BUSY) != TSS_TYPE_32 || v->tr.attr & SEG_NULL) goto gp;
    if (v->tr.limit < TSS_IOMAP + 1) goto gp;
    if (vcpu_read_sys(v, v->tr.base + TSS_IOMAP, &map, 2)) return X_FAULT;
    u32 off = (u32)map + port / 8; /* two bytes are read always, whatever the access */
    if (off + 1 > v->tr.limit) goto gp;
    if (vcpu_read_sys(v, v->tr.base + off, &word, 2)) return X_FAULT;
    if (word >> (port & 7) & ((1u << bytes) - 1)) goto gp;
    return 0;
gp:
    return vcpu_raise_err(v, EXC_GP, 0);
}

int io_allowed(struct vcpu *v, u16 port, u32 bytes)
{
    if (!(v->cr0 & CR0_PE)) return 0;
    if (!(v->rflags & RFLAGS_VM) && v->cpl <= (v->rflags >> 12 & 3)) return 0;
    return bitmap_allows(v, port, bytes);
}

static u16 port_of(const struct vcpu *v, const struct insn *i, unsigned opnd)
{
    return i->op[opnd].kind == OPND_IMM ? (u8)i->imm : (u16)v->gpr[RDX];
}

enum x_result x_in(struct vcpu *v, const struct insn *i)
{
    u16 port = port_of(v, i, 1);
    u32 bytes = i->op[0].bytes;
    if (io_allowed(v, port, bytes)) return X_FAULT;
    gpr_write(v, RAX, v->env->port_in(v->env->ctx, v, port, bytes), bytes);
    return X_NEXT;
}

enum x_result x_out(struct vcpu *v, const struct insn *i)
{
    u16 port = port_of(v, i, 0);
    u32 bytes = i->op[1].bytes;
    if (io_allowed(v, port, bytes)) return X_FAULT;
    v->env->port_out(v->env->ctx, v, port, (u32)gpr_read(v, RAX, bytes), bytes);
    return X_NEXT;
}
