/* dev/hpet.c - see hpet.h.
 *
 *   000 capabilities   010 configuration   020 interrupt status   0F0 main counter
 *   100 + 20n timer n: configuration, comparator (FSB routing is not offered)
 *
 * The counter is the clock's time; only its value when it was last started or stopped is kept.
 * Threads: under the bus lock. */
#include "dev/hpet.h"

#include <string.h>

enum {
    R_CAPS = 0x000,
    R_CONF = 0x010,
    R_STATUS = 0x020,
    R_COUNTER = 0x0F0,
    R_TIMERS = 0x100,
    HPET_BYTES = 0x400,
    TIMER_BYTES = 0x20,
    T_CONF = 0x00,
    T_CMP = 0x08,
};
enum { CONF_ENABLE = 1 << 0, CONF_LEGACY = 1 << 1, CONF_BITS = 3 };
enum {
    TC_LEVEL = 1 << 1,
    TC_ENABLE = 1 << 2,
    TC_PERIODIC = 1 << 3,
    TC_PERIODIC_CAP = 1 << 4,
    TC_64_CAP = 1 << 5,
    TC_SET_VALUE = 1 << 6,
    TC_32 = 1 << 8,
    TC_ROUTE_SHIFT = 9,
    TC_ROUTE = 31 << TC_ROUTE_SHIFT,
    TC_WRITABLE = TC_LEVEL | TC_ENABLE | TC_PERIODIC | TC_SET_VALUE | TC_32 | TC_ROUTE,
    TC_FIXED = TC_PERIODIC_CAP | TC_64_CAP,
};
enum { ROUTES = 0x00F00000, TICK_NS = 10 }; /* GSI 20..23: nobody else's */
#define CAPS ((u64)TICK_NS * 1000000 << 32 | HPET_ID)
#define CATCH_UP_TICKS (NS_PER_S / TICK_NS) /* a periodic timer later than this skips */
#define WAIT_TICKS_MAX (1ull << 48)         /* as far ahead as a timer is armed       */
#define LATE_TICKS 1000 /* the least between two periodic matches that come late */
enum { LEGACY_TIMERS = 2 };
static const u8 legacy_gsi[LEGACY_TIMERS] = {0, 8};

struct hpet;
struct hpet_timer {
    struct timer t; /* derived */
    struct hpet *h;
    struct irq_line line;
    u64 conf, cmp, period;
};
struct hpet {
    struct dev dev;
    struct irq_pin *gsi;
    struct irq_line passed[LEGACY_TIMERS]; /* what the 8254 and the RTC say, while allowed */
    bool legacy_level[LEGACY_TIMERS];      /* what they say */
    struct hpet_timer timer[HPET_TIMERS];
    u64 conf, status;
    u64 count, since_ns; /* the counter at that time; while it stands: now */
};

static struct hpet *self(struct dev *d) { return container_of(d, struct hpet, dev); }
static u32 index_of(const struct hpet_timer *t) { return (u32)(t - t->h->timer); }
static bool legacy(const struct hpet *h) { return h->conf & CONF_LEGACY; }

