/* translate.c - one block of decoded guest instructions to host code: entries, control flow, exits.
 * See bt_internal.h for the conventions.
 *
 *   far entry:   lea T2, [T1 - block's page offset]; mov gs:[code_base], T2   if the page wanders
 *   near entry:  mov T2d, [poll word]
 *   the instructions, in order
 *   exits taken rarely ("cold")
 *
 * Assumed of the world and checked by nobody here, so whoever changes it drops the blocks with such
 * instructions (code_assume): v->fpu_fault[] and CR4; and the CPU model, the hints of the page. */
#include <Zydis/Mnemonic.h>

#include "cpu/insn_exec.h"
#include "engine/bt/code.h"
#include "engine/bt/marks.h"
#include "engine/bt/trans_flow.h"
#include "engine/bt/trans_hints.h"
#include "engine/bt/trans_system.h"
#include "engine/bt/trans_window.h"
#include "engine/bt/trans_x87.h"

/* ---- exits ----------------------------------------------------------------------------------- */

void tr_cold(struct trans *t, enum cold_kind kind, u32 site, s64 arg)
{
    if (t->colds == COLDS_MAX) return; /* cannot be: see there */
    t->cold[t->colds++] = (struct cold){
        .kind = (u8)kind, .off = t->off, .mark = (u8)(t->marks - 1), .site = site, .arg = arg};
}

void tr_jump_stub(struct trans *t, u32 stub)
{
    u32 site = em_jump32(&t->e, EM_JMP);
    em_fix32(&t->e, site, stub - t->code_off);
}

/* A field of the jump table in use, from TB. */
static s32 jump_field(const struct trans *t, size_t off)
{
    return jump_at(jump_kind(t->bt->vec_loaded, t->is32), off);
}

void tr_base(struct trans *t, u8 dst)
{
    const size_t off = offsetof(struct jump_table, base) + t->out->page * sizeof(u64);
    const struct em_mem base = {TB, REG_NONE, 0, jump_field(t, off)};
    if (t->out->wanders) em_load_gs(&t->e, dst, offsetof(struct vcpu, eng.code_base));
    else em_mem_op(&t->e, EM_MOV_LOAD, EM_64, dst, base);
}

void tr_code_address(struct trans *t, u8 dst, s64 off)
{
    tr_base(t, dst);
    if (off == (s64)(s32)off) {
        em_mem_op(&t->e, EM_LEA, tr_width(t), dst, (struct em_mem){dst, REG_NONE, 0, (s32)off});
    } else {
        em_mov_imm(&t->e, T2, (u64)off);
        em_mem_op(&t->e, EM_LEA, tr_width(t), dst, (struct em_mem){dst, T2, 0, 0});
    }
}

static bool in_page(s64 off) { return off >= 0 && off < (s64)PAGE_BYTES; }

/* In place: each jump has its own prediction. An entry that does not match is looked up the long
 * way. */
void tr_jump_table(struct trans *t)
{
    struct emit *e = &t->e;
    const s32 key = jump_field(t, offsetof(struct jump_table, minus_address));
    const s32 code = jump_field(t, offsetof(struct jump_table, code));
    em_field(e, T2, T1, JUMP_SHIFT, JUMP_BITS);
    em_store_gs(e, SAVE_JUMP, RCX);
    em_mem_op(e, EM_MOV_LOAD, EM_64, RCX, (struct em_mem){TB, T2, 3, key});
    em_lea_sum(e, RCX, RCX, T1);
    u32 hit = em_jump8(e, EM_JRCXZ);
    tr_cold(t, COLD_JUMP, em_jump32(e, EM_JMP), 0);
    em_fix8(e, hit);
    em_load_gs(e, RCX, SAVE_JUMP);
    em_jump_mem(e, (struct em_mem){TB, T2, 3, code});
}

/* By the jump's slot of the present table (far.h), which leads here behind at first. */
static void put_slot_jump(struct trans *t, s64 target)
{
    struct bt_out *o = t->out;
    const u32 slot = o->slot + o->slots;
    const size_t off = offsetof(struct jump_table, slot) + slot * sizeof(u64);
    em_jump_mem(&t->e, (struct em_mem){TB, REG_NONE, 0, jump_field(t, off)});
    o->far[o->slots++] = (struct bt_far){.miss = (u16)t->e.n, .off = t->off};
    tr_code_address(t, T1, target);
    em_mov_imm(&t->e, T2, SITE_SLOT | slot);
    tr_jump_stub(t, t->bt->stubs.lookup);
}

