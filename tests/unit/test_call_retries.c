/*
 * Retries: who is asked again and when, that the client sees one answer of one attempt, and that
 * nothing is held in between, whatever happens meanwhile.
 */
#include "call_cast.h"

#define HI "TEXT 0 answer hi\nEND stop\n"

START_TEST(another_deployment_answers)
{
    struct cast c;

    cast_init(&c);

    struct actor *a = cast_add(&c, "a", (struct role) {.terms.order = 1});
    struct actor *b = cast_add(&c, "b", (struct role) {.terms.order = 2});

    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    act_fail(&c, a, ERRCODE_UPSTREAM_RATE_LIMITED, 60 * SEC);
    ck_assert_uint_eq(c.w.admission.n_granted, 1);
    act_answer(&c, b);
    cast_expect(&c, "STARTED m a\nSTARTED m b 1 0\n" HI);
    ck_assert_uint_eq(a->n_started, 1);
    ck_assert_uint_eq(c.w.stats.n_retries, 1);
    ck_assert_uint_eq(c.w.stats.n_completed, 1);
    ck_assert_uint_eq(c.w.stats.n_failed, 0);
    ck_assert_int_eq(c.w.last_outcome, ERRCODE_NONE);
    cast_done(&c);
}
END_TEST

/* A group of one: at once, as often as is allowed; all within one turn. */
START_TEST(the_same_one_again_and_then_no_more)
{
    for (unsigned n_failures = 2; n_failures < 4; n_failures++) {
        struct cast c;

        cast_init(&c);

        struct actor *a = cast_add(&c, "a", (struct role) {0});

        for (unsigned i = 0; i < n_failures; i++) {
            a->fails_at_once[i] = ERRCODE_UPSTREAM_UNREACHABLE;
        }
        a->n_failures = n_failures;
        cast_open(&c);
        cast_ask(&c, request("m", "r"));
        ck_assert_uint_eq(a->n_started, 3);
        if (n_failures == 2) {
            act_answer(&c, a);
            cast_expect(&c, "STARTED m a\nSTARTED m a 1 0\nSTARTED m a 2 0\n" HI);
        } else {
            cast_expect_failure(&c, ERRCODE_UPSTREAM_UNREACHABLE);
        }
        cast_done(&c);
    }
}
END_TEST

/* All have failed once: what is left goes round again, and not to the first order alone. */
START_TEST(the_rest_of_the_retries_goes_round)
{
    struct cast c;

    cast_init(&c);
    c.plan.policy.max_retries = 3;

    struct actor *a = cast_add(&c, "a", (struct role) {.terms.order = 1});
    struct actor *b = cast_add(&c, "b", (struct role) {.terms.order = 2});

    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    for (int i = 0; i < 2; i++) {
        act_fail(&c, a, ERRCODE_UPSTREAM_ERROR, 0);
        act_fail(&c, b, ERRCODE_UPSTREAM_ERROR, 0);
    }
    act_fail(&c, a, ERRCODE_UPSTREAM_ERROR, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_ERROR);
    ck_assert_uint_eq(a->n_started, 3);
    ck_assert_uint_eq(b->n_started, 2);
    cast_done(&c);
}
END_TEST

/* Where it ran into a time-out it is not tried again, wherever the last failure was. */
START_TEST(the_rest_of_the_retries_passes_over_who_must_not_be_asked)
{
    for (int timed_out = 0; timed_out < 2; timed_out++) {
        struct cast c;

        cast_init(&c);
        c.plan.policy.max_retries = 2;

        struct actor *a = cast_add(&c, "a", (struct role) {.terms.order = 1});
        struct actor *b = cast_add(&c, "b", (struct role) {.terms.order = 2});
        struct actor *other = timed_out == 0 ? b : a;

        cast_open(&c);
        cast_ask(&c, request("m", "r"));
        act_fail(&c, a, timed_out == 0 ? ERRCODE_UPSTREAM_TIMEOUT : ERRCODE_UPSTREAM_ERROR, 0);
        act_fail(&c, b, timed_out == 1 ? ERRCODE_UPSTREAM_TIMEOUT : ERRCODE_UPSTREAM_ERROR, 0);
        act_fail(&c, other, ERRCODE_UPSTREAM_ERROR, 0);
        act_fail(&c, other, ERRCODE_UPSTREAM_ERROR, 0);
        cast_expect_failure(&c, ERRCODE_UPSTREAM_ERROR);
        ck_assert_uint_eq(a->n_started + b->n_started, 4);
        ck_assert_uint_eq(other->n_started, 3);
        cast_done(&c);
    }
}
END_TEST

