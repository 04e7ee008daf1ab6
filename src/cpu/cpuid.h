/* cpu/cpuid.h - CPU models: which features a guest is offered, and the CPUID leaves that say so.
 * A model's features = what this product implements, cut down to the model's list (cpu/model.def)
 * and, for features the host CPU itself executes, to what the host has (its XCR0 included). A model
 * never changes after cpu_model_init, so any number of vCPUs share one. Spec: SDM vol. 2A CPUID;
 * APM vol. 3 appendix E; KVM's Documentation/virt/kvm/x86/cpuid.rst. */
#ifndef CPU_CPUID_H
#define CPU_CPUID_H
#include "base/err.h"
#include "cpu/vcpu.h"
#include "isa/feature.h"

enum { CPUID_EAX, CPUID_EBX, CPUID_ECX, CPUID_EDX, CPUID_REGS };
enum { CPUID_CACHES = 8, CPUID_WORDS = 9 };
enum { CPUID_APIC_KHZ = 1000000 }; /* local APIC timer input, as dev/lapic has it by default */

/* A processor to ask: tests bring their own. */
struct cpu_host {
    void *ctx;
    void (*cpuid)(void *ctx, u32 leaf, u32 subleaf, u32 out[CPUID_REGS]);
    u64 xcr0; /* what the host's kernel enabled; 0 without XSAVE */
};
struct cpu_model_cfg {
    u32 vcpus;   /* 1..VCPUS_MAX                                                 */
    u64 tsc_khz; /* a multiple of 1000 lets CPUID leaf 15H be exact              */
    const struct cpu_host
        *host; /* NULL: the processor we run on; read only during cpu_model_init */
};

struct cpuid_word { /* feature bits of one leaf */
    u32 leaf, subleaf;
    u32 reg[CPUID_REGS];
};
struct cpu_model {
    const char *name;
    u64 features[4]; /* bit enum cpu_feature */
    u64 xcr0;        /* state components XSETBV may enable */
    u32 vcpus;
    u64 tsc_khz;
    bool amd;
    u32 signature; /* family, model, stepping: CPUID.1:EAX */
    u32 vendor[3]; /* EBX, EDX, ECX of leaf 0 */
    u32 brand[12]; /* leaves 8000_0002..4 */
    u32 leaf2[CPUID_REGS], l1_amd[CPUID_REGS], l2[CPUID_REGS]; /* 2, 8000_0005, 8000_0006 */
    u32 cache[CPUID_CACHES][CPUID_REGS];                       /* 4 */
    u32 cache_amd[CPUID_CACHES][CPUID_REGS];                   /* 8000_001D */
    struct cpuid_word word[CPUID_WORDS];                       /* unused ones have leaf 0 */
};

/**
 * cpu_model_init - build the model called @name ("max", "x86-64-v2", ...) for this host.
 * Returns 0. E_INVAL: no such model (the text lists them), or vcpus/tsc_khz out of range.
 * E_UNSUPPORTED: the host cannot give a feature the named model promises; the text names the
 * missing ones. "max" never fails that way. @m holds no resources.
 */
int cpu_model_init(struct cpu_model *m, const char *name, const struct cpu_model_cfg *cfg,
                   struct err *e) MUST_USE;
/**
 * cpu_model_mask - keep only those features of CPUID @leaf, @subleaf whose bits are in @mask; XCR0
 * follows. Before any vCPU has @m. E_UNSUPPORTED naming what a model other than "max" promised.
 */
int cpu_model_mask(struct cpu_model *m, u32 leaf, u32 subleaf, const u32 mask[CPUID_REGS],
                   struct err *e) MUST_USE;
/** cpu_model_name, cpu_model_text - of model @i in the order of model.def; NULL past the last. */
const char *cpu_model_name(u32 i);
const char *cpu_model_text(u32 i);
/** cpu_feature_name - as in /proc/cpuinfo; "" for FEAT_BASE. */
const char *cpu_feature_name(enum cpu_feature f);
/** cpu_model_signature - EDX after reset: CPUID.1:EAX. */
static inline u32 cpu_model_signature(const struct cpu_model *m) { return m->signature; }
/** cpu_model_has - is @f offered to the guest? FEAT_BASE always is. */
static inline bool cpu_model_has(const struct cpu_model *m, enum cpu_feature f)
{
    return m->features[f / 64] >> (f % 64) & 1;
}

/**
 * cpu_cpuid - what CPUID gives on @v for EAX = @leaf, ECX = @subleaf: out[] = EAX, EBX, ECX, EDX.
 * Depends on v->model, v->id, v->cr4 (OSXSAVE) and v->xcr0 only. Leaves that do not exist read as
 * the vendor has it: the highest basic leaf (Intel) or zeros (AMD, and the 4000_xxxx range).
 */
void cpu_cpuid(const struct vcpu *v, u32 leaf, u32 subleaf, u32 out[CPUID_REGS]);
#endif