static void put_far_jump(struct trans *t, s64 target)
{
    const struct bt_out *o = t->out;
    if (o->slots < BT_BLOCK_SLOTS && o->slots < o->slot_room) {
        put_slot_jump(t, target);
        return;
    }
    tr_code_address(t, T1, target);
    tr_jump_table(t);
}

void tr_branch(struct trans *t, int cc, s64 target)
{
    if (!in_page(target) && cc == EM_JMP) {
        put_far_jump(t, target);
        return;
    }
    u32 site = em_jump32(&t->e, cc);
    if (target == t->block_off) em_fix32(&t->e, site, t->near);
    else tr_cold(t, in_page(target) ? COLD_LINK : COLD_FAR, site, target);
}

static void put_step(struct trans *t, u16 off)
{
    em_mov_imm(&t->e, T1, tr_place(t, off));
    tr_jump_stub(t, t->bt->stubs.step);
}

static void put_window(struct trans *t, const struct cold *c)
{
    em_shift_up(&t->e, RCX, T1, (u8)(64 - __builtin_ctzll((u64)c->arg)));
    u32 aligned = em_jump8(&t->e, EM_JRCXZ);
    em_mov(&t->e, RCX, TB);
    put_step(t, c->off);
    em_fix8(&t->e, aligned);
    em_fix32(&t->e, em_jump32(&t->e, EM_JMP), c->back);
}

static void put_mark(struct trans *t, u32 host_off)
{
    t->mark[t->marks++] = (struct bt_mark){(u16)host_off, t->off, (u16)host_off};
}
/* What follows belongs to the instruction of mark @k, and starts again where that does. */
static void put_mark_of(struct trans *t, u32 k)
{
    t->off = t->mark[k].guest_off;
    put_mark(t, t->e.n);
    t->mark[t->marks - 1].again = t->mark[k].again;
}

/* The operand of @c->arg bytes does not cross when it is aligned: it is at the page's end. */
static void put_ahead(struct trans *t, const struct cold *c)
{
    struct emit *e = &t->e;
    em_shift_up(e, RCX, T1, (u8)(64 - __builtin_ctzll((u64)c->arg)));
    const u32 aligned = em_jump8(e, EM_JRCXZ);
    em_mov(e, RCX, T2);
    put_step(t, c->off);
    em_fix8(e, aligned);
    put_mark_of(t, c->mark);
    em_mov(e, RCX, T2);
    em_lea_disp(e, T2, T1, -(s32)c->arg);
    tr_lookup(t, T2);
    em_fix32(e, em_jump32(e, EM_JMP), c->back);
}

/* Where the instruction of @c starts again, at the first one behind the entries. */
static u32 again_of(const struct trans *t, const struct cold *c)
{
    const u32 again = t->mark[c->mark].again;
    return again ? again : t->first;
}

static void put_again(struct trans *t, const struct cold *c)
{
    em_mov(&t->e, RCX, T2);
    em_fix32(&t->e, em_jump32(&t->e, EM_JMP), again_of(t, c));
}

static void put_fill(struct trans *t, const struct cold *c)
{
    em_mov(&t->e, RCX, c->arg >> FILL_KEEP & 15);
    em_mov(&t->e, T1, c->arg & 15);
    em_rex(&t->e, EM_64, T2, REG_NONE, REG_NONE); /* lea T2, [rip + back] */
    em_byte(&t->e, EM_LEA);
    em_byte(&t->e, (T2 & 7u) << 3 | 5);
    em_u32(&t->e, again_of(t, c) - (t->e.n + 4));
    tr_jump_stub(t, t->bt->stubs.fill[c->arg & FILL_WRITE ? 1 : 0]);
}

/* No block is known there. */
static void put_lookup(struct trans *t, const struct cold *c)
{
    em_mov_imm(&t->e, T2, tr_place(t, c->off));
    tr_jump_stub(t, t->bt->stubs.jump);
}

static void put_cold(struct trans *t, const struct cold *c)
{
    em_fix32(&t->e, c->site, t->e.n);
    switch (c->kind) {
    case COLD_LINK:
        em_mov_imm(&t->e, T1, tr_place(t, (u32)c->arg));
        em_mov_imm(&t->e, T2, (t->code_off + c->site) | (c->arg > c->off ? SITE_FORWARD : 0));
        tr_jump_stub(t, t->bt->stubs.link);
        break;
    case COLD_FAR:
        t->off = c->off;
        put_far_jump(t, c->arg);
        break;
    case COLD_JUMP: put_lookup(t, c); break;
    case COLD_WINDOW: put_window(t, c); break;
    case COLD_AHEAD: put_ahead(t, c); break;
    case COLD_FILL: put_fill(t, c); break;
    case COLD_AGAIN: put_again(t, c); break;
    case COLD_LEAVE:
        em_mov(&t->e, RCX, T2);
        put_step(t, c->off);
        break;
    case COLD_X87: tr_put_x87(t, c); break;
    default: em_mov(&t->e, RCX, TB); put_step(t, c->off);
    }
}

