/* cpuid_leaf - the CPUID leaves of a model, one row and one small function per leaf.
 * Spec: SDM vol. 2A CPUID; APM vol. 3 appendix E; KVM's Documentation/virt/kvm/x86/cpuid.rst. */
#include <string.h>

#include "base/limits.h"
#include "cpu/cpuid.h"
#include "cpu/xstate.h"

enum {
    LEAF_MAX_INTEL = 0x1F,
    LEAF_MAX_AMD = 0xD,
};
#define EXT_MAX_INTEL 0x80000008u
#define EXT_MAX_AMD 0x80000021u
#define KVM_LEAF_MAX 0x40000010u
enum { LEAF1_ECX_OSXSAVE = 27, CLFLUSH_QUADWORDS = 8 };
/* KVM_FEATURE_*: exactly what cpu/msr.def and cpu/kvmclock.c implement */
enum kvm_feature {
    KVM_CLOCKSOURCE = 1 << 0,   /* MSRs 11H, 12H                                      */
    KVM_NOP_IO_DELAY = 1 << 1,  /* no delay needed after port writes                  */
    KVM_CLOCKSOURCE2 = 1 << 3,  /* MSRs 4B564D00H, 4B564D01H                          */
    KVM_CLOCK_STABLE = 1 << 24, /* the clock agrees between vCPUs                    */
};
enum { PHYS_BITS = GPA_BITS, LINEAR_BITS = 48 };

typedef void leaf_fn(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS]);

/* Bits needed to number @n things. */
static u32 id_bits(u32 n) { return n > 1 ? 32 - (u32)__builtin_clz(n - 1) : 0; }
static u32 max_leaf(const struct cpu_model *m) { return m->amd ? LEAF_MAX_AMD : LEAF_MAX_INTEL; }

/* ---- basic leaves ---------------------------------------------------------------------------- */

static void leaf_vendor(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    const struct cpu_model *m = v->model;
    (void)sub;
    r[CPUID_EAX] = max_leaf(m);
    r[CPUID_EBX] = m->vendor[0];
    r[CPUID_EDX] = m->vendor[1];
    r[CPUID_ECX] = m->vendor[2];
}

/* The feature bits are there already. */
static void leaf_features(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    u32 ids = 1u << id_bits(v->model->vcpus);
    (void)sub;
    r[CPUID_EAX] = v->model->signature;
    r[CPUID_EBX] = (v->id & 0xFF) << 24 | ids << 16 | CLFLUSH_QUADWORDS << 8;
    if (v->cr4 & CR4_OSXSAVE) r[CPUID_ECX] |= 1u << LEAF1_ECX_OSXSAVE;
}

static void leaf_cache_words(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    memcpy(r, v->model->leaf2, sizeof v->model->leaf2);
}

/* The host's caches as a single package of single-threaded cores would have them: the last level
 * shared by all, the others private. EAX 25:14 = ids sharing - 1; 31:26 (Intel) = core ids - 1. */
static void leaf_caches(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    const struct cpu_model *m = v->model;
    u32 ids = 1u << id_bits(m->vcpus), level;
    if (sub >= CPUID_CACHES) return;
    memcpy(r, m->amd ? m->cache_amd[sub] : m->cache[sub], sizeof m->cache[0]);
    if (!(r[CPUID_EAX] & 0x1F)) return;
    level = (u32)bits(r[CPUID_EAX], 7, 5);
    r[CPUID_EAX] &= 0x3FFF;
    if (level >= 3) r[CPUID_EAX] |= (ids - 1) << 14;
    if (!m->amd) r[CPUID_EAX] |= (ids - 1) << 26;
}

static void leaf_structured(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)v;
    if (sub == 0) r[CPUID_EAX] = 2; /* highest subleaf */
}

/* Levels: 0 one thread per core, 1 the cores of the package. */
static void leaf_topology(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    enum { LEVEL_THREAD = 1 << 8, LEVEL_CORE = 2 << 8 };
    r[CPUID_ECX] = sub & 0xFF;
    r[CPUID_EDX] = v->id;
    if (sub == 0) {
        r[CPUID_EBX] = 1;
        r[CPUID_ECX] |= LEVEL_THREAD;
    } else if (sub == 1) {
        r[CPUID_EAX] = id_bits(v->model->vcpus);
        r[CPUID_EBX] = v->model->vcpus;
        r[CPUID_ECX] |= LEVEL_CORE;
    }
}

