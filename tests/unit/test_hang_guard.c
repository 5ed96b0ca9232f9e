/*
 * What is done about a model server that hangs, under a virtual clock: what is evidence and what is
 * not, the order of the steps, that each has an end, and how often a unit is restarted.
 */
#include "support.h"

#include "base/clock.h"
#include "core/hang_guard.h"

#define START (1000 * USEC_PER_SEC)

START_TEST(three_different_calls_are_enough)
{
    struct hang_evidence e = {0};

    ck_assert(!hang_evidence_is_enough(&e, "m"));
    ck_assert(!hang_evidence_add_call(&e, "m", 1));
    ck_assert(!hang_evidence_add_call(&e, "m", 2));
    ck_assert(hang_evidence_add_call(&e, "m", 3));
    ck_assert(hang_evidence_add_call(&e, "m", 4));
    ck_assert(hang_evidence_is_enough(&e, "m"));
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), HANG_CALLS);
}
END_TEST

START_TEST(one_call_is_one_witness)
{
    struct hang_evidence e = {0};

    for (int i = 0; i < 10; i++) {
        ck_assert(!hang_evidence_add_call(&e, "m", 7));
    }
    ck_assert(!hang_evidence_add_call(&e, "m", 8));
    ck_assert(!hang_evidence_add_call(&e, "m", 7));
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), 2);
}
END_TEST

START_TEST(doubt_leaves_one_to_come)
{
    struct hang_evidence e = {0};

    hang_evidence_doubt(&e);
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), 0);
    (void) hang_evidence_add_call(&e, "m", 1);
    (void) hang_evidence_add_call(&e, "m", 2);
    hang_evidence_doubt(&e);
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), 2);
    (void) hang_evidence_add_call(&e, "m", 3);
    hang_evidence_doubt(&e);
    ck_assert(!hang_evidence_is_enough(&e, "m"));
    ck_assert(!hang_evidence_add_call(&e, "m", 3)); /* the same witness again */
    ck_assert(hang_evidence_add_call(&e, "m", 4));
}
END_TEST

START_TEST(what_one_model_answers_absolves_no_other)
{
    struct hang_evidence e = {0};

    (void) hang_evidence_add_call(&e, "sick", 1);
    (void) hang_evidence_add_call(&e, "well", 2);
    (void) hang_evidence_add_call(&e, "sick", 3);
    hang_evidence_clear(&e, "well");
    hang_evidence_clear(&e, "never seen");
    ck_assert_uint_eq(hang_evidence_n(&e, "well"), 0);
    ck_assert(!hang_evidence_add_call(&e, "well", 4));
    ck_assert(hang_evidence_add_call(&e, "sick", 5));
    ck_assert(!hang_evidence_is_enough(&e, "well"));
    hang_evidence_clear(&e, "sick");
    ck_assert_uint_eq(hang_evidence_n(&e, "sick"), 0);
    ck_assert_uint_eq(hang_evidence_n(&e, "well"), 1);
}
END_TEST

/* Whoever asks for many names cannot make the one forgotten that hangs all the time. */
START_TEST(who_is_accused_often_is_kept)
{
    struct hang_evidence e = {0};
    const char *names[] = {"a", "b", "c", "d", "e"};
    bool is_enough = false;

    for (unsigned i = 0; i < HANG_CALLS; i++) {
        is_enough = hang_evidence_add_call(&e, "sick", 100 + i);
        for (unsigned k = 0; k + 1 < HANG_SUSPECTS; k++) {
            (void) hang_evidence_add_call(&e, names[i + k], 200 + 10 * i + k);
        }
    }
    ck_assert(is_enough);
    for (unsigned i = 0; i < HANG_SUSPECTS; i++) { /* and there is an end to what is kept */
        (void) hang_evidence_add_call(&e, names[i], 300 + i);
    }
    ck_assert_uint_eq(hang_evidence_n(&e, "sick"), 0);
}
END_TEST

