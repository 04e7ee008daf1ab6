/* dev/lapic_test.c - local APICs: priorities, EOI, IPIs and their destinations, timers, x2APIC,
 * ExtINT, errors. */
#include "dev/lapic.h"
#include "dev/test_storm.h"

enum { CPUS = 4 };
enum {
    ID = 0x20,
    TPR = 0x80,
    PPR = 0xA0,
    EOI = 0xB0,
    LDR = 0xD0,
    DFR = 0xE0,
    SVR = 0xF0,
    ISR = 0x100,
    IRR = 0x200,
    ESR = 0x280,
    ICR = 0x300,
    ICR_HI = 0x310,
    LVT_T = 0x320,
    LVT_0 = 0x350,
    LVT_1 = 0x360,
    LVT_E = 0x370,
    T_INIT = 0x380,
    T_CUR = 0x390,
    T_DIV = 0x3E0
};

static struct rig r;
static struct lapic_set set;
static struct dev *devs[CPUS];
static struct {
    bool intr;
    u32 nmi, init, sipi;
    u8 sipi_vector;
} cpu[CPUS];
static u32 eois;
static u8 eoi_vector, ext_vector;

static void on_intr(void *ctx, u32 n, bool pending)
{
    (void)ctx;
    cpu[n].intr = pending;
}
static void on_nmi(void *ctx, u32 n)
{
    (void)ctx;
    cpu[n].nmi++;
}
static void on_init(void *ctx, u32 n)
{
    (void)ctx;
    cpu[n].init++;
}
static void on_sipi(void *ctx, u32 n, u8 v)
{
    (void)ctx;
    cpu[n].sipi++;
    cpu[n].sipi_vector = v;
}
static void on_eoi(void *ctx, u8 v)
{
    (void)ctx;
    eois++;
    eoi_vector = v;
}
static u8 ext_ack(void *ctx)
{
    (void)ctx;
    return ext_vector;
}

static u32 get(u32 n, u32 off)
{
    return (u32)lapic_mmio_read(set.lapic[n], LAPIC_BASE_DEFAULT + off, 4);
}
static void put(u32 n, u32 off, u32 v)
{
    lapic_mmio_write(set.lapic[n], LAPIC_BASE_DEFAULT + off, v, 4);
}
static void storm(void)
{
    u64 x = 0x123456789ull, v;
    for (u32 i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        struct lapic *l = set.lapic[x % CPUS];
        u32 bytes = 1u << (x >> 60 & 3);
        if (bytes > 8) bytes = 8;
        if (x >> 10 & 1) lapic_mmio_write(l, x >> 12 & 0xFFF, x >> 24, bytes);
        if (x >> 11 & 1) (void)lapic_mmio_read(l, x >> 12 & 0xFFF, bytes);
        if (!(x >> 11 & 7)) (void)lapic_ack(l);
        if (!(x >> 14 & 7) && lapic_msr_write(l, 0x800 | (x >> 20 & 0xFF), x >> 30 & 0xFFFFF))
            (void)!lapic_msr_read(l, 0x800, &v);
        if (!(x >> 17 & 127))
            (void)!lapic_msr_write(l, MSR_LAPIC_BASE, LAPIC_BASE_DEFAULT | (x >> 50 & 3) << 10);
        if (!(x >> 19 & 31)) (void)!lapic_msr_write(l, MSR_LAPIC_TSC_DEADLINE, x);
        if (!(x >> 21 & 31)) {
            clk_advance(&r.clk, x >> 40);
            clk_run(&r.clk);
        }
    }
}

static int setup(void **state)
{
    static const struct intr_cpu_ops ops = {on_intr, on_nmi, on_init, on_sipi};
    (void)state;
    rig_init(&r);
    memset(cpu, 0, sizeof cpu);
    eois = 0;
    set = (struct lapic_set){.clk = &r.clk,
                             .cpu = {&ops, NULL},
                             .extint = {ext_ack, NULL},
                             .eoi = on_eoi,
                             .tsc_khz = 2000000};
    for (u32 n = 0; n < CPUS; n++) {
        char name[] = {'l', (char)('0' + n), 0};
        struct err e;
        devs[n] = dev_create(&r.set, &lapic_class, name, &(struct lapic_cfg){&set, n, n}, &e);
        assert_non_null(devs[n]);
        put(n, SVR, 0x1FF);
    }
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    for (u32 n = 0; n < CPUS; n++) rig_save_load_compare(&r, devs[n]);
    for (u32 n = 0; n < CPUS; n++) rig_damaged_loads(&r, devs[n], 500);
    storm();
    rig_fini(&r);
    return 0;
}
static void fixed(u32 dest, u8 vector, bool level)
{
    lapic_send(&set, &(struct intr_msg){.dest = dest, .vector = vector, .level = level});
}

