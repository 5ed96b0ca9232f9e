#pragma once
/*
 * The other end of a libsluice client: a socket pair in one thread. Tests write the frames that a
 * daemon (or something worse) would send and read what the client sent. Every function ends the
 * test when the socket does not do as told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clients/c/sluice.h"
#include "proto/frame.h"
#include "sluice.pb-c.h"

#define PEER_MAX_BYTES 65536

struct peer {
    sluice_client *client; /* the test's, freed by peer_close() */
    int fd;                /* our end; -1 once hung up */
};

/* A request as it came in; borrowed from bytes. */
struct peer_request {
    struct frame_header header;
    struct frame_request envelope;
    uint8_t bytes[PEER_MAX_BYTES];
};

static inline void peer_open(struct peer *p)
{
    int fds[2];

    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    p->fd = fds[1];
    ck_assert_int_eq(sluice_connect_fd(fds[0], &p->client), 0);
}

static inline void peer_hang_up(struct peer *p)
{
    if (p->fd >= 0) {
        (void) close(p->fd);
    }
    p->fd = -1;
}

static inline void peer_close(struct peer *p)
{
    p->client = sluice_client_free(p->client);
    peer_hang_up(p);
}

static inline void peer_write(struct peer *p, const void *bytes, size_t n)
{
    ck_assert_int_eq(send(p->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT), (ssize_t) n);
}

static inline size_t peer_frame(uint8_t *out, uint32_t stream_id, uint8_t type, uint8_t flags,
                                const void *bytes, size_t n)
{
    struct frame_header h = {
        .payload_bytes = (uint32_t) n, .stream_id = stream_id, .type = type, .flags = flags};

    ck_assert_uint_le(n + FRAME_HEADER_BYTES, PEER_MAX_BYTES);
    frame_encode_header(&h, out);
    if (n > 0) {
        memcpy(out + FRAME_HEADER_BYTES, bytes, n);
    }
    return FRAME_HEADER_BYTES + n;
}

static inline void peer_send(struct peer *p, uint32_t stream_id, uint8_t type, uint8_t flags,
                             const void *bytes, size_t n)
{
    static uint8_t frame[PEER_MAX_BYTES];

    peer_write(p, frame, peer_frame(frame, stream_id, type, flags, bytes, n));
}

/* ---------------------------------------------------------------- messages to bytes */

static inline size_t peer_pack(const ProtobufCMessage *msg, uint8_t *out)
{
    ck_assert_uint_le(protobuf_c_message_get_packed_size(msg), PEER_MAX_BYTES);
    return protobuf_c_message_pack(msg, out);
}

/* Text of one answer. */
static inline size_t peer_text_event(uint8_t *out, uint64_t seq, const char *text)
{
    Sluice__V1__TextDelta delta;
    Sluice__V1__Event ev;
    uint8_t copy[256];

    sluice__v1__text_delta__init(&delta);
    sluice__v1__event__init(&ev);
    ck_assert_uint_le(strlen(text), sizeof(copy));
    memcpy(copy, text, strlen(text));
    delta.text = (ProtobufCBinaryData) {.len = strlen(text), .data = copy};
    ev.seq = seq;
    ev.kind_case = SLUICE__V1__EVENT__KIND_TEXT;
    ev.text = &delta;
    return peer_pack(&ev.base, out);
}

static inline size_t peer_done_event(uint8_t *out, uint64_t seq)
{
    Sluice__V1__FinishReason reasons[] = {SLUICE__V1__FINISH_REASON__FINISH_STOP,
                                          SLUICE__V1__FINISH_REASON__FINISH_LENGTH};
    Sluice__V1__Timings timings;
    Sluice__V1__Usage usage;
    Sluice__V1__Event ev;
    Sluice__V1__Done done;

    sluice__v1__timings__init(&timings);
    sluice__v1__usage__init(&usage);
    sluice__v1__event__init(&ev);
    sluice__v1__done__init(&done);
    timings.queue_usec = 10;
    timings.first_token_usec = 20;
    timings.total_usec = 30;
    usage.input_tokens = 7;
    usage.cached_input_tokens = 3;
    usage.output_tokens = 9;
    usage.reasoning_output_tokens = 4;
    done.n_finish_reasons = 2;
    done.finish_reasons = reasons;
    done.usage = &usage;
    done.timings = &timings;
    ev.seq = seq;
    ev.kind_case = SLUICE__V1__EVENT__KIND_DONE;
    ev.done = &done;
    return peer_pack(&ev.base, out);
}

static inline size_t peer_started_event(uint8_t *out, uint64_t seq, const char *model,
                                        const char *deployment)
{
    Sluice__V1__Started started;
    Sluice__V1__Event ev;
    char names[2][64];

    sluice__v1__started__init(&started);
    sluice__v1__event__init(&ev);
    (void) snprintf(names[0], sizeof(names[0]), "%s", model);
    (void) snprintf(names[1], sizeof(names[1]), "%s", deployment);
    started.model = names[0];
    started.deployment = names[1];
    ev.seq = seq;
    ev.kind_case = SLUICE__V1__EVENT__KIND_STARTED;
    ev.started = &started;
    return peer_pack(&ev.base, out);
}

