/* measure - does KVM execute guests at the speed of the hardware? Some do not: a software emulation
 * of /dev/kvm runs everything correctly and a thousand times slower, and then our own engines are
 * the better choice.
 *
 * A throw-away VM runs a small 64-bit loop (a load, an addition, a store, a branch) over its own
 * page tables; the same instructions run here. A thread watches the clock, for the guest may take
 * any time. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clk.h"
#include "cpu/x86.h"
#include "engine/kvm/kvm_internal.h"

enum {
    ITERATIONS = 100000,
    WATCH_MS = 20, /* for what takes a processor a twentieth of one */
    SLOW_RATIO = 4,
    TRIES = 3, /* the first one also fills nested page tables; a busy host may spoil one */
};
enum {
    CODE_GPA = 0x1000,
    DATA_GPA = 0x2000,
    PML4_GPA = 0x4000,
    PDPT_GPA = 0x5000,
    PD_GPA = 0x6000,
    GUEST_BYTES = 0x8000
};
enum { PTE_P = 1, PTE_W = 2, PDE_PS = 1 << 7 };
/* 1: mov eax,[rsi]; add eax,ecx; mov [rsi],eax; dec ecx; jnz 1b; hlt */
static const u8 code[] = {0x8B, 0x06, 0x01, 0xC8, 0x89, 0x06, 0xFF, 0xC9, 0x75, 0xF6, 0xF4};

struct trial {
    int dev, vm, cpu;
    u8 *mem;
    struct kvm_run *run;
    u32 run_bytes;
};

/* ---- the guest ------------------------------------------------------------------------------- */

static void fill_memory(u8 *mem)
{
    const u64 pml4 = PDPT_GPA | PTE_P | PTE_W, pdpt = PD_GPA | PTE_P | PTE_W,
              pd = PTE_P | PTE_W | PDE_PS;
    memcpy(mem + CODE_GPA, code, sizeof code);
    memcpy(mem + PML4_GPA, &pml4, sizeof pml4);
    memcpy(mem + PDPT_GPA, &pdpt, sizeof pdpt);
    memcpy(mem + PD_GPA, &pd, sizeof pd);
}

static int set_long_mode(int cpu, struct err *e)
{
    struct kvm_sregs s;
    int rc = kvm_call(cpu, KVM_GET_SREGS, &s, "KVM_GET_SREGS", e);
    if (rc < 0) return rc;
    s.cr0 = CR0_PG | CR0_PE | CR0_ET | CR0_NE;
    s.cr3 = PML4_GPA;
    s.cr4 = CR4_PAE;
    s.efer = EFER_LME | EFER_LMA;
    struct kvm_segment data = {
        .limit = ~0u, .selector = 16, .type = 3, .present = 1, .s = 1, .db = 1, .g = 1};
    s.cs = (struct kvm_segment){
        .limit = ~0u, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1};
    s.ds = s.es = s.fs = s.gs = s.ss = data;
    return kvm_call(cpu, KVM_SET_SREGS, &s, "KVM_SET_SREGS", e);
}

static int set_cpuid(const struct trial *t, struct err *e)
{
    struct kvm_cpuids *c = kvm_cpuid_supported(t->dev, e);
    if (!c) return e->code;
    int rc = kvm_call(t->cpu, KVM_SET_CPUID2, c, "KVM_SET_CPUID2", e);
    free(c);
    return rc;
}

