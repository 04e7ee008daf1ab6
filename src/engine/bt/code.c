/* code.c - see code.h. */
#define _GNU_SOURCE
#include "engine/bt/code.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "base/check.h"
#include "engine/bt/code_index.h"
#include "engine/bt/digest.h"
#include "engine/bt/emit_ext.h"
#include "engine/bt/enter.h"
#include "engine/bt/marks.h"
#include "engine/common/hostmem.h"

static const size_t slot_bytes = sizeof(struct bt_slot) * (BT_BLOCKS + 1);
static const size_t index_bytes = sizeof(u32) * BLOCK_BUCKETS;
static const size_t hints_bytes = sizeof(struct bt_hints) * BT_HINTS;
static const size_t hint_of_bytes = sizeof(struct bt_page *) * BT_HINTS;
static const size_t link_bytes = sizeof(struct bt_link) * (BT_LINKS + 1);
static const size_t grave_bytes = sizeof(struct bt_grave) * (BT_BLOCKS + 1);
static const size_t pages_bytes = sizeof(struct bt_page) * BT_PAGE_SETS * BT_PAGE_WAYS;

/* jmp [rip+2]; the address: blocks reach the routines of enter.S, wherever those are. */
static u32 put_stub(struct bt_code *c, void (*target)(void))
{
    static const u8 jmp[8] = {0xFF, 0x25, 2}; /* the address is aligned: AC is set */
    u32 at = c->used;
    memcpy(c->rw + at, jmp, sizeof jmp);
    memcpy(c->rw + at + sizeof jmp, &target, sizeof target);
    c->used = (u32)align_up(at + sizeof jmp + sizeof target, 16);
    return at;
}

int code_init(struct bt_code *c, struct err *e)
{
    *c = (struct bt_code){0};
    int rc = hostmem_map_code("ring3-bt", BT_CODE_BYTES, &c->rw, &c->rx, e);
    if (rc < 0) goto fail;
    c->slot = hostmem_reserve(slot_bytes);
    c->link = hostmem_reserve(link_bytes);
    c->grave = hostmem_reserve(grave_bytes);
    c->pages = hostmem_reserve(pages_bytes);
    c->index = hostmem_reserve(index_bytes);
    c->hints = hostmem_reserve(hints_bytes);
    c->hint_of = hostmem_reserve(hint_of_bytes);
    if (!c->slot || !c->link || !c->grave || !c->pages || !c->index || !c->hints || !c->hint_of) {
        rc = err_set(e, E_NOMEM, "code cache tables");
        goto fail;
    }
    while (getrandom(&c->point, sizeof c->point, 0) != (ssize_t)sizeof c->point) continue;
    c->point >>= 64 - DIGEST_BITS + 1;
    c->stubs.step = put_stub(c, bt_exit_step);
    c->stubs.link = put_stub(c, bt_exit_link);
    c->stubs.lookup = put_stub(c, bt_exit_lookup);
    c->stubs.jump = put_stub(c, bt_exit_jump);
    c->stubs.dropped = put_stub(c, bt_exit_dropped);
    c->stubs.light = put_stub(c, bt_exit_light);
    c->stubs.fill[0] = put_stub(c, bt_exit_fill_read);
    c->stubs.fill[1] = put_stub(c, bt_exit_fill_write);
    c->stubs.poll = BT_POLL_OFF;
    ASSERT(c->used <= BT_STUB_BYTES, "%u bytes of stubs", c->used);
    c->used = BT_CODE_START;
    return 0;
fail:
    code_fini(c);
    return rc;
}

void code_fini(struct bt_code *c)
{
    hostmem_release(c->rw, BT_CODE_BYTES);
    hostmem_release(c->rx, BT_CODE_BYTES);
    hostmem_release(c->slot, slot_bytes);
    hostmem_release(c->link, link_bytes);
    hostmem_release(c->grave, grave_bytes);
    hostmem_release(c->pages, pages_bytes);
    hostmem_release(c->index, index_bytes);
    hostmem_release(c->hints, hints_bytes);
    hostmem_release(c->hint_of, hint_of_bytes);
    *c = (struct bt_code){0};
}

