/* Calls are led past servers that a check found dead, and never kept from them. */
#include "router_support.h"

#define NOW (1000 * SEC)

static struct router g_router;
static struct router_plan g_plan;
static bool g_fails; /* of those that have doubted_ops */
static const char *g_trouble;

static bool checked(const struct backend *b, struct backend_check *ret)
{
    *ret = (struct backend_check) {.at_usec = NOW, .trouble = g_trouble, .is_failing = g_fails};
    return true;
}

static bool not_checked(const struct backend *b, struct backend_check *ret)
{
    return false;
}

static const struct backend_ops doubted_ops = {.free = router_backend_free, .checked = checked};
static const struct backend_ops quiet_ops = {.free = router_backend_free, .checked = not_checked};

static struct deployment *with(const char *id, unsigned order, const struct backend_ops *ops)
{
    struct deployment *d = add(&g_plan, "m", id, 1);

    plan_terms(d, (struct deployment_terms) {.order = order,
                                             .max_retries = FAIL_POLICY_UNSET,
                                             .cooldown_usec = USEC_NEVER});
    if (ops) {
        d->backend->ops = ops;
    }
    return d;
}

static void setup(void)
{
    router_init(&g_router);
    g_plan = (struct router_plan) {0};
    router_policy_init(&g_plan.policy);
    g_fails = true;
    g_trouble = "gone";
}

static void teardown(void)
{
    router_done(&g_router);
}

static struct deployment *look(const struct router_wish *wish)
{
    struct deployment *d =
        router_pick(&g_router, router_resolve(&g_router, str_from("m")), wish, NOW);

    if (d) {
        router_release(&g_router, d, NOW);
    }
    return d;
}

static struct router_outlook ahead(const struct router_wish *wish)
{
    struct router_outlook ret = {0};

    ck_assert(
        router_look_ahead(&g_router, router_resolve(&g_router, str_from("m")), wish, NOW, &ret));
    return ret;
}

START_TEST(the_next_order_goes_before_it)
{
    struct deployment *dead = with("dead", 1, &doubted_ops), *well = with("well", 2, &quiet_ops);

    router_commit(&g_router, &g_plan);
    ck_assert_ptr_eq(look(NULL), well);
    ck_assert_uint_eq(ahead(NULL).order, 2);
    ck_assert(!ahead(NULL).is_doubted && !ahead(NULL).is_tried);
    g_fails = false; /* a refused key, say: told, and no reason to go elsewhere */
    ck_assert_ptr_eq(look(NULL), dead);
    ck_assert_uint_eq(ahead(NULL).order, 1);
}
END_TEST

START_TEST(who_is_well_is_waited_for)
{
    struct deployment *dead = with("dead", 0, &doubted_ops), *well = with("well", 0, NULL);
    struct model_group *g;

    router_commit(&g_router, &g_plan);
    g = router_resolve(&g_router, str_from("m"));
    ck_assert_ptr_eq(router_pick(&g_router, g, NULL, NOW), well);
    ck_assert_ptr_null(router_pick(&g_router, g, NULL, NOW)); /* busy, and the better one */
    g_fails = false;
    ck_assert_ptr_eq(router_pick(&g_router, g, NULL, NOW), dead);
    router_release(&g_router, dead, NOW);
    router_release(&g_router, well, NOW);
}
END_TEST

START_TEST(where_there_is_nobody_else_it_is_asked)
{
    struct deployment *dead = with("dead", 0, &doubted_ops), *paused = with("paused", 0, NULL);

    router_commit(&g_router, &g_plan);
    open_until(paused, NOW + SEC);
    ck_assert_ptr_eq(look(NULL), dead);
    ck_assert(ahead(NULL).is_doubted);
    ck_assert_ptr_null(
        deployment_describe_pause(dead, true, NOW, (char[DEPLOYMENT_TEXT_BYTES]) {0}));
}
END_TEST

