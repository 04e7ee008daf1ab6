/* targets.h - jump targets behind the tables of jump.h, and the pages they are in.
 *
 * A table of jump.h has one place for a target, and a look-up in it is a few instructions; where
 * two targets want the same place it misses. Here the tables of a vCPU share sets of four, which C
 * code looks into (quick.c) before it does anything dearer. What a table may hold for an address,
 * and when that is to be forgotten, is the same here: every target has the *mark* of its table, and
 * a table that is emptied gets a new mark.
 *
 * Each table also has the linear pages its targets are in, with their physical pages. When the
 * guest flushes an address space nothing may be used of its table, until it is known that a page is
 * where it was: then that page's targets are right again (jump_cache.c: inherit).
 * Owner: the vCPU's thread. */
#ifndef ENGINE_BT_TARGETS_H
#define ENGINE_BT_TARGETS_H
#include "base/err.h"
#include "base/types.h"

enum {
    TARGET_WAYS = 4,
    TARGET_LINE_SHIFT = 4,                          /* targets in the same 16 bytes share a set */
    TARGET_GROUP = PAGE_BYTES >> TARGET_LINE_SHIFT, /* sets for the targets of a page */
    TARGET_GROUPS = 64,
    TARGET_MARK_SHIFT = 48,
    TARGET_PAGES = 8192,
    TARGET_PAGES_MAX = TARGET_PAGES * 3 / 4,
};
struct target_set {
    u64 tag[TARGET_WAYS]; /* mark and address; 0: empty */
    const u8 *code[TARGET_WAYS];
};
struct targets {
    struct target_set *set; /* [TARGET_GROUPS * TARGET_GROUP] */
    u32 victim;
    u16 mark; /* given away last; 0 is none */
};
/* Linear pages that targets of one table are in, with the parts of their instructions. */
struct target_page {
    u64 page;  /* linear page number + 1; 0: unused */
    gpa_t gpa; /* physical page; TARGET_GONE: nothing of it is left */
};
#define TARGET_GONE (~0ull)
struct target_pages {
    u32 count;                   /* more than TARGET_PAGES_MAX: some are not here */
    u64 used[TARGET_PAGES / 64]; /* which of them: most tables have few */
    struct target_page at[TARGET_PAGES];
};
int targets_init(struct targets *t, struct err *e) MUST_USE;
void targets_fini(struct targets *t);
/** targets_new_mark - for a table that was emptied. 0: they have run out, and everything was
 * forgotten; every table needs a new one. */
u16 targets_new_mark(struct targets *t);
/** targets_drop_page - forget those, of every mark, whose instruction touches linear page number
 * @page. */
void targets_drop_page(struct targets *t, u64 page);

/** target_pages_note - targets are in the linear page of @address, which is physical page @gpa.
 * False: it was another when noted before; those targets are to be forgotten first. */
bool target_pages_note(struct target_pages *p, u64 address, gpa_t gpa);
/** target_pages_drop - the targets in linear page number @page are about to be forgotten. False:
 * there are none. */
bool target_pages_drop(struct target_pages *p, u64 page);
void target_pages_clear(struct target_pages *p);

/* Only such addresses are here, so that 48 bits are enough. */
static inline u64 target_sign_extended(u64 address)
{
    return (u64)((s64)(address << (64 - TARGET_MARK_SHIFT)) >> (64 - TARGET_MARK_SHIFT));
}
static inline u64 target_tag(u16 mark, u64 address)
{
    return (u64)mark << TARGET_MARK_SHIFT | (address & (BIT(TARGET_MARK_SHIFT) - 1));
}
static inline struct target_set *target_group(const struct targets *t, u64 page)
{
    return &t->set[(page ^ page >> 6 ^ page >> 12) % TARGET_GROUPS * TARGET_GROUP];
}
static inline struct target_set *target_set_of(const struct targets *t, u64 address)
{
    return target_group(t, address >> PAGE_SHIFT) + ((address & ~PAGE_MASK) >> TARGET_LINE_SHIFT);
}
/** targets_find - where @address leads in the table of @mark, or NULL. */
static inline const u8 *targets_find(const struct targets *t, u16 mark, u64 address)
{
    const struct target_set *s = target_set_of(t, address);
    const u64 tag = target_tag(mark, address);
    for (u32 i = 0; i < TARGET_WAYS; i++)
        if (s->tag[i] == tag) return s->code[i];
    return NULL;
}
/** targets_add - @address leads to host code @code in the table of @mark. */
static inline void targets_add(struct targets *t, u16 mark, u64 address, const u8 *code)
{
    struct target_set *s = target_set_of(t, address);
    const u64 tag = target_tag(mark, address);
    u32 at = t->victim++ % TARGET_WAYS;
    for (u32 i = 0; i < TARGET_WAYS; i++)
        if (!s->tag[i]) at = i;
    for (u32 i = 0; i < TARGET_WAYS; i++)
        if (s->tag[i] == tag) at = i;
    s->tag[at] = tag;
    s->code[at] = code;
}
/** target_pages_has - is the linear page of @address noted as physical page @gpa, or not noted for
 * want of room? */
static inline bool target_pages_has(const struct target_pages *p, u64 address, gpa_t gpa)
{
    const u64 page = (address >> PAGE_SHIFT) + 1;
    if (p->count > TARGET_PAGES_MAX) return true;
    for (u32 n = 0, i = (u32)page % TARGET_PAGES; n < TARGET_PAGES; n++, i++) {
        const struct target_page *at = &p->at[i % TARGET_PAGES];
        if (at->page == page) return at->gpa == gpa;
        if (!at->page) return false;
    }
    return false;
}
#endif
