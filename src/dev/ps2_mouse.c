/* dev/ps2_mouse.c - PS/2 mouse with the IntelliMouse extensions: three sample rates in a row make
 * it a wheel mouse (200, 100, 80: id 3) or one with five buttons (200, 200, 80: id 4).
 *
 * Movement is added up and reported as soon as the last report has been read; a change of buttons
 * is always a report of its own, so that no click is lost between two.
 * Spec: IBM PS/2 Hardware Interface Technical Reference, mouse. */
#include <string.h>

#include "dev/ps2.h"

enum {
    CMD_SCALE_1 = 0xE6,
    CMD_SCALE_2 = 0xE7,
    CMD_RESOLUTION = 0xE8,
    CMD_STATUS = 0xE9,
    CMD_STREAM = 0xEA,
    CMD_READ = 0xEB,
    CMD_UNWRAP = 0xEC,
    CMD_WRAP = 0xEE,
    CMD_REMOTE = 0xF0,
    CMD_IDENTIFY = 0xF2,
    CMD_RATE = 0xF3,
    CMD_ENABLE = 0xF4,
    CMD_DISABLE = 0xF5,
    CMD_DEFAULTS = 0xF6,
    CMD_RESEND = 0xFE,
    CMD_RESET = 0xFF,
};
enum { BUTTONS = 5, MOVE_MAX = 32767, PACKET_BYTES_MAX = 4, RATE_DEFAULT = 100 };
enum { P0_BUTTONS = 7, P0_ONE = 8, P0_X_SIGN = 16, P0_Y_SIGN = 32 };

static s32 clamp(s32 v, s32 low, s32 high) { return v < low ? low : v > high ? high : v; }

/* Up to @limit of what is left of @total; the rest stays for the next report. */
static s32 take(s32 *total, s32 low, s32 high)
{
    s32 v = clamp(*total, low, high);
    *total -= v;
    return v;
}

/* Scaling 2:1, for reports the mouse sends by itself. */
static s32 scale(const struct ps2_mouse *m, s32 v)
{
    static const s32 small[] = {0, 1, 1, 3, 6, 9};
    if (!m->double_scale || m->remote) return v;
    s32 n = v < 0 ? -v : v;
    s32 scaled = n < (s32)ARRAY_LEN(small) ? small[n] : 2 * n;
    return clamp(v < 0 ? -scaled : scaled, -255, 255);
}

static void report(struct ps2_mouse *m, struct ps2_queue *q)
{
    s32 dx = scale(m, take(&m->dx, -255, 255)), dy = scale(m, -take(&m->dy, -255, 255));
    ps2_push(q, (u8)((m->buttons & P0_BUTTONS) | P0_ONE | (dx < 0 ? P0_X_SIGN : 0) |
                     (dy < 0 ? P0_Y_SIGN : 0)));
    ps2_push(q, (u8)dx);
    ps2_push(q, (u8)dy);
    s32 dz = take(&m->dz, -8, 7);
    if (m->id == 3) ps2_push(q, (u8)dz);
    if (m->id == 4) ps2_push(q, (u8)((dz & 15) | (m->buttons >> 3 & 3) << 4));
}

static bool streams(const struct ps2_mouse *m) { return m->reporting && !m->remote && !m->wrap; }
static bool moved(const struct ps2_mouse *m) { return m->dx || m->dy || (m->id && m->dz); }

static void add(s32 *to, s32 by)
{
    *to = clamp(*to + clamp(by, -MOVE_MAX, MOVE_MAX), -MOVE_MAX, MOVE_MAX);
}

