/*
 * What the HTTP parser accepts: requests as real clients send them, split anywhere, one behind the
 * other; what it tells of them; what it allocates; every allocation failed. What it refuses is
 * test_http1_refuse.c's, what it writes test_http1_write.c's.
 */
#include "support.h"

#include <malloc.h>
#include <string.h>

#include "wire/http1.h"

#define H "Host: a\r\n"

static const struct http1_limits limits = {.head_bytes = 16384, .body_bytes = 4096};

static const char *const method_names[] = {
    [HTTP1_GET] = "GET",         [HTTP1_HEAD] = "HEAD",   [HTTP1_POST] = "POST",
    [HTTP1_OPTIONS] = "OPTIONS", [HTTP1_OTHER] = "OTHER",
};

/* Everything that the parser says of a request, in one line. */
static void describe(const struct http1 *h, struct buf *out)
{
    const struct http1_head *head = http1_head(h);
    struct str body = http1_body(h);

    ck_assert_ptr_nonnull(head);
    ck_assert_int_eq(
        buf_printf(out, "%s %.*s|%.*s|%s%s%s%s%s|", method_names[head->method], STR_ARG(head->path),
                   STR_ARG(head->query), head->query.ptr ? "" : "no query ",
                   head->is_http10 ? "1.0 " : "", head->keep_alive ? "keep " : "close ",
                   head->expects_continue ? "expect " : "", head->has_body ? "body" : "none"),
        0);
    ck_assert_int_eq(buf_printf(out, "%zu|%.*s;", head->n_headers, STR_ARG(body)), 0);
}

/*
 * Feeds bytes, which may hold several requests, in pieces of step bytes and describes each request.
 */
static void feed(struct http1 *h, struct str bytes, size_t step, struct buf *out)
{
    size_t at = 0, end = 0;

    while (at < bytes.len || end < bytes.len) {
        struct problem problem = {.code = ERRCODE_NONE};
        size_t taken = 0;

        end = end - at < step ? at + step : end;
        end = end < bytes.len ? end : bytes.len;

        enum http1_result result =
            http1_feed(h, (struct str) {bytes.ptr + at, end - at}, &taken, &problem);

        ck_assert_msg(result != HTTP1_REFUSED, "'%.*s' by %zu: %s", STR_ARG(bytes), step,
                      problem.text);
        ck_assert_uint_le(taken, end - at);
        at += taken;
        if (result == HTTP1_HEAD_DONE) {
            ck_assert_uint_eq(http1_body(h).len, 0);
            result = http1_feed(h, STR_LIT(""), &taken, &problem);
            ck_assert(result == (http1_head(h)->has_body ? HTTP1_MORE : HTTP1_COMPLETE));
            ck_assert_uint_eq(taken, 0);
        }
        if (result == HTTP1_COMPLETE) {
            describe(h, out);
            /* bytes behind it are not taken */
            ck_assert_int_eq(http1_feed(h, STR_LIT("GET"), &taken, &problem), HTTP1_COMPLETE);
            ck_assert_uint_eq(taken, 0);
            ck_assert(http1_is_started(h));
            http1_next(h);
            ck_assert(!http1_is_started(h));
            ck_assert_ptr_null(http1_head(h));
            ck_assert_uint_eq(http1_body(h).len, 0);
        }
    }
}

