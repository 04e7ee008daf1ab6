#include "host/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

struct dir {
    char path[32];
};

static void setup(struct dir *d)
{
    strcpy(d->path, "/tmp/file_test.XXXXXX");
    assert_non_null(mkdtemp(d->path));
}

static const char *in(const struct dir *d, const char *name)
{
    static _Thread_local char path[64];
    snprintf(path, sizeof path, "%s/%s", d->path, name);
    return path;
}

static void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, bytes, f), bytes);
    fclose(f);
}

static void test_reads_whole(void **state)
{
    (void)state;
    struct dir d;
    struct file_data f;
    struct err e = {0};
    setup(&d);
    write_file(in(&d, "a"), "abc\0def", 7);
    assert_int_equal(file_read_all(&f, "initrd", in(&d, "a"), 7, &e), 0);
    assert_int_equal(f.bytes, 7);
    assert_memory_equal(f.data, "abc\0def", 7);
    file_data_fini(&f);
    assert_null(f.data);
    file_data_fini(&f); /* twice is fine */
    unlink(in(&d, "a"));
    rmdir(d.path);
}

/* The same bytes once more, whatever has happened to the name; not when the file has changed. */
static void test_reads_again(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        u32 bytes;
        const char *says;
    } changes[] = {{"0123456789abcdef0123456789abcdef0123456789ABCDEF0", 49, "has changed"},
                   {"0123456789abcdef0123456789abcdef0123456789abcdef", 48, "shrank"},
                   {"0123456789abcdef0123456789abcdef0123456789abcdef01", 50, "has changed"},
                   {"", 0, "shrank"},
                   {"0123456789abcdef0123456789abcdef0123456789abcdef0", 49, NULL}};
    struct dir d;
    struct file_data f, g;
    struct file_again again;
    struct err e = {0};
    setup(&d);
    const struct file_name name = {"initrd", in(&d, "a")};
    assert_int_equal(file_read_first(&f, &again, &name, 99, &e), E_NOENT);
    file_again_fini(&again);
    write_file(in(&d, "a"), changes[4].text, 49);
    assert_int_equal(file_read_first(&f, &again, &name, 99, &e), 0);
    for (u32 n = 0; n < ARRAY_LEN(changes); n++) {
        e = (struct err){0};
        write_file(in(&d, "a"), changes[n].text, changes[n].bytes);
        int rc = file_read_again(&g, &again, &e);
        assert_int_equal(rc, changes[n].says ? E_FORMAT : 0);
        if (rc < 0) assert_null(g.data);
        if (rc < 0) assert_non_null(strstr(e.text, changes[n].says));
        else assert_memory_equal(f.data, g.data, f.bytes);
        file_data_fini(&g);
    }
    unlink(in(&d, "a"));
    write_file(in(&d, "a"), "another", 7);
    assert_int_equal(file_read_again(&g, &again, &e), 0);
    assert_memory_equal(f.data, g.data, f.bytes);
    file_data_fini(&f);
    file_data_fini(&g);
    file_again_fini(&again);
    file_again_fini(&again); /* twice is fine */
    unlink(in(&d, "a"));
    rmdir(d.path);
}

static void check_fails(const char *path, int code, const char *says)
{
    struct file_data f = {(u8 *)1, 1};
    struct err e = {0};
    assert_int_equal(file_read_all(&f, "kernel", path, 6, &e), code);
    assert_null(f.data);
    assert_int_equal(f.bytes, 0);
    assert_non_null(strstr(e.text, "kernel '"));
    assert_non_null(strstr(e.text, path));
    assert_non_null(strstr(e.text, says));
}

static void test_faults(void **state)
{
    (void)state;
    struct dir d;
    setup(&d);
    write_file(in(&d, "long"), "abcdefg", 7);
    check_fails(in(&d, "long"), E_RANGE, "more than");
    write_file(in(&d, "empty"), "", 0);
    check_fails(in(&d, "empty"), E_FORMAT, "is empty");
    check_fails(d.path, E_INVAL, "is a directory");
    check_fails(in(&d, "none"), E_NOENT, "No such file");
    check_fails("/dev/zero", E_INVAL, "not a regular file");
    assert_int_equal(mkfifo(in(&d, "fifo"), 0600), 0);
    check_fails(in(&d, "fifo"), E_INVAL, "not a regular file"); /* and does not wait for a writer */
    if (geteuid() != 0) {
        assert_int_equal(chmod(in(&d, "long"), 0), 0);
        check_fails(in(&d, "long"), E_PERM, "Permission denied");
    }
    unlink(in(&d, "long"));
    unlink(in(&d, "empty"));
    unlink(in(&d, "fifo"));
    rmdir(d.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_whole),
        cmocka_unit_test(test_reads_again),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
