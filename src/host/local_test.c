/* local_test - the folder of control sockets, and sockets for their owner only. */
#include "host/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test.h"

static char folder[64], path[LOCAL_PATH_BYTES];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/ring3-local-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/s", folder);
    return setenv("XDG_RUNTIME_DIR", folder, 1);
}
static int teardown(void **state)
{
    char sub[80];
    (void)state;
    unlink(path);
    snprintf(sub, sizeof sub, "%s/ring3", folder);
    rmdir(sub);
    unlink(sub);
    return rmdir(folder);
}

static void test_folder(void **state)
{
    struct err e;
    char got[LOCAL_PATH_BYTES], want[80];
    struct stat st;
    (void)state;
    snprintf(want, sizeof want, "%s/ring3", folder);
    assert_int_equal(local_folder(got, sizeof got, &e), 0);
    assert_string_equal(got, want);
    assert_int_equal(stat(got, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    assert_int_equal(local_folder(got, sizeof got, &e), 0); /* once more: it is there */
    assert_int_equal(local_folder(got, 10, &e), E_RANGE);
    assert_int_equal(chmod(want, 0755), 0);
    assert_int_equal(local_folder(got, sizeof got, &e), E_PERM);
    rmdir(want);
    assert_int_equal(symlink("/tmp", want), 0);
    assert_int_equal(local_folder(got, sizeof got, &e), E_PERM);
    unlink(want);
    snprintf(want, sizeof want, "/tmp/ring3-%u", geteuid());
    static const char *const not_ours[] = {"/nosuch/folder", "relative", "/dev/null", "", NULL};
    for (u32 i = 0; i < ARRAY_LEN(not_ours); i++) {
        if (not_ours[i]) setenv("XDG_RUNTIME_DIR", not_ours[i], 1);
        else unsetenv("XDG_RUNTIME_DIR");
        (void)!local_folder(got, sizeof got, &e);
        assert_string_equal(got, want);
    }
}

static void test_socket(void **state)
{
    struct err e;
    struct stat st;
    bool stale;
    uid_t uid;
    pid_t pid;
    (void)state;
    assert_int_equal(local_connect(path, &stale, &e), E_NOENT);
    assert_false(stale);
    int fd = local_listen(path, &e);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(local_accept(fd), -1);
    int client = local_connect(path, NULL, &e), server = local_accept(fd);
    assert_true(client >= 0 && server >= 0);
    assert_true(local_peer(server, &uid, &pid) && uid == geteuid() && pid == getpid());
    assert_int_equal(local_listen(path, &e), E_BUSY);
    close(client), close(server), close(fd);
    assert_int_equal(local_connect(path, &stale, &e), E_NOENT);
    assert_true(stale);
    fd = local_listen(path, &e); /* takes the stale one's place */
    assert_true(fd >= 0);
    close(fd);
    unlink(path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    assert_int_equal(local_listen(path, &e), E_BUSY);
    char endless[300] = "";
    memset(endless, 'a', sizeof endless - 1);
    assert_int_equal(local_listen(endless, &e), E_RANGE);
    assert_int_equal(local_connect(endless, NULL, &e), E_RANGE);
}

static void test_lock(void **state)
{
    struct err e;
    (void)state;
    int fd = local_lock(folder, &e);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(local_lock("/nosuch", &e), E_NOENT);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_folder), UNIT(test_socket), UNIT(test_lock)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
