/* host/display_test.c - displays: specifications, the VNC server against libvncclient, a terminal's
 * keys, the PNG file. The server and its client run in one process: the loop on its own thread. */
#include "host/display.h"

#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <pthread.h>
#include <rfb/rfbclient.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/keys.h"
#include "base/test.h"
#include "host/display_internal.h"

enum { WIDTH = 320, HEIGHT = 200, EVENTS_MAX = 256, TRIES = 3000 };

struct rig {
    struct loop *loop;
    struct display *d;
    struct loop_timer *tick;
    pthread_t thread;
    char folder[64], spec[160];
    pthread_mutex_t lock, event_lock; /* of the picture; of the events */
    struct pixmap p;
    bool changed; /* tell the display all of it, at the next tick */
    u32 events, looks;
    struct input_event event[EVENTS_MAX];
};
static struct rig r;

static void on_look(void *ctx)
{
    (void)ctx;
    r.looks++;
    loop_timer_set(r.tick, 0);
}
static void on_input(void *ctx, const struct input_event *ev)
{
    (void)ctx;
    pthread_mutex_lock(&r.event_lock);
    if (r.events < EVENTS_MAX) r.event[r.events++] = *ev;
    pthread_mutex_unlock(&r.event_lock);
}
static bool on_idle(void *ctx)
{
    (void)ctx;
    return true;
}
static void on_quit(void *ctx) { (void)ctx; }
static void on_lost(void *ctx, const char *why)
{
    (void)ctx;
    fail_msg("%s", why);
}
static const struct display_events events = {
    .look = on_look, .input = on_input, .input_idle = on_idle, .quit = on_quit, .lost = on_lost};

static void on_tick(void *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&r.lock);
    r.p.dirty_top = 0;
    r.p.dirty_end = r.changed ? r.p.height : 0;
    r.changed = false;
    display_update(r.d, &r.p, NULL);
    pthread_mutex_unlock(&r.lock);
    loop_timer_set(r.tick, MS_TO_NS(2));
}

static void *loop_thread(void *ctx)
{
    (void)ctx;
    loop_run(r.loop);
    return NULL;
}

static u32 color(u32 x, u32 y, u32 seed) { return (x * 7 + y * 65537 + seed * 4099) & 0xFFFFFF; }
static void paint(u32 w, u32 h, u32 seed)
{
    pthread_mutex_lock(&r.lock);
    r.p.width = w;
    r.p.height = h;
    for (u32 y = 0; y < h; y++)
        for (u32 x = 0; x < w; x++) r.p.px[y * w + x] = color(x, y, seed);
    r.changed = true;
    pthread_mutex_unlock(&r.lock);
}

/* A display of @spec whose loop runs; %s in it is the test's folder. */
static void start(const char *spec)
{
    struct err e = {0};
    snprintf(r.spec, sizeof r.spec, "%s", spec);
    if (display_open(&r.d, r.spec, r.loop, &events, &e) < 0) fail_msg("%s", e.text);
    display_start(r.d);
    assert_int_equal(pthread_create(&r.thread, NULL, loop_thread, NULL), 0);
}
static void stop(void)
{
    loop_stop(r.loop);
    pthread_join(r.thread, NULL);
    display_close(r.d);
    r.d = NULL;
}

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    memset(&r, 0, sizeof r);
    pthread_mutex_init(&r.lock, NULL);
    pthread_mutex_init(&r.event_lock, NULL);
    strcpy(r.folder, "/tmp/ring3-display-XXXXXX");
    assert_non_null(mkdtemp(r.folder));
    assert_int_equal(loop_create(&r.loop, &e), 0);
    r.tick = loop_timer_add(r.loop, on_tick, NULL, &e);
    assert_non_null(r.tick);
    r.p.px = calloc((size_t)PIXMAP_WIDTH_MAX * PIXMAP_HEIGHT_MAX, sizeof(u32));
    assert_non_null(r.p.px);
    paint(WIDTH, HEIGHT, 1);
    return 0;
}
static int teardown(void **state)
{
    char command[96];
    (void)state;
    loop_destroy(r.loop);
    free(r.p.px);
    snprintf(command, sizeof command, "rm -rf %s", r.folder);
    return system(command) ? -1 : 0;
}

/* ---- a viewer -------------------------------------------------------------------------------- */

static rfbBool on_size(rfbClient *c)
{
    free(c->frameBuffer);
    c->frameBuffer = calloc((size_t)c->width * (size_t)c->height, 4);
    return c->frameBuffer != NULL;
}
static char *on_password(rfbClient *c) { return strdup(rfbClientGetClientData(c, NULL)); }

