/* trans_homed.c - see trans_homed.h.
 *
 * Such an instruction names the register's place in memory, if that is the only one it has to name
 * so and it is not used again soon; else T1 or T2, which hold the register from then on, until an
 * instruction that needs them otherwise (tr_homed_settle). What they hold is stored when an
 * instruction comes that might fault or jump, so a run of instructions that compute stores once.
 *
 * Places in memory are written as a whole only: a load of 8 bytes soon after a store of fewer would
 * wait for it. */
#include <Zydis/Mnemonic.h>

#include "cpu/insn_exec.h"
#include "engine/bt/trans_hints.h"
#include "engine/bt/trans_window.h"

/* ---- forms ----------------------------------------------------------------------------------- */

/* What an opcode does with its register operands; 0: not known here. */
enum {
    REG_R = 1, /* ModRM.reg */
    REG_W = 2,
    RM_R = 4, /* ModRM.rm; of those with F_OPCODE the register in the opcode */
    RM_W = 8,
    F_FLIP = 16, /* opcode ^ 2 has the operands the other way round */
    F_SAME = 32, /* so has the opcode itself */
    F_BYTE = 64,
    F_NO_MEM = 128, /* with a memory operand something else, or other undefined flags */
    F_DIGIT = 256,  /* ModRM.reg decides, see digit_form */
    F_OPCODE = 512,
    REG_RW = REG_R | REG_W,
    RM_RW = RM_R | RM_W,
    ALU = REG_R | RM_RW | F_FLIP,
    ALU_LOAD = REG_RW | RM_R | F_FLIP,
};
#define ALU_ROWS(op)                                                                               \
    [op] = ALU | F_BYTE, [(op) + 1] = ALU, [(op) + 2] = ALU_LOAD | F_BYTE, [(op) + 3] = ALU_LOAD
static const u16 one_byte[256] = {
    ALU_ROWS(0x00),
    ALU_ROWS(0x08),
    ALU_ROWS(0x10),
    ALU_ROWS(0x18),
    ALU_ROWS(0x20),
    ALU_ROWS(0x28),
    ALU_ROWS(0x30),
    [0x38] = REG_R | RM_R | F_FLIP | F_BYTE,
    [0x39] = REG_R | RM_R | F_FLIP,
    [0x3A] = REG_R | RM_R | F_FLIP | F_BYTE,
    [0x3B] = REG_R | RM_R | F_FLIP,
    [0x63] = REG_W | RM_R,
    [0x69] = REG_W | RM_R,
    [0x6B] = REG_W | RM_R,
    [0x80] = F_DIGIT | F_BYTE,
    [0x81] = F_DIGIT,
    [0x83] = F_DIGIT,
    [0x84] = REG_R | RM_R | F_SAME | F_BYTE,
    [0x85] = REG_R | RM_R | F_SAME,
    [0x86] = REG_RW | RM_RW | F_NO_MEM | F_BYTE,
    [0x87] = REG_RW | RM_RW | F_NO_MEM,
    [0x88] = REG_R | RM_W | F_FLIP | F_BYTE,
    [0x89] = REG_R | RM_W | F_FLIP,
    [0x8A] = REG_W | RM_R | F_FLIP | F_BYTE,
    [0x8B] = REG_W | RM_R | F_FLIP,
    [0x90 ... 0x97] = RM_RW | F_NO_MEM | F_OPCODE,
    [0xB0 ... 0xB7] = RM_W | F_NO_MEM | F_OPCODE | F_BYTE,
    [0xB8 ... 0xBF] = RM_W | F_NO_MEM | F_OPCODE,
    [0xC0] = RM_RW | F_NO_MEM | F_BYTE,
    [0xC1] = RM_RW | F_NO_MEM,
    [0xC6] = RM_W | F_BYTE,
    [0xC7] = RM_W,
    [0xD0] = RM_RW | F_BYTE,
    [0xD1] = RM_RW,
    [0xD2] = RM_RW | F_NO_MEM | F_BYTE,
    [0xD3] = RM_RW | F_NO_MEM,
    [0xF6] = F_DIGIT | F_BYTE,
    [0xF7] = F_DIGIT,
    [0xFE] = RM_RW | F_BYTE,
    [0xFF] = RM_RW,
};
static const u16 two_byte[256] = {
    [0x40 ... 0x4F] = REG_RW | RM_R,
    [0x90 ... 0x9F] = RM_W | F_BYTE,
    [0xA3] = REG_R | RM_R | F_NO_MEM,
    [0xA4 ... 0xA5] = REG_R | RM_RW | F_NO_MEM,
    [0xAB] = REG_R | RM_RW | F_NO_MEM,
    [0xAC ... 0xAD] = REG_R | RM_RW | F_NO_MEM,
    [0xAF] = REG_RW | RM_R,
    [0xB0] = REG_R | RM_RW | F_NO_MEM | F_BYTE,
    [0xB1] = REG_R | RM_RW | F_NO_MEM,
    [0xB3] = REG_R | RM_RW | F_NO_MEM,
    [0xB6 ... 0xB7] = REG_W | RM_R,
    [0xB8] = REG_W | RM_R,
    [0xBA] = F_DIGIT,
    [0xBB] = REG_R | RM_RW | F_NO_MEM,
    [0xBC ... 0xBD] = REG_RW | RM_R, /* BSF and BSR may leave the destination */
    [0xBE ... 0xBF] = REG_W | RM_R,
    [0xC0] = REG_RW | RM_RW | F_NO_MEM | F_BYTE,
    [0xC1] = REG_RW | RM_RW | F_NO_MEM,
    [0xC8 ... 0xCF] = RM_RW | F_NO_MEM | F_OPCODE,
};
enum { ADX = REG_RW | RM_R };

