/* Deployments, slots, and what a reload keeps. */
#include "router_support.h"

START_TEST(resolves_exactly)
{
    struct router r;
    struct router_plan plan = {0};

    router_init(&r);
    add(&plan, "chat", "a", 1);
    add(&plan, "embed", "b", 1);
    router_commit(&r, &plan);
    ck_assert_str_eq(router_resolve(&r, str_from("chat"))->name, "chat");
    ck_assert_ptr_null(router_resolve(&r, str_from("Chat")));
    ck_assert_ptr_null(router_resolve(&r, str_from("cha")));
    ck_assert_ptr_null(router_resolve(&r, str_from("")));
    router_done(&r);
}
END_TEST

START_TEST(picks_least_busy_and_in_turn)
{
    struct router r;
    struct router_plan plan = {0};

    router_init(&r);
    struct deployment *one = add(&plan, "m", "one", 1);
    struct deployment *big = add(&plan, "m", "big", 4);

    plan.policy.strategy = ROUTING_LEAST_BUSY;
    router_commit(&r, &plan);
    struct model_group *g = router_resolve(&r, str_from("m"));
    unsigned n_one = 0, n_big = 0;

    ck_assert_uint_eq(model_group_slots(g), 5);
    for (int i = 0; i < 5; i++) {
        struct deployment *d = router_pick(&r, g, NULL, 1);

        ck_assert_ptr_nonnull(d);
        n_one += d == one;
        n_big += d == big;
    }
    ck_assert_uint_eq(n_one, 1);
    ck_assert_uint_eq(n_big, 4);
    ck_assert_ptr_null(router_pick(&r, g, NULL, 1));
    router_release(&r, one, 0);
    ck_assert_ptr_eq(router_pick(&r, g, NULL, 1), one);
    router_release(&r, one, 0);
    for (int i = 0; i < 4; i++) {
        router_release(&r, big, 0);
    }
    router_done(&r);
}
END_TEST

START_TEST(ties_alternate)
{
    struct router r;
    struct router_plan plan = {0};

    router_init(&r);
    struct deployment *a = add(&plan, "m", "a", 1);

    add(&plan, "m", "b", 1);
    plan.policy.strategy = ROUTING_LEAST_BUSY;
    router_commit(&r, &plan);
    struct model_group *g = router_resolve(&r, str_from("m"));
    unsigned n_a = 0;

    for (int i = 0; i < 10; i++) {
        struct deployment *d = router_pick(&r, g, NULL, 1);

        n_a += d == a;
        router_release(&r, d, 0);
    }
    ck_assert_uint_eq(n_a, 5);
    router_done(&r);
}
END_TEST

static bool says_loaded(const struct backend *b, const char *model, uint64_t now_usec)
{
    return now_usec < 100;
}

START_TEST(tells_how_long_it_rests_and_what_it_holds)
{
    static const struct backend_ops knowing = {.free = router_backend_free,
                                               .is_loaded = says_loaded};
    struct router r;
    struct router_plan plan = {0};
    const struct deployment_spec spec = {.id = "d",
                                         .fingerprint = "d",
                                         .provider = "mock",
                                         .upstream_model = "um",
                                         .api_base = "http://h",
                                         .slots = 2};

    router_init(&r);

    struct deployment *plain = add(&plan, "plain", "plain", 1);
    struct deployment *d = deployment_new(&spec, router_backend());

    ck_assert_int_eq(router_plan_add(&plan, "m", d), 0);
    router_commit(&r, &plan);
    ck_assert_str_eq(d->upstream_model, "um");
    ck_assert_str_eq(d->api_base, "http://h");
    ck_assert_str_eq(plain->api_base, "");
    ck_assert_uint_eq(deployment_idle_usec(d, 1000), 0); /* never used */
    ck_assert_ptr_eq(router_pick(&r, router_resolve(&r, str_from("m")), NULL, 1), d);
    ck_assert_ptr_eq(router_pick(&r, router_resolve(&r, str_from("m")), NULL, 1), d);
    router_release(&r, d, 1000);
    ck_assert_uint_eq(deployment_idle_usec(d, 1500), 0); /* the other slot is in use */
    router_release(&r, d, 2000);
    ck_assert_uint_eq(deployment_idle_usec(d, 2500), 500);
    ck_assert_uint_eq(deployment_idle_usec(d, 1900), 0); /* a "now" from before */

    ck_assert(!deployment_is_loaded(d, NULL, 1)); /* its backend cannot know */
    d->backend->ops = &knowing;
    ck_assert(deployment_is_loaded(d, NULL, 1));
    ck_assert(!deployment_is_loaded(d, NULL, 100));
    router_done(&r);
}
END_TEST

