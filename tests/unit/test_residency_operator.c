/*
 * Loads that an operator asks for, and what operators are shown.
 */
#include "core/model_load.h"
#include "residency_support.h"

#define PENDING (-1)

static int g_wished;

static void on_wish(struct model_load *load, enum errcode code, const char *text)
{
    g_wished = (int) code;
    ck_assert(!list_is_linked(&load->link) && (code == ERRCODE_NONE || text[0] != '\0'));
}

static void wish(struct model_load *load, const char *name)
{
    g_wished = PENDING;
    ck_assert_int_eq(model_load_start(load, &g_router, str_from(name), g_now), ERRCODE_NONE);
    ck_assert(!load->was_there);
    model_loads_turn(&g_r, g_now);
}

static void load_and_forget(const char *name)
{
    load(name, SEC);
    g_now += 60 * SEC;
}

START_TEST(an_operator_loads)
{
    struct model_load load = {.on_done = on_wish}, again = load;

    wish(&load, "a");
    assert_next(RESIDENCY_LOAD, RESIDENCY_BY_OPERATOR, "a");
    ck_assert_uint_eq(residency_reserved_bytes(&g_r), 800 * MIB);
    loaded("a", SEC);
    model_loads_turn(&g_r, g_now);
    ck_assert_int_eq(g_wished, ERRCODE_NONE);
    assert_state("a", RESIDENCY_RESIDENT);
    assert_nothing();
    g_is_trusted = true;
    ck_assert_int_eq(model_load_start(&again, &g_router, STR_LIT("a"), g_now), ERRCODE_NONE);
    ck_assert(again.was_there);
    ck_assert_int_eq(model_load_start(&again, &g_router, STR_LIT("x"), g_now),
                     ERRCODE_MODEL_NOT_FOUND);
}
END_TEST

START_TEST(an_operator_is_refused_as_a_call_is)
{
    struct model_load load = {.on_done = on_wish};

    told("b", 5000);
    wish(&load, "b");
    ck_assert_int_eq(g_wished, ERRCODE_MODEL_EXCEEDS);
    ck_assert_uint_eq(model("b")->n_wishes, 0);
    assert_nothing();
    wish(&load, "a");
    assert_next(RESIDENCY_LOAD, RESIDENCY_BY_OPERATOR, "a");
    residency_load_began(&g_r, model("a"), g_now);
    (void) residency_load_ended(&g_r, model("a"), RESIDENCY_LOAD_KILLED, g_now);
    model_loads_end(&g_r, model("a"), ERRCODE_UPSTREAM_OUT_OF_MEMORY, "killed");
    ck_assert_int_eq(g_wished, ERRCODE_UPSTREAM_OUT_OF_MEMORY);
    wish(&load, "a");
    ck_assert_int_eq(g_wished, ERRCODE_MODEL_QUARANTINED);
}
END_TEST

/* What nobody waits for any more is not loaded, and what never fits in time ends. */
START_TEST(an_operator_gives_up)
{
    struct model_load load = {.on_done = on_wish};

    set_memory(2000, 400);
    model("a")->looked_at_usec = 0;
    wish(&load, "a");
    ck_assert_int_eq(g_wished, PENDING);
    model_load_cancel(&load);
    model_load_cancel(&load);
    set_memory(2000, 1600);
    assert_nothing();
    residency_set_level(&g_r, 1);
    wish(&load, "a");
    assert_nothing();
    g_now += 600 * SEC;
    model_loads_turn(&g_r, g_now);
    ck_assert_int_eq(g_wished, ERRCODE_MODEL_BUDGET);
    assert_nothing();
}
END_TEST

/* It may have gone since: its server is asked. */
START_TEST(an_operator_wants_what_may_be_there)
{
    struct model_load load = {.on_done = on_wish};

    load_and_forget("a");
    wish(&load, "a");
    ck_assert_int_eq(g_wished, PENDING);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "a");
    residency_looked(&g_r, model("a"), true, 0, false, g_now);
    model_loads_turn(&g_r, g_now);
    ck_assert_int_eq(g_wished, ERRCODE_NONE);
}
END_TEST

START_TEST(what_is_shown)
{
    struct residency_view view;

    ck_assert(residency_view(&g_r, deployment("a"), NULL, g_now, &view));
    ck_assert_str_eq(view.state, "unloaded");
    ck_assert_str_eq(view.fits, "now");
    ck_assert_uint_eq(view.need_bytes, 800 * MIB);
    load("a", SEC);
    set_memory(2000, 800);
    ck_assert(residency_view(&g_r, deployment("b"), NULL, g_now, &view));
    ck_assert_str_eq(view.fits, "later");
    told("b", 1839);
    ck_assert(residency_view(&g_r, deployment("b"), NULL, g_now, &view));
    ck_assert_str_eq(view.fits, "not now");
    told("b", 1841);
    ck_assert(residency_view(&g_r, deployment("b"), NULL, g_now, &view));
    ck_assert_str_eq(view.fits, "never");
    ck_assert(residency_view(&g_r, deployment("a"), NULL, g_now, &view));
    ck_assert_uint_eq(view.held_bytes, 800 * MIB);
    model("c")->is_told = false;
    residency_want_facts(&g_r);
    assert_next(RESIDENCY_INQUIRE, RESIDENCY_FOR_MODEL, "c");
    assert_nothing();
    ck_assert(residency_view(&g_r, deployment("c"), NULL, g_now, &view));
    ck_assert_str_eq(view.state, "asked");
}
END_TEST

