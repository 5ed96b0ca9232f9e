#pragma once
/*
 * What comes in on an RPC connection, cut into ttrpc frames. Part of the RPC frontend: one struct in
 * each connection.
 */
#include "base/buf.h"
#include "frontend/conn.h"
#include "proto/frame.h"

struct rpc_input {
    struct conn *conn; /* borrowed: what this is part of */
    /* A whole frame; the payload is valid during the call, which may close the connection. */
    void (*on_frame)(struct conn *c, const struct frame_header *h, const uint8_t *payload,
                     uint64_t now_usec);
    struct buf in;        /* the frame that is arriving, header included; paused: also more */
    size_t discard_bytes; /* of an oversized frame, still to be thrown away */
    unsigned n_strikes;
    unsigned n_unread; /* frames that came while output was full */
};

/* The connection's calls of conn_ops lead to these. */
void rpc_input_init(struct rpc_input *input, struct conn *conn,
                    void (*on_frame)(struct conn *c, const struct frame_header *h,
                                     const uint8_t *payload, uint64_t now_usec));
void rpc_input_done(struct rpc_input *input);
void rpc_input_bytes(struct rpc_input *input, struct str bytes, uint64_t now_usec);
void rpc_input_drained(struct rpc_input *input, uint64_t now_usec);
void rpc_input_turn(struct rpc_input *input, uint64_t now_usec);

/* Has the peer left too many answers unread for more to be made? */
bool rpc_input_is_paused(const struct rpc_input *input);

bool rpc_input_is_mid_frame(const struct rpc_input *input);

/*
 * Charges what has come in and out_bytes of output, as far as they are above the high water. false:
 * the budget is spent.
 */
bool rpc_input_charge(const struct rpc_input *input, size_t out_bytes);
