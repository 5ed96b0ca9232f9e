#pragma once
/*
 * One call, seen from inside: the client delivers frames to it and closes it; the program takes
 * events from it. A call belongs to the program (sluice_call_free()) and is on its client's list
 * from start to free.
 */
#include <protobuf-c/protobuf-c.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "failure.h"
#include "request.h"
#include "sluice.h"

/* More that was received and not taken ends the call as stalled_reader: reading never waits for the
 * program. Twice the largest frame. */
#define CALL_MAX_UNREAD_BYTES (2 * (size_t) FRAME_MAX_BYTES)

/* A Data or Response frame that was received whole. */
struct call_frame {
    struct call_frame *next; /* call.first_frame .. last_frame */
    struct frame_header header;
    uint8_t bytes[]; /* header.payload_bytes */
};

enum call_state {
    CALL_OPEN, /* frames may come */
    /* no more frames; what came is still to be taken, then `closed_by` tells the end */
    CALL_CLOSED,
    CALL_OVER, /* the last event was taken */
    _CALL_STATE_MAX
};

struct sluice_call {
    sluice_client *client;    /* borrowed; NULL once freed */
    sluice_call *prev, *next; /* client->first_call .. last_call */
    enum call_state state;    /* written by call_set_state() only */
    enum failure_kind closed_by;
    enum request_kind kind;
    uint32_t stream_id;
    uint64_t last_seq;

    struct call_frame *first_frame, *last_frame; /* owned, received and not taken */
    size_t unread_bytes;

    int event;               /* the current one, enum sluice_event */
    ProtobufCMessage *reply; /* owned: the message of the current event; NULL without one */
    ProtobufCMessage
        *started; /* owned: the Event with STARTED, for model and deployment; NULL before */
    struct failure failure;

    /*
     * Set by any thread, cleared by the client when it tells the daemon. Not a state: the call goes
     * on until its answer.
     */
    atomic_bool is_cancel_wanted;
    bool is_cancel_sent;
    uint64_t give_up_at_usec; /* the library ends it then by itself; USEC_NEVER */

    char request_id[REQUEST_ID_MAX_BYTES + 1]; /* "" for kinds without one */
    void *userdata;                            /* borrowed */
    int rows;                                  /* enum sluice_rows: which are read */
};

/* request_id: NUL-terminated, copied. NULL: no memory. */
sluice_call *call_new(sluice_client *client, enum request_kind kind, uint32_t stream_id,
                      const char *request_id);

/* Room for a frame's body, to be filled and delivered or freed with free(). NULL: no memory. */
struct call_frame *call_frame_new(const struct frame_header *header);

/* What a frame of an open call means for it. Takes the frame. */
void call_deliver(sluice_call *call, struct call_frame *frame);

/* No more frames will come. An open call only; FAILURE_NONE: the peer ended it. */
void call_close(sluice_call *call, enum failure_kind by);

bool call_has_event(const sluice_call *call);
