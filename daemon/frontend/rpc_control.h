#pragma once
/*
 * What clients ask of the daemon beside running models: Cancel, Watch, Reload, Drain, Load and Unload.
 * Part of the RPC frontend: one struct in each connection, for the streams that answer later.
 */
#include "frontend/conn.h"
#include "frontend/rpc_method.h"
#include "frontend/rpc_watch.h"

struct rpc_control {
    struct conn *conn;   /* borrowed: what this is part of */
    struct list watches; /* rpc_watch.conn_link */
    struct list waiting; /* rpc_model_memory.link */
    /*
     * It was asked to Drain: its client hangs up first while the door closes. An end of the stream right
     * behind the answer would race with it: the stock Go client then may say "ttrpc: closed" of an
     * answer that it has (v1.2.7, client.go: dispatch() chooses among the two at random).
     */
    bool has_drained;
};

void rpc_control_init(struct rpc_control *control, struct conn *conn);

/* Streams that are open, and whether this is one of them. */
size_t rpc_control_n_streams(const struct rpc_control *control);
bool rpc_control_has_stream(const struct rpc_control *control, uint32_t stream_id);

/* Answers a request, now or later. */
void rpc_control_request(struct rpc_control *control, uint32_t stream_id, enum rpc_method method,
                         const struct frame_request *frame, uint64_t now_usec);

/* The daemon stops: what would never end by itself ends. */
void rpc_control_drain(struct rpc_control *control, uint64_t now_usec);

/* The connection is gone. */
void rpc_control_drop(struct rpc_control *control);
