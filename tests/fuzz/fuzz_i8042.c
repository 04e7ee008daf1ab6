/* fuzz_i8042 - commands, arguments, keys and movements in any order: the keyboard controller keeps
 * its promises. What it holds can always be read to the end, interrupts agree with the output
 * buffer, every key that was released is up, and its state survives being saved and loaded. */
#include "base/keys.h"
#include "dev/i8042.h"
#include "fuzz_machine.h"

enum { DATA = 0x60, CTL = 0x64, OBF = 1, DRAIN_MAX = 4096 };

static u8 in8(struct machine *m, u16 port) { return (u8)bus_port_read(&m->bus, port, 1); }
static void out8(struct machine *m, u16 port, u8 v) { bus_port_write(&m->bus, port, v, 1); }

/* Commands that mean something, mostly. */
static u8 command(void)
{
    static const u8 ctl[] = {0x20, 0x60, 0xA7, 0xA8, 0xA9, 0xAA, 0xAB, 0xAD,
                             0xAE, 0xC0, 0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD4};
    return fuzz_one_in(4) ? (u8)fuzz_u64() : ctl[fuzz_below(sizeof ctl)];
}
static u8 data(void) { return (u8)(fuzz_one_in(2) ? 0xE6 + fuzz_below(26) : fuzz_u64()); }

static void event(struct machine *m)
{
    const struct input_event ev = {.kind = (enum input_kind)fuzz_below(4),
                                   .code = fuzz_one_in(8) ? (u32)fuzz_u64() : fuzz_below(KEY_COUNT),
                                   .down = fuzz_one_in(2),
                                   .dx = (s32)fuzz_value(),
                                   .dy = (s32)fuzz_value()};
    bus_lock(&m->bus);
    m->input.event(m->input.ctx, &ev);
    bus_unlock(&m->bus);
}

static void step(struct machine *m)
{
    switch (fuzz_below(8)) {
    case 0:
    case 1: out8(m, CTL, command()); break;
    case 2:
    case 3: out8(m, DATA, data()); break;
    case 4: (void)in8(m, fuzz_one_in(2) ? DATA : CTL); break;
    case 5: machine_pass(m, fuzz_u64() >> (30 + fuzz_below(34))); break;
    default: event(m); break;
    }
}

/* Both devices on, nothing pressed: reading must come to an end. */
static void drain(struct machine *m)
{
    for (u32 i = 1; i < KEY_COUNT; i++) {
        const struct input_event up = {.kind = INPUT_KEY, .code = i};
        bus_lock(&m->bus);
        m->input.event(m->input.ctx, &up);
        bus_unlock(&m->bus);
    }
    out8(m, CTL, 0xAE);
    out8(m, CTL, 0xA8);
    u32 n = 0, quiet = 0;
    for (; n < DRAIN_MAX && quiet < 3; n++) {
        if (in8(m, CTL) & OBF) (void)in8(m, DATA), quiet = 0;
        else quiet++, machine_pass(m, 500000);
    }
    FUZZ_CHECK(n < DRAIN_MAX);
    FUZZ_CHECK(i8042_idle(m->input.ctx));
}

static void save_and_load(struct machine *m)
{
    struct ser_buf a, b;
    struct err e = {0};
    ser_buf_init(&a);
    ser_buf_init(&b);
    bus_lock(&m->bus);
    machine_try(dev_save(m->input.ctx, &a, &e), &e);
    struct ser_view v = {a.data, a.bytes, 0};
    machine_try(dev_load(m->input.ctx, &v, &e), &e);
    machine_try(dev_save(m->input.ctx, &b, &e), &e);
    bus_unlock(&m->bus);
    FUZZ_CHECK(a.bytes == b.bytes && !memcmp(a.data, b.data, a.bytes));
    ser_buf_fini(&a);
    ser_buf_fini(&b);
}

int main(void)
{
    fuzz_start("fuzz_i8042");
    struct machine *m = machine_make(1, MIB(4));
    while (fuzz_next()) {
        machine_reset(m);
        for (u32 i = fuzz_below(400); i > 0; i--) step(m);
        save_and_load(m);
        drain(m);
    }
    ring3_destroy((struct ring3_vm *)m);
    return 0;
}
