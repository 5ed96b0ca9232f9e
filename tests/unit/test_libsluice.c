/* libsluice's wire and life cycle: a client against raw frames, good and bad. */
#include "support.h"

#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sys/wait.h>

#include "libsluice_peer.h"

static sluice_call *start(struct peer *p, sluice_request *req)
{
    sluice_call *call;

    ck_assert_int_eq(sluice_call_start(p->client, req, &call), 0);
    sluice_request_free(req);
    return call;
}

static sluice_call *start_chat(struct peer *p)
{
    sluice_request *req;

    ck_assert_int_eq(sluice_chat_new("m", &req), 0);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "hi", 2), 0);
    return start(p, req);
}

static sluice_call *start_models(struct peer *p)
{
    sluice_request *req;

    ck_assert_int_eq(sluice_models_new(&req), 0);
    return start(p, req);
}

/* The next event without waiting. */
static int step(struct peer *p, sluice_call *call)
{
    (void) peer_process(p);
    return sluice_call_try_next(call);
}

static void assert_text(const sluice_call *call, const char *want)
{
    size_t n;
    const char *text = sluice_call_text(call, &n);

    ck_assert_uint_eq(n, strlen(want));
    ck_assert_mem_eq(text, want, n);
}

static void assert_failed(struct peer *p, sluice_call *call, const char *code)
{
    ck_assert_int_eq(step(p, call), SLUICE_EVENT_FAILED);
    ck_assert_str_eq(sluice_call_error_code(call), code);
    ck_assert_str_ne(sluice_call_error_message(call), "");
    ck_assert_int_eq(sluice_call_try_next(call), 0); /* once */
    ck_assert_int_eq(sluice_call_event(call), SLUICE_EVENT_FAILED);
}

/* Did the client send Cancel for this call? */
static bool was_cancelled(struct peer *p, const sluice_call *call)
{
    static struct peer_request r;

    while (peer_receive(p, &r)) {
        Sluice__V1__CancelRequest *msg;

        if (!peer_is_method(&r, "Cancel")) {
            continue;
        }
        msg = sluice__v1__cancel_request__unpack(NULL, r.envelope.payload.len,
                                                 r.envelope.payload.ptr);
        ck_assert_ptr_nonnull(msg);

        bool is_it = strcmp(msg->request_id, sluice_call_request_id(call)) == 0;

        sluice__v1__cancel_request__free_unpacked(msg, NULL);
        if (is_it) {
            return true;
        }
    }
    return false;
}

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

    /* a kind that a newer daemon invents is skipped, but it counts */
    ev = (Sluice__V1__Event) {.base = ev.base, .seq = 5};
    peer_send(&p, 1, FRAME_DATA, 0, bytes, peer_pack(&ev.base, bytes));
    ck_assert_int_eq(step(&p, call), -EAGAIN);
    peer_send_done(&p, 1, 6);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    (void) sluice_call_embedding(call, &n);
    ck_assert_uint_eq(n, 0);
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

static void send_header(struct peer *p, uint32_t payload_bytes, uint32_t stream_id)
{
    struct frame_header h = {
        .payload_bytes = payload_bytes, .stream_id = stream_id, .type = FRAME_DATA};
    uint8_t bytes[FRAME_HEADER_BYTES];

    frame_encode_header(&h, bytes);
    peer_write(p, bytes, sizeof(bytes));
}

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

/* ---------------------------------------------------------------- cancel and free */

