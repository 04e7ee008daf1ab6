/* dev/ide.c - the IDE controller's ports, selection and reset of drives, interrupts, PCI function
 * and saved state. The legacy ports always answer; the decode enable bits of IDETIM are there for
 * drivers that look.
 * A write to the command block reaches both drives of a channel; a read comes from the selected
 * one. A drive that is absent beside a present one reads as zeroes, an empty channel floats, but
 * for bit 7, which the host pulls down so that nobody waits for BSY. Spec: ATA/ATAPI-6 5, 6.4,
 * 7, 9.16; PIIX3 data sheet 2.4.  Threads: under the bus lock. */
#include "dev/ide.h"

#include <stdlib.h>
#include <string.h>

#include "dev/ide_internal.h"

enum { R_DATA, R_ERROR, R_COUNT, R_LBA_L, R_LBA_M, R_LBA_H, R_SELECT, R_STATUS, R_FEATURE = 1 };
enum { REGION_CMD0, REGION_CTL0, REGION_CMD1, REGION_CTL1, REGION_BM };
enum { IDETIM = 0x40, IDETIM_BYTES = 4, IDETIM_DECODE = 0x80, BM_BAR = 4 };
enum { PIIX3_IDE_FN = 1 << 3 | 1, OP_DEVICE_RESET = 0x08 };

static struct ide *self(struct dev *d) { return container_of(d, struct ide, dev); }
static struct ide_unit *selected(struct ide_chan *c)
{
    return &c->unit[c->select & SEL_DEV ? 1 : 0];
}

/* ---- interrupts ------------------------------------------------------------------------------ */

void ide_irq_update(struct ide_chan *c)
{
    bool level = selected(c)->intrq && !(c->control & CTL_NIEN);
    if (level && !c->line.level) c->bm.status |= BM_INT;
    irq_set(&c->line, level);
}

void ide_raise(struct ide_chan *c, struct ide_unit *u)
{
    u->intrq = true;
    ide_irq_update(c);
}

static void acknowledge(struct ide_chan *c, struct ide_unit *u)
{
    u->intrq = false;
    ide_irq_update(c);
}

/* ---- reset ----------------------------------------------------------------------------------- */

void ide_reset_units(struct ide_chan *c, u8 mask)
{
    for (u32 i = 0; i < IDE_UNITS; i++) {
        struct ide_unit *u = &c->unit[i];
        if (!(mask & 1u << i) || !u->present) continue;
        ide_signature(u);
        u->status = u->cdrom ? 0 : ST_OK;
        u->error = 1; /* diagnostic code: passed */
        u->intrq = false;
    }
    ide_irq_update(c);
}

/* The units in @mask forget what they were doing; they stay busy while the disk still is. */
static void begin_reset(struct ide_chan *c, u8 mask)
{
    if (mask & 1u << c->active) {
        ide_idle(c);
        if (c->in_flight) c->abandoned |= mask;
    }
    for (u32 i = 0; i < IDE_UNITS; i++) {
        if (!(mask & 1u << i) || !c->unit[i].present) continue;
        c->unit[i].status = ST_BSY;
        c->unit[i].intrq = false;
    }
    ide_irq_update(c);
}

static void device_reset(struct ide_chan *c, struct ide_unit *u)
{
    u8 mask = (u8)(u == &c->unit[1] ? 2 : 1);
    if (!u->cdrom) return;
    begin_reset(c, mask);
    if (!(c->abandoned & mask)) ide_reset_units(c, mask);
}

static void control(struct ide_chan *c, u8 val)
{
    u8 was = c->control;
    c->control = val;
    if (val & ~was & CTL_SRST) begin_reset(c, 3);
    if (was & ~val & CTL_SRST) {
        c->select = 0;
        if (!c->abandoned) ide_reset_units(c, 3);
    }
    ide_irq_update(c);
}

static void power_on(struct ide_unit *u)
{
    u->multiple = MULTIPLE_MAX;
    u->mode = 0;
    u->heads = 16;
    u->spt = 63;
    u->write_cache = u->look_ahead = u->smart = true;
    u->locked = u->open = false;
    u->key = u->cdrom ? 6 : 0; /* unit attention: power on */
    u->asc = u->cdrom ? 0x29 : 0;
    u->ascq = 0;
    u->attention = u->cdrom;
}