/* Each order has retries of its own, but a call is never more than so many attempts. */
START_TEST(no_more_attempts_than_the_cap)
{
    static char ids[CAST_MAX][8];

    for (unsigned n_orders = 3; n_orders <= CAST_MAX; n_orders += CAST_MAX - 3) {
        struct cast c;
        unsigned n = 0;

        cast_init(&c);
        c.plan.policy.max_retries = ATTEMPTS_MAX_RETRIES;
        for (unsigned i = 0; i < n_orders; i++) {
            snprintf(ids[i], sizeof ids[i], "a%u", i);
            cast_add(&c, ids[i], (struct role) {.terms.order = 1 + i});
        }
        cast_open(&c);
        cast_ask(&c, request("m", "r"));
        for (unsigned i = 0; !c.sink.is_over; i = (i + 1) % n_orders, n++) {
            act_fail(&c, &c.actors[i], ERRCODE_UPSTREAM_ERROR, 0);
        }
        cast_expect_failure(&c, ERRCODE_UPSTREAM_ERROR);
        ck_assert_uint_eq(n, n_orders == 3 ? 3 + ATTEMPTS_MAX_RETRIES : ATTEMPTS_MAX);
        cast_done(&c);
    }
}
END_TEST

START_TEST(after_the_first_word_there_is_no_other)
{
    struct cast c;

    cast_init(&c);

    struct actor *a = cast_add(&c, "a", (struct role) {0});
    struct actor *b = cast_add(&c, "b", (struct role) {.terms.order = 9});

    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    a = a->sink ? a : b;
    tell(a->sink, EVENT_TEXT, c.w.now);
    act_fail(&c, a, ERRCODE_UPSTREAM_CUT, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_CUT);
    ck_assert_uint_eq(c.actors[0].n_started + c.actors[1].n_started, 1);
    cast_done(&c);
}
END_TEST

/* Usage alone is no word: it is told with the end, or belongs to an attempt that is forgotten. */
START_TEST(usage_before_a_failure_is_forgotten)
{
    struct cast c;
    struct actor *a = cast_of_one(&c);

    cast_ask(&c, request("m", "r"));
    tell(a->sink, EVENT_USAGE, c.w.now);
    act_fail(&c, a, ERRCODE_UPSTREAM_CUT, 0);
    tell(a->sink, EVENT_USAGE, c.w.now);
    tell(TAKE(a->sink), EVENT_END, c.w.now);
    run(&c.w);
    cast_expect(&c, "STARTED m a\nSTARTED m a 1 0\nUSAGE 3 0 5\nEND stop\n");
    ck_assert_uint_eq(c.w.stats.tokens_out, 5);
    cast_done(&c);
}
END_TEST

START_TEST(a_pause_holds_no_slot_and_keeps_its_turn)
{
    struct cast c;
    struct recording_sink other;
    struct actor *a = cast_of_one(&c);

    cast_ask(&c, request("m", "r"));
    act_fail(&c, a, ERRCODE_UPSTREAM_RATE_LIMITED, 2 * SEC);
    ck_assert_uint_eq(c.w.admission.n_granted, 0);
    ck_assert_uint_eq(c.w.admission.n_queued, 1);
    ck_assert_uint_eq(registry_next_deadline(&c.w.registry), c.w.now + 2 * SEC);
    c.w.now += SEC;
    submit(&c.w, request("m", "late"), &other); /* who has no reason to wait does not */
    run(&c.w);
    ck_assert_uint_eq(a->n_started, 2);
    c.w.now += SEC;
    run(&c.w); /* the pause is over, the slot is taken: no timer for either */
    ck_assert_uint_gt(registry_next_deadline(&c.w.registry), c.w.now);
    ck_assert_uint_eq(a->n_started, 2);
    act_answer(&c, a);
    ck_assert_uint_eq(a->n_started, 3);
    act_answer(&c, a);
    ck_assert_uint_eq(c.w.stats.n_completed, 2);
    ck_assert_uint_eq(c.w.registry.n_calls, 0);
    recording_sink_done(&other);
    cast_done(&c);
}
END_TEST