/* All others have failed the call: a check may be wrong, or old. */
START_TEST(it_goes_before_those_that_failed_the_call)
{
    struct deployment *dead = with("dead", 1, &doubted_ops), *well = with("well", 2, NULL);
    struct router_try tried[2] = {0};
    struct router_wish wish = {.tried = tried, .n_tried = 1};

    router_commit(&g_router, &g_plan);
    tried[0].serial = well->serial;
    ck_assert_ptr_eq(look(&wish), dead);
    ck_assert(ahead(&wish).is_doubted && !ahead(&wish).is_tried);
    tried[1].serial = dead->serial;
    wish.n_tried = 2;
    ck_assert_ptr_eq(look(&wish), well);
    ck_assert(!ahead(&wish).is_doubted && ahead(&wish).is_tried);
}
END_TEST

START_TEST(what_a_check_showed)
{
    struct deployment *dead = with("dead", 0, &doubted_ops), *quiet = with("quiet", 0, &quiet_ops),
                      *plain = with("plain", 0, NULL), *off = add_off(&g_plan, "m", "off");
    struct backend_check check;

    router_commit(&g_router, &g_plan);
    ck_assert(deployment_checked(dead, &check) && deployment_is_doubted(dead));
    ck_assert_str_eq(check.trouble, "gone");
    ck_assert(!deployment_checked(quiet, &check) && !deployment_is_doubted(quiet));
    ck_assert(!deployment_checked(plain, &check) && !deployment_is_doubted(plain));
    ck_assert(!deployment_checked(off, &check) && !deployment_is_doubted(off));
}
END_TEST

/* What had to do with its absence is over; the others are not its. */
START_TEST(a_server_that_is_back)
{
    static const enum fail_cause over[] = {FAIL_SERVER, FAIL_TIMEOUT, FAIL_UNAVAILABLE};
    static const enum fail_cause stays[] = {FAIL_RATE_LIMIT, FAIL_AUTHENTICATION, FAIL_NOT_FOUND};
    struct deployment *back = with("back", 0, NULL), *other = with("other", 0, NULL);

    free(back->api_base);
    back->api_base = strdup("http://h:1");
    router_commit(&g_router, &g_plan);
    for (size_t i = 0; i < ARRAY_LEN(over); i++) {
        back->cooldown = other->cooldown =
            (struct cooldown) {.until_usec = NOW + 9 * SEC, .cause = over[i]};
        router_server_is_back(&g_router, "http://h:1", NOW);
        ck_assert_int_eq(deployment_paused_by(back, NOW, NULL), PAUSE_NONE);
        ck_assert_int_eq(deployment_paused_by(other, NOW, NULL), PAUSE_COOLDOWN);
    }
    for (size_t i = 0; i < ARRAY_LEN(stays); i++) {
        back->cooldown = (struct cooldown) {.until_usec = NOW + 9 * SEC, .cause = stays[i]};
        router_server_is_back(&g_router, "http://h:1", NOW);
        ck_assert_int_eq(deployment_paused_by(back, NOW, NULL), PAUSE_COOLDOWN);
    }
    back->cooldown = (struct cooldown) {.until_usec = NOW - 1, .cause = FAIL_SERVER};
    open_until(back, NOW + 9 * SEC);
    router_server_is_back(&g_router, "http://h:1", NOW);
    ck_assert_int_eq(deployment_paused_by(back, NOW, NULL), PAUSE_NONE); /* the probe */
    ck_assert_uint_eq(back->cooldown.until_usec, NOW - 1);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, the_next_order_goes_before_it);
    tcase_add_test(tc, who_is_well_is_waited_for);
    tcase_add_test(tc, where_there_is_nobody_else_it_is_asked);
    tcase_add_test(tc, it_goes_before_those_that_failed_the_call);
    tcase_add_test(tc, what_a_check_showed);
    tcase_add_test(tc, a_server_that_is_back);
}

TEST_MAIN("router_doubt", add_tests)
