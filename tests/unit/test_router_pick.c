/* Which deployment takes a call: order, the device, room, pauses, and why none does. */
#include "router_pick_support.h"

/* ---------------------------------------------------------------- order */

START_TEST(the_lowest_order_serves_and_is_waited_for)
{
    begin();

    struct deployment *none = with("none", 1, TERMS(0));
    struct deployment *third = with("third", 1, TERMS(.order = 3));
    struct deployment *first = with("first", 1, TERMS(.order = 1));
    struct deployment *second = with("second", 1, TERMS(.order = 2));

    commit();
    for (int i = 0; i < 100; i++) {
        ck_assert_ptr_eq(look(NULL), first);
    }
    first->in_use = 1;
    ck_assert_ptr_null(pick(NULL));
    ck_assert_int_eq(refused(NULL, NULL), ERRCODE_NONE);
    first->in_use = 0;
    ck_assert(
        router_note_end(&g_router, first, ERRCODE_UPSTREAM_RATE_LIMITED, 0, NOW)); /* cooled */
    ck_assert_ptr_eq(look(NULL), second);
    open_until(second, NOW + SEC); /* broken */
    ck_assert_ptr_eq(look(NULL), third);

    const struct router_try one = {.serial = third->serial};

    ck_assert_ptr_eq(look(&(struct router_wish) {.tried = &one, .n_tried = 1}), none);
    router_done(&g_router);
}
END_TEST

START_TEST(what_failed_the_call_is_the_last_choice)
{
    begin();

    struct deployment *a = with("a", 1, TERMS(.order = 1));
    struct deployment *b = with("b", 1, TERMS(.order = 1));
    struct deployment *c = with("c", 1, TERMS(.order = 2));

    commit();
    ck_assert_uint_ne(a->serial, b->serial);

    struct router_try tried[] = {{a->serial, false}, {b->serial, false}, {c->serial, false},
                                 {a->serial, false}, {b->serial, false}, {c->serial, false}};
    struct router_wish wish = {.tried = tried, .n_tried = 1};

    ck_assert_ptr_eq(look(&wish), b);
    b->in_use = 1;
    ck_assert_ptr_null(look(&wish)); /* not the one that has failed it, and not the next order */
    b->in_use = 0;
    wish.n_tried = 2;
    ck_assert_ptr_eq(look(&wish), c);
    wish.n_tried = 3; /* all: once more, from the first order */
    ck_assert_uint_eq(look(&wish)->terms->order, 1);
    wish.n_tried = 4;
    ck_assert_ptr_eq(look(&wish), b);
    wish.n_tried = 5;
    ck_assert_ptr_eq(look(&wish), c);
    wish.n_tried = 6;
    ck_assert_uint_eq(look(&wish)->terms->order, 1);
    router_done(&g_router);
}
END_TEST

/* Its failure was one that the next moment does not change. */
START_TEST(who_must_not_be_asked_again_is_not)
{
    struct router_outlook next;

    begin();

    struct deployment *a = with("a", 1, TERMS(.order = 1));
    struct deployment *b = with("b", 1, TERMS(.order = 2));

    commit();

    struct router_try tried[] = {
        {a->serial, true}, {b->serial, false}, {b->serial, false}, {b->serial, true}};
    struct router_wish wish = {.tried = tried, .n_tried = 1};
    const struct model_group *g = router_resolve(&g_router, str_from("m"));

    for (wish.n_tried = 1; wish.n_tried < 4; wish.n_tried++) {
        ck_assert_ptr_eq(look(&wish), b);
        ck_assert(router_look_ahead(&g_router, g, &wish, NOW, &next));
        ck_assert_int_eq(next.is_tried, wish.n_tried > 1);
        ck_assert_uint_eq(next.order, 2);
    }
    b->in_use = 1; /* waited for */
    wish.n_tried = 3;
    ck_assert_int_eq(refused(&wish, NULL), ERRCODE_NONE);
    b->in_use = 0;
    wish.n_tried = 4;
    ck_assert_ptr_null(look(&wish));
    ck_assert(!router_look_ahead(&g_router, g, &wish, NOW, &next));
    ck_assert_int_eq(refused(&wish, NULL), ERRCODE_NO_MATCH);
    ck_assert_int_eq(refused(NULL, NULL), ERRCODE_NONE); /* another call's matter */
    router_done(&g_router);
}
END_TEST

