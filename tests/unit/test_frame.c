/* proto/frame.h: headers and envelopes, byte by byte. */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "proto/frame.h"

#define SLICE(z) ((struct frame_slice) {(const uint8_t *) (z), sizeof(z) - 1})

static void assert_slice(struct frame_slice s, const char *z)
{
    ck_assert_uint_eq(s.len, strlen(z));
    ck_assert(s.len == 0 || memcmp(s.ptr, z, s.len) == 0);
}

/*
 * Decodes from memory that ends right behind the bytes, so that AddressSanitizer sees a read too
 * far.
 */
static int decode_request(const void *bytes, size_t n, struct frame_request *ret,
                          uint8_t **ret_copy)
{
    *ret_copy = malloc(n + (n == 0));
    ck_assert_ptr_nonnull(*ret_copy);
    memcpy(*ret_copy, bytes, n);
    return frame_decode_request(*ret_copy, n, ret);
}

static int request_verdict(const void *bytes, size_t n)
{
    struct frame_request req = {.timeout_nano = 4711};
    uint8_t *copy;
    int r = decode_request(bytes, n, &req, &copy);

    if (r < 0) {
        ck_assert_int_eq(req.timeout_nano, 4711); /* failure leaves the output alone */
    }
    free(copy);
    return r;
}
#define REQUEST_VERDICT(z) request_verdict((z), sizeof(z) - 1)

static int response_verdict(const void *bytes, size_t n)
{
    struct frame_response res = {.code = 4711};
    uint8_t *copy = malloc(n + (n == 0));

    ck_assert_ptr_nonnull(copy);
    memcpy(copy, bytes, n);

    int r = frame_decode_response(copy, n, &res);

    if (r < 0) {
        ck_assert_int_eq(res.code, 4711);
    }
    free(copy);
    return r;
}
#define RESPONSE_VERDICT(z) response_verdict((z), sizeof(z) - 1)

START_TEST(header_is_big_endian)
{
    struct frame_header h = {
        .payload_bytes = 0x01020304, .stream_id = 0xa0b0c0d0, .type = FRAME_DATA, .flags = 5};
    uint8_t bytes[FRAME_HEADER_BYTES];
    static const uint8_t want[] = {1, 2, 3, 4, 0xa0, 0xb0, 0xc0, 0xd0, 3, 5};
    struct frame_header back;

    frame_encode_header(&h, bytes);
    ck_assert_mem_eq(bytes, want, sizeof(want));
    frame_decode_header(bytes, &back);
    ck_assert_uint_eq(back.payload_bytes, h.payload_bytes);
    ck_assert_uint_eq(back.stream_id, h.stream_id);
    ck_assert_uint_eq(back.type, h.type);
    ck_assert_uint_eq(back.flags, h.flags);
}
END_TEST

START_TEST(header_keeps_what_it_does_not_know)
{
    static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0x7f, 0xff};
    struct frame_header h;

    frame_decode_header(bytes, &h);
    ck_assert_uint_eq(h.payload_bytes, UINT32_MAX);
    ck_assert_uint_eq(h.stream_id, 0);
    ck_assert_uint_eq(h.type, 0x7f);
    ck_assert_uint_eq(h.flags, 0xff);
}
END_TEST

START_TEST(request_has_the_bytes_of_the_specification)
{
    struct frame_request req = {.service = SLICE("a.B"),
                                .method = SLICE("C"),
                                .payload = SLICE("\x08\x01"),
                                .timeout_nano = 300};
    static const char want[] = "\x0a\x03"
                               "a.B\x12\x01"
                               "C\x1a\x02\x08\x01\x20\xac\x02";
    uint8_t bytes[64];

    ck_assert_uint_eq(frame_request_size(&req), sizeof(want) - 1);
    ck_assert_uint_eq(frame_encode_request(&req, bytes), sizeof(want) - 1);
    ck_assert_mem_eq(bytes, want, sizeof(want) - 1);
}
END_TEST

static void assert_request_round_trip(const struct frame_request *req)
{
    size_t n = frame_request_size(req);
    uint8_t *bytes = malloc(n + 1);
    struct frame_request back;

    ck_assert_ptr_nonnull(bytes);
    bytes[n] = 0x5a;
    ck_assert_uint_eq(frame_encode_request(req, bytes), n);
    ck_assert_uint_eq(bytes[n], 0x5a);
    ck_assert_int_eq(frame_decode_request(bytes, n, &back), 0);
    ck_assert_uint_eq(back.service.len, req->service.len);
    ck_assert_uint_eq(back.method.len, req->method.len);
    ck_assert_uint_eq(back.payload.len, req->payload.len);
    ck_assert_int_eq(back.timeout_nano, req->timeout_nano);
    ck_assert(req->payload.len == 0 ||
              memcmp(back.payload.ptr, req->payload.ptr, req->payload.len) == 0);
    free(bytes);
}

