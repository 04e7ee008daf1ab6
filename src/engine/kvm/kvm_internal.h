/* kvm_internal.h - what the files of engine/kvm share. Spec: Documentation/virt/kvm/api.rst.
 *
 * Threads: a struct kvm_cpu belongs to its vCPU's thread, but for @entered, @tid and
 * run->immediate_exit, which kick() uses. A struct kvm_vm is shared; its lock guards what changes
 * after creation. Creating and destroying both happens in init() and fini(), which the contract has
 * one at a time. */
#ifndef ENGINE_KVM_KVM_INTERNAL_H
#define ENGINE_KVM_KVM_INTERNAL_H
#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/limits.h"
#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/xstate.h"
#include "engine/kvm/region.h"
#include "engine/kvm/state.h"

enum { KVM_CPUIDS_MAX = 256 };

/* KVM's variable-length structures with their length. */
struct kvm_cpuids {
    u32 nent, padding;
    struct kvm_cpuid_entry2 row[KVM_CPUIDS_MAX];
};
static_assert(offsetof(struct kvm_cpuids, row) == offsetof(struct kvm_cpuid2, entries), "layout");

/* One per struct mem (mem->shared), made by the first vCPU and gone with the last. */
struct kvm_vm {
    struct mem *mem;
    int dev, fd;
    u32 users;             /* vCPUs that have it                                        */
    int cpu_fd[VCPUS_MAX]; /* -1, or a processor: KVM keeps its number until the VM goes */
    u32 run_bytes, xsave_bytes;
    bool sregs2;                 /* PAE's PDPTEs can be read and set                          */
    u32 shared;                  /* KVM_SYNC_X86_...: state KVM can leave in its page         */
    u64 xcr0;                    /* state components KVM has                                  */
    u16 xoffset[XSTATE_BITS];    /* where the host has them                                */
    u32 msr[KVM_MSRS_MAX], msrs; /* rows of msr.c this KVM keeps while a guest runs      */
    struct kvm_cpuids *supported;
    pthread_mutex_t lock;                      /* guards the rest */
    struct kvm_region region[KVM_REGIONS_MAX]; /* what KVM knows, by its slot number */
    bool mapped;                               /* at least once, and then of: */
    u32 generation;                            /* of @mem */
    u64 a20_clear;
    bool dirty_log;
    int dirty_removed; /* pages told of when their regions went */
    u32 running;       /* vCPUs inside run()                                               */
    bool tsc_based;    /* tsc_base is known                                                */
    bool tsc_fixed;    /* this KVM takes no TSC offset: tsc_base is what guests have to take */
    u64 tsc_seen;      /* no guest has read more, less its own offset                      */
    u64 tsc_base;      /* KVM's offset of a guest whose tsc_offset is 0                    */
};

struct kvm_cpu {
    struct kvm_vm *vm;
    int fd;
    struct kvm_run *run;
    u8 *xsave;                    /* xsave_bytes, page-aligned                                 */
    struct kvm_copy copy;         /* which parts of the state are where                        */
    _Atomic bool entered;         /* between the last look at attention and KVM_RUN's return   */
    _Atomic pid_t tid;            /* of the thread inside run()                                */
    bool io_open;                 /* an instruction waits for KVM_RUN to take its I/O's result */
    bool interruptible;           /* an external interrupt would be taken now                  */
    struct kvm_guest_debug debug; /* what KVM was told last                             */
    u64 pc;                       /* while stepping: linear address of the next instruction    */
    bool cr8_stale;               /* the local APIC's TPR may differ from run->cr8             */
    bool tsc_given;               /* this processor has had a TSC offset, from the next two     */
    u64 tsc_offset, tsc_base;
    struct event unfinished; /* an event whose delivery KVM had begun                   */
    struct err why;          /* of RUN_FAILED */
};
enum kvm_next { KVM_NEXT_RUN, KVM_NEXT_HALT, KVM_NEXT_SHUTDOWN, KVM_NEXT_BREAK, KVM_NEXT_FAIL };
static inline struct kvm_cpu *kvm_of(const struct vcpu *v) { return v->engine_state; }

