/* dev/debug_ports.c - two ports for test guests: 0xF4 ends the machine with a status, 0xE9 (or
 * 0x402, firmware's) prints.
 * Spec: the conventions of QEMU's isa-debug-exit and Bochs' port E9 hack.  Threads: under the bus
 * lock. */
#include "dev/misc.h"

enum { EXIT_PORT = 0xF4, EXIT_BYTES = 4, CON_PORT = 0xE9 };

struct debug_con {
    struct dev dev;
    struct chardev *chardev;
};

static u64 exit_read(struct dev *d, u64 off, u32 bytes)
{
    (void)d, (void)off, (void)bytes;
    return 0;
}

static void exit_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)off, (void)bytes;
    dev_request_exit(d, (int)((u32)val << 1 | 1));
}

static u64 con_read(struct dev *d, u64 off, u32 bytes)
{
    (void)d, (void)off, (void)bytes;
    return CON_PORT; /* how a guest detects it */
}

/* What the back end does not take is lost: debug output must never stop the guest. */
static void con_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    u8 v = (u8)val;
    (void)off, (void)bytes;
    (void)chardev_write(container_of(d, struct debug_con, dev)->chardev, &v, 1);
}

static int con_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct debug_con_cfg *c = cfg;
    container_of(d, struct debug_con, dev)->chardev = c->chardev;
    return dev_attach(d, 0, c->port ? c->port : CON_PORT, e);
}

static const struct dev_region exit_regions[] = {
    {"debug-exit", BUS_PORT, true, EXIT_PORT, EXIT_BYTES, 1, 4, exit_read, exit_write},
    {0},
};
static const struct dev_region con_regions[] = {
    {"debug-con", BUS_PORT, false, 0, 1, 1, 1, con_read, con_write},
    {0},
};

const struct dev_class debug_exit_class = {
    .name = "debug_exit",
    .version = 1,
    .inst_bytes = sizeof(struct dev),
    .regions = exit_regions,
};
const struct dev_class debug_con_class = {
    .name = "debug_con",
    .version = 1,
    .inst_bytes = sizeof(struct debug_con),
    .regions = con_regions,
    .init = con_init,
};