START_TEST(requests_round_trip)
{
    static const int64_t timeouts[] = {0, 1, 127, 128, -1, INT64_MAX, INT64_MIN};
    static const size_t sizes[] = {0, 1, 127, 128, 16383, 16384, FRAME_MAX_BYTES};
    uint8_t *payload = calloc(1, FRAME_MAX_BYTES);

    ck_assert_ptr_nonnull(payload);
    memset(payload, 0xee, FRAME_MAX_BYTES);
    for (size_t i = 0; i < ARRAY_LEN(timeouts); i++) {
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            struct frame_request req = {.service = SLICE("sluice.v1.Engine"),
                                        .method = SLICE("Chat"),
                                        .payload = {payload, sizes[k]},
                                        .timeout_nano = timeouts[i]};

            assert_request_round_trip(&req);
        }
    }
    free(payload);
}
END_TEST

START_TEST(empty_envelopes_are_valid)
{
    struct frame_request req = {.timeout_nano = 1};
    struct frame_response res = {.code = 1};

    ck_assert_int_eq(frame_decode_request(NULL, 0, &req), 0);
    ck_assert_int_eq(req.timeout_nano, 0);
    ck_assert_uint_eq(req.service.len, 0);
    ck_assert_int_eq(frame_decode_response(NULL, 0, &res), 0);
    ck_assert_int_eq(res.code, 0);

    struct frame_response none = {0};
    uint8_t nothing[1];

    ck_assert_uint_eq(frame_response_size(&none), 0);
    ck_assert_uint_eq(frame_encode_response(&none, nothing), 0);
}
END_TEST

START_TEST(unknown_fields_of_every_wire_type_are_skipped)
{
    /*
     * 5: metadata {key, value}; 6 varint; 7 fixed64; 8 fixed32; 1000 (two-byte tag); service behind
     * all of them
     */
    static const char bytes[] = "\x2a\x08\x0a\x01k\x12\x03val\x30\xff\x01"
                                "\x39"
                                "12345678\x45"
                                "1234\xc2\x3e\x02xy\x0a\x01s\x12\x01m";
    struct frame_request req;

    ck_assert_int_eq(frame_decode_request((const uint8_t *) bytes, sizeof(bytes) - 1, &req), 0);
    assert_slice(req.service, "s");
    assert_slice(req.method, "m");
}
END_TEST

START_TEST(a_known_number_with_another_wire_type_is_unknown)
{
    static const char bytes[] = "\x08\x07\x0a\x01s\x12\x01m\x22\x01x"; /* 1 as varint, 4 as bytes */
    struct frame_request req;

    ck_assert_int_eq(frame_decode_request((const uint8_t *) bytes, sizeof(bytes) - 1, &req), 0);
    assert_slice(req.service, "s");
    ck_assert_int_eq(req.timeout_nano, 0);
}
END_TEST

START_TEST(the_last_of_a_repeated_field_wins)
{
    static const char bytes[] = "\x0a\x01s\x0a\x02zz\x12\x01m\x20\x05\x20\x06";
    struct frame_request req;

    ck_assert_int_eq(frame_decode_request((const uint8_t *) bytes, sizeof(bytes) - 1, &req), 0);
    assert_slice(req.service, "zz");
    ck_assert_int_eq(req.timeout_nano, 6);
}
END_TEST

START_TEST(malformed_requests_are_refused)
{
    ck_assert_int_eq(REQUEST_VERDICT("\x0a"), -EBADMSG);      /* tag, then nothing */
    ck_assert_int_eq(REQUEST_VERDICT("\x0a\x02s"), -EBADMSG); /* length beyond the end */
    ck_assert_int_eq(REQUEST_VERDICT("\x00\x01"), -EBADMSG);  /* field number 0 */
    ck_assert_int_eq(REQUEST_VERDICT("\x20\x80"), -EBADMSG);  /* varint without its end */
    ck_assert_int_eq(REQUEST_VERDICT("\x39"
                                     "1234567"),
                     -EBADMSG);
    ck_assert_int_eq(REQUEST_VERDICT("\x45"
                                     "123"),
                     -EBADMSG);
    ck_assert_int_eq(REQUEST_VERDICT("\x0b\x0c"), -EBADMSG); /* a group */
    ck_assert_int_eq(REQUEST_VERDICT("\x0e"), -EBADMSG);     /* wire type 6 */
    ck_assert_int_eq(REQUEST_VERDICT("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01s"), -EBADMSG);
    ck_assert_int_eq(REQUEST_VERDICT("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"), -EBADMSG);
    ck_assert_int_eq(REQUEST_VERDICT("\x20\xff\xff\xff\xff\xff\xff\xff\xff\xff\x81\x01"), -EBADMSG);
    /* tag over 32 bits */
    ck_assert_int_eq(REQUEST_VERDICT("\x88\x80\x80\x80\x80\x01\x01"), -EBADMSG);
}
END_TEST

