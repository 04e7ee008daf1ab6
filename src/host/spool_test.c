/* spool_test - documents: their ends, their names, a full disk, nothing lost. */
#include "host/spool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

struct rig {
    struct loop *loop;
    struct loop_timer *stop;
    struct spool *spool;
    char folder[40], path[64];
    u32 writable, stuck;
};

static void on_stop(void *ctx) { loop_stop(((struct rig *)ctx)->loop); }
static void on_writable(void *ctx) { ((struct rig *)ctx)->writable++; }
static void on_stuck(void *ctx, const char *why)
{
    assert_non_null(strchr(why, ':'));
    ((struct rig *)ctx)->stuck++;
}

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    const struct spool_events ev = {.ctx = r, .writable = on_writable, .stuck = on_stuck};
    struct err e;
    snprintf(r->folder, sizeof r->folder, "/tmp/ring3-spool-XXXXXX");
    if (!mkdtemp(r->folder) || loop_create(&r->loop, &e) < 0) return -1;
    r->stop = loop_timer_add(r->loop, on_stop, r, &e);
    *state = r;
    signal(SIGXFSZ, SIG_IGN);
    return spool_open(&r->spool, r->folder, r->loop, &ev, &e);
}

static const char *job(struct rig *r, u32 n)
{
    snprintf(r->path, sizeof r->path, "%s/job-%06u.prn", r->folder, n);
    return r->path;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    spool_close(r->spool);
    loop_destroy(r->loop);
    for (u32 i = 1; i < 20; i++) unlink(job(r, i));
    int rc = rmdir(r->folder);
    free(r);
    return rc;
}

static void settle(struct rig *r)
{
    loop_timer_set(r->stop, MS_TO_NS(20));
    loop_run(r->loop);
}

static void print(struct rig *r, const char *text)
{
    u32 n = (u32)strlen(text);
    assert_int_equal(spool_write(r->spool, (const u8 *)text, n), n);
}

static s64 size_of(struct rig *r, u32 n)
{
    struct stat st;
    return stat(job(r, n), &st) < 0 ? -1 : (s64)st.st_size;
}

static void test_documents(void **state)
{
    struct rig *r = *state;
    close(open(job(r, 2), O_CREAT | O_WRONLY, 0600)); /* somebody else's */
    spool_end(r->spool);                              /* of nothing: no document */
    settle(r);
    assert_int_equal(size_of(r, 1), -1);
    print(r, "abc");
    settle(r);
    assert_int_equal(size_of(r, 1), 3);
    print(r, "de");
    spool_end(r->spool);
    assert_int_equal(spool_write(r->spool, (const u8 *)"f", 1), 0); /* not before the end */
    settle(r);
    assert_int_equal(r->writable, 1);
    assert_int_equal(size_of(r, 1), 5);
    print(r, "f");
    settle(r);
    assert_int_equal(size_of(r, 2), 0);
    assert_int_equal(size_of(r, 3), 1);
    print(r, "g"); /* written when it closes */
    assert_false(spool_stuck(r->spool));
}

static void test_full_disk(void **state)
{
    struct rig *r = *state;
    struct rlimit old, small;
    static u8 much[100000];
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 4;
    setrlimit(RLIMIT_FSIZE, &small);
    print(r, "abcdef");
    settle(r);
    assert_true(spool_stuck(r->spool));
    assert_int_equal(r->stuck, 1);
    assert_int_equal(size_of(r, 1), 4);
    u32 took = spool_write(r->spool, much, sizeof much);
    assert_int_equal(took, 65536 - 2); /* memory is bounded */
    assert_int_equal(spool_write(r->spool, much, 1), 0);
    spool_end(r->spool);
    settle(r);
    assert_int_equal(r->stuck, 1); /* told once */
    assert_int_equal(r->writable, 0);
    setrlimit(RLIMIT_FSIZE, &old);
    spool_end(r->spool);
    settle(r);
    assert_false(spool_stuck(r->spool));
    assert_int_equal(r->writable, 1);
    assert_int_equal(size_of(r, 1), 4 + 65536);
    print(r, "x");
    settle(r);
    assert_int_equal(size_of(r, 2), 1);
}

static void test_bad_folder(void **state)
{
    struct rig *r = *state;
    struct spool *s;
    struct err e;
    const struct spool_events ev = {0};
    assert_int_equal(spool_open(&s, "/nosuch", r->loop, &ev, &e), E_NOENT);
    assert_non_null(strstr(e.text, "/nosuch"));
    assert_true(spool_open(&s, "/etc/passwd", r->loop, &ev, &e) < 0);
    spool_close(NULL);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_documents), UNIT(test_full_disk),
                                       UNIT(test_bad_folder)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
