/* Disks on the host: what cannot be one, reading and writing, slices, snapshots, locks, files that
 * change under the guest, worker threads. */
#include "host/block.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

enum { SECTORS = 64, MANY = 64 };

static char folder[64], image[96];
static struct log quiet;
static char log_path[96];

static void make_image(u64 bytes)
{
    FILE *f = fopen(image, "we");
    assert_non_null(f);
    for (u64 i = 0; i < bytes; i++) fputc((int)(i / SECTOR_BYTES + 1), f);
    fclose(f);
}

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/block-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(image, sizeof image, "%s/image", folder);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    make_image(SECTORS * SECTOR_BYTES);
    log_init(&quiet, open(log_path, O_CREAT | O_RDWR | O_APPEND | O_CLOEXEC, 0600), LOG_INFO, "t");
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    close(quiet.fd);
    unlink(log_path);
    unlink(image);
    return rmdir(folder);
}

static struct block *must_open(struct block_spec spec)
{
    struct block *b = NULL;
    struct err e = {0};
    spec.path = image;
    spec.log = &quiet;
    if (block_open(&b, &spec, &e) < 0) fail_msg("%s", e.text);
    return b;
}

static void refuse(const char *path, struct block_spec spec, int code, const char *text)
{
    struct block *b = NULL;
    struct err e = {0};
    spec.path = path;
    assert_int_equal(block_open(&b, &spec, &e), code);
    if (!strstr(e.text, text) || !strstr(e.text, path)) fail_msg("'%s' lacks '%s'", e.text, text);
}

static u32 finished;
static void on_done(struct block_req *r)
{
    (void)r;
    finished++;
}

/* One request, waited for. */
static int transfer(struct block *b, enum block_op op, u64 sector, void *buf, u64 bytes)
{
    struct iovec iov[2] = {{buf, bytes / 3}, {(u8 *)buf + bytes / 3, bytes - bytes / 3}};
    struct block_req r = {.op = op,
                          .offset = sector * SECTOR_BYTES,
                          .bytes = bytes,
                          .iov = iov,
                          .iovs = 2,
                          .done = on_done,
                          .result = 99};
    u32 before = finished;
    block_submit(b, &r);
    block_drain(b);
    assert_int_equal(finished, before + 1);
    return r.result;
}
static void expect_sector(struct block *b, u64 sector, u8 value)
{
    u8 buf[SECTOR_BYTES], want[SECTOR_BYTES];
    memset(want, value, sizeof want);
    assert_int_equal(transfer(b, BLOCK_READ, sector, buf, sizeof buf), 0);
    assert_memory_equal(buf, want, sizeof buf);
}
static void write_sector(struct block *b, u64 sector, u8 value)
{
    u8 buf[SECTOR_BYTES];
    memset(buf, value, sizeof buf);
    assert_int_equal(transfer(b, BLOCK_WRITE, sector, buf, sizeof buf), 0);
}
static bool logged(const char *text)
{
    char all[4096];
    int fd = open(log_path, O_RDONLY | O_CLOEXEC);
    ssize_t n = read(fd, all, sizeof all - 1);
    close(fd);
    all[n < 0 ? 0 : n] = 0;
    return strstr(all, text) && strstr(all, image);
}

