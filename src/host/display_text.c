/* display_text - the text screen in the terminal the monitor was started from, by ANSI sequences;
 * only cells that changed are sent. The terminal itself is a stream like the serial port's: raw
 * mode, the escape key (Ctrl-A x), output that never blocks.
 *
 * A terminal with fewer lines than the screen shows those around the cursor; what is right of its
 * edge is not shown. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/codepage.h"
#include "host/display_internal.h"
#include "host/stream.h"

enum { OUT_BYTES = 1 << 16, CELL_BYTES_MAX = 48, INPUT_ROOM = 16 };
enum { NEVER = 0xFFFF, NEAR_CELLS = 6 };

struct text_display {
    struct display *d;
    struct stream *stream;
    struct key_parser keys;
    bool fresh_input;    /* bytes came since the last update    */
    bool shown;          /* something has been drawn            */
    bool drawn_graphics; /* the notice of a graphics mode stands */
    u32 columns, rows;   /* of the terminal                     */
    u32 top;             /* first row of the screen it shows    */
    u32 bottom;          /* last line written to, for the end   */
    struct text_screen last;
    char out[OUT_BYTES];
    u32 used;
};

/* ---- output ---------------------------------------------------------------------------------- */

static void flush(struct text_display *t)
{
    (void)stream_write(t->stream, (const u8 *)t->out, t->used);
    t->used = 0;
}

static void PRINTF_LIKE(2, 3) put(struct text_display *t, const char *fmt, ...)
{
    va_list ap;
    if (t->used + CELL_BYTES_MAX * 2 > OUT_BYTES) flush(t);
    va_start(ap, fmt);
    int n = vsnprintf(t->out + t->used, OUT_BYTES - t->used, fmt, ap);
    va_end(ap);
    if (n > 0) t->used += (u32)min_u64((u64)n, OUT_BYTES - t->used - 1);
}

/* The VGA counts blue, green, red; terminals red, green, blue. */
static u32 ansi_color(u32 c) { return (c & 2) | (c & 1) << 2 | (c >> 2 & 1); }

static void put_attr(struct text_display *t, u8 attr)
{
    put(t, "\x1b[0;%u;%u%sm", (attr & 8 ? 90 : 30) + ansi_color(attr & 7),
        40 + ansi_color(attr >> 4 & 7), attr & 0x80 ? ";5" : "");
}

static void put_cell(struct text_display *t, const struct text_cell *c, u32 *attr)
{
    char utf8[CP437_UTF8_BYTES];
    if (*attr != c->attr) put_attr(t, c->attr);
    *attr = c->attr;
    (void)cp437_utf8(c->ch, utf8);
    put(t, "%s", utf8);
}

/* One row; @attr is what the terminal is set to, NEVER at first. A few cells that did not change
 * are sent again: they are shorter than moving the cursor across. */
static void draw_row(struct text_display *t, const struct text_screen *s, u32 row, u32 *attr)
{
    u32 width = (u32)min_u64(s->columns, t->columns), at = NEVER;
    for (u32 x = 0; x < width; x++) {
        const struct text_cell *c = &s->cell[row][x], *was = &t->last.cell[row][x];
        if (c->ch == was->ch && c->attr == was->attr) continue;
        bool near = at != NEVER && x - at <= NEAR_CELLS;
        if (!near && at != x) put(t, "\x1b[%u;%uH", row - t->top + 1, x + 1);
        for (u32 i = near ? at : x; i <= x; i++) put_cell(t, &s->cell[row][i], attr);
        at = x + 1;
    }
}

/* Everything is drawn again: other geometry, other mode, or scrolled. */
static void start_over(struct text_display *t)
{
    put(t, "\x1b[0m\x1b[2J");
    memset(&t->last, 0, sizeof t->last);
    for (u32 y = 0; y < TEXT_ROWS_MAX; y++)
        for (u32 x = 0; x < TEXT_COLUMNS_MAX; x++) t->last.cell[y][x].ch = ' ';
}

static u32 first_row(const struct text_display *t, const struct text_screen *s)
{
    u32 spare = s->rows > t->rows ? s->rows - t->rows : 0;
    u32 want = s->cursor && s->cursor_row + 1 > t->rows ? s->cursor_row + 1 - t->rows : 0;
    return (u32)min_u64(want, spare);
}

