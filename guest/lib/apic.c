/* apic.c - interrupt controllers, PIT and application processors.
 * SDM volume 3A chapter 11 (APIC), 9.4 (start-up); Intel 8259A, 8254 and 82093AA data sheets. */
#include "guest/lib/apic.h"
#include "guest/lib/rt.h"

enum { WAIT_MAX = 10000000, CPU_SETTLE_MS = 60 };
static void (*volatile ap_fn)(int cpu);
static volatile u8 apic_ids[CPUS_MAX];
extern char ap_tramp[], ap_tramp_end[];
extern volatile u32 ap_next;
void cpu_tables_load(int cpu);
void ap_entry(int cpu);

u32 lapic_read(u32 reg) { return RD(u32, LAPIC_BASE + reg); }
void lapic_write(u32 reg, u32 v) { RD(u32, LAPIC_BASE + reg) = v; }

bool lapic_bit(u32 reg, int vec)
{
    return lapic_read(reg + (u32)(vec / 32) * 16) >> (vec % 32) & 1;
}

void lapic_enable(u8 spurious_vec)
{
    wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 11);
    lapic_write(LAPIC_SVR, 0x100u | spurious_vec);
    lapic_write(LAPIC_TPR, 0);
}

void lapic_eoi(void) { lapic_write(LAPIC_EOI, 0); }

void lapic_ipi(u32 dest, u32 icr)
{
    lapic_write(LAPIC_ICR_HI, dest << 24);
    lapic_write(LAPIC_ICR, icr);
    for (int i = 0; i < WAIT_MAX && (lapic_read(LAPIC_ICR) & ICR_PENDING); i++) pause();
}

u32 ioapic_read(u8 reg)
{
    RD(u32, IOAPIC_BASE) = reg;
    return RD(u32, IOAPIC_BASE + 0x10);
}

void ioapic_write(u8 reg, u32 v)
{
    RD(u32, IOAPIC_BASE) = reg;
    RD(u32, IOAPIC_BASE + 0x10) = v;
}

void ioapic_route(int pin, u64 entry)
{
    ioapic_write((u8)(0x10 + 2 * pin), LVT_MASKED);
    ioapic_write((u8)(0x11 + 2 * pin), (u32)(entry >> 32));
    ioapic_write((u8)(0x10 + 2 * pin), (u32)entry);
}

void pic_init(u8 base0, u8 base1)
{
    outb(0x20, 0x11), outb(0xA0, 0x11);
    outb(0x21, base0), outb(0xA1, base1);
    outb(0x21, 4), outb(0xA1, 2);
    outb(0x21, 1), outb(0xA1, 1);
    pic_mask(0xFFFF);
}

void pic_mask(u16 mask)
{
    outb(0x21, (u8)mask);
    outb(0xA1, (u8)(mask >> 8));
}

void pic_eoi(int irq)
{
    if (irq >= 8) outb(0xA0, 0x20);
    outb(0x20, 0x20);
}

void pit_mode(u8 channel, u8 mode, u16 count)
{
    outb(0x43, (u8)(channel << 6 | 0x30 | mode << 1));
    outb((u16)(0x40 + channel), (u8)count);
    outb((u16)(0x40 + channel), (u8)(count >> 8));
}

u16 pit_count(u8 channel)
{
    outb(0x43, (u8)(channel << 6));
    u8 lo = inb((u16)(0x40 + channel));
    return (u16)(lo | inb((u16)(0x40 + channel)) << 8);
}

void delay_us(u32 us)
{
    outb(0x61, (u8)((inb(0x61) & ~2u) | 1));
    pit_mode(2, 0, (u16)((u64)us * 1193182 / 1000000 + 1));
    for (int i = 0; i < WAIT_MAX && !(inb(0x61) & 0x20); i++) pause();
}

void delay_ms(u32 ms)
{
    while (ms--) delay_us(1000);
}

int cpu_index(void)
{
    u8 id = (u8)(cpuid(1, 0).b >> 24);
    for (int i = 1; i < (int)ap_next && i < CPUS_MAX; i++)
        if (apic_ids[i] == id) return i;
    return 0;
}

u32 cpu_apic_id(int index) { return apic_ids[index]; }

void ap_entry(int cpu)
{
    apic_ids[cpu] = (u8)(cpuid(1, 0).b >> 24);
    cpu_tables_load(cpu);
    lapic_enable(0xFF);
    ap_fn(cpu);
    for (;;) asm volatile("cli\n hlt");
}

int ap_start_all(void (*fn)(int cpu))
{
    memcpy((void *)AP_PAGE, ap_tramp, (size_t)(ap_tramp_end - ap_tramp));
    ap_next = 1;
    ap_fn = fn;
    lapic_enable(0xFF);
    lapic_ipi(0, ICR_OTHERS | ICR_ASSERT | ICR_INIT);
    delay_ms(10);
    for (int i = 0; i < 2; i++) {
        lapic_ipi(0, ICR_OTHERS | ICR_ASSERT | ICR_SIPI | AP_PAGE >> 12);
        delay_us(300);
    }
    u32 seen = ap_next;
    for (int quiet = 0; quiet < CPU_SETTLE_MS; quiet++) {
        delay_ms(1);
        if (ap_next != seen) quiet = 0;
        seen = ap_next;
    }
    return (int)(seen < CPUS_MAX ? seen : CPUS_MAX);
}
