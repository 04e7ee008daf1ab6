/* cpuid - choosing a CPU model's features. The leaves themselves are in cpuid_leaf.c. */
#include "cpu/cpuid.h"

#include <cpuid.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"

#define AVX_STATE (XCR0_SSE | XCR0_AVX)
#define AVX512_STATE (AVX_STATE | XCR0_AVX512)

/* ---- tables ---------------------------------------------------------------------------------- */

static const struct feature {
    const char *text;
    u32 leaf, subleaf;
    u8 reg, bit;
} feature_table[FEATURES] = {
    [FEAT_BASE] = {.text = ""},
#define EAX CPUID_EAX
#define EBX CPUID_EBX
#define ECX CPUID_ECX
#define EDX CPUID_EDX
#define FEATURE(name, leaf, subleaf, reg, bit, text)                                               \
    [FEAT_##name] = {text, leaf, subleaf, reg, bit},
#include "isa/feature.def"
#undef FEATURE
#undef EAX
#undef EBX
#undef ECX
#undef EDX
};
static_assert(FEATURES <= 64 * ARRAY_LEN(((struct cpu_model *)0)->features), "feature bits");

enum model_id {
#define CPU_MODEL(id, name, text) MODEL_##id,
#include "cpu/model.def"
#undef CPU_MODEL
    MODELS
};
static const struct {
    const char *name, *text;
} model_table[MODELS] = {
#define CPU_MODEL(id, name, text) {name, text},
#include "cpu/model.def"
#undef CPU_MODEL
};

enum source { SRC_EMUL, SRC_HOST, SRC_COPY };
static const struct model_feature {
    u8 feature; /* enum cpu_feature: fits by feature.h's assertion */
    u8 source, model;
    u64 xcr0;
} offer_table[] = {
#define MODEL_FEATURE(name, source, model, xcr0) {FEAT_##name, SRC_##source, MODEL_##model, xcr0},
#include "cpu/model.def"
#undef MODEL_FEATURE
};

const char *cpu_model_name(u32 i) { return i < MODELS ? model_table[i].name : NULL; }
const char *cpu_model_text(u32 i) { return i < MODELS ? model_table[i].text : NULL; }
const char *cpu_feature_name(enum cpu_feature f) { return feature_table[f].text; }

/* ---- the host -------------------------------------------------------------------------------- */

/* CPUID of the processor we run on; leaves above its maximum read as zero, not as Intel's repeat.
 */
static void this_cpuid(void *ctx, u32 leaf, u32 subleaf, u32 out[CPUID_REGS])
{
    (void)ctx;
    memset(out, 0, CPUID_REGS * sizeof out[0]);
    if (leaf > (u32)__get_cpuid_max(leaf & 0x80000000, NULL)) return;
    __cpuid_count(leaf, subleaf, out[CPUID_EAX], out[CPUID_EBX], out[CPUID_ECX], out[CPUID_EDX]);
}

static u64 this_xcr0(void)
{
    u32 r[CPUID_REGS], lo, hi;
    this_cpuid(NULL, 1, 0, r);
    if (!(r[CPUID_ECX] & BIT(27))) return 0; /* OSXSAVE */
    __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (u64)hi << 32 | lo;
}

static bool host_has(const struct cpu_host *h, const struct model_feature *o)
{
    const struct feature *f = &feature_table[o->feature];
    u32 r[CPUID_REGS];
    h->cpuid(h->ctx, f->leaf, f->subleaf, r);
    return r[f->reg] >> f->bit & 1 && (h->xcr0 & o->xcr0) == o->xcr0;
}

static bool host_is_amd(const u32 leaf0[CPUID_REGS])
{
    /* "AuthenticAMD" and its licensee "HygonGenuine" follow the APM */
    return leaf0[CPUID_EBX] == 0x68747541 || leaf0[CPUID_EBX] == 0x6F677948;
}

static void copy_caches(const struct cpu_host *h, u32 leaf, u32 to[CPUID_CACHES][CPUID_REGS])
{
    for (u32 i = 0; i < CPUID_CACHES - 1; i++) { /* the last stays zero: end of the list */
        h->cpuid(h->ctx, leaf, i, to[i]);
        if (!(to[i][CPUID_EAX] & 0x1F)) return;
    }
}

static void copy_identity(struct cpu_model *m, const struct cpu_host *h)
{
    u32 r[CPUID_REGS];
    h->cpuid(h->ctx, 0, 0, r);
    m->amd = host_is_amd(r);
    m->vendor[0] = r[CPUID_EBX];
    m->vendor[1] = r[CPUID_EDX];
    m->vendor[2] = r[CPUID_ECX];
    h->cpuid(h->ctx, 1, 0, r);
    m->signature = r[CPUID_EAX];
    for (u32 i = 0; i < 3; i++) h->cpuid(h->ctx, 0x80000002 + i, 0, &m->brand[i * CPUID_REGS]);
    if (m->amd) {
        h->cpuid(h->ctx, 0x80000005, 0, m->l1_amd);
        copy_caches(h, 0x8000001D, m->cache_amd);
    } else {
        h->cpuid(h->ctx, 2, 0, m->leaf2);
        copy_caches(h, 4, m->cache);
    }
    h->cpuid(h->ctx, 0x80000006, 0, m->l2);
}

/* ---- building -------------------------------------------------------------------------------- */

static int find_model(const char *name)
{
    for (int i = 0; i < MODELS; i++) {
        if (!strcmp(name, model_table[i].name)) return i;
    }
    return -1;
}

static int unknown_model(const char *name, struct err *e)
{
    char known[128] = "";
    for (u32 i = 0, n = 0; i < MODELS && n < sizeof known; i++)
        n += (u32)snprintf(known + n, sizeof known - n, "%s%s", i ? ", " : "", model_table[i].name);
    return err_set(e, E_INVAL, "unknown CPU model '%.64s' (known: %s)", name, known);
}

/* Set the feature's bit in the CPUID word of its leaf, taking a new word for a new leaf. */
static void set_word(struct cpu_model *m, const struct feature *f)
{
    for (u32 i = 0; i < CPUID_WORDS; i++) {
        struct cpuid_word *w = &m->word[i];
        if (!w->leaf) *w = (struct cpuid_word){.leaf = f->leaf, .subleaf = f->subleaf};
        if (w->leaf != f->leaf || w->subleaf != f->subleaf) continue;
        w->reg[f->reg] |= 1u << f->bit;
        return;
    }
}

static void set_feature(struct cpu_model *m, enum cpu_feature f)
{
    m->features[f / 64] |= BIT(f % 64);
    if (f != FEAT_BASE) set_word(m, &feature_table[f]);
}

/* Everything of the table the model and the host agree on; true when nothing promised is missing,
 * else @missing names it. */
static bool choose_features(struct cpu_model *m, int model, const struct cpu_host *h, char *missing,
                            size_t bytes)
{
    size_t n = 0;
    missing[0] = '\0';
    set_feature(m, FEAT_BASE);
    for (u32 i = 0; i < ARRAY_LEN(offer_table); i++) {
        const struct model_feature *o = &offer_table[i];
        if (o->model > model) continue;
        if (o->source == SRC_EMUL || host_has(h, o)) set_feature(m, (enum cpu_feature)o->feature);
        else if (o->source == SRC_HOST && n < bytes)
            n += (size_t)snprintf(missing + n, bytes - n, " %s", feature_table[o->feature].text);
    }
    return n == 0;
}

/* State components that come with the features. Without AVX-512 state nothing beyond AVX; without
 * AVX only the legacy two. */
static u64 model_xcr0(const struct cpu_model *m)
{
    u64 mask = XCR0_X87 | XCR0_SSE;
    if (!cpu_model_has(m, FEAT_XSAVE)) return XCR0_X87;
    if (cpu_model_has(m, FEAT_AVX)) mask |= XCR0_AVX;
    if (cpu_model_has(m, FEAT_AVX) && cpu_model_has(m, FEAT_AVX512F)) mask |= XCR0_AVX512;
    return mask;
}

static void clear_feature(struct cpu_model *m, u32 f)
{
    const struct feature *row = &feature_table[f];
    m->features[f / 64] &= ~BIT(f % 64);
    for (u32 i = 0; i < CPUID_WORDS; i++) {
        struct cpuid_word *w = &m->word[i];
        if (w->leaf == row->leaf && w->subleaf == row->subleaf)
            w->reg[row->reg] &= ~(1u << row->bit);
    }
}

int cpu_model_mask(struct cpu_model *m, u32 leaf, u32 subleaf, const u32 mask[CPUID_REGS],
                   struct err *e)
{
    bool promised = strcmp(m->name, model_table[MODEL_MAX].name) != 0;
    for (u32 f = FEAT_BASE + 1; f < FEATURES; f++) {
        const struct feature *row = &feature_table[f];
        if (row->leaf != leaf || row->subleaf != subleaf || mask[row->reg] >> row->bit & 1)
            continue;
        if (!cpu_model_has(m, (enum cpu_feature)f)) continue;
        if (promised)
            return err_set(e, E_UNSUPPORTED, "CPU model '%s' needs %s, which the engine lacks",
                           m->name, row->text);
        clear_feature(m, f);
    }
    m->xcr0 = model_xcr0(m);
    return 0;
}

int cpu_model_init(struct cpu_model *m, const char *name, const struct cpu_model_cfg *cfg,
                   struct err *e)
{
    struct cpu_host self = {.cpuid = this_cpuid};
    const struct cpu_host *h = cfg->host ? cfg->host : &self;
    char missing[256];
    int model = find_model(name);
    if (model < 0) return unknown_model(name, e);
    if (cfg->vcpus < 1 || cfg->vcpus > VCPUS_MAX)
        return err_set(e, E_INVAL, "%u vCPUs (1 to %u are possible)", cfg->vcpus, VCPUS_MAX);
    if (cfg->tsc_khz < 1000 || cfg->tsc_khz > UINT32_MAX)
        return err_set(e, E_INVAL, "TSC frequency of %llu kHz", (unsigned long long)cfg->tsc_khz);
    self.xcr0 = this_xcr0();
    memset(m, 0, sizeof *m);
    m->name = model_table[model].name;
    m->vcpus = cfg->vcpus;
    m->tsc_khz = cfg->tsc_khz;
    copy_identity(m, h);
    if (!choose_features(m, model, h, missing, sizeof missing) && model != MODEL_MAX)
        return err_set(e, E_UNSUPPORTED, "CPU model '%s' needs features this host lacks:%s", name,
                       missing);
    if (cfg->vcpus > 1) set_feature(m, FEAT_HTT);
    if (cfg->vcpus > 1 && m->amd) set_feature(m, FEAT_CMP_LEGACY);
    m->xcr0 = model_xcr0(m);
    return 0;
}
