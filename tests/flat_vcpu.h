/* flat_vcpu.h - a vCPU over a small host buffer, for unit tests of instruction semantics: linear
 * address = offset into the buffer, no paging. Pages can be made absent or read-only (#PF), the TLB
 * can be kept empty, which sends every access through the slow path. One file includes it per test
 * program. */
#ifndef TESTS_FLAT_VCPU_H
#define TESTS_FLAT_VCPU_H
#include <stdlib.h>
#include <string.h>

#include "cpu/access.h"
#include "cpu/env.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"

enum {
    FLAT_PAGES = 32,
    FLAT_BYTES = FLAT_PAGES * PAGE_BYTES,
    FLAT_CODE = 0x1000,
    FLAT_STACK = 0x8000
};
enum { FLAT_RW, FLAT_READ_ONLY, FLAT_ABSENT };
enum { FLAT_PORT_LOG = 64 };

struct flat {
    struct vcpu v; /* first: the ops find struct flat from it */
    u8 mem[FLAT_BYTES] __attribute__((aligned(4096)));
    u8 prot[FLAT_PAGES]; /* FLAT_RW ...                             */
    bool no_tlb;         /* never fill the TLB                      */
    struct cpu_env env;
    struct flat_port { /* what IN and OUT did; IN returns port_in_val++ */
        u16 port;
        u8 bytes;
        bool out;
        u32 val;
    } port[FLAT_PORT_LOG];
    u32 ports, port_in_val;
};

static inline struct flat *flat_of(struct vcpu *v) { return container_of(v, struct flat, v); }

/* Check [gva, gva+bytes) and fill the TLB for each page. */
static inline int flat_check(struct vcpu *v, gva_t gva, u64 bytes, enum access kind)
{
    struct flat *f = flat_of(v);
    for (gva_t page = gva & PAGE_MASK; page < gva + bytes; page += PAGE_BYTES) {
        u64 n = page >> PAGE_SHIFT;
        u32 error = kind == ACC_WRITE ? PF_W : 0;
        if (n >= FLAT_PAGES || f->prot[n] == FLAT_ABSENT) {
            return vcpu_raise_pf(v, page < gva ? gva : page, error);
        }
        if (kind == ACC_WRITE && f->prot[n] == FLAT_READ_ONLY) {
            return vcpu_raise_pf(v, page < gva ? gva : page, error | PF_P);
        }
        if (f->no_tlb) continue;
        struct tlb_entry *e = &v->tlb.e[kind][n & (TLB_ENTRIES - 1)];
        e->tag = page | v->tlb.ctx;
        e->addend = (u64)(uintptr_t)f->mem;
    }
    return 0;
}
static inline int flat_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (flat_check(v, gva, bytes, ACC_READ)) return X_FAULT;
    memcpy(buf, flat_of(v)->mem + gva, bytes);
    return 0;
}
static inline int flat_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (flat_check(v, gva, bytes, ACC_WRITE)) return X_FAULT;
    memcpy(flat_of(v)->mem + gva, buf, bytes);
    return 0;
}
static inline int flat_map(struct vcpu *v, gva_t gva, u32 bytes, u8 rw, struct access_map *m)
{
    if (rw & OPND_R && flat_check(v, gva, bytes, ACC_READ)) return X_FAULT;
    if (rw & OPND_W && flat_check(v, gva, bytes, ACC_WRITE)) return X_FAULT;
    m->ptr = flat_of(v)->mem + gva;
    m->state = MAP_DIRECT;
    return 0;
}
static inline void flat_unmap(struct vcpu *v, struct access_map *m) { (void)v, (void)m; }
static inline int flat_probe(struct vcpu *v, gva_t gva, u32 bytes, enum access kind, bool sys)
{
    (void)sys;
    return flat_check(v, gva, bytes, kind);
}
static inline void flat_flush(struct vcpu *v) { memset(v->tlb.e, 0xFF, sizeof v->tlb.e); }
static inline void flat_invlpg(struct vcpu *v, gva_t gva) { (void)gva, flat_flush(v); }
static inline int flat_invpcid(struct vcpu *v, u64 type, u64 pcid, gva_t gva)
{
    (void)type, (void)pcid, (void)gva;
    flat_flush(v);
    return 0;
}
static inline void flat_cr3_loaded(struct vcpu *v, u64 op) { (void)op, flat_flush(v); }
static inline void flat_mode_changed(struct vcpu *v) { v->tlb.ctx = v->cpl; }
static inline int flat_load_pdptes(struct vcpu *v, u64 cr3)
{
    (void)v, (void)cr3;
    return 0;
}

