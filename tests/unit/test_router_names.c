/* What a name leads to: aliases, ids, wildcards, and what the server is then asked for. */
#include <stdio.h>

#include "core/router.h"
#include "support.h"

static void backend_free(struct backend *b)
{
    free(b);
}

static const struct backend_ops ops = {.free = backend_free};

/* A deployment of group, with the model as the file has it: prefix and name. */
static struct deployment *add(struct router_plan *plan, const char *group, const char *id,
                              const char *prefix, const char *model)
{
    struct backend *b = calloc(1, sizeof *b);

    ck_assert_ptr_nonnull(b);
    b->ops = &ops;

    struct deployment *d = deployment_new(&(struct deployment_spec) {.id = id,
                                                                     .fingerprint = id,
                                                                     .provider = "mock",
                                                                     .prefix = prefix,
                                                                     .upstream_model = model,
                                                                     .slots = 1},
                                          b);

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(plan, group, d), 0);
    return d;
}

static const char *resolved(struct router *r, const char *name)
{
    struct model_group *g = router_resolve(r, str_from(name));

    return g ? g->name : "(none)";
}

/* What the first deployment of the group that name leads to asks its server for. */
static const char *asked(struct router *r, const char *name)
{
    static char text[ROUTER_MODEL_BYTES];
    struct model_group *g = router_resolve(r, str_from(name));

    ck_assert_ptr_nonnull(g);
    return router_upstream_model(r, g, g->deployments[0], str_from(name), text);
}

/* One pattern, one model, one name: what the server is asked for; NULL: the name does not fit. */
static const char *through(const char *pattern, const char *prefix, const char *model,
                           const char *name)
{
    static char text[ROUTER_MODEL_BYTES];
    struct router_plan plan = {0};
    const char *answer = NULL;
    struct router r;

    router_init(&r);
    add(&plan, pattern, "d", prefix, model);
    router_commit(&r, &plan);
    if (router_resolve(&r, str_from(name))) {
        answer = asked(&r, name);
        snprintf(text, sizeof text, "%s", answer ? answer : "(its own)");
        answer = text;
    }
    router_done(&r);
    return answer;
}

START_TEST(stars_are_filled_in)
{
    ck_assert_str_eq(through("ollama/*", "ollama_chat/", "*", "ollama/qwen3:0.6b"), "qwen3:0.6b");
    ck_assert_str_eq(through("*", "ollama_chat/", "*", "llama3"), "llama3");
    ck_assert_str_eq(through("llmengine/*", "openai/", "*", "llmengine/foo"), "foo");
    ck_assert_str_eq(
        through("e/fo::*::static::*", "openai/", "fo::*::static::*", "e/fo::bar::static::baz"),
        "fo::bar::static::baz");
    ck_assert_str_eq(through("*meta.llama3*", "bedrock/", "meta.llama3*", "hello-meta.llama3-70b"),
                     "hello-meta.llama3-70b"); /* more stars than the model: as it came */
    ck_assert_str_eq(through("*", "openai/", "org/*", "x"), "org/x");
    ck_assert_str_eq(through("a/*", "openai/", "*-*", "a/x"), "x-*"); /* LiteLLM leaves it, too */
    ck_assert_str_eq(through("a/*", "openai/", "fixed", "a/x"), "(its own)");
    ck_assert_str_eq(through("a/*", "openai/", "*", "a/"), ""); /* a star may take nothing */
}
END_TEST

START_TEST(more_captures_than_stars_send_the_name_without_its_provider)
{
    ck_assert_str_eq(through("openai/*/*", "openai/", "*", "openai/a/b"), "a/b");
    ck_assert_str_eq(through("x-*-*", "openai/", "*", "x-1-2"), "x-1-2");
}
END_TEST

