/*
 * Model servers that hang, as the composition deals with them: which call says what of which model,
 * what is held and unloaded, and which unit is asked for. The clock is the test's, servers unload when
 * told, and no service manager can be reached: a restart that is asked for leaves its record.
 */
#include "server_guard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "log_written.h"
#include "support.h"
#include "upstream/ollama_unload.h"

#define SERVER      "http://1"
#define CALLS_MAX   4
#define RESTARTS_IT "old.service was not restarted" /* as nobody can be asked */

/* A backend whose server unloads when told. */
struct server {
    struct backend backend;
    struct unload_job job;
    struct unload_sink *sink; /* NULL: not asked, or told */
    unsigned n_asked;
    char model[32]; /* that was asked for; "": its own */
};

struct world {
    sd_event *event;
    struct router router;
    struct router_plan plan; /* until open_world() */
    struct upstreams upstreams;
    struct memory_monitor monitor;
    struct residency_driver residency;
    struct call_registry registry;
    struct server_guards guards;
    struct call running[CALLS_MAX];
    unsigned n_running;
    uint64_t now, n_calls;
};

static struct world g;

static void server_free(struct backend *b)
{
    free(CONTAINER_OF(b, struct server, backend));
}

static void cancel(struct unload_job *job)
{
    CONTAINER_OF(job, struct server, job)->sink = NULL;
}

static int ask(struct backend *b, const char *model, struct unload_sink *sink,
               struct unload_job **ret_job)
{
    struct server *s = CONTAINER_OF(b, struct server, backend);

    s->n_asked++;
    (void) snprintf(s->model, sizeof s->model, "%s", model ? model : "");
    s->job.cancel = cancel;
    s->sink = sink;
    *ret_job = &s->job;
    return 0;
}

static const struct backend_ops server_ops = {.free = server_free, .unload = ask};
static const struct memory_ops server_memory; /* it keeps models; of more it is not asked here */

static struct server *server_of(const struct deployment *d)
{
    return CONTAINER_OF(d->backend, struct server, backend);
}

static struct deployment *add(const char *group, const char *upstream_model)
{
    struct server *s = calloc(1, sizeof *s);
    const struct deployment_spec spec = {.id = group,
                                         .fingerprint = group,
                                         .provider = "test",
                                         .upstream_model = upstream_model,
                                         .api_base = SERVER,
                                         .slots = 4,
                                         .is_local = true};
    struct deployment *d;

    ck_assert_ptr_nonnull(s);
    s->backend.ops = &server_ops;
    s->backend.memory = &server_memory;
    d = deployment_new(&spec, &s->backend);
    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(&g.plan, group, d), 0);
    return d;
}

/* One whose server cannot be told to unload. */
static struct deployment *add_deaf(const char *group, const char *upstream_model)
{
    struct deployment *d = add(group, upstream_model);

    d->backend->memory = NULL;
    return d;
}

static void nothing(void *ctx)
{
}

