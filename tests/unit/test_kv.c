/*
 * kv: options in the order of their first setting, and their maximum.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>

#include "base/kv.h"

START_TEST(kv_keeps_options)
{
    struct kv kv = {0}, copy = {0};
    char name[8];

    ck_assert_int_eq(kv_set(&kv, STR_LIT("a"), STR_LIT("1")), 0);
    ck_assert_int_eq(kv_set(&kv, STR_LIT("b"), STR_LIT("2")), 0);
    ck_assert_int_eq(kv_set(&kv, STR_LIT("a"), STR_LIT("3")), 0);
    ck_assert_str_eq(kv_find(&kv, "a"), "3");
    ck_assert_uint_eq(kv.n_items, 2);
    ck_assert_str_eq(kv.items[0].name, "a"); /* in the order of their first setting */
    ck_assert_ptr_null(kv_find(&kv, "A"));
    ck_assert_int_eq(kv_copy(&kv, &copy), 0);
    kv_done(&kv);
    ck_assert_ptr_null(kv_find(&kv, "a"));
    ck_assert_str_eq(kv_find(&copy, "b"), "2");
    for (size_t i = copy.n_items; i < KV_MAX; i++) {
        (void) snprintf(name, sizeof name, "n%zu", i);
        ck_assert_int_eq(kv_set(&copy, str_from(name), STR_LIT("v")), 0);
    }
    ck_assert_int_eq(kv_set(&copy, STR_LIT("one more"), STR_LIT("v")), -ENOBUFS);
    ck_assert_int_eq(kv_set(&copy, STR_LIT("a"), STR_LIT("still")), 0);
    kv_done(&copy);
}
END_TEST

static void use_kv(void)
{
    struct kv kv = {0}, copy = {0};
    int r;

    r = kv_set(&kv, STR_LIT("a"), STR_LIT("1"));
    r = r < 0 ? r : kv_set(&kv, STR_LIT("a"), STR_LIT("2"));
    r = r < 0 ? r : kv_copy(&kv, &copy);
    ck_assert(r == 0 || (r == -ENOMEM && copy.n_items == 0));
    kv_done(&kv);
    kv_done(&copy);
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(use_kv);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, kv_keeps_options);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("kv", add_tests)