START_TEST(switched_off_serves_nobody)
{
    struct router r;
    struct router_plan plan = {0};
    struct deployment *d = deployment_new(&(struct deployment_spec) {.id = "x",
                                                                     .fingerprint = "x",
                                                                     .provider = "openai",
                                                                     .off_reason = "no key",
                                                                     .slots = 3},
                                          NULL);

    router_init(&r);
    ck_assert_int_eq(router_plan_add(&plan, "m", d), 0);
    router_commit(&r, &plan);
    struct model_group *g = router_resolve(&r, str_from("m"));

    ck_assert(!model_group_is_servable(g));
    ck_assert_ptr_null(router_pick(&r, g, NULL, 1));
    router_done(&r);
}
END_TEST

START_TEST(reload_keeps_what_did_not_change)
{
    struct router r;
    struct router_plan plan = {0};

    g_routed_freed = 0;
    router_init(&r);
    struct deployment *kept = add(&plan, "m", "kept", 2);
    struct deployment *gone = add(&plan, "m", "gone", 1);

    add(&plan, "old", "idle", 1);
    router_commit(&r, &plan);
    kept->in_use = 1;
    gone->in_use = 1;

    ck_assert_ptr_eq(router_find(&r, "kept", "kept"), kept);
    ck_assert_ptr_null(router_find(&r, "kept", "changed"));
    ck_assert_int_eq(router_plan_add(&plan, "m", kept), 0);
    add(&plan, "new", "fresh", 1);
    router_commit(&r, &plan);
    ck_assert_uint_eq(g_routed_freed, 1); /* idle; gone still runs */
    ck_assert_ptr_null(router_resolve(&r, str_from("old")));
    ck_assert_uint_eq(kept->in_use, 1);
    router_release(&r, gone, 0);
    ck_assert_uint_eq(g_routed_freed, 1); /* releasing frees nothing */
    router_reap(&r);
    ck_assert_uint_eq(g_routed_freed, 2);
    router_release(&r, kept, 0);
    router_done(&r);
    ck_assert_uint_eq(g_routed_freed, 4);
}
END_TEST

START_TEST(unused_plan_frees_only_its_own)
{
    struct router r;
    struct router_plan plan = {0};

    g_routed_freed = 0;
    router_init(&r);
    struct deployment *kept = add(&plan, "m", "kept", 1);

    router_commit(&r, &plan);
    ck_assert_int_eq(router_plan_add(&plan, "m", kept), 0);
    add(&plan, "m", "never", 1);
    router_plan_done(&plan);
    ck_assert_uint_eq(g_routed_freed, 1);
    ck_assert_ptr_eq(router_resolve(&r, str_from("m"))->deployments[0], kept);
    router_done(&r);
}
END_TEST