static u64 counter(const struct hpet *h)
{
    if (!(h->conf & CONF_ENABLE)) return h->count;
    return h->count + (timer_now_ns(&h->timer[0].t) - h->since_ns) / TICK_NS;
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static struct irq_pin *pin_of(const struct hpet_timer *t)
{
    u32 n = index_of(t), route = t->conf >> TC_ROUTE_SHIFT & 31;
    if (legacy(t->h) && n < LEGACY_TIMERS) return &t->h->gsi[legacy_gsi[n]];
    return ROUTES >> route & 1 ? &t->h->gsi[route] : NULL;
}

/* Make lines agree with configuration and status. */
static void update(struct hpet *h)
{
    for (u32 i = 0; i < HPET_TIMERS; i++) {
        struct hpet_timer *t = &h->timer[i];
        struct irq_pin *pin = pin_of(t);
        if (t->line.pin != pin) {
            irq_set(&t->line, false);
            irq_line_init(&t->line, pin);
        }
        irq_set(&t->line, (t->conf & TC_ENABLE) && (t->conf & TC_LEVEL) && (h->status >> i & 1));
    }
    for (u32 i = 0; i < LEGACY_TIMERS; i++)
        irq_set(&h->passed[i], h->legacy_level[i] && !legacy(h));
}

void hpet_legacy(void *dev, u32 input, bool level)
{
    struct hpet *h = self(dev);
    if (input >= LEGACY_TIMERS) return;
    h->legacy_level[input] = level;
    irq_set(&h->passed[input], level && !legacy(h));
}

/* ---- comparators ----------------------------------------------------------------------------- */

/* Counts until the comparator matches next: 1 .. 2^32 or 2^64 - 1. */
static u64 ticks_left(const struct hpet_timer *t)
{
    u64 left = t->cmp - counter(t->h);
    if (!(t->conf & TC_32)) return left ? left : UINT64_MAX;
    left = (u32)left;
    return left ? left : 1ull << 32;
}

static bool is_late(const struct hpet_timer *t)
{
    u64 left = t->cmp - counter(t->h);
    return t->conf & TC_32 ? (s32)left <= 0 : (s64)left <= 0;
}

/* A periodic timer whose next match has passed is due soon; not at once, or a guest that chose a
 * period of 10 ns would get the event loop for itself. */
static void arm(struct hpet_timer *t)
{
    u64 left = ticks_left(t);
    if (!(t->h->conf & CONF_ENABLE)) {
        timer_cancel(&t->t);
        return;
    }
    bool periodic = (t->conf & TC_PERIODIC) && t->period;
    if (periodic && (t->period < LATE_TICKS || is_late(t))) left = LATE_TICKS;
    timer_arm(&t->t, timer_now_ns(&t->t) + min_u64(left, WAIT_TICKS_MAX) * TICK_NS);
}

static void arm_all(struct hpet *h)
{
    for (u32 i = 0; i < HPET_TIMERS; i++) arm(&h->timer[i]);
}

static void advance_period(struct hpet_timer *t)
{
    if (!(t->conf & TC_PERIODIC) || !t->period) return;
    u64 behind = counter(t->h) - t->cmp;
    if (t->conf & TC_32) behind = (u32)behind;
    if (behind > CATCH_UP_TICKS && behind >> 63 == 0) t->cmp += behind / t->period * t->period;
    t->cmp += t->period;
    if (t->conf & TC_32) t->cmp = (u32)t->cmp;
}

static void on_match(struct timer *timer)
{
    struct hpet_timer *t = container_of(timer, struct hpet_timer, t);
    struct hpet *h = t->h;
    if (!is_late(t)) { /* it was too far ahead for one wait */
        arm(t);
        return;
    }
    if (t->conf & TC_LEVEL) h->status |= BIT(index_of(t));
    else if (t->conf & TC_ENABLE) irq_pulse(&t->line);
    update(h);
    advance_period(t);
    arm(t);
}

/* ---- registers ------------------------------------------------------------------------------- */

static u64 timer_reg(const struct hpet_timer *t, u64 reg)
{
    if (reg == T_CONF) return t->conf | TC_FIXED | (u64)ROUTES << 32;
    if (reg == T_CMP) return t->cmp;
    return 0;
}

static u64 reg_read(const struct hpet *h, u64 reg)
{
    switch (reg) {
    case R_CAPS: return CAPS;
    case R_CONF: return h->conf;
    case R_STATUS: return h->status;
    case R_COUNTER: return counter(h);
    default: break;
    }
    u64 n = (reg - R_TIMERS) / TIMER_BYTES;
    if (reg < R_TIMERS || n >= HPET_TIMERS) return 0;
    return timer_reg(&h->timer[n], reg % TIMER_BYTES);
}

static void write_conf(struct hpet *h, u64 val)
{
    h->count = counter(h);
    h->since_ns = timer_now_ns(&h->timer[0].t);
    h->conf = val & CONF_BITS;
    update(h);
    arm_all(h);
}

static void write_timer_conf(struct hpet_timer *t, u64 val)
{
    t->conf = val & TC_WRITABLE;
    if (t->conf & TC_32) t->cmp = (u32)t->cmp, t->period = (u32)t->period;
    if (!(t->conf & TC_LEVEL)) t->h->status &= ~BIT(index_of(t));
    update(t->h);
    arm(t);
}

/* A periodic timer's comparator takes the value once after TC_SET_VALUE; a write is always the
 * period as well. */
static void write_cmp(struct hpet_timer *t, u64 val)
{
    if (t->conf & TC_32) val = (u32)val;
    if (!(t->conf & TC_PERIODIC) || (t->conf & TC_SET_VALUE)) t->cmp = val;
    if (t->conf & TC_PERIODIC) t->period = val;
    t->conf &= ~(u64)TC_SET_VALUE;
    arm(t);
}

static void reg_write(struct hpet *h, u64 reg, u64 val)
{
    u64 n = (reg - R_TIMERS) / TIMER_BYTES;
    if (reg == R_CONF) {
        write_conf(h, val);
    } else if (reg == R_STATUS) {
        h->status &= ~val;
        update(h);
    } else if (reg == R_COUNTER && !(h->conf & CONF_ENABLE)) {
        h->count = val; /* (a running counter's value is undefined after a write: it stays) */
    } else if (reg >= R_TIMERS && n < HPET_TIMERS) {
        if (reg % TIMER_BYTES == T_CONF) write_timer_conf(&h->timer[n], val);
        if (reg % TIMER_BYTES == T_CMP) write_cmp(&h->timer[n], val);
    }
}

static u64 hpet_read(struct dev *d, u64 off, u32 bytes)
{
    u64 v = reg_read(self(d), off & ~7ull) >> 8 * (off & 7);
    return bytes == 8 ? v : (u32)v;
}

/* Half a register: the other half keeps its value; of a status register it is not written to. */
static u64 merged(const struct hpet *h, u64 reg, u64 off, u64 val)
{
    u64 shift = 8 * (off & 7), mask = (u64)UINT32_MAX << shift;
    if (reg == R_STATUS) return val << shift;
    u64 old = reg_read(h, reg);
    u64 n = (reg - R_TIMERS) / TIMER_BYTES;
    if (reg >= R_TIMERS && n < HPET_TIMERS && reg % TIMER_BYTES == T_CMP &&
        (h->timer[n].conf & TC_PERIODIC))
        old = h->timer[n].period;
    return (old & ~mask) | val << shift;
}

static void hpet_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct hpet *h = self(d);
    u64 reg = off & ~7ull;
    reg_write(h, reg, bytes == 8 ? val : merged(h, reg, off, val));
}

