/* dev/isa_dma.c - 8237A DMA controllers, their page registers, and the POST code port 0x80 among
 * these. Devices call isa_dma_move(); demand, single and block mode all move what is asked for.
 * Spec: Intel 231466; PIIX3 data sheet (290550) 2.5.1.  Threads: under the bus lock. */
#include "dev/isa_dma.h"

#include <string.h>

#include "dev/misc.h"

enum { CHANS = 8, CTRLS = 2, PAGE_PORTS = 16 };
enum {
    R_COMMAND = 8,
    R_REQUEST,
    R_MASK,
    R_MODE,
    R_CLEAR_FF,
    R_MASTER_CLEAR,
    R_CLEAR_MASK,
    R_MASKS
};
enum { CMD_DISABLE = 1 << 2 };
enum {
    MODE_VERIFY = 0,
    MODE_TO_MEMORY = 1,
    MODE_FROM_MEMORY = 2,
    MODE_AUTO = 1 << 4,
    MODE_DOWN = 1 << 5,
    MODE_CASCADE = 3 << 6
};

struct isa_dma {
    struct dev dev;
    struct mem *mem; /* borrowed; NULL: nothing moves */
    /* per channel */
    u16 base_addr[CHANS], base_count[CHANS], addr[CHANS], count[CHANS];
    u8 mode[CHANS];
    /* per controller */
    u8 command[CTRLS], status[CTRLS], mask[CTRLS], request[CTRLS];
    bool high[CTRLS]; /* the byte pointer: next is the high byte */
    u8 page[PAGE_PORTS];
};

/* Page register of each channel, from port 0x80 on. */
static const u8 page_of[CHANS] = {7, 3, 1, 2, 15, 11, 9, 10};

static struct isa_dma *self(struct dev *d) { return container_of(d, struct isa_dma, dev); }

/* ---- moving ---------------------------------------------------------------------------------- */

/* Where the channel's next unit lies. Addresses wrap within the page, 64 KiB or 64 Ki words. */
static gpa_t address(const struct isa_dma *s, u32 chan)
{
    u32 page = s->page[page_of[chan]];
    if (chan < 4) return page << 16 | s->addr[chan];
    return (page & 0xFE) << 16 | (u32)s->addr[chan] << 1;
}

/* The count ran out. */
static void terminal_count(struct isa_dma *s, u32 chan)
{
    u32 ctrl = chan / 4;
    s->status[ctrl] |= (u8)(1 << chan % 4);
    if (s->mode[chan] & MODE_AUTO) {
        s->addr[chan] = s->base_addr[chan];
        s->count[chan] = s->base_count[chan];
    } else {
        s->mask[ctrl] |= (u8)(1 << chan % 4);
    }
}

static bool is_ready(const struct isa_dma *s, u32 chan, bool to_memory)
{
    u32 kind = s->mode[chan] >> 2 & 3, ctrl = chan / 4;
    if (!s->mem || s->command[ctrl] & CMD_DISABLE || s->mask[ctrl] >> chan % 4 & 1) return false;
    if ((s->mode[chan] & MODE_CASCADE) == MODE_CASCADE) return false;
    return kind == MODE_VERIFY || kind == (to_memory ? MODE_TO_MEMORY : MODE_FROM_MEMORY);
}

static void move_unit(struct isa_dma *s, u32 chan, u8 *buf, u32 bytes)
{
    u32 kind = s->mode[chan] >> 2 & 3;
    if (kind == MODE_TO_MEMORY) (void)mem_write(s->mem, address(s, chan), buf, bytes);
    if (kind == MODE_FROM_MEMORY) (void)mem_read(s->mem, address(s, chan), buf, bytes);
}

/* Units that can be moved at once: upwards, before the count and the page end. */
static u32 run_units(const struct isa_dma *s, u32 chan, u32 units)
{
    if (s->mode[chan] & MODE_DOWN) return 1;
    return (u32)min_u64(min_u64(units, (u32)s->count[chan] + 1), 0x10000u - s->addr[chan]);
}

u32 isa_dma_move(struct dev *dma, u32 chan, struct isa_dma_xfer *x)
{
    struct isa_dma *s = self(dma);
    u32 unit = chan < 4 ? 1 : 2, moved = 0;
    x->tc = false;
    if (!is_ready(s, chan, x->to_memory)) return 0;
    while (moved + unit <= x->bytes && !x->tc) {
        u32 n = run_units(s, chan, (x->bytes - moved) / unit);
        move_unit(s, chan, x->buf + moved, n * unit);
        moved += n * unit;
        s->addr[chan] = (u16)(s->mode[chan] & MODE_DOWN ? s->addr[chan] - n : s->addr[chan] + n);
        x->tc = s->count[chan] == n - 1;
        s->count[chan] = (u16)(s->count[chan] - n);
    }
    if (x->tc) terminal_count(s, chan);
    return moved;
}

/* ---- registers ------------------------------------------------------------------------------- */

static u8 take_byte(struct isa_dma *s, u32 ctrl, u16 val)
{
    u8 b = (u8)(s->high[ctrl] ? val >> 8 : val);
    s->high[ctrl] = !s->high[ctrl];
    return b;
}

