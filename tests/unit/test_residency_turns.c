/*
 * Turns: who goes so that another model can come, when a model that is used must, and what is
 * waited for in between.
 */
#include "residency_support.h"

static void b_waits(enum call_class class, uint64_t since_usec)
{
    struct residency_action action;

    wait_for("b", class, since_usec);
    while (next(&action) && action.verb == RESIDENCY_LOOK) {
        residency_looked(&g_r, action.model, false, 0, true, g_now);
    }
}

START_TEST(an_idle_model_goes)
{
    load("a", 2 * SEC);
    set_memory(2000, 800);
    b_waits(CLASS_INTERACTIVE, g_now);
    assert_state("a", RESIDENCY_RESIDENT); /* as long as its load took it stays */
    g_now += 2 * SEC;
    wait_for("b", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_MODEL, "a");
    assert_nothing();
    residency_unloaded(&g_r, model("a"), true, g_now);
    set_memory(2000, 1600);
    load("b", SEC);
}
END_TEST

/* Its client asks again when it has its answer: between two calls nobody uses it, and it keeps its turn. */
START_TEST(who_was_used_a_moment_ago_is_in_use)
{
    load("a", 2 * SEC);
    set_memory(2000, 800);
    g_now += 4 * SEC;
    for (unsigned i = 0; i < 2; i++) {
        g_is_trusted = true;

        struct deployment *d = call("a");

        ck_assert_ptr_nonnull(d);
        g_is_trusted = false;
        g_now += SEC / 2;
        release(d);
        g_now += 240 * MSEC;
        b_waits(CLASS_INTERACTIVE, g_now);
        assert_state("a", RESIDENCY_RESIDENT);
    }
    g_now += 20 * MSEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    assert_state("a", RESIDENCY_UNLOADING);
    residency_unloaded(&g_r, model("a"), true, g_now);
    set_memory(2000, 1600);
}
END_TEST

/* The one that is largest for its load and was used longest ago, and not more than needed. */
START_TEST(the_plan_takes_no_more_than_it_needs)
{
    load("a", 2 * SEC);
    load("c", SEC);
    set_memory(2000, 700);
    g_now += 10 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    ck_assert_int_eq(model("a")->state, RESIDENCY_UNLOADING);
    residency_unloaded(&g_r, model("a"), true, g_now);
    set_memory(2000, 1500);
    g_now += SEC;
    load("b", SEC);
    assert_state("c", RESIDENCY_RESIDENT);
}
END_TEST

/* Its runner is gone, and the kernel's numbers follow later: nobody is refused, nobody else goes. */
START_TEST(what_was_freed_is_waited_for)
{
    for (unsigned is_seen = 0; is_seen < 2; is_seen++) {
        load("a", SEC);
        set_memory(2000, 400);
        g_now += 60 * SEC;
        b_waits(CLASS_INTERACTIVE, g_now);
        ck_assert_int_eq(model("a")->state, RESIDENCY_UNLOADING);
        residency_unloaded(&g_r, model("a"), true, g_now);
        set_memory(2000, 405);
        ck_assert_int_eq(refusal("b"), ERRCODE_NONE);
        g_now += is_seen ? SEC : 10 * SEC;
        set_memory(2000, is_seen ? 1600 : 405);
        ck_assert_int_eq(refusal("b"), is_seen ? ERRCODE_NONE : ERRCODE_MODEL_BUDGET);
        set_memory(2000, 1600);
    }
}
END_TEST

/* For a moment after a load no more counts as free than was believed of it: nobody is refused for that. */
START_TEST(what_a_load_was_believed_to_take_refuses_nobody)
{
    told("b", 1000);
    residency_looked(&g_r, model("b"), false, 0, false, g_now);
    load("a", SEC);
    residency_seen(&g_r, model("a"), 300 * MIB, 0); /* of 800 */
    set_memory(2000, 1300);
    ck_assert_uint_eq(g_r.memory.available_bytes, 800 * MIB);
    ck_assert_int_eq(refusal("b"), ERRCODE_NONE);
    g_now += SEC;
    set_memory(2000, 1300);
    ck_assert_int_eq(refusal("b"), ERRCODE_NONE);
    told("b", 1500); /* 1300 and the 300 of "a", less R_hard */
    ck_assert_int_eq(refusal("b"), ERRCODE_MODEL_BUDGET);
}
END_TEST

