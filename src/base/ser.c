/* ser - saving and loading objects through their field tables.
 * Loading walks the section twice: the first pass checks every length, name and value, the second
 * copies. The host is little-endian like the stream, so an element is its own encoding. */
#include "base/ser.h"

#include <stdlib.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "elements are copied as they stand");

void ser_buf_init(struct ser_buf *b) { *b = (struct ser_buf){0}; }

void ser_buf_fini(struct ser_buf *b)
{
    free(b->data);
    ser_buf_init(b);
}

static bool grow(struct ser_buf *b, size_t bytes)
{
    if (b->failed) return false;
    if (bytes <= b->cap - b->bytes) return true;
    size_t need = b->bytes + bytes, cap = b->cap ? b->cap : 256;
    while (cap < need) cap *= 2;
    u8 *data = realloc(b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void ser_put(struct ser_buf *b, const void *data, size_t bytes)
{
    if (!bytes || !grow(b, bytes)) return;
    memcpy(b->data + b->bytes, data, bytes);
    b->bytes += bytes;
}

static u32 elem_size(const struct ser_field *f) { return f->elem_bytes & 0xff; }
static size_t field_bytes(const struct ser_field *f) { return (size_t)elem_size(f) * f->count; }

static void put_u8(struct ser_buf *b, u8 v) { ser_put(b, &v, sizeof v); }
static void put_u16(struct ser_buf *b, u16 v) { ser_put(b, &v, sizeof v); }
static void put_u32(struct ser_buf *b, u32 v) { ser_put(b, &v, sizeof v); }

static void put_name(struct ser_buf *b, const char *name)
{
    size_t len = strlen(name);
    put_u8(b, (u8)min_u64(len, UINT8_MAX));
    ser_put(b, name, min_u64(len, UINT8_MAX));
}

static void put_field(struct ser_buf *b, const struct ser_field *f, const u8 *obj)
{
    put_name(b, f->name);
    put_u8(b, (u8)elem_size(f));
    put_u32(b, f->count);
    ser_put(b, obj + f->offset, field_bytes(f));
}

int ser_save(struct ser_buf *b, const char *section, u16 version, const struct ser_field *fields,
             const void *obj, struct err *e)
{
    put_name(b, section);
    put_u16(b, version);
    size_t len_at = b->bytes;
    put_u32(b, 0);
    size_t body_at = b->bytes;
    for (const struct ser_field *f = fields; f->name; f++) {
        if (f->since <= version) put_field(b, f, obj);
    }
    if (b->failed) return err_set(e, E_NOMEM, "saving '%s': out of memory", section);
    u32 len = (u32)(b->bytes - body_at);
    memcpy(b->data + len_at, &len, sizeof len);
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* Next @bytes bytes of the view, or NULL (and nothing consumed) when it is shorter. */
static const u8 *take(struct ser_view *v, size_t bytes)
{
    if (bytes > v->bytes - v->pos) return NULL;
    const u8 *p = v->data + v->pos;
    v->pos += bytes;
    return p;
}

static bool take_int(struct ser_view *v, void *out, size_t bytes)
{
    const u8 *p = take(v, bytes);
    if (p) memcpy(out, p, bytes);
    return p != NULL;
}

/* A length-prefixed name; points into the view, not terminated. */
struct name {
    const char *text;
    u8 len;
};
static bool take_name(struct ser_view *v, struct name *n)
{
    if (!take_int(v, &n->len, 1)) return false;
    n->text = (const char *)take(v, n->len);
    return n->text != NULL;
}
static bool name_is(const struct name *n, const char *text)
{
    return strlen(text) == n->len && memcmp(n->text, text, n->len) == 0;
}

struct elem {
    struct name name;
    u8 elem_bytes;
    u32 count;
    const u8 *data;
};
static bool take_elem(struct ser_view *v, struct elem *el)
{
    if (!take_name(v, &el->name) || !take_int(v, &el->elem_bytes, 1) ||
        !take_int(v, &el->count, sizeof el->count))
        return false;
    el->data = take(v, (size_t)el->elem_bytes * el->count);
    return el->data != NULL;
}

/* One load in progress: which section, at which version of the stream. */
struct load {
    const char *section;
    u16 version, stream_version;
    const struct ser_field *fields;
    struct ser_view body;
    struct err *e;
};

static const struct ser_field *find_field(const struct load *l, const struct name *n)
{
    for (const struct ser_field *f = l->fields; f->name; f++) {
        if (f->since <= l->stream_version && name_is(n, f->name)) return f;
    }
    return NULL;
}

static int malformed(const struct load *l, const char *what, const struct name *n)
{
    return err_set(l->e, E_FORMAT, "state section '%s': %s%s%.*s", l->section, what, n ? " " : "",
                   n ? n->len : 0, n ? n->text : "");
}

static bool values_valid(const struct ser_field *f, const struct elem *el)
{
    if (f->elem_bytes != SER_BOOL) return true;
    for (u32 i = 0; i < el->count; i++) {
        if (el->data[i] > 1) return false;
    }
    return true;
}

static int check_elem(const struct load *l, const struct elem *el)
{
    const struct ser_field *f = find_field(l, &el->name);
    if (!f) {
        if (l->stream_version < l->version) return 0;
        return malformed(l, "unknown field", &el->name);
    }
    if (el->elem_bytes != elem_size(f) || el->count != f->count)
        return malformed(l, "wrong size of field", &el->name);
    if (!values_valid(f, el)) return malformed(l, "bad value in field", &el->name);
    return 0;
}

/* How often @f occurs in the body. */
static u32 occurrences(const struct load *l, const struct ser_field *f)
{
    struct ser_view v = l->body;
    struct elem el;
    u32 n = 0;
    while (v.pos < v.bytes && take_elem(&v, &el)) n += name_is(&el.name, f->name);
    return n;
}

static int check_body(const struct load *l)
{
    struct ser_view v = l->body;
    while (v.pos < v.bytes) {
        struct elem el;
        if (!take_elem(&v, &el)) return malformed(l, "truncated", NULL);
        int rc = check_elem(l, &el);
        if (rc < 0) return rc;
    }
    for (const struct ser_field *f = l->fields; f->name; f++) {
        struct name n = {f->name, (u8)strlen(f->name)};
        if (f->since <= l->stream_version && occurrences(l, f) != 1)
            return malformed(l, "missing or repeated field", &n);
    }
    return 0;
}

static void copy_body(const struct load *l, u8 *obj)
{
    struct ser_view v = l->body;
    struct elem el;
    while (v.pos < v.bytes && take_elem(&v, &el)) {
        const struct ser_field *f = find_field(l, &el.name);
        if (f) memcpy(obj + f->offset, el.data, field_bytes(f));
    }
}

int ser_load(struct ser_view *v, const char *section, u16 version, const struct ser_field *fields,
             void *obj, struct err *e)
{
    struct load l = {.section = section, .version = version, .fields = fields, .e = e};
    struct ser_view at = *v;
    struct name name;
    u32 len;
    if (!take_name(&at, &name)) return malformed(&l, "truncated", NULL);
    if (!name_is(&name, section)) return malformed(&l, "found instead:", &name);
    if (!take_int(&at, &l.stream_version, sizeof l.stream_version) ||
        !take_int(&at, &len, sizeof len))
        return malformed(&l, "truncated", NULL);
    if (l.stream_version > version)
        return err_set(e, E_VERSION, "state section '%s' has version %u, newer than %u", section,
                       l.stream_version, version);
    l.body = (struct ser_view){.data = take(&at, len), .bytes = len};
    if (!l.body.data) return malformed(&l, "truncated", NULL);
    int rc = check_body(&l);
    if (rc < 0) return rc;
    copy_body(&l, obj);
    *v = at;
    return 0;
}
