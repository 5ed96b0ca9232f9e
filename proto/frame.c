/*
 * See frame.h. Header and envelopes only: the payload inside an envelope is somebody else's
 * message.
 *
 * Why by hand: an envelope has five fields, and a generated decoder would copy each of them and
 * allocate for every metadata entry and unknown field that a peer cares to send. Here decoding is
 * one pass that keeps slices into the caller's bytes, so memory does not depend on the input and
 * nothing can fail but the input itself.
 *
 * Decoding follows protobuf's rules: fields in any order, the last of a repeated scalar wins, a
 * sub-message that comes twice is merged, a known number with an unexpected wire type counts as
 * unknown, unknown fields are skipped. Groups were never part of proto3 and are malformed here.
 * Encoding writes fields in the order of their numbers.
 *
 * Owns nothing, allocates nothing, must not know what a service is or whether a stream is open.
 */
#include "proto/frame.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum wire_type { WIRE_VARINT = 0, WIRE_I64 = 1, WIRE_LEN = 2, WIRE_I32 = 5 };

#define VARINT_MAX_BYTES 10 /* 64 bits, 7 in each byte */

/* Field numbers of ttrpc's request.proto, google.rpc.Status and google.protobuf.Any. */
enum { REQUEST_SERVICE = 1, REQUEST_METHOD = 2, REQUEST_PAYLOAD = 3, REQUEST_TIMEOUT_NANO = 4 };
enum { RESPONSE_STATUS = 1, RESPONSE_PAYLOAD = 2 };
enum { STATUS_CODE = 1, STATUS_MESSAGE = 2, STATUS_DETAILS = 3 };
enum { ANY_TYPE_URL = 1, ANY_VALUE = 2 };

/* ---------------------------------------------------------------- header */

static void put_u32(uint8_t *out, uint32_t v)
{
    out[0] = (uint8_t) (v >> 24);
    out[1] = (uint8_t) (v >> 16);
    out[2] = (uint8_t) (v >> 8);
    out[3] = (uint8_t) v;
}

static uint32_t u32_at(const uint8_t *in)
{
    return (uint32_t) in[0] << 24 | (uint32_t) in[1] << 16 | (uint32_t) in[2] << 8 | in[3];
}

void frame_encode_header(const struct frame_header *h, uint8_t out[FRAME_HEADER_BYTES])
{
    put_u32(out, h->payload_bytes);
    put_u32(out + 4, h->stream_id);
    out[8] = h->type;
    out[9] = h->flags;
}

void frame_decode_header(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *ret)
{
    *ret = (struct frame_header) {
        .payload_bytes = u32_at(in), .stream_id = u32_at(in + 4), .type = in[8], .flags = in[9]};
}

/* ---------------------------------------------------------------- reading protobuf */

struct reader {
    const uint8_t *at, *end; /* borrowed */
};

struct field {
    uint64_t varint; /* value of a WIRE_VARINT */
    struct frame_slice bytes;
    uint32_t number;
    enum wire_type type;
};

static int read_varint(struct reader *r, uint64_t *ret)
{
    uint64_t v = 0;

    for (unsigned i = 0; i < VARINT_MAX_BYTES && r->at < r->end; i++) {
        uint8_t byte = *r->at++;

        if (i == VARINT_MAX_BYTES - 1 && byte > 1) {
            return -EBADMSG; /* bits beyond the 64th */
        }
        v |= (uint64_t) (byte & 0x7f) << (7 * i);
        if (byte < 0x80) {
            *ret = v;
            return 0;
        }
    }
    return -EBADMSG;
}

static int read_bytes(struct reader *r, uint64_t n, struct frame_slice *ret)
{
    if (n > (size_t) (r->end - r->at)) {
        return -EBADMSG;
    }
    *ret = (struct frame_slice) {r->at, (size_t) n};
    r->at += n;
    return 0;
}