START_TEST(names_must_be_utf8_without_nul_and_short)
{
    ck_assert_int_eq(REQUEST_VERDICT("\x0a\x02\xc3\xa4"), 0);
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x04\xf0\x9f\x98\x80"), 0);
    ck_assert_int_eq(REQUEST_VERDICT("\x0a\x02s\0"), -EBADMSG);
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x01\x80"), -EBADMSG);
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x02\xc0\xaf"), -EBADMSG);         /* overlong */
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x03\xe0\x80\xaf"), -EBADMSG);     /* overlong */
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x03\xed\xa0\x80"), -EBADMSG);     /* surrogate */
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x04\xf4\x90\x80\x80"), -EBADMSG); /* beyond U+10FFFF */
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x04\xf0\x80\x80\x80"), -EBADMSG); /* overlong */
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x03\xf0\x9f\x98"), -EBADMSG);     /* cut */
    ck_assert_int_eq(REQUEST_VERDICT("\x12\x03\xe2\x82z"), -EBADMSG);

    char bytes[3 + FRAME_MAX_NAME + 1];

    memset(bytes, 'x', sizeof(bytes));
    bytes[0] = 0x0a;
    bytes[1] = (char) (0x80 | (FRAME_MAX_NAME & 0x7f));
    bytes[2] = FRAME_MAX_NAME >> 7;
    ck_assert_int_eq(request_verdict(bytes, 3 + FRAME_MAX_NAME), 0);
    bytes[1]++;
    ck_assert_int_eq(request_verdict(bytes, 3 + FRAME_MAX_NAME + 1), -EBADMSG);
}
END_TEST

START_TEST(success_is_a_payload_without_status)
{
    struct frame_response res = {.payload = SLICE("pq"), .message = SLICE("not sent")};
    uint8_t bytes[16];
    struct frame_response back;

    ck_assert_uint_eq(frame_response_size(&res), 4);
    ck_assert_uint_eq(frame_encode_response(&res, bytes), 4);
    ck_assert_mem_eq(bytes, "\x12\x02pq", 4);
    ck_assert_int_eq(frame_decode_response(bytes, 4, &back), 0);
    ck_assert_int_eq(back.code, 0);
    assert_slice(back.payload, "pq");
}
END_TEST

START_TEST(an_error_is_a_status_without_payload)
{
    struct frame_response res = {.code = 14,
                                 .message = SLICE("busy"),
                                 .detail = SLICE("D"),
                                 .detail_type = SLICE("t/u"),
                                 .payload = SLICE("not sent")};
    static const char want[] = "\x0a\x12\x08\x0e\x12\x04"
                               "busy\x1a\x08\x0a\x03t/u\x12\x01"
                               "D";
    uint8_t bytes[64];
    struct frame_response back;

    ck_assert_uint_eq(frame_response_size(&res), sizeof(want) - 1);
    ck_assert_uint_eq(frame_encode_response(&res, bytes), sizeof(want) - 1);
    ck_assert_mem_eq(bytes, want, sizeof(want) - 1);
    ck_assert_int_eq(frame_decode_response(bytes, sizeof(want) - 1, &back), 0);
    ck_assert_int_eq(back.code, 14);
    assert_slice(back.message, "busy");
    assert_slice(back.detail, "D");
    assert_slice(back.detail_type, "t/u");
    assert_slice(back.payload, "");
}
END_TEST

START_TEST(odd_codes_and_long_messages_round_trip)
{
    static const int32_t codes[] = {1, 16, 127, 128, INT32_MAX, -1, INT32_MIN};
    static char text[5000];

    memset(text, 'm', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        for (size_t n = 0; n < sizeof(text); n += 617) {
            struct frame_response res = {.code = codes[i],
                                         .message = {(const uint8_t *) text, n},
                                         .detail = {(const uint8_t *) text, n / 2}};
            size_t size = frame_response_size(&res);
            uint8_t *bytes = malloc(size);
            struct frame_response back;

            ck_assert_ptr_nonnull(bytes);
            ck_assert_uint_eq(frame_encode_response(&res, bytes), size);
            ck_assert_int_eq(frame_decode_response(bytes, size, &back), 0);
            ck_assert_int_eq(back.code, codes[i]);
            ck_assert_uint_eq(back.message.len, n);
            ck_assert_uint_eq(back.detail.len, n / 2);
            free(bytes);
        }
    }
}
END_TEST

