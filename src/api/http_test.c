/* http_test - requests good and bad, whole and in pieces. */
#include "api/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test.h"

#define HOST "Host: x\r\n"

static int parse(struct http_request *r, const char *text)
{
    size_t n = strlen(text);
    char *copy = malloc(n + 1); /* exactly as long as it is: sanitizers see a byte too far */
    memcpy(copy, text, n);
    int rc = http_parse(r, copy, n);
    free(copy);
    return rc;
}

static void test_good(void **state)
{
    struct http_request r;
    (void)state;
    assert_int_equal(parse(&r, "GET / HTTP/1.1\r\n" HOST "\r\n"), 1);
    assert_true(r.method == HTTP_GET && r.keep_alive && !r.body_bytes && !r.expects);
    assert_string_equal(r.target, "/");
    assert_int_equal(parse(&r, "PUT /a?b=c HTTP/1.1\r\nHOST:x\r\ncontent-LENGTH: \t12 \r\n"
                               "Connection: close\r\nExpect: 100-continue\r\n\r\nabc"),
                     1);
    assert_true(r.method == HTTP_PUT && !r.keep_alive && r.expects);
    assert_int_equal(r.body_bytes, 12);
    assert_string_equal(r.target, "/a?b=c");
    assert_int_equal(parse(&r, "GET / HTTP/1.0\r\n\r\n"), 1);
    assert_false(r.keep_alive);
    assert_int_equal(parse(&r, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET"), 1);
    assert_true(r.keep_alive);
    assert_int_equal(r.head_bytes, 42);
    for (enum http_method m = 0; m < HTTP_METHODS; m++) assert_non_null(http_method_name(m));
}

static void test_bad(void **state)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"\r\n\r\n", 400},
        {"GET\r\n\r\n", 400},
        {"GET /\r\n\r\n", 400},
        {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
        {" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET x HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET http://x/ HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"GET /\xC3 HTTP/1.1\r\n" HOST "\r\n", 400},
        {"G@T / HTTP/1.1\r\n" HOST "\r\n", 400},
        {"get / HTTP/1.1\r\n" HOST "\r\n", 501},
        {"BREW / HTTP/1.1\r\n" HOST "\r\n", 501},
        {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
        {"GET / HTTP/1.x\r\n" HOST "\r\n", 400},
        {"GET / http/1.1\r\n" HOST "\r\n", 400},
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
        {"GET / HTTP/1.1\n" HOST "\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "a\rb: c\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "no colon\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST " folded: x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "space : x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST ": x\r\n\r\n", 400},
        {"GET / HTTP/1.1\r\n" HOST "a: \x02\r\n\r\n", 400},
        {"PUT / HTTP/1.1\r\n" HOST "\r\n", 411},
        {"PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 501},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 1x\r\n\r\n", 400},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 1, 1\r\n\r\n", 400},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 1\r\nContent-Length: 1\r\n\r\n", 400},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 65537\r\n\r\n", 413},
        {"PUT / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999\r\n\r\n", 413},
        {"PUT / HTTP/1.1\r\n" HOST "Expect: miracles\r\n\r\n", 417},
    };
    struct http_request r;
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
        int rc = parse(&r, rows[i].text);
        if (rc != -rows[i].status) fail_msg("%d, not -%d: %s", rc, rows[i].status, rows[i].text);
        assert_string_not_equal(http_reason(rows[i].status), "?");
    }
    assert_string_equal(http_reason(299), "?");
}

/* Every prefix of a good request is incomplete, never wrong. */
static void test_pieces(void **state)
{
    static const char text[] = "PUT /keys HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\n";
    struct http_request r;
    char part[sizeof text];
    (void)state;
    for (size_t n = 0; n < sizeof text - 1; n++) {
        memcpy(part, text, n);
        part[n] = 0;
        assert_int_equal(parse(&r, part), 0);
    }
    assert_int_equal(parse(&r, text), 1);
}

static void test_limits(void **state)
{
    static char big[HTTP_HEAD_MAX + 1];
    struct http_request r;
    (void)state;
    memset(big, 'a', sizeof big);
    assert_int_equal(http_parse(&r, big, HTTP_HEAD_MAX - 1), 0);
    assert_int_equal(http_parse(&r, big, HTTP_HEAD_MAX), -431);
    memcpy(big, "GET /", 5);
    memcpy(big + 400, " HTTP/1.1\r\n", 11);
    assert_int_equal(http_parse(&r, big, 411), -414);
    size_t n = (size_t)snprintf(big, sizeof big, "GET / HTTP/1.1\r\n" HOST);
    for (u32 i = 0; i < HTTP_HEADERS_MAX; i++)
        n += (size_t)snprintf(big + n, sizeof big - n, "a: b\r\n");
    n += (size_t)snprintf(big + n, sizeof big - n, "\r\n");
    assert_int_equal(http_parse(&r, big, n), -431);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad),
                                       cmocka_unit_test(test_pieces),
                                       cmocka_unit_test(test_limits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
