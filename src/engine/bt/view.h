/* view.h - guest RAM as translated code sees it: every slot mapped twice more, once writable and
 * once read-only, so that a table entry also says whether the page may be written directly. Both
 * mappings lie between guards, so an access that starts in a slot's last page ends in a fault and
 * not in somebody else's memory. One set may serve every vCPU of a machine. */
#ifndef ENGINE_BT_VIEW_H
#define ENGINE_BT_VIEW_H
#include "base/err.h"
#include "mem/mem.h"

#define BT_VIEW_GUARD_BYTES MIB(2) /* before and after each mapping */
struct bt_view {
    const struct mem_slot *slot; /* borrowed                                      */
    u64 first_page;              /* number of its first page, slots laid end to end */
    hva_t rw, ro;                /* a ROM's rw is read-only too                   */
    void *area;                  /* both mappings with their guards               */
    u64 area_bytes;
};
struct bt_views {
    u32 count;
    u64 pages; /* of all slots */
    struct bt_view view[MEM_SLOTS_MAX];
};
/** bt_views_init - map every slot of @mem, which gains no more slots afterwards. Errors: E_NOMEM.
 */
int bt_views_init(struct bt_views *w, const struct mem *mem, struct err *e) MUST_USE;
void bt_views_fini(struct bt_views *w);
/** bt_view_find - the view holding @gpa, or NULL for a hole. */
static inline const struct bt_view *bt_view_find(const struct bt_views *w, gpa_t gpa)
{
    for (u32 i = 0; i < w->count; i++) {
        if (gpa - w->view[i].slot->base < w->view[i].slot->bytes) return &w->view[i];
    }
    return NULL;
}
#endif
