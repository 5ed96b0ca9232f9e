/*
 * A call: frames in at one end, events out at the other.
 *
 * Frames are kept as they came and decoded when the program takes them, one at a time, so that what
 * waits costs its own size and decoding happens where its errors can be told. The state says
 * whether more frames may come:
 *
 *      OPEN ──(end of stream, response, failure)──► CLOSED ──(last event taken)──► OVER
 *        └───────────────(Done, or an event that cannot be)───────────────────────►
 *
 * Exactly one last event, always: DONE, REPLY or FAILED. A stream that ends without Done was cut;
 * an event whose number is not the last one's plus one means that something between was lost. Both
 * are failures, however much text came before. Whatever follows Done is ignored: the answer is
 * complete.
 *
 * A watch has states instead of events: they have no number and no Done, the newest is all that
 * counts, and so a state that was not taken when the next one comes is dropped. It ends with a
 * failure, at the latest that of the connection.
 *
 * Owns its frames and the decoded message of the current event. Does not touch the socket; a call
 * that gives up by itself asks its client to tell the daemon.
 */
#include "call.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"
#include "macros.h"
#include "sluice.pb-c.h"
#include "traffic.h"
#include "unpack.h"

sluice_call *call_new(sluice_client *client, enum request_kind kind, uint32_t stream_id,
                      const char *request_id)
{
    sluice_call *call = calloc(1, sizeof(*call));

    if (!call) {
        return NULL;
    }
    assert(strlen(request_id) <= REQUEST_ID_MAX_BYTES);
    call->client = client;
    call->kind = kind;
    call->stream_id = stream_id;
    call->give_up_at_usec = USEC_NEVER;
    memcpy(call->request_id, request_id, strlen(request_id) + 1);
    return call;
}

static void drop_frames(sluice_call *call)
{
    while (call->first_frame) {
        struct call_frame *frame = call->first_frame;

        call->first_frame = frame->next;
        free(frame);
    }
    call->last_frame = NULL;
    call->unread_bytes = 0;
}

static void set_state(sluice_call *call, enum call_state to)
{
    assert(to > call->state && to < _CALL_STATE_MAX);

    bool was_open = call->state == CALL_OPEN;

    call->state = to;
    if (was_open && call->client) {
        client_call_closed(call->client, call);
    }
    if (to == CALL_OVER) {
        drop_frames(call);
    }
}

/* Frees the current message unless it is also kept as `started`. */
static void drop_reply(sluice_call *call)
{
    if (call->reply && call->reply != call->started) {
        protobuf_c_message_free_unpacked(call->reply, NULL);
    }
    call->reply = NULL;
}

EXPORT sluice_call *sluice_call_free(sluice_call *call)
{
    if (!call) {
        return NULL;
    }

    sluice_client *client = call->client;

    if (client) {
        if (call->state == CALL_OPEN && client_check_process(client) == 0) {
            traffic_send_cancel(client, call);
        }
        if (call->state != CALL_OVER) {
            set_state(call, CALL_OVER);
        }
        client_remove_call(client, call);
    }
    drop_frames(call);
    drop_reply(call);
    if (call->started) {
        protobuf_c_message_free_unpacked(call->started, NULL);
    }
    free(call);
    return NULL;
}

/* ---------------------------------------------------------------- frames in */

struct call_frame *call_frame_new(const struct frame_header *header)
{
    struct call_frame *frame = malloc(sizeof(*frame) + header->payload_bytes);

    if (frame) {
        frame->next = NULL;
        frame->header = *header;
    }
    return frame;
}

void call_close(sluice_call *call, enum failure_kind by)
{
    assert(call->state == CALL_OPEN);
    call->closed_by = by;
    set_state(call, CALL_CLOSED);
}

/* The program has not looked at the last state yet: the new one takes its place. */
static void drop_old_state(sluice_call *call)
{
    if (call->kind == REQUEST_WATCH && call->first_frame) {
        assert(call->first_frame->header.type == FRAME_DATA); /* a Response would be the last */
        drop_frames(call);
    }
}

