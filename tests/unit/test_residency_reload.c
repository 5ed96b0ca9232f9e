/*
 * What is left of models whose server a reload has taken out of the configuration: "here" is where all
 * models are, until they move "there".
 */
#include "core/model_load.h"
#include "residency_support.h"

static const char *const all[] = {"a", "b", "c"};

static struct residency_model *former(const char *upstream_model)
{
    struct residency_model *m = residency_find(&g_r, "here", upstream_model);

    ck_assert_ptr_nonnull(m);
    return m;
}

static void move(void)
{
    plan_models_at("there", all, ARRAY_LEN(all));
}

START_TEST(what_it_held_is_forgotten)
{
    load("a", SEC);
    ck_assert(residency_is_exposed(&g_r));
    ck_assert_uint_ne(residency_next_at(&g_r, g_now), USEC_NEVER);
    ck_assert(!residency_forget_servers(&g_r, g_now));
    move();
    ck_assert(residency_forget_servers(&g_r, g_now));
    ck_assert_int_eq(former("ua")->state, RESIDENCY_UNLOADED);
    ck_assert_uint_eq(former("ua")->held_bytes, 0);
    ck_assert(!residency_is_exposed(&g_r));
    ck_assert_uint_eq(residency_next_at(&g_r, g_now), USEC_NEVER);
    g_now += 400 * SEC;
    assert_nothing();
    ck_assert(!residency_forget_servers(&g_r, g_now));
}
END_TEST

/* Alone on the device, a model may take what would hurt others: one that is not there is no other. */
START_TEST(what_it_held_is_in_nobodys_way)
{
    load("a", SEC);
    move();
    ck_assert(residency_forget_servers(&g_r, g_now));
    told("b", 1400); /* 1400 <= 1600 - 160, but not <= 1600 - 240 */
    ck_assert_ptr_nonnull(call("b"));
    assert_state("b", RESIDENCY_RESERVED);
    release(deployment("b"));
}
END_TEST

START_TEST(a_call_that_goes_on_there_keeps_it)
{
    struct deployment *d;

    load("a", SEC);
    d = call("a");
    ck_assert_ptr_nonnull(d);
    move();
    ck_assert(!residency_forget_servers(&g_r, g_now));
    ck_assert_int_eq(former("ua")->state, RESIDENCY_RESIDENT);
    release(d);
    router_reap(&g_router);
    ck_assert(residency_forget_servers(&g_r, g_now));
    ck_assert_int_eq(former("ua")->state, RESIDENCY_UNLOADED);
}
END_TEST

/* Its server is there by another name: it can be asked about it, and told to free it. */
START_TEST(a_model_without_a_name_is_kept)
{
    load("a", SEC);
    plan_models(&all[1], 2);
    ck_assert(!residency_forget_servers(&g_r, g_now));
    ck_assert_int_eq(former("ua")->state, RESIDENCY_RESIDENT);
}
END_TEST

static void reach(enum residency_state state)
{
    struct residency_model *m = model("a");

    switch (state) {
    case RESIDENCY_UNLOADED:
    case RESIDENCY_RESIDENT:
        break;
    case RESIDENCY_RESERVED:
        residency_reserve(&g_r, deployment("a"), NULL, g_now);
        break;
    case RESIDENCY_FAILED:
        residency_load_began(&g_r, m, g_now);
        ck_assert(residency_load_ended(&g_r, m, RESIDENCY_LOAD_KILLED, g_now));
        break;
    case RESIDENCY_LOADING:
        residency_load_began(&g_r, m, g_now);
        break;
    case RESIDENCY_DRAINING:
    case RESIDENCY_UNLOADING:
        residency_load_began(&g_r, m, g_now);
        ck_assert(!residency_load_ended(&g_r, m, RESIDENCY_LOAD_OK, g_now));
        residency_unload_began(m, g_now);
        break;
    }
}

/* Whatever it was at, nothing of it stands in the way of others; what comes of it is no news any more. */
START_TEST(nothing_moves_there_any_more)
{
    static const enum residency_state states[] = {RESIDENCY_RESERVED, RESIDENCY_LOADING,
                                                  RESIDENCY_UNLOADING, RESIDENCY_FAILED};

    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        reach(states[i]);
        assert_state("a", states[i]);
        former("ua")->is_stopping = former("ua")->is_looked_for = former("ua")->is_asked = true;
        move();
        ck_assert(residency_forget_servers(&g_r, g_now) == (states[i] != RESIDENCY_FAILED));
        ck_assert_int_eq(former("ua")->state,
                         states[i] == RESIDENCY_FAILED ? RESIDENCY_FAILED : RESIDENCY_UNLOADED);
        ck_assert(!residency_is_moving(&g_r));
        ck_assert_uint_eq(residency_reserved_bytes(&g_r), 0);
        ck_assert(!former("ua")->is_stopping && !former("ua")->is_looked_for &&
                  !former("ua")->is_asked);
        residency_unloaded(&g_r, former("ua"), false, g_now);
        (void) residency_load_ended(&g_r, former("ua"), RESIDENCY_LOAD_OK, g_now);
        ck_assert_uint_eq(g_r.n_stuck, 0);
        ck_assert(!residency_is_exposed(&g_r));
        plan_models(all, ARRAY_LEN(all));
        (void) residency_forget_servers(&g_r, g_now);
    }
}
END_TEST

static int g_wished;
static const char *g_why;

static void on_wish(struct model_load *load, enum errcode code, const char *text)
{
    g_wished = (int) code;
    g_why = text;
}

START_TEST(a_wish_ends)
{
    struct model_load load = {.on_done = on_wish}, again = {.on_done = on_wish};

    residency_set_level(&g_r, 1); /* nothing is loaded now */
    ck_assert_int_eq(model_load_start(&load, &g_router, STR_LIT("a"), g_now), ERRCODE_NONE);
    ck_assert_int_eq(model_load_start(&again, &g_router, STR_LIT("a"), g_now), ERRCODE_NONE);
    model_loads_turn(&g_r, g_now);
    ck_assert_int_eq(g_wished, 0);
    move();
    (void) residency_forget_servers(&g_r, g_now);
    model_loads_turn(&g_r, g_now);
    ck_assert_int_eq(g_wished, ERRCODE_UPSTREAM_UNREACHABLE);
    ck_assert_str_eq(g_why, "its server left the configuration");
    ck_assert(list_is_empty(&g_r.wishes));
    ck_assert(former("ua")->n_wishes == 0 && !former("ua")->is_load_wanted);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, what_it_held_is_forgotten);
    tcase_add_test(tc, what_it_held_is_in_nobodys_way);
    tcase_add_test(tc, a_call_that_goes_on_there_keeps_it);
    tcase_add_test(tc, a_model_without_a_name_is_kept);
    tcase_add_test(tc, nothing_moves_there_any_more);
    tcase_add_test(tc, a_wish_ends);
}

TEST_MAIN("residency_reload", add_tests)
