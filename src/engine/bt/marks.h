/* marks.h - the marks of a block (struct bt_mark) as they are kept behind its code: packed, as they
 * are read after a fault only, and there are more of them than instructions.
 *
 * The first [insns] marks are those of the instructions in order. From instruction number @second
 * on each has a second form, whose marks follow in the same order; the rest are preludes of groups
 * and exits that look up, which start again where an instruction of the first form does. So these
 * are enough:
 *   host_off of each mark, less that of the one before: a byte, or MARK_WIDE and two bytes
 *   length of each instruction, four bits, low ones first; 0: the first one is next, in another
 *       turn of a loop, or none
 *   of each of the rest a byte: which instruction it belongs to */
#ifndef ENGINE_BT_MARKS_H
#define ENGINE_BT_MARKS_H
#include "engine/bt/bt_internal.h"

enum {
    MARK_WIDE = 0xFF,
    MARKS_BYTES_MAX = BT_BLOCK_MARKS * 3 + BT_BLOCK_INSNS / 2 + VCPU_GROUPS + BT_BLOCK_AHEADS
};
struct bt_marks {
    const u8 *bytes;
    u16 guest_off;           /* of the first instruction */
    u8 marks, insns, second; /* second: insns when there are no second forms */
};
/** marks_second - number of the first instruction of @b that has a second form. */
u32 marks_second(const struct bt_block *b);
/** marks_put - pack those of @b to @at, MARKS_BYTES_MAX long. Returns the bytes used. */
u32 marks_put(u8 *at, const struct bt_block *b);
/** marks_at - mark number @n. */
struct bt_mark marks_at(const struct bt_marks *m, u32 n);
/** marks_find - the one that host code at @off from the block's start belongs to. */
struct bt_mark marks_find(const struct bt_marks *m, u32 off);
#endif
