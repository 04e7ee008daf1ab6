/* window.h - stacks of user programs through the host's MMU.
 *
 * Nearly half of all memory accesses of compiled code are on the stack. Around the RSP of 64-bit
 * code of CPL 3 a *window* of host addresses mirrors the guest's: its pages are mapped, one by one
 * as they are touched, to the pages of RAM the guest's page tables have there. Host RSP then is the
 * guest's plus a constant (eng.stack_host), PUSH and POP and accesses through RSP are the guest's
 * own instructions, and no table is looked up (trans_window.c).
 *
 *   | guard | WINDOW_BYTES, of which some pages are mapped | guard |
 *
 * What makes that right and safe:
 *   - A page of a window is mapped only while the user table it belongs to has an entry for it, and
 *     is unmapped before that entry goes or changes; writable only if the entry allows writing.
 *     The entry then points to the window, too, so that one host address is used for a page: loads
 *     through another would wait for the stores.
 *   - RSP is within the window whenever a block begins, give or take WINDOW_SLACK, and what is
 *     added to it between two accesses, with the displacement of an access, is at most WINDOW_NEAR:
 *     so accesses end in the window or its guards, and a fault there is handled like any other
 *     (fault.c): the page is mapped, or the interpreter does the instruction.
 *   - Windows are assigned to addresses in C code only, on the way into translated code
 *     (bt_window_settle); handlers of faults only map and unmap pages.
 * Owner: the vCPU's thread. */
#ifndef ENGINE_BT_WINDOW_H
#define ENGINE_BT_WINDOW_H
#include "cpu/vcpu.h"
#include "engine/bt/view.h"

struct bt_tables;

#define WINDOW_BYTES MIB(2)
#define WINDOW_GUARD_BYTES MIB(1)
#define WINDOW_STRIDE (WINDOW_BYTES + WINDOW_GUARD_BYTES) /* neighbours share a guard */
#define WINDOW_NEAR (WINDOW_GUARD_BYTES / 4)
#define WINDOW_LOOSE_MAX (WINDOW_NEAR / 4)
#define WINDOW_MARGIN (WINDOW_BYTES / 8) /* a window is moved when RSP comes nearer to its end */
/* Where RSP may be: far from 0 and from the end of the user's half, so that what ADD and SUB of
 * constants do to the flags is the same for both addresses. */
#define WINDOW_LOWEST (2 * WINDOW_LOOSE_MAX)
#define WINDOW_HIGHEST (BIT(47) - WINDOW_LOWEST)
enum {
    WINDOW_PAGES = WINDOW_BYTES / PAGE_BYTES,
    WINDOW_SLACK = 64,
    WINDOW_WAITS = 64,
    WINDOWS_EACH = 4,         /* of one user table: stacks of threads */
    WINDOWS_MAPPED_MAX = 256, /* pages, of all: each costs the process two mappings */
};

struct window {
    gva_t base;     /* guest address of its first byte; before the first one near the beginning */
    u64 used;       /* time of last use; 0: free */
    u16 first, end; /* pages mapped are among these, */
    u16 mapped;     /* so many */
    u8 waits;       /* blocks interpreted because the page of RSP could not be mapped */
};
struct windows {
    u8 *area; /* NULL: there are none */
    u64 *
        page; /* [window * WINDOW_PAGES + page]: host address in the writable view; WINDOW_READ_ONLY
                  beside it; 0: not mapped */
    u32 count, mapped;
    u64 uses;
    struct window *window; /* [count], WINDOWS_EACH for each user table */
};
enum { WINDOW_READ_ONLY = 1 };

/** windows_init - reserve the windows of @users tables; without room there are none.
 * windows_fini - give them back. */
void windows_init(struct windows *s, u32 users);
void windows_fini(struct windows *s);

/** bt_window_settle - before translated code is entered: set eng.stack_* and eng.rsp for the mode
 * and RSP @v has. For user code of 64 bits RSP must be within WINDOW_LOWEST and WINDOW_HIGHEST.
 * False: the stack cannot be written yet, the block is better interpreted. */
bool bt_window_settle(struct bt_tables *t, struct vcpu *v);
/** bt_window_any - are there windows? */
bool bt_window_any(const struct bt_tables *t);
/** bt_window_is_fault - is @host_addr in a window or its guards? */
bool bt_window_is_fault(const struct bt_tables *t, u64 host_addr);
/** bt_window_fault - map the page of @host_addr, whose access @write faulted. False: it cannot be,
 * the interpreter has to do the instruction. */
bool bt_window_fault(struct bt_tables *t, struct vcpu *v, u64 host_addr, bool write);

static inline u64 window_host(const struct windows *s, const struct window *w)
{
    return (u64)(uintptr_t)s->area + WINDOW_GUARD_BYTES + (u64)(w - s->window) * WINDOW_STRIDE;
}
static inline u64 *window_page(const struct windows *s, const struct window *w, gva_t gva)
{
    return &s->page[(u64)(w - s->window) * WINDOW_PAGES + ((gva - w->base) >> PAGE_SHIFT)];
}
/** windows_find - the one of user table @user for @rsp; NULL: there is none. */
static inline struct window *windows_find(const struct windows *s, u32 user, gva_t rsp)
{
    struct window *w = &s->window[user * WINDOWS_EACH], *end = w + WINDOWS_EACH;
    const u64 least = rsp - WINDOW_MARGIN;
    while (w < end && !(w->used && least - w->base < WINDOW_BYTES - 2 * WINDOW_MARGIN)) w++;
    return likely(w < end) ? w : NULL;
}
/** windows_enter - @w is the window from now on. */
static inline void windows_enter(struct windows *s, struct window *w, struct vcpu *v)
{
    w->used = ++s->uses;
    v->eng.stack_host = window_host(s, w) - w->base;
    v->eng.stack_guest = 0 - v->eng.stack_host;
    v->eng.stack_low = 0 - window_host(s, w);
}
static inline void windows_leave(struct vcpu *v) { v->eng.stack_host = v->eng.stack_guest = 0; }

/* For the tables: @user is the number of a user table, from 0. */
/** windows_drop - unmap what is mapped at [@gva, @gva + @bytes). */
void windows_drop(struct windows *s, u32 user, gva_t gva, u64 bytes);
/** windows_release - the same for all of a table's, which then have no place. */
void windows_release(struct windows *s, u32 user);
/** windows_view - the address in the writable view of the window page at @host_page, if that is
 * mapped for writing, else @host_page. */
u64 windows_view(const struct windows *s, u64 host_page);
/** windows_keep - the entry for @gva is about to be made for page @rw of the writable view (0: for
 * reading only). If that is mapped there for writing, *host becomes its address; what else is
 * mapped there goes. */
void windows_keep(struct windows *s, u32 user, gva_t gva, u64 rw, u64 *host);
#endif
