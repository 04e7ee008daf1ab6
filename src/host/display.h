/* host/display.h - where the screen is shown: nowhere, in the terminal, to VNC viewers, in a file.
 *
 *   none         nothing
 *   text         the characters of text modes in this terminal, which also gives the keys
 *   vnc=ADDRESS  a VNC server: :N (port 5900 + N on the loopback), HOST:PORT, or unix:PATH; then
 *                perhaps ,password=FILE
 *   png:FILE     the last picture, when the machine ends or somebody asks for one
 *
 * The machine draws (30 times a second) only while display_looks(); it then brings the picture by
 * display_update(). Threads: everything on the loop's thread; events may also come from within
 * display_update() and display_close(). */
#ifndef HOST_DISPLAY_H
#define HOST_DISPLAY_H
#include "base/err.h"
#include "base/input.h"
#include "base/pixmap.h"
#include "host/loop.h"

struct display;
struct display_events {
    void *ctx;
    void (*look)(void *ctx); /* display_looks() has become true                  */
    void (*input)(void *ctx, const struct input_event *ev);
    bool (*input_idle)(void *ctx);            /* the guest has taken all input so far */
    void (*quit)(void *ctx);                  /* the user asked to leave (Ctrl-A x)   */
    void (*lost)(void *ctx, const char *why); /* the picture could not be written     */
};
/* What display_update() wants to be given. */
enum { DISPLAY_PIXELS = 1, DISPLAY_TEXT = 2 };

/** display_spec_check - is @spec well-formed? NULL is "none". 0 or E_INVAL. */
int display_spec_check(const char *spec, struct err *e) MUST_USE;
/** display_is - is @spec of the kind "none", "text", "vnc" or "png"? */
bool display_is(const char *spec, const char *kind);
/** display_socket - the path of the Unix socket @spec makes, into @path; false when it makes none.
 */
bool display_socket(const char *spec, char *path, size_t bytes);

/**
 * display_open - open @spec: descriptors and listening sockets, nothing is shown yet.
 * Returns 0 and *@out, NULL for "none". Errors, each naming the address or file: E_INVAL, E_BUSY
 * (address in use), E_NOENT, E_PERM, E_SYS, E_NOMEM.
 */
int display_open(struct display **out, const char *spec, struct loop *l,
                 const struct display_events *ev, struct err *e) MUST_USE;
/** display_close - viewers are disconnected, the terminal is put back; NULL is fine. */
void display_close(struct display *d);
/** display_start - the machine runs from now on. */
void display_start(struct display *d);
/** display_wants - DISPLAY_x. */
u32 display_wants(const struct display *d);
/** display_looks - does anybody look now? */
bool display_looks(const struct display *d);
/** display_keeps - does it want the last picture, too, and those somebody asked for? */
bool display_keeps(const struct display *d);
/** display_update - what the screen shows now. @p with its dirty rows since the last update, @t: as
 * display_wants() says, the other one may be NULL. */
void display_update(struct display *d, const struct pixmap *p, const struct text_screen *t);
#endif
