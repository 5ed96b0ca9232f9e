/* Names to deployments, slots, and what a reload keeps. */
#include "core/router.h"
#include "support.h"

static unsigned g_freed;

static void backend_free(struct backend *b)
{
    g_freed++;
    free(b);
}

static const struct backend_ops ops = {.free = backend_free};

static struct backend *new_backend(void)
{
    struct backend *b = malloc(sizeof *b);

    if (b) {
        b->ops = &ops;
    }
    return b;
}

static struct deployment *add(struct router_plan *plan, const char *group, const char *id,
                              unsigned slots)
{
    struct deployment *d = deployment_new(
        &(struct deployment_spec) {.id = id, .fingerprint = id, .provider = "mock", .slots = slots},
        new_backend());

    ck_assert_ptr_nonnull(d);
    ck_assert_int_eq(router_plan_add(plan, group, d), 0);
    return d;
}

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

/* So that the breaker is open until then. */
static void open_until(struct deployment *d, uint64_t until_usec)
{
    d->health =
        (struct health) {.state = HEALTH_OPEN, .n_failures = 3, .open_until_usec = until_usec};
}

START_TEST(breakers_turn_calls_to_the_others)
{
    struct router r;
    struct router_plan plan = {0};

    router_init(&r);
    struct deployment *a = add(&plan, "m", "a", 4);
    struct deployment *b = add(&plan, "m", "b", 1);
    struct deployment *off = deployment_new(&(struct deployment_spec) {.id = "x",
                                                                       .fingerprint = "x",
                                                                       .provider = "openai",
                                                                       .off_reason = "no key",
                                                                       .slots = 1},
                                            NULL);

    ck_assert_int_eq(router_plan_add(&plan, "m", off), 0);
    router_commit(&r, &plan);
    struct model_group *g = router_resolve(&r, str_from("m"));

    ck_assert_uint_eq(model_group_opens_at(g), UINT64_MAX);
    open_until(a, 100);
    for (int i = 0; i < 3; i++) {
        ck_assert_ptr_eq(router_pick(&r, g, NULL, 99), b);
        ck_assert_ptr_null(router_pick(&r, g, NULL, 99)); /* b is busy: a is still left alone */
        ck_assert_ptr_null(model_group_broken(g, 99));
        ck_assert_uint_eq(model_group_opens_at(g), 100);
        router_release(&r, b, 0);
    }
    open_until(b, 10 * UINT64_C(1000000));
    ck_assert_ptr_eq(model_group_broken(g, 99), a); /* the soonest; what is off is none */
    ck_assert_ptr_null(router_pick(&r, g, NULL, 99));
    ck_assert_ptr_null(model_group_broken(g, 100));
    ck_assert_ptr_eq(router_pick(&r, g, NULL, 100), a);
    router_release(&r, a, 0);
    a->in_use = a->slots;
    ck_assert_uint_eq(model_group_opens_at(g), 10 * UINT64_C(1000000)); /* no use without a slot */
    a->in_use = 0;
    router_done(&r);
}
END_TEST

static bool says_loaded(const struct backend *b, uint64_t now_usec)
{
    return now_usec < 100;
}

START_TEST(tells_how_long_it_rests_and_what_it_holds)
{
    static const struct backend_ops knowing = {.free = backend_free, .is_loaded = says_loaded};
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
    struct deployment *d = deployment_new(&spec, new_backend());

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

    ck_assert(!deployment_is_loaded(d, 1)); /* its backend cannot know */
    d->backend->ops = &knowing;
    ck_assert(deployment_is_loaded(d, 1));
    ck_assert(!deployment_is_loaded(d, 100));
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

    g_freed = 0;
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
    ck_assert_uint_eq(g_freed, 1); /* idle; gone still runs */
    ck_assert_ptr_null(router_resolve(&r, str_from("old")));
    ck_assert_uint_eq(kept->in_use, 1);
    router_release(&r, gone, 0);
    ck_assert_uint_eq(g_freed, 1); /* releasing frees nothing */
    router_reap(&r);
    ck_assert_uint_eq(g_freed, 2);
    router_release(&r, kept, 0);
    router_done(&r);
    ck_assert_uint_eq(g_freed, 4);
}
END_TEST

START_TEST(unused_plan_frees_only_its_own)
{
    struct router r;
    struct router_plan plan = {0};

    g_freed = 0;
    router_init(&r);
    struct deployment *kept = add(&plan, "m", "kept", 1);

    router_commit(&r, &plan);
    ck_assert_int_eq(router_plan_add(&plan, "m", kept), 0);
    add(&plan, "m", "never", 1);
    router_plan_done(&plan);
    ck_assert_uint_eq(g_freed, 1);
    ck_assert_ptr_eq(router_resolve(&r, str_from("m"))->deployments[0], kept);
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
    struct router r;
    struct router_plan plan = {0};

    router_init(&r);
    for (int i = 0; i < 3; i++) {
        struct backend *b = new_backend();
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
        if (router_plan_add(&plan, i == 2 ? "b" : "a", d) < 0) {
            deployment_free(d);
            break;
        }
    }
    if (plan.n_groups == 2) {
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
    tcase_add_test(tc, breakers_turn_calls_to_the_others);
    tcase_add_test(tc, tells_how_long_it_rests_and_what_it_holds);
    tcase_add_test(tc, switched_off_serves_nobody);
    tcase_add_test(tc, reload_keeps_what_did_not_change);
    tcase_add_test(tc, unused_plan_frees_only_its_own);
    tcase_add_test(tc, suggests_near_names_first);
    tcase_add_test(tc, survives_every_failed_allocation);
}
TEST_MAIN("router", add_tests)
