/* dev/sysctl.c - system control port A, 0x92: fast A20 and fast reset.
 * Spec: IBM PS/2 Technical Reference, system control port A; PIIX3 data sheet (290550) 2.5.7.
 * Threads: under the bus lock. */
#include "dev/misc.h"

enum { P92_RESET = 1 << 0, P92_A20 = 1 << 1 };

struct sysctl {
    struct dev dev;
    u8 port92;
};

static struct sysctl *self(struct dev *d) { return container_of(d, struct sysctl, dev); }

static u64 p92_read(struct dev *d, u64 off, u32 bytes)
{
    (void)off, (void)bytes;
    return self(d)->port92;
}

static void p92_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct sysctl *s = self(d);
    u8 old = s->port92;
    (void)off, (void)bytes;
    s->port92 = (u8)val;
    if ((old ^ val) & P92_A20) dev_request_a20(d, val & P92_A20);
    if ((val & P92_RESET) && !(old & P92_RESET)) dev_request_reset(d);
}

/* A direct boot starts with A20 on. */
static void sysctl_reset(struct dev *d)
{
    self(d)->port92 = P92_A20;
    dev_request_a20(d, true);
}

static void sysctl_post_load(struct dev *d) { dev_request_a20(d, self(d)->port92 & P92_A20); }

static const struct ser_field sysctl_fields[] = {SER(struct sysctl, port92, 1), SER_END};
static const struct dev_region sysctl_regions[] = {
    {"port92", BUS_PORT, true, 0x92, 1, 1, 1, p92_read, p92_write},
    {0},
};

const struct dev_class sysctl_class = {
    .name = "sysctl",
    .version = 1,
    .inst_bytes = sizeof(struct sysctl),
    .regions = sysctl_regions,
    .fields = sysctl_fields,
    .reset = sysctl_reset,
    .post_load = sysctl_post_load,
};
