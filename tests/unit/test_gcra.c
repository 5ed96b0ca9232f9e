/*
 * gcra: rates under a clock of the test. What passes, when the next passes to the microsecond, what
 * a giving back undoes, and that neither extreme values nor a jumping clock break it.
 */
#include "core/gcra.h"

#include "base/clock.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define MIN   (60 * SEC)
#define START (1000 * SEC)

static struct gcra rate(uint64_t per_min)
{
    struct gcra g = {.per_min = 0};

    gcra_set_rate(&g, per_min, START);
    return g;
}

/* How many of one pass at once. */
static unsigned drain(struct gcra *g, uint64_t now)
{
    unsigned n = 0;

    while (gcra_wait_usec(g, 1, now) == 0) {
        gcra_take(g, 1, now);
        n++;
        ck_assert_uint_lt(n, 100000);
    }
    return n;
}

START_TEST(no_rate_limits_nothing)
{
    struct gcra g = {.per_min = 0};

    gcra_take(&g, GCRA_MAX, START);
    ck_assert_uint_eq(gcra_wait_usec(&g, UINT64_MAX, START), 0);
    ck_assert_uint_eq(gcra_left(&g, START), GCRA_MAX);
    ck_assert_uint_eq(gcra_full_usec(&g, START), 0);
    gcra_set_rate(&g, 1, START); /* what was taken without a rate is not held against anybody */
    ck_assert_uint_eq(gcra_left(&g, START), 1);
}
END_TEST

START_TEST(minute_at_once_then_one_by_one)
{
    struct gcra g = rate(6);

    ck_assert_uint_eq(gcra_left(&g, START), 6);
    ck_assert_uint_eq(drain(&g, START), 6);
    ck_assert_uint_eq(gcra_left(&g, START), 0);
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START), 10 * SEC);
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START + 10 * SEC - 1), 1);
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START + 10 * SEC), 0);
    ck_assert_uint_eq(gcra_wait_usec(&g, 2, START + 10 * SEC), 10 * SEC);
    ck_assert_uint_eq(drain(&g, START + 25 * SEC), 2);
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START + 25 * SEC), 5 * SEC); /* half a one is kept */
    ck_assert_uint_eq(gcra_full_usec(&g, START + 25 * SEC), 55 * SEC);
    ck_assert_uint_eq(drain(&g, START + 10 * MIN), 6); /* never more than a minute's */
}
END_TEST

START_TEST(waits_are_rounded_up_and_exact)
{
    static const uint64_t rates[] = {1, 3, 7, 59, 60, 61, 999983, 60000000, 77777777, GCRA_MAX};

    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        struct gcra g = rate(rates[i]);

        gcra_take(&g, rates[i], START);

        uint64_t wait = gcra_wait_usec(&g, 1, START);

        ck_assert_uint_eq(wait, (MIN + rates[i] - 1) / rates[i]);
        ck_assert_uint_eq(gcra_wait_usec(&g, 1, START + wait), 0);
        ck_assert_uint_gt(gcra_wait_usec(&g, 1, START + wait - 1), 0);
        ck_assert_uint_eq(gcra_full_usec(&g, START), MIN);
    }
}
END_TEST

/* Any minute holds at most twice the rate, and a long run not more than the rate and one burst. */
START_TEST(long_run_keeps_the_rate)
{
    struct gcra g = rate(30);
    unsigned n = 0;

    for (uint64_t t = 0; t < 60 * MIN; t += 77777) {
        n += drain(&g, START + t);
    }
    ck_assert_uint_le(n, 30 * 61);
    ck_assert_uint_ge(n, 30 * 61 - 1);
}
END_TEST

START_TEST(more_than_a_minute_never_fits)
{
    struct gcra g = rate(10);

    ck_assert_uint_eq(gcra_wait_usec(&g, 10, START), 0);
    ck_assert_uint_eq(gcra_wait_usec(&g, 11, START), USEC_NEVER);
    gcra_take(&g, 25, START); /* known only afterwards: it is paid off */
    ck_assert_uint_eq(gcra_left(&g, START), 0);
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START), MIN + 36 * SEC);
    ck_assert_uint_eq(gcra_wait_usec(&g, 0, START), MIN + 30 * SEC);
    ck_assert_uint_eq(gcra_wait_usec(&g, 0, START + MIN + 30 * SEC), 0);
}
END_TEST

/* Giving back is as if it had never been taken, also when much has flown off since. */
START_TEST(give_back_undoes)
{
    struct gcra a = rate(100), b = rate(100);

    gcra_take(&a, 80, START);
    gcra_take(&b, 20, START);
    gcra_give_back(&a, 60, START + 3 * SEC);
    ck_assert_uint_eq(gcra_full_usec(&a, START + 3 * SEC), gcra_full_usec(&b, START + 3 * SEC));
    gcra_give_back(&a, UINT64_MAX, START + 3 * SEC);
    ck_assert_uint_eq(gcra_left(&a, START + 3 * SEC), 100);
    gcra_give_back(&a, 5, START + 4 * SEC); /* never more than there was */
    ck_assert_uint_eq(gcra_left(&a, START + 4 * SEC), 100);
}
END_TEST