static void test_priority(void **state)
{
    struct lapic *l = set.lapic[1];
    (void)state;
    fixed(1, 0x31, false);
    assert_true(cpu[1].intr && !cpu[0].intr);
    lapic_tpr_set(l, 3);
    assert_false(cpu[1].intr);
    assert_int_equal(get(1, TPR), 0x30);
    assert_int_equal(lapic_ack(l), -1);
    lapic_tpr_set(l, 2);
    assert_int_equal(lapic_ack(l), 0x31);
    assert_false(cpu[1].intr);
    assert_int_equal(get(1, PPR), 0x30);
    assert_int_equal(get(1, ISR + 0x10), 1u << 17);
    fixed(1, 0x3F, false); /* same class waits */
    assert_false(cpu[1].intr);
    fixed(1, 0xFF, true);
    assert_int_equal(lapic_ack(l), 0xFF);
    put(1, EOI, 0);
    assert_int_equal(eois, 1);
    assert_int_equal(eoi_vector, 0xFF);
    put(1, EOI, 0);
    assert_int_equal(eois, 1); /* 31h was an edge */
    assert_int_equal(lapic_ack(l), 0x3F);
    put(1, EOI, 0);
    put(1, EOI, 0); /* nothing in service: harmless */
    assert_int_equal(lapic_ack(l), -1);
}

static void test_disabled(void **state)
{
    (void)state;
    put(1, LVT_E, 0xFE);
    put(1, SVR, 0xFF);
    assert_int_equal(get(1, LVT_E), 0x100FE);
    put(1, LVT_E, 0xFE);
    assert_int_equal(get(1, LVT_E), 0x100FE);
    fixed(1, 0x31, false);
    assert_false(cpu[1].intr);
    lapic_send(&set, &(struct intr_msg){.dest = 1, .mode = INTR_NMI});
    assert_int_equal(cpu[1].nmi, 1);
}

static void test_ipi(void **state)
{
    (void)state;
    put(0, ICR_HI, 2u << 24);
    put(0, ICR, 0x4500); /* INIT */
    assert_true(cpu[2].init == 1 && cpu[1].init == 0);
    assert_int_equal(get(2, SVR), 0xFF);
    put(0, ICR, 0x8500); /* de-assert */
    assert_int_equal(cpu[2].init, 1);
    put(0, ICR, 0x4608);
    assert_true(cpu[2].sipi == 1 && cpu[2].sipi_vector == 8);
    put(0, ICR, 0xC4000 | 0x41); /* all but self */
    /* 2 is disabled by INIT */
    assert_true(!cpu[0].intr && cpu[1].intr && !cpu[2].intr && cpu[3].intr);
    put(0, ICR, 0x44000 | 0x42);
    assert_int_equal(lapic_ack(set.lapic[0]), 0x42);
    put(3, ICR, 0xC4000 | 0x400); /* NMI */
    assert_true(cpu[0].nmi == 1 && cpu[3].nmi == 0);
    put(0, ICR_HI, 0xFFu << 24);
    put(0, ICR, 0x4043);                       /* physical broadcast */
    assert_int_equal(get(1, IRR + 0x20), 0xA); /* 41h and 43h */
}

static void test_logical(void **state)
{
    (void)state;
    for (u32 n = 0; n < CPUS; n++) put(n, LDR, 1u << (24 + n));
    lapic_send(&set, &(struct intr_msg){.dest = 0x0A, .vector = 0x50, .logical = true});
    assert_true(!cpu[0].intr && cpu[1].intr && !cpu[2].intr && cpu[3].intr);
    for (u32 n = 0; n < CPUS; n++) {
        put(n, DFR, 0);
        put(n, LDR, (n / 2) << 28 | 1u << (24 + n % 2));
    }
    lapic_send(&set, &(struct intr_msg){.dest = 0x12, .vector = 0x60, .logical = true});
    assert_int_equal(get(3, IRR + 0x30), 1);
    assert_int_equal(get(1, IRR + 0x30), 0);
}

