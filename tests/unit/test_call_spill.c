/*
 * Calls that leave the device under load: when, for where, what becomes of them, and who stays.
 * "m" is served here, "cloud" elsewhere; the clock and the level of memory are the test's.
 */
#include <string.h>

#include "call_cast.h"

#define HI "TEXT 0 answer hi\nEND stop\n"

static const struct spill_rules at_high = {.level = PRESSURE_L2};
static const struct spill_rules after_2s = {.predicted_wait_usec = 2 * SEC};

/* One call beside the cast's own. */
struct guest {
    struct recording_sink sink;
    struct call *call;
};

struct stage {
    struct cast c;
    struct actor *here, *cloud;
};

static void stage_init(struct stage *s, struct spill_rules rules)
{
    cast_init(&s->c);
    s->c.plan.policy.spill = rules;
    s->here = cast_add(&s->c, "here", (struct role) {.group = "m"});
    s->cloud = cast_add(&s->c, "far", (struct role) {.group = "cloud", .is_remote = true});
    cast_fallback(&s->c, FALLBACK_GENERAL, "m", "cloud", NULL);
}

static void invite(struct stage *s, struct guest *g, struct request *req)
{
    g->call = submit(&s->c.w, req, &g->sink);
    run(&s->c.w);
}

/* Where an actor's answers are known to take so long. */
static void knows(struct stage *s, const char *id, uint64_t usec)
{
    list_for_each (l, &s->c.w.router.deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (strcmp(d->id, id) == 0) {
            service_time_note(&d->service, CLASS_INTERACTIVE, usec);
        }
    }
}

static void set_level(struct stage *s, enum pressure_level level)
{
    s->c.w.pressure.level = level;
    run(&s->c.w);
}

static struct request *of_class(enum call_class class)
{
    struct request *req = request("m", "r");

    req->class = class;
    return req;
}

static void ask(struct stage *s)
{
    cast_ask(&s->c, of_class(CLASS_INTERACTIVE));
}

static void open_at(struct stage *s, enum pressure_level level)
{
    cast_open(&s->c);
    set_level(s, level);
}

/* What is spilled from L2 on, memory at that level, and one call. */
static void stage_with_call(struct stage *s, enum pressure_level level)
{
    stage_init(s, at_high);
    open_at(s, level);
    ask(s);
}

/* ---- when */

START_TEST(at_the_level_and_above)
{
    for (int level = 0; level <= 4; level++) {
        struct stage s;
        bool leaves = level >= 2;

        stage_with_call(&s, (enum pressure_level) level);
        act_answer(&s.c, leaves ? s.cloud : s.here);
        cast_expect(&s.c,
                    leaves ? "STARTED cloud far 0 1 spilled level\n" HI : "STARTED m here\n" HI);
        ck_assert_uint_eq(s.c.w.stats.n_spilled[SPILL_LEVEL], leaves);
        ck_assert_uint_eq(s.c.w.stats.n_fallbacks, leaves);
        cast_done(&s.c);
    }
}
END_TEST

/* Lower classes too, which the device would hold or refuse. */
START_TEST(of_every_class)
{
    for (int class = 0; class < _CLASS_MAX; class ++) {
        struct stage s;

        stage_init(&s, at_high);
        open_at(&s, PRESSURE_L4);
        cast_ask(&s.c, of_class((enum call_class) class));
        act_answer(&s.c, s.cloud);
        cast_expect(&s.c, "STARTED cloud far 0 1 spilled level\n" HI);
        cast_done(&s.c);
    }
}
END_TEST

START_TEST(not_unless_it_is_said)
{
    struct stage s;

    stage_init(&s, (struct spill_rules) {0});
    open_at(&s, PRESSURE_L2);
    ask(&s);
    act_answer(&s.c, s.here);
    cast_expect(&s.c, "STARTED m here\n" HI);
    cast_done(&s.c);
}
END_TEST