/* Arrived first, served first, although it comes into the queue behind the other. */
START_TEST(it_waits_where_its_arrival_belongs)
{
    struct cast c;
    struct recording_sink other;
    struct actor *a = cast_of_one(&c);

    cast_ask(&c, request("m", "first"));
    c.w.now += 1;
    submit(&c.w, request("m", "second"), &other);
    run(&c.w);
    act_fail(&c, a, ERRCODE_UPSTREAM_ERROR, 0);
    act_answer(&c, a);
    ck_assert(c.sink.is_over);
    ck_assert(!other.is_over);
    act_answer(&c, a);
    ck_assert_str_eq(recording_sink_text(&other), "QUEUED 1\nSTARTED m a\n" HI);
    recording_sink_done(&other);
    cast_done(&c);
}
END_TEST

/* Whatever ends a call in its pause: nothing is held, and the sink hears of it once or never. */
START_TEST(a_pause_may_end_in_many_ways)
{
    for (int way = 0; way < 6; way++) {
        struct cast c;
        struct request *req = request("m", "r");
        struct router_plan plan = {0};

        cast_init(&c);

        struct actor *a = cast_add(&c, "a", (struct role) {0});

        req->deadline_usec = way == 3 ? 3 * SEC : 0;
        cast_open(&c);
        cast_ask(&c, req);
        c.w.now += way == 3 ? SEC + SEC / 2 : 0;
        act_fail(&c, a, ERRCODE_UPSTREAM_RATE_LIMITED, SEC);
        switch (way) {
        case 0:
            call_detach(c.call, c.w.now);
            break;
        case 1:
            call_cancel(c.call, ERRCODE_CANCELLED, c.w.now);
            break;
        case 2:
            registry_cancel_waiting(&c.w.registry, ERRCODE_DRAINING, c.w.now);
            break;
        case 3: /* its own deadline, while another has the slot */
            c.w.now += SEC;
            run(&c.w);
            act_fail(&c, a, ERRCODE_UPSTREAM_RATE_LIMITED, 4 * SEC);
            break;
        case 4: /* the model is gone from the configuration */
            router_commit(&c.w.router, &plan);
            registry_reroute(&c.w.registry, c.w.now);
            break;
        case 5: /* the daemon goes */
            break;
        }
        if (way == 5) {
            cast_done(&c);
            continue;
        }
        run(&c.w);
        ck_assert_uint_eq(c.w.registry.n_calls, 0);
        ck_assert_uint_eq(c.w.admission.n_queued + c.w.admission.n_granted, 0);
        ck_assert_int_eq(c.sink.is_over, way > 0);
        ck_assert_int_eq(c.w.last_outcome, way < 2    ? ERRCODE_CANCELLED
                                           : way == 2 ? ERRCODE_DRAINING
                                                      : ERRCODE_UPSTREAM_RATE_LIMITED);
        cast_done(&c);
    }
}
END_TEST

/* The deployment is another one after the reload; the call goes there. */
START_TEST(a_reload_during_a_pause)
{
    struct cast c;
    struct actor *a = cast_of_one(&c);

    cast_ask(&c, request("m", "r"));
    act_fail(&c, a, ERRCODE_UPSTREAM_RATE_LIMITED, SEC);
    cast_plan(&c);

    struct actor *b = cast_add(&c, "b", (struct role) {0});

    cast_open(&c);
    c.w.now += SEC;
    run(&c.w);
    act_answer(&c, b);
    cast_expect(&c, "STARTED m a\nQUEUED 1\nSTARTED m b 1 0\n" HI);
    cast_done(&c);
}
END_TEST

/* It fails on what a reload has retired: the group of today serves it. */
START_TEST(a_reload_during_an_attempt)
{
    struct cast c;
    struct actor *a = cast_of_one(&c);

    cast_ask(&c, request("m", "r"));
    cast_plan(&c);

    struct actor *b = cast_add(&c, "b", (struct role) {0});

    cast_open(&c);
    act_fail(&c, a, ERRCODE_UPSTREAM_TIMEOUT, 0);
    act_answer(&c, b);
    cast_expect(&c, "STARTED m a\nSTARTED m b 1 0\n" HI);
    ck_assert(list_is_empty(&c.w.router.retired));
    cast_done(&c);
}
END_TEST