static void test_refused(void **state)
{
    char path[128];
    (void)state;
    snprintf(path, sizeof path, "%s/none", folder);
    refuse(path, (struct block_spec){0}, E_NOENT, "No such file");
    refuse(folder, (struct block_spec){0}, E_INVAL, "is a directory");
    refuse("/dev/null", (struct block_spec){0}, E_INVAL, "neither a regular file");
    snprintf(path, sizeof path, "%s/fifo", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse(path, (struct block_spec){0}, E_INVAL, "neither a regular file");
    unlink(path);
    refuse(image, (struct block_spec){.offset = 100}, E_INVAL, "multiples of 512");
    refuse(image, (struct block_spec){.size = 513}, E_INVAL, "multiples of 512");
    refuse(image, (struct block_spec){.offset = SECTORS * 512}, E_RANGE, "behind");
    refuse(image, (struct block_spec){.offset = 512, .size = SECTORS * 512}, E_RANGE, "behind");
    refuse(image, (struct block_spec){.offset = ~511ull}, E_RANGE, "behind");
    make_image(1000);
    refuse(image, (struct block_spec){0}, E_FORMAT, "not whole sectors");
    make_image(0);
    refuse(image, (struct block_spec){0}, E_FORMAT, "is empty");
}

static void test_read_write(void **state)
{
    (void)state;
    u8 buf[4 * SECTOR_BYTES] = {0};
    struct block *b = must_open((struct block_spec){0});
    assert_int_equal(block_bytes(b), SECTORS * SECTOR_BYTES);
    assert_string_equal(block_path(b), image);
    expect_sector(b, 0, 1);
    expect_sector(b, SECTORS - 1, SECTORS);
    write_sector(b, 5, 0xAA);
    expect_sector(b, 5, 0xAA);
    expect_sector(b, 6, 7);
    assert_int_equal(transfer(b, BLOCK_FLUSH, 0, NULL, 0), 0);
    assert_int_equal(transfer(b, BLOCK_READ, 4, buf, sizeof buf), 0);
    assert_int_equal(buf[0], 5);
    assert_int_equal(buf[2 * SECTOR_BYTES - 1], 0xAA);
    assert_int_equal(buf[2 * SECTOR_BYTES], 7);
    assert_int_equal(transfer(b, BLOCK_ZERO, 8, NULL, 1024), 0);
    expect_sector(b, 9, 0);
    expect_sector(b, 10, 11);
    assert_int_equal(transfer(b, BLOCK_DISCARD, 20, NULL, 1024), 0);
    expect_sector(b, 22, 23);
    assert_int_equal(transfer(b, BLOCK_READ, SECTORS - 1, buf, sizeof buf), E_RANGE);
    assert_int_equal(transfer(b, BLOCK_READ, 1ull << 54, buf, sizeof buf), E_RANGE);
    assert_int_equal(transfer(b, BLOCK_WRITE, SECTORS, buf, 512), E_RANGE);
    block_close(b);
    block_close(NULL);
}

static void test_slice(void **state)
{
    (void)state;
    struct block *a = must_open((struct block_spec){.offset = 512 * 4, .size = 512 * 4});
    struct block *b = must_open((struct block_spec){.offset = 512 * 8});
    assert_int_equal(block_bytes(a), 4 * 512);
    assert_int_equal(block_bytes(b), (SECTORS - 8) * 512);
    u8 buf[512];
    expect_sector(a, 0, 5);
    expect_sector(b, 0, 9);
    write_sector(a, 3, 0x55);
    expect_sector(b, 0, 9);
    assert_int_equal(transfer(a, BLOCK_WRITE, 4, buf, 512), E_RANGE);
    refuse(image, (struct block_spec){.offset = 512 * 7, .size = 512}, E_BUSY, "in use");
    block_close(a);
    block_close(b);
}

static void test_locks(void **state)
{
    (void)state;
    struct block *r1 = must_open((struct block_spec){.readonly = true});
    struct block *r2 = must_open((struct block_spec){.snapshot = true});
    refuse(image, (struct block_spec){0}, E_BUSY, "in use by another drive");
    block_close(r1);
    block_close(r2);
    struct block *w = must_open((struct block_spec){0});
    refuse(image, (struct block_spec){.readonly = true}, E_BUSY, "in use by another drive");
    block_close(w);
}

static void test_readonly(void **state)
{
    (void)state;
    u8 buf[512] = {0};
    struct block *b = must_open((struct block_spec){.readonly = true});
    assert_true(block_is_readonly(b));
    assert_int_equal(transfer(b, BLOCK_WRITE, 0, buf, 512), E_PERM);
    assert_int_equal(transfer(b, BLOCK_ZERO, 0, NULL, 512), E_PERM);
    assert_int_equal(transfer(b, BLOCK_DISCARD, 0, NULL, 512), E_PERM);
    assert_int_equal(transfer(b, BLOCK_FLUSH, 0, NULL, 0), 0);
    expect_sector(b, 0, 1);
    block_close(b);
}

static void test_snapshot(void **state)
{
    (void)state;
    u8 buf[8 * 512];
    struct block *b = must_open((struct block_spec){.snapshot = true, .offset = 512});
    write_sector(b, 3, 0x77);
    write_sector(b, 5, 0x78);
    assert_int_equal(transfer(b, BLOCK_ZERO, 6, NULL, 512), 0);
    assert_int_equal(transfer(b, BLOCK_DISCARD, 0, NULL, 512), 0);
    assert_int_equal(transfer(b, BLOCK_READ, 0, buf, sizeof buf), 0);
    static const u8 want[8] = {2, 3, 4, 0x77, 6, 0x78, 0, 9};
    for (u32 i = 0; i < 8 * 512; i++) assert_int_equal(buf[i], want[i / 512]);
    block_close(b);
    b = must_open((struct block_spec){0});
    for (u32 i = 0; i < SECTORS; i++) expect_sector(b, i, (u8)(i + 1));
    block_close(b);
}

static void test_truncated(void **state)
{
    (void)state;
    u8 buf[4 * 512] = {0};
    struct block *b = must_open((struct block_spec){0});
    write_sector(b, 1, 0x31);
    assert_int_equal(truncate(image, 10 * 512 + 100), 0);
    expect_sector(b, 1, 0x31);
    expect_sector(b, 9, 10);
    assert_int_equal(transfer(b, BLOCK_READ, 10, buf, 512), E_SYS);
    assert_true(logged("the file ends before"));
    assert_int_equal(transfer(b, BLOCK_WRITE, 12, buf, 512), E_SYS);
    assert_true(logged("was truncated"));
    write_sector(b, 2, 0x32);
    struct stat st;
    assert_int_equal(stat(image, &st), 0);
    assert_int_equal(st.st_size, 10 * 512 + 100);
    /* it grows back: what is there can be used again, and no more than at the start */
    assert_int_equal(truncate(image, 1 << 20), 0);
    write_sector(b, 12, 0x33);
    assert_int_equal(transfer(b, BLOCK_READ, SECTORS, buf, 512), E_RANGE);
    block_close(b);
}

static void test_removed(void **state)
{
    (void)state;
    struct block *b = must_open((struct block_spec){0});
    unlink(image);
    write_sector(b, 1, 0x31);
    expect_sector(b, 1, 0x31);
    assert_true(logged("was removed"));
    block_close(b);
    make_image(512);
}

/* A full disk: the limit on the size of files says EFBIG where a full one would say ENOSPC. */
static void test_full(void **state)
{
    (void)state;
    u8 buf[8 * 512] = {0};
    struct rlimit old, small;
    struct block *b = must_open((struct block_spec){0});
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 16 * 512;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = transfer(b, BLOCK_WRITE, 12, buf, sizeof buf);
    int beyond = transfer(b, BLOCK_WRITE, 20, buf, 512);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rc, E_NOSPC);
    assert_int_equal(beyond, E_NOSPC);
    assert_true(logged("write of 512 bytes at 10240"));
    expect_sector(b, 11, 12);
    write_sector(b, 20, 0x99);
    block_close(b);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct meeting {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    u32 notified;
};
static void on_notify(void *ctx)
{
    struct meeting *m = ctx;
    pthread_mutex_lock(&m->lock);
    m->notified++;
    pthread_cond_signal(&m->cond);
    pthread_mutex_unlock(&m->lock);
}

static void test_workers(void **state)
{
    (void)state;
    static u8 data[MANY][512];
    static struct iovec iov[MANY];
    static struct block_req req[MANY];
    struct meeting m = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    struct err e = {0};
    struct block *b = must_open((struct block_spec){0});
    block_set_notify(b, on_notify, &m);
    assert_int_equal(block_start(b, 3, &e), 0);
    finished = 0;
    for (u32 i = 0; i < MANY; i++) {
        memset(data[i], (int)(0x80 + i), 512);
        iov[i] = (struct iovec){data[i], 512};
        req[i] = (struct block_req){.op = BLOCK_WRITE,
                                    .offset = i * 512,
                                    .bytes = 512,
                                    .iov = &iov[i],
                                    .iovs = 1,
                                    .done = on_done};
        block_submit(b, &req[i]);
    }
    for (u32 seen = 0; finished < MANY;) {
        pthread_mutex_lock(&m.lock);
        while (m.notified == seen) pthread_cond_wait(&m.cond, &m.lock);
        seen = m.notified;
        pthread_mutex_unlock(&m.lock);
        block_complete(b);
    }
    for (u32 i = 0; i < MANY; i++) assert_int_equal(req[i].result, 0);
    /* stopping executes what is still queued */
    for (u32 i = 0; i < MANY; i++) {
        data[i][0] = 0xEE;
        block_submit(b, &req[i]);
    }
    block_stop(b);
    block_close(b);
    b = must_open((struct block_spec){.readonly = true});
    u8 buf[512];
    for (u32 i = 0; i < MANY; i++) {
        assert_int_equal(transfer(b, BLOCK_READ, i, buf, 512), 0);
        assert_int_equal(buf[0], 0xEE);
        assert_int_equal(buf[1], 0x80 + i);
    }
    block_close(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_read_write, setup, teardown),
        cmocka_unit_test_setup_teardown(test_slice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_locks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_readonly, setup, teardown),
        cmocka_unit_test_setup_teardown(test_snapshot, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
        cmocka_unit_test_setup_teardown(test_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full, setup, teardown),
        cmocka_unit_test_setup_teardown(test_workers, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
