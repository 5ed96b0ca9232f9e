#pragma once
/*
 * Bytes to lines: NDJSON and anything else that ends its records with LF. CR before LF is dropped.
 */
#include "base/buf.h"

struct lines {
    struct buf pending; /* an incomplete line */
};

/* max_line_bytes bounds a line without its end, > 0. Allocates nothing. */
void lines_init(struct lines *l, size_t max_line_bytes);
void lines_done(struct lines *l);

/*
 * Called for each complete line, without its end; the bytes die when it returns. Returning != 0
 * stops and is passed on.
 */
typedef int (*lines_fn)(void *ctx, struct str line);

/*
 * Feeds bytes split anywhere. 0, what fn returned, -EMSGSIZE: a line over the maximum, -ENOMEM.
 * Lines within one feed are not copied. After anything but 0 the rest of the bytes is lost and
 * nothing more may be fed.
 */
int lines_feed(struct lines *l, struct str bytes, lines_fn fn, void *ctx) MUST_USE;

/* At the end of the input: a last line without LF is delivered. */
int lines_end(struct lines *l, lines_fn fn, void *ctx) MUST_USE;
