/* engine/common/native_special.c - COMPUTE instructions that need none of the host's arithmetic
 * (moves, address computation, hints: a few lines of C are faster than a thunk), and those whose
 * memory operand is not a plain one (bit strings, implicit addresses, two memory operands). Spec:
 * SDM vol. 2. */
#include <Zydis/Mnemonic.h>

#include "engine/common/native_internal.h"

static inline int operand_address(struct vcpu *v, const struct insn *i, gva_t *lin)
{
    if (insn_linear(v, i, lin)) return X_FAULT;
    if (native_alignment_fault(v, i, *lin)) return vcpu_raise_err(v, EXC_AC, 0);
    return 0;
}
/* Zero-extended load of @bytes. Each size has its own variable: a wide read of bytes just written
 * narrowly would stall. */
static inline int load_bytes(struct vcpu *v, const struct insn *i, u32 bytes, u64 *val)
{
    gva_t lin;
    u8 b = 0;
    u16 w = 0;
    u32 d = 0;
    int r;
    if (operand_address(v, i, &lin)) return X_FAULT;
    switch (bytes) {
    case 1:
        r = vcpu_read(v, lin, &b, 1);
        *val = b;
        return r;
    case 2:
        r = vcpu_read(v, lin, &w, 2);
        *val = w;
        return r;
    case 4:
        r = vcpu_read(v, lin, &d, 4);
        *val = d;
        return r;
    default: return vcpu_read(v, lin, val, 8);
    }
}
static int load(struct vcpu *v, const struct insn *i, u64 *val)
{
    return load_bytes(v, i, i->mem_bytes, val);
}
static inline enum x_result store(struct vcpu *v, const struct insn *i, u64 val)
{
    gva_t lin;
    if (operand_address(v, i, &lin) || vcpu_write(v, lin, &val, i->mem_bytes)) return X_FAULT;
    return X_NEXT;
}

/* ---- moves ----------------------------------------------------------------------------------- */

static enum x_result mov_r64_r64(struct vcpu *v, const struct insn *i)
{
    v->gpr[i->op[0].reg] = v->gpr[i->op[1].reg];
    return X_NEXT;
}
static enum x_result mov_r32_r32(struct vcpu *v, const struct insn *i)
{
    v->gpr[i->op[0].reg] = (u32)v->gpr[i->op[1].reg];
    return X_NEXT;
}
static enum x_result mov_reg_reg(struct vcpu *v, const struct insn *i)
{
    gpr_write(v, &i->op[0], gpr_read(v, &i->op[1]));
    return X_NEXT;
}
static enum x_result mov_reg_imm(struct vcpu *v, const struct insn *i)
{
    gpr_write(v, &i->op[0], i->imm);
    return X_NEXT;
}
static enum x_result mov_r64_mem(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    u64 val;
    if (operand_address(v, i, &lin) || vcpu_read(v, lin, &val, 8)) return X_FAULT;
    v->gpr[i->op[0].reg] = val;
    return X_NEXT;
}
static enum x_result mov_r32_mem(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    u32 val;
    if (operand_address(v, i, &lin) || vcpu_read(v, lin, &val, 4)) return X_FAULT;
    v->gpr[i->op[0].reg] = val;
    return X_NEXT;
}
static enum x_result mov_reg_mem(struct vcpu *v, const struct insn *i)
{
    u64 val;
    if (load(v, i, &val)) return X_FAULT;
    gpr_write(v, &i->op[0], val);
    return X_NEXT;
}
static enum x_result mov_mem_r64(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    if (operand_address(v, i, &lin) || vcpu_write(v, lin, &v->gpr[i->op[1].reg], 8)) return X_FAULT;
    return X_NEXT;
}
static enum x_result mov_mem_r32(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    if (operand_address(v, i, &lin) || vcpu_write(v, lin, &v->gpr[i->op[1].reg], 4)) return X_FAULT;
    return X_NEXT;
}
static enum x_result mov_mem_r8(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    if (operand_address(v, i, &lin) || vcpu_write(v, lin, &v->gpr[i->op[1].reg], 1)) return X_FAULT;
    return X_NEXT;
}
static enum x_result mov_mem_reg(struct vcpu *v, const struct insn *i)
{
    return store(v, i, gpr_read(v, &i->op[1]));
}
static enum x_result mov_mem_imm(struct vcpu *v, const struct insn *i)
{
    return store(v, i, i->imm);
}

