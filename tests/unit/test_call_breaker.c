/*
 * Calls and the breaker of their deployment: who is turned away and how, that nothing is held
 * afterwards, and which of several deployments is asked.
 */
#include "call_support.h"

#include <string.h>

static unsigned g_n_opened, g_n_closed;

static void on_breaker(void *ctx, const struct deployment *d, enum health_news news, uint64_t now)
{
    ck_assert_str_eq(d->id, "d1");
    g_n_opened += news == HEALTH_HAS_OPENED;
    g_n_closed += news == HEALTH_HAS_CLOSED;
}

/* The i-th job fails with code. */
static void end_badly(struct world *w, unsigned i, enum errcode code)
{
    struct backend_job *job = w->puppet->jobs[i];
    struct event ev = {.type = EVENT_FAILED, .at_usec = w->now, .failed = {.code = code}};

    ck_assert_ptr_nonnull(job);
    event_sink_deliver(job->sink, &ev);
    drop(job);
}

static struct deployment *the_deployment(struct world *w)
{
    return router_resolve(&w->router, str_from("m"))->deployments[0];
}

/* One call after the other runs into a time-out. */
static void open_breaker(struct world *w)
{
    g_n_opened = g_n_closed = 0;
    w->registry.hooks.on_breaker = on_breaker;
    for (unsigned i = 0; i < HEALTH_FAILURES; i++) {
        struct recording_sink s;

        submit(w, request("m", "r"), &s);
        run(w);
        end_badly(w, w->puppet->n_started - 1, ERRCODE_UPSTREAM_TIMEOUT);
        run(w);
        ck_assert_int_eq(s.code, ERRCODE_UPSTREAM_TIMEOUT);
        recording_sink_done(&s);
    }
    ck_assert_int_eq(the_deployment(w)->health.state, HEALTH_OPEN);
    ck_assert_uint_eq(g_n_opened, 1);
}

static void expect_turned_away(struct world *w)
{
    unsigned n_started = w->puppet->n_started;
    struct recording_sink s;

    submit(w, request("m", "r"), &s);
    run(w);
    ck_assert_int_eq(s.code, ERRCODE_UPSTREAM_BREAKER);
    ck_assert_uint_eq(w->puppet->n_started, n_started);
    recording_sink_done(&s);
}

START_TEST(calls_are_turned_away_and_told_why)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);
    open_breaker(&w);
    w.now += SEC + 1;
    submit(&w, request("m", "r"), &s);
    run(&w);
    ck_assert_int_eq(s.code, ERRCODE_UPSTREAM_BREAKER);
    ck_assert_ptr_nonnull(strstr(recording_sink_text(&s), "d1"));
    ck_assert_ptr_nonnull(
        strstr(recording_sink_text(&s), "breaker open for 4 s after 3 time-outs"));
    ck_assert_uint_eq(w.puppet->n_started, HEALTH_FAILURES);
    ck_assert_uint_eq(w.admission.n_granted + w.admission.n_queued, 0);
    ck_assert_uint_eq(w.registry.n_calls, 0);
    ck_assert_uint_eq(w.stats.n_refused, 1);
    ck_assert_uint_eq(registry_next_deadline(&w.registry), USEC_NEVER);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

START_TEST(those_who_wait_are_turned_away_when_it_opens)
{
    struct world w;
    struct recording_sink s[4];

    world_init(&w, 1, 8);
    the_deployment(&w)->health.n_failures = HEALTH_FAILURES - 1;
    for (int i = 0; i < 4; i++) {
        submit(&w, request("m", "r"), &s[i]);
    }
    run(&w);
    end_badly(&w, 0, ERRCODE_UPSTREAM_TIMEOUT);
    run(&w);
    ck_assert_int_eq(s[0].code, ERRCODE_UPSTREAM_TIMEOUT);
    for (int i = 1; i < 4; i++) {
        ck_assert_int_eq(s[i].code, ERRCODE_UPSTREAM_BREAKER);
    }
    ck_assert_uint_eq(w.registry.n_calls, 0);
    ck_assert_uint_eq(w.admission.n_granted + w.admission.n_queued, 0);
    world_done(&w);
    for (int i = 0; i < 4; i++) {
        recording_sink_done(&s[i]);
    }
}
END_TEST

