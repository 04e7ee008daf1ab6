/* bus/bus_test.c - decoding, splitting, mapping, and the life of a device. */
#include "base/test.h"
#include "bus/bus.h"
#include "bus/dev.h"
#include "bus/irq.h"

#include <string.h>

struct probe {
    struct dev dev;
    u8 mem[64];
    u32 reads, writes, last_bytes;
    bool init_fails;
};
static struct probe *self(struct dev *d) { return container_of(d, struct probe, dev); }
static u64 probe_read(struct dev *d, u64 off, u32 bytes)
{
    u64 v = 0;
    assert_true(!(off & (bytes - 1)) && off + bytes <= sizeof self(d)->mem);
    memcpy(&v, &self(d)->mem[off], bytes);
    self(d)->reads++;
    self(d)->last_bytes = bytes;
    return v;
}
static void probe_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    assert_true(!(off & (bytes - 1)) && off + bytes <= sizeof self(d)->mem);
    assert_int_equal(val & ~mask_bytes(bytes), 0);
    memcpy(&self(d)->mem[off], &val, bytes);
    self(d)->writes++;
    self(d)->last_bytes = bytes;
}
static int probe_init(struct dev *d, const void *cfg, struct err *e)
{
    (void)d;
    return cfg ? err_set(e, E_INVAL, "told to fail") : 0;
}
static const struct ser_field fields[] = {SER_ARRAY(struct probe, mem, 1), SER_END};
static const struct dev_region rows[] = {
    {"bytes", BUS_PORT, true, 0x100, 8, 1, 1, probe_read, probe_write},
    {"words", BUS_MMIO, false, 0, 16, 4, 4, probe_read, probe_write},
    {"wide", BUS_MMIO, false, 0, 64, 1, 8, probe_read, probe_write},
    {"top", BUS_PORT, false, 0, 2, 1, 2, probe_read, probe_write},
    {0},
};
static const struct dev_class probe_class = {.name = "probe",
                                             .version = 1,
                                             .inst_bytes = sizeof(struct probe),
                                             .regions = rows,
                                             .fields = fields,
                                             .init = probe_init};

static struct bus bus;
static struct dev_set set;
static struct probe *p;

static int setup(void **state)
{
    struct err e;
    (void)state;
    assert_int_equal(bus_init(&bus, &e), 0);
    dev_set_init(&set, &bus, NULL, NULL);
    struct dev *d = dev_create(&set, &probe_class, "p0", NULL, &e);
    assert_non_null(d);
    p = self(d);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    dev_set_fini(&set);
    bus_fini(&bus);
    return 0;
}

static void test_ports_split(void **state)
{
    (void)state;
    bus_port_write(&bus, 0x100, 0x44332211, 4);
    assert_int_equal(p->writes, 4);
    assert_int_equal(p->last_bytes, 1);
    assert_int_equal(bus_port_read(&bus, 0x101, 2), 0x3322);
    /* half in, half out */
    assert_int_equal(bus_port_read(&bus, 0xFE, 4), 0x2211FFFF);
    assert_int_equal(bus_port_read(&bus, 0x106, 4), 0xFFFF0000);
    assert_int_equal(bus_port_read(&bus, 0x200, 2), 0xFFFF);
    assert_true(bus.stats.unclaimed_reads >= 3);
}

static void test_port_wrap(void **state)
{
    (void)state;
    assert_int_equal(dev_attach(&p->dev, 3, 0xFFFE, NULL), 0);
    bus_port_write(&bus, 0xFFFF, 0xAABBCCDD, 4);
    assert_int_equal(p->mem[1], 0xDD);
    assert_int_equal(bus_port_read(&bus, 0xFFFF, 4), 0xFFFFFFDD);
    assert_int_equal(dev_attach(&p->dev, 3, 0xFFFF, NULL), E_INVAL);
}

static void test_port_strings(void **state)
{
    u8 out[6] = {1, 2, 3, 4, 5, 6}, in[6] = {0};
    (void)state;
    bus_port_write_string(&bus, 0x102, out, 2, 3);
    assert_int_equal(p->writes, 6);
    assert_int_equal(p->mem[2], 5);
    assert_int_equal(p->mem[3], 6);
    bus_port_read_string(&bus, 0x103, in, 1, 2);
    assert_memory_equal(in, "\6\6", 3);
    bus_port_read_string(&bus, 0xFFFF, in, 2, 1); /* nobody; wraps */
    assert_memory_equal(in, "\xFF\xFF", 2);
}

static void test_mmio_sizes(void **state)
{
    (void)state;
    assert_int_equal(dev_attach(&p->dev, 1, 0x1000, NULL), 0);
    bus_mmio_write(&bus, 0x1000, 0x8877665544332211ull, 8);
    assert_int_equal(p->writes, 2);
    assert_int_equal(bus_mmio_read(&bus, 0x1001, 1), 0x22);   /* taken out of the unit */
    assert_int_equal(bus_mmio_read(&bus, 0x1003, 2), 0x5544); /* across units */
    bus_mmio_write(&bus, 0x1000, 0xAB, 1);                    /* zero-extended */
    assert_int_equal(bus_mmio_read(&bus, 0x1000, 4), 0xAB);
    bus_mmio_write(&bus, 0x1002, 0xCD, 1); /* no byte enables */
    assert_int_equal(bus_mmio_read(&bus, 0x1000, 4), 0xAB);
    assert_int_equal(bus.stats.narrow_writes, 1);
    assert_int_equal(bus_mmio_read(&bus, 0x100E, 4), 0xFFFF0000);
    assert_int_equal(bus_mmio_read(&bus, UINT64_MAX, 8), UINT64_MAX);
}

