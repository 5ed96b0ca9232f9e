#pragma once
/*
 * An HTTP connection and the exchange that is under way on it. Shared by the two files that make
 * it: http_frontend.c reads requests, http_answer.c writes answers. Nobody else includes this.
 */
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "frontend/conn.h"
#include "frontend/http_routes.h"
#include "wire/http1.h"
#include "wire/openai_reply.h"

/* One answer that is not streamed: 2,048 embeddings of 4,096 numbers as base64. */
#define HTTP_OUT_MAX_BYTES (64 * 1024 * 1024)

enum http_state { HTTP_IDLE, HTTP_HEAD, HTTP_BODY, HTTP_WAITING, HTTP_STREAMING };

struct http_conn {
    struct conn conn;
    enum http_state state;
    bool is_tcp;
    struct http1 *parser;
    struct buf early; /* bytes behind the current request */

    /* the exchange */
    enum http_route route;
    struct str path_model; /* escaped, in the head under way; absent: the path names none */
    struct event_sink sink;
    struct call *call; /* borrowed from the registry; NULL: none at work */
    struct openai_reply *reply;
    struct buf body; /* of an answer that is not streamed */
    char id[REQUEST_ID_MAX + 1];
    char model[REQUEST_MODEL_MAX + 1];
    char deployment[64];
    char origin[128]; /* allowed, to be echoed; "" */
    char key_id[REQUEST_KEY_ID_MAX +
                1];      /* of the key that it came with; "": none, or the master's */
    bool is_over_budget; /* a collected answer does not fit: the turn ends the call */
    bool is_stream, is_head_only, keep_alive;
    uint64_t arrived_at_usec, granted_at_usec; /* the second of its first attempt; 0: none yet */
    const char *spilled;                       /* static; of that attempt, or NULL */
    unsigned n_retries, n_fallbacks;           /* before the attempt that answers */
    uint32_t position;                         /* in the queue; 0: not in it, or not told */
    uint64_t commented_at_usec;                /* STREAMING: when the last heartbeat went out */
};

static inline struct http_conn *http_conn_of(struct conn *c)
{
    return CONTAINER_OF(c, struct http_conn, conn);
}
