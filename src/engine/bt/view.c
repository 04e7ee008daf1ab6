/* view.c - the mappings of guest RAM for translated code. Each backing gets one reserved area:
 * | guard | writable | guard | read-only | guard |, both mappings 2 MiB aligned for huge pages. */
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

/* A ROM's pages are traced, so no entry points into its writable mapping. */
static bool map_backing(struct bt_area *w, const struct mem *mem, const struct mem_backing *b)
{
    const u64 step = align_up(b->bytes, MIB(2)) + BT_VIEW_GUARD_BYTES;
    const u64 bytes = 2 * step + BT_VIEW_GUARD_BYTES + MIB(2);
    void *area = mmap(NULL, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (area == MAP_FAILED) return false;
    u8 *start = (u8 *)align_up((u64)(uintptr_t)area, MIB(2)) + BT_VIEW_GUARD_BYTES;
    w->rw = map_at(start, mem, b, PROT_READ | PROT_WRITE);
    w->ro = w->rw ? map_at(start + step, mem, b, PROT_READ) : NULL;
    if (!w->ro) {
        munmap(area, bytes);
        return false;
    }
    w->area = area;
    w->area_bytes = bytes;
    return true;
}

static int follow(struct bt_views *w, struct err *e)
{
    const struct mem *mem = w->mem;
    w->count = 0;
    for (u32 i = 0; i < mem->slots; i++) {
        const struct mem_slot *s = &mem->slot[i];
        const struct mem_backing *b = &mem->backing[s->backing];
        struct bt_area *a = &w->area[s->backing];
        if (!a->area && !map_backing(a, mem, b))
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
    for (u32 i = 0; i < MEM_BACKINGS_MAX; i++) {
        if (w->area[i].area) munmap(w->area[i].area, w->area[i].area_bytes);
    }
    *w = (struct bt_views){0};
}

const struct bt_view *bt_view_find(const struct bt_views *w, gpa_t gpa)
{
    const struct mem_slot *s = mem_slot_find(w->mem, gpa);
    return s ? &w->view[s - w->mem->slot] : NULL;
}