/* ---- class ----------------------------------------------------------------------------------- */

static int hpet_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct hpet_cfg *c = cfg;
    struct hpet *h = self(d);
    if (!c->clk || !c->gsi) return err_set(e, E_INVAL, "needs a clock and interrupt pins");
    h->gsi = c->gsi;
    for (u32 i = 0; i < HPET_TIMERS; i++) {
        h->timer[i].h = h;
        timer_init(&h->timer[i].t, c->clk, on_match);
        irq_line_init(&h->timer[i].line, NULL);
    }
    for (u32 i = 0; i < LEGACY_TIMERS; i++) irq_line_init(&h->passed[i], &c->gsi[legacy_gsi[i]]);
    return 0;
}

static void hpet_fini(struct dev *d)
{
    struct hpet *h = self(d);
    for (u32 i = 0; i < HPET_TIMERS; i++) {
        irq_set(&h->timer[i].line, false);
        timer_fini(&h->timer[i].t);
    }
    for (u32 i = 0; i < LEGACY_TIMERS; i++) irq_set(&h->passed[i], false);
}

static void hpet_reset(struct dev *d)
{
    struct hpet *h = self(d);
    h->conf = h->status = h->count = h->since_ns = 0;
    for (u32 i = 0; i < HPET_TIMERS; i++) {
        h->timer[i].conf = h->timer[i].period = 0;
        h->timer[i].cmp = UINT64_MAX;
    }
    update(h);
    arm_all(h);
}

static int hpet_validate(const struct dev *d, struct err *e)
{
    const struct hpet *h = container_of(d, const struct hpet, dev);
    bool ok = h->conf <= CONF_BITS && h->status < BIT(HPET_TIMERS);
    for (u32 i = 0; i < HPET_TIMERS; i++) ok &= !(h->timer[i].conf & ~(u64)TC_WRITABLE);
    return ok ? 0 : err_set(e, E_FORMAT, "reserved bits are set");
}

static void hpet_post_load(struct dev *d)
{
    update(self(d));
    arm_all(self(d));
}

#define HPET_TIMER(n)                                                                              \
    SER(struct hpet, timer[n].conf, 1), SER(struct hpet, timer[n].cmp, 1),                         \
        SER(struct hpet, timer[n].period, 1)
static const struct ser_field hpet_fields[] = {
    HPET_TIMER(0),
    HPET_TIMER(1),
    HPET_TIMER(2),
    SER(struct hpet, conf, 1),
    SER(struct hpet, status, 1),
    SER(struct hpet, count, 1),
    SER(struct hpet, since_ns, 1),
    SER_ARRAY(struct hpet, legacy_level, 1),
    SER_END,
};
static const struct dev_region hpet_regions[] = {
    {"hpet", BUS_MMIO, true, HPET_GPA, HPET_BYTES, 4, 8, hpet_read, hpet_write},
    {0},
};

const struct dev_class hpet_class = {
    .name = "hpet",
    .version = 1,
    .inst_bytes = sizeof(struct hpet),
    .regions = hpet_regions,
    .fields = hpet_fields,
    .init = hpet_init,
    .fini = hpet_fini,
    .reset = hpet_reset,
    .validate = hpet_validate,
    .post_load = hpet_post_load,
};