static const struct {
    const char *bytes;
    const char *said;
} table[] = {
    /* the least that a person with nc types */
    {"GET / HTTP/1.0\r\n\r\n", "GET /||no query 1.0 close none|0|;"},
    {"GET /health/liveliness HTTP/1.1\r\nHost: localhost\r\n\r\n",
     "GET /health/liveliness||no query keep none|1|;"},
    /* curl 7.88 */
    {"GET /v1/models HTTP/1.1\r\nHost: 127.0.0.1:4000\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n\r\n",
     "GET /v1/models||no query keep none|3|;"},
    {"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:4000\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
     "Authorization: Bearer sk-1234\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{\"model\":\"m\"}",
     "POST /v1/chat/completions||no query keep body|6|{\"model\":\"m\"};"},
    {"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
     "POST /v1/chat/completions||no query keep expect body|3|{};"},
    {"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nExpect: 100-Continue\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
     "POST /||no query keep expect body|3|{};"},
    {"HEAD /v1/models HTTP/1.1\r\nHost: [::1]:4000\r\n\r\n",
     "HEAD /v1/models||no query keep none|1|;"},
    /* as to a proxy */
    {"GET http://localhost:4000/v1/models?a=/b HTTP/1.1\r\nHost: localhost:4000\r\n\r\n",
     "GET /v1/models|a=/b|keep none|1|;"},
    {"GET HTTP://localhost HTTP/1.0\r\n\r\n", "GET /||no query 1.0 close none|0|;"},
    {"GET http://[::1]?q HTTP/1.1\r\nHost: a\r\n\r\n", "GET /|q|keep none|1|;"},
    /* openai-python over httpx */
    {"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:4000\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n"
     "Accept: application/json\r\nContent-Type: application/json\r\nUser-Agent: OpenAI/Python 1.54.0\r\nX-Stainless-Lang: python\r\n"
     "X-Stainless-Package-Version: 1.54.0\r\nX-Stainless-OS: Linux\r\nX-Stainless-Arch: x64\r\nX-Stainless-Runtime: CPython\r\n"
     "X-Stainless-Runtime-Version: 3.11.2\r\nAuthorization: Bearer x\r\nX-Stainless-Async: false\r\nx-stainless-retry-count: 0\r\n"
     "Content-Length: 2\r\n\r\n{}",
     "POST /v1/chat/completions||no query keep body|16|{};"},
    /* fetch of Node.js (undici), which sends bodies of unknown length in chunks */
    {"POST /v1/embeddings HTTP/1.1\r\nhost: localhost:4000\r\nconnection: keep-alive\r\ncontent-type: application/json\r\naccept: */*\r\n"
     "accept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\naccept-encoding: gzip, deflate\r\ntransfer-encoding: chunked\r\n\r\n"
     "7\r\n{\"a\":1,\r\n6\r\n\"b\":2}\r\n0\r\n\r\n",
     "POST /v1/embeddings||no query keep body|9|{\"a\":1,\"b\":2};"},
    /* a browser's preflight */
    {"OPTIONS /v1/chat/completions HTTP/1.1\r\nHost: localhost:4000\r\nOrigin: http://localhost:3000\r\n"
     "Access-Control-Request-Method: POST\r\n\r\n",
     "OPTIONS /v1/chat/completions||no query keep none|3|;"},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS *||no query keep none|1|;"},
    /* clients that ask for another protocol get this one */
    {"GET / HTTP/1.1\r\n" H
     "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
     "GET /||no query keep none|4|;"},
    {"POST / HTTP/1.1\r\n" H
     "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nhi",
     "POST /||no query keep body|4|hi;"},
    /* methods that the frontend answers with 405 */
    {"DELETE /v1/models/x HTTP/1.1\r\n" H "\r\n", "OTHER /v1/models/x||no query keep none|1|;"},
    {"PUT / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", "OTHER /||no query keep body|2|hi;"},
    {"TRACE / HTTP/1.1\r\n" H "\r\n", "OTHER /||no query keep none|1|;"},
    {"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", "OTHER a:443||no query keep none|1|;"},
    {"PATCH / HTTP/1.1\r\n" H "\r\n", "OTHER /||no query keep none|1|;"},
    /* targets */
    {"GET /a?b=c&d=%20?e HTTP/1.1\r\n" H "\r\n", "GET /a|b=c&d=%20?e|keep none|1|;"},
    {"GET /? HTTP/1.1\r\n" H "\r\n", "GET /||keep none|1|;"},
    {"GET //a/../b;c HTTP/1.1\r\n" H "\r\n", "GET //a/../b;c||no query keep none|1|;"},
    {"GET /v1/models/ollama%2Fllama3.2:1b HTTP/1.1\r\n" H "\r\n",
     "GET /v1/models/ollama%2Fllama3.2:1b||no query keep none|1|;"},
    {"GET /{a}|~!$&'()*+,=@-._ HTTP/1.1\r\n" H "\r\n",
     "GET /{a}|~!$&'()*+,=@-._||no query keep none|1|;"},
    /* connections */
    {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "GET /||no query close none|2|;"},
    {"GET / HTTP/1.1\r\n" H "Connection: foo, CLOSE ,bar\r\n\r\n",
     "GET /||no query close none|2|;"},
    {"GET / HTTP/1.1\r\n" H "Connection: keep-alive\r\nConnection: close\r\n\r\n",
     "GET /||no query close none|3|;"},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", "GET /||no query 1.0 keep none|1|;"},
    {"GET / HTTP/1.0\r\n" H "Connection: keep-alive, close\r\n\r\n",
     "GET /||no query 1.0 close none|2|;"},
    {"POST / HTTP/1.0\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\nhi",
     "POST /||no query 1.0 close body|2|hi;"},
    {"GET / HTTP/1.1\r\n" H "Expect: 100-continue\r\n\r\n", "GET /||no query keep none|2|;"},
    /* bodies */
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "POST /||no query keep none|2|;"},
    {"POST / HTTP/1.1\r\n" H "\r\n", "POST /||no query keep none|1|;"},
    {"GET / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi", "GET /||no query keep body|2|hi;"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 000000000000002\r\n\r\nhi",
     "POST /||no query keep body|2|hi;"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n",
     "POST /||no query keep body|2|;"},
    {"POST / HTTP/1.1\r\n" H
     "TE: trailers\r\nTransfer-Encoding: \t chunked \t\r\n\r\n00000002\r\nhi\r\n00\r\n\r\n",
     "POST /||no query keep body|3|hi;"},
    {"POST / HTTP/1.1\r\n" H
     "Transfer-Encoding: chunked\r\n\r\na;x\r\n0123456789\r\nB;x=y;z=\"q;\\\" \"\r\n0123456789a\r\n0;last\r\n"
     "X-Trailer: a\r\nHost: evil\r\n\r\n",
     "POST /||no query keep body|2|01234567890123456789a;"},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n2\r\n\r\n\r\n1\r\n0\r\n0\r\n\r\n",
     "POST /||no query keep body|2|\r\n0;"},
    /* odd but good fields */
    {"GET / HTTP/1.1\r\nX:\r\nHost:a\r\nY: \t v\xc3\xa9 \"a\tb\" \t\r\n!#$%&'*+-.^_`|~9: z\r\n\r\n",
     "GET /||no query keep none|4|;"},
    {"GET / HTTP/1.1\r\nHost: my_host-1.example.~x:1\r\nCookie: a\r\nCookie: b\r\nAccept: a\r\nAccept: b\r\n\r\n",
     "GET /||no query keep none|5|;"},
    /* an empty line in front, which some clients send behind a body */
    {"\r\nGET / HTTP/1.1\r\n" H "\r\n", "GET /||no query keep none|1|;"},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhi\r\nGET /b HTTP/1.1\r\n" H "\r\n",
     "POST /||no query keep body|2|hi;GET /b||no query keep none|1|;"},
    /* one behind the other */
    {"GET /1 HTTP/1.1\r\n" H "\r\nGET /2 HTTP/1.1\r\n" H "\r\nGET /3 HTTP/1.1\r\n" H "\r\n",
     "GET /1||no query keep none|1|;GET /2||no query keep none|1|;GET /3||no query keep none|1|;"},
    {"POST /1 HTTP/1.1\r\n" H
     "Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nT: t\r\n\r\nPOST /2 HTTP/1.1\r\n" H
     "Transfer-Encoding: chunked\r\n\r\n1;a\r\ny\r\n0\r\n\r\nPOST /3 HTTP/1.1\r\n" H
     "Content-Length: 1\r\n\r\nz",
     "POST /1||no query keep body|2|x;POST /2||no query keep body|2|y;POST /3||no query keep body|2|z;"},
};