START_TEST(a_place_that_is_free_is_taken_first)
{
    struct hang_evidence e = {0};
    const char *names[HANG_SUSPECTS] = {"a", "b", "c", "d"};

    for (unsigned i = 0; i < HANG_SUSPECTS; i++) {
        (void) hang_evidence_add_call(&e, names[i], i + 1);
    }
    hang_evidence_clear(&e, "c");
    (void) hang_evidence_add_call(&e, "new", 9);
    ck_assert_uint_eq(hang_evidence_n(&e, "a"), 1);
    ck_assert_uint_eq(hang_evidence_n(&e, "b"), 1);
    ck_assert_uint_eq(hang_evidence_n(&e, "d"), 1);
    ck_assert_uint_eq(hang_evidence_n(&e, "new"), 1);
}
END_TEST

/* ---------------------------------------------------------------- unloads that are never done */

/* As many as n, so long after each other. The last one's answer, and *now is its time. */
static bool add_unloads(struct hang_evidence *e, unsigned n, uint64_t every_usec, uint64_t *now)
{
    bool is_enough = false;

    for (unsigned i = 0; i < n; i++) {
        *now += every_usec;
        is_enough = hang_evidence_add_unload(e, "m", *now);
    }
    return is_enough;
}

START_TEST(unloads_alone_are_enough_after_a_while)
{
    struct hang_evidence e = {0};
    uint64_t now = START;

    ck_assert(!add_unloads(&e, 1, 0, &now));
    ck_assert(!add_unloads(&e, 3, 38 * USEC_PER_SEC, &now)); /* 114 s after the first */
    ck_assert(!hang_evidence_is_of_unloads(&e, "m"));
    ck_assert(add_unloads(&e, 1, 38 * USEC_PER_SEC, &now));
    ck_assert(hang_evidence_is_enough(&e, "m") && hang_evidence_is_of_unloads(&e, "m"));
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), 5);
    ck_assert(!hang_evidence_is_enough(&e, "other"));
}
END_TEST

START_TEST(the_bounds_of_a_row_of_unloads)
{
    struct hang_evidence two = {0}, slow = {0}, late = {0};
    uint64_t now = START;

    ck_assert(!add_unloads(&two, 2, HANG_UNLOADS_PAUSE_USEC, &now)); /* so long, but not so often */
    ck_assert(!hang_evidence_is_of_unloads(&two, "m"));
    now = START;
    ck_assert(add_unloads(&slow, HANG_UNLOADS, HANG_UNLOADS_PAUSE_USEC, &now));
    now = START;
    ck_assert(!add_unloads(&late, 20, HANG_UNLOADS_PAUSE_USEC + 1, &now));
    ck_assert_uint_eq(hang_evidence_n(&late, "m"), 1);
}
END_TEST

START_TEST(what_ends_a_row_of_unloads)
{
    struct hang_evidence e = {0};
    uint64_t now = START;

    hang_evidence_unloaded(&e, "m");
    ck_assert(add_unloads(&e, 4, 60 * USEC_PER_SEC, &now));
    hang_evidence_unloaded(&e, "other");
    ck_assert(hang_evidence_is_enough(&e, "m"));
    hang_evidence_unloaded(&e, "m"); /* it was done after all */
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), 0);
    ck_assert(add_unloads(&e, 4, 60 * USEC_PER_SEC, &now));
    hang_evidence_clear(&e, "m"); /* it answered */
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), 0);
    ck_assert(add_unloads(&e, 4, 60 * USEC_PER_SEC, &now));
    hang_evidence_doubt(&e); /* something was done */
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), 0);
}
END_TEST

START_TEST(calls_and_unloads_are_witnesses_together)
{
    struct hang_evidence e = {0};
    uint64_t now = START;

    ck_assert(!add_unloads(&e, 3, USEC_PER_SEC, &now)); /* an operator who is in a hurry */
    ck_assert(hang_evidence_add_call(&e, "m", 1));
    ck_assert(!hang_evidence_is_of_unloads(&e, "m"));
    hang_evidence_unloaded(&e, "m");
    ck_assert(!hang_evidence_is_enough(&e, "m"));
    ck_assert_uint_eq(hang_evidence_n(&e, "m"), 1);
}
END_TEST

