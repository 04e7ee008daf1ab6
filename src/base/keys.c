/* keys - see keys.h. */
#include "base/keys.h"

#include <string.h>

static const struct key_row rows[KEY_COUNT] = {
#define KEY(id, name, set1, set2, set3, keysym, shifted)                                           \
    [KEY_##id] = {name, set1, set2, set3, keysym, shifted},
#include "base/keys.def"
#undef KEY
};

const struct key_row *key_row(u32 code)
{
    return code > KEY_NONE && code < KEY_COUNT ? &rows[code] : NULL;
}

enum key_code key_find(const char *name, size_t n)
{
    for (u32 i = KEY_NONE + 1; i < KEY_COUNT; i++)
        if (strlen(rows[i].name) == n && !memcmp(rows[i].name, name, n)) return (enum key_code)i;
    return KEY_NONE;
}

enum key_code key_of_keysym(u32 keysym, bool *shift)
{
    *shift = false;
    for (u32 i = KEY_NONE + 1; keysym && i < KEY_COUNT; i++) {
        if (rows[i].keysym != keysym && rows[i].shifted != keysym) continue;
        *shift = rows[i].keysym != keysym;
        return (enum key_code)i;
    }
    return KEY_NONE;
}

enum key_code key_of_char(char ch, bool *shift)
{
    *shift = false;
    switch (ch) {
    case '\n':
    case '\r': return KEY_RET;
    case '\t': return KEY_TAB;
    case '\b': return KEY_BACKSPACE;
    case 0x1B: return KEY_ESC;
    case 0x7F: return KEY_BACKSPACE;
    default: return ch > 0 ? key_of_keysym((u32)ch, shift) : KEY_NONE;
    }
}

/* ---- strokes --------------------------------------------------------------------------------- */

static int parse_text(const char *text, struct key_stroke *out, u32 max, struct err *e)
{
    u32 n = 0;
    for (; text[n]; n++) {
        bool shift;
        enum key_code key = key_of_char(text[n], &shift);
        if (!key) return err_set(e, E_INVAL, "no key prints the character 0x%02x", (u8)text[n]);
        if (n == max) return err_set(e, E_RANGE, "more than %u key strokes", max);
        out[n] = (struct key_stroke){.count = shift ? 2 : 1};
        if (shift) out[n].key[0] = KEY_SHIFT;
        out[n].key[shift] = (u8)key;
    }
    return (int)n;
}

static int parse_chord(const char *text, struct key_stroke *out, struct err *e)
{
    *out = (struct key_stroke){0};
    for (const char *at = text;;) {
        size_t n = strcspn(at, "-");
        enum key_code key = key_find(at, n);
        if (!key) return err_set(e, E_INVAL, "'%.*s': no such key", (int)min_u64(n, 64), at);
        if (out->count == KEY_STROKE_MAX)
            return err_set(e, E_RANGE, "more than %d keys at once", KEY_STROKE_MAX);
        out->key[out->count++] = (u8)key;
        if (!at[n]) return 1;
        at += n + 1;
    }
}

int keys_parse(const char *text, struct key_stroke *out, u32 max, struct err *e)
{
    static const char prefix[] = "text:";
    if (!strncmp(text, prefix, sizeof prefix - 1))
        return parse_text(text + sizeof prefix - 1, out, max, e);
    if (max == 0) return err_set(e, E_RANGE, "too many key strokes");
    return parse_chord(text, out, e);
}