static insn_exec_fn *choose_mov(const struct insn *i)
{
    const struct insn_opnd *d = &i->op[0], *s = &i->op[1];
    bool plain_d = d->file == RF_GPR, plain_s = s->file == RF_GPR;
    if (d->kind == OPND_MEM) {
        if (s->kind == OPND_IMM) return mov_mem_imm;
        if (s->kind != OPND_REG) return NULL;
        if (!plain_s || i->mem_bytes == 2) return mov_mem_reg;
        return i->mem_bytes == 8 ? mov_mem_r64 : i->mem_bytes == 4 ? mov_mem_r32 : mov_mem_r8;
    }
    if (s->kind == OPND_IMM) return mov_reg_imm;
    if (s->kind == OPND_MEM) {
        if (plain_d && d->bytes == 8) return mov_r64_mem;
        return plain_d && d->bytes == 4 ? mov_r32_mem : mov_reg_mem;
    }
    if (plain_d && plain_s && d->bytes == 8) return mov_r64_r64;
    return plain_d && plain_s && d->bytes == 4 ? mov_r32_r32 : mov_reg_reg;
}

/* Loads narrower than their register. @bytes is a constant at every call. */
static inline enum x_result load_zx(struct vcpu *v, const struct insn *i, u32 bytes)
{
    u64 val;
    if (load_bytes(v, i, bytes, &val)) return X_FAULT;
    v->gpr[i->op[0].reg] = val;
    return X_NEXT;
}
static inline enum x_result load_sx64(struct vcpu *v, const struct insn *i, u32 bytes)
{
    u64 val;
    if (load_bytes(v, i, bytes, &val)) return X_FAULT;
    v->gpr[i->op[0].reg] = sign_extend(val, bytes);
    return X_NEXT;
}
static enum x_result movzx_m8(struct vcpu *v, const struct insn *i) { return load_zx(v, i, 1); }
static enum x_result movzx_m16(struct vcpu *v, const struct insn *i) { return load_zx(v, i, 2); }
static enum x_result movsx64_m8(struct vcpu *v, const struct insn *i) { return load_sx64(v, i, 1); }
static enum x_result movsx64_m16(struct vcpu *v, const struct insn *i)
{
    return load_sx64(v, i, 2);
}
static enum x_result movsx64_m32(struct vcpu *v, const struct insn *i)
{
    return load_sx64(v, i, 4);
}
static enum x_result movzx_r32_r8(struct vcpu *v, const struct insn *i)
{
    v->gpr[i->op[0].reg] = (u8)v->gpr[i->op[1].reg];
    return X_NEXT;
}
static enum x_result movsxd_r64_r32(struct vcpu *v, const struct insn *i)
{
    v->gpr[i->op[0].reg] = (u64)(s32)v->gpr[i->op[1].reg];
    return X_NEXT;
}

static enum x_result movzx_reg(struct vcpu *v, const struct insn *i)
{
    gpr_write(v, &i->op[0], gpr_read(v, &i->op[1]));
    return X_NEXT;
}
static enum x_result movsx_reg(struct vcpu *v, const struct insn *i)
{
    gpr_write(v, &i->op[0], sign_extend(gpr_read(v, &i->op[1]), i->op[1].bytes));
    return X_NEXT;
}
static enum x_result movsx_mem(struct vcpu *v, const struct insn *i)
{
    u64 val;
    if (load(v, i, &val)) return X_FAULT;
    gpr_write(v, &i->op[0], sign_extend(val, i->mem_bytes));
    return X_NEXT;
}
static insn_exec_fn *choose_movzx(const struct insn *i)
{
    const struct insn_opnd *d = &i->op[0], *src = &i->op[1];
    if (src->kind == OPND_MEM)
        return d->bytes < 4 ? mov_reg_mem : i->mem_bytes == 1 ? movzx_m8 : movzx_m16;
    return d->bytes >= 4 && src->file == RF_GPR && src->bytes == 1 ? movzx_r32_r8 : movzx_reg;
}
static insn_exec_fn *choose_movsx(const struct insn *i)
{
    static insn_exec_fn *const wide[9] = {[1] = movsx64_m8, [2] = movsx64_m16, [4] = movsx64_m32};
    const struct insn_opnd *d = &i->op[0], *src = &i->op[1];
    if (src->kind == OPND_MEM)
        return d->bytes == 8 && i->mem_bytes <= 4 && wide[i->mem_bytes] ? wide[i->mem_bytes]
                                                                        : movsx_mem;
    return d->bytes == 8 && src->bytes == 4 ? movsxd_r64_r32 : movsx_reg;
}

static enum x_result lea_64(struct vcpu *v, const struct insn *i)
{
    u64 a = (u64)i->disp;
    if (i->base < GPRS) a += v->gpr[i->base];
    if (i->index < GPRS) a += v->gpr[i->index] << i->scale;
    v->gpr[i->op[0].reg] = a;
    return X_NEXT;
}
static enum x_result lea(struct vcpu *v, const struct insn *i)
{
    gpr_write(v, &i->op[0], insn_ea(v, i));
    return X_NEXT;
}
static enum x_result nop(struct vcpu *v, const struct insn *i)
{
    (void)v;
    (void)i;
    return X_NEXT;
}

