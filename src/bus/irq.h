/* bus/irq.h - interrupt wires and interrupt messages between devices and controllers.
 *
 * A device owns its line; the machine owns the pins and says which controller inputs each pin
 * reaches. Several lines may share a pin (wired OR); a pin fans out to a few sinks, e.g. GSI 4 ->
 * PIC input 4 and I/O APIC input 4:
 *
 *     uart.irq (line) --+                       +--> pic_set(pic, 4, level)
 *                       +--> gsi[4] (irq_pin) --+
 *     other.irq (line) -+                       +--> ioapic_set(ioapic, 4, level)
 *
 * Levels are logical: true means asserted, whatever the electrical polarity.
 * Threads: under the bus lock. Saved state: none; a device sets its line again after a load, and
 * setting is idempotent. */
#ifndef BUS_IRQ_H
#define BUS_IRQ_H
#include "base/types.h"

enum { IRQ_SINKS_MAX = 4, GSI_COUNT = 24 };

typedef void irq_sink_fn(void *ctx, u32 input, bool level);

struct irq_pin {
    u32 asserted; /* lines holding it up */
    u32 sinks;
    struct {
        irq_sink_fn *set;
        void *ctx;
        u32 input;
    } sink[IRQ_SINKS_MAX];
};
struct irq_line {
    struct irq_pin *pin; /* borrowed; NULL: connected to nothing */
    bool level;
};

/** irq_pin_route - also forward @pin to @set(@ctx, @input, level). At most IRQ_SINKS_MAX; set-up
 * time only. */
void irq_pin_route(struct irq_pin *pin, irq_sink_fn *set, void *ctx, u32 input);
/** irq_pin_cut - forward @pin to nobody any more: before what listens goes. */
void irq_pin_cut(struct irq_pin *pin);
/** irq_line_init - a low line on @pin (may be NULL). */
void irq_line_init(struct irq_line *line, struct irq_pin *pin);
/** irq_set - idempotent: only changes reach the pin, and only changes of the pin reach the sinks.
 * */
void irq_set(struct irq_line *line, bool level);
/** irq_pulse - a rising and a falling edge (edge-triggered users). */
void irq_pulse(struct irq_line *line);

/* An interrupt message on the APIC bus: I/O APIC redirection, MSI, IPI. SDM vol 3A 11.6.1, 11.11.
 * */
enum intr_mode { /* delivery mode field */
                 INTR_FIXED = 0,
                 INTR_LOWEST = 1,
                 INTR_SMI = 2,
                 INTR_NMI = 4,
                 INTR_INIT = 5,
                 INTR_SIPI = 6,
                 INTR_EXTINT = 7,
};
struct intr_msg {
    u32 dest; /* APIC id, or logical destination; 0xFF (8-bit senders) is every CPU when physical */
    u8 vector;
    u8 mode; /* enum intr_mode */
    bool logical;
    bool level;  /* level triggered: TMR bit set, EOI is broadcast */
    bool dest32; /* @dest is a 32-bit x2APIC destination */
};
/* Where messages go: the local APICs implement it. */
struct intr_sink {
    void (*send)(void *ctx, const struct intr_msg *msg);
    void *ctx;
};
/** intr_from_msi - decode an MSI address/data pair. False when @addr is not in the interrupt
 * window 0xFEExxxxx. */
bool intr_from_msi(u64 addr, u32 data, struct intr_msg *msg);
/** msi_send - decode and send; pairs outside the window are dropped. */
void msi_send(const struct intr_sink *sink, u64 addr, u32 data);

/* The 8259A pair, as a processor or local APIC sees it when taking an ExtINT. */
struct extint_source {
    u8 (*ack)(void *ctx); /* INTA cycles: the vector; spurious ones included */
    void *ctx;
};
#endif
