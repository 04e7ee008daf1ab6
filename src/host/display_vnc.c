/* display_vnc - a VNC server on the machine's event loop.
 *
 * libvncserver speaks the protocol; sockets are ours: we accept, watch the descriptors, and call
 * the library for one client when something came from it. The library waits (up to WAIT_MS) where a
 * client sends half a message, and would wait where one does not read; so a picture goes out in
 * pieces small enough for what poll(2) promises, and the rest when the client has taken them.
 * Spec: RFC 6143. */
#include <poll.h>
#include <rfb/rfb.h>
#include <rfb/rfbregion.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/keys.h"
#include "host/display_internal.h"
#include "host/file.h"

enum {
    VIEWERS_MAX = 8,
    WAIT_MS = 200,
    PIECE_BYTES = 48 << 10, /* of pixels, before encoding     */
    PIECES_AT_ONCE = 32,    /* then others get their turn     */
    PASSWORD_BYTES = 8,     /* more does not count in VNC     */
    PASSWORD_FILE_MAX = 4096,
    BUTTONS = 3,
    WHEEL_UP = 8,
    WHEEL_DOWN = 16,
};

struct vnc;
struct viewer {
    struct vnc *vnc;
    rfbClientPtr cl; /* NULL: a free place */
    struct loop_fd *watch;
    bool down[KEY_COUNT];
};
struct vnc {
    struct display *d;
    int listen_fd;
    struct loop_fd *listen_watch;
    char path[108]; /* of a Unix socket, to remove; or "" */
    rfbScreenInfoPtr screen;
    u32 *fb; /* owned: PIXMAP_WIDTH_MAX * PIXMAP_HEIGHT_MAX */
    char password[PASSWORD_BYTES + 1];
    char *passwords[2]; /* as the library wants it: a list */
    struct viewer viewer[VIEWERS_MAX];
    int x, y;    /* of the pointer */
    int buttons; /* as RFB has them */
    bool caps;   /* caps lock, as far as viewers pressed it */
};

/* ---- input ----------------------------------------------------------------------------------- */

static void input(struct vnc *s, const struct input_event *ev) { s->d->ev.input(s->d->ev.ctx, ev); }

static void key(struct vnc *s, u32 code, bool down)
{
    input(s, &(struct input_event){.kind = INPUT_KEY, .code = code, .down = down});
}

/* Make shift look pressed or not for the next key, as it is not; or undo that. */
static void shift_turn(struct viewer *v, bool to)
{
    bool left = v->down[KEY_SHIFT], right = v->down[KEY_SHIFT_R];
    if (left) key(v->vnc, KEY_SHIFT, to);
    if (right) key(v->vnc, KEY_SHIFT_R, to);
    if (!left && !right) key(v->vnc, KEY_SHIFT, to);
}

/* A viewer says which character it means, the guest's keyboard is a US one: where the two disagree
 * about shift, as with another layout at the viewer, the character counts. */
static void on_key(rfbBool down, rfbKeySym sym, rfbClientPtr cl)
{
    struct viewer *v = cl->clientData;
    struct vnc *s = v->vnc;
    bool shift, has = v->down[KEY_SHIFT] || v->down[KEY_SHIFT_R];
    u32 code = key_of_keysym(sym, &shift);
    if (!code || code >= KEY_COUNT) return;
    bool letter = (sym | 0x20) >= 'a' && (sym | 0x20) <= 'z';
    bool turn = down && sym > ' ' && sym < 0x7F && shift != has && !(letter && s->caps);
    if (code == KEY_CAPS_LOCK && down && !v->down[code]) s->caps = !s->caps;
    if (turn) shift_turn(v, shift);
    v->down[code] = down;
    key(s, code, down != 0);
    if (turn) shift_turn(v, has);
}

static void wheel(struct vnc *s, s32 dy)
{
    input(s, &(struct input_event){.kind = INPUT_WHEEL, .dy = dy});
}

