/*
 * See traffic.h. The rules that ttrpc leaves to the client, in one place:
 *
 *  - A frame of an unknown type, or for a stream that no open call has, is skipped without
 *    allocating for it: the end frame of a call that was freed, the answer to a Cancel, whatever
 *    newer daemons may send.
 *  - A frame over 4 MiB fails its call and is skipped; a length that no ttrpc peer can mean ends
 *    the connection.
 *  - Reading never waits for writing, nor for a program that does not take its events: what it
 *    leaves unread is bounded in each call. One receive reads at most MAX_READS windows.
 *  - What was received before the end of the connection is delivered before the end.
 */
#include "traffic.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "macros.h"
#include "sluice.pb-c.h"

#define MAX_READS 16 /* windows: 256 KiB */

static int watch_socket(const sluice_client *c, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.fd = c->conn.fd};

    return epoll_ctl(c->epoll_fd, op, c->conn.fd, &ev) < 0 ? -errno : 0;
}

/* ---------------------------------------------------------------- out */

static void trace(const sluice_client *c, char direction, const struct frame_header *h)
{
    if (c->is_tracing) {
        (void) fprintf(stderr, "libsluice: %c stream=%u type=%u flags=0x%02x bytes=%u\n", direction,
                       h->stream_id, h->type, h->flags, h->payload_bytes);
    }
}

static struct frame_slice slice_of(const char *z)
{
    return (struct frame_slice) {(const uint8_t *) z, strlen(z)};
}

int traffic_send_request(sluice_client *c, const struct request_method *m,
                         struct frame_slice payload)
{
    struct frame_request req = {
        .service = slice_of(m->service), .method = slice_of(m->method), .payload = payload};
    size_t n = frame_request_size(&req);
    struct frame_header header = {.payload_bytes = (uint32_t) n,
                                  .stream_id = c->next_stream_id,
                                  .type = FRAME_REQUEST,
                                  .flags = m->is_stream ? FRAME_REMOTE_CLOSED : 0};
    uint8_t *to;

    if (n > FRAME_MAX_BYTES) {
        return -EMSGSIZE;
    }
    if (c->next_stream_id > UINT32_MAX - 2) {
        return -EOVERFLOW;
    }

    int r = conn_queue(&c->conn, &header, m == request_method(REQUEST_CANCEL), &to);

    if (r < 0) {
        return r;
    }
    (void) frame_encode_request(&req, to);
    c->next_stream_id += 2;
    trace(c, '>', &header);
    return 0;
}

/*
 * The socket is watched for room to send only while something waits: else epoll would never sleep.
 */
static void arm_output(sluice_client *c)
{
    bool is_wanted = !c->is_lost && conn_wants_to_send(&c->conn);

    if (c->is_lost || is_wanted == c->is_out_armed) {
        return;
    }
    if (watch_socket(c, EPOLL_CTL_MOD, EPOLLIN | (is_wanted ? EPOLLOUT : 0u)) == 0) {
        c->is_out_armed = is_wanted;
    }
}

int traffic_flush(sluice_client *c)
{
    int progress = conn_send(&c->conn);

    arm_output(c);
    return progress;
}

void traffic_send_cancel(sluice_client *client, sluice_call *call)
{
    uint8_t bytes[REQUEST_ID_MAX_BYTES + 16];
    Sluice__V1__CancelRequest msg;

    if (client->is_lost || call->is_cancel_sent || call->request_id[0] == '\0') {
        return;
    }
    sluice__v1__cancel_request__init(&msg);
    msg.request_id = call->request_id;
    assert(sluice__v1__cancel_request__get_packed_size(&msg) <= sizeof(bytes));

    size_t n = sluice__v1__cancel_request__pack(&msg, bytes);

    /* The answer comes on a stream that no call has: it is ignored. */
    if (traffic_send_request(client, request_method(REQUEST_CANCEL),
                             (struct frame_slice) {bytes, n}) == 0) {
        call->is_cancel_sent = true;
        (void) traffic_flush(client);
    }
}

static sluice_call *find_open(const sluice_client *c, uint32_t stream_id)
{
    for (sluice_call *call = c->first_call; call; call = call->next) {
        if (call->stream_id == stream_id && call->state == CALL_OPEN) {
            return call;
        }
    }
    return NULL;
}

/* ---------------------------------------------------------------- in */

static void lose_connection(sluice_client *c)
{
    c->is_lost = true;
    (void) watch_socket(c, EPOLL_CTL_DEL, 0);
    conn_done(&c->conn);
    free(c->body);
    c->body = NULL;
    for (sluice_call *call = c->first_call; call; call = call->next) {
        if (call->state == CALL_OPEN) {
            call_close(call, FAILURE_CONNECTION_LOST);
        }
    }
}

void traffic_end_call(sluice_client *c, sluice_call *call, enum failure_kind by)
{
    traffic_send_cancel(c, call);
    call_close(call, by);
}

/* Decides where the body goes. Nothing is allocated for a body that nobody waits for or that is too
 * large. */
static void begin_body(sluice_client *c)
{
    const struct frame_header *h = &c->header;
    sluice_call *call = find_open(c, h->stream_id);

    c->is_in_body = true;
    c->body_left = h->payload_bytes;
    c->body = NULL;
    c->body_call = NULL;
    c->frames_received++;
    trace(c, '<', h);
    if (!call || (h->type != FRAME_DATA && h->type != FRAME_RESPONSE)) {
        return;
    }
    if (h->payload_bytes > FRAME_MAX_BYTES) {
        traffic_end_call(c, call, FAILURE_BAD_ANSWER);
        return;
    }
    c->body = call_frame_new(h);
    if (!c->body) {
        traffic_end_call(c, call, FAILURE_OUT_OF_MEMORY);
        return;
    }
    c->body_call = call;
}

static void end_body(sluice_client *c)
{
    struct call_frame *frame = c->body;
    sluice_call *call = c->body_call;

    c->is_in_body = false;
    c->body = NULL;
    c->body_call = NULL;
    if (!call) {
        free(frame);
        return;
    }
    call_deliver(call, frame);
    if (call->state == CALL_CLOSED && call->closed_by != FAILURE_NONE) {
        traffic_send_cancel(c, call);
    }
}

/* Takes one header or one piece of a body out of the window. 1: done; 0: the window has no more;
 * -EPROTO. */
static int take_piece(sluice_client *c)
{
    if (!c->is_in_body) {
        if (!conn_take_header(&c->conn, &c->header)) {
            return 0;
        }
        if (c->header.payload_bytes >= FRAME_INSANE_BYTES) {
            return -EPROTO;
        }
        begin_body(c);
    }

    size_t done = c->header.payload_bytes - c->body_left;
    size_t n = conn_take(&c->conn, c->body ? c->body->bytes + done : NULL, c->body_left);

    c->body_left -= n;
    if (c->body_left > 0) {
        return 0;
    }
    end_body(c);
    return 1;
}

int traffic_receive(sluice_client *c)
{
    int progress = 0;
    int r;

    for (int i = 0; i < MAX_READS; i++) {
        r = conn_receive(&c->conn);
        if (r == 0) {
            break;
        }
        while (r > 0) {
            r = take_piece(c);
        }
        progress = 1;
        if (r < 0) {
            lose_connection(c);
            break;
        }
    }
    return progress;
}
