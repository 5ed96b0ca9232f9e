/*
 * RPC: ttrpc frames on a Unix socket, any number of calls at once on a connection.
 *
 * Liberal in, strict out (the list is in docs/ARCHITECTURE.md): the kind of a call is decided by
 * its method and never by flags; ids need only be odd and not in use; a frame over the cap is
 * thrown away without being stored and answered; Data on a unary id, unknown types and late Data
 * are harmless. Out go whole frames only: Data 0x00 for events, Data 0x05 without bytes as the end,
 * a Response with a status and no payload for every failure.
 *
 * While output is above the high water new calls are refused. Output above it (an embedding answer
 * comes in one piece) is charged to the common budget: an event that finds no room there ends its
 * own call and no other. What comes in is rpc_input's.
 *
 * Owns rpc_calls: one for each stream id in use. An rpc_call ends with its terminal event, or with
 * the connection.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/fdio.h"
#include "frontend/conn.h"
#include "frontend/rpc_control.h"
#include "frontend/rpc_explain.h"
#include "frontend/rpc_info.h"
#include "frontend/rpc_input.h"
#include "frontend/rpc_method.h"
#include "frontend/rpc_output.h"
#include "proto/frame.h"
#include "wire/rpc_msg.h"

#define HIGH_WATER_BYTES  (256 * 1024)
#define EVENTS_MAX_BYTES  (64 * 1024 * 1024) /* above the high water: the vectors of one answer */
#define ANSWERS_MAX_BYTES (1024 * 1024)      /* kept free for what is no event */
#define OUT_MAX_BYTES     (HIGH_WATER_BYTES + EVENTS_MAX_BYTES + ANSWERS_MAX_BYTES)
#define MESSAGE_MAX_BYTES (FRAME_MAX_BYTES - 256) /* an event: room for the envelope */
#define ARENA_FACTOR      4
#define ARENA_EXTRA_BYTES (1024 * 1024) /* 4,096 messages of a few bytes each */

struct rpc_conn {
    struct conn conn;
    struct rpc_input input;
    struct list calls; /* rpc_call.link */
    size_t n_calls;
    struct rpc_control control; /* streams that are no calls */
};

struct rpc_call {
    struct list link; /* rpc_conn.calls */
    struct rpc_conn *rpc;
    uint32_t stream_id;
    struct event_sink sink;
    struct call *call; /* borrowed from the registry; NULL once over */
    struct rpc_stream stream;
    uint64_t arrived_at_usec, granted_at_usec, first_token_at_usec;
    char id[REQUEST_ID_MAX + 1];
    bool is_over_budget; /* an event was lost: the call is cancelled at the end of the turn */
};

static struct rpc_conn *rpc_conn_of(struct conn *c)
{
    return CONTAINER_OF(c, struct rpc_conn, conn);
}

/* ---------------------------------------------------------------- streams */

static void rpc_call_free(struct rpc_call *call)
{
    list_remove(&call->link);
    call->rpc->n_calls--;
    free(call);
}

static bool has_room_for(struct rpc_conn *rpc, size_t bytes)
{
    size_t out = conn_out(&rpc->conn)->len + FRAME_HEADER_BYTES + bytes;

    return out <= HIGH_WATER_BYTES + EVENTS_MAX_BYTES && rpc_input_charge(&rpc->input, out);
}

/* What cannot be kept ends the call, but not from here: a sink never calls into core. */
static void put_event(struct rpc_call *call, const struct event *ev)
{
    struct rpc_timings timings = {
        .queue_usec = usec_since(call->granted_at_usec, call->arrived_at_usec),
        .first_token_usec = usec_since(call->first_token_at_usec, call->arrived_at_usec),
        .total_usec = usec_since(ev->at_usec, call->arrived_at_usec),
    };
    struct buf message;

    buf_init(&message, MESSAGE_MAX_BYTES);
    if (rpc_encode_event(&call->stream, ev, call->id, &timings, &message) < 0 ||
        !has_room_for(call->rpc, message.len)) {
        call->is_over_budget = true;
        conn_flush_later(&call->rpc->conn); /* makes the turn come */
    } else if (message.len > 0) {
        rpc_put_frame(&call->rpc->conn, call->stream_id, FRAME_DATA, 0, buf_str(&message));
    }
    buf_done(&message);
}

