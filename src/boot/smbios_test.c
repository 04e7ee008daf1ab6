/* smbios_test - the tables as a reader walks them: entry point, structures, strings, memory. */
#include "boot/smbios.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "boot/layout.h"

static const struct smbios_config small = {
    .cpus = 1, .low_bytes = MIB(64), .vendor = "GenuineIntel"};

static u64 get(const u8 *p, u32 bytes)
{
    u64 v = 0;
    memcpy(&v, p, bytes);
    return v;
}
static u8 sum(const u8 *p, u32 bytes)
{
    u8 s = 0;
    for (u32 i = 0; i < bytes; i++) s = (u8)(s + p[i]);
    return s;
}
/* The structure behind @t. */
static const u8 *next(const u8 *t)
{
    const u8 *p = t + t[1];
    while (p[0] || p[1]) p++;
    return p + 2;
}
/* String number @n of @t; NULL: it has not so many. */
static const char *text(const u8 *t, u32 n)
{
    const char *p = (const char *)t + t[1];
    for (; n > 1 && *p; n--) p += strlen(p) + 1;
    return n && *p ? p : NULL;
}

/* Entry point, then every structure once, in order; returns the one of @type with number @index. */
static const u8 *walk(const struct smbios *s, u32 type, u32 index)
{
    const u8 *a = s->anchor, *t = s->tables, *found = NULL;
    u32 count = 0, largest = 0;
    assert_memory_equal(a, "_SM_", 4);
    assert_memory_equal(a + 16, "_DMI_", 5);
    assert_int_equal(sum(a, a[5]), 0);
    assert_int_equal(sum(a + 16, 15), 0);
    assert_int_equal(get(a + 0x16, 2), s->bytes);
    for (bool last = false; !last; count++) {
        const u8 *after = next(t);
        assert_true(after <= s->tables + s->bytes);
        assert_true(t[1] >= 4);
        if (t[0] == type && index-- == 0) found = t;
        if ((u32)(after - t) > largest) largest = (u32)(after - t);
        last = t[0] == 127;
        t = after;
    }
    assert_ptr_equal(t, s->tables + s->bytes);
    assert_int_equal(get(a + 0x1C, 2), count);
    assert_int_equal(get(a + 8, 2), largest);
    return found;
}

static void test_structures(void **state)
{
    static const u8 types[] = {0, 1, 3, 4, 16, 17, 19, 32, 127};
    static const u8 bytes[] = {0x18, 0x1B, 0x16, 0x2A, 0x17, 0x28, 0x1F, 0x0B, 4};
    struct smbios s;
    (void)state;
    smbios_make(&s, &small, 0x12340);
    assert_int_equal(get(s.anchor + 0x18, 4), 0x12340);
    for (u32 i = 0; i < ARRAY_LEN(types); i++) {
        const u8 *t = walk(&s, types[i], 0);
        assert_non_null(t);
        assert_int_equal(t[1], bytes[i]);
        assert_null(walk(&s, types[i], 1));
    }
    const u8 *system = walk(&s, 1, 0), *cpu = walk(&s, 4, 0);
    assert_string_equal(text(system, system[4]), "ring3");
    assert_string_equal(text(system, system[5]), "pc");
    assert_string_equal(text(cpu, cpu[7]), "GenuineIntel");
    assert_int_equal(cpu[0x23], 1);
}

static void test_memory(void **state)
{
    static const struct {
        u64 low, high;
        u64 size, extended;
    } rows[] = {{MIB(64), 0, 64, 0},
                {GIB(3), GIB(1), 4096, 0},
                {GIB(3), GIB(29), 0x7FFF, 32768},
                {GIB(3), GIB(509), 0x7FFF, 524288}};
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
        struct smbios_config c = small;
        struct smbios s;
        c.cpus = VCPUS_MAX;
        c.low_bytes = rows[i].low;
        c.high_bytes = rows[i].high;
        smbios_make(&s, &c, 0);
        const u8 *dimm = walk(&s, 17, 0), *low = walk(&s, 19, 0), *high = walk(&s, 19, 1);
        assert_int_equal(get(dimm + 0x0C, 2), rows[i].size);
        assert_int_equal(get(dimm + 0x1C, 4), rows[i].extended);
        assert_int_equal(get(walk(&s, 16, 0) + 0x0F, 8), c.low_bytes + c.high_bytes);
        assert_int_equal(get(low + 4, 4), 0);
        assert_int_equal(get(low + 8, 4), (c.low_bytes >> 10) - 1);
        assert_int_equal(high != NULL, c.high_bytes != 0);
        if (high) assert_int_equal(get(high + 8, 4), ((GIB(4) + c.high_bytes) >> 10) - 1);
        assert_int_equal(walk(&s, 4, 0)[0x23], VCPUS_MAX);
    }
}

static void test_place(void **state)
{
    struct mem mem;
    struct err e = {0};
    struct smbios s;
    u8 is[SMBIOS_ANCHOR_BYTES], first;
    (void)state;
    assert_int_equal(mem_init(&mem, &e), 0);
    assert_int_equal(smbios_build(&mem, &small, &e), E_RANGE);
    assert_int_equal(mem_add(&mem, ACPI_START, ACPI_END - ACPI_START, false, &e), 0);
    assert_int_equal(smbios_build(&mem, &small, &e), 0);
    assert_int_equal(mem_read(&mem, SMBIOS_START, is, sizeof is), 0);
    const u32 tables = (u32)get(is + 0x18, 4);
    smbios_make(&s, &small, tables);
    assert_memory_equal(is, s.anchor, sizeof is);
    assert_true(tables >= SMBIOS_START + sizeof is && tables + s.bytes <= ACPI_END);
    assert_int_equal(mem_read(&mem, tables + s.bytes - 6, &first, 1), 0);
    assert_int_equal(first, 127);
    mem_fini(&mem);
}

/* dmidecode, where it is installed, finds nothing wrong. */
static void test_dmidecode(void **state)
{
    struct smbios s;
    char path[] = "/tmp/smbios_test.XXXXXX", cmd[300];
    (void)state;
    if (system("command -v dmidecode >/dev/null 2>&1") != 0) skip();
    smbios_make(&s, &small, 0x20);
    int fd = mkstemp(path);
    FILE *f = fdopen(fd, "w");
    assert_non_null(f);
    fwrite(s.anchor, sizeof s.anchor, 1, f);
    fputc(0, f);
    fwrite(s.tables, s.bytes, 1, f);
    fclose(f);
    snprintf(cmd, sizeof cmd,
             "dmidecode --from-dump %s >%s.txt 2>&1 && grep -q 'Size: 64 MB' %s.txt && "
             "! grep -iE 'broken|invalid|truncated|bad index|out of spec' %s.txt; "
             "r=$?; rm -f %s %s.txt; exit $r",
             path, path, path, path, path, path);
    assert_int_equal(system(cmd), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_structures),
                                       cmocka_unit_test(test_memory), cmocka_unit_test(test_place),
                                       cmocka_unit_test(test_dmidecode)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