static u16 digit_form(u8 op, u8 digit)
{
    if (op == 0xBA) return digit < 4 ? 0 : digit == 4 ? RM_R : RM_RW;
    if (op < 0xF6) return digit == 7 ? RM_R : RM_RW; /* 80 to 83: CMP */
    return digit >= 6 ? 0 : digit == 2 || digit == 3 ? RM_RW : RM_R;
}
static bool is_divide(const u8 *op) { return (op[0] & 0xFE) == 0xF6 && (op[1] & 0x30) == 0x30; }

/* An instruction taken apart. */
struct form {
    u16 is;       /* 0: unknown */
    u8 legacy[2]; /* prefixes that matter, or 0 */
    u8 rex;
    u8 op_at, modrm_at; /* escapes and opcode are between them */
    u8 reg, rm;         /* reg may be a digit */
    u8 bytes;           /* of an operand that is written */
};

static u16 form_at(struct form *f, const u8 *b, u32 n)
{
    u8 op = b[n++];
    u16 is = one_byte[op];
    if (op == 0x0F) {
        op = b[n++];
        is = two_byte[op];
        if (op == 0x38 && b[n] == 0xF6 && (f->legacy[0] || f->legacy[1])) n++, is = ADX;
    }
    f->modrm_at = (u8)n;
    if (is & F_OPCODE) {
        f->rm = (u8)((op & 7) | (f->rex & 1) << 3);
        return is;
    }
    f->reg = (u8)((b[n] >> 3 & 7) | (f->rex & 4) << 1);
    f->rm = (u8)((b[n] & 7) | (f->rex & 1) << 3);
    if (!(is & F_DIGIT)) return is;
    const u16 found = digit_form(op, b[n] >> 3 & 7);
    return found ? (u16)(found | (is & F_BYTE)) : 0;
}

