/*
 * fallback_find(): which name is asked next, in which order the lists are read, what is passed over,
 * and where it ends.
 */
#include "router_support.h"

#include "core/fallback.h"

#define NOW  (1000 * SEC)
#define NAME 32

static struct router g_router;
static struct router_plan g_plan;

static void open_plan(void)
{
    g_plan = (struct router_plan) {0};
    router_init(&g_router);
    router_policy_init(&g_plan.policy);
}

static void list(enum fallback_kind kind, const char *from, const char *first, const char *second)
{
    char *targets[] = {(char *) (uintptr_t) first, (char *) (uintptr_t) second};

    ck_assert_int_eq(
        router_policy_add_fallbacks(&g_plan.policy, kind, from, targets, second ? 2 : 1), 0);
}

/* What follows for who asked for so many of "m", "n", "o", "p". */
static const char *after(size_t n_asked, enum fallback_kind kind,
                         const struct request_routing *routing, const struct router_wish *wish)
{
    static char text[NAME];
    const struct str asked[] = {STR_LIT("m"), STR_LIT("n"), STR_LIT("o"), STR_LIT("p")};
    const struct fallback_call c = {
        .wish = wish, .routing = routing, .asked = asked, .n_asked = n_asked};

    str_copy(fallback_find(&g_router, &c, kind, NOW), text, sizeof text);
    return text;
}

static const char *next(size_t n_asked)
{
    const struct router_wish wish = {0};

    return after(n_asked, FALLBACK_GENERAL, NULL, &wish);
}

static void add_four(void)
{
    static const char *const names[] = {"m", "n", "o", "p"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        add(&g_plan, names[i], names[i], 1);
    }
}

START_TEST(the_list_of_who_failed_then_those_that_led_to_it)
{
    open_plan();
    add_four();
    list(FALLBACK_GENERAL, "m", "n", "p");
    list(FALLBACK_GENERAL, "n", "m", "o");
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(next(1), "n");
    ck_assert_str_eq(next(2), "o"); /* "m" was asked */
    ck_assert_str_eq(next(3), "p"); /* "o" has no list: on with that of "m" */
    ck_assert_str_eq(next(4), "");
    router_done(&g_router);
}
END_TEST

START_TEST(no_more_than_max_fallbacks)
{
    open_plan();
    add_four();
    list(FALLBACK_GENERAL, "m", "n", "o");
    g_plan.policy.max_fallbacks = 1;
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(next(1), "n");
    ck_assert_str_eq(next(2), "");
    router_done(&g_router);

    open_plan();
    add_four();
    list(FALLBACK_GENERAL, "m", "n", NULL);
    g_plan.policy.max_fallbacks = 0;
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(next(1), "");
    router_done(&g_router);
}
END_TEST

START_TEST(who_could_not_serve_is_passed_over)
{
    const struct router_wish local = {.is_local_only = true};
    const struct router_wish plain = {0};
    struct deployment *paused, *here;

    open_plan();
    add(&g_plan, "m", "m", 1);
    (void) add_off(&g_plan, "n", "n");
    paused = add(&g_plan, "o", "o", 1);
    here = add(&g_plan, "p", "p", 1);
    add(&g_plan, "q", "q", 1);
    here->is_local = true;
    ck_assert_int_eq(router_plan_alias(&g_plan, "me", "m", false), 0);
    list(FALLBACK_GENERAL, "m", "me", "n");
    list(FALLBACK_CONTEXT, "m", "o", "q");
    list(FALLBACK_CONTENT_POLICY, "m", "q", "p");
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(next(1), ""); /* another name of its own group, and one that is off */
    open_until(paused, NOW + 10 * SEC);
    ck_assert_str_eq(after(1, FALLBACK_CONTEXT, NULL, &plain), "q");
    ck_assert_str_eq(after(1, FALLBACK_CONTENT_POLICY, NULL, &plain), "q");
    ck_assert_str_eq(after(1, FALLBACK_CONTENT_POLICY, NULL, &local), "p");
    router_done(&g_router);
}
END_TEST

START_TEST(a_kind_without_a_list_has_the_general_one)
{
    const struct router_wish wish = {0};

    open_plan();
    add_four();
    list(FALLBACK_GENERAL, "m", "n", NULL);
    list(FALLBACK_CONTEXT, "m", "o", NULL);
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(after(1, FALLBACK_CONTEXT, NULL, &wish), "o");
    ck_assert_str_eq(after(1, FALLBACK_CONTENT_POLICY, NULL, &wish), "n");
    router_done(&g_router);
}
END_TEST

START_TEST(the_requests_own_list_in_the_place_of_all)
{
    struct str names[] = {STR_LIT("nowhere"), STR_LIT("m"), STR_LIT("o")};
    const struct request_routing own = {
        .has_fallbacks = true, .fallbacks = names, .n_fallbacks = 3};
    const struct request_routing none = {.has_fallbacks = true};
    const struct router_wish wish = {0};

    open_plan();
    add_four();
    list(FALLBACK_GENERAL, "m", "n", NULL);
    router_commit(&g_router, &g_plan);
    ck_assert_str_eq(after(1, FALLBACK_GENERAL, &own, &wish), "o");
    ck_assert_str_eq(after(1, FALLBACK_GENERAL, &none, &wish), "");
    ck_assert_str_eq(after(3, FALLBACK_GENERAL, &own, &wish), "");
    router_done(&g_router);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, the_list_of_who_failed_then_those_that_led_to_it);
    tcase_add_test(tc, no_more_than_max_fallbacks);
    tcase_add_test(tc, who_could_not_serve_is_passed_over);
    tcase_add_test(tc, a_kind_without_a_list_has_the_general_one);
    tcase_add_test(tc, the_requests_own_list_in_the_place_of_all);
}

TEST_MAIN("fallback", add_tests)
