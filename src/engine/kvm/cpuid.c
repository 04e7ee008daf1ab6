/* cpuid - what CPUID says in the guest: the model's answer, but no feature KVM cannot give.
 *
 * Feature words are the intersection of both, except the bits that are ours to keep whatever KVM
 * says: the local APIC, its x2APIC mode and TSC deadline (our device, reached by exits), MTRRs and
 * machine check (registers of our table), topology and "there is a hypervisor". State components
 * lie where the host has them, for the guest's own XSAVE runs there. Spec: KVM_GET_SUPPORTED_CPUID
 * in api.rst. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "engine/kvm/kvm_internal.h"

enum { LEAF_FEATURES = 1, LEAF_XSTATE = 0xD };
#define LEAF_EXT 0x80000000u
#define LEAF_HYPERVISOR 0x40000000u
enum {
    ECX1_OURS = 1 << 21 | 1 << 24, /* x2APIC, TSC deadline  */
    EDX1_OURS =
        1 << 7 | 1 << 9 | 1 << 12 | 1 << 14 | 1 << 16 | 1 << 28, /* MCE APIC MTRR MCA PAT HTT */
    ECX1_OSXSAVE = 1 << 27,
};
#define ECX1_HYPERVISOR (1u << 31)

/* Words made of feature bits; bits of @keep are the model's alone. */
static const struct feature_word {
    u32 leaf, subleaf;
    u32 mask[CPUID_REGS]; /* of feature bits          */
    u32 keep[CPUID_REGS]; /* of those, the model's own */
} words[] = {
    {LEAF_FEATURES, 0, {0, 0, ~0u, ~0u}, {0, 0, ECX1_OURS | ECX1_HYPERVISOR, EDX1_OURS}},
    {7, 0, {0, ~0u, ~0u, ~0u}, {0}},
    {7, 1, {~0u, ~0u, ~0u, ~0u}, {0}},
    {7, 2, {~0u, ~0u, ~0u, ~0u}, {0}},
    {LEAF_XSTATE, 1, {~0u, 0, 0, 0}, {0}},
    {LEAF_EXT + 1, 0, {0, 0, ~0u, ~0u}, {0, 0, 1 << 1 | 1 << 22, 0}},
    {LEAF_EXT + 7, 0, {0, 0, 0, ~0u}, {0, 0, 0, 1 << 8}}, /* invariant TSC: ours to promise */
    {LEAF_EXT + 8, 0, {0, ~0u, 0, 0}, {0}},
    {LEAF_EXT + 0x21, 0, {~0u, 0, ~0u, 0}, {0}},
};

/* Leaves whose answer depends on ECX. */
static bool is_indexed(u32 leaf)
{
    static const u32 list[] = {4, 7, 0xB, LEAF_XSTATE, 0x1F, LEAF_EXT + 0x1D};
    for (u32 i = 0; i < ARRAY_LEN(list); i++) {
        if (list[i] == leaf) return true;
    }
    return false;
}

static const struct kvm_cpuid_entry2 *find(const struct kvm_cpuids *c, u32 leaf, u32 sub)
{
    for (u32 i = 0; i < c->nent; i++) {
        if (c->row[i].function == leaf && c->row[i].index == sub) return &c->row[i];
    }
    return NULL;
}

static void host_regs(const struct kvm_cpuids *c, u32 leaf, u32 sub, u32 r[CPUID_REGS])
{
    const struct kvm_cpuid_entry2 *row = find(c, leaf, sub);
    r[CPUID_EAX] = row ? row->eax : 0;
    r[CPUID_EBX] = row ? row->ebx : 0;
    r[CPUID_ECX] = row ? row->ecx : 0;
    r[CPUID_EDX] = row ? row->edx : 0;
}

static void cut_features(const struct kvm_cpuids *host, u32 leaf, u32 sub, u32 r[CPUID_REGS])
{
    u32 has[CPUID_REGS];
    for (u32 i = 0; i < ARRAY_LEN(words); i++) {
        const struct feature_word *w = &words[i];
        if (w->leaf != leaf || w->subleaf != sub) continue;
        host_regs(host, leaf, sub, has);
        for (u32 k = 0; k < CPUID_REGS; k++) r[k] &= has[k] | w->keep[k] | ~w->mask[k];
    }
}

/* Leaf 0DH: the host's layout of the components both have. KVM fills in the sizes of what is
 * enabled. */
