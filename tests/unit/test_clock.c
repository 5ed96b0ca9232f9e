/*
 * clock: arithmetic on instants that ends at "never", and time that does not run backwards.
 */
#include "support.h"

#include "base/clock.h"

START_TEST(usec_arithmetic_saturates)
{
    ck_assert_uint_eq(usec_add(1, 2), 3);
    ck_assert_uint_eq(usec_add(USEC_NEVER, 1), USEC_NEVER);
    ck_assert_uint_eq(usec_add(1, USEC_NEVER), USEC_NEVER);
    ck_assert_uint_eq(usec_add(USEC_NEVER - 1, 5), USEC_NEVER);
    ck_assert_uint_eq(usec_since(5, 3), 2);
    ck_assert_uint_eq(usec_since(3, 5), 0);
    ck_assert_uint_le(clock_now_usec(), clock_now_usec());
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, usec_arithmetic_saturates);
}

TEST_MAIN("clock", add_tests)