/* And none is counted, neither for the daemon nor in what the client is told. */
START_TEST(no_new_attempt_while_draining_or_short_of_memory)
{
    for (int way = 0; way < 4; way++) {
        struct retry_budget *budget;
        struct cast c;

        cast_init(&c);

        struct actor *a = cast_add(&c, "a", (struct role) {0});

        if (way >= 2) {
            cast_add(&c, "n", (struct role) {.group = "n"});
            cast_fallback(&c, FALLBACK_GENERAL, "m", "n", NULL);
            c.plan.policy.max_retries = 0;
        }
        cast_open(&c);
        cast_ask(&c, request("m", "r"));
        c.w.admission.is_draining = way % 2 == 0;
        c.w.pressure.level = way % 2 == 1 ? PRESSURE_L3 : PRESSURE_L0;
        act_fail(&c, a, ERRCODE_UPSTREAM_ERROR, 0);
        cast_expect_failure(&c, ERRCODE_UPSTREAM_ERROR);
        ck_assert_uint_eq(c.w.stats.n_retries + c.w.stats.n_fallbacks, 0);
        ck_assert_ptr_null(strstr(recording_sink_text(&c.sink), "fallback"));
        budget = retry_budgets_of(&c.w.registry.budgets,
                                  &(struct caller) {.has_uid = true, .uid = 7}, c.w.now);
        ck_assert(retry_budget_can_take(budget, c.w.now));
        ck_assert_uint_eq(budget->units, RETRY_BUDGET_SHARE * RETRY_BUDGET_MAX);
        cast_done(&c);
    }
}
END_TEST

/* At level 2 a person is still served, but a server here that has failed is not asked twice. */
START_TEST(high_pressure_asks_nobody_here_again)
{
    for (int way = 0; way < 2; way++) {
        bool is_far = way == 1;
        struct cast c;

        cast_init(&c);

        struct actor *a = cast_add(&c, "a", (struct role) {.is_remote = is_far});

        cast_open(&c);
        cast_ask(&c, request("m", "r"));
        c.w.pressure.level = PRESSURE_L2;
        act_fail(&c, a, ERRCODE_UPSTREAM_ERROR, 0);
        if (is_far) {
            act_answer(&c, a);
            cast_expect(&c, "STARTED m a\nSTARTED m a 1 0\n" HI);
        } else {
            cast_expect_failure(&c, ERRCODE_UPSTREAM_ERROR);
            ck_assert_uint_eq(a->n_started, 1);
        }
        cast_done(&c);
    }
}
END_TEST

START_TEST(the_request_says_how_often_and_how_long)
{
    for (unsigned n = 0; n < 4; n++) {
        struct cast c;
        struct request *req = request("m", "r");

        cast_init(&c);

        struct actor *a = cast_add(&c, "a", (struct role) {.terms.max_retries = 7});

        req->routing.has_retries = true;
        req->routing.max_retries = n;
        req->routing.total_usec = 5 * SEC;
        for (unsigned i = 0; i < 8; i++) {
            a->fails_at_once[i] = ERRCODE_UPSTREAM_ERROR;
        }
        a->n_failures = 8;
        cast_open(&c);
        cast_ask(&c, req);
        cast_expect_failure(&c, ERRCODE_UPSTREAM_ERROR);
        ck_assert_uint_eq(a->n_started, n + 1);
        ck_assert_uint_eq(a->total_usec, 5 * SEC);
        cast_done(&c);
    }
}
END_TEST

/* Nobody listens any more: nothing is tried for nobody. */
START_TEST(who_left_is_not_tried_again_for)
{
    struct cast c;
    struct actor *a = cast_of_one(&c);

    cast_ask(&c, request("m", "r"));
    call_detach(c.call, c.w.now);
    run(&c.w);
    ck_assert_uint_eq(a->n_cancelled, 1);
    ck_assert_uint_eq(a->n_started, 1);
    ck_assert_uint_eq(c.w.registry.n_calls, 0);
    cast_done(&c);
}
END_TEST

/* Many calls to a server that is down: it hears of each, and of few of them again. */
START_TEST(a_dead_server_gets_little_more_than_its_calls)
{
    struct cast c;
    unsigned n_calls = 300;
    struct actor *a = cast_of_one(&c);

    for (unsigned i = 0; i < n_calls; i++) {
        recording_sink_done(&c.sink);
        cast_ask(&c, request("m", "r"));
        while (a->sink) {
            act_fail(&c, a, ERRCODE_UPSTREAM_UNREACHABLE, 0);
        }
        ck_assert_int_eq(c.sink.code, ERRCODE_UPSTREAM_UNREACHABLE);
    }
    ck_assert_uint_le(a->n_started, n_calls + n_calls / RETRY_BUDGET_SHARE + RETRY_BUDGET_MAX);
    ck_assert_uint_ge(a->n_started, n_calls + n_calls / RETRY_BUDGET_SHARE);
    cast_done(&c);
}
END_TEST

