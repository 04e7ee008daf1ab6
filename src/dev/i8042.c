/* dev/i8042.c - the keyboard controller: between two serial devices and ports 0x60 and 0x64.
 *
 *   0x60 read   output buffer          0x64 read   status
 *   0x60 write  to the keyboard, or    0x64 write  command
 *               a command's argument
 *
 * The output buffer holds one byte. A reply of the controller itself goes first, then the keyboard,
 * then the mouse; a device's next byte comes BYTE_NS after its last one was read, looked for at
 * every access (a guest that polls need not wait for the timer) and by a timer.
 * Spec: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device controller.
 * Threads: under the bus lock. */
#include "dev/i8042.h"

#include <string.h>

#include "base/keys.h"
#include "dev/ps2.h"

enum {
    STS_OBF = 1 << 0,
    STS_SYS = 1 << 2,
    STS_COMMAND = 1 << 3,
    STS_UNLOCKED = 1 << 4,
    STS_AUX_OBF = 1 << 5,
};
enum {
    CFG_KBD_IRQ = 1 << 0,
    CFG_AUX_IRQ = 1 << 1,
    CFG_SYS = 1 << 2,
    CFG_KBD_OFF = 1 << 4,
    CFG_AUX_OFF = 1 << 5,
    CFG_TRANSLATE = 1 << 6,
    CFG_BITS = 0x7F,
};
enum {
    OUT_RESET_N = 1 << 0,
    OUT_A20 = 1 << 1,
    OUT_KBD = 1 << 4,
    OUT_AUX = 1 << 5,
    OUT_IDLE = 0xC0
};
enum {
    CMD_READ_RAM = 0x20,
    CMD_WRITE_RAM = 0x60,
    CMD_PASSWORD = 0xA4,
    CMD_AUX_OFF = 0xA7,
    CMD_AUX_ON = 0xA8,
    CMD_AUX_TEST = 0xA9,
    CMD_SELF_TEST = 0xAA,
    CMD_KBD_TEST = 0xAB,
    CMD_KBD_OFF = 0xAD,
    CMD_KBD_ON = 0xAE,
    CMD_READ_INPUT = 0xC0,
    CMD_READ_OUTPUT = 0xD0,
    CMD_WRITE_OUTPUT = 0xD1,
    CMD_AS_KBD = 0xD2,
    CMD_AS_AUX = 0xD3,
    CMD_TO_AUX = 0xD4,
    CMD_A20_OFF = 0xDD,
    CMD_A20_ON = 0xDF,
    CMD_TEST_INPUTS = 0xE0,
    CMD_PULSE = 0xF0,
};
enum { SELF_TEST_OK = 0x55, NO_PASSWORD = 0xF1, INPUT_PORT = 0x80, RAM_BYTES = 32 };
enum { SRC_NONE, SRC_CTL, SRC_KBD, SRC_AUX };
#define BYTE_NS (500 * 1000ull)

struct i8042 {
    struct dev dev;
    struct irq_line kbd_irq, aux_irq;
    struct timer byte; /* derived: the next byte of a device is due */
    struct ps2_kbd kbd;
    struct ps2_mouse mouse;
    u64 next_ns;        /* no byte of a device before this                  */
    u8 ram[RAM_BYTES];  /* [0] is the configuration byte                    */
    u8 set1[256];       /* constant: translation from set 2, from keys.def  */
    u8 out;             /* output buffer; keeps its value when it was read  */
    bool full, out_aux; /* there is an unread byte; it is from the mouse    */
    bool broke;         /* translation: the last byte was F0                */
    bool was_command;   /* last write was to 0x64                           */
    u8 reply;           /* of the controller itself                         */
    bool reply_pending, reply_aux;
    u8 outport; /* as written; OUT_RESET_N and OUT_A20 matter       */
    u8 command; /* waits for its argument; 0: none                  */
};

static struct i8042 *self(struct dev *d) { return container_of(d, struct i8042, dev); }

/* ---- output buffer --------------------------------------------------------------------------- */

static void update_irqs(struct i8042 *c)
{
    irq_set(&c->kbd_irq, c->full && !c->out_aux && (c->ram[0] & CFG_KBD_IRQ));
    irq_set(&c->aux_irq, c->full && c->out_aux && (c->ram[0] & CFG_AUX_IRQ));
}

/* Who could send now, were the buffer empty? */
static u32 source(const struct i8042 *c)
{
    if (c->reply_pending) return SRC_CTL;
    if (ps2_kbd_pending(&c->kbd) && !(c->ram[0] & CFG_KBD_OFF)) return SRC_KBD;
    if (ps2_mouse_pending(&c->mouse) && !(c->ram[0] & CFG_AUX_OFF)) return SRC_AUX;
    return SRC_NONE;
}

