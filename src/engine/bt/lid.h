/* lid.h - the entries of blocks that were dropped. A *lid* lies over a block's start, so that both
 * of its entries lead to the lookup. Who comes to the near entry, by a slot (far.h), has no T1: the
 * lid makes it, from the home of the block's page. What is under it - code, and perhaps marks - is
 * kept in a *grave* until the block is revived, or dead. */
#ifndef ENGINE_BT_LID_H
#define ENGINE_BT_LID_H
#include "engine/bt/bt_internal.h"

enum { BT_LID_BYTES = 24 }; /* less than the shortest block takes */
struct bt_grave {
    union {
        u8 head[BT_LID_BYTES];
        u32 next; /* unused: the next such, 0 ends */
    };
};
/* The near entry behind far entry @far, or NULL: of a block that was dropped, or whose page wanders
 * (far.h), so that it is to be entered with T1 only. */
static inline const u8 *code_near_of(const u8 *far)
{
    return *far == BT_FAR_NOP ? far + BT_FAR_BYTES : NULL;
}
#endif
