/* far.c - see far.h. */
#include "engine/bt/far.h"

#include "engine/common/hostmem.h"

static const size_t miss_bytes = sizeof(const u8 *) * JUMP_SLOTS;
static const size_t place_of_bytes = sizeof(u32) * JUMP_SLOTS;
static const size_t page_bytes = sizeof(struct far_page) * FAR_PAGES;

int far_init(struct far_links *f, struct err *e)
{
    *f = (struct far_links){.slots = 1, .life = 1};
    f->miss = hostmem_reserve(miss_bytes);
    f->place_of = hostmem_reserve(place_of_bytes);
    f->page = hostmem_reserve(page_bytes);
    if (f->miss && f->place_of && f->page) return 0;
    far_fini(f);
    return err_set(e, E_NOMEM, "slots of jumps");
}

void far_fini(struct far_links *f)
{
    hostmem_release(f->miss, miss_bytes);
    hostmem_release(f->place_of, place_of_bytes);
    hostmem_release(f->page, page_bytes);
    *f = (struct far_links){0};
}

void far_forget(struct far_links *f)
{
    f->slots = 1;
    f->life++;
}

/* Empty those that may be filled. */
static void clear_filled(const struct far_links *f, struct jump_table *j)
{
    if (j->fills > JUMP_FILLS) {
        for (u32 k = 1; k < j->known; k++) j->slot[k] = f->miss[k];
    } else {
        for (u32 k = 0; k < j->fills; k++) j->slot[j->filled[k]] = f->miss[j->filled[k]];
    }
    j->fills = 0;
}

void far_clear(const struct far_links *f, struct jump_table *j, u32 first)
{
    if (j->life != f->life) {
        j->life = f->life;
        j->known = 1;
        j->fills = 0;
    }
    if (first == 1) clear_filled(f, j);
    for (u32 k = j->known; k < f->slots; k++) j->slot[k] = f->miss[k];
    j->known = f->slots;
}

void far_drop_page(const struct far_links *f, struct jump_table *j, u64 page)
{
    const bool all = j->fills > JUMP_FILLS;
    for (u32 n = all ? 1 : 0; n < (all ? j->known : j->fills); n++) {
        const u32 k = all ? n : j->filled[n];
        if (j->slot_page[k] == (u32)page) j->slot[k] = f->miss[k];
    }
}

void far_offer(const struct far_links *f, struct bt_out *out)
{
    out->slot = f->slots;
    out->slot_room = JUMP_SLOTS - f->slots;
}

u32 far_take(struct far_links *f, const struct bt_out *out, const struct bt_slot *s, const u8 *code)
{
    const u32 first = f->slots;
    for (u32 k = 0; k < out->slots; k++) {
        f->miss[f->slots] = code + out->far[k].miss;
        f->place_of[f->slots++] = bt_place(s->page, out->far[k].off);
    }
    return first;
}

bool far_move(struct far_links *f, struct jump_table *j, const struct bt_slot *s, u64 address,
              u64 *old)
{
    struct far_page *p = &f->page[s->page];
    if (p->page != far_page_id(s)) *p = (struct far_page){far_page_id(s), ++f->lives, 0};
    if (far_settle(f, j, s, address)) return false;
    *old = j->base[s->page];
    far_set_home(j, s->page, far_tag(j, p), address & PAGE_MASK);
    p->moves++;
    return true;
}