static void ide_reset(struct dev *d)
{
    struct ide *s = self(d);
    for (u32 i = 0; i < IDE_CHANNELS; i++) {
        struct ide_chan *c = &s->chan[i];
        if (c->in_flight) c->abandoned = 3;
        ide_drain(c);
        ide_idle(c);
        c->control = c->select = 0;
        c->active = 0;
        c->bm = (struct ide_bm){0};
        power_on(&c->unit[0]);
        power_on(&c->unit[1]);
        ide_reset_units(c, 3);
    }
    memset(s->pci.cfg + IDETIM, 0, IDETIM_BYTES);
    pci_fn_reset(&s->pci);
}

int ide_firmware(struct dev *d, u16 base, struct err *e)
{
    struct pci_fn *f = &self(d)->pci;
    f->cfg[IDETIM + 1] |= IDETIM_DECODE;
    f->cfg[IDETIM + 3] |= IDETIM_DECODE;
    return pci_set_bar(f, BM_BAR, base, e);
}

/* ---- ports ----------------------------------------------------------------------------------- */

static struct ide_chan *chan_of(struct dev *d, bool second) { return &self(d)->chan[second]; }

enum { FLOATING = 0x7F };

static u8 read_reg(struct ide_chan *c, u32 reg)
{
    struct ide_unit *u = selected(c);
    if (!c->unit[0].present && !c->unit[1].present) return FLOATING;
    if (!u->present) return 0;
    if (u->status & ST_BSY) return u->status;
    const struct ide_regs *r = c->control & CTL_HOB ? &u->hob : &u->reg;
    switch (reg) {
    case R_ERROR: return u->error;
    case R_COUNT: return r->count;
    case R_LBA_L: return r->lba_l;
    case R_LBA_M: return r->lba_m;
    case R_LBA_H: return r->lba_h;
    case R_SELECT: return c->select | SEL_ONES;
    default: return u->status;
    }
}

static void write_units(struct ide_chan *c, u32 reg, u8 val)
{
    for (u32 i = 0; i < IDE_UNITS; i++) {
        struct ide_regs *r = &c->unit[i].reg, *h = &c->unit[i].hob;
        switch (reg) {
        case R_FEATURE: h->feature = r->feature, r->feature = val; break;
        case R_COUNT: h->count = r->count, r->count = val; break;
        case R_LBA_L: h->lba_l = r->lba_l, r->lba_l = val; break;
        case R_LBA_M: h->lba_m = r->lba_m, r->lba_m = val; break;
        case R_LBA_H: h->lba_h = r->lba_h, r->lba_h = val; break;
        }
    }
}

static void write_command(struct ide_chan *c, u8 op)
{
    struct ide_unit *u = selected(c);
    if (!u->present) return;
    if (op == OP_DEVICE_RESET) device_reset(c, u);
    if (op == OP_DEVICE_RESET && u->cdrom) return;
    if (c->in_flight || u->status & ST_BSY) return;
    acknowledge(c, u);
    c->active = u == &c->unit[1];
    ide_command(c, op);
}

static void write_reg(struct ide_chan *c, u32 reg, u8 val)
{
    c->control &= (u8)~CTL_HOB;
    if (reg == R_STATUS) {
        write_command(c, val);
        return;
    }
    if (selected(c)->status & ST_BSY) return;
    if (reg == R_SELECT) {
        c->select = val;
        ide_irq_update(c);
        return;
    }
    write_units(c, reg, val);
}

static u64 cmd_read(struct ide_chan *c, u64 off, u32 bytes)
{
    u64 val = 0;
    if (off == R_DATA) return ide_data_read(c, bytes);
    for (u32 i = 0; i < bytes; i++) {
        val |= (u64)read_reg(c, (u32)off + i) << 8 * i;
        if (off + i == R_STATUS && selected(c)->intrq) acknowledge(c, selected(c));
    }
    return val;
}

static void cmd_write(struct ide_chan *c, u64 off, u64 val, u32 bytes)
{
    if (off == R_DATA) ide_data_write(c, (u32)val, bytes);
    else
        for (u32 i = 0; i < bytes; i++) write_reg(c, (u32)off + i, (u8)(val >> 8 * i));
}

