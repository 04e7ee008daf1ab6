/* dev/pit.h - 8254 interval timer at 0x40-0x43 and the speaker/gate port 0x61.
 * Spec: Intel 8254 data sheet (231164-005); port 61h: PIIX3 (290550) 2.5.6 NMI status and control.
 * */
#ifndef DEV_PIT_H
#define DEV_PIT_H
#include "base/clk.h"
#include "bus/dev.h"
#include "bus/irq.h"

#define PIT_HZ 1193182u
extern const struct dev_class pit_class;
struct pit_cfg {
    struct clk *clk;
    struct irq_pin *irq; /* OUT0: GSI 0 */
};
#endif