static void setup(void)
{
    g = (struct world) {.now = clock_now_usec()};
    ck_assert_int_eq(setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus", 1), 0);
    ck_assert_int_ge(sd_event_new(&g.event), 0);
    router_init(&g.router);
    list_init(&g.registry.running);
    ck_assert_int_ge(residency_driver_init(&g.residency, g.event, &g.router, &g.upstreams,
                                           &g.monitor, &(struct residency_params) {.is_on = false},
                                           ""),
                     0);
    g.residency.on_change = nothing;
    server_guards_init(&g.guards, g.event, &g.router, &g.registry, &g.residency, nothing, NULL);
}

/* A call that is being answered. */
static void run_call(struct deployment *d, const char *model)
{
    struct call *call = &g.running[g.n_running++];

    *call = (struct call) {
        .ticket = {.deployment = d}, .upstream_model = model, .state = CALL_STREAMING};
    list_append(&g.registry.running, &call->link);
    d->in_use++;
}

static void end_running(void)
{
    while (g.n_running > 0) {
        struct call *call = &g.running[--g.n_running];

        list_remove(&call->link);
        call->ticket.deployment->in_use--;
    }
}

static void teardown(void)
{
    end_running();
    server_guards_done(&g.guards);
    residency_driver_done(&g.residency);
    router_done(&g.router);
    sd_event_unref(g.event);
}

static void open_world(const char *unit)
{
    const struct server_unit one = {.api_base = SERVER, .unit = unit};

    router_commit(&g.router, &g.plan);
    ck_assert_int_eq(server_guards_set_units(&g.guards, &one, unit ? 1 : 0), 0);
}

/* ---------------------------------------------------------------- calls */

/* A call to d for this model (NULL: its own) came to that end. */
static void end_call(struct deployment *d, const char *model, enum errcode code)
{
    const struct call call = {
        .ticket = {.deployment = d}, .upstream_model = model, .arrived_at_usec = ++g.n_calls};

    server_guards_attempt(&g.guards, &call, code, g.now);
}

static void hang(struct deployment *d, const char *model, unsigned n)
{
    while (n-- > 0) {
        end_call(d, model, ERRCODE_UPSTREAM_TIMEOUT);
    }
}

static void tell(const char *server, const char *model, bool is_gone)
{
    const struct unload_news news = {.server = server, .model = model, .is_gone = is_gone};

    server_guards_unloaded(&g.guards, &news, g.now);
}

static void turn(void)
{
    server_guards_turn(&g.guards, g.now);
}

/* What its server says to the unload that it was asked for. */
static void tell_unloaded(struct deployment *d, enum errcode code)
{
    const struct unload_result result = {.code = code, .was_loaded = true};
    struct unload_sink *sink = TAKE(server_of(d)->sink);

    ck_assert_ptr_nonnull(sink);
    sink->on_unloaded(sink, &result);
}

/* d hangs for good, its breaker is open, and it cannot be unloaded. */
static void hang_deaf(struct deployment *d)
{
    d->health.state = HEALTH_OPEN;
    hang(d, NULL, 3);
    turn();
}

/* ---------------------------------------------------------------- what is logged */

static void ck_assert_has(const char *text, const char *part)
{
    ck_assert_msg(strstr(text, part), "%s is not in: %s", part, text);
}

static void ck_assert_lacks(const char *text, const char *part)
{
    ck_assert_msg(!strstr(text, part), "%s is in: %s", part, text);
}

/* ---------------------------------------------------------------- wildcards */

/* Until the restart of the old unit is over, whether it is done or not. */
static void restart_ends(void)
{
    turn();
    for (int i = 0; i < 100 && sd_event_run(g.event, 0) > 0; i++) {
    }
}

START_TEST(a_model_of_many_is_unloaded_though_others_answer)
{
    struct deployment *d = add("any", "*");

    open_world(NULL);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(server_of(d)->n_asked, 0);
        hang(d, "sick", 1);
        end_call(d, "well", ERRCODE_NONE);
        turn();
    }
    ck_assert_uint_eq(server_of(d)->n_asked, 1);
    ck_assert_str_eq(server_of(d)->model, "sick");
    tell_unloaded(d, ERRCODE_NONE);
    end_call(d, "sick", ERRCODE_NONE);
    hang(d, "sick", 2);
    turn();
    ck_assert_uint_eq(server_of(d)->n_asked, 1);
}
END_TEST

START_TEST(calls_to_others_go_on_while_one_is_unloaded)
{
    struct deployment *d = add("any", "*");

    open_world(NULL);
    g.residency.residency.params.is_on = true; /* then those to this one wait there */
    run_call(d, "well");
    hang(d, "sick", 3);
    turn();
    ck_assert_uint_eq(server_of(d)->n_asked, 1);
    ck_assert_ptr_null(d->held_why);
    tell_unloaded(d, ERRCODE_NONE);
    end_running();
}
END_TEST

START_TEST(without_residency_all_calls_wait_for_the_unload)
{
    struct deployment *d = add("any", "*");

    open_world(NULL);
    hang(d, "sick", 3);
    turn();
    ck_assert_ptr_nonnull(d->held_why);
    tell_unloaded(d, ERRCODE_NONE);
    ck_assert_ptr_null(d->held_why);
}
END_TEST

START_TEST(a_model_that_is_being_answered_does_not_hang)
{
    struct deployment *d = add("any", "*");

    open_world(NULL);
    run_call(d, "sick");
    hang(d, "sick", 3);
    turn();
    ck_assert_uint_eq(server_of(d)->n_asked, 0);
    end_running();
    hang(d, "sick", 1);
    turn();
    ck_assert_uint_eq(server_of(d)->n_asked, 1);
    tell_unloaded(d, ERRCODE_NONE);
}
END_TEST

