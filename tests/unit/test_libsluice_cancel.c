/*
 * libsluice's calls that are left: cancelled, from another thread too, freed while they run, and
 * outliving their client.
 */
#include "libsluice_calls.h"

#include <pthread.h>

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

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, cancel_is_a_call_by_request_id);
    tcase_add_test(tc, a_unary_call_is_cancelled_on_this_side);
    tcase_add_test(tc, another_thread_may_cancel);
    tcase_add_test(tc, freeing_a_running_call_cancels_it);
    tcase_add_test(tc, calls_outlive_their_client);
    tcase_add_test(tc, a_deadline_is_a_time_to_wake_up);
}

TEST_MAIN("libsluice_cancel", add_tests)
