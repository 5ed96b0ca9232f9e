/*
 * The life of a call: what passes through, how it ends, is left, paused, moved by a reload and out
 * of memory. How calls wait: test_call_queue.c.
 */
#include "call_support.h"

START_TEST(an_answer_passes_through)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);
    submit(&w, request("m", "r1"), &s);
    ck_assert_uint_eq(w.n_wanted, 1);
    run(&w);
    ck_assert_uint_eq(w.admission.n_granted, 1);
    w.now += SEC;
    tell(w.puppet->jobs[0]->sink, EVENT_TEXT, w.now);
    tell(w.puppet->jobs[0]->sink, EVENT_TEXT, w.now);
    tell(w.puppet->jobs[0]->sink, EVENT_USAGE, w.now);
    finish(&w, 0, EVENT_END);
    ck_assert_uint_eq(w.admission.n_granted, 0); /* at once, not only at the end of the turn */
    run(&w);
    ck_assert_str_eq(recording_sink_text(&s),
                     "STARTED m d1\nTEXT 0 answer hi\nTEXT 0 answer hi\nUSAGE 3 0 5\nEND stop\n");
    ck_assert_uint_eq(w.n_ended, 1);
    ck_assert_uint_eq(w.registry.n_calls, 0);
    ck_assert_uint_eq(w.stats.n_completed, 1);
    ck_assert_uint_eq(w.stats.tokens_out, 5);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

START_TEST(a_backend_may_answer_within_start)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);
    w.puppet->ends_at_once = true;
    submit(&w, request("m", "r1"), &s);
    run(&w);
    ck_assert_str_eq(recording_sink_text(&s), "STARTED m d1\nTEXT 0 answer hi\nEND stop\n");
    ck_assert_uint_eq(w.registry.n_calls, 0);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

START_TEST(unknown_models_name_the_near_ones)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);
    submit(&w, request("n", "r1"), &s);
    run(&w);
    ck_assert_int_eq(s.code, ERRCODE_MODEL_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(recording_sink_text(&s), "\"m\""));
    ck_assert_uint_eq(w.stats.n_refused, 1);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

START_TEST(without_a_usable_configuration_each_call_hears_why)
{
    struct world w;
    struct recording_sink s, t, u;

    world_init(&w, 1, 4);
    w.registry.unusable = "FILE:3:1: no";
    submit(&w, request("n", "r1"), &s);
    run(&w);
    ck_assert_int_eq(s.code, ERRCODE_MISCONFIGURED);
    ck_assert_ptr_nonnull(strstr(recording_sink_text(&s), "FILE:3:1: no"));
    submit(&w, request("m", "r2"), &t); /* a model that is there is served */
    run(&w);
    ck_assert_uint_eq(w.puppet->n_started, 1);
    w.registry.unusable = NULL;
    submit(&w, request("n", "r3"), &u);
    run(&w);
    ck_assert_int_eq(u.code, ERRCODE_MODEL_NOT_FOUND);
    finish(&w, 0, EVENT_END);
    run(&w);
    recording_sink_done(&s);
    recording_sink_done(&t);
    recording_sink_done(&u);
    world_done(&w);
}
END_TEST

