/* view.c - the mappings of guest RAM for translated code. Each backing gets two reserved areas,
 * | guard | writable | guard | and | guard | read-only | guard |, both mappings 2 MiB aligned for
 * huge pages. */
#include "engine/bt/view.h"

#include <sys/mman.h>

static hva_t map_at(u8 *at, const struct mem *mem, const struct mem_backing *b, int prot)
{
    hva_t p = mmap(at, b->bytes, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, mem->fd,
                   (off_t)b->fd_offset);
    if (p == MAP_FAILED) return NULL;
    madvise(p, b->bytes, MADV_HUGEPAGE); /* advice: a host without huge pages says no */
    return p;
}

void *bt_view_reserve(u64 bytes, bool low)
{
    enum { PLACES = 64 };
    const u64 step = BT_VIEW_DIVIDE / (2 * PLACES);
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
    for (u64 i = 1; low && i <= PLACES; i++) {
        void *p = mmap((void *)(uintptr_t)(i * step), bytes, PROT_NONE, flags, -1, 0);
        if (p == MAP_FAILED || (u64)(uintptr_t)p + bytes <= BT_VIEW_DIVIDE) return p;
        munmap(p, bytes);
    }
    return mmap(NULL, bytes, PROT_NONE, flags, -1, 0);
}

static hva_t map_view(struct bt_area *w, u32 which, const struct mem *mem,
                      const struct mem_backing *b)
{
    w->area[which] = bt_view_reserve(w->area_bytes, which == 0);
    if (w->area[which] == MAP_FAILED) {
        w->area[which] = NULL;
        return NULL;
    }
    const u64 start = align_up((u64)(uintptr_t)w->area[which], MIB(2)) + BT_VIEW_GUARD_BYTES;
    return map_at((u8 *)(uintptr_t)start, mem, b, which ? PROT_READ : PROT_READ | PROT_WRITE);
}

static void unmap_backing(struct bt_area *w)
{
    for (u32 i = 0; i < ARRAY_LEN(w->area); i++)
        if (w->area[i]) munmap(w->area[i], w->area_bytes);
    *w = (struct bt_area){0};
}

/* A ROM's pages are traced, so no entry points into its writable mapping. */
static bool map_backing(struct bt_area *w, const struct mem *mem, const struct mem_backing *b)
{
    w->area_bytes = align_up(b->bytes, MIB(2)) + 2 * BT_VIEW_GUARD_BYTES + MIB(2);
    w->rw = map_view(w, 0, mem, b);
    w->ro = w->rw ? map_view(w, 1, mem, b) : NULL;
    if (w->ro) return true;
    unmap_backing(w);
    return false;
}

static int follow(struct bt_views *w, struct err *e)
{
    const struct mem *mem = w->mem;
    w->count = 0;
    for (u32 i = 0; i < mem->slots; i++) {
        const struct mem_slot *s = &mem->slot[i];
        const struct mem_backing *b = &mem->backing[s->backing];
        struct bt_area *a = &w->area[s->backing];
        if (!a->area[0] && !map_backing(a, mem, b))
            return err_set(e, E_NOMEM, "no address space for a second view of guest memory");
        const u64 off = s->fd_offset - b->fd_offset;
        w->view[w->count++] = (struct bt_view){.slot = s,
                                               .first_page = s->fd_offset >> PAGE_SHIFT,
                                               .rw = a->rw + off,
                                               .ro = a->ro + off};
    }
    w->generation = mem->generation;
    return 0;
}

int bt_views_update(struct bt_views *w, struct err *e)
{
    return likely(w->generation == w->mem->generation) ? 0 : follow(w, e);
}

int bt_views_init(struct bt_views *w, const struct mem *mem, struct err *e)
{
    *w = (struct bt_views){.mem = mem, .pages = mem_pages_max(mem)};
    int rc = follow(w, e);
    if (rc < 0) bt_views_fini(w);
    return rc;
}

void bt_views_fini(struct bt_views *w)
{
    for (u32 i = 0; i < MEM_BACKINGS_MAX; i++) unmap_backing(&w->area[i]);
    *w = (struct bt_views){0};
}

const struct bt_view *bt_view_find(const struct bt_views *w, gpa_t gpa)
{
    const struct mem_slot *s = mem_slot_find(w->mem, gpa);
    return s ? &w->view[s - w->mem->slot] : NULL;
}

bool bt_views_divided(const struct bt_views *w)
{
    for (u32 i = 0; i < w->count; i++) {
        const struct bt_view *s = &w->view[i];
        if ((u64)(uintptr_t)s->rw + s->slot->bytes > BT_VIEW_DIVIDE) return false;
        if ((u64)(uintptr_t)s->ro < BT_VIEW_DIVIDE) return false;
    }
    return true;
}
