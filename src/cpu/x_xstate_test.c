/* The host CPU is the oracle: the same state is loaded natively and into a vCPU, the same
 * instruction runs on both, and the memory areas must agree byte by byte. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/insn_exec.h"
#include "cpu/xstate.h"

enum { AREA = 4096, ROUNDS = 2000, FILL = 0xCC };
static const u8 components[] = {XSTATE_X87,    XSTATE_SSE,       XSTATE_AVX,
                                XSTATE_OPMASK, XSTATE_ZMM_HI256, XSTATE_HI16_ZMM};

struct fixture {
    struct cpu_model model;
    struct vcpu v;
    u64 seed;
    /* identity-mapped guest memory, except writes (and reads) in the forbidden page */
    gva_t no_access;
    bool host_ok;
};
static struct fixture *fix; /* cmocka and vcpu_mmu_ops carry no context */

/* ---- guest memory: guest-virtual = host address ---------------------------------------------- */

static int check(struct vcpu *v, gva_t gva, u32 bytes, u32 error)
{
    if (fix->no_access && gva + bytes > fix->no_access && gva < fix->no_access + PAGE_BYTES)
        return (int)vcpu_raise_pf(v, fix->no_access, error);
    return 0;
}
static int do_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (check(v, gva, bytes, 0)) return X_FAULT;
    memcpy(buf, (void *)gva, bytes);
    return 0;
}
static int do_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (check(v, gva, bytes, PF_W)) return X_FAULT;
    memcpy((void *)gva, buf, bytes);
    return 0;
}
static int do_probe(struct vcpu *v, gva_t gva, u32 bytes, enum access kind, bool sys)
{
    (void)sys;
    return check(v, gva, bytes, kind == ACC_WRITE ? PF_W : 0);
}
static void do_mode_changed(struct vcpu *v) { (void)v; }
static void do_flush(struct vcpu *v) { (void)v; }
static const struct vcpu_mmu_ops ops = {.read = do_read,
                                        .write = do_write,
                                        .probe = do_probe,
                                        .flush_all = do_flush,
                                        .mode_changed = do_mode_changed};

/* ---- random areas ---------------------------------------------------------------------------- */

static u64 rnd(void)
{
    fix->seed = fix->seed * 6364136223846793005ull + 1442695040888963407ull;
    return fix->seed >> 29;
}
static void fill_random(u8 *p, u32 bytes)
{
    for (u32 k = 0; k < bytes; k++) p[k] = (u8)rnd();
    p[0] |= 1; /* never the initial configuration */
}

/* x87 control words. FIP is canonical: how wide it is otherwise depends on the host's linear
 * addresses. */
static void random_x87(u8 *a)
{
    u64 fip;
    fill_random(a, 24);
    memcpy(&fip, a + 8, sizeof fip);
    fip = sign_extend(fip, 6);
    memcpy(a + 8, &fip, sizeof fip);
}

/* A standard-format area with a random choice of components, legal to XRSTOR. */
static void random_area(u8 *a)
{
    u64 bv = 0, offered = fix->v.xcr0;
    memset(a, 0, AREA);
    for (u32 k = 0; k < ARRAY_LEN(components); k++) {
        u32 bit = components[k];
        if (!(offered & BIT(bit)) || rnd() & 1) continue;
        bv |= BIT(bit);
        if (bit >= XSTATE_SSE) fill_random(a + xstate_comps[bit].offset, xstate_comps[bit].bytes);
    }
    if (bv & XCR0_X87) {
        random_x87(a);
        fill_random(a + 32, 128);
    }
    *(u32 *)(void *)(a + 24) = rnd() & 1 ? MXCSR_INIT : (u32)rnd() & 0xFFFF;
    *(u64 *)(void *)(a + XSAVE_HEADER) = bv;
}

/* ---- the two processors ---------------------------------------------------------------------- */

