/* The MSR table, walked row by row, and the registers with rules of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/insn_exec.h"
#include "cpu/msr.h"
#include "cpu/tsc.h"
#include "mem/mem.h"

enum {
    MSR_TSC = 0x10,
    MSR_TSC_ADJUST = 0x3B,
    MSR_PRED_CMD = 0x49,
    MSR_PAT = 0x277,
    MSR_MTRR_BASE0 = 0x200,
    MSR_MTRR_MASK0 = 0x201,
    MSR_MTRR_FIX64K = 0x250,
    MSR_DEF_TYPE = 0x2FF,
    MSR_XSS = 0xDA0,
};
#define MSR_LSTAR 0xC0000082u
#define MSR_FS_BASE 0xC0000100u
#define MSR_TSC_AUX 0xC0000103u
enum msr_kind { FIELD, CANON, CONST, SINK, CMD, OTHER };

/* The rows again, as data: mask and kind of each. */
#define GPA_MASK ((BIT(GPA_BITS) - 1) & PAGE_MASK)
#define MTRR_BASE_BITS (GPA_MASK | 0xFF)
#define MTRR_MASK_BITS (GPA_MASK | BIT(11))
enum {
    TSC = OTHER,
    KVM_WALL = OTHER,
    KVM_TIME = OTHER,
    APIC = OTHER,
    TSC_ADJUST = OTHER,
    MISC_ENABLE = OTHER,
    MTRR_BASE = OTHER,
    MTRR_FIX = OTHER,
    PAT = OTHER,
    EFER = OTHER,
};
static const struct {
    u32 addr;
    enum msr_kind kind;
    u64 mask;
} rows[] = {
#define MSR(addr, name, kind, field, mask, reset, needs, spec) {addr, (enum msr_kind)kind, mask},
#include "cpu/msr.def"
#undef MSR
};

struct world {
    struct cpu_model model;
    struct cpu_env env;
    struct mem mem;
    struct vcpu *v;
    u64 now_ns;
    u32 tsc_changes;
};
static u64 clock_ns(void *ctx) { return ((struct world *)ctx)->now_ns; }
static u64 wall_ns(void *ctx) { return ((struct world *)ctx)->now_ns + 5 * NS_PER_S; }
static void tsc_changed(void *ctx, struct vcpu *v)
{
    (void)v;
    ((struct world *)ctx)->tsc_changes++;
}
static bool apic_read(void *ctx, struct vcpu *v, u32 msr, u64 *val)
{
    (void)ctx, (void)v;
    *val = msr;
    return msr != 0x8FF;
}
static bool apic_write(void *ctx, struct vcpu *v, u32 msr, u64 val)
{
    (void)ctx, (void)v, (void)val;
    return msr != 0x8FF;
}

static int setup_model(void **state, const char *name)
{
    struct world *w = aligned_alloc(64, align_up(sizeof *w, 64));
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 2345678};
    struct vcpu_cfg vc = {.tsc_khz = cfg.tsc_khz};
    if (!w) return -1;
    memset(w, 0, sizeof *w);
    *state = w;
    w->env = (struct cpu_env){.ctx = w,
                              .clock_ns = clock_ns,
                              .wall_ns = wall_ns,
                              .tsc_changed = tsc_changed,
                              .apic_msr_read = apic_read,
                              .apic_msr_write = apic_write};
    w->v = aligned_alloc(64, align_up(sizeof *w->v, 64));
    if (!w->v || cpu_model_init(&w->model, name, &cfg, NULL) || mem_init(&w->mem, NULL)) return -1;
    vc.env = &w->env;
    vc.mem = &w->mem;
    vc.model = &w->model;
    vcpu_init(w->v, &vc);
    return 0;
}
static int setup(void **state) { return setup_model(state, "max"); }
static int setup_v2(void **state) { return setup_model(state, "x86-64-v2"); }
static int teardown(void **state)
{
    struct world *w = *state;
    mem_fini(&w->mem);
    free(w->v);
    free(w);
    return 0;
}

