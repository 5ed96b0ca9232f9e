/*
 * Fallbacks: which group is asked after which failure, what the client is told when none helps, and
 * what never leaves the device.
 */
#include <string.h>

#include "call_cast.h"

#define HI "TEXT 0 answer hi\nEND stop\n"

static struct role in(const char *group)
{
    return (struct role) {.group = group};
}

/* Each group has one deployment of its name. */
static void add_groups(struct cast *c, const char *names)
{
    static const char *const all[] = {"m", "n", "o", "p", "q"};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        if (strchr(names, all[i][0])) {
            cast_add(c, all[i], in(all[i]));
        }
    }
}

static struct actor *actor(struct cast *c, const char *id)
{
    for (unsigned i = 0; i < c->n; i++) {
        if (strcmp(c->actors[i].id, id) == 0) {
            return &c->actors[i];
        }
    }
    ck_abort_msg("no %s", id);
}

START_TEST(which_list)
{
    static const struct {
        enum errcode code;
        bool has_special;
        const char *to;
    } rows[] = {
        {ERRCODE_UPSTREAM_REJECTED, true, "n"}, {ERRCODE_UPSTREAM_AUTH, true, "n"},
        {ERRCODE_UPSTREAM_TIMEOUT, true, "n"},  {ERRCODE_MODEL_NOT_FOUND, true, "n"},
        {ERRCODE_CONTEXT_LENGTH, true, "o"},    {ERRCODE_CONTENT_FILTER, true, "p"},
        {ERRCODE_CONTEXT_LENGTH, false, "n"}, /* no list of its own: the general one */
        {ERRCODE_CONTENT_FILTER, false, "n"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cast c;

        cast_init(&c);
        add_groups(&c, "mnop");
        cast_fallback(&c, FALLBACK_GENERAL, "m", "n", NULL);
        if (rows[i].has_special) {
            cast_fallback(&c, FALLBACK_CONTEXT, "m", "o", NULL);
            cast_fallback(&c, FALLBACK_CONTENT_POLICY, "m", "p", NULL);
        }
        cast_open(&c);
        cast_ask(&c, request("m", "r"));
        act_fail(&c, actor(&c, "m"), rows[i].code, 0);
        ck_assert_msg(actor(&c, rows[i].to)->sink, "row %zu", i);
        act_answer(&c, actor(&c, rows[i].to));
        ck_assert_ptr_nonnull(strstr(recording_sink_text(&c.sink), " 0 1\n" HI));
        ck_assert_uint_eq(c.w.stats.n_fallbacks, 1);
        ck_assert_uint_eq(c.w.stats.n_completed, 1);
        ck_assert_uint_eq(c.w.admission.n_granted, 0);
        cast_done(&c);
    }
}
END_TEST

START_TEST(the_own_group_first)
{
    struct cast c;

    cast_init(&c);
    add_groups(&c, "mn");
    cast_fallback(&c, FALLBACK_GENERAL, "m", "n", NULL);
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    for (int i = 0; i < 3; i++) {
        act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_ERROR, 0);
    }
    act_fail(&c, actor(&c, "n"), ERRCODE_UPSTREAM_ERROR, 0); /* has retries of its own */
    act_answer(&c, actor(&c, "n"));
    cast_expect(&c, "STARTED m m\nSTARTED m m 1 0\nSTARTED m m 2 0\nSTARTED n n 2 1\n"
                    "STARTED n n 3 1\n" HI);
    cast_done(&c);
}
END_TEST

START_TEST(a_chain_and_what_is_told_at_its_end)
{
    struct cast c;

    cast_init(&c);
    add_groups(&c, "mnop");
    cast_fallback(&c, FALLBACK_GENERAL, "m", "n", "p");
    cast_fallback(&c, FALLBACK_GENERAL, "n", "o", "m"); /* m: it came from there */
    cast_fallback(&c, FALLBACK_GENERAL, "p", "m", "n");
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&c, actor(&c, "n"), ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&c, actor(&c, "o"), ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&c, actor(&c, "p"), ERRCODE_UPSTREAM_TIMEOUT, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_AUTH); /* of the model that was asked for */
    ck_assert_ptr_nonnull(
        strstr(recording_sink_text(&c.sink), "; 3 fallbacks did not help: upstream_timeout"));
    for (unsigned i = 0; i < c.n; i++) {
        ck_assert_uint_eq(c.actors[i].n_started, 1);
    }
    cast_done(&c);
}
END_TEST

