#pragma once
/*
 * The chunked coding of a request body (RFC 9112 section 7.1), strictly. Used by http1.c only.
 */
#include "base/buf.h"
#include "wire/http1_policy.h"

enum http1_chunks_state {
    CHUNKS_SIZE,    /* in the line with the size */
    CHUNKS_DATA,    /* in the data: left_bytes of it are to come */
    CHUNKS_END,     /* in the CR LF behind the data */
    CHUNKS_TRAILER, /* in the lines behind the last chunk */
    CHUNKS_DONE
};

struct http1_chunks {
    enum http1_chunks_state state;
    uint64_t left_bytes;    /* of the chunk */
    size_t extension_bytes; /* of all chunks together */
    size_t trailer_bytes;
    struct buf line; /* the line that is under way */
};

void http1_chunks_init(struct http1_chunks *c);
void http1_chunks_done(struct http1_chunks *c);

/*
 * Decodes bytes into body, whose maximum is the limit; *ret_taken says how many were used.
 * ERRCODE_NONE: look at c->state, CHUNKS_DONE is the end and else more is wanted.
 */
struct http1_verdict http1_chunks_feed(struct http1_chunks *c, struct str bytes, struct buf *body,
                                       size_t *ret_taken);