void code_drop_all(struct bt_code *c)
{
    for (u32 i = 0; i < BT_PAGE_SETS * BT_PAGE_WAYS; i++)
        if (c->pages[i].page) c->pages[i].page = 0; /* untouched ones stay so */
    memset(c->index, 0, index_bytes);
    c->slots = c->links = c->assumers = c->graves = c->free_grave = 0;
    c->used = BT_CODE_START;
    c->flushes++;
}

/* Pages the next blocks will be in: a host fault for each, and another where it is executed, were a
 * twentieth of the time that new code took. */
static void make_pages(struct bt_code *c)
{
    enum { AT_A_TIME = 128 * 1024 };
    hostmem_populate(c->rw + c->there, AT_A_TIME, true);
    hostmem_populate(c->rx + c->there, AT_A_TIME, false);
    c->there += AT_A_TIME;
}

/* ---- finding --------------------------------------------------------------------------------- */

static struct bt_page *set_of(const struct bt_code *c, u64 id)
{
    return &c->pages[(id ^ id >> 11 ^ id >> 22) % BT_PAGE_SETS * BT_PAGE_WAYS];
}

static void index_put(struct bt_code *c, struct bt_slot *slot)
{
    u32 *bucket = block_bucket(c, slot_key(slot));
    slot->same_hash = *bucket;
    *bucket = (u32)(slot - c->slot);
}

static void index_remove(struct bt_code *c, const struct bt_slot *slot)
{
    u32 *at = block_bucket(c, slot_key(slot));
    while (*at && *at != (u32)(slot - c->slot)) at = &c->slot[*at].same_hash;
    if (*at) *at = slot->same_hash;
}

/* ---- jumps ----------------------------------------------------------------------------------- */

static void put_rel(struct bt_code *c, u32 site, u32 target)
{
    s32 rel = (s32)(target - (site + 4));
    memcpy(c->rw + site, &rel, sizeof rel);
}

void code_patch_jump(struct bt_code *c, u32 site, u32 target)
{
    const struct bt_slot *s = code_at(c, (u64)(uintptr_t)c->rx + site);
    const u32 rel = target - (site + 4), at = s ? site - s->b.code_off : 0;
    if (!s || !s->dropped || at >= BT_LID_BYTES) {
        put_rel(c, site, target);
        return;
    }
    if (s->dead) return;
    for (u32 k = 0; k < sizeof rel; k++) {
        const bool under = at + k < BT_LID_BYTES;
        *(under ? &c->grave[s->grave].head[at + k] : &c->rw[site + k]) = (u8)(rel >> 8 * k);
    }
}

static void patch_link(struct bt_code *c, const struct bt_link *l, u32 target)
{
    if (l->early) code_patch_jump(c, l->site, target);
    else put_rel(c, l->site, target);
}

/* ---- dropping -------------------------------------------------------------------------------- */

static void save_head(struct bt_code *c, struct bt_slot *s)
{
    const u32 k = c->free_grave ? c->free_grave : ++c->graves;
    c->free_grave = c->free_grave ? c->grave[k].next : 0;
    memcpy(c->grave[k].head, c->rw + s->b.code_off, BT_LID_BYTES);
    s->grave = k;
}
static void free_grave(struct bt_code *c, struct bt_slot *s)
{
    if (!s->grave) return;
    c->grave[s->grave].next = c->free_grave;
    c->free_grave = s->grave;
    s->grave = 0;
}

/* Either entry leads to the lookup. Who comes to the near one, by a slot, has no T1: it is made
 * from the page's home (far.h). */
