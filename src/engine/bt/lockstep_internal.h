/* lockstep_internal.h - what lockstep.c (running both), journal.c (what the interpreter wrote) and
 * lockstep_report.c share. */
#ifndef ENGINE_BT_LOCKSTEP_INTERNAL_H
#define ENGINE_BT_LOCKSTEP_INTERNAL_H
#include "cpu/access.h"
#include "engine/bt/bt_state.h"

/* What a block may change, memory apart. fx, k and vec only where the block has to do with them. */
struct registers {
    u64 gpr[GPRS], rip, rflags, fs_base, gs_base, kernel_gs_base;
    u64 ctx, table; /* follow CPL, and RFLAGS.AC under SMAP */
    u64 cr2, cpl, nmi_masked;
    u64 cs[3], ss[3]; /* selector; attributes and limit; base */
    u64 k[8];
    struct fxsave fx;
    u8 vec[32][64];
    struct seg seg[SEGS]; /* to be put back: IRETQ may take data segments away */
};
/* Bytes of RAM a block of the interpreter wrote. */
enum { JOURNAL_ENTRIES = 2 * BT_BLOCK_INSNS + 8 };
struct journal_entry {
    gva_t gva;
    hva_t at;
    u16 bytes, insn; /* insn: index in the block */
    u8 before[ACCESS_BYTES_MAX];
    u8 after[2][ACCESS_BYTES_MAX]; /* by interpreter, by translator */
};
struct journal {
    const struct vcpu_mmu_ops *real;
    struct vcpu_mmu_ops ops;
    bool active;
    bool refused; /* an access that cannot be taken back: the instruction was not executed */
    u16 insn;
    u32 entries;
    struct journal_entry entry[JOURNAL_ENTRIES];
};
enum { INTERPRETED, TRANSLATED, BOTH };
struct lockstep {
    struct journal journal;
    struct registers before, after[BOTH];
    const struct bt_slot *slot;
    const u8 *entry; /* host code of the slot, behind the poll */
    const struct block *block;
    struct block cross; /* of one instruction that crosses a page */
    bool wide;          /* fx, k and vec matter                        */
    u32 done;           /* instructions the interpreter executed       */
    u32 why;            /* enum bt_exit of the translated block        */
    u32 mxcsr_early;    /* before the instruction the interpreter stopped at */
    bool failed;
    u64 blocks, insns;
    struct err err;
};
static inline struct lockstep *lockstep_of(struct vcpu *v) { return state_of(v)->lockstep; }

/* journal.c: accesses are made through @j from begin to end; a write is noted before it is made,
 * one that is not to plain RAM is refused. */
void journal_init(struct journal *j, struct vcpu *v);
void journal_fini(struct journal *j, struct vcpu *v);
void journal_begin(struct journal *j);
void journal_end(struct journal *j);
/** journal_undo - memory as it was before; @save: what the entries held, into after[@save]. */
void journal_undo(struct journal *j, u32 save);
/** journal_redo - memory as journal_undo() saved it. */
void journal_redo(struct journal *j, u32 saved);
/** journal_same - did both leave the same bytes? */
bool journal_same(const struct journal *j);

/* lockstep_report.c: everything there is to know about a difference, to standard error. */
void lockstep_report(const struct lockstep *l, struct vcpu *v);
#endif