/* The one that answered is not the one that hung, though they share a deployment. */
START_TEST(an_answer_of_another_model_calls_nothing_off)
{
    struct deployment *d = add("any", "*");

    open_world("old.service");
    run_call(d, "well"); /* is waited for */
    hang(d, "sick", 3);
    turn();
    tell_unloaded(d, ERRCODE_UPSTREAM_TIMEOUT);
    ck_assert_ptr_nonnull(d->held_why);
    turn();
    ck_assert_ptr_nonnull(d->held_why);
    end_call(d, "well", ERRCODE_NONE);
    ck_assert_ptr_nonnull(d->held_why);
    end_running();
    ck_assert_has(written(restart_ends), RESTARTS_IT);
    ck_assert_ptr_null(d->held_why);
}
END_TEST

START_TEST(an_answer_of_the_same_model_calls_it_off)
{
    struct deployment *d = add("any", "*");

    open_world("old.service");
    run_call(d, "well");
    hang(d, "sick", 3);
    turn();
    tell_unloaded(d, ERRCODE_UPSTREAM_TIMEOUT);
    end_call(d, "sick", ERRCODE_NONE);
    ck_assert_ptr_null(d->held_why);
    end_running();
    ck_assert_lacks(written(restart_ends), RESTARTS_IT);
}
END_TEST

/* With its breaker open, so that the witnesses may be of either kind. */
START_TEST(what_was_not_unloaded_is_a_witness_for_the_deployments_that_have_it)
{
    struct deployment *any = add("any", "*"), *one = add("one", "m"), *other = add("o", "other");

    open_world(NULL);
    tell(SERVER, "m", false);
    tell("http://2", "m", false);
    ck_assert_uint_eq(hang_evidence_n(&one->hangs, "m"), 1);
    ck_assert_uint_eq(hang_evidence_n(&any->hangs, "m"), 0); /* it has one of its own */
    ck_assert_uint_eq(hang_evidence_n(&other->hangs, "other"), 0);
    tell(SERVER, "unlisted", false);
    ck_assert_uint_eq(hang_evidence_n(&any->hangs, "unlisted"), 1);
    tell(SERVER, "unlisted", true);
    ck_assert_uint_eq(hang_evidence_n(&any->hangs, "unlisted"), 0);
    one->health.state = HEALTH_OPEN;
    hang(one, NULL, 2);
    turn();
    ck_assert_uint_eq(server_of(one)->n_asked, 1);
    tell_unloaded(one, ERRCODE_NONE);
}
END_TEST

/* ---------------------------------------------------------------- unloads that are never done */

/* An unload of "m" in each 38 s, as many times; then a turn. */
static void never_unload(unsigned n)
{
    while (n-- > 0) {
        g.now += 38 * USEC_PER_SEC;
        tell(SERVER, "m", false);
        turn();
    }
}

static void never_unload_five(void)
{
    never_unload(5);
}

START_TEST(what_nobody_calls_and_never_goes_is_restarted)
{
    struct deployment *d = add("one", "m"), *other = add("other", "o");
    const char *told;

    open_world("old.service");
    never_unload(4);
    ck_assert_ptr_null(d->held_why);
    run_call(other, NULL); /* is waited for */
    told = written(never_unload_five);
    ck_assert_has(told, "\"SLUICE_EVENT\":\"upstream_hung\"");
    ck_assert_has(told, "\"SLUICE_FAILURES\":\"5\"");
    ck_assert_has(told, "said yes to unloading");
    ck_assert_ptr_nonnull(d->held_why);
    end_running();
    ck_assert_has(written(restart_ends), RESTARTS_IT);
    ck_assert_uint_eq(server_of(d)->n_asked, 0); /* that was tried often enough */
    ck_assert_uint_eq(d->health.state, HEALTH_CLOSED);
    ck_assert_ptr_null(d->held_why);
}
END_TEST