static void put_lid(struct bt_code *c, const struct bt_slot *s)
{
    const u32 at = s->b.code_off,
              kind = jump_kind(s->variant & VARIANT_VEC, s->variant & VARIANT_32);
    const size_t base = offsetof(struct jump_table, base) + s->page * sizeof(u64);
    c->rw[at] = EM_JMP32;
    put_rel(c, at + 1, c->stubs.dropped);
    if (s->b.near_off != BT_FAR_BYTES) return;
    struct emit e = {.at = c->rw + at, .n = BT_FAR_BYTES, .room = BT_LID_BYTES};
    em_mem_op(&e, EM_MOV_LOAD, EM_64, T1, (struct em_mem){TB, REG_NONE, 0, jump_at(kind, base)});
    em_mem_op(&e, EM_LEA, s->variant & VARIANT_32 ? EM_32 : EM_64, T1,
              (struct em_mem){T1, REG_NONE, 0, s->b.guest_off});
    em_byte(&e, EM_JMP32);
    em_u32(&e, c->stubs.dropped - (at + e.n + 4));
}

static void drop_block(struct bt_code *c, struct bt_slot *s)
{
    if (s->dropped) return;
    s->dropped = true;
    save_head(c, s);
    put_lid(c, s);
    for (u32 i = s->links; i; i = c->link[i].next) patch_link(c, &c->link[i], c->link[i].exit);
    c->drops++;
}

/* Of the two slots of a block that crosses pages, too: they are neighbours. */
static void kill_block(struct bt_code *c, u32 i)
{
    const u32 at = c->slot[i].b.code_off;
    drop_block(c, &c->slot[i]);
    for (u32 k = i - 1; k <= i + 1 && k <= c->slots; k++)
        if (k && c->slot[k].b.code_off == at) c->slot[k].dropped = c->slot[k].dead = true;
    index_remove(c, &c->slot[i]);
    free_grave(c, &c->slot[i]);
    c->slot[i].links = 0;
}

bool code_revive(struct bt_code *c, const struct bt_slot *slot, const u8 *guest)
{
    const u32 index = (u32)(slot - c->slot), at = slot->b.code_off;
    struct bt_slot *s = &c->slot[index];
    if (code_digest(guest, (u32)s->b.guest_end - s->b.guest_off, c->point) != s->digest) {
        kill_block(c, index);
        return false;
    }
    memcpy(c->rw + at, c->grave[s->grave].head, BT_LID_BYTES);
    free_grave(c, s);
    s->dropped = false;
    for (u32 i = s->links; i; i = c->link[i].next) patch_link(c, &c->link[i], c->link[i].target);
    return true;
}

/* Blocks of @p with code in the page's bytes [first, last]; dead ones leave the chain. */
struct drop {
    u32 first, last;
    bool kill;
};
static bool drop_blocks(struct bt_code *c, struct bt_page *p, const struct drop *d)
{
    bool any = false;
    for (u32 *link = &p->first; *link;) {
        const u32 i = *link;
        struct bt_slot *s = &c->slot[i];
        bool hit = is_cross(s) || (s->b.guest_off <= d->last && s->b.guest_end > d->first);
        any |= hit && !s->dropped;
        if (hit && (d->kill || is_cross(s))) kill_block(c, i);
        else if (hit) drop_block(c, s);
        if (s->dead) *link = s->next;
        else link = &s->next;
    }
    return any;
}
static const struct drop everything = {0, PAGE_BYTES - 1, true};

void code_assume(struct bt_code *c, const struct bt_slot *slot, u32 what)
{
    struct bt_slot *s = &c->slot[slot - c->slot];
    if (!what) return;
    s->assumes = (u16)what;
    s->assumer = c->assumers;
    c->assumers = (u32)(slot - c->slot);
}

void code_changed(struct bt_code *c, u32 what)
{
    for (u32 *link = &c->assumers; *link;) {
        struct bt_slot *s = &c->slot[*link];
        if (!s->dead && s->assumes & what) kill_block(c, *link);
        if (s->dead) *link = s->assumer;
        else link = &s->assumer;
    }
}

/* ---- pages ----------------------------------------------------------------------------------- */