/* ---------------------------------------------------------------- the server */

START_TEST(what_never_goes_is_restarted_at_once)
{
    struct hang_guard g = {.can_restart = true}, without = {0};

    ck_assert_int_eq(hang_guard_stuck(&g, START), HANG_DRAIN);
    ck_assert_int_eq(hang_guard_stuck(&g, START), HANG_NOTHING);
    ck_assert_int_eq(hang_guard_drained(&g, START), HANG_RESTART);
    ck_assert_int_eq(hang_guard_restarted(&g, true), HANG_RELEASE);
    ck_assert_int_eq(hang_guard_stuck(&g, START + USEC_PER_SEC), HANG_TOO_SOON);
    ck_assert_int_eq(g.state, HANG_WATCHING);
    ck_assert(!g.was_unloaded); /* of calls that hang later it is not known what helps */
    ck_assert_int_eq(hang_guard_hung(&g, START + USEC_PER_SEC), HANG_UNLOAD);
    ck_assert_int_eq(hang_guard_stuck(&without, START), HANG_RELEASE);
    ck_assert_int_eq(without.state, HANG_WATCHING);
}
END_TEST

START_TEST(an_unload_that_helps_is_all)
{
    struct hang_guard g = {.can_restart = true};

    ck_assert_int_eq(hang_guard_hung(&g, START), HANG_UNLOAD);
    ck_assert_str_eq(hang_state_name(g.state), "unloading");
    ck_assert_uint_eq(g.until_usec, START + HANG_UNLOAD_USEC);
    ck_assert_int_eq(hang_guard_hung(&g, START), HANG_NOTHING);
    ck_assert_int_eq(hang_guard_unloaded(&g, true, START), HANG_RELEASE);
    ck_assert_int_eq(g.state, HANG_WATCHING);
    ck_assert_int_eq(hang_guard_answered(&g), HANG_NOTHING);
    ck_assert_int_eq(hang_guard_hung(&g, START), HANG_UNLOAD); /* a hang of its own */
    ck_assert_uint_eq(g.n_restarts, 0);
}
END_TEST

/* To RESTARTING, from a first hang. */
static void hang_to_restart(struct hang_guard *g, uint64_t now)
{
    ck_assert_int_eq(hang_guard_hung(g, now), HANG_UNLOAD);
    ck_assert_int_eq(hang_guard_unloaded(g, false, now), HANG_DRAIN);
    ck_assert_int_eq(hang_guard_drained(g, now), HANG_RESTART);
    ck_assert_int_eq(g->state, HANG_RESTARTING);
}

START_TEST(what_does_not_go_is_restarted)
{
    struct hang_guard g = {.can_restart = true};

    hang_to_restart(&g, START);
    ck_assert_int_eq(hang_guard_hung(&g, START), HANG_NOTHING);
    ck_assert_int_eq(hang_guard_answered(&g), HANG_NOTHING); /* too late */
    ck_assert_int_eq(hang_guard_restarted(&g, true), HANG_RELEASE);
    ck_assert_int_eq(g.state, HANG_WATCHING);
    ck_assert_uint_eq(g.n_restarts, 1);
    ck_assert(!g.was_unloaded);
}
END_TEST

START_TEST(what_hangs_again_after_an_unload_is_restarted)
{
    struct hang_guard g = {.can_restart = true};

    (void) hang_guard_hung(&g, START);
    (void) hang_guard_unloaded(&g, true, START);
    ck_assert_int_eq(hang_guard_hung(&g, START + USEC_PER_SEC), HANG_DRAIN);
    ck_assert_uint_eq(g.until_usec, START + USEC_PER_SEC + HANG_DRAIN_USEC);
}
END_TEST