START_TEST(cancel_is_a_call_by_request_id)
{
    char code[] = "cancelled";
    struct peer p;
    Sluice__V1__ErrorDetail detail;

    peer_open(&p);
    sluice__v1__error_detail__init(&detail);
    detail.code = code;

    sluice_call *call = start_chat(&p);

    (void) peer_process(&p);
    ck_assert_int_eq(sluice_call_cancel(call), 0);
    ck_assert_int_eq(sluice_call_cancel(call), 0);                 /* twice is once */
    ck_assert_int_eq(sluice_client_wait(p.client, UINT64_MAX), 1); /* it wakes a waiting loop */
    ck_assert_int_eq(step(&p, call), -EAGAIN);
    ck_assert(was_cancelled(&p, call));
    ck_assert(!was_cancelled(&p, call));

    uint64_t at_usec;

    ck_assert_int_eq(sluice_client_get_timeout_usec(p.client, &at_usec), 0);
    ck_assert_uint_ne(at_usec, UINT64_MAX); /* a daemon that never answers is not waited for */
    peer_send_text(&p, 1, 1, "on its way");
    peer_send_error(&p, 1, 1, "the call was cancelled", &detail);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_TEXT);
    assert_failed(&p, call, "cancelled");
    ck_assert_int_eq(sluice_call_cancel(call), 0);
    ck_assert_int_eq(sluice_client_get_timeout_usec(p.client, &at_usec), 0);
    ck_assert_uint_eq(at_usec, UINT64_MAX);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_unary_call_is_cancelled_on_this_side)
{
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_models(&p);

    ck_assert_int_eq(sluice_call_cancel(call), 0);
    assert_failed(&p, call, "cancelled");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

static void *cancel_from_elsewhere(void *call)
{
    ck_assert_int_eq(sluice_call_cancel(call), 0);
    return NULL;
}

START_TEST(another_thread_may_cancel)
{
    struct peer p;
    pthread_t thread;

    peer_open(&p);

    sluice_call *call = start_models(&p);

    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_from_elsewhere, call), 0);
    ck_assert_int_eq(sluice_call_next(call), SLUICE_EVENT_FAILED); /* waits until then */
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert_str_eq(sluice_call_error_code(call), "cancelled");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(freeing_a_running_call_cancels_it)
{
    char id[65];
    static struct peer_request r;
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);

    (void) snprintf(id, sizeof(id), "%s", sluice_call_request_id(call));
    send_header(&p, 100, 1); /* in the middle of a body */
    peer_write(&p, "0123456789", 10);
    (void) peer_process(&p);
    ck_assert_ptr_null(sluice_call_free(call));
    ck_assert(peer_receive(&p, &r) && peer_is_method(&r, "Chat"));
    ck_assert(peer_receive(&p, &r) && peer_is_method(&r, "Cancel"));
    ck_assert_ptr_nonnull(memmem(r.envelope.payload.ptr, r.envelope.payload.len, id, strlen(id)));

    static const uint8_t rest[90];

    peer_write(&p, rest, sizeof(rest));
    peer_send_end(&p, 1);
    (void) peer_process(&p);

    sluice_call *next = start_chat(&p); /* streams 1 and 3 are used up: the Cancel had 3 */

    peer_send_done(&p, 5, 1);
    ck_assert_int_eq(step(&p, next), SLUICE_EVENT_DONE);
    ck_assert_ptr_null(sluice_call_free(next));
    ck_assert(!peer_receive(&p, &r) || !peer_is_method(&r, "Cancel"));
    ck_assert_ptr_null(sluice_call_free(NULL));
    ck_assert_ptr_null(sluice_client_free(NULL));
    ck_assert_ptr_null(sluice_request_free(NULL));
    peer_close(&p);
}
END_TEST

START_TEST(calls_outlive_their_client)
{
    struct peer p;

    peer_open(&p);

    sluice_call *open = start_chat(&p);
    sluice_call *done = start_chat(&p);

    peer_send_text(&p, 1, 1, "unread");
    peer_send_done(&p, 3, 1);
    ck_assert_int_eq(step(&p, done), SLUICE_EVENT_DONE);
    p.client = sluice_client_free(p.client);
    ck_assert_ptr_null(sluice_call_client(open));
    ck_assert_int_eq(sluice_call_next(open), SLUICE_EVENT_TEXT);
    ck_assert_int_eq(sluice_call_next(open), SLUICE_EVENT_FAILED);
    ck_assert_str_eq(sluice_call_error_code(open), "connection_lost");
    ck_assert_int_eq(sluice_call_next(open), 0);
    ck_assert_int_eq(sluice_call_next(done), 0);
    ck_assert_int_eq(sluice_call_cancel(open), 0);
    ck_assert_uint_eq(sluice_call_output_tokens(done), 9);
    sluice_call_free(open);
    sluice_call_free(done);
    peer_close(&p);
}
END_TEST

