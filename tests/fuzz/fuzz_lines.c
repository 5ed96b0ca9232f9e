/*
 * Fuzzes wire/lines: the first byte says how the rest is split; the lines and the answer must be
 * those of one feed.
 */
#include "split.h"
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
    assert(n == 0 || check_split(bytes, n, 16, feed) != -1);
    return 0;
}