START_TEST(new_rate_keeps_what_was_taken)
{
    struct gcra g = rate(10);

    gcra_take(&g, 10, START);
    gcra_set_rate(&g, 60, START + 30 * SEC); /* five have flown off at the old rate */
    ck_assert_uint_eq(gcra_left(&g, START + 30 * SEC), 55);
    gcra_set_rate(&g, 6, START + 30 * SEC); /* five taken of six */
    ck_assert_uint_eq(gcra_left(&g, START + 30 * SEC), 1);
    gcra_set_rate(&g, 2, START + 30 * SEC); /* all of two taken, and no more than all */
    ck_assert_uint_eq(gcra_left(&g, START + 30 * SEC), 0);
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START + 30 * SEC), 30 * SEC);
    ck_assert_uint_eq(gcra_full_usec(&g, START + 30 * SEC), MIN);
    gcra_set_rate(&g, 0, START + 30 * SEC);
    ck_assert_uint_eq(gcra_wait_usec(&g, GCRA_MAX, START + 30 * SEC), 0);
}
END_TEST

/* Who took a minute's amount and then pauses for a minute may take the new one at once. */
START_TEST(a_lower_rate_makes_nobody_wait_beyond_a_minute)
{
    static const uint64_t rates[] = {1, 2, 3, 7, 59, 60, 1000, GCRA_MAX};

    for (size_t i = 0; i < ARRAY_LEN(rates); i++) {
        for (size_t k = 0; k <= i; k++) {
            struct gcra g = rate(rates[i]);

            gcra_take(&g, rates[i], START);
            gcra_set_rate(&g, rates[k], START);
            ck_assert_uint_eq(gcra_full_usec(&g, START), MIN);
            ck_assert_uint_eq(gcra_left(&g, START), 0);
            ck_assert_uint_eq(gcra_wait_usec(&g, rates[k], START + MIN), 0);
        }
    }
}
END_TEST

/* More was used than had been reserved: that wait neither grows nor goes away. */
START_TEST(a_lower_rate_keeps_the_wait_of_who_overdrew)
{
    struct gcra g = rate(7);

    gcra_take(&g, 35, START);
    gcra_set_rate(&g, 3, START);
    ck_assert_uint_eq(gcra_full_usec(&g, START), 5 * MIN);
    gcra_set_rate(&g, 1, START + MIN);
    ck_assert_uint_eq(gcra_full_usec(&g, START + MIN), 4 * MIN);
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START + MIN), 4 * MIN);
}
END_TEST

START_TEST(clock_may_jump)
{
    struct gcra g = rate(60);

    gcra_take(&g, 60, START);
    ck_assert_uint_eq(gcra_left(&g, START - 500 * SEC), 0); /* backwards: it stands still */
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START - 500 * SEC), 501 * SEC);
    gcra_take(&g, 1, 0);
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, START), 2 * SEC);
    ck_assert_uint_eq(drain(&g, UINT64_MAX - 1), 60); /* far ahead: no more than a minute's */
    ck_assert_uint_eq(gcra_wait_usec(&g, 1, UINT64_MAX - 1), SEC);
    gcra_take(&g, 1, UINT64_MAX);
    ck_assert_uint_eq(gcra_left(&g, UINT64_MAX), 0);
}
END_TEST

START_TEST(huge_values_saturate)
{
    struct gcra g = rate(UINT64_MAX);

    ck_assert_uint_eq(g.per_min, GCRA_MAX);
    ck_assert_uint_eq(gcra_wait_usec(&g, UINT64_MAX, START), 0); /* counts as the largest amount */
    for (int i = 0; i < 1000; i++) {
        gcra_take(&g, UINT64_MAX, START);
    }
    ck_assert_uint_eq(gcra_full_usec(&g, START), 100 * MIN);
    gcra_set_rate(&g, 1, START);
    ck_assert_uint_eq(gcra_full_usec(&g, START), 100 * MIN); /* no wrap */
    ck_assert_uint_eq(gcra_left(&g, START), 0);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, no_rate_limits_nothing);
    tcase_add_test(tc, minute_at_once_then_one_by_one);
    tcase_add_test(tc, waits_are_rounded_up_and_exact);
    tcase_add_test(tc, long_run_keeps_the_rate);
    tcase_add_test(tc, more_than_a_minute_never_fits);
    tcase_add_test(tc, give_back_undoes);
    tcase_add_test(tc, new_rate_keeps_what_was_taken);
    tcase_add_test(tc, a_lower_rate_makes_nobody_wait_beyond_a_minute);
    tcase_add_test(tc, a_lower_rate_keeps_the_wait_of_who_overdrew);
    tcase_add_test(tc, clock_may_jump);
    tcase_add_test(tc, huge_values_saturate);
}

TEST_MAIN("gcra", add_tests)
