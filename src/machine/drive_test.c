/* machine/drive_test.c - drive specifications, places of drives, boot orders. */
#include "machine/drive.h"

#include <string.h>

#include "base/test.h"

static void good(const char *spec, struct drive want)
{
    struct drive d;
    struct err e = {0};
    if (drive_parse(&d, spec, &e) < 0) fail_msg("%s", e.text);
    if (want.path) assert_string_equal(d.path, want.path);
    else assert_null(d.path);
    assert_int_equal(d.iface, want.iface);
    assert_int_equal(d.cdrom, want.cdrom);
    assert_int_equal(d.readonly, want.readonly);
    assert_int_equal(d.snapshot, want.snapshot);
    assert_int_equal(d.offset, want.offset);
    assert_int_equal(d.size, want.size);
    assert_int_equal(d.index, want.index);
    drive_fini(&d);
}

static void bad(const char *spec, const char *text)
{
    struct drive d;
    struct err e = {0};
    assert_int_equal(drive_parse(&d, spec, &e), E_INVAL);
    if (!strstr(e.text, text) || !strstr(e.text, "--drive")) fail_msg("%s", e.text);
}

static void test_good(void **state)
{
    (void)state;
    good("file=a", (struct drive){.path = "a", .index = -1});
    good("file=a,,b,,,,c=d,if=virtio",
         (struct drive){.path = "a,b,,c=d", .iface = DRIVE_VIRTIO, .index = -1});
    good("if=floppy,index=1,file=x",
         (struct drive){.path = "x", .iface = DRIVE_FLOPPY, .index = 1});
    good("media=cdrom", (struct drive){.cdrom = true, .readonly = true, .index = -1});
    good("file=x,offset=512,size=3M,readonly,snapshot=on", (struct drive){.path = "x",
                                                                          .offset = 512,
                                                                          .size = 3 << 20,
                                                                          .readonly = true,
                                                                          .snapshot = true,
                                                                          .index = -1});
    good("file=x,size=1t,readonly=off",
         (struct drive){.path = "x", .size = 1ull << 40, .index = -1});
}

static void test_bad(void **state)
{
    (void)state;
    bad("", "'' is no part");
    bad("disk.img", "'disk.img' is no part");
    bad("if=ide", "file= is missing");
    bad("file=", "bad value '' for file");
    bad("file=x,if=scsi", "bad value 'scsi' for if");
    bad("file=x,media=tape", "bad value 'tape' for media");
    bad("file=x,size=0", "bad value '0' for size");
    bad("file=x,size=1X", "bad value '1X' for size");
    bad("file=x,size=", "bad value '' for size");
    bad("file=x,offset=-512", "bad value '-512' for offset");
    bad("file=x,offset=99999999T", "for offset");
    bad("file=x,index=256", "for index");
    bad("file=x,readonly=maybe", "bad value 'maybe' for readonly");
    bad("file=x,if=virtio,media=cdrom", "needs if=ide");
    bad("file=x,", "'' is no part");
}

static void places(const struct ring3_config *cfg, const int *want)
{
    struct drive_set s;
    struct err e = {0};
    if (drive_set_init(&s, cfg, &e) < 0) fail_msg("%s", e.text);
    for (u32 i = 0; i < s.count; i++) assert_int_equal(s.drive[i].index, want[i]);
    drive_set_fini(&s);
}
static void no_places(const struct ring3_config *cfg, const char *text)
{
    struct drive_set s;
    struct err e = {0};
    assert_int_equal(drive_set_init(&s, cfg, &e), E_INVAL);
    if (!strstr(e.text, text)) fail_msg("%s", e.text);
}

static void test_places(void **state)
{
    (void)state;
    places(
        &(struct ring3_config){.drive = {"file=a", "file=b", "file=c"}, .drives = 3, .cdrom = "d"},
        (int[]){0, 1, 3, 2});
    places(&(struct ring3_config){.drive = {"file=a,index=2", "file=b,if=virtio",
                                            "file=c,if=floppy", "file=d"},
                                  .drives = 4,
                                  .cdrom = "e"},
           (int[]){2, 0, 0, 1, 0});
    no_places(&(struct ring3_config){.drive = {"file=a,index=4"}, .drives = 1},
              "ide has places 0 to 3");
    no_places(&(struct ring3_config){.drive = {"file=a,index=1", "file=b,index=1"}, .drives = 2},
              "index 1 is taken by 'file=a,index=1'");
    no_places(
        &(struct ring3_config){
            .drive = {"file=a,if=floppy", "file=b,if=floppy", "file=c,if=floppy"}, .drives = 3},
        "floppy has 2 places, all taken");
    no_places(&(struct ring3_config){.drive = {"file=a", "file=b,junk"}, .drives = 2}, "junk");
    no_places(&(struct ring3_config){.cdrom = ""}, "--cdrom");
}

static void test_boot(void **state)
{
    struct boot_order b;
    struct err e = {0};
    (void)state;
    assert_int_equal(boot_order_parse(&b, NULL, &e), 0);
    assert_string_equal(b.order, "cdn");
    assert_false(b.menu);
    assert_int_equal(boot_order_parse(&b, "order=dac,menu=on", &e), 0);
    assert_string_equal(b.order, "dac");
    assert_true(b.menu);
    static const char *const wrong[] = {
        "", "order=", "order=x", "order=cc", "order=acdna", "menu=1", "cdn", "order=c,menu"};
    for (u32 i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(boot_order_parse(&b, wrong[i], &e), E_INVAL);
        assert_non_null(strstr(e.text, "--boot"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
                                       cmocka_unit_test(test_places), cmocka_unit_test(test_boot)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