START_TEST(an_answer_while_others_end_calls_it_off)
{
    struct hang_guard g = {.can_restart = true};

    (void) hang_guard_hung(&g, START);
    (void) hang_guard_unloaded(&g, false, START);
    ck_assert_int_eq(g.state, HANG_DRAINING);
    ck_assert_int_eq(hang_guard_answered(&g), HANG_RELEASE);
    ck_assert_int_eq(g.state, HANG_WATCHING);
    ck_assert_uint_eq(g.n_restarts, 0);
}
END_TEST

START_TEST(without_a_unit_nothing_is_restarted)
{
    struct hang_guard g = {0};

    for (int i = 0; i < 5; i++) {
        uint64_t now = START + (uint64_t) i * HANG_RESTART_EVERY_MAX_USEC;
        enum hang_step step = hang_guard_hung(&g, now);

        ck_assert_int_eq(step, i == 0 ? HANG_UNLOAD : HANG_RELEASE);
        if (i == 0) {
            ck_assert_int_eq(hang_guard_unloaded(&g, false, now), HANG_RELEASE);
        }
        ck_assert_int_eq(g.state, HANG_WATCHING);
    }
    ck_assert_uint_eq(g.n_restarts, 0);
}
END_TEST

START_TEST(each_state_has_an_end)
{
    struct hang_guard g = {.can_restart = true};

    ck_assert_int_eq(hang_guard_expired(&g, START), HANG_NOTHING);
    (void) hang_guard_hung(&g, START);
    ck_assert_int_eq(hang_guard_expired(&g, g.until_usec), HANG_DRAIN);
    ck_assert_int_eq(hang_guard_expired(&g, g.until_usec), HANG_RESTART);
    ck_assert_uint_eq(g.until_usec, g.restarted_at_usec + HANG_RESTART_USEC);
    ck_assert_int_eq(hang_guard_expired(&g, g.until_usec), HANG_RELEASE);
    ck_assert_int_eq(g.state, HANG_WATCHING);
    ck_assert(g.was_unloaded); /* nothing has helped: no second unload before an answer */
}
END_TEST

START_TEST(restarts_are_rare_and_get_rarer)
{
    struct hang_guard g = {.can_restart = true};
    uint64_t now = START, pause = HANG_RESTART_EVERY_MIN_USEC;

    for (unsigned i = 1; i <= 10; i++) {
        hang_to_restart(&g, now);
        (void) hang_guard_restarted(&g, true);
        ck_assert_uint_eq(g.restart_at_usec, now + pause);
        /* it hangs again at once, and until the pause is over */
        ck_assert_int_eq(hang_guard_hung(&g, now), HANG_UNLOAD);
        ck_assert_int_eq(hang_guard_unloaded(&g, false, now), HANG_TOO_SOON);
        ck_assert_int_eq(hang_guard_hung(&g, now + pause - 1), HANG_TOO_SOON);
        ck_assert_int_eq(g.state, HANG_WATCHING);
        ck_assert_uint_eq(g.n_restarts, i);
        (void) hang_guard_answered(&g);
        now += pause;
        pause = 2 * pause < HANG_RESTART_EVERY_MAX_USEC ? 2 * pause : HANG_RESTART_EVERY_MAX_USEC;
    }
    ck_assert_uint_eq(pause, HANG_RESTART_EVERY_MAX_USEC);
}
END_TEST

START_TEST(after_a_calm_time_the_pause_is_short_again)
{
    struct hang_guard g = {.can_restart = true};
    uint64_t now = START;

    for (int i = 0; i < 3; i++) {
        hang_to_restart(&g, now);
        (void) hang_guard_restarted(&g, true);
        now = g.restart_at_usec;
    }
    ck_assert_uint_eq(g.restart_every_usec, 4 * HANG_RESTART_EVERY_MIN_USEC);
    now = g.restarted_at_usec + 2 * g.restart_every_usec + 1;
    hang_to_restart(&g, now);
    ck_assert_uint_eq(g.restart_every_usec, HANG_RESTART_EVERY_MIN_USEC);
}
END_TEST

