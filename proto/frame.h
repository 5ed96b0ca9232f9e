#pragma once
/*
 * ttrpc frames and their two envelopes, encoded by hand. Linked by the daemon and by libsluice;
 * knows neither. Source of the format: containerd/ttrpc PROTOCOL.md, channel.go, request.proto.
 *
 *   0       4            8      9       10
 *   | length | stream id  | type | flags | payload ...
 *
 * Length and id are big-endian; the length is without the header.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_BYTES 10
#define FRAME_MAX_BYTES    (4u << 20)  /* of payload: ttrpc's limit, inclusive */
#define FRAME_INSANE_BYTES (16u << 20) /* from here byte 0 is not 0: no peer that speaks ttrpc */
#define FRAME_MAX_NAME     128         /* bytes of a service or method name that we look at */

enum frame_type { FRAME_REQUEST = 1, FRAME_RESPONSE = 2, FRAME_DATA = 3 };
enum frame_flag { FRAME_REMOTE_CLOSED = 0x01, FRAME_REMOTE_OPEN = 0x02, FRAME_NO_DATA = 0x04 };

struct frame_header {
    uint32_t payload_bytes;
    uint32_t stream_id;
    uint8_t type;
    uint8_t flags;
};

/* Borrowed bytes inside an envelope. */
struct frame_slice {
    const uint8_t *ptr;
    size_t len;
};

struct frame_request {
    struct frame_slice service, method, payload;
    int64_t timeout_nano; /* relative; 0: none; negative: already over */
};

struct frame_response {
    int32_t code;                   /* google.rpc.Code; 0 also when status is absent */
    struct frame_slice message;     /* of the status */
    struct frame_slice detail;      /* value of status.details[0]; empty when there is none */
    struct frame_slice detail_type; /* its type_url */
    struct frame_slice payload;
};

void frame_encode_header(const struct frame_header *h, uint8_t out[FRAME_HEADER_BYTES]);
void frame_decode_header(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *ret);

/*
 * Envelopes from bytes. 0 or -EBADMSG: malformed protobuf, or service/method not UTF-8, with NUL,
 * or over FRAME_MAX_NAME. Unknown fields are skipped.
 */
int frame_decode_request(const uint8_t *bytes, size_t n, struct frame_request *ret);
int frame_decode_response(const uint8_t *bytes, size_t n, struct frame_response *ret);

/*
 * Envelopes to bytes. size: what encode will write. encode writes exactly that into out. Absent
 * fields (empty slices, code 0) are not written. A response with a code != 0 never carries a
 * payload.
 */
size_t frame_request_size(const struct frame_request *r);
size_t frame_encode_request(const struct frame_request *r, uint8_t *out);
size_t frame_response_size(const struct frame_response *r);
size_t frame_encode_response(const struct frame_response *r, uint8_t *out);
