/* dev/rtc.c - MC146818: time of day, alarm, periodic and update interrupts, CMOS bytes.
 *
 * The time is clk's wall clock plus an offset the guest chose by setting it; time registers are
 * computed when read. While SET or the divider reset holds the clock, they are plain bytes. Flags
 * are computed lazily: rtc_advance() looks at what happened since it last ran (a period, a second,
 * an alarm); the timer is armed only for enabled interrupts.
 * Spec: MC146818A data sheet.  Threads: under the bus lock. */
#include "dev/rtc.h"

enum {
    RTC_SEC,
    RTC_SEC_ALARM,
    RTC_MIN,
    RTC_MIN_ALARM,
    RTC_HOUR,
    RTC_HOUR_ALARM,
    RTC_WDAY,
    RTC_MDAY,
    RTC_MONTH,
    RTC_YEAR,
    RTC_A,
    RTC_B,
    RTC_C,
    RTC_D,
    RTC_CENTURY = 0x32,
    CMOS_BYTES = 128
};
enum { A_UIP = 0x80, A_DV = 0x70, A_DV_RESET = 0x60, A_RS = 0x0F };
enum {
    B_SET = 0x80,
    B_PIE = 0x40,
    B_AIE = 0x20,
    B_UIE = 0x10,
    B_BINARY = 0x04,
    B_24H = 0x02,
    B_IRQS = 0x70
};
enum { C_IRQF = 0x80, C_PF = 0x40, C_AF = 0x20, C_UF = 0x10 };
enum { ALARM_ANY = 0xC0, HOUR_PM = 0x80, D_VRT = 0x80 };
/* The update cycle: UIP goes up 244 us before it and it takes 1984 us. */
enum { UIP_NS = 244000 + 1984000, DAY_S = 86400 };

struct rtc {
    struct dev dev;
    struct clk *clk;
    struct timer timer;
    struct irq_line irq;
    u8 index;
    u8 cmos[CMOS_BYTES]; /* [0..9] hold the time only while the clock is held */
    s64 offset_s;        /* guest time - wall time, whole seconds             */
    u64 phase_ns;        /* ... and the rest, 0..1e9-1                        */
    u64 seen_ns;         /* virtual time up to which flags are accounted      */
};
struct rtc_time {
    s64 year;
    u32 month, mday, wday, hour, min, sec; /* month 1..12, wday 1 = Sunday */
};

static struct rtc *self(struct dev *d) { return container_of(d, struct rtc, dev); }

/* ---- calendar -------------------------------------------------------------------------------- */

/* Days since 1970-01-01 of a proleptic Gregorian date; years start in March to put the leap day
 * last. */
