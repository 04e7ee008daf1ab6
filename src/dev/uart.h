/* dev/uart.h - 16550A UART: one 8-port region, attached by the machine (0x3F8 COM1, 0x2F8 COM2
 * ...). Output takes no virtual time; the baud rate is stored and ignored, except for the
 * character time-out interrupt.
 * Spec: National Semiconductor PC16550D data sheet. */
#ifndef DEV_UART_H
#define DEV_UART_H
#include "base/clk.h"
#include "bus/chardev.h"
#include "bus/dev.h"
#include "bus/irq.h"

extern const struct dev_class uart_class;
struct uart_cfg {
    struct clk *clk;
    struct irq_pin *irq; /* GSI 4 for COM1 */
    /* borrowed for the device's life: the UART becomes its front; NULL: nothing connected */
    struct chardev *chardev;
};
#endif
