/*
 * Loads that go wrong: killed, failed, beyond their plan, or with their server gone. Who is
 * quarantined by that, for how long, and who is not.
 */
#include "residency_support.h"

START_TEST(a_killed_load_is_quarantined)
{
    uint64_t expected = 60 * SEC;
    struct router_refusal why;

    for (unsigned i = 0; i < 6; i++) {
        struct deployment *d = call("a");

        ck_assert_ptr_nonnull(d);
        residency_load_began(&g_r, model("a"), g_now);
        ck_assert(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now));
        release(d);
        ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_QUARANTINED);
        ck_assert_ptr_null(call("a"));
        ck_assert_uint_eq(model("a")->quarantined_until_usec - g_now, expected);
        ck_assert(
            router_refuses(&g_router, router_resolve(&g_router, STR_LIT("a")), NULL, g_now, &why));
        ck_assert(why.is_long == (i > 0));
        g_now += expected;
        expected = expected * 2 < 900 * SEC ? expected * 2 : 900 * SEC;
    }
    load("a", SEC);
    ck_assert_uint_eq(model("a")->n_quarantines, 0);
}
END_TEST

START_TEST(one_failure_may_be_chance)
{
    for (unsigned i = 0; i < 3; i++) {
        struct deployment *d = call("a");
        bool is_second = i == 2; /* the first was too long ago */

        ck_assert_ptr_nonnull(d);
        residency_load_began(&g_r, model("a"), g_now);
        ck_assert_int_eq(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_FAILED, g_now),
                         is_second);
        release(d);
        g_now += i == 0 ? 601 * SEC : SEC;
    }
    ck_assert_int_eq(refusal("a"), ERRCODE_MODEL_QUARANTINED);
}
END_TEST

START_TEST(an_unknown_model_is_not_quarantined)
{
    for (unsigned i = 0; i < 5; i++) {
        struct deployment *d = call("a");

        ck_assert_ptr_nonnull(d);
        residency_load_began(&g_r, model("a"), g_now);
        ck_assert(!residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_UNKNOWN, g_now));
        release(d);
    }
}
END_TEST

START_TEST(a_load_beyond_its_plan_is_stopped)
{
    struct deployment *d = call("a");

    residency_load_began(&g_r, model("a"), g_now);
    residency_seen(&g_r, model("a"), 999 * MIB, 0);
    assert_nothing();
    residency_seen(&g_r, model("a"), 1002 * MIB, 0);
    assert_next(RESIDENCY_STOP, RESIDENCY_OVER_PLAN, "a");
    assert_nothing();
    ck_assert(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now));
    release(d);
    ck_assert_uint_ge(residency_need(&g_r, model("a")).bytes, 1302 * MIB); /* it was a lie */
}
END_TEST

START_TEST(a_load_that_leaves_nothing_is_stopped)
{
    struct deployment *d = call("a");

    residency_load_began(&g_r, model("a"), g_now);
    set_memory(2000, 95);
    assert_next(RESIDENCY_STOP, RESIDENCY_EMERGENCY, "a");
    ck_assert(residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now));
    release(d);
}
END_TEST

START_TEST(a_lost_server_holds_nothing)
{
    struct deployment *d = call("a");

    residency_load_began(&g_r, model("a"), g_now);
    residency_server_lost(&g_r, "here", g_now);
    (void) residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_UNKNOWN, g_now);
    release(d);
    assert_state("a", RESIDENCY_UNLOADED);
    load("a", SEC);
    residency_server_lost(&g_r, "elsewhere", g_now);
    assert_state("a", RESIDENCY_RESIDENT);
    residency_server_lost(&g_r, "here", g_now);
    assert_state("a", RESIDENCY_UNLOADED);
}
END_TEST

