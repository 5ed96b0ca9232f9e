/*
 * The queue and the slots behind it, without calls: order, what is refused and with which
 * Retry-After, deadlines, and tickets that come home from everywhere.
 */
#include <string.h>

#include "admission_desk.h"

START_TEST(slots_go_in_order_of_arrival)
{
    struct ticket t[3] = {0};
    struct desk k;

    desk_init(&k, 1, 8);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        let_in(&k, &t[i], "a");
    }
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        ck_assert_ptr_eq(admission_next(&k.admission, START), &t[i]);
        ck_assert_int_eq(t[i].state, TICKET_GRANTED);
        ck_assert_str_eq(t[i].deployment->id, "a");
        ck_assert_uint_eq(t[i].deployment->in_use, 1);
        ck_assert_uint_eq(k.admission.n_queued, ARRAY_LEN(t) - 1 - i);
        ck_assert_uint_eq(k.admission.n_granted, 1);
        ck_assert_ptr_null(admission_next(&k.admission, START)); /* no slot is free */
        admission_release(&k.admission, &t[i], 0);
    }
    desk_done(&k);
}
END_TEST

START_TEST(a_busy_group_does_not_block_another)
{
    struct ticket t[3] = {0};
    struct desk k;

    desk_init(&k, 1, 8);
    let_in(&k, &t[0], "a");
    let_in(&k, &t[1], "a");
    let_in(&k, &t[2], "b");
    ck_assert_ptr_eq(admission_next(&k.admission, START), &t[0]);
    ck_assert_ptr_eq(admission_next(&k.admission, START), &t[2]);
    ck_assert_ptr_null(admission_next(&k.admission, START));
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        admission_release(&k.admission, &t[i], 0);
    }
    desk_done(&k);
}
END_TEST

START_TEST(tickets_and_bytes_are_bounded)
{
    struct ticket t[3] = {0}, late = {0};
    struct admission_params params;
    struct desk k;

    desk_init(&k, 1, 3);
    ck_assert_int_eq(enqueue(&k, &t[0], "a", 400).code, ERRCODE_NONE);
    ck_assert_int_eq(enqueue(&k, &late, "a", 601).code, ERRCODE_QUEUE_FULL);
    ck_assert_int_eq(late.state, TICKET_HOME);
    ck_assert_int_eq(enqueue(&k, &t[1], "a", 600).code, ERRCODE_NONE); /* 1000 and no more */
    ck_assert_int_eq(enqueue(&k, &late, "a", 1).code, ERRCODE_QUEUE_FULL);
    ck_assert_int_eq(enqueue(&k, &t[2], "a", 0).code, ERRCODE_NONE);
    ck_assert_int_eq(enqueue(&k, &late, "a", 0).code, ERRCODE_QUEUE_FULL); /* three wait */
    ck_assert_uint_eq(k.admission.queued_bytes, 1000);
    admission_release(&k.admission, &t[1], 0);
    ck_assert_uint_eq(k.admission.queued_bytes, 400);
    ck_assert_uint_eq(k.admission.n_queued, 2);

    params = k.admission.params;
    params.max_queued = 1; /* a reload with less: who waits may go on waiting */
    admission_set_params(&k.admission, &params);
    ck_assert_int_eq(enqueue(&k, &late, "a", 0).code, ERRCODE_QUEUE_FULL);
    ck_assert_uint_eq(k.admission.n_queued, 2);
    admission_release(&k.admission, &t[0], 0);
    admission_release(&k.admission, &t[2], 0);
    ck_assert_int_eq(enqueue(&k, &late, "a", SIZE_MAX).code, ERRCODE_NONE); /* alone: any size */
    ck_assert_int_eq(enqueue(&k, &t[0], "a", 0).code, ERRCODE_QUEUE_FULL);
    admission_release(&k.admission, &late, 0);
    ck_assert_uint_eq(k.admission.queued_bytes, 0);
    desk_done(&k);
}
END_TEST