/* Connected and past the handshake, or NULL. */
static rfbClient *viewer(const char *path, char *password)
{
    rfbClient *c = rfbGetClient(8, 3, 4);
    assert_non_null(c);
    rfbEnableClientLogging = FALSE;
    c->MallocFrameBuffer = on_size;
    c->GetPassword = on_password;
    c->canHandleNewFBSize = TRUE;
    c->format.redShift = 16;
    c->format.greenShift = 8;
    c->format.blueShift = 0;
    c->appData.encodingsString = "raw";
    rfbClientSetClientData(c, NULL, password);
    free(c->serverHost);
    c->serverHost = strdup(path);                   /* a path is a Unix socket */
    return rfbInitClient(c, NULL, NULL) ? c : NULL; /* frees it when it fails */
}
static void viewer_close(rfbClient *c)
{
    free(c->frameBuffer);
    c->frameBuffer = NULL;
    rfbClientCleanup(c);
}

static bool shows(const rfbClient *c, u32 w, u32 h, u32 seed)
{
    const u32 *px = (const u32 *)c->frameBuffer;
    if (!px || (u32)c->width != w || (u32)c->height != h) return false;
    for (u32 y = 0; y < h; y++)
        for (u32 x = 0; x < w; x++)
            if ((px[y * w + x] & 0xFFFFFF) != color(x, y, seed)) return false;
    return true;
}
static void expect_picture(rfbClient *c, u32 w, u32 h, u32 seed)
{
    for (u32 i = 0; i < TRIES && !shows(c, w, h, seed); i++) {
        int n = WaitForMessage(c, 10000);
        assert_true(n >= 0);
        if (n > 0) assert_true(HandleRFBServerMessage(c));
    }
    assert_true(shows(c, w, h, seed));
}
/* Until the server has seen @n events. */
static void expect_events(u32 n)
{
    u32 have = 0;
    for (u32 i = 0; i < TRIES && have < n; i++) {
        usleep(1000);
        pthread_mutex_lock(&r.event_lock);
        have = r.events;
        pthread_mutex_unlock(&r.event_lock);
    }
    assert_int_equal(have, n);
}
static void expect_key(u32 i, u32 code, bool down)
{
    assert_int_equal(r.event[i].kind, INPUT_KEY);
    assert_int_equal(r.event[i].code, code);
    assert_int_equal(r.event[i].down, down);
}

/* ---- VNC ------------------------------------------------------------------------------------- */

static void test_vnc_pixels(void **state)
{
    char path[96], spec[128];
    (void)state;
    snprintf(path, sizeof path, "%s/vnc", r.folder);
    snprintf(spec, sizeof spec, "vnc=unix:%s", path);
    start(spec);
    rfbClient *c = viewer(path, NULL);
    assert_non_null(c);
    expect_picture(c, WIDTH, HEIGHT, 1);
    paint(WIDTH, HEIGHT, 2);
    expect_picture(c, WIDTH, HEIGHT, 2);
    paint(1920, 1080, 3); /* another size, larger than any socket's buffer */
    expect_picture(c, 1920, 1080, 3);
    rfbClient *second = viewer(path, NULL);
    assert_non_null(second);
    expect_picture(second, 1920, 1080, 3);
    viewer_close(second);
    paint(640, 480, 4);
    expect_picture(c, 640, 480, 4);
    viewer_close(c);
    assert_int_equal(r.looks, 2);
    stop();
    assert_int_equal(access(path, F_OK), -1); /* the socket went with the server */
}

static void test_vnc_input(void **state)
{
    char path[96], spec[128];
    (void)state;
    snprintf(path, sizeof path, "%s/vnc", r.folder);
    snprintf(spec, sizeof spec, "vnc=unix:%s", path);
    start(spec);
    rfbClient *c = viewer(path, NULL);
    assert_non_null(c);
    SendKeyEvent(c, 0xFFE1, TRUE); /* shift, then A */
    SendKeyEvent(c, 'A', TRUE);
    SendKeyEvent(c, 'A', FALSE);
    SendKeyEvent(c, 0xFFE1, FALSE);
    SendKeyEvent(c, 0xFF0D, TRUE); /* return is held down while the viewer goes */
    expect_events(5);
    expect_key(0, KEY_SHIFT, true);
    expect_key(1, KEY_A, true);
    expect_key(2, KEY_A, false);
    expect_key(3, KEY_SHIFT, false);
    expect_key(4, KEY_RET, true);
    SendPointerEvent(c, 10, 20, 0);
    SendPointerEvent(c, 13, 15, 1);
    SendPointerEvent(c, 13, 15, 8);
    expect_events(10);
    assert_int_equal(r.event[5].kind, INPUT_MOVE);
    assert_int_equal(r.event[6].dx, 3);
    assert_int_equal(r.event[6].dy, -5);
    assert_int_equal(r.event[7].kind, INPUT_BUTTON);
    assert_int_equal(r.event[7].code, 0);
    assert_true(r.event[7].down);
    assert_false(r.event[8].down);
    assert_int_equal(r.event[9].kind, INPUT_WHEEL);
    assert_int_equal(r.event[9].dy, -1);
    viewer_close(c);
    expect_events(11);
    expect_key(10, KEY_RET, false);
    stop();
}

