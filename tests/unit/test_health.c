/*
 * The breaker of a deployment, under a clock of the test: each way through its states, what counts,
 * and that no probe is ever lost.
 */
#include "core/health.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define START (1000 * SEC)

/* A call from grant to release. */
static enum health_news one_call(struct health *h, enum errcode outcome, uint64_t now)
{
    struct health_run run = health_take(h, now);
    enum health_news news = health_ended(h, &run, outcome, now);

    health_leave(h, &run);
    return news;
}

/* One whose answer begins, and then ends so. */
static enum health_news begun_call(struct health *h, enum errcode outcome, uint64_t now)
{
    struct health_run run = health_take(h, now);
    enum health_news began = health_began(h, &run);
    enum health_news ended = health_ended(h, &run, outcome, now);

    health_leave(h, &run);
    return ended != HEALTH_NO_NEWS ? ended : began;
}

static void open_it(struct health *h, uint64_t now)
{
    for (int i = 1; i < HEALTH_FAILURES; i++) {
        ck_assert_int_eq(one_call(h, ERRCODE_UPSTREAM_TIMEOUT, now), HEALTH_NO_NEWS);
        ck_assert_int_eq(h->state, HEALTH_CLOSED);
    }
    ck_assert_int_eq(one_call(h, ERRCODE_UPSTREAM_TIMEOUT, now), HEALTH_HAS_OPENED);
    ck_assert_int_eq(h->state, HEALTH_OPEN);
}

START_TEST(opens_after_time_outs_in_a_row)
{
    struct health h = {0};

    open_it(&h, START);
    ck_assert(!health_can_take(&h, START));
    ck_assert(!health_can_take(&h, START + HEALTH_OPEN_MIN_USEC - 1));
    ck_assert(health_can_take(&h, START + HEALTH_OPEN_MIN_USEC));
}
END_TEST

/* What each outcome does to a breaker that is one time-out from opening. */
START_TEST(each_outcome_counts_resets_or_says_nothing)
{
    static const enum errcode works[] = {
        ERRCODE_UPSTREAM_ERROR, ERRCODE_UPSTREAM_REJECTED,   ERRCODE_UPSTREAM_AUTH,
        ERRCODE_NONE,           ERRCODE_UPSTREAM_OVERLOADED, ERRCODE_UPSTREAM_OUT_OF_MEMORY,
    };
    unsigned n_works = 0, n_hangs = 0;

    for (int code = ERRCODE_NONE; code < _ERRCODE_MAX; code++) {
        struct health h = {.n_failures = HEALTH_FAILURES - 1};
        bool is_good = false;

        for (size_t i = 0; i < ARRAY_LEN(works); i++) {
            is_good |= works[i] == (enum errcode) code;
        }
        (void) one_call(&h, (enum errcode) code, START);
        if (code == ERRCODE_UPSTREAM_TIMEOUT || code == ERRCODE_UPSTREAM_STALLED) {
            ck_assert_int_eq(h.state, HEALTH_OPEN);
            n_hangs++;
            continue;
        }
        ck_assert_int_eq(h.state, HEALTH_CLOSED);
        ck_assert_uint_eq(h.n_failures, is_good ? 0 : HEALTH_FAILURES - 1);
        n_works += is_good;
    }
    ck_assert_uint_eq(n_works, ARRAY_LEN(works));
    ck_assert_uint_eq(n_hangs, 2);
}
END_TEST

