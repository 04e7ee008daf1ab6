/* interrupts - PIC, I/O APIC, local APIC and its timer, PIT, RTC; shadows, masking, priority.
 * SDM volume 3A chapters 6 and 11.  No test asserts how long anything takes, only that it comes,
 * how often it comes per programming, and in which order; a wait that never ends is the runner's
 * time limit. */
#include "guest/lib/apic.h"
#include "guest/lib/rt.h"

enum { V_PIC = 0x40, V_TIMER = 0x50, V_LOW = 0x61, V_HIGH = 0x91, V_SPUR = 0xFF, V_TOP = 0xE1 };
enum { SPIN_MAX = 200000000 };
static volatile u64 hits[256], order[16], norder, hit_rip;
static u8 nmi_stack[4096] __attribute__((aligned(16)));

static bool on_irq(struct frame *f)
{
    hits[f->vec]++;
    hit_rip = f->rip;
    if (norder < 16) order[norder++] = f->vec;
    lapic_eoi();
    return true;
}
static bool on_irq_no_eoi(struct frame *f)
{
    hits[f->vec]++;
    return true;
}
static bool on_pic(struct frame *f)
{
    hits[f->vec]++;
    pic_eoi((int)f->vec - V_PIC);
    return true;
}
static bool on_rtc(struct frame *f)
{
    outb(0x70, 0x0C);
    if (inb(0x71) & 0x40) hits[f->vec]++;
    pic_eoi((int)f->vec - V_PIC);
    return true;
}
static void clear(void)
{
    for (int i = 0; i < 256; i++) hits[i] = 0;
    norder = 0;
}
static void self_ipi(int vec) { lapic_ipi(0, ICR_SELF | ICR_ASSERT | (u32)vec); }
static void wait_hits(int vec, u64 n)
{
    while (hits[vec] < n) sti_hlt_cli();
}
static bool pending(int vec) { return lapic_bit(LAPIC_IRR, vec); }
static void wait_pending(int vec)
{
    for (int i = 0; i < SPIN_MAX && !pending(vec); i++) pause();
}

/* ---- PIC and PIT ---- */
static void pic_pit(void)
{
    clear();
    lapic_write(LAPIC_LVT_LINT0, LVT_EXTINT);
    pic_init(V_PIC, V_PIC + 8);
    for (int i = 0; i < 16; i++) hooks[V_PIC + i] = on_pic;
    pit_mode(0, 2, 11932);
    pic_mask(0xFFFE);
    wait_hits(V_PIC, 5);
    check("PIT periodic through the PIC", hits[V_PIC] == 5);
    pic_mask(0xFFFF);
    u64 n = hits[V_PIC];
    sti();
    delay_ms(30);
    cli();
    check("PIC mask holds it back", hits[V_PIC] - n <= 1);
    pit_mode(0, 0, 60000);
    pic_init(V_PIC, V_PIC + 8); /* forget edges latched while masked */
    pic_mask(0xFFFE);
    n = hits[V_PIC];
    wait_hits(V_PIC, n + 1);
    sti();
    delay_ms(20);
    cli();
    check_eq("PIT mode 0 fires once", hits[V_PIC], n + 1);
    pit_mode(0, 0, 100);
    outb(0x20, 0x0A);
    for (int i = 0; i < 1000 && !(inb(0x20) & 1); i++) delay_ms(1);
    check("PIC IRR shows the request", inb(0x20) & 1);
    hooks[V_PIC] = on_irq_no_eoi;
    n = hits[V_PIC];
    sti();
    asm volatile("nop\n nop" ::: "memory");
    cli();
    check_eq("taken once IF is set", hits[V_PIC], n + 1);
    outb(0x20, 0x0B);
    check("PIC ISR shows the service", inb(0x20) & 1);
    pic_eoi(0);
    outb(0x20, 0x0B);
    check_eq("EOI clears the ISR", inb(0x20), 0);
    hooks[V_PIC] = on_pic;
    pit_mode(0, 2, 0);
    u16 a = pit_count(0);
    delay_us(200);
    check("PIT counter runs", pit_count(0) != a);
    pic_mask(0xFFFF);
}

static void rtc(void)
{
    clear();
    hooks[V_PIC + 8] = on_rtc;
    outb(0x70, 0x0A), outb(0x71, 0x26);
    outb(0x70, 0x0B);
    u8 b = inb(0x71);
    outb(0x70, 0x0B), outb(0x71, b | 0x40);
    outb(0x70, 0x0C), inb(0x71);
    pic_mask((u16) ~(1 << 8 | 1 << 2));
    wait_hits(V_PIC + 8, 4);
    check("RTC periodic through the slave PIC", hits[V_PIC + 8] >= 4);
    outb(0x70, 0x0B), outb(0x71, b);
    pic_mask(0xFFFF);
    outb(0x70, 0x0A);
    check_eq("RTC register A reads back its rate", inb(0x71) & 0x7F, 0x26);
}