static inline u32 flat_port_in(void *ctx, struct vcpu *v, u16 port, u32 bytes)
{
    struct flat *f = ctx;
    (void)v;
    u32 val = f->port_in_val++;
    if (f->ports < FLAT_PORT_LOG)
        f->port[f->ports] = (struct flat_port){port, (u8)bytes, false, val};
    f->ports++;
    return val;
}
static inline void flat_port_out(void *ctx, struct vcpu *v, u16 port, u32 val, u32 bytes)
{
    struct flat *f = ctx;
    (void)v;
    if (f->ports < FLAT_PORT_LOG)
        f->port[f->ports] = (struct flat_port){port, (u8)bytes, true, val};
    f->ports++;
}

/* Put the vCPU into @mode at ring 0: 64-bit; flat 32-bit protected; real mode with every segment at
 * 0. RIP is FLAT_CODE and RSP FLAT_STACK, the other registers 0. */
static inline void flat_reset(struct flat *f, enum isa_mode mode)
{
    struct vcpu *v = &f->v;
    u32 code = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A, data = SEG_P | SEG_S | SEG_W | SEG_A;
    vcpu_reset(v, false);
    flat_flush(v);
    if (mode != ISA_16) {
        v->cr0 |= CR0_PE;
        code |= SEG_G | (mode == ISA_64 ? SEG_L : SEG_DB);
        data |= SEG_G | SEG_DB;
    }
    if (mode == ISA_64) v->efer = EFER_LME | EFER_LMA, v->cr0 |= CR0_PG, v->cr4 |= CR4_PAE;
    for (int s = 0; s < SEGS; s++) {
        v->seg[s] = (struct seg){.limit = mode == ISA_16 ? 0xFFFF : 0xFFFFFFFF,
                                 .attr = s == CS ? code : data};
    }
    memset(v->gpr, 0, sizeof v->gpr);
    v->gpr[RSP] = FLAT_STACK;
    v->rip = FLAT_CODE;
    v->cpl = 0;
    vcpu_mode_changed(v);
    memset(f->prot, FLAT_RW, sizeof f->prot);
    f->ports = f->port_in_val = 0;
    f->no_tlb = false;
}

/* Returns a fresh one, memory zero; free() it. */
static inline struct flat *flat_create(enum isa_mode mode)
{
    static const struct vcpu_mmu_ops ops = {
        .read = flat_read,
        .write = flat_write,
        .map = flat_map,
        .unmap = flat_unmap,
        .probe = flat_probe,
        .invlpg = flat_invlpg,
        .invpcid = flat_invpcid,
        .cr3_loaded = flat_cr3_loaded,
        .flush_all = flat_flush,
        .mode_changed = flat_mode_changed,
        .load_pdptes = flat_load_pdptes,
    };
    struct flat *f = aligned_alloc(4096, align_up(sizeof *f, 4096));
    if (!f) abort();
    memset(f, 0, sizeof *f);
    f->env = (struct cpu_env){.ctx = f, .port_in = flat_port_in, .port_out = flat_port_out};
    vcpu_init(&f->v, &(struct vcpu_cfg){.env = &f->env});
    f->v.mmu = &ops;
    flat_reset(f, mode);
    return f;
}

/* COMPUTE is not these tests' business: it reports #UD. */
static inline enum x_result flat_compute(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return vcpu_raise(v, EXC_UD);
}

/* Execute the @n bytes at @code once, as if they stood at RIP. RIP moves on after X_NEXT. */
static inline enum x_result flat_exec(struct flat *f, const void *code, u32 n)
{
    struct insn i;
    f->v.exc = (struct event){0};
    if (isa_decode(&i, code, n, f->v.mode) <= 0) return vcpu_raise(&f->v, EXC_UD);
    insn_bind(&f->v, &i, flat_compute);
    enum x_result r = i.exec(&f->v, &i);
    if (r == X_NEXT) f->v.rip = vcpu_next_rip(&f->v, &i);
    return r;
}
/* flat_exec of literal bytes: FLAT_EXEC(f, 0xF3, 0xA4) */
#define FLAT_EXEC(f, ...) flat_exec(f, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))

/* Make page @page FLAT_RW, FLAT_READ_ONLY or FLAT_ABSENT. */
static inline void flat_protect(struct flat *f, u32 page, u8 prot)
{
    f->prot[page] = prot;
    flat_flush(&f->v);
}
static inline u64 flat_get(const struct flat *f, u64 at, u32 bytes)
{
    u64 val = 0;
    memcpy(&val, f->mem + at, bytes);
    return val;
}
static inline void flat_put(struct flat *f, u64 at, u64 val, u32 bytes)
{
    memcpy(f->mem + at, &val, bytes);
}
#endif