static s64 days_from_date(s64 year, u32 month, u32 mday)
{
    s64 y = month <= 2 ? year - 1 : year;
    s64 era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    s64 doy = (153 * ((s64)month + (month > 2 ? -3 : 9)) + 2) / 5 + mday - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_from_days(s64 days, struct rtc_time *t)
{
    s64 z = days + 719468, era = (z >= 0 ? z : z - 146096) / 146097, doe = z - era * 146097;
    s64 yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    s64 doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    t->mday = (u32)(doy - (153 * mp + 2) / 5 + 1);
    t->month = (u32)(mp < 10 ? mp + 3 : mp - 9);
    t->year = yoe + era * 400 + (t->month <= 2);
    t->wday = (u32)(((days + 4) % 7 + 7) % 7 + 1);
}

/* Guest time in seconds since 1970 and nanoseconds within, at virtual time @now. */
static s64 seconds_at(const struct rtc *r, u64 now, u64 *ns)
{
    u64 total = clk_wall_ns(r->clk) - clk_now_ns(r->clk) + now + r->phase_ns;
    if (ns) *ns = total % NS_PER_S;
    return (s64)(total / NS_PER_S) + r->offset_s;
}

static void split(s64 s, struct rtc_time *t)
{
    s64 days = (s >= 0 ? s : s - (DAY_S - 1)) / DAY_S;
    u32 rest = (u32)(s - days * DAY_S);
    date_from_days(days, t);
    t->hour = rest / 3600;
    t->min = rest / 60 % 60;
    t->sec = rest % 60;
}

/* ---- register encodings ---------------------------------------------------------------------- */

static u8 enc(const struct rtc *r, u32 v)
{
    return (u8)(r->cmos[RTC_B] & B_BINARY ? v : (v / 10 % 10) << 4 | v % 10);
}
static u32 dec(const struct rtc *r, u8 v)
{
    return r->cmos[RTC_B] & B_BINARY ? v : (v >> 4) * 10u + (v & 15);
}
static u8 enc_hour(const struct rtc *r, u32 h)
{
    if (r->cmos[RTC_B] & B_24H) return enc(r, h);
    return enc(r, h % 12 ? h % 12 : 12) | (h >= 12 ? HOUR_PM : 0);
}
static u32 dec_hour(const struct rtc *r, u8 v)
{
    if (r->cmos[RTC_B] & B_24H) return dec(r, v);
    return dec(r, v & 0x7F) % 12 + (v & HOUR_PM ? 12 : 0);
}

static void time_to_regs(const struct rtc *r, s64 s, u8 *regs, u8 *century)
{
    struct rtc_time t;
    split(s, &t);
    regs[RTC_SEC] = enc(r, t.sec);
    regs[RTC_MIN] = enc(r, t.min);
    regs[RTC_HOUR] = enc_hour(r, t.hour);
    regs[RTC_WDAY] = enc(r, t.wday);
    regs[RTC_MDAY] = enc(r, t.mday);
    regs[RTC_MONTH] = enc(r, t.month);
    regs[RTC_YEAR] = enc(r, (u32)(t.year % 100 + 100) % 100);
    *century = (u8)((t.year / 1000 % 10) << 4 | (t.year / 100 % 10));
}

static u32 clamp(u32 v, u32 lo, u32 hi) { return v < lo ? lo : v > hi ? hi : v; }

/* Whatever the guest stored means some time: fields out of range are clamped. */
static s64 regs_to_time(const struct rtc *r, const u8 *regs, u8 century)
{
    s64 year =
        (century >> 4 & 15) % 10 * 1000 + (century & 15) % 10 * 100 + dec(r, regs[RTC_YEAR]) % 100;
    u32 month = clamp(dec(r, regs[RTC_MONTH]), 1, 12), mday = clamp(dec(r, regs[RTC_MDAY]), 1, 31);
    s64 s = days_from_date(year, month, mday) * DAY_S;
    return s + clamp(dec_hour(r, regs[RTC_HOUR]), 0, 23) * 3600 +
           clamp(dec(r, regs[RTC_MIN]), 0, 59) * 60 + clamp(dec(r, regs[RTC_SEC]), 0, 59);
}

/* ---- events ---------------------------------------------------------------------------------- */

static bool is_held(const struct rtc *r)
{
    return (r->cmos[RTC_B] & B_SET) || (r->cmos[RTC_A] & A_DV_RESET) == A_DV_RESET;
}

/* Period in units of 1/32768 s; 0: off. */
static u32 period_ticks(const struct rtc *r)
{
    u32 rs = r->cmos[RTC_A] & A_RS;
    if (!rs || (r->cmos[RTC_A] & A_DV_RESET) == A_DV_RESET) return 0;
    return 1u << ((rs <= 2 ? rs + 7 : rs) - 1);
}
static u64 ticks_at(u64 ns) { return (u64)((u128)ns * 32768 / NS_PER_S); }
static u64 tick_ns(u64 t) { return (u64)(((u128)t * NS_PER_S + 32767) / 32768); }

static bool alarm_byte(u8 reg, u32 want, u32 have) { return reg >= ALARM_ANY || want == have; }

/* First second after @s at which the alarm matches, or INT64_MAX. Skips by hours and minutes: at
 * most 24 + 60 + 60 steps per field boundary. */
static s64 next_alarm(const struct rtc *r, s64 s)
{
    const u8 *c = r->cmos;
    u32 h = dec_hour(r, c[RTC_HOUR_ALARM]), m = dec(r, c[RTC_MIN_ALARM]),
        sec = dec(r, c[RTC_SEC_ALARM]);
    s64 t = s + 1;
    for (u32 step = 0; step < 256 && t <= s + DAY_S; step++) {
        s64 in_day = ((t % DAY_S) + DAY_S) % DAY_S;
        if (!alarm_byte(c[RTC_HOUR_ALARM], h, (u32)(in_day / 3600))) t += 3600 - in_day % 3600;
        else if (!alarm_byte(c[RTC_MIN_ALARM], m, (u32)(in_day / 60 % 60))) t += 60 - in_day % 60;
        else if (!alarm_byte(c[RTC_SEC_ALARM], sec, (u32)(in_day % 60))) t++;
        else return t;
    }
    return INT64_MAX;
}

/* Virtual time at which guest time reaches second @s, seen from @now. */
static u64 when(const struct rtc *r, u64 now, s64 s)
{
    u64 ns;
    s64 cur = seconds_at(r, now, &ns);
    return now + (u64)(s - cur) * NS_PER_S - ns;
}

static void rearm(struct rtc *r, u64 now)
{
    u8 b = r->cmos[RTC_B];
    u64 due = UINT64_MAX;
    u32 p = period_ticks(r);
    if ((b & B_PIE) && p) due = tick_ns((ticks_at(now) / p + 1) * p);
    if (!is_held(r)) {
        s64 s = seconds_at(r, now, NULL);
        if (b & B_UIE) due = min_u64(due, when(r, now, s + 1));
        s64 alarm = b & B_AIE ? next_alarm(r, s) : INT64_MAX;
        if (alarm != INT64_MAX) due = min_u64(due, when(r, now, alarm));
    }
    if (due == UINT64_MAX) timer_cancel(&r->timer);
    else timer_arm(&r->timer, due);
}

/* Flags for everything between seen_ns and @now; the interrupt line follows. */
static void rtc_advance(struct rtc *r, u64 now)
{
    u8 *c = &r->cmos[RTC_C], b = r->cmos[RTC_B];
    u32 p = period_ticks(r);
    if (p && ticks_at(now) / p != ticks_at(r->seen_ns) / p) *c |= C_PF;
    if (!is_held(r)) {
        s64 was = seconds_at(r, r->seen_ns, NULL), is = seconds_at(r, now, NULL);
        if (is != was) *c |= C_UF;
        if (is != was && next_alarm(r, was) <= is) *c |= C_AF;
    }
    r->seen_ns = now;
    *c = (u8)((*c & ~C_IRQF) | (*c & b & B_IRQS ? C_IRQF : 0));
    irq_set(&r->irq, *c & C_IRQF);
}

static void rtc_fire(struct timer *t)
{
    struct rtc *r = container_of(t, struct rtc, timer);
    u64 now = timer_now_ns(t);
    rtc_advance(r, now);
    rearm(r, now);
}

/* ---- ports ----------------------------------------------------------------------------------- */

static bool is_time(u8 i)
{
    return i == RTC_CENTURY || (i <= RTC_YEAR && !(i & 1)) || i == RTC_MDAY || i == RTC_YEAR;
}

/* The clock stops: its registers become bytes. */
static void hold(struct rtc *r, u64 now)
{
    time_to_regs(r, seconds_at(r, now, NULL), r->cmos, &r->cmos[RTC_CENTURY]);
}

/* The registers become the time. The divider chain keeps its phase, unless it was reset: then the
 * first update comes half a second later. */
static void resume(struct rtc *r, u64 now, bool from_reset)
{
    u64 ns;
    s64 want = regs_to_time(r, r->cmos, r->cmos[RTC_CENTURY]);
    s64 have = seconds_at(r, now, &ns);
    if (from_reset) {
        u64 total = r->phase_ns + NS_PER_S + NS_PER_S / 2 - ns;
        r->phase_ns = total % NS_PER_S;
        have = seconds_at(r, now, NULL);
    }
    r->offset_s += want - have;
}

static void write_control(struct rtc *r, u8 reg, u8 val, u64 now)
{
    bool was = is_held(r), reset = (r->cmos[RTC_A] & A_DV_RESET) == A_DV_RESET;
    u8 old_b = r->cmos[RTC_B];
    if (!was) hold(r, now);
    if (reg == RTC_A) r->cmos[RTC_A] = val & (u8)~A_UIP;
    if (reg == RTC_B) r->cmos[RTC_B] = val & B_SET ? val & (u8)~B_UIE : val;
    if (is_held(r) || reg == RTC_C || reg == RTC_D) return;
    if (was) resume(r, now, reset);
    else if (old_b != r->cmos[RTC_B]) /* a change of encoding must not change the time */
        hold(r, now);
}

static void rtc_write_reg(struct rtc *r, u8 reg, u8 val)
{
    u64 now = clk_now_ns(r->clk);
    rtc_advance(r, now);
    if (reg == RTC_A || reg == RTC_B) {
        write_control(r, reg, val, now);
    } else if (is_time(reg) && !is_held(r)) {
        hold(r, now);
        r->cmos[reg] = val;
        resume(r, now, false);
    } else if (reg != RTC_C && reg != RTC_D) {
        r->cmos[reg] = val;
    }
    r->seen_ns = now; /* setting the time is no passing of time */
    rtc_advance(r, now);
    rearm(r, now);
}

static u8 read_flags(struct rtc *r, u64 now)
{
    rtc_advance(r, now);
    u8 val = r->cmos[RTC_C];
    r->cmos[RTC_C] = 0;
    irq_set(&r->irq, false);
    return val;
}

static u8 rtc_read_reg(struct rtc *r, u8 reg)
{
    u64 ns, now = clk_now_ns(r->clk);
    s64 s = seconds_at(r, now, &ns);
    u8 regs[RTC_YEAR + 1], century;
    if (reg == RTC_A) return r->cmos[RTC_A] | (!is_held(r) && ns >= NS_PER_S - UIP_NS ? A_UIP : 0);
    if (reg == RTC_C) return read_flags(r, now);
    if (reg == RTC_D) return D_VRT;
    if (!is_time(reg) || is_held(r)) return r->cmos[reg];
    time_to_regs(r, s, regs, &century);
    return reg == RTC_CENTURY ? century : regs[reg];
}

static u64 rtc_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return off ? rtc_read_reg(self(d), self(d)->index) : 0xFF;
}