START_TEST(a_deadline_is_a_time_to_wake_up)
{
    struct peer p;
    sluice_request *req;
    sluice_call *call;
    uint64_t at_usec;

    peer_open(&p);
    ck_assert_int_eq(sluice_chat_new("m", &req), 0);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "x", 1), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_DEADLINE_USEC, 1), 0);
    ck_assert_int_eq(sluice_call_start(p.client, req, &call), 0);
    sluice_request_free(req);
    ck_assert_int_eq(sluice_client_get_timeout_usec(p.client, &at_usec), 0);
    ck_assert_uint_lt(at_usec, UINT64_MAX);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

/* ---------------------------------------------------------------- connection */

/* Reads and forgets what the client sent. */
static uint64_t drain(struct peer *p)
{
    static uint8_t sink[1 << 16];
    uint64_t total = 0;
    ssize_t n;

    while ((n = recv(p->fd, sink, sizeof(sink), MSG_DONTWAIT)) > 0) {
        total += (uint64_t) n;
    }
    return total;
}

START_TEST(a_socket_that_takes_nothing_does_not_stop_reading)
{
    static char prompt[1 << 20];
    struct peer p;
    sluice_request *req;
    sluice_call *call[20];
    size_t n = 0;
    int r = 0;

    memset(prompt, 'p', sizeof(prompt));
    peer_open(&p);
    ck_assert_int_eq(sluice_complete_new("m", prompt, sizeof(prompt), &req), 0);
    while (n < ARRAY_LEN(call) && (r = sluice_call_start(p.client, req, &call[n])) == 0) {
        n++;
    }
    ck_assert_int_eq(r, -ENOBUFS); /* 16 MiB wait */
    ck_assert_uint_ge(n, 15);
    sluice_request_free(req);

    peer_send_text(&p, 1, 1, "read all the same");
    ck_assert_int_eq(step(&p, call[0]), SLUICE_EVENT_TEXT);

    /* cancels are always taken, and everything goes out in the end */
    ck_assert_int_eq(sluice_call_cancel(call[0]), 0);
    (void) peer_process(&p);

    uint64_t total = drain(&p);

    while (sluice_client_counter(p.client, SLUICE_COUNTER_FRAMES_SENT) < n + 1) {
        ck_assert_int_eq(sluice_client_wait(p.client, UINT64_MAX), 1); /* room to send wakes it */
        (void) peer_process(&p);
        total += drain(&p);
    }
    ck_assert_uint_eq(total, sluice_client_counter(p.client, SLUICE_COUNTER_BYTES_SENT));
    for (size_t i = 0; i < n; i++) {
        sluice_call_free(call[i]);
    }
    peer_close(&p);
}
END_TEST

START_TEST(what_was_sent_before_the_end_is_read)
{
    struct frame_response error = {.code = 14};
    struct peer p;

    peer_open(&p);
    peer_send_response(&p, 1, &error);
    peer_hang_up(&p);

    /*
     * sending fails (nobody is there), but the answer that lies in the socket already is the call's
     */
    sluice_call *call = start_models(&p);

    assert_failed(&p, call, "upstream_overloaded");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_child_process_is_refused)
{
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);
    pid_t pid = fork();

    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        sluice_request *req;
        sluice_call *other;
        int bad = 0;

        bad |= sluice_client_process(p.client) != -ECHILD;
        bad |= sluice_client_wait(p.client, 0) != -ECHILD;
        bad |= sluice_client_get_fd(p.client) != -ECHILD;
        bad |= sluice_call_next(call) != -ECHILD;
        bad |= sluice_call_try_next(call) != -ECHILD;
        bad |= sluice_call_cancel(call) != -ECHILD;
        bad |= sluice_models_new(&req) != 0 || sluice_call_start(p.client, req, &other) != -ECHILD;
        sluice_request_free(req);
        sluice_call_free(call);
        sluice_client_free(p.client);
        _exit(bad);
    }

    int status = -1;

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
    ck_assert(!was_cancelled(&p, call)); /* freeing in the child told nobody anything */
    peer_send_done(&p, 1, 1);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_DONE);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(descriptors_are_checked)
{
    sluice_client *client = NULL;
    int fds[2];

    ck_assert_int_eq(sluice_connect_fd(-1, &client), -EBADF);
    ck_assert_int_eq(pipe(fds), 0);
    ck_assert_int_eq(sluice_connect_fd(fds[0], &client), -EINVAL);
    ck_assert_str_ne(sluice_connect_error(), "");
    ck_assert_int_eq(close(fds[0]), 0); /* still ours */
    ck_assert_int_eq(close(fds[1]), 0);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_DGRAM, 0, fds), 0);
    ck_assert_int_eq(sluice_connect_fd(fds[0], &client), -EINVAL);
    ck_assert_int_eq(close(fds[0]), 0);
    ck_assert_int_eq(close(fds[1]), 0);
    ck_assert_ptr_null(client);
}
END_TEST