START_TEST(who_cannot_be_served_is_refused)
{
    static const enum pressure_level levels[] = {PRESSURE_L3, PRESSURE_L4};
    struct ticket t = {0};
    struct verdict v;
    struct desk k;
    uint64_t last_usec = 0;

    desk_init(&k, 1, 8);
    ck_assert_int_eq(enqueue(&k, &t, "off", 1).code, ERRCODE_MISCONFIGURED);
    ck_assert_uint_eq(enqueue(&k, &t, "off", 1).retry_after_usec, 0); /* waiting does not help */
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        k.pressure.level = levels[i];
        v = enqueue(&k, &t, "a", 1);
        ck_assert_int_eq(v.code, ERRCODE_MEMORY_PRESSURE);
        ck_assert_uint_gt(v.retry_after_usec, last_usec); /* the worse, the longer */
        ck_assert_uint_le(v.retry_after_usec, RETRY_AFTER_MAX_USEC);
        last_usec = v.retry_after_usec;
    }
    k.admission.is_draining = true;
    v = enqueue(&k, &t, "a", 1);
    ck_assert_int_eq(v.code, ERRCODE_DRAINING);
    ck_assert_uint_eq(v.retry_after_usec, RETRY_AFTER_MIN_USEC);
    ck_assert_int_eq(t.state, TICKET_HOME);
    k.admission.is_draining = false;
    k.admission.pressure = NULL; /* no gate */
    let_in(&k, &t, "a");
    admission_release(&k.admission, &t, 0);
    desk_done(&k);
}
END_TEST

START_TEST(retry_after_follows_the_pace_and_the_queue)
{
    static const uint64_t paces[] = {1 * SEC, 10 * SEC};
    static struct ticket t[9];

    for (size_t i = 0; i < ARRAY_LEN(paces); i++) {
        struct ticket late = {0};
        struct verdict v;
        struct desk k;

        memset(t, 0, sizeof t);
        desk_init(&k, 1, ARRAY_LEN(t));
        serve_one(&k, paces[i]);
        for (size_t n = 0; n < ARRAY_LEN(t); n++) {
            ck_assert_int_eq(enqueue_as(&k, &t[n], "a", CLASS_BACKGROUND, 0, USEC_NEVER).code,
                             ERRCODE_NONE);
        }
        v = enqueue_as(&k, &late, "a", CLASS_BACKGROUND, 0, USEC_NEVER);
        ck_assert_int_eq(v.code, ERRCODE_QUEUE_FULL);
        ck_assert_uint_ge(v.retry_after_usec, paces[i] * 8 / 10);
        ck_assert_uint_le(v.retry_after_usec, paces[i] * 12 / 10);
        for (size_t n = 0; n < ARRAY_LEN(t); n++) {
            admission_release(&k.admission, &t[n], 0);
        }
        desk_done(&k);
    }
}
END_TEST

START_TEST(who_would_wait_too_long_is_told_at_once)
{
    static struct ticket t[16];
    struct ticket late = {0};
    size_t n_in = 0;
    struct verdict v;
    struct desk k;

    desk_init(&k, 1, ARRAY_LEN(t)); /* a wait of 15 s, of which 12 may be expected */
    serve_one(&k, 3 * SEC);
    do {
        v = enqueue(&k, &t[n_in], "a", 0);
        n_in += v.code == ERRCODE_NONE;
    } while (v.code == ERRCODE_NONE && n_in < ARRAY_LEN(t));
    ck_assert_uint_eq(n_in, 5); /* the fifth waits for 12 s */
    ck_assert_int_eq(v.code, ERRCODE_PREDICTED_WAIT);
    ck_assert_int_eq(t[n_in].state, TICKET_HOME);
    ck_assert_uint_ge(v.retry_after_usec, 3 * SEC * 8 / 10);
    ck_assert_int_eq(enqueue_as(&k, &late, "a", CLASS_BATCH, 0, USEC_NEVER).code, ERRCODE_NONE);
    admission_release(&k.admission, &late, START);
    for (size_t i = 0; i < n_in; i++) {
        admission_release(&k.admission, &t[i], START);
    }
    desk_done(&k);
}
END_TEST

