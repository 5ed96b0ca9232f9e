/*
 * Fuzzes proto/frame.c: both envelope decoders on any bytes; what decodes must encode into exactly
 * the promised size and decode to the same again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

static bool is_same(struct frame_slice a, struct frame_slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static void check_request(const uint8_t *bytes, size_t n)
{
    struct frame_request req, back;

    if (frame_decode_request(bytes, n, &req) < 0) {
        return;
    }
    assert(req.service.len <= FRAME_MAX_NAME && req.method.len <= FRAME_MAX_NAME);

    size_t size = frame_request_size(&req);
    uint8_t *out = malloc(size + 1);

    assert(out && frame_encode_request(&req, out) == size);
    assert(frame_decode_request(out, size, &back) == 0);
    assert(is_same(req.service, back.service) && is_same(req.method, back.method));
    assert(is_same(req.payload, back.payload) && req.timeout_nano == back.timeout_nano);
    free(out);
}

static void check_response(const uint8_t *bytes, size_t n)
{
    struct frame_response res, back;

    if (frame_decode_response(bytes, n, &res) < 0) {
        return;
    }

    size_t size = frame_response_size(&res);
    uint8_t *out = malloc(size + 1);

    assert(out && frame_encode_response(&res, out) == size);
    assert(frame_decode_response(out, size, &back) == 0);
    assert(res.code == back.code);
    if (res.code == 0) {
        assert(is_same(res.payload, back.payload));
    } else {
        assert(back.payload.len == 0 && is_same(res.message, back.message));
        assert(is_same(res.detail, back.detail) && is_same(res.detail_type, back.detail_type));
    }
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
    if (n >= FRAME_HEADER_BYTES) {
        struct frame_header h;
        uint8_t again[FRAME_HEADER_BYTES];

        frame_decode_header(bytes, &h);
        frame_encode_header(&h, again);
        assert(memcmp(bytes, again, sizeof(again)) == 0);
    }
    check_request(bytes, n);
    check_response(bytes, n);
    return 0;
}
