/*
 * Frames of the RPC to a connection's output: whole ones only. What cannot be written whole closes
 * the connection, as nothing may follow half a frame.
 *
 * Strict out: errors are a Response with a status, its detail and no payload; a success carries no
 * status. Called from wake-ups and from within backends alike, so nothing here calls into core.
 */
#include "frontend/rpc_output.h"

#include <assert.h>
#include <stdlib.h>

#include "wire/rpc_msg.h"

#define DETAIL_MAX_BYTES 1024

/*
 * A frame around bytes that are still to be written: the header is reserved, filled in afterwards.
 */
void rpc_put_frame(struct conn *c, uint32_t id, uint8_t type, uint8_t flags, struct str payload)
{
    struct frame_header h = {
        .payload_bytes = (uint32_t) payload.len, .stream_id = id, .type = type, .flags = flags};
    uint8_t header[FRAME_HEADER_BYTES];
    struct buf *out = conn_out(c);

    if (c->state != CONN_OPEN) {
        return;
    }
    assert(payload.len <= FRAME_MAX_BYTES);
    frame_encode_header(&h, header);
    if (buf_room(out) < sizeof header + payload.len || buf_append(out, header, sizeof header) < 0 ||
        buf_append_str(out, payload) < 0) {
        conn_close_later(c); /* half a frame must not be followed by anything */
        return;
    }
    conn_flush_later(c);
}

static void put_response(struct conn *c, uint32_t id, const struct frame_response *response)
{
    size_t n = frame_response_size(response);
    uint8_t *bytes = malloc(n + 1);

    if (!bytes) {
        conn_close_later(c);
        return;
    }
    (void) frame_encode_response(response, bytes);
    rpc_put_frame(c, id, FRAME_RESPONSE, 0, (struct str) {(const char *) bytes, n});
    free(bytes);
}

void rpc_put_payload(struct conn *c, uint32_t id, struct str payload)
{
    struct frame_response response = {.payload = {(const uint8_t *) payload.ptr, payload.len}};

    put_response(c, id, &response);
}

void rpc_put_error(struct conn *c, uint32_t id, const struct rpc_error *error)
{
    static const char type_url[] = "type.googleapis.com/sluice.v1.ErrorDetail";
    const struct errcode_info *info = errcode_info(error->code);
    struct str text = error->text.len > 0 ? error->text : str_from(info->text);

    /* a text that was cut to fit: Go refuses a frame that is not UTF-8 */
    text.len -= str_utf8_tail(text);
    text = str_is_utf8(text) ? text : str_from(info->text);
    struct frame_response response = {
        .code = info->ttrpc_code,
        .message = {(const uint8_t *) text.ptr, text.len},
    };
    struct buf detail;

    buf_init(&detail, DETAIL_MAX_BYTES);
    if (rpc_encode_error_detail(error->code, error->retry_after_usec, error->param,
                                error->request_id, &detail) == 0) {
        response.detail = (struct frame_slice) {(const uint8_t *) buf_ptr(&detail), detail.len};
        response.detail_type =
            (struct frame_slice) {(const uint8_t *) type_url, sizeof type_url - 1};
    } /* out of memory: the status must do without its detail */
    put_response(c, id, &response);
    buf_done(&detail);
}

void rpc_put_problem(struct conn *c, uint32_t id, const struct problem *p)
{
    rpc_put_error(c, id,
                  &(struct rpc_error) {
                      .code = p->code, .text = str_from(p->text), .param = str_from(p->param)});
}

void rpc_put_code(struct conn *c, uint32_t id, enum errcode code)
{
    rpc_put_problem(c, id, &(struct problem) {.code = code});
}
