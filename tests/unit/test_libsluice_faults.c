/*
 * libsluice and what goes wrong at the other end: errors that it tells, frames that it should not
 * send.
 */
#include "libsluice_calls.h"

/* ---------------------------------------------------------------- errors */

START_TEST(an_error_tells_everything_about_itself)
{
    char code[] = "queue_full", param[] = "messages[0]";
    struct peer p;
    Sluice__V1__ErrorDetail detail;

    peer_open(&p);
    sluice__v1__error_detail__init(&detail);
    detail.code = code;
    detail.param = param;
    detail.http_status = 503;
    detail.retry_after_usec = 2500000;

    sluice_call *call = start_chat(&p);

    ck_assert_str_eq(sluice_call_error_code(call), "");
    peer_send_text(&p, 1, 1, "some");
    peer_send_error(&p, 1, 14, "the queue is full (64 wait)", &detail);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_TEXT);
    assert_failed(&p, call, "queue_full");
    ck_assert_str_eq(sluice_call_error_message(call), "the queue is full (64 wait)");
    ck_assert_str_eq(sluice_call_error_param(call), "messages[0]");
    ck_assert_int_eq(sluice_call_error_http_status(call), 503);
    ck_assert_int_eq(sluice_call_error_rpc_status(call), 14);
    ck_assert(sluice_call_error_is_retryable(call));
    ck_assert_uint_eq(sluice_call_error_retry_after_usec(call), 2500000);
    ck_assert(!was_cancelled(&p, call)); /* the daemon knows */
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(errors_of_foreign_servers_are_understood)
{
    static const struct {
        int32_t status;
        const char *code;
    } cases[] = {{1, "cancelled"},       {3, "invalid_request"},  {4, "deadline_exceeded"},
                 {5, "not_found"},       {12, "not_implemented"}, {2, "internal_error"},
                 {-7, "internal_error"}, {99, "internal_error"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct frame_response res = {.code = cases[i].status};
        struct peer p;

        peer_open(&p);

        sluice_call *call = start_models(&p);

        peer_send_response(&p, 1, &res); /* no message, no detail */
        assert_failed(&p, call, cases[i].code);
        ck_assert_int_eq(sluice_call_error_rpc_status(call), cases[i].status);
        sluice_call_free(call);
        peer_close(&p);
    }
}
END_TEST

START_TEST(error_texts_are_cut_between_characters)
{
    static char text[2001];
    struct peer p;

    for (size_t i = 0; i + 1 < sizeof(text); i += 2) {
        memcpy(text + i, "\xc3\xa4", 2);
    }
    peer_open(&p);

    sluice_call *call = start_models(&p);
    struct frame_response res = {
        .code = 5,
        .message = {(const uint8_t *) text, 2000},
        .detail = {(const uint8_t *) "\xff\xff", 2}}; /* and a detail that is none */

    peer_send_response(&p, 1, &res);
    assert_failed(&p, call, "not_found");
    ck_assert_uint_eq(strlen(sluice_call_error_message(call)) % 2, 0);
    ck_assert_uint_ge(strlen(sluice_call_error_message(call)), 500);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(an_error_with_a_payload_is_an_error)
{
    /* what our encoder refuses to write */
    static const char envelope[] = "\x0a\x02\x08\x05\x12\x02xx";
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_models(&p);

    peer_send(&p, 1, FRAME_RESPONSE, 0, envelope, sizeof(envelope) - 1);
    assert_failed(&p, call, "not_found");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

/* ---------------------------------------------------------------- bad peers */

START_TEST(unknown_types_and_streams_are_ignored)
{
    static const uint32_t strangers[] = {0, 2, 5, 4711, UINT32_MAX};
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    for (size_t i = 0; i < ARRAY_LEN(strangers); i++) {
        peer_send_text(&p, strangers[i], 1, "for nobody");
        peer_send_end(&p, strangers[i]);
    }
    peer_send(&p, 1, 0x04, 0xff, "future", 6);
    peer_send(&p, 1, 0, 0, NULL, 0);
    peer_send(&p, 1, FRAME_REQUEST, 0, "request", 7);
    peer_send(&p, 1, FRAME_DATA, FRAME_NO_DATA, NULL, 0); /* no message in it */
    ck_assert_int_eq(step(&p, call), -EAGAIN);
    peer_send_done(&p, 1, 1);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(an_oversized_frame_fails_its_call_only)
{
    static uint8_t chunk[32768];
    uint32_t left = FRAME_MAX_BYTES + 1;
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);
    sluice_call *other = start_chat(&p);

    send_header(&p, left, 1);
    while (left > 0) {
        uint32_t n = left < sizeof(chunk) ? left : (uint32_t) sizeof(chunk);

        peer_write(&p, chunk, n);
        left -= n;
        (void) peer_process(&p);
    }
    peer_send_done(&p, 3, 1);
    assert_failed(&p, call, "bad_answer");
    ck_assert(was_cancelled(&p, call));
    ck_assert_int_eq(step(&p, other), SLUICE_EVENT_DONE);
    sluice_call_free(call);
    sluice_call_free(other);
    peer_close(&p);
}
END_TEST

START_TEST(the_largest_frame_is_taken)
{
    static uint8_t chunk[32768];
    uint32_t left = FRAME_MAX_BYTES;
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    send_header(&p, left, 1);
    while (left > 0) {
        uint32_t n = left < sizeof(chunk) ? left : (uint32_t) sizeof(chunk);

        peer_write(&p, chunk, n);
        left -= n;
        (void) peer_process(&p);
    }
    assert_failed(&p, call, "bad_answer"); /* zeros are no message; but it was read */
    ck_assert(sluice_client_is_connected(p.client));
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(an_insane_header_ends_the_connection)
{
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    peer_write(&p, "HTTP/1.1 400 Bad Request\r\n", 26);
    assert_failed(&p, call, "connection_lost");
    ck_assert(!sluice_client_is_connected(p.client));

    sluice_request *req;
    sluice_call *next;

    ck_assert_int_eq(sluice_models_new(&req), 0);
    ck_assert_int_eq(sluice_call_start(p.client, req, &next), -ENOTCONN);
    sluice_request_free(req);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(data_for_a_unary_call_is_a_bad_answer)
{
    struct frame_response ok = {0};
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_models(&p);

    peer_send_text(&p, 1, 1, "text");
    peer_send_response(&p, 1, &ok);
    assert_failed(&p, call, "bad_answer");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(events_and_replies_that_do_not_decode_are_bad_answers)
{
    struct frame_response bad = {.payload = {(const uint8_t *) "\x0a\xff", 2}};
    struct peer p;

    peer_open(&p);

    sluice_call *stream = start_chat(&p);
    sluice_call *unary = start_models(&p);
    sluice_call *torn = start_models(&p);

    peer_send(&p, 1, FRAME_DATA, 0, "\x08", 1);
    peer_send_response(&p, 3, &bad);
    peer_send(&p, 5, FRAME_RESPONSE, 0, "\x0a\x05\x08", 3);
    assert_failed(&p, stream, "bad_answer");
    ck_assert(was_cancelled(&p, stream)); /* it went on for all the daemon knew */
    assert_failed(&p, unary, "bad_answer");
    assert_failed(&p, torn, "bad_answer");
    sluice_call_free(stream);
    sluice_call_free(unary);
    sluice_call_free(torn);
    peer_close(&p);
}
END_TEST

START_TEST(a_message_that_blows_up_is_refused)
{
    /* Event with 30,000 unknown fields: 100 bytes of memory for each two bytes */
    static uint8_t bomb[60000];
    struct peer p;

    for (size_t i = 0; i < sizeof(bomb); i += 2) {
        bomb[i] = 15 << 3;
        bomb[i + 1] = 1;
    }
    peer_open(&p);

    sluice_call *call = start_chat(&p);

    peer_send(&p, 1, FRAME_DATA, 0, bomb, sizeof(bomb));
    assert_failed(&p, call, "bad_answer");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_program_that_does_not_read_loses_the_call_not_the_memory)
{
    static uint8_t bytes[60000];
    struct peer p;
    size_t sent = 0;
    int ev, n_text = 0;

    /* field 15 of an Event, as bytes: unknown and large */
    bytes[0] = 15 << 3 | 2;
    bytes[1] = 0xdc;
    bytes[2] = 0xd4;
    bytes[3] = 0x03; /* 60,000 - 4 */
    peer_open(&p);

    sluice_call *call = start_chat(&p);

    peer_send_text(&p, 1, 1, "first");
    for (; sent < (20u << 20) && sluice_client_counter(p.client, SLUICE_COUNTER_CALLS_OPEN) == 1;
         sent += sizeof(bytes)) {
        peer_send(&p, 1, FRAME_DATA, 0, bytes, sizeof(bytes));
        (void) peer_process(&p);
    }
    ck_assert_uint_gt(sent, 7u << 20);
    ck_assert_uint_lt(sent, 9u << 20);
    ck_assert(was_cancelled(&p, call));
    while ((ev = sluice_call_try_next(call)) > 0) {
        n_text += ev == SLUICE_EVENT_TEXT;
    }
    ck_assert_int_eq(ev, 0);
    ck_assert_int_eq(n_text, 1);
    ck_assert_int_eq(sluice_call_event(call), SLUICE_EVENT_FAILED);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, an_error_tells_everything_about_itself);
    tcase_add_test(tc, errors_of_foreign_servers_are_understood);
    tcase_add_test(tc, error_texts_are_cut_between_characters);
    tcase_add_test(tc, an_error_with_a_payload_is_an_error);
    tcase_add_test(tc, unknown_types_and_streams_are_ignored);
    tcase_add_test(tc, an_oversized_frame_fails_its_call_only);
    tcase_add_test(tc, the_largest_frame_is_taken);
    tcase_add_test(tc, an_insane_header_ends_the_connection);
    tcase_add_test(tc, data_for_a_unary_call_is_a_bad_answer);
    tcase_add_test(tc, events_and_replies_that_do_not_decode_are_bad_answers);
    tcase_add_test(tc, a_message_that_blows_up_is_refused);
    tcase_add_test(tc, a_program_that_does_not_read_loses_the_call_not_the_memory);
}

TEST_MAIN("libsluice_faults", add_tests)
