/* plan.h - what the translator has to know of a compute instruction, found out once for each head
 * (isa/head.h), and its spelling with another memory operand, likewise. */
#ifndef ENGINE_BT_PLAN_H
#define ENGINE_BT_PLAN_H
#include "isa/head.h"
#include "isa/respell.h"

/* ModRM.reg of an instruction. */
enum plan_reg { PLAN_REG_NONE, PLAN_REG_VEC, PLAN_REG_GPR, PLAN_REG_BYTE };
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
    bool has_twin;    /* the same move, which must be aligned */
    u16 gpr_used, gpr_written;
    /* for plan.c: where the parts are; how to make the twin; which spellings can be put together
     * from these, as bits, and whether any can */
    u8 head_len, op_at, modrm_at, imm_bytes, reg;
    u8 twin_op, twin_at;
    u8 sure;
    bool simple;
};
struct spelling {
    u64 key;              /* the bytes of the head */
    u8 base, index, home; /* home: what R15 is */
    bool of_twin, wide;   /* wide: there is a displacement, 4 bytes in front of the immediate */
    u8 imm_bytes;         /* the guest instruction's last ones, to be put behind @bytes */
    u8 len;
    u8 bytes[RESPELL_BYTES_MAX];
};
enum { PLANS = INSN_SHAPES, SPELLINGS = 1 << 11 };
struct plan_cache {
    struct plan plan[PLANS];
    struct spelling spelling[SPELLINGS];
};

/** plan_find - the plan of @i, of class COMPUTE, into @p. @c: borrowed; NULL: nothing is kept. */
void plan_find(struct plan_cache *c, struct plan *p, const struct insn *i);
/** plan_spell - @i (its twin when @twin is its plan, else NULL) with the registers and operand of
 * @map, which depends on nothing but its base, index and displacement; without memory operand when
 * the base is REG_NONE. Sets what describes the bytes. False: there is no such spelling. */
bool plan_spell(struct plan_cache *c, struct spelling *s, const struct insn *i,
                const struct plan *twin, const struct respell_map *map);
#endif
