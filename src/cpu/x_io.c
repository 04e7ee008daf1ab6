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

void io_breakpoints(struct vcpu *v, u16 port, u32 bytes)
{
    static const u8 len_bytes[4] = {1, 2, 8, 4};
    if (!(v->cr4 & CR4_DE)) return;
    for (u32 k = 0; k < 4; k++) {
        u32 rw = (u32)(v->dr7 >> (16 + k * 4)) & 3, len = len_bytes[(v->dr7 >> (18 + k * 4)) & 3];
        if (!(v->dr7 >> (k * 2) & 3) || rw != 2) continue;
        u64 start = v->dr[k] & ~(u64)(len - 1);
        if (port < start + len && start < (u64)port + bytes) v->pending_dbg |= BIT(k);
    }
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
    io_done(v, port, bytes);
    return X_NEXT;
}

enum x_result x_out(struct vcpu *v, const struct insn *i)
{
    u16 port = port_of(v, i, 0);
    u32 bytes = i->op[1].bytes;
    if (io_allowed(v, port, bytes)) return X_FAULT;
    v->env->port_out(v->env->ctx, v, port, (u32)gpr_read(v, RAX, bytes), bytes);
    io_done(v, port, bytes);
    return X_NEXT;
}
