#pragma once
/* Frames to the output of a connection. Nothing is written once the connection is not OPEN. */
#include "frontend/conn.h"
#include "proto/frame.h"
#include "wire/problem.h"

/* One frame; flags and type as in proto/frame.h; payload at most FRAME_MAX_BYTES. */
void rpc_put_frame(struct conn *c, uint32_t id, uint8_t type, uint8_t flags, struct str payload);

/* The Response of a unary call that succeeded. */
void rpc_put_payload(struct conn *c, uint32_t id, struct str payload);

/* What an error says beside its code; any of it may be absent. */
struct rpc_error {
    enum errcode code;
    struct str text, param, request_id;
    uint64_t retry_after_usec;
};

/* The Response of a call that failed. */
void rpc_put_error(struct conn *c, uint32_t id, const struct rpc_error *error);
void rpc_put_problem(struct conn *c, uint32_t id, const struct problem *p);
void rpc_put_code(struct conn *c, uint32_t id, enum errcode code);
