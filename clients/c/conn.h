#pragma once
/*
 * Bytes of one connection: frames out through a bounded queue, bytes in through a window. Never
 * waits, never decides what a frame means. Embedded in the client, which frees it.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/frame.h"

#define CONN_WINDOW_BYTES  16384       /* some hundred token events in one read */
#define CONN_MAX_OUT_BYTES (16u << 20) /* four frames of the largest size */

struct conn_frame; /* one frame on its way out */

struct conn {
    int fd; /* owned; -1: closed */

    uint8_t window[CONN_WINDOW_BYTES]; /* received and not yet taken: [start, end) */
    size_t start, end;

    struct conn_frame *out_first, *out_last; /* owned */
    size_t out_bytes;
    bool is_out_dead; /* the peer takes no more; what it had sent before is still to be read */

    uint64_t bytes_sent, bytes_received, frames_sent;
};

/* fd: connected, non-blocking; becomes the connection's. */
void conn_init(struct conn *c, int fd);
void conn_done(struct conn *c);

static inline bool conn_wants_to_send(const struct conn *c)
{
    return c->out_first != NULL;
}

/*
 * Queues one frame; *ret_payload is where its header->payload_bytes bytes are to be written before
 * the next call. The queue takes CONN_MAX_OUT_BYTES and never refuses a frame without payload_bytes
 * to speak of (is_small: cancels, whose number the calls bound). -ENOBUFS, -ENOMEM.
 */
int conn_queue(struct conn *c, const struct frame_header *header, bool is_small,
               uint8_t **ret_payload);

/* Sends what the socket takes. 1: something was sent; 0: nothing. A broken pipe drops the queue and
 * is no error: the reader will see the end. */
int conn_send(struct conn *c);

/* Reads once into the window. 1: there are new bytes; 0: none now (or the window is full); -errno:
 * the end, -ECONNRESET where the peer just closed. */
int conn_receive(struct conn *c);

/* The next header if it is there whole. */
bool conn_take_header(struct conn *c, struct frame_header *ret);

/* Up to n bytes out of the window, into to unless that is NULL; how many. */
size_t conn_take(struct conn *c, uint8_t *to, size_t n);
