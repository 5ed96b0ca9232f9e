/*
 * Bytes to lines (lines.h). A line that lies within one feed is handed on where it lies; only what
 * a feed leaves unfinished is kept.
 *
 * The maximum counts the line without CR LF. As the CR is known to be one only when its LF comes,
 * pending has room for one byte more than the maximum, and what is handed on is measured again: the
 * answer does not depend on how the bytes were split.
 *
 * Must not: keep a byte of a feed by reference when it returns.
 */
#include "wire/lines.h"

#include <assert.h>
#include <errno.h>

void lines_init(struct lines *l, size_t max_line_bytes)
{
    assert(max_line_bytes > 0 && max_line_bytes < SIZE_MAX);
    buf_init(&l->pending, max_line_bytes + 1);
}

void lines_done(struct lines *l)
{
    buf_done(&l->pending);
}

static int keep(struct lines *l, const char *bytes, size_t n)
{
    int r = buf_append(&l->pending, bytes, n);

    return r == -ENOBUFS ? -EMSGSIZE : r;
}

static int deliver(const struct lines *l, struct str line, lines_fn fn, void *ctx)
{
    if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
        line.len--;
    }
    if (line.len >= l->pending.max_bytes) {
        return -EMSGSIZE;
    }
    return fn(ctx, line);
}

static int deliver_pending(struct lines *l, lines_fn fn, void *ctx)
{
    int r = deliver(l, buf_str(&l->pending), fn, ctx);

    buf_clear(&l->pending);
    buf_trim(&l->pending);
    return r;
}

int lines_feed(struct lines *l, struct str bytes, lines_fn fn, void *ctx)
{
    const char *p = bytes.ptr;
    int r;

    for (size_t left = bytes.len; left > 0;) {
        const char *lf = memchr(p, '\n', left);

        if (!lf) {
            return keep(l, p, left);
        }

        size_t n = (size_t) (lf - p);

        if (l->pending.len > 0) {
            r = keep(l, p, n);
            if (r == 0) {
                r = deliver_pending(l, fn, ctx);
            }
        } else {
            r = deliver(l, (struct str) {p, n}, fn, ctx);
        }
        if (r != 0) {
            return r;
        }
        p = lf + 1;
        left -= n + 1;
    }
    return 0;
}

int lines_end(struct lines *l, lines_fn fn, void *ctx)
{
    return l->pending.len > 0 ? deliver_pending(l, fn, ctx) : 0;
}