static void rtc_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    if (off) rtc_write_reg(self(d), self(d)->index, (u8)val);
    else self(d)->index = (u8)val & (CMOS_BYTES - 1); /* bit 7 masks NMI: nothing raises one here */
}

void rtc_cmos_set(struct dev *d, u8 index, u8 val)
{
    if (index > RTC_D && index < CMOS_BYTES && index != RTC_CENTURY) self(d)->cmos[index] = val;
}

/* ---- class ----------------------------------------------------------------------------------- */

static void set_le(struct rtc *r, u8 at, u64 val, u32 bytes)
{
    for (u32 i = 0; i < bytes; i++) r->cmos[at + i] = (u8)(val >> 8 * i);
}

/* The memory sizes an AT BIOS leaves: in KiB above 1 MiB, in 64 KiB above 16 MiB and above 4 GiB.
 * */
static void fill_cmos(struct rtc *r, const struct rtc_cfg *c)
{
    u64 ext = c->ram_below_4g > MIB(1) ? min_u64((c->ram_below_4g - MIB(1)) >> 10, 0xFFFF) : 0;
    u64 high = c->ram_below_4g > MIB(16) ? min_u64((c->ram_below_4g - MIB(16)) >> 16, 0xFFFF) : 0;
    set_le(r, 0x15, 640, 2);
    set_le(r, 0x17, ext, 2);
    set_le(r, 0x30, ext, 2);
    set_le(r, 0x34, high, 2);
    set_le(r, 0x5B, c->ram_above_4g >> 16, 3);
    set_le(r, 0x5F, c->cpus ? c->cpus - 1 : 0, 1);
    set_le(r, 0x14, 0x06, 1); /* equipment: FPU, PS/2 mouse port */
}