START_TEST(reload_changes_terms_and_keeps_what_is_known)
{
    struct router r;
    struct router_plan plan = {0};
    const char *const tags[] = {"fast", "default"};
    struct deployment_terms terms = {.order = 3,
                                     .rpm = 1,
                                     .enforces_rates = true,
                                     .tags = tags,
                                     .n_tags = 2,
                                     .cooldown_usec = SEC,
                                     .max_retries = FAIL_POLICY_UNSET};

    router_init(&r);
    struct deployment *d = add(&plan, "m", "d", 1);

    add(&plan, "m", "other", 1)->backend->ops = &router_ops;
    ck_assert_int_eq(deployment_plan_terms(d, &terms), 0);
    ck_assert_uint_eq(d->terms->order, 0); /* not yet */
    router_commit(&r, &plan);
    ck_assert_uint_eq(d->terms->order, 3);
    ck_assert_str_eq(d->terms->tags[1], "default");
    ck_assert(r.groups[0].has_default);
    gcra_take(&d->rpm, 1, 100 * SEC);
    ck_assert(router_note_end(&r, d, ERRCODE_UPSTREAM_RATE_LIMITED, 30 * SEC, 100 * SEC));
    router_note_content(d, SEC, 100 * SEC);

    terms = (struct deployment_terms) {.order = 1, .cooldown_usec = USEC_NEVER};
    ck_assert_int_eq(deployment_plan_terms(d, &terms), 0);
    ck_assert_int_eq(router_plan_add(&plan, "m", d), 0);
    router_commit(&r, &plan);
    ck_assert_uint_eq(d->terms->order, 1);
    ck_assert_uint_eq(d->terms->n_tags, 0);
    ck_assert(!r.groups[0].has_default);
    ck_assert(d->is_alone);
    ck_assert_uint_eq(cooldown_left_usec(&d->cooldown, 100 * SEC), 30 * SEC);
    ck_assert_uint_eq(latency_expected(&d->latency, 100 * SEC), SEC);
    ck_assert_uint_eq(gcra_wait_usec(&d->rpm, 1, 100 * SEC), 0); /* no limit any more */

    ck_assert_int_eq(deployment_plan_terms(d, &terms), 0); /* of a plan that is given up */
    ck_assert_int_eq(router_plan_add(&plan, "m", d), 0);
    router_plan_done(&plan);
    router_done(&r);
}
END_TEST

START_TEST(suggests_near_names_first)
{
    struct router r;
    struct router_plan plan = {0};
    const char *names[3];

    router_init(&r);
    add(&plan, "llama3", "1", 1);
    add(&plan, "codegemma", "2", 1);
    add(&plan, "all-minilm", "3", 1);
    add(&plan, "tinyllama", "4", 1);
    router_commit(&r, &plan);
    ck_assert_uint_eq(router_suggest(&r, str_from("CodeGema"), names, 3), 3);
    ck_assert_str_eq(names[0], "codegemma");
    ck_assert_uint_eq(router_suggest(&r, str_from("tinylama"), names, 1), 1);
    ck_assert_str_eq(names[0], "tinyllama");
    ck_assert_uint_eq(router_suggest(&r, str_from(""), names, 3), 3);
    router_done(&r);
}
END_TEST

static void build_once(void)
{
    static const char *const tags[] = {"a", "b"};
    static const struct deployment_terms terms = {.tags = tags, .n_tags = 2};
    struct router r;
    struct router_plan plan = {0};

    router_init(&r);
    for (int i = 0; i < 3; i++) {
        struct backend *b = router_backend();
        struct deployment *d = b ? deployment_new(&(struct deployment_spec) {.id = "id",
                                                                             .fingerprint = "print",
                                                                             .provider = "mock",
                                                                             .slots = 1},
                                                  b)
                                 : NULL;

        if (!d) {
            free(b);
            break;
        }
        if (deployment_plan_terms(d, &terms) < 0 ||
            router_plan_add(&plan, i == 2 ? "b" : "a", d) < 0) {
            deployment_free(d);
            break;
        }
    }
    if (plan.n_groups == 2 && plan.groups[1].n_deployments == 1) {
        router_commit(&r, &plan);
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
    tcase_add_test(tc, resolves_exactly);
    tcase_add_test(tc, picks_least_busy_and_in_turn);
    tcase_add_test(tc, ties_alternate);
    tcase_add_test(tc, tells_how_long_it_rests_and_what_it_holds);
    tcase_add_test(tc, switched_off_serves_nobody);
    tcase_add_test(tc, reload_keeps_what_did_not_change);
    tcase_add_test(tc, unused_plan_frees_only_its_own);
    tcase_add_test(tc, reload_changes_terms_and_keeps_what_is_known);
    tcase_add_test(tc, suggests_near_names_first);
    tcase_add_test(tc, survives_every_failed_allocation);
}
TEST_MAIN("router", add_tests)
