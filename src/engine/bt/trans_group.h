/* trans_group.h - accesses of a block that share a table look-up: those through the same base and
 * index, unchanged between them, whose displacements are near. See trans_group.c. Private to
 * trans*.c. */
#ifndef ENGINE_BT_TRANS_GROUP_H
#define ENGINE_BT_TRANS_GROUP_H
#include "engine/bt/emit.h"
#include "engine/bt/plan.h"

struct trans;

/* How a compute instruction's memory operand is accessed (trans_compute.c). */
enum how { HOW_PLAIN, HOW_ALIGNED_TWIN, HOW_WINDOW, HOW_ANY, HOW_NONE };
struct compute {
    struct plan plan;
    u32 homed; /* homed registers that are operands */
    enum how how;
};

enum { GROUPS_MAX = VCPU_GROUPS, GROUP_SPAN_MAX = 512, GROUP_NONE = 0xFF };
struct group {
    u8 base, index, scale;
    u8 first;     /* the instruction that looks up */
    bool test;    /* that all of [lo, hi) is in one page */
    bool writes;  /* one of them does */
    bool tested;  /* that there is an entry is to be tested as well */
    bool emitted; /* the look-up */
    bool kept;    /* not only T1 has to hold the host address: eng.group[] as well */
    u8 zone;      /* its bytes are fewer than 1 << zone */
    s64 lo, hi;   /* displacements; of BASE_RIP: offsets from the page's start */
    u32 site;     /* of the jump to its prelude, where the bytes are in two pages */
    u32 back;     /* from there, when that does not matter */
};
struct groups {
    u32 count;
    u8 first;              /* instruction from which on there is a second form of each */
    u8 of[BT_BLOCK_INSNS]; /* group of each instruction, or GROUP_NONE */
    s64 disp
        [BT_BLOCK_INSNS]; /* of a member's operand: from the base as the group's first finds it */
    struct group g[GROUPS_MAX];
};
/** tr_groups_find - the groups of @b, whose instructions are @c, into @t->groups. */
void tr_groups_find(struct trans *t, const struct block *b, const struct compute *c);
/** tr_group_access - the instruction at hand by its group. False: it has no such spelling. */
bool tr_group_access(struct trans *t, const struct compute *c);
/** tr_group_operand - where the operand of the member at hand is: [T1], or [T1 + T2]. Other uses of
 * T2 are not spelled then. tr_group_accessed - to be called when it was accessed. */
struct em_mem tr_group_operand(struct trans *t);
void tr_group_accessed(struct trans *t);
/** tr_group_goes_on - do this push (pop) and the next instruction belong to a run of pushes (pops)
 * of one group? RSP need be right before the first of a run and behind the last one only. */
bool tr_group_goes_on(const struct trans *t);
/** tr_group_prelude - what to do where group @g lies in two pages: go on there all the same if both
 * are equally far from their host pages, else at @otherwise, where its first instruction stands
 * alone. */
void tr_group_prelude(struct trans *t, const struct group *g, u32 otherwise);

/* trans_stack.c */
/** tr_rsp_settle - add to RSP what is still to be added: the block ends within a run. */
void tr_rsp_settle(struct trans *t);
/* trans_mem.c */
/** tr_low_bits - @dst = bits 11:@from of @src (MASK_LOW_MIN <= from). */
void tr_low_bits(struct trans *t, u8 dst, u8 src, u8 from);
/** tr_entry_bits - @dst becomes 0 when host address @src, the sum of an address and its entry, may
 * be read, or written. */
void tr_entry_bits(struct trans *t, u8 dst, u8 src, bool write);
/** tr_window_ahead - as tr_window, for a vector operand to be looked up: T1 is @bytes ahead of it.
 * T1 and TB stay. Returns the exit; its @back is to be set behind the look-up. */
struct cold *tr_window_ahead(struct trans *t, u32 bytes);
/* trans_compute.c */
/** tr_compute_plan - what is known of @t->i, of class COMPUTE. */
void tr_compute_plan(struct trans *t, struct compute *c);
/** tr_spell - the instruction with its memory operand at [base + index + disp]; false: there is no
 * such spelling. T1 or T2, unless it is part of @at, may hold a homed operand then. */
bool tr_spell(struct trans *t, const struct compute *c, struct em_mem at);
/** tr_is_groupable - may it be a member of a group? */
bool tr_is_groupable(const struct trans *t, const struct compute *c);
#endif
