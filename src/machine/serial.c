/* serial.c - the glue between a UART's chardev (bus lock) and a host stream (loop thread). */
#include <string.h>

#include "machine/machine.h"

static u32 back_write(void *ctx, const u8 *buf, u32 bytes)
{
    struct serial *s = ctx;
    return s->stream ? stream_write(s->stream, buf, bytes) : bytes;
}

static void back_rx_ready(void *ctx)
{
    struct serial *s = ctx;
    if (s->stream) stream_input_ready(s->stream);
}

static const struct chardev_back_ops back_ops = {.write = back_write, .rx_ready = back_rx_ready};

static u32 on_room(void *ctx)
{
    struct serial *s = ctx;
    bus_lock(s->bus);
    u32 room = chardev_rx_room(&s->chardev);
    bus_unlock(s->bus);
    return room;
}

static void on_input(void *ctx, const u8 *buf, u32 bytes)
{
    struct serial *s = ctx;
    bus_lock(s->bus);
    u32 room = chardev_rx_room(&s->chardev);
    chardev_rx(&s->chardev, buf, bytes < room ? bytes : room);
    bus_unlock(s->bus);
}

static void on_writable(void *ctx)
{
    struct serial *s = ctx;
    bus_lock(s->bus);
    chardev_tx_ready(&s->chardev);
    bus_unlock(s->bus);
}

static void on_quit(void *ctx)
{
    struct serial *s = ctx;
    machine_end(s->m, RING3_STOPPED, 0, "left the console");
}

static void on_lost(void *ctx, const char *why)
{
    struct serial *s = ctx;
    log_warn(&s->m->log, "serial '%s': %s: its output is lost from here on", s->spec, why);
}

int serial_open(struct serial *s, struct machine *m, const char *spec, struct err *e)
{
    s->m = m;
    s->spec = spec;
    s->bus = &m->bus;
    s->chardev.back = &back_ops;
    s->chardev.back_ctx = s;
    const struct stream_events ev = {.ctx = s,
                                     .room = on_room,
                                     .input = on_input,
                                     .writable = on_writable,
                                     .quit = on_quit,
                                     .lost = on_lost};
    return stream_open(&s->stream, spec, m->loop, &ev, e);
}

void serial_close(struct serial *s)
{
    stream_close(s->stream);
    s->stream = NULL;
}
