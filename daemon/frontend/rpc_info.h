#pragma once
/* What sluice says of itself over RPC: GetInfo, ListModels, Status. */
#include "base/buf.h"
#include "frontend/conn.h"
#include "frontend/rpc_method.h"

/* An answer, or a state of a watch: room for the envelope is left in the frame. */
#define RPC_INFO_MAX_BYTES (FRAME_MAX_BYTES - 256)

/* Answers METHOD_GET_INFO, METHOD_LIST_MODELS or METHOD_STATUS. */
void rpc_info_answer(struct conn *c, uint32_t id, enum rpc_method method, uint64_t now_usec);

/* A StatusResponse. 0 or -errno of buf. */
int rpc_info_encode_status(const struct frontends *f, uint64_t now_usec, struct buf *out) MUST_USE;

/*
 * The same without what moves by itself (uptime, idle times, the figures of memory): equal bytes,
 * nothing has changed that anybody would want to be told of.
 */
int rpc_info_encode_comparable(const struct frontends *f, uint64_t now_usec,
                               struct buf *out) MUST_USE;
