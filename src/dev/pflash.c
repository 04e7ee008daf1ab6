/* dev/pflash.c - see pflash.h. A command is a write; some take further writes (`step`), during
 * which what is read is status. Multi-byte accesses are treated as so many bytes of data; a command
 * is the lowest byte. */
#include "dev/pflash.h"

#include <string.h>

enum flash_command {
    CMD_PROGRAM_ALT = 0x10,
    CMD_ERASE = 0x20,
    CMD_PROGRAM = 0x40,
    CMD_CLEAR_STATUS = 0x50,
    CMD_LOCK = 0x60,
    CMD_READ_STATUS = 0x70,
    CMD_READ_ID = 0x90,
    CMD_QUERY = 0x98,
    CMD_CONFIRM = 0xD0,
    CMD_BUFFER = 0xE8,
    CMD_READ_ARRAY = 0xFF,
};
enum flash_mode { MODE_ARRAY, MODE_STATUS, MODE_ID, MODE_QUERY, MODES };
enum flash_step {
    STEP_COMMAND,
    STEP_PROGRAM,
    STEP_ERASE,
    STEP_LOCK,
    STEP_COUNT,
    STEP_DATA,
    STEP_CONFIRM,
    STEPS,
};
enum { ST_READY = 1 << 7, ST_ERASE = 1 << 5, ST_PROGRAM = 1 << 4 };
enum { BUFFER_BYTES = 256, CFI_BYTES = 0x40, MAKER_INTEL = 0x89, DEVICE = 0x18 };

struct pflash {
    struct dev dev;
    struct pflash_cfg wiring;
    struct dev_region row; /* the class's, with our size */
    u8 *data;
    u32 bytes;
    u8 cfi[CFI_BYTES];
    /* saved */
    u8 mode, step, status;
    u32 block;       /* of the buffered program */
    u32 count, have; /* bytes it is to have, and has */
    u32 start;       /* of the first of them: offset in the block */
    u8 buffer[PFLASH_BLOCK_BYTES];
};

static struct pflash *self(struct dev *d) { return container_of(d, struct pflash, dev); }

/* ---- cells ----------------------------------------------------------------------------------- */

/* Keep [off, off + bytes); @fault goes into the status when that fails. */
static void changed(struct pflash *p, u32 off, u32 bytes, u8 fault)
{
    const struct pflash_cfg *w = &p->wiring;
    p->status |= ST_READY;
    if (w->written && !w->written(w->ctx, off, p->data + off, bytes)) p->status |= fault;
}

static void program(struct pflash *p, u32 off, const u8 *src, u32 bytes)
{
    bytes = (u32)min_u64(bytes, p->bytes - off);
    for (u32 i = 0; i < bytes; i++) p->data[off + i] &= src[i];
    changed(p, off, bytes, ST_PROGRAM);
}

static void erase(struct pflash *p, u32 off)
{
    off &= ~(u32)(PFLASH_BLOCK_BYTES - 1);
    memset(p->data + off, 0xFF, PFLASH_BLOCK_BYTES);
    changed(p, off, PFLASH_BLOCK_BYTES, ST_ERASE);
}

/* ---- commands -------------------------------------------------------------------------------- */

static void begin(struct pflash *p, u8 mode, u8 step)
{
    p->mode = mode;
    p->step = step;
}

static void command(struct pflash *p, u32 off, u8 cmd)
{
    switch (cmd) {
    case CMD_PROGRAM:
    case CMD_PROGRAM_ALT: begin(p, MODE_STATUS, STEP_PROGRAM); break;
    case CMD_ERASE: begin(p, MODE_STATUS, STEP_ERASE); break;
    case CMD_LOCK: begin(p, MODE_STATUS, STEP_LOCK); break;
    case CMD_BUFFER:
        p->block = off & ~(u32)(PFLASH_BLOCK_BYTES - 1);
        p->status |= ST_READY; /* the buffer is free */
        begin(p, MODE_STATUS, STEP_COUNT);
        break;
    case CMD_CLEAR_STATUS: p->status = 0; break; /* OVMF takes a set bit 7 for no flash */
    case CMD_READ_STATUS: p->mode = MODE_STATUS; break;
    case CMD_READ_ID: p->mode = MODE_ID; break;
    case CMD_QUERY: p->mode = MODE_QUERY; break;
    default: p->mode = MODE_ARRAY; break;
    }
}

static void buffer_data(struct pflash *p, u32 off, u64 val, u32 bytes)
{
    const u32 in_block = off - p->block;
    if (in_block >= PFLASH_BLOCK_BYTES) { /* another block: given up */
        p->status |= ST_PROGRAM | ST_ERASE;
        begin(p, MODE_STATUS, STEP_COMMAND);
        return;
    }
    if (!p->have) memset(p->buffer, 0xFF, sizeof p->buffer);
    if (!p->have || in_block < p->start) p->start = in_block;
    bytes = (u32)min_u64(bytes, PFLASH_BLOCK_BYTES - in_block);
    memcpy(p->buffer + in_block, &val, bytes);
    p->have += bytes;
    if (p->have >= p->count) p->step = STEP_CONFIRM;
}

static void confirm_buffer(struct pflash *p, u8 cmd)
{
    p->step = STEP_COMMAND;
    if (cmd == CMD_CONFIRM) program(p, p->block, p->buffer, PFLASH_BLOCK_BYTES);
    else p->status |= ST_PROGRAM | ST_ERASE;
}

