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
 */
#include "cpu/insn_exec.h"
#include "engine/bt/trans.h"

/* ---- finding them ---------------------------------------------------------------------------- */

static size_t slot_off(const struct trans *t, const struct group *g)
{
    return offsetof(struct vcpu, eng.group) + 8u * (size_t)(g - t->groups.g);
}
static s64 disp_of(const struct insn *i, u16 off)
{
    return i->base == BASE_RIP ? i->disp + off + i->len : i->disp;
}

/* The general registers @i writes; ENDS when it ends all groups: it calls C code, or may do so. */
enum { ENDS = 1 << GPRS };
static u32 written(const struct insn *i, const struct compute *c)
{
    if (i->row == INSN_COMPUTE) return c->plan.ok && !c->plan.x87 ? c->plan.gpr_written : ENDS;
    insn_exec_fn *exec = insn_row_exec(i->row);
    if (exec == x_jcc || exec == x_nop) return 0;
    if (exec == x_push_reg || exec == x_push_imm) return 1 << RSP;
    if (exec == x_pop_reg) return 1u << RSP | 1u << (i->op[0].reg & 15);
    return ENDS;
}
static bool depends(const struct group *g, u32 regs)
{
    return regs & ENDS || (g->base < GPRS && regs >> g->base & 1) ||
           (g->index < GPRS && regs >> g->index & 1);
}

/* Traps a misaligned operand of this instruction before it is accessed? */
static bool must_be_aligned(const struct insn *i, const struct compute *c)
{
    return i->mem_bytes < 16 || c->how == HOW_ALIGNED_TWIN || c->plan.aligned;
}

enum { GAIN = 3, GAIN_WINDOW = 10, COST = 2, COST_TEST = 5 }; /* host instructions, about */
static u32 gain(const struct compute *c) { return c->how == HOW_WINDOW ? GAIN_WINDOW : GAIN; }

static bool is_tested_at(const struct trans *t, u16 off)
{
    return t->bt->hints && t->bt->hints->tested[off / 8] >> (off % 8) & 1;
}

struct finder {
    struct trans *t;
    const struct insn *insn;
    const struct compute *c;
    u32 count;
    u64 able; /* instructions that may be members */
    u16 off[BT_BLOCK_INSNS];
    u32 written[BT_BLOCK_INSNS];
};

/* Is @k, which may be a member, of the same kind as @g and near? Then it is taken in. */
static bool take(const struct finder *f, struct group *g, u32 k)
{
    const struct insn *i = &f->insn[k];
    if (i->base != g->base || i->index != g->index || i->scale != g->scale) return false;
    const s64 lo = disp_of(i, f->off[k]), hi = lo + i->mem_bytes;
    const s64 least = lo < g->lo ? lo : g->lo, most = hi > g->hi ? hi : g->hi;
    if (most - least > GROUP_SPAN_MAX) return false;
    g->lo = least;
    g->hi = most;
    g->writes |= (i->mem_rw & OPND_W) != 0;
    g->tested |= is_tested_at(f->t, f->off[k]);
    return true;
}

/* The group that begins with @first; returns its members, 0 when it is not worth it. */
static u64 collect(const struct finder *f, struct group *g, u32 first)
{
    const struct insn *i = &f->insn[first];
    u64 members = BIT(first);
    *g = (struct group){.base = i->base, .index = i->index, .scale = i->scale, .first = (u8)first};
    g->lo = g->hi = disp_of(i, f->off[first]);
    take(f, g, first);
    u32 sum = f->c[first].how == HOW_WINDOW ? GAIN_WINDOW : 0;
    for (u32 k = first; !depends(g, f->written[k]) && f->able >> k > 1;) {
        k++;
        if (!(f->able & BIT(k)) || !take(f, g, k)) continue;
        members |= BIT(k);
        sum += gain(&f->c[k]);
    }
    if (members == BIT(first)) return 0;
    g->test = g->hi - g->lo > i->mem_bytes || !must_be_aligned(i, &f->c[first]);
    for (g->zone = MASK_LOW_MIN; g->hi - g->lo > 1 << g->zone;) g->zone++;
    return sum > COST + (g->test ? COST_TEST : 0) ? members : 0;
}

static void find_able(struct finder *f, struct trans *t, const struct block *b,
                      const struct compute *c)
{
    u16 at = t->block_off;
    f->t = t;
    f->insn = b->first;
    f->c = c;
    f->count = (u32)min_u64(b->count, BT_BLOCK_INSNS);
    f->able = 0;
    for (u32 k = 0; k < f->count; at = (u16)(at + b->first[k++].len)) {
        const struct insn *i = t->i = &b->first[k];
        f->off[k] = at;
        f->written[k] = written(i, &c[k]);
        if (i->row == INSN_COMPUTE && tr_is_groupable(t, &c[k])) f->able |= BIT(k);
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
    const s64 lowest = t->i->base == BASE_RIP ? g->lo - next_off(t) : g->lo;
    tr_effective(t, (s32)(lowest + ahead(g) - t->i->disp), T1);
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

static bool access_first(struct trans *t, const struct compute *c, struct group *g)
{
    struct compute how = *c;
    const s32 at = (s32)(disp_of(t->i, t->off) - g->lo) - ahead(g);
    if (g->test || how.how != HOW_ALIGNED_TWIN) how.how = HOW_PLAIN;
    look_up(t, g);
    if (!tr_spell(t, &how, (struct em_mem){T1, g->tested ? REG_NONE : T2, 0, at})) return false;
    if (!g->tested) em_lea_sum(&t->e, T1, T1, T2);
    em_store_gs(&t->e, slot_off(t, g), T1);
    g->emitted = true;
    return true;
}
static bool access_other(struct trans *t, const struct compute *c, const struct group *g)
{
    struct compute how = *c;
    how.how = HOW_PLAIN;
    if (t->was_in_t1 != g) em_load_gs(&t->e, T1, slot_off(t, g));
    const s32 at = (s32)(disp_of(t->i, t->off) - g->lo) - ahead(g);
    return tr_spell(t, &how, (struct em_mem){T1, REG_NONE, 0, at});
}

bool tr_group_access(struct trans *t, const struct compute *c)
{
    struct group *g = &t->groups.g[t->groups.of[t->k]];
    const bool done = t->k == g->first ? access_first(t, c, g) : access_other(t, c, g);
    if (done) t->in_t1 = g;
    else g->site = 0;
    return done;
}
