/* How quick a deployment is expected to be. */
#include "base/clock.h"
#include "core/latency.h"
#include "support.h"

#define SEC USEC_PER_SEC
#define NOW (1000 * SEC)

START_TEST(follows_what_it_is_told)
{
    struct latency l = {0};

    ck_assert_uint_eq(latency_expected(&l, NOW), 0);
    latency_note(&l, SEC, NOW);
    ck_assert_uint_eq(latency_expected(&l, NOW), SEC); /* the first counts in full */
    latency_note(&l, 5 * SEC, NOW);
    ck_assert_uint_eq(latency_expected(&l, NOW), 2 * SEC);
    for (int i = 0; i < 50; i++) {
        latency_note(&l, 5 * SEC, NOW);
    }
    ck_assert_uint_ge(latency_expected(&l, NOW), 5 * SEC - 10);
}
END_TEST

START_TEST(forgets)
{
    struct latency l = {0};

    latency_note(&l, 8 * SEC, NOW);
    ck_assert_uint_eq(latency_expected(&l, NOW + 59 * SEC), 8 * SEC);
    ck_assert_uint_eq(latency_expected(&l, NOW + 60 * SEC), 4 * SEC);
    ck_assert_uint_eq(latency_expected(&l, NOW + 180 * SEC), SEC);
    ck_assert_uint_eq(latency_expected(&l, NOW + 64 * 60 * SEC), 0);
    ck_assert_uint_eq(latency_expected(&l, USEC_NEVER), 0);
    ck_assert_uint_eq(latency_expected(&l, NOW - SEC), 8 * SEC); /* a "now" from before */
}
END_TEST

START_TEST(stays_in_bounds)
{
    struct latency l = {0};

    for (int i = 0; i < 100; i++) {
        latency_note(&l, UINT64_MAX, NOW);
    }
    ck_assert_uint_eq(latency_expected(&l, NOW), 3600 * SEC);
    latency_note(&l, 0, NOW);
    ck_assert_uint_eq(latency_expected(&l, NOW), 2700 * SEC);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, follows_what_it_is_told);
    tcase_add_test(tc, forgets);
    tcase_add_test(tc, stays_in_bounds);
}
TEST_MAIN("latency", add_tests)