static void note_times(struct rpc_call *call, const struct event *ev)
{
    if (ev->type == EVENT_STARTED && call->granted_at_usec == 0) {
        call->granted_at_usec = ev->at_usec; /* of the first attempt: what came before is waiting */
    }
    if (call->first_token_at_usec == 0 &&
        (ev->type == EVENT_TEXT || ev->type == EVENT_TOOL_CALL || ev->type == EVENT_EMBEDDING ||
         ev->type == EVENT_RESULT)) {
        call->first_token_at_usec = ev->at_usec;
    }
}

static enum sink_answer fail_call(struct rpc_call *call, struct rpc_error *error)
{
    error->request_id = str_from(call->id);
    rpc_put_error(&call->rpc->conn, call->stream_id, error);
    rpc_call_free(call);
    return SINK_ROOM;
}

static enum sink_answer deliver(struct event_sink *sink, const struct event *ev)
{
    struct rpc_call *call = CONTAINER_OF(sink, struct rpc_call, sink);
    struct rpc_conn *rpc = call->rpc;

    note_times(call, ev);
    if (ev->type == EVENT_FAILED) {
        return fail_call(call,
                         &(struct rpc_error) {.code = ev->failed.code,
                                              .text = event_failed_text(ev),
                                              .param = ev->failed.param,
                                              .retry_after_usec = ev->failed.retry_after_usec});
    }
    if (!call->is_over_budget) {
        put_event(call, ev);
    }
    if (ev->type == EVENT_END && call->is_over_budget) {
        return fail_call(call, &(struct rpc_error) {.code = ERRCODE_OUT_OF_MEMORY,
                                                    .retry_after_usec = RETRY_AFTER_MIN_USEC});
    }
    if (ev->type == EVENT_END) {
        rpc_put_frame(&rpc->conn, call->stream_id, FRAME_DATA, FRAME_REMOTE_CLOSED | FRAME_NO_DATA,
                      STR_NONE);
        rpc_call_free(call);
        return SINK_ROOM;
    }
    return conn_is_full(&rpc->conn) ? SINK_FULL : SINK_ROOM;
}

