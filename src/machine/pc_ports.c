/* pc_ports - see pc_ports.h. */
#include "machine/pc_ports.h"

#include <string.h>

#include "dev/hpet.h"
#include "dev/parallel.h"
#include "dev/uart.h"
#include "machine/control.h"
#include "machine/machine.h"

enum { IRQ_COM2 = 3, COM2_BASE = 0x2F8, COM2_BIT = 1 << 1 };
enum { IRQ_LPT1 = 7, LPT1_BASE = 0x378 };
static const char spool_prefix[] = "spool:";

/* The 8254 and the RTC reach IRQ 0 and 8 through the HPET, which may take their places. */
static int add_hpet(struct machine *m, struct err *e)
{
    struct hpet_cfg cfg = {.clk = &m->clk, .gsi = m->gsi};
    struct dev *d = dev_create(&m->devs, &hpet_class, "hpet", &cfg, e);
    if (!d) return e->code;
    for (u32 i = 0; i < ARRAY_LEN(m->legacy_timer); i++)
        irq_pin_route(&m->legacy_timer[i], hpet_legacy, d, i);
    return 0;
}

static int add_com2(struct machine *m, struct err *e)
{
    struct uart_cfg cfg = {
        .clk = &m->clk, .irq = &m->gsi[IRQ_COM2], .chardev = &m->serial2.chardev};
    struct dev *com2 = dev_create(&m->devs, &uart_class, "uart1", &cfg, e);
    return com2 ? dev_attach(com2, 0, COM2_BASE, e) : e->code;
}

/* ---- parallel port --------------------------------------------------------------------------- */

static bool is_spool(const char *spec)
{
    return !strncmp(spec, spool_prefix, sizeof spool_prefix - 1);
}
static bool has_parallel(const struct machine *m)
{
    return m->cfg.parallel && strcmp(m->cfg.parallel, "none") != 0;
}

int pc_parallel_check(const char *spec, struct err *e)
{
    bool known = !strcmp(spec, "none") || !strncmp(spec, "file:", 5) || is_spool(spec);
    const char *colon = strchr(spec, ':');
    if (known && (!colon || colon[1])) return 0;
    return err_set(e, E_INVAL, "parallel '%s': not one of none, file:PATH, spool:DIR", spec);
}

static u32 print(void *ctx, const u8 *buf, u32 bytes)
{
    struct machine *m = ctx;
    return m->spool ? spool_write(m->spool, buf, bytes) : bytes;
}
static const struct chardev_back_ops printer = {.write = print};

/* A printer that is reset throws away the page; a document that has begun is complete. */
static void on_init(void *ctx)
{
    struct machine *m = ctx;
    if (m->spool) spool_end(m->spool);
}

static bool paper_out(void *ctx)
{
    struct machine *m = ctx;
    return m->spool && spool_stuck(m->spool);
}

static void on_writable(void *ctx)
{
    struct machine *m = ctx;
    bus_lock(&m->bus);
    chardev_tx_ready(&m->parallel.chardev);
    bus_unlock(&m->bus);
}

static void on_stuck(void *ctx, const char *why)
{
    struct machine *m = ctx;
    log_warn(&m->log, "parallel '%s': %s: the printer is out of paper", m->cfg.parallel, why);
}

static int add_parallel(struct machine *m, struct err *e)
{
    struct parallel_cfg cfg = {.irq = &m->gsi[IRQ_LPT1],
                               .chardev = &m->parallel.chardev,
                               .init = on_init,
                               .paper_out = paper_out,
                               .ctx = m};
    struct dev *lpt = dev_create(&m->devs, &parallel_class, "parallel0", &cfg, e);
    return lpt ? dev_attach(lpt, 0, LPT1_BASE, e) : e->code;
}

static int open_parallel(struct machine *m, struct err *e)
{
    const struct spool_events ev = {.ctx = m, .writable = on_writable, .stuck = on_stuck};
    if (!is_spool(m->cfg.parallel)) {
        int rc = serial_open(&m->parallel, m, m->cfg.parallel, e);
        return rc < 0 ? err_wrap(e, "parallel port") : 0;
    }
    m->parallel.chardev.back = &printer;
    m->parallel.chardev.back_ctx = m;
    return spool_open(&m->spool, m->cfg.parallel + sizeof spool_prefix - 1, m->loop, &ev, e);
}

int machine_spool_fd(const struct ring3_vm *vm)
{
    const struct machine *m = (const struct machine *)vm;
    return m->spool ? spool_folder_fd(m->spool) : -1;
}

/* ---- all of them ----------------------------------------------------------------------------- */

int pc_ports_create(struct machine *m, struct err *e)
{
    int rc = add_hpet(m, e);
    if (rc == 0 && m->cfg.serial2) rc = add_com2(m, e);
    if (rc == 0 && has_parallel(m)) rc = add_parallel(m, e);
    return rc;
}

int pc_ports_open(struct machine *m, struct err *e)
{
    int rc = m->cfg.serial2 ? serial_open(&m->serial2, m, m->cfg.serial2, e) : 0;
    return rc == 0 && has_parallel(m) ? open_parallel(m, e) : rc;
}

void pc_ports_start(struct machine *m)
{
    if (m->serial2.stream) stream_start(m->serial2.stream);
    if (m->parallel.stream) stream_start(m->parallel.stream);
}

void pc_ports_close(struct machine *m)
{
    serial_close(&m->serial2);
    serial_close(&m->parallel);
    spool_close(m->spool);
    m->spool = NULL;
}

void pc_ports_describe(struct machine *m)
{
    m->acpi.hpet_gpa = HPET_GPA;
    m->acpi.hpet_id = HPET_ID;
    m->acpi.hpet_min_tick = HPET_MIN_TICK;
    if (m->cfg.serial2) m->acpi.uart_mask |= COM2_BIT;
    m->acpi.has_lpt1 = has_parallel(m);
}
