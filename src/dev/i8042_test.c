/* dev/i8042_test.c - keyboard controller, keyboard and mouse. */
#include "dev/i8042.h"

#include <stdio.h>

#include "base/keys.h"
#include "dev/test_storm.h"

enum { DATA = 0x60, CTL = 0x64, OBF = 1, AUX = 0x20 };
enum { BYTES = 128 };

static struct rig r;
static struct dev *d;
static struct irq_pin aux_pin;
static u32 aux_rises;

static void aux_set(void *ctx, u32 input, bool level)
{
    (void)ctx, (void)input;
    aux_rises += level;
}

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    aux_pin = (struct irq_pin){0};
    aux_rises = 0;
    irq_pin_route(&aux_pin, aux_set, NULL, 0);
    d = rig_create(&r, &i8042_class, &(struct i8042_cfg){&r.clk, &r.pin, &aux_pin});
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&r, d);
    rig_storm(&r, d, 20000);
    rig_save_load_compare(&r, d);
    rig_damaged_loads(&r, d, 1000);
    rig_fini(&r);
    assert_false(r.level);
    return 0;
}

static void key(u32 code, bool down)
{
    i8042_event(d, &(struct input_event){.kind = INPUT_KEY, .code = code, .down = down});
}
static void move(s32 dx, s32 dy)
{
    i8042_event(d, &(struct input_event){.kind = INPUT_MOVE, .dx = dx, .dy = dy});
}
static void button(u32 n, bool down)
{
    i8042_event(d, &(struct input_event){.kind = INPUT_BUTTON, .code = n, .down = down});
}

/* Everything that comes, as a guest that polls reads it. */
static u32 drain(u8 *to)
{
    u32 n = 0;
    for (u32 quiet = 0; quiet < 3 && n < BYTES;) {
        u8 sts = in8(&r, CTL);
        if (sts & OBF) to[n++] = in8(&r, DATA), quiet = 0;
        else quiet++, clk_advance(&r.clk, 500000);
    }
    return n;
}
static void expect(const char *hex)
{
    u8 got[BYTES];
    char text[3 * BYTES + 1] = "";
    u32 n = drain(got);
    for (u32 i = 0; i < n; i++) snprintf(text + 3 * i, 4, "%02x ", got[i]);
    if (n) text[3 * n - 1] = 0;
    assert_string_equal(text, hex);
}
static void to_kbd(u8 v) { out8(&r, DATA, v); }
static void to_aux(u8 v)
{
    out8(&r, CTL, 0xD4);
    out8(&r, DATA, v);
}
static void config(u8 v)
{
    out8(&r, CTL, 0x60);
    out8(&r, DATA, v);
}

static void test_controller(void **state)
{
    (void)state;
    assert_int_equal(in8(&r, CTL), 0x14);
    out8(&r, CTL, 0xAA);
    assert_int_equal(in8(&r, CTL), 0x1D);
    expect("55");
    out8(&r, CTL, 0x20);
    expect("47");
    config(0xFF);
    out8(&r, CTL, 0x20);
    expect("7f");
    out8(&r, CTL, 0xAE);
    out8(&r, CTL, 0xA8);
    out8(&r, CTL, 0x20);
    expect("4f");
    out8(&r, CTL, 0x7F);
    out8(&r, DATA, 0x12);
    out8(&r, CTL, 0x3F);
    expect("12");
    out8(&r, CTL, 0xAB);
    expect("00");
    out8(&r, CTL, 0xA9);
    expect("00");
    out8(&r, CTL, 0xA4);
    expect("f1");
    out8(&r, CTL, 0xD0);
    expect("c3");
    out8(&r, CTL, 0xD2);
    out8(&r, DATA, 0x77);
    expect("77");
    out8(&r, CTL, 0xD3);
    out8(&r, DATA, 0x78);
    assert_int_equal(in8(&r, CTL) & (OBF | AUX), OBF | AUX);
    expect("78");
    assert_int_equal(in8(&r, DATA), 0x78); /* stays readable */
}

static void test_reset_and_a20(void **state)
{
    (void)state;
    r.a20 = true;
    out8(&r, CTL, 0xD1);
    out8(&r, DATA, 0xDD);
    assert_false(r.a20);
    rig_save_load_compare(&r, d);
    assert_false(r.a20);
    out8(&r, CTL, 0xD1);
    out8(&r, DATA, 0xDF);
    assert_true(r.a20);
    out8(&r, CTL, 0xDD);
    assert_false(r.a20);
    out8(&r, CTL, 0xDF);
    assert_true(r.a20);
    assert_int_equal(r.resets, 0);
    out8(&r, CTL, 0xFF);
    assert_int_equal(r.resets, 0);
    out8(&r, CTL, 0xFE);
    assert_int_equal(r.resets, 1);
    out8(&r, CTL, 0xD1);
    out8(&r, DATA, 0x02);
    assert_int_equal(r.resets, 2);
}

