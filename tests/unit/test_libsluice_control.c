/*
 * libsluice's calls that run no model but tell the daemon something: a watch, with its states and its
 * ends, and what reload, drain and unload send and read.
 */
#include "libsluice_calls.h"

static struct peer_request g_request;

static sluice_call *start_watch(struct peer *p)
{
    sluice_request *req;

    ck_assert_int_eq(sluice_watch_new(0, &req), 0);
    return start(p, req);
}

static void send_state(struct peer *p, uint32_t n_running)
{
    uint8_t bytes[256];

    peer_send(p, 1, FRAME_DATA, 0, bytes, peer_state(bytes, n_running));
}

/* A call that was answered with this reply; the request it sent is g_request. */
static sluice_call *answer(struct peer *p, sluice_request *req, const ProtobufCMessage *reply)
{
    uint8_t bytes[256];
    sluice_call *call = start(p, req);
    struct frame_response res = {.payload = {bytes, peer_pack(reply, bytes)}};

    ck_assert(peer_receive(p, &g_request));
    ck_assert_uint_eq(g_request.header.flags, 0);
    ck_assert_str_eq(sluice_call_request_id(call), "");
    peer_send_response(p, g_request.header.stream_id, &res);
    ck_assert_int_eq(step(p, call), SLUICE_EVENT_REPLY);
    ck_assert_int_eq(sluice_call_try_next(call), 0);
    return call;
}

/* ---------------------------------------------------------------- watch */

START_TEST(a_watch_asks_for_an_interval)
{
    static const uint64_t bad[] = {1, 99999, 60000001, UINT64_MAX};
    static const uint64_t good[] = {0, 100000, 1000000, 60000000};
    sluice_request *req = NULL;

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_int_eq(sluice_watch_new(bad[i], &req), -EINVAL);
        ck_assert_ptr_null(req);
    }
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        Sluice__V1__WatchRequest *msg;
        struct peer p;

        peer_open(&p);
        ck_assert_int_eq(sluice_watch_new(good[i], &req), 0);

        sluice_call *call = start(&p, req);

        ck_assert(peer_receive(&p, &g_request) && peer_is_method(&g_request, "Watch"));
        ck_assert_uint_eq(g_request.header.flags, FRAME_REMOTE_CLOSED);
        msg = sluice__v1__watch_request__unpack(NULL, g_request.envelope.payload.len,
                                                g_request.envelope.payload.ptr);
        ck_assert_ptr_nonnull(msg);
        ck_assert_uint_eq(msg->interval_usec, good[i]);
        ck_assert_str_eq(msg->request_id, sluice_call_request_id(call));
        ck_assert_str_ne(msg->request_id, "");
        sluice__v1__watch_request__free_unpacked(msg, NULL);
        sluice_call_free(call);
        peer_close(&p);
    }
}
END_TEST

START_TEST(a_watch_knows_an_id_and_no_other_option)
{
    sluice_request *req;
    struct peer p;

    peer_open(&p);
    ck_assert_int_eq(sluice_watch_new(0, &req), 0);
    ck_assert_int_eq(sluice_request_set_int(req, SLUICE_INT_DEADLINE_USEC, 1), -EINVAL);
    ck_assert_int_eq(sluice_request_add_message(req, SLUICE_ROLE_USER, "x", 1), -EINVAL);
    ck_assert_int_eq(sluice_request_set_text(req, SLUICE_TEXT_REQUEST_ID, "mine", 4), 0);

    sluice_call *call = start(&p, req);

    ck_assert_str_eq(sluice_call_request_id(call), "mine");
    sluice_call_free(call);
    ck_assert(peer_receive(&p, &g_request));
    ck_assert_ptr_nonnull(
        memmem(g_request.envelope.payload.ptr, g_request.envelope.payload.len, "mine", 4));
    ck_assert(peer_receive(&p, &g_request) && peer_is_method(&g_request, "Cancel"));
    peer_close(&p);
}
END_TEST