START_TEST(where_the_wait_would_be_long)
{
    for (int is_long = 0; is_long < 2; is_long++) {
        struct stage s;
        struct guest g;

        stage_init(&s, after_2s);
        cast_open(&s.c);
        knows(&s, "here", is_long ? 5 * SEC : SEC);
        ask(&s);
        invite(&s, &g, of_class(CLASS_INTERACTIVE));
        ck_assert_ptr_nonnull(s.here->sink);
        ck_assert_int_eq(s.cloud->sink != NULL, is_long);
        act_answer(&s.c, s.here);
        if (is_long) {
            act_answer(&s.c, s.cloud);
            ck_assert_str_eq(recording_sink_text(&g.sink),
                             "STARTED cloud far 0 1 spilled predicted_wait\n" HI);
        } else {
            act_answer(&s.c, s.here);
            ck_assert_str_eq(recording_sink_text(&g.sink), "QUEUED 1\nSTARTED m here\n" HI);
        }
        ck_assert_uint_eq(s.c.w.stats.n_spilled[SPILL_PREDICTED_WAIT], is_long);
        recording_sink_done(&g.sink);
        cast_done(&s.c);
    }
}
END_TEST

/* Of nothing is known how long it takes; then it is only the queue that says no. */
START_TEST(where_it_would_be_refused)
{
    struct stage s;
    struct guest waits, leaves, refused;

    stage_init(&s, after_2s);
    cast_open(&s.c);
    s.c.w.admission.params.max_queued = 1;
    ask(&s);
    invite(&s, &waits, of_class(CLASS_INTERACTIVE));
    ck_assert_ptr_null(s.cloud->sink);
    invite(&s, &leaves, of_class(CLASS_INTERACTIVE));
    ck_assert_ptr_nonnull(s.cloud->sink);
    invite(&s, &refused, of_class(CLASS_INTERACTIVE));
    ck_assert_int_eq(refused.sink.code, ERRCODE_QUEUE_FULL);
    ck_assert_ptr_nonnull(
        strstr(recording_sink_text(&refused.sink), "is full; no other machine takes it now"));
    act_answer(&s.c, s.cloud);
    act_answer(&s.c, s.here);
    act_answer(&s.c, s.here);
    ck_assert_str_eq(recording_sink_text(&leaves.sink),
                     "STARTED cloud far 0 1 spilled predicted_wait\n" HI);
    recording_sink_done(&waits.sink);
    recording_sink_done(&leaves.sink);
    recording_sink_done(&refused.sink);
    cast_done(&s.c);
}
END_TEST

/* ---- for where */

START_TEST(the_same_model_elsewhere_goes_first)
{
    struct stage s;
    struct actor *far;

    stage_init(&s, at_high);
    far = cast_add(&s.c, "far2", (struct role) {.group = "m", .is_remote = true, .terms.order = 9});
    s.here = cast_add(&s.c, "here1", (struct role) {.group = "m", .terms.order = 1});
    cast_open(&s.c);
    ask(&s);
    act_answer(&s.c, s.here);
    cast_expect(&s.c, "STARTED m here1\n" HI);
    recording_sink_done(&s.c.sink);
    recording_sink_init(&s.c.sink);
    s.c.w.n_ended = 0;
    set_level(&s, PRESSURE_L2);
    cast_ask(&s.c, of_class(CLASS_BATCH));
    act_answer(&s.c, far);
    cast_expect(&s.c, "STARTED m far2 spilled level\n" HI);
    ck_assert_uint_eq(s.c.w.stats.n_fallbacks, 0);
    cast_done(&s.c);
}
END_TEST

START_TEST(a_model_that_is_not_here_is_not_spilled)
{
    struct stage s;

    stage_init(&s, at_high);
    open_at(&s, PRESSURE_L2);
    cast_ask(&s.c, request("cloud", "r"));
    act_answer(&s.c, s.cloud);
    cast_expect(&s.c, "STARTED cloud far\n" HI);
    cast_done(&s.c);
}
END_TEST