/* Characters without the shift that makes them, or with one that does not belong to them. */
static void test_vnc_layout(void **state)
{
    char path[96], spec[128];
    (void)state;
    snprintf(path, sizeof path, "%s/vnc", r.folder);
    snprintf(spec, sizeof spec, "vnc=unix:%s", path);
    start(spec);
    rfbClient *c = viewer(path, NULL);
    assert_non_null(c);
    SendKeyEvent(c, '$', TRUE);
    SendKeyEvent(c, '$', FALSE);
    expect_events(4);
    expect_key(0, KEY_SHIFT, true);
    expect_key(1, KEY_4, true);
    expect_key(2, KEY_SHIFT, false);
    expect_key(3, KEY_4, false);
    SendKeyEvent(c, 0xFFE2, TRUE); /* right shift and 7: a slash on a German keyboard */
    SendKeyEvent(c, '/', TRUE);
    SendKeyEvent(c, '/', FALSE);
    expect_events(9);
    expect_key(4, KEY_SHIFT_R, true);
    expect_key(5, KEY_SHIFT_R, false);
    expect_key(6, KEY_SLASH, true);
    expect_key(7, KEY_SHIFT_R, true);
    expect_key(8, KEY_SLASH, false);
    SendKeyEvent(c, 0xFFE2, FALSE);
    SendKeyEvent(c, 0xFFE5, TRUE); /* caps lock is the guest's affair */
    SendKeyEvent(c, 0xFFE5, FALSE);
    SendKeyEvent(c, 'Q', TRUE);
    SendKeyEvent(c, 'Q', FALSE);
    expect_events(14);
    expect_key(12, KEY_Q, true);
    expect_key(13, KEY_Q, false);
    viewer_close(c);
    stop();
}

static void test_vnc_password(void **state)
{
    char path[64], spec[256], file[96], right[] = "secret", wrong[] = "guess";
    struct err e = {0};
    struct display *d;
    (void)state;
    snprintf(path, sizeof path, "%.40s/vnc", r.folder);
    snprintf(file, sizeof file, "%.40s/password", r.folder);
    FILE *f = fopen(file, "w");
    assert_non_null(f);
    snprintf(spec, sizeof spec, "vnc=unix:%s,password=%s", path, file);
    assert_true(display_open(&d, spec, r.loop, &events, &e) < 0); /* empty */
    fputs("secret\n", f);
    fclose(f);
    start(spec);
    assert_null(viewer(path, wrong));
    rfbClient *c = viewer(path, right);
    assert_non_null(c);
    expect_picture(c, WIDTH, HEIGHT, 1);
    viewer_close(c);
    stop();
}

/* A viewer that asks for a large picture and reads nothing must not hold anybody up. */
static void test_vnc_stalled(void **state)
{
    char path[96], spec[128], junk[256];
    (void)state;
    snprintf(path, sizeof path, "%s/vnc", r.folder);
    snprintf(spec, sizeof spec, "vnc=unix:%s", path);
    paint(1920, 1080, 5);
    start(spec);
    rfbClient *lazy = viewer(path, NULL);
    assert_non_null(lazy);
    assert_true(SendFramebufferUpdateRequest(lazy, 0, 0, 1920, 1080, FALSE));
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    memcpy(sa.sun_path, path, sizeof path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0); /* one that speaks nonsense, and goes */
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
    memset(junk, 0xA5, sizeof junk);
    assert_int_equal(write(fd, junk, sizeof junk), sizeof junk);
    rfbClient *c = viewer(path, NULL);
    assert_non_null(c);
    for (u32 seed = 6; seed < 9; seed++) {
        paint(1920, 1080, seed);
        expect_picture(c, 1920, 1080, seed);
    }
    close(fd);
    viewer_close(c);
    viewer_close(lazy);
    stop();
}

/* ---- specifications -------------------------------------------------------------------------- */