/* Classes and callers, which a state of send_state() has one of each; then its own rows again. */
static void check_other_rows(sluice_call *call)
{
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_HEADROOM_BYTES), 11);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_PIECES_OUT), 12);
    sluice_call_select_rows(call, SLUICE_ROWS_CLASSES);
    ck_assert_uint_eq(sluice_call_n_rows(call), 1);
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_NAME), "batch");
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_ROW_QUEUED), 3);
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_OLDEST_USEC), 4);
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_MODEL), "");
    ck_assert_str_eq(sluice_call_row_text(call, 1, SLUICE_FIELD_NAME), "");
    sluice_call_select_rows(call, SLUICE_ROWS_CALLERS);
    ck_assert_uint_eq(sluice_call_n_rows(call), 1);
    ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_NAME), "uid 7");
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_ROW_RUNNING), 5);
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_WEIGHT), 6);
    ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_IDLE_USEC), 7);
    sluice_call_select_rows(call, SLUICE_ROWS_OWN);
}

START_TEST(states_are_read_like_a_status)
{
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_watch(&p);

    for (uint32_t i = 1; i < 4; i++) {
        ck_assert_int_eq(step(&p, call), -EAGAIN);
        send_state(&p, i);
        ck_assert_int_eq(step(&p, call), SLUICE_EVENT_STATUS);
        ck_assert_int_eq(sluice_call_event(call), SLUICE_EVENT_STATUS);
        ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_CALLS_RUNNING), i);
        ck_assert_uint_eq(sluice_call_n_rows(call), 1);
        ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_MODEL), "m");
        ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_UPSTREAM_MODEL), "um");
        ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_API_BASE),
                         "http://127.0.0.1:11434");
        check_other_rows(call);
        ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_SERVER_VERSION), "0.34.3");
        ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_ORDER), 2);
        ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_WEIGHT_PERMILLE), 500);
        ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_TAGS), "a\nb");
        ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_LOCAL_ONLY), 1);
        ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_PAUSED_USEC), 7);
        ck_assert_str_eq(sluice_call_row_text(call, 0, SLUICE_FIELD_ALIASES), "x\ny");
        ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_LOADED), 1);
        ck_assert_uint_eq(sluice_call_row_number(call, 0, SLUICE_FIELD_IDLE_USEC), UINT64_C(1)
                                                                                       << 40);
        /* nothing of other events, nor of other replies */
        ck_assert_uint_eq(sluice_call_n_choices(call), 0);
        ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_MODELS), 0);
        assert_text(call, "");
    }
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(the_newest_state_is_all_that_waits)
{
    struct peer p;

    peer_open(&p);

    sluice_call *call = start_watch(&p);

    for (uint32_t i = 0; i < 1000; i++) {
        send_state(&p, i);
        (void) peer_process(&p);
    }
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_STATUS);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_CALLS_RUNNING), 999);
    ck_assert_int_eq(step(&p, call), -EAGAIN);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_watch_ends_as_the_daemon_says)
{
    char code[] = "draining";
    Sluice__V1__ErrorDetail detail;
    struct peer p;

    peer_open(&p);
    sluice__v1__error_detail__init(&detail);
    detail.code = code;
    detail.http_status = 503;

    sluice_call *call = start_watch(&p);

    send_state(&p, 7);
    peer_send_error(&p, 1, 14, "sluiced is stopping", &detail);
    /* the last state is not lost behind the end */
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_STATUS);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_CALLS_RUNNING), 7);
    assert_failed(&p, call, "draining");
    ck_assert_uint_eq(sluice_call_n_rows(call), 0);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_watch_is_cancelled)
{
    char code[] = "cancelled";
    Sluice__V1__ErrorDetail detail;
    struct peer p;

    peer_open(&p);
    sluice__v1__error_detail__init(&detail);
    detail.code = code;

    sluice_call *call = start_watch(&p);

    send_state(&p, 1);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_STATUS);
    ck_assert_int_eq(sluice_call_cancel(call), 0);
    ck_assert_int_eq(step(&p, call), -EAGAIN);
    ck_assert(was_cancelled(&p, call));
    peer_send_error(&p, 1, 1, "the call was cancelled", &detail);
    assert_failed(&p, call, "cancelled");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(a_watch_has_no_good_end)
{
    static const struct {
        const char *code;
        uint8_t type, flags;
        const char *bytes;
    } ends[] = {
        {"answer_cut", FRAME_DATA, FRAME_REMOTE_CLOSED | FRAME_NO_DATA, ""},
        {"answer_cut", FRAME_RESPONSE, 0, ""},     /* a Response of no bytes is success */
        {"bad_answer", FRAME_DATA, 0, "\x08"},     /* no message */
        {"bad_answer", FRAME_RESPONSE, 0, "\x08"}, /* no envelope */
    };

    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        struct peer p;

        peer_open(&p);

        sluice_call *call = start_watch(&p);

        peer_send(&p, 1, ends[i].type, ends[i].flags, ends[i].bytes, strlen(ends[i].bytes));
        assert_failed(&p, call, ends[i].code);
        sluice_call_free(call);
        peer_close(&p);
    }

    struct peer p;

    peer_open(&p);

    sluice_call *call = start_watch(&p);

    send_state(&p, 1);
    peer_hang_up(&p);
    ck_assert_int_eq(step(&p, call), SLUICE_EVENT_STATUS);
    assert_failed(&p, call, "connection_lost");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

