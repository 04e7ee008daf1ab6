/* err - filling, wrapping and naming errors. One table (err.def) gives code, sentence and status.
 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"

struct err_row {
    int code, http;
    const char *name, *text;
};
static const struct err_row rows[] = {
#define ERR(name, value, text, http) {value, http, #name, text},
#include "base/err.def"
#undef ERR
};

static const struct err_row *find(int code)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].code == code) return &rows[i];
    }
    return NULL;
}

/* The text of @fmt in @bytes. Of a long one its first and its last part: what it is about stands at
 * the beginning, and why at the end. */
static void put_text(char *to, size_t bytes, const char *fmt, va_list ap)
{
    static const char gap[] = "[...]";
    char *all = NULL;
    const int n = vasprintf(&all, fmt, ap);
    if (n < 0) {
        snprintf(to, bytes, "out of memory");
        return;
    }
    snprintf(to, bytes, "%s", all);
    if ((size_t)n >= bytes) {
        const size_t tail = bytes / 2, from = bytes - tail - sizeof gap;
        memcpy(to + from, gap, sizeof gap - 1);
        memcpy(to + from + sizeof gap - 1, all + n - tail, tail + 1);
    }
    free(all);
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
    if (!e) return code;
    va_list ap;
    va_start(ap, fmt);
    put_text(e->text, sizeof e->text, fmt, ap);
    va_end(ap);
    text_one_line(e->text);
    e->code = code;
    return code;
}

static int code_of_errno(int sys)
{
    switch (sys) {
    case ENOENT: return E_NOENT;
    case EISDIR:
    case ENOTDIR:
    case ENAMETOOLONG: return E_INVAL;
    case EACCES:
    case EPERM: return E_PERM;
    case ENOMEM: return E_NOMEM;
    case ENOSPC:
    case EDQUOT: return E_NOSPC;
    default: return E_SYS;
    }
}

int err_errno(struct err *e, const char *fmt, ...)
{
    int sys = errno;
    int code = code_of_errno(sys);
    if (!e) return code;
    char what[ERR_TEXT_BYTES - 128]; /* leaves room for the reason */
    va_list ap;
    va_start(ap, fmt);
    put_text(what, sizeof what, fmt, ap);
    va_end(ap);
    char buf[96];
    return err_set(e, code, "%s: %s", what, strerror_r(sys, buf, sizeof buf));
}

int err_wrap(struct err *e, const char *fmt, ...)
{
    if (!e) return E_SYS;
    char text[ERR_TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    size_t used = n < 0 ? 0 : min_u64((u64)n, sizeof text - 3);
    memcpy(text + used, ": ", 2);
    used += 2;
    size_t tail = min_u64(strlen(e->text), sizeof text - 1 - used);
    memcpy(text + used, e->text, tail);
    text[used + tail] = 0;
    memcpy(e->text, text, sizeof e->text);
    text_one_line(e->text);
    return e->code;
}

const char *err_name(int code)
{
    const struct err_row *r = find(code);
    return r ? r->name : "E_?";
}

const char *err_text(int code)
{
    const struct err_row *r = find(code);
    return r ? r->text : "unknown error";
}

int err_http(int code)
{
    const struct err_row *r = find(code);
    return r ? r->http : 500;
}
