/* engine/common/native_internal.h - shared by native*.c and thunk.c; nobody else includes it. */
#ifndef ENGINE_COMMON_NATIVE_INTERNAL_H
#define ENGINE_COMMON_NATIVE_INTERNAL_H
#include "cpu/access.h"
#include "cpu/seg.h"
#include "cpu/vcpu.h"
#include "engine/common/fault.h"

/* What one thunk is called with: the vCPU, the memory operand's host address (where there is none,
 * the instruction, so that an integer thunk is an insn_exec_fn), and the decoded instruction.
 * Returns X_NEXT, or X_FAULT when the instruction raised an exception on the host. Clobbers what
 * the C ABI lets it clobber. */
typedef enum x_result thunk_fn(struct vcpu *v, void *mem, const struct insn *i);

/* Which elements of the memory operand the instruction really touches. */
enum touch {
    TOUCH_ALL,    /* every byte                                                         */
    TOUCH_OPMASK, /* EVEX: element n when bit n (modulo elements) of k[mask] is set     */
    TOUCH_PACKED, /* EVEX compress and expand: as many elements as k[mask] has bits set */
    TOUCH_SIGN,   /* VMASKMOV: element n when element n of vec[mask] is negative        */
};
enum thunk_flag {
    THUNK_X87_PTR = 1 << 0, /* an x87 instruction that may update FIP, FDP and FOP */
    THUNK_WAITS = 1 << 1,   /* x87, MMX: FSW.ES raises #MF before the memory operand is looked at */
    /* opmask store without fault suppression: all of the operand is accessed, some of it kept */
    THUNK_MERGES = 1 << 3,
    THUNK_STORES_LATE =
        1 << 2, /* the result is computed, exceptions included, before it is stored: VCVTPS2PH */
};

struct native_thunk {
    thunk_fn *code;
    u32 code_bytes;
    u16 insn_off; /* the respelled instruction inside the code */
    u16 fop;      /* x87: its opcode word, and the guest's     */
    u16 guest_fop;
    u8 flags;      /* enum thunk_flag                           */
    u8 align;      /* alignment the memory operand must have, or 0 */
    u8 touch;      /* enum touch                                */
    u8 mask;       /* k or vec register number                  */
    u8 elem_bytes; /* of the memory operand                     */
    u8 elems;
    u8 mask_bits; /* bits of k[mask] that count                */
};

enum { THUNK_BYTES_MAX = 512 };
/* A thunk before it has an address. */
struct thunk_draft {
    struct native_thunk meta;
    u8 buf[THUNK_BYTES_MAX];
    u32 n;
    bool any_imm; /* it takes the immediate from the instruction */
};
struct host_caps {
    bool avx, avx512;
};

/** thunk_build - host code for @i into @out. False when the instruction cannot or must not run on
 * the host. */
bool thunk_build(struct thunk_draft *out, const struct insn *i, const struct host_caps *host);

/* One vCPU's code cache: [rw, rw + CODE_BYTES) and [rx, ...) are the same memory. */
#define NATIVE_CODE_BYTES MIB(8)
enum {
    NATIVE_THUNKS_MAX = 1 << 16,
    NATIVE_BUCKETS = 1 << 17,
    NATIVE_SCRATCH_BYTES =
        PAGE_BYTES, /* at the end: thunks built for one execution when the rest is full */
};
struct native_cache {
    u8 *rw, *rx;
    u32 used;      /* bytes of code */
    u32 thunks;    /* entries of table[] in use; table[0] is unused */
    u32 fault_off; /* where the fault handler resumes */
    struct host_caps host;
    struct native_thunk *table; /* NATIVE_THUNKS_MAX  */
    u32 *bucket;                /* NATIVE_BUCKETS: index into table, 0 when empty */
    struct native_thunk scratch;
    struct fault_region region;
};
int native_cache_init(struct native_cache *c, struct err *e);
void native_cache_fini(struct native_cache *c);
/** native_cache_add - the thunk equal to @d, placed now if it is new; c->scratch when there is no
 * room (valid for one execution). */
const struct native_thunk *native_cache_add(struct native_cache *c, const struct thunk_draft *d);

/* native_fault.c */
int native_fault_register(struct native_cache *c, struct err *e);
void native_fault_unregister(struct native_cache *c);

/** native_special - the C function for instructions that need none of the host's arithmetic or
 * whose memory operand is not a plain one; NULL for the rest. */
insn_exec_fn *native_special(const struct insn *i);
insn_exec_fn native_gather;
insn_exec_fn native_exec_bt;
/** native_run - map the memory operand at linear @lin and run @t. */
enum x_result native_run(struct vcpu *v, const struct insn *i, const struct native_thunk *t,
                         gva_t lin);
/** native_misaligned - slow part of native_alignment_fault(): is #AC due? */
bool native_misaligned(const struct vcpu *v, const struct insn *i, gva_t lin);
static inline bool native_alignment_fault(const struct vcpu *v, const struct insn *i, gva_t lin)
{
    return unlikely(v->rflags & RFLAGS_AC) && native_misaligned(v, i, lin);
}
/** native_thunk_of - i->thunk, built if need be; NULL when #UD is due. */
const struct native_thunk *native_thunk_of(struct vcpu *v, const struct insn *i);
/** native_run_partial - as native_run for thunks whose touch is not TOUCH_ALL. */
enum x_result native_run_partial(struct vcpu *v, const struct insn *i,
                                 const struct native_thunk *t);

/* Misaligned operands fault before anything else about the address is looked at. */
static inline bool is_misaligned(const struct vcpu *v, const struct insn *i, u8 align)
{
    if (!align) return false;
    u64 base = i->seg >= FS || v->mode != ISA_64 ? v->seg[i->seg].base : 0;
    return (insn_ea(v, i) + base) & (align - 1u);
}
static inline u64 gpr_read(const struct vcpu *v, const struct insn_opnd *o)
{
    if (o->file == RF_GPR_HIGH) return v->gpr[o->reg & 3] >> 8 & 0xFF;
    return v->gpr[o->reg & 15] & mask_bytes(o->bytes);
}
/* 32-bit writes clear the upper half, narrower ones merge. */
static inline void gpr_write(struct vcpu *v, const struct insn_opnd *o, u64 val)
{
    u64 *r = &v->gpr[o->reg & 15];
    switch (o->bytes) {
    case 8: *r = val; break;
    case 4: *r = (u32)val; break;
    case 2: *r = (*r & ~0xFFFFull) | (u16)val; break;
    default:
        if (o->file == RF_GPR_HIGH)
            v->gpr[o->reg & 3] = (v->gpr[o->reg & 3] & ~0xFF00ull) | (val & 0xFF) << 8;
        else *r = (*r & ~0xFFull) | (val & 0xFF);
    }
}
#endif