/* vm.c */
/** kvm_call - ioctl(2) that cannot be interrupted; negative with "KVM: @what: reason" in @e. */
int kvm_call(int fd, unsigned long request, void *arg, const char *what, struct err *e);
/** kvm_vm_get - the VM of @mem, made if need be. kvm_vm_put when the vCPU is gone. */
int kvm_vm_get(struct kvm_vm **out, struct mem *mem, struct err *e) MUST_USE;
void kvm_vm_put(struct kvm_vm *vm);
/** kvm_vm_map - tell KVM what lies where if that is not what it was at the last call. */
int kvm_vm_map(struct kvm_vm *vm, struct err *e) MUST_USE;
/** kvm_dirty_log - start or stop noting the pages guests write. */
int kvm_dirty_log(struct kvm_vm *vm, bool on, struct err *e) MUST_USE;
/** kvm_dirty_take - mem_wrote() for every page written since the last call; returns how many. */
int kvm_dirty_take(struct kvm_vm *vm, struct err *e) MUST_USE;

/* cpuid.c: the model's CPUID, cut down to what KVM can give, as KVM_SET_CPUID2 takes it. */
void kvm_cpuid_build(const struct vcpu *v, const struct kvm_cpuids *supported,
                     struct kvm_cpuids *out);
/** kvm_fit - the contract's fit(). */
int kvm_fit(struct cpu_model *m, struct err *e) MUST_USE;
/** kvm_cpuid_supported - KVM_GET_SUPPORTED_CPUID; owned by the caller, NULL with @e filled. */
struct kvm_cpuids *kvm_cpuid_supported(int dev, struct err *e);

/* msr.c */
/** kvm_msr_setup - which MSRs KVM keeps; every other access of a guest exits to us. */
int kvm_msr_setup(struct kvm_vm *vm, struct err *e) MUST_USE;
/** kvm_msr_weaknesses - give processor @fd the host's own ARCH_CAPABILITIES: what cpu/msr.c claims
 * holds for software engines only, here the hardware's weaknesses are the guest's. */
int kvm_msr_weaknesses(const struct kvm_vm *vm, int fd, struct err *e) MUST_USE;
/** kvm_msr_owned - does KVM answer for @addr while the guest runs? */
bool kvm_msr_owned(const struct kvm_vm *vm, u32 addr);

/* tsc.c */
/** kvm_tsc_init - the processor counts at v->tsc_khz, or E_UNSUPPORTED. */
int kvm_tsc_init(struct kvm_cpu *k, const struct vcpu *v, struct err *e) MUST_USE;
/** kvm_tsc_load - make RDTSC in the guest agree with tsc_now(v). */
int kvm_tsc_load(struct kvm_cpu *k, struct vcpu *v, struct err *e) MUST_USE;
/** kvm_tsc_store - @v left KVM: note how far its counter had come. */
void kvm_tsc_store(struct kvm_cpu *k, const struct vcpu *v);
/** kvm_tsc_khz - the frequency nearest to @wanted this host can give guests. */
u64 kvm_tsc_khz(u64 wanted);

/* debug.c */
/** kvm_debug_set - single-step, or the debugger's breakpoints in the processor's debug registers
 * (more than four, or an instruction to get past: @step is wanted). */
int kvm_debug_set(struct kvm_cpu *k, const struct vcpu *v, bool step) MUST_USE;
/** kvm_debug_needs_step - can the next instruction only be executed by stepping? */
bool kvm_debug_needs_step(const struct vcpu *v);
/** kvm_debug_exit - KVM_EXIT_DEBUG: a step was made, or a breakpoint reached. */
enum kvm_next kvm_debug_exit(struct kvm_cpu *k, struct vcpu *v);

/* step.c */
/** kvm_step - execute one instruction KVM cannot, in *v, and hand the processor back. */
enum kvm_next kvm_step(struct kvm_cpu *k, struct vcpu *v);

/* exit.c */
/** kvm_exit_handle - do what the guest's exit asks for. KVM_NEXT_FAIL fills k->why. */
enum kvm_next kvm_exit_handle(struct kvm_cpu *k, struct vcpu *v);
/** kvm_fail_describe - add where the guest stands and the bytes there to k->why; @v is stored. */
void kvm_fail_describe(struct kvm_cpu *k, struct vcpu *v);

/* probe.c, measure.c */
int kvm_probe(struct err *e);
int kvm_prefer(struct err *e);
/** kvm_open - /dev/kvm, of the right version; or the reason and the remedy in @e. */
int kvm_open(struct err *e) MUST_USE;

/* kick.c: a signal that only interrupts KVM_RUN */
int kvm_kick_setup(struct err *e) MUST_USE;
void kvm_kick_thread(struct kvm_run *run, pid_t tid);
/** kvm_kick_allow - let the calling thread be interrupted; kvm_kick_forbid undoes it. */
void kvm_kick_allow(sigset_t *old);
void kvm_kick_forbid(const sigset_t *old);
#endif
