/* dev/ioapic.c - 82093AA: inputs become messages to local APICs as the redirection table says.
 *
 * Entry:  63..56 destination | 16 masked | 15 level | 14 remote IRR | 13 active low | 12 busy | 11
 * logical | 10..8 mode
 *         | 7..0 vector
 * Level inputs: a message is sent while the input is up and remote IRR clear; sending sets remote
 * IRR, the EOI broadcast clears it. Edges on masked inputs are lost (data sheet 3.2.4). Wires
 * carry logical levels, so polarity is only stored.
 * Threads: under the bus lock. */
#include "dev/ioapic.h"

enum { IOREGSEL = 0x00, IOWIN = 0x10, IOAPIC_BYTES = 0x100 };
enum { IOAPICID = 0x00, IOAPICVER = 0x01, IOAPICARB = 0x02, IOREDTBL = 0x10 };
enum { IOAPIC_VERSION = 0x11 };
enum {
    RED_LOGICAL = 1 << 11,
    RED_BUSY = 1 << 12,
    RED_RIRR = 1 << 14,
    RED_LEVEL = 1 << 15,
    RED_MASKED = 1 << 16
};
enum { RED_READ_ONLY = RED_BUSY | RED_RIRR, RED_LOW_WRITABLE = 0x1AFFF };

struct ioapic {
    struct dev dev;
    struct intr_sink sink;
    u8 reset_id;
    u8 id, select;
    u32 level; /* wires, one bit per input */
    u64 red[IOAPIC_INPUTS];
};

static struct ioapic *self(struct dev *d) { return container_of(d, struct ioapic, dev); }

static void send(struct ioapic *io, u32 input)
{
    u64 red = io->red[input];
    struct intr_msg m = {
        .dest = (u32)(red >> 56),
        .vector = (u8)red,
        .mode = (u8)bits(red, 10, 8),
        .logical = red & RED_LOGICAL,
        .level = red & RED_LEVEL,
    };
    if (red & RED_LEVEL) io->red[input] |= RED_RIRR;
    io->sink.send(io->sink.ctx, &m);
}

/* A level input that is up, open and not being served sends. */
static void service_level(struct ioapic *io, u32 input)
{
    u64 red = io->red[input];
    bool idle = !(red & (RED_RIRR | RED_MASKED));
    if ((red & RED_LEVEL) && idle && (io->level & BIT(input))) send(io, input);
}

void ioapic_set(void *dev, u32 input, bool level)
{
    struct ioapic *io = self(dev);
    if (input >= IOAPIC_INPUTS) return;
    bool rise = level && !(io->level & BIT(input));
    io->level = (u32)(level ? io->level | BIT(input) : io->level & ~BIT(input));
    if (io->red[input] & RED_LEVEL) service_level(io, input);
    else if (rise && !(io->red[input] & RED_MASKED)) send(io, input);
}

void ioapic_eoi(void *dev, u8 vector)
{
    struct ioapic *io = self(dev);
    for (u32 i = 0; i < IOAPIC_INPUTS; i++) {
        if ((u8)io->red[i] != vector || !(io->red[i] & RED_RIRR)) continue;
        io->red[i] &= ~(u64)RED_RIRR;
        service_level(io, i);
    }
}

/* ---- registers ------------------------------------------------------------------------------- */

static u32 reg_read(const struct ioapic *io, u32 reg)
{
    u32 i = reg - IOREDTBL;
    if (reg == IOAPICID || reg == IOAPICARB) return (u32)io->id << 24;
    if (reg == IOAPICVER) return (IOAPIC_INPUTS - 1) << 16 | IOAPIC_VERSION;
    if (reg < IOREDTBL || i >= 2 * IOAPIC_INPUTS) return 0;
    return (u32)(io->red[i / 2] >> i % 2 * 32);
}

static void write_red_low(struct ioapic *io, u32 input, u32 val)
{
    u64 red = io->red[input];
    red = (red & (0xFFFFFFFF00000000ull | RED_READ_ONLY)) | (val & RED_LOW_WRITABLE);
    if (!(red & RED_LEVEL)) red &= ~(u64)RED_RIRR; /* how old kernels finish a stuck interrupt */
    io->red[input] = red;
    service_level(io, input);
}

static void reg_write(struct ioapic *io, u32 reg, u32 val)
{
    u32 i = reg - IOREDTBL;
    if (reg == IOAPICID) io->id = val >> 24 & 0xF;
    if (reg < IOREDTBL || i >= 2 * IOAPIC_INPUTS) return;
    if (i % 2) io->red[i / 2] = (u32)io->red[i / 2] | (u64)(val & 0xFF000000) << 32;
    else write_red_low(io, i / 2, val);
}

static u64 ioapic_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    if (off == IOREGSEL) return self(d)->select;
    return off == IOWIN ? reg_read(self(d), self(d)->select) : 0;
}

static void ioapic_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    if (off == IOREGSEL) self(d)->select = (u8)val;
    if (off == IOWIN) reg_write(self(d), self(d)->select, (u32)val);
}

/* ---- class ----------------------------------------------------------------------------------- */

static int ioapic_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct ioapic_cfg *c = cfg;
    if (!c->sink.send) return err_set(e, E_INVAL, "I/O APIC without local APICs");
    self(d)->sink = c->sink;
    self(d)->reset_id = c->id & 0xF;
    return 0;
}

static void ioapic_reset(struct dev *d)
{
    struct ioapic *io = self(d);
    io->id = io->reset_id;
    io->select = 0;
    for (u32 i = 0; i < IOAPIC_INPUTS; i++) io->red[i] = RED_MASKED;
}

static const struct ser_field ioapic_fields[] = {
    SER(struct ioapic, id, 1),
    SER(struct ioapic, select, 1),
    SER(struct ioapic, level, 1),
    SER_ARRAY(struct ioapic, red, 1),
    SER_END,
};
static const struct dev_region ioapic_regions[] = {
    {"ioapic", BUS_MMIO, true, IOAPIC_BASE, IOAPIC_BYTES, 4, 4, ioapic_read, ioapic_write},
    {0},
};

const struct dev_class ioapic_class = {
    .name = "ioapic",
    .version = 1,
    .inst_bytes = sizeof(struct ioapic),
    .regions = ioapic_regions,
    .fields = ioapic_fields,
    .init = ioapic_init,
    .reset = ioapic_reset,
};