START_TEST(waiting_ends_by_class_or_own_deadline)
{
    static const struct {
        enum call_class class;
        uint64_t own_at_usec, end_at_usec;
    } table[] = {
        {CLASS_INTERACTIVE, USEC_NEVER, START + 15 * SEC},
        {CLASS_BATCH, USEC_NEVER, START + 120 * SEC},
        {CLASS_BACKGROUND, USEC_NEVER, START + 600 * SEC},
        {CLASS_BATCH, START + 2 * SEC, START + 2 * SEC},
        {CLASS_INTERACTIVE, START + 3600 * SEC, START + 15 * SEC}, /* not longer than the class */
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct verdict v = {.code = ERRCODE_NONE};
        struct ticket t = {0};
        struct desk k;

        desk_init(&k, 1, 8);
        ck_assert_uint_eq(admission_next_deadline(&k.admission), USEC_NEVER);
        v = enqueue_as(&k, &t, "a", table[i].class, 1, table[i].own_at_usec);
        ck_assert_int_eq(v.code, ERRCODE_NONE);
        ck_assert_uint_eq(admission_next_deadline(&k.admission), table[i].end_at_usec);
        ck_assert_ptr_null(admission_expire(&k.admission, table[i].end_at_usec - 1, &v));
        ck_assert_ptr_eq(admission_expire(&k.admission, table[i].end_at_usec, &v), &t);
        ck_assert_int_eq(v.code, ERRCODE_QUEUE_TIMEOUT);
        ck_assert_uint_ge(v.retry_after_usec, RETRY_AFTER_MIN_USEC);
        ck_assert_uint_le(v.retry_after_usec, RETRY_AFTER_MAX_USEC);
        ck_assert_int_eq(t.state, TICKET_HOME);
        ck_assert_ptr_null(admission_expire(&k.admission, USEC_NEVER, &v));
        ck_assert_uint_eq(admission_next_deadline(&k.admission), USEC_NEVER);
        desk_done(&k);
    }
}
END_TEST

START_TEST(only_those_whose_time_is_up_leave)
{
    struct ticket t[4] = {0};
    struct verdict v;
    struct desk k;

    desk_init(&k, 1, 8);
    for (size_t i = 0; i < ARRAY_LEN(t); i++) { /* the 1st and 3rd are in a hurry */
        v = enqueue_as(&k, &t[i], "a", CLASS_BATCH, 100,
                       i % 2 ? USEC_NEVER : START + (4 - i) * SEC);
        ck_assert_int_eq(v.code, ERRCODE_NONE);
    }
    ck_assert_uint_eq(admission_next_deadline(&k.admission), START + 2 * SEC); /* not the first */
    ck_assert_ptr_eq(admission_expire(&k.admission, START + 5 * SEC, &v), &t[0]);
    ck_assert_ptr_eq(admission_expire(&k.admission, START + 5 * SEC, &v), &t[2]);
    ck_assert_ptr_null(admission_expire(&k.admission, START + 5 * SEC, &v));
    ck_assert_uint_eq(k.admission.queued_bytes, 200);
    ck_assert_ptr_eq(admission_next(&k.admission, START + 5 * SEC), &t[1]);
    ck_assert_ptr_eq(admission_expire(&k.admission, USEC_NEVER, &v),
                     &t[3]); /* a slot is for good */
    ck_assert_ptr_null(admission_expire(&k.admission, USEC_NEVER, &v));
    admission_release(&k.admission, &t[1], 0);
    desk_done(&k);
}
END_TEST

START_TEST(tickets_come_home_from_everywhere_and_once)
{
    struct ticket t[2] = {0};
    struct desk k;

    desk_init(&k, 1, 8);
    admission_release(&k.admission, &t[0], 0); /* HOME already */
    let_in(&k, &t[0], "a");
    let_in(&k, &t[1], "a");
    ck_assert_ptr_eq(admission_next(&k.admission, START), &t[0]);

    struct deployment *d = t[0].deployment;

    for (int twice = 0; twice < 2; twice++) {
        admission_release(&k.admission, &t[0], 0);
        admission_release(&k.admission, &t[1], 0);
        ck_assert_int_eq(t[0].state, TICKET_HOME);
        ck_assert_int_eq(t[1].state, TICKET_HOME);
        ck_assert_uint_eq(d->in_use, 0);
        ck_assert_uint_eq(k.admission.n_granted + k.admission.n_queued, 0);
        ck_assert_uint_eq(k.admission.queued_bytes, 0);
    }
    let_in(&k, &t[0], "a"); /* and may go again */
    admission_release(&k.admission, &t[0], 0);
    desk_done(&k);
}
END_TEST