/* ---------------------------------------------------------------- the device */

START_TEST(a_call_that_must_stay_stays)
{
    struct router_wish stay = {.is_local_only = true};

    begin();

    struct deployment *cloud = with("cloud", 1, TERMS(.order = 1));
    struct deployment *here = with("here", 1, TERMS(.order = 2));

    commit();
    here->is_local = true;
    ck_assert_ptr_eq(look(NULL), cloud);
    ck_assert_ptr_eq(look(&stay), here);
    ck_assert(router_keeps_local(&g_router, &g_router.groups[0], &stay));
    ck_assert(!router_keeps_local(&g_router, &g_router.groups[0], NULL));
    here->is_local = false;
    ck_assert_ptr_null(look(&stay));
    ck_assert_int_eq(refused(&stay, NULL), ERRCODE_LOCAL_ONLY);
    router_done(&g_router);
}
END_TEST

START_TEST(local_only_is_never_left)
{
    static const char *const near_tags[] = {"near"}, *const far_tags[] = {"far"};
    struct str far_tag = STR_LIT("far");
    struct router_wish far_wish = {.tags = &far_tag, .n_tags = 1};

    begin();
    g_plan.policy.has_tag_filter = true;
    g_plan.policy.tags_match_any = true;

    struct deployment *here =
        with("here", 1, TERMS(.is_local_only = true, .tags = near_tags, .n_tags = 1));
    struct deployment *cloud = with("cloud", 9, TERMS(.tags = far_tags, .n_tags = 1));

    commit();
    here->is_local = true;
    ck_assert_ptr_eq(look(NULL), here);
    here->in_use = 1;
    ck_assert_ptr_null(look(NULL));
    here->in_use = 0;
    open_until(here, NOW + SEC);
    ck_assert_ptr_null(look(NULL)); /* broken: still not left */
    ck_assert_int_eq(refused(NULL, NULL), ERRCODE_UPSTREAM_BREAKER);
    ck_assert(router_keeps_local(&g_router, &g_router.groups[0], NULL));
    ck_assert_ptr_eq(look(&far_wish), cloud); /* it could not be given to the other */
    ck_assert(!router_keeps_local(&g_router, &g_router.groups[0], &far_wish));
    router_done(&g_router);

    begin(); /* off: no reason to leave either */

    struct deployment *off = add_off(&g_plan, "m", "off");

    set_terms(off, TERMS(.is_local_only = true));
    with("cloud", 1, TERMS(0));
    commit();
    ck_assert_ptr_null(look(NULL));
    ck_assert_int_eq(refused(NULL, NULL), ERRCODE_LOCAL_ONLY);
    router_done(&g_router);
}
END_TEST

START_TEST(why_one_is_never_given_a_call)
{
    const struct str tags[] = {STR_LIT("a")};
    const struct router_wish tagged = {.tags = tags, .n_tags = 1}, stays = {.is_local_only = true};
    const char *const of_a[] = {"a"}, *const of_b[] = {"b"};

    begin();
    g_plan.policy.has_tag_filter = true;

    struct deployment *a = with("a", 1, TERMS(.tags = of_a, .n_tags = 1));
    struct deployment *b = with("b", 1, TERMS(.tags = of_b, .n_tags = 1));
    struct deployment *off = add_off(&g_plan, "m", "off");
    struct model_group *g = commit();

    ck_assert_ptr_null(router_bars(&g_router, g, NULL, a));
    ck_assert_ptr_null(router_bars(&g_router, g, &tagged, a));
    ck_assert_str_eq(router_bars(&g_router, g, &tagged, b), "its tags are not the call's");
    ck_assert_str_eq(router_bars(&g_router, g, &stays, a), "the call must not leave the device");
    ck_assert_str_eq(router_bars(&g_router, g, NULL, off), "it is off");
    a->in_use = 1;
    ck_assert_ptr_null(router_bars(&g_router, g, NULL, a)); /* it may, later */
    a->in_use = 0;

    const struct router_try tried = {.serial = a->serial, .is_last = true};
    const struct router_wish again = {.tried = &tried, .n_tried = 1};

    ck_assert_str_eq(router_bars(&g_router, g, &again, a), "the call has failed there");
    router_done(&g_router);
}
END_TEST

/* ---------------------------------------------------------------- room, rates, pauses */

