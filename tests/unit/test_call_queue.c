/*
 * How calls wait: slots, order, what the queue refuses and when waiting ends, as seen by those who
 * submit. The queue itself: test_admission.c.
 */
#include "call_support.h"

START_TEST(slots_are_kept_and_order_holds)
{
    struct world w;
    struct recording_sink s[4];

    world_init(&w, 2, 8);
    for (int i = 0; i < 4; i++) {
        submit(&w, request("m", "r"), &s[i]);
    }
    run(&w);
    ck_assert_uint_eq(w.puppet->n_started, 2);
    ck_assert_str_eq(recording_sink_text(&s[2]), "QUEUED 1\n");
    ck_assert_str_eq(recording_sink_text(&s[3]), "QUEUED 2\n");
    finish(&w, 1, EVENT_END);
    run(&w);
    ck_assert_uint_eq(w.puppet->n_started, 3);
    ck_assert_str_eq(recording_sink_text(&s[2]), "QUEUED 1\nSTARTED m d1\n");
    ck_assert_str_eq(recording_sink_text(&s[3]), "QUEUED 2\nQUEUED 1\n");
    finish(&w, 0, EVENT_FAILED);
    finish(&w, 2, EVENT_END);
    run(&w);
    finish(&w, 3, EVENT_END);
    run(&w);
    ck_assert_uint_eq(w.n_ended, 4);
    ck_assert_uint_eq(w.stats.n_completed, 3);
    ck_assert_uint_eq(w.stats.n_failed, 1);
    for (int i = 0; i < 4; i++) {
        ck_assert(s[i].is_over);
        recording_sink_done(&s[i]);
    }
    world_done(&w);
}
END_TEST

START_TEST(a_full_queue_refuses_with_a_time)
{
    struct world w;
    struct recording_sink s[4];

    world_init(&w, 1, 2);
    for (int i = 0; i < 3; i++) {
        submit(&w, request("m", "r"), &s[i]);
        run(&w);
    }
    struct call *call = submit(&w, request("m", "r"), &s[3]);

    (void) call;
    run(&w);
    ck_assert_int_eq(s[3].code, ERRCODE_QUEUE_FULL);
    ck_assert_uint_eq(w.registry.n_calls, 3);
    world_done(&w);
    for (int i = 0; i < 4; i++) {
        recording_sink_done(&s[i]);
    }
}
END_TEST

START_TEST(queued_bytes_are_bounded)
{
    struct world w;
    struct recording_sink s[3];
    struct request *big = request("m", "r");

    world_init(&w, 1, 10);
    submit(&w, request("m", "r"), &s[0]);
    run(&w);
    big->total_bytes = 950;
    submit(&w, big, &s[1]);
    run(&w);
    submit(&w, request("m", "r"), &s[2]); /* 950 + 100 > 1000 */
    run(&w);
    ck_assert_int_eq(s[2].code, ERRCODE_QUEUE_FULL);
    ck_assert_uint_eq(w.admission.queued_bytes, 950);
    world_done(&w);
    for (int i = 0; i < 3; i++) {
        recording_sink_done(&s[i]);
    }
}
END_TEST

START_TEST(a_body_over_the_limit_may_wait_alone)
{
    struct world w;
    struct recording_sink s[2];
    struct request *huge = request("m", "r");

    world_init(&w, 1, 10);
    huge->total_bytes = 5000; /* the limit is 1000 */
    submit(&w, huge, &s[0]);
    run(&w);
    ck_assert_uint_eq(w.puppet->n_started, 1);
    huge = request("m", "r");
    huge->total_bytes = 5000;
    submit(&w, huge, &s[1]);
    run(&w);
    ck_assert_str_eq(recording_sink_text(&s[1]), "QUEUED 1\n");
    finish(&w, 0, EVENT_END);
    run(&w);
    ck_assert_uint_eq(w.puppet->n_started, 2);
    world_done(&w);
    recording_sink_done(&s[0]);
    recording_sink_done(&s[1]);
}
END_TEST