static void put_xstate(const struct kvm_cpuids *host, u32 sub, u64 xcr0, u32 r[CPUID_REGS])
{
    u32 has[CPUID_REGS];
    if (sub == 1) return;
    memset(r, 0, CPUID_REGS * sizeof r[0]);
    if (sub == 0) {
        r[CPUID_EAX] = (u32)xcr0;
        r[CPUID_ECX] = xcr0 ? XSAVE_EXTENDED : 0;
        for (u32 b = 2; b < XSTATE_BITS; b++) {
            host_regs(host, LEAF_XSTATE, b, has);
            u32 end = has[CPUID_EAX] + has[CPUID_EBX];
            if (xcr0 & BIT(b) && r[CPUID_ECX] < end) r[CPUID_ECX] = end;
        }
        r[CPUID_EBX] = r[CPUID_ECX];
    } else if (sub < XSTATE_BITS && xcr0 & BIT(sub)) {
        host_regs(host, LEAF_XSTATE, sub, r);
    }
}

static bool has_xsave(const struct kvm_cpuids *host)
{
    u32 r[CPUID_REGS];
    host_regs(host, LEAF_FEATURES, 0, r);
    return r[CPUID_ECX] >> 26 & 1;
}

static void add(struct kvm_cpuids *out, const struct vcpu *v, const struct kvm_cpuids *host,
                u32 leaf, u32 sub)
{
    u32 r[CPUID_REGS], has[CPUID_REGS];
    if (out->nent == KVM_CPUIDS_MAX) return;
    cpu_cpuid(v, leaf, sub, r);
    cut_features(host, leaf, sub, r);
    if (leaf == LEAF_FEATURES) r[CPUID_ECX] &= ~(u32)ECX1_OSXSAVE; /* KVM keeps it */
    if (leaf == LEAF_XSTATE) {
        host_regs(host, LEAF_XSTATE, 0, has);
        put_xstate(host, sub, has_xsave(host) ? v->model->xcr0 & has[CPUID_EAX] : 0, r);
    }
    out->row[out->nent++] = (struct kvm_cpuid_entry2){
        .function = leaf,
        .index = sub,
        .flags = is_indexed(leaf) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
        .eax = r[CPUID_EAX],
        .ebx = r[CPUID_EBX],
        .ecx = r[CPUID_ECX],
        .edx = r[CPUID_EDX],
    };
}

/* How many subleaves to list: one past the last that says something. */
static u32 subleaves(u32 leaf)
{
    switch (leaf) {
    case 4:
    case LEAF_EXT + 0x1D: return CPUID_CACHES;
    case 7:
    case 0xB:
    case 0x1F: return 3;
    case LEAF_XSTATE: return XSTATE_BITS;
    default: return 1;
    }
}

static void add_range(struct kvm_cpuids *out, const struct vcpu *v, const struct kvm_cpuids *host,
                      u32 first)
{
    u32 r[CPUID_REGS];
    cpu_cpuid(v, first, 0, r);
    for (u32 leaf = first; leaf <= r[CPUID_EAX] && leaf - first < 64; leaf++) {
        for (u32 s = 0; s < subleaves(leaf); s++) add(out, v, host, leaf, s);
    }
}

void kvm_cpuid_build(const struct vcpu *v, const struct kvm_cpuids *supported,
                     struct kvm_cpuids *out)
{
    out->nent = out->padding = 0;
    add_range(out, v, supported, 0);
    add_range(out, v, supported, LEAF_HYPERVISOR);
    add_range(out, v, supported, LEAF_EXT);
}

static int fit_features(struct cpu_model *m, const struct kvm_cpuids *host, struct err *e)
{
    int rc = 0;
    for (u32 i = 0; i < ARRAY_LEN(words) && rc == 0; i++) {
        const struct feature_word *w = &words[i];
        u32 mask[CPUID_REGS];
        host_regs(host, w->leaf, w->subleaf, mask);
        for (u32 r = 0; r < CPUID_REGS; r++) mask[r] |= w->keep[r] | ~w->mask[r];
        rc = cpu_model_mask(m, w->leaf, w->subleaf, mask, e);
    }
    return rc;
}

int kvm_fit(struct cpu_model *m, struct err *e)
{
    int dev = kvm_open(e);
    if (dev < 0) return dev;
    struct kvm_cpuids *host = kvm_cpuid_supported(dev, e);
    close(dev);
    if (!host) return e->code;
    int rc = fit_features(m, host, e);
    free(host);
    m->tsc_khz = kvm_tsc_khz(m->tsc_khz);
    return rc;
}

struct kvm_cpuids *kvm_cpuid_supported(int dev, struct err *e)
{
    struct kvm_cpuids *c = calloc(1, sizeof *c);
    if (!c) {
        (void)err_set(e, E_NOMEM, "KVM: CPUID");
        return NULL;
    }
    c->nent = KVM_CPUIDS_MAX;
    if (kvm_call(dev, KVM_GET_SUPPORTED_CPUID, c, "KVM_GET_SUPPORTED_CPUID", e) < 0) {
        free(c);
        return NULL;
    }
    return c;
}