/* @i of 64-bit code without memory operand. */
static void form_of(struct form *f, const struct insn *i)
{
    u32 n = 0;
    *f = (struct form){0};
    for (; i->bytes[n] != 0x0F && (i->bytes[n] & 0xF0) != 0x40; n++) {
        const u8 b = i->bytes[n];
        if (b == 0x66) f->legacy[0] = b;
        else if (b == 0xF2 || b == 0xF3) f->legacy[1] = b;
        else if (b != 0x67 && b != 0x2E && b != 0x36 && b != 0x3E && b != 0x26 && b != 0x64 &&
                 b != 0x65)
            break;
    }
    if ((i->bytes[n] & 0xF0) == 0x40) f->rex = i->bytes[n++];
    f->op_at = (u8)n;
    f->is = form_at(f, i->bytes, n);
    f->bytes = f->is & F_BYTE ? 1 : f->rex & 8 ? 8 : f->legacy[0] && f->is != ADX ? 2 : 4;
}

/* How @f uses homed register @reg: OPND_R, OPND_W. What is written in part is read. */
static u8 uses(const struct form *f, u8 reg)
{
    u8 rw = 0;
    if (f->rm == reg) rw |= f->is >> 2 & 3;
    if (f->reg == reg && f->is & REG_RW) rw |= f->is & 3;
    return rw & OPND_W && f->bytes < 4 ? OPND_R | OPND_W : rw;
}

/* ---- the run --------------------------------------------------------------------------------- */

/* What an instruction does to T1 and T2. */
enum kind {
    TAKES, /* uses them as it likes, and the registers' places */
    TAKES_T1,
    TAKES_T2,
    LEAVES, /* leaves them alone, but may fault or jump */
    COMPUTES,
    COMPUTES_LEA,
};

static bool is_lea(const struct insn *i) { return i->mnemonic == ZYDIS_MNEMONIC_LEA; }

static enum kind kind_of(const struct insn *i, const struct compute *c)
{
    if (i->mode != ISA_64) return TAKES;
    if (i->row != INSN_COMPUTE) {
        insn_exec_fn *exec = i->row == INSN_UD ? NULL : insn_row_exec(i->row);
        return exec == x_jcc || exec == x_nop ? LEAVES : TAKES;
    }
    if (!c->plan.ok || c->plan.x87 || i->mem_bytes) return TAKES;
    if (is_lea(i))
        return i->base != BASE_RIP && i->addrsize == 8 && i->opsize >= 4 ? COMPUTES_LEA : TAKES;
    if (c->plan.mem) return TAKES;
    struct form f = {0};
    if (c->homed || i->fpu == FPU_NONE) form_of(&f, i);
    const bool divides = f.op_at < INSN_BYTES_MAX - 1 && is_divide(&i->bytes[f.op_at]);
    if (c->homed) return f.is && i->fpu == FPU_NONE && !divides ? COMPUTES : TAKES;
    return (i->fpu == FPU_NONE && !divides) || i->fpu == FPU_VEX ? COMPUTES : LEAVES;
}

u8 tr_homed_in(const struct trans *t, u8 reg)
{
    if (!is_homed(reg)) return REG_NONE;
    return t->holds.t1.reg == reg ? T1 : t->holds.t2.reg == reg ? T2 : REG_NONE;
}
static struct hold *hold_at(struct trans *t, u8 tmp)
{
    return tmp == T1 ? &t->holds.t1 : &t->holds.t2;
}
static void store(struct trans *t, u8 tmp)
{
    struct hold *h = hold_at(t, tmp);
    if (h->dirty) em_store_gs(&t->e, gpr_off(h->reg), tmp);
    h->dirty = false;
}
void tr_homed_hold(struct trans *t, u8 tmp, u8 reg, bool dirty)
{
    struct hold *other = hold_at(t, tmp == T1 ? T2 : T1);
    if (other->reg == reg) *other = (struct hold){0};
    *hold_at(t, tmp) = (struct hold){reg, dirty};
}
void tr_homed_store(struct trans *t)
{
    store(t, T1);
    store(t, T2);
}

