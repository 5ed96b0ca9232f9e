/*
 * Calls and admission together, against a backend that does what the test says, under a clock of
 * our own.
 */
#include <errno.h>
#include <stdio.h>

#include "base/clock.h"
#include "core/call.h"
#include "support.h"

#define SEC USEC_PER_SEC

/* A backend whose jobs answer when told. */
struct backend_job {
    struct event_sink *sink;
    bool is_paused;
    unsigned n_resumed;
};

struct puppet {
    struct backend backend;
    struct backend_job *jobs[64];
    unsigned n_started, n_cancelled;
    int start_result;  /* -errno to fail with */
    bool ends_at_once; /* delivers everything within start() */
};

struct world {
    struct router router;
    struct admission admission;
    struct pressure pressure;
    struct stats stats;
    struct call_registry registry;
    struct puppet *puppet;
    uint64_t now;
    unsigned n_wanted, n_ended;
    enum errcode last_outcome;
};

static void tell(struct event_sink *sink, enum event_type type, uint64_t now)
{
    static const enum finish_reason stop = FINISH_STOP;
    struct event ev = {.type = type, .at_usec = now};

    if (type == EVENT_TEXT) {
        ev.text.bytes = str_from("hi");
    } else if (type == EVENT_USAGE) {
        ev.usage = (struct usage) {.tokens_in = 3, .tokens_out = 5};
    } else if (type == EVENT_END) {
        ev.end.reasons = &stop;
        ev.end.n_choices = 1;
    } else if (type == EVENT_FAILED) {
        ev.failed.code = ERRCODE_UPSTREAM_CUT;
    }
    event_sink_deliver(sink, &ev);
}

static int puppet_start(struct backend *b, const struct request *req, struct event_sink *sink,
                        uint64_t now, struct backend_job **ret_job)
{
    struct puppet *p = CONTAINER_OF(b, struct puppet, backend);

    if (p->start_result < 0) {
        return p->start_result;
    }
    if (p->ends_at_once) {
        tell(sink, EVENT_TEXT, now);
        tell(sink, EVENT_END, now);
        *ret_job = NULL;
        return 0;
    }

    struct backend_job *job = calloc(1, sizeof *job);

    if (!job) {
        return -ENOMEM;
    }
    job->sink = sink;
    ck_assert_uint_lt(p->n_started, ARRAY_LEN(p->jobs));
    p->jobs[p->n_started++] = job;
    *ret_job = job;
    return 0;
}

static void puppet_pause(struct backend_job *job)
{
    job->is_paused = true;
}

static void puppet_resume(struct backend_job *job, uint64_t now)
{
    job->is_paused = false;
    job->n_resumed++;
}

static struct puppet *g_puppet; /* cancel() is given the job only */

static void drop(struct backend_job *job)
{
    for (unsigned i = 0; i < g_puppet->n_started; i++) {
        if (g_puppet->jobs[i] == job) {
            g_puppet->jobs[i] = NULL;
        }
    }
    free(job);
}

static void puppet_cancel(struct backend_job *job)
{
    g_puppet->n_cancelled++;
    drop(job);
}

static void puppet_free(struct backend *b)
{
    free(CONTAINER_OF(b, struct puppet, backend));
    g_puppet = NULL;
}

static const struct backend_ops ops = {puppet_start, puppet_pause, puppet_resume, puppet_cancel,
                                       puppet_free};

/* The i-th job ends as told. */
static void finish(struct world *w, unsigned i, enum event_type type)
{
    struct backend_job *job = w->puppet->jobs[i];

    ck_assert_ptr_nonnull(job);
    tell(job->sink, type, w->now);
    drop(job);
}

static void on_work(void *ctx)
{
    ((struct world *) ctx)->n_wanted++;
}

static void on_ended(void *ctx, const struct call *call)
{
    struct world *w = ctx;

    w->n_ended++;
    w->last_outcome = call->outcome;
}

static void world_init(struct world *w, unsigned slots, size_t max_queued)
{
    struct admission_params params = {.max_queued = max_queued,
                                      .max_queued_bytes = 1000,
                                      .max_wait_usec = {15 * SEC, 120 * SEC, 600 * SEC}};
    struct call_hooks hooks = {w, on_work, on_ended};
    struct router_plan plan = {0};

    *w = (struct world) {.now = 1000 * SEC, .puppet = calloc(1, sizeof *w->puppet)};
    ck_assert_ptr_nonnull(w->puppet);
    w->puppet->backend.ops = &ops;
    g_puppet = w->puppet;
    router_init(&w->router);
    pressure_init(&w->pressure);
    admission_init(&w->admission, &params, &w->router, &w->pressure);
    registry_init(&w->registry, &w->admission, &w->router, &w->stats, &hooks);

    struct deployment *d = deployment_new("d1", "d1", "puppet", NULL, &w->puppet->backend, slots);

    ck_assert_int_eq(router_plan_add(&plan, "m", d), 0);
    router_commit(&w->router, &plan);
}

static void world_done(struct world *w)
{
    registry_done(&w->registry);
    admission_done(&w->admission);
    router_done(&w->router);
}

static void run(struct world *w)
{
    registry_run(&w->registry, w->now);
}

static struct request *request(const char *model, const char *id)
{
    struct request *req = request_new(REQUEST_CHAT, 4096);

    if (req) {
        req->model = str_from(model);
        req->total_bytes = 100;
        req->caller = (struct caller) {.has_uid = true, .uid = 7, .frontend = "test"};
        snprintf(req->id, sizeof req->id, "%s", id);
    }
    return req;
}

static struct call *submit(struct world *w, struct request *req, struct recording_sink *sink)
{
    struct call *call = NULL;

    recording_sink_init(sink);
    ck_assert_int_eq(call_submit(&w->registry, req, &sink->sink, w->now, &call), 0);
    return call;
}

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

    struct deployment *other = deployment_new("off", "off", "puppet", "because", NULL, 1);

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
        struct deployment *off = deployment_new("off", "off", "puppet", "because", NULL, 1);

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
    tcase_add_test(tc, slots_are_kept_and_order_holds);
    tcase_add_test(tc, a_full_queue_refuses_with_a_time);
    tcase_add_test(tc, queued_bytes_are_bounded);
    tcase_add_test(tc, a_body_over_the_limit_may_wait_alone);
    tcase_add_test(tc, waiting_has_an_end);
    tcase_add_test(tc, a_deadline_ends_a_running_call);
    tcase_add_test(tc, leaving_is_legal_in_every_state);
    tcase_add_test(tc, full_pauses_and_room_resumes);
    tcase_add_test(tc, full_before_the_first_byte_pauses_too);
    tcase_add_test(tc, pressure_refuses_from_level_3);
    tcase_add_test(tc, draining_refuses_and_ends_the_waiting);
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
