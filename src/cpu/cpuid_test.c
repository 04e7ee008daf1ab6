/* Models against the real host and against made-up ones. */
#include <cpuid.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "cpu/cpuid.h"
#include "cpu/xstate.h"

enum { EAX, EBX, ECX, EDX };
enum { SRC_EMUL, SRC_HOST, SRC_COPY };
#define AVX_STATE (XCR0_SSE | XCR0_AVX)
#define AVX512_STATE (AVX_STATE | XCR0_AVX512)

static const struct {
    u32 leaf, sub;
    u8 reg, bit;
    enum cpu_feature id;
} features[] = {
#define FEATURE(name, leaf, subleaf, reg, bit, text) {leaf, subleaf, reg, bit, FEAT_##name},
#include "isa/feature.def"
#undef FEATURE
};
static const struct {
    enum cpu_feature id;
    u8 source;
    u64 xcr0;
} offers[] = {
#define MODEL_FEATURE(name, source, model, xcr0) {FEAT_##name, SRC_##source, xcr0},
#include "cpu/model.def"
#undef MODEL_FEATURE
};

/* ---- processors ------------------------------------------------------------------------------ */

static void real_cpuid(u32 leaf, u32 sub, u32 r[4])
{
    memset(r, 0, 4 * sizeof r[0]);
    __get_cpuid_count(leaf, sub, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
}

/* A host with chosen features, Intel or AMD. */
struct fake {
    bool amd, has[FEATURES];
};
static void fake_cpuid(void *ctx, u32 leaf, u32 sub, u32 r[4])
{
    const struct fake *f = ctx;
    memset(r, 0, 4 * sizeof r[0]);
    if (leaf == 0) {
        r[EAX] = 0xD;
        memcpy(&r[EBX], f->amd ? "Auth" : "Genu", 4);
        memcpy(&r[EDX], f->amd ? "enti" : "ineI", 4);
        memcpy(&r[ECX], f->amd ? "cAMD" : "ntel", 4);
    }
    if (leaf == 1) r[EAX] = 0x00A20F10;
    for (u32 k = 0; k < ARRAY_LEN(features); k++) {
        if (features[k].leaf == leaf && features[k].sub == sub && f->has[features[k].id])
            r[features[k].reg] |= 1u << features[k].bit;
    }
}
static void all_features(struct fake *f) { memset(f->has, 1, sizeof f->has); }

static struct vcpu *vcpu_of(const struct cpu_model *m, u32 id)
{
    struct vcpu *v = aligned_alloc(64, align_up(sizeof *v, 64));
    assert_non_null(v);
    memset(v, 0, sizeof *v);
    v->model = m;
    v->id = id;
    v->xcr0 = XCR0_X87;
    return v;
}

/* Every feature bit CPUID shows is one the model has, and the other way round. */
static void check_words(const struct cpu_model *m)
{
    struct vcpu *v = vcpu_of(m, 0);
    for (u32 k = 0; k < ARRAY_LEN(features); k++) {
        u32 r[4];
        bool mirrored = m->amd && features[k].leaf == 0x80000001 && features[k].reg == EDX;
        cpu_cpuid(v, features[k].leaf, features[k].sub, r);
        if (!mirrored || cpu_model_has(m, features[k].id))
            assert_int_equal(r[features[k].reg] >> features[k].bit & 1,
                             cpu_model_has(m, features[k].id));
    }
    free(v);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void max_never_exceeds_this_host(void **state)
{
    struct cpu_model_cfg cfg = {.vcpus = 2, .tsc_khz = 2300000};
    struct cpu_model m;
    u32 lo = 0, hi, r[4];
    (void)state;
    assert_int_equal(cpu_model_init(&m, "max", &cfg, NULL), 0);
    check_words(&m);
    real_cpuid(1, 0, r);
    if (r[ECX] & 1u << 27) __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    for (u32 k = 0; k < ARRAY_LEN(offers); k++) {
        if (offers[k].source == SRC_EMUL || !cpu_model_has(&m, offers[k].id)) continue;
        for (u32 f = 0; f < ARRAY_LEN(features); f++) {
            if (features[f].id != offers[k].id) continue;
            real_cpuid(features[f].leaf, features[f].sub, r);
            assert_true(r[features[f].reg] >> features[f].bit & 1);
        }
        assert_int_equal(lo & offers[k].xcr0, offers[k].xcr0);
    }
    assert_int_equal(m.xcr0 & ~(u64)(lo | XCR0_X87 | XCR0_SSE), 0);
}

static void every_offer_has_one_row(void **state)
{
    (void)state;
    for (u32 a = 0; a < ARRAY_LEN(offers); a++) {
        for (u32 b = a + 1; b < ARRAY_LEN(offers); b++)
            assert_int_not_equal(offers[a].id, offers[b].id);
    }
}

static void never_offered(void **state)
{
    static const enum cpu_feature off[] = {
        FEAT_VMX,     FEAT_SVM,      FEAT_SMX,       FEAT_SGX,      FEAT_MPX,      FEAT_HLE,
        FEAT_RTM,     FEAT_PKU,      FEAT_OSPKE,     FEAT_CET_SS,   FEAT_CET_IBT,  FEAT_WAITPKG,
        FEAT_MONITOR, FEAT_AMX_BF16, FEAT_AMX_TILE,  FEAT_AMX_INT8, FEAT_INTEL_PT, FEAT_XOP,
        FEAT_FMA4,    FEAT_TBM,      FEAT_THREEDNOW, FEAT_FXSR_OPT, FEAT_LA57,     FEAT_PDCM,
        FEAT_MWAITX,  FEAT_CLZERO,   FEAT_RDPRU,     FEAT_MOVDIR64B};
    static struct fake f;
    struct cpu_host host = {.ctx = &f, .cpuid = fake_cpuid, .xcr0 = ~0ull};
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 1000000, .host = &host};
    struct cpu_model m;
    (void)state;
    all_features(&f);
    for (int amd = 0; amd < 2; amd++) {
        f.amd = amd;
        assert_int_equal(cpu_model_init(&m, "max", &cfg, NULL), 0);
        assert_int_equal(m.amd, amd);
        for (u32 k = 0; k < ARRAY_LEN(off); k++) assert_false(cpu_model_has(&m, off[k]));
        for (u32 k = 0; k < ARRAY_LEN(offers); k++) assert_true(cpu_model_has(&m, offers[k].id));
        assert_int_equal(m.xcr0, 0xE7);
        check_words(&m);
    }
}

static void named_models_need_their_features(void **state)
{
    static struct fake f;
    struct cpu_host host = {.ctx = &f, .cpuid = fake_cpuid, .xcr0 = 7};
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 1000000, .host = &host};
    struct cpu_model m;
    struct err e;
    (void)state;
    all_features(&f);
    assert_int_equal(cpu_model_init(&m, "x86-64-v3", &cfg, &e), 0);
    assert_true(cpu_model_has(&m, FEAT_AVX2));
    assert_false(cpu_model_has(&m, FEAT_AES)); /* not in the psABI's level */
    assert_int_equal(m.xcr0, 7);
    assert_int_equal(cpu_model_init(&m, "x86-64-v4", &cfg, &e), E_UNSUPPORTED); /* XCR0 */
    assert_non_null(strstr(e.text, "avx512f"));
    f.has[FEAT_MOVBE] = false;
    assert_int_equal(cpu_model_init(&m, "x86-64-v3", &cfg, &e), E_UNSUPPORTED);
    assert_non_null(strstr(e.text, " movbe"));
    assert_null(strstr(e.text, "avx"));
    assert_int_equal(cpu_model_init(&m, "max", &cfg, &e), 0);
    assert_false(cpu_model_has(&m, FEAT_MOVBE));
    assert_int_equal(cpu_model_init(&m, "x86-64-v2", &cfg, &e), 0);
    assert_false(cpu_model_has(&m, FEAT_XSAVE));
    host.xcr0 = 3; /* a kernel without AVX state */
    f.has[FEAT_MOVBE] = true;
    assert_int_equal(cpu_model_init(&m, "x86-64-v3", &cfg, &e), E_UNSUPPORTED);
    assert_non_null(strstr(e.text, "avx2"));
    /* emulated features need no host */
    memset(f.has, 0, sizeof f.has);
    assert_int_equal(cpu_model_init(&m, "max", &cfg, &e), 0);
    assert_true(cpu_model_has(&m, FEAT_PCID) && cpu_model_has(&m, FEAT_SMAP));
}

