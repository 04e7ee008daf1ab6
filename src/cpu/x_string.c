/* x_string - MOVS, CMPS, SCAS, LODS, STOS, INS, OUTS with their repeat prefixes.
 *
 * One call does one element, or with REP at most STRING_BATCH of them; what is left comes back as
 * X_AGAIN with RIP unchanged, so that interrupts get in. rCX, rSI and rDI always stand at the next
 * element: a fault in element n reports exactly n done. While ATT_STEP is set (TF, breakpoints) a
 * call is one element. CMPS and SCAS write the flags with the last element only: the flags are no
 * input, and an interrupted or faulting instruction shows the old ones (SDM vol. 1 7.3.9.2). MOVS
 * and STOS upwards through plain memory go a page at a time, with the result of doing it byte by
 * byte. Spec: SDM vol. 1 section 7.3.9; vol. 2A CMPS, INS, LODS; vol. 2B MOVS, OUTS, REP, SCAS,
 * STOS. */
#include "cpu/env.h"
#include "cpu/x_internal.h"

enum { STRING_BATCH = 4096 };

struct string_op {
    u32 bytes; /* element size             */
    u64 step;  /* +bytes or -bytes         */
    u8 addr;   /* address size in bytes    */
    bool rep;
    bool until; /* CMPS, SCAS: ZF can end it */
    u64 zf;     /* ... when ZF has this value */
    u64 flags;  /* arithmetic flags of the last comparison */
};

/* One element. Reads and writes through v and i; 0 or X_FAULT with nothing changed. */
typedef int string_fn(struct vcpu *v, const struct insn *i, struct string_op *s);
/* Up to @max elements at once; how many were done, 0 when this is not possible here. */
typedef u64 string_bulk_fn(struct vcpu *v, const struct insn *i, const struct string_op *s,
                           u64 max);

static inline void advance(struct vcpu *v, unsigned reg, const struct string_op *s, u64 delta)
{
    gpr_write(v, reg, v->gpr[reg] + delta, s->addr);
}
static inline u64 source(const struct vcpu *v, const struct string_op *s)
{
    return gpr_read(v, RSI, s->addr);
}
static inline u64 dest(const struct vcpu *v, const struct string_op *s)
{
    return gpr_read(v, RDI, s->addr);
}

static struct string_op string_op_of(const struct vcpu *v, const struct insn *i)
{
    struct string_op s = {.bytes = i->opcode & 1 ? i->opsize : 1, .addr = i->addrsize};
    s.rep = i->prefixes & (PFX_REP | PFX_REPNE);
    s.step = v->rflags & RFLAGS_DF ? -(u64)s.bytes : s.bytes;
    return s;
}

static inline bool comparison_ends(const struct string_op *s)
{
    return s->until && (s->flags & RFLAGS_ZF) == s->zf;
}

static enum x_result finish(struct vcpu *v, const struct string_op *s, bool compares)
{
    if (compares) v->rflags = (v->rflags & ~(u64)RFLAGS_ARITH) | s->flags;
    return X_NEXT;
}

static enum x_result repeat(struct vcpu *v, const struct insn *i, struct string_op *s,
                            string_fn *one, string_bulk_fn *bulk)
{
    bool step = atomic_load_explicit(&v->attention, memory_order_relaxed) & ATT_STEP;
    u64 left = gpr_read(v, RCX, s->addr), batch = step ? 1 : STRING_BATCH;
    if (!left) return X_NEXT; /* not even the flags change */
    while (left && batch) {
        u64 max = min_u64(left, batch), done = bulk && max > 1 ? bulk(v, i, s, max) : 0;
        if (!done) {
            if (one(v, i, s)) return X_FAULT;
            done = 1;
        }
        left -= done;
        batch -= done;
        gpr_write(v, RCX, left, s->addr);
        if (comparison_ends(s)) return finish(v, s, true);
    }
    return left ? X_AGAIN : finish(v, s, s->until);
}

static enum x_result run(struct vcpu *v, const struct insn *i, string_fn *one, string_bulk_fn *bulk)
{
    struct string_op s = string_op_of(v, i);
    if (s.rep) return repeat(v, i, &s, one, bulk);
    return one(v, i, &s) ? X_FAULT : X_NEXT;
}

static enum x_result run_compare(struct vcpu *v, const struct insn *i, string_fn *one)
{
    struct string_op s = string_op_of(v, i);
    if (s.rep) {
        s.until = true;
        s.zf = i->prefixes & PFX_REPNE ? RFLAGS_ZF : 0;
        return repeat(v, i, &s, one, NULL);
    }
    return one(v, i, &s) ? X_FAULT : finish(v, &s, true);
}

/* ---- bulk ------------------------------------------------------------------------------------ */

/* Part of a page on its way to be worked on at once. */
struct span {
    u8 seg;
    enum access kind;
    u64 off, bytes; /* @bytes asked for; what there is after span_find() */
    hva_t ptr;
};