START_TEST(a_probe_closes_it)
{
    struct health h = {0};
    uint64_t now = START;

    open_it(&h, now);
    now += HEALTH_OPEN_MIN_USEC;

    struct health_run probe = health_take(&h, now);

    ck_assert_int_eq(h.state, HEALTH_HALF_OPEN);
    ck_assert(probe.is_probe);
    ck_assert(!health_can_take(&h, now)); /* one, not two */
    ck_assert(!health_can_take(&h, now + 1000 * SEC));
    ck_assert_int_eq(health_began(&h, &probe), HEALTH_HAS_CLOSED);
    ck_assert(health_can_take(&h, now));
    ck_assert_int_eq(health_ended(&h, &probe, ERRCODE_NONE, now), HEALTH_NO_NEWS);
    health_leave(&h, &probe);
    open_it(&h, now); /* from the start again, and for the short time */
    ck_assert_uint_eq(h.open_usec, HEALTH_OPEN_MIN_USEC);
}
END_TEST

START_TEST(a_refusal_by_the_server_closes_it)
{
    struct health h = {0};

    open_it(&h, START);
    ck_assert_int_eq(one_call(&h, ERRCODE_UPSTREAM_ERROR, START + 5 * SEC), HEALTH_HAS_CLOSED);
    ck_assert_int_eq(h.state, HEALTH_CLOSED);
}
END_TEST

START_TEST(failed_probes_double_the_pause_to_a_limit)
{
    static const uint64_t pauses[] = {5 * SEC, 10 * SEC, 20 * SEC, 40 * SEC, 60 * SEC, 60 * SEC};
    struct health h = {0};
    uint64_t now = START;

    open_it(&h, now);
    for (size_t i = 0; i < ARRAY_LEN(pauses); i++) {
        ck_assert_uint_eq(h.open_usec, pauses[i]);
        ck_assert(!health_can_take(&h, now + pauses[i] - 1));
        now += pauses[i];
        ck_assert_int_eq(one_call(&h, ERRCODE_UPSTREAM_TIMEOUT, now), HEALTH_NO_NEWS);
        ck_assert_int_eq(h.state, HEALTH_OPEN);
        ck_assert_uint_eq(h.n_probes_failed, i + 1);
    }
    ck_assert_uint_eq(h.opened_at_usec, START);
    for (int i = 0; i < 1000; i++) { /* a week of it */
        now += HEALTH_OPEN_MAX_USEC;
        (void) one_call(&h, ERRCODE_UPSTREAM_STALLED, now);
        ck_assert_uint_eq(h.open_usec, HEALTH_OPEN_MAX_USEC);
    }
    now += HEALTH_OPEN_MAX_USEC;
    ck_assert_int_eq(one_call(&h, ERRCODE_NONE, now), HEALTH_HAS_CLOSED);
    open_it(&h, now);
    ck_assert_uint_eq(h.open_usec, HEALTH_OPEN_MIN_USEC);
    ck_assert_uint_eq(h.n_probes_failed, 0);
}
END_TEST

START_TEST(a_probe_that_proves_nothing_makes_room)
{
    static const enum errcode nothing[] = {
        ERRCODE_CANCELLED, ERRCODE_DEADLINE_EXCEEDED,    ERRCODE_UPSTREAM_RATE_LIMITED,
        ERRCODE_INTERNAL,  ERRCODE_UPSTREAM_UNREACHABLE, ERRCODE_CONTEXT_LENGTH};
    struct health h = {0};
    uint64_t now = START;

    open_it(&h, now);
    now += HEALTH_OPEN_MIN_USEC;
    for (size_t i = 0; i < ARRAY_LEN(nothing); i++) {
        ck_assert_int_eq(one_call(&h, nothing[i], now), HEALTH_NO_NEWS);
        ck_assert_int_eq(h.state, HEALTH_HALF_OPEN);
        ck_assert(health_can_take(&h, now));
    }

    struct health_run unjudged = health_take(&h, now);

    health_leave(&h, &unjudged); /* a ticket that came home without a word */
    ck_assert(health_can_take(&h, now));
    ck_assert_int_eq(one_call(&h, ERRCODE_UPSTREAM_TIMEOUT, now), HEALTH_NO_NEWS);
    ck_assert_uint_eq(h.open_usec, 2 * HEALTH_OPEN_MIN_USEC); /* only this one counted */
}
END_TEST

