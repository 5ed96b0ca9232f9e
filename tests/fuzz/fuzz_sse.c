/*
 * Fuzzes wire/sse: the first byte says how the rest is split; the events and the answer must be
 * those of one feed.
 */
#include "split.h"
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
    assert(n == 0 || check_split(bytes, n, 16, feed) != -1);
    return 0;
}