static void put_byte(const struct isa_dma *s, u32 ctrl, u16 *reg, u8 val)
{
    *reg = (u16)(s->high[ctrl] ? (*reg & 0x00FF) | val << 8 : (*reg & 0xFF00) | val);
}

static u64 ctrl_read(struct isa_dma *s, u32 ctrl, u32 reg)
{
    u32 chan = ctrl * 4 + reg / 2 % 4;
    if (reg < R_COMMAND) return take_byte(s, ctrl, reg & 1 ? s->count[chan] : s->addr[chan]);
    if (reg == R_COMMAND) {
        u8 status = (u8)(s->status[ctrl] | s->request[ctrl] << 4);
        s->status[ctrl] = 0;
        return status;
    }
    if (reg == R_MASKS) return s->mask[ctrl] | 0xF0;
    return 0;
}

static void master_clear(struct isa_dma *s, u32 ctrl)
{
    s->command[ctrl] = s->status[ctrl] = s->request[ctrl] = 0;
    s->mask[ctrl] = 0xF;
    s->high[ctrl] = false;
}

static void write_control(struct isa_dma *s, u32 ctrl, u32 reg, u8 val)
{
    u8 bit = (u8)(1 << (val & 3)), on = val & 4 ? bit : 0;
    switch (reg) {
    case R_COMMAND: s->command[ctrl] = val; break;
    case R_REQUEST: s->request[ctrl] = (u8)((s->request[ctrl] & ~bit) | on); break;
    case R_MASK: s->mask[ctrl] = (u8)((s->mask[ctrl] & ~bit) | on); break;
    case R_MODE: s->mode[ctrl * 4 + (val & 3)] = val & 0xFC; break;
    case R_CLEAR_FF: s->high[ctrl] = false; break;
    case R_MASTER_CLEAR: master_clear(s, ctrl); break;
    case R_CLEAR_MASK: s->mask[ctrl] = 0; break;
    case R_MASKS: s->mask[ctrl] = val & 0xF; break;
    }
}

static void ctrl_write(struct isa_dma *s, u32 ctrl, u32 reg, u8 val)
{
    u32 chan = ctrl * 4 + reg / 2 % 4;
    if (reg >= R_COMMAND) {
        write_control(s, ctrl, reg, val);
        return;
    }
    put_byte(s, ctrl, reg & 1 ? &s->base_count[chan] : &s->base_addr[chan], val);
    put_byte(s, ctrl, reg & 1 ? &s->count[chan] : &s->addr[chan], val);
    s->high[ctrl] = !s->high[ctrl];
}

static u64 dma1_read(struct dev *d, u64 off, u32 n)
{
    return (void)n, ctrl_read(self(d), 0, (u32)off);
}
static u64 dma2_read(struct dev *d, u64 off, u32 n)
{
    return (void)n, ctrl_read(self(d), 1, (u32)off / 2);
}
static void dma1_write(struct dev *d, u64 off, u64 val, u32 n)
{
    (void)n;
    ctrl_write(self(d), 0, (u32)off, (u8)val);
}
static void dma2_write(struct dev *d, u64 off, u64 val, u32 n)
{
    (void)n;
    ctrl_write(self(d), 1, (u32)off / 2, (u8)val);
}
static u64 page_read(struct dev *d, u64 off, u32 n) { return (void)n, self(d)->page[off]; }
static void page_write(struct dev *d, u64 off, u64 val, u32 n)
{
    (void)n;
    self(d)->page[off] = (u8)val;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int isa_dma_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct isa_dma_cfg *c = cfg;
    (void)e;
    self(d)->mem = c ? c->mem : NULL;
    return 0;
}

static void isa_dma_reset(struct dev *d)
{
    struct isa_dma *s = self(d);
    memset(s->mode, 0, sizeof s->mode);
    memset(s->page, 0, sizeof s->page);
    for (u32 i = 0; i < CTRLS; i++) master_clear(s, i);
}

static const struct ser_field isa_dma_fields[] = {
    SER_ARRAY(struct isa_dma, base_addr, 2), SER_ARRAY(struct isa_dma, base_count, 2),
    SER_ARRAY(struct isa_dma, addr, 2),      SER_ARRAY(struct isa_dma, count, 2),
    SER_ARRAY(struct isa_dma, mode, 2),      SER_ARRAY(struct isa_dma, command, 2),
    SER_ARRAY(struct isa_dma, status, 2),    SER_ARRAY(struct isa_dma, mask, 2),
    SER_ARRAY(struct isa_dma, request, 2),   SER_ARRAY(struct isa_dma, high, 2),
    SER_ARRAY(struct isa_dma, page, 1),      SER_END};
static const struct dev_region isa_dma_regions[] = {
    {"dma1", BUS_PORT, true, 0x00, 16, 1, 1, dma1_read, dma1_write},
    {"dma2", BUS_PORT, true, 0xC0, 32, 1, 1, dma2_read, dma2_write},
    {"dma-page", BUS_PORT, true, 0x80, PAGE_PORTS, 1, 1, page_read, page_write},
    {0},
};

const struct dev_class isa_dma_class = {
    .name = "isa_dma",
    .version = 2,
    .inst_bytes = sizeof(struct isa_dma),
    .regions = isa_dma_regions,
    .fields = isa_dma_fields,
    .init = isa_dma_init,
    .reset = isa_dma_reset,
};
