/* acpi_test - the tables as a guest finds them: pointers, checksums, lengths; iasl reads them where
 * it is installed. */
#include "boot/acpi.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/test.h"
#include "boot/aml.h"
#include "boot/layout.h"

static const struct acpi_config small = {
    .cpus = 1,
    .uart_mask = 1,
    .pirq_irq = {10, 10, 11, 11},
    .pci32_base = PCI_HOLE_START,
    .pm1_evt = 0x600,
    .pm1_cnt = 0x604,
    .pm_tmr = 0x608,
    .gpe0 = 0x620,
    .gpe0_bytes = 4,
    .s5_type = 5,
    .sci_irq = 9,
    .reset_port = 0xcf9,
    .reset_value = 6,
    .century_index = 0x32,
};

static struct acpi_config large(void)
{
    struct acpi_config c = small;
    c.cpus = VCPUS_MAX;
    c.uart_mask = 15;
    c.has_i8042 = c.has_vga = c.has_fdc = c.has_lpt1 = true;
    c.pvpanic_port = 0x505;
    c.smi_cmd = 0xb2;
    c.acpi_enable = 0xf1;
    c.acpi_disable = 0xf0;
    c.ioapic_id = 32;
    c.pci64_base = GIB(64);
    c.pci64_bytes = GIB(32);
    return c;
}

struct vm {
    struct mem mem;
    gpa_t rsdp;
    u8 area[ACPI_END - ACPI_START];
};

static struct vm *build(const struct acpi_config *cfg)
{
    struct vm *vm = calloc(1, sizeof *vm);
    struct err e = {0};
    assert_int_equal(mem_init(&vm->mem, &e), 0);
    assert_int_equal(mem_add(&vm->mem, ACPI_START, ACPI_END - ACPI_START, false, &e), 0);
    assert_int_equal(acpi_build(&vm->mem, cfg, &vm->rsdp, &e), 0);
    assert_int_equal(mem_read(&vm->mem, ACPI_START, vm->area, sizeof vm->area), 0);
    return vm;
}

static void destroy(struct vm *vm)
{
    mem_fini(&vm->mem);
    free(vm);
}

static u64 get(const u8 *p, u32 bytes)
{
    u64 v = 0;
    memcpy(&v, p, bytes);
    return v;
}

static u8 sum(const u8 *p, u64 bytes)
{
    u8 s = 0;
    while (bytes-- > 0) s = (u8)(s + *p++);
    return s;
}

static const u8 *at(const struct vm *vm, u64 gpa)
{
    assert_true(gpa >= ACPI_START && gpa < ACPI_END);
    return vm->area + (gpa - ACPI_START);
}

static const u8 *table(const struct vm *vm, u64 gpa, const char *signature)
{
    const u8 *t = at(vm, gpa);
    assert_memory_equal(t, signature, 4);
    assert_int_equal(gpa % 16, 0);
    if (strcmp(signature, "FACS") != 0) assert_int_equal(sum(t, get(t + 4, 4)), 0);
    return t;
}

struct tables {
    const u8 *fadt, *facs, *madt, *dsdt, *rsdt, *xsdt;
};

static struct tables find_tables(const struct vm *vm)
{
    struct tables t;
    const u8 *rsdp = at(vm, vm->rsdp);
    assert_int_equal(vm->rsdp % 16, 0);
    assert_memory_equal(rsdp, "RSD PTR ", 8);
    assert_int_equal(sum(rsdp, 20), 0);
    assert_int_equal(sum(rsdp, 36), 0);
    t.rsdt = table(vm, get(rsdp + 16, 4), "RSDT");
    t.xsdt = table(vm, get(rsdp + 24, 8), "XSDT");
    assert_int_equal(get(t.rsdt + 4, 4), 36 + 2 * 4);
    assert_int_equal(get(t.xsdt + 4, 4), 36 + 2 * 8);
    for (u32 i = 0; i < 2; i++) {
        assert_int_equal(get(t.rsdt + 36 + 4 * i, 4), get(t.xsdt + 36 + 8 * i, 8));
    }
    t.fadt = table(vm, get(t.xsdt + 36, 8), "FACP");
    t.madt = table(vm, get(t.xsdt + 44, 8), "APIC");
    t.facs = table(vm, get(t.fadt + 36, 4), "FACS");
    t.dsdt = table(vm, get(t.fadt + 140, 8), "DSDT");
    assert_int_equal(get(t.fadt + 36, 4) % 64, 0);
    assert_int_equal(get(t.fadt + 40, 4), get(t.fadt + 140, 8));
    return t;
}