START_TEST(waiting_has_an_end)
{
    struct world w;
    struct recording_sink s[3];
    struct request *hurried = request("m", "r"), *batch = request("m", "r");

    world_init(&w, 1, 4);
    submit(&w, request("m", "r"), &s[0]);
    run(&w);
    hurried->deadline_usec = 2 * SEC;
    batch->class = CLASS_BATCH;
    submit(&w, hurried, &s[1]);
    submit(&w, batch, &s[2]);
    run(&w);
    ck_assert_uint_eq(registry_next_deadline(&w.registry), w.now + 2 * SEC);
    w.now += 2 * SEC;
    run(&w);
    ck_assert_int_eq(s[1].code, ERRCODE_QUEUE_TIMEOUT);
    ck_assert(!s[2].is_over);
    w.now += 117 * SEC;
    run(&w);
    ck_assert(!s[2].is_over);
    w.now += 1 * SEC;
    run(&w);
    ck_assert_int_eq(s[2].code, ERRCODE_QUEUE_TIMEOUT);
    finish(&w, 0, EVENT_END);
    run(&w);
    world_done(&w);
    for (int i = 0; i < 3; i++) {
        recording_sink_done(&s[i]);
    }
}
END_TEST

/* Stopped and continued: a slot that comes free meanwhile goes to who comes now, not to who waited. */
START_TEST(a_process_that_stood_still)
{
    struct world w;
    struct recording_sink s[4];

    world_init(&w, 1, 2);
    for (int i = 0; i < 3; i++) {
        submit(&w, request("m", "r"), &s[i]);
        run(&w);
    }
    w.now += 20 * SEC; /* they had 15 */
    finish(&w, 0, EVENT_END);
    submit(&w, request("m", "r"), &s[3]); /* and finds no queue that is full of them */
    run(&w);
    ck_assert_int_eq(s[1].code, ERRCODE_QUEUE_TIMEOUT);
    ck_assert_int_eq(s[2].code, ERRCODE_QUEUE_TIMEOUT);
    ck_assert(!s[3].is_over);
    ck_assert_uint_eq(w.puppet->n_started, 2);
    world_done(&w);
    for (int i = 0; i < 4; i++) {
        recording_sink_done(&s[i]);
    }
}
END_TEST

START_TEST(pressure_refuses_from_level_3)
{
    for (enum pressure_level level = PRESSURE_L0; level <= PRESSURE_L4; level++) {
        struct world w;
        struct recording_sink s;

        world_init(&w, 1, 4);
        w.pressure.level = level;
        submit(&w, request("m", "r"), &s);
        run(&w);
        ck_assert_int_eq(s.code, level >= PRESSURE_L3 ? ERRCODE_MEMORY_PRESSURE : ERRCODE_NONE);
        world_done(&w);
        recording_sink_done(&s);
    }
}
END_TEST

START_TEST(draining_refuses_and_ends_the_waiting)
{
    struct world w;
    struct recording_sink s[3];

    world_init(&w, 1, 4);
    submit(&w, request("m", "r"), &s[0]);
    submit(&w, request("m", "r"), &s[1]);
    run(&w);
    w.admission.is_draining = true;
    registry_cancel_waiting(&w.registry, ERRCODE_DRAINING, w.now);
    submit(&w, request("m", "r"), &s[2]);
    run(&w);
    ck_assert(!s[0].is_over);
    ck_assert_int_eq(s[1].code, ERRCODE_DRAINING);
    ck_assert_int_eq(s[2].code, ERRCODE_DRAINING);
    registry_cancel_all(&w.registry, ERRCODE_DRAINING, w.now);
    run(&w);
    ck_assert_int_eq(s[0].code, ERRCODE_DRAINING);
    world_done(&w);
    for (int i = 0; i < 3; i++) {
        recording_sink_done(&s[i]);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, slots_are_kept_and_order_holds);
    tcase_add_test(tc, a_full_queue_refuses_with_a_time);
    tcase_add_test(tc, queued_bytes_are_bounded);
    tcase_add_test(tc, a_body_over_the_limit_may_wait_alone);
    tcase_add_test(tc, waiting_has_an_end);
    tcase_add_test(tc, a_process_that_stood_still);
    tcase_add_test(tc, pressure_refuses_from_level_3);
    tcase_add_test(tc, draining_refuses_and_ends_the_waiting);
}

TEST_MAIN("call_queue", add_tests)