static void flash_write(struct dev *d, u64 off64, u64 val, u32 bytes)
{
    struct pflash *p = self(d);
    const u32 off = (u32)off64;
    const u8 cmd = (u8)val;
    switch (p->step) {
    case STEP_PROGRAM:
        p->step = STEP_COMMAND;
        program(p, off, (const u8 *)&val, bytes);
        break;
    case STEP_ERASE:
        p->step = STEP_COMMAND;
        if (cmd == CMD_CONFIRM) erase(p, off);
        else p->status |= ST_PROGRAM | ST_ERASE; /* wrong sequence */
        break;
    case STEP_LOCK: p->step = STEP_COMMAND; break; /* blocks are never locked */
    case STEP_COUNT:
        p->count = (u32)min_u64(val & 0xFFFF, BUFFER_BYTES - 1) + 1;
        p->have = 0;
        p->step = STEP_DATA;
        break;
    case STEP_DATA: buffer_data(p, off, val, bytes); break;
    case STEP_CONFIRM: confirm_buffer(p, cmd); break;
    default: command(p, off, cmd); break;
    }
}

static u64 flash_read(struct dev *d, u64 off, u32 bytes)
{
    const struct pflash *p = self(d);
    u64 val = 0;
    for (u32 i = 0; i < bytes; i++) {
        const u64 at = off + i;
        u8 byte = p->data[at];
        if (p->mode == MODE_STATUS) byte = p->status;
        else if (p->mode == MODE_ID) byte = at % 2 ? DEVICE : MAKER_INTEL;
        else if (p->mode == MODE_QUERY) byte = at < CFI_BYTES ? p->cfi[at] : 0;
        val |= (u64)byte << 8 * i;
    }
    return val;
}

/* ---- class ----------------------------------------------------------------------------------- */

/* JESD68 table 1: query string, command set, voltages, times (2^n), geometry. */
static void fill_cfi(struct pflash *p)
{
    static const u8 head[] = {'Q', 'R', 'Y', 1, 0, 0x31, 0, 0, 0, 0, 0};
    static const u8 system[] = {0x45, 0x55, 0, 0, 7, 7, 10, 0, 4, 4, 4, 0};
    enum { HEAD = 0x10, SYSTEM = 0x1B, SIZE = 0x27, BUFFER = 0x2A, REGIONS = 0x2C, PRI = 0x31 };
    const u32 blocks = p->bytes / PFLASH_BLOCK_BYTES - 1;
    memcpy(p->cfi + HEAD, head, sizeof head);
    memcpy(p->cfi + SYSTEM, system, sizeof system);
    p->cfi[SIZE] = (u8)(32 - __builtin_clz(p->bytes - 1));
    p->cfi[BUFFER] = 8;
    p->cfi[REGIONS] = 1;
    p->cfi[REGIONS + 1] = (u8)blocks;
    p->cfi[REGIONS + 2] = (u8)(blocks >> 8);
    p->cfi[REGIONS + 3] = PFLASH_BLOCK_BYTES >> 8;
    memcpy(p->cfi + PRI, "PRI10", 5);
}

static int pflash_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct pflash_cfg *c = cfg;
    struct pflash *p = self(d);
    const struct mem_backing *b = &c->mem->backing[c->backing];
    if (b->bytes % PFLASH_BLOCK_BYTES || b->bytes > PFLASH_BYTES_MAX)
        return err_set(e, E_INVAL, "%llu bytes of flash", (unsigned long long)b->bytes);
    p->wiring = *c;
    p->data = b->hva;
    p->bytes = (u32)b->bytes;
    p->row = *d->region[0].row;
    p->row.bytes = p->bytes;
    d->region[0].row = &p->row;
    fill_cfi(p);
    return dev_attach(d, 0, c->base, e);
}

static void pflash_reset(struct dev *d)
{
    struct pflash *p = self(d);
    begin(p, MODE_ARRAY, STEP_COMMAND);
    p->status = ST_READY;
    p->block = p->count = p->have = p->start = 0;
}

static int pflash_validate(const struct dev *d, struct err *e)
{
    const struct pflash *p = container_of(d, const struct pflash, dev);
    if (p->mode < MODES && p->step < STEPS && p->block < p->bytes &&
        p->block % PFLASH_BLOCK_BYTES == 0 && p->start < PFLASH_BLOCK_BYTES &&
        p->count <= BUFFER_BYTES && p->have <= BUFFER_BYTES + 8)
        return 0;
    return err_set(e, E_FORMAT, "flash: no such state");
}

static const struct ser_field pflash_fields[] = {
    SER(struct pflash, mode, 1),
    SER(struct pflash, step, 1),
    SER(struct pflash, status, 1),
    SER(struct pflash, block, 1),
    SER(struct pflash, count, 1),
    SER(struct pflash, have, 1),
    SER(struct pflash, start, 1),
    SER_ARRAY(struct pflash, buffer, 1),
    SER_END,
};
static const struct dev_region pflash_regions[] = {
    {"flash", BUS_MMIO, false, 0, PFLASH_BLOCK_BYTES, 1, 8, flash_read, flash_write},
    {0},
};

const struct dev_class pflash_class = {
    .name = "pflash",
    .version = 1,
    .inst_bytes = sizeof(struct pflash),
    .regions = pflash_regions,
    .fields = pflash_fields,
    .init = pflash_init,
    .reset = pflash_reset,
    .validate = pflash_validate,
};
