/*
 * Fuzzes wire/lines: the first byte says how the rest is split; the lines and the answer must be
 * those of one feed.
 */
#include <assert.h>
#include <stdint.h>

#include "wire/lines.h"

#define MAX_LINE 64

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static int on_line(void *ctx, struct str line)
{
    struct buf *out = ctx;

    assert(line.len <= MAX_LINE);
    return buf_printf(out, "%zu:", line.len) < 0 || buf_append_str(out, line) < 0 ? -1 : 0;
}

static int feed(struct str text, size_t step, struct buf *out)
{
    struct lines l;
    int r = 0;

    lines_init(&l, MAX_LINE);
    while (r == 0 && text.len > 0) {
        size_t take = text.len < step ? text.len : step;

        r = lines_feed(&l, (struct str) {text.ptr, take}, on_line, out);
        text = (struct str) {text.ptr + take, text.len - take};
    }
    r = r == 0 ? lines_end(&l, on_line, out) : r;
    lines_done(&l);
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