/* One that hangs is freed while calls still hold its slots; nothing else begins beside that. */
START_TEST(one_that_hangs_is_unloaded_in_use)
{
    for (int goes = 0; goes < 2; goes++) {
        struct deployment *d;

        load("a", SEC);
        d = call("a");
        ck_assert_ptr_nonnull(d);
        residency_unload_began(model("a"), g_now);
        assert_state("a", RESIDENCY_UNLOADING);
        ck_assert_ptr_null(call("a"));
        ck_assert_ptr_null(call("c")); /* would fit beside it */
        residency_unloaded(&g_r, model("a"), goes, g_now);
        assert_state("a", goes ? RESIDENCY_UNLOADED : RESIDENCY_RESIDENT);
        residency_unload_began(model("c"), g_now);
        assert_state("c", RESIDENCY_UNLOADED); /* it was not there */
        release(d);
        g_now += 100 * SEC;
    }
    ck_assert_uint_eq(g_r.n_evictions, 1);
    ck_assert_uint_eq(g_r.n_stuck, 1);
}
END_TEST

static bool g_is_loading;

static bool is_loading(const struct backend *b, const char *model)
{
    return g_is_loading;
}

/* A wildcard at the server of all models, which tells of its loads. */
static struct deployment *add_wildcard(void)
{
    static const struct memory_ops ops = {.is_trusted = is_trusted, .is_loading = is_loading};
    struct router_plan plan = {0};
    struct backend *b = router_backend();
    struct deployment *d = deployment_new(&(struct deployment_spec) {.id = "w",
                                                                     .fingerprint = "w",
                                                                     .provider = "ollama",
                                                                     .upstream_model = "*",
                                                                     .api_base = "here",
                                                                     .slots = 2,
                                                                     .is_local = true},
                                          b);

    ck_assert_ptr_nonnull(d);
    b->ops = &ollama_ops;
    b->memory = &ops;
    ck_assert_int_eq(router_plan_add(&plan, "w/*", d), 0);
    router_commit(&g_router, &plan);
    return d;
}

static void name_model(const struct deployment *d, const char *name)
{
    residency_told(residency_of(&g_r, d, name), STR_NONE, 4096, 1,
                   &(struct footprint_facts) {.told_bytes = 300 * MIB}, false);
}

/* Its call was refused before the load; others of the same deployment stream all the time. */
START_TEST(a_reservation_ends_beside_other_calls)
{
    struct deployment *w = add_wildcard();
    const struct residency_model *x;

    name_model(w, "x");
    name_model(w, "y");
    g_is_loading = true;
    ck_assert_ptr_eq(call("w/y"), w);
    residency_load_began(&g_r, residency_find(&g_r, "here", "y"), g_now);
    g_now += SEC;
    ck_assert(
        !residency_load_ended(&g_r, residency_find(&g_r, "here", "y"), RESIDENCY_LOAD_OK, g_now));
    x = residency_find(&g_r, "here", "x");
    ck_assert_ptr_eq(call("w/x"), w);
    ck_assert_int_eq(x->state, RESIDENCY_RESERVED); /* waits for its turn at the loader */
    g_is_loading = false;
    release(w);
    ck_assert_uint_eq(w->in_use, 1); /* y streams */
    ck_assert_int_eq(x->state, RESIDENCY_UNLOADED);
    ck_assert_uint_eq(residency_reserved_bytes(&g_r), 0);
    ck_assert(!residency_is_moving(&g_r));
    release(w);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, one_that_hangs_is_unloaded_in_use);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, a_killed_load_is_quarantined);
    tcase_add_test(tc, one_failure_may_be_chance);
    tcase_add_test(tc, an_unknown_model_is_not_quarantined);
    tcase_add_test(tc, a_load_beyond_its_plan_is_stopped);
    tcase_add_test(tc, a_load_that_leaves_nothing_is_stopped);
    tcase_add_test(tc, a_lost_server_holds_nothing);
    tcase_add_test(tc, a_reservation_ends_beside_other_calls);
}

TEST_MAIN("residency_failures", add_tests)