/* Find the next bytes of @p when they lie in one page of plain memory and within the segment and
 * the address size; p->bytes shrinks to what the page has, in whole elements. False: not possible.
 */
static bool span_find(struct vcpu *v, const struct string_op *s, struct span *p)
{
    gva_t lin;
    u8 rw = p->kind == ACC_WRITE ? OPND_W : OPND_R;
    /* Never up to the very last offset: there the element loop has to wrap. */
    u64 room = mask_bytes(s->addr) - p->off;
    if (seg_linear(v, p->seg, p->off, s->bytes, rw, &lin)) return false;
    u64 bytes = min_u64(min_u64(p->bytes, room), PAGE_BYTES - (lin & ~PAGE_MASK));
    bytes -= bytes % s->bytes;
    if (!bytes || seg_linear(v, p->seg, p->off, (u32)bytes, rw, &lin)) return false;
    p->bytes = bytes;
    p->ptr = tlb_find(v, lin, (u32)bytes, p->kind);
    return p->ptr != NULL;
}

/* Upward copy as the processor does it: where the destination starts inside the source, bytes
 * already copied are copied again, @gap at a time. */
static void copy_up(u8 *to, const u8 *from, u64 bytes)
{
    u64 gap = (u64)(uintptr_t)to - (u64)(uintptr_t)from;
    if (gap >= bytes) {
        memmove(to, from, bytes);
        return;
    }
    for (u64 at = 0; gap && at < bytes; at += gap)
        memcpy(to + at, from + at, min_u64(gap, bytes - at));
}

static u64 movs_bulk(struct vcpu *v, const struct insn *i, const struct string_op *s, u64 max)
{
    struct span to = {ES, ACC_WRITE, dest(v, s), max * s->bytes, NULL};
    if (v->rflags & RFLAGS_DF || !span_find(v, s, &to)) return 0;
    struct span from = {i->seg, ACC_READ, source(v, s), to.bytes, NULL};
    if (!span_find(v, s, &from)) return 0;
    u64 gap = (u64)(uintptr_t)to.ptr - (u64)(uintptr_t)from.ptr;
    if (gap && gap < s->bytes) return 0; /* elements overlap themselves */
    copy_up(to.ptr, from.ptr, from.bytes);
    advance(v, RSI, s, from.bytes);
    advance(v, RDI, s, from.bytes);
    return from.bytes / s->bytes;
}

static void fill(u8 *to, u64 val, u64 bytes, u32 size)
{
    if (size == 1) memset(to, (int)(val & 0xFF), bytes);
    else
        for (u64 at = 0; at < bytes; at += size) memcpy(to + at, &val, size);
}

static u64 stos_bulk(struct vcpu *v, const struct insn *i, const struct string_op *s, u64 max)
{
    struct span to = {ES, ACC_WRITE, dest(v, s), max * s->bytes, NULL};
    u64 val = v->gpr[RAX];
    (void)i;
    if (v->rflags & RFLAGS_DF || !span_find(v, s, &to)) return 0;
    switch (s->bytes) { /* constant sizes: the compiler makes vector stores of them */
    case 1: fill(to.ptr, val, to.bytes, 1); break;
    case 2: fill(to.ptr, val, to.bytes, 2); break;
    case 4: fill(to.ptr, val, to.bytes, 4); break;
    default: fill(to.ptr, val, to.bytes, 8);
    }
    advance(v, RDI, s, to.bytes);
    return to.bytes / s->bytes;
}

/* ---- single elements ------------------------------------------------------------------------- */

static int movs_one(struct vcpu *v, const struct insn *i, struct string_op *s)
{
    u64 val;
    if (seg_read(v, i->seg, source(v, s), &val, s->bytes)) return X_FAULT;
    if (seg_write(v, ES, dest(v, s), val, s->bytes)) return X_FAULT;
    advance(v, RSI, s, s->step);
    advance(v, RDI, s, s->step);
    return 0;
}

static int stos_one(struct vcpu *v, const struct insn *i, struct string_op *s)
{
    (void)i;
    if (seg_write(v, ES, dest(v, s), v->gpr[RAX], s->bytes)) return X_FAULT;
    advance(v, RDI, s, s->step);
    return 0;
}

static int lods_one(struct vcpu *v, const struct insn *i, struct string_op *s)
{
    u64 val;
    if (seg_read(v, i->seg, source(v, s), &val, s->bytes)) return X_FAULT;
    gpr_write(v, RAX, val, s->bytes);
    advance(v, RSI, s, s->step);
    return 0;
}

/* Flags of @a - @b, as CMP sets them. */
static u64 compare(u64 a, u64 b, u32 bytes)
{
    u64 mask = mask_bytes(bytes), sign = mask ^ (mask >> 1), diff = (a - b) & mask;
    u64 f = __builtin_parity((u8)diff) ? 0 : RFLAGS_PF;
    if (a < b) f |= RFLAGS_CF;
    if ((a ^ b ^ diff) & 0x10) f |= RFLAGS_AF;
    if (!diff) f |= RFLAGS_ZF;
    if (diff & sign) f |= RFLAGS_SF;
    if ((a ^ b) & (a ^ diff) & sign) f |= RFLAGS_OF;
    return f;
}

