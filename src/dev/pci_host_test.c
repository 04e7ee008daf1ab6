/* dev/pci_host_test.c - configuration cycles, BARs, interrupt routing, DMA, reset control. */
#include "bus/dma.h"
#include "dev/pci_host.h"
#include "dev/test_storm.h"

enum { ADDR = 0xCF8, DATA = 0xCFC, NIC = 3 << 3, FOE = 4 << 3 };

struct card {
    struct dev dev;
    struct pci_fn pci;
    u32 reg;
};
static struct card *card(struct dev *d) { return container_of(d, struct card, dev); }
static u64 card_read(struct dev *d, u64 off, u32 bytes)
{
    (void)off, (void)bytes;
    return card(d)->reg;
}
static void card_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)off, (void)bytes;
    card(d)->reg = (u32)val;
}
struct card_cfg {
    struct pci_bus *bus;
    u8 devfn;
};
static int card_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct card_cfg *c = cfg;
    struct pci_fn *f = &card(d)->pci;
    int rc = pci_fn_init(f, d, c->bus, c->devfn, e);
    if (rc < 0) return rc;
    pci_fn_set_ids(f,
                   &(struct pci_fn_cfg){
                       .vendor = 0x1234, .device = 0x5678, .class_code = 0x020000, .int_pin = 1});
    pci_fn_add_bar(f, 0, 0, 0);
    pci_fn_add_bar(f, 1, 1, BAR_IO);
    pci_fn_add_bar(f, 2, 2, BAR_64 | BAR_PREFETCH);
    assert_int_equal(pci_fn_add_cap(f, 0x09, 16), 0x40);
    assert_int_equal(pci_fn_add_cap(f, 0x11, 12), 0x50);
    return 0;
}
static void card_fini(struct dev *d) { pci_fn_fini(&card(d)->pci); }
static void card_reset(struct dev *d) { pci_fn_reset(&card(d)->pci); }
static void card_post_load(struct dev *d) { pci_fn_post_load(&card(d)->pci); }
static const struct ser_field card_fields[] = {PCI_SER(struct card, pci), SER(struct card, reg, 1),
                                               SER_END};
static const struct dev_region card_regions[] = {
    {"bar0", BUS_MMIO, false, 0, 0x1000, 4, 4, card_read, card_write},
    {"bar1", BUS_PORT, false, 0, 0x20, 1, 4, card_read, card_write},
    {"bar2", BUS_MMIO, false, 0, 0x4000, 4, 4, card_read, card_write},
    {0},
};
static const struct dev_class card_class = {.name = "card",
                                            .version = 1,
                                            .inst_bytes = sizeof(struct card),
                                            .regions = card_regions,
                                            .fields = card_fields,
                                            .init = card_init,
                                            .fini = card_fini,
                                            .reset = card_reset,
                                            .post_load = card_post_load};

static struct rig r;
static struct mem mem;
static struct pci_bus pci;
static struct dev *host, *isa, *nic, *foe;
static struct irq_pin gsi[16];
static u32 level, msis;
static struct intr_msg last;