/* 1 with the next field, 0 at the end, -EBADMSG. */
static int read_field(struct reader *r, struct field *ret)
{
    uint64_t tag, len;
    struct field f = {0};

    if (r->at == r->end) {
        return 0;
    }
    if (read_varint(r, &tag) < 0 || tag > UINT32_MAX || tag >> 3 == 0) {
        return -EBADMSG;
    }
    f.number = (uint32_t) (tag >> 3);
    f.type = (enum wire_type)(tag & 7);

    bool is_ok = false;

    if (f.type == WIRE_VARINT) {
        is_ok = read_varint(r, &f.varint) == 0;
    } else if (f.type == WIRE_LEN) {
        is_ok = read_varint(r, &len) == 0 && read_bytes(r, len, &f.bytes) == 0;
    } else if (f.type == WIRE_I64) {
        is_ok = read_bytes(r, 8, &f.bytes) == 0;
    } else if (f.type == WIRE_I32) {
        is_ok = read_bytes(r, 4, &f.bytes) == 0;
    }
    if (!is_ok) {
        return -EBADMSG;
    }
    *ret = f;
    return 1;
}

static struct reader reader_of(struct frame_slice s)
{
    static const uint8_t nothing[1];

    return s.len > 0 ? (struct reader) {s.ptr, s.ptr + s.len} : (struct reader) {nothing, nothing};
}

/* ---------------------------------------------------------------- names */

/* Length of the UTF-8 sequence at p (n > 0 bytes left), 0 when it is none: no overlong forms, no
 * surrogates (RFC 3629). */
