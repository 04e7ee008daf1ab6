/* http - see http.h. */
#include "api/http.h"

#include <string.h>
#include <strings.h>

/* What one header line says; the parser collects them here. */
struct head {
    struct http_request *r;
    bool has_host, has_length, close;
    int minor; /* of the version */
};
struct text { /* not terminated */
    const char *at;
    size_t n;
};

static const char *const methods[HTTP_METHODS] = {
    [HTTP_GET] = "GET",     [HTTP_HEAD] = "HEAD", [HTTP_PUT] = "PUT",
    [HTTP_PATCH] = "PATCH", [HTTP_POST] = "POST", [HTTP_DELETE] = "DELETE",
};
const char *http_method_name(enum http_method m) { return methods[m]; }

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } rows[] = {
        {100, "Continue"},
        {200, "OK"},
        {204, "No Content"},
        {400, "Bad Request"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"},
    };
    for (u32 i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].status == status) return rows[i].reason;
    return "?";
}

static bool is(struct text t, const char *word)
{
    return strlen(word) == t.n && !strncasecmp(t.at, word, t.n);
}

/* RFC 9110 5.6.2 */
static bool is_token_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_token(struct text t)
{
    for (size_t i = 0; i < t.n; i++)
        if (!is_token_char(t.at[i])) return false;
    return t.n > 0;
}

/* Visible characters, spaces and tabs: what a field's value may hold. */
static bool is_value(struct text t)
{
    for (size_t i = 0; i < t.n; i++)
        if (((u8)t.at[i] < ' ' && t.at[i] != '\t') || t.at[i] == 0x7F) return false;
    return true;
}

static struct text trimmed(struct text t)
{
    while (t.n && (*t.at == ' ' || *t.at == '\t')) t.at++, t.n--;
    while (t.n && (t.at[t.n - 1] == ' ' || t.at[t.n - 1] == '\t')) t.n--;
    return t;
}

/* ---- request line ---------------------------------------------------------------------------- */

static int parse_target(struct http_request *r, struct text t)
{
    if (t.n >= sizeof r->target) return -414;
    if (t.n == 0 || *t.at != '/') return -400;
    for (size_t i = 0; i < t.n; i++)
        if (t.at[i] <= ' ' || t.at[i] >= 0x7F) return -400; /* (bytes from 0x80 are negative) */
    memcpy(r->target, t.at, t.n);
    r->target[t.n] = 0;
    return 0;
}

static int parse_version(struct head *h, struct text t)
{
    if (t.n != 8 || memcmp(t.at, "HTTP/", 5) != 0 || t.at[6] != '.') return -400;
    if (t.at[5] < '0' || t.at[5] > '9' || t.at[7] < '0' || t.at[7] > '9') return -400;
    if (t.at[5] != '1') return -505;
    h->minor = t.at[7] - '0';
    return 0;
}

static int parse_method(struct http_request *r, struct text t)
{
    if (!is_token(t)) return -400;
    for (u32 i = 0; i < HTTP_METHODS; i++) {
        if (strlen(methods[i]) != t.n || memcmp(methods[i], t.at, t.n) != 0) continue;
        r->method = (enum http_method)i;
        return 0;
    }
    return -501;
}

static int parse_request_line(struct head *h, struct text line)
{
    const char *end = line.at + line.n, *first = memchr(line.at, ' ', line.n);
    if (!first) return -400;
    const char *second = memchr(first + 1, ' ', (size_t)(end - first - 1));
    if (!second) return -400;
    int rc = parse_version(h, (struct text){second + 1, (size_t)(end - second - 1)});
    if (rc == 0) rc = parse_method(h->r, (struct text){line.at, (size_t)(first - line.at)});
    if (rc == 0) rc = parse_target(h->r, (struct text){first + 1, (size_t)(second - first - 1)});
    return rc;
}

/* ---- header fields --------------------------------------------------------------------------- */

static int parse_length(struct head *h, struct text v)
{
    size_t n = 0;
    if (v.n == 0 || h->has_length) return -400; /* twice is a smuggler's trick */
    for (size_t i = 0; i < v.n; i++) {
        if (v.at[i] < '0' || v.at[i] > '9') return -400;
        n = n * 10 + (size_t)(v.at[i] - '0');
        if (n > HTTP_BODY_MAX) n = HTTP_BODY_MAX + 1; /* no overflow; still too large */
    }
    h->has_length = true;
    h->r->body_bytes = n;
    return n > HTTP_BODY_MAX ? -413 : 0;
}

static int parse_field(struct head *h, struct text line)
{
    const char *colon = memchr(line.at, ':', line.n);
    if (!colon) return -400;
    struct text name = {line.at, (size_t)(colon - line.at)};
    struct text v = trimmed((struct text){colon + 1, line.n - name.n - 1});
    if (!is_token(name) || !is_value(v)) return -400;
    if (is(name, "content-length")) return parse_length(h, v);
    if (is(name, "transfer-encoding")) return -501;
    if (is(name, "host")) {
        if (h->has_host) return -400;
        h->has_host = true;
    } else if (is(name, "connection")) {
        if (is(v, "close")) h->close = true;
        else if (is(v, "keep-alive")) h->r->keep_alive = true;
    } else if (is(name, "expect")) {
        if (!is(v, "100-continue")) return -417;
        h->r->expects = true;
    }
    return 0;
}

/* The line at @*at, without its CR LF, and @*at behind it. False: no whole line, or a CR or LF
 * alone (@bad). */
static bool next_line(struct text *rest, struct text *line, bool *bad)
{
    const char *lf = memchr(rest->at, '\n', rest->n);
    *bad = false;
    if (!lf) return false;
    size_t n = (size_t)(lf - rest->at);
    *line = (struct text){rest->at, n - (n > 0)};
    *bad = n == 0 || lf[-1] != '\r' || memchr(rest->at, '\r', n - 1);
    *rest = (struct text){lf + 1, rest->n - n - 1};
    return !*bad;
}

/* Where the empty line ends that ends the head, 0: not there yet. Counts what must be scanned. */
static size_t head_end(const char *buf, size_t bytes)
{
    const char *end = memmem(buf, bytes, "\r\n\r\n", 4);
    return end ? (size_t)(end - buf) + 4 : 0;
}

static int finish(struct head *h)
{
    struct http_request *r = h->r;
    bool body_wanted = r->method == HTTP_PUT || r->method == HTTP_PATCH || r->method == HTTP_POST;
    if (h->minor > 0 && !h->has_host) return -400;
    if (body_wanted && !h->has_length) return -411;
    if (h->minor > 0) r->keep_alive = true;
    if (h->close) r->keep_alive = false;
    return 1;
}

int http_parse(struct http_request *r, const char *buf, size_t bytes)
{
    struct head h = {.r = r};
    size_t end = head_end(buf, bytes < HTTP_HEAD_MAX ? bytes : HTTP_HEAD_MAX);
    if (!end && bytes >= HTTP_HEAD_MAX) return -431;
    *r = (struct http_request){.head_bytes = end};
    struct text rest = {buf, end ? end : bytes}, line;
    bool bad;
    /* an incomplete head that is wrong already is not waited for */
    for (u32 i = 0; next_line(&rest, &line, &bad) && line.n; i++) {
        if (i > HTTP_HEADERS_MAX) return -431;
        int rc = i ? parse_field(&h, line) : parse_request_line(&h, line);
        if (rc < 0) return rc;
    }
    if (bad) return -400;
    return end ? (*r->target ? finish(&h) : -400) : 0;
}