START_TEST(old_failures_are_old_news)
{
    struct health h = {0};
    struct health_run old[4];
    uint64_t now = START;

    for (size_t i = 0; i < ARRAY_LEN(old); i++) {
        old[i] = health_take(&h, now);
    }
    open_it(&h, now);
    ck_assert_int_eq(health_ended(&h, &old[0], ERRCODE_UPSTREAM_TIMEOUT, now), HEALTH_NO_NEWS);
    ck_assert_uint_eq(h.open_until_usec, START + HEALTH_OPEN_MIN_USEC);
    health_leave(&h, &old[0]);

    now += HEALTH_OPEN_MIN_USEC;

    struct health_run probe = health_take(&h, now);

    ck_assert_int_eq(health_ended(&h, &old[1], ERRCODE_UPSTREAM_TIMEOUT, now), HEALTH_NO_NEWS);
    health_leave(&h, &old[1]);
    ck_assert(!health_can_take(&h, now)); /* the probe is still out */
    ck_assert_int_eq(health_ended(&h, &probe, ERRCODE_NONE, now), HEALTH_HAS_CLOSED);
    health_leave(&h, &probe);
    (void) health_ended(&h, &old[2], ERRCODE_UPSTREAM_TIMEOUT, now);
    health_leave(&h, &old[2]);
    ck_assert_uint_eq(h.n_failures, 0);
    health_leave(&h, &old[3]);
}
END_TEST

/* An answer that begins late shows as much as a probe; the probe is a call like others then. */
START_TEST(old_answers_are_news)
{
    struct health h = {0};
    struct health_run old = health_take(&h, START);

    open_it(&h, START);
    ck_assert_int_eq(health_began(&h, &old), HEALTH_HAS_CLOSED); /* out of OPEN */
    open_it(&h, START);

    uint64_t now = START + HEALTH_OPEN_MAX_USEC;
    struct health_run probe = health_take(&h, now);

    ck_assert(probe.is_probe);
    ck_assert_int_eq(health_ended(&h, &old, ERRCODE_NONE, now), HEALTH_HAS_CLOSED); /* HALF_OPEN */
    health_leave(&h, &old);
    ck_assert_int_eq(health_ended(&h, &probe, ERRCODE_UPSTREAM_TIMEOUT, now), HEALTH_NO_NEWS);
    health_leave(&h, &probe);
    ck_assert_int_eq(h.state, HEALTH_CLOSED);
    ck_assert_uint_eq(h.n_failures, 1);
}
END_TEST

/* It lost its part to an answer that came before its own; the next probe is another. */
START_TEST(a_probe_of_before_is_not_the_probe)
{
    for (int is_judged = 0; is_judged < 2; is_judged++) {
        struct health h = {0};
        struct health_run old = health_take(&h, START);
        uint64_t now = START;

        open_it(&h, now);
        now += HEALTH_OPEN_MAX_USEC;

        struct health_run before = health_take(&h, now);

        ck_assert(before.is_probe);
        ck_assert_int_eq(health_began(&h, &old), HEALTH_HAS_CLOSED);
        health_leave(&h, &old);
        open_it(&h, now);
        now += HEALTH_OPEN_MAX_USEC;

        struct health_run probe = health_take(&h, now);

        if (is_judged) {
            (void) health_ended(&h, &before, ERRCODE_UPSTREAM_TIMEOUT, now);
        }
        health_leave(&h, &before);
        ck_assert_int_eq(h.state, HEALTH_HALF_OPEN);
        ck_assert(h.is_probing);
        health_leave(&h, &probe);
        ck_assert(!h.is_probing);
    }
}
END_TEST

START_TEST(the_beginning_of_an_answer_resets)
{
    struct health h = {.n_failures = HEALTH_FAILURES - 1};

    (void) begun_call(&h, ERRCODE_CANCELLED, START);
    ck_assert_uint_eq(h.n_failures, 0);
}
END_TEST

