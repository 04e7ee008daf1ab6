/* dev/i8042.h - keyboard controller (ports 0x60, 0x64) with a PS/2 keyboard and a PS/2 mouse.
 *
 * The state after reset is what a BIOS leaves: both devices enabled, interrupts on, translation to
 * scan code set 1. A byte a device sends stays readable until the next one comes, which takes half
 * a millisecond, so handlers that read it twice get what they expect.
 * Spec: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device controller,
 * keyboards (101- and 102-key), mouse; Microsoft's IntelliMouse extensions. */
#ifndef DEV_I8042_H
#define DEV_I8042_H
#include "base/clk.h"
#include "base/input.h"
#include "bus/dev.h"
#include "bus/irq.h"

extern const struct dev_class i8042_class;
struct i8042_cfg {
    struct clk *clk;
    struct irq_pin *kbd_irq, *aux_irq; /* GSI 1 and 12 */
};

/** i8042_event - a key or pointer event; an input_sink's event with @dev (struct dev) as context.
 * What does not fit a device's queue is dropped. Under the bus lock. */
void i8042_event(void *dev, const struct input_event *ev);
/** i8042_idle - the guest has read everything so far. Under the bus lock. */
bool i8042_idle(const void *dev);
#endif
