/* lockstep.c - see lockstep.h.
 *
 * For every block: the interpreter executes it with a journal of its writes and everything is put
 * back; the translated block runs, once; both outcomes are compared. Then memory and registers are
 * the translator's, which is to say both's.
 *
 * Blocks are entered behind their poll, in whose place is a way out, so every jump to another
 * block, or back to this one, comes back at once; nothing is linked. What cannot be done twice -
 * MMIO, writes to traced pages, REP strings, most system instructions - ends the interpreter's part
 * and must end the translated block too: there it is executed once, as in the engine bt. Memory
 * that a device changes in between looks like a difference, and a fault of the first instruction
 * that was resolved comes back through the near entry with nothing done: so a block is tried again
 * before it counts as different. */
#define _GNU_SOURCE
#include "engine/bt/lockstep.h"

#include <asm/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cpu/cpuid.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"
#include "engine/bt/bt.h"
#include "engine/bt/enter.h"
#include "engine/bt/jump_cache.h"
#include "engine/bt/lockstep_internal.h"
#include "engine/bt/x87.h"
#include "engine/common/block_run.h"
#include "engine/common/outer.h"

enum { TRIES = 4 };

/* ---- registers ------------------------------------------------------------------------------- */

static void segment_words(u64 out[3], const struct seg *s)
{
    out[0] = s->sel;
    out[1] = (u64)s->attr << 32 | s->limit;
    out[2] = s->base;
}

static void registers_save(const struct lockstep *l, const struct vcpu *v, struct registers *r)
{
    memcpy(r->gpr, v->gpr, sizeof r->gpr);
    r->rip = v->rip;
    r->rflags = v->rflags;
    r->fs_base = v->seg[FS].base;
    r->gs_base = v->seg[GS].base;
    r->kernel_gs_base = v->kernel_gs_base;
    r->ctx = v->tlb.ctx;
    r->table = v->eng.table;
    r->cr2 = v->cr2;
    r->cpl = v->cpl;
    r->nmi_masked = v->nmi_masked;
    segment_words(r->cs, &v->seg[CS]);
    segment_words(r->ss, &v->seg[SS]);
    memcpy(r->seg, v->seg, sizeof r->seg);
    if (!l->wide) return;
    memcpy(r->vec, v->vec, sizeof r->vec);
    memcpy(r->k, v->k, sizeof r->k);
    r->fx = v->fx;
}
static void registers_load(const struct lockstep *l, struct vcpu *v, const struct registers *r)
{
    memcpy(v->gpr, r->gpr, sizeof r->gpr);
    const u64 changed = v->rflags ^ r->rflags;
    const bool other_cs = v->cpl != r->cpl || v->seg[CS].attr != r->seg[CS].attr;
    v->rip = r->rip;
    v->rflags = r->rflags;
    v->cr2 = r->cr2;
    v->cpl = (u8)r->cpl;
    v->nmi_masked = r->nmi_masked;
    memcpy(v->seg, r->seg, sizeof v->seg);
    v->kernel_gs_base = r->kernel_gs_base;
    if (other_cs || changed & RFLAGS_AC) vcpu_cs_changed(v);
    if (changed & RFLAGS_TF) vcpu_update_step(v);
    if (!l->wide) return;
    memcpy(v->vec, r->vec, sizeof r->vec);
    memcpy(v->k, r->k, sizeof r->k);
    v->fx = r->fx;
}
static bool registers_same(const struct lockstep *l, const struct registers *a,
                           const struct registers *b)
{
    if (memcmp(a, b, offsetof(struct registers, k))) return false;
    return !l->wide || (!memcmp(a->vec, b->vec, sizeof a->vec) &&
                        !memcmp(a->k, b->k, sizeof a->k) && !memcmp(&a->fx, &b->fx, sizeof a->fx));
}
/* Can the block look at vector or x87 state, or is that in the host's registers? */
static bool is_wide(const struct bt_state *s, const struct block *b)
{
    bool wide = s->bt.vec_loaded;
    for (u32 n = 0; n < b->count && !wide; n++) wide = b->first[n].fpu != FPU_NONE;
    return wide;
}

/* ---- the interpreter's part ------------------------------------------------------------------ */

/* Rows of other classes that change nothing but what struct registers and the journal hold. */
static insn_exec_fn *const harmless[] = {
    x_cli,      x_sti,      x_cld,      x_std,      x_clac,    x_stac,
    x_pushf,    x_movs,     x_stos,     x_lods,     x_swapgs,  x_mov_seg_store,
    x_rdfsbase, x_rdgsbase, x_wrfsbase, x_wrgsbase, x_syscall, x_sysret};