static void test_lowest(void **state)
{
    (void)state;
    for (u32 n = 0; n < CPUS; n++) put(n, LDR, 1u << (24 + n));
    lapic_tpr_set(set.lapic[0], 5);
    const struct intr_msg m = {.dest = 0x0F, .vector = 0x70, .mode = INTR_LOWEST, .logical = true};
    for (u32 i = 0; i < 3; i++) {
        lapic_send(&set, &m);
        for (u32 n = 0; n < CPUS; n++) /* now busier than the rest */
            if (cpu[n].intr) assert_int_equal(lapic_ack(set.lapic[n]), 0x70);
    }
    for (u32 n = 0; n < CPUS; n++) assert_int_equal(get(n, ISR + 0x30), n ? 1u << 16 : 0);
}

static void test_timer(void **state)
{
    struct lapic *l = set.lapic[0];
    u32 n = 0;
    (void)state;
    put(0, T_DIV, 0x3); /* 16 */
    put(0, LVT_T, 0x20030);
    put(0, T_INIT, 62500); /* 1 ms */
    rig_run(&r, 500000);
    assert_in_range(get(0, T_CUR), 31240, 31260);
    for (u32 i = 0; i < 10; i++) {
        rig_run(&r, 1000000);
        if (lapic_ack(l) == 0x30) n++;
        put(0, EOI, 0);
    }
    assert_int_equal(n, 10);
    put(0, LVT_T, 0x31); /* one-shot */
    put(0, T_INIT, 62500);
    rig_run(&r, 900000);
    assert_false(cpu[0].intr);
    rig_run(&r, 200000);
    assert_int_equal(lapic_ack(l), 0x31);
    assert_int_equal(get(0, T_CUR), 0);
    put(0, EOI, 0);
    put(0, LVT_T, 0x20030);
    put(0, T_DIV, 0xB);
    put(0, T_INIT, 1); /* 1 ns: bounded, the clock gets on */
    rig_run(&r, 1000000);
    assert_int_equal(lapic_ack(l), 0x30);
    put(0, T_INIT, 0);
    rig_run(&r, 1000000);
    assert_false(cpu[0].intr);
}

static void test_tsc_deadline(void **state)
{
    struct lapic *l = set.lapic[0];
    u64 v;
    (void)state;
    assert_true(lapic_msr_write(l, MSR_LAPIC_TSC_DEADLINE, 100));
    assert_true(lapic_msr_read(l, MSR_LAPIC_TSC_DEADLINE, &v) && v == 0); /* not in that mode */
    put(0, LVT_T, 0x40031);
    lapic_set_tsc_offset(l, 5000);
    u64 target = lapic_tsc(l) + 2000000; /* 1 ms at 2 GHz */
    assert_true(lapic_msr_write(l, MSR_LAPIC_TSC_DEADLINE, target));
    rig_run(&r, 999999);
    assert_false(cpu[0].intr);
    rig_run(&r, 1);
    assert_int_equal(lapic_ack(l), 0x31);
    assert_true(lapic_msr_read(l, MSR_LAPIC_TSC_DEADLINE, &v) && v == 0);
    put(0, EOI, 0);
    assert_true(lapic_msr_write(l, MSR_LAPIC_TSC_DEADLINE, 1)); /* long past */
    assert_int_equal(lapic_ack(l), 0x31);
    put(0, EOI, 0);
    assert_true(lapic_msr_write(l, MSR_LAPIC_TSC_DEADLINE, UINT64_MAX));
    rig_run(&r, NS_PER_S);
    assert_false(cpu[0].intr);
}