static u8 group_of(const struct trans *t) { return t->is_second ? GROUP_NONE : t->groups.of[t->k]; }
bool tr_homed_is_direct(const struct trans *t)
{
    const struct insn *i = t->i;
    return i->row == INSN_COMPUTE && i->mode == ISA_64 && t->compute->how <= HOW_ALIGNED_TWIN &&
           !t->compute->plan.high && i->base < GPRS && !is_homed(i->base) && i->index >= GPRS &&
           !(t->window && i->base == RSP) && i->seg < FS && i->addrsize == 8 &&
           group_of(t) == GROUP_NONE && !is_tested(t);
}

/* What the instruction at hand does to what T1 and T2 hold. It may be entered anew after a fault of
 * the first form when it is the second, and then holds nothing. */
static enum kind kind_now(const struct trans *t)
{
    const enum kind kind = kind_of(t->i, t->compute);
    const u8 group = group_of(t);
    if (tr_window_leaves(t) && !t->is_second) return LEAVES;
    if (t->i->row == INSN_COMPUTE && tr_window_uses_rsp(t, t->i)) return TAKES;
    if (kind != TAKES || t->is_second || t->i->row != INSN_COMPUTE) return kind;
    if (group != GROUP_NONE) return t->groups.g[group].first == t->k ? TAKES : TAKES_T1;
    return tr_homed_is_direct(t) ? TAKES_T2 : TAKES;
}

void tr_homed_settle(struct trans *t, bool left)
{
    struct holds *h = &t->holds;
    if (!h->t1.reg && !h->t2.reg) return;
    const enum kind kind = left ? TAKES : kind_now(t);
    if (kind < COMPUTES) tr_homed_store(t);
    if (kind == TAKES || kind == TAKES_T1) h->t1.reg = 0;
    if (kind == TAKES || kind == TAKES_T2) h->t2.reg = 0;
    if (t->bt->v->count_insns && !t->count_at) h->t2.reg = 0; /* counting takes it */
}

/* Host instructions, about, that the uses of @reg in the run from here on need: when each names its
 * place in memory, and when T1 or T2 holds it. */
enum { SCAN_MAX = 24, COST_LEA = 2, COST_PART = 3, COST_UPDATE = 3 };
struct cost {
    u32 uses, in_memory, first, written;
};
static void add_use(struct cost *s, const struct insn *i, enum kind kind, u8 reg)
{
    struct form f;
    u8 rw;
    u32 place = COST_LEA;
    if (kind == COMPUTES_LEA) {
        rw = i->base == reg || i->index == reg ? OPND_R : 0;
        if (i->op[0].reg == reg) rw |= OPND_W;
        if (!rw) return;
    } else {
        form_of(&f, i);
        rw = uses(&f, reg);
        place = !(rw & OPND_W) ? 1
                : f.bytes < 8  ? COST_PART - !(rw & OPND_R)
                : rw & OPND_R  ? COST_UPDATE
                               : 1;
    }
    s->in_memory += place;
    if (!s->uses++) s->first = rw;
    s->written |= rw & OPND_W;
}
static bool is_worth_holding(const struct trans *t, u8 reg)
{
    struct cost s = {0};
    const struct insn *i = t->i;
    const struct compute *c = t->compute;
    for (u32 k = t->k; k < t->insns && k < t->k + SCAN_MAX; k++, i++, c++) {
        const enum kind kind = kind_of(i, c);
        if (kind == TAKES) break;
        if (kind == COMPUTES_LEA || (kind == COMPUTES && c->homed >> reg & 1))
            add_use(&s, i, kind, reg);
    }
    const u32 held = s.uses + (s.first & OPND_R) + (s.written ? 1 : 0);
    return s.uses > 1 && held <= s.in_memory;
}

/* ---- operands -------------------------------------------------------------------------------- */