START_TEST(answers_that_begin_and_stall_open_it_too)
{
    struct health h = {0};
    uint64_t now = START;

    for (int i = 1; i < HEALTH_FAILURES; i++) {
        ck_assert_int_eq(begun_call(&h, ERRCODE_UPSTREAM_STALLED, now), HEALTH_NO_NEWS);
    }
    ck_assert_int_eq(begun_call(&h, ERRCODE_UPSTREAM_STALLED, now), HEALTH_HAS_OPENED);
    for (int i = 1; i < 6; i++) { /* a probe that stalls after a word: longer, as for one without */
        now = h.open_until_usec;
        ck_assert_int_eq(begun_call(&h, ERRCODE_UPSTREAM_STALLED, now), HEALTH_HAS_OPENED);
        ck_assert_uint_eq(h.open_usec, i < 4 ? HEALTH_OPEN_MIN_USEC << i : HEALTH_OPEN_MAX_USEC);
    }
}
END_TEST

START_TEST(a_good_end_between_makes_a_stall_the_first)
{
    struct health h = {.n_failures = HEALTH_FAILURES - 1};
    struct health_run stalls = health_take(&h, START);

    (void) health_began(&h, &stalls);
    (void) one_call(&h, ERRCODE_NONE, START);
    ck_assert_int_eq(health_ended(&h, &stalls, ERRCODE_UPSTREAM_STALLED, START), HEALTH_NO_NEWS);
    ck_assert_uint_eq(h.n_failures, 1);
    health_leave(&h, &stalls);
}
END_TEST

/* The limit for the whole answer, while words come: long, not hung. */
START_TEST(a_long_answer_is_no_failure)
{
    struct health h = {0};

    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(begun_call(&h, ERRCODE_UPSTREAM_TIMEOUT, START), HEALTH_NO_NEWS);
        ck_assert_uint_eq(h.n_failures, 0);
    }
}
END_TEST

START_TEST(says_when_and_why)
{
    struct health h = {0};
    char text[HEALTH_TEXT_BYTES];

    ck_assert_uint_eq(health_retry_after(&h, START), 0);
    ck_assert_ptr_null(health_describe(&h, true, START, text));
    open_it(&h, START);
    ck_assert_uint_eq(health_retry_after(&h, START), 5 * SEC);
    ck_assert_uint_eq(health_retry_after(&h, START + 1), 5 * SEC); /* rounded up */
    ck_assert_uint_eq(health_retry_after(&h, START + SEC), 4 * SEC);
    ck_assert_uint_eq(health_retry_after(&h, START + 5 * SEC - 1), SEC);
    ck_assert_uint_eq(health_retry_after(&h, START + 5 * SEC), 0);
    ck_assert_str_eq(health_describe(&h, true, START + SEC, text),
                     "breaker open for 4 s after 3 time-outs");
    ck_assert_str_eq(health_describe(&h, false, START + SEC, text),
                     "breaker open after 3 time-outs");
    ck_assert_ptr_null(health_describe(&h, true, START + 5 * SEC, text));
    (void) health_take(&h, START + 5 * SEC);
    ck_assert_uint_eq(health_retry_after(&h, START + 9 * SEC), HEALTH_OPEN_MIN_USEC);
    ck_assert_str_eq(health_describe(&h, true, START + 9 * SEC, text),
                     "breaker half open after 3 time-outs: one call is trying it");
    h.n_failures = UINT32_MAX; /* the longest */
    ck_assert_ptr_nonnull(health_describe(&h, true, START + 9 * SEC, text));
    ck_assert_ptr_nonnull(strstr(text, "trying it"));
}
END_TEST

START_TEST(states_have_names)
{
    ck_assert_str_eq(health_state_name(HEALTH_CLOSED), "closed");
    ck_assert_str_eq(health_state_name(HEALTH_OPEN), "open");
    ck_assert_str_eq(health_state_name(HEALTH_HALF_OPEN), "half open");
}
END_TEST