static void on_pointer(int mask, int x, int y, rfbClientPtr cl)
{
    static const u8 button[BUTTONS] = {0, 2, 1}; /* left, middle, right */
    struct viewer *v = cl->clientData;
    struct vnc *s = v->vnc;
    if (x != s->x || y != s->y)
        input(s, &(struct input_event){.kind = INPUT_MOVE, .dx = x - s->x, .dy = y - s->y});
    for (u32 i = 0; i < BUTTONS; i++) {
        if (!((mask ^ s->buttons) >> i & 1)) continue;
        input(s, &(struct input_event){
                     .kind = INPUT_BUTTON, .code = button[i], .down = mask >> i & 1});
    }
    if (mask & ~s->buttons & WHEEL_UP) wheel(s, -1);
    if (mask & ~s->buttons & WHEEL_DOWN) wheel(s, 1);
    s->x = x;
    s->y = y;
    s->buttons = mask;
}

/* ---- output ---------------------------------------------------------------------------------- */

static bool has_room(const struct viewer *v)
{
    struct pollfd p = {.fd = v->cl->sock, .events = POLLOUT};
    return poll(&p, 1, 0) > 0 && (p.revents & POLLOUT);
}

/* The first piece of what @cl asked for and does not have; NULL: nothing. */
static sraRegionPtr piece_get(rfbClientPtr cl)
{
    sraRegionPtr want = sraRgnCreateRgn(cl->modifiedRegion), piece = NULL;
    sraRect r;
    sraRgnAnd(want, cl->requestedRegion);
    sraRectangleIterator *it = sraRgnGetIterator(want);
    if (it && sraRgnIteratorNext(it, &r) && r.x2 > r.x1) {
        int rows = PIECE_BYTES / (4 * (r.x2 - r.x1));
        if (rows < 1) rows = 1;
        piece = sraRgnCreateRect(r.x1, r.y1, r.x2, r.y2 - r.y1 > rows ? r.y1 + rows : r.y2);
    }
    if (it) sraRgnReleaseIterator(it);
    sraRgnDestroy(want);
    return piece;
}

/* Send @piece; what else the client asked for stays asked for. */
static void piece_send(rfbClientPtr cl, sraRegionPtr piece)
{
    sraRegionPtr asked = sraRgnCreateRgn(cl->requestedRegion);
    sraRgnSubtract(asked, piece);
    if (rfbSendFramebufferUpdate(cl, piece)) sraRgnOr(cl->requestedRegion, asked);
    sraRgnDestroy(asked);
}

/* Returns whether there may be more to send at once. */
static bool send_one(struct viewer *v)
{
    rfbClientPtr cl = v->cl;
    if (cl->sock < 0 || cl->state != RFB_NORMAL || cl->onHold) return false;
    if (!FB_UPDATE_PENDING(cl) || sraRgnEmpty(cl->requestedRegion)) return false;
    if (!has_room(v)) return true;
    sraRegionPtr piece = cl->newFBSizePending ? NULL : piece_get(cl);
    if (piece) {
        piece_send(cl, piece);
        sraRgnDestroy(piece);
        return true;
    }
    /* a new size, or another announcement; modified places nobody asked for wait */
    if (cl->newFBSizePending) (void)rfbSendFramebufferUpdate(cl, cl->modifiedRegion);
    return false;
}

static void viewer_gone(struct viewer *v)
{
    loop_fd_remove(v->watch);
    v->watch = NULL;
    rfbClientConnectionGone(v->cl); /* comes back to on_gone() */
}

static void viewer_serve(struct viewer *v)
{
    bool more = true;
    for (u32 i = 0; i < PIECES_AT_ONCE && more; i++) more = send_one(v) && has_room(v);
    if (v->cl->sock < 0) {
        viewer_gone(v);
        return;
    }
    more = v->cl->state == RFB_NORMAL && !sraRgnEmpty(v->cl->requestedRegion);
    sraRegionPtr piece = more ? piece_get(v->cl) : NULL;
    loop_fd_set(v->watch, LOOP_READ | (piece ? LOOP_WRITE : 0));
    if (piece) sraRgnDestroy(piece);
}