static void test_keys_translated(void **state)
{
    (void)state;
    key(KEY_A, true);
    assert_int_equal(r.rises, 1);
    key(KEY_A, true); /* down already */
    key(KEY_A, false);
    rig_save_load_compare(&r, d);
    expect("1e 9e");
    key(KEY_DELETE, true);
    key(KEY_DELETE, false);
    expect("e0 53 e0 d3");
    key(KEY_F7, true);
    key(KEY_F7, false);
    expect("41 c1");
    key(KEY_PAUSE, true);
    key(KEY_PAUSE, false);
    expect("e1 1d 45 e1 9d c5");
    key(KEY_PRINT, true);
    key(KEY_PRINT, false);
    expect("e0 2a e0 37 e0 b7 e0 aa");
    key(KEY_CTRL, true);
    key(KEY_PAUSE, true);
    key(KEY_CTRL, false);
    expect("1d e0 46 e0 c6 9d");
    key(KEY_ALT, true);
    key(KEY_PRINT, true);
    key(KEY_PRINT, false);
    key(KEY_ALT, false);
    expect("38 54 d4 b8");
    key(KEY_NONE, true);
    key(KEY_COUNT, true);
    key(UINT32_MAX, true);
    expect("");
}

/* Every key, in every set, through the controller as it is after reset and untranslated. */
static void test_every_key(void **state)
{
    (void)state;
    for (u32 i = 1; i < KEY_COUNT; i++) {
        const struct key_row *k = key_row(i);
        u8 got[BYTES];
        if (i == KEY_PAUSE || i == KEY_PRINT) continue;
        u32 wide = k->set1 > 0xFF;
        key(i, true), key(i, false);
        assert_int_equal(drain(got), 2 + 2 * wide);
        assert_int_equal(got[wide], k->set1 & 0xFF);
        assert_int_equal(got[2 * wide + 1], (k->set1 & 0xFF) | 0x80);
        config(0x07);
        key(i, true), key(i, false);
        assert_int_equal(drain(got), 3 + 2 * wide);
        assert_int_equal(got[wide], k->set2 & 0xFF);
        assert_int_equal(got[2 * wide + 1], 0xF0);
        config(0x47);
    }
}

static void test_interrupts(void **state)
{
    (void)state;
    key(KEY_LEFT, true);
    assert_true(r.level && r.rises == 1);
    assert_int_equal(in8(&r, DATA), 0xE0);
    assert_false(r.level); /* the second byte takes its time ... */
    assert_int_equal(in8(&r, DATA), 0xE0);
    assert_int_equal(in8(&r, CTL) & OBF, 0);
    rig_run(&r, 500000); /* ... and comes by itself */
    assert_true(r.level && r.rises == 2);
    assert_int_equal(in8(&r, DATA), 0x4B);
    assert_true(i8042_idle(d));
    config(0x46);
    key(KEY_LEFT, false);
    rig_run(&r, 500000);
    assert_false(r.level);
    assert_int_equal(in8(&r, CTL) & OBF, OBF);
    config(0x47);
    assert_true(r.level);
    expect("e0 cb");
    out8(&r, CTL, 0xAD);
    key(KEY_A, true);
    expect("");
    out8(&r, CTL, 0xAE);
    expect("1e");
    assert_int_equal(aux_rises, 0);
}

static void test_keyboard_commands(void **state)
{
    (void)state;
    config(0x07); /* no translation */
    to_kbd(0xFF);
    expect("fa aa");
    to_kbd(0xF2);
    expect("fa ab 83");
    to_kbd(0xEE);
    expect("ee");
    to_kbd(0xED);
    expect("fa");
    to_kbd(0x07);
    expect("fa");
    to_kbd(0xFE);
    expect("fa");
    to_kbd(0x55);
    expect("fe");
    to_kbd(0xF0), expect("fa");
    to_kbd(0x00), expect("fa 02");
    to_kbd(0xF0), expect("fa");
    to_kbd(0x09), expect("fe");
    to_kbd(0xF0), expect("fa");
    to_kbd(0x01), expect("fa");
    key(KEY_UP, true), key(KEY_UP, false);
    expect("e0 48 e0 c8");
    to_kbd(0xF0), expect("fa");
    to_kbd(0x03), expect("fa");
    key(KEY_UP, true), key(KEY_UP, false);
    key(KEY_SHIFT, true), key(KEY_SHIFT, false);
    key(KEY_F13, true), key(KEY_F13, false);
    expect("63 12 f0 12");
    to_kbd(0xFC), expect("fa");
    to_kbd(0x63), expect("fa");
    to_kbd(0xF4), expect("fa");
    key(KEY_UP, true), key(KEY_UP, false);
    expect("63 f0 63");
    to_kbd(0xF5), expect("fa");
    key(KEY_A, true), key(KEY_A, false);
    expect("");
    to_kbd(0xF4), expect("fa");
    key(KEY_A, true), key(KEY_A, false);
    expect("1c f0 1c");
    to_kbd(0xED), expect("fa");
    to_kbd(0xFF), expect("fa aa"); /* a command instead of the argument */
    config(0x47);
    to_kbd(0xF2);
    expect("fa ab 41");
}