static void test_mmio_wide(void **state)
{
    (void)state;
    assert_int_equal(dev_attach(&p->dev, 2, 0x2000, NULL), 0);
    for (u32 at = 0; at < 56; at++)
        for (u32 bytes = 1; bytes <= 8; bytes *= 2) {
            u64 v = 0x0123456789ABCDEFull * (at + 1) & mask_bytes(bytes);
            bus_mmio_write(&bus, 0x2000 + at, v, bytes);
            assert_int_equal(bus_mmio_read(&bus, 0x2000 + at, bytes), v);
        }
}

static void test_overlap_and_move(void **state)
{
    struct err e;
    (void)state;
    assert_int_equal(dev_attach(&p->dev, 1, 0x1000, &e), 0);
    assert_int_equal(dev_attach(&p->dev, 2, 0x0FC1, &e), E_BUSY);
    assert_int_equal(dev_attach(&p->dev, 2, 0x100F, &e), E_BUSY);
    assert_int_equal(dev_attach(&p->dev, 2, 0x0FC0, &e), 0);
    assert_ptr_equal(bus_find(&bus, BUS_MMIO, 0x0FFF), &p->dev.region[2]);
    assert_ptr_equal(bus_find(&bus, BUS_MMIO, 0x1000), &p->dev.region[1]);
    assert_int_equal(dev_attach(&p->dev, 1, 0x9000, &e), 0);
    assert_null(bus_find(&bus, BUS_MMIO, 0x1000));
    assert_int_equal(dev_attach(&p->dev, 1, UINT64_MAX - 3, &e), E_INVAL);
    assert_int_equal(dev_attach(&p->dev, 3, 0x107, &e), E_BUSY);
    assert_null(dev_create(&set, &probe_class, "p0", NULL, &e)); /* name */
    assert_null(dev_create(&set, &probe_class, "p1", NULL, &e)); /* ports */
    assert_null(dev_create(&set, &probe_class, "p2", "fail", &e));
    assert_int_equal(e.code, E_INVAL);
    assert_non_null(dev_find(&set, "p0"));
    assert_null(dev_find(&set, "p1"));
}

static u32 seen[2];
static void sink(void *ctx, u32 input, bool level)
{
    (void)ctx;
    seen[input] += level ? 1 : 0x100;
}
static void test_irq(void **state)
{
    struct irq_pin pin = {0};
    struct irq_line a, b;
    (void)state;
    seen[0] = seen[1] = 0;
    irq_pin_route(&pin, sink, NULL, 0);
    irq_pin_route(&pin, sink, NULL, 1);
    irq_line_init(&a, &pin);
    irq_line_init(&b, &pin);
    irq_set(&a, true);
    irq_set(&a, true);
    irq_set(&b, true);
    irq_set(&a, false);
    assert_int_equal(seen[0], 1);
    irq_set(&b, false);
    assert_int_equal(seen[1], 0x101);
    irq_pulse(&a);
    assert_int_equal(seen[0], 0x202);
    irq_set(&a, true);
    irq_pin_cut(&pin);
    irq_set(&a, false); /* nobody is told */
    assert_int_equal(seen[0], 0x203);
}

static void test_msi(void **state)
{
    struct intr_msg m;
    (void)state;
    assert_true(intr_from_msi(0xFEE0300C, 0x4041, &m));
    assert_int_equal(m.dest, 3);
    assert_int_equal(m.vector, 0x41);
    assert_int_equal(m.mode, INTR_LOWEST);
    assert_true(m.logical && !m.level);
    assert_true(intr_from_msi(0xFEEFF004, 0x41, &m));
    assert_true(m.logical && m.mode == INTR_FIXED && m.dest == 0xFF);
    assert_false(intr_from_msi(0xFEF00000, 0x41, &m));
    assert_false(intr_from_msi(0x1FEE00000, 0x41, &m));
    assert_false(intr_from_msi(0xFEE00000, 0x8041, &m));
}

static void test_save_load(void **state)
{
    struct ser_buf b;
    struct err e;
    (void)state;
    ser_buf_init(&b);
    p->mem[5] = 77;
    assert_int_equal(dev_save_all(&set, &b, &e), 0);
    p->mem[5] = 0;
    struct ser_view v = {b.data, b.bytes, 0};
    assert_int_equal(dev_load_all(&set, &v, &e), 0);
    assert_int_equal(p->mem[5], 77);
    ser_buf_fini(&b);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        UNIT(test_ports_split), UNIT(test_port_wrap),        UNIT(test_mmio_sizes),
        UNIT(test_mmio_wide),   UNIT(test_overlap_and_move), UNIT(test_irq),
        UNIT(test_msi),         UNIT(test_save_load),        UNIT(test_port_strings)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
