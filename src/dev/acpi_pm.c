/* dev/acpi_pm.c - ACPI fixed hardware.
 *
 * The PM timer is a 32-bit counter computed from virtual time; its status bit is set each time bit
 * 31 changes, which is noticed when somebody looks, and by a timer while its interrupt is enabled.
 * SCI is a level: up while any enabled event is pending and SCI_EN is set.
 * Spec: ACPI 6.5 section 4.8.3 (PM1), 4.8.3.3 (timer), 4.8.4 (GPE).  Threads: under the bus lock.
 * */
#include "dev/acpi_pm.h"

enum { PM1_STS = 0, PM1_EN = 2 };
enum {
    PM1_TMR = 1 << 0,
    PM1_BM = 1 << 4,
    PM1_GBL = 1 << 5,
    PM1_PWRBTN = 1 << 8,
    PM1_SLPBTN = 1 << 9,
    PM1_RTC = 1 << 10,
    PM1_WAK = 1 << 15
};
enum { PM1_EVENTS = PM1_TMR | PM1_GBL | PM1_PWRBTN | PM1_SLPBTN | PM1_RTC };
enum { PM1_STS_BITS = PM1_EVENTS | PM1_BM | PM1_WAK };
enum { CNT_SCI_EN = 1 << 0, CNT_BM_RLD = 1 << 1, CNT_SLP_TYP = 7 << 10, CNT_SLP_EN = 1 << 13 };
enum { SMI_CMD = 0, SMI_STATUS = 1 };
enum { /* configuration registers, PIIX4 data sheet 7.1 */
       PM_DEVFN = 1 << 3 | 3,
       PMBA = 0x40,
       DEVACTB = 0x58,
       PMREGMISC = 0x80,
       SMBBA = 0x90,
       PMBA_BITS = 0xFFC0,
       PMIOSE = 1 << 0,
       DEVACTB_APMC_EN = 1 << 1, /* bit 25, in byte 3 */
};
enum { MOVABLE_REGIONS = 4 };

struct acpi_pm {
    struct dev dev;
    struct timer overflow; /* next change of bit 31; derived */
    struct irq_line sci;
    struct pci_fn pci;
    bool reset_sci_en, has_fn, firmware;
    u16 sts, en, cnt;
    u16 gpe_sts, gpe_en;
    u32 half; /* value of ticks >> 31 last accounted */
    u8 smi_status;
};

static struct acpi_pm *self(struct dev *d) { return container_of(d, struct acpi_pm, dev); }

static u64 ticks(const struct acpi_pm *p)
{
    return (u64)((u128)timer_now_ns(&p->overflow) * ACPI_PM_TIMER_HZ / NS_PER_S);
}

static void update(struct acpi_pm *p)
{
    bool event = (p->sts & p->en & PM1_EVENTS) || (p->gpe_sts & p->gpe_en);
    irq_set(&p->sci, event && (p->cnt & CNT_SCI_EN));
}

static void account_timer(struct acpi_pm *p)
{
    u32 half = (u32)(ticks(p) >> 31);
    if (half != p->half) p->sts |= PM1_TMR;
    p->half = half;
}

static void arm(struct acpi_pm *p)
{
    u64 edge = ((ticks(p) >> 31) + 1) << 31;
    if (p->en & PM1_TMR)
        timer_arm(&p->overflow,
                  (u64)(((u128)edge * NS_PER_S + ACPI_PM_TIMER_HZ - 1) / ACPI_PM_TIMER_HZ));
    else timer_cancel(&p->overflow);
}

static void overflow_fire(struct timer *t)
{
    struct acpi_pm *p = container_of(t, struct acpi_pm, overflow);
    account_timer(p);
    update(p);
    arm(p);
}

/* ---- registers ------------------------------------------------------------------------------- */

static u64 evt_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    account_timer(self(d));
    return off == PM1_STS ? self(d)->sts : self(d)->en;
}

static void evt_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct acpi_pm *p = self(d);
    (void)bytes;
    account_timer(p);
    if (off == PM1_STS) p->sts &= (u16) ~(val & PM1_STS_BITS);
    else p->en = (u16)val & PM1_EVENTS;
    update(p);
    arm(p);
}

static u64 cnt_read(struct dev *d, u64 off, u32 bytes)
{
    (void)off;
    (void)bytes;
    return self(d)->cnt;
}

