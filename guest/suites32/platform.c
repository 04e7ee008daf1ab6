/* platform - PIC, PIT and RTC as their data sheets have them: operating modes, priorities, special
 * commands, counters in every mode, read-back, CMOS registers. No test asserts how long anything
 * takes. Intel 231468 (8259A), 231164 (8254), Motorola MC146818A. */
#include "guest/lib32/rt32.h"

enum { V_PIC = 0x50, PORT_A = 0x20, PORT_B = 0xA0, TURNS = 20000000 };
static volatile u32 order[16], taken;

static bool on_irq(struct frame *f)
{
    if (taken < 16) order[taken] = f->vec - V_PIC;
    taken++;
    return true;
}

/* ---- 8259A ---- */
static void pic_init(u8 icw4)
{
    outb(PORT_A, 0x11), outb(PORT_B, 0x11);
    outb(PORT_A + 1, V_PIC), outb(PORT_B + 1, V_PIC + 8);
    outb(PORT_A + 1, 4), outb(PORT_B + 1, 2);
    outb(PORT_A + 1, icw4), outb(PORT_B + 1, icw4);
    outb(PORT_A + 1, 0xFF), outb(PORT_B + 1, 0xFF);
    for (int k = 0; k < 16; k++) hooks[V_PIC + k] = on_irq;
    taken = 0;
}
static u8 irr(void) { return outb(PORT_A, 0x0A), inb(PORT_A); }
static u8 isr(void) { return outb(PORT_A, 0x0B), inb(PORT_A); }

/* IRQ 0 becomes pending: the PIT's channel 0 ends its count. */
static bool pit_edge(void)
{
    outb(0x43, 0x30), outb(0x40, 20), outb(0x40, 0);
    for (u32 k = 0; k < TURNS; k++)
        if (irr() & 1) return true;
    return false;
}
static void window(void) { asm volatile("sti\n nop\n nop\n cli" ::: "memory"); }
static void wait_taken(u32 n)
{
    for (u32 k = 0; k < TURNS && taken < n; k++) window();
}

static void pic(void)
{
    pic_init(1);
    check_eq("IMR reads back", inb(PORT_A + 1), 0xFF);
    outb(PORT_A + 1, 0x5A);
    check_eq("... after OCW1", inb(PORT_A + 1), 0x5A);
    outb(PORT_A + 1, 0xFF);
    check_eq("ICW1 clears ISR", isr(), 0);
    check("IRR shows a masked request", pit_edge());
    window();
    check_eq("... which is not taken", taken, 0);
    outb(PORT_A + 1, 0xFE);
    window();
    check_eq("unmasked, it is", taken, 1);
    check_eq("... ISR", isr(), 1);
    outb(PORT_A, 0x60); /* specific EOI, level 0 */
    check_eq("specific EOI", isr(), 0);
    outb(PORT_A + 1, 0xFF);
    pic_init(3); /* AEOI */
    pit_edge();
    outb(PORT_A + 1, 0xFE);
    window();
    check("automatic EOI: ISR is clear at once", taken == 1 && isr() == 0);
    pic_init(1);
    pit_edge();
    outb(PORT_A, 0x0C); /* poll */
    check_eq("poll command: masked requests do not count", inb(PORT_A) & 0x80, 0);
}

static void pic_poll(void)
{
    pic_init(1);
    pit_edge();
    outb(PORT_A + 1, 0xFE);
    outb(PORT_A, 0x0C);
    check_eq("poll command, unmasked", inb(PORT_A), 0x80);
    check_eq("... sets ISR", isr(), 1);
    outb(PORT_A, 0x20);
    check_eq("non-specific EOI", isr(), 0);
    outb(PORT_A, 0x0C);
    check_eq("poll without a request", inb(PORT_A) & 0x80, 0);
    outb(PORT_A + 1, 0xFF);
}

/* ---- 8254 ---- */
static u16 latch(u8 ch)
{
    outb(0x43, (u8)(ch << 6));
    u8 lo = inb((u16)(0x40 + ch));
    return (u16)(lo | inb((u16)(0x40 + ch)) << 8);
}
static u8 status(u8 ch)
{
    outb(0x43, (u8)(0xE0 | 2 << ch));
    return inb((u16)(0x40 + ch));
}
static void program(u8 ch, u8 mode, u16 n)
{
    outb(0x43, (u8)(ch << 6 | 0x30 | mode << 1));
    outb((u16)(0x40 + ch), (u8)n), outb((u16)(0x40 + ch), (u8)(n >> 8));
}
static bool out2(void) { return inb(0x61) >> 5 & 1; }
static bool until_out2(bool level)
{
    for (u32 k = 0; k < TURNS; k++)
        if (out2() == level) return true;
    return false;
}
static void gate2(bool on) { outb(0x61, (u8)((inb(0x61) & 0xFC) | on)); }