/* ---- instructions
 * -------------------------------------------------------------------------------- */

/* The rows with an inline form, by the function that would execute them. */
static const struct inline_row {
    insn_exec_fn *exec;
    enum tr (*emit)(struct trans *t);
} inline_rows[] = {
    {x_jcc, tr_jcc},
    {x_call_rel, tr_call},
    {x_ret, tr_ret},
    {x_jmp_rel, tr_jmp_rel},
    {x_call_rm, tr_call},
    {x_jmp_rm, tr_jmp_mem_or_reg},
    {x_push_reg, tr_push},
    {x_push_imm, tr_push},
    {x_push_mem, tr_push},
    {x_pop_reg, tr_pop},
    {x_pop_mem, tr_pop},
    {x_leave, tr_leave},
    {x_nop, tr_hint},
    {x_fence, tr_fence},
    {x_jcxz, tr_jcxz},
    {x_loop, tr_loop},
    {x_loope, tr_loope},
    {x_loopne, tr_loopne},
    {x_movs, tr_movs},
    {x_stos, tr_stos},
    {x_lods, tr_lods},
    {x_cli, tr_cli},
    {x_sti, tr_sti},
    {x_cld, tr_cld},
    {x_std, tr_std},
    {x_clac, tr_clac},
    {x_stac, tr_stac},
    {x_pushf, tr_pushf},
    {x_popf, tr_popf},
    {x_swapgs, tr_swapgs},
    {x_mov_seg_store, tr_mov_from_seg},
    {x_rdfsbase, tr_rdfsbase},
    {x_rdgsbase, tr_rdgsbase},
    {x_mov_cr_read, tr_mov_from_cr},
    {x_mov_cr_write, tr_mov_to_cr},
    {x_wrfsbase, tr_wrfsbase},
    {x_wrgsbase, tr_wrgsbase},
    {x_syscall, tr_syscall},
    {x_sysret, tr_sysret},
    {x_iret, tr_iret},
    {x_rdtsc, tr_rdtsc},
    {x_rdtscp, tr_rdtscp},
};

bool tr_may_run(const struct trans *t)
{
    u8 fpu = t->i->fpu;
    bool vectors = fpu == FPU_SSE || fpu == FPU_AVX || fpu == FPU_AVX512;
    return fpu < FPU_CLASSES && !t->bt->v->fpu_fault[fpu] && (!vectors || t->bt->vec_loaded);
}

/* Would @i be copied if the guest's vector registers were in the host's? */
static bool wants_vectors(const struct trans *t)
{
    const u8 fpu = t->i->fpu;
    return !t->bt->vec_loaded && fpu >= FPU_SSE && fpu <= FPU_AVX512 && !t->bt->v->fpu_fault[fpu];
}

/* 32-bit code that 64-bit code cannot do alike: 16-bit addresses, and writes through CS. */
static bool is_awkward(const struct insn *i)
{
    return i->addrsize == 2 || (i->seg == CS && i->mem_rw & OPND_W);
}

static enum tr put_insn(struct trans *t)
{
    const struct insn *i = t->i;
    if (is_stepped(t) || i->exec == x_ud || i->row == INSN_UD) return TR_NONE;
    if (t->is32 && is_awkward(i)) return TR_NONE;
    if (i->row == INSN_COMPUTE) return wants_vectors(t) ? tr_vectors(t) : tr_compute(t);
    insn_exec_fn *exec = insn_row_exec(i->row);
    for (u32 k = 0; k < ARRAY_LEN(inline_rows); k++)
        if (inline_rows[k].exec == exec) return inline_rows[k].emit(t);
    return TR_NONE;
}

/* ---- the block
 * ----------------------------------------------------------------------------------- */

enum {
    INSN_CODE_MAX = 512, /* hot and cold code of one instruction */
    COLD_CODE_MAX = 160, /* of one exit */
    SECONDS_CODE_MAX = BT_BLOCK_INSNS * 16 + GROUPS_MAX * 128,
    COPY_BYTES_MAX = BT_BLOCK_INSNS * INSN_BYTES_MAX, /* afterwards the marks are there */
};
static_assert((u32)MARKS_BYTES_MAX <= (u32)COPY_BYTES_MAX, "room for the marks");