/* Also of a wildcard's models, by their names; nothing that is known goes for what is only looked at. */
START_TEST(what_is_looked_at)
{
    const struct deployment *d = router_resolve(&g_router, STR_LIT("a"))->deployments[0];
    struct residency_view view;
    char name[16];
    size_t n = 0;

    ck_assert(!residency_view(&g_r, d, "other", g_now, &view));
    ck_assert(residency_want_facts_of(&g_r, d, "other"));
    ck_assert(residency_want_facts_of(&g_r, d, "other")); /* as long as it is not told */
    ck_assert(residency_view(&g_r, d, "other", g_now, &view));
    ck_assert_str_eq(view.state, "unloaded");
    ck_assert_uint_eq(view.need_bytes, 0);
    ck_assert(!residency_want_facts_of(&g_r, d, NULL)); /* known */
    ck_assert(!residency_want_facts_of(&g_r, d, "st*r"));
    do {
        (void) snprintf(name, sizeof name, "m%zu", n);
    } while (residency_want_facts_of(&g_r, d, name) && n++ < 2 * RESIDENCY_MODELS_MAX);
    ck_assert_uint_eq(g_r.n_models, RESIDENCY_MODELS_MAX);
    ck_assert_uint_eq(n, RESIDENCY_MODELS_MAX - 4);
    ck_assert(residency_view(&g_r, d, NULL, g_now, &view));
    g_r.params.is_on = false;
    ck_assert(!residency_want_facts_of(&g_r, d, "other")); /* nobody asks */
    residency_done(&g_r);
    residency_init(&g_r, &params, &g_router, &g_footprints);
    deployment("a")->is_local = false;
    ck_assert(!residency_want_facts_of(&g_r, d, "far"));
    ck_assert(!residency_view(&g_r, d, "far", g_now, &view));
}
END_TEST

START_TEST(names_of_one_model)
{
    const struct deployment *d = deployment("a");

    ck_assert(residency_name_is_same("a", "a"));
    ck_assert(residency_name_is_same("x/a", "x/a:latest"));
    ck_assert(residency_name_is_same("a:latest", "a"));
    ck_assert(!residency_name_is_same("a", "a:1b"));
    ck_assert(!residency_name_is_same("a:latest", "a:late"));
    ck_assert(!residency_name_is_same("a", "ab"));
    ck_assert(!residency_name_is_same("", "a"));
    /* one entry: what is in memory once must not count twice */
    ck_assert_ptr_eq(residency_of(&g_r, d, "ua:latest"), model("a"));
    ck_assert(residency_model_is_of(model("a"), d));
}
END_TEST

/* A server is asked for few at a time, as long as nobody waits for the others. */
START_TEST(few_are_looked_at_at_a_time)
{
    const struct deployment *d = deployment("a");
    struct residency_action action;
    char name[16];

    for (int i = 0; i < 6; i++) {
        (void) snprintf(name, sizeof name, "m%d", i);
        ck_assert(residency_want_facts_of(&g_r, d, name));
    }
    for (int i = 0; i < 4; i++) {
        ck_assert(next(&action));
        ck_assert_int_eq(action.verb, RESIDENCY_INQUIRE);
    }
    assert_nothing();
    model("a")->is_told = false; /* one that a call waits for is asked for all the same */
    wait_for("a", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_INQUIRE, RESIDENCY_FOR_MODEL, "a");
    assert_nothing();
    for (int i = 0; i < 6; i++) {
        (void) snprintf(name, sizeof name, "m%d", i);
        residency_told(residency_of(&g_r, d, name), STR_NONE, 4096, 1,
                       &(struct footprint_facts) {.told_bytes = MIB}, false);
        ck_assert_int_eq(next(&action), i == 1 || i == 2);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_operator_loads);
    tcase_add_test(tc, an_operator_is_refused_as_a_call_is);
    tcase_add_test(tc, an_operator_gives_up);
    tcase_add_test(tc, an_operator_wants_what_may_be_there);
    tcase_add_test(tc, what_is_shown);
    tcase_add_test(tc, what_is_looked_at);
    tcase_add_test(tc, names_of_one_model);
    tcase_add_test(tc, few_are_looked_at_at_a_time);
}

TEST_MAIN("residency_operator", add_tests)
