/* pc_ports - see pc_ports.h. */
#include "machine/pc_ports.h"

#include "dev/hpet.h"
#include "dev/uart.h"
#include "machine/machine.h"

enum { IRQ_COM2 = 3, COM2_BASE = 0x2F8, COM2_BIT = 1 << 1 };

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

int pc_ports_create(struct machine *m, struct err *e)
{
    int rc = add_hpet(m, e);
    if (rc == 0 && m->cfg.serial2) rc = add_com2(m, e);
    return rc;
}

int pc_ports_open(struct machine *m, struct err *e)
{
    return m->cfg.serial2 ? serial_open(&m->serial2, m, m->cfg.serial2, e) : 0;
}

void pc_ports_start(struct machine *m)
{
    if (m->serial2.stream) stream_start(m->serial2.stream);
}

void pc_ports_close(struct machine *m) { serial_close(&m->serial2); }

void pc_ports_describe(struct machine *m)
{
    m->acpi.hpet_gpa = HPET_GPA;
    m->acpi.hpet_id = HPET_ID;
    m->acpi.hpet_min_tick = HPET_MIN_TICK;
    if (m->cfg.serial2) m->acpi.uart_mask |= COM2_BIT;
}