static void put(struct i8042 *c, u8 v, bool aux)
{
    c->out = v;
    c->out_aux = aux;
    c->full = true;
}

/* The keyboard's bytes, translated when asked for: F0 disappears into bit 7 of the next. */
static void take_kbd(struct i8042 *c)
{
    u8 v = ps2_kbd_read(&c->kbd);
    if (!(c->ram[0] & CFG_TRANSLATE)) {
        c->broke = false;
        put(c, v, false);
    } else if (v == 0xF0) {
        c->broke = true;
    } else {
        put(c, (u8)(c->set1[v] | (c->broke ? 0x80 : 0)), false);
        c->broke = false;
    }
}

/* Bring in what is due. */
static void advance(struct i8042 *c)
{
    for (u32 i = 0; i < 2 && !c->full; i++) { /* twice: F0 leaves the buffer empty */
        u32 from = source(c);
        if (from == SRC_NONE) break;
        if (from != SRC_CTL && timer_now_ns(&c->byte) < c->next_ns) {
            if (!timer_is_armed(&c->byte)) timer_arm(&c->byte, c->next_ns);
            break;
        }
        if (from == SRC_CTL) put(c, c->reply, c->reply_aux), c->reply_pending = false;
        else if (from == SRC_KBD) take_kbd(c);
        else put(c, ps2_mouse_read(&c->mouse), true);
        if (from != SRC_CTL) c->next_ns = timer_now_ns(&c->byte) + BYTE_NS;
        if (from == SRC_KBD && !c->full) c->next_ns = 0;
    }
    update_irqs(c);
}

static void on_byte(struct timer *t) { advance(container_of(t, struct i8042, byte)); }
static void on_notify(void *ctx) { advance(ctx); }

static void reply(struct i8042 *c, u8 v)
{
    c->reply = v;
    c->reply_aux = false;
    c->reply_pending = true;
}

static u64 data_read(struct dev *d, u64 off, u32 bytes)
{
    struct i8042 *c = self(d);
    (void)off, (void)bytes;
    advance(c);
    u8 v = c->out;
    if (c->full) {
        c->full = false;
        update_irqs(c); /* the next byte must be an edge */
        c->next_ns = timer_now_ns(&c->byte) + BYTE_NS;
        advance(c);
    }
    return v;
}

static u64 status_read(struct dev *d, u64 off, u32 bytes)
{
    struct i8042 *c = self(d);
    (void)off, (void)bytes;
    advance(c);
    return (u8)(STS_UNLOCKED | (c->full ? STS_OBF : 0) | (c->full && c->out_aux ? STS_AUX_OBF : 0) |
                (c->ram[0] & CFG_SYS ? STS_SYS : 0) | (c->was_command ? STS_COMMAND : 0));
}

/* ---- commands -------------------------------------------------------------------------------- */

static void write_outport(struct i8042 *c, u8 v)
{
    u8 old = c->outport;
    c->outport = v;
    if ((old ^ v) & OUT_A20) dev_request_a20(&c->dev, v & OUT_A20);
    if (!(v & OUT_RESET_N)) dev_request_reset(&c->dev);
}

static u8 read_outport(const struct i8042 *c)
{
    bool kbd = c->full && !c->out_aux, aux = c->full && c->out_aux;
    return (u8)(OUT_RESET_N | OUT_IDLE | (c->outport & OUT_A20) | (kbd ? OUT_KBD : 0) |
                (aux ? OUT_AUX : 0));
}

static void configure(struct i8042 *c, u8 clear, u8 set)
{
    c->ram[0] = (u8)((c->ram[0] & ~clear) | set);
}

static void argument(struct i8042 *c, u8 command, u8 v)
{
    c->command = 0;
    switch (command) {
    case CMD_WRITE_OUTPUT: write_outport(c, v); break;
    case CMD_AS_KBD: reply(c, v); break;
    case CMD_AS_AUX:
        reply(c, v);
        c->reply_aux = true;
        break;
    case CMD_TO_AUX:
        configure(c, CFG_AUX_OFF, 0);
        ps2_mouse_write(&c->mouse, v);
        break;
    case CMD_WRITE_RAM: c->ram[0] = v & CFG_BITS; break;
    default: c->ram[command % RAM_BYTES] = v; break; /* 61..7F */
    }
}

static void data_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct i8042 *c = self(d);
    (void)off, (void)bytes;
    c->was_command = false;
    if (c->command) {
        argument(c, c->command, (u8)val);
    } else {
        configure(c, CFG_KBD_OFF, 0);
        ps2_kbd_write(&c->kbd, (u8)val);
    }
    advance(c);
}

