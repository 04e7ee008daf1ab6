/* trans_group.c - accesses of a block that share a table look-up.
 *
 * Instructions of a block whose memory operands have the same base and index, unchanged from the
 * first to the last of them, and displacements within GROUP_SPAN_MAX bytes, are a group. The first
 * looks up the page of the group's lowest byte, makes sure that its highest is in the same page,
 * and leaves the host address of the lowest in eng.group[]; the others take it from there:
 *
 *   first:   lea T1, [lowest]; T2 = entry; page test; op [T1 + T2 + d]; add to T1; mov [group], T1
 *   others:  mov T1, [group] (unless T1 has it still); op [T1 + d]
 *
 * What is in eng.group[] is right as long as nobody changes the tables, which C code alone does. So
 * from the first such instruction to its end a block has a second form of every instruction, which
 * shares nothing, and all that may call C code - a fault, a missing entry - goes on there to the
 * end of the block (bt_mark.again). Instructions that call C code themselves end all groups.
 *
 * The second form also serves a group that lies in two pages, unless these are neighbours in the
 * host's memory, too: then their entries are equal, and the first form is right for both
 * (tr_group_prelude). Where the first access traps unless aligned, and no other is beyond it,
 * there is no test.
 *
 * A group survives known changes of its registers (ADD, SUB, INC, DEC, LEA, PUSH, POP): the
 * displacements of its members count from where these were at the first. PUSH, POP, CALL and RET
 * are members, too; in a run of them RSP moves once, behind the last (tr_group_goes_on).
 *
 * T1 is computed ahead of the lowest byte, so that its bits tell whether the group may lie in two
 * pages (page_test).
 */
#include <Zydis/Mnemonic.h>

#include "cpu/insn_exec.h"
#include "engine/bt/trans_window.h"

/* ---- finding them ---------------------------------------------------------------------------- */

static size_t slot_off(const struct trans *t, const struct group *g)
{
    return offsetof(struct vcpu, eng.group) + 8u * (size_t)(g - t->groups.g);
}

/* What an instruction adds to a register it writes, 8 bytes; UNKNOWN: that, or something else. */
static const s64 UNKNOWN = INT64_MIN;
struct addition {
    u8 reg;
    s64 val;
};

struct finder {
    struct trans *t;
    const struct insn *insn;
    const struct compute *c;
    u32 count;
    u64 able;  /* instructions that may be members */
    bool loop; /* the block jumps to its start, or is hot: what is saved is saved often */
    u16 off[BT_BLOCK_INSNS];
    u32 written[BT_BLOCK_INSNS];
    struct addition added[BT_BLOCK_INSNS];
};

/* ---- instructions that push and pop ---- */

static insn_exec_fn *row_of(const struct insn *i)
{
    return i->row == INSN_COMPUTE || i->row == INSN_UD ? NULL : insn_row_exec(i->row);
}
static bool is_push(const struct insn *i)
{
    return row_of(i) == x_push_reg || row_of(i) == x_push_imm || row_of(i) == x_call_rel;
}
static bool is_pop(const struct insn *i) { return row_of(i) == x_pop_reg || row_of(i) == x_ret; }

/* May @i, which pushes or pops 8 bytes, be a member? */
static bool is_stack_access(const struct trans *t, const struct insn *i, u16 off)
{
    const struct bt_hints *h = t->bt->hints;
    const bool jumps = row_of(i) == x_call_rel || row_of(i) == x_ret;
    if (t->window || i->mode != ISA_64 || i->stack_bytes != 8 || !(is_push(i) || is_pop(i)))
        return false;
    if (jumps && i->opsize != 8) return false;
    if (i->op[0].kind == OPND_REG && i->op[0].reg == RSP) return false;
    return !h || !(bt_hint(h->checked, off) || bt_hint(h->stepped, off));
}

