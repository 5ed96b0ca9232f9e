/* Which deployments a call's tags leave over: what is picked of them, and what is refused. */
#include "core/router_tags.h"

#include "router_pick_support.h"

/* The ids of those that may take a call with these tags, in the order of the file: "ab", "-". */
static const char *eligible(const char *const *tags, size_t n_tags)
{
    static char ids[8];
    struct model_group *g = router_resolve(&g_router, str_from("m"));
    struct str words[REQUEST_MAX_TAGS];
    struct router_wish wish = {.tags = words, .n_tags = n_tags};
    size_t n = 0;

    for (size_t i = 0; i < n_tags; i++) {
        words[i] = str_from(tags[i]);
    }
    for (size_t i = 0; i < g->n_deployments; i++) {
        struct deployment *d = g->deployments[i];

        for (size_t k = 0; k < g->n_deployments; k++) {
            g->deployments[k]->in_use = k == i ? 0 : 1;
        }
        if (look(&wish) == d) {
            ids[n++] = d->id[0];
        }
    }
    for (size_t k = 0; k < g->n_deployments; k++) {
        g->deployments[k]->in_use = 0;
    }
    ids[n] = '\0';
    return n > 0 ? ids : "-";
}

#define ELIGIBLE(...)                                                                              \
    eligible((const char *const[]) {__VA_ARGS__},                                                  \
             sizeof((const char *const[]) {__VA_ARGS__}) / sizeof(char *))

static void tagged(bool has_default)
{
    static const char *const free_tags[] = {"free", "eu"}, *const paid[] = {"paid"},
                             *const both[] = {"paid", "eu"}, *const fallback[] = {"default"};

    begin();
    g_plan.policy.has_tag_filter = true;
    g_plan.policy.tags_match_any = true;
    with("a", 1, TERMS(.tags = free_tags, .n_tags = 2));
    with("b", 1, TERMS(.tags = paid, .n_tags = 1));
    with("c", 1, TERMS(.tags = both, .n_tags = 2));
    with("d", 1, TERMS(0));
    if (has_default) {
        with("e", 1, TERMS(.tags = fallback, .n_tags = 1));
    }
    commit();
}

START_TEST(what_tags_mean)
{
    static const struct {
        const char *tag;
        enum tag_rule rule, rule_with_default;
    } cases[] = {
        {"paid", TAGS_MATCH, TAGS_MATCH},      {"other", TAGS_MATCH, TAGS_DEFAULT},
        {"&paid", TAGS_REQUIRE, TAGS_REQUIRE}, {"!paid", TAGS_DEFAULT, TAGS_DEFAULT},
        {"&", TAGS_DEFAULT, TAGS_DEFAULT},
    };

    for (int has_default = 0; has_default < 2; has_default++) {
        tagged(has_default);
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            struct str tag = str_from(cases[i].tag);
            struct router_wish wish = {.tags = &tag, .n_tags = 1};

            ck_assert_int_eq(router_tag_rule(&g_router, &g_router.groups[0], &wish),
                             has_default ? cases[i].rule_with_default : cases[i].rule);
        }
        router_done(&g_router);
    }
}
END_TEST

START_TEST(tags_choose)
{
    tagged(false);
    ck_assert_str_eq(ELIGIBLE("free"), "a");
    ck_assert_str_eq(ELIGIBLE("paid"), "bc");
    ck_assert_str_eq(ELIGIBLE("paid", "eu"), "abc"); /* any */
    ck_assert_str_eq(ELIGIBLE("paid", "nobody's"), "bc");
    ck_assert_str_eq(ELIGIBLE("nobody's"), "-");
    ck_assert_str_eq(ELIGIBLE("Paid"), "-");
    ck_assert_str_eq(eligible(NULL, 0), "abcd"); /* no default: anywhere */
    g_router.policy.tags_match_any = false;
    ck_assert_str_eq(ELIGIBLE("paid", "eu"), "c"); /* all */
    ck_assert_str_eq(ELIGIBLE("paid", "nobody's"), "-");
    g_router.policy.has_tag_filter = false;
    ck_assert_str_eq(ELIGIBLE("nobody's"), "abcd"); /* not asked for */
    router_done(&g_router);
}
END_TEST