struct bt_page *code_page(struct bt_code *c, gpa_t gpa, u32 variant, bool make)
{
    u64 id = (gpa >> PAGE_SHIFT) * VARIANTS + variant + 1;
    struct bt_page *set = set_of(c, id), *free_way = NULL;
    for (u32 i = 0; i < BT_PAGE_WAYS; i++) {
        if (set[i].page == id) return &set[i];
        if (!set[i].page) free_way = &set[i];
    }
    if (!make) return NULL;
    if (!free_way) {
        free_way = &set[c->victim++ % BT_PAGE_WAYS];
        drop_blocks(c, free_way, &everything);
        c->evictions++;
    }
    memset(free_way, 0, sizeof *free_way);
    free_way->page = id;
    return free_way;
}

struct bt_hints *code_hints_make(struct bt_code *c, struct bt_page *p)
{
    if (p->hints) return &c->hints[p->hints];
    const u32 k = c->hint_victim % (BT_HINTS - 1) + 1;
    c->hint_victim = k;
    if (c->hint_of[k] && c->hint_of[k]->hints == k) c->hint_of[k]->hints = 0;
    memset(&c->hints[k], 0, sizeof c->hints[k]);
    c->hint_of[k] = p;
    p->hints = k;
    return &c->hints[k];
}

/* Of page @p what is in [start, end). */
static bool drop_part(struct bt_code *c, struct bt_page *p, gpa_t start, gpa_t end, bool kill)
{
    const gpa_t page = (p->page - 1) / VARIANTS << PAGE_SHIFT;
    if (!p->page || page >= end || page + PAGE_BYTES <= start) return false;
    const struct drop d = {.first = (u32)(max_u64(start, page) - page),
                           .last = (u32)(min_u64(end - page, PAGE_BYTES) - 1),
                           .kill = kill};
    return drop_blocks(c, p, &d);
}

static bool drop_range(struct bt_code *c, gpa_t start, gpa_t end, bool kill)
{
    u64 first = start >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;
    bool any = false, many = last - first >= BT_PAGE_SETS;
    for (u32 i = 0; i < BT_PAGE_SETS * BT_PAGE_WAYS && many; i++)
        any |= drop_part(c, &c->pages[i], start, end, kill);
    for (u64 page = first; page <= last && !many; page++) {
        for (u32 k = 0; k < VARIANTS; k++) {
            struct bt_page *p = code_page(c, page << PAGE_SHIFT, k, false);
            if (p) any |= drop_part(c, p, start, end, kill);
        }
    }
    return any;
}
bool code_drop(struct bt_code *c, gpa_t start, gpa_t end)
{
    return drop_range(c, start, end, false);
}
void code_kill(struct bt_code *c, gpa_t start, gpa_t end) { drop_range(c, start, end, true); }

/* ---- blocks ---------------------------------------------------------------------------------- */

bool code_room(struct bt_code *c)
{
    if (unlikely(c->used + BT_BLOCK_CODE_BYTES > c->there && c->there < BT_CODE_BYTES))
        make_pages(c);
    if (c->used + BT_BLOCK_CODE_BYTES <= BT_CODE_BYTES && c->slots + 1 < BT_BLOCKS) return false;
    code_drop_all(c);
    return true;
}

static struct bt_kept kept(const struct bt_block *b)
{
    return (struct bt_kept){.code_off = b->code_off,
                            .code_bytes = (u16)b->code_bytes,
                            .guest_off = b->guest_off,
                            .guest_end = b->guest_end,
                            .near_off = (u8)b->near_off,
                            .insns = (u8)b->insns,
                            .marks = (u8)b->marks,
                            .second = (u8)marks_second(b)};
}

const struct bt_slot *code_add(struct bt_code *c, const struct bt_block *b, struct bt_page *p)
{
    const u32 index = ++c->slots, guest_bytes = (u32)b->guest_end - b->guest_off;
    u8 *behind = c->rw + b->code_off + b->code_bytes;
    struct bt_slot *s = &c->slot[index];
    *s = (struct bt_slot){.b = kept(b),
                          .digest = code_digest(c->rw + b->copy_off, guest_bytes, c->point),
                          .next = p->first,
                          .page = (u16)(p - c->pages),
                          .variant = (u8)((p->page - 1) % VARIANTS),
                          .tests = (u16)code_hints(c, p)->tests,
                          .page_gpa = (p->page - 1) / VARIANTS << PAGE_SHIFT};
    p->first = index;
    index_put(c, s);
    c->used = (u32)align_up(b->code_off + b->code_bytes + marks_put(behind, b), 16);
    ASSERT(c->used - b->code_off >= BT_LID_BYTES, "a block of %u bytes", b->code_bytes);
    return s;
}

