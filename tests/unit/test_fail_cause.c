/* Causes of failures, and policies: a number for each cause. */
#include "core/fail_cause.h"
#include "support.h"

START_TEST(causes)
{
    static const struct {
        enum errcode code;
        enum fail_cause cause;
    } rows[] = {
        {ERRCODE_UPSTREAM_AUTH, FAIL_AUTHENTICATION},
        {ERRCODE_UPSTREAM_TIMEOUT, FAIL_TIMEOUT},
        {ERRCODE_UPSTREAM_STALLED, FAIL_TIMEOUT},
        {ERRCODE_UPSTREAM_RATE_LIMITED, FAIL_RATE_LIMIT},
        {ERRCODE_UPSTREAM_QUOTA, FAIL_RATE_LIMIT},
        {ERRCODE_CONTENT_FILTER, FAIL_CONTENT_POLICY},
        {ERRCODE_CONTEXT_LENGTH, FAIL_BAD_REQUEST},
        {ERRCODE_UPSTREAM_REJECTED, FAIL_BAD_REQUEST},
        {ERRCODE_UNSUPPORTED_PARAMETER, FAIL_BAD_REQUEST},
        {ERRCODE_MODEL_NOT_FOUND, FAIL_NOT_FOUND},
        {ERRCODE_UPSTREAM_UNREACHABLE, FAIL_SERVER},
        {ERRCODE_UPSTREAM_ERROR, FAIL_SERVER},
        {ERRCODE_UPSTREAM_CUT, FAIL_SERVER},
        {ERRCODE_UPSTREAM_GARBAGE, FAIL_SERVER},
        {ERRCODE_UPSTREAM_OVERLOADED, FAIL_UNAVAILABLE},
        {ERRCODE_UPSTREAM_OUT_OF_MEMORY, FAIL_UNAVAILABLE},
        /* whoever ended it, the server did not */
        {ERRCODE_NONE, _FAIL_CAUSE_MAX},
        {ERRCODE_CANCELLED, _FAIL_CAUSE_MAX},
        {ERRCODE_DEADLINE_EXCEEDED, _FAIL_CAUSE_MAX},
        {ERRCODE_QUEUE_TIMEOUT, _FAIL_CAUSE_MAX},
        {ERRCODE_UPSTREAM_BREAKER, _FAIL_CAUSE_MAX},
        {ERRCODE_OUT_OF_MEMORY, _FAIL_CAUSE_MAX},
        {ERRCODE_INTERNAL, _FAIL_CAUSE_MAX},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_int_eq(fail_cause_of(rows[i].code), rows[i].cause);
    }
}
END_TEST

START_TEST(a_number_for_each_cause)
{
    struct fail_policy policy;

    fail_policy_unset(&policy);
    ck_assert_int_eq(fail_policy_get(&policy, FAIL_TIMEOUT), FAIL_POLICY_UNSET);
    policy.by_cause[FAIL_TIMEOUT] = 0;
    ck_assert_int_eq(fail_policy_get(&policy, FAIL_TIMEOUT), 0);
    ck_assert_int_eq(fail_policy_get(&policy, FAIL_SERVER), FAIL_POLICY_UNSET);
    policy.otherwise = 4;
    ck_assert_int_eq(fail_policy_get(&policy, FAIL_TIMEOUT), 0);
    ck_assert_int_eq(fail_policy_get(&policy, FAIL_SERVER), 4);
    ck_assert_int_eq(fail_policy_get(&policy, _FAIL_CAUSE_MAX), 4);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, causes);
    tcase_add_test(tc, a_number_for_each_cause);
}
TEST_MAIN("fail_cause", add_tests)