START_TEST(one_call_probes_and_the_first_word_closes)
{
    struct world w;
    struct recording_sink probe, next;

    world_init(&w, 2, 4);
    open_breaker(&w);
    w.now += HEALTH_OPEN_MIN_USEC;
    submit(&w, request("m", "probe"), &probe);
    submit(&w, request("m", "next"), &next);
    run(&w);
    ck_assert(!probe.is_over);
    ck_assert_int_eq(next.code, ERRCODE_UPSTREAM_BREAKER);
    ck_assert_ptr_nonnull(strstr(recording_sink_text(&next), "one call is trying it"));
    recording_sink_done(&next);
    tell(w.puppet->jobs[HEALTH_FAILURES]->sink, EVENT_TEXT, w.now);
    ck_assert_uint_eq(g_n_closed, 1);
    submit(&w, request("m", "next"), &next); /* let in, while the probe still goes on */
    run(&w);
    ck_assert(!next.is_over);
    ck_assert_uint_eq(w.admission.n_granted, 1); /* of two slots the time-outs have left one */
    finish(&w, HEALTH_FAILURES, EVENT_END);
    run(&w);
    finish(&w, HEALTH_FAILURES + 1, EVENT_END);
    run(&w);
    ck_assert_uint_eq(w.stats.n_completed, 2);
    ck_assert_uint_eq(g_n_opened, 1);
    recording_sink_done(&probe);
    recording_sink_done(&next);
    world_done(&w);
}
END_TEST

START_TEST(a_probe_that_fails_opens_it_for_longer)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);
    open_breaker(&w);
    w.now += HEALTH_OPEN_MIN_USEC;
    submit(&w, request("m", "probe"), &s);
    run(&w);
    end_badly(&w, HEALTH_FAILURES, ERRCODE_UPSTREAM_STALLED);
    run(&w);
    recording_sink_done(&s);
    w.now += HEALTH_OPEN_MIN_USEC;
    expect_turned_away(&w);
    ck_assert_uint_eq(g_n_opened, 1); /* told once */
    world_done(&w);
}
END_TEST

/* The client of the probe leaves, cancels, has a deadline; the daemon cannot start it. */
START_TEST(a_probe_without_an_answer_makes_room)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);
    open_breaker(&w);
    w.now += HEALTH_OPEN_MIN_USEC;
    for (int way = 0; way < 4; way++) {
        struct request *req = request("m", "probe");

        req->deadline_usec = way == 2 ? SEC : 0;
        w.puppet->start_result = way == 3 ? -ENOMEM : 0;

        struct call *call = submit(&w, req, &s);

        run(&w);
        if (way < 3) {
            ck_assert(the_deployment(&w)->health.is_probing);
        }
        if (way == 0) {
            call_detach(call, w.now);
        } else if (way == 1) {
            call_cancel(call, ERRCODE_CANCELLED, w.now);
        } else if (way == 2) {
            w.now += SEC;
        }
        run(&w);
        ck_assert_uint_eq(w.registry.n_calls, 0);
        ck_assert_int_eq(the_deployment(&w)->health.state, HEALTH_HALF_OPEN);
        ck_assert(!the_deployment(&w)->health.is_probing);
        recording_sink_done(&s);
    }
    w.puppet->start_result = 0;
    submit(&w, request("m", "probe"), &s);
    run(&w);
    finish(&w, w.puppet->n_started - 1, EVENT_END);
    run(&w);
    ck_assert_int_eq(the_deployment(&w)->health.state, HEALTH_CLOSED);
    ck_assert_uint_eq(g_n_closed, 1);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

START_TEST(a_reload_keeps_it_open)
{
    struct world w;
    struct router_plan plan = {0};

    world_init(&w, 1, 4);
    open_breaker(&w);
    ck_assert_int_eq(router_plan_add(&plan, "m", router_find(&w.router, "d1", "d1")), 0);
    router_commit(&w.router, &plan);
    registry_reroute(&w.registry, w.now);
    expect_turned_away(&w);
    world_done(&w);
}
END_TEST

