/* bootorder_test - what --boot becomes for firmware. */
#include "machine/bootorder.h"

#include <string.h>

#include "base/test.h"

static const struct ring3_config all = {
    .drive = {"file=a", "file=b,if=virtio", "file=c,if=floppy", "file=d,index=3"},
    .drives = 4,
    .cdrom = "e"};
#define DISK_A "/pci@i0cf8/ide@1,1/drive@0/disk@0\n"
#define DISK_B "/pci@i0cf8/scsi@10/disk@0,0\n"
#define FLOPPY_C "/pci@i0cf8/isa@1/fdc@03f0/floppy@0\n"
#define DISK_D "/pci@i0cf8/ide@1,1/drive@1/disk@1\n"
#define CD_E "/pci@i0cf8/ide@1,1/drive@1/disk@0\n"

static void check(const struct ring3_config *cfg, const char *order, const char *first,
                  const char *want)
{
    struct drive_set s;
    struct err e;
    char text[BOOTORDER_BYTES];
    assert_int_equal(drive_set_init(&s, cfg, &e), 0);
    u32 bytes = bootorder_text(&s, order, first, text);
    assert_string_equal(text, want);
    assert_int_equal(bytes, *want ? strlen(want) + 1 : 0);
    drive_set_fini(&s);
}

static void test_text(void **state)
{
    (void)state;
    check(&all, "cdn", NULL, DISK_A DISK_B DISK_D CD_E);
    check(&all, "dac", NULL, CD_E FLOPPY_C DISK_A DISK_B DISK_D);
    check(&all, "a", "/rom@x", "/rom@x\n" FLOPPY_C);
    check(&all, "n", NULL, "");
    check(&(struct ring3_config){0}, "cdan", NULL, "");
    check(&(struct ring3_config){.drive = {"file=a,if=virtio,index=7"}, .drives = 1}, "c", NULL,
          "/pci@i0cf8/scsi@17/disk@0,0\n");
}

/* As many drives as there can be fit. */
static void test_many(void **state)
{
    struct ring3_config cfg = {.drives = RING3_DRIVES_MAX, .cdrom = "e"};
    struct drive_set s;
    struct err e;
    char text[BOOTORDER_BYTES];
    (void)state;
    for (u32 i = 0; i < RING3_DRIVES_MAX; i++) cfg.drive[i] = "file=a,if=virtio";
    assert_int_equal(drive_set_init(&s, &cfg, &e), 0);
    u32 bytes = bootorder_text(&s, "cd", NULL, text);
    assert_in_range(bytes, RING3_DRIVES_MAX * strlen(DISK_B), sizeof text);
    drive_set_fini(&s);
}

static void test_cmos(void **state)
{
    (void)state;
    assert_int_equal(bootorder_cmos("cdn"), 0x4032);
    assert_int_equal(bootorder_cmos("a"), 0x0001);
    assert_int_equal(bootorder_cmos("dc"), 0x0023);
    assert_int_equal(bootorder_cmos("dcan"), 0x1023);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_many),
                                       cmocka_unit_test(test_cmos)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
