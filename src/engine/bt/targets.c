/* targets.c - see targets.h. */
#include "engine/bt/targets.h"

#include <string.h>

#include "engine/common/hostmem.h"
#include "isa/insn.h"

static const size_t set_bytes = sizeof(struct target_set) * TARGET_GROUPS * TARGET_GROUP;

int targets_init(struct targets *t, struct err *e)
{
    *t = (struct targets){.set = hostmem_reserve(set_bytes)};
    return t->set ? 0 : err_set(e, E_NOMEM, "jump targets");
}

void targets_fini(struct targets *t)
{
    hostmem_release(t->set, set_bytes);
    *t = (struct targets){0};
}

u16 targets_new_mark(struct targets *t)
{
    if (!++t->mark) memset(t->set, 0, set_bytes);
    return t->mark;
}

/* Forget what is in @set and touches linear page number @page. */
static void drop_set(struct target_set *set, u64 page)
{
    const u64 number = BIT(TARGET_MARK_SHIFT - PAGE_SHIFT) - 1;
    for (u32 i = 0; i < TARGET_WAYS; i++) {
        const u64 first = set->tag[i] >> PAGE_SHIFT;
        const u64 last = (set->tag[i] + INSN_BYTES_MAX - 1) >> PAGE_SHIFT;
        if (!((first ^ page) & number) || !((last ^ page) & number)) set->tag[i] = 0;
    }
}

void targets_drop_page(struct targets *t, u64 page)
{
    struct target_set *group = target_group(t, page);
    for (u32 i = 0; i < TARGET_GROUP; i++) drop_set(&group[i], page);
    drop_set(&target_group(t, page - 1)[TARGET_GROUP - 1], page);
}

/* ---- pages ----------------------------------------------------------------------------------- */

bool target_pages_note(struct target_pages *p, u64 address, gpa_t gpa)
{
    const u64 page = (address >> PAGE_SHIFT) + 1;
    if (p->count > TARGET_PAGES_MAX) return true;
    u32 i = (u32)page % TARGET_PAGES;
    while (p->at[i].page && p->at[i].page != page) i = (i + 1) % TARGET_PAGES;
    const bool same = !p->at[i].page || p->at[i].gpa == gpa || p->at[i].gpa == TARGET_GONE;
    p->count += !p->at[i].page;
    p->used[i / 64] |= BIT(i % 64);
    p->at[i] = (struct target_page){page, gpa};
    return same;
}

bool target_pages_drop(struct target_pages *p, u64 page)
{
    if (p->count > TARGET_PAGES_MAX) return true;
    u32 i = (u32)(page + 1) % TARGET_PAGES;
    while (p->at[i].page && p->at[i].page != page + 1) i = (i + 1) % TARGET_PAGES;
    const bool any = p->at[i].page && p->at[i].gpa != TARGET_GONE;
    if (any) p->at[i].gpa = TARGET_GONE;
    return any;
}

void target_pages_clear(struct target_pages *p)
{
    for (u32 word = 0; word < TARGET_PAGES / 64 && p->count; word++) {
        for (; p->used[word]; p->used[word] &= p->used[word] - 1)
            p->at[word * 64 + (u32)__builtin_ctzll(p->used[word])].page = 0;
    }
    p->count = 0;
}