START_TEST(a_deadline_ends_a_running_call)
{
    struct world w;
    struct recording_sink s;
    struct request *req = request("m", "r");

    world_init(&w, 1, 4);
    req->deadline_usec = 3 * SEC;
    submit(&w, req, &s);
    run(&w);
    tell(w.puppet->jobs[0]->sink, EVENT_TEXT, w.now);
    w.now += 3 * SEC;
    run(&w);
    ck_assert_int_eq(s.code, ERRCODE_DEADLINE_EXCEEDED);
    ck_assert_uint_eq(w.puppet->n_cancelled, 1);
    ck_assert_uint_eq(w.admission.n_granted, 0);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

/*
 * Cancelled and detached in every state: the slot is home at once, the sink hears one end or none.
 */
START_TEST(leaving_is_legal_in_every_state)
{
    for (int stage = 0; stage < 4; stage++) {
        for (int detach = 0; detach < 2; detach++) {
            struct world w;
            struct recording_sink first, s;

            world_init(&w, 1, 4);
            recording_sink_init(&first);
            if (stage == 1) { /* WAITING: somebody else holds the slot */
                submit(&w, request("m", "other"), &first);
                run(&w);
            }

            struct call *call = submit(&w, request("m", "r"), &s);

            if (stage > 0) {
                run(&w);
            }
            if (stage == 3) {
                tell(w.puppet->jobs[0]->sink, EVENT_TEXT, w.now);
            }
            unsigned n_before = s.n_events;

            if (detach) {
                call_detach(call, w.now);
            } else {
                call_cancel(call, ERRCODE_CANCELLED, w.now);
                call_cancel(call, ERRCODE_INTERNAL, w.now); /* idempotent */
            }
            ck_assert_uint_eq(w.admission.n_granted, stage == 1 ? 1 : 0);
            ck_assert_uint_eq(w.admission.n_queued, 0);
            run(&w);
            ck_assert_uint_eq(s.n_events, n_before + (detach ? 0 : 1));
            ck_assert_int_eq(w.last_outcome, ERRCODE_CANCELLED);
            ck_assert_uint_eq(w.puppet->n_cancelled, stage >= 2 ? 1 : 0);
            recording_sink_done(&s);
            world_done(&w);
            recording_sink_done(&first);
        }
    }
}
END_TEST

START_TEST(full_pauses_and_room_resumes)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);

    struct call *call = submit(&w, request("m", "r"), &s);

    run(&w);
    s.say_full = true;
    tell(w.puppet->jobs[0]->sink, EVENT_TEXT, w.now);
    ck_assert(w.puppet->jobs[0]->is_paused);
    tell(w.puppet->jobs[0]->sink, EVENT_TEXT, w.now); /* what was read already is taken */
    s.say_full = false;
    call_resume(call, w.now);
    ck_assert(!w.puppet->jobs[0]->is_paused);
    call_resume(call, w.now);
    ck_assert_uint_eq(w.puppet->jobs[0]->n_resumed, 1);
    finish(&w, 0, EVENT_END);
    run(&w);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

START_TEST(full_before_the_first_byte_pauses_too)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);
    submit(&w, request("m", "r"), &s);
    s.say_full = true; /* STARTED already */
    run(&w);
    ck_assert(w.puppet->jobs[0]->is_paused);
    finish(&w, 0, EVENT_END);
    run(&w);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

START_TEST(a_backend_that_cannot_start_fails_the_call)
{
    static const int results[] = {-ENOMEM, -EIO};
    static const enum errcode codes[] = {ERRCODE_OUT_OF_MEMORY, ERRCODE_INTERNAL};

    for (int i = 0; i < 2; i++) {
        struct world w;
        struct recording_sink s;

        world_init(&w, 1, 4);
        w.puppet->start_result = results[i];
        submit(&w, request("m", "r"), &s);
        run(&w);
        ck_assert_int_eq(s.code, codes[i]);
        ck_assert_uint_eq(w.admission.n_granted, 0);
        recording_sink_done(&s);
        world_done(&w);
    }
}
END_TEST

START_TEST(calls_are_found_by_id_and_owner)
{
    struct world w;
    struct recording_sink s[2];

    world_init(&w, 1, 4);

    struct call *running = submit(&w, request("m", "one"), &s[0]);
    struct call *waiting = submit(&w, request("m", "two"), &s[1]);

    run(&w);
    ck_assert_ptr_eq(registry_find(&w.registry, str_from("one"), false, 7), running);
    ck_assert_ptr_eq(registry_find(&w.registry, str_from("two"), false, 7), waiting);
    ck_assert_ptr_null(registry_find(&w.registry, str_from("one"), false, 8));
    ck_assert_ptr_eq(registry_find(&w.registry, str_from("one"), true, 8), running);
    ck_assert_ptr_null(registry_find(&w.registry, str_from("three"), true, 0));
    world_done(&w);
    recording_sink_done(&s[0]);
    recording_sink_done(&s[1]);
}
END_TEST