START_TEST(an_unload_that_does_not_happen_is_not_repeated_at_once)
{
    load("a", SEC);
    set_memory(2000, 800);
    g_now += 10 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    ck_assert_int_eq(model("a")->state, RESIDENCY_UNLOADING);
    residency_unloaded(&g_r, model("a"), false, g_now);
    assert_state("a", RESIDENCY_RESIDENT);
    ck_assert_uint_eq(g_r.n_stuck, 1);
    g_now += 20 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    assert_state("a", RESIDENCY_RESIDENT);
    g_now += 10 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    ck_assert_int_eq(model("a")->state, RESIDENCY_UNLOADING);
    residency_unloaded(&g_r, model("a"), true, g_now);
}
END_TEST

/* A call runs at a, and b needs its room. */
static struct deployment *drain_a(void)
{
    struct deployment *d;

    load("a", SEC);
    g_is_trusted = true;
    d = call("a");
    g_is_trusted = false;
    set_memory(2000, 800);
    g_now += 4 * SEC;
    b_waits(CLASS_INTERACTIVE, g_now);
    assert_state("a", RESIDENCY_DRAINING);
    return d;
}

/* In use: it takes no more calls, and goes with the last. */
START_TEST(a_model_in_use_is_drained)
{
    struct deployment *d = drain_a();

    ck_assert_ptr_null(call("a"));
    wait_for("b", CLASS_INTERACTIVE, g_now);
    router_release(&g_router, d, g_now);
    wait_for("b", CLASS_INTERACTIVE, g_now);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_MODEL, "a");
    residency_unloaded(&g_r, model("a"), true, g_now);
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
}
END_TEST

START_TEST(a_drain_for_nobody_ends)
{
    struct deployment *d = drain_a();

    residency_begin_run(&g_r); /* whoever waited for b has left */
    residency_end_run(&g_r, g_now);
    assert_nothing();
    assert_state("a", RESIDENCY_RESIDENT);
    release(d);
}
END_TEST

/* Both are wanted: by age, or at once for a higher class; and never before three loads are over. */
START_TEST(turns_between_two_that_are_wanted)
{
    struct deployment *d;
    uint64_t since;

    load("a", SEC);
    g_is_trusted = true;
    d = call("a");
    ck_assert_ptr_nonnull(call("a")); /* both slots */
    g_is_trusted = false;
    set_memory(2000, 800);
    since = g_now;

    for (unsigned sec = 0; sec < 9; sec++) {
        residency_begin_run(&g_r);
        ck_assert_ptr_null(pick("a", CLASS_INTERACTIVE, g_now));
        ck_assert_ptr_null(pick("b", CLASS_INTERACTIVE, since));
        residency_end_run(&g_r, g_now);

        struct residency_action action;

        while (next(&action)) {
            ck_assert_int_eq(action.verb, RESIDENCY_LOOK);
            residency_looked(&g_r, action.model, action.model == model("a"), 0, true, g_now);
        }
        /* half of the 15 s that an interactive call may wait */
        assert_state("a", g_now - since < 7500 * MSEC ? RESIDENCY_RESIDENT : RESIDENCY_DRAINING);
        g_now += SEC;
    }
    release(d);
    release(d);
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
    assert_nothing();
}
END_TEST

START_TEST(a_higher_class_does_not_wait_its_age)
{
    struct deployment *d;

    load("a", SEC);
    g_is_trusted = true;
    d = call("a");
    ck_assert_ptr_nonnull(call("a"));
    g_is_trusted = false;
    set_memory(2000, 800);
    g_now += 4 * SEC;
    residency_begin_run(&g_r);
    ck_assert_ptr_null(pick("a", CLASS_BATCH, g_now));
    ck_assert_ptr_null(pick("b", CLASS_INTERACTIVE, g_now));
    residency_end_run(&g_r, g_now);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "b");
    residency_looked(&g_r, model("b"), false, 0, false, g_now);
    assert_nothing();
    assert_state("a", RESIDENCY_DRAINING);
    release(d);
    release(d);
    assert_nothing();
}
END_TEST