/* SLP_EN with the S5 type switches off; other types are not offered by the tables and do nothing.
 * SCI_EN is the firmware's: it changes through SMI_CMD only. */
static void cnt_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct acpi_pm *p = self(d);
    (void)off;
    (void)bytes;
    p->cnt = (u16)((p->cnt & CNT_SCI_EN) | (val & (CNT_BM_RLD | CNT_SLP_TYP)));
    if ((val & CNT_SLP_EN) && bits(val, 12, 10) == ACPI_S5_TYPE) dev_request_poweroff(d);
}

static u64 tmr_read(struct dev *d, u64 off, u32 bytes)
{
    (void)off;
    (void)bytes;
    return (u32)ticks(self(d));
}

static void tmr_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)d, (void)off, (void)val, (void)bytes; /* read-only */
}

static u64 gpe_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return (off < 2 ? self(d)->gpe_sts >> 8 * off : self(d)->gpe_en >> 8 * (off - 2)) & 0xFF;
}

static void gpe_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct acpi_pm *p = self(d);
    u32 shift = 8 * (off & 1);
    (void)bytes;
    if (off < 2) p->gpe_sts &= (u16) ~(val << shift);
    else p->gpe_en = (u16)((p->gpe_en & ~(0xFFu << shift)) | val << shift);
    update(p);
}

static u64 smi_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return off == SMI_STATUS ? self(d)->smi_status : 0;
}

static void smi_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct acpi_pm *p = self(d);
    (void)bytes;
    if (off == SMI_STATUS) p->smi_status = (u8)val;
    else if (val == ACPI_ENABLE) p->cnt |= CNT_SCI_EN;
    else if (val == ACPI_DISABLE) p->cnt &= (u16)~CNT_SCI_EN;
    update(p);
}

/* ---- events from outside --------------------------------------------------------------------- */

void acpi_pm_power_button(struct dev *d)
{
    self(d)->sts |= PM1_PWRBTN;
    update(self(d));
}

void acpi_pm_gpe(struct dev *d, u32 bit)
{
    if (bit < 16) self(d)->gpe_sts |= (u16)(1u << bit);
    update(self(d));
}

/* ---- function 1.3 ---------------------------------------------------------------------------- */

u16 acpi_pm_base(struct dev *d)
{
    const struct acpi_pm *p = self(d);
    if (!p->has_fn || !(p->pci.cfg[PMREGMISC] & PMIOSE)) return ACPI_PM_BASE;
    u16 base = (u16)(pci_get(&p->pci, PMBA, 2) & PMBA_BITS);
    return base ? base : ACPI_PM_BASE;
}

static const u16 region_off[MOVABLE_REGIONS] = {ACPI_PM1_EVT, ACPI_PM1_CNT, ACPI_PM_TMR, ACPI_GPE0};

/* Ports where something else is do not answer. */
static void ports_update(struct acpi_pm *p)
{
    struct dev *d = &p->dev;
    bool on = !p->has_fn || p->pci.cfg[PMREGMISC] & PMIOSE;
    for (u32 i = 0; i < MOVABLE_REGIONS; i++) {
        bus_unmap(d->set->bus, &d->region[i]);
        if (on && dev_attach(d, i, (u64)acpi_pm_base(d) + region_off[i], NULL) < 0)
            d->set->bus->stats.bar_conflicts++;
    }
}

static void on_cfg_write(struct pci_fn *f, u32 off, u32 bytes)
{
    bool moved = off < PMBA + 4 && off + bytes > PMBA;
    if (moved || (off <= PMREGMISC && off + bytes > PMREGMISC))
        ports_update(container_of(f, struct acpi_pm, pci));
}

static int fn_init(struct acpi_pm *p, struct pci_bus *pci, struct err *e)
{
    static const struct pci_fn_cfg ids = {.vendor = 0x8086,
                                          .device = 0x7113,
                                          .subsys_vendor = 0x1AF4,
                                          .subsys = 0x1100,
                                          .class_code = 0x068000,
                                          .revision = 3,
                                          .int_pin = 1};
    struct pci_fn *f = &p->pci;
    if (pci_fn_init(f, &p->dev, pci, PM_DEVFN, e) < 0) return E_BUSY;
    pci_fn_set_ids(f, &ids);
    f->cfg_write = on_cfg_write;
    f->cfg[PMBA] = f->cfg[SMBBA] = 1; /* an I/O address */
    f->wmask[PMBA] = PMBA_BITS & 0xFF;
    f->wmask[PMBA + 1] = f->wmask[SMBBA + 1] = 0xFF;
    f->wmask[SMBBA] = 0xF0;
    for (u32 i = 0; i < 4; i++) f->wmask[DEVACTB + i] = 0xFF;
    f->wmask[PMREGMISC] = PMIOSE;
    p->has_fn = true;
    return 0;
}