START_TEST(no_more_than_so_many)
{
    struct cast c;

    cast_init(&c);
    add_groups(&c, "mnop");
    c.plan.policy.max_fallbacks = 2;
    cast_fallback(&c, FALLBACK_GENERAL, "*", "n", "o");
    cast_fallback(&c, FALLBACK_GENERAL, "o", "p", NULL);
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&c, actor(&c, "n"), ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&c, actor(&c, "o"), ERRCODE_UPSTREAM_AUTH, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_AUTH);
    ck_assert_uint_eq(actor(&c, "p")->n_started, 0);
    cast_done(&c);
}
END_TEST

/* Names that lead nowhere, to the group itself, to what is off: passed over. */
START_TEST(only_ways_that_lead_somewhere)
{
    struct cast c;

    cast_init(&c);
    add_groups(&c, "mo");
    cast_add(&c, "n", (struct role) {.group = "n", .is_off = true});
    cast_fallback(&c, FALLBACK_GENERAL, "m", "m", "nowhere");
    cast_fallback(&c, FALLBACK_GENERAL, "*", "o", NULL);
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_AUTH, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_AUTH);
    ck_assert_ptr_null(strstr(recording_sink_text(&c.sink), "did not help")); /* none was asked */
    cast_done(&c);
}
END_TEST

START_TEST(a_group_that_cannot_serve_falls_back_at_once)
{
    for (int way = 0; way < 3; way++) {
        struct cast c;

        cast_init(&c);
        cast_add(&c, "m", (struct role) {.is_off = way == 0});
        add_groups(&c, "n");
        cast_fallback(&c, FALLBACK_GENERAL, "m", "n", NULL);
        cast_open(&c);
        if (way == 1) { /* its breaker */
            struct deployment *d = router_resolve(&c.w.router, str_from("m"))->deployments[0];

            d->health = (struct health) {.state = HEALTH_OPEN, .open_until_usec = USEC_NEVER};
        } else if (way == 2) { /* no slot in time */
            struct recording_sink other;
            struct call *call = submit(&c.w, request("m", "other"), &other);

            run(&c.w);
            cast_ask(&c, request("m", "r"));
            c.w.now += 15 * SEC;
            run(&c.w);
            act_answer(&c, actor(&c, "n"));
            call_detach(call, c.w.now);
            run(&c.w);
            recording_sink_done(&other);
            ck_assert_str_eq(recording_sink_text(&c.sink), "QUEUED 1\nSTARTED n n 0 1\n" HI);
            cast_done(&c);
            continue;
        }
        cast_ask(&c, request("m", "r"));
        act_answer(&c, actor(&c, "n"));
        cast_expect(&c, "STARTED n n 0 1\n" HI);
        cast_done(&c);
    }
}
END_TEST

START_TEST(the_requests_own_list)
{
    static struct str names[] = {STR_LIT("nowhere"), STR_LIT("p")};

    for (int n = 0; n < 3; n++) {
        struct cast c;
        struct request *req = request("m", "r");

        cast_init(&c);
        add_groups(&c, "mnp");
        cast_fallback(&c, FALLBACK_GENERAL, "*", "n", NULL);
        req->routing.has_fallbacks = true;
        req->routing.fallbacks = names;
        req->routing.n_fallbacks = (size_t) n;
        cast_open(&c);
        cast_ask(&c, req);
        act_fail(&c, actor(&c, "m"), ERRCODE_CONTEXT_LENGTH, 0);
        if (n == 2) {
            act_answer(&c, actor(&c, "p"));
            cast_expect(&c, "STARTED m m\nSTARTED p p 0 1\n" HI);
        } else { /* disable_fallbacks, or none that exists */
            cast_expect_failure(&c, ERRCODE_CONTEXT_LENGTH);
        }
        ck_assert_uint_eq(actor(&c, "n")->n_started, 0);
        cast_done(&c);
    }
}
END_TEST