START_TEST(accepts)
{
    static const size_t steps[] = {SIZE_MAX, 1, 2, 3, 7, 16, 61};
    struct buf out;

    buf_init(&out, 4096);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        for (size_t k = 0; k < ARRAY_LEN(steps); k++) {
            struct http1 *h = http1_new(&limits);

            ck_assert_ptr_nonnull(h);
            ck_assert(!http1_is_started(h));
            feed(h, str_from(table[i].bytes),
                 steps[k] == SIZE_MAX ? strlen(table[i].bytes) : steps[k], &out);
            ck_assert_msg(str_is(buf_str(&out), table[i].said), "'%s' is '%.*s', not '%s'",
                          table[i].bytes, STR_ARG(buf_str(&out)), table[i].said);
            buf_clear(&out);
            http1_free(h);
        }
    }
    buf_done(&out);
}
END_TEST

START_TEST(fields_by_name)
{
    static const char bytes[] =
        "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Twice: one\r\nx-twice:two\r\nX-Blanks: \t a b \t\r\n"
        "Authorization: Bearer k\r\n\r\n";
    struct http1 *h = http1_new(&limits);
    struct problem problem;
    size_t taken;

    ck_assert_ptr_null(http1_head(h));
    ck_assert_int_eq(http1_feed(h, str_from(bytes), &taken, &problem), HTTP1_HEAD_DONE);
    ck_assert_uint_eq(taken, sizeof bytes - 1);

    const struct http1_head *head = http1_head(h);

    ck_assert_uint_eq(head->n_headers, 6);
    ck_assert_str_is(head->target, "/");
    ck_assert_str_is(head->headers[4].name, "X-Blanks");
    ck_assert_str_is(head->headers[4].value, "a b");
    ck_assert_str_is(http1_header(head, "host"), "a");
    ck_assert_str_is(http1_header(head, "AUTHORIZATION"), "Bearer k");
    ck_assert_str_is(http1_header(head, "x-twice"), "one");
    ck_assert_str_is(http1_header(head, "x-empty"), "");
    ck_assert_ptr_nonnull(http1_header(head, "x-empty").ptr);
    ck_assert_ptr_null(http1_header(head, "x-none").ptr);
    ck_assert_ptr_null(http1_header(head, "x-twic").ptr);
    http1_next(h); /* a request without a body may be left here */
    ck_assert(!http1_is_started(h));
    http1_free(h);
}
END_TEST