START_TEST(patterns_begin_where_the_name_begins_and_end_anywhere)
{
    ck_assert_ptr_null(through("ollama/*", "", "*", "x-ollama/y"));
    ck_assert_ptr_null(through("ollama/*", "", "*", "ollam"));
    ck_assert_ptr_null(through("ollama/*", "", "*", "Ollama/x"));
    ck_assert_ptr_null(through("a*b", "", "*", "axc"));
    ck_assert_ptr_null(through("ab*ba", "", "*", "aba")); /* literals do not overlap */
    ck_assert_str_eq(through("o/*-mini", "", "*", "o/gpt-4o-mini-2024"), "gpt-4o");
    ck_assert_str_eq(through("a-*-b", "", "*", "a-x-b-y-bc"), "x-b-y"); /* as much as it can */
    ck_assert_str_eq(through("*a*a", "", "<*|*>", "aaaa"), "<aa|>");
    ck_assert_str_eq(through("a.c*", "", "*", "a.cd"), "d");
    ck_assert_ptr_null(through("a.c*", "", "*", "abcd")); /* a dot is a dot */
}
END_TEST

START_TEST(long_names_and_many_stars_are_harmless)
{
    char name[ROUTER_MODEL_BYTES + 64];

    memset(name, 'a', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    ck_assert_str_eq(through("*", "", "x*", name), "(its own)"); /* does not fit: not half of it */
    name[256] = '\0';
    ck_assert_ptr_null(through("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", "", "*", name));
    ck_assert_ptr_nonnull(through("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*", "", "*", name));
    ck_assert_ptr_null(through("*****************", "", "*", "seventeen"));
}
END_TEST

START_TEST(the_most_particular_pattern_wins)
{
    struct router_plan plan = {0};
    struct router r;

    router_init(&r);
    add(&plan, "*", "1", "", "*");
    add(&plan, "ollama/*", "2", "", "*");
    add(&plan, "ollama/qwen*", "3", "", "*");
    add(&plan, "ollama/llama*", "4", "", "*");
    add(&plan, "ollama/qwen3", "5", "", "qwen3");
    add(&plan, "ollama/q-en*", "6", "", "*"); /* as long, but its dash is escaped: longer */
    add(&plan, "b*c", "7", "", "*");
    add(&plan, "*bc", "8", "", "*"); /* ties go by place in the file */
    router_commit(&r, &plan);
    ck_assert_str_eq(resolved(&r, "x"), "*");
    ck_assert_str_eq(resolved(&r, "ollama/x"), "ollama/*");
    ck_assert_str_eq(resolved(&r, "ollama/qwen2"), "ollama/qwen*");
    ck_assert_str_eq(resolved(&r, "ollama/qwen3"), "ollama/qwen3"); /* no pattern beats a name */
    ck_assert_str_eq(resolved(&r, "ollama/q-en"), "ollama/q-en*");
    ck_assert_str_eq(resolved(&r, "bbc"), "b*c");
    ck_assert(model_group_is_wildcard(router_resolve(&r, str_from("x"))));
    ck_assert(!model_group_is_wildcard(router_resolve(&r, str_from("ollama/qwen3"))));
    router_done(&r);
}
END_TEST

static const char *knows_gpt(struct str name)
{
    return str_has_prefix(name, "gpt-") ? "openai" : NULL;
}

START_TEST(a_bare_name_is_tried_with_its_provider)
{
    struct router_plan plan = {0};
    struct router r;

    router_init(&r);
    add(&plan, "openai/*", "1", "openai/", "*");
    router_commit(&r, &plan);
    ck_assert_ptr_null(router_resolve(&r, str_from("gpt-4o")));
    r.provider_of = knows_gpt;
    ck_assert_str_eq(resolved(&r, "gpt-4o"), "openai/*");
    ck_assert_str_eq(asked(&r, "gpt-4o"), "gpt-4o");
    ck_assert_ptr_null(router_resolve(&r, str_from("llama3")));
    router_done(&r);
}
END_TEST

START_TEST(a_deployment_can_be_asked_for_by_its_id)
{
    struct router_plan plan = {0};
    struct router r;

    router_init(&r);
    add(&plan, "m", "first", "", "x");

    struct deployment *second = add(&plan, "m", "second", "", "x");

    add(&plan, "second", "third", "", "x");
    add(&plan, "w/*", "wild", "", "*");
    router_commit(&r, &plan);

    struct model_group *g = router_resolve(&r, str_from("first"));

    ck_assert_uint_eq(g->n_deployments, 1);
    ck_assert_ptr_eq(g->deployments[0], router_resolve(&r, str_from("m"))->deployments[0]);
    ck_assert_ptr_eq(router_pick(&r, g, NULL, 1), g->deployments[0]);
    router_release(&r, g->deployments[0], 1);
    ck_assert_ptr_ne(router_resolve(&r, str_from("second"))->deployments[0], second);
    ck_assert_ptr_null(router_resolve(&r, str_from("wild"))); /* what would it ask for? */
    ck_assert_str_eq(router_group_of_id(&r, str_from("wild"))->name, "w/*");
    ck_assert_ptr_null(router_group_of_id(&r, str_from("first")));
    ck_assert_ptr_null(router_group_of_id(&r, str_from("w/*")));
    router_done(&r);
}
END_TEST

START_TEST(aliases_lead_to_names)
{
    struct router_plan plan = {0};
    struct router r;

    router_init(&r);
    add(&plan, "m", "1", "", "x");
    add(&plan, "w/*", "2", "", "*");
    add(&plan, "shadowed", "3", "", "x");
    ck_assert_int_eq(router_plan_alias(&plan, "gpt-4", "m", false), 0);
    ck_assert_int_eq(router_plan_alias(&plan, "any", "w/thing", true), 0);
    ck_assert_int_eq(router_plan_alias(&plan, "shadowed", "m", false), 0);
    ck_assert_int_eq(router_plan_alias(&plan, "chain", "gpt-4", false), 0);
    ck_assert_int_eq(router_plan_alias(&plan, "loop", "loop", false), 0);
    router_commit(&r, &plan);
    ck_assert_str_eq(resolved(&r, "gpt-4"), "m");
    ck_assert_str_eq(resolved(&r, "any"), "w/*");
    ck_assert_str_eq(asked(&r, "any"), "thing");
    ck_assert_str_eq(resolved(&r, "shadowed"), "m"); /* as LiteLLM has it */
    ck_assert_ptr_null(router_resolve(&r, str_from("chain")));
    ck_assert_ptr_null(router_resolve(&r, str_from("loop")));
    router_done(&r);
}
END_TEST

START_TEST(names_of_another_configuration_have_no_model)
{
    char text[ROUTER_MODEL_BYTES];
    struct router_plan plan = {0};
    struct router r;

    router_init(&r);
    add(&plan, "w/*", "1", "", "*");
    router_commit(&r, &plan);

    struct model_group *g = router_resolve(&r, str_from("w/x"));

    ck_assert_ptr_null(router_upstream_model(&r, g, g->deployments[0], str_from("v/x"), text));
    router_done(&r);
}
END_TEST

/* ---------------------------------------------------------------- fallbacks and retries */

static void add_fallbacks(struct router_plan *plan, enum fallback_kind kind, const char *group,
                          const char *first, const char *second)
{
    char *targets[] = {(char *) (uintptr_t) first, (char *) (uintptr_t) second};

    ck_assert_int_eq(
        router_policy_add_fallbacks(&plan->policy, kind, group, targets, second ? 2 : 1), 0);
}

static const char *falls_back(const struct router *r, enum fallback_kind kind, const char *asked)
{
    const struct router_fallbacks *list = router_fallbacks(r, kind, str_from(asked));

    return list ? list->targets[0] : "(nowhere)";
}

START_TEST(fallbacks_are_found_by_name_alias_group_and_star)
{
    struct router_plan plan = {0};
    struct router r;

    router_init(&r);
    router_policy_init(&plan.policy);
    add(&plan, "m", "1", "", "x");
    add(&plan, "w/*", "2", "", "*");
    add(&plan, "other", "3", "", "x");
    ck_assert_int_eq(router_plan_alias(&plan, "alias", "m", false), 0);
    add_fallbacks(&plan, FALLBACK_GENERAL, "m", "one", "two");
    add_fallbacks(&plan, FALLBACK_GENERAL, "w/*", "wild", NULL);
    add_fallbacks(&plan, FALLBACK_GENERAL, "w/special", "special", NULL);
    add_fallbacks(&plan, FALLBACK_GENERAL, "*", "any", NULL);
    add_fallbacks(&plan, FALLBACK_GENERAL, "*", "default", NULL); /* the first one holds */
    add_fallbacks(&plan, FALLBACK_CONTEXT, "alias", "large", NULL);
    router_commit(&r, &plan);
    ck_assert_str_eq(falls_back(&r, FALLBACK_GENERAL, "m"), "one");
    ck_assert_uint_eq(router_fallbacks(&r, FALLBACK_GENERAL, str_from("m"))->n_targets, 2);
    ck_assert_str_eq(falls_back(&r, FALLBACK_GENERAL, "alias"), "one");
    ck_assert_str_eq(falls_back(&r, FALLBACK_GENERAL, "w/thing"), "wild");
    ck_assert_str_eq(falls_back(&r, FALLBACK_GENERAL, "w/special"), "special");
    ck_assert_str_eq(falls_back(&r, FALLBACK_GENERAL, "other"), "any");
    ck_assert_str_eq(falls_back(&r, FALLBACK_GENERAL, "nobody"), "any");
    ck_assert_str_eq(falls_back(&r, FALLBACK_CONTEXT, "alias"), "large");
    ck_assert_str_eq(falls_back(&r, FALLBACK_CONTEXT, "m"), "(nowhere)");
    ck_assert_str_eq(falls_back(&r, FALLBACK_CONTENT_POLICY, "m"), "(nowhere)");
    ck_assert_uint_eq(r.policy.n_fallbacks[FALLBACK_CONTEXT], 1);
    router_done(&r);
}
END_TEST

static void unset(struct fail_policy *policy)
{
    for (int i = 0; i < _FAIL_CAUSE_MAX; i++) {
        policy->by_cause[i] = FAIL_POLICY_UNSET;
    }
    policy->otherwise = FAIL_POLICY_UNSET;
}

START_TEST(retries_of_group_policy_deployment_router)
{
    struct deployment_terms terms = {.max_retries = 7};
    struct router_plan plan = {0};
    struct fail_policy strict;
    struct router r;

    unset(&strict);
    strict.by_cause[FAIL_TIMEOUT] = 0;
    router_init(&r);
    router_policy_init(&plan.policy);
    plan.policy.max_retries = 2;
    plan.policy.retries.by_cause[FAIL_RATE_LIMIT] = 5;
    ck_assert_int_eq(router_policy_add_retries(&plan.policy, "strict", &strict), 0);

    struct deployment *plain = add(&plan, "m", "1", "", "x");
    struct deployment *own = add(&plan, "m", "2", "", "x");

    add(&plan, "strict", "3", "", "x");
    ck_assert_int_eq(router_plan_alias(&plan, "alias", "strict", false), 0);
    ck_assert_int_eq(deployment_plan_terms(own, &terms), 0);
    router_commit(&r, &plan);
    ck_assert_uint_eq(router_retries(&r, str_from("m"), plain, FAIL_SERVER), 2);
    ck_assert_uint_eq(router_retries(&r, str_from("m"), NULL, FAIL_SERVER), 2);
    ck_assert_uint_eq(router_retries(&r, str_from("m"), own, FAIL_SERVER), 7);
    ck_assert_uint_eq(router_retries(&r, str_from("m"), own, FAIL_RATE_LIMIT), 5);
    ck_assert_uint_eq(router_retries(&r, str_from("alias"), own, FAIL_TIMEOUT), 0);
    /* a group's policy is in the place of the other one, also where it says nothing */
    ck_assert_uint_eq(router_retries(&r, str_from("strict"), NULL, FAIL_RATE_LIMIT), 2);
    r.policy.retries.otherwise = 1;
    ck_assert_uint_eq(router_retries(&r, str_from("m"), own, FAIL_SERVER), 1);
    router_done(&r);
}
END_TEST

/* ---------------------------------------------------------------- lists */

START_TEST(lists_what_is_not_hidden)
{
    struct deployment_terms hidden = {.is_hidden = true};
    struct router_plan plan = {0};
    struct router_entry e;
    char names[128] = "";
    struct router r;

    router_init(&r);
    add(&plan, "m", "1", "", "x");
    ck_assert_int_eq(deployment_plan_terms(add(&plan, "m", "2", "", "x"), &hidden), 0);
    ck_assert_int_eq(deployment_plan_terms(add(&plan, "secret", "3", "", "x"), &hidden), 0);
    add(&plan, "w/*", "4", "", "*");
    ck_assert_int_eq(router_plan_alias(&plan, "a", "m", false), 0);
    ck_assert_int_eq(router_plan_alias(&plan, "h", "m", true), 0);
    ck_assert_int_eq(router_plan_alias(&plan, "dangling", "nobody", false), 0);
    ck_assert_int_eq(router_plan_alias(&plan, "m", "secret", false), 0); /* once is enough */
    ck_assert_int_eq(router_plan_alias(&plan, "s", "secret", false), 0);
    router_commit(&r, &plan);
    for (size_t i = 0; router_next(&r, &i, &e);) {
        size_t n = strlen(names);

        snprintf(names + n, sizeof names - n, "%s%s:%s ", e.name, e.is_wildcard ? "*" : "",
                 e.group->name);
    }
    ck_assert_str_eq(names, "m:m w/**:w/* a:m s:secret ");
    router_done(&r);
}
END_TEST

static void fill_policy_once(void)
{
    char one[] = "one", two[] = "two";
    char *const targets[] = {one, two};
    struct fail_policy retries;
    struct router_policy policy;

    unset(&retries);
    router_policy_init(&policy);
    if (router_policy_add_fallbacks(&policy, FALLBACK_GENERAL, "m", targets, 2) == 0 &&
        router_policy_add_fallbacks(&policy, FALLBACK_GENERAL, "n", targets, 0) == 0 &&
        router_policy_add_retries(&policy, "m", &retries) == 0) {
        ck_assert_ptr_nonnull(router_policy_retries(&policy, str_from("m")));
        ck_assert_ptr_null(router_policy_retries(&policy, str_from("n")));
    }
    router_policy_done(&policy);
}

START_TEST(a_policy_survives_every_failed_allocation)
{
    for_each_failed_allocation(fill_policy_once);
}
END_TEST

static void build_once(void)
{
    struct router_plan plan = {0};
    struct router r;
    int i;

    router_init(&r);
    for (i = 0; i < 3; i++) {
        struct backend *b = calloc(1, sizeof *b);
        struct deployment *d;

        if (!b) {
            break;
        }
        b->ops = &ops;
        d = deployment_new(&(struct deployment_spec) {.id = "id",
                                                      .fingerprint = "print",
                                                      .provider = "mock",
                                                      .prefix = "mock/",
                                                      .upstream_model = i == 2 ? "*" : "x",
                                                      .slots = 1},
                           b);
        if (!d) {
            free(b);
            break;
        }
        if (router_plan_add(&plan, i == 2 ? "w/*" : "m", d) < 0) {
            deployment_free(d);
            break;
        }
    }
    if (i == 3 && router_plan_alias(&plan, "a", "m", false) == 0) {
        router_commit(&r, &plan);
        ck_assert_str_eq(resolved(&r, "a"), "m");
    } else {
        router_plan_done(&plan);
    }
    router_done(&r);
}

START_TEST(survives_every_failed_allocation)
{
    for_each_failed_allocation(build_once);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, stars_are_filled_in);
    tcase_add_test(tc, more_captures_than_stars_send_the_name_without_its_provider);
    tcase_add_test(tc, patterns_begin_where_the_name_begins_and_end_anywhere);
    tcase_add_test(tc, long_names_and_many_stars_are_harmless);
    tcase_add_test(tc, the_most_particular_pattern_wins);
    tcase_add_test(tc, a_bare_name_is_tried_with_its_provider);
    tcase_add_test(tc, a_deployment_can_be_asked_for_by_its_id);
    tcase_add_test(tc, aliases_lead_to_names);
    tcase_add_test(tc, names_of_another_configuration_have_no_model);
    tcase_add_test(tc, fallbacks_are_found_by_name_alias_group_and_star);
    tcase_add_test(tc, retries_of_group_policy_deployment_router);
    tcase_add_test(tc, lists_what_is_not_hidden);
    tcase_add_test(tc, a_policy_survives_every_failed_allocation);
    tcase_add_test(tc, survives_every_failed_allocation);
}
TEST_MAIN("router_names", add_tests)