#define HOST_OP(name, op)                                                                          \
    static void host_##name(const u8 *load, const u8 *load2, u32 mask2, u8 *out, u32 mask)         \
    {                                                                                              \
        static _Thread_local u8 base[16384] __attribute__((aligned(64)));                          \
        memset(base, 0, sizeof base);                                                              \
        __asm__ volatile("mov $-1, %%eax; mov $-1, %%edx; xsave64 (%[base]); "                     \
                         "mov %[all], %%eax; xor %%edx, %%edx; xrstor64 (%[load]); "               \
                         "mov %[mask2], %%eax; xrstor64 (%[load2]); "                              \
                         "mov %[mask], %%eax; " op " (%[out]); "                                   \
                         "mov $-1, %%eax; mov $-1, %%edx; xrstor64 (%[base])"                      \
                         :                                                                         \
                         : [base] "r"(base), [load] "r"(load), [load2] "r"(load2), [out] "r"(out), \
                           [mask] "r"(mask), [mask2] "r"(mask2), [all] "r"((u32)fix->v.xcr0)       \
                         : "rax", "rdx", "memory");                                                \
    }
HOST_OP(xsave, "xsave64")
HOST_OP(xsaveopt, "xsaveopt64")
HOST_OP(xsavec, "xsavec64")
HOST_OP(xsave32, "xsave")
HOST_OP(fxsave64, "fxsave64")
HOST_OP(fxsave, "fxsave")

static enum x_result guest(insn_exec_fn *fn, const u8 *at, u32 mask, u8 opsize)
{
    struct insn i = {.base = RDI, .index = REG_NONE, .seg = DS, .addrsize = 8, .opsize = opsize};
    fix->v.gpr[RDI] = (u64)(uintptr_t)at;
    fix->v.gpr[RAX] = mask;
    fix->v.gpr[RDX] = 0;
    return fn(&fix->v, &i);
}

typedef void host_fn(const u8 *, const u8 *, u32, u8 *, u32);
static const struct {
    const char *name;
    host_fn *host;
    insn_exec_fn *guest;
    u8 opsize;
} saves[] = {
    {"xsave64", host_xsave, x_xsave, 8},          {"xsave", host_xsave32, x_xsave, 4},
    {"xsaveopt64", host_xsaveopt, x_xsaveopt, 8}, {"xsavec64", host_xsavec, x_xsavec, 8},
    {"xsaves64", host_xsavec, x_xsaves, 8},       {"fxsave64", host_fxsave64, x_fxsave, 8},
    {"fxsave", host_fxsave, x_fxsave, 4},
};

static void assert_same(const char *what, const u8 *host, const u8 *ours)
{
    for (u32 k = 0; k < AREA; k++) {
        if (host[k] != ours[k])
            fail_msg("%s: byte %u is %02x, the host has %02x", what, k, ours[k], host[k]);
    }
}

/* XINUSE may name a component that holds its initial value, and does when the host kernel switched
 * threads in the middle of the sequence: then ask again. */
enum { HOST_TRIES = 100 };
static bool same_header(const u8 *host, const u8 *ours)
{
    return !memcmp(host + XSAVE_HEADER, ours + XSAVE_HEADER, 8);
}

static u8 area_a[AREA] __attribute__((aligned(4096)));
static u8 area_b[AREA] __attribute__((aligned(4096)));
static u8 out_host[AREA] __attribute__((aligned(4096)));
static u8 out_ours[2 * AREA] __attribute__((aligned(4096)));

static void prepare_out(void)
{
    memset(out_host, FILL, sizeof out_host);
    memset(out_ours, FILL, sizeof out_ours);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static int setup(void **state)
{
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 2000000};
    u8 fx[512] __attribute__((aligned(16)));
    fix = aligned_alloc(_Alignof(struct fixture), sizeof *fix);
    *state = fix;
    if (!fix) return -1;
    memset(fix, 0, sizeof *fix);
    if (cpu_model_init(&fix->model, "max", &cfg, NULL)) return -1;
    memset(fix->v.tlb.e, 0xFF, sizeof fix->v.tlb.e);
    fix->v.mmu = &ops;
    fix->v.model = &fix->model;
    fix->v.mode = ISA_64;
    fix->v.efer = EFER_LMA | EFER_LME;
    fix->v.cr0 = CR0_PE | CR0_PG;
    fix->v.cr4 = CR4_OSXSAVE | CR4_OSFXSR | CR4_PAE;
    fix->v.xcr0 = fix->model.xcr0;
    __asm__ volatile("fxsave64 %0" : "=m"(fx));
    memcpy(&fix->v.fx.mxcsr_mask, fx + 28, 4);
    fix->seed = 20240611;
    fix->host_ok = fix->v.xcr0 & XCR0_AVX && __builtin_cpu_supports("avx");
    return 0;
}
static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void saves_agree_with_host(void **state)
{
    (void)state;
    if (!fix->host_ok) skip();
    for (u32 n = 0; n < ROUNDS; n++) {
        u32 mask = rnd() & 1 ? 0xFF : (u32)rnd() & 0xFF;
        mask &= (u32)fix->v.xcr0;
        random_area(area_a);
        assert_int_equal(guest(x_xrstor, area_a, (u32)fix->v.xcr0, 8), X_NEXT);
        for (u32 s = 0; s < ARRAY_LEN(saves); s++) {
            prepare_out();
            assert_int_equal(guest(saves[s].guest, out_ours, mask, saves[s].opsize), X_NEXT);
            for (u32 t = 0; t < HOST_TRIES && (!t || !same_header(out_host, out_ours)); t++) {
                memset(out_host, FILL, sizeof out_host);
                saves[s].host(area_a, area_a, 0, out_host, mask);
            }
            assert_same(saves[s].name, out_host, out_ours);
        }
    }
}

