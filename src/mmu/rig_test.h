/* mmu/rig_test.h - vCPUs over real guest memory and one coherence domain, for the unit tests of
 * mmu/: no engine, the test plays the guest. */
#ifndef MMU_RIG_TEST_H
#define MMU_RIG_TEST_H
#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/vcpu_mode.h"
#include "mmu/mmu_internal.h"

enum { RIG_CPUS = 4, RIG_MMIO_LOG = 16 };
struct rig {
    struct mem mem;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct cpu_model model;
    struct vcpu *v[RIG_CPUS];
    u32 cpus;
    struct rig_mmio { /* what reached the bus; reads give 0x11 in every byte */
        gpa_t gpa;
        u64 val;
        u32 bytes;
        bool write;
    } mmio[RIG_MMIO_LOG];
    u32 mmios;
};

static inline void rig_log(struct rig *r, struct rig_mmio m)
{
    if (r->mmios < RIG_MMIO_LOG) r->mmio[r->mmios] = m;
    r->mmios++;
}
static inline u64 rig_mmio_read(void *ctx, struct vcpu *v, gpa_t gpa, u32 bytes)
{
    (void)v;
    rig_log(ctx, (struct rig_mmio){.gpa = gpa, .bytes = bytes});
    return 0x1111111111111111ull & mask_bytes(bytes);
}
static inline void rig_mmio_write(void *ctx, struct vcpu *v, gpa_t gpa, u64 val, u32 bytes)
{
    (void)v;
    rig_log(ctx, (struct rig_mmio){.gpa = gpa, .val = val, .bytes = bytes, .write = true});
}

/* @cpus processors after RESET, with @bytes of memory at 0. */
static inline struct rig *rig_create(u64 bytes, u32 cpus)
{
    struct err e = {0};
    struct rig *r = calloc(1, sizeof *r);
    r->model.name = "rig";
    r->env = (struct cpu_env){.ctx = r, .mmio_read = rig_mmio_read, .mmio_write = rig_mmio_write};
    assert_int_equal(mem_init(&r->mem, &e), 0);
    assert_int_equal(mem_add(&r->mem, 0, bytes, false, &e), 0);
    assert_int_equal(mmu_domain_create(&r->domain, &r->mem, &e), 0);
    r->cpus = cpus;
    for (u32 i = 0; i < cpus; i++) {
        struct vcpu *v = aligned_alloc(64, align_up(sizeof *v, 64));
        struct vcpu_cfg cfg = {
            .id = i, .tsc_khz = 1000000, .mem = &r->mem, .env = &r->env, .model = &r->model};
        vcpu_init(v, &cfg);
        assert_int_equal(mmu_init(v, r->domain, &e), 0);
        r->v[i] = v;
    }
    return r;
}
static inline void rig_destroy(struct rig *r)
{
    for (u32 i = 0; i < r->cpus; i++) {
        mmu_fini(r->v[i]);
        free(r->v[i]);
    }
    mmu_domain_destroy(r->domain);
    mem_fini(&r->mem);
    free(r);
}

static inline void rig_put(struct rig *r, gpa_t gpa, u64 val, u32 bytes)
{
    assert_int_equal(mem_write(&r->mem, gpa, &val, bytes), 0);
}
static inline u64 rig_get(struct rig *r, gpa_t gpa, u32 bytes)
{
    u64 val = 0;
    assert_int_equal(mem_read(&r->mem, gpa, &val, bytes), 0);
    return val;
}
/* Control registers changed under the TLB's feet. */
static inline void rig_mode(struct vcpu *v)
{
    v->mmu->flush_all(v);
    vcpu_mode_changed(v);
}
/* 64-bit paging with the top table at @cr3; everything else off. */
static inline void rig_long(struct vcpu *v, u64 cr3)
{
    v->cr0 = CR0_PE | CR0_PG | CR0_WP;
    v->cr4 = CR4_PAE;
    v->efer = EFER_LME | EFER_LMA | EFER_NXE;
    v->cr3 = cr3;
    rig_mode(v);
}

static inline u64 rig_random(u64 *s) /* xorshift64* */
{
    *s ^= *s >> 12, *s ^= *s << 25, *s ^= *s >> 27;
    return *s * 0x2545F4914F6CDD1Dull;
}
#endif
