/* typer - key strokes, one event after the other (api_internal.h). */
#include "api/api_internal.h"
#include "machine/control.h"

/* A press lasts a tick at least, so that a guest that polls sees it. A guest that reads nothing for
 * PATIENCE ticks gets the next event all the same; its keyboard drops what does not fit. */
enum { TICK_MS = 10, PATIENCE = 30 };

/* All keys of @s: down in their order, or up in the opposite one. */
static void send(struct typer *t, const struct key_stroke *s, bool down)
{
    struct err ignored;
    for (u32 i = 0; i < s->count; i++) {
        const struct input_event ev = {
            .kind = INPUT_KEY, .code = s->key[down ? i : s->count - 1 - i], .down = down};
        (void)!machine_input(t->vm, &ev, &ignored);
    }
}

static void on_tick(void *ctx)
{
    struct typer *t = ctx;
    if (t->count == 0) return;
    if (machine_input_idle(t->vm) || ++t->waited >= PATIENCE) {
        t->waited = 0;
        send(t, &t->stroke[t->head], !t->pressed);
        if (t->pressed) {
            t->head = (t->head + 1) % TYPER_STROKES;
            t->count--;
        }
        t->pressed = !t->pressed;
    }
    loop_timer_set(t->timer, t->count ? MS_TO_NS(TICK_MS) : UINT64_MAX);
}

int typer_init(struct typer *t, struct ring3_vm *vm, struct err *e)
{
    t->vm = vm;
    t->timer = loop_timer_add(machine_loop(vm), on_tick, t, e);
    return t->timer ? 0 : e->code;
}

int typer_add(struct typer *t, const struct key_stroke *strokes, u32 n, struct err *e)
{
    if (n > TYPER_STROKES - t->count)
        return err_set(e, E_BUSY, "%u key strokes wait already: no room for %u more", t->count, n);
    for (u32 i = 0; i < n; i++) t->stroke[(t->head + t->count++) % TYPER_STROKES] = strokes[i];
    loop_timer_set(t->timer, 0);
    return 0;
}