static void begin(struct i8042 *c, u8 v)
{
    if (v >= CMD_PULSE) { /* bits that are 0 pulse low; bit 0 is the processor's reset */
        if (!(v & OUT_RESET_N)) dev_request_reset(&c->dev);
        return;
    }
    if (v >= CMD_WRITE_RAM && v < CMD_WRITE_RAM + RAM_BYTES) {
        c->command = v;
        return;
    }
    if (v >= CMD_READ_RAM && v < CMD_READ_RAM + RAM_BYTES) {
        reply(c, c->ram[v - CMD_READ_RAM]);
        return;
    }
    switch (v) {
    case CMD_PASSWORD: reply(c, NO_PASSWORD); break;
    case CMD_AUX_OFF: configure(c, 0, CFG_AUX_OFF); break;
    case CMD_AUX_ON: configure(c, CFG_AUX_OFF, 0); break;
    case CMD_AUX_TEST:
    case CMD_KBD_TEST:
    case CMD_TEST_INPUTS: reply(c, 0); break;
    case CMD_SELF_TEST:
        configure(c, 0, CFG_SYS);
        reply(c, SELF_TEST_OK);
        break;
    case CMD_KBD_OFF: configure(c, 0, CFG_KBD_OFF); break;
    case CMD_KBD_ON: configure(c, CFG_KBD_OFF, 0); break;
    case CMD_READ_INPUT: reply(c, INPUT_PORT); break;
    case CMD_READ_OUTPUT: reply(c, read_outport(c)); break;
    case CMD_WRITE_OUTPUT:
    case CMD_AS_KBD:
    case CMD_AS_AUX:
    case CMD_TO_AUX: c->command = v; break;
    case CMD_A20_OFF: write_outport(c, c->outport & (u8)~OUT_A20); break;
    case CMD_A20_ON: write_outport(c, c->outport | OUT_A20); break;
    default: break;
    }
}

static void command_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct i8042 *c = self(d);
    (void)off, (void)bytes;
    c->was_command = true;
    c->command = 0;
    begin(c, (u8)val);
    advance(c);
}

/* ---- input ----------------------------------------------------------------------------------- */

void i8042_event(void *dev, const struct input_event *ev)
{
    struct i8042 *c = self(dev);
    if (ev->kind == INPUT_KEY) ps2_kbd_key(&c->kbd, ev->code, ev->down);
    else ps2_mouse_event(&c->mouse, ev);
}

bool i8042_idle(const void *dev)
{
    const struct i8042 *c = container_of((const struct dev *)dev, const struct i8042, dev);
    return !c->full && !ps2_kbd_pending(&c->kbd) && !ps2_mouse_pending(&c->mouse);
}

/* ---- class ----------------------------------------------------------------------------------- */

/* What the controller's ROM has: codes of set 2 become codes of set 1; everything above 84 stays.
 */
static void fill_translation(struct i8042 *c)
{
    for (u32 i = 0; i < ARRAY_LEN(c->set1); i++) c->set1[i] = (u8)i;
    for (u32 i = 1; i < KEY_COUNT; i++) c->set1[key_row(i)->set2 & 0xFF] = (u8)key_row(i)->set1;
    c->set1[0x02] = 0x41; /* no key's; what F0's answer "set 2" becomes */
}

static int i8042_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct i8042_cfg *k = cfg;
    struct i8042 *c = self(d);
    if (!k->clk) return err_set(e, E_INVAL, "needs a clock");
    timer_init(&c->byte, k->clk, on_byte);
    ps2_kbd_init(&c->kbd, k->clk, on_notify, c);
    ps2_mouse_init(&c->mouse, on_notify, c);
    irq_line_init(&c->kbd_irq, k->kbd_irq);
    irq_line_init(&c->aux_irq, k->aux_irq);
    fill_translation(c);
    return 0;
}

static void i8042_fini(struct dev *d)
{
    struct i8042 *c = self(d);
    irq_set(&c->kbd_irq, false);
    irq_set(&c->aux_irq, false);
    ps2_kbd_fini(&c->kbd);
    timer_fini(&c->byte);
}

static void i8042_reset(struct dev *d)
{
    struct i8042 *c = self(d);
    ps2_kbd_reset(&c->kbd);
    ps2_mouse_reset(&c->mouse);
    timer_cancel(&c->byte);
    memset(c->ram, 0, sizeof c->ram);
    c->ram[0] = CFG_KBD_IRQ | CFG_AUX_IRQ | CFG_SYS | CFG_TRANSLATE;
    c->outport = OUT_RESET_N | OUT_A20;
    c->next_ns = 0;
    c->out = c->reply = c->command = 0;
    c->full = c->out_aux = c->broke = c->was_command = c->reply_pending = c->reply_aux = false;
    update_irqs(c);
}