START_TEST(started_with_the_first_byte)
{
    struct http1 *h = http1_new(&limits);
    struct problem problem;
    size_t taken;

    ck_assert_int_eq(http1_feed(h, STR_NONE, &taken, &problem), HTTP1_MORE);
    ck_assert(!http1_is_started(h));
    ck_assert_int_eq(http1_feed(h, STR_LIT("\r\n"), &taken, &problem), HTTP1_MORE);
    ck_assert(!http1_is_started(h));
    ck_assert_int_eq(http1_feed(h, STR_LIT("G"), &taken, &problem), HTTP1_MORE);
    ck_assert(http1_is_started(h));
    ck_assert_ptr_null(http1_head(h));
    ck_assert_ptr_null(http1_free(h));
    ck_assert_ptr_null(http1_free(NULL));
}
END_TEST

START_TEST(body_is_taken_over)
{
    struct http1 *h = http1_new(&limits);
    struct problem problem;
    struct buf body;
    size_t taken;

    ck_assert_int_eq(http1_feed(h, STR_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n"),
                                &taken, &problem),
                     HTTP1_HEAD_DONE);
    ck_assert_int_eq(http1_feed(h, STR_LIT("hel"), &taken, &problem), HTTP1_MORE);
    ck_assert_str_is(http1_body(h), "hel");
    ck_assert_int_eq(http1_feed(h, STR_LIT("lo"), &taken, &problem), HTTP1_COMPLETE);
    http1_take_body(h, &body);
    ck_assert_uint_eq(http1_body(h).len, 0);
    ck_assert_str_is(buf_str(&body), "hello");
    ck_assert_str_is(http1_head(h)->path, "/"); /* the head stays */
    http1_next(h);
    http1_free(h);
    ck_assert_str_is(buf_str(&body), "hello");
    buf_done(&body);
}
END_TEST