/* Can be done twice: bt_find_block() leaves REP strings to the interpreter (hint_strings). */
static bool repeatable(const struct insn *i)
{
    if (i->row == INSN_COMPUTE) return true;
    if (i->row >= insn_rows_count || i->exec == x_ud) return false;
    insn_exec_fn *exec = insn_row_exec(i->row); /* i->exec may check something first */
    if (exec == x_popf || i->op[0].file == RF_SEG) return false;
    if (exec == x_iret) return i->opsize == 8;
    u8 class = insn_rows[i->row].class;
    if (class == C_BRANCH || class == C_STACK || class == C_HINT) return true;
    if (i->prefixes & (PFX_REP | PFX_REPNE)) return false;
    if (exec == x_mov_cr_read) return i->op[1].reg != 8;
    if (exec == x_mov_cr_write) return i->op[0].reg == 2;
    for (u32 n = 0; n < ARRAY_LEN(harmless); n++)
        if (exec == harmless[n]) return true;
    return false;
}

/* Execute up to @most instructions of the block. Registers are in *v, writes in the journal. */
static u32 interpret(struct lockstep *l, struct vcpu *v, u32 most)
{
    u32 n = 0;
    l->mxcsr_early = 0;
    journal_begin(&l->journal);
    for (; n < most; n++) {
        const struct insn *i = &l->block->first[n];
        u32 entries = l->journal.entries;
        const u32 mxcsr = v->fx.mxcsr;
        l->journal.insn = (u16)n;
        if (!repeatable(i)) break;
        enum x_result r = i->exec(v, i);
        if (l->journal.refused || (r != X_NEXT && r != X_JUMP)) {
            l->journal.entries = entries; /* nothing was written */
            l->mxcsr_early = mxcsr;
            break;
        }
        if (insn_row_exec(i->row) ==
            x_sti) { /* the translator has no shadow when nothing waits for it to end */
            v->shadow = 0;
            vcpu_update_step(v);
        }
        if (r == X_NEXT) v->rip += i->len;
        if (r != X_JUMP) continue;
        n++;
        break;
    }
    journal_end(&l->journal);
    return n;
}

/* Registers before, journal and registers after of the first @most instructions; all put back. */
static void reference(struct lockstep *l, struct vcpu *v, u32 most)
{
    registers_load(l, v, &l->before);
    l->done = interpret(l, v, most);
    registers_save(l, v, &l->after[INTERPRETED]);
    journal_undo(&l->journal, INTERPRETED);
    registers_load(l, v, &l->before);
}

/* ---- the translator's part ------------------------------------------------------------------- */

enum { POLL_BYTES = 7, BYPASS_BYTES = 16, JMP_REL32 = 0xE9 };

/* Every near entry leads out of the translated code, as if it were a jump to be linked: its poll is
 * overwritten by a jump to code made here that does so. Returns the entry behind it. */
static const u8 *entry_of(const struct lockstep *l, struct bt_state *s)
{
    struct bt_code *c = &s->code;
    const u32 near = l->slot->b.code_off + l->slot->b.near_off, at = c->used;
    const u32 place = bt_place(l->slot->page, l->slot->b.guest_off);
    struct insn poll;
    if (c->rx[near] != JMP_REL32) {
        ASSERT(isa_decode(&poll, c->rx + near, INSN_BYTES_MAX, ISA_64) == POLL_BYTES,
               "the poll has %u bytes", poll.len);
        c->rw[at] = 0x41; /* mov r10d, place; jmp link */
        c->rw[at + 1] = 0xBA;
        memcpy(c->rw + at + 2, &place, sizeof place);
        c->rw[at + 6] = c->rw[near] = JMP_REL32;
        code_patch_jump(c, at + 7, c->stubs.link);
        code_patch_jump(c, near + 1, at);
        c->used += BYPASS_BYTES;
    }
    return c->rx + near + POLL_BYTES;
}

static void translated(struct lockstep *l, struct vcpu *v)
{
    struct bt_state *s = state_of(v);
    v->eng.code_base = v->rip & PAGE_MASK;
    s->variant = bt_variant_of(s);
    far_set_home(jump_current(s), l->slot->page, 0, v->eng.code_base);
    v->eng.vec_load = s->bt.vec_loaded ? s->vec_load : (void *)bt_vec_keep;
    v->eng.vec_save = s->bt.vec_loaded ? s->vec_save : (void *)bt_vec_keep;
    bt_window_settle(s->tables, v);
    l->why = bt_enter(v, l->entry);
    bt_x87_save(s);
    v->rip = v->eng.exit_arg;
    if (l->why != BT_EXIT_LOOKUP) v->rip = v->eng.code_base + (v->eng.exit_arg & (PAGE_BYTES - 1));
    registers_save(l, v, &l->after[TRANSLATED]);
}

