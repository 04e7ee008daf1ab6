/* view.c - the mappings of guest RAM for translated code. Each slot gets one reserved area:
 * | guard | writable | guard | read-only | guard |, both mappings 2 MiB aligned for huge pages. */
#include "engine/bt/view.h"

#include <sys/mman.h>

static hva_t map_at(u8 *at, const struct mem *mem, const struct mem_slot *s, int prot)
{
    hva_t p = mmap(at, s->bytes, prot, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, mem->fd,
                   (off_t)s->fd_offset);
    if (p == MAP_FAILED) return NULL;
    madvise(p, s->bytes, MADV_HUGEPAGE); /* advice: a host without huge pages says no */
    return p;
}

static bool map_slot(struct bt_view *w, const struct mem *mem)
{
    const struct mem_slot *s = w->slot;
    const u64 step = align_up(s->bytes, MIB(2)) + BT_VIEW_GUARD_BYTES;
    w->area_bytes = 2 * step + BT_VIEW_GUARD_BYTES + MIB(2);
    w->area =
        mmap(NULL, w->area_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w->area == MAP_FAILED) return false;
    u8 *start = (u8 *)align_up((u64)(uintptr_t)w->area, MIB(2)) + BT_VIEW_GUARD_BYTES;
    w->rw = map_at(start, mem, s, s->rom ? PROT_READ : PROT_READ | PROT_WRITE);
    w->ro = w->rw ? map_at(start + step, mem, s, PROT_READ) : NULL;
    if (w->ro) return true;
    munmap(w->area, w->area_bytes);
    return false;
}

int bt_views_init(struct bt_views *w, const struct mem *mem, struct err *e)
{
    *w = (struct bt_views){0};
    for (u32 i = 0; i < mem->slots; i++) {
        struct bt_view *view = &w->view[i];
        view->slot = &mem->slot[i];
        view->first_page = w->pages;
        if (!map_slot(view, mem)) {
            bt_views_fini(w);
            return err_set(e, E_NOMEM, "no address space for a second view of guest memory");
        }
        w->pages += view->slot->bytes >> PAGE_SHIFT;
        w->count++;
    }
    return 0;
}

void bt_views_fini(struct bt_views *w)
{
    for (u32 i = 0; i < w->count; i++) munmap(w->view[i].area, w->view[i].area_bytes);
    *w = (struct bt_views){0};
}