/* A refused restart is one: who may not restart it is not asked again and again. */
START_TEST(a_refused_restart_counts)
{
    struct hang_guard g = {.can_restart = true};

    hang_to_restart(&g, START);
    ck_assert_int_eq(hang_guard_restarted(&g, false), HANG_RELEASE);
    ck_assert_int_eq(hang_guard_hung(&g, START + USEC_PER_SEC), HANG_TOO_SOON);
    ck_assert_int_eq(hang_guard_hung(&g, g.restart_at_usec), HANG_DRAIN);
}
END_TEST

START_TEST(any_order_of_events_keeps_the_bounds)
{
    uint64_t random = UINT64_C(88172645463325252), now = START;
    uint64_t restarts[64];
    struct hang_guard g = {.can_restart = true};
    unsigned n = 0;

    for (int i = 0; i < 200000 && n < ARRAY_LEN(restarts); i++) {
        unsigned before = g.n_restarts;

        random ^= random << 13; /* xorshift64 (Marsaglia, 2003) */
        random ^= random >> 7;
        random ^= random << 17;
        now += random % (3 * USEC_PER_SEC);
        if (g.state != HANG_WATCHING && now >= g.until_usec) {
            (void) hang_guard_expired(&g, now);
        } else if (random >> 20 & 1) {
            (void) (random >> 22 & 1 ? hang_guard_hung(&g, now) : hang_guard_stuck(&g, now));
        } else if (g.state == HANG_UNLOADING) {
            (void) hang_guard_unloaded(&g, random >> 21 & 1, now);
        } else if (g.state == HANG_DRAINING) {
            (void) hang_guard_drained(&g, now);
        } else if (g.state == HANG_RESTARTING) {
            (void) hang_guard_restarted(&g, random >> 21 & 1);
        } else if (random >> 21 & 1) {
            (void) hang_guard_answered(&g);
        }
        ck_assert(g.state == HANG_WATCHING || g.until_usec <= now + HANG_RESTART_USEC);
        if (g.n_restarts > before) {
            restarts[n++] = now;
        }
    }
    ck_assert_uint_gt(n, 10);
    for (unsigned i = 1; i < n; i++) {
        ck_assert_uint_ge(restarts[i] - restarts[i - 1], HANG_RESTART_EVERY_MIN_USEC);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, three_different_calls_are_enough);
    tcase_add_test(tc, one_call_is_one_witness);
    tcase_add_test(tc, doubt_leaves_one_to_come);
    tcase_add_test(tc, what_one_model_answers_absolves_no_other);
    tcase_add_test(tc, who_is_accused_often_is_kept);
    tcase_add_test(tc, a_place_that_is_free_is_taken_first);
    tcase_add_test(tc, unloads_alone_are_enough_after_a_while);
    tcase_add_test(tc, the_bounds_of_a_row_of_unloads);
    tcase_add_test(tc, what_ends_a_row_of_unloads);
    tcase_add_test(tc, calls_and_unloads_are_witnesses_together);
    tcase_add_test(tc, what_never_goes_is_restarted_at_once);
    tcase_add_test(tc, an_unload_that_helps_is_all);
    tcase_add_test(tc, what_does_not_go_is_restarted);
    tcase_add_test(tc, what_hangs_again_after_an_unload_is_restarted);
    tcase_add_test(tc, an_answer_while_others_end_calls_it_off);
    tcase_add_test(tc, without_a_unit_nothing_is_restarted);
    tcase_add_test(tc, each_state_has_an_end);
    tcase_add_test(tc, restarts_are_rare_and_get_rarer);
    tcase_add_test(tc, after_a_calm_time_the_pause_is_short_again);
    tcase_add_test(tc, a_refused_restart_counts);
    tcase_add_test(tc, any_order_of_events_keeps_the_bounds);
}

TEST_MAIN("hang_guard", add_tests)