/* T1 or T2, but not @kept, the better one to be taken. */
static u8 choose(struct trans *t, u8 kept)
{
    if (kept == T1) return T2;
    if (kept == T2) return T1;
    const bool t1_free = !t->holds.t1.reg && !t->was_in_t1;
    if (t1_free && !t->groups.count) return T1; /* some accesses leave it alone */
    if (!t->holds.t2.reg) return T2;            /* members of groups leave this one */
    return t1_free || (t->holds.t2.dirty && !t->was_in_t1) ? T1 : T2;
}
/* T1 or T2, which holds @reg from now on. @kept is not taken for it. */
static u8 take(struct trans *t, u8 reg, bool load, u8 kept)
{
    u8 tmp = tr_homed_in(t, reg);
    if (tmp != REG_NONE) return tmp;
    tmp = choose(t, kept);
    store(t, tmp);
    if (tmp == T1) t->was_in_t1 = NULL;
    *hold_at(t, tmp) = (struct hold){reg, false};
    if (load) em_load_gs(&t->e, tmp, gpr_off(reg));
    return tmp;
}

/* ---- spelling -------------------------------------------------------------------------------- */

/* Where the host's instruction has its operands: @place of v->gpr[] instead of ModRM.rm, or 0. */
struct operands {
    u8 reg, rm;
    size_t place;
    bool flipped;
};

static void put(struct trans *t, const struct form *f, const struct operands *o)
{
    struct emit *e = &t->e;
    const struct insn *i = t->i;
    const u8 reg = o->flipped ? o->rm : o->reg, rm = o->flipped ? o->reg : o->rm;
    u32 rex = f->rex & 0x48u;
    if (o->place) em_byte(e, 0x65);
    if (f->legacy[0]) em_byte(e, f->legacy[0]);
    if (f->legacy[1]) em_byte(e, f->legacy[1]);
    if (!(f->is & F_OPCODE)) rex |= (reg & 8u) >> 1;
    if (!o->place) rex |= (rm & 8u) >> 3;
    em_byte(e, rex);
    em_bytes(e, i->bytes + f->op_at, (u32)(f->modrm_at - f->op_at - 1));
    u8 op = i->bytes[f->modrm_at - 1];
    u32 rest = f->modrm_at;
    if (f->is & F_OPCODE) {
        em_byte(e, (op & 0xF8u) | (rm & 7));
    } else {
        if (o->flipped && f->is & F_FLIP) op ^= 2;
        em_byte(e, op);
        rest++;
        if (o->place) em_modrm_mem(e, reg, (struct em_mem){REG_NONE, REG_NONE, 0, (s32)o->place});
        else em_byte(e, 0xC0u | (reg & 7u) << 3 | (rm & 7u));
    }
    em_bytes(e, i->bytes + rest, (u32)i->len - rest);
}

/* May @f, whose operand @reg is, name its place in memory instead? */
static bool may_name_place(const struct form *f, u8 rw, bool is_rm)
{
    if (f->is & F_NO_MEM || (rw & OPND_W && f->bytes < 8)) return false;
    return is_rm || f->is & (F_FLIP | F_SAME);
}

/* TEST of a register with itself: CMP of its place with 0. */
static bool put_test(struct trans *t, const struct form *f)
{
    const u8 op = t->i->bytes[f->op_at];
    if ((op & 0xFE) != 0x84 || f->reg != f->rm) return false;
    if (tr_homed_in(t, f->rm) != REG_NONE || is_worth_holding(t, f->rm)) return false;
    em_byte(&t->e, 0x65);
    if (f->bytes == 2) em_byte(&t->e, 0x66);
    if (f->bytes == 8) em_byte(&t->e, 0x48);
    em_byte(&t->e, op == 0x84 ? 0x80 : 0x83);
    em_modrm_mem(&t->e, 7, (struct em_mem){REG_NONE, REG_NONE, 0, (s32)gpr_off(f->rm)});
    em_byte(&t->e, 0);
    return true;
}

