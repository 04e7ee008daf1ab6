/* far.h - direct jumps to other pages.
 *
 * Such a jump has a slot, a number, and goes where the slot of the present jump table says: to its
 * own code behind it at first (its "miss", a lookup), and to its target once that was looked up.
 * That is all it does: nothing is compared, and the target's address is nowhere. Who comes by a
 * slot enters by the near entry; all others - jump tables, targets.h, C - come to the far entry and
 * bring T1. That is right because
 *   - a slot is filled with what an entry of the same table could hold, and emptied whenever that
 *     entry would be: with its page, with the table;
 *   - the target is a constant distance from the page the jump is in, and within one table's life
 *     no physical page is entered at two linear addresses: the first is its *home*. Entries of
 *     tables are made in C only, which finds out (far_settle) when a page is about to be entered
 *     elsewhere. Then what leads to the old place is forgotten, with all slots of the table, and
 *     the page has a new home; one that moves often gets no slots filled any more.
 * A block that is dropped stays in slots, as it does in tables: its entries lead to the lookup
 * (code.h), with T1 from the home of its page, which is where slots of that table lead: they are
 * emptied before a page has another home, and before its record is another page's
 * (jump_note_evictions). Blocks of pages that wander are in no slot. Slots that lead to dropped
 * blocks for nothing are noticed, and emptied all together.
 * Owner: the vCPU's thread. */
#ifndef ENGINE_BT_FAR_H
#define ENGINE_BT_FAR_H
#include "engine/bt/code.h"

enum {
    FAR_MOVES_MAX = 4,   /* of a page, then its slots stay empty */
    FAR_STALE_MAX = 256, /* jumps to dropped blocks, then slots are emptied */
    FAR_PAGES = JUMP_PAGES,
};
static_assert(FAR_PAGES == BT_PAGE_SETS * BT_PAGE_WAYS, "as bt_code.pages");
struct far_page {
    u64 page; /* bt_page.page, or another: nothing is known */
    u32 life; /* number of this record's present meaning */
    u32 moves;
};
struct far_links {
    const u8 **miss;       /* [JUMP_SLOTS], by slot; 0 is no slot */
    u32 *place_of;         /* [JUMP_SLOTS]: bt_place of the jump */
    struct far_page *page; /* [FAR_PAGES], as bt_code.pages */
    u32 slots;             /* in use, and 0 */
    u32 epoch, stale, lives;
    u32 life;      /* how often all blocks were gone */
    u64 evictions; /* of bt_code, when slots were emptied for them */
};
int far_init(struct far_links *f, struct err *e) MUST_USE;
void far_fini(struct far_links *f);
/** far_forget - all blocks are gone. */
void far_forget(struct far_links *f);
/** far_clear - empty the slots of @j from @first (1: all) on. */
void far_clear(const struct far_links *f, struct jump_table *j, u32 first);
/** far_drop_page - empty those that lead to linear page number @page. */
void far_drop_page(const struct far_links *f, struct jump_table *j, u64 page);
/** far_new_epoch - for a table that was emptied: no page has a home in it. */
static inline u32 far_new_epoch(struct far_links *f) { return ++f->epoch; }
/** far_offer - tell the translator which slots are free. */
void far_offer(const struct far_links *f, struct bt_out *out);
/** far_take - the slots it used in block @s; @code is the block's code. They are still to be
 * emptied, from the number returned on, in every table. */
u32 far_take(struct far_links *f, const struct bt_out *out, const struct bt_slot *s,
             const u8 *code);

static inline u64 far_page_id(const struct bt_slot *s)
{
    return (s->page_gpa >> PAGE_SHIFT) * VARIANTS + s->variant + 1;
}
/* What jump_table.home holds for a page that was entered through @j: lives of both. */
static inline u64 far_tag(const struct jump_table *j, const struct far_page *p)
{
    return (u64)j->epoch << 32 | p->life;
}
static inline void far_set_home(struct jump_table *j, u32 page, u64 tag, gva_t base)
{
    j->home[page] = tag;
    j->base[page] = base;
    if (!j->pair) return;
    j->pair->home[page] = tag;
    j->pair->base[page] = base;
}
/** far_wanders - is page @page of the code cache, with @id, entered at many addresses? Its blocks
 * then take their linear address from the jump, else from jump_table.base. */
static inline bool far_wanders(const struct far_links *f, u32 page, u64 id)
{
    return f->page[page].page == id && f->page[page].moves > FAR_MOVES_MAX;
}
/** far_is_home - may block @s be entered at linear @address through @j? */
static inline bool far_is_home(const struct far_links *f, const struct jump_table *j,
                               const struct bt_slot *s, u64 address)
{
    const struct far_page *p = &f->page[s->page];
    if (p->page != far_page_id(s)) return false;
    if (p->moves > FAR_MOVES_MAX) return true;
    return j->home[s->page] == far_tag(j, p) && j->base[s->page] == (address & PAGE_MASK);
}
/** far_settle - the same; a page that was not entered through @j in its present life gets its home
 * here. */
static inline bool far_settle(const struct far_links *f, struct jump_table *j,
                              const struct bt_slot *s, u64 address)
{
    const struct far_page *p = &f->page[s->page];
    if (far_is_home(f, j, s, address)) return true;
    if (p->page != far_page_id(s) || j->home[s->page] == far_tag(j, p)) return false;
    far_set_home(j, s->page, far_tag(j, p), address & PAGE_MASK);
    return true;
}
/** far_fill - have the jump of @slot go to @to from now on, unless that is not to be. */
struct far_place {
    u64 address;
    const u8 *code; /* the far entry */
};
static inline void far_fill(const struct far_links *f, struct jump_table *j, u32 slot,
                            struct far_place to)
{
    const u8 *near = code_near_of(to.code);
    if (slot >= f->slots || !near) return;
    const u32 page = f->place_of[slot] >> PAGE_SHIFT;
    const struct far_page *p = &f->page[page];
    if (p->moves > FAR_MOVES_MAX || j->home[page] != far_tag(j, p)) return;
    if (j->slot[slot] == f->miss[slot] && j->fills <= JUMP_FILLS) {
        if (j->fills < JUMP_FILLS) j->filled[j->fills] = slot;
        j->fills++;
    }
    j->slot[slot] = near;
    j->slot_page[slot] = (u32)(to.address >> PAGE_SHIFT);
}
/** far_move - block @s is going to be entered through @j at @address. *old is then the linear
 * address of the page it was entered at before, whose entries in @j, and all slots of it, have to
 * be forgotten first: true. */
bool far_move(struct far_links *f, struct jump_table *j, const struct bt_slot *s, u64 address,
              u64 *old);
#endif
