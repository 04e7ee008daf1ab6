/* dev/ps2_kbd.c - PS/2 keyboard: scan code sets 1 to 3, typematic repeat, commands.
 * Spec: IBM PS/2 Hardware Interface Technical Reference, keyboards (101- and 102-key). */
#include <string.h>

#include "base/keys.h"
#include "dev/ps2.h"

enum {
    CMD_LEDS = 0xED,
    CMD_ECHO = 0xEE,
    CMD_SET = 0xF0,
    CMD_IDENTIFY = 0xF2,
    CMD_TYPEMATIC = 0xF3,
    CMD_ENABLE = 0xF4,
    CMD_DISABLE = 0xF5,
    CMD_DEFAULTS = 0xF6,
    CMD_ALL_REPEAT = 0xF7,
    CMD_ALL_BREAK = 0xF8,
    CMD_ALL_MAKE = 0xF9,
    CMD_ALL_BOTH = 0xFA,
    CMD_KEY_REPEAT = 0xFB,
    CMD_KEY_BREAK = 0xFC,
    CMD_KEY_MAKE = 0xFD,
    CMD_RESEND = 0xFE,
    CMD_RESET = 0xFF,
};
enum { TYPEMATIC_DEFAULT = 0x2B }; /* 10.9 a second after 500 ms */
/* Room kept in the queue: a release fits where a press did not, or keys would get stuck. */
enum { CODE_BYTES_MAX = 8, RELEASE_BYTES = 24 };

struct code { /* what one event sends */
    u8 byte[CODE_BYTES_MAX];
    u32 bytes;
};

static bool bit_get(const u64 *map, u32 n) { return map[n / 64] >> n % 64 & 1; }
static void bit_put(u64 *map, u32 n, bool on)
{
    if (on) map[n / 64] |= BIT(n % 64);
    else map[n / 64] &= ~BIT(n % 64);
}
static bool held(const struct ps2_kbd *k, u32 a, u32 b)
{
    return bit_get(k->held, a) || bit_get(k->held, b);
}

/* ---- scan codes ------------------------------------------------------------------------------ */

static void add(struct code *c, u8 v)
{
    if (c->bytes < CODE_BYTES_MAX) c->byte[c->bytes++] = v;
}

/* A make or break code of set 1 or 2, E0 in front where the table has it. */
static void add_code(const struct ps2_kbd *k, struct code *c, u32 row_code, bool down)
{
    if (row_code > 0xFF) add(c, (u8)(row_code >> 8));
    if (k->set == 2 && !down) add(c, 0xF0);
    add(c, (u8)(k->set == 1 && !down ? row_code | 0x80 : row_code));
}

static u32 code_of(const struct ps2_kbd *k, u32 key)
{
    return k->set == 1 ? key_row(key)->set1 : key_row(key)->set2;
}

/* Print Screen: E0 37 between a pressed and a released E0 2A; alone with Shift or Ctrl; with Alt it
 * is SysRq. (All in terms of set 1.) */
static void code_print(const struct ps2_kbd *k, struct code *c, bool down)
{
    u32 shift = 0xE000 | code_of(k, KEY_SHIFT);
    if (held(k, KEY_ALT, KEY_ALT_R)) {
        add_code(k, c, code_of(k, KEY_SYSRQ), down);
        return;
    }
    bool plain = !held(k, KEY_SHIFT, KEY_SHIFT_R) && !held(k, KEY_CTRL, KEY_CTRL_R);
    if (plain && down) add_code(k, c, shift, true);
    add_code(k, c, code_of(k, KEY_PRINT), down);
    if (plain && !down) add_code(k, c, shift, false);
}

/* Pause sends everything when pressed, nothing when released; with Ctrl it is Break. */
static void code_pause(const struct ps2_kbd *k, struct code *c, bool down)
{
    if (!down) return;
    bool with_ctrl = held(k, KEY_CTRL, KEY_CTRL_R);
    u32 scroll = 0xE000 | code_of(k, KEY_SCROLL), pause = code_of(k, KEY_PAUSE);
    for (u32 make = 2; make-- > 0;) {
        if (with_ctrl) {
            add_code(k, c, scroll, make);
            continue;
        }
        add(c, (u8)(pause >> 16));
        add_code(k, c, pause >> 8 & 0xFF, make);
        add_code(k, c, pause & 0xFF, make);
    }
}

