/* png - see png.h. The whole file is made in memory: whoever writes it decides how. */
#include "host/png.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

struct sink {
    u8 *data;
    size_t bytes, room;
    bool failed;
};

static void on_data(png_structp png, png_bytep data, size_t bytes)
{
    struct sink *s = png_get_io_ptr(png);
    if (s->failed) return;
    if (bytes > s->room - s->bytes) {
        size_t room = (s->bytes + bytes) * 2;
        u8 *more = realloc(s->data, room);
        if (!more) {
            s->failed = true;
            return;
        }
        s->data = more;
        s->room = room;
    }
    memcpy(s->data + s->bytes, data, bytes);
    s->bytes += bytes;
}
static void on_flush(png_structp png) { (void)png; }
static void on_warning(png_structp png, png_const_charp text) { (void)png, (void)text; }

/* libpng leaves through longjmp when it fails: nothing here owns anything. */
static bool encode(png_structp png, png_infop info, const struct pixmap *p, u8 *row)
{
    if (setjmp(png_jmpbuf(png))) return false;
    png_set_IHDR(png, info, p->width, p->height, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png, 3);
    png_write_info(png, info);
    for (u32 y = 0; y < p->height; y++) {
        const u32 *px = &p->px[(size_t)y * p->width];
        for (u32 x = 0; x < p->width; x++) {
            row[3 * x] = (u8)(px[x] >> 16);
            row[3 * x + 1] = (u8)(px[x] >> 8);
            row[3 * x + 2] = (u8)px[x];
        }
        png_write_row(png, row);
    }
    png_write_end(png, info);
    return true;
}

int png_encode(const struct pixmap *p, u8 **out, size_t *bytes, struct err *e)
{
    struct sink s = {0};
    int rc = 0;
    if (!p->width || !p->height) return err_set(e, E_INVAL, "picture: it is empty");
    u8 *row = malloc((size_t)p->width * 3);
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    bool done = false;
    if (row && info) {
        png_set_write_fn(png, &s, on_data, on_flush);
        done = encode(png, info, p, row);
    }
    if (!done || s.failed) {
        rc = err_set(e, E_NOMEM, "picture: out of memory");
        free(s.data);
    }
    if (png) png_destroy_write_struct(&png, &info);
    free(row);
    if (rc < 0) return rc;
    *out = s.data;
    *bytes = s.bytes;
    return 0;
}
