/*
 * See buf.h. Growth doubles, consumed space in front is reclaimed before growing, one spare byte is
 * kept for buf_z().
 */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST_BYTES 256  /* one small JSON line */
#define BUF_KEEP_BYTES  4096 /* buf_trim() leaves buffers up to one page alone */

void buf_init(struct buf *b, size_t max_bytes)
{
    assert(max_bytes > 0);
    *b = (struct buf) {.max_bytes = max_bytes};
}

void buf_done(struct buf *b)
{
    free(b->base);
    *b = (struct buf) {.max_bytes = b->max_bytes};
}

void buf_wipe(struct buf *b)
{
    if (b->base) {
        explicit_bzero(b->base, b->start + b->len);
    }
    buf_done(b);
}

static void move_to_front(struct buf *b)
{
    if (b->start > 0) {
        memmove(b->base, b->base + b->start, b->len);
        b->start = 0;
    }
}

char *buf_reserve(struct buf *b, size_t n)
{
    if (n > buf_room(b)) {
        return NULL;
    }
    if (b->base && b->start + b->len + n < b->cap) {
        return b->base + b->start + b->len;
    }
    if (b->base && b->len + n < b->cap && b->start >= b->len) {
        move_to_front(b); /* cheap: at most half of the buffer moves */
        return b->base + b->len;
    }

    size_t cap = b->cap > 0 ? b->cap : BUF_FIRST_BYTES;

    while (cap <= b->len + n) {
        cap *= 2;
    }
    move_to_front(b);

    char *grown = realloc(b->base, cap);

    if (!grown) {
        return NULL;
    }
    b->base = grown;
    b->cap = cap;
    return b->base + b->len;
}

void buf_commit(struct buf *b, size_t n)
{
    assert(b->start + b->len + n < b->cap);
    b->len += n;
}

int buf_append(struct buf *b, const void *bytes, size_t n)
{
    if (n > buf_room(b)) {
        return -ENOBUFS;
    }
    if (n == 0) {
        return 0;
    }

    char *to = buf_reserve(b, n);

    if (!to) {
        return -ENOMEM;
    }
    memcpy(to, bytes, n);
    b->len += n;
    return 0;
}

int buf_append_str(struct buf *b, struct str s)
{
    return buf_append(b, s.ptr, s.len);
}

int buf_append_z(struct buf *b, const char *z)
{
    return buf_append(b, z, strlen(z));
}

int buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);

    va_end(ap);
    assert(n >= 0);
    if ((size_t) n > buf_room(b)) {
        return -ENOBUFS;
    }

    char *to = buf_reserve(b, (size_t) n);

    if (!to) {
        return -ENOMEM;
    }
    va_start(ap, fmt);
    (void) vsnprintf(to, (size_t) n + 1, fmt, ap); /* the spare byte takes the NUL */
    va_end(ap);
    b->len += (size_t) n;
    return 0;
}

void buf_consume(struct buf *b, size_t n)
{
    assert(n <= b->len);
    b->start += n;
    b->len -= n;
    if (b->len == 0) {
        b->start = 0;
    }
}

void buf_truncate(struct buf *b, size_t len)
{
    assert(len <= b->len);
    b->len = len;
}

void buf_clear(struct buf *b)
{
    b->start = b->len = 0;
}

void buf_trim(struct buf *b)
{
    if (b->cap <= BUF_KEEP_BYTES || b->len >= b->cap / 4) {
        return;
    }
    if (b->len == 0) {
        buf_done(b);
        return;
    }
    move_to_front(b);

    char *smaller = realloc(b->base, b->len + 1);

    if (smaller) {
        b->base = smaller;
        b->cap = b->len + 1;
    }
}

const char *buf_z(struct buf *b)
{
    if (!b->base && !buf_reserve(b, 0)) {
        return NULL;
    }
    b->base[b->start + b->len] = '\0';
    return b->base + b->start;
}