static void bad_configurations(void **state)
{
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 1000000};
    struct cpu_model m;
    struct err e;
    (void)state;
    assert_int_equal(cpu_model_init(&m, "i486", &cfg, &e), E_INVAL);
    assert_non_null(strstr(e.text, "x86-64-v2"));
    cfg.vcpus = 0;
    assert_int_equal(cpu_model_init(&m, "max", &cfg, &e), E_INVAL);
    cfg.vcpus = VCPUS_MAX + 1;
    assert_int_equal(cpu_model_init(&m, "max", &cfg, &e), E_INVAL);
    cfg.vcpus = 1;
    cfg.tsc_khz = 0;
    assert_int_equal(cpu_model_init(&m, "max", &cfg, &e), E_INVAL);
}

static void topology_and_dynamic_bits(void **state)
{
    struct cpu_model_cfg cfg = {.vcpus = 3, .tsc_khz = 2300000};
    struct cpu_model m;
    struct vcpu *v;
    u32 r[4];
    (void)state;
    assert_int_equal(cpu_model_init(&m, "max", &cfg, NULL), 0);
    v = vcpu_of(&m, 2);
    cpu_cpuid(v, 1, 0, r);
    assert_int_equal(r[EBX] >> 24, 2);
    assert_int_equal(r[EBX] >> 16 & 0xFF, 4);
    assert_false(r[ECX] >> 27 & 1);
    v->cr4 |= CR4_OSXSAVE;
    cpu_cpuid(v, 1, 0, r);
    assert_true(r[ECX] >> 27 & 1);
    cpu_cpuid(v, 0xB, 0, r);
    assert_int_equal(r[EAX], 0);
    assert_int_equal(r[EBX], 1);
    assert_int_equal(r[ECX], 0x100);
    assert_int_equal(r[EDX], 2);
    cpu_cpuid(v, 0xB, 1, r);
    assert_int_equal(r[EAX], 2);
    assert_int_equal(r[EBX], 3);
    assert_int_equal(r[ECX], 0x201);
    cpu_cpuid(v, 0xB, 2, r);
    assert_int_equal(r[EBX], 0);
    cpu_cpuid(v, 0x40000000, 0, r);
    assert_memory_equal(&r[EBX], "KVMKVMKVM\0\0\0", 12);
    cpu_cpuid(v, 0x40000010, 0, r);
    assert_int_equal(r[EAX], 2300000);
    cpu_cpuid(v, 0x4FFFFFFF, 0, r);
    assert_int_equal(r[EAX] | r[EBX] | r[ECX] | r[EDX], 0);
    if (!m.amd) { /* exact TSC frequency, in 32-bit arithmetic as kernels do it */
        cpu_cpuid(v, 0x15, 0, r);
        assert_int_equal(r[ECX] / 1000 * r[EBX] / r[EAX], 2300000);
    }
    free(v);
}

