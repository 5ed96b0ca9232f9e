#pragma once
/*
 * A growable byte buffer with a maximum. There is no unbounded variant: every buffer that a peer
 * can fill has a limit at construction (design: limits). Bytes are appended at the end and consumed
 * from the front.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/str.h"

struct buf {
    char *base;   /* owned, NULL while empty */
    size_t start; /* bytes already consumed in front */
    size_t len;   /* bytes held */
    size_t cap;
    size_t max_bytes;
};

/* max_bytes bounds len, > 0. Allocates nothing. */
void buf_init(struct buf *b, size_t max_bytes);

/* Frees the bytes; the buffer may be used again as after buf_init(). Accepts a zeroed struct. */
void buf_done(struct buf *b);

/* The same, after overwriting the bytes: for secrets. For CLEANUP() too. */
void buf_wipe(struct buf *b);

static inline const char *buf_ptr(const struct buf *b)
{
    return b->base ? b->base + b->start : "";
}

static inline struct str buf_str(const struct buf *b)
{
    return (struct str) {buf_ptr(b), b->len};
}

/* How many bytes may still be appended. */
static inline size_t buf_room(const struct buf *b)
{
    return b->max_bytes - b->len;
}

/*
 * Makes n bytes writable behind the content and returns where; the caller then says how many with
 * buf_commit(). NULL: over the maximum (errno-free: ask buf_room()) or out of memory.
 */
char *buf_reserve(struct buf *b, size_t n);
void buf_commit(struct buf *b, size_t n);

/* 0, -ENOBUFS (over max_bytes; nothing was appended) or -ENOMEM. */
int buf_append(struct buf *b, const void *bytes, size_t n) MUST_USE;
int buf_append_str(struct buf *b, struct str s) MUST_USE;
int buf_append_z(struct buf *b, const char *z) MUST_USE;
int buf_append_char(struct buf *b, char c) MUST_USE;
int buf_printf(struct buf *b, const char *fmt, ...) MUST_USE PRINTF_LIKE(2, 3);

/* Drops n <= len bytes from the front. */
void buf_consume(struct buf *b, size_t n);

/* Drops what is behind the first len <= b->len bytes. */
void buf_truncate(struct buf *b, size_t len);

/* Drops everything, keeps the memory. */
void buf_clear(struct buf *b);

/*
 * Gives memory back where much more is held than used; for long-lived buffers that have become
 * idle.
 */
void buf_trim(struct buf *b);

/* NUL-terminates the content without counting the NUL and returns it; NULL when out of memory. */
const char *buf_z(struct buf *b);
