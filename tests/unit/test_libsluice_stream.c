/*
 * libsluice's streams: how a good answer is told event by event, and where it ends.
 */
#include "libsluice_calls.h"

/* ---------------------------------------------------------------- good answers */

START_TEST(a_chat_goes_out_as_one_request_frame)
{
    static struct peer_request r;
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    ck_assert(peer_receive(&p, &r));
    ck_assert_uint_eq(r.header.stream_id, 1);
    ck_assert_uint_eq(r.header.flags, FRAME_REMOTE_CLOSED);
    ck_assert_uint_eq(r.envelope.service.len, strlen("sluice.v1.Engine"));
    ck_assert(peer_is_method(&r, "Chat"));

    Sluice__V1__ChatRequest *msg =
        sluice__v1__chat_request__unpack(NULL, r.envelope.payload.len, r.envelope.payload.ptr);

    ck_assert_ptr_nonnull(msg);
    ck_assert_str_eq(msg->model, "m");
    ck_assert_uint_eq(msg->n_messages, 1);
    ck_assert_str_eq(msg->messages[0]->text, "hi");
    ck_assert_str_eq(msg->options->request_id, sluice_call_request_id(call));
    ck_assert_uint_ge(strlen(msg->options->request_id), 20);
    sluice__v1__chat_request__free_unpacked(msg, NULL);

    sluice_call *second = start_models(&p);

    ck_assert(peer_receive(&p, &r));
    ck_assert_uint_eq(r.header.stream_id, 3);
    ck_assert_uint_eq(r.header.flags, 0);
    ck_assert_str_eq(sluice_call_request_id(second), "");
    sluice_call_free(second);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_whole_answer_is_told_event_by_event)
{
    uint8_t bytes[256];
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    ck_assert_int_eq(step(&p, call), -EAGAIN);
    peer_send(&p, 1, FRAME_DATA, 0, bytes, peer_started_event(bytes, 1, "m", "d0"));
    peer_send_text(&p, 1, 2, "Hel");
    peer_send_text(&p, 1, 3, "lo");
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_STARTED);
    ck_assert_str_eq(sluice_call_deployment(call), "d0");
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_TEXT);
    assert_text(call, "Hel");
    ck_assert_int_eq(sluice_call_channel(call), SLUICE_CHANNEL_ANSWER);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_TEXT);
    assert_text(call, "lo");
    ck_assert_int_eq(step(&p, call), -EAGAIN);
    assert_text(call, "lo"); /* the current event stays while there is no other */
    peer_send_done(&p, 1, 4);
    peer_send_end(&p, 1);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    assert_text(call, "");
    ck_assert_uint_eq(sluice_call_n_choices(call), 2);
    ck_assert_str_eq(sluice_finish_reason_name(sluice_call_finish_reason(call, 1)), "length");
    ck_assert_int_eq(sluice_call_finish_reason(call, 2), SLUICE_FINISH_UNKNOWN);
    ck_assert(sluice_call_has_usage(call));
    ck_assert_uint_eq(sluice_call_input_tokens(call), 7);
    ck_assert_uint_eq(sluice_call_cached_input_tokens(call), 3);
    ck_assert_uint_eq(sluice_call_output_tokens(call), 9);
    ck_assert_uint_eq(sluice_call_reasoning_output_tokens(call), 4);
    ck_assert_uint_eq(sluice_call_queue_usec(call), 10);
    ck_assert_uint_eq(sluice_call_first_token_usec(call), 20);
    ck_assert_uint_eq(sluice_call_total_usec(call), 30);
    ck_assert_str_eq(sluice_call_model(call), "m"); /* kept from STARTED */
    ck_assert_int_eq(step(&p, call), 0);
    ck_assert(!was_cancelled(&p, call));
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

static size_t whole_answer(uint8_t *out)
{
    uint8_t bytes[256];
    size_t n = 0;

    n += peer_frame(out + n, 1, FRAME_DATA, 0, bytes, peer_started_event(bytes, 1, "m", "d"));
    n += peer_frame(out + n, 1, FRAME_DATA, 0, bytes, peer_text_event(bytes, 2, "abc"));
    n += peer_frame(out + n, 1, FRAME_DATA, 0, bytes, peer_done_event(bytes, 3));
    n += peer_frame(out + n, 1, FRAME_DATA, FRAME_REMOTE_CLOSED | FRAME_NO_DATA, NULL, 0);
    return n;
}

