/* ps2 - keyboard controller, keyboard and mouse, as a driver without interrupts and one with them
 * sees them.  IBM PS/2 Hardware Interface Technical Reference. */
#include "guest/lib/apic.h"
#include "guest/lib/rt.h"

enum { DATA = 0x60, CTL = 0x64, OBF = 1, AUX = 0x20, NOTHING = -1 };
enum { V_KBD = 0x51, V_AUX = 0x61, SPIN_MAX = 2000000 };
static volatile u64 hits[256];

static bool on_irq(struct frame *f)
{
    hits[f->vec]++;
    lapic_eoi();
    return true;
}

/* The next byte, or NOTHING when none comes. @aux: it must be the mouse's. */
static int next(bool aux)
{
    for (int i = 0; i < SPIN_MAX; i++) {
        u8 sts = inb(CTL);
        if (!(sts & OBF)) {
            pause();
            continue;
        }
        u8 v = inb(DATA);
        return !(sts & AUX) == aux ? NOTHING : v;
    }
    return NOTHING;
}
static int ctl(u8 command)
{
    outb(CTL, command);
    return next(false);
}
static void config(u8 v)
{
    outb(CTL, 0x60);
    outb(DATA, v);
}
static int kbd(u8 v)
{
    outb(DATA, v);
    return next(false);
}
static int mouse(u8 v)
{
    outb(CTL, 0xD4);
    outb(DATA, v);
    return next(true);
}
static void flush(void)
{
    for (int i = 0; i < 64 && (inb(CTL) & OBF); i++) {
        inb(DATA);
        delay_ms(2);
    }
}

static void controller(void)
{
    outb(CTL, 0xAD);
    outb(CTL, 0xA7);
    flush();
    check_eq("self test", (u64)ctl(0xAA), 0x55);
    check("system flag after the self test", inb(CTL) & 4);
    check_eq("keyboard line test", (u64)ctl(0xAB), 0);
    check_eq("mouse line test", (u64)ctl(0xA9), 0);
    config(0x34);
    check_eq("configuration: written and read", (u64)ctl(0x20), 0x34);
    outb(CTL, 0xAE);
    check_eq("configuration: keyboard on", (u64)ctl(0x20), 0x24);
    outb(CTL, 0xA8);
    check_eq("configuration: mouse on", (u64)ctl(0x20), 0x04);
    int port = ctl(0xD0);
    check("output port: not reset, A20 on", port >= 0 && (port & 3) == 3);
    outb(CTL, 0xD2);
    outb(DATA, 0x5A);
    check_eq("D2: as if from the keyboard", (u64)next(false), 0x5A);
    outb(CTL, 0xD3);
    outb(DATA, 0xA5);
    check_eq("D3: as if from the mouse", (u64)next(true), 0xA5);
}

static void keyboard(void)
{
    config(0x04); /* no interrupts, no translation */
    check_eq("keyboard: disable", (u64)kbd(0xF5), 0xFA);
    check_eq("keyboard: reset", (u64)kbd(0xFF), 0xFA);
    check_eq("keyboard: basic assurance test", (u64)next(false), 0xAA);
    check_eq("keyboard: echo", (u64)kbd(0xEE), 0xEE);
    check("keyboard: identify", kbd(0xF2) == 0xFA && next(false) == 0xAB && next(false) == 0x83);
    check("keyboard: LEDs", kbd(0xED) == 0xFA && kbd(0x07) == 0xFA);
    check("keyboard: typematic", kbd(0xF3) == 0xFA && kbd(0x20) == 0xFA);
    check("keyboard: scan code set 2",
          kbd(0xF0) == 0xFA && kbd(0x00) == 0xFA && next(false) == 0x02);
    check_eq("keyboard: a command that is none", (u64)kbd(0xE5), 0xFE);
    config(0x44);
    check("keyboard: identify, translated",
          kbd(0xF2) == 0xFA && next(false) == 0xAB && next(false) == 0x41);
    check_eq("keyboard: enable", (u64)kbd(0xF4), 0xFA);
}

static bool rate(u8 v) { return mouse(0xF3) == 0xFA && mouse(v) == 0xFA; }

static void pointer(void)
{
    check("mouse: reset", mouse(0xFF) == 0xFA && next(true) == 0xAA && next(true) == 0x00);
    check("mouse: status",
          mouse(0xE9) == 0xFA && next(true) == 0x00 && next(true) == 2 && next(true) == 100);
    check("mouse: resolution", mouse(0xE8) == 0xFA && mouse(0x03) == 0xFA);
    check("mouse: plain", mouse(0xF2) == 0xFA && next(true) == 0);
    check("mouse: with wheel",
          rate(200) && rate(100) && rate(80) && mouse(0xF2) == 0xFA && next(true) == 3);
    check("mouse: with five buttons",
          rate(200) && rate(200) && rate(80) && mouse(0xF2) == 0xFA && next(true) == 4);
    check("mouse: remote, nothing has moved", mouse(0xF0) == 0xFA && mouse(0xEB) == 0xFA &&
                                                  next(true) == 0x08 && next(true) == 0 &&
                                                  next(true) == 0 && next(true) == 0);
    check("mouse: back to the stream", mouse(0xEA) == 0xFA && mouse(0xF6) == 0xFA);
}

static void wait_hits(int vec)
{
    for (int i = 0; i < 1000 && !hits[vec]; i++) {
        sti();
        delay_us(50);
        cli();
    }
}

static void interrupts(void)
{
    hooks[V_KBD] = hooks[V_AUX] = on_irq;
    ioapic_route(1, V_KBD);
    ioapic_route(12, V_AUX);
    config(0x47);
    outb(DATA, 0xEE);
    wait_hits(V_KBD);
    check_eq("keyboard: one interrupt", hits[V_KBD], 1);
    check_eq("keyboard: for its byte", (u64)next(false), 0xEE);
    outb(CTL, 0xD4);
    outb(DATA, 0xE6);
    wait_hits(V_AUX);
    check_eq("mouse: one interrupt", hits[V_AUX], 1);
    check_eq("mouse: for its byte", (u64)next(true), 0xFA);
    config(0x44);
    hits[V_KBD] = 0;
    check_eq("keyboard: another", (u64)kbd(0xEE), 0xEE);
    sti();
    delay_ms(2);
    cli();
    check_eq("no interrupt when that is off", hits[V_KBD], 0);
    config(0x47);
}

int main(void)
{
    lapic_enable(0xFF);
    controller();
    keyboard();
    pointer();
    interrupts();
    finish();
}
