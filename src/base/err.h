/* base/err.h - errors of the host and of the caller (STYLE section 6, second kind).
 * A function that can fail returns >= 0 or a negative code of err.def, and fills the caller's
 * struct err with one line for the person at the keyboard. Guest mistakes are not errors: they are
 * architecture. */
#ifndef BASE_ERR_H
#define BASE_ERR_H
#include "base/types.h"

enum err_code {
#define ERR(name, value, text, http) name = value,
#include "base/err.def"
#undef ERR
};

enum { ERR_TEXT_BYTES = 512 };
struct err {
    int code;                  /* 0 or a code of err.def */
    char text[ERR_TEXT_BYTES]; /* one line, no newline   */
};

/** err_set - fill @e (may be NULL) with @code and the text, of a long one its beginning and its
 * end; returns @code, so `return err_set(...)` works. */
int err_set(struct err *e, int code, const char *fmt, ...) PRINTF_LIKE(3, 4);
/** err_errno - as err_set with E_SYS (E_NOENT, E_PERM, E_NOMEM, E_NOSPC, E_INVAL where errno says
 * so); appends ": strerror(errno)". */
int err_errno(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** err_wrap - put "context: " in front of the text while unwinding; returns e->code. */
int err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/** err_name - "E_NOMEM"; err_text - its sentence; err_http - its status. Unknown codes give "E_?" /
 * 500. */
const char *err_name(int code);
const char *err_text(int code);
int err_http(int code);
#endif
