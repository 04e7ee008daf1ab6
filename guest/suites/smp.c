/* smp - several processors: start-up, locked operations, IPIs, TLB shootdown, memory ordering.
 * SDM volume 3A chapters 9 and 11.  With one CPU only the single-CPU parts run. */
#include "guest/lib/apic.h"
#include "guest/lib/rt.h"

enum { LOOPS = 20000, PINGS = 200, SHOTS = 100, LITMUS = 20000, V_PING = 0x60, V_SHOOT = 0x70 };
static int cpus = 1;
static volatile u64 phase, arrived, counter_add, counter_xadd, counter_cas, unlocked;
static volatile unsigned __int128 counter16 __attribute__((aligned(16)));
static volatile u64 started_mask, pongs, pings, shot_acks, shots_bad, stop;
static volatile u32 lx __attribute__((aligned(64))), ly __attribute__((aligned(64)));
static volatile u32 lr[2] __attribute__((aligned(64)));
static volatile u64 lround __attribute__((aligned(64))), lacks __attribute__((aligned(64)));
static volatile u32 spin __attribute__((aligned(64)));

static u64 fetch_add(volatile u64 *p, u64 v)
{
    asm volatile("lock xaddq %0, %1" : "+r"(v), "+m"(*p)::"memory", "cc");
    return v;
}

static void inc16(void)
{
    u64 lo = 0, hi = 0, nlo, nhi;
    bool ok = false;
    while (!ok) {
        nlo = lo + 1, nhi = hi + 3;
        asm volatile("lock cmpxchg16b %0"
                     : "+m"(counter16), "+a"(lo), "+d"(hi), "=@ccz"(ok)
                     : "b"(nlo), "c"(nhi)
                     : "memory");
    }
}

static void spin_lock(void)
{
    u32 one;
    do {
        one = 1;
        asm volatile("xchgl %0, %1" : "+r"(one), "+m"(spin)::"memory");
        if (one) pause();
    } while (one);
}

static void contend(void) /* what every CPU does */
{
    for (int i = 0; i < LOOPS; i++) {
        asm volatile("lock addq $3, %0" : "+m"(counter_add)::"memory", "cc");
        fetch_add(&counter_xadd, 1);
        u64 old = counter_cas;
        bool ok = false;
        while (!ok)
            asm volatile("lock cmpxchgq %3, %0"
                         : "+m"(counter_cas), "+a"(old), "=@ccz"(ok)
                         : "r"(old + 5)
                         : "memory");
        inc16();
        spin_lock();
        unlocked++;
        asm volatile("movl $0, %0" : "+m"(spin)::"memory");
    }
}

static bool on_ping(struct frame *f) /* on an AP: answer the boot CPU */
{
    (void)f;
    lapic_eoi();
    pings++;
    lapic_ipi(0, ICR_ASSERT | V_PING);
    return true;
}

static bool on_pong(struct frame *f)
{
    if (cpu_index() != 0) return on_ping(f);
    lapic_eoi();
    pongs++;
    return true;
}

static bool on_shoot(struct frame *f)
{
    (void)f;
    invlpg(TEST_VA);
    lapic_eoi();
    fetch_add(&shot_acks, 1);
    return true;
}

static void litmus_ap(void)
{
    for (u64 i = 1; i <= LITMUS; i++) {
        while (lround != i) pause();
        ly = 1;
        lr[1] = lx;
        asm volatile("" ::: "memory");
        lacks = i;
    }
}

static void ap(int cpu)
{
    write_cr3(read_cr3());
    fetch_add(&started_mask, 1ull << cpu);
    while (phase < 1) pause();
    contend();
    fetch_add(&arrived, 1);
    while (phase < 2) pause();
    if (cpu == 1)
        while (phase < 3) sti_hlt_cli();
    while (phase < 3) pause();
    sti();
    while (!stop) {
        if (phase == 3) RD(u64, TEST_VA) = 0x1000 + (u64)cpu; /* keeps the translation in use */
        if (phase == 4 && cpu == 1) break;
        pause();
    }
    cli();
    if (cpu == 1) litmus_ap();
    fetch_add(&arrived, 1);
}

static void shootdown(void)
{
    u64 a = (u64)pages_alloc(1), b = (u64)pages_alloc(1);
    map(TEST_VA, a, PTE_P | PTE_W);
    hooks[V_SHOOT] = on_shoot;
    phase = 3;
    lapic_ipi(cpu_apic_id(1), ICR_ASSERT | V_PING); /* AP 1 may be halted: let it see the phase */
    for (u64 i = 0; i < SHOTS; i++) {
        u64 to = i & 1 ? a : b, from = i & 1 ? b : a;
        *pte_of(TEST_VA, 1) = to | PTE_P | PTE_W;
        invlpg(TEST_VA);
        shot_acks = 0;
        lapic_ipi(0, ICR_OTHERS | ICR_ASSERT | V_SHOOT);
        while (shot_acks != (u64)cpus - 1) pause();
        RD(u64, from) = 0xDEAD;
        for (int k = 0; k < 300; k++) pause();
        if (RD(u64, from) != 0xDEAD) shots_bad++;
    }
    check_eq("TLB shootdown: no store reaches the old page", shots_bad, 0);
}

static void litmus(void)
{
    u64 both_zero = 0, impossible = 0;
    phase = 4;
    for (u64 i = 1; i <= LITMUS; i++) {
        lx = 0, ly = 0, lr[0] = 7, lr[1] = 7;
        asm volatile("mfence" ::: "memory");
        lround = i;
        lx = 1;
        lr[0] = ly;
        while (lacks != i) pause();
        if (lr[0] > 1 || lr[1] > 1) impossible++;
        if (!lr[0] && !lr[1]) both_zero++;
    }
    say("# store buffering seen %u times of %u (allowed)\n", both_zero, (u64)LITMUS);
    check_eq("store-buffer litmus: only allowed values", impossible, 0);
}

int main(void)
{
    lapic_enable(0xFF);
    hooks[V_PING] = on_pong;
    cpus = ap_start_all(ap);
    check("boot CPU is flagged BSP", rdmsr(MSR_APIC_BASE) >> 8 & 1);
    say("# %u CPUs\n", (u64)cpus);
    if (cpus == 1) skip("application processors", "one CPU");
    while (started_mask != (1ull << cpus) - 2) pause();
    check("every CPU that came up reached C code", true);
    phase = 1;
    contend();
    fetch_add(&arrived, 1);
    while (arrived != (u64)cpus) pause();
    u64 n = (u64)cpus * LOOPS;
    check_eq("LOCK ADD", counter_add, 3 * n);
    check_eq("LOCK XADD", counter_xadd, n);
    check_eq("LOCK CMPXCHG", counter_cas, 5 * n);
    check_eq("LOCK CMPXCHG16B, low half", (u64)counter16, n);
    check_eq("LOCK CMPXCHG16B, high half", (u64)(counter16 >> 64), 3 * n);
    check_eq("XCHG spin lock", unlocked, n);
    if (cpus == 1) finish();
    phase = 2;
    for (u64 i = 1; i <= PINGS; i++) {
        lapic_ipi(cpu_apic_id(1), ICR_ASSERT | V_PING);
        while (pongs < i) sti_hlt_cli();
    }
    check_eq("IPI ping-pong", pings, PINGS);
    shootdown();
    litmus();
    stop = 1;
    while (arrived != 2 * (u64)cpus - 1) pause();
    check("every CPU left its loop", true);
    finish();
}