static void on_gsi(void *ctx, u32 n, bool l)
{
    (void)ctx;
    level = l ? level | 1u << n : level & ~(1u << n);
}
static void on_msi(void *ctx, const struct intr_msg *m)
{
    (void)ctx;
    last = *m;
    msis++;
}
static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    rig_init(&r);
    memset(gsi, 0, sizeof gsi);
    level = msis = 0;
    for (u32 i = 0; i < 16; i++) irq_pin_route(&gsi[i], on_gsi, NULL, i);
    assert_int_equal(mem_init(&mem, &e), 0);
    assert_int_equal(mem_add(&mem, 0, MIB(1), false, &e), 0);
    pci_bus_init(&pci, &r.bus, &mem, (struct intr_sink){on_msi, NULL});
    host = rig_create(&r, &i440fx_class, &(struct i440fx_cfg){.pci = &pci});
    isa = rig_create(&r, &piix3_class, &(struct piix3_cfg){&pci, gsi, {10, 10, 11, 11}});
    nic = dev_create(&r.set, &card_class, "nic", &(struct card_cfg){&pci, NIC}, &e);
    foe = dev_create(&r.set, &card_class, "foe", &(struct card_cfg){&pci, FOE}, &e);
    assert_true(nic && foe);
    assert_null(dev_create(&r.set, &card_class, "dup", &(struct card_cfg){&pci, NIC}, &e));
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&r, host);
    rig_save_load_compare(&r, isa);
    rig_save_load_compare(&r, nic);
    for (u32 i = 0; i < 64; i++) { /* storms that hit configuration space */
        bus_port_write(&r.bus, ADDR, 0x80000000u | (i % 5) << 11 | (i * 4 & 0xFC), 4);
        rig_storm(&r, host, 200);
    }
    rig_save_load_compare(&r, nic);
    rig_damaged_loads(&r, host, 500);
    rig_damaged_loads(&r, isa, 500);
    rig_damaged_loads(&r, nic, 500);
    rig_fini(&r);
    mem_fini(&mem);
    return 0;
}
static void select_reg(u32 devfn, u32 off)
{
    bus_port_write(&r.bus, ADDR, 0x80000000u | devfn << 8 | (off & 0xFC), 4);
}
static u32 get(u32 devfn, u32 off, u32 bytes)
{
    select_reg(devfn, off);
    return (u32)bus_port_read(&r.bus, (u16)(DATA + (off & 3)), bytes);
}
static void put(u32 devfn, u32 off, u32 v, u32 bytes)
{
    select_reg(devfn, off);
    bus_port_write(&r.bus, (u16)(DATA + (off & 3)), v, bytes);
}

static void test_ids(void **state)
{
    (void)state;
    out8(&r, 0xCFB, 1); /* how kernels tell mechanism #1 */
    select_reg(0, 0);
    assert_int_equal(bus_port_read(&r.bus, ADDR, 4), 0x80000000);
    assert_int_equal(get(0, 0, 4), 0x12378086);
    assert_int_equal(get(8, 0, 4), 0x70008086);
    assert_int_equal(get(8, 0x0E, 1), 0x80);
    assert_int_equal(get(8, 0x0A, 2), 0x0601);
    assert_int_equal(get(NIC, 0x34, 1), 0x50);
    assert_int_equal(get(NIC, 0x50, 2), 0x4011);
    assert_int_equal(get(5 << 3, 0, 4), UINT32_MAX);
    assert_int_equal(get(0x100, 0, 4), UINT32_MAX); /* bus 1 */
    put(NIC, 0, 0, 4);
    assert_int_equal(get(NIC, 0, 4), 0x56781234);
    bus_port_write(&r.bus, ADDR, 0, 4);
    assert_int_equal(bus_port_read(&r.bus, DATA, 4), UINT32_MAX);
}

static void test_bars(void **state)
{
    (void)state;
    put(NIC, 0x10, UINT32_MAX, 4);
    assert_int_equal(get(NIC, 0x10, 4), 0xFFFFF000);
    put(NIC, 0x14, UINT32_MAX, 4);
    assert_int_equal(get(NIC, 0x14, 4), 0xFFFFFFE1);
    put(NIC, 0x18, UINT32_MAX, 4);
    put(NIC, 0x1C, UINT32_MAX, 4);
    assert_int_equal(get(NIC, 0x18, 4), 0xFFFFC00C);
    assert_int_equal(get(NIC, 0x1C, 4), UINT32_MAX);
    put(NIC, 0x10, 0xE0000000, 4);
    put(NIC, 0x14, 0xC000, 4);
    put(NIC, 0x18, 0, 4);
    put(NIC, 0x1C, 0x80, 4);
    assert_int_equal(bus_mmio_read(&r.bus, 0xE0000000, 4), UINT32_MAX);
    put(NIC, 4, CMD_IO | CMD_MEM, 2);
    bus_mmio_write(&r.bus, 0xE0000FFC, 0x1234, 4);
    assert_int_equal(bus_port_read(&r.bus, 0xC01C, 4), 0x1234);
    assert_int_equal(bus_mmio_read(&r.bus, 0x8000000000, 4), 0x1234);
    put(NIC, 0x10, 0xE0100000, 4); /* moved while decoding */
    assert_int_equal(bus_mmio_read(&r.bus, 0xE0000000, 4), UINT32_MAX);
    assert_int_equal(bus_mmio_read(&r.bus, 0xE0100000, 4), 0x1234);
}