/*
 * Keeps the frame for the program. false: it has left too much unread already; the frame is freed.
 */
static bool keep(sluice_call *call, struct call_frame *frame)
{
    size_t cost = sizeof(*frame) + frame->header.payload_bytes;

    if (call->first_frame && cost > CALL_MAX_UNREAD_BYTES - call->unread_bytes) {
        free(frame);
        return false;
    }
    if (call->last_frame) {
        call->last_frame->next = frame;
    } else {
        call->first_frame = frame;
    }
    call->last_frame = frame;
    call->unread_bytes += cost;
    return true;
}

static void deliver_data(sluice_call *call, struct call_frame *frame)
{
    const struct frame_header *h = &frame->header;
    bool is_last = (h->flags & FRAME_REMOTE_CLOSED) != 0;
    bool is_message = (h->flags & FRAME_NO_DATA) == 0;

    if (!request_method(call->kind)->is_stream) {
        free(frame);
        call_close(call, FAILURE_BAD_ANSWER);
        return;
    }
    /*
     * The close frame may carry a message (the specification allows it, Go does it), and an empty
     * one may lack the no-data flag.
     */
    if (is_message && (h->payload_bytes > 0 || !is_last)) {
        drop_old_state(call);
        if (!keep(call, frame)) {
            call_close(call, FAILURE_STALLED_READER);
            return;
        }
    } else {
        free(frame);
    }
    if (is_last) {
        call_close(call, FAILURE_NONE);
    }
}

void call_deliver(sluice_call *call, struct call_frame *frame)
{
    assert(call->state == CALL_OPEN);
    if (frame->header.type == FRAME_DATA) {
        deliver_data(call, frame);
        return;
    }
    assert(frame->header.type == FRAME_RESPONSE);
    /* The last frame of its call: one that is over the limit fails it all the same. */
    call_close(call, keep(call, frame) ? FAILURE_NONE : FAILURE_STALLED_READER);
}

bool call_has_event(const sluice_call *call)
{
    return call->first_frame || call->state == CALL_CLOSED;
}

/* ---------------------------------------------------------------- events out */

static struct call_frame *take_frame(sluice_call *call)
{
    struct call_frame *frame = call->first_frame;

    call->first_frame = frame->next;
    if (!call->first_frame) {
        call->last_frame = NULL;
    }
    call->unread_bytes -= sizeof(*frame) + frame->header.payload_bytes;
    return frame;
}

static void set_event(sluice_call *call, int event, ProtobufCMessage *reply)
{
    drop_reply(call);
    call->event = event;
    call->reply = reply;
}

/* The last event. The daemon is told where it does not know yet. */
static int finish(sluice_call *call, int event, ProtobufCMessage *reply)
{
    set_event(call, event, reply);
    if (call->state == CALL_OPEN && event == SLUICE_EVENT_FAILED) {
        traffic_send_cancel(call->client, call);
    }
    set_state(call, CALL_OVER);
    return event;
}

static int fail(sluice_call *call, enum failure_kind kind, const char *why)
{
    failure_set(&call->failure, kind, why);
    return finish(call, SLUICE_EVENT_FAILED, NULL);
}

static int event_type(const Sluice__V1__Event *ev)
{
    switch (ev->kind_case) {
    case SLUICE__V1__EVENT__KIND_QUEUED:
        return SLUICE_EVENT_QUEUED;
    case SLUICE__V1__EVENT__KIND_STARTED:
        return SLUICE_EVENT_STARTED;
    case SLUICE__V1__EVENT__KIND_TEXT:
        return SLUICE_EVENT_TEXT;
    case SLUICE__V1__EVENT__KIND_TOOL_CALL:
        return SLUICE_EVENT_TOOL_CALL;
    case SLUICE__V1__EVENT__KIND_EMBEDDING:
        return SLUICE_EVENT_EMBEDDING;
    case SLUICE__V1__EVENT__KIND_RESULT:
        return SLUICE_EVENT_RESULT;
    case SLUICE__V1__EVENT__KIND_DONE:
        return SLUICE_EVENT_DONE;
    case SLUICE__V1__EVENT__KIND__NOT_SET:
    case _SLUICE__V1__EVENT__KIND__CASE_IS_INT_SIZE:
        break;
    }
    return 0;
}