START_TEST(the_default_is_for_calls_without_known_tags)
{
    tagged(true);
    ck_assert_str_eq(eligible(NULL, 0), "e");
    ck_assert_str_eq(ELIGIBLE("nobody's"), "e");
    ck_assert_str_eq(ELIGIBLE("paid"), "bc");
    ck_assert_str_eq(ELIGIBLE("paid", "nobody's"), "bc");
    g_router.policy.tags_match_any = false;
    ck_assert_str_eq(ELIGIBLE("paid", "nobody's"),
                     "-"); /* a known tag does not end at the default */
    router_done(&g_router);
}
END_TEST

START_TEST(signs_exclude_and_require)
{
    tagged(false);
    ck_assert_str_eq(ELIGIBLE("!paid"), "ad");
    ck_assert_str_eq(ELIGIBLE("&eu"), "ac");
    ck_assert_str_eq(ELIGIBLE("paid", "&eu"), "c");
    ck_assert_str_eq(ELIGIBLE("eu", "!free"), "c");
    ck_assert_str_eq(ELIGIBLE("&eu", "!eu"), "-");
    ck_assert_str_eq(ELIGIBLE("!", "&"), "abcd"); /* say nothing */
    router_done(&g_router);
    tagged(true);
    ck_assert_str_eq(ELIGIBLE("!paid"), "e");
    ck_assert_str_eq(ELIGIBLE("&eu"), "ac");
    ck_assert_str_eq(ELIGIBLE("!default"), "-");
    router_done(&g_router);
}
END_TEST

START_TEST(tags_that_match_nobody_are_refused_and_those_that_pause_are_not)
{
    struct str paid = STR_LIT("paid"), other = STR_LIT("other");
    struct router_wish wish = {.tags = &other, .n_tags = 1};
    struct router_refusal refusal;
    char text[ROUTER_REFUSAL_BYTES];

    tagged(false);
    ck_assert_int_eq(refused(&wish, &refusal), ERRCODE_NO_MATCH);
    ck_assert_uint_eq(refusal.retry_after_usec, 0);
    ck_assert_ptr_null(refusal.deployment);
    ck_assert_str_eq(router_refusal_describe(&g_router, router_resolve(&g_router, STR_LIT("m")),
                                             &refusal, NOW, text),
                     errcode_info(ERRCODE_NO_MATCH)->text);
    wish.tags = &paid;
    ck_assert_int_eq(refused(&wish, NULL), ERRCODE_NONE);
    for (size_t i = 1; i <= 2; i++) { /* b and c */
        (void) router_note_end(&g_router, router_resolve(&g_router, str_from("m"))->deployments[i],
                               ERRCODE_UPSTREAM_AUTH, 0, NOW);
    }
    ck_assert_int_eq(refused(&wish, NULL), ERRCODE_NO_DEPLOYMENTS);
    ck_assert_int_eq(refused(NULL, NULL), ERRCODE_NONE);
    router_done(&g_router);
}
END_TEST

START_TEST(who_asks_by_id_wants_that_one)
{
    struct str other = STR_LIT("other");
    struct router_wish wish = {.tags = &other, .n_tags = 1};

    tagged(false);
    struct deployment *b =
        router_pick(&g_router, router_resolve(&g_router, str_from("b")), &wish, NOW);

    ck_assert_str_eq(b->id, "b");
    router_release(&g_router, b, NOW);
    router_done(&g_router);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, what_tags_mean);
    tcase_add_test(tc, tags_choose);
    tcase_add_test(tc, the_default_is_for_calls_without_known_tags);
    tcase_add_test(tc, signs_exclude_and_require);
    tcase_add_test(tc, tags_that_match_nobody_are_refused_and_those_that_pause_are_not);
    tcase_add_test(tc, who_asks_by_id_wants_that_one);
}
TEST_MAIN("router_tags", add_tests)
