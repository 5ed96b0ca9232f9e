#pragma once
/*
 * Server-sent events to data strings (WHATWG HTML, section 9.2.6): LF, CRLF and CR end lines, data
 * lines are joined by LF, comments and unknown fields are ignored, an event without data is not
 * dispatched, and neither is one that the stream ends in the middle of.
 */
#include <stdbool.h>

#include "base/buf.h"

struct sse {
    struct buf pending; /* an incomplete line */
    struct buf data;    /* of the event under construction, where it is not within one feed */
    struct buf event;   /* its name */
    bool has_data;      /* data may be present and empty */
    bool after_cr;      /* an LF that comes next belongs to the line end before it */
    bool has_begun;     /* a byte order mark can only be in front of the first line */
};

/* max_event_bytes bounds the data of an event, > 0. Allocates nothing. */
void sse_init(struct sse *s, size_t max_event_bytes);
void sse_done(struct sse *s);

/*
 * Called for each event; name is empty for plain messages. The bytes die when it returns. Returning
 * != 0 stops and is passed on.
 */
typedef int (*sse_fn)(void *ctx, struct str name, struct str data);

/*
 * Feeds bytes split anywhere. 0, what fn returned, -EMSGSIZE (data, a name or a line over the
 * maximum), -ENOMEM. Data of one line within one feed is not copied. After anything but 0 the rest
 * of the bytes is lost and nothing more may be fed.
 */
int sse_feed(struct sse *s, struct str bytes, sse_fn fn, void *ctx) MUST_USE;