/* Who goes next, and for whom: "a" is there, no two fit, and persons wait for "c". */
static const struct residency_model *favoured(uint64_t batch_since_usec)
{
    struct residency_action action;

    residency_begin_run(&g_r);
    ck_assert_ptr_null(pick("c", CLASS_INTERACTIVE, g_now - 20 * SEC));
    ck_assert_ptr_null(pick("b", CLASS_BATCH, batch_since_usec));
    residency_end_run(&g_r, g_now);
    while (next(&action)) {
        if (action.verb == RESIDENCY_UNLOAD) {
            return action.favour;
        }
        ck_assert_int_eq(action.verb, RESIDENCY_LOOK);
        residency_looked(&g_r, action.model, action.model->held_bytes > 0, 0, true, g_now);
    }
    return NULL;
}

static void there_is_one(const char *name)
{
    load(name, SEC);
    set_memory(2000, 800);
    g_now += 10 * SEC;
}

static void gone(const char *name)
{
    residency_unloaded(&g_r, model(name), true, g_now);
    set_memory(2000, 1600);
}

/* However many models persons take turns with: a lower class has its turn within a minute. */
START_TEST(a_turn_is_owed_to_a_lower_class)
{
    uint64_t since;
    struct deployment *d;

    told("c", 850);
    there_is_one("a");
    since = g_now;
    g_now += 59 * SEC;
    ck_assert_ptr_eq(favoured(since), model("c"));
    gone("a");
    there_is_one("c");
    residency_begin_run(&g_r);
    ck_assert_ptr_null(pick("b", CLASS_BATCH, since));
    residency_end_run(&g_r, g_now);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "b");
    residency_looked(&g_r, model("b"), false, 0, false, g_now);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_MODEL, "c");
    gone("c");

    /* the room is its own, although a person is asked first */
    residency_begin_run(&g_r);
    ck_assert_ptr_null(pick("c", CLASS_INTERACTIVE, g_now - 20 * SEC));
    d = pick("b", CLASS_BATCH, since);
    residency_end_run(&g_r, g_now);
    ck_assert_ptr_nonnull(d);
    loaded("b", SEC);
    release(d);

    /* and the next one is a minute away */
    set_memory(2000, 700);
    g_now += 10 * SEC;
    residency_begin_run(&g_r);
    ck_assert_ptr_null(pick("c", CLASS_INTERACTIVE, g_now - 20 * SEC));
    residency_end_run(&g_r, g_now);
    assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "c");
    residency_looked(&g_r, model("c"), false, 0, false, g_now);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_MODEL, "b");
    gone("b");
    there_is_one("a");
    ck_assert_ptr_eq(favoured(since), model("c"));
    gone("a");
}
END_TEST

/* Nothing is owed where memory is short. */
START_TEST(no_turn_is_owed_under_pressure)
{
    told("c", 850);
    there_is_one("a");
    g_now += 100 * SEC;
    ck_assert_ptr_eq(favoured(g_now - 90 * SEC), model("b"));
    residency_unloaded(&g_r, model("a"), false, g_now);
    g_now += 40 * SEC;
    g_is_trusted = true;
    release(call("a"));
    g_is_trusted = false;
    residency_set_pressure(
        &g_r, &(struct residency_pressure) {.level = 1, .exhaustion_usec = USEC_NEVER});
    ck_assert_ptr_eq(favoured(g_now - 90 * SEC), model("c"));
    gone("a");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_idle_model_goes);
    tcase_add_test(tc, who_was_used_a_moment_ago_is_in_use);
    tcase_add_test(tc, the_plan_takes_no_more_than_it_needs);
    tcase_add_test(tc, what_was_freed_is_waited_for);
    tcase_add_test(tc, what_a_load_was_believed_to_take_refuses_nobody);
    tcase_add_test(tc, an_unload_that_does_not_happen_is_not_repeated_at_once);
    tcase_add_test(tc, a_model_in_use_is_drained);
    tcase_add_test(tc, a_drain_for_nobody_ends);
    tcase_add_test(tc, turns_between_two_that_are_wanted);
    tcase_add_test(tc, a_higher_class_does_not_wait_its_age);
    tcase_add_test(tc, a_turn_is_owed_to_a_lower_class);
    tcase_add_test(tc, no_turn_is_owed_under_pressure);
}

TEST_MAIN("residency_turns", add_tests)
