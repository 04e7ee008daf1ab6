/* bus/irq.c - wired-OR interrupt pins and the decoding of message-signalled interrupts.
 * Spec: SDM vol 3A 11.11 (message signalled interrupts). */
#include "bus/irq.h"

#include "base/check.h"

void irq_pin_route(struct irq_pin *pin, irq_sink_fn *set, void *ctx, u32 input)
{
    ASSERT(pin->sinks < IRQ_SINKS_MAX, "pin already has %u sinks", pin->sinks);
    u32 i = pin->sinks++;
    pin->sink[i].set = set;
    pin->sink[i].ctx = ctx;
    pin->sink[i].input = input;
    if (pin->asserted) set(ctx, input, true);
}

void irq_pin_cut(struct irq_pin *pin) { pin->sinks = 0; }

void irq_line_init(struct irq_line *line, struct irq_pin *pin)
{
    line->pin = pin;
    line->level = false;
}

static void pin_forward(const struct irq_pin *pin, bool level)
{
    for (u32 i = 0; i < pin->sinks; i++)
        pin->sink[i].set(pin->sink[i].ctx, pin->sink[i].input, level);
}

void irq_set(struct irq_line *line, bool level)
{
    struct irq_pin *pin = line->pin;
    if (line->level == level) return;
    line->level = level;
    if (!pin) return;
    if (level) {
        if (pin->asserted++ == 0) pin_forward(pin, true);
    } else {
        ASSERT(pin->asserted > 0, "pin lowered more often than raised");
        if (--pin->asserted == 0) pin_forward(pin, false);
    }
}

void irq_pulse(struct irq_line *line)
{
    irq_set(line, true);
    irq_set(line, false);
}

/* address: 31..20 0xFEE | 19..12 destination | 3 redirection hint | 2 logical | 1..0 00
 * data:    15 level triggered | 14 assert | 10..8 delivery mode | 7..0 vector
 * With the hint set and a fixed mode, the message goes to the lowest-priority CPU of the set. */
bool intr_from_msi(u64 addr, u32 data, struct intr_msg *msg)
{
    if ((addr & ~0xFFFFFull) != 0xFEE00000ull) return false;
    bool hint = addr & BIT(3);
    u8 mode = (u8)bits(data, 10, 8);
    *msg = (struct intr_msg){
        .dest = (u32)bits(addr, 19, 12),
        .vector = (u8)data,
        .mode = mode == INTR_FIXED && hint ? INTR_LOWEST : mode,
        .logical = addr & BIT(2),
        .level = data & BIT(15),
    };
    return !(data & BIT(15)) || (data & BIT(14)); /* a level de-assert does nothing */
}

void msi_send(const struct intr_sink *sink, u64 addr, u32 data)
{
    struct intr_msg msg;
    if (sink->send && intr_from_msi(addr, data, &msg)) sink->send(sink->ctx, &msg);
}