START_TEST(foreign_servers_answer_in_other_ways)
{
    struct frame_response res;

    /* ttrpc-rust sends an empty status beside the payload */
    ck_assert_int_eq(frame_decode_response((const uint8_t *) "\x0a\x00\x12\x01p", 5, &res), 0);
    ck_assert_int_eq(res.code, 0);
    assert_slice(res.payload, "p");

    /* an error with a payload: both are seen, the caller looks at the code */
    ck_assert_int_eq(frame_decode_response((const uint8_t *) "\x12\x01p\x0a\x02\x08\x05", 7, &res),
                     0);
    ck_assert_int_eq(res.code, 5);
    assert_slice(res.payload, "p");

    /* two statuses merge; only the first detail counts */
    static const char twice[] = "\x0a\x0a\x08\x05\x1a\x06\x0a\x01t\x12\x01"
                                "1\x0a\x0a\x12\x01m\x1a\x05\x12\x03"
                                "two";

    ck_assert_int_eq(frame_decode_response((const uint8_t *) twice, sizeof(twice) - 1, &res), 0);
    ck_assert_int_eq(res.code, 5);
    assert_slice(res.message, "m");
    assert_slice(res.detail, "1");
    assert_slice(res.detail_type, "t");
}
END_TEST

START_TEST(malformed_responses_are_refused)
{
    ck_assert_int_eq(RESPONSE_VERDICT("\x0a\x02\x08"), -EBADMSG);
    ck_assert_int_eq(RESPONSE_VERDICT("\x0a\x01\x08"), -EBADMSG); /* cut inside the status */
    /* cut inside the detail */
    ck_assert_int_eq(RESPONSE_VERDICT("\x0a\x03\x1a\x01\x0a"), -EBADMSG);
    /* the 2nd one too */
    ck_assert_int_eq(RESPONSE_VERDICT("\x0a\x05\x1a\x00\x1a\x01\x0a"), -EBADMSG);
    ck_assert_int_eq(RESPONSE_VERDICT("\x12"), -EBADMSG);
    ck_assert_int_eq(RESPONSE_VERDICT("\x13"), -EBADMSG);
}
END_TEST

START_TEST(every_cut_of_a_valid_envelope_is_harmless)
{
    struct frame_response res = {
        .code = 8, .message = SLICE("m"), .detail = SLICE("dd"), .detail_type = SLICE("t")};
    struct frame_request req = {.service = SLICE("s"), .method = SLICE("m"), .timeout_nano = -5};
    uint8_t bytes[64];
    size_t n = frame_encode_response(&res, bytes);

    for (size_t i = 1; i < n; i++) {
        ck_assert_int_eq(response_verdict(bytes, i), -EBADMSG); /* one length-delimited field */
    }
    n = frame_encode_request(&req, bytes);
    for (size_t i = 0; i < n; i++) {
        int r = request_verdict(bytes, i);

        ck_assert(r == 0 || r == -EBADMSG);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, header_is_big_endian);
    tcase_add_test(tc, header_keeps_what_it_does_not_know);
    tcase_add_test(tc, request_has_the_bytes_of_the_specification);
    tcase_add_test(tc, requests_round_trip);
    tcase_add_test(tc, empty_envelopes_are_valid);
    tcase_add_test(tc, unknown_fields_of_every_wire_type_are_skipped);
    tcase_add_test(tc, a_known_number_with_another_wire_type_is_unknown);
    tcase_add_test(tc, the_last_of_a_repeated_field_wins);
    tcase_add_test(tc, malformed_requests_are_refused);
    tcase_add_test(tc, names_must_be_utf8_without_nul_and_short);
    tcase_add_test(tc, success_is_a_payload_without_status);
    tcase_add_test(tc, an_error_is_a_status_without_payload);
    tcase_add_test(tc, odd_codes_and_long_messages_round_trip);
    tcase_add_test(tc, foreign_servers_answer_in_other_ways);
    tcase_add_test(tc, malformed_responses_are_refused);
    tcase_add_test(tc, every_cut_of_a_valid_envelope_is_harmless);
}

TEST_MAIN("frame", add_tests)