static void assert_gp(struct vcpu *v, int result)
{
    assert_int_equal(result, X_FAULT);
    assert_int_equal(v->exc.vector, EXC_GP);
    assert_true(v->exc.has_error);
    assert_int_equal(v->exc.error, 0);
    v->exc.kind = EV_NONE;
}

static void table_is_sorted(void **state)
{
    (void)state;
    assert_int_equal(msr_count(), ARRAY_LEN(rows));
    for (u32 i = 1; i < msr_count(); i++) assert_true(msr_address(i - 1) < msr_address(i));
}

/* Every row can be read or refuses; a reserved bit is #GP; what was read can be written back. */
static void every_row(void **state)
{
    struct world *w = *state;
    for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
        u64 val, again;
        u32 a = rows[i].addr;
        int r = msr_read(w->v, a, &val);
        if (rows[i].kind == CMD) {
            assert_gp(w->v, r);
            assert_int_equal(msr_write(w->v, a, rows[i].mask), 0);
            continue;
        }
        assert_int_equal(r, 0);
        if (rows[i].kind == CONST) {
            assert_gp(w->v, msr_write(w->v, a, val));
            continue;
        }
        for (u32 bit = 0; bit < 64; bit++) {
            if (!(rows[i].mask & BIT(bit)) && rows[i].kind <= CMD)
                assert_gp(w->v, msr_write(w->v, a, BIT(bit)));
        }
        if (rows[i].kind == SINK) val &= rows[i].mask;
        assert_int_equal(msr_write(w->v, a, val), 0);
        assert_int_equal(msr_read(w->v, a, &again), 0);
        if (rows[i].kind != SINK) assert_int_equal(again, val);
    }
    assert_int_equal(w->v->stats.msr_unknown, 0);
}

static void unknown_registers(void **state)
{
    static const u32 addr[] = {0, 0x12345678, 0x7FF, 0x900, 0xC0000104, 0xFFFFFFFF};
    struct world *w = *state;
    u64 val;
    for (u32 i = 0; i < ARRAY_LEN(addr); i++) {
        assert_gp(w->v, msr_read(w->v, addr[i], &val));
        assert_gp(w->v, msr_write(w->v, addr[i], 0));
    }
    assert_int_equal(w->v->stats.msr_unknown, 2 * ARRAY_LEN(addr));
    assert_int_equal(msr_read(w->v, 0x802, &val), 0); /* x2APIC range goes to the APIC */
    assert_int_equal(val, 0x802);
    assert_gp(w->v, msr_read(w->v, 0x8FF, &val));
}

static void features_hide_registers(void **state)
{
    struct world *w = *state; /* x86-64-v2 */
    u64 val;
    assert_gp(w->v, msr_read(w->v, MSR_XSS, &val));
    assert_int_equal(msr_read(w->v, MSR_TSC_AUX, &val), 0);
}

static void value_rules(void **state)
{
    struct world *w = *state;
    u64 val;
    assert_gp(w->v, msr_write(w->v, MSR_LSTAR, 0x0000800000000000));
    assert_int_equal(msr_write(w->v, MSR_LSTAR, 0xFFFF800000000000), 0);
    assert_int_equal(w->v->lstar, 0xFFFF800000000000);
    assert_int_equal(msr_write(w->v, MSR_FS_BASE, 0x1000), 0);
    assert_int_equal(w->v->seg[FS].base, 0x1000);
    assert_gp(w->v, msr_write(w->v, MSR_PAT, 0x0007040600070402));
    assert_gp(w->v, msr_write(w->v, MSR_PAT, 0x0807040600070406));
    assert_int_equal(msr_write(w->v, MSR_PAT, 0x0007010600070106), 0);
    assert_gp(w->v, msr_write(w->v, MSR_MTRR_BASE0, 7));
    assert_gp(w->v, msr_write(w->v, MSR_MTRR_BASE0, BIT(GPA_BITS) | 6));
    assert_gp(w->v, msr_write(w->v, MSR_MTRR_BASE0, 0x106));
    assert_int_equal(msr_write(w->v, MSR_MTRR_BASE0, 0x80000006), 0);
    assert_int_equal(msr_write(w->v, MSR_MTRR_MASK0, 0xFF80000800), 0);
    assert_gp(w->v, msr_write(w->v, MSR_MTRR_FIX64K, 0x0606060606060602));
    assert_gp(w->v, msr_write(w->v, MSR_DEF_TYPE, 0x1006));
    assert_gp(w->v, msr_read(w->v, MSR_PRED_CMD, &val));
    msr_firmware(w->v);
    assert_int_equal(msr_read(w->v, MSR_DEF_TYPE, &val), 0);
    assert_int_equal(val, 0xC06);
}

