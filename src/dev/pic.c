/* dev/pic.c - two cascaded 8259A.
 *
 * A request reaches INT when its priority is above everything in service. Priorities rotate:
 * `lowest` names the input of lowest priority. The slave's INT is the master's input 2, recomputed
 * after every change instead of being wired. Edge-triggered requests are latched until
 * acknowledged; level-triggered ones (ELCR) follow their input.
 * Spec: 8259A data sheet (231468-003); PIIX3 (290550) for ELCR.  Threads: under the bus lock. */
#include "dev/pic.h"

enum { MASTER, SLAVE, CHIPS };
enum { PIC_CMD = 0, PIC_DATA = 1, PIC_PORTS = 2, CASCADE = 2 };
enum { ICW1_IC4 = 1 << 0, ICW1_SINGLE = 1 << 1, ICW1 = 1 << 4 };
enum { ICW4_AEOI = 1 << 1, ICW4_SFNM = 1 << 4 };
enum {
    OCW3 = 1 << 3,
    OCW3_RIS = 1 << 0,
    OCW3_RR = 1 << 1,
    OCW3_POLL = 1 << 2,
    OCW3_SMM = 1 << 5,
    OCW3_ESMM = 1 << 6
};
enum { STEP_READY, STEP_ICW2, STEP_ICW3, STEP_ICW4 };

struct pic_chip {
    u8 irr, isr, imr, level; /* one bit per input; level: what the wire does now */
    u8 elcr;                 /* level-triggered inputs                           */
    u8 base;                 /* ICW2: vector of input 0                          */
    u8 icw1, icw4;
    u8 step;   /* next initialisation word expected (STEP_x)           */
    u8 lowest; /* input of lowest priority                             */
    bool smm, rotate_aeoi, read_isr, poll;
};
struct pic {
    struct dev dev;
    struct irq_line intr;
    struct pic_chip chip[CHIPS];
};
static const u8 elcr_mask[CHIPS] = {0xF8, 0xDE};

static struct pic *self(struct dev *d) { return container_of(d, struct pic, dev); }

/* Priority (0 highest) of the most urgent bit of @set, 8 when empty. */
static u32 priority(const struct pic_chip *c, u8 set)
{
    u32 top = (c->lowest + 1u) & 7;
    u32 rotated = (((u32)set | (u32)set << 8) >> top) & 0xFF;
    return rotated ? (u32)__builtin_ctz(rotated) : 8;
}

/* Input to be served now, or -1. */
static int request(const struct pic *p, u32 n)
{
    const struct pic_chip *c = &p->chip[n];
    u8 busy = c->isr;
    u32 want = priority(c, c->irr & (u8)~c->imr);
    if (want == 8) return -1;
    if (c->smm) busy &= (u8)~c->imr;
    if ((c->icw4 & ICW4_SFNM) && n == MASTER) busy &= (u8) ~(1u << CASCADE);
    return want < priority(c, busy) ? (int)((want + c->lowest + 1) & 7) : -1;
}

static void update(struct pic *p)
{
    u8 cascade = 1u << CASCADE;
    if (request(p, SLAVE) >= 0) p->chip[MASTER].irr |= cascade;
    else p->chip[MASTER].irr &= (u8)~cascade;
    irq_set(&p->intr, request(p, MASTER) >= 0);
}

void pic_set(void *dev, u32 input, bool level)
{
    struct pic *p = self(dev);
    struct pic_chip *c = &p->chip[input >> 3 & 1];
    u8 bit = (u8)(1u << (input & 7));
    if (input == CASCADE || input > 15) return;
    if (c->elcr & bit) c->irr = (u8)(level ? c->irr | bit : c->irr & ~bit);
    else if (level && !(c->level & bit)) c->irr |= bit;
    c->level = (u8)(level ? c->level | bit : c->level & ~bit);
    update(p);
}

/* The INTA cycle's effect on one chip. */
static void acknowledge(struct pic_chip *c, u32 input)
{
    u8 bit = (u8)(1u << input);
    if (!(c->icw4 & ICW4_AEOI)) c->isr |= bit;
    else if (c->rotate_aeoi) c->lowest = (u8)input;
    if (!(c->elcr & bit)) c->irr &= (u8)~bit;
}

/* A request that vanished meanwhile is answered as input 7, without an in-service bit (data sheet,
 * "spurious"). */
u8 pic_ack(void *dev)
{
    struct pic *p = self(dev);
    int in = request(p, MASTER);
    u8 vector = p->chip[MASTER].base | 7;
    if (in >= 0) {
        acknowledge(&p->chip[MASTER], (u32)in);
        vector = (u8)(p->chip[MASTER].base + in);
    }
    if (in == CASCADE) {
        in = request(p, SLAVE);
        vector = p->chip[SLAVE].base | 7;
        if (in >= 0) {
            acknowledge(&p->chip[SLAVE], (u32)in);
            vector = (u8)(p->chip[SLAVE].base + in);
        }
    }
    update(p);
    return vector;
}

/* ---- ports ----------------------------------------------------------------------------------- */

/* Restarts the chip: edges forgotten, masks and modes cleared, input 7 lowest. */
static void write_icw1(struct pic_chip *c, u8 val)
{
    c->irr &= c->elcr;
    c->imr = c->isr = 0;
    c->lowest = 7;
    c->smm = c->rotate_aeoi = c->read_isr = c->poll = false;
    c->icw1 = val;
    c->icw4 = 0;
    c->step = STEP_ICW2;
}

