/* core/predicted_wait.h: how long a call waits, from what is before it. */
#include "base/clock.h"
#include "core/predicted_wait.h"
#include "support.h"

#define SEC USEC_PER_SEC

START_TEST(who_finds_a_slot_waits_for_nothing)
{
    struct wait_outlook o = {.n_slots = 2, .n_free = 1, .residual_usec = 9 * SEC};

    ck_assert_uint_eq(predicted_wait(&o), 0);
    o.switch_usec = 7 * SEC;
    ck_assert_uint_eq(predicted_wait(&o), 7 * SEC); /* but for its model */
    o.n_ahead = 1;
    ck_assert_uint_gt(predicted_wait(&o), 7 * SEC); /* the slot is another's */
}
END_TEST

START_TEST(nobody_serves)
{
    struct wait_outlook o = {.class_usec = 100 * SEC};

    ck_assert_uint_eq(predicted_wait(&o), 0);
}
END_TEST

START_TEST(all_that_is_before_it_over_the_slots)
{
    struct wait_outlook o = {.n_slots = 1,
                             .n_ahead = 3,
                             .residual_usec = 1 * SEC,
                             .above_usec = 2 * SEC,
                             .class_usec = 9 * SEC};

    ck_assert_uint_eq(predicted_wait(&o), 12 * SEC);
    o.n_slots = 4;
    ck_assert_uint_eq(predicted_wait(&o), 3 * SEC);
    o.switch_usec = 5 * SEC;
    ck_assert_uint_eq(predicted_wait(&o), 8 * SEC);
}
END_TEST

START_TEST(what_others_take_makes_it_longer)
{
    struct wait_outlook o = {.n_slots = 1, .class_usec = 10 * SEC};

    o.above_permille = 500;
    ck_assert_uint_eq(predicted_wait(&o), 20 * SEC);
    o.below_permille = 100;
    ck_assert_uint_eq(predicted_wait(&o), 25 * SEC);
    o.above_permille = 1000; /* a little is always left */
    ck_assert_uint_eq(predicted_wait(&o), 200 * SEC);
}
END_TEST

START_TEST(a_floor_is_the_worst_that_happens)
{
    struct wait_outlook o = {.n_slots = 1,
                             .residual_usec = 2 * SEC,
                             .above_usec = 500 * SEC,
                             .class_usec = 3 * SEC,
                             .floor_permille = 100,
                             .floor_first_usec = 1 * SEC};

    ck_assert_uint_eq(predicted_wait(&o), 42 * SEC); /* 2, and 4 at a tenth of the slot */
    o.above_usec = 0;
    ck_assert_uint_eq(predicted_wait(&o), 5 * SEC); /* it need not come to that */
}
END_TEST

/* More before it never makes it shorter, more slots never longer. */
START_TEST(it_is_monotonous)
{
    struct wait_outlook o = {.n_slots = 3, .residual_usec = SEC, .floor_permille = 100};
    uint64_t *const grows[] = {&o.residual_usec, &o.above_usec, &o.class_usec, &o.floor_first_usec,
                               &o.switch_usec};
    uint64_t last = predicted_wait(&o);

    for (unsigned i = 0; i < 200; i++) {
        *grows[i % ARRAY_LEN(grows)] += (i * 7919 % 97) * SEC / 10;
        ck_assert_uint_ge(predicted_wait(&o), last);
        last = predicted_wait(&o);
    }
    for (o.n_slots = 4; o.n_slots < 64; o.n_slots++) {
        ck_assert_uint_le(predicted_wait(&o), last);
        last = predicted_wait(&o);
    }
}
END_TEST

START_TEST(it_ends_at_an_hour)
{
    struct wait_outlook o = {.n_slots = 1, .class_usec = 1000000 * SEC};

    ck_assert_uint_eq(predicted_wait(&o), 3600 * SEC);
    o.switch_usec = 1000000 * SEC;
    ck_assert_uint_eq(predicted_wait(&o), 3600 * SEC);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, who_finds_a_slot_waits_for_nothing);
    tcase_add_test(tc, nobody_serves);
    tcase_add_test(tc, all_that_is_before_it_over_the_slots);
    tcase_add_test(tc, what_others_take_makes_it_longer);
    tcase_add_test(tc, a_floor_is_the_worst_that_happens);
    tcase_add_test(tc, it_is_monotonous);
    tcase_add_test(tc, it_ends_at_an_hour);
}
TEST_MAIN("predicted_wait", add_tests)
