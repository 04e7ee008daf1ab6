/* view.h - guest RAM as translated code sees it: every backing mapped twice more, once writable and
 * once read-only, so that a table entry also says whether the page may be written directly. Both
 * mappings lie between guards, so an access that starts in a backing's last page ends in a fault
 * and not in somebody else's memory. One set may serve every vCPU of a machine. */
#ifndef ENGINE_BT_VIEW_H
#define ENGINE_BT_VIEW_H
#include "base/err.h"
#include "mem/mem.h"

/* Host addresses of writable mappings are below, those of read-only ones not below. */
#define BT_VIEW_DIVIDE BIT(46)
#define BT_VIEW_GUARD_BYTES MIB(2) /* before and after each mapping */
/* One slot of guest memory, as it was at the last bt_views_update(). */
struct bt_view {
    const struct mem_slot *slot; /* borrowed                                      */
    u64 first_page;              /* number of its first page in the memfd         */
    hva_t rw, ro;                /* of the slot's first byte                      */
};
struct bt_area { /* the mappings of one backing */
    hva_t rw, ro;
    void *area[2];  /* each with its guards; NULL: not mapped yet */
    u64 area_bytes; /* of each */
};
struct bt_views {
    const struct mem *mem;
    u32 generation; /* of @mem when view[] was made */
    u32 count;
    u64 pages; /* of the memfd, at most */
    struct bt_view view[MEM_SLOTS_MAX];
    struct bt_area area[MEM_BACKINGS_MAX];
};
/** bt_views_init - views of what is mapped in @mem. Errors: E_NOMEM. */
int bt_views_init(struct bt_views *w, const struct mem *mem, struct err *e) MUST_USE;
/** bt_views_update - follow a change of what lies where. While nothing translated runs; entries of
 * tables made before are to be dropped. Cheap when nothing changed. Errors: E_NOMEM. */
int bt_views_update(struct bt_views *w, struct err *e) MUST_USE;
void bt_views_fini(struct bt_views *w);
/** bt_views_divided - does every mapping keep to its side of BT_VIEW_DIVIDE? Usually, as far as the
 * host lets us choose. */
bool bt_views_divided(const struct bt_views *w);
/** bt_view_reserve - @bytes of addresses that are not accessible: below BT_VIEW_DIVIDE if @low and
 * one of some places there is free, else anywhere. MAP_FAILED: there is no room. */
void *bt_view_reserve(u64 bytes, bool low);
/** bt_view_find - the view holding @gpa, or NULL for a hole. */
const struct bt_view *bt_view_find(const struct bt_views *w, gpa_t gpa);
#endif