/* A wildcard behind a fallback: the model is the fallback's name, not the one that was asked for. */
START_TEST(a_fallback_may_be_what_a_wildcard_serves)
{
    struct cast c;

    cast_init(&c);
    add_groups(&c, "m");
    cast_add(&c, "cloud/*", in("cloud/*"));
    cast_fallback(&c, FALLBACK_GENERAL, "m", "cloud/big", "cloud/bigger");
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_AUTH, 0);
    ck_assert_str_eq(actor(&c, "cloud/*")->model, "cloud/big");
    act_fail(&c, actor(&c, "cloud/*"), ERRCODE_UPSTREAM_REJECTED, 0);
    ck_assert_str_eq(actor(&c, "cloud/*")->model, "cloud/bigger"); /* another model of the same */
    act_answer(&c, actor(&c, "cloud/*"));
    ck_assert(c.sink.is_over);
    ck_assert_uint_eq(c.w.registry.n_calls, 0);
    cast_done(&c);
}
END_TEST

/* ---- what stays on the device */

static void add_remote(struct cast *c, const char *id, const char *group)
{
    cast_add(c, id, (struct role) {.group = group, .is_remote = true});
}

START_TEST(a_local_only_request_does_not_leave)
{
    for (int way = 0; way < 4; way++) {
        struct cast c;
        struct request *req = request(way == 3 ? "cloud" : "m", "r");

        cast_init(&c);
        add_groups(&c, "mn");
        add_remote(&c, "far", "m"); /* in the same group */
        add_remote(&c, "cloud", "cloud");
        cast_fallback(&c, FALLBACK_GENERAL, "m", "cloud", way == 1 ? "n" : NULL);
        req->routing.is_local_only = way > 0;
        req->routing.has_retries = true;
        cast_open(&c);
        cast_ask(&c, req);
        if (way == 3) {
            cast_expect_failure(&c, ERRCODE_LOCAL_ONLY);
        } else {
            const char *first = actor(&c, "m")->sink ? "m" : "far";

            ck_assert(way == 0 || strcmp(first, "m") == 0);
            act_fail(&c, actor(&c, first), ERRCODE_UPSTREAM_REJECTED, 0);
            if (way == 2) {
                cast_expect_failure(&c, ERRCODE_UPSTREAM_REJECTED);
            } else {
                act_answer(&c, actor(&c, way == 0 ? "cloud" : "n"));
            }
        }
        ck_assert(way == 0 || actor(&c, "far")->n_started + actor(&c, "cloud")->n_started == 0);
        ck_assert_uint_eq(c.w.admission.n_granted + c.w.registry.n_calls, 0);
        cast_done(&c);
    }
}
END_TEST

/* Tagged local_only: also what it falls back to stays here, and a remote one beside it is not asked. */
START_TEST(a_local_only_deployment_is_never_left)
{
    struct cast c;

    cast_init(&c);
    cast_add(&c, "m", (struct role) {.terms.is_local_only = true});
    add_remote(&c, "far", "m");
    add_remote(&c, "cloud", "cloud");
    add_groups(&c, "n");
    cast_fallback(&c, FALLBACK_GENERAL, "m", "cloud", "n");
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&c, actor(&c, "n"), ERRCODE_UPSTREAM_AUTH, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_AUTH);
    ck_assert_uint_eq(actor(&c, "far")->n_started + actor(&c, "cloud")->n_started, 0);
    cast_done(&c);
}
END_TEST