/* One that calls a dead server all the time spends what it has itself. */
START_TEST(nobody_spends_the_retries_of_another)
{
    static const struct caller others[] = {{.has_uid = true, .uid = 8},
                                           {.has_uid = true, .uid = 7, .key_id = "k"},
                                           {.key_id = "other"},
                                           {.has_uid = false}};
    struct cast c;
    struct actor *a = cast_of_one(&c);

    for (unsigned i = 0; i < 100; i++) {
        recording_sink_done(&c.sink);
        cast_ask(&c, request("m", "r"));
        while (a->sink) {
            act_fail(&c, a, ERRCODE_UPSTREAM_UNREACHABLE, 0);
        }
    }
    ck_assert_uint_lt(a->n_started, 2 * 100); /* the last ones had none */
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        unsigned before = a->n_started;
        struct request *req = request("m", "r");

        req->caller = others[i];
        recording_sink_done(&c.sink);
        cast_ask(&c, req);
        while (a->sink) {
            act_fail(&c, a, ERRCODE_UPSTREAM_UNREACHABLE, 0);
        }
        ck_assert_uint_eq(a->n_started - before, 3);
    }
    cast_done(&c);
}
END_TEST

/* What the machine lacks is not tried again. */
START_TEST(an_attempt_that_cannot_begin_is_the_end)
{
    struct cast c;

    cast_init(&c);

    struct actor *a = cast_add(&c, "a", (struct role) {0});

    a->start_result = -ENOMEM;
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    cast_expect_failure(&c, ERRCODE_OUT_OF_MEMORY);
    cast_done(&c);
}
END_TEST

START_TEST(no_more_than_so_many_at_once)
{
    struct cast c;
    struct recording_sink other;
    struct admission_params params;

    cast_init(&c);
    params = c.w.admission.params;
    params.max_granted = 1;
    admission_set_params(&c.w.admission, &params);

    struct actor *a = cast_add(&c, "a", (struct role) {.group = "m"});
    struct actor *b = cast_add(&c, "b", (struct role) {.group = "n"});

    cast_open(&c);
    cast_ask(&c, request("m", "one"));
    submit(&c.w, request("n", "two"), &other);
    run(&c.w);
    ck_assert_ptr_null(b->sink);
    act_fail(&c, a, ERRCODE_UPSTREAM_ERROR, 0);
    ck_assert_ptr_nonnull(a->sink); /* it came first, and comes first again */
    act_answer(&c, a);
    act_answer(&c, b);
    ck_assert_uint_eq(c.w.stats.n_completed, 2);
    recording_sink_done(&other);
    cast_done(&c);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, another_deployment_answers);
    tcase_add_test(tc, the_same_one_again_and_then_no_more);
    tcase_add_test(tc, the_rest_of_the_retries_goes_round);
    tcase_add_test(tc, the_rest_of_the_retries_passes_over_who_must_not_be_asked);
    tcase_add_test(tc, no_more_attempts_than_the_cap);
    tcase_add_test(tc, after_the_first_word_there_is_no_other);
    tcase_add_test(tc, usage_before_a_failure_is_forgotten);
    tcase_add_test(tc, a_pause_holds_no_slot_and_keeps_its_turn);
    tcase_add_test(tc, it_waits_where_its_arrival_belongs);
    tcase_add_test(tc, a_pause_may_end_in_many_ways);
    tcase_add_test(tc, a_reload_during_a_pause);
    tcase_add_test(tc, a_reload_during_an_attempt);
    tcase_add_test(tc, no_new_attempt_while_draining_or_short_of_memory);
    tcase_add_test(tc, high_pressure_asks_nobody_here_again);
    tcase_add_test(tc, the_request_says_how_often_and_how_long);
    tcase_add_test(tc, who_left_is_not_tried_again_for);
    tcase_add_test(tc, a_dead_server_gets_little_more_than_its_calls);
    tcase_add_test(tc, nobody_spends_the_retries_of_another);
    tcase_add_test(tc, an_attempt_that_cannot_begin_is_the_end);
    tcase_add_test(tc, no_more_than_so_many_at_once);
}
TEST_MAIN("call retries", add_tests)
