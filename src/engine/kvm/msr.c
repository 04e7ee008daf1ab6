/* msr - which model-specific registers KVM keeps while a guest runs, and moving those.
 *
 * Only registers the processor itself uses in guest mode are KVM's; everything else is denied by a
 * filter, so that its accesses exit to us and mean the same as under every engine (cpu/msr.def).
 * KVM never filters x2APIC registers; without an APIC in KVM they exit too. The TSC is KVM's to
 * read and ours to write. Spec: api.rst KVM_X86_SET_MSR_FILTER, KVM_CAP_X86_USER_SPACE_MSR. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "engine/kvm/kvm_internal.h"

enum { MSR_LIST_MAX = 1024, RW = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE };
enum {
    MSR_ARCH_CAP = 0x10A,
    MSR_EFER = 0xC0000080,
    MSR_FS_BASE = 0xC0000100,
    MSR_GS_BASE = 0xC0000101
};

/* Registers moved one by one; EFER and the FS and GS bases move with the segments. */
static const struct {
    u32 addr;
    u32 field; /* offset in struct vcpu */
} kept[] = {
#define KEPT(addr, member) {addr, offsetof(struct vcpu, member)},
    KEPT(0x048, spec_ctrl) KEPT(0x174, sysenter_cs) KEPT(0x175, sysenter_esp)
        KEPT(0x176, sysenter_eip) KEPT(0x277, pat) KEPT(0xC0000081, star) KEPT(0xC0000082, lstar)
            KEPT(0xC0000083, cstar) KEPT(0xC0000084, fmask) KEPT(0xC0000102, kernel_gs_base)
                KEPT(0xC0000103, tsc_aux)
#undef KEPT
};
static_assert(ARRAY_LEN(kept) <= KVM_MSRS_MAX, "room in struct kvm_vm");

/* What guests reach without an exit. */
static const struct {
    u32 first, count, access;
} allowed[] = {
    {0x010, 1, KVM_MSR_FILTER_READ}, /* TSC                                  */
    {0x048, 2, RW},                  /* SPEC_CTRL, PRED_CMD                  */
    {MSR_ARCH_CAP, 1, KVM_MSR_FILTER_READ},
    {0x174, 3, RW},       /* SYSENTER                             */
    {0x277, 1, RW},       /* PAT                                  */
    {MSR_EFER, 5, RW},    /* EFER, STAR, LSTAR, CSTAR, FMASK      */
    {MSR_FS_BASE, 4, RW}, /* FS, GS, kernel GS bases; TSC_AUX     */
};

struct msr_list {
    u32 nmsrs, index[MSR_LIST_MAX];
};
static_assert(offsetof(struct msr_list, index) == offsetof(struct kvm_msr_list, indices), "layout");

static int set_filter(const struct kvm_vm *vm, struct err *e)
{
    u8 all = 0xFF; /* no range above is longer than eight */
    struct kvm_msr_filter f = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
    static_assert(ARRAY_LEN(allowed) <= KVM_MSR_FILTER_MAX_RANGES, "filter ranges");
    for (u32 i = 0; i < ARRAY_LEN(allowed); i++)
        f.ranges[i] = (struct kvm_msr_filter_range){.flags = allowed[i].access,
                                                    .nmsrs = allowed[i].count,
                                                    .base = allowed[i].first,
                                                    .bitmap = &all};
    int rc = kvm_call(vm->fd, KVM_X86_SET_MSR_FILTER, &f, "KVM_X86_SET_MSR_FILTER", e);
    return rc < 0 ? rc : 0;
}

static void choose(struct kvm_vm *vm, const struct msr_list *list)
{
    for (u32 i = 0; i < ARRAY_LEN(kept); i++) {
        for (u32 k = 0; k < list->nmsrs; k++) {
            if (list->index[k] == kept[i].addr) vm->msr[vm->msrs++] = i;
        }
    }
}

int kvm_msr_setup(struct kvm_vm *vm, struct err *e)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
                                 .args[0] = KVM_MSR_EXIT_REASON_INVAL |
                                            KVM_MSR_EXIT_REASON_UNKNOWN |
                                            KVM_MSR_EXIT_REASON_FILTER};
    struct msr_list *list = calloc(1, sizeof *list);
    if (!list) return err_set(e, E_NOMEM, "KVM: MSRs");
    list->nmsrs = MSR_LIST_MAX;
    int rc = kvm_call(vm->dev, KVM_GET_MSR_INDEX_LIST, list, "KVM_GET_MSR_INDEX_LIST", e);
    if (rc >= 0) choose(vm, list);
    free(list);
    if (rc >= 0)
        rc = kvm_call(vm->fd, KVM_ENABLE_CAP, &cap, "KVM_ENABLE_CAP X86_USER_SPACE_MSR", e);
    return rc < 0 ? rc : set_filter(vm, e);
}

bool kvm_msr_owned(const struct kvm_vm *vm, u32 addr)
{
    for (u32 i = 0; i < vm->msrs; i++) {
        if (kept[vm->msr[i]].addr == addr) return true;
    }
    return addr == MSR_EFER || addr == MSR_FS_BASE || addr == MSR_GS_BASE;
}

/* Moves them all, and says which one KVM did not take. */
static int transfer(const struct kvm_cpu *k, struct kvm_msr_block *b, bool store, struct err *e)
{
    const char *what = store ? "KVM_GET_MSRS" : "KVM_SET_MSRS";
    int rc = kvm_call(k->fd, store ? KVM_GET_MSRS : KVM_SET_MSRS, b, what, e);
    if (rc < 0 || rc == (int)b->nmsrs) return rc < 0 ? rc : 0;
    return err_set(e, E_UNSUPPORTED, "KVM: %s: MSR %#x = %#llx refused", what, b->row[rc].index,
                   (unsigned long long)b->row[rc].data);
}

int kvm_msr_weaknesses(const struct kvm_vm *vm, int fd, struct err *e)
{
    struct kvm_msr_block b = {.nmsrs = 1, .row[0].index = MSR_ARCH_CAP};
    if (ioctl(vm->dev, KVM_GET_MSRS, &b) != 1) return 0;
    int rc = kvm_call(fd, KVM_SET_MSRS, &b, "KVM_SET_MSRS ARCH_CAPABILITIES", e);
    return rc < 0 ? rc : 0;
}

int kvm_msr_load(struct kvm_cpu *k, const struct vcpu *v, struct err *e)
{
    struct kvm_msr_block b = {.nmsrs = k->vm->msrs};
    for (u32 i = 0; i < k->vm->msrs; i++) {
        u32 row = k->vm->msr[i];
        b.row[i].index = kept[row].addr;
        b.row[i].data = *(const u64 *)(const void *)((const u8 *)v + kept[row].field);
    }
    if (k->copy.known & PART_MSRS && !memcmp(&b, &k->copy.msrs, sizeof b)) return 0;
    int rc = transfer(k, &b, false, e);
    k->copy.msrs = b;
    return rc;
}

int kvm_msr_store(struct kvm_cpu *k, struct vcpu *v, struct err *e)
{
    struct kvm_msr_block *b = &k->copy.msrs;
    *b = (struct kvm_msr_block){.nmsrs = k->vm->msrs};
    for (u32 i = 0; i < k->vm->msrs; i++) b->row[i].index = kept[k->vm->msr[i]].addr;
    int rc = transfer(k, b, true, e);
    for (u32 i = 0; i < k->vm->msrs && rc == 0; i++)
        *(u64 *)(void *)((u8 *)v + kept[k->vm->msr[i]].field) = b->row[i].data;
    return rc;
}