static int i8042_validate(const struct dev *d, struct err *e)
{
    const struct i8042 *c = container_of(d, const struct i8042, dev);
    if (!ps2_kbd_valid(&c->kbd)) return err_set(e, E_FORMAT, "keyboard state out of range");
    if (!ps2_mouse_valid(&c->mouse)) return err_set(e, E_FORMAT, "mouse state out of range");
    return 0;
}

static void i8042_post_load(struct dev *d)
{
    struct i8042 *c = self(d);
    u64 latest = timer_now_ns(&c->byte) + BYTE_NS; /* a damaged file must not silence it for ever */
    timer_cancel(&c->byte);
    if (c->next_ns > latest) c->next_ns = latest;
    if (!c->full && source(c) != SRC_NONE) timer_arm(&c->byte, c->next_ns);
    ps2_kbd_post_load(&c->kbd);
    dev_request_a20(d, c->outport & OUT_A20);
    update_irqs(c);
}

static const struct ser_field i8042_fields[] = {
    SER_ARRAY(struct i8042, kbd.reply.byte, 1),
    SER(struct i8042, kbd.reply.head, 1),
    SER(struct i8042, kbd.reply.count, 1),
    SER_ARRAY(struct i8042, kbd.data.byte, 1),
    SER(struct i8042, kbd.data.head, 1),
    SER(struct i8042, kbd.data.count, 1),
    SER_ARRAY(struct i8042, kbd.held, 1),
    SER_ARRAY(struct i8042, kbd.no_repeat, 1),
    SER_ARRAY(struct i8042, kbd.with_break, 1),
    SER(struct i8042, kbd.repeat_ns, 1),
    SER(struct i8042, kbd.repeat_key, 1),
    SER(struct i8042, kbd.set, 1),
    SER(struct i8042, kbd.leds, 1),
    SER(struct i8042, kbd.typematic, 1),
    SER(struct i8042, kbd.command, 1),
    SER(struct i8042, kbd.last, 1),
    SER(struct i8042, kbd.scanning, 1),
    SER_ARRAY(struct i8042, mouse.reply.byte, 1),
    SER(struct i8042, mouse.reply.head, 1),
    SER(struct i8042, mouse.reply.count, 1),
    SER_ARRAY(struct i8042, mouse.data.byte, 1),
    SER(struct i8042, mouse.data.head, 1),
    SER(struct i8042, mouse.data.count, 1),
    SER(struct i8042, mouse.dx, 1),
    SER(struct i8042, mouse.dy, 1),
    SER(struct i8042, mouse.dz, 1),
    SER(struct i8042, mouse.buttons, 1),
    SER(struct i8042, mouse.id, 1),
    SER_ARRAY(struct i8042, mouse.rates, 1),
    SER(struct i8042, mouse.resolution, 1),
    SER(struct i8042, mouse.command, 1),
    SER(struct i8042, mouse.last, 1),
    SER(struct i8042, mouse.reporting, 1),
    SER(struct i8042, mouse.remote, 1),
    SER(struct i8042, mouse.wrap, 1),
    SER(struct i8042, mouse.double_scale, 1),
    SER(struct i8042, next_ns, 1),
    SER_ARRAY(struct i8042, ram, 1),
    SER(struct i8042, out, 1),
    SER(struct i8042, full, 1),
    SER(struct i8042, out_aux, 1),
    SER(struct i8042, broke, 1),
    SER(struct i8042, was_command, 1),
    SER(struct i8042, reply, 1),
    SER(struct i8042, reply_aux, 1),
    SER(struct i8042, reply_pending, 1),
    SER(struct i8042, outport, 1),
    SER(struct i8042, command, 1),
    SER_END,
};
static const struct dev_region i8042_regions[] = {
    {"i8042-data", BUS_PORT, true, 0x60, 1, 1, 1, data_read, data_write},
    {"i8042-command", BUS_PORT, true, 0x64, 1, 1, 1, status_read, command_write},
    {0},
};

const struct dev_class i8042_class = {
    .name = "i8042",
    .version = 1,
    .inst_bytes = sizeof(struct i8042),
    .regions = i8042_regions,
    .fields = i8042_fields,
    .init = i8042_init,
    .fini = i8042_fini,
    .reset = i8042_reset,
    .validate = i8042_validate,
    .post_load = i8042_post_load,
};
