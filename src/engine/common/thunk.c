/* engine/common/thunk.c - host code around one guest instruction.
 * Register use: RDI = vcpu, RSI = memory operand, RDX = the decoded instruction at entry (RSI too
 * without a memory operand); only caller-saved registers are written (CMPXCHG8B/16B keep RBX in
 * R8). Guest RAX, RCX and RDX stay in their own registers, because instructions use them
 * implicitly; the others are renamed to R8..R11, or to a free one of RAX, RCX, RDX beside AH..BH,
 * which no REX prefix may accompany. Vector, mask and x87 registers keep their numbers. State is
 * stored after the instruction, so a fault in it leaves the guest as before. The stack pointer at
 * the instruction is the one at entry: the fault handler only has to return. */
#include <string.h>

#include "engine/common/thunk_plan.h"

/* ---- code ------------------------------------------------------------------------------------ */

static void put(struct thunk_draft *t, const void *bytes, u32 n)
{
    if (t->n + n <= sizeof t->buf) memcpy(t->buf + t->n, bytes, n);
    t->n += n; /* checked once at the end */
}
#define PUT(t, ...)                                                                                \
    do {                                                                                           \
        const u8 bytes_[] = {__VA_ARGS__};                                                         \
        put((t), bytes_, sizeof bytes_);                                                           \
    } while (0)
static void put_u32(struct thunk_draft *t, u32 val) { put(t, &val, 4); }

/* op reg, [rdi + off32]: the caller has put prefixes and opcode */
static void put_field(struct thunk_draft *t, u8 reg, size_t off)
{
    PUT(t, (u8)(0x80 | (reg & 7) << 3 | R_V));
    put_u32(t, (u32)off);
}
/* mov r64, [gpr + 8 n] and back */
static void put_gpr(struct thunk_draft *t, bool store, u8 host, u8 guest)
{
    u32 off = (u32)offsetof(struct vcpu, gpr) + 8u * guest;
    PUT(t, (u8)(0x48 | (host & 8) >> 1), store ? 0x89 : 0x8B);
    if (off < 128) PUT(t, (u8)(0x40 | (host & 7) << 3 | R_V), (u8)off);
    else put_field(t, host, off);
}
static void put_vec(struct thunk_draft *t, bool store, u8 n, u8 width)
{
    u8 op = store ? 0x11 : 0x10;
    u8 r = n & 8 ? 0 : 0x80, r2 = n & 16 ? 0 : 0x10;
    if (width == 64) PUT(t, 0x62, (u8)(r | 0x60 | r2 | 1), 0x7C, 0x48, op);
    else if (width == 32) PUT(t, 0xC5, (u8)(r | 0x7C), op);
    else if (n & 8) PUT(t, 0x44, 0x0F, op);
    else PUT(t, 0x0F, op);
    put_field(t, n, offsetof(struct vcpu, vec) + 64u * n);
}
static void put_mask(struct thunk_draft *t, bool store, u8 n)
{
    PUT(t, 0xC4, 0xE1, 0xF8, store ? 0x91 : 0x90);
    put_field(t, n, offsetof(struct vcpu, k) + 8u * n);
}

static void put_flags_in(struct thunk_draft *t, u32 flags)
{
    if (!flags) return;
    if (flags == RFLAGS_CF) { /* bt dword [rflags], 0 */
        PUT(t, 0x0F, 0xBA, 0xA7);
        put_u32(t, offsetof(struct vcpu, rflags));
        PUT(t, 0);
        return;
    }
    PUT(t, 0x8B); /* mov eax, [rflags] */
    put_field(t, RAX, offsetof(struct vcpu, rflags));
    if (flags &
        RFLAGS_OF) /* mov ecx, eax; shr ecx, 11; and ecx, 1; add cl, 7F: OF when the bit was set */
        PUT(t, 0x89, 0xC1, 0xC1, 0xE9, 0x0B, 0x83, 0xE1, 0x01, 0x80, 0xC1, 0x7F);
    PUT(t, 0x88, 0xC4, 0x9E); /* mov ah, al; sahf */
}
static void put_flags_out(struct thunk_draft *t)
{
    PUT(t, 0x9C, 0x58, 0x8B); /* pushfq; pop rax; mov ecx, [rflags] */
    put_field(t, RCX, offsetof(struct vcpu, rflags));
    PUT(t, 0x25); /* and eax, arith */
    put_u32(t, RFLAGS_ARITH);
    PUT(t, 0x81, 0xE1); /* and ecx, ~arith */
    put_u32(t, ~(u32)RFLAGS_ARITH);
    PUT(t, 0x09, 0xC8, 0x89); /* or eax, ecx; mov [rflags], eax */
    put_field(t, RAX, offsetof(struct vcpu, rflags));
}

static u8 vec_width(const struct thunk_plan *p, const struct host_caps *host, bool store)
{
    if (p->vec == VEC_SSE || !host->avx) return 16;
    if (p->vec == VEC_EVEX) return 64;
    return store && host->avx512 ? 64 : 32; /* VEX clears everything above */
}

