/* engine/common/rig_test.h - one processor after RESET over real memory, with an environment that
 * notes what reaches it: for tests that run guests under any engine, in any order. */
#ifndef ENGINE_COMMON_RIG_TEST_H
#define ENGINE_COMMON_RIG_TEST_H
#include <stdlib.h>
#include <string.h>

#include "base/clk.h"
#include "base/test.h"
#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/env.h"
#include "cpu/vcpu_mode.h"
#include "mmu/mmu.h"

enum { RIG_LOG = 64, RIG_RAM = 1 << 20, RIG_ROM = 0xF0000000, RIG_MMIO = 0xE0000000 };
struct rig_io { /* reads give the number of earlier events */
    gpa_t at;
    u64 val;
    u32 bytes;
    bool write, port;
};
struct rig {
    struct vcpu *v;
    struct mem mem;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct cpu_model model;
    struct clk clk;
    struct rig_io io[RIG_LOG];
    u32 ios;
    int vector; /* intr_ack gives it; -1: nothing */
    u32 acks;
    u8 cr8;
    const struct engine *engine; /* the one that has the processor, or NULL */
};

static inline u64 rig_note(struct rig *r, struct rig_io io)
{
    if (!io.write) io.val = r->ios & mask_bytes(io.bytes);
    if (r->ios < RIG_LOG) r->io[r->ios] = io;
    r->ios++;
    return io.val;
}
static inline u64 rig_mmio_read(void *ctx, struct vcpu *v, gpa_t gpa, u32 bytes)
{
    (void)v;
    return rig_note(ctx, (struct rig_io){.at = gpa, .bytes = bytes});
}
static inline void rig_mmio_write(void *ctx, struct vcpu *v, gpa_t gpa, u64 val, u32 bytes)
{
    (void)v;
    rig_note(ctx, (struct rig_io){.at = gpa, .val = val, .bytes = bytes, .write = true});
}
static inline u32 rig_port_in(void *ctx, struct vcpu *v, u16 port, u32 bytes)
{
    (void)v;
    return (u32)rig_note(ctx, (struct rig_io){.at = port, .bytes = bytes, .port = true});
}
static inline void rig_port_out(void *ctx, struct vcpu *v, u16 port, u32 val, u32 bytes)
{
    (void)v;
    rig_note(ctx,
             (struct rig_io){.at = port, .val = val, .bytes = bytes, .write = true, .port = true});
}
static inline int rig_intr_ack(void *ctx, struct vcpu *v)
{
    struct rig *r = ctx;
    int vector = r->vector;
    r->vector = -1;
    r->acks++;
    atomic_store(&v->intr_line, false);
    return vector;
}
static inline u8 rig_cr8_get(void *ctx, struct vcpu *v)
{
    (void)v;
    return ((struct rig *)ctx)->cr8;
}
static inline void rig_cr8_set(void *ctx, struct vcpu *v, u8 cr8)
{
    (void)v;
    ((struct rig *)ctx)->cr8 = cr8;
}
static inline bool rig_apic_read(void *ctx, struct vcpu *v, u32 msr, u64 *val)
{
    (void)ctx, (void)v, (void)msr;
    *val = 0xFEE00900;
    return true;
}
static inline bool rig_apic_write(void *ctx, struct vcpu *v, u32 msr, u64 val)
{
    (void)v;
    rig_note(ctx, (struct rig_io){.at = msr, .val = val, .bytes = 8, .write = true});
    return true;
}
static inline u64 rig_clock_ns(void *ctx) { return clk_now_ns(&((struct rig *)ctx)->clk); }

/* A model every one of @engines can give, so that the processor may move between them. */
static inline struct rig *rig_create(const struct engine *const engines[], u32 count)
{
    struct err e = {0};
    struct rig *r = calloc(1, sizeof *r);
    struct cpu_model_cfg model = {.vcpus = 1, .tsc_khz = 2000000};
    assert_int_equal(cpu_model_init(&r->model, "max", &model, &e), 0);
    for (u32 i = 0; i < count; i++) {
        if (engines[i]->fit) assert_int_equal(engines[i]->fit(&r->model, &e), 0);
    }
    r->vector = -1;
    r->env = (struct cpu_env){.ctx = r,
                              .mmio_read = rig_mmio_read,
                              .mmio_write = rig_mmio_write,
                              .port_in = rig_port_in,
                              .port_out = rig_port_out,
                              .intr_ack = rig_intr_ack,
                              .cr8_get = rig_cr8_get,
                              .cr8_set = rig_cr8_set,
                              .apic_msr_read = rig_apic_read,
                              .apic_msr_write = rig_apic_write,
                              .clock_ns = rig_clock_ns,
                              .wall_ns = rig_clock_ns};
    clk_init(&r->clk, false);
    clk_start(&r->clk);
    assert_int_equal(mem_init(&r->mem, &e), 0);
    assert_int_equal(mem_add(&r->mem, 0, RIG_RAM, false, &e), 0);
    assert_int_equal(mem_add(&r->mem, RIG_ROM, PAGE_BYTES, true, &e), 0);
    assert_int_equal(mmu_domain_create(&r->domain, &r->mem, &e), 0);
    r->v = aligned_alloc(64, align_up(sizeof *r->v, 64));
    struct vcpu_cfg cfg = {
        .tsc_khz = r->model.tsc_khz, .mem = &r->mem, .env = &r->env, .model = &r->model};
    vcpu_init(r->v, &cfg);
    assert_int_equal(mmu_init(r->v, r->domain, &e), 0);
    vcpu_mode_changed(r->v);
    return r;
}

/* Give the processor to @engine; NULL: to nobody. */
static inline void rig_engine(struct rig *r, const struct engine *engine)
{
    struct err e = {0};
    if (r->engine) r->engine->fini(r->v);
    r->engine = engine;
    if (engine && engine->init(r->v, &e) < 0) fail_msg("%s: %s", engine->name, e.text);
}

static inline void rig_destroy(struct rig *r)
{
    rig_engine(r, NULL);
    mmu_fini(r->v);
    free(r->v);
    mmu_domain_destroy(r->domain);
    mem_fini(&r->mem);
    clk_fini(&r->clk);
    free(r);
}

/* Real mode at 0000:@ip, every segment at 0, stack below 7000H. */
static inline void rig_real_mode(struct rig *r, u16 ip)
{
    r->v->seg[CS].base = r->v->seg[CS].sel = 0;
    r->v->rip = ip;
    r->v->gpr[RSP] = 0x7000;
    vcpu_mode_changed(r->v);
}

static inline void rig_put(struct rig *r, gpa_t gpa, const void *bytes, u64 n)
{
    assert_int_equal(mem_load(&r->mem, gpa, bytes, n), 0);
}

/* run(), and if the engine fails, why. */
static inline enum run_exit rig_run(struct rig *r, u64 budget)
{
    enum run_exit why = r->engine->run(r->v, budget);
    if (why == RUN_FAILED)
        fail_msg("%s: %s", r->engine->name,
                 r->engine->failure ? r->engine->failure(r->v)->text : "failed");
    return why;
}
#endif