/* Index in the block of the instruction at @rip, or its count. */
static u32 index_of(const struct lockstep *l, u64 rip)
{
    u64 at = l->before.rip;
    u32 n = 0;
    for (; n < l->block->count && at != rip; n++) at += l->block->first[n].len;
    return n;
}

/* ---- both ------------------------------------------------------------------------------------ */

/* The translated block stopped before its end: as many instructions of the interpreter. The journal
 * then has the first entries of the one before, in the same places, so what the translator left
 * there is still with them. */
static void shorten(struct lockstep *l, struct vcpu *v)
{
    u32 n = index_of(l, l->after[TRANSLATED].rip);
    if (l->why == BT_EXIT_STEP && n < l->done) reference(l, v, n);
}

/* An instruction that raises #XM sets bits of MXCSR although it is not done. The translator may
 * leave before it or let the host try. */
static void forgive_mxcsr(struct lockstep *l)
{
    u32 *mxcsr = &l->after[INTERPRETED].fx.mxcsr;
    if (l->why == BT_EXIT_STEP && l->after[TRANSLATED].fx.mxcsr == l->mxcsr_early)
        *mxcsr = l->mxcsr_early;
}

/* A jump to an address that is not canonical: bt.c takes it back and has it executed precisely,
 * which is left to bt_serve_step() here. */
static void leave_last(struct lockstep *l)
{
    l->after[TRANSLATED] = l->after[INTERPRETED];
    for (u32 i = 0; i < l->journal.entries; i++) {
        struct journal_entry *e = &l->journal.entry[i];
        memcpy(e->after[TRANSLATED], e->after[INTERPRETED], e->bytes);
    }
    l->why = BT_EXIT_STEP;
}

/* Both, once. Memory and registers are left as before the block. */
static bool agree(struct lockstep *l, struct vcpu *v)
{
    reference(l, v, l->block->count);
    translated(l, v);
    journal_undo(&l->journal, TRANSLATED);
    registers_load(l, v, &l->before);
    if (l->why == BT_EXIT_LOOKUP && !is_canonical(v, l->after[TRANSLATED].rip)) {
        leave_last(l);
        return true;
    }
    shorten(l, v);
    forgive_mxcsr(l);
    return registers_same(l, &l->after[INTERPRETED], &l->after[TRANSLATED]) &&
           journal_same(&l->journal);
}

static void commit(struct lockstep *l, struct vcpu *v)
{
    registers_load(l, v, &l->after[TRANSLATED]);
    journal_redo(&l->journal, TRANSLATED);
    v->stats.insns += l->done;
    l->blocks++;
    l->insns += l->done;
}

static enum x_result differ(struct lockstep *l, struct vcpu *v)
{
    lockstep_report(l, v);
    l->failed = true;
    (void)err_set(&l->err, E_SYS,
                  "the block at %#llx does something else when translated (after %llu blocks)",
                  (unsigned long long)l->before.rip, (unsigned long long)l->blocks);
    vcpu_attention(v, ATT_STOP);
    return X_JUMP;
}

static enum x_result check_block(struct lockstep *l, struct vcpu *v)
{
    l->wide = is_wide(state_of(v), l->block);
    registers_save(l, v, &l->before);
    bool same = false;
    for (u32 n = 0; n < TRIES && !same; n++) same = agree(l, v);
    if (!same) return differ(l, v);
    commit(l, v);
    return l->why == BT_EXIT_STEP ? bt_serve_step(state_of(v)) : X_JUMP;
}

/* ---- the engine ------------------------------------------------------------------------------ */

/* REP strings move whole pages and stop anywhere: translated code leaves them alone. */
static void hint_strings(struct bt_state *s, const struct block *b, gpa_t gpa)
{
    u32 off = (u32)(gpa & (PAGE_BYTES - 1));
    for (u32 n = 0; n < b->count; off += b->first[n++].len) {
        const struct insn *i = &b->first[n];
        if (!(i->prefixes & (PFX_REP | PFX_REPNE)) || i->row == INSN_COMPUTE) continue;
        if (code_room(&s->code)) continue;
        struct bt_page *p = code_page(&s->code, gpa, bt_variant_of(s), true);
        u8 *stepped = code_hints_make(&s->code, p)->stepped;
        if (bt_hint(stepped, off)) continue;
        bt_hint_set(stepped, off);
        code_kill(&s->code, (gpa & PAGE_MASK) + off, (gpa & PAGE_MASK) + off + 1);
    }
}