static void put_loads(struct thunk_draft *t, const struct thunk_plan *p,
                      const struct host_caps *host)
{
    if (p->x87) { /* fxrstor64 [fx]; MXCSR comes with it */
        PUT(t, 0x48, 0x0F, 0xAE);
        put_field(t, 1, offsetof(struct vcpu, fx));
    } else if (p->mxcsr) {
        PUT(t, 0x0F, 0xAE); /* ldmxcsr */
        put_field(t, 2, offsetof(struct vcpu, fx.mxcsr));
    }
    for (u8 n = 0; n < 32; n++)
        if (p->vec_used & 1u << n) put_vec(t, false, n, vec_width(p, host, false));
    for (u8 n = 0; n < 8; n++)
        if (p->k_used & 1u << n) put_mask(t, false, n);
    if (p->bt_mem) { /* mov r11, [offset]; and r11d, bits - 1: the whole words are in the address
                        already */
        put_gpr(t, false, R11, p->bt_reg);
        PUT(t, 0x41, 0x83, 0xE3, (u8)(p->op[1].size - 1));
    }
    if (p->implicit & 1u << RBX) PUT(t, 0x49, 0x89, 0xD8); /* mov r8, rbx */
    put_flags_in(t, p->flags_in);
    for (u8 n = 0; n < GPRS; n++)
        if (p->gpr_used & 1u << n && !(p->bt_mem && p->map.gpr[n] == R11))
            put_gpr(t, false, p->map.gpr[n], n);
}

static void put_stores(struct thunk_draft *t, const struct thunk_plan *p,
                       const struct host_caps *host)
{
    for (u8 n = 0; n < GPRS; n++)
        if (p->gpr_written & 1u << n) put_gpr(t, true, p->map.gpr[n], n);
    for (u8 n = 0; n < 32; n++)
        if (p->vec_written & 1u << n) put_vec(t, true, n, vec_width(p, host, true));
    for (u8 n = 0; n < 8; n++)
        if (p->k_written & 1u << n) put_mask(t, true, n);
    if (p->implicit & 1u << RBX) PUT(t, 0x4C, 0x89, 0xC3); /* mov rbx, r8 */
    if (p->flags_out) put_flags_out(t);
    if (p->x87) { /* fxsave64 [fx]; fninit */
        PUT(t, 0x48, 0x0F, 0xAE);
        put_field(t, 0, offsetof(struct vcpu, fx));
        PUT(t, 0xDB, 0xE3);
    } else if (p->mxcsr) {
        PUT(t, 0x0F, 0xAE); /* stmxcsr */
        put_field(t, 3, offsetof(struct vcpu, fx.mxcsr));
    }
    if (p->x87 || p->mxcsr) /* mov dword [rsp - 8], 1F80; ldmxcsr [rsp - 8] */
        PUT(t, 0xC7, 0x44, 0x24, 0xF8, 0x80, 0x1F, 0, 0, 0x0F, 0xAE, 0x54, 0x24, 0xF8);
    if (p->vec == VEC_VEX || p->vec == VEC_EVEX) PUT(t, 0xC5, 0xF8, 0x77); /* vzeroupper */
    PUT(t, 0x31, 0xC0, 0xC3);                                              /* xor eax, eax; ret */
}

/* op r/m, imm becomes op r/m, r11, so that one thunk serves every immediate: guests have hundreds
 * of thousands of them, the cache has not. @b is a respelled instruction: legacy prefixes, REX,
 * opcode, ModRM without SIB or displacement, immediate. */
static bool lift_immediate(const struct thunk_plan *p, u8 *b, int *len)
{
    u32 n = 0;
    u8 rex = 0, op, modrm = 0xC0;
    if (p->high || p->zi.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY ||
        p->zi.opcode_map != ZYDIS_OPCODE_MAP_DEFAULT)
        return false;
    while (b[n] == 0x66 || b[n] == 0xF0 || b[n] == 0xF2 || b[n] == 0xF3) n++;
    if ((b[n] & 0xF0) == 0x40) rex = b[n++];
    op = b[n];
    if (op == 0x80 || op == 0x81 || op == 0x83 || (op | 1) == 0xF7) modrm = b[n + 1];
    if (op == 0x80 || op == 0x81 || op == 0x83) op = (u8)((modrm & 0x38) | (op & 1));
    else if ((op | 1) == 0xF7 && (modrm & 0x30) == 0) op = 0x84 | (op & 1);
    else if (op < 0x40 && (op & 6) == 4) op &= 0x39;
    else if ((op | 1) == 0xA9) op = 0x84 | (op & 1);
    else return false;
    if (rex) n--;
    b[n++] = rex | 0x44;
    b[n++] = op;
    b[n++] = (u8)((modrm & 0xC7) | (R11 & 7) << 3);
    *len = (int)n;
    return true;
}

/* mov r11, [insn + imm]: the instruction is the second argument where there is no memory operand,
 * else the third. */
static void put_immediate(struct thunk_draft *t, const struct thunk_plan *p)
{
    static_assert(offsetof(struct insn, imm) < 128, "short displacement");
    PUT(t, 0x4C, 0x8B, p->mem ? 0x5A : 0x5E, offsetof(struct insn, imm));
}

bool thunk_build(struct thunk_draft *out, const struct insn *i, const struct host_caps *host)
{
    struct thunk_plan p;
    u8 spelled[RESPELL_BYTES_MAX];
    if (!thunk_plan_make(&p, i)) return false;
    if (p.vec == VEC_EVEX && !host->avx512) return false;
    if ((p.vec == VEC_VEX && !host->avx) || (p.k_used && !host->avx512)) return false;
    int len = respell(spelled, i->bytes, i->len, i->mode, &p.map);
    if (len <= 0) return false;
    memset(&out->meta, 0, sizeof out->meta);
    out->n = 0;
    out->any_imm = lift_immediate(&p, spelled, &len);
    if (out->any_imm) put_immediate(out, &p);
    put_loads(out, &p, host);
    out->meta.insn_off = (u16)out->n;
    put(out, spelled, (u32)len);
    put_stores(out, &p, host);
    thunk_plan_describe(&out->meta, &p, spelled, (u32)len);
    out->meta.code_bytes = out->n;
    return out->n <= sizeof out->buf;
}
