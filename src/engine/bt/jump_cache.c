/* jump_cache.c - see jump_cache.h. */
#include "engine/bt/jump_cache.h"

#include <string.h>

#include "base/check.h"

static void renew_mark(struct bt_state *s, struct jump_table *j)
{
    j->mark = targets_new_mark(&s->targets);
    for (u32 i = 0; i < s->jumps && !j->mark; i++) s->jump[i]->mark = targets_new_mark(&s->targets);
}

/* Slots of tables that are nobody's are emptied when they are taken (adopt). */
static void jump_clear(struct bt_state *s, struct jump_table *j)
{
    if (j->key) {
        memset(j->minus_address, 0, sizeof j->minus_address);
        far_clear(&s->far, j, 1);
    }
    j->minus_address[0] = jump_nothing(0);
    j->epoch = far_new_epoch(&s->far);
    target_pages_clear(&j->pages);
    renew_mark(s, j);
    j->key = 0;
}

void jump_clear_all(struct bt_state *s)
{
    for (u32 i = 0; i < s->jumps; i++) jump_clear(s, s->jump[i]);
    memset(s->exec_pages, 0, sizeof s->exec_pages);
    memset(s->exec_regions, 0, sizeof s->exec_regions);
    s->global_code = true;
}

/* What is right in this address space only; user code has tables by context. */
static void clear_local(struct bt_state *s)
{
    if (s->global_code) return;
    for (u32 i = 0; i < s->jumps; i++)
        if (s->jump[i]->key == JUMP_KEY_SUPERVISOR) jump_clear(s, s->jump[i]);
    s->global_code = true;
}

void jump_forget_blocks(struct bt_state *s)
{
    far_forget(&s->far);
    jump_clear_all(s);
}

void jump_clear_slots(struct bt_state *s)
{
    s->far.stale = 0;
    for (u32 i = 0; i < s->jumps; i++)
        if (s->jump[i]->key) far_clear(&s->far, s->jump[i], 1);
}

/* The record of a page has its home, too. */
void jump_note_evictions(struct bt_state *s)
{
    if (likely(s->far.evictions == s->code.evictions)) return;
    s->far.evictions = s->code.evictions;
    jump_clear_slots(s);
}

void jump_take_slots(struct bt_state *s, const struct bt_out *out, const struct bt_slot *slot)
{
    const u32 first = far_take(&s->far, out, slot, code_far(&s->code, slot));
    for (u32 i = 0; i < s->jumps; i++)
        if (s->jump[i]->key) far_clear(&s->far, s->jump[i], first);
}

static void adopt(struct bt_state *s, struct jump_table *j, u64 key)
{
    if (!j->is_known) {
        ASSERT(s->jumps < JUMP_TABLES_MAX, "%u jump tables", s->jumps);
        j->is_known = true;
        s->jump[s->jumps++] = j;
    }
    jump_clear(s, j);
    far_clear(&s->far, j, 1);
    j->key = key;
    j->root = s->v->cr3 & PAGE_MASK;
    j->orphan = false;
}

/* ---- targets of an address space that was flushed -------------------------------------------- */

/* Forget the entries of the group at @first whose instruction touches @page, a linear page number.
 */
static void group_drop_page(struct jump_table *j, u32 first, u64 page)
{
    for (u32 k = first; k < first + JUMP_GROUP; k++) {
        u64 address = 0 - j->minus_address[k];
        bool inside = address >> PAGE_SHIFT == page;
        bool before = (address + INSN_BYTES_MAX - 1) >> PAGE_SHIFT == page;
        if (inside || before) j->minus_address[k] = jump_nothing(k);
    }
}

/* Forget the entries of page number @page, and those before it whose instruction goes on there. */
static void table_drop_page(struct bt_state *s, struct jump_table *j, u64 page)
{
    if (!j->key || !target_pages_drop(&j->pages, page)) return;
    far_drop_page(&s->far, j, page);
    for (u32 back = 0; back < 2; back++)
        group_drop_page(j, jump_index((page - back) << PAGE_SHIFT), page);
}

