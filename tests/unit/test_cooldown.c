/* When a deployment that fails is left alone, and for how long. */
#include "base/clock.h"
#include "core/cooldown.h"
#include "support.h"

#define SEC  USEC_PER_SEC
#define NOW  (1000 * SEC)
#define NONE FAIL_POLICY_UNSET

static struct cooldown_rules g_rules;
static struct cooldown g_cooldown;

static void set_up(void)
{
    g_rules = (struct cooldown_rules) {.cooldown_usec = 5 * SEC, .allowed_fails = NONE};
    g_rules.allowed_by_cause.otherwise = NONE;
    for (int i = 0; i < _FAIL_CAUSE_MAX; i++) {
        g_rules.allowed_by_cause.by_cause[i] = NONE;
    }
    g_cooldown = (struct cooldown) {0};
}

static bool fails(enum fail_cause cause, uint64_t now)
{
    return cooldown_failed(&g_cooldown, &g_rules,
                           &(struct cooldown_failure) {.cause = cause, .own_usec = USEC_NEVER},
                           now);
}

static bool fails_alone(enum fail_cause cause, uint64_t now)
{
    return cooldown_failed(
        &g_cooldown, &g_rules,
        &(struct cooldown_failure) {.cause = cause, .own_usec = USEC_NEVER, .is_alone = true}, now);
}

START_TEST(what_will_fail_again_pauses_at_once)
{
    static const enum fail_cause certain[] = {FAIL_RATE_LIMIT, FAIL_AUTHENTICATION, FAIL_NOT_FOUND};

    for (size_t i = 0; i < ARRAY_LEN(certain); i++) {
        set_up();
        ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW), 0);
        ck_assert(fails(certain[i], NOW));
        ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW), 5 * SEC);
        ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW + 5 * SEC - 1), 1);
        ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW + 5 * SEC), 0);
        ck_assert_int_eq(g_cooldown.cause, certain[i]);
    }
}
END_TEST

START_TEST(what_is_wrong_with_a_request_pauses_nobody)
{
    set_up();
    g_rules.allowed_fails = 0;
    for (int i = 0; i < 2000; i++) {
        ck_assert(!fails(FAIL_BAD_REQUEST, NOW));
        ck_assert(!fails(FAIL_CONTENT_POLICY, NOW));
        ck_assert(!fails(_FAIL_CAUSE_MAX, NOW)); /* of sluice's or the caller's own making */
    }
    ck_assert_uint_eq(g_cooldown.n_failed, 0);
}
END_TEST

START_TEST(more_than_half_of_five_in_a_minute)
{
    set_up();
    for (int i = 0; i < 4; i++) {
        ck_assert(!fails(FAIL_SERVER, NOW)); /* a few say nothing */
    }
    ck_assert(fails(FAIL_TIMEOUT, NOW));

    set_up();
    for (int i = 0; i < 3; i++) {
        cooldown_succeeded(&g_cooldown, NOW);
    }
    ck_assert(!fails(FAIL_SERVER, NOW));
    ck_assert(!fails(FAIL_UNAVAILABLE, NOW));
    ck_assert(!fails(FAIL_SERVER, NOW)); /* a half is not more than a half */
    ck_assert(fails(FAIL_SERVER, NOW));
}
END_TEST

START_TEST(a_minute_forgets)
{
    set_up();
    for (int i = 0; i < 4; i++) {
        ck_assert(!fails(FAIL_SERVER, NOW + (uint64_t) i * 15 * SEC));
    }
    ck_assert(!fails(FAIL_SERVER, NOW + 60 * SEC)); /* the first of the next */
    ck_assert_uint_eq(g_cooldown.n_failed, 1);
    ck_assert(!fails(FAIL_SERVER, NOW)); /* a clock that runs backwards stands still */
    ck_assert_uint_eq(g_cooldown.n_failed, 2);
}
END_TEST

START_TEST(a_pause_has_to_be_earned_again)
{
    set_up();
    for (int i = 0; i < 5; i++) {
        (void) fails(FAIL_SERVER, NOW);
    }
    ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW), 5 * SEC);
    ck_assert(!fails(FAIL_SERVER, NOW + 6 * SEC));
    ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW + 6 * SEC), 0);
}
END_TEST

START_TEST(who_is_alone_goes_on)
{
    set_up();
    ck_assert(!fails_alone(FAIL_RATE_LIMIT, NOW));
    ck_assert(!fails_alone(FAIL_AUTHENTICATION, NOW));
    for (int i = 2; i < COOLDOWN_ALONE_CALLS - 1; i++) {
        ck_assert(!fails_alone(FAIL_SERVER, NOW));
    }
    ck_assert(fails_alone(FAIL_SERVER, NOW));

    set_up();
    cooldown_succeeded(&g_cooldown, NOW);
    for (int i = 0; i < 2 * COOLDOWN_ALONE_CALLS; i++) {
        ck_assert(!fails_alone(FAIL_SERVER, NOW)); /* one was answered */
    }
}
END_TEST