static void code_set3(const struct ps2_kbd *k, struct code *c, u32 key, bool down)
{
    u8 v = key_row(key)->set3;
    if (!v || (!down && !bit_get(k->with_break, v))) return;
    if (!down) add(c, 0xF0);
    add(c, v);
}

static struct code code_make(const struct ps2_kbd *k, u32 key, bool down)
{
    struct code c = {.bytes = 0};
    if (k->set == 3) code_set3(k, &c, key, down);
    else if (key == KEY_PRINT) code_print(k, &c, down);
    else if (key == KEY_PAUSE) code_pause(k, &c, down);
    else add_code(k, &c, code_of(k, key), down);
    return c;
}

static void send(struct ps2_kbd *k, u32 key, bool down)
{
    struct code c = code_make(k, key, down);
    if (c.bytes + (down ? RELEASE_BYTES : 0) > ps2_room(&k->data)) return;
    for (u32 i = 0; i < c.bytes; i++) ps2_push(&k->data, c.byte[i]);
    if (c.bytes) k->notify(k->ctx);
}

/* ---- repeat ---------------------------------------------------------------------------------- */

/* F3's argument: bits 6..5 delay in units of 250 ms less one; period (8 + bits 2..0) << bits 4..3
 * in units of 4.17 ms. */
static u64 delay_ns(const struct ps2_kbd *k)
{
    return MS_TO_NS(250) * ((k->typematic >> 5 & 3) + 1u);
}
static u64 period_ns(const struct ps2_kbd *k)
{
    return 4170000ull * ((8u + (k->typematic & 7)) << (k->typematic >> 3 & 3));
}

static void repeat_at(struct ps2_kbd *k, u32 key, u64 due_ns)
{
    k->repeat_key = (u8)key;
    k->repeat_ns = due_ns;
    if (key) timer_arm(&k->repeat, due_ns);
    else timer_cancel(&k->repeat);
}

static bool repeats(const struct ps2_kbd *k, u32 key)
{
    if (key == KEY_PAUSE) return false;
    return k->set != 3 || !bit_get(k->no_repeat, key_row(key)->set3);
}

static void on_repeat(struct timer *t)
{
    struct ps2_kbd *k = container_of(t, struct ps2_kbd, repeat);
    if (!k->repeat_key || !k->scanning) return;
    repeat_at(k, k->repeat_key, timer_now_ns(t) + period_ns(k));
    if (k->data.count == 0) send(k, k->repeat_key, true);
}

void ps2_kbd_key(struct ps2_kbd *k, u32 key, bool down)
{
    if (!key_row(key) || bit_get(k->held, key) == down) return;
    if (down) bit_put(k->held, key, true);
    if (k->scanning) send(k, key, down);
    if (!down) bit_put(k->held, key, false);
    if (down && k->scanning && repeats(k, key))
        repeat_at(k, key, timer_now_ns(&k->repeat) + delay_ns(k));
    else if (k->repeat_key == key || down) repeat_at(k, 0, 0);
}

/* ---- commands -------------------------------------------------------------------------------- */

/* Set 3 after power-on: modifiers also report their release, everything repeats. */
static void default_types(struct ps2_kbd *k)
{
    static const u8 both[] = {KEY_SHIFT, KEY_SHIFT_R, KEY_CTRL, KEY_ALT, KEY_CAPS_LOCK};
    memset(k->no_repeat, 0, sizeof k->no_repeat);
    memset(k->with_break, 0, sizeof k->with_break);
    for (u32 i = 0; i < ARRAY_LEN(both); i++) {
        bit_put(k->with_break, key_row(both[i])->set3, true);
        bit_put(k->no_repeat, key_row(both[i])->set3, true);
    }
}

static void defaults(struct ps2_kbd *k)
{
    k->set = 2;
    k->typematic = TYPEMATIC_DEFAULT;
    k->command = 0;
    ps2_clear(&k->data);
    repeat_at(k, 0, 0);
    default_types(k);
}

void ps2_kbd_reset(struct ps2_kbd *k)
{
    defaults(k);
    ps2_clear(&k->reply);
    memset(k->held, 0, sizeof k->held);
    k->leds = k->last = 0;
    k->scanning = true;
}