START_TEST(prompts_go_where_they_fit_if_that_is_checked)
{
    struct router_wish large = {.prompt_tokens = 5000}, huge = {.prompt_tokens = 50000};

    begin();

    struct deployment *small = with("small", 1, TERMS(.order = 1, .max_input_tokens = 4096));
    struct deployment *big = with("big", 1, TERMS(.order = 2, .max_input_tokens = 5000));

    commit();
    ck_assert_ptr_eq(look(&large), small); /* not asked for */
    g_router.policy.checks_context = true;
    ck_assert_ptr_eq(look(&large), big);
    ck_assert_ptr_eq(look(NULL), small);
    ck_assert_int_eq(refused(&huge, NULL), ERRCODE_CONTEXT_LENGTH);
    router_done(&g_router);
}
END_TEST

START_TEST(rates_are_limits_only_where_they_are_enforced)
{
    struct router_refusal refusal;
    char text[ROUTER_REFUSAL_BYTES];

    begin();

    struct deployment *d = with("d", 9, TERMS(.rpm = 2, .enforces_rates = true));

    add(&g_plan, "free", "free", 9);
    set_terms(g_plan.groups[1].deployments[0], TERMS(.rpm = 1));

    struct model_group *g = commit();
    struct model_group *unlimited = router_resolve(&g_router, str_from("free"));

    for (int i = 0; i < 9; i++) {
        ck_assert_ptr_nonnull(router_pick(&g_router, unlimited, NULL, NOW));
    }
    unlimited->deployments[0]->in_use = 0;
    ck_assert_ptr_eq(look(NULL), d);
    ck_assert_ptr_eq(look(NULL), d);
    ck_assert_ptr_null(look(NULL));
    ck_assert_int_eq(refused(NULL, &refusal), ERRCODE_NO_DEPLOYMENTS);
    ck_assert_uint_eq(refusal.retry_after_usec, 30 * SEC);
    ck_assert_uint_eq(model_group_resumes_at(g, NOW), NOW + 30 * SEC);
    ck_assert_ptr_nonnull(
        strstr(router_refusal_describe(&g_router, router_resolve(&g_router, STR_LIT("m")), &refusal,
                                       NOW, text),
               "rpm or tpm"));
    ck_assert_ptr_null(router_pick(&g_router, g, NULL, NOW + 30 * SEC - 1));
    ck_assert_ptr_eq(router_pick(&g_router, g, NULL, NOW + 30 * SEC), d);
    router_release(&g_router, d, NOW);
    router_done(&g_router);
}
END_TEST

START_TEST(tokens_count_when_they_are_known)
{
    begin();

    struct deployment *d = with("d", 9, TERMS(.tpm = 600, .enforces_rates = true));
    struct model_group *g = commit();

    ck_assert_ptr_eq(look(NULL), d);
    router_note_tokens(d, 600, NOW);
    ck_assert_ptr_null(look(NULL));
    ck_assert_uint_eq(model_group_resumes_at(g, NOW), NOW + SEC / 10);
    router_note_tokens(d, 60, NOW);
    ck_assert_uint_eq(model_group_resumes_at(g, NOW), NOW + 6 * SEC + SEC / 10);
    router_done(&g_router);
}
END_TEST