static void test_hpet(void **state)
{
    (void)state;
    struct acpi_config c = small;
    c.hpet_gpa = 0xFED00000;
    c.hpet_id = 0x8086A201;
    c.hpet_min_tick = 128;
    struct vm *vm = build(&c);
    const u8 *xsdt = at(vm, get(at(vm, vm->rsdp) + 24, 8));
    assert_int_equal(get(xsdt + 4, 4), 36 + 3 * 8);
    const u8 *h = table(vm, get(xsdt + 52, 8), "HPET");
    assert_int_equal(get(h + 4, 4), 56);
    assert_int_equal(get(h + 36, 4), 0x8086A201);
    assert_int_equal(get(h + 40, 4), 64 << 8);
    assert_int_equal(get(h + 44, 8), 0xFED00000);
    assert_int_equal(get(h + 53, 2), 128);
    destroy(vm);
}

static void test_fadt(void **state)
{
    (void)state;
    struct vm *vm = build(&small);
    const u8 *f = find_tables(vm).fadt;
    assert_int_equal(get(f + 4, 4), 276);
    assert_int_equal(f[8], 6);
    assert_int_equal(get(f + 46, 2), 9);
    assert_int_equal(get(f + 48, 4), 0);
    assert_int_equal(get(f + 56, 4), 0x600);
    assert_int_equal(get(f + 64, 4), 0x604);
    assert_int_equal(get(f + 76, 4), 0x608);
    assert_int_equal(get(f + 80, 4), 0x620);
    assert_int_equal(get(f + 88, 2), 0x0204);
    assert_int_equal(get(f + 90, 4), 0x00040400);
    assert_int_equal(get(f + 109, 2), 0x5); /* legacy devices, no VGA, no 8042 */
    assert_int_equal(get(f + 112, 4), 0x565);
    assert_int_equal(get(f + 120, 8), 0xcf9);
    assert_int_equal(f[128], 6);
    assert_int_equal(get(f + 148, 4), 0x02002001); /* I/O space, 32 bits, word access */
    assert_int_equal(get(f + 152, 8), 0x600);
    assert_int_equal(get(f + 212, 8), 0x608);
    destroy(vm);
}

static void test_madt(void **state)
{
    (void)state;
    struct acpi_config cfg = large();
    struct vm *vm = build(&cfg);
    const u8 *m = find_tables(vm).madt;
    u64 end = get(m + 4, 4), seen[8] = {0};
    assert_int_equal(get(m + 36, 4), 0xfee00000);
    for (u64 p = 44; p < end; p += m[p + 1]) {
        const u8 *x = m + p;
        assert_true(x[1] >= 6 && p + x[1] <= end && x[0] < 8);
        if (x[0] == 0) assert_int_equal(x[3], seen[0]); /* APIC ids count up */
        if (x[0] == 1) {
            assert_int_equal(x[2], 32);
            assert_int_equal(get(x + 4, 4), 0xfec00000);
        }
        if (x[0] == 2) {
            assert_int_equal(get(x + 4, 4), x[3] == 0 ? 2 : x[3]);
            assert_int_equal(get(x + 8, 2), x[3] == 0 ? 0 : 0xd);
        }
        seen[x[0]]++;
    }
    assert_int_equal(seen[0], VCPUS_MAX);
    assert_int_equal(seen[1], 1);
    assert_int_equal(seen[2], 4); /* IRQ 0, 9, 10, 11 */
    assert_int_equal(seen[4], 1);
    destroy(vm);
}

static void test_bad_config(void **state)
{
    (void)state;
    struct mem mem;
    struct err e = {0};
    gpa_t rsdp;
    assert_int_equal(mem_init(&mem, &e), 0);
    assert_int_equal(acpi_build(&mem, &small, &rsdp, &e), E_RANGE); /* no memory there */
    struct acpi_config c = small;
    c.cpus = 0;
    assert_int_equal(acpi_build(&mem, &c, &rsdp, &e), E_INVAL);
    c.cpus = VCPUS_MAX + 1;
    assert_int_equal(acpi_build(&mem, &c, &rsdp, &e), E_INVAL);
    c = small;
    c.pirq_irq[2] = 16;
    assert_int_equal(acpi_build(&mem, &c, &rsdp, &e), E_INVAL);
    c = small;
    c.sci_irq = 0;
    assert_int_equal(acpi_build(&mem, &c, &rsdp, &e), E_INVAL);
    mem_fini(&mem);
}