static void fn_reset(struct acpi_pm *p)
{
    u8 *c = p->pci.cfg;
    pci_fn_reset(&p->pci);
    const u16 base = p->firmware ? 0 : ACPI_PM_BASE;
    c[PMBA] = (u8)(base | 1);
    c[PMBA + 1] = base >> 8;
    c[PMREGMISC] = p->firmware ? 0 : PMIOSE;
    for (u32 i = 0; i < 4; i++) c[DEVACTB + i] = 0;
    /* SMIs at writes to B2h look as if they were set up already: there is no SMM to set up, and
     * firmware would wait for its handler */
    c[DEVACTB + 3] = DEVACTB_APMC_EN;
    c[SMBBA] = 1;
    c[SMBBA + 1] = 0;
}

/* ---- class ----------------------------------------------------------------------------------- */

static int acpi_pm_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct acpi_pm_cfg *c = cfg;
    struct acpi_pm *p = self(d);
    if (!c->clk) return err_set(e, E_INVAL, "needs a clock");
    if (c->pci && fn_init(p, c->pci, e) < 0) return E_BUSY;
    p->firmware = c->firmware;
    timer_init(&p->overflow, c->clk, overflow_fire);
    irq_line_init(&p->sci, c->sci);
    p->reset_sci_en = c->sci_en;
    return 0;
}

static void acpi_pm_fini(struct dev *d)
{
    irq_set(&self(d)->sci, false);
    if (self(d)->has_fn) pci_fn_fini(&self(d)->pci);
    timer_fini(&self(d)->overflow);
}

static void acpi_pm_reset(struct dev *d)
{
    struct acpi_pm *p = self(d);
    p->sts = p->en = p->gpe_sts = p->gpe_en = 0;
    p->cnt = p->reset_sci_en ? CNT_SCI_EN : 0;
    p->half = (u32)(ticks(p) >> 31);
    p->smi_status = 0;
    if (p->has_fn) fn_reset(p);
    ports_update(p);
    update(p);
    arm(p);
}

static void acpi_pm_post_load(struct dev *d)
{
    struct acpi_pm *p = self(d);
    p->sts &= PM1_STS_BITS;
    p->en &= PM1_EVENTS;
    if (p->has_fn) pci_fn_post_load(&p->pci);
    ports_update(p);
    update(p);
    arm(p);
}

static const struct ser_field acpi_pm_fields[] = {
    SER(struct acpi_pm, sts, 1),
    SER(struct acpi_pm, en, 1),
    SER(struct acpi_pm, cnt, 1),
    SER(struct acpi_pm, gpe_sts, 1),
    SER(struct acpi_pm, gpe_en, 1),
    SER(struct acpi_pm, half, 1),
    SER(struct acpi_pm, smi_status, 1),
    SER_ARRAY(struct acpi_pm, pci.cfg, 2),
    SER_END,
};
static const struct dev_region acpi_pm_regions[] = {
    {"pm1-evt", BUS_PORT, false, 0, 4, 2, 2, evt_read, evt_write},
    {"pm1-cnt", BUS_PORT, false, 0, 2, 2, 2, cnt_read, cnt_write},
    {"pm-tmr", BUS_PORT, false, 0, 4, 4, 4, tmr_read, tmr_write},
    {"gpe0", BUS_PORT, false, 0, 4, 1, 1, gpe_read, gpe_write},
    {"smi", BUS_PORT, true, ACPI_SMI_CMD, 2, 1, 1, smi_read, smi_write},
    {0},
};

const struct dev_class acpi_pm_class = {
    .name = "acpi_pm",
    .version = 2,
    .inst_bytes = sizeof(struct acpi_pm),
    .regions = acpi_pm_regions,
    .fields = acpi_pm_fields,
    .init = acpi_pm_init,
    .fini = acpi_pm_fini,
    .reset = acpi_pm_reset,
    .post_load = acpi_pm_post_load,
};