START_TEST(all_pause_and_the_soonest_is_told)
{
    struct router_refusal refusal;
    char text[ROUTER_REFUSAL_BYTES];

    begin();

    struct deployment *a = with("a", 4, TERMS(0));
    struct deployment *b = with("b", 1, TERMS(.cooldown_usec = 90 * SEC));

    add_off(&g_plan, "m", "off");

    struct model_group *g = commit();

    ck_assert_int_eq(refused(NULL, NULL), ERRCODE_NONE);
    ck_assert_uint_eq(model_group_resumes_at(g, NOW), USEC_NEVER);
    ck_assert(router_note_end(&g_router, a, ERRCODE_UPSTREAM_RATE_LIMITED, 0, NOW));
    ck_assert_ptr_eq(look(NULL), b);
    ck_assert_int_eq(refused(NULL, NULL), ERRCODE_NONE);
    b->in_use = 1;
    ck_assert_ptr_null(look(NULL)); /* b is busy: a is still left alone */
    ck_assert_uint_eq(model_group_resumes_at(g, NOW), NOW + 5 * SEC);
    ck_assert_uint_eq(model_group_resumes_at(g, NOW + 5 * SEC), USEC_NEVER); /* over is over */
    b->in_use = 0;
    ck_assert(router_note_end(&g_router, b, ERRCODE_MODEL_NOT_FOUND, 0, NOW));
    ck_assert_int_eq(refused(NULL, &refusal), ERRCODE_NO_DEPLOYMENTS);
    ck_assert_ptr_eq(refusal.deployment, a);
    ck_assert_uint_eq(refusal.retry_after_usec, 5 * SEC);
    ck_assert_str_eq(router_refusal_describe(&g_router, router_resolve(&g_router, STR_LIT("m")),
                                             &refusal, NOW, text),
                     "no deployment of this model takes calls now (a): cooling down for 5 s after: "
                     "rate limit");
    a->in_use = 4;
    ck_assert_uint_eq(model_group_resumes_at(g, NOW), NOW + 90 * SEC); /* no use without a slot */
    a->in_use = 0;
    open_until(a, NOW + 120 * SEC);
    ck_assert_int_eq(refused(NULL, &refusal), ERRCODE_NO_DEPLOYMENTS);
    ck_assert_ptr_eq(refusal.deployment, b);
    ck_assert_uint_eq(refusal.retry_after_usec, 60 * SEC); /* what clients still take */
    open_until(b, NOW + 3 * SEC);
    ck_assert_int_eq(refused(NULL, &refusal), ERRCODE_UPSTREAM_BREAKER);
    ck_assert_ptr_eq(refusal.deployment, b);
    router_done(&g_router);
}
END_TEST

START_TEST(breakers_turn_calls_to_the_others)
{
    begin();

    struct deployment *a = with("a", 4, TERMS(0));
    struct deployment *b = with("b", 1, TERMS(0));
    struct model_group *g = commit();

    open_until(a, NOW + 100);
    for (int i = 0; i < 3; i++) {
        ck_assert_ptr_eq(pick(NULL), b);
        ck_assert_ptr_null(pick(NULL));
        ck_assert_int_eq(refused(NULL, NULL), ERRCODE_NONE);
        ck_assert_uint_eq(model_group_resumes_at(g, NOW), NOW + 100);
        router_release(&g_router, b, NOW);
    }
    open_until(b, NOW + 10 * SEC);
    ck_assert_ptr_null(pick(NULL));
    ck_assert_ptr_eq(router_pick(&g_router, g, NULL, NOW + 100), a);
    router_release(&g_router, a, NOW);
    router_done(&g_router);
}
END_TEST

START_TEST(a_lone_deployment_goes_on_after_a_rate_limit)
{
    begin();

    struct deployment *d = with("d", 1, TERMS(0));

    add_off(&g_plan, "m", "off"); /* is no alternative */
    commit();
    ck_assert(!router_note_end(&g_router, d, ERRCODE_UPSTREAM_RATE_LIMITED, 60 * SEC, NOW));
    ck_assert_ptr_eq(look(NULL), d);
    router_done(&g_router);
}
END_TEST

START_TEST(all_off_is_misconfigured)
{
    begin();
    add_off(&g_plan, "m", "off");
    commit();
    ck_assert_ptr_null(look(NULL));
    ck_assert_int_eq(refused(NULL, NULL), ERRCODE_MISCONFIGURED);
    router_done(&g_router);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, the_lowest_order_serves_and_is_waited_for);
    tcase_add_test(tc, what_failed_the_call_is_the_last_choice);
    tcase_add_test(tc, who_must_not_be_asked_again_is_not);
    tcase_add_test(tc, a_call_that_must_stay_stays);
    tcase_add_test(tc, local_only_is_never_left);
    tcase_add_test(tc, why_one_is_never_given_a_call);
    tcase_add_test(tc, prompts_go_where_they_fit_if_that_is_checked);
    tcase_add_test(tc, rates_are_limits_only_where_they_are_enforced);
    tcase_add_test(tc, tokens_count_when_they_are_known);
    tcase_add_test(tc, all_pause_and_the_soonest_is_told);
    tcase_add_test(tc, breakers_turn_calls_to_the_others);
    tcase_add_test(tc, a_lone_deployment_goes_on_after_a_rate_limit);
    tcase_add_test(tc, all_off_is_misconfigured);
}
TEST_MAIN("router_pick", add_tests)