static void leaf_xstate(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    u64 offered = v->model->xcr0;
    if (!cpu_model_has(v->model, FEAT_XSAVE)) return;
    if (sub == 0) {
        r[CPUID_EAX] = (u32)offered;
        r[CPUID_EDX] = (u32)(offered >> 32);
        r[CPUID_EBX] = xstate_bytes(v->xcr0);
        r[CPUID_ECX] = xstate_bytes(offered);
    } else if (sub == 1) { /* no supervisor components: IA32_XSS is zero */
        r[CPUID_EBX] = xstate_compact_offset(v->xcr0, XSTATE_BITS);
    } else if (sub < XSTATE_BITS && offered & BIT(sub)) {
        r[CPUID_EAX] = xstate_comps[sub].bytes;
        r[CPUID_EBX] = xstate_comps[sub].offset;
    }
}

/* TSC and crystal: TSC Hz = ECX * EBX / EAX with ECX the local APIC timer's input clock. Left
 * unenumerated when the product ECX/1000 * EBX, which kernels form in 32 bits, would not fit. */
static void leaf_tsc(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    u64 num = v->model->tsc_khz, den = CPUID_APIC_KHZ, a = num, b = den;
    (void)sub;
    while (b) { /* Euclid */
        u64 t = a % b;
        a = b;
        b = t;
    }
    num /= a;
    den /= a;
    if (num * CPUID_APIC_KHZ > UINT32_MAX) return;
    r[CPUID_EAX] = (u32)den;
    r[CPUID_EBX] = (u32)num;
    r[CPUID_ECX] = CPUID_APIC_KHZ * 1000;
}

static void leaf_frequency(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    u32 mhz = (u32)((v->model->tsc_khz + 500) / 1000) & 0xFFFF;
    (void)sub;
    r[CPUID_EAX] = r[CPUID_EBX] = mhz;
    r[CPUID_ECX] = 100;
}

/* ---- the hypervisor's range ------------------------------------------------------------------ */

static void leaf_kvm_vendor(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)v, (void)sub;
    r[CPUID_EAX] = KVM_LEAF_MAX;
    memcpy(&r[CPUID_EBX], "KVMKVMKVM\0\0\0", 12);
}

static void leaf_kvm_features(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)v, (void)sub;
    r[CPUID_EAX] = KVM_CLOCKSOURCE | KVM_NOP_IO_DELAY | KVM_CLOCKSOURCE2 | KVM_CLOCK_STABLE;
}

static void leaf_kvm_timing(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    r[CPUID_EAX] = (u32)v->model->tsc_khz;
    r[CPUID_EBX] = CPUID_APIC_KHZ;
}

/* ---- extended leaves ------------------------------------------------------------------------- */

static void leaf_ext_max(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    r[CPUID_EAX] = v->model->amd ? EXT_MAX_AMD : EXT_MAX_INTEL;
    if (!v->model->amd) return;
    r[CPUID_EBX] = v->model->vendor[0];
    r[CPUID_EDX] = v->model->vendor[1];
    r[CPUID_ECX] = v->model->vendor[2];
}

static void leaf_ext_features(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    enum { MIRRORED = 0x0183F3FF }; /* APM: EDX repeats these bits of leaf 1 */
    u32 basic[CPUID_REGS];
    (void)sub;
    if (!v->model->amd) return;
    cpu_cpuid(v, 1, 0, basic);
    r[CPUID_EAX] = v->model->signature;
    r[CPUID_EDX] |= basic[CPUID_EDX] & MIRRORED;
}

static void leaf_brand0(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    memcpy(r, &v->model->brand[0], CPUID_REGS * sizeof r[0]);
}
static void leaf_brand1(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    memcpy(r, &v->model->brand[4], CPUID_REGS * sizeof r[0]);
}
static void leaf_brand2(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    memcpy(r, &v->model->brand[8], CPUID_REGS * sizeof r[0]);
}

static void leaf_l1_amd(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    memcpy(r, v->model->l1_amd, sizeof v->model->l1_amd);
}

static void leaf_l2(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    memcpy(r, v->model->l2, sizeof v->model->l2);
}

/* BTC_NO: "branch type confusion" is a property of the hardware under the guest's code; here the
 * guest's branches are not what the host's predictor sees. See msr.c on ARCH_CAPABILITIES. */
