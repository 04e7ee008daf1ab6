/* dev/pic.h - the PC's pair of 8259A interrupt controllers with the edge/level registers of the
 * PIIX.
 * Spec: Intel 8259A data sheet (231468-003); PIIX3 data sheet (290550) 2.5 ELCR. */
#ifndef DEV_PIC_H
#define DEV_PIC_H
#include "bus/dev.h"
#include "bus/irq.h"

extern const struct dev_class pic_class;
struct pic_cfg {
    struct irq_pin *intr; /* INT output: routed to lapic_extint */
};
/** pic_set - irq_sink_fn: drive input 0..15 (2 is the cascade and ignored); ctx is the struct dev.
 * */
void pic_set(void *dev, u32 input, bool level);
/** pic_ack - struct extint_source.ack: both INTA cycles; ctx is the struct dev. Spurious: IRQ7 or
 * IRQ15 of the base. */
u8 pic_ack(void *dev);
#endif