static void ioapic(void)
{
    clear();
    hooks[V_LOW] = on_irq;
    check("IOAPIC version: 24 pins", (ioapic_read(1) >> 16 & 0xFF) == 23);
    pit_mode(0, 2, 11932);
    ioapic_route(2, V_LOW);
    wait_hits(V_LOW, 3);
    check("PIT through IOAPIC pin 2", hits[V_LOW] >= 3);
    ioapic_route(2, V_LOW | LVT_MASKED);
    u64 n = hits[V_LOW];
    sti();
    delay_ms(25);
    cli();
    check("IOAPIC mask", hits[V_LOW] - n <= 1);
    ioapic_write(0x3E, 0xFFFFFFFF & ~0xFFFu);
    check("redirection entry: writable bits", (ioapic_read(0x3E) & 0x10000));
    ioapic_route(2, LVT_MASKED);
}

/* ---- local APIC timer ---- */
static void lapic_timer(void)
{
    clear();
    hooks[V_TIMER] = on_irq;
    lapic_write(LAPIC_TDCR, 0xB);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER);
    lapic_write(LAPIC_TICR, 100000);
    wait_hits(V_TIMER, 1);
    sti();
    delay_ms(10);
    cli();
    check_eq("timer one-shot fires once", hits[V_TIMER], 1);
    check_eq("one-shot count stays 0", lapic_read(LAPIC_TCCR), 0);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER | LVT_PERIODIC);
    lapic_write(LAPIC_TICR, 100000);
    wait_hits(V_TIMER, 6);
    check("timer periodic", true);
    u32 c = lapic_read(LAPIC_TCCR);
    check("current count within initial count", c <= 100000);
    lapic_write(LAPIC_TICR, 0);
    u64 n = hits[V_TIMER];
    sti();
    delay_ms(5);
    cli();
    check("initial count 0 stops it", hits[V_TIMER] - n <= 1);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER | LVT_MASKED);
    lapic_write(LAPIC_TICR, 1000);
    n = hits[V_TIMER];
    sti();
    delay_ms(5);
    cli();
    check_eq("masked timer is silent", hits[V_TIMER], n);
    lapic_write(LAPIC_TICR, 0);
    if (!(cpuid(1, 0).c >> 24 & 1)) {
        skip("TSC deadline", "not in CPUID");
        return;
    }
    lapic_write(LAPIC_LVT_TIMER, V_TIMER | LVT_TSC_DEADLINE);
    asm volatile("mfence" ::: "memory");
    clear();
    u64 at = rdtsc() + 3000000;
    wrmsr(MSR_TSC_DEADLINE, at);
    wait_hits(V_TIMER, 1);
    check("TSC deadline comes, not early", rdtsc() >= at);
    check_eq("TSC deadline MSR is 0 after it fired", rdmsr(MSR_TSC_DEADLINE), 0);
    wrmsr(MSR_TSC_DEADLINE, 1);
    wait_hits(V_TIMER, 2);
    check("a deadline in the past fires at once", true);
    wrmsr(MSR_TSC_DEADLINE, rdtsc() + 20000000);
    wrmsr(MSR_TSC_DEADLINE, 0);
    sti();
    delay_ms(30);
    cli();
    check_eq("writing 0 disarms", hits[V_TIMER], 2);
    lapic_write(LAPIC_LVT_TIMER, LVT_MASKED);
}