void ps2_mouse_event(struct ps2_mouse *m, const struct input_event *ev)
{
    bool click = ev->kind == INPUT_BUTTON && ev->code < BUTTONS;
    if (click && (m->buttons >> ev->code & 1) == ev->down) return;
    if (click) m->buttons = (u8)(m->buttons ^ 1u << ev->code);
    if (ev->kind == INPUT_MOVE) add(&m->dx, ev->dx), add(&m->dy, ev->dy);
    if (ev->kind == INPUT_WHEEL) add(&m->dz, ev->dy);
    if (!streams(m)) return;
    if ((!click || ps2_room(&m->data) < PACKET_BYTES_MAX) && (m->data.count || !moved(m))) return;
    report(m, &m->data);
    m->notify(m->ctx);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void forget(struct ps2_mouse *m)
{
    m->dx = m->dy = m->dz = 0;
    ps2_clear(&m->data);
}

static void defaults(struct ps2_mouse *m)
{
    m->resolution = 2;
    m->rates[2] = RATE_DEFAULT;
    m->reporting = m->remote = m->wrap = m->double_scale = false;
    m->command = 0;
    forget(m);
}

void ps2_mouse_reset(struct ps2_mouse *m)
{
    defaults(m);
    ps2_clear(&m->reply);
    m->rates[0] = m->rates[1] = RATE_DEFAULT;
    m->id = m->last = 0;
}

static void status(struct ps2_mouse *m)
{
    u8 b = m->buttons;
    ps2_push(&m->reply,
             (u8)((b & 1) << 2 | (b >> 2 & 1) << 1 | (b >> 1 & 1) | (m->double_scale ? 16 : 0) |
                  (m->reporting ? 32 : 0) | (m->remote ? 64 : 0)));
    ps2_push(&m->reply, m->resolution);
    ps2_push(&m->reply, m->rates[2]);
}

static void set_rate(struct ps2_mouse *m, u8 v)
{
    u8 *r = m->rates;
    r[0] = r[1], r[1] = r[2], r[2] = v;
    if (r[0] == 200 && r[1] == 100 && r[2] == 80) m->id = 3;
    if (r[0] == 200 && r[1] == 200 && r[2] == 80) m->id = 4;
}

static void argument(struct ps2_mouse *m, u8 v)
{
    bool ok = m->command != CMD_RESOLUTION || v <= 3;
    if (m->command == CMD_RATE) set_rate(m, v);
    else if (ok) m->resolution = v;
    m->command = 0;
    ps2_push(&m->reply, ok ? PS2_ACK : PS2_RESEND);
}

static void answer(struct ps2_mouse *m, u8 v)
{
    ps2_push(&m->reply, PS2_ACK);
    if (v == CMD_IDENTIFY) ps2_push(&m->reply, m->id);
    if (v == CMD_STATUS) status(m);
    if (v == CMD_READ) report(m, &m->reply);
    if (v == CMD_RESET) {
        ps2_push(&m->reply, PS2_BAT_OK);
        ps2_push(&m->reply, m->id);
    }
}

static void begin(struct ps2_mouse *m, u8 v)
{
    m->command = 0;
    switch (v) {
    case CMD_SCALE_1: m->double_scale = false; break;
    case CMD_SCALE_2: m->double_scale = true; break;
    case CMD_RESOLUTION:
    case CMD_RATE: m->command = v; break;
    case CMD_STATUS:
    case CMD_READ:
    case CMD_IDENTIFY: break;
    case CMD_STREAM: m->remote = false, forget(m); break;
    case CMD_REMOTE: m->remote = true, forget(m); break;
    case CMD_UNWRAP: m->wrap = false; break;
    case CMD_WRAP: m->wrap = true, forget(m); break;
    case CMD_ENABLE: m->reporting = true, forget(m); break;
    case CMD_DISABLE: m->reporting = false, forget(m); break;
    case CMD_DEFAULTS: defaults(m); break;
    case CMD_RESET: ps2_mouse_reset(m); break;
    case CMD_RESEND: ps2_push(&m->reply, m->last); return;
    default: ps2_push(&m->reply, PS2_RESEND); return;
    }
    answer(m, v);
}

void ps2_mouse_write(struct ps2_mouse *m, u8 v)
{
    ps2_clear(&m->reply);
    ps2_clear(&m->data); /* a command ends the report on the wire */
    if (m->wrap && v != CMD_UNWRAP && v != CMD_RESET) ps2_push(&m->reply, v);
    else if (m->command && v < CMD_SCALE_1) argument(m, v);
    else begin(m, v);
    m->notify(m->ctx);
}

/* ---- controller's side ----------------------------------------------------------------------- */

bool ps2_mouse_pending(const struct ps2_mouse *m) { return m->reply.count || m->data.count; }

u8 ps2_mouse_read(struct ps2_mouse *m)
{
    m->last = ps2_pop(m->reply.count ? &m->reply : &m->data);
    if (!m->data.count && streams(m) && moved(m)) report(m, &m->data);
    return m->last;
}

void ps2_mouse_init(struct ps2_mouse *m, ps2_notify_fn *notify, void *ctx)
{
    m->notify = notify;
    m->ctx = ctx;
}

bool ps2_mouse_valid(const struct ps2_mouse *m)
{
    return ps2_queue_valid(&m->reply) && ps2_queue_valid(&m->data) && m->resolution <= 3 &&
           (m->id == 0 || m->id == 3 || m->id == 4) && m->buttons < 1 << BUTTONS &&
           clamp(m->dx, -MOVE_MAX, MOVE_MAX) == m->dx &&
           clamp(m->dy, -MOVE_MAX, MOVE_MAX) == m->dy && clamp(m->dz, -MOVE_MAX, MOVE_MAX) == m->dz;
}