/* MOV of a constant: to the place, too. */
static bool put_constant(struct trans *t, const struct form *f)
{
    const u8 op = t->i->bytes[f->op_at];
    const u64 val = f->bytes == 8 ? t->i->imm : (u32)t->i->imm;
    if ((op & 0xF8) != 0xB8 || !(f->is & F_OPCODE) || f->modrm_at != f->op_at + 1) return false;
    if (f->bytes < 4 || val != (u64)(s64)(s32)val) return false;
    if (tr_homed_in(t, f->rm) != REG_NONE || is_worth_holding(t, f->rm)) return false;
    em_byte(&t->e, 0x65);
    em_byte(&t->e, 0x48);
    em_byte(&t->e, 0xC7);
    em_modrm_mem(&t->e, 0, (struct em_mem){REG_NONE, REG_NONE, 0, (s32)gpr_off(f->rm)});
    em_u32(&t->e, (u32)val);
    return true;
}

/* XOR or SUB of a register and itself */
static bool makes_zero(const struct form *f, const struct insn *i)
{
    const u8 op = i->bytes[f->op_at];
    return f->reg == f->rm && f->bytes >= 4 &&
           (op == 0x31 || op == 0x33 || op == 0x29 || op == 0x2B);
}

static void put_form(struct trans *t, const struct form *f)
{
    struct operands o = {.reg = f->reg, .rm = f->rm};
    const bool reg_homed = f->is & REG_RW && is_homed(f->reg);
    const bool rm_homed = is_homed(f->rm), both = reg_homed && rm_homed && f->reg == f->rm;
    const u8 reg_rw = reg_homed ? uses(f, f->reg) : 0, rm_rw = rm_homed ? uses(f, f->rm) : 0;
    const bool zero = makes_zero(f, t->i);
    u8 kept = REG_NONE;
    if (put_constant(t, f) || put_test(t, f)) return;
    if (reg_homed) kept = o.reg = tr_homed_in(t, f->reg);
    if (rm_homed) {
        o.rm = tr_homed_in(t, f->rm);
        if (o.rm != REG_NONE) kept = o.rm;
    }
    if (rm_homed && o.rm == REG_NONE && !both && may_name_place(f, rm_rw, true) &&
        !is_worth_holding(t, f->rm))
        o.place = gpr_off(f->rm);
    if (reg_homed && o.reg == REG_NONE && !both && !o.place && may_name_place(f, reg_rw, false) &&
        !is_worth_holding(t, f->reg)) {
        o.place = gpr_off(f->reg);
        o.flipped = true;
    }
    if (rm_homed && o.rm == REG_NONE && (!o.place || o.flipped))
        kept = o.rm = take(t, f->rm, rm_rw & OPND_R && !zero, kept);
    if (reg_homed && o.reg == REG_NONE && !o.flipped)
        o.reg = take(t, f->reg, reg_rw & OPND_R && !zero, kept);
    put(t, f, &o);
    if (reg_rw & OPND_W && !o.flipped) hold_at(t, o.reg)->dirty = true;
    if (rm_rw & OPND_W && (!o.place || o.flipped)) hold_at(t, o.rm)->dirty = true;
}

/* The destination may be the temporary of a source. */
bool tr_homed_lea(struct trans *t)
{
    const struct insn *i = t->i;
    struct em_mem m = {i->base, i->index, i->scale, (s32)i->disp};
    u8 dst = i->op[0].reg;
    if (kind_of(i, t->compute) != COMPUTES_LEA) return false;
    if (is_homed(i->base)) m.base = take(t, i->base, true, tr_homed_in(t, i->index));
    if (is_homed(i->index)) m.index = take(t, i->index, true, m.base);
    if (is_homed(dst)) {
        dst = take(t, dst, false, REG_NONE);
        hold_at(t, dst)->dirty = true;
    }
    em_mem_op(&t->e, EM_LEA, i->opsize == 8 ? EM_64 : EM_32, dst, m);
    t->in_t1 = t->was_in_t1;
    return true;
}

bool tr_homed_copy(struct trans *t, const struct compute *c)
{
    if (c->homed && kind_of(t->i, c) != COMPUTES) return false;
    if (c->homed) {
        struct form f;
        form_of(&f, t->i);
        put_form(t, &f);
    } else {
        em_bytes(&t->e, t->i->bytes, t->i->len);
    }
    t->in_t1 = t->was_in_t1;
    return true;
}
