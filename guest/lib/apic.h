/* apic.h - local APIC, I/O APIC, PIC, PIT helpers and the start of application processors. */
#ifndef GUEST_APIC_H
#define GUEST_APIC_H
#include "guest/lib/cpu.h"

#define LAPIC_BASE 0xFEE00000ull
#define IOAPIC_BASE 0xFEC00000ull
enum {
    LAPIC_ID = 0x20,
    LAPIC_VER = 0x30,
    LAPIC_TPR = 0x80,
    LAPIC_PPR = 0xA0,
    LAPIC_EOI = 0xB0,
    LAPIC_LDR = 0xD0,
    LAPIC_DFR = 0xE0,
    LAPIC_SVR = 0xF0,
    LAPIC_ISR = 0x100,
    LAPIC_TMR = 0x180,
    LAPIC_IRR = 0x200,
    LAPIC_ESR = 0x280,
    LAPIC_ICR = 0x300,
    LAPIC_ICR_HI = 0x310,
    LAPIC_LVT_TIMER = 0x320,
    LAPIC_LVT_LINT0 = 0x350,
    LAPIC_LVT_LINT1 = 0x360,
    LAPIC_LVT_ERR = 0x370,
    LAPIC_TICR = 0x380,
    LAPIC_TCCR = 0x390,
    LAPIC_TDCR = 0x3E0
};
enum {
    LVT_MASKED = 1 << 16,
    LVT_PERIODIC = 1 << 17,
    LVT_TSC_DEADLINE = 2 << 17,
    LVT_EXTINT = 7 << 8,
    ICR_NMI = 4 << 8,
    ICR_INIT = 5 << 8,
    ICR_SIPI = 6 << 8,
    ICR_LOGICAL = 1 << 11,
    ICR_PENDING = 1 << 12,
    ICR_ASSERT = 1 << 14,
    ICR_SELF = 1 << 18,
    ICR_ALL = 2 << 18,
    ICR_OTHERS = 3 << 18
};
enum { MSR_APIC_BASE = 0x1B, MSR_TSC_DEADLINE = 0x6E0 };

u32 lapic_read(u32 reg);
void lapic_write(u32 reg, u32 v);
bool lapic_bit(u32 reg, int vec); /* bit @vec of a 256-bit register (ISR, TMR, IRR) */
void lapic_enable(u8 spurious_vec);
void lapic_eoi(void);
void lapic_ipi(u32 dest, u32 icr); /* waits until it is sent */
u32 ioapic_read(u8 reg);
void ioapic_write(u8 reg, u32 v);
void ioapic_route(int pin, u64 entry); /* redirection entry */
void pic_init(u8 base0, u8 base1);     /* initialised, all lines masked */
void pic_mask(u16 mask);               /* bit set = masked */
void pic_eoi(int irq);
void pit_mode(u8 channel, u8 mode, u16 count);
u16 pit_count(u8 channel);
void delay_us(u32 us); /* by PIT channel 2; at most 50000 */
void delay_ms(u32 ms);

/* ap_start_all - INIT/SIPI to all others; each runs @fn(index), index 1..; returns how many
 * CPUs there are in total (this one included) once the number has been stable for a while. */
int ap_start_all(void (*fn)(int cpu));
int cpu_index(void);        /* 0 for the boot CPU; by local APIC id */
u32 cpu_apic_id(int index); /* of a started processor */

#endif