static void test_bar_conflict_heals(void **state)
{
    struct err e;
    (void)state;
    card(nic)->reg = 1;
    card(foe)->reg = 2;
    assert_int_equal(pci_set_bar(&card(nic)->pci, 0, 0xE0000000, &e), 0);
    assert_int_equal(pci_set_bar(&card(foe)->pci, 0, 0xE0000000, &e), E_BUSY);
    assert_int_equal(pci_set_bar(&card(foe)->pci, 0, 0xE0000010, &e), E_INVAL);
    assert_int_equal(bus_mmio_read(&r.bus, 0xE0000000, 4), 1);
    put(NIC, 0x10, 0xE0008000, 4);
    assert_int_equal(bus_mmio_read(&r.bus, 0xE0000000, 4), 2);
    assert_true(r.bus.stats.bar_conflicts > 0);
    put(NIC, 0x14, 0x0CF8 & ~31u, 4); /* over the configuration ports themselves */
    put(NIC, 4, CMD_IO | CMD_MEM, 2);
    assert_int_equal(get(0, 0, 4), 0x12378086);
}

static void test_intx(void **state)
{
    (void)state;
    pci_intx(&card(nic)->pci, true); /* device 3 pin A: PIRQC -> 11 */
    assert_int_equal(level, 1u << 11);
    assert_int_equal(get(NIC, 6, 2) & 8, 8);
    put(NIC, 4, CMD_INTX_OFF, 2);
    assert_int_equal(level, 0);
    put(NIC, 4, 0, 2);
    put(8, 0x62, 0x05, 1);
    assert_int_equal(level, 1u << 5);
    put(8, 0x62, 0x02, 1); /* reserved */
    assert_int_equal(level, 0);
    put(8, 0x62, 0x0B, 1);
    put(8, 0x63, 0x0A, 1);
    pci_intx(&card(foe)->pci, true); /* device 4 pin A: PIRQD -> 10 */
    assert_int_equal(level, 3u << 10);
    pci_intx(&card(nic)->pci, false);
    pci_intx(&card(foe)->pci, false);
    assert_int_equal(level, 0);
}

static void test_dma(void **state)
{
    const struct pci_fn *f = &card(nic)->pci;
    u32 v = 0x4041;
    (void)state;
    assert_int_equal(dma_write(f, 0x1000, &v, 4), E_GUEST);
    assert_int_equal(dma_read(f, 0x1000, &v, 4), E_GUEST);
    assert_int_equal(v, UINT32_MAX);
    put(NIC, 4, CMD_MASTER, 2);
    v = 0x41;
    assert_int_equal(dma_write(f, 0x1000, &v, 4), 0);
    v = 0;
    assert_int_equal(dma_read(f, 0x1000, &v, 4), 0);
    assert_int_equal(v, 0x41);
    assert_int_equal(dma_write(f, MIB(8), &v, 4), E_GUEST);
    assert_int_equal(dma_write(f, 0xFEE02000, &v, 4), 0);
    assert_true(msis == 1 && last.dest == 2 && last.vector == 0x41);
}

static void test_reset_control(void **state)
{
    (void)state;
    out8(&r, 0xCF9, 0x02);
    assert_int_equal(r.resets, 0);
    out8(&r, 0xCF9, 0x06);
    assert_int_equal(r.resets, 1);
    assert_int_equal(in8(&r, 0xCF9), 0x06);
    bus_port_write(&r.bus, 0xCF8, 0, 4);
    assert_int_equal(r.resets, 1);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        UNIT(test_ids),  UNIT(test_bars), UNIT(test_bar_conflict_heals),
        UNIT(test_intx), UNIT(test_dma),  UNIT(test_reset_control)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
