/* display_keys - what a terminal sends, as keys: characters, control characters, and the escape
 * sequences of the keys that have no character (xterm's, and those of the Linux console).
 * A character after escape is that key with Alt. */
#include <string.h>

#include "base/keys.h"
#include "host/display_internal.h"

enum { ESC = 0x1B };

static const struct sequence {
    const char *text; /* behind the escape */
    u8 key;
} sequences[] = {
    {"[A", KEY_UP},    {"[B", KEY_DOWN},    {"[C", KEY_RIGHT},   {"[D", KEY_LEFT},
    {"OA", KEY_UP},    {"OB", KEY_DOWN},    {"OC", KEY_RIGHT},   {"OD", KEY_LEFT},
    {"[H", KEY_HOME},  {"[F", KEY_END},     {"OH", KEY_HOME},    {"OF", KEY_END},
    {"[1~", KEY_HOME}, {"[2~", KEY_INSERT}, {"[3~", KEY_DELETE}, {"[4~", KEY_END},
    {"[5~", KEY_PGUP}, {"[6~", KEY_PGDN},   {"OP", KEY_F1},      {"OQ", KEY_F2},
    {"OR", KEY_F3},    {"OS", KEY_F4},      {"[11~", KEY_F1},    {"[12~", KEY_F2},
    {"[13~", KEY_F3},  {"[14~", KEY_F4},    {"[15~", KEY_F5},    {"[17~", KEY_F6},
    {"[18~", KEY_F7},  {"[19~", KEY_F8},    {"[20~", KEY_F9},    {"[21~", KEY_F10},
    {"[23~", KEY_F11}, {"[24~", KEY_F12},   {"[[A", KEY_F1},     {"[[B", KEY_F2},
    {"[[C", KEY_F3},   {"[[D", KEY_F4},     {"[[E", KEY_F5},
};

static void key(const struct display_events *ev, u32 code, bool down)
{
    const struct input_event e = {.kind = INPUT_KEY, .code = code, .down = down};
    if (code) ev->input(ev->ctx, &e);
}

/* @code pressed and released, with @modifier (KEY_NONE: without). */
static void stroke(const struct display_events *ev, u32 modifier, u32 code)
{
    if (!code) return;
    key(ev, modifier, true);
    key(ev, code, true);
    key(ev, code, false);
    key(ev, modifier, false);
}

static void character(const struct display_events *ev, u8 byte)
{
    bool shift = false;
    u32 code = key_of_char((char)byte, &shift);
    if (code) stroke(ev, shift ? KEY_SHIFT : KEY_NONE, code);
    else if (byte < 0x20) stroke(ev, KEY_CTRL, key_of_char((char)(byte | 0x60), &shift));
}

static const struct sequence *find(const struct key_parser *k, bool *begins)
{
    *begins = false;
    for (u32 i = 0; i < ARRAY_LEN(sequences); i++) {
        size_t n = strlen(sequences[i].text);
        if (k->used - 1 > n || memcmp(sequences[i].text, k->seq + 1, k->used - 1) != 0) continue;
        if (k->used - 1 == n) return &sequences[i];
        *begins = true;
    }
    return NULL;
}

void key_parser_byte(struct key_parser *k, u8 byte, const struct display_events *ev)
{
    bool begins;
    if (!k->used && byte != ESC) {
        character(ev, byte);
        return;
    }
    if (k->used == 1 && byte == ESC) { /* twice: one key, and perhaps a sequence */
        stroke(ev, KEY_NONE, KEY_ESC);
        return;
    }
    k->seq[k->used++] = byte;
    if (k->used == 1) return;
    const struct sequence *s = find(k, &begins);
    if (s) stroke(ev, KEY_NONE, s->key);
    else if (begins) return;
    else if (k->used == 2 && byte != '[' && byte != 'O') {
        key(ev, KEY_ALT, true);
        character(ev, byte);
        key(ev, KEY_ALT, false);
    } else if (byte >= '0' && byte <= ';' && k->used < sizeof k->seq) {
        return; /* a sequence with parameters nobody here knows: swallow it to its end */
    }
    k->used = 0;
}

void key_parser_pause(struct key_parser *k, const struct display_events *ev)
{
    if (k->used == 1) stroke(ev, KEY_NONE, KEY_ESC);
    if (k->used == 2) {
        key(ev, KEY_ALT, true);
        character(ev, k->seq[1]);
        key(ev, KEY_ALT, false);
    }
    k->used = 0;
}