START_TEST(body_up_to_the_limit)
{
    static const struct http1_limits small = {.head_bytes = 200, .body_bytes = 10};
    static const char *const requests[] = {
        "POST / HTTP/1.1\r\n" H "Content-Length: 10\r\n\r\n0123456789",
        "POST / HTTP/1.1\r\n" H
        "Transfer-Encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n",
    };
    struct problem problem;
    size_t taken, more;

    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        struct str bytes = str_from(requests[i]);
        struct http1 *h = http1_new(&small);

        ck_assert_int_eq(http1_feed(h, bytes, &taken, &problem), HTTP1_HEAD_DONE);
        bytes = (struct str) {bytes.ptr + taken, bytes.len - taken};
        ck_assert_int_eq(http1_feed(h, bytes, &more, &problem), HTTP1_COMPLETE);
        ck_assert_uint_eq(more, bytes.len);
        ck_assert_str_is(http1_body(h), "0123456789");
        http1_free(h);
    }
}
END_TEST

/* ---- memory: a thousand idle connections, and a length that only announces */

START_TEST(memory_is_small)
{
    static const struct http1_limits large = {.head_bytes = 16384, .body_bytes = 32 * 1024 * 1024};
    struct problem problem;
    size_t taken;
    struct http1 *h = http1_new(&large);

    ck_assert_uint_le(malloc_usable_size(h), 1024);
    ck_assert_int_eq(http1_feed(h,
                                STR_LIT("POST / HTTP/1.1\r\n" H "Content-Length: 33554432\r\n\r\n"),
                                &taken, &problem),
                     HTTP1_HEAD_DONE);
    fail_allocation(1); /* nothing is allocated for a body that has not come */
    ck_assert_int_eq(http1_feed(h, STR_LIT(""), &taken, &problem), HTTP1_MORE);
    ck_assert(!allocation_failed());
    fail_allocation(0);
    http1_free(h);
}
END_TEST

/* ---- out of memory */

static void serve_two(void)
{
    static const char bytes[] =
        "POST /1 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\nT: t\r\n\r\n"
        "POST /2 HTTP/1.1\r\n" H "Content-Length: 1\r\n\r\nz";
    struct str rest = str_from(bytes);
    struct http1 *h = http1_new(&limits);
    unsigned n_complete = 0;

    while (h && rest.len > 0) {
        struct problem problem;
        size_t taken;
        enum http1_result result = http1_feed(h, rest, &taken, &problem);

        rest = (struct str) {rest.ptr + taken, rest.len - taken};
        if (result == HTTP1_REFUSED) {
            ck_assert_int_eq(problem.code, ERRCODE_OUT_OF_MEMORY);
            break;
        }
        if (result == HTTP1_COMPLETE) {
            n_complete++;
            http1_next(h);
        }
    }
    ck_assert(allocation_failed() ? n_complete < 2 : n_complete == 2);
    http1_free(h);
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(serve_two);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, accepts);
    tcase_add_test(tc, fields_by_name);
    tcase_add_test(tc, started_with_the_first_byte);
    tcase_add_test(tc, body_is_taken_over);
    tcase_add_test(tc, body_up_to_the_limit);
    tcase_add_test(tc, memory_is_small);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("http1", add_tests)