/* A StatusResponse with one deployment, one class and one caller. */
static inline size_t peer_state(uint8_t *out, uint32_t n_running)
{
    char model[] = "m", id[] = "d", upstream_model[] = "um", api_base[] = "http://127.0.0.1:11434";
    char server_version[] = "0.34.3", tags[] = "a\nb", aliases[] = "x\ny";
    char class_name[] = "batch", caller_name[] = "uid 7";
    Sluice__V1__DeploymentStatus deployment, *list[1] = {&deployment};
    Sluice__V1__ClassStatus class, *classes[1] = {&class};
    Sluice__V1__CallerStatus caller, *callers[1] = {&caller};
    Sluice__V1__StatusResponse status;

    sluice__v1__deployment_status__init(&deployment);
    sluice__v1__class_status__init(&class);
    sluice__v1__caller_status__init(&caller);
    sluice__v1__status_response__init(&status);
    class.name = class_name;
    class.calls_queued = 3;
    class.oldest_usec = 4;
    caller.name = caller_name;
    caller.calls_running = 5;
    caller.weight = 6;
    caller.idle_usec = 7;
    deployment.model = model;
    deployment.id = id;
    deployment.upstream_model = upstream_model;
    deployment.api_base = api_base;
    deployment.server_version = server_version;
    deployment.order = 2;
    deployment.weight_permille = 500;
    deployment.tags = tags;
    deployment.local_only = 1;
    deployment.paused_usec = 7;
    deployment.aliases = aliases;
    deployment.loaded = 1;
    deployment.idle_usec = UINT64_C(1) << 40;
    status.calls_running = n_running;
    status.n_deployments = 1;
    status.deployments = list;
    status.n_classes = 1;
    status.classes = classes;
    status.n_callers = 1;
    status.callers = callers;
    status.headroom_bytes = 11;
    status.pieces_out = 12;
    return peer_pack(&status.base, out);
}

/* ---------------------------------------------------------------- whole answers */

static inline void peer_send_text(struct peer *p, uint32_t stream_id, uint64_t seq,
                                  const char *text)
{
    uint8_t bytes[512];

    peer_send(p, stream_id, FRAME_DATA, 0, bytes, peer_text_event(bytes, seq, text));
}

static inline void peer_send_done(struct peer *p, uint32_t stream_id, uint64_t seq)
{
    uint8_t bytes[512];

    peer_send(p, stream_id, FRAME_DATA, 0, bytes, peer_done_event(bytes, seq));
}

static inline void peer_send_end(struct peer *p, uint32_t stream_id)
{
    peer_send(p, stream_id, FRAME_DATA, FRAME_REMOTE_CLOSED | FRAME_NO_DATA, NULL, 0);
}

static inline void peer_send_response(struct peer *p, uint32_t stream_id,
                                      const struct frame_response *res)
{
    static uint8_t bytes[PEER_MAX_BYTES];

    ck_assert_uint_le(frame_response_size(res), sizeof(bytes));
    peer_send(p, stream_id, FRAME_RESPONSE, 0, bytes, frame_encode_response(res, bytes));
}

/* A status with an ErrorDetail, as the daemon sends it. */
static inline void peer_send_error(struct peer *p, uint32_t stream_id, int32_t status,
                                   const char *message, Sluice__V1__ErrorDetail *detail)
{
    static const char type[] = "type.googleapis.com/sluice.v1.ErrorDetail";
    uint8_t bytes[512];
    struct frame_response res = {.code = status,
                                 .message = {(const uint8_t *) message, strlen(message)}};

    if (detail) {
        res.detail = (struct frame_slice) {bytes, peer_pack(&detail->base, bytes)};
        res.detail_type = (struct frame_slice) {(const uint8_t *) type, sizeof(type) - 1};
    }
    peer_send_response(p, stream_id, &res);
}

/* ---------------------------------------------------------------- what the client sent */

/* false: nothing there. */
static inline bool peer_receive(struct peer *p, struct peer_request *ret)
{
    uint8_t header[FRAME_HEADER_BYTES];
    ssize_t n = recv(p->fd, header, sizeof(header), MSG_DONTWAIT);

    if (n <= 0) {
        return false;
    }
    ck_assert_int_eq(n, FRAME_HEADER_BYTES);
    frame_decode_header(header, &ret->header);
    ck_assert_uint_le(ret->header.payload_bytes, sizeof(ret->bytes));
    n = recv(p->fd, ret->bytes, ret->header.payload_bytes, MSG_DONTWAIT | MSG_WAITALL);
    ck_assert_int_eq(n, ret->header.payload_bytes);
    ck_assert_uint_eq(ret->header.type, FRAME_REQUEST);
    ck_assert_int_eq(frame_decode_request(ret->bytes, (size_t) n, &ret->envelope), 0);
    return true;
}

static inline bool peer_is_method(const struct peer_request *r, const char *method)
{
    return r->envelope.method.len == strlen(method) &&
           memcmp(r->envelope.method.ptr, method, strlen(method)) == 0;
}

/* The client does all it can; how often something happened. */
static inline int peer_process(struct peer *p)
{
    int n = 0;

    while (sluice_client_process(p->client) > 0) {
        ck_assert_int_lt(n++, 100000);
    }
    return n;
}
