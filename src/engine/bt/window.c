/* window.c - see window.h. Everything may be called from the handler of a fault of translated code
 * but windows_init, windows_fini and windows_release: no allocation, no lock. */
#include "engine/bt/window.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/check.h"
#include "engine/bt/table_internal.h"

/* ---- the host's mappings --------------------------------------------------------------------- */

static u8 *host_of(const struct windows *s, const struct window *w)
{
    return (u8 *)(uintptr_t)window_host(s, w);
}
static u64 *pages_of(const struct windows *s, const struct window *w)
{
    return s->page + (w - s->window) * WINDOW_PAGES;
}

/* The window whose bytes, guards aside, include host address @host; NULL: none. */
static struct window *window_at(const struct windows *s, u64 host)
{
    const u64 off = host - (u64)(uintptr_t)s->area - WINDOW_GUARD_BYTES;
    if (!s->area || off >= s->count * WINDOW_STRIDE || off % WINDOW_STRIDE >= WINDOW_BYTES)
        return NULL;
    return &s->window[off / WINDOW_STRIDE];
}

/* Pages [@first, @end) of @w are not mapped any more. */
static void unmap(struct windows *s, struct window *w, u32 first, u32 end)
{
    u64 *page = pages_of(s, w);
    u8 *at = host_of(s, w) + first * (u64)PAGE_BYTES;
    u32 gone = 0;
    for (u32 k = first; k < end; k++) {
        gone += page[k] != 0;
        page[k] = 0;
    }
    if (!gone) return;
    void *p = mmap(at, (end - first) * (u64)PAGE_BYTES, PROT_NONE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    ASSERT(p == at, "the host cannot take back %u pages of a window", end - first);
    w->mapped = (u16)(w->mapped - gone);
    s->mapped -= gone;
}
static void unmap_window(struct windows *s, struct window *w)
{
    if (w->mapped) unmap(s, w, w->first, w->end);
}

/* All of @w is unmapped; entries that point to it point to the writable view again. */
static void give_up(struct bt_tables *t, struct window *w)
{
    const u32 table = TABLE_USERS + (u32)(w - t->windows.window) / WINDOWS_EACH;
    for (u32 k = w->first; w->mapped && k < w->end; k++) {
        const gva_t gva = w->base + k * (u64)PAGE_BYTES;
        const u64 page = pages_of(&t->windows, w)[k];
        if (!page || page & WINDOW_READ_ONLY) continue;
        const struct table_page *p = table_page_find(t, table, region_of(gva));
        if (p) page_entries(t, p)[entry_of(gva)] = page - gva;
    }
    unmap_window(&t->windows, w);
}

static bool map(struct bt_tables *t, struct window *w, u32 k, u64 rw, bool write)
{
    struct windows *s = &t->windows;
    const struct bt_views *views = t->views;
    const struct bt_view *v = NULL;
    for (u32 n = 0; n < views->count && !v; n++)
        if (rw - (u64)(uintptr_t)views->view[n].rw < views->view[n].slot->bytes)
            v = &views->view[n];
    if (!v) return false;
    if (s->mapped == WINDOWS_MAPPED_MAX)
        for (u32 n = 0; n < s->count; n++) give_up(t, &s->window[n]);
    u8 *at = host_of(s, w) + k * (u64)PAGE_BYTES;
    const u64 off = v->slot->fd_offset + (rw - (u64)(uintptr_t)v->rw);
    const int prot = write ? PROT_READ | PROT_WRITE : PROT_READ;
    if (mmap(at, PAGE_BYTES, prot, MAP_SHARED | MAP_FIXED | MAP_POPULATE, views->mem->fd,
             (off_t)off) != at)
        return false;
    u64 *page = &pages_of(s, w)[k];
    if (!*page) {
        w->first = w->mapped ? (u16)min_u64(w->first, k) : (u16)k;
        w->end = w->mapped ? (u16)max_u64(w->end, k + 1) : (u16)(k + 1);
        w->mapped++;
        s->mapped++;
    }
    *page = rw | (write ? 0 : WINDOW_READ_ONLY);
    w->waits = 0;
    return true;
}

/* ---- what the tables tell -------------------------------------------------------------------- */

static struct window *of_user(const struct windows *s, u32 user)
{
    return &s->window[user * WINDOWS_EACH];
}

void windows_drop(struct windows *s, u32 user, gva_t gva, u64 bytes)
{
    for (u32 n = 0; s->area && n < WINDOWS_EACH; n++) {
        struct window *w = &of_user(s, user)[n];
        w->waits = 0;
        const gva_t first = w->base + w->first * (u64)PAGE_BYTES;
        const gva_t end = w->base + w->end * (u64)PAGE_BYTES;
        if (!w->mapped || gva >= end || gva + bytes <= first) continue;
        const u64 from = max_u64(gva, first) - w->base;
        const u64 to = min_u64(gva + bytes, end) - w->base;
        unmap(s, w, (u32)(from >> PAGE_SHIFT), (u32)(to >> PAGE_SHIFT));
    }
}

void windows_release(struct windows *s, u32 user)
{
    for (u32 n = 0; s->area && n < WINDOWS_EACH; n++) {
        unmap_window(s, &of_user(s, user)[n]);
        of_user(s, user)[n] = (struct window){0};
    }
}

u64 windows_view(const struct windows *s, u64 host_page)
{
    struct window *w = window_at(s, host_page);
    if (likely(!w)) return host_page;
    const u64 page = pages_of(s, w)[(host_page - window_host(s, w)) >> PAGE_SHIFT];
    return page && !(page & WINDOW_READ_ONLY) ? page : host_page;
}

void windows_keep(struct windows *s, u32 user, gva_t gva, u64 rw, u64 *host)
{
    for (u32 n = 0; s->mapped && n < WINDOWS_EACH; n++) {
        struct window *w = &of_user(s, user)[n];
        const u64 k = (gva - w->base) >> PAGE_SHIFT;
        if (!w->mapped || gva - w->base >= WINDOW_BYTES || !pages_of(s, w)[k]) continue;
        if (rw && pages_of(s, w)[k] == rw) *host = window_host(s, w) + k * PAGE_BYTES;
        else unmap(s, w, (u32)k, (u32)k + 1);
    }
}

/* ---- faults ---------------------------------------------------------------------------------- */

bool bt_window_any(const struct bt_tables *t) { return t->windows.area; }

bool bt_window_is_fault(const struct bt_tables *t, u64 host_addr)
{
    const struct windows *s = &t->windows;
    return s->area &&
           host_addr - (u64)(uintptr_t)s->area < s->count * WINDOW_STRIDE + WINDOW_GUARD_BYTES;
}

bool bt_window_fault(struct bt_tables *t, struct vcpu *v, u64 host_addr, bool write)
{
    struct windows *s = &t->windows;
    struct window *w = window_at(s, host_addr);
    if (!w || !w->used || v->cpl != 3) return false;
    if ((u64)(w - s->window) / WINDOWS_EACH != table_now(t) - TABLE_USERS) return false;
    const u32 k = (u32)((host_addr - window_host(s, w)) >> PAGE_SHIFT);
    const gva_t gva = w->base + k * (u64)PAGE_BYTES;
    if (bt_table_fill(t, v, gva, write ? ACC_WRITE : ACC_READ) != FILL_DONE) return false;
    u64 *entry = &page_entries(t, table_page_find(t, table_now(t), region_of(gva)))[entry_of(gva)];
    const u64 host = *entry + gva;
    if (host == window_host(s, w) + k * (u64)PAGE_BYTES) return false; /* it is mapped */
    for (u32 n = 0; n < t->views->count; n++) {
        const struct bt_view *view = &t->views->view[n];
        const u64 ro = host - (u64)(uintptr_t)view->ro, rw = host - (u64)(uintptr_t)view->rw;
        if (ro < view->slot->bytes && w->waits < WINDOW_WAITS && ++w->waits % 8) return false;
        if (ro < view->slot->bytes) return map(t, w, k, (u64)(uintptr_t)view->rw + ro, false);
        if (rw >= view->slot->bytes) continue;
        if (!map(t, w, k, host, true)) return false;
        *entry = window_host(s, w) + k * (u64)PAGE_BYTES - gva;
        return true;
    }
    return false;
}

/* ---- assigning them -------------------------------------------------------------------------- */

/* One with RSP in its middle, instead of one RSP is close to, a free one, or that used longest
 * ago. */
static struct window *assign(struct bt_tables *t, u32 user, gva_t rsp)
{
    struct windows *s = &t->windows;
    struct window *best = of_user(s, user);
    for (u32 n = 0; n < WINDOWS_EACH; n++) {
        struct window *w = &of_user(s, user)[n];
        if (w->used && rsp + WINDOW_BYTES - w->base < 3 * WINDOW_BYTES) {
            best = w;
            break;
        }
        if (w->used < best->used) best = w;
    }
    give_up(t, best);
    *best = (struct window){.base = (rsp & PAGE_MASK) - WINDOW_BYTES / 2, .used = ++s->uses};
    return best;
}

/* A page that the guest may not write yet, after a fork or before it is there at all, will soon be
 * another: until then the interpreter is cheaper than a host fault for every access. */
static bool is_ready(struct bt_tables *t, struct vcpu *v, struct window *w)
{
    if (*window_page(&t->windows, w, v->gpr[RSP]) || w->waits == WINDOW_WAITS) return true;
    if (!w->waits++ && bt_window_fault(t, v, v->gpr[RSP] + v->eng.stack_host, false)) return true;
    return false;
}

bool bt_window_settle(struct bt_tables *t, struct vcpu *v)
{
    struct windows *s = &t->windows;
    bool ready = true;
    windows_leave(v);
    if (v->cpl == 3 && v->mode == ISA_64 && s->area) {
        const u32 user = table_now(t) - TABLE_USERS;
        struct window *w = windows_find(s, user, v->gpr[RSP]);
        if (!w) w = assign(t, user, v->gpr[RSP]);
        windows_enter(s, w, v);
        ready = is_ready(t, v, w);
    }
    v->eng.rsp = v->gpr[RSP] + v->eng.stack_host;
    return ready;
}

/* ---- life ------------------------------------------------------------------------------------ */

void windows_init(struct windows *s, u32 users)
{
    const u32 count = users * WINDOWS_EACH;
    const u64 area = count * WINDOW_STRIDE + WINDOW_GUARD_BYTES;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    *s = (struct windows){.count = count};
    s->window = calloc(count, sizeof *s->window);
    void *page =
        mmap(NULL, count * WINDOW_PAGES * sizeof *s->page, PROT_READ | PROT_WRITE, flags, -1, 0);
    void *at = bt_view_reserve(area, true);
    s->page = page == MAP_FAILED ? NULL : page;
    s->area = at == MAP_FAILED ? NULL : at;
    const bool low = (u64)(uintptr_t)s->area + area <= BT_VIEW_DIVIDE;
    if (!s->window || !s->page || !s->area || !low) windows_fini(s);
}

void windows_fini(struct windows *s)
{
    if (s->area) munmap(s->area, s->count * WINDOW_STRIDE + WINDOW_GUARD_BYTES);
    if (s->page) munmap(s->page, s->count * WINDOW_PAGES * sizeof *s->page);
    free(s->window);
    *s = (struct windows){0};
}
