/* Which of equal deployments takes a call: weights, latency, what is in memory. */
#include "router_pick_support.h"

static void expect_share(const struct deployment *d, unsigned n, unsigned expected)
{
    unsigned got = 0;

    for (unsigned i = 0; i < n; i++) {
        got += look(NULL) == d;
    }
    /* the seed is fixed: it holds always or never. Four standard deviations of the fairest coin */
    ck_assert_uint_ge(got + n / 50, expected);
    ck_assert_uint_le(got, expected + n / 50);
}

START_TEST(shuffle_follows_the_weights)
{
    begin();

    struct deployment *heavy = with("heavy", 1, TERMS(.weight = 3));
    struct deployment *light = with("light", 1, TERMS(.weight = 0.5));
    struct deployment *none = with("none", 1, TERMS(0));

    with("middle", 1, TERMS(.weight = 1.5));
    commit();
    expect_share(heavy, 10000, 6000);
    expect_share(light, 10000, 1000);
    for (int i = 0; i < 1000; i++) {
        ck_assert_ptr_ne(look(NULL), none);
    }
    while (pick(NULL)) { /* those with a weight are used up: then one without is fine */
    }
    ck_assert_uint_eq(none->in_use, 1);
    router_release(&g_router, none, NOW);
    for (size_t i = 0; i < 4; i++) {
        struct deployment *d = router_resolve(&g_router, str_from("m"))->deployments[i];

        d->in_use = 0;
    }
    router_done(&g_router);
}
END_TEST

START_TEST(shuffle_without_weights_is_even)
{
    begin();

    struct deployment *a = with("a", 1, TERMS(0));
    struct deployment *b = with("b", 4, TERMS(0));

    with("c", 2, TERMS(0));
    with("d", 1, TERMS(0));
    commit();
    expect_share(a, 10000, 2500);
    expect_share(b, 10000, 2500);
    router_done(&g_router);
}
END_TEST

START_TEST(shuffle_is_replayable)
{
    const struct deployment *first[64];

    begin();
    with("a", 1, TERMS(0));
    with("b", 1, TERMS(.weight = 0));
    with("c", 1, TERMS(0));
    commit();
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        first[i] = look(NULL);
    }
    g_router.random = 42;
    g_router.groups[0].next = 0;
    for (size_t i = 0; i < ARRAY_LEN(first); i++) {
        ck_assert_ptr_eq(look(NULL), first[i]);
    }
    router_done(&g_router);
}
END_TEST

START_TEST(latency_prefers_the_quick_and_tries_the_unknown)
{
    begin();
    g_plan.policy.strategy = ROUTING_LATENCY;

    struct deployment *slow = with("slow", 1, TERMS(0));
    struct deployment *quick = with("quick", 1, TERMS(0));
    struct deployment *fresh = with("fresh", 1, TERMS(0));

    commit();
    router_note_content(slow, 2 * SEC, NOW);
    router_note_content(quick, SEC, NOW);
    ck_assert_ptr_eq(look(NULL), fresh);
    router_note_content(fresh, 3 * SEC, NOW);
    ck_assert_ptr_eq(pick(NULL), quick);
    ck_assert_ptr_eq(pick(NULL), slow); /* the next best with a slot */
    router_release(&g_router, quick, NOW);
    router_release(&g_router, slow, NOW);
    (void) router_note_end(&g_router, quick, ERRCODE_UPSTREAM_TIMEOUT, 0, NOW);
    ck_assert_ptr_eq(look(NULL), slow); /* a time-out is slow */
    router_done(&g_router);
}
END_TEST

static bool is_warm(const struct backend *b, const char *model, uint64_t now_usec)
{
    return true;
}

static const struct backend_ops warm_ops = {.free = router_backend_free, .is_loaded = is_warm};

static unsigned g_n_looks;

static void count_look(struct backend *b, uint64_t now_usec)
{
    g_n_looks++;
}

static const struct backend_ops looked_ops = {.free = router_backend_free, .look = count_look};