START_TEST(allowed_fails_replace_the_share)
{
    set_up();
    g_rules.allowed_fails = 2;
    ck_assert(!fails(FAIL_RATE_LIMIT, NOW));
    ck_assert(!fails(FAIL_SERVER, NOW));
    ck_assert(fails(FAIL_SERVER, NOW));

    set_up();
    g_rules.allowed_fails = 0;
    ck_assert(fails_alone(FAIL_SERVER, NOW)); /* whoever says so means it, also of a lone one */

    set_up();
    g_rules.allowed_fails = 1;
    g_rules.allowed_by_cause.by_cause[FAIL_TIMEOUT] = 0;
    g_rules.allowed_by_cause.by_cause[FAIL_SERVER] = 1000;
    ck_assert(!fails(FAIL_SERVER, NOW));
    ck_assert(!fails(FAIL_SERVER, NOW));
    ck_assert(fails(FAIL_RATE_LIMIT, NOW)); /* the third, and one is allowed */
    ck_assert(fails(FAIL_TIMEOUT, NOW + 60 * SEC));

    set_up();
    g_rules.allowed_by_cause.by_cause[FAIL_TIMEOUT] = 0;
    for (int i = 0; i < COOLDOWN_DEFAULT_FAILS; i++) {
        ck_assert(!fails(FAIL_RATE_LIMIT, NOW));
    }
    ck_assert(fails(FAIL_RATE_LIMIT, NOW));
}
END_TEST

static uint64_t paused_for(uint64_t own_usec, uint64_t retry_after_usec)
{
    struct cooldown_failure failure = {
        .cause = FAIL_RATE_LIMIT, .own_usec = own_usec, .retry_after_usec = retry_after_usec};

    g_cooldown = (struct cooldown) {0};
    (void) cooldown_failed(&g_cooldown, &g_rules, &failure, NOW);
    return cooldown_left_usec(&g_cooldown, NOW);
}

START_TEST(how_long)
{
    set_up();
    ck_assert_uint_eq(paused_for(USEC_NEVER, 0), 5 * SEC);
    ck_assert_uint_eq(paused_for(SEC, 0), SEC);
    ck_assert_uint_eq(paused_for(SEC, 3 * SEC), 3 * SEC);
    ck_assert_uint_eq(paused_for(USEC_NEVER, SEC), 5 * SEC); /* the longer one */
    ck_assert_uint_eq(paused_for(0, 0), 0);
    ck_assert_uint_eq(paused_for(0, 30 * SEC), 0); /* never is never */
    ck_assert_uint_eq(paused_for(SEC, USEC_NEVER - 1), COOLDOWN_MAX_USEC);
    ck_assert_uint_eq(paused_for(7200 * SEC, 0), 7200 * SEC); /* the operator may ask for more */
    g_rules.cooldown_usec = 0;
    ck_assert_uint_eq(paused_for(USEC_NEVER, 30 * SEC), 0);
    ck_assert_uint_eq(paused_for(SEC, 0), SEC);
    g_rules.is_off = true;
    ck_assert_uint_eq(paused_for(SEC, 0), 0);
}
END_TEST

START_TEST(calls_of_before_a_pause_may_lengthen_and_not_shorten_it)
{
    set_up();
    ck_assert(fails(FAIL_RATE_LIMIT, NOW));
    ck_assert(fails(FAIL_RATE_LIMIT, NOW + SEC));
    ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW + SEC), 5 * SEC);

    struct cooldown_failure failure = {.cause = FAIL_RATE_LIMIT, .own_usec = SEC};

    ck_assert(!cooldown_failed(&g_cooldown, &g_rules, &failure, NOW + SEC));
    ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW + SEC), 5 * SEC);
    cooldown_succeeded(&g_cooldown, NOW + SEC);
    ck_assert_uint_eq(cooldown_left_usec(&g_cooldown, NOW + SEC), 5 * SEC);
}
END_TEST

START_TEST(every_cause_has_a_name)
{
    for (int i = 0; i < _FAIL_CAUSE_MAX; i++) {
        ck_assert_uint_gt(strlen(cooldown_cause_name((enum fail_cause) i)), 3);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, what_will_fail_again_pauses_at_once);
    tcase_add_test(tc, what_is_wrong_with_a_request_pauses_nobody);
    tcase_add_test(tc, more_than_half_of_five_in_a_minute);
    tcase_add_test(tc, a_minute_forgets);
    tcase_add_test(tc, a_pause_has_to_be_earned_again);
    tcase_add_test(tc, who_is_alone_goes_on);
    tcase_add_test(tc, allowed_fails_replace_the_share);
    tcase_add_test(tc, how_long);
    tcase_add_test(tc, calls_of_before_a_pause_may_lengthen_and_not_shorten_it);
    tcase_add_test(tc, every_cause_has_a_name);
}
TEST_MAIN("cooldown", add_tests)
