/*
 * burst: when many of the same are a burst, and when it is over.
 */
#include "support.h"

#include "base/clock.h"
#include "burst.h"

#define SEC USEC_PER_SEC

static const struct burst_limits limits = {3, 10 * SEC};

START_TEST(begins_with_the_nth)
{
    struct burst b = {0};

    ck_assert(!burst_count(&b, &limits, 0, 100 * SEC));
    ck_assert_uint_eq(burst_over_at(&b, &limits), USEC_NEVER);
    ck_assert(!burst_count(&b, &limits, 1, 101 * SEC));
    ck_assert(burst_count(&b, &limits, 1, 110 * SEC - 1));
    ck_assert(!burst_count(&b, &limits, 3, 111 * SEC)); /* told once */
    ck_assert_uint_eq(b.n_all, 4);
    ck_assert_uint_eq(b.n[0], 1);
    ck_assert_uint_eq(b.n[1], 2);
    ck_assert_uint_eq(b.n[3], 1);
    ck_assert_uint_eq(burst_over_at(&b, &limits), 121 * SEC);
}
END_TEST

/* Two now and then are none, however often. */
START_TEST(slow_ones_are_no_burst)
{
    struct burst b = {0};

    for (unsigned i = 0; i < 100; i++) {
        ck_assert(!burst_count(&b, &limits, 0, i * 10 * SEC));
        ck_assert(!burst_count(&b, &limits, 0, i * 10 * SEC + 9 * SEC));
    }
    ck_assert_uint_eq(b.n_all, 2);
}
END_TEST

START_TEST(is_over_after_a_quiet_window)
{
    struct burst b = {0};

    for (unsigned i = 0; i < 5; i++) {
        (void) burst_count(&b, &limits, 2, (100 + 8 * i) * SEC); /* not three in any ten seconds */
    }
    ck_assert(!b.is_on);
    for (unsigned i = 0; i < 5; i++) {
        (void) burst_count(&b, &limits, 2, (200 + 4 * i) * SEC);
    }
    ck_assert(b.is_on);
    ck_assert(!burst_end(&b, &limits, 226 * SEC - 1));
    ck_assert(burst_end(&b, &limits, 226 * SEC));
    ck_assert(!burst_end(&b, &limits, 999 * SEC)); /* once */
    ck_assert_uint_eq(b.n_all, 5);
    ck_assert_uint_eq(b.last_at_usec - b.began_at_usec, 16 * SEC);
    ck_assert_uint_eq(burst_over_at(&b, &limits), USEC_NEVER);

    /* the next is counted from the beginning */
    ck_assert(!burst_count(&b, &limits, 0, 227 * SEC));
    ck_assert_uint_eq(b.n_all, 1);
    ck_assert_uint_eq(b.n[2], 0);
    ck_assert(!burst_count(&b, &limits, 0, 228 * SEC));
    ck_assert(burst_count(&b, &limits, 0, 229 * SEC));
}
END_TEST

START_TEST(from_the_first_microsecond)
{
    static const struct burst_limits one = {1, 10 * SEC};
    struct burst b = {0};

    ck_assert(!burst_end(&b, &limits, 0));
    ck_assert(burst_count(&b, &one, 0, 0));
    ck_assert(burst_end(&b, &one, 10 * SEC));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, begins_with_the_nth);
    tcase_add_test(tc, slow_ones_are_no_burst);
    tcase_add_test(tc, is_over_after_a_quiet_window);
    tcase_add_test(tc, from_the_first_microsecond);
}

TEST_MAIN("burst", add_tests)
