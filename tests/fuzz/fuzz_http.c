/* fuzz_http - requests made of pieces that mean something, then damaged: the parser stays inside
 * its input and its limits, says the same of the same bytes, and never takes back what it said of
 * a part; what it accepts is answered by the routes of a machine. */
#include "api/api_internal.h"
#include "fuzz_machine.h"

enum { TEXT_MAX = 4096 };
static const char *const words[] = {
    "GET ",
    "PUT ",
    "HEAD ",
    "/",
    "/keys",
    "/actions",
    "/stats",
    "/status",
    "/vm/config",
    "/screen.txt",
    "/power-button",
    "?a=b",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    "Host: x\r\n",
    "Content-Length: 24\r\n",
    "Content-Length: 0\r\n",
    "Connection: close\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Expect: 100-continue\r\n",
    "\r\n",
    "{\"keys\":[\"text:abc\",\"a\"]}",
    "{\"action_type\":\"SendCtrlAltDel\"}",
    "{}",
    "[[[[",
    "\"\\ud800\"",
    "\n",
    "\r",
    " ",
    ":",
};

static size_t make_text(char *to)
{
    static const char *const good[] = {
        "PUT /keys HTTP/1.1\r\nHost: x\r\nContent-Length: "
        "25\r\n\r\n{\"keys\":[\"text:abc\",\"a\"]}",
        "GET /vm/config HTTP/1.1\r\nHost: x\r\n\r\n",
        "PUT /actions HTTP/1.1\r\nHost: x\r\nContent-Length: 32\r\n\r\n"
        "{\"action_type\":\"SendCtrlAltDel\"}",
    };
    size_t n = 0;
    if (fuzz_one_in(2)) {
        const char *w = good[fuzz_below(ARRAY_LEN(good))];
        n = strlen(w);
        memcpy(to, w, n);
    }
    for (u32 i = fuzz_below(n ? 3 : 20); i > 0; i--) {
        const char *w = words[fuzz_below(ARRAY_LEN(words))];
        if (n + strlen(w) > TEXT_MAX) break;
        memcpy(to + n, w, strlen(w));
        n += strlen(w);
    }
    if (fuzz_one_in(2)) fuzz_damage((u8 *)to, n, 1 + fuzz_below(4));
    return n;
}

/* The parser gets exactly @n bytes, in memory of their own: sanitizers see one too far. */
static int parse(struct http_request *r, const char *text, size_t n)
{
    char *copy = malloc(n ? n : 1);
    FUZZ_CHECK(copy != NULL);
    memcpy(copy, text, n);
    int rc = http_parse(r, copy, n);
    free(copy);
    return rc;
}

static void check_parts(const char *text, size_t n, int whole)
{
    struct http_request r;
    for (size_t part = 0; part < n; part++) {
        int rc = parse(&r, text, part);
        FUZZ_CHECK(rc == 0 || rc == whole); /* early or not, the same verdict */
    }
}

static void answer(struct api *api, const struct http_request *req, const char *body)
{
    struct response r;
    routes_answer(api, req, body, &r);
    FUZZ_CHECK(r.status >= 200 && r.status < 600);
    FUZZ_CHECK(strcmp(http_reason(r.status), "?") != 0);
    FUZZ_CHECK(r.status < 400 || r.bytes > 0);
    FUZZ_CHECK(api->typer.count <= TYPER_STROKES);
    response_fini(&r);
}

int main(void)
{
    static char text[TEXT_MAX];
    struct api *api = calloc(1, sizeof *api);
    struct err e;
    fuzz_start("fuzz_http");
    struct machine *m = machine_make(1, MIB(4));
    FUZZ_CHECK(api != NULL);
    *api = (struct api){.vm = (struct ring3_vm *)m, .name = "fuzz"};
    machine_try(typer_init(&api->typer, api->vm, &e), &e);
    while (fuzz_next()) {
        struct http_request r;
        size_t n = make_text(text);
        int rc = parse(&r, text, n);
        FUZZ_CHECK(rc <= 1 && rc > -600);
        check_parts(text, n, rc);
        if (rc != 1) continue;
        FUZZ_CHECK(r.head_bytes <= n && r.body_bytes <= HTTP_BODY_MAX);
        FUZZ_CHECK(memchr(r.target, 0, sizeof r.target) && r.target[0] == '/');
        if (r.head_bytes + r.body_bytes <= n) answer(api, &r, text + r.head_bytes);
        if (fuzz_one_in(16)) api->typer.count = api->typer.head = 0;
    }
    ring3_destroy(api->vm);
    free(api);
    return 0;
}
