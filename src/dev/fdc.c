/* dev/fdc.c - 82077AA: ports, the command table, seeking, reset, interrupts, saved state.
 * Seeks and motors take no time.
 * Spec: Intel 290166 (82077AA) 2 (registers), 5 (commands).  Threads: under the bus lock. */
#include <string.h>

#include "dev/fdc_internal.h"

enum { P_SRA, P_SRB, P_DOR, P_TDR, P_MSR, P_FIFO };
enum { MSR_RQM = 0x80, MSR_DIO = 0x40, MSR_NDMA = 0x20, MSR_BUSY = 0x10, DSR_RESET = 0x80 };
enum { DIR_CHANGED = 0x80, ST3_WP = 0x40, ST3_RY = 0x20, ST3_T0 = 0x10, ST3_TS = 0x08 };
enum { CONFIG_POLL_OFF = 0x10, CONFIG_SEEK = 0x40, VERSION_82077 = 0x90 };

static struct fdc *self(struct dev *d) { return container_of(d, struct fdc, dev); }

/* Sizes of disks. Rates: 0 500, 1 300, 2 250, 3 1000 kbit/s. */
static const struct format {
    u16 sectors;
    u8 cyls, heads, spt, rates, drive;
} formats[] = {
    {320, 40, 1, 8, 1 << 1 | 1 << 2, 1},  {360, 40, 1, 9, 1 << 1 | 1 << 2, 1},
    {640, 40, 2, 8, 1 << 1 | 1 << 2, 1},  {720, 40, 2, 9, 1 << 1 | 1 << 2, 1},
    {1440, 80, 2, 9, 1 << 1 | 1 << 2, 3}, {2400, 80, 2, 15, 1 << 0, 2},
    {2880, 80, 2, 18, 1 << 0, 4},         {3360, 80, 2, 21, 1 << 0, 4},
    {5760, 80, 2, 36, 1 << 3, 5},
};

static const struct format *format_of(u64 bytes)
{
    for (u32 i = 0; i < ARRAY_LEN(formats); i++)
        if (bytes == (u64)formats[i].sectors * SECTOR_BYTES) return &formats[i];
    return NULL;
}

u8 fdc_drive_type(u64 bytes)
{
    const struct format *k = format_of(bytes);
    return k ? k->drive : 0;
}

/* ---- interrupts, results --------------------------------------------------------------------- */

void fdc_irq(struct fdc *f, bool level)
{
    f->irq_on = level;
    irq_set(&f->irq, level && f->dor & DOR_DMA);
}

void fdc_result(struct fdc *f, u32 n)
{
    f->phase = n ? FDC_RESULT : FDC_COMMAND;
    f->result_pos = 0;
    f->result_len = (u8)n;
    f->cmd_len = 0;
}

static void invalid(struct fdc *f)
{
    f->result[0] = ST0_INVALID;
    fdc_result(f, 1);
}

/* ---- reset ----------------------------------------------------------------------------------- */

static void begin_reset(struct fdc *f)
{
    if (f->in_flight) f->abandoned = true;
    fdc_irq(f, false);
    fdc_result(f, 0);
    f->pos = f->end = 0;
    f->sense_wanted = 0;
    f->polls = 0;
    if (f->locked) return;
    f->config = 0;
    memset(f->precomp, 0, sizeof f->precomp);
}

/* Polling finds every drive's ready line changed: an interrupt, and a status of each. */
static void end_reset(struct fdc *f)
{
    if (f->config & CONFIG_POLL_OFF) return;
    for (u32 i = 0; i < 4; i++) f->sense[i] = (u8)(ST0_POLL | i);
    f->sense_wanted = 0xF;
    f->polls = 4;
    fdc_irq(f, true);
}

static void write_dor(struct fdc *f, u8 val)
{
    u8 was = f->dor;
    f->dor = val;
    if (was & ~val & DOR_RUN) begin_reset(f);
    if (val & ~was & DOR_RUN) end_reset(f);
    irq_set(&f->irq, f->irq_on && f->dor & DOR_DMA);
}

/* ---- commands that move no data -------------------------------------------------------------- */

static void seek_done(struct fdc *f, u32 unit, u8 st0)
{
    f->sense[unit] = (u8)(st0 | unit);
    f->sense_wanted |= (u8)(1 << unit);
    fdc_result(f, 0);
    fdc_irq(f, true);
}

