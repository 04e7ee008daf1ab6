/* dev/ioapic.h - 82093AA I/O APIC: 24 inputs at 0xFEC00000.
 * Spec: Intel 82093AA data sheet (290566-001). */
#ifndef DEV_IOAPIC_H
#define DEV_IOAPIC_H
#include "bus/dev.h"
#include "bus/irq.h"

enum { IOAPIC_INPUTS = 24 };
#define IOAPIC_BASE 0xFEC00000ull
extern const struct dev_class ioapic_class;
struct ioapic_cfg {
    struct intr_sink sink; /* lapic_send, lapic_set */
    u8 id;                 /* APIC id after reset; an agreed value with the MADT */
};
/** ioapic_set - irq_sink_fn: drive input 0..23; ctx is the struct dev. */
void ioapic_set(void *dev, u32 input, bool level);
/** ioapic_eoi - lapic_set.eoi: a level interrupt with @vector was finished; ctx is the struct dev.
 * */
void ioapic_eoi(void *dev, u8 vector);
#endif