/* ---- shadows and masking ---- */
extern const char sti_next[], ss_next[], sti2_next[], popf_next[];
static void shadows(void)
{
    clear();
    hooks[V_LOW] = on_irq;
    self_ipi(V_LOW);
    wait_pending(V_LOW);
    check_eq("CLI holds the interrupt", hits[V_LOW], 0);
    asm volatile("sti\n nop\n .global sti_next\n sti_next: nop\n cli" ::: "memory");
    check("STI shadow covers exactly one instruction",
          hits[V_LOW] == 1 && hit_rip == (u64)sti_next);
    self_ipi(V_LOW);
    wait_pending(V_LOW);
    asm volatile("sti\n cli" ::: "memory");
    check_eq("STI; CLI opens no window", hits[V_LOW], 1);
    asm volatile("sti\n sti\n .global sti2_next\n sti2_next: nop\n nop\n cli" ::: "memory");
    check_eq("a second STI does not extend the shadow", hits[V_LOW], 2);
    check("it is taken behind the second STI", hit_rip == (u64)sti2_next);
    self_ipi(V_LOW);
    wait_pending(V_LOW);
    asm volatile(
        "mov %%ss, %%eax\n push %0\n popfq\n .global popf_next\n popf_next: nop\n cli" ::"r"(2ull |
                                                                                             FL_IF)
        : "rax", "memory");
    check("POPF setting IF has no shadow", hits[V_LOW] == 3 && hit_rip == (u64)popf_next);
    self_ipi(V_LOW);
    wait_pending(V_LOW);
    /* of consecutive instructions that delay, only the first must: SDM 2B "MOV" */
    asm volatile(
        "mov %%ss, %%eax\n sti\n mov %%eax, %%ss\n .global ss_next\n ss_next: nop\n nop\n cli" ::
            : "rax", "memory");
    check("STI; MOV SS: taken behind MOV SS or one later",
          hits[V_LOW] == 4 && hit_rip - (u64)ss_next <= 1);
    self_ipi(V_LOW);
    sti_hlt_cli();
    check_eq("STI; HLT wakes for a pending interrupt", hits[V_LOW], 5);
    ATTEMPT2("mov %%ss, %%eax\n mov %%eax, %%ss", "ud2", ::: "rax", "memory");
    check_trap("an exception is not held by MOV SS", UD, 0);
}

/* ---- priority ---- */
static void priority(void)
{
    clear();
    hooks[V_LOW] = hooks[V_HIGH] = hooks[V_TOP] = on_irq;
    self_ipi(V_LOW), self_ipi(V_TOP), self_ipi(V_HIGH);
    wait_pending(V_HIGH), wait_pending(V_LOW), wait_pending(V_TOP);
    sti();
    asm volatile("nop\n nop\n nop" ::: "memory");
    cli();
    check("highest vector first",
          norder == 3 && order[0] == V_TOP && order[1] == V_HIGH && order[2] == V_LOW);
    clear();
    write_cr8(9);
    check_eq("CR8 is TPR[7:4]", lapic_read(LAPIC_TPR), 0x90);
    lapic_write(LAPIC_TPR, 0xA0);
    check_eq("TPR shows in CR8", read_cr8(), 0xA);
    check_eq("PPR follows TPR", lapic_read(LAPIC_PPR), 0xA0);
    self_ipi(V_HIGH);
    wait_pending(V_HIGH);
    sti();
    asm volatile("nop\n nop" ::: "memory");
    check_eq("TPR holds an equal or lower class", hits[V_HIGH], 0);
    write_cr8(9);
    asm volatile("nop\n nop" ::: "memory");
    check_eq("equal class is still held", hits[V_HIGH], 0);
    write_cr8(8);
    asm volatile("nop\n nop" ::: "memory");
    cli();
    check_eq("lowering CR8 releases it", hits[V_HIGH], 1);
    write_cr8(0);
    ATTEMPT("mov %0, %%cr8", ::"r"(16ull) : "memory");
    check_trap("#GP CR8 reserved bits", GP, 0);
    clear();
    hooks[V_HIGH] = on_irq_no_eoi;
    self_ipi(V_HIGH);
    wait_pending(V_HIGH);
    sti();
    asm volatile("nop\n nop" ::: "memory");
    check("in service: ISR bit, IRR clear", lapic_bit(LAPIC_ISR, V_HIGH) && !pending(V_HIGH));
    check_eq("in service: PPR", lapic_read(LAPIC_PPR), V_HIGH & 0xF0);
    self_ipi(V_LOW), self_ipi(V_HIGH);
    asm volatile("nop\n nop" ::: "memory");
    check("lower and equal wait for EOI", hits[V_LOW] == 0 && hits[V_HIGH] == 1);
    self_ipi(V_TOP);
    asm volatile("nop\n nop" ::: "memory");
    check_eq("higher nests", hits[V_TOP], 1);
    lapic_eoi();
    asm volatile("nop\n nop" ::: "memory");
    check_eq("EOI lets the same vector in again", hits[V_HIGH], 2);
    lapic_eoi();
    asm volatile("nop\n nop" ::: "memory");
    cli();
    check_eq("then the lower one", hits[V_LOW], 1);
    check_eq("everything is retired", lapic_read(LAPIC_PPR), 0);
    clear();
    self_ipi(V_LOW), self_ipi(V_LOW), self_ipi(V_LOW);
    wait_pending(V_LOW);
    sti();
    asm volatile("nop\n nop\n nop\n nop" ::: "memory");
    cli();
    check_eq("edges collapse in the IRR", hits[V_LOW], 1);
}