/* A walk for one page, from which those of its neighbours are cheap. */
struct near {
    struct walk walk;
    u64 page;
    bool known;
};
static bool walk_near(struct vcpu *v, struct near *near, u64 page, struct walk *w)
{
    enum { TABLE_SHIFT_MIN = 9 }; /* entries of a page table: 512, or 1024 */
    if (near->known && near->page >> TABLE_SHIFT_MIN == page >> TABLE_SHIFT_MIN)
        return !mmu_walk_beside(v, &near->walk, (s32)(page - near->page), w);
    if (mmu_walk(v, page << PAGE_SHIFT, ACC_EXEC, WALK_PEEK, w)) return false;
    *near = (struct near){*w, page, w->page_shift == PAGE_SHIFT && w->accessed};
    return true;
}

/* Might the processor hold the translation of linear page @page to @gpa now, for execution by the
 * user? */
static bool is_there(struct bt_state *s, struct near *near, u64 page, gpa_t gpa)
{
    struct walk w;
    if (!walk_near(s->v, near, page, &w)) return false;
    if (!w.accessed || !w.user || !w.exec || (w.gpa & PAGE_MASK) != gpa) return false;
    if (w.page_shift > PAGE_SHIFT) {
        const u64 r = exec_region_hash(page << PAGE_SHIFT);
        s->exec_regions[r / 64] |= BIT(r % 64);
    }
    return true;
}

/* Keep the targets of page @at if it is where it was, forget them otherwise: false. */
static bool keep_page(struct bt_state *s, struct jump_table *j, struct near *near,
                      const struct target_page *at)
{
    const u64 page = at->page - 1;
    if (at->gpa == TARGET_GONE || is_there(s, near, page, at->gpa)) return true;
    table_drop_page(s, j, page);
    targets_drop_page(&s->targets, page);
    return false;
}

/* The guest flushed the space of @j, which is in use again: keep the targets of pages that are
 * where they were. False: too few are. */
static bool inherit(struct bt_state *s, struct jump_table *j)
{
    enum { GONE_MAX = 64 };
    const struct target_pages *p = &j->pages;
    struct near near = {.known = false};
    u32 gone = 0;
    if (p->count > TARGET_PAGES_MAX) return false;
    for (u32 word = 0; word < TARGET_PAGES / 64 && gone <= GONE_MAX; word++) {
        for (u64 left = p->used[word]; left; left &= left - 1)
            gone += !keep_page(s, j, &near, &p->at[word * 64 + (u32)__builtin_ctzll(left)]);
    }
    return gone <= GONE_MAX;
}

/* The table had the same space before that was flushed: take it over with what is still right. */
static bool take_over(struct bt_state *s, struct jump_table *j, u64 key)
{
    if (!j->key || !j->orphan || j->root != (s->v->cr3 & PAGE_MASK)) return false;
    if (j->key % VARIANTS != key % VARIANTS || !inherit(s, j)) return false;
    j->key = key;
    j->orphan = false;
    return true;
}

/* Code of the supervisor changes between its two translation tables by itself (CLAC, STAC). */
struct jump_table *jump_current(struct bt_state *s)
{
    const struct vcpu *v = s->v;
    const u32 variant = bt_variant_of(s);
    struct jump_table *j = jump_of(v, variant);
    const u64 key = jump_key(s);
    if (likely(j->key == key)) return j;
    if (v->cpl == 3) {
        if (!take_over(s, j, key)) adopt(s, j, key);
        return j;
    }
    const u32 kind = jump_kind(variant & VARIANT_VEC, variant & VARIANT_32);
    struct jump_table *k[2] = {jump_table_at(s->bt.table[0], kind),
                               jump_table_at(s->bt.table[1], kind)};
    for (u32 ac = 0; ac < 2; ac++) {
        adopt(s, k[ac], key);
        k[ac]->pair = k[!ac];
    }
    k[0]->epoch = k[1]->epoch; /* homes are common to both */
    return j;
}

/* What a new entry for the code at @rip means for invalidations. */
static void jump_note(struct bt_state *s, u64 rip)
{
    const struct vcpu *v = s->v;
    const u64 n = (rip >> PAGE_SHIFT) & (TLB_ENTRIES - 1);
    bool known = v->tlb.e[ACC_EXEC][n].tag == ((rip & PAGE_MASK) | v->tlb.ctx);
    const u64 page = known ? v->tlb.exec_page[n] : TLB_EXEC_LARGE;
    const u64 h = exec_page_hash(rip), r = exec_region_hash(rip);
    s->exec_pages[h / 64] |= BIT(h % 64);
    if (page & TLB_EXEC_LARGE) s->exec_regions[r / 64] |= BIT(r % 64);
    if (v->cpl != 3 && !(page & TLB_EXEC_GLOBAL)) s->global_code = false;
}

