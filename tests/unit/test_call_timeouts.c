/* What a request's own limits mean for its attempts, its pauses, its place in the queue. */
#include "call_cast.h"

/* A cast of one, and a request that may take 5 s in all. */
static struct request *limited(struct cast *c, struct actor **ret_actor)
{
    struct request *req = request("m", "r");

    *ret_actor = cast_of_one(c);
    req->routing.total_usec = 5 * SEC;
    return req;
}

/* timeout covers all attempts and the pauses between them: each has what the others left. */
START_TEST(a_timeout_of_the_request_is_one_for_all)
{
    struct cast c;
    struct request *req = request("m", "r");

    cast_init(&c);
    cast_fallback(&c, FALLBACK_GENERAL, "m", "n", NULL);

    struct actor *a = cast_add(&c, "a", (struct role) {.terms.order = 1});
    struct actor *b = cast_add(&c, "b", (struct role) {.terms.order = 2});
    struct actor *n = cast_add(&c, "n", (struct role) {.group = "n"});

    req->routing.total_usec = 5 * SEC;
    cast_open(&c);
    cast_ask(&c, req);
    ck_assert_uint_eq(a->total_usec, 5 * SEC);
    c.w.now += 2 * SEC;
    act_fail(&c, a, ERRCODE_UPSTREAM_ERROR, 0);
    ck_assert_uint_eq(b->total_usec, 3 * SEC);
    c.w.now += 3 * SEC; /* the backend tells it, to the moment */
    act_fail(&c, b, ERRCODE_UPSTREAM_TIMEOUT, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_TIMEOUT);
    ck_assert_uint_eq(n->n_started, 0);
    cast_done(&c);
}
END_TEST

START_TEST(no_pause_goes_beyond_the_timeout_of_the_request)
{
    struct cast c;
    struct actor *a;
    struct request *req = limited(&c, &a);

    cast_ask(&c, req);
    for (unsigned i = 1; i <= 2; i++) {
        act_fail(&c, a, ERRCODE_UPSTREAM_RATE_LIMITED, 2 * SEC);
        ck_assert_uint_eq(registry_next_deadline(&c.w.registry), c.w.now + 2 * SEC);
        c.w.now += 2 * SEC;
        run(&c.w);
        ck_assert_uint_eq(a->total_usec, (5 - 2 * i) * SEC);
    }
    act_fail(&c, a, ERRCODE_UPSTREAM_RATE_LIMITED, SEC);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_RATE_LIMITED);
    ck_assert_uint_eq(a->n_started, 3);
    cast_done(&c);
}
END_TEST

/* In the queue as well: for its first slot, and between two attempts while others have it. */
START_TEST(nobody_waits_beyond_the_timeout_of_the_request)
{
    for (int has_failed = 0; has_failed < 2; has_failed++) {
        struct cast c;
        struct recording_sink other;
        struct actor *a;
        struct request *req = limited(&c, &a);

        if (has_failed) {
            cast_ask(&c, req);
            act_fail(&c, a, ERRCODE_UPSTREAM_RATE_LIMITED, SEC);
        }
        submit(&c.w, request("m", "other"), &other);
        run(&c.w);
        if (!has_failed) {
            cast_ask(&c, req);
        }
        ck_assert_uint_ge(registry_next_deadline(&c.w.registry), c.w.now + SEC);
        c.w.now += 5 * SEC - 1;
        run(&c.w);
        ck_assert(!c.sink.is_over);
        ck_assert_uint_eq(registry_next_deadline(&c.w.registry), c.w.now + 1);
        c.w.now += 1;
        run(&c.w);
        ck_assert_int_eq(c.sink.code,
                         has_failed ? ERRCODE_UPSTREAM_RATE_LIMITED : ERRCODE_QUEUE_TIMEOUT);
        act_answer(&c, a);
        ck_assert(other.is_over);
        ck_assert_uint_eq(c.w.registry.n_calls, 0);
        recording_sink_done(&other);
        cast_done(&c);
    }
}
END_TEST

/* A slot in the last moment: the rest is never 0, which would be no limit at all. */
START_TEST(nothing_left_of_a_timeout_is_not_no_limit)
{
    struct cast c;
    struct recording_sink other;
    struct actor *a;
    struct request *req = limited(&c, &a);

    submit(&c.w, request("m", "other"), &other);
    run(&c.w);
    cast_ask(&c, req);
    c.w.now += 5 * SEC;
    act_answer(&c, a);
    ck_assert_uint_eq(a->total_usec, 1);
    act_fail(&c, a, ERRCODE_UPSTREAM_TIMEOUT, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_TIMEOUT);
    recording_sink_done(&other);
    cast_done(&c);
}
END_TEST

/* A client in a hurry opens nobody's breaker. */
START_TEST(a_limit_of_the_callers_own_says_nothing_of_the_server)
{
    struct cast c;
    struct actor *a = cast_of_one(&c);

    for (int i = 0; i < 2 * HEALTH_FAILURES; i++) {
        struct request *req = request("m", "r");

        req->routing.first_byte_usec = 1;
        cast_ask(&c, req);
        act_fail(&c, a, ERRCODE_UPSTREAM_TIMEOUT, 0);
        ck_assert_int_eq(c.sink.code, ERRCODE_UPSTREAM_TIMEOUT);
        recording_sink_done(&c.sink);
    }
    ck_assert_uint_eq(a->n_started, 2 * HEALTH_FAILURES);
    recording_sink_init(&c.sink);
    cast_done(&c);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_timeout_of_the_request_is_one_for_all);
    tcase_add_test(tc, no_pause_goes_beyond_the_timeout_of_the_request);
    tcase_add_test(tc, nobody_waits_beyond_the_timeout_of_the_request);
    tcase_add_test(tc, nothing_left_of_a_timeout_is_not_no_limit);
    tcase_add_test(tc, a_limit_of_the_callers_own_says_nothing_of_the_server);
}
TEST_MAIN("call timeouts", add_tests)