static void leaf_addresses(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    const struct cpu_model *m = v->model;
    enum { EBX_BTC_NO = 1 << 29 };
    (void)sub;
    r[CPUID_EAX] = LINEAR_BITS << 8 | PHYS_BITS;
    if (!m->amd) return;
    r[CPUID_EBX] |= EBX_BTC_NO;
    r[CPUID_ECX] = id_bits(m->vcpus) << 12 | (m->vcpus - 1);
}

static void leaf_cpu_ids_amd(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    (void)sub;
    if (!cpu_model_has(v->model, FEAT_TOPOEXT)) return;
    r[CPUID_EAX] = v->id;
    r[CPUID_EBX] = v->id & 0xFF; /* one thread per core */
}

/* LFENCE serialises (DE_CFG says so too); SRSO does not apply, for the reason given in msr.c. */
static void leaf_ext2_amd(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    enum {
        EAX_LFENCE_SERIALIZES = 1 << 2,
        EAX_SRSO_NO = 1 << 29,
        ECX_TSA_SQ_NO = 1 << 1,
        ECX_TSA_L1_NO = 1 << 2
    };
    (void)v, (void)sub;
    r[CPUID_EAX] = EAX_LFENCE_SERIALIZES | EAX_SRSO_NO;
    r[CPUID_ECX] = ECX_TSA_SQ_NO | ECX_TSA_L1_NO;
}

static void leaf_caches_amd(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    if (cpu_model_has(v->model, FEAT_TOPOEXT)) leaf_caches(v, sub, r);
}

static void leaf_caches_intel(const struct vcpu *v, u32 sub, u32 r[CPUID_REGS])
{
    if (!v->model->amd) leaf_caches(v, sub, r);
}

/* ---- dispatch -------------------------------------------------------------------------------- */

/* Leaves that hold more than feature bits. 3, 5, 9, 0AH (no performance counters), 12H..14H and the
 * rest are zero. 40000010H is in KVM's range because its number is what VMware chose and everyone
 * reads. */
static const struct {
    u32 leaf;
    leaf_fn *fn;
} leaf_table[] = {
    {0x00000000, leaf_vendor},       {0x00000001, leaf_features},
    {0x00000002, leaf_cache_words},  {0x00000004, leaf_caches_intel},
    {0x00000007, leaf_structured},   {0x0000000B, leaf_topology},
    {0x0000000D, leaf_xstate},       {0x00000015, leaf_tsc},
    {0x00000016, leaf_frequency},    {0x0000001F, leaf_topology},
    {0x40000000, leaf_kvm_vendor},   {0x40000001, leaf_kvm_features},
    {0x40000010, leaf_kvm_timing},   {0x80000000, leaf_ext_max},
    {0x80000001, leaf_ext_features}, {0x80000002, leaf_brand0},
    {0x80000003, leaf_brand1},       {0x80000004, leaf_brand2},
    {0x80000005, leaf_l1_amd},       {0x80000006, leaf_l2},
    {0x80000008, leaf_addresses},    {0x8000001D, leaf_caches_amd},
    {0x8000001E, leaf_cpu_ids_amd},  {0x80000021, leaf_ext2_amd},
};

static bool leaf_exists(const struct cpu_model *m, u32 leaf)
{
    if (leaf >= 0x80000000) return leaf <= (m->amd ? EXT_MAX_AMD : EXT_MAX_INTEL);
    if (leaf >= 0x40000000 && leaf <= 0x4FFFFFFF) return leaf <= KVM_LEAF_MAX;
    return leaf <= max_leaf(m);
}

void cpu_cpuid(const struct vcpu *v, u32 leaf, u32 subleaf, u32 out[CPUID_REGS])
{
    const struct cpu_model *m = v->model;
    memset(out, 0, CPUID_REGS * sizeof out[0]);
    if (!leaf_exists(m, leaf)) {
        if (m->amd || bits(leaf, 31, 28) == 4) return;
        leaf = max_leaf(m); /* SDM: data of the highest basic leaf */
    }
    for (u32 i = 0; i < CPUID_WORDS && m->word[i].leaf; i++) {
        const struct cpuid_word *w = &m->word[i];
        bool indexed = leaf == 0x7 || leaf == 0xD;
        if (w->leaf == leaf && (!indexed || w->subleaf == subleaf))
            memcpy(out, w->reg, sizeof w->reg);
    }
    for (u32 i = 0; i < ARRAY_LEN(leaf_table); i++) {
        if (leaf_table[i].leaf == leaf) leaf_table[i].fn(v, subleaf, out);
    }
}