/* Forget the entries of the page at @gva, and those before it whose instruction goes on there. */
static void jump_drop_page(struct bt_state *s, gva_t gva)
{
    const u64 page = gva >> PAGE_SHIFT;
    for (u32 i = 0; i < s->jumps; i++) table_drop_page(s, s->jump[i], page);
    targets_drop_page(&s->targets, page);
}

/* The targets of @address's linear page in @j are in physical page @gpa. */
static void note_page(struct bt_state *s, struct jump_table *j, u64 address, gpa_t gpa)
{
    if (target_pages_note(&j->pages, address, gpa)) return;
    jump_drop_page(s, address);
    target_pages_note(&j->pages, address, gpa);
}
static void note_pages(struct bt_state *s, struct jump_table *j, const struct bt_slot *slot)
{
    const u64 rip = s->v->rip, next = (rip & PAGE_MASK) + PAGE_BYTES;
    hva_t page;
    gpa_t gpa;
    note_page(s, j, rip, slot->page_gpa);
    if (!is_cross(slot)) return;
    if (mmu_fetch_page(s->v, next, &page, &gpa)) j->pages.count = TARGET_PAGES_MAX + 1;
    else note_page(s, j, next, gpa & PAGE_MASK);
}

void jump_add(struct bt_state *s, struct jump_table *j, const struct bt_slot *slot)
{
    const u64 rip = s->v->rip;
    const u8 *code = code_far(&s->code, slot);
    const u32 n = jump_index(rip);
    u64 old;
    if (far_move(&s->far, j, slot, rip, &old)) {
        jump_drop_page(s, old);
        jump_clear_slots(s);
        if (far_wanders(&s->far, slot->page, far_page_id(slot))) { /* from now on: new code */
            code_kill(&s->code, slot->page_gpa, slot->page_gpa + PAGE_BYTES);
            return;
        }
    }
    if (j->minus_address[n] == 0 - rip && j->code[n] == code) return;
    note_pages(s, j, slot);
    j->minus_address[n] = 0 - rip;
    j->code[n] = code;
    if (target_sign_extended(rip) == rip) targets_add(&s->targets, j->mark, rip, code);
    jump_note(s, rip);
    if (jump_may_cross(rip)) {
        u64 next = exec_page_hash(rip + PAGE_BYTES);
        s->exec_pages[next / 64] |= BIT(next % 64);
    }
}

/* ---- what the MMU tells ---------------------------------------------------------------------- */

static void on_page(void *ctx, gva_t gva, u32 asn)
{
    struct bt_state *s = ctx;
    (void)asn;
    if (is_set(s->exec_regions, exec_region_hash(gva))) jump_clear_all(s);
    else if (is_set(s->exec_pages, exec_page_hash(gva))) jump_drop_page(s, gva);
}
static void on_space(void *ctx, u32 asn)
{
    struct bt_state *s = ctx;
    for (u32 i = 0; i < s->jumps; i++)
        s->jump[i]->orphan |= s->jump[i]->key / VARIANTS >> PRIV_BITS == asn;
    clear_local(s);
}
static void on_all(void *ctx) { jump_clear_all(ctx); }
static void on_writes(void *ctx, gpa_t page_gpa)
{
    (void)ctx;
    (void)page_gpa;
}
static void on_ctx(void *ctx)
{
    struct bt_state *s = ctx;
    u64 space = s->v->tlb.ctx >> PRIV_BITS;
    if (space != s->space) clear_local(s);
    s->space = space;
}

void jump_observe(struct bt_state *s)
{
    s->observer = (struct tlb_observer){NULL, s, on_page, on_space, on_all, on_writes, on_ctx};
    mmu_observe(s->v, &s->observer);
}

/* ---- life ------------------------------------------------------------------------------------ */

int jump_init(struct bt_state *s, struct err *e)
{
    int rc = far_init(&s->far, e);
    if (rc == 0) rc = targets_init(&s->targets, e);
    if (rc == 0) jump_clear_all(s);
    return rc;
}

void jump_fini(struct bt_state *s)
{
    targets_fini(&s->targets);
    far_fini(&s->far);
}