/* l->slot and l->block at v->rip. False: there is nothing to compare. */
static bool find_both(struct lockstep *l, struct bt_state *s)
{
    struct vcpu *v = s->v;
    gpa_t gpa;
    l->block = block_find(&s->decoded, v, &gpa);
    if (l->block) hint_strings(s, l->block, gpa);
    s->variant = bt_variant_of(s);
    l->slot = bt_find_block(s);
    if (l->slot) l->entry = entry_of(l, s);
    if (l->block || !l->slot) return l->slot;
    const struct insn *i = cache_crosser(&s->decoded, v, v->rip);
    if (!i || i->row >= insn_rows_count || insn_rows[i->row].class == C_STRING) return false;
    l->cross = (struct block){.first = i, .count = 1, .bytes = i->len, .mode = v->mode};
    l->block = &l->cross;
    return true;
}

static enum x_result run(struct vcpu *v)
{
    struct bt_state *s = state_of(v);
    struct lockstep *l = lockstep_of(v);
    if (!bt_is_translatable(v) || bt_alignment_checked(v)) return block_run(&s->decoded, v);
    if (v->mode == ISA_32) bt_guard_segments(v);
    bt_check_assumptions(s);
    if (!find_both(l, s)) return block_run_first(&s->decoded, v);
    if (atomic_load(&v->attention)) return X_JUMP;
    return check_block(l, v);
}
static enum x_result step(struct vcpu *v) { return block_run_step(&state_of(v)->decoded, v); }
static void lockstep_invalidate(struct vcpu *v, gpa_t start, gpa_t end)
{
    engine_bt.invalidate(v, start, end);
}
static const struct outer_ops ops = {.run = run, .step = step, .code_changed = lockstep_invalidate};

static enum run_exit lockstep_run(struct vcpu *v, u64 budget)
{
    struct bt_state *s = state_of(v);
    struct lockstep *l = lockstep_of(v);
    if (l->failed || bt_views_update(&s->views, &l->err) < 0) return RUN_FAILED;
    if (fault_stack_enter(&s->stack, &l->err) < 0) return RUN_FAILED;
    syscall(SYS_arch_prctl, ARCH_SET_GS, v);
    mmu_enter_guest(v);
    enum run_exit why = outer_loop(v, budget, &ops);
    mmu_leave_guest(v);
    fault_stack_leave();
    return l->failed ? RUN_FAILED : why;
}

/* Attention is looked at before every block. */
static void lockstep_kick(struct vcpu *v) { (void)v; }

static const struct err *lockstep_failure(const struct vcpu *v)
{
    const struct bt_state *s = v->engine_state;
    return &s->lockstep->err;
}

static int lockstep_probe(struct err *e) { return engine_bt.probe(e); }
static int lockstep_prefer(struct err *e)
{
    return err_set(e, E_UNSUPPORTED, "it is for finding mistakes of bt: slow, one processor");
}

static void lockstep_fini(struct vcpu *v)
{
    if (!v->engine_state) return;
    struct lockstep *l = lockstep_of(v);
    journal_fini(&l->journal, v);
    engine_bt.fini(v);
    free(l);
}

static int lockstep_init(struct vcpu *v, struct err *e)
{
    if (v->model->vcpus > 1)
        return err_set(e, E_UNSUPPORTED, "engine lockstep has one processor only: use --cpus 1");
    int rc = engine_bt.init(v, e);
    if (rc < 0) return rc;
    v->kick = lockstep_kick;
    v->bt_late = false; /* every block is compared */
    struct lockstep *l = state_of(v)->lockstep =
        aligned_alloc(64, align_up(sizeof(struct lockstep), 64));
    if (!l) {
        engine_bt.fini(v);
        return err_set(e, E_NOMEM, "lockstep");
    }
    memset(l, 0, sizeof *l);
    journal_init(&l->journal, v);
    return 0;
}

const struct engine engine_lockstep = {
    .name = "lockstep",
    .probe = lockstep_probe,
    .prefer = lockstep_prefer,
    .init = lockstep_init,
    .fini = lockstep_fini,
    .run = lockstep_run,
    .invalidate = lockstep_invalidate,
    .kick = lockstep_kick,
    .failure = lockstep_failure,
};