/* vcpu_reset() and the table's reset column say the same. */
static void reset_values(void **state)
{
    struct world *w = *state;
    struct vcpu *other = aligned_alloc(64, align_up(sizeof *other, 64));
    assert_non_null(other);
    memcpy(other, w->v, sizeof *other);
    msr_reset(other);
    assert_memory_equal(&other->star, &w->v->star,
                        offsetof(struct vcpu, kvm_poll_control) - offsetof(struct vcpu, star));
    assert_int_equal(other->xss, w->v->xss);
    free(other);
}

static void tsc_registers(void **state)
{
    struct world *w = *state;
    u64 val, adjust;
    w->now_ns = 123456789012345;
    assert_int_equal(msr_read(w->v, MSR_TSC, &val), 0);
    assert_int_equal(val, (u64)((u128)w->now_ns * 2345678 / 1000000));
    assert_int_equal(msr_write(w->v, MSR_TSC, 1000), 0);
    assert_int_equal(tsc_now(w->v), 1000);
    assert_int_equal(msr_read(w->v, MSR_TSC_ADJUST, &adjust), 0);
    assert_int_equal(adjust, 1000 - val);
    assert_int_equal(msr_write(w->v, MSR_TSC_ADJUST, 0), 0);
    assert_int_equal(tsc_now(w->v), val);
    assert_int_equal(w->tsc_changes, 2);
    w->v->tsc_aux = 0x123;
    assert_int_equal(x_rdtscp(w->v, &(struct insn){.len = 3}), X_NEXT);
    assert_int_equal(w->v->gpr[RDX] << 32 | w->v->gpr[RAX], val);
    assert_int_equal(w->v->gpr[RCX], 0x123);
    w->v->cr0 |= CR0_PE;
    w->v->cr4 |= CR4_TSD;
    assert_int_equal(x_rdtsc(w->v, &(struct insn){.len = 2}), X_NEXT);
    w->v->cpl = 3;
    assert_gp(w->v, x_rdtsc(w->v, &(struct insn){.len = 2}));
}

static void instructions(void **state)
{
    struct world *w = *state;
    struct insn i = {.len = 2};
    w->v->gpr[RCX] = 0xFFFFFFFF00000000 | MSR_LSTAR;
    w->v->gpr[RAX] = 0xAAAAAAAA12345678;
    w->v->gpr[RDX] = 0xBBBBBBBB00007FFF;
    assert_int_equal(x_wrmsr(w->v, &i), X_NEXT);
    assert_int_equal(w->v->lstar, 0x00007FFF12345678);
    w->v->gpr[RAX] = w->v->gpr[RDX] = ~0ull;
    assert_int_equal(x_rdmsr(w->v, &i), X_NEXT);
    assert_int_equal(w->v->gpr[RAX], 0x12345678);
    assert_int_equal(w->v->gpr[RDX], 0x7FFF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_is_sorted),
        cmocka_unit_test_setup_teardown(every_row, setup, teardown),
        cmocka_unit_test_setup_teardown(unknown_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(features_hide_registers, setup_v2, teardown),
        cmocka_unit_test_setup_teardown(value_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(reset_values, setup, teardown),
        cmocka_unit_test_setup_teardown(tsc_registers, setup, teardown),
        cmocka_unit_test_setup_teardown(instructions, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