static void test_x2apic(void **state)
{
    struct lapic *l = set.lapic[1];
    u64 v;
    (void)state;
    assert_false(lapic_msr_read(l, 0x802, &v));
    assert_true(lapic_mmio_hit(l, 0xFEE00FFF) && !lapic_mmio_hit(l, 0xFEE01000));
    for (u32 n = 0; n < CPUS; n++)
        assert_true(lapic_msr_write(set.lapic[n], MSR_LAPIC_BASE, LAPIC_BASE_DEFAULT | 0xC00));
    assert_false(lapic_mmio_hit(l, 0xFEE00000));
    assert_true(lapic_msr_read(l, 0x802, &v) && v == 1);
    assert_true(lapic_msr_read(l, 0x80D, &v) && v == 2);
    assert_false(lapic_msr_write(l, 0x80D, 1)); /* LDR is read-only */
    assert_false(lapic_msr_read(l, 0x80E, &v)); /* no DFR */
    assert_false(lapic_msr_read(l, 0x831, &v)); /* no ICR high */
    assert_false(lapic_msr_read(l, 0x80B, &v)); /* EOI is write-only */
    assert_false(lapic_msr_write(l, 0x80B, 1)); /* and must be 0 */
    assert_false(lapic_msr_write(l, 0x808, 0x100));
    assert_false(lapic_msr_read(l, 0x8FF, &v));
    assert_true(lapic_msr_write(l, 0x830, 3ull << 32 | 0x51));
    assert_true(cpu[3].intr);
    assert_true(lapic_msr_write(l, 0x830, 0x0000000Dull << 32 | 0x852)); /* logical: 0, 2, 3 */
    assert_true(cpu[0].intr && !cpu[1].intr && cpu[2].intr);
    assert_true(lapic_msr_write(l, 0x83F, 0x53));
    assert_int_equal(lapic_ack(l), 0x53);
    assert_true(lapic_msr_write(l, 0x80B, 0));
    assert_true(lapic_msr_write(l, 0x830, 0xFFFFFFFFull << 32 | 0x54));
    assert_int_equal(lapic_ack(l), 0x54);
    /* 8-bit senders (I/O APIC, MSI) still reach it */
    fixed(1, 0x99, false);
    assert_int_equal(lapic_ack(l), 0x99);
    assert_false(lapic_msr_write(l, MSR_LAPIC_BASE, LAPIC_BASE_DEFAULT | 0x800));
    assert_true(lapic_msr_write(l, MSR_LAPIC_BASE, LAPIC_BASE_DEFAULT));
    assert_false(lapic_msr_write(l, MSR_LAPIC_BASE, LAPIC_BASE_DEFAULT | 0xC00));
    assert_true(lapic_msr_write(l, MSR_LAPIC_BASE, 0xFED00000 | 0x800));
    assert_true(lapic_mmio_hit(l, 0xFED00020));
    assert_false(lapic_msr_write(l, MSR_LAPIC_BASE, 1ull << 50 | 0x800));
}

static void test_extint(void **state)
{
    (void)state;
    ext_vector = 0x08;
    put(0, LVT_0, 0x700);
    lapic_extint(&set, 0, true);
    assert_true(cpu[0].intr && !cpu[1].intr);
    put(0, LVT_0, 0x10700);
    assert_false(cpu[0].intr);
    put(0, LVT_0, 0x700);
    assert_int_equal(lapic_ack(set.lapic[0]), 0x08);
    lapic_extint(&set, 0, false);
    assert_false(cpu[0].intr);
    put(0, LVT_1, 0x400);
    lapic_nmi(&set, 0, true);
    lapic_nmi(&set, 0, true);
    assert_true(cpu[0].nmi == 1 && cpu[1].nmi == 0);
    /* off: wired straight */
    assert_true(lapic_msr_write(set.lapic[0], MSR_LAPIC_BASE, LAPIC_BASE_DEFAULT));
    lapic_extint(&set, 0, true);
    assert_int_equal(lapic_ack(set.lapic[0]), 0x08);
}

static void test_errors(void **state)
{
    (void)state;
    put(0, LVT_E, 0xFE);
    put(0, ICR, 0x4005);
    assert_int_equal(lapic_ack(set.lapic[0]), 0xFE);
    assert_int_equal(get(0, ESR), 0);
    put(0, ESR, 0);
    assert_int_equal(get(0, ESR), 0x20);
    fixed(0, 3, false);
    (void)get(0, 0x10);
    put(0, ESR, 0);
    assert_int_equal(get(0, ESR), 0xC0);
    put(0, LVT_E, 0x05); /* a bad vector of its own does not recurse */
    (void)get(0, 0x10);
}

