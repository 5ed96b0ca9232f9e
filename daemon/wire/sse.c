/*
 * Server-sent events to data strings (sse.h), as the WHATWG HTML standard parses them in section
 * 9.2.6.
 *
 *   bytes ──► lines (CR, LF or CRLF) ──► fields ──► at an empty line: one event
 *
 * Model servers send one data line and an empty line, and nearly always both arrive together. So
 * the data of an event is held where it lies in the feed ("held") until the event is dispatched; it
 * is copied into s->data only when a second data line joins it or the feed ends first. A line that
 * a feed leaves unfinished waits in s->pending.
 *
 *   has_data && held.ptr     the data so far is held
 *   has_data && !held.ptr    the data so far is in s->data
 *
 * A line end is acted on at once: after a CR nobody waits to see whether an LF follows. Limits are
 * counted so that the answer does not depend on how the bytes were split.
 *
 * Must not: keep a byte of a feed by reference when it returns, or look at what the data means.
 */
#include "wire/sse.h"

#include <assert.h>
#include <errno.h>

/* A line may be longer than the data in it: "data: ", "event: ", a byte order mark. */
#define LINE_EXTRA_BYTES 16

struct feed {
    struct sse *s;
    const char *p, *end;
    const char
        *lf; /* the first LF at or behind p, or end; when before p it has to be looked for again */
    struct str held; /* see above */
    sse_fn fn;
    void *ctx;
};

void sse_init(struct sse *s, size_t max_event_bytes)
{
    assert(max_event_bytes > 0 && max_event_bytes <= SIZE_MAX - LINE_EXTRA_BYTES);
    *s = (struct sse) {0};
    buf_init(&s->pending, max_event_bytes + LINE_EXTRA_BYTES);
    buf_init(&s->data, max_event_bytes);
    buf_init(&s->event, max_event_bytes);
}

void sse_done(struct sse *s)
{
    buf_done(&s->pending);
    buf_done(&s->data);
    buf_done(&s->event);
}

/* Appends; what the buffer cannot take is too long for an event. */
static int put(struct buf *b, struct str bytes)
{
    int r = buf_append_str(b, bytes);

    return r == -ENOBUFS ? -EMSGSIZE : r;
}

/* What is held moves to s->data. */
static int settle(struct feed *f)
{
    int r = f->held.ptr ? put(&f->s->data, f->held) : 0;

    f->held = STR_NONE;
    return r;
}

/* ---- fields */

static int add_data(struct feed *f, struct str value, bool is_in_feed)
{
    struct sse *s = f->s;
    int r = 0;

    if (value.len > s->data.max_bytes) {
        return -EMSGSIZE;
    }
    if (s->has_data) {
        r = settle(f);
        if (r == 0) {
            r = put(&s->data, STR_LIT("\n"));
        }
    } else if (is_in_feed) {
        s->has_data = true;
        f->held = value;
        return 0;
    }
    s->has_data = true;
    return r < 0 ? r : put(&s->data, value);
}

static int dispatch(struct feed *f)
{
    struct sse *s = f->s;
    int r = 0;

    if (s->has_data) {
        r = f->fn(f->ctx, buf_str(&s->event), f->held.ptr ? f->held : buf_str(&s->data));
    }
    s->has_data = false;
    f->held = STR_NONE;
    buf_clear(&s->data);
    buf_trim(&s->data);
    buf_clear(&s->event);
    buf_trim(&s->event);
    return r;
}

/* One line without its end; is_in_feed: it lies in the feed and not in s->pending. */
static int take_line(struct feed *f, struct str line, bool is_in_feed)
{
    struct sse *s = f->s;

    if (line.len > s->pending.max_bytes) {
        return -EMSGSIZE;
    }
    if (!s->has_begun) {
        s->has_begun = true;
        if (str_has_prefix(line, "\xef\xbb\xbf")) {
            line = (struct str) {line.ptr + 3, line.len - 3};
        }
    }
    if (line.len == 0) {
        return dispatch(f);
    }

    const char *colon = memchr(line.ptr, ':', line.len);
    struct str name = {line.ptr, colon ? (size_t) (colon - line.ptr) : line.len};
    struct str value = {line.ptr + name.len, line.len - name.len};

    if (colon) { /* the colon, and one space behind it */
        size_t skip = value.len > 1 && value.ptr[1] == ' ' ? 2 : 1;

        value = (struct str) {value.ptr + skip, value.len - skip};
    }
    if (str_is(name, "data")) {
        return add_data(f, value, is_in_feed);
    }
    if (str_is(name, "event")) {
        buf_clear(&s->event);
        return put(&s->event, value);
    }
    return 0; /* a comment (no name), id, retry, or what a later standard adds */
}

/* ---- lines */

/* The next CR or LF, or the end. Linear over a feed whatever its mixture of line ends. */
static const char *find_line_end(struct feed *f)
{
    if (f->lf < f->p) {
        const char *lf = memchr(f->p, '\n', (size_t) (f->end - f->p));

        f->lf = lf ? lf : f->end;
    }

    const char *cr = memchr(f->p, '\r', (size_t) (f->lf - f->p));

    return cr ? cr : f->lf;
}

/* The line from f->p to stop is complete; steps behind its end. */
static int take_complete(struct feed *f, const char *stop)
{
    struct sse *s = f->s;
    struct str piece = {f->p, (size_t) (stop - f->p)};
    int r;

    f->p = stop + 1;
    if (*stop == '\r') {
        s->after_cr = f->p == f->end;
        if (f->p < f->end && *f->p == '\n') {
            f->p++;
        }
    }
    if (s->pending.len == 0) {
        return take_line(f, piece, true);
    }
    r = put(&s->pending, piece);
    if (r == 0) {
        r = take_line(f, buf_str(&s->pending), false);
    }
    buf_clear(&s->pending);
    buf_trim(&s->pending);
    return r;
}

int sse_feed(struct sse *s, struct str bytes, sse_fn fn, void *ctx)
{
    int r;

    if (bytes.len == 0) {
        return 0;
    }

    struct feed f = {.s = s, .p = bytes.ptr, .end = bytes.ptr + bytes.len, .fn = fn, .ctx = ctx};

    if (s->after_cr && *f.p == '\n') {
        f.p++;
    }
    s->after_cr = false;
    f.lf = memchr(f.p, '\n', (size_t) (f.end - f.p));
    f.lf = f.lf ? f.lf : f.end;
    while (f.p < f.end) {
        const char *stop = find_line_end(&f);

        if (stop == f.end) {
            r = put(&s->pending, (struct str) {f.p, (size_t) (f.end - f.p)});
            if (r < 0) {
                return r;
            }
            break;
        }
        r = take_complete(&f, stop);
        if (r != 0) {
            return r;
        }
    }
    return settle(&f);
}