static s64 added_by_compute(const struct insn *i, u8 reg)
{
    if (i->mnemonic == ZYDIS_MNEMONIC_INC) return 1;
    if (i->mnemonic == ZYDIS_MNEMONIC_DEC) return -1;
    if (i->mnemonic == ZYDIS_MNEMONIC_LEA)
        return i->base == reg && i->index == REG_NONE && i->addrsize == 8 && i->disp == (s32)i->disp
                   ? i->disp
                   : UNKNOWN;
    if (i->opnds < 2 || i->op[1].kind != OPND_IMM || (s64)i->imm != (s32)i->imm) return UNKNOWN;
    if (i->mnemonic == ZYDIS_MNEMONIC_ADD) return (s64)i->imm;
    return i->mnemonic == ZYDIS_MNEMONIC_SUB ? -(s64)i->imm : UNKNOWN;
}
static struct addition added(const struct insn *i)
{
    struct addition a = {RSP, UNKNOWN};
    if (i->mode != ISA_64) return a;
    if (row_of(i) == x_push_reg || row_of(i) == x_push_imm) a.val = -(s64)i->stack_bytes;
    if (row_of(i) == x_pop_reg && i->op[0].reg != RSP) a.val = i->stack_bytes;
    if (i->row != INSN_COMPUTE || i->opsize != 8 || i->op[0].kind != OPND_REG ||
        i->op[0].file != RF_GPR)
        return a;
    a.reg = i->op[0].reg;
    a.val = added_by_compute(i, a.reg);
    return a;
}

/* The general registers @i writes; ENDS when it ends all groups: it calls C code, or may do so. */
enum { ENDS = 1 << GPRS };
static u32 written(const struct insn *i, const struct compute *c)
{
    if (i->row == INSN_COMPUTE) return c->plan.ok && !c->plan.x87 ? c->plan.gpr_written : ENDS;
    if (row_of(i) == x_jcc || row_of(i) == x_nop) return 0;
    if (row_of(i) == x_push_reg || row_of(i) == x_push_imm) return 1 << RSP;
    if (row_of(i) == x_pop_reg) return 1u << RSP | 1u << (i->op[0].reg & 15);
    return ENDS;
}

/* Does @k leave the address of @g's operands unknown? Else *moved is how far it has moved. */
static bool breaks(const struct finder *f, const struct group *g, u32 k, s64 *moved)
{
    const struct addition a = f->added[k];
    u32 regs = f->written[k];
    if (a.val != UNKNOWN) {
        regs &= ~(1u << a.reg);
        if (g->base == a.reg) *moved += a.val;
        if (g->index == a.reg) *moved += a.val * (1 << g->scale);
    }
    return regs & ENDS || (g->base < GPRS && regs >> g->base & 1) ||
           (g->index < GPRS && regs >> g->index & 1);
}

/* ---- members ---- */

/* The operand of a possible member. */
struct operand {
    u8 base, index, scale, rw;
    u32 bytes;
    s64 disp;
};
static struct operand operand_of(const struct finder *f, u32 k)
{
    const struct insn *i = &f->insn[k];
    if (i->row != INSN_COMPUTE)
        return is_push(i) ? (struct operand){RSP, REG_NONE, 0, OPND_W, 8, -8}
                          : (struct operand){RSP, REG_NONE, 0, OPND_R, 8, 0};
    const s64 off = i->base == BASE_RIP ? f->off[k] + i->len : 0;
    return (struct operand){i->base, i->index, i->scale, i->mem_rw, i->mem_bytes, i->disp + off};
}

/* Traps a misaligned operand of this instruction before it is accessed? */
static bool must_be_aligned(const struct insn *i, const struct compute *c)
{
    return i->row != INSN_COMPUTE || i->mem_bytes < 16 || c->how == HOW_ALIGNED_TWIN ||
           c->plan.aligned;
}

/* Host instructions, about. COST_SPLIT: when T1 is in the last bytes of a page. WORTH: less does
 * not make up for the second forms, but in loops. */
enum { GAIN = 3, GAIN_WINDOW = 10, COST = 2, COST_TEST = 5, COST_SPLIT = 30, WORTH = 8 };
static u32 gain(const struct finder *f, u32 k)
{
    if (f->insn[k].row != INSN_COMPUTE) return GAIN + 1;
    return f->c[k].how == HOW_WINDOW ? GAIN_WINDOW : GAIN + (f->insn[k].disp != 0);
}
static u32 cost(const struct group *g)
{
    return COST - !g->kept + (g->test ? COST_TEST + (COST_SPLIT << g->zone >> PAGE_SHIFT) : 0);
}

/* Is @k, which may be a member, of the same kind as @g and near, @moved since? Then it is taken
 * in. */
static bool take(const struct finder *f, struct group *g, u32 k, s64 moved)
{
    const struct operand o = operand_of(f, k);
    if (o.base != g->base || o.index != g->index || o.scale != g->scale) return false;
    const s64 lo = o.disp + moved, hi = lo + o.bytes;
    const s64 least = lo < g->lo ? lo : g->lo, most = hi > g->hi ? hi : g->hi;
    if (most - least > GROUP_SPAN_MAX) return false;
    g->lo = least;
    g->hi = most;
    g->writes |= (o.rw & OPND_W) != 0;
    g->tested |= f->t->bt->hints && bt_hint(f->t->bt->hints->tested, f->off[k]);
    f->t->groups.disp[k] = lo;
    return true;
}

