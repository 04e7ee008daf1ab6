/* dev/x87_ferr.c - x87 errors on a PC: a rising FERR# latches IRQ 13; a write to port F0h clears
 * the latch and, while FERR# is up, asserts IGNNE# until it goes down. F1h (the 80287's reset)
 * clears the latch as well. Spec: Intel 290550 (PIIX3) 2.5.6; SDM vol. 1 appendix D.  Threads:
 * under the bus lock. */
#include "dev/x87_ferr.h"

enum { BUSY_PORT = 0xF0, BUSY_BYTES = 2 };

struct x87_ferr {
    struct dev dev;
    struct irq_line irq; /* owned; level follows `latched` */
    u8 ferr, latched, ignne;
};
static const struct ser_field x87_ferr_fields[] = {SER(struct x87_ferr, ferr, 1),
                                                   SER(struct x87_ferr, latched, 1),
                                                   SER(struct x87_ferr, ignne, 1), SER_END};

static struct x87_ferr *self(struct dev *d) { return container_of(d, struct x87_ferr, dev); }
static void x87_ferr_sync(struct dev *d) { irq_set(&self(d)->irq, self(d)->latched); }

bool x87_ferr_set(struct dev *d, bool ferr)
{
    struct x87_ferr *x = self(d);
    if (ferr && !x->ferr) x->latched = 1;
    if (!ferr) x->ignne = 0;
    x->ferr = ferr;
    x87_ferr_sync(d);
    return x->ignne;
}

static u64 busy_read(struct dev *d, u64 off, u32 bytes)
{
    (void)d, (void)off, (void)bytes;
    return ~0ull;
}

static void busy_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct x87_ferr *x = self(d);
    (void)val, (void)bytes;
    x->latched = 0;
    if (off == 0) x->ignne = x->ferr;
    x87_ferr_sync(d);
}

static int x87_ferr_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct x87_ferr_cfg *c = cfg;
    (void)e;
    irq_line_init(&self(d)->irq, c->irq);
    return 0;
}

static void x87_ferr_reset(struct dev *d)
{
    self(d)->ferr = self(d)->latched = self(d)->ignne = 0;
    x87_ferr_sync(d);
}

static const struct dev_region x87_ferr_regions[] = {
    {"x87-busy", BUS_PORT, true, BUSY_PORT, BUSY_BYTES, 1, 1, busy_read, busy_write},
    {0},
};

const struct dev_class x87_ferr_class = {
    .name = "x87_ferr",
    .version = 1,
    .inst_bytes = sizeof(struct x87_ferr),
    .regions = x87_ferr_regions,
    .fields = x87_ferr_fields,
    .init = x87_ferr_init,
    .reset = x87_ferr_reset,
    .post_load = x87_ferr_sync,
};