static size_t utf8_len(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80, high = 0xbf; /* bounds of the second byte */
    size_t len;

    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (n < len || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

static bool is_name(struct frame_slice s)
{
    if (s.len > FRAME_MAX_NAME) {
        return false;
    }
    for (size_t i = 0; i < s.len;) {
        size_t len = s.ptr[i] == '\0' ? 0 : utf8_len(s.ptr + i, s.len - i);

        if (len == 0) {
            return false;
        }
        i += len;
    }
    return true;
}

/* ---------------------------------------------------------------- decoding */

int frame_decode_request(const uint8_t *bytes, size_t n, struct frame_request *ret)
{
    struct reader in = reader_of((struct frame_slice) {bytes, n});
    struct frame_request req = {0};
    struct field f;
    int r;

    assert(bytes || n == 0);
    while ((r = read_field(&in, &f)) > 0) {
        if (f.number == REQUEST_SERVICE && f.type == WIRE_LEN) {
            req.service = f.bytes;
        } else if (f.number == REQUEST_METHOD && f.type == WIRE_LEN) {
            req.method = f.bytes;
        } else if (f.number == REQUEST_PAYLOAD && f.type == WIRE_LEN) {
            req.payload = f.bytes;
        } else if (f.number == REQUEST_TIMEOUT_NANO && f.type == WIRE_VARINT) {
            req.timeout_nano = (int64_t) f.varint;
        }
    }
    if (r < 0) {
        return r;
    }
    if (!is_name(req.service) || !is_name(req.method)) {
        return -EBADMSG;
    }
    *ret = req;
    return 0;
}

static int decode_any(struct frame_slice any, struct frame_response *res)
{
    struct reader in = reader_of(any);
    struct field f;
    int r;

    while ((r = read_field(&in, &f)) > 0) {
        if (f.number == ANY_TYPE_URL && f.type == WIRE_LEN) {
            res->detail_type = f.bytes;
        } else if (f.number == ANY_VALUE && f.type == WIRE_LEN) {
            res->detail = f.bytes;
        }
    }
    return r;
}

/* has_detail: details[0] was seen already; later ones are checked for form only. */
static int decode_status(struct frame_slice status, struct frame_response *res, bool *has_detail)
{
    struct reader in = reader_of(status);
    struct field f;
    int r;

    while ((r = read_field(&in, &f)) > 0) {
        if (f.number == STATUS_CODE && f.type == WIRE_VARINT) {
            res->code = (int32_t) (uint32_t) f.varint;
        } else if (f.number == STATUS_MESSAGE && f.type == WIRE_LEN) {
            res->message = f.bytes;
        } else if (f.number == STATUS_DETAILS && f.type == WIRE_LEN) {
            struct frame_response other = {0};

            if (decode_any(f.bytes, *has_detail ? &other : res) < 0) {
                return -EBADMSG;
            }
            *has_detail = true;
        }
    }
    return r;
}

int frame_decode_response(const uint8_t *bytes, size_t n, struct frame_response *ret)
{
    struct reader in = reader_of((struct frame_slice) {bytes, n});
    struct frame_response res = {0};
    bool has_detail = false;
    struct field f;
    int r;

    assert(bytes || n == 0);
    while ((r = read_field(&in, &f)) > 0) {
        if (f.number == RESPONSE_STATUS && f.type == WIRE_LEN) {
            if (decode_status(f.bytes, &res, &has_detail) < 0) {
                return -EBADMSG;
            }
        } else if (f.number == RESPONSE_PAYLOAD && f.type == WIRE_LEN) {
            res.payload = f.bytes;
        }
    }
    if (r < 0) {
        return r;
    }
    *ret = res;
    return 0;
}

/* ---------------------------------------------------------------- encoding */

static size_t varint_size(uint64_t v)
{
    size_t n = 1;

    for (; v >= 0x80; v >>= 7) {
        n++;
    }
    return n;
}

/* Size of a field with n bytes in it. All field numbers here are below 16: the tag is one byte. */
static size_t len_size(size_t n)
{
    return 1 + varint_size(n) + n;
}

static size_t slice_size(struct frame_slice s)
{
    return s.len > 0 ? len_size(s.len) : 0;
}

static uint8_t *put_varint(uint8_t *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7) {
        *out++ = (uint8_t) (v | 0x80);
    }
    *out++ = (uint8_t) v;
    return out;
}

static uint8_t *put_tag(uint8_t *out, unsigned number, enum wire_type type)
{
    *out++ = (uint8_t) (number << 3 | type);
    return out;
}

static uint8_t *put_len(uint8_t *out, unsigned number, size_t n)
{
    return put_varint(put_tag(out, number, WIRE_LEN), n);
}

static uint8_t *put_slice(uint8_t *out, unsigned number, struct frame_slice s)
{
    if (s.len == 0) {
        return out;
    }
    out = put_len(out, number, s.len);
    memcpy(out, s.ptr, s.len);
    return out + s.len;
}

size_t frame_request_size(const struct frame_request *r)
{
    size_t n = slice_size(r->service) + slice_size(r->method) + slice_size(r->payload);

    return n + (r->timeout_nano != 0 ? 1 + varint_size((uint64_t) r->timeout_nano) : 0);
}

size_t frame_encode_request(const struct frame_request *r, uint8_t *out)
{
    uint8_t *at = out;

    at = put_slice(at, REQUEST_SERVICE, r->service);
    at = put_slice(at, REQUEST_METHOD, r->method);
    at = put_slice(at, REQUEST_PAYLOAD, r->payload);
    if (r->timeout_nano != 0) {
        at = put_varint(put_tag(at, REQUEST_TIMEOUT_NANO, WIRE_VARINT), (uint64_t) r->timeout_nano);
    }
    return (size_t) (at - out);
}

static size_t any_size(const struct frame_response *r)
{
    return slice_size(r->detail_type) + slice_size(r->detail);
}

/* A negative int32 is sent sign-extended to 64 bits. */
static uint64_t code_varint(const struct frame_response *r)
{
    return (uint64_t) (int64_t) r->code;
}

static size_t status_size(const struct frame_response *r)
{
    size_t any = any_size(r);

    return 1 + varint_size(code_varint(r)) + slice_size(r->message) + (any > 0 ? len_size(any) : 0);
}

size_t frame_response_size(const struct frame_response *r)
{
    return r->code != 0 ? len_size(status_size(r)) : slice_size(r->payload);
}

size_t frame_encode_response(const struct frame_response *r, uint8_t *out)
{
    uint8_t *at = out;

    /*
     * Go's client decodes the payload before it looks at the status, and success carries no status
     * at all.
     */
    if (r->code == 0) {
        return (size_t) (put_slice(at, RESPONSE_PAYLOAD, r->payload) - out);
    }
    at = put_len(at, RESPONSE_STATUS, status_size(r));
    at = put_varint(put_tag(at, STATUS_CODE, WIRE_VARINT), code_varint(r));
    at = put_slice(at, STATUS_MESSAGE, r->message);
    if (any_size(r) > 0) {
        at = put_len(at, STATUS_DETAILS, any_size(r));
        at = put_slice(at, ANY_TYPE_URL, r->detail_type);
        at = put_slice(at, ANY_VALUE, r->detail);
    }
    return (size_t) (at - out);
}
