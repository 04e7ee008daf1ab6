/* dev/parallel.c - see parallel.h.
 *
 *   +0 data
 *   +1 status   7 not busy | 6 not acknowledging | 5 paper out | 4 selected | 3 no error | 2..0 1
 *   +2 control  5 data lines are inputs | 4 IRQ | 3 select | 2 not INIT | 1 auto feed | 0 strobe
 * Threads: under the bus lock. */
#include "dev/parallel.h"

enum { LPT_DATA, LPT_STATUS, LPT_CONTROL, LPT_PORTS = 4 };
enum {
    STATUS_NOT_BUSY = 1 << 7,
    STATUS_NOT_ACK = 1 << 6,
    STATUS_PAPER_OUT = 1 << 5,
    STATUS_SELECTED = 1 << 4,
    STATUS_NO_ERROR = 1 << 3,
    STATUS_ONES = 7,
};
enum {
    CONTROL_STROBE = 1 << 0,
    CONTROL_NOT_INIT = 1 << 2,
    CONTROL_SELECT = 1 << 3,
    CONTROL_IRQ = 1 << 4,
    CONTROL_INPUT = 1 << 5,
    CONTROL_BITS = 0x3F,
    CONTROL_ONES = 0xC0,
};

struct parallel {
    struct dev dev;
    struct irq_line irq;
    struct parallel_cfg cfg;
    u8 data, control;
    u8 byte;   /* strobed, and not taken yet, */
    bool busy; /* while this is set           */
};

static struct parallel *self(struct dev *d) { return container_of(d, struct parallel, dev); }

static bool paper_out(const struct parallel *p)
{
    return p->cfg.paper_out && p->cfg.paper_out(p->cfg.ctx);
}

/* Offer the byte; the acknowledge that follows is an interrupt. */
static void offer(struct parallel *p)
{
    if (chardev_write(p->cfg.chardev, &p->byte, 1) == 0) return;
    p->busy = false;
    if (p->control & CONTROL_IRQ) irq_pulse(&p->irq);
}

static void tx_ready(void *ctx)
{
    struct parallel *p = ctx;
    if (p->busy) offer(p);
}
static u32 rx_room(void *ctx)
{
    (void)ctx;
    return 0;
}
static void rx(void *ctx, const u8 *buf, u32 bytes) { (void)ctx, (void)buf, (void)bytes; }
static const struct chardev_front_ops front_ops = {rx_room, rx, tx_ready, NULL};

static void write_control(struct parallel *p, u8 val)
{
    u8 rising = val & (u8)~p->control, falling = p->control & (u8)~val;
    p->control = val & CONTROL_BITS;
    if (falling & CONTROL_NOT_INIT) {
        p->busy = false; /* the printer forgets what it has not taken */
        if (p->cfg.init) p->cfg.init(p->cfg.ctx);
    }
    if (!(rising & CONTROL_STROBE) || p->busy || !(val & CONTROL_NOT_INIT)) return;
    p->byte = p->data;
    p->busy = true;
    offer(p);
}

/* A guest that looks again and again keeps the bus busy, so looking is also trying again. */
static u8 status(struct parallel *p)
{
    if (p->busy) offer(p);
    bool out = paper_out(p);
    return (u8)(STATUS_ONES | STATUS_NOT_ACK | STATUS_SELECTED | (out ? STATUS_PAPER_OUT : 0) |
                (out ? 0 : STATUS_NO_ERROR) | (p->busy || out ? 0 : STATUS_NOT_BUSY));
}

static u64 parallel_read(struct dev *d, u64 off, u32 bytes)
{
    struct parallel *p = self(d);
    (void)bytes;
    switch (off) {
    case LPT_DATA: return p->control & CONTROL_INPUT ? 0xFF : p->data;
    case LPT_STATUS: return status(p);
    case LPT_CONTROL: return p->control | CONTROL_ONES;
    default: return 0xFF;
    }
}

static void parallel_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct parallel *p = self(d);
    (void)bytes;
    if (off == LPT_DATA) p->data = (u8)val;
    if (off == LPT_CONTROL) write_control(p, (u8)val);
}

static int parallel_init(struct dev *d, const void *cfg, struct err *e)
{
    struct parallel *p = self(d);
    p->cfg = *(const struct parallel_cfg *)cfg;
    if (!p->cfg.chardev) return err_set(e, E_INVAL, "needs a back end");
    irq_line_init(&p->irq, p->cfg.irq);
    p->cfg.chardev->front = &front_ops;
    p->cfg.chardev->front_ctx = p;
    return 0;
}

static void parallel_fini(struct dev *d)
{
    self(d)->cfg.chardev->front = NULL;
    irq_set(&self(d)->irq, false);
}

static void parallel_reset(struct dev *d)
{
    struct parallel *p = self(d);
    p->data = p->byte = 0;
    p->control = CONTROL_NOT_INIT | CONTROL_SELECT;
    p->busy = false;
}

static void parallel_post_load(struct dev *d)
{
    struct parallel *p = self(d);
    p->control &= CONTROL_BITS;
    if (p->busy) offer(p);
}

static const struct ser_field parallel_fields[] = {
    SER(struct parallel, data, 1),
    SER(struct parallel, control, 1),
    SER(struct parallel, byte, 1),
    SER(struct parallel, busy, 1),
    SER_END,
};
static const struct dev_region parallel_regions[] = {
    {"parallel", BUS_PORT, false, 0, LPT_PORTS, 1, 1, parallel_read, parallel_write},
    {0},
};

const struct dev_class parallel_class = {
    .name = "parallel",
    .version = 1,
    .inst_bytes = sizeof(struct parallel),
    .regions = parallel_regions,
    .fields = parallel_fields,
    .init = parallel_init,
    .fini = parallel_fini,
    .reset = parallel_reset,
    .post_load = parallel_post_load,
};