static void seek_to(struct fdc *f, u32 track)
{
    u32 unit = f->cmd[1] & 3;
    struct fdc_drive *u = &f->drive[unit & 1];
    if (unit >= FDC_DRIVES || !u->block) {
        seek_done(f, unit, ST0_ABNORMAL | ST0_SE | (f->cmd[0] == 0x07 ? ST0_EC : ST0_NR));
        return;
    }
    u->track = (u8)min_u64(track, 83); /* as far as the heads go */
    u->changed = false;                /* a step shows that there is a disk */
    seek_done(f, unit, (u8)(ST0_SE | (f->cmd[1] & 4)));
}

static void c_recalibrate(struct fdc *f) { seek_to(f, 0); }
static void c_seek(struct fdc *f) { seek_to(f, f->cmd[2]); }

static void c_relative_seek(struct fdc *f)
{
    u32 now = f->drive[f->cmd[1] & 1].track, by = f->cmd[2];
    seek_to(f, f->cmd[0] & 0x40 ? now + by : now > by ? now - by : 0);
}

static void c_specify(struct fdc *f)
{
    f->specify[0] = f->cmd[1];
    f->specify[1] = f->cmd[2];
    fdc_result(f, 0);
}

static void c_sense_drive(struct fdc *f)
{
    u32 unit = f->cmd[1] & 3;
    const struct fdc_drive *u = &f->drive[unit & 1];
    u8 st3 = (u8)(ST3_RY | ST3_TS | (f->cmd[1] & 7));
    bool there = unit < FDC_DRIVES && u->block;
    if (there && !u->track) st3 |= ST3_T0;
    if (there && block_is_readonly(u->block)) st3 |= ST3_WP;
    f->result[0] = st3;
    fdc_result(f, 1);
}

static void c_sense_interrupt(struct fdc *f)
{
    u32 unit = 0;
    if (!f->sense_wanted) {
        invalid(f);
        return;
    }
    while (!(f->sense_wanted >> unit & 1)) unit++;
    f->sense_wanted &= (u8) ~(1 << unit);
    f->result[0] = f->sense[unit];
    f->result[1] = unit < FDC_DRIVES ? f->drive[unit].track : 0;
    if (f->polls) f->polls--;
    fdc_irq(f, false);
    if (f->sense_wanted && !f->polls) fdc_irq(f, true);
    fdc_result(f, 2);
}

static void c_dump(struct fdc *f)
{
    u8 *r = f->result;
    for (u32 i = 0; i < 4; i++) r[i] = i < FDC_DRIVES ? f->drive[i].track : 0;
    r[4] = f->specify[0];
    r[5] = f->specify[1];
    r[6] = f->eot;
    r[7] = (u8)(f->locked << 7 | f->perpendicular);
    r[8] = f->config;
    r[9] = f->precomp[0];
    fdc_result(f, 10);
}

static void c_version(struct fdc *f)
{
    f->result[0] = VERSION_82077;
    fdc_result(f, 1);
}

static void c_part_id(struct fdc *f)
{
    f->result[0] = 0x41; /* 82077AA */
    fdc_result(f, 1);
}

static void c_perpendicular(struct fdc *f)
{
    f->perpendicular = f->cmd[1] & 0x7F;
    fdc_result(f, 0);
}

static void c_configure(struct fdc *f)
{
    f->config = f->cmd[2];
    f->precomp[0] = f->cmd[3];
    fdc_result(f, 0);
}

static void c_lock(struct fdc *f)
{
    f->locked = f->cmd[0] & 0x80;
    f->result[0] = (u8)(f->locked << 4);
    fdc_result(f, 1);
}

/* A READ or WRITE of a drive that is elsewhere may seek by itself. */
static void c_data(struct fdc *f)
{
    struct fdc_drive *u = &f->drive[f->cmd[1] & 1];
    if (f->config & CONFIG_SEEK && (f->cmd[1] & 3) < FDC_DRIVES && f->cmd[2] < 84)
        u->track = f->cmd[2];
    fdc_begin(f);
}

