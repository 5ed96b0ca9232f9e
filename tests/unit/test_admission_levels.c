/* What a level of memory pressure means for those who come and those who wait. */
#include "admission_desk.h"

/* ---------------------------------------------------------------- who is served elsewhere */

/* Nothing of this device's memory is in it: neither the level nor what follows it touches the call. */
static void check_far(struct desk *k, enum call_class class)
{
    struct ticket t = {0}, second = {0};

    ck_assert_int_eq(enqueue_as(k, &t, "far", class, 100, USEC_NEVER).code, ERRCODE_NONE);
    ck_assert(t.is_elsewhere);
    ck_assert_ptr_eq(admission_next(&k->admission, START), &t);
    ck_assert_int_eq(enqueue_as(k, &second, "far", class, 100, USEC_NEVER).code, ERRCODE_NONE);
    ck_assert_ptr_eq(admission_next(&k->admission, START), &second); /* all of its slots are used */
    admission_release(&k->admission, &t, START);
    admission_release(&k->admission, &second, START);
}

START_TEST(calls_for_other_machines_know_no_level)
{
    for (int level = PRESSURE_L0; level <= PRESSURE_L4; level++) {
        for (int c = 0; c < _CLASS_MAX; c++) {
            struct desk k;

            desk_init(&k, 2, 8);
            k.pressure.level = (enum pressure_level) level;
            check_far(&k, (enum call_class) c);
            desk_done(&k);
        }
    }
}
END_TEST

START_TEST(nor_are_they_kept_back_after_it)
{
    for (int c = 0; c < _CLASS_MAX; c++) {
        struct desk k;

        desk_init(&k, 2, 8);
        k.pressure.l0_since_usec = START - 1;
        k.pressure.worst = PRESSURE_L4;
        check_far(&k, (enum call_class) c);
        desk_done(&k);
    }
}
END_TEST

/* "far" has another deployment then, on this device: memory is something to its calls again. */
START_TEST(a_reload_brings_it_home)
{
    struct router_plan plan = {0};
    struct ticket t = {0};
    struct desk k;

    desk_init(&k, 1, 8);
    ck_assert_int_eq(enqueue_as(&k, &t, "far", CLASS_BATCH, 100, USEC_NEVER).code, ERRCODE_NONE);
    add_group_at(&plan, "far", 1, true);
    router_commit(&k.router, &plan);
    admission_reroute(&k.admission, &t, router_resolve(&k.router, STR_LIT("far")));
    ck_assert(!t.is_elsewhere);
    k.pressure.level = PRESSURE_L2;
    ck_assert_ptr_null(admission_next(&k.admission, START));
    k.pressure.level = PRESSURE_L0;
    ck_assert_ptr_eq(admission_next(&k.admission, START), &t);
    admission_release(&k.admission, &t, START);
    desk_done(&k);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, calls_for_other_machines_know_no_level);
    tcase_add_test(tc, nor_are_they_kept_back_after_it);
    tcase_add_test(tc, a_reload_brings_it_home);
}
TEST_MAIN("admission_levels", add_tests)
