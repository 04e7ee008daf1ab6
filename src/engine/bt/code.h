/* code.h - the code cache of one vCPU: translated blocks by guest-physical address, and the jump
 * caches.
 *
 * One memfd mapped twice, writable and executable; bounded by BT_CODE_BYTES and filled front to
 * back; when it (or a table) is full everything is dropped. Layout: stubs, the poll page, blocks.
 *
 * A dropped block is entered no more: jumps to the lookup stub lie over its entries (jump caches
 * and slots may keep pointing there), and jumps linked to it lead to their exits again. Where its
 * guest code was written it may turn out to be as it was: then the block is revived, with the jumps
 * to it. Where its translation is no longer wanted it is dead. Owner: the vCPU's thread, which
 * never runs translated code meanwhile. */
#ifndef ENGINE_BT_CODE_H
#define ENGINE_BT_CODE_H
#include "engine/bt/jump.h"
#include "engine/bt/lid.h"

enum {
    BT_STUB_BYTES = PAGE_BYTES,
    BT_POLL_OFF = PAGE_BYTES, /* its page is made unreadable to stop translated code */
    BT_CODE_START = 2 * PAGE_BYTES,
    BT_BLOCKS = 1 << 18, /* and what belongs to them: more than the bytes are enough for */
    BT_LINKS = 1 << 19,
    BT_PAGE_SETS = 2048,
    BT_PAGE_WAYS = 8,
    BT_HINTS = 2048, /* pages that may have hints at a time */
};
#define BT_CODE_BYTES MIB(64)

struct bt_page {
    u64 page;  /* guest-physical page number * VARIANTS + variant + 1; 0 when unused */
    u32 first; /* its blocks: chain of block indices, 0 ends    */
    u32 hints; /* of code_hints; 0: there are none      */
};
/* What is kept of a struct bt_block. */
struct bt_kept {
    u32 code_off;
    u16 code_bytes; /* its marks are behind them */
    u16 guest_off, guest_end;
    u8 near_off;
    u8 insns, marks, second; /* marks.h */
};
struct bt_slot { /* a block in the cache: a line of the host's */
    struct bt_kept b;
    u64 digest; /* of its guest code (digest.h) */
    gpa_t page_gpa;
    u32 next;      /* of the same page */
    u32 same_hash; /* code_index.h */
    u32 links;     /* jumps patched to lead here: chain of link indices, 0 ends */
    u32 assumer;   /* the next block that assumes anything, 0 ends */
    u16 page;      /* which of bt_code.pages that is */
    u16 assumes;   /* enum code_assumed */
    u16 tests;     /* hints.tests of its page when it was translated */
    u8 variant;
    bool dropped; /* not to be entered */
    bool dead;    /* never again */
    u32 grave;    /* dropped: where the bytes under its lid are */
};
static_assert(sizeof(struct bt_slot) == 64 && BT_BLOCK_CODE_BYTES <= 0xFFFF, "struct bt_slot");
static_assert(BT_PAGE_SETS * BT_PAGE_WAYS <= 1 << 16 && HINT_BYTES * 8 <= 0xFFFF, "struct bt_slot");
/* A direct jump from block to block of a page: the rel32 at @site. */
struct bt_link {
    u32 site, exit, target; /* code offsets: it leads to its exit or to the target */
    u32 next : 31;
    u32 early : 1; /* the site may be under a lid */
};
struct bt_code {
    u8 *rw, *rx;
    u32 used;  /* bytes */
    u32 there; /* the host has pages for so many of them, and for the next block */
    u32 slots, links;
    u64 point;              /* of digests: a secret */
    struct bt_mark found;   /* by code_mark_of */
    struct bt_slot *slot;   /* [BT_BLOCKS], 1-based, code_off ascending */
    struct bt_link *link;   /* [BT_LINKS], 1-based */
    struct bt_grave *grave; /* [BT_BLOCKS], 1-based */
    u32 graves, free_grave;
    struct bt_page *pages; /* [BT_PAGE_SETS][BT_PAGE_WAYS] */
    u32 victim;
    u32 assumers;             /* blocks that assume something: chain of block indices, 0 ends */
    struct bt_hints *hints;   /* [BT_HINTS], the first for pages without: all zero */
    struct bt_page **hint_of; /* [BT_HINTS]: who has them, if it names them, too */
    u32 hint_victim;
    struct bt_stubs stubs;
    u32 *index;         /* [BLOCK_BUCKETS]: code_index.h */
    u64 flushes, drops; /* how often everything, and blocks, were dropped */
    u64 evictions;      /* how often a page's record became another's */
};
int code_init(struct bt_code *c, struct err *e) MUST_USE;
void code_fini(struct bt_code *c);
void code_drop_all(struct bt_code *c);
/* A page may be translated in several variants: for user code (CPL 3) or supervisor code, with the
 * guest's vector registers in the host's or not, as 64- or 32-bit code. */
