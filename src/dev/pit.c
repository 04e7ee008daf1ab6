/* dev/pit.c - 8254: three counters, and port 61h.
 *
 * Nothing ticks. A counter remembers when it was (re)started; its value and its output are
 * computed from the ticks that passed. Only counter 0 needs a timer: it wakes for the next rising
 * edge of OUT0, the one thing IRQ 0 cares about. Edges the host was too late for are skipped, as
 * they would merge in the interrupt controller anyway. Gates 0 and 1 are tied high; gate 2 is bit
 * 0 of port 61h.
 * Spec: 8254 data sheet (231164-005).  Threads: under the bus lock. */
#include "dev/pit.h"

#include "base/check.h"

enum { CHANNELS = 3, PIT_CONTROL = 3, PIT_PORTS = 4 };
enum { RW_LATCH, RW_LSB, RW_MSB, RW_WORD };
enum { STATUS_OUT = 0x80, STATUS_NULL = 0x40 };
enum { P61_GATE2 = 1, P61_SPEAKER = 2, P61_WRITABLE = 0x0F, P61_REFRESH = 0x10, P61_OUT2 = 0x20 };
enum { REFRESH_NS = 15085 };

struct pit_chan {
    u64 start_ns;     /* virtual time of tick 0 of the current count           */
    u64 frozen_ticks; /* ticks passed when the gate stopped it (modes 0, 4)    */
    u32 count;        /* 1..65536 (BCD: 1..10000)                              */
    u32 next;         /* count to use from the next cycle or trigger; 0: none  */
    u8 mode, rw, bcd; /* control word                                          */
    bool running;     /* a count was loaded (modes 1, 5: and triggered)        */
    bool gate;
    bool write_high, read_high; /* next byte of a word is the high one         */
    u8 write_low;
    u8 latched; /* bytes of @latch still to be read                            */
    u16 latch;
    bool status_latched;
    u8 status;
};
struct pit {
    struct dev dev;
    struct timer timer; /* next rising edge of OUT0 */
    struct irq_line irq;
    struct pit_chan chan[CHANNELS];
    u8 port61;
    bool irq_level; /* of the line: high from an edge on until the counter is programmed again */
};

static struct pit *self(struct dev *d) { return container_of(d, struct pit, dev); }

static u64 ns_to_ticks(u64 ns) { return (u64)((u128)ns * PIT_HZ / NS_PER_S); }
static u64 ticks_to_ns(u64 t) { return (u64)(((u128)t * NS_PER_S + PIT_HZ - 1) / PIT_HZ); }

static bool is_periodic(const struct pit_chan *c) { return c->mode == 2 || c->mode == 3; }
static bool is_triggered(const struct pit_chan *c) { return c->mode == 1 || c->mode == 5; }

static u64 ticks(const struct pit_chan *c, u64 now)
{
    if (!c->gate && !is_triggered(c)) return c->frozen_ticks;
    return now > c->start_ns ? ns_to_ticks(now - c->start_ns) : 0;
}

/* A periodic counter takes a new count when its cycle ends. */
static void settle(struct pit_chan *c, u64 now)
{
    if (!c->next || !is_periodic(c) || !c->running || !c->gate || ticks(c, now) < c->count) return;
    c->start_ns += ticks_to_ns(c->count);
    c->count = c->next;
    c->next = 0;
}

static bool out(const struct pit_chan *c, u64 now)
{
    u64 t = ticks(c, now);
    if (!c->running) return c->mode != 0;
    switch (c->mode) {
    case 0:
    case 1: return t >= c->count;
    case 2: return !c->gate || t % c->count != c->count - 1;
    case 3: return !c->gate || t % c->count < (c->count + 1) / 2;
    default: return t != c->count;
    }
}

static u16 to_bcd(u32 v)
{
    v %= 10000;
    return (u16)(v / 1000 << 12 | v / 100 % 10 << 8 | v / 10 % 10 << 4 | v % 10);
}

/* The counting element as the guest reads it. */
static u16 value(const struct pit_chan *c, u64 now)
{
    u64 t = ticks(c, now), v = c->count;
    u64 range = c->bcd ? 10000 : 65536;
    if (!c->running) return c->bcd ? to_bcd(c->count) : (u16)c->count;
    if (c->mode == 2) v = c->count - t % c->count;
    else if (c->mode == 3) v = (c->count - t * 2 % c->count) & ~1ull;
    else v = (c->count % range + range - t % range) % range;
    return c->bcd ? to_bcd((u32)v) : (u16)v;
}

/* Ticks from start to the first rising edge of OUT after @t; 0: there is none. */
static u64 next_rise(const struct pit_chan *c, u64 t)
{
    if (!c->running || !c->gate) return 0;
    if (is_periodic(c)) return (t / c->count + 1) * c->count;
    u64 edge = c->count + (c->mode >= 4);
    return t < edge ? edge : 0;
}

static void irq_out(struct pit *p, bool level)
{
    p->irq_level = level;
    irq_set(&p->irq, level);
}