static void keep_started(sluice_call *call, ProtobufCMessage *msg)
{
    ProtobufCMessage *old = call->started;

    call->started = msg;
    if (old && old != call->reply) {
        protobuf_c_message_free_unpacked(old, NULL);
    }
}

/* 0: the event is of a kind that only newer programs know, go on. */
static int take_event(sluice_call *call, Sluice__V1__Event *ev)
{
    char why[96];

    if (ev->seq != call->last_seq + 1) {
        (void) snprintf(why, sizeof(why), "event %llu came after event %llu",
                        (unsigned long long) ev->seq, (unsigned long long) call->last_seq);
        protobuf_c_message_free_unpacked(&ev->base, NULL);
        return fail(call, FAILURE_BAD_ANSWER, why);
    }
    call->last_seq = ev->seq;

    int type = event_type(ev);

    if (type == 0) {
        protobuf_c_message_free_unpacked(&ev->base, NULL);
        return 0;
    }
    if (type == SLUICE_EVENT_DONE) {
        return finish(call, type, &ev->base);
    }
    set_event(call, type, &ev->base);
    if (type == SLUICE_EVENT_STARTED) {
        keep_started(call, &ev->base);
    }
    return type;
}

static int take_state(sluice_call *call, ProtobufCMessage *msg)
{
    set_event(call, SLUICE_EVENT_STATUS, msg);
    return SLUICE_EVENT_STATUS;
}

static int take_data(sluice_call *call)
{
    bool is_watch = call->kind == REQUEST_WATCH;
    const struct call_frame *frame = call->first_frame;
    bool is_out_of_memory;
    ProtobufCMessage *msg = unpack_message(
        is_watch ? &sluice__v1__status_response__descriptor : &sluice__v1__event__descriptor,
        frame->bytes, frame->header.payload_bytes, &is_out_of_memory);

    if (is_out_of_memory) {
        return -ENOMEM; /* the frame stays for another try */
    }
    free(take_frame(call));
    if (!msg) {
        return fail(call, FAILURE_BAD_ANSWER, "an event does not decode");
    }
    return is_watch ? take_state(call, msg) : take_event(call, (Sluice__V1__Event *) msg);
}

static const ProtobufCMessageDescriptor *reply_descriptor(enum request_kind kind)
{
    switch (kind) {
    case REQUEST_MODELS:
        return &sluice__v1__list_models_response__descriptor;
    case REQUEST_INFO:
        return &sluice__v1__get_info_response__descriptor;
    case REQUEST_STATUS:
        return &sluice__v1__status_response__descriptor;
    case REQUEST_CANCEL:
        return &sluice__v1__cancel_response__descriptor;
    case REQUEST_RELOAD:
        return &sluice__v1__reload_response__descriptor;
    case REQUEST_DRAIN:
        return &sluice__v1__drain_response__descriptor;
    case REQUEST_UNLOAD:
        return &sluice__v1__unload_response__descriptor;
    case REQUEST_LOAD:
        return &sluice__v1__load_response__descriptor;
    case REQUEST_EXPLAIN:
        return &sluice__v1__explain_response__descriptor;
    case REQUEST_CHAT:
    case REQUEST_COMPLETE:
    case REQUEST_EMBED:
    case REQUEST_RERANK:
    case REQUEST_CLASSIFY:
    case REQUEST_WATCH:
    case _REQUEST_KIND_MAX:
        break;
    }
    return NULL;
}