static u64 cmd0_read(struct dev *d, u64 off, u32 n) { return cmd_read(chan_of(d, 0), off, n); }
static u64 cmd1_read(struct dev *d, u64 off, u32 n) { return cmd_read(chan_of(d, 1), off, n); }
static void cmd0_write(struct dev *d, u64 off, u64 val, u32 n)
{
    cmd_write(chan_of(d, 0), off, val, n);
}
static void cmd1_write(struct dev *d, u64 off, u64 val, u32 n)
{
    cmd_write(chan_of(d, 1), off, val, n);
}
static u64 ctl_read(struct dev *d, bool second) { return read_reg(chan_of(d, second), R_STATUS); }
static u64 ctl0_read(struct dev *d, u64 off, u32 n) { return (void)off, (void)n, ctl_read(d, 0); }
static u64 ctl1_read(struct dev *d, u64 off, u32 n) { return (void)off, (void)n, ctl_read(d, 1); }
static void ctl0_write(struct dev *d, u64 off, u64 val, u32 n)
{
    (void)off, (void)n;
    control(chan_of(d, 0), (u8)val);
}
static void ctl1_write(struct dev *d, u64 off, u64 val, u32 n)
{
    (void)off, (void)n;
    control(chan_of(d, 1), (u8)val);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void unit_init(struct ide_unit *u, const struct ide_disk *disk)
{
    u->block = disk->block;
    u->cdrom = disk->cdrom;
    u->present = disk->block || disk->cdrom;
    u->sector_bytes = disk->cdrom ? CD_BYTES : SECTOR_BYTES;
    u->sectors = disk->block ? block_bytes(disk->block) / u->sector_bytes : 0;
}

static int ide_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct ide_cfg *c = cfg;
    struct ide *s = self(d);
    static const struct pci_fn_cfg ids = {.vendor = 0x8086,
                                          .device = 0x7010,
                                          .subsys_vendor = 0x1AF4,
                                          .subsys = 0x1100,
                                          .class_code = 0x010180};
    u8 *buf = malloc(IDE_CHANNELS * IDE_DMA_BYTES);
    if (!buf) return err_set(e, E_NOMEM, "IDE buffers");
    if (pci_fn_init(&s->pci, d, c->pci, PIIX3_IDE_FN, e) < 0) {
        free(buf);
        return e ? e->code : E_BUSY;
    }
    pci_fn_set_ids(&s->pci, &ids);
    memset(s->pci.wmask + IDETIM, 0xFF, IDETIM_BYTES);
    pci_fn_add_bar(&s->pci, BM_BAR, REGION_BM, BAR_IO);
    for (u32 i = 0; i < IDE_CHANNELS; i++) {
        struct ide_chan *ch = &s->chan[i];
        ch->ide = s;
        ch->dma_buf = buf + i * IDE_DMA_BYTES;
        ch->guest_bytes = SECTOR_BYTES;
        ch->drq_bytes = SECTOR_BYTES;
        irq_line_init(&ch->line, c->irq[i]);
        for (u32 k = 0; k < IDE_UNITS; k++) unit_init(&ch->unit[k], &c->disk[i][k]);
    }
    return 0;
}

static void ide_fini(struct dev *d)
{
    struct ide *s = self(d);
    for (u32 i = 0; i < IDE_CHANNELS; i++) {
        s->chan[i].abandoned = 3;
        ide_drain(&s->chan[i]);
        irq_set(&s->chan[i].line, false);
    }
    free(s->chan[0].dma_buf);
    pci_fn_fini(&s->pci);
}

static void ide_quiesce(struct dev *d)
{
    for (u32 i = 0; i < IDE_CHANNELS; i++) ide_drain(&self(d)->chan[i]);
}

/* ---- state ----------------------------------------------------------------------------------- */

/* What the data port and the transfer engine index with must be in bounds. */
static bool transfer_fits(const struct ide_chan *c)
{
    const struct ide_unit *u = &c->unit[c->active & 1];
    u32 raw = c->guest_bytes;
    if (c->phase >= PHASES || c->phase == PH_DISK || c->active > 1) return false;
    if (c->phase != PH_IDLE && !u->present) return false;
    if (raw != u->sector_bytes && !(u->cdrom && raw == CD_RAW_BYTES) && c->phase != PH_IDLE)
        return false;
    if (c->pos > c->drq_end && c->phase != PH_DMA) return false;
    if (c->drq_end > IDE_PIO_BYTES || c->end > IDE_PIO_BYTES || c->pos > IDE_PIO_BYTES)
        return false;
    if (c->phase == PH_PIO_IN && (c->drq_end > c->end || c->pos == c->drq_end)) return false;
    if (c->phase == PH_DMA && !c->left && c->pos >= c->end) return false;
    if (c->phase == PH_PACKET && (!u->cdrom || c->drq_end != PACKET_BYTES || c->left)) return false;
    if (c->phase == PH_PIO_OUT && (u->cdrom || !c->left || c->drq_end > c->left * SECTOR_BYTES))
        return false;
    return c->left <= u->sectors && c->lba <= u->sectors - c->left;
}

