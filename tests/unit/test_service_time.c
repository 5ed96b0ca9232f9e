/* core/service_time.h: how long calls take, and which class took the slots' time of late. */
#include "base/clock.h"
#include "core/service_time.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define START (1000 * SEC)

START_TEST(nothing_is_known_at_first)
{
    struct service_time s = {0};

    for (int c = 0; c < _CLASS_MAX; c++) {
        ck_assert_uint_eq(service_time_median(&s, (enum call_class) c), 0);
        ck_assert_uint_eq(service_time_mean(&s, (enum call_class) c), 0);
        ck_assert_uint_eq(service_time_above(&s, (enum call_class) c, START), 0);
    }
}
END_TEST

START_TEST(one_long_answer_moves_the_mean_alone)
{
    struct service_time s = {0};

    for (unsigned i = 0; i < 9; i++) {
        service_time_note(&s, CLASS_BATCH, 2 * SEC);
    }
    service_time_note(&s, CLASS_BATCH, 102 * SEC);
    ck_assert_uint_eq(service_time_median(&s, CLASS_BATCH), 2 * SEC);
    ck_assert_uint_eq(service_time_mean(&s, CLASS_BATCH), 12 * SEC);
}
END_TEST

START_TEST(what_is_old_is_forgotten)
{
    struct service_time s = {0};

    service_time_note(&s, CLASS_INTERACTIVE, 3600 * SEC);
    for (unsigned i = 0; i < SERVICE_TIME_RING - 1; i++) {
        service_time_note(&s, CLASS_INTERACTIVE, SEC);
    }
    ck_assert_uint_gt(service_time_mean(&s, CLASS_INTERACTIVE), 200 * SEC);
    service_time_note(&s, CLASS_INTERACTIVE, SEC);
    ck_assert_uint_eq(service_time_mean(&s, CLASS_INTERACTIVE), SEC);
}
END_TEST

START_TEST(another_class_stands_in)
{
    struct service_time s = {0};

    service_time_note(&s, CLASS_INTERACTIVE, 1 * SEC);
    ck_assert_uint_eq(service_time_median(&s, CLASS_BATCH), 1 * SEC);
    service_time_note(&s, CLASS_BACKGROUND, 9 * SEC);
    ck_assert_uint_eq(service_time_median(&s, CLASS_BATCH), 9 * SEC); /* the nearer one */
    service_time_note(&s, CLASS_BATCH, 5 * SEC);
    ck_assert_uint_eq(service_time_median(&s, CLASS_BATCH), 5 * SEC);
    ck_assert_uint_eq(service_time_median(&s, CLASS_INTERACTIVE), 1 * SEC);
}
END_TEST

START_TEST(extreme_lengths_stay_numbers)
{
    struct service_time s = {0};

    service_time_note(&s, CLASS_BATCH, 0); /* known, and short: 0 would be "not known" */
    ck_assert_uint_le(service_time_median(&s, CLASS_BATCH), 1000);
    service_time_note(&s, CLASS_INTERACTIVE, 1);
    ck_assert_uint_eq(service_time_median(&s, CLASS_INTERACTIVE), 1000);
    for (unsigned i = 0; i < SERVICE_TIME_RING; i++) {
        service_time_note(&s, CLASS_BACKGROUND, UINT64_MAX / 2);
    }
    ck_assert_uint_eq(service_time_mean(&s, CLASS_BACKGROUND), UINT32_MAX * UINT64_C(1000));
}
END_TEST

START_TEST(shares_are_those_of_the_last_half_minute)
{
    struct service_time s = {0};

    service_time_used(&s, CLASS_INTERACTIVE, 3 * SEC, START);
    service_time_used(&s, CLASS_BATCH, 5 * SEC, START);
    service_time_used(&s, CLASS_BACKGROUND, 7 * SEC, START);
    ck_assert_uint_eq(service_time_above(&s, CLASS_INTERACTIVE, START), 0);
    ck_assert_uint_eq(service_time_above(&s, CLASS_BATCH, START), 3 * SEC);
    ck_assert_uint_eq(service_time_above(&s, CLASS_BACKGROUND, START), 8 * SEC);
    service_time_used(&s, CLASS_INTERACTIVE, 2 * SEC, START + 20 * SEC);
    ck_assert_uint_eq(service_time_above(&s, CLASS_BATCH, START + 20 * SEC), 5 * SEC);
    ck_assert_uint_eq(
        service_time_above(&s, CLASS_BATCH, START + SERVICE_SHARE_WINDOW_USEC + 4 * SEC), 2 * SEC);
    ck_assert_uint_eq(service_time_above(&s, CLASS_BATCH, START + 3600 * SEC), 0);
    ck_assert_uint_eq(service_time_above(&s, CLASS_BATCH, START + 20 * SEC),
                      5 * SEC); /* only a look */
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, nothing_is_known_at_first);
    tcase_add_test(tc, one_long_answer_moves_the_mean_alone);
    tcase_add_test(tc, what_is_old_is_forgotten);
    tcase_add_test(tc, another_class_stands_in);
    tcase_add_test(tc, extreme_lengths_stay_numbers);
    tcase_add_test(tc, shares_are_those_of_the_last_half_minute);
}
TEST_MAIN("service_time", add_tests)
