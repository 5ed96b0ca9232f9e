/*
 * Fuzzes wire/http1: the first byte says how the rest is split; requests, bodies and the verdict
 * must be those of one feed. What is let through must keep the promises of the policy.
 */
#include "split.h"
#include "wire/http1.h"

#define MAX_BODY 256

static const struct http1_limits limits = {.head_bytes = 1024, .body_bytes = MAX_BODY};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static size_t count(const struct http1_head *head, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < head->n_headers; i++) {
        n += str_is_nocase(head->headers[i].name, name);
    }
    return n;
}

static void check_head(const struct http1_head *head)
{
    size_t n_lengths = count(head, "content-length"), n_codings = count(head, "transfer-encoding");

    assert(head->n_headers <= HTTP1_MAX_HEADERS && head->target.len <= HTTP1_MAX_TARGET_BYTES);
    assert(count(head, "host") == 1 || (count(head, "host") == 0 && head->is_http10));
    assert(n_lengths + n_codings <= 1 && (n_codings == 0 || !head->is_http10));
    assert(!head->has_body || n_lengths + n_codings == 1);
    assert(!head->expects_continue || head->has_body);
    assert(head->target.len > 0);
    for (size_t i = 0; i < head->n_headers; i++) {
        struct str name = head->headers[i].name, value = head->headers[i].value;

        assert(name.len > 0 && value.ptr);
        for (size_t k = 0; k < value.len; k++) {
            assert(((unsigned char) value.ptr[k] >= ' ' || value.ptr[k] == '\t') &&
                   value.ptr[k] != 0x7f);
        }
        assert(str_is_equal(value, str_trim(value)));
    }
}

/* What the parser says of a complete request. */
static void describe(const struct http1 *h, struct buf *out)
{
    const struct http1_head *head = http1_head(h);
    struct str body = http1_body(h);
    int r = buf_printf(out, "%d %d%d%d%d ", (int) head->method, head->is_http10, head->keep_alive,
                       head->expects_continue, head->has_body);

    assert(r == 0 && body.len <= MAX_BODY);
    r = buf_append_str(out, head->target) < 0 || buf_append_str(out, body) < 0;
    for (size_t i = 0; i < head->n_headers; i++) {
        r = r || buf_append_str(out, head->headers[i].name) < 0 || buf_append_char(out, ':') < 0 ||
            buf_append_str(out, head->headers[i].value) < 0;
    }
    assert(!r);
}

static int feed(struct str bytes, size_t step, struct buf *out)
{
    struct http1 *h = http1_new(&limits);
    struct problem problem = {.code = ERRCODE_NONE};

    assert(h);
    while (bytes.len > 0) {
        size_t n = bytes.len < step ? bytes.len : step, taken;
        enum http1_result result = http1_feed(h, (struct str) {bytes.ptr, n}, &taken, &problem);

        assert(taken <= n && (result != HTTP1_MORE || taken == n));
        bytes = (struct str) {bytes.ptr + taken, bytes.len - taken};
        if (result == HTTP1_REFUSED) {
            break;
        }
        if (result == HTTP1_HEAD_DONE) {
            check_head(http1_head(h));
            result = http1_feed(h, STR_NONE, &taken, &problem);
            assert(result == (http1_head(h)->has_body ? HTTP1_MORE : HTTP1_COMPLETE));
        }
        if (result == HTTP1_COMPLETE) {
            describe(h, out);
            http1_next(h);
        }
    }
    http1_free(h);
    return (int) problem.code;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct buf out;

    if (n > 0) {
        (void) check_split(bytes, n, 32, feed);
        buf_init(&out, 8 * n);
        (void) http1_unescape((struct str) {(const char *) bytes + 1, n - 1}, &out); /* any bytes */
        buf_done(&out);
    }
    return 0;
}