static void draw(struct text_display *t, const struct text_screen *s)
{
    u32 attr = NEVER, top = first_row(t, s);
    if (!t->shown || t->drawn_graphics || top != t->top || s->rows != t->last.rows ||
        s->columns != t->last.columns)
        start_over(t);
    t->top = top;
    t->shown = true;
    t->drawn_graphics = false;
    t->bottom = (u32)min_u64(s->rows, t->rows);
    for (u32 y = 0; y < t->bottom; y++) draw_row(t, s, top + y, &attr);
    if (s->cursor && s->cursor_column < t->columns && s->cursor_row - top < t->rows)
        put(t, "\x1b[%u;%uH\x1b[?25h", s->cursor_row - top + 1, s->cursor_column + 1);
    else put(t, "\x1b[?25l");
    t->last = *s;
}

static bool same(const struct text_screen *a, const struct text_screen *b)
{
    return a->present == b->present && a->columns == b->columns && a->rows == b->rows &&
           a->cursor == b->cursor && a->cursor_row == b->cursor_row &&
           a->cursor_column == b->cursor_column && !memcmp(a->cell, b->cell, sizeof a->cell);
}

static void draw_notice(struct text_display *t)
{
    if (t->drawn_graphics) return;
    start_over(t);
    put(t, "\x1b[H[the guest shows graphics or nothing; Ctrl-A h helps]");
    t->drawn_graphics = t->shown = true;
    t->bottom = 1;
}

static void text_update(struct display *d, const struct pixmap *p, const struct text_screen *s)
{
    struct text_display *t = d->back;
    (void)p;
    if (!t->fresh_input) key_parser_pause(&t->keys, &d->ev);
    t->fresh_input = false;
    stream_input_ready(t->stream);
    if (!s->present) draw_notice(t);
    else if (t->drawn_graphics || !t->shown || !same(s, &t->last)) draw(t, s);
    if (t->used) flush(t);
}

/* ---- input ----------------------------------------------------------------------------------- */

/* As much as the guest's keyboard can take at a time; the rest waits in the stream. */
static u32 on_room(void *ctx)
{
    struct text_display *t = ctx;
    return t->d->ev.input_idle(t->d->ev.ctx) ? 1 : 0;
}
static void on_input(void *ctx, const u8 *buf, u32 bytes)
{
    struct text_display *t = ctx;
    t->fresh_input = true;
    for (u32 i = 0; i < bytes; i++) key_parser_byte(&t->keys, buf[i], &t->d->ev);
}
static void on_writable(void *ctx) { (void)ctx; }
static void on_quit(void *ctx)
{
    struct text_display *t = ctx;
    t->d->ev.quit(t->d->ev.ctx);
}

/* ---- life ------------------------------------------------------------------------------------ */

static int text_open(struct display *d, const char *arg, struct err *e)
{
    struct text_display *t = calloc(1, sizeof *t);
    struct winsize size;
    (void)arg;
    if (!t) return err_set(e, E_NOMEM, "display 'text'");
    if (!isatty(STDOUT_FILENO)) {
        free(t);
        return err_set(e, E_INVAL, "display 'text': standard output is no terminal");
    }
    t->d = d;
    t->columns = TEXT_COLUMNS_MAX;
    t->rows = TEXT_ROWS_MAX;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col && size.ws_row) {
        t->columns = size.ws_col;
        t->rows = size.ws_row;
    }
    const struct stream_events ev = {
        .ctx = t, .room = on_room, .input = on_input, .writable = on_writable, .quit = on_quit};
    if (stream_open(&t->stream, "stdio", d->loop, &ev, e) < 0) {
        free(t);
        return err_wrap(e, "display 'text'");
    }
    d->back = t;
    return 0;
}

/* What was shown stays, and the prompt comes below it. */
static void text_close(struct display *d)
{
    struct text_display *t = d->back;
    if (t->shown) put(t, "\x1b[0m\x1b[?25h\x1b[%u;1H\r\n", t->bottom);
    flush(t);
    stream_close(t->stream);
    free(t);
}

static void text_start(struct display *d)
{
    struct text_display *t = d->back;
    stream_start(t->stream);
    d->ev.look(d->ev.ctx);
}

static bool text_looks(const struct display *d)
{
    (void)d;
    return true;
}

const struct display_class display_text_class = {.name = "text",
                                                 .wants = DISPLAY_TEXT,
                                                 .open = text_open,
                                                 .close = text_close,
                                                 .start = text_start,
                                                 .looks = text_looks,
                                                 .update = text_update};
