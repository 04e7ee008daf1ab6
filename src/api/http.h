/* api/http.h - HTTP/1.1 as far as the control socket speaks it: strict, bounded, nothing guessed.
 * Requests have a head of at most HTTP_HEAD_MAX bytes and a body of at most HTTP_BODY_MAX, whose
 * length comes from Content-Length; chunked bodies are refused. Spec: RFC 9110, 9112. */
#ifndef API_HTTP_H
#define API_HTTP_H
#include <stddef.h>

#include "base/types.h"

enum {
    HTTP_HEAD_MAX = 8192,
    HTTP_BODY_MAX = 65536,
    HTTP_HEADERS_MAX = 64,
    HTTP_TARGET_BYTES = 256,
};
enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_PUT,
    HTTP_PATCH,
    HTTP_POST,
    HTTP_DELETE,
    HTTP_METHODS
};
const char *http_method_name(enum http_method m);

struct http_request {
    enum http_method method;
    char target[HTTP_TARGET_BYTES]; /* as sent, ends with 0 */
    size_t head_bytes, body_bytes;
    bool keep_alive; /* the connection stays open after the response */
    bool expects;    /* wants "100 Continue" before it sends the body */
};

/**
 * http_parse - the head of the request that begins at @buf.
 * Returns 1 and fills @r; 0 when the head is not complete yet; or a negative HTTP status: -400
 * malformed, -411 a body without length, -413, -414, -417, -431, -501, -505. The connection cannot
 * be used any more then.
 */
int http_parse(struct http_request *r, const char *buf, size_t bytes);

/** http_reason - "Not Found" for 404; "?" for statuses nobody sends. */
const char *http_reason(int status);
#endif
