/*
 * See rpc_input.h.
 *
 * A frame over the cap is thrown away as it comes, without being stored; the ninth ends the
 * connection, and so does a header that no peer of ttrpc would send. What is buffered is one frame,
 * charged to the common budget, and half of one has a deadline.
 *
 * Reading does not wait for writing: while output is above the high water frames are still taken, so
 * that Cancel is read. Only when that has gone on for UNREAD_MAX frames nothing more is read until
 * the peer has read, and what one read had brought already is held: a Go or Rust program that asks a
 * thousand things at once is served so, and one that never reads is a stalled reader.
 *
 * Must not: know methods or calls.
 */
#include "frontend/rpc_input.h"

#include <stdio.h>

#include "base/clock.h"
#include "frontend/rpc_output.h"

#define FRAME_USEC     (10 * USEC_PER_SEC) /* from the first byte of a frame to its last */
#define STRIKES_MAX    8                   /* oversized frames before the connection goes */
#define UNREAD_MAX     128         /* frames taken while output is full, before no more are read */
#define HELD_MAX_BYTES (64 * 1024) /* that were read already then: one read of conn.c */

void rpc_input_init(struct rpc_input *input, struct conn *conn,
                    void (*on_frame)(struct conn *c, const struct frame_header *h,
                                     const uint8_t *payload, uint64_t now_usec))
{
    *input = (struct rpc_input) {.conn = conn, .on_frame = on_frame};
    buf_init(&input->in, FRAME_HEADER_BYTES + FRAME_MAX_BYTES + HELD_MAX_BYTES);
}

void rpc_input_done(struct rpc_input *input)
{
    buf_done(&input->in);
}

bool rpc_input_is_paused(const struct rpc_input *input)
{
    return input->n_unread > UNREAD_MAX;
}

bool rpc_input_is_mid_frame(const struct rpc_input *input)
{
    return input->in.len > 0 || input->discard_bytes > 0;
}

static bool charge(const struct rpc_input *input, size_t in_bytes, size_t out_bytes)
{
    size_t high = input->conn->high_bytes;

    return conn_charge(input->conn, in_bytes + (out_bytes > high ? out_bytes - high : 0));
}

bool rpc_input_charge(const struct rpc_input *input, size_t out_bytes)
{
    return charge(input, input->in.len, out_bytes);
}

/* ---------------------------------------------------------------- frames */

/*
 * The header says more than we take: what follows is thrown away as it comes. Only requests are
 * answered: anything else would end a stream that goes on, or one that is over.
 */
static void refuse_oversized(struct rpc_input *input, const struct frame_header *h,
                             uint64_t now_usec)
{
    struct problem p = {.code = ERRCODE_PAYLOAD_TOO_LARGE};

    if (h->payload_bytes >= FRAME_INSANE_BYTES || ++input->n_strikes > STRIKES_MAX) {
        conn_close(input->conn, now_usec);
        return;
    }
    if (h->type == FRAME_REQUEST) {
        (void) snprintf(p.text, sizeof p.text, "a frame of %u bytes; the limit is %u",
                        h->payload_bytes, FRAME_MAX_BYTES);
        rpc_put_problem(input->conn, h->stream_id, &p);
    }

    size_t here = input->in.len - FRAME_HEADER_BYTES; /* what was held may go on behind it */

    here = here < h->payload_bytes ? here : h->payload_bytes;
    input->discard_bytes = h->payload_bytes - here;
    buf_consume(&input->in, FRAME_HEADER_BYTES + here);
}

/* Every frame may make an answer: counts those that find the output full. */
static void count_unread(struct rpc_input *input, uint64_t now_usec)
{
    if (conn_is_full(input->conn)) {
        conn_flush(input->conn, now_usec); /* it may have read meanwhile */
    }
    if (conn_is_full(input->conn)) {
        input->n_unread++;
    }
}

/*
 * One step: a whole frame out of what is there, or the decision that more must come. false: nothing
 * more to do now.
 */
