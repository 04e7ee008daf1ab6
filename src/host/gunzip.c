/* gunzip.c - see gunzip.h. The room grows by doubling; a file of several members gives them all. */
#include "host/gunzip.h"

#include <stdlib.h>
#include <zlib.h>

enum { GZIP_ONLY = 16 + MAX_WBITS, ROOM_FIRST = 1 << 16 };

struct sink {
    u8 *data;
    u64 bytes, room;
};

/* Room for more, or false: at the limit, or no memory. */
static bool grow(struct sink *s, u64 max_bytes)
{
    u64 room = s->room ? s->room * 2 : ROOM_FIRST;
    if (s->room >= max_bytes) return false;
    if (room > max_bytes) room = max_bytes;
    u8 *data = realloc(s->data, room);
    if (!data) return false;
    s->data = data;
    s->room = room;
    return true;
}

/* All members one after the other. Z_STREAM_END when all is well; Z_BUF_ERROR: no room. */
static int inflate_all(z_stream *z, const struct file_data *f, struct sink *s, u64 max_bytes)
{
    u64 fed = 0;
    for (;;) {
        if (!z->avail_in) {
            u64 n = min_u64(f->bytes - fed, 1u << 30);
            z->next_in = f->data + fed;
            z->avail_in = (uInt)n;
            fed += n;
        }
        if (s->bytes == s->room && !grow(s, max_bytes)) return Z_BUF_ERROR;
        u64 n = min_u64(s->room - s->bytes, 1u << 30);
        z->next_out = s->data + s->bytes;
        z->avail_out = (uInt)n;
        int rc = inflate(z, Z_NO_FLUSH);
        s->bytes += n - z->avail_out;
        bool more = z->avail_in || fed < f->bytes;
        if (rc == Z_STREAM_END && !more) return rc;
        if (rc == Z_STREAM_END) rc = inflateReset(z);
        if (rc != Z_OK) return rc == Z_BUF_ERROR ? Z_DATA_ERROR : rc;
        if (!more && z->avail_out) return Z_DATA_ERROR; /* cut off */
    }
}

int gunzip(struct file_data *f, u64 max_bytes, const char *what, const char *path, struct err *e)
{
    struct sink s = {0};
    z_stream z = {0};
    if (f->bytes < 2 || f->data[0] != 0x1F || f->data[1] != 0x8B) return 0;
    if (inflateInit2(&z, GZIP_ONLY) != Z_OK) return err_set(e, E_NOMEM, "%s '%s'", what, path);
    int rc = inflate_all(&z, f, &s, max_bytes);
    inflateEnd(&z);
    if (rc != Z_STREAM_END) {
        free(s.data);
        if (rc == Z_BUF_ERROR)
            return err_set(e, E_RANGE, "%s '%s': unpacks to more than %llu MiB", what, path,
                           (unsigned long long)(max_bytes >> 20));
        return err_set(e, E_FORMAT, "%s '%s': damaged gzip file", what, path);
    }
    file_data_fini(f);
    *f = (struct file_data){s.data, s.bytes};
    return 0;
}