/* opcode & mask; bytes with the opcode */
static const struct command {
    u8 op, mask, bytes;
    void (*run)(struct fdc *f);
} commands[] = {
    {0x03, 0xFF, 3, c_specify},       {0x04, 0xFF, 2, c_sense_drive},
    {0x05, 0x3F, 9, c_data},          {0x06, 0x1F, 9, c_data},
    {0x07, 0xFF, 2, c_recalibrate},   {0x08, 0xFF, 1, c_sense_interrupt},
    {0x09, 0x3F, 9, c_data},          {0x0A, 0xBF, 2, fdc_read_id},
    {0x0C, 0x1F, 9, c_data},          {0x0D, 0xBF, 6, fdc_begin_format},
    {0x0E, 0xFF, 1, c_dump},          {0x0F, 0xFF, 3, c_seek},
    {0x10, 0xFF, 1, c_version},       {0x12, 0xFF, 2, c_perpendicular},
    {0x13, 0xFF, 4, c_configure},     {0x14, 0x7F, 1, c_lock},
    {0x16, 0x1F, 9, c_data},          {0x18, 0xFF, 1, c_part_id},
    {0x8F, 0xBF, 3, c_relative_seek},
};

static const struct command *command_of(u8 op)
{
    for (u32 i = 0; i < ARRAY_LEN(commands); i++)
        if ((op & commands[i].mask) == commands[i].op) return &commands[i];
    return NULL;
}

/* ---- ports ----------------------------------------------------------------------------------- */

static u8 read_msr(const struct fdc *f)
{
    if (!(f->dor & DOR_RUN) || f->abandoned) return 0;
    switch (f->phase) {
    case FDC_COMMAND: return (u8)(MSR_RQM | (f->cmd_len ? MSR_BUSY : 0));
    case FDC_IN: return MSR_RQM | MSR_DIO | MSR_NDMA | MSR_BUSY;
    case FDC_OUT: return MSR_RQM | MSR_NDMA | MSR_BUSY;
    case FDC_RESULT: return MSR_RQM | MSR_DIO | MSR_BUSY;
    default: return MSR_BUSY;
    }
}

static u8 read_fifo(struct fdc *f)
{
    if (!(f->dor & DOR_RUN)) return 0;
    if (f->phase == FDC_IN) return fdc_fifo_read(f);
    if (f->phase != FDC_RESULT || f->result_pos >= f->result_len) return 0;
    if (!f->sense_wanted) fdc_irq(f, false);
    u8 val = f->result[f->result_pos++];
    if (f->result_pos == f->result_len) fdc_result(f, 0);
    return val;
}

static void write_fifo(struct fdc *f, u8 val)
{
    if (!(f->dor & DOR_RUN) || f->abandoned) return;
    if (f->phase == FDC_OUT) fdc_fifo_write(f, val);
    if (f->phase != FDC_COMMAND || f->cmd_len >= FDC_CMD_BYTES) return;
    f->cmd[f->cmd_len++] = val;
    const struct command *k = command_of(f->cmd[0]);
    if (!k) invalid(f);
    else if (f->cmd_len == k->bytes) k->run(f);
}

static u64 fdc_read(struct dev *d, u64 off, u32 bytes)
{
    struct fdc *f = self(d);
    (void)bytes;
    switch (off) {
    case P_DOR: return f->dor;
    case P_TDR: return f->tdr;
    case P_MSR: return read_msr(f);
    case P_FIFO: return read_fifo(f);
    default: return 0xFF; /* status registers A and B: not in AT mode */
    }
}

static void fdc_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct fdc *f = self(d);
    u8 v = (u8)val;
    (void)bytes;
    switch (off) {
    case P_DOR: write_dor(f, v); break;
    case P_TDR: f->tdr = v & 3; break;
    case P_FIFO: write_fifo(f, v); break;
    case P_MSR: /* DSR */
        f->rate = v & 3;
        if (!(v & DSR_RESET) || !(f->dor & DOR_RUN)) break;
        begin_reset(f);
        end_reset(f);
        break;
    }
}

/* DIR: the change line of the drive that is selected and turns. */
static u64 dir_read(struct dev *d, u64 off, u32 bytes)
{
    struct fdc *f = self(d);
    u32 unit = f->dor & DOR_DRIVE;
    (void)off, (void)bytes;
    if (unit >= FDC_DRIVES || !(f->dor & DOR_MOTOR << unit)) return 0;
    const struct fdc_drive *u = &f->drive[unit];
    return u->block && u->changed ? DIR_CHANGED : 0;
}