/* A device that slept, or a clock that was set: who waited for too long is told so, and all goes on. */
START_TEST(a_clock_that_jumps)
{
    const uint64_t later = START + 86400 * SEC;
    struct ticket runs = {0}, waits[2] = {0}, late = {0};
    struct verdict v;
    struct desk k;

    desk_init(&k, 1, 8);
    serve_one(&k, SEC);
    let_in(&k, &runs, "a");
    ck_assert_ptr_eq(admission_next(&k.admission, START), &runs);
    let_in(&k, &waits[0], "a");
    let_in(&k, &waits[1], "b");
    ck_assert_ptr_null(admission_expire(&k.admission, START - 500 * SEC, &v)); /* back */
    ck_assert_ptr_eq(admission_next(&k.admission, START - 500 * SEC), &waits[1]);
    ck_assert_ptr_eq(admission_expire(&k.admission, later, &v), &waits[0]);
    ck_assert_int_eq(v.code, ERRCODE_QUEUE_TIMEOUT);
    ck_assert_uint_le(v.retry_after_usec, 60 * SEC);
    ck_assert_ptr_null(admission_next(&k.admission, later));
    ck_assert_uint_eq(admission_next_deadline(&k.admission), USEC_NEVER);
    admission_note_end(&k.admission, &runs, ERRCODE_NONE, later);
    admission_release(&k.admission, &runs, later);
    admission_release(&k.admission, &waits[1], later);
    let_in(&k, &late, "a"); /* at START, so back once more */
    ck_assert_ptr_eq(admission_next(&k.admission, START), &late);
    admission_release(&k.admission, &late, START);
    desk_done(&k);
}
END_TEST

/* Nobody asked for those whose time was up while all stood still: they get no slot, nor another's. */
START_TEST(nobody_runs_after_its_deadline)
{
    struct ticket runs = {0}, late = {0}, waits = {0};
    struct verdict v;
    struct desk k;

    desk_init(&k, 1, 8);
    ck_assert_int_eq(enqueue_as(&k, &runs, "a", CLASS_BACKGROUND, 1, USEC_NEVER).code,
                     ERRCODE_NONE);
    ck_assert_ptr_eq(admission_next(&k.admission, START), &runs);
    ck_assert_int_eq(enqueue_as(&k, &late, "a", CLASS_INTERACTIVE, 1, START + 5 * SEC).code,
                     ERRCODE_NONE);
    ck_assert_ptr_null(admission_preempt(&k.admission, START + 6 * SEC));
    let_in(&k, &waits, "a");
    ck_assert_ptr_eq(admission_preempt(&k.admission, START + 6 * SEC), &runs);
    admission_release(&k.admission, &runs, START + 6 * SEC);
    ck_assert_ptr_eq(admission_next(&k.admission, START + 6 * SEC), &waits);
    admission_release(&k.admission, &waits, START + 6 * SEC);
    ck_assert_ptr_null(admission_next(&k.admission, START + 6 * SEC));
    ck_assert_ptr_eq(admission_next(&k.admission, START + 5 * SEC), &late); /* its last moment */
    admission_release(&k.admission, &late, START + 5 * SEC);
    ck_assert_ptr_null(admission_expire(&k.admission, START + 6 * SEC, &v));
    desk_done(&k);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, a_clock_that_jumps);
    tcase_add_test(tc, slots_go_in_order_of_arrival);
    tcase_add_test(tc, a_busy_group_does_not_block_another);
    tcase_add_test(tc, tickets_and_bytes_are_bounded);
    tcase_add_test(tc, who_cannot_be_served_is_refused);
    tcase_add_test(tc, retry_after_follows_the_pace_and_the_queue);
    tcase_add_test(tc, who_would_wait_too_long_is_told_at_once);
    tcase_add_test(tc, waiting_ends_by_class_or_own_deadline);
    tcase_add_test(tc, only_those_whose_time_is_up_leave);
    tcase_add_test(tc, nobody_runs_after_its_deadline);
    tcase_add_test(tc, tickets_come_home_from_everywhere_and_once);
}
TEST_MAIN("admission", add_tests)