/* XRSTOR of a second area with some components asked for, in both formats. */
static void restores_agree_with_host(void **state)
{
    (void)state;
    if (!fix->host_ok) skip();
    for (u32 n = 0; n < ROUNDS; n++) {
        u32 all = (u32)fix->v.xcr0, mask = (u32)rnd() & all;
        const u8 *second = area_b;
        random_area(area_a);
        random_area(area_b);
        if (n & 1) { /* compacted, by the host's own hand */
            memset(out_host, 0, sizeof out_host);
            host_xsavec(area_b, area_b, 0, out_host, (u32)rnd() & all);
            memcpy(area_b, out_host, AREA);
        }
        prepare_out();
        host_xsave(area_a, second, mask, out_host, all);
        assert_int_equal(guest(x_xrstor, area_a, all, 8), X_NEXT);
        assert_int_equal(guest(n & 2 && n & 1 ? x_xrstors : x_xrstor, second, mask, 8), X_NEXT);
        assert_int_equal(guest(x_xsave, out_ours, all, 8), X_NEXT);
        /* XSTATE_BV: the host may call a component in use that holds its initial value */
        assert_int_equal(*(u64 *)(void *)(out_ours + 512) & ~*(u64 *)(void *)(out_host + 512), 0);
        memcpy(out_host + 512, out_ours + 512, 8);
        assert_same("xrstor", out_host, out_ours);
    }
}

static void fxrstor_agrees_with_host(void **state)
{
    (void)state;
    if (!fix->host_ok) skip();
    for (u32 n = 0; n < ROUNDS; n++) {
        random_area(area_a);
        *(u64 *)(void *)(area_a + 512) = 3;
        random_x87(area_a);
        prepare_out();
        host_fxsave64(area_a, area_a, 0, out_host, 0);
        assert_int_equal(guest(x_fxrstor, area_a, 0, 8), X_NEXT);
        assert_int_equal(guest(x_fxsave, out_ours, 0, 8), X_NEXT);
        assert_same("fxrstor64", out_host, out_ours);
    }
}

/* Does the host refuse this area? A fault leaves its state alone. */
static sigjmp_buf refused;
static void on_fault(int sig)
{
    (void)sig;
    siglongjmp(refused, 1);
}
static bool host_refuses(const u8 *area)
{
    struct sigaction sa = {.sa_handler = on_fault}, old;
    volatile bool faulted = true;
    sigaction(SIGSEGV, &sa, &old);
    if (!sigsetjmp(refused, 1)) {
        host_xsave(area, area, 0, out_host, 0);
        faulted = false;
    }
    sigaction(SIGSEGV, &old, NULL);
    return faulted;
}