/* Nor where a call came to it as to a fallback. */
START_TEST(a_local_only_fallback_is_never_left)
{
    struct cast c;

    cast_init(&c);
    add_groups(&c, "m");
    cast_add(&c, "n", (struct role) {.group = "n", .terms.is_local_only = true});
    add_remote(&c, "cloud", "cloud");
    cast_fallback(&c, FALLBACK_GENERAL, "m", "n", NULL);
    cast_fallback(&c, FALLBACK_GENERAL, "n", "cloud", NULL);
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_AUTH, 0);
    act_fail(&c, actor(&c, "n"), ERRCODE_UPSTREAM_AUTH, 0);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_AUTH);
    ck_assert_uint_eq(actor(&c, "cloud")->n_started, 0);
    cast_done(&c);
}
END_TEST

/* A reload tags it while a call is there, or pauses on the way back to it. */
START_TEST(what_a_reload_makes_local_only_is_not_left)
{
    for (int has_paused = 0; has_paused < 2; has_paused++) {
        struct cast c;

        cast_init(&c);
        add_groups(&c, "m");
        cast_open(&c);
        cast_ask(&c, request("m", "r"));
        if (has_paused) {
            act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_RATE_LIMITED, SEC);
        }
        cast_plan(&c);
        cast_add(&c, "m2", (struct role) {.terms.is_local_only = true});
        add_remote(&c, "cloud", "cloud");
        cast_fallback(&c, FALLBACK_GENERAL, "m", "cloud", NULL);
        cast_open(&c);
        if (has_paused) {
            c.w.now += SEC;
            run(&c.w);
        } else {
            act_fail(&c, actor(&c, "m"), ERRCODE_UPSTREAM_AUTH, 0);
        }
        act_fail(&c, actor(&c, "m2"), ERRCODE_UPSTREAM_AUTH, 0);
        ck_assert(c.sink.is_over);
        ck_assert_uint_eq(actor(&c, "cloud")->n_started, 0);
        cast_done(&c);
    }
}
END_TEST

/* ---- prompts */

START_TEST(a_prompt_that_cannot_fit_is_not_sent)
{
    for (int has_larger = 0; has_larger < 2; has_larger++) {
        struct cast c;
        struct content_part part = {.type = PART_TEXT, .text = STR_LIT("one two three four")};
        struct message message = {.role = ROLE_USER, .parts = &part, .n_parts = 1};
        struct request *req = request("m", "r");

        req->messages = &message;
        req->n_messages = 1;
        cast_init(&c);
        c.plan.policy.checks_context = true;
        cast_add(&c, "m", (struct role) {.terms.max_input_tokens = 3});
        cast_add(&c, "n", (struct role) {.group = "n", .terms.max_input_tokens = 4});
        cast_fallback(&c, FALLBACK_CONTEXT, "m", has_larger ? "n" : "m", NULL);
        cast_open(&c);
        cast_ask(&c, req);
        ck_assert_uint_eq(actor(&c, "m")->n_started, 0);
        if (has_larger) {
            act_answer(&c, actor(&c, "n"));
            cast_expect(&c, "STARTED n n 0 1\n" HI);
        } else {
            cast_expect_failure(&c, ERRCODE_CONTEXT_LENGTH);
            ck_assert_ptr_nonnull(strstr(recording_sink_text(&c.sink),
                                         "has 4 tokens at least, and the model takes 3"));
        }
        cast_done(&c);
    }
}
END_TEST

/* A server that says no number: those that are known. */
START_TEST(a_prompt_that_did_not_fit)
{
    static const char *const want[] = {"takes 9 tokens at most, and the prompt has 3 at least",
                                       "takes 9 tokens at most", "model's context"};

    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        struct cast c;
        struct str input = i == 1 ? STR_LIT("(") : STR_LIT("one two three");
        struct request *req = request("m", "r");

        req->kind = REQUEST_EMBED;
        req->inputs = &input;
        req->n_inputs = 1;
        cast_init(&c);
        cast_add(&c, "m", (struct role) {.terms.max_input_tokens = i < 2 ? 9 : 0});
        cast_open(&c);
        cast_ask(&c, req);
        act_fail(&c, actor(&c, "m"), ERRCODE_CONTEXT_LENGTH, 0);
        cast_expect_failure(&c, ERRCODE_CONTEXT_LENGTH);

        const char *said = recording_sink_text(&c.sink);

        ck_assert_msg(strstr(said, want[i]), "%zu: %s", i, said);
        ck_assert((strstr(said, "prompt has") != NULL) == (i == 0));
        ck_assert((strstr(said, "takes") != NULL) == (i < 2));
        cast_done(&c);
    }
}
END_TEST