static void test_specs(void **state)
{
    static const char *const good[] = {"none",        "text",
                                       "vnc=:0",      "vnc=localhost:5901",
                                       "vnc=[::1]:1", "vnc=unix:/tmp/x,password=/tmp/y",
                                       "png:out.png"};
    static const char *const bad[] = {
        "",          "texts",      "vnc",     "vnc=",        "vnc=:x",           "vnc=host",
        "vnc=unix:", "vnc=:65000", "vnc=h:0", "vnc=h:70000", "vnc=:1,password=", "png:",
        "gtk"};
    struct err e;
    char path[32];
    (void)state;
    assert_int_equal(display_spec_check(NULL, &e), 0);
    for (u32 i = 0; i < ARRAY_LEN(good); i++) assert_int_equal(display_spec_check(good[i], &e), 0);
    for (u32 i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(display_spec_check(bad[i], &e), E_INVAL);
    assert_true(display_socket(good[5], path, sizeof path));
    assert_string_equal(path, "/tmp/x");
    assert_false(display_socket(good[2], path, sizeof path));
    assert_true(display_is(NULL, "none"));
    assert_true(display_is("vnc=:1", "vnc"));
}

/* A port somebody listens at, a path that cannot be. */
static void test_busy(void **state)
{
    struct display *d;
    struct err e = {0};
    char path[96], spec[128];
    (void)state;
    snprintf(path, sizeof path, "%s/vnc", r.folder);
    snprintf(spec, sizeof spec, "vnc=unix:%s", path);
    start(spec);
    assert_int_equal(display_open(&d, spec, r.loop, &events, &e), E_BUSY);
    assert_non_null(strstr(e.text, path));
    stop();
    assert_true(display_open(&d, "vnc=unix:/nonexistent/x", r.loop, &events, &e) < 0);
    assert_true(display_open(&d, "vnc=no.such.host.invalid:1", r.loop, &events, &e) < 0);
    assert_true(display_open(&d, "png:/nonexistent/x.png", r.loop, &events, &e) < 0);
    assert_int_equal(display_open(&d, "none", r.loop, &events, &e), 0);
    assert_null(d);
    display_update(d, NULL, NULL);
    display_close(d);
}

/* ---- PNG ------------------------------------------------------------------------------------- */

static void test_png(void **state)
{
    struct err e = {0};
    struct display *d;
    char path[96], spec[128];
    png_image img = {.version = PNG_IMAGE_VERSION, .format = PNG_FORMAT_RGB};
    (void)state;
    snprintf(path, sizeof path, "%s/out.png", r.folder);
    snprintf(spec, sizeof spec, "png:%s", path);
    assert_int_equal(display_open(&d, spec, r.loop, &events, &e), 0);
    assert_true(display_keeps(d));
    assert_false(display_looks(d));
    paint(1920, 1080, 7);
    display_update(d, &r.p, NULL);
    paint(16, 9, 8); /* shorter: nothing of the first one may be left */
    display_update(d, &r.p, NULL);
    display_close(d);
    assert_true(png_image_begin_read_from_file(&img, path));
    assert_int_equal(img.width, 16);
    u8 rgb[16 * 9 * 3];
    img.format = PNG_FORMAT_RGB;
    assert_true(png_image_finish_read(&img, NULL, rgb, 0, NULL));
    for (u32 i = 0; i < 16 * 9; i++)
        assert_int_equal((u32)rgb[3 * i] << 16 | (u32)rgb[3 * i + 1] << 8 | rgb[3 * i + 2],
                         color(i % 16, i / 16, 8));
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* What @bytes become: names of keys, + pressed, - released. */
static const char *keys(const char *bytes)
{
    static char out[512];
    struct key_parser k = {0};
    r.events = 0;
    for (const char *at = bytes; *at; at++) key_parser_byte(&k, (u8)*at, &events);
    key_parser_pause(&k, &events);
    out[0] = 0;
    for (u32 i = 0; i < r.events; i++) {
        size_t n = strlen(out);
        snprintf(out + n, sizeof out - n, "%s%c ", key_row(r.event[i].code)->name,
                 r.event[i].down ? '+' : '-');
    }
    return out;
}

static void test_keys(void **state)
{
    (void)state;
    assert_string_equal(keys("a"), "a+ a- ");
    assert_string_equal(keys("A"), "shift+ a+ a- shift- ");
    assert_string_equal(keys("\r"), "ret+ ret- ");
    assert_string_equal(keys("\x03"), "ctrl+ c+ c- ctrl- ");
    assert_string_equal(keys("\x1b"), "esc+ esc- ");
    assert_string_equal(keys("\x1b[A\x1bOB"), "up+ up- down+ down- ");
    assert_string_equal(keys("\x1b[3~"), "delete+ delete- ");
    assert_string_equal(keys("\x1bOP\x1b[24~"), "f1+ f1- f12+ f12- ");
    assert_string_equal(keys("\x1bx"), "alt+ x+ x- alt- ");
    assert_string_equal(keys("\x1b[1;5Ab"), "b+ b- "); /* unknown: swallowed to its end */
    assert_string_equal(keys("\x7f"), "backspace+ backspace- ");
    assert_string_equal(keys("\x1b\x1b"), "esc+ esc- esc+ esc- ");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_specs),      TEST(test_vnc_pixels),   TEST(test_vnc_input),
        TEST(test_vnc_layout), TEST(test_vnc_password), TEST(test_vnc_stalled),
        TEST(test_busy),       TEST(test_png),          TEST(test_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