/* The probe runs on what a reload has retired; what took its place never heard of it. */
START_TEST(a_reload_may_retire_the_deployment_of_a_probe)
{
    for (int is_cancelled = 0; is_cancelled < 2; is_cancelled++) {
        struct world w;
        struct recording_sink s;
        struct router_plan plan = {0};

        world_init(&w, 1, 4);
        open_breaker(&w);
        w.now += HEALTH_OPEN_MIN_USEC;

        struct call *call = submit(&w, request("m", "probe"), &s);
        struct deployment *off = deployment_new(&(struct deployment_spec) {.id = "off",
                                                                           .fingerprint = "off",
                                                                           .provider = "puppet",
                                                                           .off_reason = "because",
                                                                           .slots = 1},
                                                NULL);

        run(&w);
        ck_assert_int_eq(router_plan_add(&plan, "m", off), 0);
        router_commit(&w.router, &plan);
        registry_reroute(&w.registry, w.now);
        if (is_cancelled) {
            call_cancel(call, ERRCODE_CANCELLED, w.now);
        } else {
            end_badly(&w, HEALTH_FAILURES, ERRCODE_UPSTREAM_TIMEOUT);
        }
        run(&w);
        ck_assert_uint_eq(w.admission.n_granted, 0);
        ck_assert(list_is_empty(&w.router.retired));
        recording_sink_done(&s);
        world_done(&w);
    }
}
END_TEST

/* While another deployment serves, calls wait for that one or for the breaker, whoever is first. */
START_TEST(where_another_deployment_serves_calls_wait)
{
    struct world w;
    struct recording_sink s[2];
    struct router_plan plan = {0};

    world_init(&w, 1, 4);

    struct puppet *own = w.puppet;
    struct puppet *second = calloc(1, sizeof *second);

    ck_assert_ptr_nonnull(second);
    second->backend.ops = &puppet_ops;

    struct deployment *other = deployment_new(
        &(struct deployment_spec) {
            .id = "d2", .fingerprint = "d2", .provider = "puppet", .slots = 1},
        &second->backend);

    open_breaker(&w);
    ck_assert_int_eq(router_plan_add(&plan, "m", router_find(&w.router, "d1", "d1")), 0);
    ck_assert_int_eq(router_plan_add(&plan, "m", other), 0);
    router_commit(&w.router, &plan);
    registry_reroute(&w.registry, w.now);
    submit(&w, request("m", "one"), &s[0]);
    submit(&w, request("m", "two"), &s[1]);
    run(&w);
    ck_assert_uint_eq(second->n_started, 1);
    ck_assert_uint_eq(own->n_started, HEALTH_FAILURES);
    ck_assert(!s[1].is_over);
    ck_assert_uint_eq(registry_next_deadline(&w.registry), w.now + HEALTH_OPEN_MIN_USEC);
    w.now += HEALTH_OPEN_MIN_USEC;
    run(&w); /* as the probe */
    ck_assert_uint_eq(own->n_started, HEALTH_FAILURES + 1);
    ck_assert_uint_eq(registry_next_deadline(&w.registry), USEC_NEVER); /* not now, for ever */
    g_puppet = own;
    finish(&w, HEALTH_FAILURES, EVENT_END);
    run(&w);
    ck_assert_int_eq(other->health.state, HEALTH_CLOSED);

    struct backend_job *job = second->jobs[0];

    g_puppet = second;
    tell(job->sink, EVENT_END, w.now);
    drop(job);
    run(&w);
    ck_assert_uint_eq(w.registry.n_calls, 0);
    ck_assert_uint_eq(w.admission.n_granted, 0);
    recording_sink_done(&s[0]);
    recording_sink_done(&s[1]);
    world_done(&w);
}
END_TEST

/* No hook is asked for: nobody has to listen. */
START_TEST(nobody_need_listen)
{
    struct world w;
    struct recording_sink s;

    world_init(&w, 1, 4);
    the_deployment(&w)->health.n_failures = HEALTH_FAILURES - 1;
    submit(&w, request("m", "r"), &s);
    run(&w);
    end_badly(&w, 0, ERRCODE_UPSTREAM_TIMEOUT);
    run(&w);
    expect_turned_away(&w);
    recording_sink_done(&s);
    world_done(&w);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, calls_are_turned_away_and_told_why);
    tcase_add_test(tc, those_who_wait_are_turned_away_when_it_opens);
    tcase_add_test(tc, one_call_probes_and_the_first_word_closes);
    tcase_add_test(tc, a_probe_that_fails_opens_it_for_longer);
    tcase_add_test(tc, a_probe_without_an_answer_makes_room);
    tcase_add_test(tc, a_reload_keeps_it_open);
    tcase_add_test(tc, a_reload_may_retire_the_deployment_of_a_probe);
    tcase_add_test(tc, where_another_deployment_serves_calls_wait);
    tcase_add_test(tc, nobody_need_listen);
}
TEST_MAIN("call breaker", add_tests)
