/* plan.h - what the translator has to know of a compute instruction, found out once for each head
 * (isa/head.h), and its spelling with another memory operand, likewise. */
#ifndef ENGINE_BT_PLAN_H
#define ENGINE_BT_PLAN_H
#include "isa/head.h"
#include "isa/respell.h"

struct plan {
    u64 key;           /* of the head; 0 when it has none */
    bool ok;           /* the host may run it: nothing but registers and one operand */
    bool x87;          /* it is one of x87 or MMX: trans_x87.c */
    bool x87_pointers; /* and sets FIP */
    bool mem;          /* there is a memory operand, if only of LEA */
    bool high, bt_mem;
    bool avx, avx512; /* which the host must have */
    bool aligned;     /* the operand must be aligned, or faults */
    bool masked;      /* not every byte of it need be touched */
    bool has_twin;    /* twin: the same move, which must be aligned */
    u16 gpr_used, gpr_written;
    u8 twin[INSN_BYTES_MAX];
};
struct spelling {
    u64 key;
    u8 base, index;
    bool of_twin, wide; /* wide: there is a displacement, 4 bytes in front of the immediate */
    u8 imm_bytes;       /* the guest instruction's last ones, to be put behind @bytes */
    u8 len;
    u8 bytes[RESPELL_BYTES_MAX];
};
enum { PLANS = 1 << 12, SPELLINGS = 1 << 12 };
struct plan_cache {
    struct plan plan[PLANS];
    struct spelling spelling[SPELLINGS];
};

/** plan_find - the plan of @i, of class COMPUTE, into @p. @c: borrowed; NULL: nothing is kept. */
void plan_find(struct plan_cache *c, struct plan *p, const struct insn *i);
/** plan_spell - @i (its twin when @twin is its plan, else NULL) with the registers and operand of
 * @map, which depends on nothing but its base, index and displacement. False: there is no such
 * spelling. */
bool plan_spell(struct plan_cache *c, struct spelling *s, const struct insn *i,
                const struct plan *twin, const struct respell_map *map);
#endif
