#pragma once
/*
 * Server-sent events to data strings (WHATWG HTML, section 9.2.6): LF, CRLF and CR end lines, data lines are joined by LF, comments and
 * unknown fields are ignored, an event without data is not dispatched.
 */
#include "base/buf.h"

struct sse {
    struct buf pending; /* an incomplete line */
    struct buf data;    /* of the event under construction, when it has more than one data line */
    struct buf event;   /* its name */
    bool has_data;
    bool after_cr;
};

void sse_init(struct sse *s, size_t max_event_bytes);
void sse_done(struct sse *s);

/* Called for each event; name is empty for plain messages. The bytes die when it returns. Returning != 0 stops and is passed on. */
typedef int (*sse_fn)(void *ctx, struct str name, struct str data);

/* 0, what fn returned, -EMSGSIZE (event over the maximum), -ENOMEM. */
int sse_feed(struct sse *s, struct str bytes, sse_fn fn, void *ctx) MUST_USE;