/* Another model of this device is no way out, nor is one that is off, pauses or is of the wrong name. */
START_TEST(only_to_who_takes_it)
{
    for (int way = 0; way < 4; way++) {
        struct stage s;

        cast_init(&s.c);
        s.c.plan.policy.spill = at_high;
        s.here = cast_add(&s.c, "here", (struct role) {.group = "m"});
        cast_add(&s.c, "other", (struct role) {.group = "n"});
        cast_add(&s.c, "off", (struct role) {.group = "o", .is_remote = true, .is_off = true});
        s.cloud = cast_add(&s.c, "limited",
                           (struct role) {.group = "p",
                                          .is_remote = true,
                                          .terms = {.rpm = 1, .enforces_rates = true}});
        cast_fallback(&s.c, FALLBACK_GENERAL, "m",
                      way == 0   ? "n"
                      : way == 1 ? "o"
                      : way == 2 ? "p"
                                 : "gone",
                      NULL);
        cast_open(&s.c);
        if (way == 2) { /* its one call of this minute */
            cast_ask(&s.c, request("p", "r"));
            act_answer(&s.c, s.cloud);
            recording_sink_done(&s.c.sink);
            recording_sink_init(&s.c.sink);
            s.c.w.n_ended = 0;
        }
        set_level(&s, PRESSURE_L2);
        ask(&s);
        act_answer(&s.c, s.here);
        cast_expect(&s.c, "STARTED m here\n" HI);
        cast_done(&s.c);
    }
}
END_TEST

START_TEST(the_requests_own_list)
{
    for (int has_any = 0; has_any < 2; has_any++) {
        struct stage s;
        struct str own = STR_LIT("cluster");
        struct request *req = of_class(CLASS_INTERACTIVE);
        struct actor *cluster;

        stage_init(&s, at_high);
        cluster = cast_add(&s.c, "cluster", (struct role) {.group = "cluster", .is_remote = true});
        open_at(&s, PRESSURE_L2);
        req->routing.has_fallbacks = true;
        req->routing.fallbacks = &own;
        req->routing.n_fallbacks = (size_t) has_any;
        cast_ask(&s.c, req);
        act_answer(&s.c, has_any ? cluster : s.here);
        cast_expect(&s.c, has_any ? "STARTED cluster cluster 0 1 spilled level\n" HI
                                  : "STARTED m here\n" HI);
        cast_done(&s.c);
    }
}
END_TEST

/*
 * One slot there. Who finds none stays here; those who wait here follow when there is one, as long as
 * the level holds.
 */
START_TEST(those_that_wait_follow)
{
    for (int ends_before = 0; ends_before < 2; ends_before++) {
        struct stage s;
        struct guest g[3];

        stage_init(&s, at_high);
        cast_open(&s.c);
        ask(&s); /* keeps the slot of this device */
        for (size_t i = 0; i < 3; i++) {
            invite(&s, &g[i], of_class(CLASS_INTERACTIVE));
        }
        ck_assert_uint_eq(s.c.w.admission.n_queued, 3);
        set_level(&s, PRESSURE_L2);
        ck_assert_uint_eq(s.c.w.admission.n_queued, 2);
        ck_assert_ptr_nonnull(s.cloud->sink);
        set_level(&s, ends_before ? PRESSURE_L0 : PRESSURE_L2);
        act_answer(&s.c, s.cloud);
        ck_assert_uint_eq(s.c.w.admission.n_queued, ends_before ? 2 : 1);
        ck_assert_uint_eq(s.c.w.stats.n_spilled[SPILL_LEVEL], ends_before ? 1 : 2);
        while (s.c.w.registry.n_calls > 0) {
            act_answer(&s.c, s.here->sink ? s.here : s.cloud);
        }
        for (size_t i = 0; i < 3; i++) {
            ck_assert(g[i].sink.is_over && g[i].sink.code == ERRCODE_NONE);
            recording_sink_done(&g[i].sink);
        }
        ck_assert_uint_eq(s.c.w.admission.n_granted + s.c.w.admission.n_queued, 0);
        cast_done(&s.c);
    }
}
END_TEST

/* ---- who stays */