static int rtc_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct rtc_cfg *c = cfg;
    struct rtc *r = self(d);
    if (!c->clk) return err_set(e, E_INVAL, "needs a clock");
    r->clk = c->clk;
    r->seen_ns = clk_now_ns(c->clk);
    r->cmos[RTC_A] = 0x26; /* 32768 Hz, 1024 Hz periodic: as the BIOS leaves it */
    r->cmos[RTC_B] = B_24H;
    timer_init(&r->timer, c->clk, rtc_fire);
    irq_line_init(&r->irq, c->irq);
    fill_cmos(r, c);
    return 0;
}

static void rtc_fini(struct dev *d)
{
    irq_set(&self(d)->irq, false);
    timer_fini(&self(d)->timer);
}

/* The battery keeps time and CMOS; a reset only clears the interrupt enables and flags. */
static void rtc_reset(struct dev *d)
{
    struct rtc *r = self(d);
    r->cmos[RTC_B] &= (u8)~B_IRQS;
    r->cmos[RTC_C] = 0;
    r->index = 0;
    irq_set(&r->irq, false);
    timer_cancel(&r->timer);
}

static int rtc_validate(const struct dev *d, struct err *e)
{
    const struct rtc *r = container_of(d, const struct rtc, dev);
    s64 limit = 1ll << 40; /* seconds: some 34000 years */
    if (r->index >= CMOS_BYTES || r->phase_ns >= NS_PER_S || r->offset_s > limit ||
        r->offset_s < -limit)
        return err_set(e, E_FORMAT, "clock state out of range");
    return 0;
}

static void rtc_post_load(struct dev *d)
{
    struct rtc *r = self(d);
    u64 now = clk_now_ns(r->clk);
    r->seen_ns = min_u64(r->seen_ns, now);
    irq_set(&r->irq, r->cmos[RTC_C] & C_IRQF);
    rearm(r, now);
}

static const struct ser_field rtc_fields[] = {
    SER(struct rtc, index, 1),    SER_ARRAY(struct rtc, cmos, 1), SER(struct rtc, offset_s, 1),
    SER(struct rtc, phase_ns, 1), SER(struct rtc, seen_ns, 1),    SER_END,
};
static const struct dev_region rtc_regions[] = {
    {"rtc", BUS_PORT, true, 0x70, 2, 1, 1, rtc_read, rtc_write},
    {0},
};

const struct dev_class rtc_class = {
    .name = "rtc",
    .version = 1,
    .inst_bytes = sizeof(struct rtc),
    .regions = rtc_regions,
    .fields = rtc_fields,
    .init = rtc_init,
    .fini = rtc_fini,
    .reset = rtc_reset,
    .validate = rtc_validate,
    .post_load = rtc_post_load,
};
