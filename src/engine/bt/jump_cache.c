/* jump_cache.c - see jump_cache.h. */
#include "engine/bt/jump_cache.h"

#include <stdlib.h>
#include <string.h>

/* Slots of tables not in use are emptied when they come into use (adopt), but for the supervisor's.
 */
static void jump_clear(struct bt_state *s, struct jump_cache *j)
{
    if (j->used) {
        memset(j->table->minus_address, 0, sizeof j->table->minus_address);
        far_clear(&s->far, j->table, 1);
    }
    j->table->minus_address[0] = jump_nothing(0);
    j->table->epoch = far_new_epoch(&s->far);
    j->used = 0;
}

void jump_clear_all(struct bt_state *s)
{
    for (u32 i = 0; i < JUMP_CACHES; i++) jump_clear(s, &s->jump[i]);
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
    for (u32 i = 0; i < JUMP_CACHES; i++)
        if (s->jump[i].used) far_clear(&s->far, s->jump[i].table, 1);
}

void jump_take_slots(struct bt_state *s, const struct bt_out *out, const struct bt_slot *slot)
{
    const u32 first = far_take(&s->far, out, slot, code_far(&s->code, slot));
    for (u32 i = 0; i < JUMP_CACHES; i++)
        if (i < JUMP_SUPERVISOR || s->jump[i].used) far_clear(&s->far, s->jump[i].table, first);
}

static void adopt(struct bt_state *s, struct jump_cache *j, u64 key)
{
    jump_clear(s, j);
    far_clear(&s->far, j->table, 1);
    j->key = key;
    j->used = ++s->jump_uses;
}

struct jump_cache *jump_current(struct bt_state *s)
{
    struct vcpu *v = s->v;
    if (v->cpl != 3) return jump_supervisor(s);
    u64 key = jump_key(s);
    struct jump_cache *oldest = &s->jump[JUMP_SUPERVISOR];
    for (u32 i = JUMP_SUPERVISOR; i < JUMP_CACHES; i++) {
        struct jump_cache *j = &s->jump[i];
        if (j->used && j->key == key) return j;
        if (j->used < oldest->used) oldest = j;
    }
    adopt(s, oldest, key);
    return oldest;
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
    for (u32 i = 0; i < JUMP_CACHES; i++) {
        struct jump_cache *j = &s->jump[i];
        if (!j->used) continue;
        far_drop_page(&s->far, j->table, page);
        for (u32 back = 0; back < 2; back++)
            group_drop_page(j->table, jump_index((page - back) << PAGE_SHIFT), page);
    }
}

void jump_add(struct bt_state *s, struct jump_cache *j, const struct bt_slot *slot)
{
    const u64 rip = s->v->rip;
    const u8 *code = code_far(&s->code, slot);
    const u32 n = jump_index(rip);
    u64 old;
    if (far_move(&s->far, j->table, slot, rip, &old)) {
        jump_drop_page(s, old);
        jump_clear_slots(s);
    }
    if (j->table->minus_address[n] == 0 - rip && j->table->code[n] == code) return;
    j->table->minus_address[n] = 0 - rip;
    j->table->code[n] = code;
    j->used = ++s->jump_uses;
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
    if (rc < 0) return rc;
    for (u32 i = 0; i < JUMP_CACHES; i++) {
        s->jump[i].table = calloc(1, sizeof *s->jump[i].table);
        if (!s->jump[i].table) return err_set(e, E_NOMEM, "jump caches");
        s->jump[i].table->index = i;
    }
    jump_clear_all(s);
    s->v->eng.jump_mask = JUMP_MASK;
    return 0;
}

void jump_fini(struct bt_state *s)
{
    for (u32 i = 0; i < JUMP_CACHES; i++) free(s->jump[i].table);
    far_fini(&s->far);
}