static void ccr_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)off, (void)bytes;
    self(d)->rate = val & 3;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int fdc_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct fdc_cfg *c = cfg;
    struct fdc *f = self(d);
    irq_line_init(&f->irq, c->irq);
    f->dma = c->dma;
    for (u32 i = 0; i < FDC_DRIVES; i++) {
        struct fdc_drive *u = &f->drive[i];
        if (!c->disk[i]) continue;
        const struct format *k = format_of(block_bytes(c->disk[i]));
        if (!k)
            return err_set(e, E_FORMAT, "floppy '%s': no floppy disk has %llu bytes",
                           block_path(c->disk[i]), (unsigned long long)block_bytes(c->disk[i]));
        *u = (struct fdc_drive){
            .block = c->disk[i], .cyls = k->cyls, .heads = k->heads, .spt = k->spt};
        u->rates = k->rates;
    }
    return 0;
}

static void fdc_fini(struct dev *d)
{
    struct fdc *f = self(d);
    f->abandoned = f->in_flight;
    fdc_drain(f);
    irq_set(&f->irq, false);
}

static void fdc_reset(struct dev *d)
{
    struct fdc *f = self(d);
    f->abandoned = f->in_flight;
    fdc_drain(f);
    f->locked = false;
    begin_reset(f);
    f->dor = f->tdr = f->perpendicular = 0;
    f->specify[0] = f->specify[1] = 0;
    f->rate = 2;
    for (u32 i = 0; i < FDC_DRIVES; i++) {
        f->drive[i].track = 0;
        f->drive[i].changed = true;
    }
    irq_set(&f->irq, false);
}

static void fdc_quiesce(struct dev *d) { fdc_drain(self(d)); }

static int fdc_validate(const struct dev *d, struct err *e)
{
    const struct fdc *f = container_of(d, struct fdc, dev);
    bool moving = f->phase == FDC_IN || f->phase == FDC_OUT;
    const struct fdc_drive *u = &f->drive[f->unit & 1];
    bool ok = f->phase < FDC_PHASES && f->phase != FDC_DISK &&
              f->cmd_len < FDC_CMD_BYTES + (f->phase != FDC_COMMAND) &&
              f->result_len <= FDC_RESULT_BYTES && f->result_pos <= f->result_len && f->unit < 4 &&
              f->head < 2 && f->end <= FDC_BUF_BYTES && f->pos <= f->end;
    if (ok && moving)
        ok = f->unit < FDC_DRIVES && u->block && f->sector && f->sector <= u->spt &&
             f->head < u->heads && f->cyl < u->cyls && f->pos < f->end &&
             f->end <= (u->spt - f->sector + 1u) * SECTOR_BYTES;
    return ok ? 0 : err_set(e, E_FORMAT, "impossible transfer");
}

static void fdc_post_load(struct dev *d)
{
    struct fdc *f = self(d);
    fdc_irq(f, f->irq_on);
}

/* clang-format off */
#define SV(field) SER(struct fdc, field, 1)
#define SA(field) SER_ARRAY(struct fdc, field, 1)
static const struct ser_field fdc_fields[] = {
    SV(drive[0].track), SV(drive[0].changed), SV(drive[1].track), SV(drive[1].changed), SV(dor),
    SV(tdr), SV(rate), SA(precomp), SV(config), SV(perpendicular), SA(specify), SV(locked),
    SV(phase), SA(cmd), SV(cmd_len), SA(result), SV(result_pos), SV(result_len), SA(sense),
    SV(sense_wanted), SV(polls), SV(irq_on), SV(unit), SV(cyl), SV(head), SV(last_head),
    SV(sector), SV(eot), SV(multi), SV(writes), SV(formats), SV(verifies), SV(tc), SV(pos),
    SV(end), SA(buf), SER_END};
/* clang-format on */
static const struct dev_region fdc_regions[] = {
    {"fdc", BUS_PORT, true, 0x3F0, 6, 1, 1, fdc_read, fdc_write},
    {"fdc-dir", BUS_PORT, true, 0x3F7, 1, 1, 1, dir_read, ccr_write},
    {0},
};

const struct dev_class fdc_class = {
    .name = "fdc",
    .version = 1,
    .inst_bytes = sizeof(struct fdc),
    .regions = fdc_regions,
    .fields = fdc_fields,
    .init = fdc_init,
    .fini = fdc_fini,
    .reset = fdc_reset,
    .quiesce = fdc_quiesce,
    .validate = fdc_validate,
    .post_load = fdc_post_load,
};
