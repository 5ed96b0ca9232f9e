#pragma once
/*
 * Calls of a libsluice client on the other end of libsluice_peer.h: started, stepped through without
 * waiting, and how they ended.
 */
#include "support.h"

#include "libsluice_peer.h"

/* Starts req and frees it. */
static inline sluice_call *start(struct peer *p, sluice_request *req)
{
    sluice_call *call;

    ck_assert_int_eq(sluice_call_start(p->client, req, &call), 0);
    sluice_request_free(req);
    return call;
}

/* A call of many events. */
static inline sluice_call *start_chat(struct peer *p)
{
    sluice_request *req;

    ck_assert_int_eq(sluice_chat_new("m", &req), 0);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "hi", 2), 0);
    return start(p, req);
}

/* A call of one reply. */
static inline sluice_call *start_models(struct peer *p)
{
    sluice_request *req;

    ck_assert_int_eq(sluice_models_new(&req), 0);
    return start(p, req);
}

/* The next event without waiting. */
static inline int step(struct peer *p, sluice_call *call)
{
    (void) peer_process(p);
    return sluice_call_try_next(call);
}

/* The text of the current event. */
static inline void assert_text(const sluice_call *call, const char *want)
{
    size_t n;
    const char *text = sluice_call_text(call, &n);

    ck_assert_uint_eq(n, strlen(want));
    ck_assert_mem_eq(text, want, n);
}

/* The next event is FAILED with that code, and there is none behind it. */
static inline void assert_failed(struct peer *p, sluice_call *call, const char *code)
{
    ck_assert_int_eq(step(p, call), SLUICE_EVENT_FAILED);
    ck_assert_str_eq(sluice_call_error_code(call), code);
    ck_assert_str_ne(sluice_call_error_message(call), "");
    ck_assert_int_eq(sluice_call_try_next(call), 0); /* once */
    ck_assert_int_eq(sluice_call_event(call), SLUICE_EVENT_FAILED);
}

/* Did the client send Cancel for this call? */
static inline bool was_cancelled(struct peer *p, const sluice_call *call)
{
    static struct peer_request r;

    while (peer_receive(p, &r)) {
        Sluice__V1__CancelRequest *msg;

        if (!peer_is_method(&r, "Cancel")) {
            continue;
        }
        msg = sluice__v1__cancel_request__unpack(NULL, r.envelope.payload.len,
                                                 r.envelope.payload.ptr);
        ck_assert_ptr_nonnull(msg);

        bool is_it = strcmp(msg->request_id, sluice_call_request_id(call)) == 0;

        sluice__v1__cancel_request__free_unpacked(msg, NULL);
        if (is_it) {
            return true;
        }
    }
    return false;
}

/* The header of a frame for a stream, without what it announces. */
static inline void send_header(struct peer *p, uint32_t payload_bytes, uint32_t stream_id)
{
    struct frame_header h = {
        .payload_bytes = payload_bytes, .stream_id = stream_id, .type = FRAME_DATA};
    uint8_t bytes[FRAME_HEADER_BYTES];

    frame_encode_header(&h, bytes);
    peer_write(p, bytes, sizeof(bytes));
}