static int take_reply(sluice_call *call, struct frame_slice payload)
{
    bool is_out_of_memory;
    ProtobufCMessage *msg =
        unpack_message(reply_descriptor(call->kind), payload.ptr, payload.len, &is_out_of_memory);

    if (is_out_of_memory) {
        return -ENOMEM;
    }
    return msg ? finish(call, SLUICE_EVENT_REPLY, msg)
               : fail(call, FAILURE_BAD_ANSWER, "the reply does not decode");
}

static int take_response(sluice_call *call)
{
    const struct call_frame *frame = call->first_frame;
    struct frame_response res;

    if (frame_decode_response(frame->bytes, frame->header.payload_bytes, &res) < 0) {
        return fail(call, FAILURE_BAD_ANSWER, "the response does not decode");
    }
    if (res.code != 0) {
        failure_set_status(&call->failure, &res);
        return finish(call, SLUICE_EVENT_FAILED, NULL);
    }
    if (request_method(call->kind)->is_stream) {
        /* some servers end streams so; Done would have come before */
        return fail(call, FAILURE_ANSWER_CUT, NULL);
    }
    return take_reply(call, res.payload);
}

EXPORT int sluice_call_try_next(sluice_call *call)
{
    if (call->client) {
        int r = client_check_process(call->client);

        if (r < 0) {
            return r;
        }
    }
    while (call->first_frame) {
        int r =
            call->first_frame->header.type == FRAME_DATA ? take_data(call) : take_response(call);

        if (r != 0) {
            return r;
        }
    }
    if (call->state == CALL_OVER) {
        return 0;
    }
    if (call->state == CALL_OPEN) {
        return -EAGAIN;
    }
    return fail(call, call->closed_by == FAILURE_NONE ? FAILURE_ANSWER_CUT : call->closed_by, NULL);
}

EXPORT int sluice_call_next(sluice_call *call)
{
    for (;;) {
        int r = sluice_call_try_next(call);

        if (r != -EAGAIN) {
            return r;
        }
        r = sluice_client_process(call->client);
        if (r == 0) {
            r = sluice_client_wait(call->client, USEC_NEVER);
        }
        if (r < 0 && r != -ENOTCONN) {
            return r; /* after -ENOTCONN the call is closed, and its end is there to be taken */
        }
    }
}

EXPORT int sluice_call_cancel(sluice_call *call)
{
    sluice_client *client = call->client;

    if (!client) {
        return 0;
    }
    if (client_check_process(client) < 0) {
        return -ECHILD;
    }
    atomic_store(&call->is_cancel_wanted, true);
    client_wake(client);
    return 0;
}

/* ---------------------------------------------------------------- about the call */

EXPORT int sluice_call_event(const sluice_call *call)
{
    return call->event;
}

EXPORT sluice_client *sluice_call_client(const sluice_call *call)
{
    return call->client;
}

EXPORT const char *sluice_call_request_id(const sluice_call *call)
{
    return call->request_id;
}

EXPORT void sluice_call_set_userdata(sluice_call *call, void *userdata)
{
    call->userdata = userdata;
}

EXPORT void *sluice_call_userdata(const sluice_call *call)
{
    return call->userdata;
}

EXPORT const char *sluice_call_error_code(const sluice_call *call)
{
    return call->failure.code;
}

EXPORT const char *sluice_call_error_message(const sluice_call *call)
{
    return call->failure.message;
}

EXPORT const char *sluice_call_error_param(const sluice_call *call)
{
    return call->failure.param;
}

EXPORT int sluice_call_error_http_status(const sluice_call *call)
{
    return call->failure.http_status;
}

EXPORT int sluice_call_error_rpc_status(const sluice_call *call)
{
    return call->failure.rpc_status;
}

EXPORT int sluice_call_error_is_retryable(const sluice_call *call)
{
    return call->failure.is_retryable;
}

EXPORT uint64_t sluice_call_error_retry_after_usec(const sluice_call *call)
{
    return call->failure.retry_after_usec;
}
