/* screen.c - see screen.h. One pixmap for everybody: the VGA draws into it what changed, and the
 * display is told of all that changed since it was told last, whoever had it drawn. */
#include "machine/screen.h"

#include <stdlib.h>
#include <string.h>

#include "dev/vga.h"
#include "host/file.h"
#include "host/png.h"
#include "machine/control.h"
#include "machine/machine.h"

enum { VGA_DEVFN = 2 << 3, TICK_MS = 33 };
#define VGA_ROM "/usr/share/seabios/vgabios-stdvga.bin" /* Debian package seabios */

/* ---- the device ------------------------------------------------------------------------------ */

static bool wanted(const struct machine *m)
{
    return !m->cfg.kernel || m->cfg.firmware || !display_is(m->cfg.display, "none");
}

/* A machine without the package has a VGA without a ROM: an operating system can still drive it. */
int screen_add_vga(struct machine *m, struct err *e)
{
    struct file_data rom = {0};
    struct err ignored;
    m->screen.m = m;
    if (!wanted(m)) return 0;
    if (file_read_all(&rom, "VGA BIOS", VGA_ROM, VGA_ROM_BYTES_MAX, &ignored) < 0)
        rom = (struct file_data){0};
    const struct vga_cfg cfg = {.clk = &m->clk,
                                .pci = &m->pci,
                                .devfn = VGA_DEVFN,
                                .rom = rom.data,
                                .rom_bytes = (u32)rom.bytes};
    m->screen.vga = dev_create(&m->devs, &vga_class, "vga", &cfg, e);
    file_data_fini(&rom);
    return m->screen.vga ? 0 : e->code;
}

bool screen_firmware(struct machine *m)
{
    if (!m->screen.vga) return false;
    bus_lock(&m->bus);
    vga_firmware(m->screen.vga);
    bus_unlock(&m->bus);
    return true;
}

/* ---- drawing --------------------------------------------------------------------------------- */

/* Bring the picture up to date; its dirty rows add up until told() forgets them. Lock held. */
static void draw(struct screen *s)
{
    u32 top = s->pic.dirty_top, end = s->pic.dirty_end;
    bool resized = s->pic.resized;
    bus_lock(&s->m->bus);
    vga_render(s->vga, &s->pic);
    bus_unlock(&s->m->bus);
    if (top < end && s->pic.dirty_top < s->pic.dirty_end) {
        s->pic.dirty_top = (u32)min_u64(top, s->pic.dirty_top);
        s->pic.dirty_end = (u32)max_u64(end, s->pic.dirty_end);
    } else if (top < end) {
        s->pic.dirty_top = top;
        s->pic.dirty_end = end;
    }
    s->pic.resized |= resized;
    s->pic.dirty_end = (u32)min_u64(s->pic.dirty_end, s->pic.height);
}

static void read_text(struct screen *s)
{
    bus_lock(&s->m->bus);
    vga_text(s->vga, &s->text);
    bus_unlock(&s->m->bus);
}

/* Tell the display. Lock held. */
static void show(struct screen *s)
{
    u32 wants = display_wants(s->display);
    if (wants & DISPLAY_PIXELS) draw(s);
    if (wants & DISPLAY_TEXT) read_text(s);
    display_update(s->display, &s->pic, &s->text);
    s->pic.dirty_top = s->pic.dirty_end = 0;
    s->pic.resized = false;
}

static void on_tick(void *ctx)
{
    struct screen *s = ctx;
    pthread_mutex_lock(&s->lock);
    if (display_looks(s->display)) show(s);
    pthread_mutex_unlock(&s->lock);
    loop_timer_set(s->tick, display_looks(s->display) ? MS_TO_NS(TICK_MS) : UINT64_MAX);
}

/* ---- what the display asks for --------------------------------------------------------------- */

static void on_look(void *ctx) { loop_timer_set(((struct screen *)ctx)->tick, 0); }

static void on_input(void *ctx, const struct input_event *ev)
{
    struct screen *s = ctx;
    struct err ignored;
    (void)!machine_input((struct ring3_vm *)s->m, ev, &ignored);
}

static bool on_input_idle(void *ctx)
{
    return machine_input_idle((struct ring3_vm *)((struct screen *)ctx)->m);
}

static void on_quit(void *ctx)
{
    machine_end(((struct screen *)ctx)->m, RING3_STOPPED, 0, "left the screen");
}

static void on_lost(void *ctx, const char *why)
{
    struct machine *m = ((struct screen *)ctx)->m;
    log_warn(&m->log, "display '%s': %s", m->cfg.display, why);
}

/* ---- life ------------------------------------------------------------------------------------ */

int screen_open(struct machine *m, struct err *e)
{
    struct screen *s = &m->screen;
    const struct display_events ev = {.ctx = s,
                                      .look = on_look,
                                      .input = on_input,
                                      .input_idle = on_input_idle,
                                      .quit = on_quit,
                                      .lost = on_lost};
    if (!s->vga) return 0;
    s->pic.px = malloc(sizeof(u32) * PIXMAP_WIDTH_MAX * PIXMAP_HEIGHT_MAX);
    if (!s->pic.px) return err_set(e, E_NOMEM, "the screen");
    pthread_mutex_init(&s->lock, NULL);
    s->ready = true;
    s->tick = loop_timer_add(m->loop, on_tick, s, e);
    if (!s->tick) return e->code;
    return display_open(&s->display, m->cfg.display, m->loop, &ev, e);
}

void screen_start(struct machine *m) { display_start(m->screen.display); }

void screen_close(struct machine *m)
{
    struct screen *s = &m->screen;
    if (!s->ready) return;
    pthread_mutex_lock(&s->lock);
    if (s->display && (display_keeps(s->display) || display_looks(s->display))) show(s);
    pthread_mutex_unlock(&s->lock);
    display_close(s->display);
    pthread_mutex_destroy(&s->lock);
    free(s->pic.px);
    *s = (struct screen){.m = m};
}

/* ---- control.h ------------------------------------------------------------------------------- */

int machine_screenshot_png(struct ring3_vm *vm, u8 **out, size_t *bytes, struct err *e)
{
    struct screen *s = &((struct machine *)vm)->screen;
    if (!s->ready) return err_set(e, E_NOENT, "the machine has no screen");
    pthread_mutex_lock(&s->lock);
    draw(s);
    int rc = png_encode(&s->pic, out, bytes, e);
    if (display_keeps(s->display)) show(s);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

int machine_screen_text(struct ring3_vm *vm, struct text_screen *out, struct err *e)
{
    struct screen *s = &((struct machine *)vm)->screen;
    if (!s->ready) return err_set(e, E_NOENT, "the machine has no screen");
    pthread_mutex_lock(&s->lock);
    read_text(s);
    *out = s->text;
    pthread_mutex_unlock(&s->lock);
    return 0;
}
