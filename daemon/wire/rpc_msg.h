#pragma once
/*
 * sluice.v1 messages to and from the neutral model. protobuf-c lives behind this file only.
 * Decoding uses a capped arena (4 x frame + 64 KiB), so that a legal frame full of empty
 * sub-messages cannot make us allocate a hundred times its size.
 */
#include "base/buf.h"
#include "core/event.h"
#include "core/request.h"
#include "wire/problem.h"

/*
 * Payload of Chat, Complete, Embed, Rerank or Classify (by req->kind) into req. 0; -EBADMSG with *ret_problem;
 * -ENOMEM. Sets id, class and deadline_usec from CallOptions (id may stay empty).
 */
int rpc_decode_request(struct request *req, struct str payload,
                       struct problem *ret_problem) MUST_USE;

/* CancelRequest.request_id, copied. 0 or -EBADMSG with *ret_problem. */
int rpc_decode_cancel(struct str payload, char ret_id[REQUEST_ID_MAX + 1],
                      struct problem *ret_problem) MUST_USE;

#define RPC_WATCH_MIN_USEC     (100 * UINT64_C(1000))
#define RPC_WATCH_MAX_USEC     (60 * UINT64_C(1000000))
#define RPC_WATCH_DEFAULT_USEC (1 * UINT64_C(1000000))

struct rpc_watch_request {
    uint64_t interval_usec;      /* RPC_WATCH_MIN_USEC to RPC_WATCH_MAX_USEC */
    char id[REQUEST_ID_MAX + 1]; /* "" where the client gave none */
};
/* 0 or -EBADMSG with *ret_problem; so the next two. */
int rpc_decode_watch(struct str payload, struct rpc_watch_request *ret,
                     struct problem *ret_problem) MUST_USE;
/* UnloadRequest.model, copied. */
int rpc_decode_unload(struct str payload, char ret_model[REQUEST_MODEL_MAX + 1],
                      struct problem *ret_problem) MUST_USE;
/* LoadRequest.model, the same. */
int rpc_decode_load(struct str payload, char ret_model[REQUEST_MODEL_MAX + 1],
                    struct problem *ret_problem) MUST_USE;
struct rpc_explain_request {
    char model[REQUEST_MODEL_MAX + 1]; /* "" or as the client said */
    char id[REQUEST_ID_MAX + 1];       /* "" or valid; one of both is there */
    enum call_class class;
};
int rpc_decode_explain(struct str payload, struct rpc_explain_request *ret,
                       struct problem *ret_problem) MUST_USE;
/* ReloadRequest and DrainRequest, which have no fields yet. */
int rpc_decode_empty(struct str payload, struct problem *ret_problem) MUST_USE;

/* What Done needs beside USAGE and END. */
struct rpc_timings {
    uint64_t queue_usec, first_token_usec, total_usec;
};

/* State of one event stream: numbers events and keeps usage until Done. Zero-initialised. */
struct rpc_stream {
    uint64_t seq;
    bool has_usage;
    struct usage usage;
};

/*
 * Appends one Event message for ev to out, or nothing (USAGE is kept for Done; FAILED is not an
 * Event: it becomes a Status). request_id for STARTED, timings for END; else ignored. 0 or -errno
 * of buf.
 */
int rpc_encode_event(struct rpc_stream *s, const struct event *ev, const char *request_id,
                     const struct rpc_timings *timings, struct buf *out) MUST_USE;

/* An ErrorDetail message. */
int rpc_encode_error_detail(enum errcode code, uint64_t retry_after_usec, struct str param,
                            struct str request_id, struct buf *out) MUST_USE;

struct rpc_limits {
    uint64_t frame_bytes, output_high_water_bytes, stalled_reader_usec;
    uint32_t calls_per_connection;
};
int rpc_encode_info(const struct rpc_limits *limits, struct buf *out) MUST_USE;
int rpc_encode_cancel_response(bool found, struct buf *out) MUST_USE;
int rpc_encode_reload_response(uint64_t config_generation, uint32_t n_models,
                               struct buf *out) MUST_USE;
int rpc_encode_drain_response(uint32_t n_running, struct buf *out) MUST_USE;
int rpc_encode_unload_response(uint32_t n_unloaded, uint32_t n_unchanged, struct buf *out) MUST_USE;

int rpc_encode_load_response(bool was_there, uint64_t load_usec, uint64_t need_bytes,
                             struct buf *out) MUST_USE;

struct rpc_explanation {
    struct str text;
    const char *verdict, *code; /* code "": none */
    uint64_t wait_usec;
    uint32_t position;
};
int rpc_encode_explanation(const struct rpc_explanation *e, struct buf *out) MUST_USE;

struct rpc_model {
    const char *name, *provider;
    unsigned n_deployments, n_available;
    /* of the model in the memory of this device, as in rpc_deployment; NULL and 0: not known */
    const char *memory_state, *need_source, *fits, *upstream_model, *api_base;
    uint64_t need_bytes, file_bytes, held_bytes;
};
int rpc_encode_models(const struct rpc_model *models, size_t n_models, struct buf *out) MUST_USE;

struct rpc_deployment {
    const char *model, *id, *provider, *off_reason; /* off_reason NULL: available */
    const char *upstream_model, *api_base;          /* "" without */
    unsigned slots, in_use;
    bool is_loaded;
    uint64_t idle_usec;
    const char *server_version; /* "" without */
    uint32_t order;             /* 0: none */
    uint64_t weight_permille;
    const char *tags; /* one a line; "" without */
    bool is_local_only;
    uint64_t paused_usec;
    const char *aliases;                           /* as tags */
    const char *memory_state, *need_source, *fits; /* "" without */
    uint64_t need_bytes, file_bytes, held_bytes;
};
struct rpc_class {
    const char *name;
    uint32_t n_queued, n_running;
    uint64_t oldest_usec; /* in the queue */
};
struct rpc_caller {
    const char *name;
    uint32_t n_queued, n_running, weight;
    uint64_t idle_usec;
};
struct rpc_status {
    uint64_t uptime_usec, config_generation;
    unsigned pressure_level, some_permille, full_permille;
    const char *pressure_source, *pressure_reason;
    uint64_t headroom_bytes, memory_bytes;
    bool is_draining;
    uint32_t n_connections, n_queued, n_running, n_tickets;
    uint64_t n_completed, n_failed, n_cancelled, n_refused;
    const struct rpc_deployment *deployments;
    size_t n_deployments;
    uint64_t tokens_in, tokens_out, pieces_out;
    const struct rpc_class *classes;
    size_t n_classes;
    const struct rpc_caller *callers;
    size_t n_callers;
    uint32_t n_reservations;
    uint64_t reserved_bytes, n_loads, n_unloads, n_loads_stopped, n_unloads_stuck, n_quarantines;
    uint64_t n_spilled_level, n_spilled_wait, n_spilled_room;
};
int rpc_encode_status(const struct rpc_status *status, struct buf *out) MUST_USE;
