/* jump_cache.c - see jump_cache.h. */
#include "engine/bt/jump_cache.h"

#include <string.h>

#include "base/check.h"

/* Slots of tables that are nobody's are emptied when they are taken (adopt). */
static void jump_clear(struct bt_state *s, struct jump_table *j)
{
    if (j->key) {
        memset(j->minus_address, 0, sizeof j->minus_address);
        far_clear(&s->far, j, 1);
    }
    j->minus_address[0] = jump_nothing(0);
    j->epoch = far_new_epoch(&s->far);
    j->key = 0;
}

void jump_clear_all(struct bt_state *s)
{
    for (u32 i = 0; i < s->jumps; i++) jump_clear(s, s->jump[i]);
    memset(s->exec_pages, 0, sizeof s->exec_pages);
    memset(s->exec_regions, 0, sizeof s->exec_regions);
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
        adopt(s, j, key);
        return j;
    }
    for (u32 ac = 0; ac < 2; ac++)
        adopt(
            s,
            jump_table_at(s->bt.table[ac], jump_kind(variant & VARIANT_VEC, variant & VARIANT_32)),
            key);
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

/* Forget the entries of the page at @gva, and those before it whose instruction goes on there. */
static void jump_drop_page(struct bt_state *s, gva_t gva)
{
    const u64 page = gva >> PAGE_SHIFT;
    for (u32 i = 0; i < s->jumps; i++) {
        struct jump_table *j = s->jump[i];
        if (!j->key) continue;
        far_drop_page(&s->far, j, page);
        for (u32 back = 0; back < 2; back++)
            group_drop_page(j, jump_index((page - back) << PAGE_SHIFT), page);
    }
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
    j->minus_address[n] = 0 - rip;
    j->code[n] = code;
    jump_note(s, rip);
    if ((rip & ~PAGE_MASK) + INSN_BYTES_MAX > PAGE_BYTES) { /* may go on in the next page */
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
    (void)asn;
    if (!s->global_code) jump_clear_all(s); /* user caches go by context, which is new */
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
    if (space != s->space && !s->global_code) jump_clear_all(s);
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
    if (rc == 0) jump_clear_all(s);
    return rc;
}

void jump_fini(struct bt_state *s) { far_fini(&s->far); }
