/* dev/acpi_pm.h - ACPI fixed hardware: PM1a event and control, PM timer, GPE0, SCI. It is function
 * 3 of the ISA bridge, as in a PIIX4, so that firmware finds it: PMBA (40h) says where the ports
 * are, PMREGMISC (80h) bit 0 whether they answer. Ports (relative to that base) and FADT values are
 * the enums below, so that the tables are built from them. Spec: ACPI 6.5 section 4.8; PIIX4 data
 * sheet (290562) 7.2 for the layout. */
#ifndef DEV_ACPI_PM_H
#define DEV_ACPI_PM_H
#include "base/clk.h"
#include "bus/dev.h"
#include "bus/irq.h"
#include "bus/pci.h"

enum {
    ACPI_PM_BASE = 0x600,    /* where the ports are when no firmware chooses */
    ACPI_PM1_EVT = 0x00,     /* PM1a_EVT_BLK, 4 bytes: status, enable */
    ACPI_PM1_CNT = 0x04,     /* PM1a_CNT_BLK, 2 bytes                 */
    ACPI_PM_TMR = 0x08,      /* PM_TMR_BLK, 4 bytes: 32-bit counter   */
    ACPI_GPE0 = 0x20,        /* GPE0_BLK, 4 bytes: 16 status, 16 enable bits */
    ACPI_RESET_PORT = 0xCF9, /* FADT RESET_REG */
    ACPI_RESET_VALUE = 0x06,
    ACPI_SMI_CMD = 0xB2, /* writing ACPI_ENABLE/DISABLE sets/clears SCI_EN */
    ACPI_ENABLE = 0xF1,
    ACPI_DISABLE = 0xF0,
    ACPI_S5_TYPE = 0, /* SLP_TYPa of _S5 */
    ACPI_SCI_GSI = 9, /* level, active high */
};
#define ACPI_PM_TIMER_HZ 3579545u
extern const struct dev_class acpi_pm_class;
struct acpi_pm_cfg {
    struct clk *clk;
    struct irq_pin *sci;
    bool sci_en; /* ACPI mode from reset on (no firmware to ask: FADT SMI_CMD may then be 0) */
    struct pci_bus *pci; /* NULL: no function, ports at ACPI_PM_BASE */
    bool firmware;       /* which is to set PMBA; else it is ACPI_PM_BASE from RESET on */
};
/** acpi_pm_base - first port of the block now; ACPI_PM_BASE while it does not answer. */
u16 acpi_pm_base(struct dev *d);
/** acpi_pm_power_button - the user asks the guest to shut down. Under the bus lock. */
void acpi_pm_power_button(struct dev *d);
/** acpi_pm_gpe - raise general-purpose event @bit (0..15). Under the bus lock. */
void acpi_pm_gpe(struct dev *d, u32 bit);
#endif
