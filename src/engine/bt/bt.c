/* bt.c - the translator's run loop: find or translate the block at RIP, run translated code until
 * it exits, serve the exit. Code of other kinds (bt_is_translatable), single-stepping and whatever
 * has no inline form is executed from decoded instructions. */
#define _GNU_SOURCE
#include "engine/bt/bt.h"

#include <Zydis/Mnemonic.h>
#include <asm/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clk.h"
#include "cpu/cpuid.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"
#include "engine/bt/asm_offsets.h"
#include "engine/bt/bt_state.h"
#include "engine/bt/code_index.h"
#include "engine/bt/enter.h"
#include "engine/bt/host.h"
#include "engine/bt/hot.h"
#include "engine/bt/jump_cache.h"
#include "engine/bt/light.h"
#include "engine/bt/plan.h"
#include "engine/bt/x87.h"
#include "engine/common/block_run.h"
#include "engine/common/hostmem.h"
#include "engine/common/native.h"
#include "engine/common/outer.h"

#define OFFSET_IS(name, field)                                                                     \
    static_assert(offsetof(struct vcpu, field) == (name), "asm_offsets.h: " #name)
OFFSET_IS(V_GPR, gpr);
OFFSET_IS(V_RIP, rip);
OFFSET_IS(V_RFLAGS, rflags);
OFFSET_IS(V_TABLE, eng.table);
OFFSET_IS(V_HOST_RSP, eng.host_rsp);
OFFSET_IS(V_EXIT_ARG, eng.exit_arg);
OFFSET_IS(V_EXIT_SITE, eng.exit_site);
OFFSET_IS(V_SAVE, eng.save);
OFFSET_IS(V_VEC_LOAD, eng.vec_load);
OFFSET_IS(V_VEC_SAVE, eng.vec_save);
OFFSET_IS(V_RSP, eng.rsp);
OFFSET_IS(V_STACK_GUEST, eng.stack_guest);
OFFSET_IS(V_MXCSR, fx.mxcsr);
OFFSET_IS(V_VEC, vec);
OFFSET_IS(V_K, k);
static_assert(EXIT_STEP == BT_EXIT_STEP && EXIT_LINK == BT_EXIT_LINK &&
                  EXIT_LOOKUP == BT_EXIT_LOOKUP && EXIT_POLL == BT_EXIT_POLL &&
                  SITE_NONE == SITE_SLOT,
              "asm_offsets.h: exits");

/* ---- running --------------------------------------------------------------------------------- */

#define CR4_ASSUMED (CR4_SMAP | CR4_FSGSBASE)

static bool assumptions_hold(const struct bt_state *s)
{
    const struct vcpu *v = s->v;
    return likely(!memcmp(s->fpu_fault, v->fpu_fault, sizeof s->fpu_fault) &&
                  s->cr4 == (v->cr4 & CR4_ASSUMED));
}

/* Blocks assume which instruction classes may run, and some bits of CR4. */
void bt_check_assumptions(struct bt_state *s)
{
    struct vcpu *v = s->v;
    if (assumptions_hold(s)) return;
    u32 changed = s->cr4 == (v->cr4 & CR4_ASSUMED) ? 0 : ASSUMES_CR4;
    for (u32 k = 0; k < FPU_CLASSES; k++)
        if (s->fpu_fault[k] != v->fpu_fault[k]) changed |= 1u << k;
    memcpy(s->fpu_fault, v->fpu_fault, sizeof s->fpu_fault);
    s->cr4 = v->cr4 & CR4_ASSUMED;
    s->bt.smap = v->cr4 & CR4_SMAP;
    s->bt.fsgsbase = v->cr4 & CR4_FSGSBASE;
    code_changed(&s->code, changed);
}

/* What the first @insns instructions of @b assume. */
static u32 assumed_by(const struct block *b, u32 insns)
{
    u32 what = 0;
    for (u32 k = 0; k < insns; k++) {
        const struct insn *i = &b->first[k];
        if (i->fpu != FPU_NONE) what |= 1u << i->fpu;
        if (i->row == INSN_COMPUTE || i->row >= insn_rows_count) continue;
        const u8 class = insn_rows[i->row].class;
        if (class == C_FLAGS || class == C_SYSTEM) what |= ASSUMES_CR4;
    }
    return what;
}

/* Room for a block. True: everything was dropped for it, so nothing may lead there any more. */
static bool make_room(struct bt_state *s)
{
    if (!code_room(&s->code)) return false;
    jump_forget_blocks(s);
    return true;
}

/* Where the next block goes, with what the translator has to know about its page. */
static void prepare(struct bt_state *s, const struct bt_page *p, struct bt_out *out)
{
    jump_note_evictions(s);
    s->bt.hints = code_hints(&s->code, p);
    s->bt.stubs = s->code.stubs;
    s->bt.user = s->v->cpl == 3;
    out->rw = s->code.rw + s->code.used;
    out->off = s->code.used;
    out->room = BT_BLOCK_CODE_BYTES;
    out->page = (u32)(p - s->code.pages);
    out->wanders = far_wanders(&s->far, out->page, p->page);
    out->slots = 0;
    far_offer(&s->far, out);
}

enum { TIMED_EACH = 16 }; /* of so many blocks one tells how long they take */

const struct bt_slot *bt_translate_at(struct bt_state *s, const struct block *b, gpa_t gpa)
{
    struct vcpu *v = s->v;
    struct hot_block longer;
    struct bt_block made;
    b = bt_hot_extend(s, b, gpa, &longer);
    make_room(s);
    struct bt_page *p = code_page(&s->code, gpa, bt_variant_of(s), true);
    struct bt_out out;
    prepare(s, p, &out);
    const bool timed = v->stats.bt_translations % TIMED_EACH == 0;
    const u64 start = timed ? clk_host_ns() : 0;
    bt_translate(&s->bt, b, (u16)(gpa & (PAGE_BYTES - 1)), &out, &made);
    if (timed) v->stats.bt_translate_ns += (clk_host_ns() - start) * TIMED_EACH;
    v->stats.bt_translations++;
    v->stats.bt_translated += made.insns;
    const struct bt_slot *slot = code_add(&s->code, &made, p);
    code_assume(&s->code, slot, assumed_by(b, made.insns));
    jump_take_slots(s, &out, slot);
    return bt_dumped(s, slot);
}

/* The instruction at v->rip that goes on in the next page: valid for these two physical pages only,
 * so it is reached through lookups and jump caches, never by a link. */
static const struct bt_slot *find_cross(struct bt_state *s, gpa_t gpa)
{
    struct vcpu *v = s->v;
    hva_t page;
    gpa_t second;
    u32 first = PAGE_BYTES - (u32)(v->rip & ~PAGE_MASK);
    if (first >= INSN_BYTES_MAX || mmu_fetch_page(v, v->rip + first, &page, &second) || !page)
        return NULL;
    struct cross *x = cross_of(s, gpa, second);
    if (x->slot && x->first == gpa && x->second == second && x->variant == bt_variant_of(s) &&
        x->flushes == s->code.flushes && !x->slot->dropped)
        return x->slot;
    const struct insn *i = cache_crosser(&s->decoded, v, v->rip);
    if (!i || i->len <= first) return NULL;
    mmu_protect_code(v, gpa, first);
    mmu_protect_code(v, second, i->len - first);
    i = cache_crosser(&s->decoded, v, v->rip); /* as it is now that changes will be noticed */
    if (!i || i->len <= first) return NULL;
    const struct block b = {.first = i, .count = 1, .bytes = i->len, .mode = v->mode};
    struct bt_block made;
    make_room(s);
    struct bt_page *p = code_page(&s->code, gpa, bt_variant_of(s), true);
    struct bt_page *q = code_page(&s->code, second, bt_variant_of(s), true);
    jump_note_evictions(s);
    if (p == q || p->page == q->page) return NULL;
    struct bt_out out;
    prepare(s, p, &out);
    bt_translate(&s->bt, &b, (u16)(gpa & (PAGE_BYTES - 1)), &out, &made);
    *x = (struct cross){gpa, second, code_add_cross(&s->code, &made, p, q), s->code.flushes,
                        bt_variant_of(s)};
    code_assume(&s->code, x->slot, assumed_by(&b, 1));
    jump_take_slots(s, &out, x->slot);
    return x->slot;
}

/* The translated block at v->rip; NULL when the instruction there has to be executed the other way,
 * or the block is executed for the first time (late.once). */
const struct bt_slot *bt_find_block(struct bt_state *s)
{
    struct vcpu *v = s->v;
    hva_t page;
    gpa_t gpa;
    s->late.once = false;
    if (!is_canonical(v, v->rip) || mmu_fetch_page(v, v->rip, &page, &gpa) || !page) return NULL;
    gpa += v->rip & ~PAGE_MASK;
    const struct bt_slot *slot = code_known(&s->code, gpa, bt_variant_of(s));
    if (likely(slot != NULL)) {
        if (likely(!slot->dropped)) return slot;
        mmu_protect_code(v, gpa, (u32)slot->b.guest_end - slot->b.guest_off);
        if (code_revive(&s->code, slot, page + slot->b.guest_off)) return slot;
    }
    const bool late = v->bt_late && v->cpl == 0;
    if (late && !late_is_due(&s->late, block_key(gpa, bt_variant_of(s)))) return NULL;
    const struct block *b = block_pass(&s->decoded, v, &gpa);
    return b ? bt_translate_at(s, b, gpa) : find_cross(s, gpa);
}

/* Let the poll page be readable again, and see whether there is a reason not to enter. */
static bool may_enter(struct bt_state *s)
{
    atomic_store(&s->inside, true);
    if (atomic_load(&s->armed)) {
        atomic_store(&s->armed, false);
        code_poll_disarm(&s->code);
    }
    if (likely(!atomic_load(&s->v->attention))) return true;
    atomic_store(&s->inside, false);
    return false;
}

/* Code offset of a jump, from the same page, to @to through the jump table. */
static u32 far_jump(struct bt_state *s, const struct bt_slot *to)
{
    struct bt_out out = {
        .rw = s->code.rw + s->code.used, .off = s->code.used, .room = BT_BLOCK_CODE_BYTES};
    u32 at = s->code.used;
    out.page = to->page;
    out.wanders = far_wanders(&s->far, to->page, far_page_id(to));
    s->code.used = (u32)align_up(at + bt_translate_jump(&s->bt, to->b.guest_off, &out), 16);
    return at;
}

/* Direct jump inside a page: from now on without us. */
static void link_exit(struct bt_state *s, u32 exit_site)
{
    const u32 site = exit_site & ~(u32)SITE_FORWARD;
    const bool forward = exit_site & SITE_FORWARD;
    u64 flushes = s->code.flushes;
    u64 drops = s->code.drops;
    const struct bt_slot *to = bt_find_block(s);
    if (!to || make_room(s)) return;
    if (s->code.flushes != flushes || s->code.drops != drops) return;
    if (is_cross(to)) {
        code_patch_jump(&s->code, site, far_jump(s, to));
        return;
    }
    u32 target = to->b.code_off + to->b.near_off + (forward ? BT_POLL_BYTES : 0);
    code_link(&s->code, to, site, target);
}

/* An indirect jump went to an address that is not canonical: the #GP is the jump's own. Take it
 * back and have it executed precisely. */
static enum x_result take_back(struct bt_state *s)
{
    struct vcpu *v = s->v;
    const u64 rip = v->rip;
    const u32 by = (u32)v->eng.exit_site, slot = by & ~SITE_SLOT;
    if (by & SITE_SLOT && (!slot || slot >= s->far.slots)) return block_run_first(&s->decoded, v);
    const u32 off = bt_note_place(s, by & SITE_SLOT ? s->far.place_of[slot] : by);
    v->rip = v->eng.code_base + off;
    const struct block *b = block_single(&s->decoded, v);
    const struct insn *i = b ? b->first : cache_crosser(&s->decoded, v, v->rip);
    switch (i ? i->mnemonic : 0) {
    case ZYDIS_MNEMONIC_RET: v->gpr[RSP] -= 8 + (u16)i->imm; break;
    case ZYDIS_MNEMONIC_JMP: break;
    default: v->rip = rip; /* a direct jump across the edge: the fetch faults at the target */
    }
    return block_run_first(&s->decoded, v);
}

/* Would the translator copy this vector instruction if the guest's registers were in the host's? */
static bool wants_vectors(const struct bt_state *s, const struct insn *i)
{
    return !s->bt.vec_loaded && i->row == INSN_COMPUTE && i->fpu >= FPU_SSE &&
           !s->v->fpu_fault[i->fpu];
}

static u64 *step_counter(struct vcpu *v, const struct block *b)
{
    if (!b || b->first->row >= insn_rows_count) return &v->stats.bt_step_other;
    return &v->stats.bt_step_compute + insn_rows[b->first->row].class;
}
static_assert(offsetof(struct stats, bt_step_hint) ==
                  offsetof(struct stats, bt_step_compute) + C_HINT * sizeof(u64),
              "stats.def: one row for each enum insn_class");

/* Execute one instruction from its decoded form. Vector state is in *v. */
enum x_result bt_serve_step(struct bt_state *s)
{
    struct vcpu *v = s->v;
    const struct block *b = block_single(&s->decoded, v);
    if (b && wants_vectors(s, b->first)) {
        s->bt.vec_loaded = true;
        return X_JUMP;
    }
    const bool iret =
        b && b->first->row < insn_rows_count && insn_row_exec(b->first->row) == x_iret;
    ++*step_counter(v, b);
    enum x_result r = b ? block_exec_first(v, b) : block_run_first(&s->decoded, v);
    if (iret && r == X_JUMP) bt_light_note_iret(s);
    s->bt.vec_loaded &= v->cpl == 3;
    return r;
}

/* Serve an exit: state is complete in *v except RIP. */
static enum x_result serve(struct bt_state *s, u32 why)
{
    struct vcpu *v = s->v;
    if (why != BT_EXIT_LOOKUP) {
        const u32 off = bt_note_place(s, v->eng.exit_arg);
        v->rip = v->eng.code_base + off;
    }
    switch (why) {
    case BT_EXIT_LOOKUP:
        v->rip = v->eng.exit_arg;
        v->stats.bt_exit_lookup++;
        if (unlikely(s->far.stale > FAR_STALE_MAX)) jump_clear_slots(s);
        return likely(is_canonical(v, v->rip)) ? X_JUMP : take_back(s);
    case BT_EXIT_LINK:
        v->stats.bt_exit_link++;
        link_exit(s, (u32)v->eng.exit_site);
        return X_JUMP;
    case BT_EXIT_POLL:
        v->stats.bt_exit_poll++;
        atomic_store(&s->armed,
                     true); /* whoever made it unreadable may have been late: see bt_kick */
        bt_hot_found(s, v->eng.exit_arg);
        return X_JUMP;
    default: return bt_serve_step(s);
    }
}

/* Misalignment traps in the guest: translated code uses AC for itself. */
bool bt_alignment_checked(const struct vcpu *v)
{
    return v->cpl == 3 && v->rflags & RFLAGS_AC && v->cr0 & CR0_AM;
}

enum { ENTRIES_MAX = 64 }; /* of translated code in one run(), which does not know the budget */

/* Run translated code and serve its exit. */
static enum x_result enter(struct bt_state *s, const u8 *code)
{
    struct vcpu *v = s->v;
    v->eng.vec_load = s->bt.vec_loaded ? s->vec_load : (void *)bt_vec_keep;
    v->eng.vec_save = s->bt.vec_loaded ? s->vec_save : (void *)bt_vec_keep;
    const u32 why = bt_enter(v, code);
    bt_x87_save(s);
    if (unlikely(s->sites.renew != NULL)) bt_renew(s);
    return serve(s, why);
}

/* After an exit: where to go on at once, the jump cache made current; NULL when the outer loop or
 * run() have something to do first. */
static const u8 *code_again(struct bt_state *s)
{
    struct vcpu *v = s->v;
    if (!bt_is_translatable(v) || bt_alignment_checked(v) || !assumptions_hold(s)) return NULL;
    if (v->mode == ISA_32) bt_guard_segments(v);
    if (bt_starts_with_vectors(v)) s->bt.vec_loaded = true;
    if (atomic_load(&v->posted) || !bt_window_settle(s->tables, v)) return NULL;
    return bt_light_continue(s);
}

/* The block at v->rip for the first time. */
static enum x_result run_once(struct bt_state *s)
{
    struct vcpu *v = s->v;
    late_note(&s->late);
    const enum x_result r = block_run_once(&s->decoded, v);
    s->bt.vec_loaded &= v->cpl == 3;
    return r;
}

static enum x_result run(struct vcpu *v)
{
    struct bt_state *s = state_of(v);
    if (!bt_is_translatable(v) || bt_alignment_checked(v) || !bt_window_settle(s->tables, v))
        return block_run(&s->decoded, v);
    if (v->mode == ISA_32) bt_guard_segments(v);
    bt_check_assumptions(s);
    if (bt_starts_with_vectors(v)) s->bt.vec_loaded = true;
    const struct bt_slot *slot = bt_find_block(s);
    if (unlikely(!slot)) return s->late.once ? run_once(s) : block_run_first(&s->decoded, v);
    struct jump_table *j = jump_current(s);
    jump_add(s, j, slot);
    if (!may_enter(s)) return X_JUMP;
    s->variant = bt_variant_of(s);
    enum x_result r = enter(s, code_far(&s->code, slot));
    for (u32 n = 1; n < ENTRIES_MAX && r == X_JUMP; n++) {
        const u8 *code = code_again(s);
        if (!code) break;
        r = enter(s, code);
    }
    atomic_store_explicit(&s->inside, false, memory_order_release);
    return r;
}

static enum x_result step(struct vcpu *v) { return block_run_step(&state_of(v)->decoded, v); }

static void bt_invalidate(struct vcpu *v, gpa_t start, gpa_t end)
{
    struct bt_state *s = state_of(v);
    cache_drop(&s->decoded, start, end);
    code_drop(&s->code, start, end);
}

static const struct outer_ops ops = {.run = run, .step = step, .code_changed = bt_invalidate};

static void note_code_cache(const struct bt_state *s)
{
    struct stats *t = &s->v->stats;
    t->bt_code_bytes = s->code.used - BT_CODE_START;
    t->bt_blocks = s->code.slots;
    t->bt_flushes = s->code.flushes;
    t->bt_drops = s->code.drops;
}

static enum run_exit bt_run(struct vcpu *v, u64 budget)
{
    struct bt_state *s = state_of(v);
    if (bt_views_update(&s->views, &s->err) < 0) return RUN_FAILED;
    if (fault_stack_enter(&s->stack, &s->err) < 0) return RUN_FAILED;
    syscall(SYS_arch_prctl, ARCH_SET_GS, v);
    mmu_enter_guest(v);
    enum run_exit why = outer_loop(v, budget, &ops);
    note_code_cache(s);
    mmu_leave_guest(v);
    fault_stack_leave();
    return why;
}

/* The page may become unreadable only after the vCPU has come and gone and entered again; it then
 * polls once for nothing. */
static void bt_kick(struct vcpu *v)
{
    struct bt_state *s = state_of(v);
    if (atomic_load(&s->inside) && !atomic_exchange(&s->armed, true)) code_poll_arm(&s->code);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int bt_probe(struct err *e)
{
    if (bt_host_find().lahf) return 0;
    return err_set(e, E_UNSUPPORTED,
                   "this processor has no LAHF in 64-bit code: use --engine interp");
}

/* Translated code uses what host and guest both have. */
static void choose_features(struct bt_state *s, const struct cpu_model *model)
{
    const struct bt_host host = bt_host_find();
    bt_host_masks(s->v);
    s->bt.plain = !host.bmi2;
    s->bt.slow_pext = host.slow_pext;
    s->bt.eager = host.eager;
    s->bt.has_avx = host.avx && cpu_model_has(model, FEAT_AVX);
    s->bt.has_avx512 = s->bt.has_avx && host.avx512 && cpu_model_has(model, FEAT_AVX512F);
    s->vec_load = s->bt.has_avx512 ? (void *)bt_vec_load512
                  : s->bt.has_avx  ? (void *)bt_vec_load256
                                   : (void *)bt_vec_load128;
    s->vec_save = s->bt.has_avx512 ? (void *)bt_vec_save512
                  : s->bt.has_avx  ? (void *)bt_vec_save256
                                   : (void *)bt_vec_save128;
}

static void bt_fini(struct vcpu *v)
{
    struct bt_state *s = state_of(v);
    if (!s) return;
    v->kick = NULL;
    mmu_unobserve(v, &s->observer);
    fault_unregister(&s->region);
    fault_stack_fini(&s->stack);
    bt_tables_destroy(s->tables);
    bt_views_fini(&s->views);
    jump_fini(s);
    code_fini(&s->code);
    bt_x87_fini(s);
    hostmem_release(s->bt.plans, sizeof *s->bt.plans);
    cache_fini(&s->decoded);
    native_fini(v);
    free(s);
    v->engine_state = NULL;
}

static int bt_init(struct vcpu *v, struct err *e)
{
    struct bt_state *s = calloc(1, sizeof *s);
    if (!s) return err_set(e, E_NOMEM, "translator");
    v->engine_state = s;
    s->v = s->bt.v = v;
    v->eng.exit_site = SITE_SLOT; /* of no jump */
    int rc = native_init(v, e);
    if (rc == 0)
        rc = cache_init(&s->decoded, (struct cache_size){.sets = 64, .insns = 24 * 1024}, e);
    if (rc == 0) rc = code_init(&s->code, e);
    if (rc == 0 && !(s->bt.plans = hostmem_reserve(sizeof *s->bt.plans)))
        rc = err_set(e, E_NOMEM, "plans of instructions");
    if (rc == 0) rc = bt_views_init(&s->views, v->mem, e);
    if (rc == 0)
        rc = bt_tables_create(&s->tables, v, &s->views, bt_tables_users(v->model->vcpus), e);
    if (rc == 0) rc = jump_init(s, e);
    if (rc == 0) rc = fault_stack_init(&s->stack, e);
    if (rc == 0) {
        choose_features(s, v->model);
        s->bt.write_bit = bt_views_divided(&s->views);
        s->bt.windows = bt_window_any(s->tables);
        s->region = (struct fault_region){(u64)(uintptr_t)s->code.rx, BT_CODE_BYTES, bt_on_fault};
        rc = bt_x87_init(s, e);
        if (rc == 0) rc = fault_register(&s->region, e);
    }
    if (rc < 0) {
        bt_fini(v);
        return rc;
    }
    for (u32 ac = 0; ac < 2; ac++) s->bt.table[ac] = bt_table_supervisor(s->tables, ac);
    jump_observe(s);
    v->kick = bt_kick;
    return 0;
}

static const struct err *bt_failure(const struct vcpu *v)
{
    return &((const struct bt_state *)v->engine_state)->err;
}

const struct engine engine_bt = {
    .name = "bt",
    .probe = bt_probe,
    .init = bt_init,
    .fini = bt_fini,
    .run = bt_run,
    .invalidate = bt_invalidate,
    .kick = bt_kick,
    .failure = bt_failure,
};