START_TEST(what_must_not_leave)
{
    for (int by_tag = 0; by_tag < 2; by_tag++) {
        for (int level = 2; level <= 4; level += 2) {
            struct stage s;
            struct request *req = of_class(CLASS_INTERACTIVE);

            stage_init(&s, at_high);
            if (by_tag) {
                cast_add(&s.c, "kept",
                         (struct role) {.group = "m", .is_off = true, .terms.is_local_only = true});
            }
            req->routing.is_local_only = !by_tag;
            open_at(&s, (enum pressure_level) level);
            cast_ask(&s.c, req);
            ck_assert_ptr_null(s.cloud->sink);
            if (level == 2) {
                act_answer(&s.c, s.here);
                cast_expect(&s.c, "STARTED m here\n" HI);
            } else {
                cast_expect_failure(&s.c, ERRCODE_MEMORY_PRESSURE);
                ck_assert_ptr_nonnull(strstr(recording_sink_text(&s.c.sink),
                                             "takes no new calls; the call must not "
                                             "leave this device"));
            }
            cast_done(&s.c);
        }
    }
}
END_TEST

START_TEST(a_refusal_says_that_nobody_takes_it)
{
    struct stage s;

    stage_init(&s, at_high);
    open_at(&s, PRESSURE_L4);
    list_for_each (l, &s.c.w.router.deployments) {
        struct deployment *d = CONTAINER_OF(l, struct deployment, link);

        if (!d->is_local) {
            deployment_hold(d, "being restarted", s.c.w.now + 5 * SEC);
        }
    }
    ask(&s);
    cast_expect_failure(&s.c, ERRCODE_MEMORY_PRESSURE);
    ck_assert_ptr_nonnull(
        strstr(recording_sink_text(&s.c.sink), "; no other machine takes it now"));
    cast_done(&s.c);
}
END_TEST

/* ---- and back */

START_TEST(who_is_not_served_there_comes_home)
{
    struct stage s;

    stage_with_call(&s, PRESSURE_L2);
    act_fail(&s.c, s.cloud, ERRCODE_UPSTREAM_AUTH, 0);
    ck_assert_int_eq(s.c.call->spilled, SPILL_LEVEL);
    act_answer(&s.c, s.here);
    cast_expect(&s.c, "STARTED cloud far 0 1 spilled level\nSTARTED m here 0 1\n" HI);
    ck_assert_uint_eq(s.c.w.stats.n_spilled[SPILL_LEVEL], 1);
    cast_done(&s.c);
}
END_TEST

/* In the same group, where another deployment elsewhere is asked before. */
START_TEST(retries_there_come_first)
{
    struct stage s;
    struct actor *far[2];

    stage_init(&s, at_high);
    for (int i = 0; i < 2; i++) {
        far[i] = cast_add(&s.c, i == 0 ? "far1" : "far2",
                          (struct role) {.group = "m", .is_remote = true});
    }
    open_at(&s, PRESSURE_L2);
    ask(&s);

    bool is_first = far[0]->sink != NULL;

    act_fail(&s.c, far[!is_first], ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&s.c, far[is_first], ERRCODE_UPSTREAM_AUTH, 0);
    act_answer(&s.c, s.here);
    ck_assert_ptr_nonnull(strstr(recording_sink_text(&s.c.sink), "STARTED m here 1 0\n" HI));
    ck_assert_uint_eq(s.cloud->n_started, 0);
    cast_done(&s.c);
}
END_TEST

START_TEST(home_may_be_closed)
{
    struct stage s;

    stage_with_call(&s, PRESSURE_L4);
    while (s.cloud->sink) { /* it is tried again there */
        act_fail(&s.c, s.cloud, ERRCODE_UPSTREAM_UNREACHABLE, 0);
    }
    cast_expect_failure(&s.c, ERRCODE_MEMORY_PRESSURE);
    ck_assert_ptr_nonnull(strstr(recording_sink_text(&s.c.sink),
                                 "takes no new calls; another machine was asked instead (level): "
                                 "upstream_unreachable"));
    cast_done(&s.c);
}
END_TEST