void tr_poll(struct trans *t)
{
    em_rex(&t->e, EM_32, T2, REG_NONE, REG_NONE); /* mov T2d, [rip + poll] */
    em_byte(&t->e, EM_MOV_LOAD);
    em_byte(&t->e, (T2 & 7u) << 3 | 5);
    em_u32(&t->e, t->bt->stubs.poll - (t->code_off + t->e.n + 4));
}

static void put_entries(struct trans *t)
{
    if (t->out->wanders) {
        em_lea_disp(&t->e, T2, T1, -(s32)t->block_off);
        em_store_gs(&t->e, offsetof(struct vcpu, eng.code_base), T2);
    } else {
        /* nop: room for a jump, when the block is dropped */
        em_bytes(&t->e, "\x0F\x1F\x44\0\0", BT_FAR_BYTES);
    }
    t->near = t->e.n;
    tr_poll(t);
}

/* What is to come is the rest of the present instruction, exits, the second forms, at least as
 * steps, and the copy of the guest's code. */
static bool has_room(const struct trans *t)
{
    const u32 seconds = t->groups.count ? SECONDS_CODE_MAX : 0;
    return t->e.n + t->colds * COLD_CODE_MAX + 2 * INSN_CODE_MAX + COPY_BYTES_MAX + seconds <=
           t->e.room;
}

enum { COUNTED = 1 }; /* count_at: the present run is counted elsewhere */
/* Where instructions are counted (v->count_insns), those of a run - nothing but the last of them
 * can jump - are added to the counter together at its start; @count_one makes it one more. What a
 * fault takes out of the middle of a run is counted again when the rest of it is executed as
 * another block. */
static void count_start(struct trans *t)
{
    if (!t->bt->v->count_insns || t->count_at) return;
    em_load_gs(&t->e, T2, offsetof(struct vcpu, stats.bt_insns));
    em_lea_disp(&t->e, T2, T2, 1);
    t->count_at = t->e.n - 1;
    if (t->e.n <= t->e.room) t->e.at[t->count_at] = 0;
    em_store_gs(&t->e, offsetof(struct vcpu, stats.bt_insns), T2);
}
static void count_one(struct trans *t)
{
    if (!t->count_at) return;
    if (!t->is_light && t->count_at != COUNTED && t->e.n <= t->e.room) t->e.at[t->count_at]++;
    if (t->i->row < insn_rows_count && insn_rows[t->i->row].class == C_BRANCH) t->count_at = 0;
}

/* The instruction at hand. TR_NONE: it was left to the interpreter. */
static enum tr put_one(struct trans *t)
{
    t->is_light = false;
    t->was_in_t1 = t->in_t1;
    t->in_t1 = NULL;
    const enum tr r = put_insn(t);
    if (r != TR_NONE) {
        count_one(t);
    } else {
        tr_homed_store(t);
        put_step(t, t->off);
    }
    return r;
}

/* The instruction at hand is number @k, behind the one before. */
static void begin_insn(struct trans *t, const struct block *b, const struct compute *c, u32 k)
{
    t->k = k;
    t->i = &b->first[k];
    t->compute = &c[k];
    t->off = t->next;
    t->next = tr_turns(t, k) ? t->block_off : next_off(t);
}

/* The instructions. Returns whether the block ended with control flow of its own. */
static bool put_insns(struct trans *t, const struct block *b, const struct compute *c,
                      struct bt_block *block)
{
    for (u32 k = 0; k < b->count && k < BT_BLOCK_INSNS && has_room(t); k++) {
        begin_insn(t, b, c, k);
        tr_homed_settle(t, is_stepped(t));
        count_start(t);
        t->start = t->e.n;
        if (k == 0) t->first = t->start;
        put_mark(t, k ? t->start : 0);
        t->is_last = k + 1 == b->count || k + 1 == BT_BLOCK_INSNS;
        if (next_off(t) > block->guest_end) block->guest_end = next_off(t);
        block->insns++;
        if (put_one(t) != TR_NEXT) return true;
    }
    tr_homed_store(t);
    tr_rsp_settle(t);
    return false;
}

/* The second forms. What the first of them belongs to was counted when it was entered, or begins
 * with a count. */