enum bt_variant { VARIANT_USER = 1 << 0, VARIANT_VEC = 1 << 1, VARIANT_32 = 1 << 2, VARIANTS = 8 };
/** code_drop - guest code in [start, end) may have changed: drop the blocks made of it until
 * code_revive. True when there were any. */
bool code_drop(struct bt_code *c, gpa_t start, gpa_t end);
/** code_kill - the blocks made of guest code in [start, end) are to be translated anew. */
void code_kill(struct bt_code *c, gpa_t start, gpa_t end);
/* What blocks take for granted: that an enum fpu_class faults or does not; bits of CR4. */
enum code_assumed { ASSUMES_CR4 = 1 << FPU_CLASSES };
/** code_assume - block @s is right as long as nothing of @what changes. code_changed - @what did:
 * the blocks that assume it are to be translated anew. */
void code_assume(struct bt_code *c, const struct bt_slot *s, u32 what);
void code_changed(struct bt_code *c, u32 what);
/** code_page - record of the page, made if need be (@make), else NULL. Hints survive dropping
 * blocks, not eviction. */
struct bt_page *code_page(struct bt_code *c, gpa_t gpa, u32 variant, bool make);
/** code_hints - what is known of @p. code_hints_make - the same to be added to; a page that got its
 * hints long ago may lose them for that. */
static inline const struct bt_hints *code_hints(const struct bt_code *c, const struct bt_page *p)
{
    return &c->hints[p->hints];
}
struct bt_hints *code_hints_make(struct bt_code *c, struct bt_page *p);
/** code_room - make sure a block fits; drops everything when it does not. True when it did that. */
bool code_room(struct bt_code *c);
/** code_add - take what was just emitted at c->used as block @b of @p, with its marks. The copy of
 * its guest code is not needed any more. */
const struct bt_slot *code_add(struct bt_code *c, const struct bt_block *b, struct bt_page *p);
/** code_add_cross - as code_add for the block of one instruction that goes on in page @second:
 * found by no code_find, dropped with either page. Takes two slots. */
const struct bt_slot *code_add_cross(struct bt_code *c, const struct bt_block *b, struct bt_page *p,
                                     struct bt_page *second);
/** code_replace - whoever jumps to @old, by either entry, comes to @by from now on: the same guest
 * code of the same variant, translated anew. */
void code_replace(struct bt_code *c, const struct bt_slot *old, const struct bt_slot *by);
/** code_at - block whose host code holds address @pc, NULL for stubs and strangers. */
const struct bt_slot *code_at(const struct bt_code *c, u64 pc);
/** code_mark_of - the guest instruction that host @pc of @s belongs to; valid until the next call.
 * code_mark - the marks of @s by number. */
const struct bt_mark *code_mark_of(struct bt_code *c, const struct bt_slot *s, u64 pc);
struct bt_mark code_mark(const struct bt_code *c, const struct bt_slot *s, u32 n);
/** code_patch_jump - make the rel32 field at @site jump to code offset @target, lid or not. */
void code_patch_jump(struct bt_code *c, u32 site, u32 target);
/** code_link - have the jump whose rel32 field is at code offset @site, now leading to its exit or
 * to @target already, go to @target, an entry of @s, as long as that is not dropped. */
void code_link(struct bt_code *c, const struct bt_slot *s, u32 site, u32 target);
/** code_revive - the dropped block @s is to be entered again if @guest, its guest code as it is
 * now, is what it was made of, and dead if not. Returns which; @guest's writers are noticed by now.
 */
bool code_revive(struct bt_code *c, const struct bt_slot *s, const u8 *guest);
/** code_poll_arm - make the next poll fault (any thread); code_poll_disarm - not (owner). */
void code_poll_arm(struct bt_code *c);
void code_poll_disarm(struct bt_code *c);
static inline bool is_cross(const struct bt_slot *s) { return s->b.guest_end > PAGE_BYTES; }
static inline const u8 *code_far(const struct bt_code *c, const struct bt_slot *s)
{
    return c->rx + s->b.code_off;
}
#endif
