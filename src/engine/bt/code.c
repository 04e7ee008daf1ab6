/* code.c - see code.h. */
#define _GNU_SOURCE
#include "engine/bt/code.h"

#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "engine/common/hostmem.h"

void bt_exit_step(void);
void bt_exit_link(void);
void bt_exit_lookup(void);
void bt_exit_light(void);
void bt_jump(void);
void bt_exit_fill_read(void);
void bt_exit_fill_write(void);

static const size_t slot_bytes = sizeof(struct bt_slot) * (BT_BLOCKS + 1);
static const size_t mark_bytes = sizeof(struct bt_mark) * BT_MARKS;
static const size_t index_bytes = sizeof(struct block_ref) * BLOCK_SETS * BLOCK_WAYS;
static const size_t hints_bytes = sizeof(struct bt_hints) * BT_HINTS;
static const size_t hint_of_bytes = sizeof(struct bt_page *) * BT_HINTS;
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
    c->mark = hostmem_reserve(mark_bytes);
    c->pages = hostmem_reserve(pages_bytes);
    c->index = hostmem_reserve(index_bytes);
    c->hints = hostmem_reserve(hints_bytes);
    c->hint_of = hostmem_reserve(hint_of_bytes);
    if (!c->slot || !c->mark || !c->pages || !c->index || !c->hints || !c->hint_of) {
        rc = err_set(e, E_NOMEM, "code cache tables");
        goto fail;
    }
    c->stubs.step = put_stub(c, bt_exit_step);
    c->stubs.link = put_stub(c, bt_exit_link);
    c->stubs.lookup = put_stub(c, bt_exit_lookup);
    c->stubs.jump = put_stub(c, bt_jump);
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
    hostmem_release(c->mark, mark_bytes);
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
    c->slots = c->marks = 0;
    c->used = BT_CODE_START;
    c->flushes++;
}

/* ---- pages ------------------------------------------------------------------------------------
 */

static struct bt_page *set_of(const struct bt_code *c, u64 id)
{
    return &c->pages[(id ^ id >> 11 ^ id >> 22) % BT_PAGE_SETS * BT_PAGE_WAYS];
}

static void index_put(struct bt_code *c, const struct bt_slot *slot)
{
    const u64 key = block_key(slot->page_gpa + slot->b.guest_off, slot->variant);
    struct block_ref *set = block_set(c, key), *at = &set[c->victim++ % BLOCK_WAYS];
    for (u32 i = 0; i < BLOCK_WAYS; i++)
        if (!set[i].key || set[i].key == key) at = &set[i];
    *at = (struct block_ref){key, slot};
}

static void index_remove(struct bt_code *c, const struct bt_slot *slot)
{
    const u64 key = block_key(slot->page_gpa + slot->b.guest_off, slot->variant);
    struct block_ref *set = block_set(c, key);
    for (u32 i = 0; i < BLOCK_WAYS; i++)
        if (set[i].key == key) set[i].key = 0;
}

static void drop_blocks(struct bt_code *c, struct bt_page *p)
{
    for (u32 i = p->first; i; i = c->slot[i].next) {
        u32 at = c->slot[i].b.code_off;
        for (u32 k = i - 1; k <= i + 1 && k <= c->slots; k++) /* code_add_cross makes two of one */
            c->slot[k].dropped |= k == i || (k && c->slot[k].b.code_off == at);
        index_remove(c, &c->slot[i]);
        c->rw[at] = 0xE9;
        code_patch_jump(c, at + 1, c->stubs.lookup);
    }
    c->drops += p->first != 0;
    p->first = 0;
}

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
        drop_blocks(c, free_way);
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

/* Drop @p if it is a page of [first, last]. */
static bool drop_if(struct bt_code *c, struct bt_page *p, u64 first, u64 last)
{
    if (!p->page || (p->page - 1) / VARIANTS < first || (p->page - 1) / VARIANTS > last)
        return false;
    bool any = p->first != 0;
    drop_blocks(c, p);
    return any;
}

bool code_drop(struct bt_code *c, gpa_t start, gpa_t end)
{
    u64 first = start >> PAGE_SHIFT, last = (end - 1) >> PAGE_SHIFT;
    bool any = false, many = last - first >= BT_PAGE_SETS;
    for (u32 i = 0; i < BT_PAGE_SETS * BT_PAGE_WAYS && many; i++)
        any |= drop_if(c, &c->pages[i], first, last);
    for (u64 page = first; page <= last && !many; page++) {
        for (u32 k = 0; k < VARIANTS; k++) {
            struct bt_page *p = code_page(c, page << PAGE_SHIFT, k, false);
            if (p) any |= drop_if(c, p, page, page);
        }
    }
    return any;
}

/* ---- blocks -----------------------------------------------------------------------------------
 */

bool code_room(struct bt_code *c)
{
    if (c->used + BT_BLOCK_CODE_BYTES <= BT_CODE_BYTES && c->slots + 1 < BT_BLOCKS &&
        c->marks + BT_BLOCK_INSNS + 1 <= BT_MARKS)
        return false;
    code_drop_all(c);
    return true;
}

const struct bt_slot *code_add(struct bt_code *c, const struct bt_block *b, struct bt_page *p,
                               u32 bytes)
{
    u32 index = ++c->slots;
    struct bt_slot *s = &c->slot[index];
    *s = (struct bt_slot){.b = *b,
                          .next = p->first,
                          .variant = (u32)((p->page - 1) % VARIANTS),
                          .tests = code_hints(c, p)->tests,
                          .page_gpa = (p->page - 1) / VARIANTS << PAGE_SHIFT};
    s->b.mark = memcpy(&c->mark[c->marks], b->mark, b->marks * sizeof *b->mark);
    c->marks += b->marks;
    p->first = index;
    index_put(c, s);
    c->used = (u32)align_up(c->used + bytes, 16);
    return s;
}

const struct bt_slot *code_add_cross(struct bt_code *c, const struct bt_block *b, struct bt_page *p,
                                     struct bt_page *second)
{
    const struct bt_slot *s = code_add(c, b, p, b->code_bytes);
    index_remove(c, s);
    u32 again = ++c->slots; /* the same code in the other page's chain */
    c->slot[again] = *s;
    c->slot[again].next = second->first;
    second->first = again;
    return s;
}

void code_replace(struct bt_code *c, const struct bt_slot *old, const struct bt_slot *by)
{
    const u32 far = old->b.code_off, near = far + old->b.near_off;
    c->rw[far] = c->rw[near] = 0xE9; /* jmp rel32; both are longer */
    code_patch_jump(c, far + 1, by->b.code_off);
    code_patch_jump(c, near + 1, by->b.code_off + by->b.near_off);
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

const struct bt_mark *code_mark_of(const struct bt_code *c, const struct bt_slot *s, u64 pc)
{
    u32 off = (u32)(pc - (u64)(uintptr_t)c->rx) - s->b.code_off;
    u32 i = s->b.marks - 1u;
    while (i > 0 && s->b.mark[i].host_off > off) i--;
    return &s->b.mark[i];
}

void code_patch_jump(struct bt_code *c, u32 site, u32 target)
{
    s32 rel = (s32)(target - (site + 4));
    memcpy(c->rw + site, &rel, sizeof rel);
}

void code_poll_arm(struct bt_code *c) { mprotect(c->rx + BT_POLL_OFF, PAGE_BYTES, PROT_NONE); }
void code_poll_disarm(struct bt_code *c) { mprotect(c->rx + BT_POLL_OFF, PAGE_BYTES, PROT_READ); }