/* ---- NMI ---- */
static bool nmi_inner(struct frame *f)
{
    hits[f->vec]++;
    if (hits[NMI] > 3) return true;
    u64 n = hits[NMI];
    lapic_ipi(0, ICR_NMI | ICR_ASSERT); /* physical destination: this CPU's id is 0 */
    delay_us(100);
    if (hits[NMI] != n) hits[255]++; /* nested before IRET: wrong */
    return true;
}

static bool on_nmi(struct frame *f)
{
    hits[f->vec]++;
    return true;
}

static void nmi(void)
{
    clear();
    tss[0].ist[0] = (u64)nmi_stack + sizeof nmi_stack;
    hooks[NMI] = on_nmi;
    lapic_ipi(lapic_read(LAPIC_ID) >> 24, ICR_NMI | ICR_ASSERT);
    for (int i = 0; i < SPIN_MAX && !hits[NMI]; i++) pause();
    check_eq("NMI by IPI ignores IF", hits[NMI], 1);
    clear();
    hooks[NMI] = nmi_inner;
    lapic_ipi(0, ICR_NMI | ICR_ASSERT);
    for (int i = 0; i < SPIN_MAX && hits[NMI] < 4; i++) pause();
    check("NMI is blocked until IRET, then one is delivered", hits[NMI] == 4 && hits[255] == 0);
    hooks[NMI] = on_nmi;
    clear();
    asm volatile("int $2" ::: "memory");
    check_eq("INT 2 reaches the same gate", hits[NMI], 1);
    clear();
    lapic_ipi(0, ICR_NMI | ICR_ASSERT);
    for (int i = 0; i < SPIN_MAX && !hits[NMI]; i++) pause();
    check_eq("INT 2's IRET leaves NMIs open", hits[NMI], 1);
    hooks[NMI] = NULL;
}

/* ---- registers ---- */
static void registers(void)
{
    check_eq("APIC version has 0x1X", lapic_read(LAPIC_VER) >> 4 & 0xF, 1);
    check("LVT entries >= 5", (lapic_read(LAPIC_VER) >> 16 & 0xFF) >= 4);
    lapic_write(LAPIC_LDR, 0xFFFFFFFF);
    check_eq("LDR keeps the top byte", lapic_read(LAPIC_LDR), 0xFF000000);
    lapic_write(LAPIC_DFR, 0x0FFFFFFF);
    check_eq("DFR low bits read as ones", lapic_read(LAPIC_DFR), 0x0FFFFFFF);
    lapic_write(LAPIC_DFR, 0xFFFFFFFF);
    clear();
    lapic_write(LAPIC_ESR, 0);
    lapic_write(LAPIC_LVT_ERR, LVT_MASKED | 0xFE);
    hooks[5] = on_irq; /* nothing must arrive there */
    self_ipi(5);
    sti();
    asm volatile("nop\n nop" ::: "memory");
    cli();
    check_eq("an illegal vector is not delivered", hits[5], 0);
    lapic_write(LAPIC_ESR, 0);
    check("sending an illegal vector is an error (ESR bit 5)", lapic_read(LAPIC_ESR) & 0x20);
    lapic_write(LAPIC_SVR, 0xFF);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER);
    check("software-disabled APIC masks its LVTs", lapic_read(LAPIC_LVT_TIMER) & LVT_MASKED);
    lapic_enable(V_SPUR);
    clear();
    hooks[V_LOW] = on_irq;
    lapic_write(LAPIC_LDR, 1u << 24);
    lapic_ipi(1, ICR_LOGICAL | ICR_ASSERT | V_LOW);
    wait_pending(V_LOW);
    check("logical destination", pending(V_LOW));
    lapic_ipi(2, ICR_LOGICAL | ICR_ASSERT | V_HIGH);
    check("another logical destination is not us", !pending(V_HIGH));
    wait_hits(V_LOW, 1);
    ATTEMPT("int $0x30", ::: "memory");
    check_after("INT n ignores IF and needs no EOI", 0x30, 0);
    check("INT n sets no ISR bit", !lapic_bit(LAPIC_ISR, 0x30));
}

int main(void)
{
    lapic_enable(V_SPUR);
    hooks[V_SPUR] = on_irq_no_eoi;
    registers();
    shadows();
    priority();
    nmi();
    lapic_timer();
    pic_pit();
    rtc();
    ioapic();
    finish();
}