/* ---------------------------------------------------------------- reload, drain, unload */

START_TEST(reload_tells_what_is_there_now)
{
    Sluice__V1__ReloadResponse reply;
    sluice_request *req;
    struct peer p;

    peer_open(&p);
    sluice__v1__reload_response__init(&reply);
    reply.config_generation = 3;
    reply.models = 4;
    ck_assert_int_eq(sluice_reload_new(&req), 0);

    sluice_call *call = answer(&p, req, &reply.base);

    ck_assert(peer_is_method(&g_request, "Reload"));
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_CONFIG_GENERATION), 3);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_MODELS), 4);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_CALLS_RUNNING), 0);
    ck_assert_uint_eq(sluice_call_n_rows(call), 0);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(drain_tells_what_still_runs)
{
    Sluice__V1__DrainResponse reply;
    sluice_request *req;
    struct peer p;

    peer_open(&p);
    sluice__v1__drain_response__init(&reply);
    reply.calls_running = 5;
    ck_assert_int_eq(sluice_drain_new(&req), 0);

    sluice_call *call = answer(&p, req, &reply.base);

    ck_assert(peer_is_method(&g_request, "Drain"));
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_CALLS_RUNNING), 5);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_MODELS), 0);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(unload_names_a_model_and_counts)
{
    Sluice__V1__UnloadResponse reply;
    sluice_request *req;
    struct peer p;

    peer_open(&p);
    sluice__v1__unload_response__init(&reply);
    reply.unloaded = 1;
    reply.unchanged = 2;
    ck_assert_int_eq(sluice_unload_new("tinyllama", &req), 0);

    sluice_call *call = answer(&p, req, &reply.base);

    ck_assert(peer_is_method(&g_request, "Unload"));
    ck_assert_ptr_nonnull(
        memmem(g_request.envelope.payload.ptr, g_request.envelope.payload.len, "tinyllama", 9));
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_UNLOADED), 1);
    ck_assert_uint_eq(sluice_call_reply_number(call, SLUICE_FIELD_UNCHANGED), 2);
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

START_TEST(who_may_not_is_told)
{
    char code[] = "forbidden";
    Sluice__V1__ErrorDetail detail;
    sluice_request *req;
    struct peer p;

    peer_open(&p);
    sluice__v1__error_detail__init(&detail);
    detail.code = code;
    ck_assert_int_eq(sluice_drain_new(&req), 0);

    sluice_call *call = start(&p, req);

    peer_send_error(&p, 1, 7, "only root may", &detail);
    assert_failed(&p, call, "forbidden");
    ck_assert_str_eq(sluice_call_error_message(call), "only root may");
    sluice_call_free(call);
    peer_close(&p);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_watch_asks_for_an_interval);
    tcase_add_test(tc, a_watch_knows_an_id_and_no_other_option);
    tcase_add_test(tc, states_are_read_like_a_status);
    tcase_add_test(tc, the_newest_state_is_all_that_waits);
    tcase_add_test(tc, a_watch_ends_as_the_daemon_says);
    tcase_add_test(tc, a_watch_is_cancelled);
    tcase_add_test(tc, a_watch_has_no_good_end);
    tcase_add_test(tc, reload_tells_what_is_there_now);
    tcase_add_test(tc, drain_tells_what_still_runs);
    tcase_add_test(tc, unload_names_a_model_and_counts);
    tcase_add_test(tc, who_may_not_is_told);
}

TEST_MAIN("libsluice_control", add_tests)
