/* api_internal.h - between the server, the table of routes and the typing of keys. */
#ifndef API_INTERNAL_H
#define API_INTERNAL_H
#include <jansson.h>
#include <stddef.h>

#include "api/http.h"
#include "base/err.h"
#include "base/keys.h"
#include "host/loop.h"
#include "ring3.h"

/* Key strokes on their way: pressed and released one after the other, each when the guest has read
 * the one before, or after a while when it does not read. */
enum { TYPER_STROKES = 2048 };
struct typer {
    struct ring3_vm *vm;
    struct loop_timer *timer;
    struct key_stroke stroke[TYPER_STROKES]; /* ring */
    u32 head, count;
    bool pressed; /* the first stroke's keys are down */
    u32 waited;   /* ticks since the last event       */
};
int typer_init(struct typer *t, struct ring3_vm *vm, struct err *e) MUST_USE;
/** typer_add - type @n strokes after those that wait. E_BUSY when there is no room for all. */
int typer_add(struct typer *t, const struct key_stroke *strokes, u32 n, struct err *e) MUST_USE;

struct api {
    struct ring3_vm *vm;
    const char *name; /* borrowed from the control socket */
    struct typer typer;
};

struct response {
    int status;
    const char *type;  /* of the body */
    const char *allow; /* methods of the path, with 405; may be NULL */
    char *body;        /* owned: response_fini */
    size_t bytes;
};
void response_fini(struct response *r);
/** response_fault - {"fault_message": text}. */
void response_fault(struct response *r, int status, const char *fmt, ...) PRINTF_LIKE(3, 4);

/** routes_answer - do what @req with @body asks and fill @r; every error is an answer. */
void routes_answer(struct api *a, const struct http_request *req, const char *body,
                   struct response *r);
#endif