static int set_up(struct trial *t, struct err *e)
{
    t->dev = kvm_open(e);
    if (t->dev < 0) return t->dev;
    t->vm = kvm_call(t->dev, KVM_CREATE_VM, NULL, "KVM_CREATE_VM", e);
    if (t->vm < 0) return t->vm;
    void *mem = mmap(NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mem == MAP_FAILED) return err_errno(e, "KVM: trial guest");
    t->mem = mem;
    fill_memory(t->mem);
    struct kvm_userspace_memory_region r = {.memory_size = GUEST_BYTES,
                                            .userspace_addr = (u64)(uintptr_t)t->mem};
    int rc = kvm_call(t->vm, KVM_SET_USER_MEMORY_REGION, &r, "KVM_SET_USER_MEMORY_REGION", e);
    if (rc < 0) return rc;
    t->cpu = kvm_call(t->vm, KVM_CREATE_VCPU, NULL, "KVM_CREATE_VCPU", e);
    if (t->cpu < 0) return t->cpu;
    rc = kvm_call(t->dev, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE", e);
    if (rc < 0) return rc;
    t->run_bytes = (u32)rc;
    void *run = mmap(NULL, t->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, t->cpu, 0);
    if (run == MAP_FAILED) return err_errno(e, "KVM: trial guest");
    t->run = run;
    rc = set_cpuid(t, e);
    return rc < 0 ? rc : set_long_mode(t->cpu, e);
}

static void tear_down(struct trial *t)
{
    if (t->run) munmap(t->run, t->run_bytes);
    if (t->cpu >= 0) close(t->cpu);
    if (t->vm >= 0) close(t->vm);
    if (t->dev >= 0) close(t->dev);
    if (t->mem) munmap(t->mem, GUEST_BYTES);
}

/* ---- the watch ------------------------------------------------------------------------------- */

struct watch {
    struct kvm_run *run;
    pid_t tid;
    int done; /* eventfd */
};

static void *watch_thread(void *arg)
{
    struct watch *w = arg;
    struct pollfd p = {.fd = w->done, .events = POLLIN};
    while (poll(&p, 1, WATCH_MS) == 0) kvm_kick_thread(w->run, w->tid);
    return NULL;
}

/* One KVM_RUN of the loop. Nanoseconds; ~0: it was interrupted, or ended otherwise. */
static u64 run_guest(const struct trial *t, const struct clk *clk)
{
    struct kvm_regs r = {
        .rip = CODE_GPA, .rflags = RFLAGS_FIXED, .rsi = DATA_GPA, .rcx = ITERATIONS};
    if (ioctl(t->cpu, KVM_SET_REGS, &r) < 0) return ~0ull;
    __atomic_store_n(&t->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
    u64 start = clk_now_ns(clk);
    int rc = ioctl(t->cpu, KVM_RUN, 0);
    u64 ns = clk_now_ns(clk) - start;
    return rc == 0 && t->run->exit_reason == KVM_EXIT_HLT ? ns : ~0ull;
}

/* The best of a few runs under the watch; ~0 when none ended. */
static u64 time_guest(const struct trial *t, const struct clk *clk)
{
    struct watch w = {.run = t->run, .tid = gettid(), .done = eventfd(0, EFD_CLOEXEC)};
    pthread_t thread;
    sigset_t old;
    struct err e;
    u64 best = ~0ull;
    bool watched = w.done >= 0 && kvm_kick_setup(&e) == 0 &&
                   pthread_create(&thread, NULL, watch_thread, &w) == 0;
    kvm_kick_allow(&old);
    for (int i = 0; i < TRIES && watched; i++) best = min_u64(best, run_guest(t, clk));
    kvm_kick_forbid(&old);
    if (watched && eventfd_write(w.done, 1) == 0) pthread_join(thread, NULL);
    if (w.done >= 0) close(w.done);
    return best;
}

static u64 time_native(const struct clk *clk)
{
    u32 word = 0, n = ITERATIONS;
    u64 start = clk_now_ns(clk);
    __asm__ volatile("1: mov %1, %%eax\n add %0, %%eax\n mov %%eax, %1\n dec %0\n jnz 1b"
                     : "+r"(n), "+m"(word)::"eax", "cc");
    return max_u64(clk_now_ns(clk) - start, 1);
}

/* ---- judgement ------------------------------------------------------------------------------- */

static int judge(u64 guest_ns, u64 native_ns, struct err *e)
{
    if (guest_ns == ~0ull)
        return err_set(e, E_UNSUPPORTED,
                       "/dev/kvm is a slow emulation: in %d ms a guest did not do what takes this "
                       "processor %llu us; --engine kvm uses it all the same",
                       WATCH_MS, (unsigned long long)(native_ns / 1000));
    u64 ratio = guest_ns / native_ns;
    if (ratio < SLOW_RATIO) return 0;
    return err_set(e, E_UNSUPPORTED,
                   "/dev/kvm is slow: guests run %llu times slower than this processor; --engine "
                   "kvm uses it all the same",
                   (unsigned long long)ratio);
}

int kvm_prefer(struct err *e)
{
    struct trial t = {.dev = -1, .vm = -1, .cpu = -1};
    struct clk clk;
    clk_init(&clk, false);
    clk_start(&clk);
    int rc = set_up(&t, e);
    if (rc >= 0) {
        u64 guest = time_guest(&t, &clk), native = time_native(&clk);
        for (int i = 1; i < TRIES; i++) native = min_u64(native, time_native(&clk));
        rc = judge(guest, native, e);
    }
    clk_fini(&clk);
    tear_down(&t);
    return rc < 0 ? rc : 0;
}
