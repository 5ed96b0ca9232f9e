/*
 * What the HTTP parser refuses: smuggling, malformed heads, malformed chunks, limits. Each request
 * is fed at once, byte by byte and in random pieces; the verdict must be the same, and for no
 * request may a head be told that the verdict is about.
 */
#include "support.h"

#include <string.h>

#include "wire/http1.h"

#define MAX_HEAD 16384
#define MAX_BODY 64

/* Fields that a good request has, for vectors about something else. */
#define H       "Host: a\r\n"
#define POST    "POST / HTTP/1.1\r\n" H
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
#define TEN     "0123456789"
#define FIFTY   TEN TEN TEN TEN TEN

struct vector {
    struct str bytes;
    enum errcode code;
};

/* clang-format off */
#define V(code, text) {STR_LIT(text), ERRCODE_##code}
static const struct vector vectors[] = {
    /* line ends */
    V(INVALID_REQUEST, "GET / HTTP/1.1\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X: a\r\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "\rX: a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r" H "\r\n"),
    V(INVALID_REQUEST, "GET /\rHTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "\nGET / HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "\r\r\nGET / HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "\rGET / HTTP/1.1\r\n" H "\r\n"),
    /* request line */
    V(INVALID_REQUEST, " GET / HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET  / HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /  HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1 \r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET\t/\tHTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /\tHTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /a b HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /\r\n\r\n"),
    V(INVALID_REQUEST, "GET\r\n\r\n"),
    V(INVALID_REQUEST, "GET / \r\n" H "\r\n"),
    V(INVALID_REQUEST, "/ HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "G@T / HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "G\0T / HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n"),
    V(INVALID_REQUEST, "AMETHODTHATISLONGERTHANANYTHINGELSE / HTTP/1.1\r\n" H "\r\n"),
    V(METHOD_NOT_ALLOWED, "BREW / HTTP/1.1\r\n" H "\r\n"),
    V(METHOD_NOT_ALLOWED, "get / HTTP/1.1\r\n" H "\r\n"),
    V(METHOD_NOT_ALLOWED, "GETX / HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / http/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.10\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/11\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1,1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTP /1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTPS/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET / ICE/1.0\r\n" H "\r\n"),
    V(HTTP_VERSION, "GET / HTTP/2.0\r\n" H "\r\n"),
    V(HTTP_VERSION, "GET / HTTP/1.2\r\n" H "\r\n"),
    V(HTTP_VERSION, "GET / HTTP/0.9\r\n" H "\r\n"),
    V(HTTP_VERSION, "GET / HTTP/9.9\r\n" H "\r\n"),
    V(HTTP_VERSION, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    /* target */
    V(INVALID_REQUEST, "GET http:// HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET http:/// HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET http:///v1 HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET http://u@a/ HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET http://a:x/ HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET http://a\\b/ HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET http:a/ HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET http://a/ HTTP/1.1\r\n\r\n"),
    V(INVALID_REQUEST, "GET http://a/ HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    V(INVALID_REQUEST, "POST https://b/v1 HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET a:80 HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET * HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "OPTIONS ** HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET index HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET ?a=b HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /a#b HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /\0 HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /\x7f HTTP/1.1\r\n" H "\r\n"),
    V(INVALID_REQUEST, "GET /\x01 HTTP/1.1\r\n" H "\r\n"),
    /* Host */
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "host: b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.0\r\n" H H "\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: user@a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: http://a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a:\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a:b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: :80\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: ::1\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: []\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\nHost: a\xc3\xa9\r\n\r\n"),
    /* fields */
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X : a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X\t: a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "Content-Length : 5\r\n\r\nhello"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H " X: a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X: a\r\n\tb\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X:\r\n \r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "no colon\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "NoColon\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H ": a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X@Y: a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X\xc3\xa9: a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X\0: a\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X: a\0b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X: a\x01" "b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X: a\x7f\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "X: a\x0b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n\r\n"),
    V(INVALID_REQUEST, "GET / HTTP/1.1\r\n" H "Content-Type: text/plain\r\ncontent-type: application/json\r\n\r\n"),
    V(EXPECTATION_FAILED, POST "Content-Length: 5\r\nExpect: 200-ok\r\n\r\nhello"),
    V(EXPECTATION_FAILED, POST "Content-Length: 5\r\nExpect: 100-continue, x\r\n\r\nhello"),
    V(EXPECTATION_FAILED, POST "Content-Length: 5\r\nExpect:\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 5\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n\r\nhello"),
    /* Content-Length */
    V(INVALID_REQUEST, POST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 5, 5\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 5,6\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: +5\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: -5\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 0x5\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 5 0\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 5a\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 5.0\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 1_0\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length:\r\n\r\n"),
    V(INVALID_REQUEST, POST "Content-Length: \"5\"\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 0000000000000005\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: 18446744073709551621\r\n\r\nhello"),
    V(INVALID_REQUEST, POST "Content-Length: \x0b" "5\r\n\r\nhello"),
    V(PAYLOAD_TOO_LARGE, POST "Content-Length: 65\r\n\r\n"),
    V(PAYLOAD_TOO_LARGE, POST "Content-Length: 999999999999999\r\n\r\n"),
    V(PAYLOAD_TOO_LARGE, POST "Content-Length: 65\r\nExpect: 100-continue\r\n\r\n"),
    /* Transfer-Encoding */
    V(INVALID_REQUEST, POST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chunked,\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: ,chunked\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding:\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chun ked\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: chunked;a=b\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, POST "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    V(NOT_IMPLEMENTED, POST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    V(NOT_IMPLEMENTED, POST "Transfer-Encoding: gzip\r\n\r\n0\r\n\r\n"),
    V(NOT_IMPLEMENTED, POST "Transfer-Encoding: identity\r\n\r\n0\r\n\r\n"),
    V(NOT_IMPLEMENTED, POST "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    V(NOT_IMPLEMENTED, POST "Transfer-Encoding: chunkedx\r\n\r\n0\r\n\r\n"),
    /* chunks */
    V(INVALID_REQUEST, CHUNKED "\r\n"),
    V(INVALID_REQUEST, CHUNKED "x\r\n"),
    V(INVALID_REQUEST, CHUNKED "0x5\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "+5\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "-5\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED " 5\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5 \r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\t;a\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5_\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\rhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\r\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\r\nhello\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\r\nhello0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\r\nhelloxx0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\r\nhello\r0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5\r\nhello\r\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "4\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "000000005\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a=\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;=b\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5; a=b\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a=b;\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a=\"b\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a=\"b\\\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a\0b\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a=\"\x01\"\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a\nb\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "5;a=b\xc3\r\nhello\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "1;" FIFTY FIFTY FIFTY FIFTY FIFTY "abcdef\r\nx\r\n0\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "1;" FIFTY FIFTY FIFTY "\r\nx\r\n1;" FIFTY FIFTY FIFTY "\r\nx\r\n0\r\n\r\n"),
    V(PAYLOAD_TOO_LARGE, CHUNKED "41\r\n"),
    V(PAYLOAD_TOO_LARGE, CHUNKED "ffffffff\r\n"),
    V(PAYLOAD_TOO_LARGE, CHUNKED "5\r\nhello\r\n3c\r\n"),
    /* trailers */
    V(INVALID_REQUEST, CHUNKED "0\r\n\n"),
    V(INVALID_REQUEST, CHUNKED "0\r\n\r\r\n"),
    V(INVALID_REQUEST, CHUNKED "0\r\nX : a\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "0\r\nX: a\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "0\r\n folded\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "0\r\nGET / HTTP/1.1\r\n\r\n"),
    V(INVALID_REQUEST, CHUNKED "0\r\nX: a\0b\r\n\r\n"),
};
/* clang-format on */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/*
 * Feeds the bytes in pieces of at most max_step bytes (of random sizes with a state) until the
 * parser has enough.
 */
static enum http1_result feed(struct str bytes, size_t max_step, uint64_t *state,
                              struct problem *ret_problem)
{
    struct http1_limits limits = {.head_bytes = MAX_HEAD, .body_bytes = MAX_BODY};
    struct http1 *h = http1_new(&limits);
    enum http1_result result = HTTP1_MORE;
    size_t at = 0;

    ck_assert_ptr_nonnull(h);
    while (at < bytes.len && (result == HTTP1_MORE || result == HTTP1_HEAD_DONE)) {
        size_t n = bytes.len - at < max_step ? bytes.len - at : max_step, taken = 0;

        n = state && n > 1 ? 1 + next_random(state) % n : n;

        char *piece = malloc(n); /* of its own size: the sanitizer sees one byte too far */

        if (!piece) {
            ck_abort_msg("out of memory");
        }
        memcpy(piece, bytes.ptr + at, n);
        result = http1_feed(h, (struct str) {piece, n}, &taken, ret_problem);
        free(piece);
        if (taken > n || (result == HTTP1_MORE && taken != n)) {
            ck_abort_msg("%zu of %zu taken", taken, n);
        }
        at += taken;
    }
    http1_free(h);
    return result;
}

static void expect_refusal(struct str bytes, enum errcode code, size_t max_step, uint64_t *state)
{
    struct problem problem = {.code = ERRCODE_NONE, .param = "x"};
    enum http1_result result = feed(bytes, max_step, state, &problem);

    ck_assert_msg(result == HTTP1_REFUSED, "'%.*s' by %zu is %d", STR_ARG(bytes), max_step, result);
    ck_assert_msg(problem.code == code, "'%.*s' by %zu is %s, not %s", STR_ARG(bytes), max_step,
                  errcode_info(problem.code)->name, errcode_info(code)->name);
    ck_assert_str_ne(problem.text, "");
    ck_assert_str_eq(problem.param, "");
}

START_TEST(refuses)
{
    uint64_t state = 4711;

    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        expect_refusal(vectors[i].bytes, vectors[i].code, SIZE_MAX, NULL);
        expect_refusal(vectors[i].bytes, vectors[i].code, 1, NULL);
        for (unsigned k = 0; k < 20; k++) {
            expect_refusal(vectors[i].bytes, vectors[i].code, vectors[i].bytes.len, &state);
        }
    }
}
END_TEST

/* ---- limits: the last request that fits, and one byte more */

static void expect_head(struct str bytes, size_t max_step)
{
    struct problem problem = {.code = ERRCODE_NONE};
    enum http1_result result = feed(bytes, max_step, NULL, &problem);

    ck_assert_msg(result == HTTP1_HEAD_DONE, "%zu bytes by %zu: %s", bytes.len, max_step,
                  problem.text);
}

/*
 * prefix, n times c, suffix: fits with n = most, and with one more is refused with code; also when
 * the suffix never comes.
 */
static void check_limit(const char *prefix, char c, size_t most, const char *suffix,
                        enum errcode code)
{
    struct buf text;

    buf_init(&text, 64 * 1024);
    for (size_t n = most; n <= most + 1; n++) {
        buf_clear(&text);
        ck_assert_int_eq(buf_append_z(&text, prefix), 0);
        while (n > 0 && text.len < strlen(prefix) + n) {
            if (buf_append_char(&text, c) < 0) {
                ck_abort_msg("out of memory");
            }
        }
        ck_assert_int_eq(buf_append_z(&text, suffix), 0);
        for (size_t step = 1; step < 40000; step = step * 3 + 1) {
            if (n == most) {
                expect_head(buf_str(&text), step);
            } else {
                expect_refusal(buf_str(&text), code, step, NULL);
            }
        }
    }
    buf_done(&text);
}

START_TEST(limits_of_the_head)
{
    check_limit("GET /", 'a', HTTP1_MAX_TARGET_BYTES - 1, " HTTP/1.1\r\n" H "\r\n",
                ERRCODE_URI_TOO_LONG);
    check_limit("GET / HTTP/1.1\r\n" H "X: ", 'a', HTTP1_MAX_LINE_BYTES - 3, "\r\n\r\n",
                ERRCODE_HEAD_TOO_LARGE);
    check_limit("GET / HTTP/1.1\r\n" H, 'a', HTTP1_MAX_LINE_BYTES - 1, ":\r\n\r\n",
                ERRCODE_HEAD_TOO_LARGE);
}
END_TEST

/* Fills the head to exactly MAX_HEAD bytes with short lines, and to one more. */
START_TEST(limit_of_the_whole_head)
{
    struct buf text;

    buf_init(&text, 64 * 1024);
    for (size_t size = MAX_HEAD; size <= MAX_HEAD + 1; size++) {
        buf_clear(&text);
        ck_assert_int_eq(buf_append_z(&text, "GET / HTTP/1.1\r\n" H), 0);
        while (text.len + 1100 < size) {
            ck_assert_int_eq(buf_printf(&text, "X: %01000d\r\n", 1), 0);
        }
        ck_assert_int_eq(buf_printf(&text, "X: %0*d\r\n\r\n", (int) (size - text.len - 7), 1), 0);
        ck_assert_uint_eq(text.len, size);
        for (size_t step = 1; step < 40000; step = step * 3 + 1) {
            if (size == MAX_HEAD) {
                expect_head(buf_str(&text), step);
            } else {
                expect_refusal(buf_str(&text), ERRCODE_HEAD_TOO_LARGE, step, NULL);
            }
        }
    }
    buf_done(&text);
}
END_TEST

START_TEST(limit_of_fields)
{
    struct buf text;

    buf_init(&text, 64 * 1024);
    for (size_t n = HTTP1_MAX_HEADERS; n <= HTTP1_MAX_HEADERS + 1; n++) {
        buf_clear(&text);
        ck_assert_int_eq(buf_append_z(&text, "GET / HTTP/1.1\r\n" H), 0);
        for (size_t i = 1; i < n; i++) {
            ck_assert_int_eq(buf_printf(&text, "X-%zu: a\r\n", i), 0);
        }
        ck_assert_int_eq(buf_append_z(&text, "\r\n"), 0);
        for (size_t step = 1; step < 4000; step = step * 3 + 1) {
            if (n == HTTP1_MAX_HEADERS) {
                expect_head(buf_str(&text), step);
            } else {
                expect_refusal(buf_str(&text), ERRCODE_HEAD_TOO_LARGE, step, NULL);
            }
        }
    }
    buf_done(&text);
}
END_TEST

/* A head that never ends is refused when the limit is reached, not when it ends. */
START_TEST(heads_without_end)
{
    static const struct {
        const char *prefix;
        char filler;
        enum errcode code;
    } table[] = {
        {"", 'A', ERRCODE_INVALID_REQUEST},
        {"GET /", 'a', ERRCODE_URI_TOO_LONG},
        {"GET / ", 'H', ERRCODE_HEAD_TOO_LARGE},
        {"GET / HTTP/1.1\r\n", 'X', ERRCODE_HEAD_TOO_LARGE},
        {"GET / HTTP/1.1\r\nX: ", '\r', ERRCODE_HEAD_TOO_LARGE},
        {CHUNKED, '0', ERRCODE_INVALID_REQUEST},
        {CHUNKED "0\r\nX: ", 'a', ERRCODE_HEAD_TOO_LARGE},
    };
    struct buf text;

    buf_init(&text, 64 * 1024);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        buf_clear(&text);
        ck_assert_int_eq(buf_append_z(&text, table[i].prefix), 0);
        while (text.len < MAX_HEAD + 100) {
            ck_assert_int_eq(buf_append_char(&text, table[i].filler), 0);
        }
        expect_refusal(buf_str(&text), table[i].code, SIZE_MAX, NULL);
        expect_refusal(buf_str(&text), table[i].code, 1, NULL);
    }
    buf_done(&text);
}
END_TEST

START_TEST(trailers_have_a_limit)
{
    struct buf text;

    buf_init(&text, 64 * 1024);
    ck_assert_int_eq(buf_append_z(&text, CHUNKED "0\r\n"), 0);
    while (text.len < 6000) {
        ck_assert_int_eq(buf_append_z(&text, "X: " FIFTY "\r\n"), 0);
    }
    expect_refusal(buf_str(&text), ERRCODE_HEAD_TOO_LARGE, SIZE_MAX, NULL);
    expect_refusal(buf_str(&text), ERRCODE_HEAD_TOO_LARGE, 1, NULL);
    buf_done(&text);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, refuses);
    tcase_add_test(tc, limits_of_the_head);
    tcase_add_test(tc, limit_of_the_whole_head);
    tcase_add_test(tc, limit_of_fields);
    tcase_add_test(tc, heads_without_end);
    tcase_add_test(tc, trailers_have_a_limit);
}

TEST_MAIN("http1_refuse", add_tests)