static void test_aml_bytes(void **state)
{
    (void)state;
    u8 buf[8192];
    struct aml a;
    aml_init(&a, buf, sizeof buf);
    aml_name_eisaid(&a, "_HID", "PNP0A03");
    assert_int_equal(a.bytes, 10);
    assert_memory_equal(buf, "\x08_HID\x0c\x41\xd0\x0a\x03", 10);
    aml_init(&a, buf, sizeof buf);
    aml_open_scope(&a, "\\_SB");
    aml_name_int(&a, "A", 1);
    aml_path(&a, "\\A.BC.DEF");
    aml_close(&a);
    assert_int_equal(a.bytes, 28);
    assert_memory_equal(buf,
                        "\x10\x1b\\_SB_\x08"
                        "A___\x01\\\x2f\x03"
                        "A___BC__DEF_",
                        28);
    /* lengths around the borders of the encoding: all of it must be counted */
    static const u32 contents[] = {0, 62, 63, 64, 4000, 4093, 4094, 4095, 5000};
    for (u32 i = 0; i < ARRAY_LEN(contents); i++) {
        aml_init(&a, buf, sizeof buf);
        aml_open_package(&a, 0);
        for (u32 k = 0; k < contents[i]; k++) aml_int(&a, 0);
        aml_close(&a);
        u32 more = buf[1] >> 6, len = more ? buf[1] & 15 : buf[1];
        for (u32 k = 0; k < more; k++) len |= (u32)buf[2 + k] << (4 + 8 * k);
        assert_int_equal(len, a.bytes - 1);
        assert_int_equal(a.bytes, 1 + 1 + more + 1 + contents[i]);
    }
    aml_init(&a, buf, 20); /* too small: says so and stays inside */
    buf[20] = 0xa5;
    aml_open_device(&a, "PCI0");
    aml_name(&a, "_CRS");
    aml_res_open(&a);
    aml_res_window_mem64(&a, GIB(4), GIB(8) - 1);
    aml_res_close(&a);
    aml_close(&a);
    assert_true(a.failed);
    assert_int_equal(buf[20], 0xa5);
}

/* A small DMA descriptor (ACPI 6.5 6.4.2.2), and the devices that are there or not. */
static void test_isa_devices(void **state)
{
    (void)state;
    u8 buf[8];
    struct aml a;
    aml_init(&a, buf, sizeof buf);
    aml_res_dma(&a, 2);
    assert_int_equal(a.bytes, 3);
    assert_memory_equal(buf, "\x2a\x04\x00", 3);
    struct acpi_config c = large();
    struct vm *few = build(&small), *all = build(&c);
    static const char *const names[] = {"FDC0", "LPT1", "COM2"};
    for (u32 i = 0; i < ARRAY_LEN(names); i++) {
        assert_non_null(memmem(all->area, sizeof all->area, names[i], 4));
        assert_null(memmem(few->area, sizeof few->area, names[i], 4));
    }
    destroy(few);
    destroy(all);
}

static void write_table(const char *dir, const char *name, const u8 *t)
{
    char path[300];
    snprintf(path, sizeof path, "%s/%s.aml", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(t, 1, get(t + 4, 4), f), get(t + 4, 4));
    fclose(f);
}

/* iasl disassembles every table and compiles the DSDT again: no error, no warning. */
static void test_iasl(void **state)
{
    (void)state;
    if (system("command -v iasl >/dev/null 2>&1") != 0) skip();
    struct acpi_config cfgs[] = {small, large()};
    for (u32 i = 0; i < ARRAY_LEN(cfgs); i++) {
        char dir[] = "/tmp/acpi_test.XXXXXX", cmd[800];
        assert_non_null(mkdtemp(dir));
        struct vm *vm = build(&cfgs[i]);
        struct tables t = find_tables(vm);
        write_table(dir, "facp", t.fadt);
        write_table(dir, "facs", t.facs);
        write_table(dir, "apic", t.madt);
        write_table(dir, "rsdt", t.rsdt);
        write_table(dir, "xsdt", t.xsdt);
        write_table(dir, "dsdt", t.dsdt);
        snprintf(
            cmd, sizeof cmd,
            "cd %s && iasl -d *.aml >log 2>&1 && ! grep -iE 'error|invalid|incorrect|warning' log "
            "&& mv dsdt.dsl again.dsl && iasl again.dsl >log2 2>&1 && "
            "grep -q ' 0 Errors, 0 Warnings' log2 && ! grep -il 'invalid\\|incorrect' *.dsl",
            dir);
        int rc = system(cmd);
        if (rc != 0) fail_msg("iasl is not content: see %s", dir);
        snprintf(cmd, sizeof cmd, "rm -rf %s", dir);
        assert_int_equal(system(cmd), 0);
        destroy(vm);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hpet),      cmocka_unit_test(test_fadt),
        cmocka_unit_test(test_madt),      cmocka_unit_test(test_bad_config),
        cmocka_unit_test(test_aml_bytes), cmocka_unit_test(test_isa_devices),
        cmocka_unit_test(test_iasl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