static bool rates_fit(const struct ide_chan *c)
{
    const struct ide_unit *u = &c->unit[c->active & 1];
    if (c->phase == PH_IDLE) return true;
    if (c->to_disk && u->cdrom) return false;
    if (c->phase == PH_PIO_OUT && (c->drq_end % SECTOR_BYTES || !c->drq_end)) return false;
    if (!u->cdrom && (c->drq_bytes % SECTOR_BYTES || c->drq_bytes > IDE_PIO_BYTES)) return false;
    return c->drq_bytes >= 2 && c->drq_bytes <= 0x10000;
}

static int ide_validate(const struct dev *d, struct err *e)
{
    const struct ide *s = container_of(d, struct ide, dev);
    for (u32 i = 0; i < IDE_CHANNELS; i++) {
        const struct ide_chan *c = &s->chan[i];
        if (!transfer_fits(c) || !rates_fit(c))
            return err_set(e, E_FORMAT, "channel %u: impossible transfer", i);
        for (u32 k = 0; k < IDE_UNITS; k++)
            if (c->unit[k].multiple > MULTIPLE_MAX)
                return err_set(e, E_FORMAT, "channel %u: impossible block size", i);
    }
    return 0;
}

static void ide_post_load(struct dev *d)
{
    struct ide *s = self(d);
    for (u32 i = 0; i < IDE_CHANNELS; i++) {
        struct ide_chan *c = &s->chan[i];
        u8 bm_status = c->bm.status;
        c->careful = false;
        for (u32 k = 0; k < IDE_UNITS; k++)
            if (!(c->control & CTL_SRST)) c->unit[k].status &= (u8)~ST_BSY;
        ide_irq_update(c);
        c->bm.status = bm_status;
        c->bm.table &= ~3u;
    }
    pci_fn_post_load(&s->pci);
}

/* clang-format off */
#define SV(field) SER(struct ide, field, 1)
#define REGS(r) SV(r.feature), SV(r.count), SV(r.lba_l), SV(r.lba_m), SV(r.lba_h)
#define UNIT(u) REGS(u.reg), REGS(u.hob), SV(u.status), SV(u.error), SV(u.intrq), SV(u.multiple),  \
    SV(u.mode), SV(u.heads), SV(u.spt), SV(u.write_cache), SV(u.look_ahead), SV(u.smart),          \
    SV(u.key), SV(u.asc), SV(u.ascq), SV(u.attention), SV(u.locked), SV(u.open)
#define BM(b) SV(b.cmd), SV(b.status), SV(b.table), SV(b.next), SV(b.addr), SV(b.left), SV(b.last)
#define CHAN(c) UNIT(c.unit[0]), UNIT(c.unit[1]), BM(c.bm), SV(c.select), SV(c.control),           \
    SV(c.phase), SV(c.active), SV(c.to_disk), SV(c.dma), SV(c.lba), SV(c.left), SV(c.guest_bytes), \
    SV(c.drq_bytes), SV(c.pos), SV(c.end), SV(c.drq_end), SER_ARRAY(struct ide, c.pio, 1)
/* clang-format on */
static const struct ser_field ide_fields[] = {PCI_SER(struct ide, pci), CHAN(chan[0]),
                                              CHAN(chan[1]), SER_END};
static const struct dev_region ide_regions[] = {
    [REGION_CMD0] = {"ide0", BUS_PORT, true, 0x1F0, 8, 1, 4, cmd0_read, cmd0_write},
    [REGION_CTL0] = {"ide0-control", BUS_PORT, true, 0x3F6, 1, 1, 1, ctl0_read, ctl0_write},
    [REGION_CMD1] = {"ide1", BUS_PORT, true, 0x170, 8, 1, 4, cmd1_read, cmd1_write},
    [REGION_CTL1] = {"ide1-control", BUS_PORT, true, 0x376, 1, 1, 1, ctl1_read, ctl1_write},
    [REGION_BM] = {"ide-bm", BUS_PORT, false, 0, 16, 1, 4, ide_bm_read, ide_bm_write},
    {0},
};

const struct dev_class ide_class = {
    .name = "ide",
    .version = 1,
    .inst_bytes = sizeof(struct ide),
    .regions = ide_regions,
    .fields = ide_fields,
    .init = ide_init,
    .fini = ide_fini,
    .reset = ide_reset,
    .quiesce = ide_quiesce,
    .validate = ide_validate,
    .post_load = ide_post_load,
};
