/* dev/test_rig.h - what every device test starts from: a bus, a device set, a manual clock,
 * counted requests. */
#ifndef DEV_TEST_RIG_H
#define DEV_TEST_RIG_H
#include <string.h>

#include "base/clk.h"
#include "base/test.h"
#include "bus/dev.h"
#include "bus/irq.h"

enum { RIG_EVENTS = 4096 };
struct rig {
    struct bus bus;
    struct clk clk;
    struct dev_set set;
    struct irq_pin pin; /* for the device under test          */
    u32 rises;          /* rising edges seen on @pin          */
    bool level;         /* its level now                      */
    u32 resets, poweroffs, exits, panics;
    int status;
    bool a20;
};

static void rig_pin_set(void *ctx, u32 input, bool level)
{
    struct rig *r = ctx;
    (void)input;
    if (level) r->rises++;
    r->level = level;
}
static void rig_reset(void *ctx, struct dev *d)
{
    (void)d;
    ((struct rig *)ctx)->resets++;
}
static void rig_poweroff(void *ctx, struct dev *d)
{
    (void)d;
    ((struct rig *)ctx)->poweroffs++;
}
static void rig_exit(void *ctx, struct dev *d, int status)
{
    struct rig *r = ctx;
    (void)d;
    r->exits++;
    r->status = status;
}
static void rig_a20(void *ctx, struct dev *d, bool enabled)
{
    (void)d;
    ((struct rig *)ctx)->a20 = enabled;
}

static void rig_panicked(void *ctx, struct dev *d)
{
    (void)d;
    ((struct rig *)ctx)->panics++;
}

static inline void rig_init(struct rig *r)
{
    static const struct dev_host_ops ops = {.reset = rig_reset,
                                            .poweroff = rig_poweroff,
                                            .exit = rig_exit,
                                            .a20 = rig_a20,
                                            .panicked = rig_panicked};
    struct err e;
    memset(r, 0, sizeof *r);
    assert_int_equal(bus_init(&r->bus, &e), 0);
    clk_init(&r->clk, true);
    clk_start(&r->clk);
    dev_set_init(&r->set, &r->bus, &ops, r);
    irq_pin_route(&r->pin, rig_pin_set, r, 0);
}
static inline void rig_fini(struct rig *r)
{
    dev_set_fini(&r->set);
    bus_fini(&r->bus);
    clk_fini(&r->clk);
}
static inline struct dev *rig_create(struct rig *r, const struct dev_class *cls, const void *cfg)
{
    struct err e = {0};
    struct dev *d = dev_create(&r->set, cls, cls->name, cfg, &e);
    if (!d) fail_msg("%s", e.text);
    return d;
}
static inline u8 in8(struct rig *r, u16 port) { return (u8)bus_port_read(&r->bus, port, 1); }
static inline void out8(struct rig *r, u16 port, u8 v) { bus_port_write(&r->bus, port, v, 1); }

/* Let virtual time pass, stopping at every deadline on the way. */
static inline void rig_run(struct rig *r, u64 ns)
{
    u64 end = clk_now_ns(&r->clk) + ns;
    for (u32 i = 0; i < RIG_EVENTS; i++) {
        u64 next = clk_next_ns(&r->clk), now = clk_now_ns(&r->clk);
        if (next > end) break;
        if (next > now) clk_advance(&r->clk, next - now);
        clk_run(&r->clk);
    }
    if (end > clk_now_ns(&r->clk)) clk_advance(&r->clk, end - clk_now_ns(&r->clk));
}

/* Save, reset, load, save: the two streams must agree; a truncated stream must be refused and
 * change nothing. */
static inline void rig_save_load_compare(struct rig *r, struct dev *d)
{
    struct ser_buf a, b;
    struct err e = {0};
    (void)r;
    ser_buf_init(&a);
    ser_buf_init(&b);
    assert_int_equal(dev_save(d, &a, &e), 0);
    if (d->cls->reset) d->cls->reset(d);
    if (d->cls->fields) {
        struct ser_view cut = {a.data, a.bytes - 1, 0};
        assert_true(dev_load(d, &cut, &e) < 0);
    }
    struct ser_view v = {a.data, a.bytes, 0};
    if (dev_load(d, &v, &e) < 0) fail_msg("%s", e.text);
    assert_int_equal(dev_save(d, &b, &e), 0);
    assert_int_equal(a.bytes, b.bytes);
    if (a.bytes) assert_memory_equal(a.data, b.data, a.bytes);
    ser_buf_fini(&a);
    ser_buf_fini(&b);
}
#endif
