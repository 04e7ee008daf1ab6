/* stream_test - every kind of stream against real descriptors: files, pipes, sockets; flow control
 * in both directions. */
#include "host/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "host/tty.h"

struct rig {
    struct loop *loop;
    struct stream *stream;
    struct loop_timer *timer; /* gives up a loop that waits in vain */
    char folder[32], path[64], spec[80];
    u32 room; /* what the device takes */
    u8 got[1 << 18];
    u32 got_bytes, stop_at; /* the loop stops at so many bytes of input */
    u32 writable_calls;
    bool stop_when_writable, quit;
};

static u32 on_room(void *ctx) { return ((struct rig *)ctx)->room; }

static void on_input(void *ctx, const u8 *buf, u32 bytes)
{
    struct rig *r = ctx;
    assert_true(bytes <= r->room);
    memcpy(r->got + r->got_bytes, buf, bytes);
    r->got_bytes += bytes;
    r->room -= bytes;
    if (r->got_bytes >= r->stop_at) loop_stop(r->loop);
}

static void on_writable(void *ctx)
{
    struct rig *r = ctx;
    r->writable_calls++;
    if (r->stop_when_writable) loop_stop(r->loop);
}

static void on_quit(void *ctx) { ((struct rig *)ctx)->quit = true; }
static void on_timer(void *ctx) { loop_stop(((struct rig *)ctx)->loop); }

static int setup(void **state)
{
    struct rig *r = calloc(1, sizeof *r);
    struct err e;
    snprintf(r->folder, sizeof r->folder, "/tmp/ring3-stream-XXXXXX");
    if (!mkdtemp(r->folder) || loop_create(&r->loop, &e) < 0) return -1;
    r->timer = loop_timer_add(r->loop, on_timer, r, &e);
    snprintf(r->path, sizeof r->path, "%s/s", r->folder);
    r->room = sizeof r->got;
    r->stop_at = UINT32_MAX;
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct rig *r = *state;
    stream_close(r->stream);
    loop_destroy(r->loop);
    unlink(r->path);
    rmdir(r->folder);
    free(r);
    return 0;
}

static int open_spec(struct rig *r, const char *prefix, struct err *e)
{
    const struct stream_events ev = {
        .ctx = r, .room = on_room, .input = on_input, .writable = on_writable, .quit = on_quit};
    snprintf(r->spec, sizeof r->spec, "%s%s", prefix, strchr(prefix, ':') ? r->path : "");
    return stream_open(&r->stream, r->spec, r->loop, &ev, e);
}

static void run_for(struct rig *r, u64 ms)
{
    loop_timer_set(r->timer, MS_TO_NS(ms));
    loop_run(r->loop);
}

static int connect_to(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    memcpy(sa.sun_path, path, strlen(path) + 1);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    return fd;
}

static void test_specs(void **state)
{
    static const char *const good[] = {"stdio", "none", "file:x", "unix:/a/b"};
    static const char *const bad[] = {
        "", "tty", "file:", "unix:", "stdio:", "nonesuch", "stdiox", "File:x"};
    struct err e;
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(good); i++) assert_int_equal(stream_spec_check(good[i], &e), 0);
    for (u32 i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(stream_spec_check(bad[i], &e), E_INVAL);
    assert_int_equal(stream_spec_check(NULL, &e), E_INVAL);
}

static void test_file(void **state)
{
    struct rig *r = *state;
    struct err e;
    struct stream *other;
    assert_int_equal(open_spec(r, "file:", &e), 0);
    assert_int_equal(stream_write(r->stream, (const u8 *)"one\n", 4), 4);
    const struct stream_events ev = {
        .ctx = r, .room = on_room, .input = on_input, .writable = on_writable};
    assert_int_equal(stream_open(&other, r->spec, r->loop, &ev, &e), E_BUSY);
    stream_close(r->stream);
    r->stream = NULL;
    char text[8] = "";
    FILE *f = fopen(r->path, "r");
    assert_int_equal(fread(text, 1, sizeof text, f), 4);
    fclose(f);
    assert_string_equal(text, "one\n");
    assert_int_equal(open_spec(r, "file:", &e), 0); /* truncates */
    struct stat st;
    assert_int_equal(stat(r->path, &st), 0);
    assert_int_equal(st.st_size, 0);
}

static void test_none(void **state)
{
    struct rig *r = *state;
    struct err e;
    u8 big[4096] = {0};
    assert_int_equal(open_spec(r, "none", &e), 0);
    stream_start(r->stream);
    for (u32 i = 0; i < 100; i++)
        assert_int_equal(stream_write(r->stream, big, sizeof big), sizeof big);
}