START_TEST(there_is_one_descriptor_to_watch)
{
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_chat(&p);
    struct pollfd pfd = {.fd = sluice_client_get_fd(p.client),
                         .events = (short) sluice_client_get_events(p.client)};

    ck_assert_int_eq(pfd.events, POLLIN);
    ck_assert_int_eq(fcntl(pfd.fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(poll(&pfd, 1, 0), 0);
    ck_assert_int_eq(sluice_client_wait(p.client, 0), 0);
    peer_send_text(&p, 1, 1, "x");
    ck_assert_int_eq(poll(&pfd, 1, 0), 1);
    ck_assert_int_eq(sluice_client_process(p.client), 1);
    ck_assert_int_eq(sluice_client_process(p.client), 0);
    ck_assert_int_eq(poll(&pfd, 1, 0), 0);
    peer_hang_up(&p);
    ck_assert_int_eq(poll(&pfd, 1, 0), 1);
    ck_assert_int_eq(sluice_client_process(p.client), 1);
    ck_assert_int_eq(sluice_client_process(p.client), -ENOTCONN);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(calls_have_a_limit)
{
    struct peer p;
    sluice_request *req;
    sluice_call *calls[1024], *one_more;

    peer_open(&p);
    ck_assert_int_eq(sluice_models_new(&req), 0);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        ck_assert_int_eq(sluice_call_start(p.client, req, &calls[i]), 0);
    }
    ck_assert_int_eq(sluice_call_start(p.client, req, &one_more), -EBUSY);
    calls[5] = sluice_call_free(calls[5]);
    ck_assert_int_eq(sluice_call_start(p.client, req, &calls[5]), 0);
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        sluice_call_free(calls[i]);
    }
    sluice_request_free(req);
    peer_close(&p);
}
END_TEST

START_TEST(versions_are_told)
{
    unsigned major, minor, patch;

    ck_assert_int_eq(sscanf(sluice_version_string(), "%u.%u.%u", &major, &minor, &patch), 3);
    ck_assert_uint_eq(sluice_version(), major << 16 | minor << 8 | patch);
    ck_assert_uint_eq(sluice_abi() >> 16, SLUICE_ABI_MAJOR);
    ck_assert_uint_ge(sluice_abi() & 0xffff, SLUICE_ABI_MINOR);
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
    tcase_add_test(tc, cancel_is_a_call_by_request_id);
    tcase_add_test(tc, a_unary_call_is_cancelled_on_this_side);
    tcase_add_test(tc, another_thread_may_cancel);
    tcase_add_test(tc, freeing_a_running_call_cancels_it);
    tcase_add_test(tc, calls_outlive_their_client);
    tcase_add_test(tc, a_deadline_is_a_time_to_wake_up);
    tcase_add_test(tc, a_socket_that_takes_nothing_does_not_stop_reading);
    tcase_add_test(tc, what_was_sent_before_the_end_is_read);
    tcase_add_test(tc, a_child_process_is_refused);
    tcase_add_test(tc, descriptors_are_checked);
    tcase_add_test(tc, there_is_one_descriptor_to_watch);
    tcase_add_test(tc, calls_have_a_limit);
    tcase_add_test(tc, versions_are_told);
}

TEST_MAIN("libsluice", add_tests)