/* OCW2: 7 rotate | 6 specific | 5 end of interrupt | 2..0 input */
static void write_ocw2(struct pic_chip *c, u8 val)
{
    u32 in = val & 7;
    if (!(val & 0x40)) { /* not specific: the highest in service */
        u32 prio = priority(c, c->isr);
        if (!(val & 0x20)) {
            c->rotate_aeoi = val & 0x80;
            return;
        }
        if (prio == 8) return;
        in = (prio + c->lowest + 1) & 7;
    } else if (!(val & 0xA0)) {
        return; /* no operation */
    }
    if (val & 0x20) c->isr &= (u8) ~(1u << in);
    if (val & 0x80) c->lowest = (u8)in;
}

static void write_ocw3(struct pic_chip *c, u8 val)
{
    if (val & OCW3_ESMM) c->smm = val & OCW3_SMM;
    if (val & OCW3_POLL) c->poll = true;
    else if (val & OCW3_RR) c->read_isr = val & OCW3_RIS;
}

static void write_data(struct pic_chip *c, u8 val)
{
    switch (c->step) {
    case STEP_ICW2:
        c->base = val & 0xF8;
        c->step = c->icw1 & ICW1_SINGLE ? (c->icw1 & ICW1_IC4 ? STEP_ICW4 : STEP_READY) : STEP_ICW3;
        break;
    case STEP_ICW3: c->step = c->icw1 & ICW1_IC4 ? STEP_ICW4 : STEP_READY; break;
    case STEP_ICW4:
        c->icw4 = val;
        c->step = STEP_READY;
        break;
    default: c->imr = val; break; /* OCW1 */
    }
}

static void chip_write(struct pic *p, u32 n, u64 off, u8 val)
{
    struct pic_chip *c = &p->chip[n];
    if (off == PIC_DATA) write_data(c, val);
    else if (val & ICW1) write_icw1(c, val);
    else if (val & OCW3) write_ocw3(c, val);
    else write_ocw2(c, val);
    update(p);
}

static u8 chip_poll(struct pic *p, u32 n)
{
    int in = request(p, n);
    p->chip[n].poll = false;
    if (in < 0) return 0;
    acknowledge(&p->chip[n], (u32)in);
    update(p);
    return (u8)(0x80 | in);
}

static u64 chip_read(struct pic *p, u32 n, u64 off)
{
    const struct pic_chip *c = &p->chip[n];
    if (c->poll) return chip_poll(p, n);
    if (off == PIC_DATA) return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static u64 master_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return chip_read(self(d), MASTER, off);
}
static u64 slave_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return chip_read(self(d), SLAVE, off);
}
static void master_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    chip_write(self(d), MASTER, off, (u8)val);
}
static void slave_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    chip_write(self(d), SLAVE, off, (u8)val);
}
static u64 elcr_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return self(d)->chip[off & 1].elcr;
}
/* Inputs that become level-triggered follow their wire from now on. */
static void elcr_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct pic_chip *c = &self(d)->chip[off & 1];
    (void)bytes;
    c->elcr = (u8)val & elcr_mask[off & 1];
    c->irr = (u8)((c->irr & ~c->elcr) | (c->level & c->elcr));
    update(self(d));
}

/* ---- class ----------------------------------------------------------------------------------- */

static int pic_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct pic_cfg *c = cfg;
    (void)e;
    irq_line_init(&self(d)->intr, c->intr);
    return 0;
}

static void pic_reset(struct dev *d)
{
    struct pic *p = self(d);
    for (u32 n = 0; n < CHIPS; n++) {
        u8 level = p->chip[n].level; /* the wires are not ours */
        p->chip[n] = (struct pic_chip){.lowest = 7, .imr = 0xFF, .level = level};
    }
    update(p);
}

static int pic_validate(const struct dev *d, struct err *e)
{
    const struct pic *p = container_of(d, const struct pic, dev);
    for (u32 n = 0; n < CHIPS; n++)
        if (p->chip[n].lowest > 7 || p->chip[n].step > STEP_ICW4 || (p->chip[n].base & 7))
            return err_set(e, E_FORMAT, "8259A state out of range");
    return 0;
}

static void pic_post_load(struct dev *d) { update(self(d)); }

#define CHIP(n)                                                                                    \
    SER(struct pic, chip[n].irr, 1), SER(struct pic, chip[n].isr, 1),                              \
        SER(struct pic, chip[n].imr, 1), SER(struct pic, chip[n].level, 1),                        \
        SER(struct pic, chip[n].elcr, 1), SER(struct pic, chip[n].base, 1),                        \
        SER(struct pic, chip[n].icw1, 1), SER(struct pic, chip[n].icw4, 1),                        \
        SER(struct pic, chip[n].step, 1), SER(struct pic, chip[n].lowest, 1),                      \
        SER(struct pic, chip[n].smm, 1), SER(struct pic, chip[n].rotate_aeoi, 1),                  \
        SER(struct pic, chip[n].read_isr, 1), SER(struct pic, chip[n].poll, 1)
static const struct ser_field pic_fields[] = {CHIP(0), CHIP(1), SER_END};

static const struct dev_region pic_regions[] = {
    {"pic-master", BUS_PORT, true, 0x20, PIC_PORTS, 1, 1, master_read, master_write},
    {"pic-slave", BUS_PORT, true, 0xA0, PIC_PORTS, 1, 1, slave_read, slave_write},
    {"pic-elcr", BUS_PORT, true, 0x4D0, CHIPS, 1, 1, elcr_read, elcr_write},
    {0},
};

const struct dev_class pic_class = {
    .name = "pic",
    .version = 1,
    .inst_bytes = sizeof(struct pic),
    .regions = pic_regions,
    .fields = pic_fields,
    .init = pic_init,
    .reset = pic_reset,
    .validate = pic_validate,
    .post_load = pic_post_load,
};
