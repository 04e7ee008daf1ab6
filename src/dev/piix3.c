/* dev/piix3.c - PIIX3 ISA bridge, function 0: routes the four PCI interrupt wires to ISA
 * interrupts. PIRQRC at 0x60..0x63: bit 7 not routed, bits 3..0 ISA IRQ (0, 1, 2, 8 and 13 are
 * reserved).
 * Spec: PIIX3 data sheet (290550) 2.2.6.  Threads: under the bus lock. */
#include "dev/pci_host.h"

#include <string.h>

enum { ISA_IRQS = 16, PIRQRC = 0x60, PIRQ_OFF = 0x80, PIRQ_VALID = 0xDEF8 };

struct piix3 {
    struct dev dev;
    struct pci_fn pci;
    struct irq_line isa[ISA_IRQS]; /* one per ISA IRQ: the OR of the wires routed there */
    u8 boot_irq[PCI_PIRQS];
};

static struct piix3 *self(struct dev *d) { return container_of(d, struct piix3, dev); }

static void update(struct piix3 *p)
{
    u32 up = 0;
    for (u32 q = 0; q < PCI_PIRQS; q++) {
        u8 route = p->pci.cfg[PIRQRC + q];
        if (!(route & PIRQ_OFF) && p->pci.bus->pirq_count[q]) up |= 1u << (route & 15);
    }
    for (u32 i = 0; i < ISA_IRQS; i++) irq_set(&p->isa[i], up & PIRQ_VALID & 1u << i);
}

static void on_pirq(void *ctx, u32 pirq, bool level)
{
    (void)pirq;
    (void)level;
    update(ctx);
}

static void on_cfg_write(struct pci_fn *f, u32 off, u32 bytes)
{
    if (off < PIRQRC + PCI_PIRQS && off + bytes > PIRQRC)
        update(container_of(f, struct piix3, pci));
}

static int piix3_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct piix3_cfg *c = cfg;
    struct piix3 *p = self(d);
    static const struct pci_fn_cfg ids = {.vendor = 0x8086,
                                          .device = 0x7000,
                                          .subsys_vendor = 0x1AF4,
                                          .subsys = 0x1100,
                                          .class_code = 0x060100,
                                          .multi = true};
    if (pci_fn_init(&p->pci, d, c->pci, 1 << 3, e) < 0) return e ? e->code : E_BUSY;
    pci_fn_set_ids(&p->pci, &ids);
    p->pci.cfg_write = on_cfg_write;
    for (u32 q = 0; q < PCI_PIRQS; q++) p->pci.wmask[PIRQRC + q] = 0x8F;
    for (u32 i = 0; i < ISA_IRQS; i++) irq_line_init(&p->isa[i], c->isa ? &c->isa[i] : NULL);
    memcpy(p->boot_irq, c->pirq_irq, sizeof p->boot_irq);
    c->pci->pirq = on_pirq;
    c->pci->pirq_ctx = p;
    return 0;
}

static void piix3_fini(struct dev *d)
{
    struct piix3 *p = self(d);
    for (u32 i = 0; i < ISA_IRQS; i++) irq_set(&p->isa[i], false);
    p->pci.bus->pirq = NULL;
    pci_fn_fini(&p->pci);
}

static void piix3_reset(struct dev *d)
{
    struct piix3 *p = self(d);
    pci_fn_reset(&p->pci);
    for (u32 q = 0; q < PCI_PIRQS; q++) {
        u8 irq = p->boot_irq[q];
        p->pci.cfg[PIRQRC + q] = irq && irq < ISA_IRQS ? irq : PIRQ_OFF;
    }
    update(p);
}

static void piix3_post_load(struct dev *d)
{
    pci_fn_post_load(&self(d)->pci);
    update(self(d));
}

static const struct ser_field piix3_fields[] = {PCI_SER(struct piix3, pci), SER_END};

const struct dev_class piix3_class = {
    .name = "piix3",
    .version = 1,
    .inst_bytes = sizeof(struct piix3),
    .fields = piix3_fields,
    .init = piix3_init,
    .fini = piix3_fini,
    .reset = piix3_reset,
    .post_load = piix3_post_load,
};
