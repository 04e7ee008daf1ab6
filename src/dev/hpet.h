/* dev/hpet.h - high precision event timer: a 64-bit counter at 100 MHz and three comparators.
 *
 * Legacy replacement takes the places of the 8254 (IRQ 0) and of the RTC (IRQ 8): their outputs
 * come to hpet_legacy() instead of to the controllers, and pass while it is off.
 * Spec: IA-PC HPET 1.0a. */
#ifndef DEV_HPET_H
#define DEV_HPET_H
#include "base/clk.h"
#include "bus/dev.h"
#include "bus/irq.h"

extern const struct dev_class hpet_class;
#define HPET_GPA 0xFED00000ull
enum { HPET_TIMERS = 3, HPET_MIN_TICK = 128 }; /* shortest period for software, in counts */
#define HPET_ID 0x8086A201u                    /* the ID register's low half, for ACPI      */
struct hpet_cfg {
    struct clk *clk;
    struct irq_pin *gsi; /* GSI_COUNT pins */
};
/** hpet_legacy - an irq_sink_fn: the output of the timer that legacy replacement replaces; @input
 * 0 the 8254's, 1 the RTC's. @dev is the HPET. */
void hpet_legacy(void *dev, u32 input, bool level);
#endif