static struct rpc_call *find_stream(struct rpc_conn *rpc, uint32_t id)
{
    list_for_each (l, &rpc->calls) {
        struct rpc_call *call = CONTAINER_OF(l, struct rpc_call, link);

        if (call->stream_id == id) {
            return call;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- requests */

static enum request_kind kind_of(enum rpc_method method)
{
    return method == METHOD_CHAT       ? REQUEST_CHAT
           : method == METHOD_COMPLETE ? REQUEST_COMPLETE
           : method == METHOD_EMBED    ? REQUEST_EMBED
           : method == METHOD_RERANK   ? REQUEST_RERANK
                                       : REQUEST_CLASSIFY;
}

/* The request that a stream method carries, or NULL with *ret_problem. */
static struct request *decode(struct rpc_conn *rpc, const struct frame_request *frame,
                              enum rpc_method method, struct problem *ret_problem)
{
    struct str payload = {(const char *) frame->payload.ptr, frame->payload.len};
    struct request *req =
        request_new(kind_of(method), payload.len * ARENA_FACTOR + ARENA_EXTRA_BYTES);
    int r = req ? rpc_decode_request(req, payload, ret_problem) : -ENOMEM;

    if (r < 0) {
        if (r == -ENOMEM) {
            *ret_problem = (struct problem) {.code = ERRCODE_OUT_OF_MEMORY};
        }
        return request_free(req);
    }
    req->total_bytes = payload.len;
    req->stream = true;
    req->caller = rpc->conn.caller;
    if (frame->timeout_nano > 0) {
        uint64_t usec = (uint64_t) frame->timeout_nano / 1000 + 1;

        req->deadline_usec =
            req->deadline_usec > 0 && req->deadline_usec < usec ? req->deadline_usec : usec;
    }
    return req;
}

/* May this connection have one more stream? false: it was told that it may not. */
static bool is_admitted(struct rpc_conn *rpc, uint32_t id)
{
    struct rpc_error error = {.code = ERRCODE_TOO_MANY_CALLS,
                              .retry_after_usec = RETRY_AFTER_MIN_USEC};
    size_t n = rpc->n_calls + rpc_control_n_streams(&rpc->control);
    bool is_full = n >= rpc->conn.frontends->params.max_calls_per_connection || rpc->conn.was_full;

    if (is_full) {
        rpc_put_error(&rpc->conn, id, &error);
    }
    return !is_full;
}

static void submit(struct rpc_conn *rpc, uint32_t id, struct request *req, uint64_t now_usec)
{
    struct call_registry *registry = rpc->conn.frontends->registry;
    struct rpc_call *call = calloc(1, sizeof *call);

    if (!call) {
        request_free(req);
        rpc_put_code(&rpc->conn, id, ERRCODE_OUT_OF_MEMORY);
        return;
    }
    *call = (struct rpc_call) {
        .rpc = rpc, .stream_id = id, .sink = {.deliver = deliver}, .arrived_at_usec = now_usec};
    list_init(&call->link);
    list_append(&rpc->calls, &call->link);
    rpc->n_calls++;
    (void) snprintf(call->id, sizeof call->id, "%s", req->id);
    if (call_submit(registry, req, &call->sink, now_usec, &call->call) < 0) {
        rpc_call_free(call);
        rpc_put_code(&rpc->conn, id, ERRCODE_OUT_OF_MEMORY);
    }
}

static void start_call(struct rpc_conn *rpc, uint32_t id, const struct frame_request *frame,
                       enum rpc_method method, uint64_t now_usec)
{
    struct frontends *f = rpc->conn.frontends;
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    struct request *req = decode(rpc, frame, method, &p);

    if (!req) {
        rpc_put_problem(&rpc->conn, id, &p);
        return;
    }
    if (req->id[0] == '\0') {
        frontends_make_id(f, req->id);
    } else if (registry_find(f->registry, str_from(req->id), false, req->caller.uid) ||
               rpc_watch_find(f, str_from(req->id), false, req->caller.uid)) {
        p = (struct problem) {.code = ERRCODE_INVALID_REQUEST,
                              .text = "a call with this request id is running",
                              .param = "options.request_id"};
        request_free(req);
        rpc_put_problem(&rpc->conn, id, &p);
        return;
    }
    submit(rpc, id, req, now_usec);
}

static void on_request(struct rpc_conn *rpc, uint32_t id, const struct frame_request *frame,
                       uint64_t now_usec)
{
    enum rpc_method method = rpc_method_of(frame);
    struct problem p = {.code = ERRCODE_NOT_IMPLEMENTED};

    switch (method) {
    case METHOD_GET_INFO:
    case METHOD_LIST_MODELS:
    case METHOD_STATUS:
        rpc_info_answer(&rpc->conn, id, method, now_usec);
        break;
    case METHOD_CHAT:
    case METHOD_COMPLETE:
    case METHOD_EMBED:
    case METHOD_RERANK:
    case METHOD_CLASSIFY:
        if (is_admitted(rpc, id)) {
            start_call(rpc, id, frame, method, now_usec);
        }
        break;
    case METHOD_WATCH:
    case METHOD_LOAD:
    case METHOD_UNLOAD:
        if (is_admitted(rpc, id)) {
            rpc_control_request(&rpc->control, id, method, frame, now_usec);
        }
        break;
    case METHOD_EXPLAIN:
        rpc_explain_answer(&rpc->conn, id, frame, now_usec);
        break;
    case METHOD_CANCEL:
    case METHOD_RELOAD:
    case METHOD_DRAIN:
        rpc_control_request(&rpc->control, id, method, frame, now_usec);
        break;
    case METHOD_UPLOAD: /* its Data frames are late Data of an id that is not in use: ignored */
        rpc_put_code(&rpc->conn, id, ERRCODE_NOT_IMPLEMENTED);
        break;
    case METHOD_UNKNOWN:
        (void) snprintf(p.text, sizeof p.text, "no method \"%.*s\" in service \"%.*s\"",
                        (int) frame->method.len, (const char *) frame->method.ptr,
                        (int) frame->service.len, (const char *) frame->service.ptr);
        rpc_put_problem(&rpc->conn, id, &p);
        break;
    }
}

static void on_request_frame(struct rpc_conn *rpc, const struct frame_header *h,
                             const uint8_t *payload, uint64_t now_usec)
{
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};
    struct frame_request frame;

    if (h->stream_id % 2 == 0) {
        (void) snprintf(p.text, sizeof p.text, "stream id %u is not a client's: those are odd",
                        h->stream_id);
    } else if (find_stream(rpc, h->stream_id) ||
               rpc_control_has_stream(&rpc->control, h->stream_id)) {
        (void) snprintf(p.text, sizeof p.text, "stream id %u is in use", h->stream_id);
    } else if (frame_decode_request(payload, h->payload_bytes, &frame) < 0) {
        (void) snprintf(p.text, sizeof p.text, "the request envelope is malformed");
    } else if (frame.timeout_nano < 0) {
        p.code = ERRCODE_DEADLINE_EXCEEDED; /* of a unary call, too: nobody waits for it any more */
    } else {
        on_request(rpc, h->stream_id, &frame, now_usec);
        return;
    }
    rpc_put_problem(&rpc->conn, h->stream_id, &p);
}

static void on_frame(struct conn *c, const struct frame_header *h, const uint8_t *payload,
                     uint64_t now_usec)
{
    struct problem p = {.code = ERRCODE_INVALID_REQUEST};

    switch (h->type) {
    case FRAME_REQUEST:
        on_request_frame(rpc_conn_of(c), h, payload, now_usec);
        break;
    case FRAME_DATA:
        /*
         * No method takes Data. On an even id it can mean nothing; else it belongs to a call that
         * is over, or is a needless close of the client's side.
         */
        if (h->stream_id % 2 == 0) {
            (void) snprintf(p.text, sizeof p.text, "stream id %u is not a client's: those are odd",
                            h->stream_id);
            rpc_put_problem(c, h->stream_id, &p);
        }
        break;
    case FRAME_RESPONSE: /* servers send these, clients do not */
    default:             /* a type of the future */
        break;
    }
}

/* ---------------------------------------------------------------- the connection */

static void on_bytes(struct conn *c, struct str bytes, uint64_t now_usec)
{
    rpc_input_bytes(&rpc_conn_of(c)->input, bytes, now_usec);
}

static bool is_paused(const struct conn *c)
{
    return rpc_input_is_paused(&CONTAINER_OF(c, struct rpc_conn, conn)->input);
}

static void on_hangup(struct conn *c, uint64_t now_usec)
{
    conn_close(c, now_usec); /* ttrpc knows no half-close: all calls are cancelled */
}

static void on_drained(struct conn *c, uint64_t now_usec)
{
    struct rpc_conn *rpc = rpc_conn_of(c);

    rpc_input_drained(&rpc->input, now_usec);
    list_for_each_safe (l, &rpc->calls) {
        struct rpc_call *call = CONTAINER_OF(l, struct rpc_call, link);

        if (call->call && !conn_is_full(c)) {
            call_resume(call->call, now_usec);
        }
    }
}

static void on_turn(struct conn *c, uint64_t now_usec)
{
    struct rpc_conn *rpc = rpc_conn_of(c);

    rpc_input_turn(&rpc->input, now_usec);
    if (c->state != CONN_OPEN) {
        return;
    }
    list_for_each_safe (l, &rpc->calls) {
        struct rpc_call *call = CONTAINER_OF(l, struct rpc_call, link);

        if (call->is_over_budget) {
            call_cancel(call->call, ERRCODE_OUT_OF_MEMORY, now_usec);
        }
    }
    if (c->frontends->is_draining && c->ops->is_idle(c) && c->out.len == 0) {
        conn_close(c, now_usec);
    }
}

static void on_deadline(struct conn *c, uint64_t now_usec)
{
    conn_close(c, now_usec); /* half a frame, then silence: there is no id to answer on */
}

static void on_stalled(struct conn *c, uint64_t now_usec)
{
    list_for_each_safe (l, &rpc_conn_of(c)->calls) {
        struct rpc_call *call = CONTAINER_OF(l, struct rpc_call, link);

        call_cancel(call->call, ERRCODE_STALLED_READER, now_usec);
    }
    conn_close(c, now_usec); /* the socket takes nothing: the reason can only be logged */
}

static void on_closed(struct conn *c, uint64_t now_usec)
{
    list_for_each_safe (l, &rpc_conn_of(c)->calls) {
        struct rpc_call *call = CONTAINER_OF(l, struct rpc_call, link);

        call_detach(call->call, now_usec);
        rpc_call_free(call);
    }
    rpc_control_drop(&rpc_conn_of(c)->control);
}

static void on_drain(struct conn *c, uint64_t now_usec)
{
    rpc_control_drain(&rpc_conn_of(c)->control, now_usec);
}

static void rpc_free(struct conn *c)
{
    struct rpc_conn *rpc = rpc_conn_of(c);

    assert(rpc->n_calls == 0);
    conn_done(c);
    rpc_input_done(&rpc->input);
    free(rpc);
}

static bool is_idle(const struct conn *c)
{
    const struct rpc_conn *rpc = CONTAINER_OF(c, struct rpc_conn, conn);

    return rpc->n_calls == 0 && rpc_control_n_streams(&rpc->control) == 0 &&
           !rpc_input_is_mid_frame(&rpc->input) &&
           !(rpc->control.has_drained && c->frontends->is_closing_door);
}

static const struct conn_ops conn_ops = {
    .on_bytes = on_bytes,
    .on_hangup = on_hangup,
    .on_drained = on_drained,
    .on_turn = on_turn,
    .is_paused = is_paused,
    .on_deadline = on_deadline,
    .on_stalled = on_stalled,
    .on_closed = on_closed,
    .on_drain = on_drain,
    .free = rpc_free,
    .is_idle = is_idle,
};

static struct conn *rpc_conn_new(struct frontends *f, int fd, const struct caller *caller,
                                 bool is_tcp)
{
    struct rpc_conn *rpc = is_tcp ? NULL : calloc(1, sizeof *rpc);

    if (!rpc) {
        /* over TCP nobody knows who asks: the composition refuses such a listener, too */
        (void) fd_close(fd);
        return NULL;
    }
    list_init(&rpc->calls);
    rpc_control_init(&rpc->control, &rpc->conn);
    rpc_input_init(&rpc->input, &rpc->conn, on_frame);
    if (conn_init(&rpc->conn, f, &conn_ops, fd, caller, HIGH_WATER_BYTES, OUT_MAX_BYTES) < 0) {
        free(rpc);
        return NULL;
    }
    rpc->conn.is_kept = true; /* programs open one and hold it: libsluice does not reconnect */
    return &rpc->conn;
}

const struct frontend_ops frontend_rpc = {.name = "rpc", .conn_new = rpc_conn_new};