START_TEST(who_has_no_patience_left_does_not_come_home)
{
    struct stage s;

    stage_with_call(&s, PRESSURE_L2);
    s.c.w.now += 15 * SEC;
    act_fail(&s.c, s.cloud, ERRCODE_UPSTREAM_TIMEOUT, 0);
    cast_expect_failure(&s.c, ERRCODE_UPSTREAM_TIMEOUT);
    ck_assert_ptr_nonnull(
        strstr(recording_sink_text(&s.c.sink), "another machine was asked instead (level)"));
    ck_assert_uint_eq(s.here->n_started, 0);
    cast_done(&s.c);
}
END_TEST

/* At home again it is a call like any other, with the fallbacks that it has left. */
START_TEST(what_fails_at_home_after_that)
{
    struct stage s;
    struct actor *last;

    stage_init(&s, at_high);
    last = cast_add(&s.c, "last", (struct role) {.group = "last"});
    cast_fallback(&s.c, FALLBACK_GENERAL, "cloud", "last", NULL);
    open_at(&s, PRESSURE_L2);
    ask(&s);
    act_fail(&s.c, s.cloud, ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&s.c, s.here, ERRCODE_CONTEXT_LENGTH, 0);
    act_fail(&s.c, last, ERRCODE_UPSTREAM_AUTH, 0);
    cast_expect_failure(&s.c, ERRCODE_CONTEXT_LENGTH);
    cast_done(&s.c);
}
END_TEST

/* ---- a reload, and memory */

START_TEST(a_reload_changes_it)
{
    struct stage s;

    stage_with_call(&s, PRESSURE_L2);
    ck_assert_ptr_nonnull(s.cloud->sink);
    cast_plan(&s.c); /* the group is gone that it went to: it ends there */
    s.here = cast_add(&s.c, "new", (struct role) {.group = "m"});
    cast_open(&s.c);
    act_fail(&s.c, s.cloud, ERRCODE_UPSTREAM_AUTH, 0);
    act_answer(&s.c, s.here);
    cast_expect(&s.c, "STARTED cloud far 0 1 spilled level\nSTARTED m new 0 1\n" HI);
    cast_done(&s.c);
}
END_TEST

START_TEST(no_memory_for_it)
{
    /* 1: of the name that it goes to; 2: of the sink, which is the test's own */
    for (unsigned n = 1; n <= 2; n++) {
        struct stage s;
        bool leaves = n > 1;

        stage_init(&s, at_high);
        open_at(&s, PRESSURE_L2);
        s.c.call = submit(&s.c.w, of_class(CLASS_INTERACTIVE), &s.c.sink);
        fail_allocation(n);
        run(&s.c.w);
        fail_allocation(0);
        act_answer(&s.c, leaves ? s.cloud : s.here);
        ck_assert(s.c.sink.is_over && s.c.sink.code == ERRCODE_NONE);
        ck_assert_uint_eq(s.cloud->n_started, leaves);
        ck_assert_uint_eq(s.c.w.stats.n_spilled[SPILL_LEVEL], leaves);
        ck_assert_uint_eq(s.c.w.registry.n_calls + s.c.w.admission.n_queued, 0);
        cast_done(&s.c);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, at_the_level_and_above);
    tcase_add_test(tc, of_every_class);
    tcase_add_test(tc, not_unless_it_is_said);
    tcase_add_test(tc, where_the_wait_would_be_long);
    tcase_add_test(tc, where_it_would_be_refused);
    tcase_add_test(tc, the_same_model_elsewhere_goes_first);
    tcase_add_test(tc, a_model_that_is_not_here_is_not_spilled);
    tcase_add_test(tc, only_to_who_takes_it);
    tcase_add_test(tc, the_requests_own_list);
    tcase_add_test(tc, those_that_wait_follow);
    tcase_add_test(tc, what_must_not_leave);
    tcase_add_test(tc, a_refusal_says_that_nobody_takes_it);
    tcase_add_test(tc, who_is_not_served_there_comes_home);
    tcase_add_test(tc, retries_there_come_first);
    tcase_add_test(tc, home_may_be_closed);
    tcase_add_test(tc, who_has_no_patience_left_does_not_come_home);
    tcase_add_test(tc, what_fails_at_home_after_that);
    tcase_add_test(tc, a_reload_changes_it);
    tcase_add_test(tc, no_memory_for_it);
}
TEST_MAIN("call spill", add_tests)