static int cmps_one(struct vcpu *v, const struct insn *i, struct string_op *s)
{
    u64 a, b;
    if (seg_read(v, i->seg, source(v, s), &a, s->bytes)) return X_FAULT;
    if (seg_read(v, ES, dest(v, s), &b, s->bytes)) return X_FAULT;
    s->flags = compare(a, b, s->bytes);
    advance(v, RSI, s, s->step);
    advance(v, RDI, s, s->step);
    return 0;
}

static int scas_one(struct vcpu *v, const struct insn *i, struct string_op *s)
{
    u64 b;
    (void)i;
    if (seg_read(v, ES, dest(v, s), &b, s->bytes)) return X_FAULT;
    s->flags = compare(gpr_read(v, RAX, s->bytes), b, s->bytes);
    advance(v, RDI, s, s->step);
    return 0;
}

/* The port is read only once the memory is known to take the value: a port read cannot be taken
 * back. */
static int ins_one(struct vcpu *v, const struct insn *i, struct string_op *s)
{
    gva_t lin;
    (void)i;
    if (seg_linear(v, ES, dest(v, s), s->bytes, OPND_W, &lin)) return X_FAULT;
    if (!tlb_find(v, lin, s->bytes, ACC_WRITE) &&
        v->mmu->probe(v, lin, s->bytes, ACC_WRITE, false)) {
        return X_FAULT;
    }
    u64 val = v->env->port_in(v->env->ctx, v, (u16)v->gpr[RDX], s->bytes);
    if (vcpu_write(v, lin, &val, s->bytes)) return X_FAULT;
    io_done(v, (u16)v->gpr[RDX], s->bytes);
    advance(v, RDI, s, s->step);
    return 0;
}

/* A port moves its elements through one page of plain memory at once. Not while breakpoints watch
 * ports: each element would have to be looked at. */
static u64 port_bulk(struct vcpu *v, const struct string_op *s, struct span *p)
{
    const u16 port = (u16)v->gpr[RDX];
    if (v->rflags & RFLAGS_DF || v->cr4 & CR4_DE || !v->env->port_in_string) return 0;
    if (io_allowed(v, port, s->bytes) || !span_find(v, s, p)) return 0;
    const struct port_string all = {port, s->bytes, (u32)(p->bytes / s->bytes), p->ptr};
    if (p->kind == ACC_WRITE) v->env->port_in_string(v->env->ctx, v, &all);
    else v->env->port_out_string(v->env->ctx, v, &all);
    advance(v, p->kind == ACC_WRITE ? RDI : RSI, s, p->bytes);
    return all.count;
}

static u64 ins_bulk(struct vcpu *v, const struct insn *i, const struct string_op *s, u64 max)
{
    struct span to = {ES, ACC_WRITE, dest(v, s), max * s->bytes, NULL};
    (void)i;
    return port_bulk(v, s, &to);
}

static u64 outs_bulk(struct vcpu *v, const struct insn *i, const struct string_op *s, u64 max)
{
    struct span from = {i->seg, ACC_READ, source(v, s), max * s->bytes, NULL};
    return port_bulk(v, s, &from);
}

static int outs_one(struct vcpu *v, const struct insn *i, struct string_op *s)
{
    u64 val;
    if (seg_read(v, i->seg, source(v, s), &val, s->bytes)) return X_FAULT;
    v->env->port_out(v->env->ctx, v, (u16)v->gpr[RDX], (u32)val, s->bytes);
    io_done(v, (u16)v->gpr[RDX], s->bytes);
    advance(v, RSI, s, s->step);
    return 0;
}

enum x_result x_movs(struct vcpu *v, const struct insn *i)
{
    return run(v, i, movs_one, movs_bulk);
}
enum x_result x_stos(struct vcpu *v, const struct insn *i)
{
    return run(v, i, stos_one, stos_bulk);
}
enum x_result x_lods(struct vcpu *v, const struct insn *i) { return run(v, i, lods_one, NULL); }
enum x_result x_cmps(struct vcpu *v, const struct insn *i) { return run_compare(v, i, cmps_one); }
enum x_result x_scas(struct vcpu *v, const struct insn *i) { return run_compare(v, i, scas_one); }
/* The right to the port is checked before the count, as processors do: REP INS with a count of 0
 * can be #GP. */
static enum x_result run_io(struct vcpu *v, const struct insn *i, string_fn *one,
                            string_bulk_fn *bulk)
{
    struct string_op s = string_op_of(v, i);
    if (io_allowed(v, (u16)v->gpr[RDX], s.bytes)) return X_FAULT;
    return run(v, i, one, bulk);
}

enum x_result x_ins(struct vcpu *v, const struct insn *i)
{
    return run_io(v, i, ins_one, ins_bulk);
}
enum x_result x_outs(struct vcpu *v, const struct insn *i)
{
    return run_io(v, i, outs_one, outs_bulk);
}