/* ---- memory operands with an address of their own -------------------------------------------- */

/* BT, BTS, BTR, BTC on memory with a register bit offset: a bit string; the word that holds the bit
 * is the operand. */
enum x_result native_exec_bt(struct vcpu *v, const struct insn *i)
{
    const struct native_thunk *t = native_thunk_of(v, i);
    gva_t lin;
    if (!t) return vcpu_raise(v, EXC_UD);
    u32 bytes = i->mem_bytes, shift = bytes == 8 ? 6 : bytes == 4 ? 5 : 4;
    s64 bit = (s64)sign_extend(gpr_read(v, &i->op[1]), i->op[1].bytes);
    u64 ea = insn_ea(v, i) + (u64)((bit >> shift) * (s64)bytes);
    if (i->addrsize < 8) ea &= mask_bytes(i->addrsize);
    if (seg_linear(v, i->seg, ea, bytes, i->mem_rw, &lin)) return X_FAULT;
    return native_run(v, i, t, lin);
}

static enum x_result xlat(struct vcpu *v, const struct insn *i)
{
    u64 ea = (v->gpr[RBX] + (u8)v->gpr[RAX]) & mask_bytes(i->addrsize);
    gva_t lin;
    u8 val;
    if (seg_linear(v, i->seg, ea, 1, OPND_R, &lin) || vcpu_read(v, lin, &val, 1)) return X_FAULT;
    v->gpr[RAX] = (v->gpr[RAX] & ~0xFFull) | val;
    return X_NEXT;
}

/* CLFLUSH, CLFLUSHOPT, CLWB: caches are the host's business; the address is checked like a byte
 * load. */
static enum x_result cache_line(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    u8 byte;
    if (seg_linear(v, i->seg, insn_ea(v, i), 1, OPND_R, &lin) || vcpu_read(v, lin, &byte, 1))
        return X_FAULT;
    return X_NEXT;
}

/* MASKMOVQ, (V)MASKMOVDQU: bytes whose mask byte is negative go to [rDI]. Nothing is written when
 * one of them faults. */
static enum x_result store_masked_bytes(struct vcpu *v, const struct insn *i, const u8 *data,
                                        const u8 *mask, u32 n)
{
    gva_t lin[16];
    u32 used = 0;
    for (u32 k = 0; k < n; k++) {
        u64 ea = (v->gpr[RDI] & mask_bytes(i->addrsize)) + k;
        if (!(mask[k] & 0x80)) continue;
        used |= 1u << k;
        if (seg_linear(v, i->seg, ea, 1, OPND_W, &lin[k])) return X_FAULT;
        if (v->mmu->probe(v, lin[k], 1, ACC_WRITE, false)) return X_FAULT;
    }
    for (u32 k = 0; k < n; k++)
        if (used & 1u << k && vcpu_write(v, lin[k], &data[k], 1)) return X_FAULT;
    return X_NEXT;
}
static enum x_result maskmovdqu(struct vcpu *v, const struct insn *i)
{
    if (v->fpu_fault[i->fpu]) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    const struct insn_opnd *o = i->op[0].kind == OPND_MEM ? i->op + 1 : i->op;
    return store_masked_bytes(v, i, v->vec[o[0].reg & 31], v->vec[o[1].reg & 31], 16);
}
static enum x_result maskmovq(struct vcpu *v, const struct insn *i)
{
    if (v->fpu_fault[i->fpu]) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    const struct insn_opnd *o = i->op[0].kind == OPND_MEM ? i->op + 1 : i->op;
    u8 top = v->fx.fsw >> 11 & 7; /* the FXSAVE image is relative to the top of the stack */
    if (v->fx.fsw & 0x80) return vcpu_raise(v, EXC_MF);
    const u8 *data = v->fx.st[(o[0].reg - top) & 7], *mask = v->fx.st[(o[1].reg - top) & 7];
    if (store_masked_bytes(v, i, data, mask, 8)) return X_FAULT;
    u8 regs[8][16]; /* like every MMX instruction: top becomes 0, all registers valid */
    for (u32 k = 0; k < 8; k++) memcpy(regs[k], v->fx.st[(k - top) & 7], 16);
    memcpy(v->fx.st, regs, sizeof regs);
    v->fx.fsw &= (u16)~0x3800;
    v->fx.ftw = 0xFF;
    return X_NEXT;
}