START_TEST(bytes_may_come_one_by_one)
{
    uint8_t answer[1024];
    size_t n = whole_answer(answer);
    struct peer p;
    char seen[16] = "";

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    for (size_t i = 0; i < n; i++) {
        peer_write(&p, answer + i, 1);

        int ev = step(&p, call);

        if (ev > 0) {
            (void) snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%d", ev);
        }
    }
    ck_assert_str_eq(seen, "236");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_connection_cut_anywhere_ends_the_call_once)
{
    uint8_t answer[1024];
    size_t n = whole_answer(answer);

    for (size_t cut = 0; cut <= n; cut++) {
        struct peer p;
        int last = 0, ev, n_last = 0;

        peer_open(&p);

        sluice_call *call = start_chat(&p);
        sluice_call *idle = start_models(&p);

        peer_write(&p, answer, cut);
        peer_hang_up(&p);
        while ((ev = sluice_call_next(call)) > 0) { /* must not block: the other end is closed */
            n_last += ev == SLUICE_EVENT_DONE || ev == SLUICE_EVENT_FAILED;
            last = ev;
        }
        ck_assert_int_eq(ev, 0);
        ck_assert_int_eq(n_last, 1);
        /*
         * Done and its whole frame are there from the last frame on: the answer is complete, the
         * end frame is a formality.
         */
        ck_assert_int_eq(last,
                         cut >= n - FRAME_HEADER_BYTES ? SLUICE_EVENT_DONE : SLUICE_EVENT_FAILED);
        if (last == SLUICE_EVENT_FAILED) {
            ck_assert_str_eq(sluice_call_error_code(call), "connection_lost");
            ck_assert_int_eq(sluice_call_error_http_status(call), 503);
        }
        ck_assert_int_eq(sluice_call_next(idle), SLUICE_EVENT_FAILED);
        ck_assert_int_eq(sluice_call_next(idle), 0);
        ck_assert_int_eq(sluice_client_process(p.client), -ENOTCONN);
        ck_assert(!sluice_client_is_connected(p.client));
        ck_assert_int_eq(sluice_client_get_events(p.client), 0);
        ck_assert_int_eq(sluice_client_wait(p.client, UINT64_MAX), -ENOTCONN);
        sluice_call_free(call);
        sluice_call_free(idle);
        peer_close(&p);
    }
}
END_TEST

START_TEST(calls_run_side_by_side)
{
    struct peer p;

    peer_open(&p);

    sluice_call *a = start_chat(&p);
    sluice_call *b = start_chat(&p);

    ck_assert_ptr_null(sluice_client_ready_call(p.client));
    peer_send_text(&p, 3, 1, "b1");
    peer_send_text(&p, 1, 1, "a1");
    peer_send_done(&p, 3, 2);
    peer_send_end(&p, 3);
    (void) peer_process(&p);

    sluice_call *first = sluice_client_ready_call(p.client);
    sluice_call *then = sluice_client_ready_call(p.client);

    ck_assert_ptr_ne(first, then); /* in turn */
    ck_assert_int_eq(step(&p, a), SLUICE_EVENT_TEXT);
    assert_text(a, "a1");
    ck_assert_int_eq(step(&p, b), SLUICE_EVENT_TEXT);
    assert_text(b, "b1");
    ck_assert_int_eq(step(&p, b), SLUICE_EVENT_DONE);
    ck_assert_int_eq(step(&p, a), -EAGAIN);
    ck_assert_ptr_null(sluice_client_ready_call(p.client));
    ck_assert_uint_eq(sluice_client_counter(p.client, SLUICE_COUNTER_CALLS_OPEN), 1);
    ck_assert_uint_eq(sluice_client_counter(p.client, SLUICE_COUNTER_CALLS_STARTED), 2);
    ck_assert_uint_eq(sluice_client_counter(p.client, SLUICE_COUNTER_FRAMES_RECEIVED), 4);
    ck_assert_uint_eq(sluice_client_counter(p.client, SLUICE_COUNTER_FRAMES_SENT), 2);
    ck_assert_uint_gt(sluice_client_counter(p.client, SLUICE_COUNTER_BYTES_SENT), 2);
    ck_assert_uint_gt(sluice_client_counter(p.client, SLUICE_COUNTER_BYTES_RECEIVED), 40);
    ck_assert_uint_eq(sluice_client_counter(p.client, 4711), 0);
    sluice_call_set_userdata(a, &p);
    ck_assert_ptr_eq(sluice_call_userdata(a), &p);
    ck_assert_ptr_eq(sluice_call_client(a), p.client);
    sluice_call_free(a);
    sluice_call_free(b);
    peer_close(&p);
}
END_TEST