static void pit(void)
{
    for (u8 mode = 0; mode < 6; mode++) {
        program(2, mode, 0x1234);
        check_eq("read-back status: mode and access", status(2) & 0x3F, 0x30 | mode << 1);
    }
    program(2, 6, 100);
    check_eq("mode 6 is mode 2", (status(2) & 0xE) >> 1 & 3, 2);
    gate2(false);
    program(2, 0, 1000);
    check("mode 0: OUT is low", !out2());
    u16 a = latch(2), b = latch(2);
    check("mode 0: gate low stops the count", a == b);
    gate2(true);
    check("mode 0: OUT rises at the end", until_out2(true));
    program(2, 0, 1000);
    check("mode 0: a new count lowers OUT", !out2() || latch(2) > 1000);
    gate2(false);
    program(2, 1, 500);
    check("mode 1: OUT is high until the gate rises", out2());
    gate2(true);
    check("mode 1: one shot", until_out2(true));
    program(2, 3, 20000);
    bool low = until_out2(false), high = until_out2(true), again = until_out2(false);
    check("mode 3: OUT is a square wave", low && high && again);
    program(2, 2, 1000);
    bool small = true;
    for (int k = 0; k < 200; k++) small = small && latch(2) <= 1000 && latch(2) >= 1;
    check("mode 2: the count stays within 1..N", small);
    program(2, 3, 1000);
    bool even = true;
    for (int k = 0; k < 200; k++) even = even && !(latch(2) & 1);
    check("mode 3: counts by two", even);
    outb(0x43, 0xB1), outb(0x42, 0x99), outb(0x42, 0x99); /* mode 0, BCD 9999 */
    u16 bcd = latch(2);
    bool digits = (bcd & 15) < 10 && (bcd >> 4 & 15) < 10 && (bcd >> 8 & 15) < 10 && bcd >> 12 < 10;
    check("BCD counting", digits);
    outb(0x43, 0x90), outb(0x42, 0x40); /* low byte only */
    check("low-byte access", inb(0x42) <= 0x40);
    program(2, 0, 0);
    latch(2);
    outb(0x43, 0x80);
    u8 lo = inb(0x42);
    for (volatile int k = 0; k < 1000; k++) continue;
    outb(0x43, 0x80); /* a second latch before both bytes are read is ignored */
    u8 hi = inb(0x42);
    (void)lo, (void)hi;
    outb(0x43, 0xD8); /* latch count, channel 2 (and not status) */
    u8 l = inb(0x42), h = inb(0x42);
    check("read-back count", (l | h << 8) <= 0xFFFF);
    gate2(false);
}

/* ---- MC146818 ---- */
static u8 cmos(u8 r) { return outb(0x70, r), inb(0x71); }
static void cmos_set(u8 r, u8 v) { outb(0x70, r), outb(0x71, v); }
static bool bcd_ok(u8 v) { return (v & 15) < 10 && v >> 4 < 10; }

static void rtc(void)
{
    u8 b = cmos(0xB);
    check_eq("register D: valid RAM and time", cmos(0xD), 0x80);
    check_eq("register B after power-on: 24 hours, BCD", b & 6, 2);
    bool ok = bcd_ok(cmos(0)) && bcd_ok(cmos(2)) && bcd_ok(cmos(4)) && bcd_ok(cmos(7)) &&
              bcd_ok(cmos(8)) && bcd_ok(cmos(9));
    check("time is BCD", ok);
    for (u32 k = 0; k < TURNS && cmos(0xA) & 0x80; k++) continue;
    cmos_set(0xB, b | 0x80); /* SET: the clock stands */
    cmos_set(0, 0x58), cmos_set(2, 0x59), cmos_set(4, 0x23);
    cmos_set(7, 0x28), cmos_set(8, 0x02), cmos_set(9, 0x24);
    check("SET: what is written stays", cmos(0) == 0x58 && cmos(2) == 0x59 && cmos(4) == 0x23);
    check_eq("... UIP is clear", cmos(0xA) & 0x80, 0);
    cmos_set(0xB, (u8)(b & ~0x80u));
    bool rolled = false;
    for (u32 k = 0; k < TURNS && !rolled; k++) rolled = !(cmos(0xA) & 0x80) && cmos(4) == 0;
    check("the clock rolls over midnight", rolled);
    check("... into 29 February of a leap year", cmos(7) == 0x29 && cmos(8) == 0x02);
    cmos_set(0xB, b | 0x80);
    cmos_set(0xB, (u8)(b | 0x84)); /* binary */
    cmos_set(2, 59);
    check_eq("binary mode", cmos(2), 59);
    cmos_set(0xB, b);
    cmos(0xC);
    cmos_set(0xA, 0x26);
    cmos_set(0xB, b | 0x40); /* periodic */
    bool pf = false;
    for (u32 k = 0; k < TURNS && !pf; k++) pf = cmos(0xC) & 0x40;
    check("periodic flag", pf);
    cmos_set(0xB, b);
    cmos(0xC);
    bool uf = false;
    for (u32 k = 0; k < TURNS && !uf; k++) uf = cmos(0xC) & 0x10;
    check("update-ended flag comes without its interrupt", uf);
    check("reading register C clears it", !(cmos(0xC) & 0x10) || cmos(0xC) != 0x10);
    cmos_set(0x40, 0xA5);
    u8 keep = cmos(0x40);
    cmos_set(0x40, 0x5A);
    check("CMOS RAM", keep == 0xA5 && cmos(0x40) == 0x5A);
    check_eq("register D is read-only", (cmos_set(0xD, 0), cmos(0xD)), 0x80);
}

/* ---- spurious and cascaded ---- */
static void cascade(void)
{
    pic_init(1);
    u8 b = cmos(0xB);
    cmos(0xC);
    cmos_set(0xA, 0x26), cmos_set(0xB, b | 0x40);
    outb(PORT_A + 1, 0xFB), outb(PORT_B + 1, 0xFE);
    wait_taken(1);
    check("IRQ 8 through the cascade", taken >= 1 && order[0] == 8);
    outb(PORT_B, 0x0B);
    check("in service on both", (inb(PORT_B) & 1) && (isr() & 4));
    cmos_set(0xB, b);
    cmos(0xC);
    outb(PORT_B, 0x20), outb(PORT_A, 0x20);
    outb(PORT_B, 0x0B);
    check("EOI to both", inb(PORT_B) == 0 && isr() == 0);
    outb(PORT_A + 1, 0xFF), outb(PORT_B + 1, 0xFF);
}

int main(void)
{
    pic();
    pic_poll();
    pit();
    rtc();
    cascade();
    finish();
}
