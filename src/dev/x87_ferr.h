/* dev/x87_ferr.h - the PC's way of reporting x87 errors: FERR# to IRQ 13, port F0h to IGNNE#. */
#ifndef DEV_X87_FERR_H
#define DEV_X87_FERR_H
#include "bus/dev.h"
#include "bus/irq.h"

extern const struct dev_class x87_ferr_class;
struct x87_ferr_cfg {
    struct irq_pin *irq; /* borrowed: IRQ 13 */
};
/** x87_ferr_set - the processor's FERR# pin is now @ferr. Under the bus lock. Returns IGNNE#. */
bool x87_ferr_set(struct dev *d, bool ferr);
#endif