static void test_processor_side(void **state)
{
    struct lapic *l = set.lapic[0];
    struct err e;
    u64 v;
    (void)state;
    assert_true(lapic_msr_read(l, MSR_LAPIC_BASE, &v) && v == (LAPIC_BASE_DEFAULT | 0x900));
    assert_int_equal(lapic_base(set.lapic[1]), LAPIC_BASE_DEFAULT | 0x800);
    assert_int_equal(lapic_id(set.lapic[3]), 3);
    assert_int_equal(get(3, ID), 3u << 24);
    lapic_tpr_set(l, 0xFF);
    assert_int_equal(lapic_tpr_get(l), 0xF);
    lapic_tpr_set(l, 0);
    fixed(0, 0x44, false);
    assert_true(lapic_pending(l));
    assert_null(dev_create(&r.set, &lapic_class, "x", &(struct lapic_cfg){&set, 9, 9}, &e));
    set.tsc_khz = 0;
    assert_null(dev_create(&r.set, &lapic_class, "x", &(struct lapic_cfg){&set, CPUS, CPUS}, &e));
    set.tsc_khz = 2000000;
    assert_int_equal(set.cpus, CPUS);
    dev_reset_all(&r.set);
    assert_false(lapic_pending(l) || cpu[0].intr);
}

static void test_odd_modes(void **state)
{
    struct lapic *l = set.lapic[1];
    (void)state;
    ext_vector = 0x70;
    /* the I/O APIC's input 0 */
    lapic_send(&set, &(struct intr_msg){.dest = 1, .mode = INTR_EXTINT});
    assert_int_equal(lapic_ack(l), 0x70);
    assert_int_equal(lapic_ack(l), -1);
    lapic_send(&set, &(struct intr_msg){.dest = 1, .mode = INTR_SMI});
    lapic_send(&set, &(struct intr_msg){.dest = 1, .mode = 3});
    assert_false(cpu[1].intr);
    put(1, LVT_1, 0x500); /* INIT through LINT1 */
    lapic_nmi(&set, 0, true);
    assert_int_equal(cpu[1].init, 1);
    assert_int_equal(get(1, LVT_1), 0x10000);
}

/* A new divisor while counting keeps the count; a TSC set back moves the deadline out. */
static void test_timer_changes(void **state)
{
    struct lapic *l = set.lapic[0];
    (void)state;
    put(0, T_DIV, 0xB); /* 1 */
    put(0, LVT_T, 0x31);
    put(0, T_INIT, 1000000); /* 1 ms */
    rig_run(&r, 500000);
    put(0, T_DIV, 0x0); /* 2: the other half takes twice as long */
    assert_in_range(get(0, T_CUR), 499990, 500000);
    rig_run(&r, 999000);
    assert_false(cpu[0].intr);
    rig_run(&r, 2000);
    assert_int_equal(lapic_ack(l), 0x31);
    put(0, EOI, 0);
    put(0, LVT_T, 0x40031);
    assert_true(lapic_msr_write(l, MSR_LAPIC_TSC_DEADLINE, lapic_tsc(l) + 2000000));
    u64 now = clk_now_ns(&r.clk);
    lapic_set_tsc_offset(l, (u64)-2000000); /* 1 ms back */
    rig_run(&r, 1999000);
    assert_false(cpu[0].intr);
    rig_run(&r, 2000);
    assert_int_equal(lapic_ack(l), 0x31);
    assert_true(clk_now_ns(&r.clk) - now >= 2000000);
}

static void test_storm(void **state)
{
    (void)state;
    storm();
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        UNIT(test_priority),      UNIT(test_disabled),       UNIT(test_ipi),
        UNIT(test_logical),       UNIT(test_lowest),         UNIT(test_timer),
        UNIT(test_tsc_deadline),  UNIT(test_x2apic),         UNIT(test_extint),
        UNIT(test_errors),        UNIT(test_processor_side), UNIT(test_odd_modes),
        UNIT(test_timer_changes), UNIT(test_storm)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
