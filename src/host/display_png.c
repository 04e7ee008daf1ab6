/* display_png - the last picture in a file. The file is opened at the start, when files can be, and
 * written from its beginning each time. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/display_internal.h"
#include "host/png.h"

struct png_file {
    int fd;
};

static int png_open(struct display *d, const char *arg, struct err *e)
{
    struct png_file *f = calloc(1, sizeof *f);
    if (!f) return err_set(e, E_NOMEM, "display 'png:%s'", arg);
    f->fd = open(arg, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (f->fd < 0) {
        int rc = err_errno(e, "display 'png:%s'", arg);
        free(f);
        return rc;
    }
    d->back = f;
    return 0;
}

static void png_close(struct display *d)
{
    struct png_file *f = d->back;
    close(f->fd);
    free(f);
}

static bool write_all(int fd, const u8 *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t n = write(fd, data + done, bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static void png_update(struct display *d, const struct pixmap *p, const struct text_screen *t)
{
    struct png_file *f = d->back;
    struct err e = {0};
    char text[96];
    u8 *data;
    size_t bytes;
    (void)t;
    if (png_encode(p, &data, &bytes, &e) < 0) {
        d->ev.lost(d->ev.ctx, e.text);
        return;
    }
    if (lseek(f->fd, 0, SEEK_SET) != 0 || ftruncate(f->fd, 0) < 0 || !write_all(f->fd, data, bytes))
        d->ev.lost(d->ev.ctx, strerror_r(errno, text, sizeof text));
    free(data);
}

const struct display_class display_png_class = {.name = "png",
                                                .separator = ':',
                                                .wants = DISPLAY_PIXELS,
                                                .keeps = true,
                                                .open = png_open,
                                                .close = png_close,
                                                .update = png_update};