START_TEST(every_kind_of_event_has_its_values)
{
    float values[] = {0.5F, -1.25F};
    Sluice__V1__Event ev;
    Sluice__V1__Queued queued;
    Sluice__V1__TextDelta text;
    Sluice__V1__ToolCallDelta tool;
    Sluice__V1__Embedding embedding;
    Sluice__V1__Result result;
    char id[] = "id1", name[] = "fn", args[] = "{\"a\":", logprobs[] = "[1]";
    uint8_t bytes[256], think[] = {0xe2, 0x82}; /* half a character is legal */
    struct peer p;
    size_t n;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    sluice__v1__event__init(&ev);
    sluice__v1__queued__init(&queued);
    sluice__v1__text_delta__init(&text);
    sluice__v1__tool_call_delta__init(&tool);
    sluice__v1__embedding__init(&embedding);

    queued.position = 5;
    ev = (Sluice__V1__Event) {
        .base = ev.base, .seq = 1, .kind_case = SLUICE__V1__EVENT__KIND_QUEUED, .queued = &queued};
    peer_send(&p, 1, FRAME_DATA, 0, bytes, peer_pack(&ev.base, bytes));
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_QUEUED);
    ck_assert_uint_eq(sluice_call_queue_position(call), 5);

    text.text = (ProtobufCBinaryData) {.len = 2, .data = think};
    text.channel = SLUICE__V1__CHANNEL__CHANNEL_THINKING;
    text.choice = 2;
    text.logprobs_json = logprobs;
    ev = (Sluice__V1__Event) {
        .base = ev.base, .seq = 2, .kind_case = SLUICE__V1__EVENT__KIND_TEXT, .text = &text};
    peer_send(&p, 1, FRAME_DATA, 0, bytes, peer_pack(&ev.base, bytes));
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_TEXT);
    assert_text(call, "\xe2\x82");
    ck_assert_int_eq(sluice_call_channel(call), SLUICE_CHANNEL_THINKING);
    ck_assert_uint_eq(sluice_call_choice(call), 2);
    ck_assert_str_eq(sluice_call_logprobs_json(call, &n), "[1]");
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(sluice_call_queue_position(call), 0); /* of another event */

    tool.choice = 1;
    tool.index = 3;
    tool.id = id;
    tool.name = name;
    tool.arguments_json = args;
    ev = (Sluice__V1__Event) {.base = ev.base,
                              .seq = 3,
                              .kind_case = SLUICE__V1__EVENT__KIND_TOOL_CALL,
                              .tool_call = &tool};
    peer_send(&p, 1, FRAME_DATA, 0, bytes, peer_pack(&ev.base, bytes));
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_TOOL_CALL);
    ck_assert_uint_eq(sluice_call_choice(call), 1);
    ck_assert_uint_eq(sluice_call_tool_index(call), 3);
    ck_assert_str_eq(sluice_call_tool_id(call), "id1");
    ck_assert_str_eq(sluice_call_tool_name(call), "fn");
    ck_assert_str_eq(sluice_call_tool_arguments(call, &n), "{\"a\":");
    ck_assert_uint_eq(n, 5);

    embedding.index = 4;
    embedding.n_values = 2;
    embedding.values = values;
    ev = (Sluice__V1__Event) {.base = ev.base,
                              .seq = 4,
                              .kind_case = SLUICE__V1__EVENT__KIND_EMBEDDING,
                              .embedding = &embedding};
    peer_send(&p, 1, FRAME_DATA, 0, bytes, peer_pack(&ev.base, bytes));
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_EMBEDDING);
    ck_assert_uint_eq(sluice_call_embedding_index(call), 4);
    ck_assert(sluice_call_embedding(call, &n)[1] == -1.25F);
    ck_assert_uint_eq(n, 2);
    ck_assert_str_eq(sluice_call_tool_id(call), "");

    sluice__v1__result__init(&result);
    result.index = 9;
    result.score = -2.5;
    result.json = logprobs;
    ev = (Sluice__V1__Event) {
        .base = ev.base, .seq = 5, .kind_case = SLUICE__V1__EVENT__KIND_RESULT, .result = &result};
    peer_send(&p, 1, FRAME_DATA, 0, bytes, peer_pack(&ev.base, bytes));
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_RESULT);
    ck_assert_uint_eq(sluice_call_result_index(call), 9);
    ck_assert(sluice_call_result_score(call) == -2.5);
    ck_assert_str_eq(sluice_call_result_json(call, &n), "[1]");
    ck_assert_uint_eq(n, 3);
    ck_assert_uint_eq(sluice_call_embedding_index(call), 0);

    /* a kind that a newer daemon invents is skipped, but it counts */
    ev = (Sluice__V1__Event) {.base = ev.base, .seq = 6};
    peer_send(&p, 1, FRAME_DATA, 0, bytes, peer_pack(&ev.base, bytes));
    ck_assert_int_eq(step(&p, call), -EAGAIN);
    peer_send_done(&p, 1, 7);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    (void) sluice_call_embedding(call, &n);
    ck_assert_uint_eq(n, 0);
    ck_assert_str_eq(sluice_call_result_json(call, &n), "");
    ck_assert(n == 0 && sluice_call_result_index(call) == 0 && sluice_call_result_score(call) == 0);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