/* ---- viewers --------------------------------------------------------------------------------- */

static void on_gone(rfbClientPtr cl)
{
    struct viewer *v = cl->clientData;
    if (!v) return;
    for (u32 i = 0; i < KEY_COUNT; i++)
        if (v->down[i]) key(v->vnc, i, false);
    v->cl = NULL;
}

static void on_ready(void *viewer, int revents)
{
    struct viewer *v = viewer;
    if (revents & LOOP_READ) rfbProcessClientMessage(v->cl);
    viewer_serve(v);
}

static struct viewer *place(struct vnc *s)
{
    for (u32 i = 0; i < VIEWERS_MAX; i++)
        if (!s->viewer[i].cl) return &s->viewer[i];
    return NULL;
}

static void on_listen(void *vnc, int revents)
{
    struct vnc *s = vnc;
    struct err e;
    struct viewer *v = place(s);
    (void)revents;
    int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    if (!v || fd >= FD_SETSIZE) {
        close(fd);
        return;
    }
    memset(v, 0, sizeof *v);
    v->vnc = s;
    v->cl = rfbNewClient(s->screen, fd);
    if (!v->cl) return; /* the library has closed it */
    v->cl->clientData = v;
    v->cl->clientGoneHook = on_gone;
    v->watch = loop_fd_add(s->d->loop, fd, on_ready, v, &e);
    if (v->watch) loop_fd_set(v->watch, LOOP_READ);
    else rfbCloseClient(v->cl);
    if (!v->watch) viewer_gone(v);
    else s->d->ev.look(s->d->ev.ctx);
}

/* ---- picture --------------------------------------------------------------------------------- */

/* 0x00RRGGBB, as the pixmap has it. The library's own order is another one, and it goes back to
 * that with every new frame buffer. */
static void format_set(struct vnc *s)
{
    rfbPixelFormat *f = &s->screen->serverFormat;
    f->redShift = 16;
    f->greenShift = 8;
    f->blueShift = 0;
    for (u32 i = 0; i < VIEWERS_MAX; i++)
        if (s->viewer[i].cl) s->screen->setTranslateFunction(s->viewer[i].cl);
}

static void vnc_update(struct display *d, const struct pixmap *p, const struct text_screen *t)
{
    struct vnc *s = d->back;
    u32 top = p->dirty_top, end = p->dirty_end;
    (void)t;
    if (p->resized || (int)p->width != s->screen->width || (int)p->height != s->screen->height) {
        rfbNewFramebuffer(s->screen, (char *)s->fb, (int)p->width, (int)p->height, 8, 3, 4);
        format_set(s);
        top = 0;
        end = p->height;
    }
    if (top < end) {
        size_t at = (size_t)top * p->width;
        memcpy(s->fb + at, p->px + at, (size_t)(end - top) * p->width * sizeof *p->px);
        rfbMarkRectAsModified(s->screen, 0, (int)top, (int)p->width, (int)end);
    }
    for (u32 i = 0; i < VIEWERS_MAX; i++)
        if (s->viewer[i].cl) viewer_serve(&s->viewer[i]);
}