START_TEST(reload_moves_the_waiting_and_keeps_the_running)
{
    struct world w;
    struct recording_sink s[2];
    struct router_plan plan = {0};

    world_init(&w, 1, 4);
    submit(&w, request("m", "one"), &s[0]);
    submit(&w, request("m", "two"), &s[1]);
    run(&w);

    struct deployment *other = deployment_new(&(struct deployment_spec) {.id = "off",
                                                                         .fingerprint = "off",
                                                                         .provider = "puppet",
                                                                         .off_reason = "because",
                                                                         .slots = 1},
                                              NULL);

    ck_assert_int_eq(router_plan_add(&plan, "elsewhere", other), 0);
    router_commit(&w.router, &plan);
    registry_reroute(&w.registry, w.now);
    run(&w);
    ck_assert_int_eq(s[1].code, ERRCODE_MODEL_NOT_FOUND);
    ck_assert(!s[0].is_over);
    ck_assert(!list_is_empty(&w.router.retired));
    finish(&w, 0, EVENT_END);
    run(&w);
    ck_assert(list_is_empty(&w.router.retired));
    ck_assert_ptr_null(g_puppet);
    world_done(&w);
    recording_sink_done(&s[0]);
    recording_sink_done(&s[1]);
}
END_TEST

/* The configuration is replaced by one that knows name, if any, but serves nobody. */
static void reload_to_nothing(struct world *w, const char *name)
{
    struct router_plan plan = {0};

    if (name) {
        struct deployment *off = deployment_new(&(struct deployment_spec) {.id = "off",
                                                                           .fingerprint = "off",
                                                                           .provider = "puppet",
                                                                           .off_reason = "because",
                                                                           .slots = 1},
                                                NULL);

        ck_assert_int_eq(router_plan_add(&plan, name, off), 0);
    }
    router_commit(&w->router, &plan);
    registry_reroute(&w->registry, w->now);
}

START_TEST(a_model_switched_off_by_a_reload_is_not_waited_for)
{
    struct world w;
    struct recording_sink s[2];

    world_init(&w, 1, 4);
    submit(&w, request("m", "one"), &s[0]);
    submit(&w, request("m", "two"), &s[1]);
    run(&w);
    reload_to_nothing(&w, "m");
    run(&w);
    ck_assert(!s[0].is_over);
    ck_assert_int_eq(s[1].code, ERRCODE_MISCONFIGURED);
    finish(&w, 0, EVENT_END);
    run(&w);
    world_done(&w);
    recording_sink_done(&s[0]);
    recording_sink_done(&s[1]);
}
END_TEST

START_TEST(the_end_may_come_while_a_retired_deployment_works)
{
    struct world w;
    struct recording_sink s;
    struct call *call;

    for (int is_left = 0; is_left < 2; is_left++) {
        world_init(&w, 1, 4);
        call = submit(&w, request("m", "one"), &s);
        run(&w);
        reload_to_nothing(&w, NULL);
        if (is_left) {
            call_detach(call, w.now); /* and no registry_run() follows */
        }
        world_done(&w);
        ck_assert_ptr_null(g_puppet);
        recording_sink_done(&s);
    }
}
END_TEST