/* One byte of a good area's header or MXCSR spoilt: both refuse, or neither. */
static void bad_headers_agree_with_host(void **state)
{
    (void)state;
    if (!fix->host_ok) skip();
    for (u32 n = 0; n < ROUNDS; n++) {
        u32 at = n % 5 ? 512 + (u32)rnd() % 64 : 24 + (u32)rnd() % 4, all = (u32)fix->v.xcr0;
        struct vcpu before;
        random_area(area_a);
        if (n & 1) {
            memset(area_b, 0, sizeof area_b);
            host_xsavec(area_a, area_a, 0, area_b, all);
            memcpy(area_a, area_b, AREA);
        }
        area_a[at] ^= (u8)(1u << rnd() % 8);
        before = fix->v;
        if (host_refuses(area_a)) {
            assert_int_equal(guest(x_xrstor, area_a, all, 8), X_FAULT);
            assert_int_equal(fix->v.exc.vector, EXC_GP);
            assert_memory_equal(&before.fx, &fix->v.fx, sizeof before.fx);
            assert_memory_equal(before.vec, fix->v.vec, sizeof before.vec);
        } else {
            assert_int_equal(guest(x_xrstor, area_a, all, 8), X_NEXT);
        }
    }
}

static void faults_change_nothing(void **state)
{
    u8 *at = out_ours + PAGE_BYTES - 576;
    (void)state;
    random_area(area_a);
    assert_int_equal(guest(x_xrstor, area_a, (u32)fix->v.xcr0, 8), X_NEXT);
    memset(fix->v.vec, 0x11, sizeof fix->v.vec);
    prepare_out();
    fix->no_access = (gva_t)(uintptr_t)(out_ours + PAGE_BYTES);
    if (fix->v.xcr0 & XCR0_AVX) {
        assert_int_equal(guest(x_xsave, at, 7, 8), X_FAULT);
        assert_int_equal(fix->v.exc.vector, EXC_PF);
        for (u32 k = 0; k < 2 * AREA; k++) assert_int_equal(out_ours[k], FILL);
    }
    assert_int_equal(guest(x_xsave, at, 3, 8), X_NEXT); /* does not reach the second page */
    fix->no_access = 0;
    assert_int_equal(guest(x_xsave, out_ours + 32, 3, 8), X_FAULT);
    assert_int_equal(fix->v.exc.vector, EXC_GP);
    assert_int_equal(guest(x_fxsave, out_ours + 8, 3, 8), X_FAULT);
    assert_int_equal(fix->v.exc.vector, EXC_GP);
    fix->v.cr0 |= CR0_TS;
    assert_int_equal(guest(x_xsavec, out_ours, 3, 8), X_FAULT);
    assert_int_equal(fix->v.exc.vector, EXC_NM);
    fix->v.cr4 &= ~CR4_OSXSAVE;
    assert_int_equal(guest(x_xrstor, out_ours, 3, 8), X_FAULT);
    assert_int_equal(fix->v.exc.vector, EXC_UD);
}

static enum x_result setbv(u32 index, u64 val)
{
    fix->v.gpr[RCX] = index;
    return guest(x_xsetbv, NULL, (u32)val, 8);
}

static void xcr0_rules(void **state)
{
    u64 all = fix->model.xcr0;
    (void)state;
    assert_int_equal(setbv(0, 3), X_NEXT);
    assert_int_equal(fix->v.xcr0, 3);
    assert_int_equal(setbv(0, all), X_NEXT);
    assert_int_equal(setbv(1, 3), X_FAULT);
    assert_int_equal(setbv(0, 2), X_FAULT);
    assert_int_equal(setbv(0, 5), X_FAULT);
    assert_int_equal(setbv(0, 7 | (XCR0_AVX512 & ~BIT(6))), X_FAULT);
    assert_int_equal(setbv(0, 3 | XCR0_AVX512), X_FAULT);
    assert_int_equal(setbv(0, all | BIT(19)), X_FAULT);
    fix->v.cpl = 3;
    assert_int_equal(setbv(0, 3), X_FAULT);
    assert_int_equal(fix->v.xcr0, all);
    fix->v.gpr[RCX] = 1;
    assert_int_equal(guest(x_xgetbv, NULL, 0, 8), X_NEXT);
    assert_int_equal(fix->v.gpr[RAX], all & xstate_inuse(&fix->v));
    fix->v.gpr[RCX] = 2;
    assert_int_equal(guest(x_xgetbv, NULL, 0, 8), X_FAULT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(saves_agree_with_host, setup, teardown),
        cmocka_unit_test_setup_teardown(restores_agree_with_host, setup, teardown),
        cmocka_unit_test_setup_teardown(fxrstor_agrees_with_host, setup, teardown),
        cmocka_unit_test_setup_teardown(bad_headers_agree_with_host, setup, teardown),
        cmocka_unit_test_setup_teardown(faults_change_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(xcr0_rules, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
