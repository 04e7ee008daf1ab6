/* trans.h - what the files of the translator of one block share. Private to trans*.c.
 *
 * Within a guest instruction host T1, T2 and TB are free, so an instruction needs TB only until its
 * last table lookup and gives it back (tr_table_reload) before the next. A fault may come while TB
 * is borrowed: whoever restarts the instruction's code reloads TB from eng.table first. Registers
 * of the guest may be borrowed between two host instructions that cannot fault. */
#ifndef ENGINE_BT_TRANS_H
#define ENGINE_BT_TRANS_H
#include "engine/bt/bt_internal.h"
#include "engine/bt/emit_bits.h"
#include "engine/bt/emit_ext.h"
#include "engine/bt/host.h"
#include "engine/bt/trans_cold.h"
#include "engine/bt/trans_group.h"
#include "engine/bt/trans_homed.h"

enum { HOMED = 1 << R10 | 1 << R11 | 1 << R15 };
enum {
    SAVE_JUMP = offsetof(struct vcpu, eng.save),      /* RCX, during a jump's look-up */
    SAVE_VALUE = offsetof(struct vcpu, eng.save) + 8, /* a copy of a memory operand, or a word
                                                         between two accesses */
    SAVE_ADDRESS = offsetof(struct vcpu, eng.save) + 16,
};

struct trans {
    const struct bt *bt;
    const struct insn *i; /* being translated */
    struct bt_out *out;
    struct emit e;
    u32 code_off; /* of e.at in the code cache */
    u32 near;
    u32 first, start; /* of the first instruction's code, behind the entries; of i's code */
    u16 off;          /* of i in its page */
    u16 block_off;    /* of the block's first instruction */
    u32 count_at;     /* displacement that counts the present run of instructions, 0: none */
    bool is_light;    /* executed, and counted, by light.c */
    u32 k, insns;     /* number of i in the block, which has that many */
    u32 turn;       /* the instructions of a turn, when it is several turns of a loop, else insns */
    u16 next;       /* offset of what comes behind i */
    bool is_second; /* this is its second form (trans_group.c) */
    const struct group *was_in_t1, *in_t1; /* whose host address T1 holds: before i, after it */
    const struct compute *compute;         /* of i, where it is of class COMPUTE */
    struct holds holds;                    /* before i, then after it */
    bool is_last;                          /* no further instruction of the block follows i */
    bool window;                           /* 64-bit user code: trans_window.c */
    u64 loose;                             /* how far RSP may be outside of its window */
    s32 rsp_late; /* still to be added to RSP, in a run of pushes or pops */
    bool has_x87; /* an instruction before has seen to the guest's x87 registers being loaded */
    bool has_x87_base; /* and to eng_x87.base */
    bool is32;         /* 32-bit code: flat segments but FS and GS, addresses end at 4 GiB */
    u8 word;           /* bytes of an address and of a stack element: 4 or 8 */
    struct bt_mark *mark;
    u32 marks;
    struct groups groups;
    u32 colds, aheads;           /* aheads: COLD_AHEADs, BT_BLOCK_AHEADS at most */
    struct cold cold[COLDS_MAX]; /* the last: not cleared */
};
enum tr { TR_NONE, TR_NEXT, TR_END }; /* NONE: nothing was emitted, it has no inline form */