static enum x_result movdir64b(struct vcpu *v, const struct insn *i)
{
    u8 buf[64];
    gva_t src, dst;
    u64 ea = v->gpr[i->op[0].reg & 15] & mask_bytes(i->addrsize);
    if (insn_linear(v, i, &src) || vcpu_read(v, src, buf, sizeof buf)) return X_FAULT;
    if (seg_linear(v, ES, ea, sizeof buf, OPND_W, &dst)) return X_FAULT;
    if (dst & 63) return vcpu_raise_err(v, EXC_GP, 0);
    return vcpu_write(v, dst, buf, sizeof buf) ? X_FAULT : X_NEXT;
}

static enum x_result vzero(struct vcpu *v, const struct insn *i)
{
    u32 keep = i->mnemonic == ZYDIS_MNEMONIC_VZEROUPPER ? 16 : 0;
    if (v->fpu_fault[i->fpu]) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    for (u32 n = 0; n < (i->mode == ISA_64 ? 16 : 8); n++) memset(v->vec[n] + keep, 0, 64 - keep);
    return X_NEXT;
}

/* ---- selection ------------------------------------------------------------------------------- */

static insn_exec_fn *find_vector(const struct insn *i)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_MASKMOVQ: return maskmovq;
    case ZYDIS_MNEMONIC_MASKMOVDQU:
    case ZYDIS_MNEMONIC_VMASKMOVDQU: return maskmovdqu;
    case ZYDIS_MNEMONIC_VZEROUPPER:
    case ZYDIS_MNEMONIC_VZEROALL: return vzero;
    case ZYDIS_MNEMONIC_VGATHERDPS:
    case ZYDIS_MNEMONIC_VGATHERQPS:
    case ZYDIS_MNEMONIC_VGATHERDPD:
    case ZYDIS_MNEMONIC_VGATHERQPD:
    case ZYDIS_MNEMONIC_VPGATHERDD:
    case ZYDIS_MNEMONIC_VPGATHERDQ:
    case ZYDIS_MNEMONIC_VPGATHERQD:
    case ZYDIS_MNEMONIC_VPGATHERQQ:
    case ZYDIS_MNEMONIC_VSCATTERDPS:
    case ZYDIS_MNEMONIC_VSCATTERQPS:
    case ZYDIS_MNEMONIC_VSCATTERDPD:
    case ZYDIS_MNEMONIC_VSCATTERQPD:
    case ZYDIS_MNEMONIC_VPSCATTERDD:
    case ZYDIS_MNEMONIC_VPSCATTERDQ:
    case ZYDIS_MNEMONIC_VPSCATTERQD:
    case ZYDIS_MNEMONIC_VPSCATTERQQ: return native_gather;
    default: return NULL;
    }
}

static bool is_hint(u16 mnemonic)
{
    switch (mnemonic) {
    case ZYDIS_MNEMONIC_NOP:
    case ZYDIS_MNEMONIC_PAUSE:
    case ZYDIS_MNEMONIC_PREFETCH:
    case ZYDIS_MNEMONIC_PREFETCHNTA:
    case ZYDIS_MNEMONIC_PREFETCHT0:
    case ZYDIS_MNEMONIC_PREFETCHT1:
    case ZYDIS_MNEMONIC_PREFETCHT2:
    case ZYDIS_MNEMONIC_PREFETCHW:
    case ZYDIS_MNEMONIC_PREFETCHWT1:
    case ZYDIS_MNEMONIC_ENDBR32:
    case ZYDIS_MNEMONIC_ENDBR64:
    case ZYDIS_MNEMONIC_CLDEMOTE:
    case ZYDIS_MNEMONIC_RDSSPD:
    case ZYDIS_MNEMONIC_RDSSPQ: return true;
    default: return false;
    }
}

insn_exec_fn *native_special(const struct insn *i)
{
    if (is_hint(i->mnemonic)) return nop;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_MOV: return choose_mov(i);
    case ZYDIS_MNEMONIC_MOVZX: return choose_movzx(i);
    case ZYDIS_MNEMONIC_MOVSX:
    case ZYDIS_MNEMONIC_MOVSXD: return choose_movsx(i);
    case ZYDIS_MNEMONIC_LEA:
        return i->addrsize == 8 && i->op[0].bytes == 8 && i->base != BASE_RIP ? lea_64 : lea;
    case ZYDIS_MNEMONIC_BT:
    case ZYDIS_MNEMONIC_BTS:
    case ZYDIS_MNEMONIC_BTR:
    case ZYDIS_MNEMONIC_BTC:
        return i->op[0].kind == OPND_MEM && i->op[1].kind == OPND_REG ? native_exec_bt : NULL;
    case ZYDIS_MNEMONIC_XLAT: return xlat;
    case ZYDIS_MNEMONIC_CLFLUSH:
    case ZYDIS_MNEMONIC_CLFLUSHOPT:
    case ZYDIS_MNEMONIC_CLWB: return cache_line;
    case ZYDIS_MNEMONIC_MOVDIR64B: return movdir64b;
    default: return find_vector(i);
    }
}
