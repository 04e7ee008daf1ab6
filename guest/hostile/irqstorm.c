/* irqstorm - the local APIC timer at its shortest period, the PIT beside it, and self-IPIs from the
 * handlers: once they have counted their ticks they stop them, and the work behind must be right.
 * Either source alone is faster than a slow processor: whichever is served first may keep the other
 * and the work waiting until then, so both count. On a busy host ticks are rare instead, because
 * another thread has to run for each: then the storm ends after some seconds. */
#include "guest/lib/apic.h"
#include "guest/lib/rt.h"

enum { V_TIMER = 0x50, V_SELF = 0x41, V_PIC = 0x60, WORK = 3000000, TICKS = 20000 };
#define STORM_CYCLES 10000000000ull /* of the 2 GHz TSC */
static volatile u64 ticks, pits, selfs;
static u64 begin;

static void tick(void)
{
    if (ticks + pits == TICKS) {
        lapic_write(LAPIC_LVT_TIMER, LVT_MASKED); /* work can only go on when the storm is over */
        pic_mask(0xFFFF);
    }
    if ((ticks + pits) % 16 == 0) lapic_ipi(0, ICR_SELF | ICR_ASSERT | V_SELF);
}
static bool on_timer(struct frame *f)
{
    (void)f;
    lapic_eoi();
    ticks++;
    tick();
    return true;
}
static bool on_self(struct frame *f)
{
    (void)f;
    lapic_eoi();
    selfs++;
    return true;
}
static bool on_pic(struct frame *f)
{
    pic_eoi((int)f->vec - V_PIC);
    if (f->vec == V_PIC) pits++, tick();
    return true;
}

int main(void)
{
    hooks[V_TIMER] = on_timer, hooks[V_SELF] = on_self, hooks[0xFF] = on_self;
    for (int i = 0; i < 16; i++) hooks[V_PIC + i] = on_pic;
    lapic_enable(0xFF);
    lapic_write(LAPIC_LVT_LINT0, LVT_EXTINT);
    pic_init(V_PIC, V_PIC + 8);
    pit_mode(0, 2, 2);
    pic_mask(0xFFFE);
    lapic_write(LAPIC_TDCR, 0xB);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER | LVT_PERIODIC);
    lapic_write(LAPIC_TICR, 1);
    begin = rdtsc();
    sti();
    u64 sum = 0;
    for (volatile u64 i = 0; i < WORK; i++) sum += i;
    while (ticks + pits < TICKS && rdtsc() - begin < STORM_CYCLES) pause();
    cli();
    say("# %u ticks of the APIC timer, %u of the PIT, %u self-IPIs\n", ticks, pits, selfs);
    check_eq("work is finished under an interrupt storm", sum, (u64)WORK * (WORK - 1) / 2);
    check("self-IPIs came through", selfs > 0);
    finish();
}