/* ---- content filters */

static void end_filtered(struct cast *c, struct actor *a)
{
    static const enum finish_reason reason = FINISH_CONTENT_FILTER;
    struct event ev = {
        .type = EVENT_END, .at_usec = c->w.now, .end = {.reasons = &reason, .n_choices = 1}};

    tell(a->sink, EVENT_USAGE, c->w.now);
    event_sink_deliver(TAKE(a->sink), &ev);
    run(&c->w);
}

START_TEST(an_answer_that_was_filtered_away)
{
    for (int way = 0; way < 3; way++) {
        struct cast c;

        cast_init(&c);
        add_groups(&c, "mn");
        if (way > 0) {
            cast_fallback(&c, FALLBACK_CONTENT_POLICY, "m", "n", NULL);
        }
        cast_open(&c);
        cast_ask(&c, request("m", "r"));
        if (way == 2) { /* a word of it is an answer */
            tell(actor(&c, "m")->sink, EVENT_TEXT, c.w.now);
        }
        end_filtered(&c, actor(&c, "m"));
        if (way == 1) {
            act_answer(&c, actor(&c, "n"));
        }
        ck_assert(c.sink.is_over);
        ck_assert_int_eq(strstr(recording_sink_text(&c.sink), "content_filter") != NULL, way != 1);
        ck_assert_int_eq(c.w.last_outcome, ERRCODE_NONE);
        ck_assert_uint_eq(c.w.registry.n_calls + c.w.admission.n_granted, 0);
        cast_done(&c);
    }
}
END_TEST

/* ---- memory */

START_TEST(no_memory_for_a_fallback)
{
    struct cast c;

    cast_init(&c);
    add_groups(&c, "mn");
    cast_fallback(&c, FALLBACK_GENERAL, "m", "n", NULL);
    cast_open(&c);
    cast_ask(&c, request("m", "r"));
    fail_allocation(1);
    fail_to(TAKE(actor(&c, "m")->sink), ERRCODE_UPSTREAM_AUTH, 0, c.w.now);
    fail_allocation(0);
    run(&c.w);
    cast_expect_failure(&c, ERRCODE_UPSTREAM_AUTH); /* as if there were none */
    ck_assert_ptr_null(strstr(recording_sink_text(&c.sink), "did not help"));
    cast_done(&c);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, which_list);
    tcase_add_test(tc, the_own_group_first);
    tcase_add_test(tc, a_chain_and_what_is_told_at_its_end);
    tcase_add_test(tc, no_more_than_so_many);
    tcase_add_test(tc, only_ways_that_lead_somewhere);
    tcase_add_test(tc, a_group_that_cannot_serve_falls_back_at_once);
    tcase_add_test(tc, the_requests_own_list);
    tcase_add_test(tc, a_fallback_may_be_what_a_wildcard_serves);
    tcase_add_test(tc, a_local_only_request_does_not_leave);
    tcase_add_test(tc, a_local_only_deployment_is_never_left);
    tcase_add_test(tc, a_local_only_fallback_is_never_left);
    tcase_add_test(tc, what_a_reload_makes_local_only_is_not_left);
    tcase_add_test(tc, a_prompt_that_cannot_fit_is_not_sent);
    tcase_add_test(tc, a_prompt_that_did_not_fit);
    tcase_add_test(tc, an_answer_that_was_filtered_away);
    tcase_add_test(tc, no_memory_for_a_fallback);
}
TEST_MAIN("call fallbacks", add_tests)