static bool vnc_looks(const struct display *d)
{
    const struct vnc *s = d->back;
    for (u32 i = 0; i < VIEWERS_MAX; i++)
        if (s->viewer[i].cl) return true;
    return false;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int password_read(struct vnc *s, const char *path, struct err *e)
{
    struct file_data f;
    if (!path[0]) return 0;
    int rc = file_read_all(&f, "VNC password", path, PASSWORD_FILE_MAX, e);
    if (rc < 0) return rc;
    size_t n = 0;
    while (n < f.bytes && n < PASSWORD_BYTES && f.data[n] != '\n' && f.data[n] != '\r') n++;
    memcpy(s->password, f.data, n);
    file_data_fini(&f);
    if (!n) return err_set(e, E_FORMAT, "VNC password '%s': the first line is empty", path);
    s->passwords[0] = s->password;
    return 0;
}

static int screen_create(struct vnc *s, const char *arg, struct err *e)
{
    enum { WIDTH = 720, HEIGHT = 400 };
    unsigned char warm[16] = {0};
    rfbLogEnable(FALSE);
    s->fb = calloc((size_t)PIXMAP_WIDTH_MAX * PIXMAP_HEIGHT_MAX, sizeof *s->fb);
    s->screen = s->fb ? rfbGetScreen(NULL, NULL, WIDTH, HEIGHT, 8, 3, 4) : NULL;
    if (!s->screen) return err_set(e, E_NOMEM, "display 'vnc=%s'", arg);
    s->screen->frameBuffer = (char *)s->fb;
    s->screen->desktopName = "ring3";
    s->screen->screenData = s;
    s->screen->alwaysShared = TRUE;
    s->screen->maxClientWait = WAIT_MS;
    s->screen->cursor = NULL;
    s->screen->kbdAddEvent = on_key;
    s->screen->ptrAddEvent = on_pointer;
    s->screen->port = s->screen->ipv6port = 0;
    format_set(s);
    if (s->passwords[0]) {
        s->screen->authPasswdData = s->passwords;
        s->screen->passwordCheck = rfbCheckPasswordByList;
        rfbEncryptBytes(warm, s->password); /* its cipher library looks into files once */
    }
    return 0;
}

static void release(struct vnc *s)
{
    for (u32 i = 0; i < VIEWERS_MAX; i++) {
        struct viewer *v = &s->viewer[i];
        if (!v->cl) continue;
        rfbCloseClient(v->cl);
        viewer_gone(v);
    }
    loop_fd_remove(s->listen_watch);
    if (s->listen_fd >= 0) close(s->listen_fd);
    if (s->listen_fd >= 0 && s->path[0]) unlink(s->path);
    if (s->screen) rfbScreenCleanup(s->screen);
    free(s->fb);
    free(s);
}

static int open_parts(struct vnc *s, const char *arg, struct err *e)
{
    struct vnc_addr a;
    int rc = vnc_addr_parse(arg, &a, e);
    if (rc < 0) return rc;
    rc = password_read(s, a.password, e);
    if (rc < 0) return rc;
    rc = vnc_addr_listen(&a, arg, e);
    if (rc < 0) return rc;
    s->listen_fd = rc;
    memcpy(s->path, a.path, sizeof s->path);
    rc = screen_create(s, arg, e);
    if (rc < 0) return rc;
    s->listen_watch = loop_fd_add(s->d->loop, s->listen_fd, on_listen, s, e);
    return s->listen_watch ? 0 : e->code;
}

/* The library writes to sockets whose other end may be gone. A program with a handler of its own
 * keeps it. */
static void ignore_sigpipe(void)
{
    struct sigaction now, ignore = {.sa_handler = SIG_IGN};
    if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
        sigaction(SIGPIPE, &ignore, NULL);
}

static int vnc_open(struct display *d, const char *arg, struct err *e)
{
    struct vnc *s = calloc(1, sizeof *s);
    if (!s) return err_set(e, E_NOMEM, "display 'vnc=%s'", arg);
    ignore_sigpipe();
    s->d = d;
    s->listen_fd = -1;
    int rc = open_parts(s, arg, e);
    if (rc < 0) {
        release(s);
        return rc;
    }
    d->back = s;
    return 0;
}

static void vnc_start(struct display *d)
{
    struct vnc *s = d->back;
    loop_fd_set(s->listen_watch, LOOP_READ);
}

static void vnc_close(struct display *d) { release(d->back); }

static int vnc_check(const char *arg, struct err *e)
{
    struct vnc_addr a;
    return vnc_addr_parse(arg, &a, e);
}

const struct display_class display_vnc_class = {.name = "vnc",
                                                .separator = '=',
                                                .wants = DISPLAY_PIXELS,
                                                .check = vnc_check,
                                                .open = vnc_open,
                                                .close = vnc_close,
                                                .start = vnc_start,
                                                .looks = vnc_looks,
                                                .update = vnc_update};
