/*
 * retry_after: what refused callers are told, under a clock of the test. The bounds, how the tracker
 * of a class follows the number of refusals, that those who were refused together are not told the
 * same, and that a seed replays.
 */
#include "core/retry_after.h"

#include "base/clock.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define START (1000 * SEC)
#define SEED  7

static struct retry_after made(void)
{
    struct retry_after r;

    retry_after_init(&r, SEED);
    return r;
}

/* n refusals at one moment: the last answer. */
static uint64_t refused(struct retry_after *r, unsigned n, uint64_t now_usec)
{
    uint64_t usec = 0;

    while (n-- > 0) {
        usec = retry_after_refused(r, CLASS_INTERACTIVE, 0, 1, now_usec);
        ck_assert_uint_ge(usec, RETRY_AFTER_MIN_USEC);
        ck_assert_uint_le(usec, RETRY_AFTER_MAX_USEC);
    }
    return usec;
}

START_TEST(one_is_told_the_least)
{
    struct retry_after r = made();

    ck_assert_uint_le(refused(&r, 1, START), 12 * SEC / 10);
}
END_TEST

START_TEST(the_time_until_there_is_room_counts)
{
    struct retry_after r = made();

    for (unsigned i = 0; i < 1000; i++) {
        uint64_t usec = retry_after_refused(&r, CLASS_BATCH, 10 * SEC, 1, START + i * 10 * SEC);

        ck_assert_uint_ge(usec, 8 * SEC);
        ck_assert_uint_le(usec, 12 * SEC);
    }
}
END_TEST

START_TEST(many_refusals_make_it_long_and_quiet_makes_it_short)
{
    struct retry_after r = made();

    ck_assert_uint_ge(refused(&r, 1000, START), 32 * SEC / 10 * 8);
    ck_assert_uint_le(refused(&r, 1, START + 3600 * SEC), 12 * SEC / 10);
}
END_TEST

START_TEST(a_class_pays_for_itself)
{
    struct retry_after r = made();

    (void) refused(&r, 1000, START);
    ck_assert_uint_le(retry_after_refused(&r, CLASS_BATCH, 0, 1, START), 12 * SEC / 10);
}
END_TEST

START_TEST(who_retries_much_waits_twice_as_long)
{
    struct retry_after once = made(), twice = made();
    uint64_t a = retry_after_refused(&once, CLASS_INTERACTIVE, 5 * SEC, 1, START);
    uint64_t b = retry_after_refused(&twice, CLASS_INTERACTIVE, 5 * SEC, 2, START);

    ck_assert_uint_eq(b, 2 * a); /* the same chance */
}
END_TEST

START_TEST(nothing_leaves_the_bounds)
{
    static const uint64_t rooms[] = {0, 1, 59 * SEC, 60 * SEC, UINT64_MAX / 2, UINT64_MAX};
    struct retry_after r = made();

    for (size_t i = 0; i < ARRAY_LEN(rooms); i++) {
        for (unsigned factor = 1; factor <= 2; factor++) {
            uint64_t usec = retry_after_refused(&r, CLASS_BACKGROUND, rooms[i], factor, START);

            ck_assert_uint_ge(usec, RETRY_AFTER_MIN_USEC);
            ck_assert_uint_le(usec, RETRY_AFTER_MAX_USEC);
        }
        ck_assert_uint_ge(retry_after_spread(&r, rooms[i]), RETRY_AFTER_MIN_USEC);
        ck_assert_uint_le(retry_after_spread(&r, rooms[i]), RETRY_AFTER_MAX_USEC);
    }
}
END_TEST

START_TEST(who_is_refused_together_does_not_come_back_together)
{
    struct retry_after r = made();
    unsigned in_second[7] = {0};

    for (unsigned i = 0; i < 600; i++) {
        uint64_t usec = retry_after_spread(&r, 15 * SEC);

        ck_assert_uint_ge(usec, 15 * SEC);
        ck_assert_uint_le(usec, 21 * SEC);
        in_second[(usec - 15 * SEC) / SEC]++;
    }
    for (unsigned i = 0; i < 6; i++) {
        ck_assert_uint_gt(in_second[i], 60);
        ck_assert_uint_lt(in_second[i], 140);
    }
}
END_TEST

/* How often was told, but not since when: as often as the least that is told at that time. */
START_TEST(a_retry_is_as_old_as_what_it_was_told)
{
    struct retry_after r = made();

    ck_assert_uint_eq(retry_after_age(&r, CLASS_INTERACTIVE, 0, START), 0);
    ck_assert_uint_eq(retry_after_age(&r, CLASS_INTERACTIVE, 3, START), 24 * SEC / 10);
    (void) refused(&r, 1000, START);
    ck_assert_uint_eq(retry_after_age(&r, CLASS_INTERACTIVE, 0, START), 0);
    ck_assert_uint_eq(retry_after_age(&r, CLASS_INTERACTIVE, 1, START), 32 * SEC * 8 / 10);
    ck_assert_uint_eq(retry_after_age(&r, CLASS_INTERACTIVE, 2, START), 64 * SEC * 8 / 10);
    ck_assert_uint_eq(retry_after_age(&r, CLASS_BATCH, 1, START), SEC * 8 / 10); /* its own class */
    ck_assert_uint_eq(retry_after_age(&r, CLASS_INTERACTIVE, 1, START + 3600 * SEC), SEC * 8 / 10);
    ck_assert_uint_eq(retry_after_age(&r, CLASS_INTERACTIVE, 1, START), 32 * SEC * 8 / 10);
    ck_assert_uint_eq(retry_after_age(&r, CLASS_INTERACTIVE, UINT32_MAX, START),
                      retry_after_age(&r, CLASS_INTERACTIVE, 1000, START)); /* no wrap-around */
}
END_TEST

START_TEST(a_seed_replays)
{
    struct retry_after a = made(), b = made();

    for (unsigned i = 0; i < 100; i++) {
        ck_assert_uint_eq(refused(&a, 1, START + i), refused(&b, 1, START + i));
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, one_is_told_the_least);
    tcase_add_test(tc, the_time_until_there_is_room_counts);
    tcase_add_test(tc, many_refusals_make_it_long_and_quiet_makes_it_short);
    tcase_add_test(tc, a_class_pays_for_itself);
    tcase_add_test(tc, who_retries_much_waits_twice_as_long);
    tcase_add_test(tc, nothing_leaves_the_bounds);
    tcase_add_test(tc, who_is_refused_together_does_not_come_back_together);
    tcase_add_test(tc, a_retry_is_as_old_as_what_it_was_told);
    tcase_add_test(tc, a_seed_replays);
}

TEST_MAIN("retry_after", add_tests)