const struct bt_slot *code_add_cross(struct bt_code *c, const struct bt_block *b, struct bt_page *p,
                                     struct bt_page *second)
{
    const struct bt_slot *s = code_add(c, b, p);
    index_remove(c, s);
    u32 again = ++c->slots; /* the same code in the other page's chain */
    c->slot[again] = *s;
    c->slot[again].next = second->first;
    second->first = again;
    return s;
}

void code_replace(struct bt_code *c, const struct bt_slot *old, const struct bt_slot *by)
{
    const u32 far = old->b.code_off, near = far + old->b.near_off, links = old->links;
    const u32 moved = by->b.code_off + by->b.near_off - near;
    struct bt_slot *to = &c->slot[by - c->slot];
    kill_block(c, (u32)(old - c->slot));
    for (u32 i = links, next; i; i = next) {
        struct bt_link *l = &c->link[i];
        next = l->next;
        l->next = to->links;
        to->links = i;
        l->target += moved;
        patch_link(c, l, l->target);
    }
    c->rw[near] = EM_JMP32; /* for its own loop, and slots; as the one over the far entry */
    put_rel(c, far + 1, by->b.code_off);
    put_rel(c, near + 1, by->b.code_off + by->b.near_off);
}

const struct bt_slot *code_at(const struct bt_code *c, u64 pc)
{
    u64 off = pc - (u64)(uintptr_t)c->rx;
    if (off < BT_CODE_START || off >= c->used) return NULL;
    u32 lo = 1, hi = c->slots;
    while (lo < hi) {
        u32 mid = (lo + hi + 1) / 2;
        if (c->slot[mid].b.code_off <= off) lo = mid;
        else hi = mid - 1;
    }
    const struct bt_slot *s = &c->slot[lo];
    return off - s->b.code_off < s->b.code_bytes ? s : NULL;
}

static struct bt_marks marks_of(const struct bt_code *c, const struct bt_slot *s)
{
    return (struct bt_marks){c->rw + s->b.code_off + s->b.code_bytes, s->b.guest_off, s->b.marks,
                             s->b.insns, s->b.second};
}

const struct bt_mark *code_mark_of(struct bt_code *c, const struct bt_slot *s, u64 pc)
{
    const struct bt_marks m = marks_of(c, s);
    c->found = marks_find(&m, (u32)(pc - (u64)(uintptr_t)c->rx) - s->b.code_off);
    return &c->found;
}

struct bt_mark code_mark(const struct bt_code *c, const struct bt_slot *s, u32 n)
{
    const struct bt_marks m = marks_of(c, s);
    return marks_at(&m, n);
}

void code_link(struct bt_code *c, const struct bt_slot *slot, u32 site, u32 target)
{
    const struct bt_slot *from = code_at(c, (u64)(uintptr_t)c->rx + site);
    struct bt_slot *s = &c->slot[slot - c->slot];
    s32 rel;
    if (c->links == BT_LINKS || !from || from->dropped) return; /* it leaves at each jump */
    memcpy(&rel, c->rw + site, sizeof rel);
    if (site + 4 + (u32)rel == target) return; /* since it was revived */
    c->link[++c->links] = (struct bt_link){.site = site,
                                           .exit = site + 4 + (u32)rel,
                                           .target = target,
                                           .next = s->links,
                                           .early = site - from->b.code_off < BT_LID_BYTES};
    s->links = c->links;
    put_rel(c, site, target);
}

void code_poll_arm(struct bt_code *c) { mprotect(c->rx + BT_POLL_OFF, PAGE_BYTES, PROT_NONE); }
void code_poll_disarm(struct bt_code *c) { mprotect(c->rx + BT_POLL_OFF, PAGE_BYTES, PROT_READ); }