START_TEST(no_message_is_cut_inside_a_character)
{
    struct world w;
    struct recording_sink s;
    char name[REQUEST_MODEL_MAX + 1] = "x"; /* an odd byte in front of two-byte characters */

    for (size_t i = 1; i + 2 < sizeof name; i += 2) {
        memcpy(name + i, "\xc3\xa9", 3);
    }
    world_init(&w, 1, 4);
    submit(&w, request(name, "r1"), &s);
    run(&w);
    ck_assert_int_eq(s.code, ERRCODE_MODEL_NOT_FOUND);
    ck_assert(str_is_utf8(str_from(recording_sink_text(&s))));
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

static unsigned test_round;

static void one_life(void)
{
    struct world w;
    struct recording_sink s;
    struct call *call;

    fail_allocation(0); /* the world itself is not on trial */
    world_init(&w, 1, 4);
    recording_sink_init(&s);
    fail_allocation(test_round);

    struct request *req = request("m", "r");

    if (req && call_submit(&w.registry, req, &s.sink, w.now, &call) == 0) {
        run(&w);
        if (w.puppet->n_started > 0) {
            finish(&w, 0, EVENT_END);
        }
        run(&w);
        ck_assert(s.is_over);
    }
    ck_assert_uint_eq(w.registry.n_calls, 0);
    world_done(&w);
    recording_sink_done(&s);
}

START_TEST(survives_every_failed_allocation)
{
    for (test_round = 1; test_round < 20; test_round++) {
        one_life();
        fail_allocation(0);
    }
}
END_TEST

/* A thousand random steps: slots never exceed the limit, everything ends, tickets come home. */
START_TEST(random_lives_leave_nothing_behind)
{
    uint32_t seed = 12345;

    for (int round = 0; round < 20; round++) {
        struct world w;
        struct recording_sink s[48];
        struct call *calls[48] = {0};
        unsigned n = 0;

        world_init(&w, 3, 8);
        for (int step = 0; step < 200; step++) {
            seed = seed * 1664525u + 1013904223u;
            unsigned what = (seed >> 16) % 6, which = (seed >> 8) % ARRAY_LEN(s);

            w.now += (seed >> 20) % SEC;
            if (what <= 1 && n < ARRAY_LEN(s)) {
                calls[n] = submit(&w, request("m", "r"), &s[n]);
                n++;
            } else if (what == 2 && which < w.puppet->n_started && w.puppet->jobs[which]) {
                finish(&w, which, seed & 1 ? EVENT_END : EVENT_FAILED);
            } else if (what == 3 && which < n && !s[which].is_over && calls[which]) {
                if (seed & 1) {
                    call_detach(calls[which], w.now);
                } else {
                    call_cancel(calls[which], ERRCODE_CANCELLED, w.now);
                }
                calls[which] = NULL;
            } else {
                run(&w);
                for (unsigned i = 0; i < n; i++) {
                    calls[i] = s[i].is_over ? NULL : calls[i];
                }
            }
            ck_assert_uint_le(w.admission.n_granted, 3);
            ck_assert_uint_le(w.admission.n_queued, 8);
        }
        registry_cancel_all(&w.registry, ERRCODE_DRAINING, w.now);
        run(&w);
        ck_assert_uint_eq(w.registry.n_calls, 0);
        ck_assert_uint_eq(w.admission.n_granted + w.admission.n_queued + w.admission.queued_bytes,
                          0);
        ck_assert_uint_eq(w.n_ended, n);
        world_done(&w);
        for (unsigned i = 0; i < n; i++) {
            recording_sink_done(&s[i]);
        }
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, an_answer_passes_through);
    tcase_add_test(tc, a_backend_may_answer_within_start);
    tcase_add_test(tc, unknown_models_name_the_near_ones);
    tcase_add_test(tc, without_a_usable_configuration_each_call_hears_why);
    tcase_add_test(tc, a_deadline_ends_a_running_call);
    tcase_add_test(tc, leaving_is_legal_in_every_state);
    tcase_add_test(tc, full_pauses_and_room_resumes);
    tcase_add_test(tc, full_before_the_first_byte_pauses_too);
    tcase_add_test(tc, a_backend_that_cannot_start_fails_the_call);
    tcase_add_test(tc, calls_are_found_by_id_and_owner);
    tcase_add_test(tc, reload_moves_the_waiting_and_keeps_the_running);
    tcase_add_test(tc, a_model_switched_off_by_a_reload_is_not_waited_for);
    tcase_add_test(tc, the_end_may_come_while_a_retired_deployment_works);
    tcase_add_test(tc, no_message_is_cut_inside_a_character);
    tcase_add_test(tc, survives_every_failed_allocation);
    tcase_add_test(tc, random_lives_leave_nothing_behind);
}

TEST_MAIN("call", add_tests)