/*
 * A long run of calls in disorder: never two probes at a time, never stuck, and when all is home
 * and the server works, it is closed.
 */
START_TEST(any_order_of_calls)
{
    static const enum errcode outcomes[] = {
        ERRCODE_NONE,         ERRCODE_UPSTREAM_TIMEOUT, ERRCODE_UPSTREAM_TIMEOUT,
        ERRCODE_CANCELLED,    ERRCODE_UPSTREAM_STALLED, ERRCODE_UPSTREAM_RATE_LIMITED,
        ERRCODE_UPSTREAM_CUT, ERRCODE_UPSTREAM_TIMEOUT, ERRCODE_UPSTREAM_ERROR,
    };
    struct health h = {0};
    struct health_run runs[8];
    bool is_out[8] = {false};
    uint64_t now = START;
    uint32_t x = 12345;
    unsigned n_opened = 0, n_probes = 0;

    for (int i = 0; i < 20000; i++) {
        x = x * 1664525 + 1013904223;

        unsigned k = x >> 29, what = x >> 16 & 0xff;

        now += what * SEC / 64;
        if (!is_out[k]) {
            if (health_can_take(&h, now)) {
                runs[k] = health_take(&h, now);
                is_out[k] = true;
                n_probes += runs[k].is_probe;
            }
            continue;
        }
        if (what % 4 == 0 && !runs[k].has_begun) {
            (void) health_began(&h, &runs[k]);
            continue;
        }
        n_opened += health_ended(&h, &runs[k], outcomes[what % ARRAY_LEN(outcomes)], now) ==
                    HEALTH_HAS_OPENED;
        health_leave(&h, &runs[k]);
        is_out[k] = false;

        unsigned n_out = 0;

        for (size_t n = 0; n < ARRAY_LEN(runs); n++) {
            n_out += is_out[n] && runs[n].is_probe && runs[n].epoch == h.epoch;
        }
        ck_assert_uint_le(n_out, 1);
        ck_assert(!h.is_probing || n_out == 1);
        ck_assert_uint_le(h.open_usec, HEALTH_OPEN_MAX_USEC);
    }
    ck_assert_uint_gt(n_opened, 100);
    ck_assert_uint_gt(n_probes, 100);
    for (size_t k = 0; k < ARRAY_LEN(runs); k++) {
        if (is_out[k]) {
            health_leave(&h, &runs[k]);
        }
    }
    now += HEALTH_OPEN_MAX_USEC;
    ck_assert(health_can_take(&h, now));
    (void) one_call(&h, ERRCODE_NONE, now);
    ck_assert_int_eq(h.state, HEALTH_CLOSED);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, opens_after_time_outs_in_a_row);
    tcase_add_test(tc, each_outcome_counts_resets_or_says_nothing);
    tcase_add_test(tc, a_probe_closes_it);
    tcase_add_test(tc, a_refusal_by_the_server_closes_it);
    tcase_add_test(tc, failed_probes_double_the_pause_to_a_limit);
    tcase_add_test(tc, a_probe_that_proves_nothing_makes_room);
    tcase_add_test(tc, old_failures_are_old_news);
    tcase_add_test(tc, old_answers_are_news);
    tcase_add_test(tc, a_probe_of_before_is_not_the_probe);
    tcase_add_test(tc, the_beginning_of_an_answer_resets);
    tcase_add_test(tc, answers_that_begin_and_stall_open_it_too);
    tcase_add_test(tc, a_good_end_between_makes_a_stall_the_first);
    tcase_add_test(tc, a_long_answer_is_no_failure);
    tcase_add_test(tc, says_when_and_why);
    tcase_add_test(tc, states_have_names);
    tcase_add_test(tc, any_order_of_calls);
}
TEST_MAIN("health", add_tests)