static void all_types(struct ps2_kbd *k, bool repeat, bool with_break)
{
    memset(k->no_repeat, repeat ? 0 : 0xFF, sizeof k->no_repeat);
    memset(k->with_break, with_break ? 0xFF : 0, sizeof k->with_break);
}

static void choose_set(struct ps2_kbd *k, u8 v)
{
    ps2_push(&k->reply, v <= 3 ? PS2_ACK : PS2_RESEND);
    if (v == 0) ps2_push(&k->reply, k->set);
    if (v < 1 || v > 3) return;
    k->set = v;
    ps2_clear(&k->data);
}

/* FB, FC, FD take key after key until the next command. */
static void key_type(struct ps2_kbd *k, u8 command, u8 v)
{
    bit_put(k->no_repeat, v, command != CMD_KEY_REPEAT);
    bit_put(k->with_break, v, command == CMD_KEY_BREAK);
    k->command = command;
    ps2_push(&k->reply, PS2_ACK);
}

static void argument(struct ps2_kbd *k, u8 command, u8 v)
{
    k->command = 0;
    if (command == CMD_SET) choose_set(k, v);
    else if (command != CMD_LEDS && command != CMD_TYPEMATIC) key_type(k, command, v);
    else {
        if (command == CMD_LEDS) k->leds = v & 7;
        else k->typematic = v & 0x7F;
        ps2_push(&k->reply, PS2_ACK);
    }
}

static void identify(struct ps2_kbd *k)
{
    ps2_push(&k->reply, PS2_ACK);
    ps2_push(&k->reply, 0xAB);
    ps2_push(&k->reply, 0x83);
}

static void begin(struct ps2_kbd *k, u8 v)
{
    k->command = 0;
    switch (v) {
    case CMD_ECHO: ps2_push(&k->reply, CMD_ECHO); return;
    case CMD_IDENTIFY: identify(k); return;
    case CMD_RESEND: ps2_push(&k->reply, k->last); return;
    case CMD_LEDS:
    case CMD_SET:
    case CMD_TYPEMATIC:
    case CMD_KEY_REPEAT:
    case CMD_KEY_BREAK:
    case CMD_KEY_MAKE: k->command = v; break;
    case CMD_ENABLE:
        ps2_clear(&k->data);
        k->scanning = true;
        break;
    case CMD_DISABLE:
        defaults(k);
        k->scanning = false;
        break;
    case CMD_DEFAULTS: defaults(k); break;
    case CMD_ALL_REPEAT: all_types(k, true, false); break;
    case CMD_ALL_BREAK: all_types(k, false, true); break;
    case CMD_ALL_MAKE: all_types(k, false, false); break;
    case CMD_ALL_BOTH: all_types(k, true, true); break;
    case CMD_RESET: ps2_kbd_reset(k); break;
    default: ps2_push(&k->reply, PS2_RESEND); return;
    }
    ps2_push(&k->reply, PS2_ACK);
    if (v == CMD_RESET) ps2_push(&k->reply, PS2_BAT_OK);
}

void ps2_kbd_write(struct ps2_kbd *k, u8 v)
{
    ps2_clear(&k->reply);
    if (k->command && v < CMD_LEDS) argument(k, k->command, v);
    else begin(k, v);
    k->notify(k->ctx);
}

/* ---- controller's side ----------------------------------------------------------------------- */

bool ps2_kbd_pending(const struct ps2_kbd *k) { return k->reply.count || k->data.count; }

u8 ps2_kbd_read(struct ps2_kbd *k)
{
    k->last = ps2_pop(k->reply.count ? &k->reply : &k->data);
    return k->last;
}

void ps2_kbd_init(struct ps2_kbd *k, struct clk *clk, ps2_notify_fn *notify, void *ctx)
{
    timer_init(&k->repeat, clk, on_repeat);
    k->notify = notify;
    k->ctx = ctx;
}

void ps2_kbd_fini(struct ps2_kbd *k) { timer_fini(&k->repeat); }

bool ps2_kbd_valid(const struct ps2_kbd *k)
{
    return ps2_queue_valid(&k->reply) && ps2_queue_valid(&k->data) && k->set >= 1 && k->set <= 3 &&
           (!k->repeat_key || key_row(k->repeat_key));
}

void ps2_kbd_post_load(struct ps2_kbd *k) { repeat_at(k, k->repeat_key, k->repeat_ns); }