static void test_typematic(void **state)
{
    u8 got[BYTES];
    (void)state;
    key(KEY_B, true);
    expect("30");
    rig_run(&r, MS_TO_NS(480));
    expect("");
    rig_run(&r, MS_TO_NS(30));
    expect("30");
    rig_save_load_compare(&r, d);
    rig_run(&r, MS_TO_NS(92));
    expect("30");
    key(KEY_C, true);
    expect("2e");
    rig_run(&r, MS_TO_NS(520));
    expect("2e"); /* the last key only */
    key(KEY_C, false);
    key(KEY_B, false);
    expect("ae b0");
    rig_run(&r, NS_PER_S);
    expect("");
    to_kbd(0xF3), expect("fa");
    to_kbd(0x00), expect("fa"); /* 250 ms, 30 a second */
    key(KEY_B, true);
    rig_run(&r, NS_PER_S);
    assert_int_equal(drain(got), 2); /* repeats wait for the queue, so they cannot fill it */
    key(KEY_B, false);
    expect("b0");
}

/* The queue is bounded, and no key stays down because of that. */
static void test_overrun(void **state)
{
    u8 got[BYTES];
    (void)state;
    for (u32 i = 1; i < 100; i++) key(KEY_1 + i / 2 % 10, i % 2);
    for (u32 i = 0; i < 10; i++) key(KEY_1 + i, false);
    key(KEY_CTRL, true);
    key(KEY_CTRL, false);
    u32 n = drain(got), down[128] = {0};
    assert_true(n >= 16 && n < BYTES);
    for (u32 i = 0; i < n; i++) {
        if (got[i] & 0x80) down[got[i] & 0x7F] = 0;
        else down[got[i]] = 1;
    }
    for (u32 i = 0; i < 128; i++) assert_int_equal(down[i], 0);
}

static void test_mouse(void **state)
{
    (void)state;
    move(5, 5);
    expect(""); /* nothing before it is enabled */
    to_aux(0xFF);
    assert_int_equal(in8(&r, CTL) & (OBF | AUX), OBF | AUX);
    assert_int_equal(aux_rises, 1);
    expect("fa aa 00");
    to_aux(0xF4), expect("fa");
    move(5, 3);
    expect("28 05 fd");
    button(0, true), button(0, false); /* both are reported */
    expect("09 00 00 08 00 00");
    move(1, 0), move(300, -300), move(-1, 0);
    rig_save_load_compare(&r, d);
    expect("08 01 00 08 ff ff 08 2c 2d");
    to_aux(0xE9), expect("fa 20 02 64");
    to_aux(0xE8), expect("fa");
    to_aux(0x03), expect("fa");
    to_aux(0xE8), expect("fa");
    to_aux(0x04), expect("fe");
    to_aux(0xE7), expect("fa");
    button(1, true), button(2, true);
    expect("0a 00 00 0e 00 00");
    to_aux(0xE9), expect("fa 33 03 64");
    move(-4, 0);
    expect("1e fa 00");
    to_aux(0xE6), expect("fa");
    to_aux(0xF0), expect("fa"); /* remote mode */
    move(7, 7);
    expect("");
    to_aux(0xEB), expect("fa 2e 07 f9");
    to_aux(0xEA), expect("fa");
    to_aux(0xEE), expect("fa"); /* wrap */
    to_aux(0x12), expect("12");
    to_aux(0xEC), expect("fa");
    to_aux(0x77), expect("fe");
    to_aux(0xF5), expect("fa");
    button(1, false);
    expect("");
    out8(&r, CTL, 0xA7);
    to_aux(0xF2), expect("fa 00"); /* sending to it enables it */
    assert_true(i8042_idle(d));
}

static void test_wheel(void **state)
{
    static const u8 wheel[] = {200, 100, 80}, explorer[] = {200, 200, 80};
    (void)state;
    for (u32 i = 0; i < 3; i++) to_aux(0xF3), expect("fa"), to_aux(wheel[i]), expect("fa");
    to_aux(0xF2), expect("fa 03");
    to_aux(0xF4), expect("fa");
    i8042_event(d, &(struct input_event){.kind = INPUT_WHEEL, .dy = -1});
    expect("08 00 00 ff");
    for (u32 i = 0; i < 3; i++) to_aux(0xF3), expect("fa"), to_aux(explorer[i]), expect("fa");
    to_aux(0xF2), expect("fa 04");
    button(4, true), button(4, false), button(7, true);
    expect("08 00 00 20 08 00 00 00");
    i8042_event(d, &(struct input_event){.kind = INPUT_WHEEL, .dy = 10});
    expect("08 00 00 07 08 00 00 03");
    move(INT32_MIN, INT32_MAX);
    for (u32 i = 0; i < 5; i++) move(INT32_MIN, INT32_MAX);
    u8 got[BYTES];
    assert_true(drain(got) == BYTES && got[1] == 0x01 && got[2] == 0x01);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_controller),      UNIT(test_reset_and_a20),
                                       UNIT(test_keys_translated), UNIT(test_every_key),
                                       UNIT(test_interrupts),      UNIT(test_keyboard_commands),
                                       UNIT(test_typematic),       UNIT(test_overrun),
                                       UNIT(test_mouse),           UNIT(test_wheel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