static void irq_arm(struct pit *p, u64 now)
{
    struct pit_chan *c = &p->chan[0];
    u64 rise = next_rise(c, ticks(c, now));
    if (rise) timer_arm(&p->timer, c->start_ns + ticks_to_ns(rise));
    else timer_cancel(&p->timer);
}

static void irq_fire(struct timer *t)
{
    struct pit *p = container_of(t, struct pit, timer);
    u64 now = timer_now_ns(t);
    irq_out(p, false);
    irq_out(p, true);
    settle(&p->chan[0], now);
    irq_arm(p, now);
}

/* ---- programming ----------------------------------------------------------------------------- */

static u32 decode_count(const struct pit_chan *c, u16 v)
{
    if (!c->bcd) return v ? v : 65536;
    u32 d = (v >> 12) * 1000u + (v >> 8 & 15) * 100u + (v >> 4 & 15) * 10u + (v & 15);
    return d ? (u32)min_u64(d, 10000) : 10000; /* digits above 9 mean nothing */
}

static void start(struct pit_chan *c, u32 count, u64 now)
{
    c->count = count;
    c->next = 0;
    c->start_ns = now;
    c->frozen_ticks = 0;
    c->running = true;
}

static void load(struct pit_chan *c, u16 raw, u64 now)
{
    u32 count = decode_count(c, raw);
    if (is_triggered(c)) {
        c->next = count; /* waits for the gate */
        return;
    }
    if (is_periodic(c) && c->running && c->gate) {
        c->start_ns += ticks_to_ns(ticks(c, now) / c->count * c->count);
        c->next = count;
        return;
    }
    start(c, count, now);
}

static void write_counter(struct pit *p, u32 n, u8 val, u64 now)
{
    struct pit_chan *c = &p->chan[n];
    settle(c, now);
    if (c->rw == RW_WORD && !c->write_high) {
        c->write_low = val;
        c->write_high = true;
        if (c->mode == 0) c->running = false; /* the first byte stops it, OUT goes low */
    } else {
        u16 raw = c->rw == RW_LSB ? val : (u16)(val << 8);
        if (c->rw == RW_WORD) raw |= c->write_low;
        c->write_high = false;
        load(c, raw, now);
    }
    if (n == 0) {
        irq_out(p, out(c, now));
        irq_arm(p, now);
    }
}

static void latch_count(struct pit_chan *c, u64 now)
{
    if (c->latched) return; /* the first latch wins until it is read */
    c->latch = value(c, now);
    if (c->rw == RW_MSB) c->latch >>= 8;
    c->latched = c->rw == RW_WORD ? 2 : 1;
}

static void latch_status(struct pit_chan *c, u64 now)
{
    bool null = c->next || !c->running;
    if (c->status_latched) return;
    c->status_latched = true;
    c->status = (u8)((out(c, now) ? STATUS_OUT : 0) | (null ? STATUS_NULL : 0) | c->rw << 4 |
                     c->mode << 1 | c->bcd);
}

/* Read-back: 7..6 11 | 5 count not | 4 status not | 3..1 counters 2..0 */
static void read_back(struct pit *p, u8 val, u64 now)
{
    for (u32 n = 0; n < CHANNELS; n++) {
        if (!(val & 2u << n)) continue;
        settle(&p->chan[n], now);
        if (!(val & 0x20)) latch_count(&p->chan[n], now);
        if (!(val & 0x10)) latch_status(&p->chan[n], now);
    }
}

/* Control word: 7..6 counter | 5..4 access | 3..1 mode | 0 BCD */
static void write_control(struct pit *p, u8 val, u64 now)
{
    u32 n = val >> 6, rw = val >> 4 & 3, mode = val >> 1 & 7;
    if (n == 3) {
        read_back(p, val, now);
        return;
    }
    struct pit_chan *c = &p->chan[n];
    settle(c, now);
    if (rw == RW_LATCH) {
        latch_count(c, now);
        return;
    }
    c->rw = (u8)rw;
    c->mode = (u8)(mode > 5 ? mode - 4 : mode);
    c->bcd = val & 1;
    c->running = c->write_high = c->read_high = c->status_latched = false;
    c->next = 0;
    c->latched = 0;
    if (n == 0) {
        irq_out(p, out(c, now));
        irq_arm(p, now);
    }
}

static u8 read_counter(struct pit_chan *c, u64 now)
{
    settle(c, now);
    if (c->status_latched) {
        c->status_latched = false;
        return c->status;
    }
    if (c->latched) {
        u8 v = (u8)c->latch;
        c->latch >>= 8;
        c->latched--;
        return v;
    }
    u16 v = value(c, now);
    bool high = c->rw == RW_MSB || (c->rw == RW_WORD && c->read_high);
    if (c->rw == RW_WORD) c->read_high = !c->read_high;
    return (u8)(high ? v >> 8 : v);
}

/* ---- gate 2 and port 61h --------------------------------------------------------------------- */