/* Does T1 survive @k, no member? */
static bool spares_t1(const struct finder *f, u32 k)
{
    const struct insn *i = &f->insn[k];
    if (i->row != INSN_COMPUTE) return row_of(i) == x_jcc;
    return !i->mem_bytes && !f->c[k].plan.mem && !f->c[k].homed && !tr_window_uses_rsp(f->t, i);
}

/* The group that begins with @first; returns its members, 0 when it is not worth it. */
static u64 collect(const struct finder *f, struct group *g, u32 first)
{
    const struct operand o = operand_of(f, first);
    u64 members = BIT(first);
    s64 moved = 0;
    bool spared = true;
    *g = (struct group){.base = o.base, .index = o.index, .scale = o.scale, .first = (u8)first};
    g->lo = g->hi = o.disp;
    take(f, g, first, 0);
    u32 sum = f->insn[first].row == INSN_COMPUTE && f->c[first].how == HOW_WINDOW ? GAIN_WINDOW : 0;
    for (u32 k = first; !breaks(f, g, k, &moved) && f->able >> k > 1;) {
        k++;
        if (!(f->able & BIT(k)) || !take(f, g, k, moved)) {
            spared = spared && spares_t1(f, k);
            continue;
        }
        members |= BIT(k);
        sum += gain(f, k);
        g->kept |= !spared;
    }
    if (members == BIT(first)) return 0;
    g->test = g->hi - g->lo > o.bytes || !must_be_aligned(&f->insn[first], &f->c[first]);
    for (g->zone = MASK_LOW_MIN; g->hi - g->lo > 1 << g->zone;) g->zone++;
    return sum >= cost(g) + (f->loop ? 1 : WORTH) ? members : 0;
}

static bool is_able(struct trans *t, const struct insn *i, const struct compute *c, u16 off)
{
    return i->row == INSN_COMPUTE ? tr_is_groupable(t, c) : is_stack_access(t, i, off);
}

static void find_able(struct finder *f, struct trans *t, const struct block *b,
                      const struct compute *c)
{
    t->next = t->block_off;
    f->t = t;
    f->insn = b->first;
    f->c = c;
    f->count = (u32)min_u64(b->count, BT_BLOCK_INSNS);
    f->able = 0;
    f->loop = t->bt->eager || (t->bt->hints && bt_hint(t->bt->hints->hot, t->block_off));
    for (u32 k = 0; k < f->count; k++) {
        const struct insn *i = t->i = &b->first[k];
        const u16 at = f->off[k] = t->next;
        t->next = tr_turns(t, k) ? t->block_off : (u16)(at + i->len);
        f->written[k] = written(i, &c[k]);
        f->added[k] = added(i);
        if (is_able(t, i, &c[k], at)) f->able |= BIT(k);
        if (i->op[0].kind == OPND_REL && at + i->len + (s64)i->imm == t->block_off) f->loop = true;
    }
}

void tr_groups_find(struct trans *t, const struct block *b, const struct compute *c)
{
    struct finder f;
    struct groups *gs = &t->groups;
    memset(gs->of, GROUP_NONE, sizeof gs->of);
    gs->first = BT_BLOCK_INSNS;
    find_able(&f, t, b, c);
    for (u32 k = 0; f.able >> k > 1 && gs->count < GROUPS_MAX; k++) {
        if (!(f.able & BIT(k))) continue;
        const u64 members = collect(&f, &gs->g[gs->count], k);
        if (!members) continue;
        for (u32 m = k; m < f.count; m++)
            if (members & BIT(m)) gs->of[m] = (u8)gs->count;
        if (!gs->count++) gs->first = (u8)k;
        f.able &= ~members;
    }
}

/* ---- the first access ------------------------------------------------------------------------ */

/* What T1, and then eng.group[], is ahead of the group's lowest byte. */
static s32 ahead(const struct group *g) { return g->test ? 1 << g->zone : 0; }

/* The group may lie in two pages when it begins in the last 1 << zone bytes of one; then T1, that
 * much ahead, is in the first bytes of the next. */