/* ---------------------------------------------------------------- how answers end */

START_TEST(an_end_without_done_is_a_cut_answer)
{
    struct peer p;

    peer_open(&p);

    sluice_call *a = start_chat(&p);
    sluice_call *b = start_chat(&p);
    struct frame_response ok = {0};

    peer_send_text(&p, 1, 1, "half an ans");
    peer_send_end(&p, 1);
    ck_assert_int_eq(step(&p, a), SLUICE_EVENT_TEXT);
    assert_failed(&p, a, "answer_cut");
    peer_send_response(&p, 3, &ok); /* some servers end streams with an empty success */
    assert_failed(&p, b, "answer_cut");
    sluice_call_free(a);
    sluice_call_free(b);
    peer_close(&p);
}
END_TEST

START_TEST(a_close_frame_may_carry_the_last_message)
{
    uint8_t bytes[256];
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    peer_send_text(&p, 1, 1, "x");
    peer_send(&p, 1, FRAME_DATA, FRAME_REMOTE_CLOSED, bytes, peer_done_event(bytes, 2));
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_TEXT);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    sluice_call_free(call);

    call = start_chat(&p); /* stream 3: a close without the no-data flag and without bytes */
    peer_send_done(&p, 3, 1);
    peer_send(&p, 3, FRAME_DATA, FRAME_REMOTE_CLOSED, NULL, 0);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    ck_assert_int_eq(step(&p, call), 0);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(what_follows_the_end_is_ignored)
{
    struct frame_response error = {.code = 13};
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    peer_send_done(&p, 1, 1);
    peer_send_text(&p, 1, 2, "after Done");
    peer_send_end(&p, 1);
    peer_send_text(&p, 1, 3, "after the end");
    peer_send_response(&p, 1, &error);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    ck_assert_int_eq(step(&p, call), 0);
    ck_assert(sluice_client_is_connected(p.client));
    sluice_call_free(call);

    call = start_chat(&p);
    peer_send_response(&p, 3, &error);
    peer_send_text(&p, 3, 1, "after the error");
    peer_send_end(&p, 3);
    assert_failed(&p, call, "internal_error");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_gap_in_the_numbers_is_an_error)
{
    static const uint64_t second[] = {3, 1, 0, UINT64_MAX};

    for (size_t i = 0; i < ARRAY_LEN(second); i++) {
        struct peer p;

        peer_open(&p);

        sluice_call *call = start_chat(&p);

        peer_send_text(&p, 1, 1, "one");
        peer_send_text(&p, 1, second[i], "not two");
        peer_send_done(&p, 1, second[i] + 1);
        peer_send_end(&p, 1);
        ck_assert_int_eq(step(&p, call), SLUICE_EVENT_TEXT);
        assert_failed(&p, call, "bad_answer");
        ck_assert_ptr_nonnull(strstr(sluice_call_error_message(call), "after event 1"));
        sluice_call_free(call);
        peer_close(&p);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_chat_goes_out_as_one_request_frame);
    tcase_add_test(tc, a_whole_answer_is_told_event_by_event);
    tcase_add_test(tc, bytes_may_come_one_by_one);
    tcase_add_test(tc, a_connection_cut_anywhere_ends_the_call_once);
    tcase_add_test(tc, calls_run_side_by_side);
    tcase_add_test(tc, every_kind_of_event_has_its_values);
    tcase_add_test(tc, an_end_without_done_is_a_cut_answer);
    tcase_add_test(tc, a_close_frame_may_carry_the_last_message);
    tcase_add_test(tc, what_follows_the_end_is_ignored);
    tcase_add_test(tc, a_gap_in_the_numbers_is_an_error);
}

TEST_MAIN("libsluice_stream", add_tests)