static bool put_seconds(struct trans *t, const struct block *b, const struct compute *c,
                        struct bt_block *block)
{
    const u32 first = t->groups.first;
    t->next = t->mark[first].guest_off;
    t->is_second = true;
    t->loose = WINDOW_LOOSE_MAX;
    t->has_x87 = t->has_x87_base = false;
    t->in_t1 = NULL;
    t->holds = (struct holds){0};
    t->count_at = COUNTED;
    for (u32 k = first; k < block->insns; k++) {
        begin_insn(t, b, c, k);
        const bool room = has_room(t);
        tr_homed_settle(t, !room || is_stepped(t));
        if (k > first && room) count_start(t);
        t->start = t->e.n;
        t->mark[k].again = (u16)t->start;
        put_mark(t, t->start);
        t->is_last = k + 1 == block->insns;
        if (!room) put_step(t, t->off);
        const bool next = room && put_one(t) == TR_NEXT;
        if (t->is_last) {
            tr_homed_store(t);
            return !next;
        }
    }
    return false;
}

static void put_preludes(struct trans *t)
{
    for (u32 n = 0; n < t->groups.count; n++) {
        const struct group *g = &t->groups.g[n];
        if (!g->emitted || !g->site) continue;
        put_mark_of(t, g->first);
        tr_group_prelude(t, g, t->mark[g->first].again);
    }
}

/* The instructions of a turn, or all @count. */
static u32 turn_of(const struct block *b, u32 count)
{
    u32 bytes = 0;
    for (u32 k = 0; k < count; k++) {
        bytes += b->first[k].len;
        if (bytes == b->bytes) return k + 1;
    }
    return count;
}

/* There was no control flow: go on behind. RSP is loose when there was no room for the instruction
 * that accesses the stack next. */
static void put_end(struct trans *t)
{
    if (tr_window_is_loose(t)) put_step(t, (u16)t->next);
    else tr_branch(t, EM_JMP, t->next);
}

static void put_all(struct trans *t, const struct block *b, struct bt_block *block)
{
    struct compute c[BT_BLOCK_INSNS];
    t->insns = (u32)min_u64(b->count, BT_BLOCK_INSNS);
    t->turn = turn_of(b, t->insns);
    for (u32 k = 0; k < t->insns; k++) {
        begin_insn(t, b, c, k);
        if (t->i->row == INSN_COMPUTE) tr_compute_plan(t, &c[k]);
    }
    tr_groups_find(t, b, c);
    t->next = t->block_off;
    if (!put_insns(t, b, c, block)) put_end(t);
    if (block->insns <= t->groups.first) return;
    const u64 loose = t->loose;
    const bool ended = put_seconds(t, b, c, block);
    t->loose = loose; /* RSP is not farther away when the second forms were executed */
    if (!ended) put_end(t);
    put_preludes(t);
}

static struct emit emit_to(const struct bt *bt, const struct bt_out *out, u32 room)
{
    return (struct emit){
        .at = out->rw, .room = room, .plain = bt->plain, .slow_pext = bt->slow_pext};
}

/* All but the exits, which are many and seldom there. */
static void trans_init(struct trans *t, const struct bt *bt, struct bt_out *out)
{
    memset(t, 0, offsetof(struct trans, cold));
    t->bt = bt;
    t->out = out;
    t->code_off = out->off;
}

u32 bt_translate(const struct bt *bt, const struct block *b, u16 guest_off, struct bt_out *out,
                 struct bt_block *block)
{
    struct trans t;
    trans_init(&t, bt, out);
    t.block_off = t.next = guest_off;
    t.is32 = b->mode == ISA_32;
    t.word = t.is32 ? 4 : 8;
    t.window = bt->windows && bt->user && !t.is32;
    t.loose = WINDOW_SLACK;
    t.e = emit_to(bt, out, (u32)min_u64(out->room, BT_BLOCK_CODE_BYTES));
    *block = (struct bt_block){
        .code_off = out->off, .guest_off = guest_off, .guest_end = guest_off, .mark = out->mark};
    put_entries(&t);
    block->near_off = (u16)t.near;
    t.mark = out->mark;
    put_all(&t, b, block);
    for (u32 k = 0; k < t.colds; k++) put_cold(&t, &t.cold[k]);
    block->marks = (u16)t.marks;
    block->code_bytes = t.e.n;
    block->copy_off = out->off + t.e.n;
    for (u32 k = 0; k < block->insns && k < t.turn; k++)
        em_insn(&t.e, b->first[k].bytes, b->first[k].len);
    return block->code_bytes;
}

u32 bt_translate_jump(const struct bt *bt, u16 off, struct bt_out *out)
{
    struct trans t;
    trans_init(&t, bt, out);
    t.is32 = bt->v->mode == ISA_32;
    t.e = emit_to(bt, out, out->room);
    t.off = off;
    tr_code_address(&t, T1, off);
    tr_jump_table(&t);
    for (u32 k = 0; k < t.colds; k++) put_cold(&t, &t.cold[k]);
    return t.e.n;
}