static void page_test(struct trans *t, struct group *g)
{
    em_mov(&t->e, T2, RCX);
    tr_low_bits(t, RCX, T1, g->zone);
    g->site = em_jump_rcx_zero(&t->e);
    em_mov(&t->e, RCX, T2);
}
/* T1 becomes a host address. */
static void entry_test(struct trans *t, const struct group *g)
{
    struct emit *e = &t->e;
    em_lea_sum(e, T1, T1, T2);
    em_mov(e, T2, RCX);
    tr_entry_bits(t, RCX, T1, g->writes);
    const u32 good = em_jump8(e, EM_JRCXZ);
    tr_cold(t, COLD_AGAIN, em_jump32(e, EM_JMP), 0);
    em_fix8(e, good);
    em_mov(e, RCX, T2);
}

static void look_up(struct trans *t, struct group *g)
{
    const s64 at = (g->base == BASE_RIP ? g->lo - next_off(t) : g->lo) + ahead(g);
    if (t->i->row == INSN_COMPUTE) tr_effective(t, (s32)(at - t->i->disp), T1);
    else em_lea_disp(&t->e, T1, RSP, (s32)at);
    if (g->test) page_test(t, g);
    tr_lookup(t, T1);
    g->back = t->e.n;
    if (g->tested) entry_test(t, g);
}

/* RCX is in T2, T1 is as the jump found it. */
void tr_group_prelude(struct trans *t, const struct group *g, u32 otherwise)
{
    struct emit *e = &t->e;
    em_fix32(e, g->site, e->n);
    em_mov(e, RCX, T2);
    em_store_gs(e, SAVE_ADDRESS, T1);
    em_lea_disp(e, T1, T1, -ahead(g));
    tr_lookup(t, T1);
    em_store_gs(e, SAVE_VALUE, T2);
    em_lea_disp(e, T1, T1, (s32)(g->hi - g->lo) - 1);
    tr_lookup(t, T1);
    em_mov(e, T1, T2); /* equal when the one less the other is 0 */
    em_not(e, EM_64, T1);
    em_load_gs(e, T2, SAVE_VALUE);
    em_lea(e, T1, (struct em_mem){T1, T2, 0, 1});
    em_mov(e, TB, RCX);
    em_mov(e, RCX, T1);
    const u32 equal = em_jump8(e, EM_JRCXZ);
    em_mov(e, RCX, TB);
    tr_table_reload(t);
    em_fix32(e, em_jump32(e, EM_JMP), otherwise);
    em_fix8(e, equal);
    em_mov(e, RCX, TB);
    tr_table_reload(t);
    em_load_gs(e, T1, SAVE_ADDRESS);
    em_load_gs(e, T2, SAVE_VALUE);
    em_fix32(e, em_jump32(e, EM_JMP), g->back);
}

/* ---- the accesses ---------------------------------------------------------------------------- */

struct em_mem tr_group_operand(struct trans *t)
{
    struct group *g = &t->groups.g[t->groups.of[t->k]];
    const s32 at = (s32)(t->groups.disp[t->k] - g->lo) - ahead(g);
    if (t->k == g->first) look_up(t, g);
    else if (t->was_in_t1 != g) em_load_gs(&t->e, T1, slot_off(t, g));
    return (struct em_mem){T1, t->k == g->first && !g->tested ? T2 : REG_NONE, 0, at};
}

void tr_group_accessed(struct trans *t)
{
    struct group *g = &t->groups.g[t->groups.of[t->k]];
    t->in_t1 = g;
    if (t->k != g->first) return;
    if (!g->tested) em_lea_sum(&t->e, T1, T1, T2);
    if (g->kept) em_store_gs(&t->e, slot_off(t, g), T1);
    g->emitted = true;
}

bool tr_group_access(struct trans *t, const struct compute *c)
{
    struct group *g = &t->groups.g[t->groups.of[t->k]];
    struct compute how = *c;
    if (t->k != g->first || g->test || how.how != HOW_ALIGNED_TWIN) how.how = HOW_PLAIN;
    const struct em_mem at = tr_group_operand(t);
    if (!tr_spell(t, &how, at)) {
        g->site = 0;
        return false;
    }
    tr_group_accessed(t);
    return true;
}

/* In a run of them only the first can fault: the others' bytes are in the page it accessed, and in
 * the same way. */
bool tr_group_goes_on(const struct trans *t)
{
    const struct groups *gs = &t->groups;
    if (t->is_last || gs->of[t->k + 1] != gs->of[t->k]) return false;
    return (is_push(t->i) && is_push(t->i + 1)) || (is_pop(t->i) && is_pop(t->i + 1));
}
