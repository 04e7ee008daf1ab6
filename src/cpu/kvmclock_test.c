/* The clock's arithmetic against 128-bit references, and its records in guest memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/kvmclock.h"
#include "cpu/tsc.h"
#include "mem/mem.h"

enum { ROUNDS = 100000, RAM = 0x10000 };

struct world {
    struct cpu_env env;
    struct mem mem;
    struct vcpu *v;
    u64 now_ns;
};
static u64 clock_ns(void *ctx) { return ((struct world *)ctx)->now_ns; }
static u64 wall_ns(void *ctx) { return ((struct world *)ctx)->now_ns + 1700000000123456789ull; }

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    *state = w;
    if (!w || mem_init(&w->mem, NULL) || mem_add(&w->mem, 0, RAM, false, NULL)) return -1;
    w->env = (struct cpu_env){.ctx = w, .clock_ns = clock_ns, .wall_ns = wall_ns};
    w->v = aligned_alloc(64, align_up(sizeof *w->v, 64));
    if (!w->v) return -1;
    memset(w->v, 0, sizeof *w->v);
    w->v->tsc_khz = 2345678;
    w->v->env = &w->env;
    w->v->mem = &w->mem;
    return 0;
}
static int teardown(void **state)
{
    struct world *w = *state;
    mem_fini(&w->mem);
    free(w->v);
    free(w);
    return 0;
}

static u64 rnd(u64 *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed ^ *seed >> 31;
}

static void tsc_is_exact(void **state)
{
    u64 seed = 1;
    (void)state;
    for (u32 n = 0; n < ROUNDS; n++) {
        u64 ns = rnd(&seed) >> (rnd(&seed) % 64), khz = 1000 + rnd(&seed) % 5000000, at;
        u64 ticks = tsc_from_ns(ns, khz);
        assert_int_equal(ticks, (u64)((u128)ns * khz / 1000000));
        ticks = ns >> 8;
        at = tsc_to_ns(ticks, khz);
        assert_true((u128)at * khz / 1000000 >= ticks);
        assert_true(at == 0 || (u128)(at - 1) * khz / 1000000 < ticks);
    }
}

/* What a guest computes. */
static u64 guest_ns(u64 ticks, u32 mul, s8 shift)
{
    ticks = shift >= 0 ? ticks << shift : ticks >> -shift;
    return (u64)((u128)ticks * mul >> 32);
}

static void scale_is_precise(void **state)
{
    static const u64 khz[] = {1000,    999999,  1000000, 1000001, 1999999,
                              2000000, 2000001, 2300000, 4999999, 10000000};
    const u64 year_ns = 365ull * 86400 * NS_PER_S;
    (void)state;
    for (u32 k = 0; k < ARRAY_LEN(khz); k++) {
        struct kvmclock_scale s = kvmclock_scale(khz[k]);
        u64 ns, want, off;
        assert_true(s.mul >= BIT(31));
        ns = guest_ns((u64)((u128)year_ns * khz[k] / 1000000), s.mul, s.shift);
        want = year_ns;
        off = ns > want ? ns - want : want - ns;
        assert_true(off <= (year_ns >> 32) + 1000000 / khz[k] + 2);
    }
}

struct record {
    u32 version, pad0;
    u64 tsc_timestamp, system_time;
    u32 mul;
    s8 shift;
    u8 flags, pad[2];
};

static void time_record(void **state)
{
    struct world *w = *state;
    struct record r, first;
    w->now_ns = 987654321987;
    w->v->tsc_offset = (u64)-5000;
    kvmclock_set_time(w->v, 0x1FE4 | 1); /* crosses into the next page */
    assert_int_equal(mem_read(&w->mem, 0x1FE4, &first, sizeof first), 0);
    assert_int_equal(first.version, 2);
    assert_int_equal(first.flags, 1);
    assert_int_equal(w->v->kvm_system_time, 0x1FE5);
    for (u32 n = 0; n < 1000; n++) {
        u64 ns = first.system_time +
                 guest_ns(tsc_now(w->v) - first.tsc_timestamp, first.mul, first.shift);
        u64 off = ns > w->now_ns ? ns - w->now_ns : w->now_ns - ns;
        assert_true(off <= (w->now_ns >> 32) + 3);
        w->now_ns += 1234567891;
    }
    tsc_set(w->v, 42); /* the record follows */
    assert_int_equal(mem_read(&w->mem, 0x1FE4, &r, sizeof r), 0);
    assert_int_equal(r.version, 4);
    assert_int_equal(r.tsc_timestamp, w->v->tsc_offset);
    kvmclock_set_time(w->v, 0x1FE4); /* disabled: no more writes */
    tsc_set(w->v, 43);
    assert_int_equal(mem_read(&w->mem, 0x1FE4, &r, sizeof r), 0);
    assert_int_equal(r.version, 4);
}

static void wall_record(void **state)
{
    struct world *w = *state;
    u32 r[3];
    w->now_ns = 77 * NS_PER_S + 5;
    kvmclock_set_wall(w->v, 0x2000);
    assert_int_equal(mem_read(&w->mem, 0x2000, r, sizeof r), 0);
    assert_int_equal(r[0], 2);
    assert_int_equal(r[1], 1700000000);
    assert_int_equal(r[2], 123456789);
    kvmclock_set_wall(w->v, 0x2000);
    assert_int_equal(mem_read(&w->mem, 0x2000, r, sizeof r), 0);
    assert_int_equal(r[0], 4);
}

/* No memory, half memory, the end of the address space: nothing breaks. */
static void hostile_addresses(void **state)
{
    static const u64 at[] = {RAM,   RAM - 2,    RAM - 4, RAM - 31,
                             ~0ull, ~0ull - 30, BIT(63), BIT(GPA_BITS) - 8};
    struct world *w = *state;
    for (u32 k = 0; k < ARRAY_LEN(at); k++) {
        kvmclock_set_time(w->v, at[k] | 1);
        kvmclock_set_wall(w->v, at[k]);
        kvmclock_refresh(w->v);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tsc_is_exact),
        cmocka_unit_test(scale_is_precise),
        cmocka_unit_test_setup_teardown(time_record, setup, teardown),
        cmocka_unit_test_setup_teardown(wall_record, setup, teardown),
        cmocka_unit_test_setup_teardown(hostile_addresses, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
