/* cpu/flat_test.h - a processor over 256 KiB of flat memory for the unit tests of cpu/: no paging,
 * but one page can be made to fault, and upper addresses fold down, so that canonical kernel
 * addresses work too. */
#ifndef CPU_FLAT_TEST_H
#define CPU_FLAT_TEST_H
#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/exc.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"

enum { FLAT_BYTES = 1 << 18 };
struct flat {
    struct vcpu v;
    struct cpu_model model;
    struct cpu_env env;
    u64 fault_page;    /* accesses to it raise #PF; ~0: none */
    bool fault_writes; /* only writes do                      */
    u8 last_cpl;       /* privilege of the last explicit write */
    u32 flushes, cr3_loads;
    int intr_vector;
    u8 cr8;
    u8 mem[FLAT_BYTES + 64];
};

static inline struct flat *flat_of(struct vcpu *v) { return container_of(v, struct flat, v); }
static inline u8 *flat_at(struct flat *f, u64 gva) { return f->mem + (gva & (FLAT_BYTES - 1)); }
static inline int flat_check(struct vcpu *v, gva_t gva, u32 bytes, bool write, bool sys)
{
    struct flat *f = flat_of(v);
    u64 first = gva & PAGE_MASK, last = (gva + bytes - 1) & PAGE_MASK;
    if ((first != f->fault_page && last != f->fault_page) || (f->fault_writes && !write)) return 0;
    u32 error = (write ? PF_W : 0) | (v->cpl == 3 && !sys ? PF_U : 0);
    return vcpu_raise_pf(v, first == f->fault_page ? gva : last, error);
}
static inline int flat_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    if (flat_check(v, gva, bytes, false, sys)) return X_FAULT;
    memcpy(buf, flat_at(flat_of(v), gva), bytes);
    return 0;
}
static inline int flat_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    if (flat_check(v, gva, bytes, true, sys)) return X_FAULT;
    if (!sys) flat_of(v)->last_cpl = v->cpl;
    memcpy(flat_at(flat_of(v), gva), buf, bytes);
    return 0;
}
static inline void flat_flush(struct vcpu *v) { flat_of(v)->flushes++; }
static inline void flat_cr3(struct vcpu *v, u64 op)
{
    (void)op;
    flat_of(v)->cr3_loads++;
}
static inline void flat_nothing(struct vcpu *v) { (void)v; }
static inline void flat_invlpg(struct vcpu *v, gva_t gva)
{
    (void)gva;
    flat_of(v)->flushes++;
}
static inline int flat_invpcid(struct vcpu *v, u64 type, u64 pcid, gva_t gva)
{
    (void)type;
    (void)pcid;
    (void)gva;
    flat_of(v)->flushes++;
    return 0;
}
static inline int flat_pdptes(struct vcpu *v, u64 cr3)
{
    return cr3 & 0x800 ? (int)vcpu_raise_err(v, EXC_GP, 0)
                       : 0; /* bit 11: "bad" ones, for the tests */
}
static const struct vcpu_mmu_ops flat_ops = {.read = flat_read,
                                             .write = flat_write,
                                             .invlpg = flat_invlpg,
                                             .invpcid = flat_invpcid,
                                             .cr3_loaded = flat_cr3,
                                             .flush_all = flat_flush,
                                             .mode_changed = flat_nothing,
                                             .load_pdptes = flat_pdptes};

static inline int flat_ack(void *ctx, struct vcpu *v)
{
    struct flat *f = ctx;
    atomic_store(&v->intr_line, false);
    return f->intr_vector;
}
static inline u8 flat_cr8_get(void *ctx, struct vcpu *v)
{
    (void)v;
    return ((struct flat *)ctx)->cr8;
}
static inline void flat_cr8_set(void *ctx, struct vcpu *v, u8 cr8)
{
    (void)v;
    ((struct flat *)ctx)->cr8 = cr8;
}

/* Power-on state: real mode. */
static inline struct flat *flat_create(void)
{
    struct flat *f = aligned_alloc(64, align_up(sizeof *f, 64));
    memset(f, 0, sizeof *f);
    f->fault_page = ~0ull;
    f->model.name = "flat";
    f->model.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    f->model.signature = 0x663;
    memset(f->model.features, 0xFF, sizeof f->model.features);
    f->env = (struct cpu_env){
        .ctx = f, .intr_ack = flat_ack, .cr8_get = flat_cr8_get, .cr8_set = flat_cr8_set};
    struct vcpu_cfg cfg = {.id = 0, .tsc_khz = 1000000, .env = &f->env, .model = &f->model};
    vcpu_init(&f->v, &cfg);
    f->v.mmu = &flat_ops;
    return f;
}
static inline void flat_put(struct flat *f, u64 gva, u64 val, u32 bytes)
{
    memcpy(flat_at(f, gva), &val, bytes);
}
static inline u64 flat_get(struct flat *f, u64 gva, u32 bytes)
{
    u64 val = 0;
    memcpy(&val, flat_at(f, gva), bytes);
    return val;
}
/* Decode, bind and execute the instruction in @code at v->rip; X_NEXT advances. */
static inline enum x_result flat_run(struct flat *f, const char *code, u32 bytes)
{
    struct insn i;
    f->v.exc.kind = EV_NONE;
    assert_int_equal(isa_decode(&i, (const u8 *)code, bytes, f->v.mode), bytes);
    insn_bind(&f->v, &i, x_ud);
    enum x_result r = i.exec(&f->v, &i);
    if (r == X_NEXT) f->v.rip = vcpu_next_rip(&f->v, &i);
    return r;
}
#define RUN(f, code) flat_run(f, code, sizeof(code) - 1)
#define assert_fault(f, vec, err)                                                                  \
    do {                                                                                           \
        assert_int_equal((f)->v.exc.vector, (vec));                                                \
        assert_int_equal((f)->v.exc.error, (err));                                                 \
    } while (0)
#endif
