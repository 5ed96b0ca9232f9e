/*
 * Fuzzes wire/sse: the first byte says how the rest is split; the events and the answer must be
 * those of one feed.
 */
#include <assert.h>
#include <stdint.h>

#include "wire/sse.h"

#define MAX_EVENT 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int on_event(void *ctx, struct str name, struct str data)
{
    struct buf *out = ctx;

    assert(name.len <= MAX_EVENT && data.len <= MAX_EVENT && data.ptr);
    return buf_printf(out, "%zu,%zu:", name.len, data.len) < 0 || buf_append_str(out, name) < 0 ||
                   buf_append_str(out, data) < 0
               ? -1
               : 0;
}

static int feed(struct str text, size_t step, struct buf *out)
{
    struct sse s;
    int r = 0;

    sse_init(&s, MAX_EVENT);
    while (r == 0 && text.len > 0) {
        size_t take = text.len < step ? text.len : step;

        r = sse_feed(&s, (struct str) {text.ptr, take}, on_event, out);
        text = (struct str) {text.ptr + take, text.len - take};
    }
    sse_done(&s);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    struct buf whole, split;

    if (n == 0) {
        return 0;
    }

    struct str text = {(const char *) bytes + 1, n - 1};

    buf_init(&whole, 8 * n + 64);
    buf_init(&split, 8 * n + 64);

    int r = feed(text, n, &whole);

    assert(r != -1 && feed(text, 1 + bytes[0] % 16U, &split) == r);
    assert(str_is_equal(buf_str(&whole), buf_str(&split)));
    buf_done(&whole);
    buf_done(&split);
    return 0;
}