static void set_gate(struct pit_chan *c, bool gate, u64 now)
{
    if (gate == c->gate) return;
    settle(c, now);
    if (!gate) {
        c->frozen_ticks = ticks(c, now);
        c->gate = false;
        return;
    }
    c->gate = true;
    if (is_triggered(c)) {
        if (c->next || c->running) start(c, c->next ? c->next : c->count, now);
    } else if (is_periodic(c) && c->running) {
        start(c, c->next ? c->next : c->count, now);
    } else {
        c->start_ns = now - min_u64(now, ticks_to_ns(c->frozen_ticks));
    }
}

static u64 p61_read(struct dev *d, u64 off, u32 bytes)
{
    struct pit *p = self(d);
    u64 now = timer_now_ns(&p->timer);
    (void)off;
    (void)bytes;
    settle(&p->chan[2], now);
    return p->port61 | (now / REFRESH_NS & 1 ? P61_REFRESH : 0) |
           (out(&p->chan[2], now) ? P61_OUT2 : 0);
}

static void p61_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct pit *p = self(d);
    (void)off;
    (void)bytes;
    p->port61 = (u8)val & P61_WRITABLE;
    set_gate(&p->chan[2], val & P61_GATE2, timer_now_ns(&p->timer));
}

static u64 pit_read(struct dev *d, u64 off, u32 bytes)
{
    struct pit *p = self(d);
    (void)bytes;
    return off == PIT_CONTROL ? 0xFF : read_counter(&p->chan[off], timer_now_ns(&p->timer));
}

static void pit_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct pit *p = self(d);
    u64 now = timer_now_ns(&p->timer);
    (void)bytes;
    if (off == PIT_CONTROL) write_control(p, (u8)val, now);
    else write_counter(p, (u32)off, (u8)val, now);
}

/* ---- class ----------------------------------------------------------------------------------- */

static int pit_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct pit_cfg *c = cfg;
    if (!c->clk) return err_set(e, E_INVAL, "needs a clock");
    timer_init(&self(d)->timer, c->clk, irq_fire);
    irq_line_init(&self(d)->irq, c->irq);
    return 0;
}

static void pit_fini(struct dev *d)
{
    irq_set(&self(d)->irq, false);
    timer_fini(&self(d)->timer);
}

static void pit_reset(struct dev *d)
{
    struct pit *p = self(d);
    for (u32 n = 0; n < CHANNELS; n++)
        p->chan[n] = (struct pit_chan){.count = 65536, .rw = RW_WORD, .mode = 3, .gate = n != 2};
    p->port61 = 0;
    timer_cancel(&p->timer);
    irq_out(p, false);
}

static int pit_validate(const struct dev *d, struct err *e)
{
    const struct pit *p = container_of(d, const struct pit, dev);
    for (u32 n = 0; n < CHANNELS; n++) {
        const struct pit_chan *c = &p->chan[n];
        u32 max = c->bcd ? 10000 : 65536;
        if (!c->count || c->count > 65536 || c->next > max || c->mode > 5 || c->rw > RW_WORD ||
            c->rw == RW_LATCH || c->latched > 2 || c->bcd > 1)
            return err_set(e, E_FORMAT, "counter %u out of range", n);
    }
    return 0;
}

static void pit_post_load(struct dev *d)
{
    struct pit *p = self(d);
    irq_set(&p->irq, p->irq_level);
    irq_arm(p, timer_now_ns(&p->timer));
}

#define CHAN(n)                                                                                    \
    SER(struct pit, chan[n].start_ns, 1), SER(struct pit, chan[n].frozen_ticks, 1),                \
        SER(struct pit, chan[n].count, 1), SER(struct pit, chan[n].next, 1),                       \
        SER(struct pit, chan[n].mode, 1), SER(struct pit, chan[n].rw, 1),                          \
        SER(struct pit, chan[n].bcd, 1), SER(struct pit, chan[n].running, 1),                      \
        SER(struct pit, chan[n].gate, 1), SER(struct pit, chan[n].write_high, 1),                  \
        SER(struct pit, chan[n].read_high, 1), SER(struct pit, chan[n].write_low, 1),              \
        SER(struct pit, chan[n].latched, 1), SER(struct pit, chan[n].latch, 1),                    \
        SER(struct pit, chan[n].status_latched, 1), SER(struct pit, chan[n].status, 1)
static const struct ser_field pit_fields[] = {
    CHAN(0), CHAN(1), CHAN(2), SER(struct pit, port61, 1), SER(struct pit, irq_level, 1), SER_END};

static const struct dev_region pit_regions[] = {
    {"pit", BUS_PORT, true, 0x40, PIT_PORTS, 1, 1, pit_read, pit_write},
    {"port61", BUS_PORT, true, 0x61, 1, 1, 1, p61_read, p61_write},
    {0},
};

const struct dev_class pit_class = {
    .name = "pit",
    .version = 1,
    .inst_bytes = sizeof(struct pit),
    .regions = pit_regions,
    .fields = pit_fields,
    .init = pit_init,
    .fini = pit_fini,
    .reset = pit_reset,
    .validate = pit_validate,
    .post_load = pit_post_load,
};
