/* Requests of the Control service in, their answers out: rpc_msg_control.c and its encoders. */
#include "rpc_payload.h"

static int watch(struct rpc_watch_request *ret)
{
    return rpc_decode_watch(buf_str(&g_payload), ret, &g_problem);
}

START_TEST(a_watch_has_an_interval_and_an_id)
{
    static const struct {
        uint64_t asked, want; /* want 0: refused */
    } cases[] = {
        {0, RPC_WATCH_DEFAULT_USEC},
        {RPC_WATCH_MIN_USEC, RPC_WATCH_MIN_USEC},
        {RPC_WATCH_MAX_USEC, RPC_WATCH_MAX_USEC},
        {1, 0},
        {RPC_WATCH_MIN_USEC - 1, 0},
        {RPC_WATCH_MAX_USEC + 1, 0},
        {UINT64_MAX, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rpc_watch_request req = {.interval_usec = 77};

        buf_clear(&g_payload);
        put_number(&g_payload, 1, cases[i].asked);
        put_text(&g_payload, 2, "w-1");
        if (cases[i].want > 0) {
            ck_assert_int_eq(watch(&req), 0);
            ck_assert_uint_eq(req.interval_usec, cases[i].want);
            ck_assert_str_eq(req.id, "w-1");
        } else {
            ck_assert_int_eq(watch(&req), -EBADMSG);
            ck_assert_str_eq(g_problem.param, "interval_usec");
            ck_assert_uint_eq(req.interval_usec, 77); /* untouched */
        }
    }
}
END_TEST

START_TEST(a_watch_needs_neither)
{
    struct rpc_watch_request req;

    ck_assert_int_eq(watch(&req), 0);
    ck_assert_uint_eq(req.interval_usec, RPC_WATCH_DEFAULT_USEC);
    ck_assert_str_eq(req.id, "");
}
END_TEST

START_TEST(a_watch_id_is_an_id)
{
    char longest[REQUEST_ID_MAX + 2];
    const char *const bad[] = {"a b", "a/b", "\xc3\xa4", longest};
    struct rpc_watch_request req;

    memset(longest, 'x', sizeof longest);
    longest[REQUEST_ID_MAX + 1] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        buf_clear(&g_payload);
        put_text(&g_payload, 2, bad[i]);
        ck_assert_int_eq(watch(&req), -EBADMSG);
        ck_assert_str_eq(g_problem.param, "request_id");
    }
    longest[REQUEST_ID_MAX] = '\0';
    buf_clear(&g_payload);
    put_text(&g_payload, 2, longest);
    ck_assert_int_eq(watch(&req), 0);
    ck_assert_str_eq(req.id, longest);
}
END_TEST

START_TEST(an_unload_names_a_model)
{
    char model[REQUEST_MODEL_MAX + 1] = "untouched";
    char longest[REQUEST_MODEL_MAX + 2];

    memset(longest, 'm', sizeof longest);
    longest[REQUEST_MODEL_MAX + 1] = '\0';
    ck_assert_int_eq(rpc_decode_unload(STR_LIT(""), model, &g_problem), -EBADMSG);
    ck_assert_str_eq(g_problem.param, "model");
    put_text(&g_payload, 1, longest);
    ck_assert_int_eq(rpc_decode_unload(buf_str(&g_payload), model, &g_problem), -EBADMSG);
    buf_clear(&g_payload);
    put_text(&g_payload, 1, "not\xffutf8");
    ck_assert_int_eq(rpc_decode_unload(buf_str(&g_payload), model, &g_problem), -EBADMSG);
    ck_assert_str_eq(model, "untouched");
    longest[REQUEST_MODEL_MAX] = '\0';
    buf_clear(&g_payload);
    put_text(&g_payload, 1, longest);
    ck_assert_int_eq(rpc_decode_unload(buf_str(&g_payload), model, &g_problem), 0);
    ck_assert_str_eq(model, longest);
}
END_TEST

START_TEST(what_is_empty_may_hold_what_is_not_known)
{
    ck_assert_int_eq(rpc_decode_empty(STR_LIT(""), &g_problem), 0);
    put_number(&g_payload, 7, 1);
    put_text(&g_payload, 8, "of a newer client");
    ck_assert_int_eq(rpc_decode_empty(buf_str(&g_payload), &g_problem), 0);
    ck_assert_int_eq(rpc_decode_empty(STR_LIT("\x08"), &g_problem), -EBADMSG);
    ck_assert_int_eq(g_problem.code, ERRCODE_INVALID_REQUEST);
    put_bomb(&g_payload, "\x08\x01");
    ck_assert_int_eq(rpc_decode_empty(buf_str(&g_payload), &g_problem), -EBADMSG);
}
END_TEST

static void decode_once(void)
{
    char model[REQUEST_MODEL_MAX + 1];
    struct rpc_watch_request req;
    int r = watch(&req);

    ck_assert(r == 0 || (r == -EBADMSG && g_problem.code == ERRCODE_OUT_OF_MEMORY));
    r = rpc_decode_unload(STR_LIT("\x0a\x01m"), model, &g_problem);
    ck_assert(r == 0 || (r == -EBADMSG && g_problem.code == ERRCODE_OUT_OF_MEMORY));
    r = rpc_decode_empty(STR_LIT(""), &g_problem);
    ck_assert(r == 0 || (r == -EBADMSG && g_problem.code == ERRCODE_OUT_OF_MEMORY));
}

START_TEST(decoding_survives_failed_allocations)
{
    put_text(&g_payload, 2, "w-1");
    for_each_failed_allocation(decode_once);
}
END_TEST

START_TEST(answers_are_numbers)
{
    struct buf out;

    buf_init(&out, 64);
    ck_assert_int_eq(rpc_encode_reload_response(3, 4, &out), 0);
    ck_assert_str_is(buf_str(&out), "\x08\x03\x10\x04");
    buf_clear(&out);
    ck_assert_int_eq(rpc_encode_drain_response(5, &out), 0);
    ck_assert_str_is(buf_str(&out), "\x08\x05");
    buf_clear(&out);
    ck_assert_int_eq(rpc_encode_unload_response(1, 2, &out), 0);
    ck_assert_str_is(buf_str(&out), "\x08\x01\x10\x02");
    buf_done(&out);
    buf_init(&out, 1);
    ck_assert_int_eq(rpc_encode_reload_response(3, 4, &out), -ENOBUFS);
    buf_done(&out);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_watch_has_an_interval_and_an_id);
    tcase_add_test(tc, a_watch_needs_neither);
    tcase_add_test(tc, a_watch_id_is_an_id);
    tcase_add_test(tc, an_unload_names_a_model);
    tcase_add_test(tc, what_is_empty_may_hold_what_is_not_known);
    tcase_add_test(tc, decoding_survives_failed_allocations);
    tcase_add_test(tc, answers_are_numbers);
}

TEST_MAIN("rpc_msg_control", add_tests)