START_TEST(without_a_unit_it_is_told_and_calls_go_on)
{
    struct deployment *d = add("one", "m");

    open_world(NULL);
    ck_assert_has(written(never_unload_five), "upstream_hung");
    ck_assert_ptr_null(d->held_why);
    ck_assert_uint_eq(hang_evidence_n(&d->hangs, "m"), 0); /* not with each that follows */
}
END_TEST

static void never_unload_with_answers(void)
{
    for (int i = 0; i < 10; i++) {
        never_unload(4);
        tell(SERVER, "m", true);
    }
}

START_TEST(what_goes_at_times_does_not_hang)
{
    (void) add("one", "m");
    open_world(NULL);
    ck_assert_str_eq(written(never_unload_with_answers), "");
}
END_TEST

/* Others may be using it. */
START_TEST(a_server_elsewhere_is_left_alone)
{
    struct deployment *d = add("one", "m");

    d->is_local = false;
    open_world(NULL);
    ck_assert_str_eq(written(never_unload_five), "");
}
END_TEST

START_TEST(a_model_of_many_that_never_goes)
{
    (void) add("any", "*");
    open_world(NULL);
    ck_assert_has(written(never_unload_five), "\"SLUICE_MODEL\":\"m\"");
}
END_TEST

/* ---------------------------------------------------------------- units and reloads */

static void hang_once_more(void)
{
    list_for_each (l, &g.router.deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (strcmp(d->id, "hangs") == 0) {
            hang(d, NULL, 1);
        }
    }
    turn();
}

START_TEST(a_unit_that_a_reload_names_during_a_restart_is_the_next_one)
{
    struct deployment *d = add_deaf("hangs", "m"), *other = add_deaf("other", "o");
    const struct server_unit unit = {.api_base = SERVER, .unit = "new.service"};
    const char *told;

    open_world("old.service");
    other->in_use = 1; /* is waited for */
    hang_deaf(d);
    ck_assert_ptr_nonnull(d->held_why);
    ck_assert_int_eq(server_guards_set_units(&g.guards, NULL, 0), 0);
    ck_assert_int_eq(server_guards_set_units(&g.guards, &unit, 1), 0); /* the last one counts */
    other->in_use = 0;
    told = written(restart_ends);
    ck_assert_has(told, RESTARTS_IT);
    ck_assert_lacks(told, "new.service");
    ck_assert_ptr_null(d->held_why);
    told = written(hang_once_more);
    ck_assert_has(told, "new.service was not restarted");
    ck_assert_has(told, "it was restarted lately");
}
END_TEST

START_TEST(a_unit_that_a_reload_takes_away_during_a_restart_is_left_alone)
{
    struct deployment *d = add_deaf("hangs", "m"), *other = add_deaf("other", "o");

    open_world("old.service");
    other->in_use = 1;
    hang_deaf(d);
    ck_assert_int_eq(server_guards_set_units(&g.guards, NULL, 0), 0);
    other->in_use = 0;
    ck_assert_has(written(restart_ends), RESTARTS_IT);
    ck_assert_lacks(written(hang_once_more), "old.service");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    /* first, as only a few records of a kind are written in ten seconds (messages.h) */
    tcase_add_test(tc, what_nobody_calls_and_never_goes_is_restarted);
    tcase_add_test(tc, without_a_unit_it_is_told_and_calls_go_on);
    tcase_add_test(tc, what_goes_at_times_does_not_hang);
    tcase_add_test(tc, a_server_elsewhere_is_left_alone);
    tcase_add_test(tc, a_model_of_many_that_never_goes);
    tcase_add_test(tc, a_model_of_many_is_unloaded_though_others_answer);
    tcase_add_test(tc, calls_to_others_go_on_while_one_is_unloaded);
    tcase_add_test(tc, without_residency_all_calls_wait_for_the_unload);
    tcase_add_test(tc, a_model_that_is_being_answered_does_not_hang);
    tcase_add_test(tc, an_answer_of_another_model_calls_nothing_off);
    tcase_add_test(tc, an_answer_of_the_same_model_calls_it_off);
    tcase_add_test(tc, what_was_not_unloaded_is_a_witness_for_the_deployments_that_have_it);
    tcase_add_test(tc, a_unit_that_a_reload_names_during_a_restart_is_the_next_one);
    tcase_add_test(tc, a_unit_that_a_reload_takes_away_during_a_restart_is_left_alone);
}

TEST_MAIN("server_guard", add_tests)