static bool take_frame(struct rpc_input *input, uint64_t now_usec)
{
    struct conn *c = input->conn;
    struct frame_header h;

    if (input->in.len < FRAME_HEADER_BYTES) {
        return false;
    }
    frame_decode_header((const uint8_t *) buf_ptr(&input->in), &h);
    if (h.payload_bytes > FRAME_MAX_BYTES) {
        refuse_oversized(input, &h, now_usec);
        return c->state == CONN_OPEN;
    }
    if (input->in.len < FRAME_HEADER_BYTES + h.payload_bytes) {
        return false;
    }
    count_unread(input, now_usec);
    if (c->state == CONN_OPEN) {
        const uint8_t *payload = (const uint8_t *) buf_ptr(&input->in) + FRAME_HEADER_BYTES;

        input->on_frame(c, &h, payload, now_usec);
    }
    if (c->state == CONN_OPEN) {
        buf_consume(&input->in, FRAME_HEADER_BYTES + h.payload_bytes);
    }
    return c->state == CONN_OPEN;
}

/* Every whole frame that is there, unless or until paused. true: there was one. */
static bool take_frames(struct rpc_input *input, uint64_t now_usec)
{
    bool took_one = false;

    while (input->conn->state == CONN_OPEN && input->discard_bytes == 0 &&
           !rpc_input_is_paused(input) && take_frame(input, now_usec)) {
        took_one = true;
    }
    return took_one;
}

/* ---------------------------------------------------------------- bytes */

/* How many bytes the frame under way still wants; at least up to the end of its header. */
static size_t wanted(const struct rpc_input *input)
{
    struct frame_header h;

    if (input->in.len < FRAME_HEADER_BYTES) {
        return FRAME_HEADER_BYTES - input->in.len;
    }
    frame_decode_header((const uint8_t *) buf_ptr(&input->in), &h);
    return FRAME_HEADER_BYTES + h.payload_bytes - input->in.len;
}

static size_t discard(struct rpc_input *input, size_t n)
{
    n = n < input->discard_bytes ? n : input->discard_bytes;
    input->discard_bytes -= n;
    return n;
}

static size_t store(struct rpc_input *input, struct str bytes, uint64_t now_usec)
{
    size_t n = rpc_input_is_paused(input) || bytes.len < wanted(input) ? bytes.len : wanted(input);

    if (!charge(input, input->in.len + n, conn_out(input->conn)->len) ||
        buf_append(&input->in, bytes.ptr, n) < 0) {
        /* no memory for this frame, and no way to skip half of it */
        conn_close(input->conn, now_usec);
        return 0;
    }
    return n;
}

/* Half a frame has a deadline, which begins with it; but not while it is we who do not read. */
static void watch_frame(struct rpc_input *input, bool is_another, uint64_t now_usec)
{
    struct conn *c = input->conn;

    if (c->state != CONN_OPEN) {
        return;
    }
    if (!rpc_input_is_mid_frame(input)) {
        buf_trim(&input->in);
        (void) rpc_input_charge(input, conn_out(c)->len);
        conn_set_deadline(c, USEC_NEVER);
    } else if (rpc_input_is_paused(input)) {
        conn_set_deadline(c, USEC_NEVER);
    } else if (is_another) {
        conn_set_deadline(c, usec_add(now_usec, FRAME_USEC));
    }
}

void rpc_input_bytes(struct rpc_input *input, struct str bytes, uint64_t now_usec)
{
    bool is_another = !rpc_input_is_mid_frame(input);

    while (bytes.len > 0 && input->conn->state == CONN_OPEN) {
        size_t n =
            input->discard_bytes > 0 ? discard(input, bytes.len) : store(input, bytes, now_usec);

        bytes.ptr += n;
        bytes.len -= n;
        is_another = take_frames(input, now_usec) || is_another;
    }
    watch_frame(input, is_another, now_usec);
}

/* The end of a pause. What was held is not taken from here but in the turn, which follows. */
void rpc_input_drained(struct rpc_input *input, uint64_t now_usec)
{
    if (rpc_input_is_paused(input) && rpc_input_is_mid_frame(input)) {
        conn_set_deadline(input->conn, usec_add(now_usec, FRAME_USEC));
    }
    input->n_unread = 0;
    (void) rpc_input_charge(input, conn_out(input->conn)->len);
}

void rpc_input_turn(struct rpc_input *input, uint64_t now_usec)
{
    if (take_frames(input, now_usec)) {
        watch_frame(input, true, now_usec);
    }
}
