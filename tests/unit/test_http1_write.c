/*
 * HTTP heads, chunks and escapes: written exactly, whole or not at all, and never so that a value
 * ends its line.
 */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "wire/http1.h"

START_TEST(writes_a_head)
{
    struct buf out;

    buf_init(&out, 256);
    ck_assert_int_eq(http1_write_status(&out, 200), 0);
    ck_assert_int_eq(http1_write_header(&out, "content-type", STR_LIT("application/json")), 0);
    ck_assert_int_eq(http1_write_header(&out, "x-empty", STR_LIT("")), 0);
    ck_assert_int_eq(http1_write_header(&out, "x-absent", STR_NONE), 0);
    ck_assert_int_eq(http1_write_end(&out), 0);
    ck_assert_str_is(
        buf_str(&out),
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-empty: \r\nx-absent: \r\n\r\n");
    buf_done(&out);
}
END_TEST

/* Every status that an error can have is one that clients can read. */
START_TEST(knows_the_reasons)
{
    struct buf out;

    buf_init(&out, 256);
    for (int code = 0; code < _ERRCODE_MAX; code++) {
        int status = errcode_info((enum errcode) code)->http_status;

        ck_assert_str_ne(http1_reason(status), "Unknown");
        ck_assert_int_eq(http1_write_status(&out, status), 0);
        buf_clear(&out);
    }
    ck_assert_str_eq(http1_reason(299), "Unknown");
    ck_assert_int_eq(http1_write_status(&out, 299), 0);
    ck_assert_str_is(buf_str(&out), "HTTP/1.1 299 Unknown\r\n");
    buf_done(&out);
}
END_TEST

START_TEST(values_stay_on_their_line)
{
    struct buf out;

    buf_init(&out, 256);
    ck_assert_int_eq(
        http1_write_header(&out, "x", STR_LIT("a\r\nSet-Cookie: b\0\x1b\x7f\tc\xc3\xa9")), 0);
    ck_assert_str_is(buf_str(&out), "x: a??Set-Cookie: b???\tc\xc3\xa9\r\n");
    buf_done(&out);
}
END_TEST

START_TEST(writes_chunks)
{
    static char large[0x12345];
    struct buf out;

    buf_init(&out, 256 * 1024);
    ck_assert_int_eq(http1_write_chunk(&out, STR_LIT("data: x\n\n")), 0);
    ck_assert_int_eq(http1_write_chunk(&out, STR_LIT("0123456789abcdef")), 0);
    ck_assert_int_eq(http1_write_chunk(&out, STR_LIT("")), 0);
    ck_assert_str_is(buf_str(&out), "9\r\ndata: x\n\n\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n");
    buf_clear(&out);
    memset(large, 'x', sizeof large);
    ck_assert_int_eq(http1_write_chunk(&out, (struct str) {large, sizeof large}), 0);
    ck_assert_uint_eq(out.len, sizeof large + 9);
    ck_assert(str_has_prefix(buf_str(&out), "12345\r\nxxx"));
    buf_done(&out);
}
END_TEST

/* What is written as chunks is what the parser reads. */
START_TEST(chunks_come_back)
{
    static const struct http1_limits limits = {.head_bytes = 1024, .body_bytes = 64 * 1024};
    struct http1 *h = http1_new(&limits);
    struct problem problem;
    struct buf out;
    size_t taken;

    buf_init(&out, 64 * 1024);
    ck_assert_int_eq(
        buf_append_z(&out, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"), 0);
    for (size_t n = 1; n < 300; n++) {
        static const char zeros[300];

        ck_assert_int_eq(http1_write_chunk(&out, (struct str) {zeros, n}), 0);
    }
    ck_assert_int_eq(http1_write_chunk(&out, STR_NONE), 0);
    ck_assert_int_eq(http1_feed(h, buf_str(&out), &taken, &problem), HTTP1_HEAD_DONE);
    buf_consume(&out, taken);
    ck_assert_int_eq(http1_feed(h, buf_str(&out), &taken, &problem), HTTP1_COMPLETE);
    ck_assert_uint_eq(taken, out.len);
    ck_assert_uint_eq(http1_body(h).len, 299 * 300 / 2);
    http1_free(h);
    buf_done(&out);
}
END_TEST

START_TEST(whole_or_not_at_all)
{
    struct buf out;

    for (size_t max = 1; max < 10; max++) {
        buf_init(&out, max);
        ck_assert_int_eq(buf_append_z(&out, "x"), 0);
        ck_assert_int_eq(http1_write_status(&out, 200), -ENOBUFS);
        ck_assert_int_eq(http1_write_header(&out, "n", STR_LIT("value")), -ENOBUFS);
        ck_assert_int_eq(http1_write_chunk(&out, STR_LIT("value")), -ENOBUFS);
        ck_assert_int_eq(http1_unescape(STR_LIT("a%20bcdefghij"), &out), -ENOBUFS);
        ck_assert_str_is(buf_str(&out), "x");
        buf_done(&out);
    }
}
END_TEST

START_TEST(unescapes)
{
    static const struct {
        struct str in;
        const char *out; /* NULL: malformed */
    } table[] = {
        {STR_LIT(""), ""},
        {STR_LIT("plain"), "plain"},
        {STR_LIT("a%20b%2Fc%2fd"), "a b/c/d"},
        {STR_LIT("%E2%82%AC"), "\xe2\x82\xac"},
        {STR_LIT("%FF"), "\xff"},
        {STR_LIT("a+b"), "a+b"},
        {STR_LIT("%25%32%35"), "%25"},
        {STR_LIT("%"), NULL},
        {STR_LIT("%2"), NULL},
        {STR_LIT("abc%"), NULL},
        {STR_LIT("%zz"), NULL},
        {STR_LIT("%2z"), NULL},
        {STR_LIT("%-1"), NULL},
        {STR_LIT("%00"), NULL},
        {STR_LIT("a\0b"), NULL},
        {STR_LIT("good%20%0"), NULL},
    };
    struct buf out;

    buf_init(&out, 64);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_int_eq(http1_unescape(table[i].in, &out), table[i].out ? 0 : -EBADMSG);
        ck_assert_str_is(buf_str(&out), table[i].out ? table[i].out : "");
        buf_clear(&out);
    }
    buf_done(&out);
}
END_TEST

static void write_everything(void)
{
    struct buf out;

    for (unsigned what = 0; what < 4; what++) {
        buf_init(&out, 1024);

        int r = what == 0   ? http1_write_status(&out, 200)
                : what == 1 ? http1_write_header(&out, "n", STR_LIT("v"))
                : what == 2 ? http1_write_chunk(&out, STR_LIT("v"))
                            : http1_unescape(STR_LIT("a%20"), &out);

        ck_assert(r == 0 || (r == -ENOMEM && allocation_failed() && out.len == 0));
        buf_done(&out);
    }
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(write_everything);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, writes_a_head);
    tcase_add_test(tc, knows_the_reasons);
    tcase_add_test(tc, values_stay_on_their_line);
    tcase_add_test(tc, writes_chunks);
    tcase_add_test(tc, chunks_come_back);
    tcase_add_test(tc, whole_or_not_at_all);
    tcase_add_test(tc, unescapes);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("http1_write", add_tests)