static inline bool is_homed(u8 reg) { return reg < GPRS && HOMED >> reg & 1; }
static inline size_t gpr_off(u8 reg) { return offsetof(struct vcpu, gpr) + 8u * reg; }
/* REX.W of an operation on a word */
static inline u32 tr_width(const struct trans *t) { return t->is32 ? EM_32 : EM_64; }
/* Page offset @off as exits tell it (bt_internal.h). */
static inline u32 tr_place(const struct trans *t, u32 off) { return bt_place(t->out->page, off); }
/* Are turns of a loop to follow the one that ends with number @k of the block? */
static inline bool tr_turns(const struct trans *t, u32 k)
{
    return (k + 1) % t->turn == 0 && k + 1 < t->insns;
}
static inline u16 next_off(const struct trans *t) { return (u16)(t->off + t->i->len); }
/* Is i, at hand, to be accessed by its group? */
static inline bool is_in_group(const struct trans *t)
{
    return !t->is_second && t->groups.of[t->k] != GROUP_NONE;
}
/** tr_guest - guest register @reg itself, or @tmp with its value (trans_window.c). */
u8 tr_guest(struct trans *t, u8 reg, u8 tmp);
static inline void tr_table_reload(struct trans *t)
{
    em_load_gs(&t->e, TB, offsetof(struct vcpu, eng.table));
}
void tr_cold(struct trans *t, enum cold_kind kind, u32 site, s64 arg);
/** tr_jump_stub - jmp to the stub at code-cache offset @stub. */
void tr_jump_stub(struct trans *t, u32 stub);
/** tr_base - @dst = linear address of the page being executed. TB is loaded, and may be @dst. */
void tr_base(struct trans *t, u8 dst);
/** tr_code_address - @dst = linear address of page offset @off (any distance). */
void tr_code_address(struct trans *t, u8 dst, s64 off);
/** tr_poll - stop here when kicked. */
void tr_poll(struct trans *t);
/** tr_branch - when @cc (EM_JMP: always) go to page offset @target, in this page or not. */
void tr_branch(struct trans *t, int cc, s64 target);
/** tr_jump_table - go to the linear address in T1. Should it turn out not to be canonical, bt.c
 * takes this instruction back. */
void tr_jump_table(struct trans *t);
/** tr_may_run - false when instructions of i->fpu fault now, or need vector registers that are not
 * loaded. */
bool tr_may_run(const struct trans *t);

/* trans_mem.c: addresses and accesses */
/** tr_pointer - guest register @reg as an address to look up and access: itself, or T1 with its low
 * half in 32-bit code. */
u8 tr_pointer(struct trans *t, u8 reg);
/** tr_address - linear address of the memory operand (@extra is added to its displacement); returns
 * the register that holds it: T1, or the operand's own base when that is all there is. */
u8 tr_address(struct trans *t, s32 extra);
/** tr_address_t1 - the same, always in T1. */
void tr_address_t1(struct trans *t);
/** tr_effective - @dst = effective address, without segment base. */
void tr_effective(struct trans *t, s32 extra, u8 dst);
/** tr_lookup - T2 = table entry of the page of @base. */
void tr_lookup(struct trans *t, u8 base);
/** tr_lookup_read, tr_lookup_write - the same; where entries are missing often, with a test that
 * fills the entry and starts the instruction again without a host fault. For accesses that will be
 * made for certain, as long as nothing of the guest's has changed. T1, if it is not @base, is lost;
 * TB is borrowed meanwhile. tr_lookup_write_beside - T1 stays. */
void tr_lookup_read(struct trans *t, u8 base);
void tr_lookup_write(struct trans *t, u8 base);
void tr_lookup_write_beside(struct trans *t, u8 base);
static inline struct em_mem tr_at(u8 base) { return (struct em_mem){base, T2, 0, 0}; }
/** tr_window - the operand of @bytes at T1 may cross a page: exit to step if so. T1 and T2 stay; TB
 * is borrowed. Up to 16 bytes that includes everything in the last 16 bytes of a page, unless
 * @exact. */
void tr_window(struct trans *t, u32 bytes, bool exact);
/** tr_canonical - exit to step unless the address in T1 is canonical. T1 stays; TB is borrowed and
 * given back. */
void tr_canonical(struct trans *t);
/** tr_load_any - T1 = the @bytes (2, 4, 8) at [T1 + T2], not crossing a page, however aligned; bits
 * above are anything. TB is borrowed. */
void tr_load_any(struct trans *t, u32 bytes);
/** tr_store_any - the low @bytes of the value to [T1 + T2]; @value emits it into TB. TB is
 * borrowed. */
void tr_store_any(struct trans *t, u32 bytes, void (*value)(struct trans *t));
/* the instruction classes */
enum tr tr_compute(struct trans *t);
enum tr tr_push(struct trans *t);
enum tr tr_pop(struct trans *t);
enum tr tr_leave(struct trans *t);
enum tr tr_call(struct trans *t);
enum tr tr_ret(struct trans *t);
enum tr tr_jmp_mem_or_reg(struct trans *t);
/* trans_string.c */
enum tr tr_movs(struct trans *t);
enum tr tr_stos(struct trans *t);
enum tr tr_lods(struct trans *t);
#endif