/* Sizes and offsets are what the real processor says, component by component. */
static void xstate_leaf_like_host(void **state)
{
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 2300000};
    struct cpu_model m;
    struct vcpu *v;
    u32 r[4], host[4];
    (void)state;
    assert_int_equal(cpu_model_init(&m, "max", &cfg, NULL), 0);
    v = vcpu_of(&m, 0);
    cpu_cpuid(v, 0xD, 0, r);
    assert_int_equal(r[EAX], m.xcr0);
    assert_int_equal(r[EBX], 576);
    v->xcr0 = m.xcr0;
    cpu_cpuid(v, 0xD, 0, r);
    assert_int_equal(r[EBX], r[ECX]);
    for (u32 bit = 2; bit < XSTATE_BITS; bit++) {
        cpu_cpuid(v, 0xD, bit, r);
        if (!(m.xcr0 & BIT(bit))) {
            assert_int_equal(r[EAX], 0);
            continue;
        }
        real_cpuid(0xD, bit, host);
        assert_int_equal(r[EAX], host[EAX]);
        if (!m.amd) assert_int_equal(r[EBX], host[EBX]);
        assert_int_equal(r[ECX], 0);
    }
    free(v);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(max_never_exceeds_this_host),
        cmocka_unit_test(every_offer_has_one_row),
        cmocka_unit_test(never_offered),
        cmocka_unit_test(named_models_need_their_features),
        cmocka_unit_test(bad_configurations),
        cmocka_unit_test(topology_and_dynamic_bits),
        cmocka_unit_test(xstate_leaf_like_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
