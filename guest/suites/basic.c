/* basic - what every engine needs first, in instructions any KVM executes, software emulations
 * included: loops, port and memory-mapped I/O, the interrupt window, task priority, and waking from
 * HLT by each timer. SDM volume 3A chapters 6 and 11. No test asserts how long anything takes. */
#include "guest/lib/apic.h"
#include "guest/lib/rt.h"

enum {
    V_PIC = 0x40,
    V_IPI = 0x61,
    V_TIMER = 0x70,
    SCRATCH = 0x3FF,
    NOBODY = 0x2E8,
    SPIN_MAX = 10000
};
static volatile u64 hits[256];
static u32 words[256];

static bool on_irq(struct frame *f)
{
    hits[f->vec]++;
    lapic_eoi();
    return true;
}
static bool on_pic(struct frame *f)
{
    hits[f->vec]++;
    pic_eoi((int)f->vec - V_PIC);
    return true;
}
static void self_ipi(int vec) { lapic_ipi(0, ICR_SELF | ICR_ASSERT | (u32)vec); }

/* Interrupts on until there were @n of @vec, or for a good while. How soon after STI is the suite
 * interrupts' business; the port is there because KVM's emulator tells of a new CR8 only when
 * something else makes it stop. */
static void open_window(int vec, u64 n)
{
    sti();
    for (u32 i = 0; i < SPIN_MAX && hits[vec] < n; i++) inb(SCRATCH);
    cli();
}

static void loops(void)
{
    u32 sum = 0;
    for (u32 i = 0; i < 256; i++) words[i] = i * 2654435761u;
    for (u32 round = 0; round < 16; round++) {
        for (u32 i = 0; i < 256; i++) sum = sum * 31 + (words[i] ^ round);
    }
    u32 again = 0;
    for (u32 i = 0; i < 16 * 256; i++) again = again * 31 + ((i & 255) * 2654435761u ^ i >> 8);
    check_eq("loops over memory and registers agree", sum, again);
}

static void ports(void)
{
    static const u8 out[5] = {1, 2, 3, 4, 0xA7};
    u8 in[3] = {0};
    const void *src = out;
    void *dst = in;
    u64 n = sizeof out, m = sizeof in;
    outb(SCRATCH, 0x5A);
    check_eq("a port echoes", inb(SCRATCH), 0x5A);
    asm volatile("rep outsb" : "+S"(src), "+c"(n) : "d"(SCRATCH) : "memory");
    check_eq("REP OUTSB wrote the last byte last", inb(SCRATCH), 0xA7);
    check("REP OUTSB ran to its end", n == 0 && src == out + sizeof out);
    asm volatile("rep insb" : "+D"(dst), "+c"(m) : "d"(SCRATCH) : "memory");
    check("REP INSB reads every byte", in[0] == 0xA7 && in[1] == 0xA7 && in[2] == 0xA7 && m == 0);
    check_eq("a port nobody has reads as ones", inb(NOBODY), 0xFF);
}

static void mmio(void)
{
    lapic_write(LAPIC_TICR, 0);
    lapic_write(LAPIC_DFR, 0xFFFFFFFF);
    check_eq("a local APIC register holds", lapic_read(LAPIC_DFR), 0xFFFFFFFF);
    ioapic_write(0x10, 0x10000);
    check_eq("an I/O APIC entry holds", ioapic_read(0x10) & 0x10000, 0x10000);
    check_eq("APIC base is where it was found", rdmsr(MSR_APIC_BASE) & 0xFFFFF000, LAPIC_BASE);
}

static void window(void)
{
    hooks[V_IPI] = on_irq;
    self_ipi(V_IPI);
    asm volatile("nop\n nop" ::: "memory");
    check_eq("IF = 0 holds an interrupt back", hits[V_IPI], 0);
    open_window(V_IPI, 1);
    check_eq("STI opens the window", hits[V_IPI], 1);
    asm volatile("mov %0, %%cr8" ::"r"(15ull) : "memory");
    self_ipi(V_IPI);
    open_window(V_IPI, 2);
    check_eq("CR8 = 15 holds it back", hits[V_IPI], 1);
    check_eq("CR8 is the APIC's TPR", lapic_read(LAPIC_TPR), 0xF0);
    asm volatile("mov %0, %%cr8" ::"r"(0ull) : "memory");
    open_window(V_IPI, 2);
    check_eq("CR8 = 0 lets it through", hits[V_IPI], 2);
}

static void wake(void)
{
    hooks[V_PIC] = on_pic;
    hooks[V_TIMER] = on_irq;
    lapic_write(LAPIC_LVT_LINT0, LVT_EXTINT);
    pic_init(V_PIC, V_PIC + 8);
    pit_mode(0, 2, 11932);
    pic_mask(0xFFFE);
    while (hits[V_PIC] < 3) sti_hlt_cli();
    check("HLT wakes by the PIT through the PIC", hits[V_PIC] >= 3);
    pic_mask(0xFFFF);
    lapic_write(LAPIC_TDCR, 0xB);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER);
    lapic_write(LAPIC_TICR, 100000);
    while (hits[V_TIMER] < 1) sti_hlt_cli();
    check_eq("HLT wakes by the local APIC timer", hits[V_TIMER], 1);
    if (!(cpuid(1, 0).c >> 24 & 1)) {
        skip("HLT wakes by the TSC deadline", "not in CPUID");
        return;
    }
    lapic_write(LAPIC_LVT_TIMER, LVT_TSC_DEADLINE | V_TIMER);
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 2000000);
    while (hits[V_TIMER] < 2) sti_hlt_cli();
    check_eq("HLT wakes by the TSC deadline", hits[V_TIMER], 2);
}

int main(void)
{
    lapic_enable(0xFF);
    loops();
    ports();
    mmio();
    window();
    wake();
    finish();
}