START_TEST(where_there_is_a_choice_what_is_loaded_is_looked_at)
{
    struct deployment *a, *b;

    begin();
    a = with("a", 1, TERMS(.order = 1));
    b = with("b", 1, TERMS(.order = 1));
    (void) with("no candidate, and knows nothing", 1, TERMS(.order = 9));
    commit();
    a->backend->ops = b->backend->ops = &looked_ops;
    g_n_looks = 0;
    ck_assert_ptr_nonnull(pick(NULL));
    ck_assert_uint_eq(g_n_looks, 2);
    ck_assert_ptr_nonnull(pick(NULL)); /* one is left */
    ck_assert_uint_eq(g_n_looks, 2);
    router_release(&g_router, a, NOW);
    router_release(&g_router, b, NOW);
    router_done(&g_router);
}
END_TEST

START_TEST(a_warm_model_is_preferred_among_equals)
{
    static const enum routing_strategy all[] = {ROUTING_SHUFFLE, ROUTING_LEAST_BUSY,
                                                ROUTING_LATENCY};

    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        begin();
        g_plan.policy.strategy = all[i];
        with("a", 2, TERMS(0));

        struct deployment *warm = with("warm", 2, TERMS(0));

        with("c", 2, TERMS(0));
        commit();
        warm->backend->ops = &warm_ops;
        for (int k = 0; k < 100; k++) {
            ck_assert_ptr_eq(look(NULL), warm);
        }
        router_done(&g_router);
    }
    begin(); /* a weight is an order */

    struct deployment *cold = with("cold", 1, TERMS(.weight = 1));
    struct deployment *warm = with("warm", 1, TERMS(.weight = 1));

    commit();
    warm->backend->ops = &warm_ops;
    expect_share(cold, 10000, 5000);
    router_done(&g_router);
}
END_TEST

static bool has_script(const struct backend *b, const char *model, uint64_t now_usec)
{
    return model && strcmp(model, "script") == 0;
}

static const struct backend_ops script_ops = {.free = router_backend_free, .is_loaded = has_script};

/* What a wildcard's server is asked for decides, not the deployment's own name. */
START_TEST(a_wildcard_is_warm_for_the_model_that_is_asked_for)
{
    const struct deployment_spec spec = {
        .id = "w", .fingerprint = "w", .provider = "ollama", .upstream_model = "*", .slots = 2};
    const struct router_wish script = {.name = str_from("local/script")};
    const struct router_wish other = {.name = str_from("local/other")};
    unsigned n_warm = 0;

    begin();
    g_plan.policy.strategy = ROUTING_LEAST_BUSY;

    struct deployment *cold = deployment_new(&spec, router_backend());
    struct deployment *warm = deployment_new(&spec, router_backend());

    ck_assert_int_eq(router_plan_add(&g_plan, "local/*", cold), 0);
    ck_assert_int_eq(router_plan_add(&g_plan, "local/*", warm), 0);
    router_commit(&g_router, &g_plan);
    warm->backend->ops = &script_ops;

    struct model_group *g = router_resolve(&g_router, script.name);

    for (int i = 0; i < 10; i++) {
        struct deployment *d = router_pick(&g_router, g, &script, NOW);

        ck_assert_ptr_eq(d, warm);
        router_release(&g_router, d, NOW);
        d = router_pick(&g_router, g, &other, NOW);
        n_warm += d == warm;
        router_release(&g_router, d, NOW);
        d = router_pick(&g_router, g, NULL, NOW); /* nobody says what for */
        ck_assert_ptr_nonnull(d);
        router_release(&g_router, d, NOW);
    }
    ck_assert_uint_gt(n_warm, 0);
    ck_assert_uint_lt(n_warm, 10);
    router_done(&g_router);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, shuffle_follows_the_weights);
    tcase_add_test(tc, shuffle_without_weights_is_even);
    tcase_add_test(tc, shuffle_is_replayable);
    tcase_add_test(tc, latency_prefers_the_quick_and_tries_the_unknown);
    tcase_add_test(tc, where_there_is_a_choice_what_is_loaded_is_looked_at);
    tcase_add_test(tc, a_warm_model_is_preferred_among_equals);
    tcase_add_test(tc, a_wildcard_is_warm_for_the_model_that_is_asked_for);
}
TEST_MAIN("router strategy", add_tests)
