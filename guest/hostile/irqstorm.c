/* irqstorm - the local APIC timer at its shortest period, the PIT beside it, and self-IPIs from the
 * handler: once the handler has counted its ticks it stops them, and the work behind must be right.
 */
#include "guest/lib/apic.h"
#include "guest/lib/rt.h"

enum { V_TIMER = 0x50, V_SELF = 0x41, V_PIC = 0x60, WORK = 3000000, TICKS = 20000 };
static volatile u64 ticks, selfs;

static bool on_timer(struct frame *f)
{
    (void)f;
    lapic_eoi();
    if (++ticks == TICKS) {
        lapic_write(LAPIC_LVT_TIMER, LVT_MASKED); /* work can only go on when the storm is over */
        pic_mask(0xFFFF);
    }
    if (ticks % 16 == 0) lapic_ipi(0, ICR_SELF | ICR_ASSERT | V_SELF);
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
    sti();
    u64 sum = 0;
    for (volatile u64 i = 0; i < WORK; i++) sum += i;
    while (ticks < TICKS) pause();
    cli();
    say("# %u timer ticks, %u self-IPIs\n", ticks, selfs);
    check_eq("work is finished under an interrupt storm", sum, (u64)WORK * (WORK - 1) / 2);
    check("self-IPIs came through", selfs > 0);
    finish();
}
