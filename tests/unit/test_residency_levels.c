/*
 * What memory pressure and idleness do: unloading without a call that asks for room, and loads that
 * come back in stages.
 */
#include "residency_support.h"

START_TEST(levels_unload_who_is_idle)
{
    load("a", SEC);
    load("c", SEC);
    residency_set_level(&g_r, 1, g_now);
    assert_nothing();
    ck_assert_ptr_null(call("b"));
    residency_begin_run(&g_r);
    residency_end_run(&g_r, g_now);
    g_now += 59 * SEC;
    assert_nothing();
    g_now += 3 * SEC;
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_LEVEL, "a"); /* the largest first */
    assert_nothing();
    residency_unloaded(&g_r, model("a"), true, g_now);
    assert_nothing(); /* a second between two */
    g_now += SEC;
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_LEVEL, "c");
    residency_unloaded(&g_r, model("c"), true, g_now);
}
END_TEST

START_TEST(level_two_waits_for_no_minute)
{
    load("a", SEC);
    g_is_trusted = true;

    struct deployment *d = call("a");

    residency_set_level(&g_r, 2, g_now);
    assert_nothing(); /* in use */
    release(d);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_FOR_LEVEL, "a");
    residency_unloaded(&g_r, model("a"), true, g_now);
}
END_TEST

START_TEST(loads_come_back_in_stages)
{
    residency_set_level(&g_r, 2, g_now);
    residency_set_level(&g_r, 0, g_now);
    g_now += 15 * SEC - 1;
    ck_assert_ptr_null(call("a"));
    g_now += 1;
    load("a", SEC);
    set_memory(2000, 800);
    g_now += 29 * SEC;
    ck_assert_ptr_null(call("c"));
    g_now += SEC;
    load("c", SEC);
    residency_unloaded(&g_r, model("c"), true, g_now);
    g_now += 75 * SEC; /* two minutes are over */
    load("c", SEC);
}
END_TEST

START_TEST(what_has_grown_goes_when_memory_is_short)
{
    load("a", SEC);
    residency_seen(&g_r, model("a"), 700 * MIB, 0);
    residency_seen(&g_r, model("a"), 1100 * MIB, 0);
    set_memory(2000, 500);
    assert_nothing();
    set_memory(2000, 200);
    assert_next(RESIDENCY_UNLOAD, RESIDENCY_GROWN, "a");
    residency_unloaded(&g_r, model("a"), true, g_now);
}
END_TEST

/* Ollama drops what nobody uses: it is looked for, and once it is gone nothing is waited for. */
START_TEST(what_nobody_uses_is_looked_for_seldom)
{
    uint64_t at;

    ck_assert(!residency_is_exposed(&g_r));
    load("a", SEC);
    ck_assert(residency_is_exposed(&g_r));
    for (unsigned i = 0; i < 2; i++) {
        at = residency_next_at(&g_r, g_now);
        ck_assert_uint_ge(at, g_now + 300 * SEC);
        ck_assert_uint_lt(at, g_now + 310 * SEC);
        assert_nothing();
        g_now = at;
        assert_next(RESIDENCY_LOOK, RESIDENCY_FOR_MODEL, "a");
        assert_nothing();
        residency_looked(&g_r, model("a"), i == 0, 0, false, g_now);
    }
    ck_assert(!residency_is_exposed(&g_r));
    ck_assert_uint_eq(residency_next_at(&g_r, g_now), USEC_NEVER);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, levels_unload_who_is_idle);
    tcase_add_test(tc, level_two_waits_for_no_minute);
    tcase_add_test(tc, loads_come_back_in_stages);
    tcase_add_test(tc, what_has_grown_goes_when_memory_is_short);
    tcase_add_test(tc, what_nobody_uses_is_looked_for_seldom);
}

TEST_MAIN("residency_levels", add_tests)