static void test_socket_both_ways(void **state)
{
    struct rig *r = *state;
    struct err e;
    struct stat st;
    char text[16] = "";
    assert_int_equal(open_spec(r, "unix:", &e), 0);
    stream_start(r->stream);
    assert_int_equal(stat(r->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stream_write(r->stream, (const u8 *)"lost", 4), 4); /* nobody listens */
    int fd = connect_to(r->path);
    assert_int_equal(write(fd, "hello", 5), 5);
    r->stop_at = 5;
    run_for(r, 10000);
    assert_memory_equal(r->got, "hello", 5);
    assert_int_equal(stream_write(r->stream, (const u8 *)"there", 5), 5);
    assert_int_equal(read(fd, text, sizeof text), 5);
    assert_string_equal(text, "there");
    close(fd);
    fd = connect_to(r->path); /* the next one */
    assert_int_equal(write(fd, "again", 5), 5);
    r->stop_at = 10;
    run_for(r, 10000);
    assert_memory_equal(r->got, "helloagain", 10);
    close(fd);
    stream_close(r->stream);
    r->stream = NULL;
    assert_int_equal(stat(r->path, &st), -1);
}

static void test_socket_input_waits_for_room(void **state)
{
    struct rig *r = *state;
    struct err e;
    u8 sent[20000];
    for (u32 i = 0; i < sizeof sent; i++) sent[i] = (u8)(i * 7);
    assert_int_equal(open_spec(r, "unix:", &e), 0);
    stream_start(r->stream);
    int fd = connect_to(r->path);
    assert_int_equal(write(fd, sent, sizeof sent), sizeof sent);
    r->room = 3;
    r->stop_at = 3;
    run_for(r, 10000);
    assert_int_equal(r->got_bytes, 3);
    while (r->got_bytes < sizeof sent) {
        u32 before = r->got_bytes;
        r->room = 1000;
        r->stop_at = (u32)min_u64(before + 1000, sizeof sent);
        stream_input_ready(r->stream);
        run_for(r, 10000);
        assert_true(r->got_bytes > before);
    }
    assert_memory_equal(r->got, sent, sizeof sent);
    close(fd);
}

static void test_socket_output_backs_up(void **state)
{
    struct rig *r = *state;
    struct err e;
    u8 block[4096];
    u64 taken = 0, read_bytes = 0;
    assert_int_equal(open_spec(r, "unix:", &e), 0);
    stream_start(r->stream);
    int fd = connect_to(r->path);
    run_for(r, 50); /* accept */
    for (u32 n = sizeof block; n == sizeof block;) {
        for (u32 i = 0; i < sizeof block; i++) block[i] = (u8)((taken + i) * 13);
        n = stream_write(r->stream, block, sizeof block);
        taken += n;
        assert_true(taken < MIB(16)); /* it must refuse one day */
    }
    assert_int_equal(r->writable_calls, 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    r->stop_when_writable = true;
    while (read_bytes < taken) {
        ssize_t n = read(fd, block, sizeof block);
        if (n < 0) {
            run_for(r, 50);
            continue;
        }
        for (ssize_t i = 0; i < n; i++)
            assert_int_equal(block[i], (u8)((read_bytes + (u64)i) * 13));
        read_bytes += (u64)n;
    }
    assert_int_equal(r->writable_calls, 1);
    close(fd);
}

static void test_socket_client_leaves_while_blocked(void **state)
{
    struct rig *r = *state;
    struct err e;
    static const u8 block[4096];
    assert_int_equal(open_spec(r, "unix:", &e), 0);
    stream_start(r->stream);
    int fd = connect_to(r->path);
    run_for(r, 50);
    while (stream_write(r->stream, block, sizeof block) == sizeof block) {
    }
    close(fd);
    r->stop_when_writable = true;
    run_for(r, 10000);
    assert_true(r->writable_calls > 0); /* output flows (into nothing) again */
    assert_int_equal(stream_write(r->stream, block, sizeof block), sizeof block);
}

static void test_socket_taken_and_stale(void **state)
{
    struct rig *r = *state;
    struct err e;
    struct stream *other;
    const struct stream_events ev = {
        .ctx = r, .room = on_room, .input = on_input, .writable = on_writable};
    assert_int_equal(open_spec(r, "unix:", &e), 0);
    assert_int_equal(stream_open(&other, r->spec, r->loop, &ev, &e), E_BUSY);
    assert_non_null(strstr(e.text, r->path));
    stream_close(r->stream);
    r->stream = NULL;
    struct sockaddr_un sa = {.sun_family = AF_UNIX}; /* what a killed process leaves */
    memcpy(sa.sun_path, r->path, strlen(r->path) + 1);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    close(fd);
    assert_int_equal(open_spec(r, "unix:", &e), 0);
    stream_close(r->stream);
    r->stream = NULL;
    FILE *f = fopen(r->path, "w"); /* never removed: it is not a socket */
    fclose(f);
    assert_int_equal(open_spec(r, "unix:", &e), E_BUSY);
    assert_int_equal(access(r->path, F_OK), 0);
}

/* In a child whose standard input brings @input and whose output @out_fd is; returns what the
 * child's check says. */
static int with_stdio(struct rig *r, int in_fd, int out_fd, int (*check)(struct rig *))
{
    pid_t pid = fork();
    if (pid == 0) {
        struct err e;
        tty_guard_install();
        dup2(in_fd, STDIN_FILENO);
        dup2(out_fd, STDOUT_FILENO);
        if (open_spec(r, "stdio", &e) < 0) _exit(1);
        stream_start(r->stream);
        int rc = check(r);
        stream_close(r->stream);
        _exit(rc);
    }
    int status;
    waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int check_input(struct rig *r)
{
    r->stop_at = 6;
    run_for(r, 10000);
    if (r->got_bytes != 6 || memcmp(r->got, "ab\x01xyz", 6) != 0 || r->quit) return 2;
    r->stop_at = UINT32_MAX;
    run_for(r, 50); /* the end of input is no event */
    return stream_write(r->stream, (const u8 *)"out", 3) == 3 ? 0 : 3;
}

static void test_stdio_pipe(void **state)
{
    struct rig *r = *state;
    int in[2], out[2];
    char text[8] = "";
    assert_int_equal(pipe(in) | pipe(out), 0);
    assert_int_equal(write(in[1], "ab\x01xyz", 6), 6);
    close(in[1]);
    assert_int_equal(with_stdio(r, in[0], out[1], check_input), 0);
    assert_int_equal(read(out[0], text, sizeof text), 3);
    assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0); /* others share it */
    close(in[0]), close(out[0]), close(out[1]);
}

static void test_stdio_file(void **state)
{
    struct rig *r = *state;
    FILE *in = tmpfile(), *out = tmpfile();
    fwrite("ab\x01xyz", 1, 6, in);
    rewind(in);
    assert_int_equal(with_stdio(r, fileno(in), fileno(out), check_input), 0);
    fseek(out, 0, SEEK_END);
    assert_int_equal(ftell(out), 3);
    fclose(in), fclose(out);
}

static int check_gone(struct rig *r)
{
    static const u8 block[4096];
    for (u32 i = 0; i < 100; i++)
        if (stream_write(r->stream, block, sizeof block) != sizeof block) return 2;
    run_for(r, 10);
    return 0;
}

static void test_stdio_reader_gone(void **state)
{
    struct rig *r = *state;
    int out[2], null = open("/dev/null", O_RDONLY);
    assert_int_equal(pipe(out), 0);
    close(out[0]);
    assert_int_equal(with_stdio(r, null, out[1], check_gone), 0);
    close(out[1]), close(null);
}

static void test_keys(void **state)
{
    bool escaped = false;
    (void)state;
    assert_int_equal(tty_key(&escaped, 'x'), TTY_KEY_SEND);
    assert_int_equal(tty_key(&escaped, TTY_ESCAPE), TTY_KEY_NONE);
    assert_int_equal(tty_key(&escaped, TTY_ESCAPE), TTY_KEY_SEND);
    assert_int_equal(tty_key(&escaped, TTY_ESCAPE), TTY_KEY_NONE);
    assert_int_equal(tty_key(&escaped, 'x'), TTY_KEY_QUIT);
    assert_int_equal(tty_key(&escaped, TTY_ESCAPE), TTY_KEY_NONE);
    assert_int_equal(tty_key(&escaped, 'h'), TTY_KEY_HELP);
    assert_int_equal(tty_key(&escaped, TTY_ESCAPE), TTY_KEY_NONE);
    assert_int_equal(tty_key(&escaped, 'q'), TTY_KEY_NONE);
    assert_int_equal(tty_key(&escaped, 'q'), TTY_KEY_SEND);
}

#define WITH_RIG(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs),
        WITH_RIG(test_file),
        WITH_RIG(test_none),
        WITH_RIG(test_socket_both_ways),
        WITH_RIG(test_socket_input_waits_for_room),
        WITH_RIG(test_socket_output_backs_up),
        WITH_RIG(test_socket_client_leaves_while_blocked),
        WITH_RIG(test_socket_taken_and_stale),
        WITH_RIG(test_stdio_pipe),
        WITH_RIG(test_stdio_file),
        WITH_RIG(test_stdio_reader_gone),
        cmocka_unit_test(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
