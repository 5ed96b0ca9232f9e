/* Levels from samples, under a clock of our own. */
#include "base/clock.h"
#include "core/pressure.h"
#include "support.h"

#define STEP_USEC (500 * USEC_PER_MSEC)

/* A kernel that stalls as told. */
struct kernel {
    struct pressure p;
    struct memory_sample s;
};

static void kernel_init(struct kernel *k)
{
    pressure_init(&k->p);
    k->s = (struct memory_sample) {.at_usec = 100 * USEC_PER_SEC};
    k->s.place[MEMORY_SYSTEM] = (struct memory_place_sample) {
        .has_psi = true, .some_total_usec = 7777, .full_total_usec = 555};
    pressure_update(&k->p, &k->s);
}

/* Lets usec pass in which some and full stall that many per mille, sampled at the usual pace. */
static enum pressure_level pass(struct kernel *k, uint64_t usec, unsigned some, unsigned full)
{
    for (uint64_t t = 0; t < usec; t += STEP_USEC) {
        k->s.at_usec += STEP_USEC;
        k->s.place[MEMORY_SYSTEM].some_total_usec += STEP_USEC * some / 1000;
        k->s.place[MEMORY_SYSTEM].full_total_usec += STEP_USEC * full / 1000;
        pressure_update(&k->p, &k->s);
    }
    return k->p.level;
}

START_TEST(calm_is_level_0)
{
    struct kernel k;

    kernel_init(&k);
    ck_assert_int_eq(pass(&k, 60 * USEC_PER_SEC, 0, 0), PRESSURE_L0);
    ck_assert_int_eq(pass(&k, 60 * USEC_PER_SEC, 90, 40), PRESSURE_L0);
}
END_TEST

START_TEST(each_level_is_reached)
{
    static const struct {
        unsigned some, full;
        enum pressure_level level;
    } rows[] = {
        {100, 0, PRESSURE_L1},   {0, 50, PRESSURE_L1},    {250, 0, PRESSURE_L2},
        {260, 150, PRESSURE_L2}, {500, 0, PRESSURE_L3},   {500, 300, PRESSURE_L3},
        {1000, 0, PRESSURE_L3},  {700, 600, PRESSURE_L4},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct kernel k;

        kernel_init(&k);
        ck_assert_int_eq(pass(&k, 8 * USEC_PER_SEC, rows[i].some, rows[i].full), rows[i].level);
    }
}
END_TEST

START_TEST(one_sample_is_not_enough)
{
    struct kernel k;

    kernel_init(&k);
    pass(&k, 4 * USEC_PER_SEC, 0, 0);
    k.s.at_usec += STEP_USEC;
    k.s.place[MEMORY_SYSTEM].some_total_usec +=
        STEP_USEC * 4 / 5; /* 20 % of the 2 s window at once */
    pressure_update(&k.p, &k.s);
    ck_assert_int_eq(k.p.level, PRESSURE_L0);
    k.s.at_usec += STEP_USEC;
    pressure_update(&k.p, &k.s);
    ck_assert_int_eq(k.p.level, PRESSURE_L1);
}
END_TEST

START_TEST(level_4_needs_three_seconds)
{
    struct kernel k;

    kernel_init(&k);
    pass(&k, 2 * USEC_PER_SEC, 0, 0);
    ck_assert_int_eq(pass(&k, 2 * USEC_PER_SEC, 900, 900), PRESSURE_L3);
    ck_assert_int_eq(pass(&k, 4 * USEC_PER_SEC, 900, 900), PRESSURE_L4);
}
END_TEST

START_TEST(falls_one_level_at_a_time)
{
    struct kernel k;

    kernel_init(&k);
    ck_assert_int_eq(pass(&k, 8 * USEC_PER_SEC, 600, 100), PRESSURE_L3);
    ck_assert_int_eq(pass(&k, 14 * USEC_PER_SEC, 0, 0), PRESSURE_L3);
    ck_assert_int_eq(pass(&k, 5 * USEC_PER_SEC, 0, 0), PRESSURE_L2);
    ck_assert_int_eq(pass(&k, 6 * USEC_PER_SEC, 0, 0), PRESSURE_L2);
    ck_assert_int_eq(pass(&k, 5 * USEC_PER_SEC, 0, 0), PRESSURE_L1);
    ck_assert_int_eq(pass(&k, 11 * USEC_PER_SEC, 0, 0), PRESSURE_L0);
}
END_TEST

START_TEST(half_the_entry_value_holds_the_level)
{
    struct kernel k;

    kernel_init(&k);
    ck_assert_int_eq(pass(&k, 8 * USEC_PER_SEC, 120, 0), PRESSURE_L1);
    ck_assert_int_eq(pass(&k, 60 * USEC_PER_SEC, 60, 0), PRESSURE_L1);
    ck_assert_int_eq(pass(&k, 15 * USEC_PER_SEC, 40, 0), PRESSURE_L0);
}
END_TEST

START_TEST(flapping_lengthens_the_hold)
{
    struct kernel k;
    uint64_t first, second;

    kernel_init(&k);
    pass(&k, 5 * USEC_PER_SEC, 150, 0);
    for (first = 0; k.p.level > PRESSURE_L0; first += STEP_USEC) {
        pass(&k, STEP_USEC, 0, 0);
    }
    pass(&k, 5 * USEC_PER_SEC, 150, 0);
    ck_assert_int_eq(k.p.level, PRESSURE_L1);
    for (second = 0; k.p.level > PRESSURE_L0; second += STEP_USEC) {
        pass(&k, STEP_USEC, 0, 0);
    }
    ck_assert_uint_ge(second, first + 9 * USEC_PER_SEC);
    pass(&k, 6 * 60 * USEC_PER_SEC, 0, 0); /* forgotten */
    ck_assert_uint_eq(k.p.hold_factor, 1);
}
END_TEST

/*
 * 1 h of a square wave that a naive threshold would follow: at most 12 changes in any minute, at
 * most 5 after 10 min.
 */
START_TEST(adversary_cannot_make_it_flap)
{
    struct kernel k;
    uint64_t changes[3600] = {0};
    size_t n = 0;

    kernel_init(&k);
    for (unsigned i = 0; i < 7200; i++) {
        enum pressure_level before = k.p.level;

        pass(&k, STEP_USEC, (i / 9) % 2 ? 700 : 0, 0);
        if (k.p.level != before && n < ARRAY_LEN(changes)) {
            changes[n++] = k.s.at_usec;
        }
    }
    for (size_t i = 0; i < n; i++) {
        size_t in_minute = 0;

        for (size_t j = i; j < n && changes[j] < changes[i] + 60 * USEC_PER_SEC; j++) {
            in_minute++;
        }
        ck_assert_uint_le(in_minute, changes[i] > changes[0] + 600 * USEC_PER_SEC ? 5 : 12);
    }
}
END_TEST

START_TEST(counters_that_restart_are_no_storm)
{
    struct kernel k;

    kernel_init(&k);
    pass(&k, 4 * USEC_PER_SEC, 20, 10);
    k.s.place[MEMORY_SYSTEM].some_total_usec = 3;
    k.s.place[MEMORY_SYSTEM].full_total_usec = 1;
    ck_assert_int_eq(pass(&k, 4 * USEC_PER_SEC, 20, 10), PRESSURE_L0);
}
END_TEST

START_TEST(samples_close_together_are_no_storm)
{
    struct kernel k;

    kernel_init(&k);
    for (int i = 0; i < 3; i++) {
        k.s.at_usec += 1000;
        k.s.place[MEMORY_SYSTEM].some_total_usec += 1000;
        ck_assert_int_eq(pressure_update(&k.p, &k.s), PRESSURE_L0);
    }
}
END_TEST

/*
 * Each call that finds an idle daemon asks for a sample: a hundred per second must not push the
 * window out of the ring.
 */
START_TEST(a_storm_of_samples_hides_no_pressure)
{
    struct kernel k;

    kernel_init(&k);
    for (unsigned i = 0; i < 800; i++) {
        k.s.at_usec += 10 * USEC_PER_MSEC;
        k.s.place[MEMORY_SYSTEM].some_total_usec += 6 * USEC_PER_MSEC;
        k.s.place[MEMORY_SYSTEM].full_total_usec += 4 * USEC_PER_MSEC;
        pressure_update(&k.p, &k.s);
    }
    ck_assert_int_eq(k.p.level, PRESSURE_L3);
    ck_assert_uint_ge(k.p.full_permille, 390);
    ck_assert_uint_le(k.p.full_permille, 410);
    ck_assert(!pressure_is_due(&k.p, k.s.at_usec + 1));
    ck_assert(pressure_is_due(&k.p, k.s.at_usec + PRESSURE_SPACING_USEC));
}
END_TEST

START_TEST(an_idle_hour_does_not_dilute)
{
    struct kernel k;

    kernel_init(&k);
    pass(&k, 4 * USEC_PER_SEC, 0, 0);
    k.s.at_usec += 3600 * USEC_PER_SEC;
    pressure_update(&k.p, &k.s);
    ck_assert_int_ge(pass(&k, 3 * USEC_PER_SEC, 600, 0), PRESSURE_L2);
}
END_TEST

START_TEST(what_was_readable_and_is_not_is_level_1)
{
    struct kernel k;
    char text[PRESSURE_TEXT_MAX];

    kernel_init(&k);
    k.s.is_incomplete = true;
    ck_assert_int_eq(pass(&k, STEP_USEC, 0, 0), PRESSURE_L1);
    ck_assert_int_eq(k.p.cause.reason, PRESSURE_UNREADABLE);
    ck_assert_str_eq(pressure_describe(&k.p.cause, text), "memory can no longer be read");
    ck_assert_int_eq(pass(&k, 60 * USEC_PER_SEC, 0, 0), PRESSURE_L1);
    k.s.is_incomplete = false;
    ck_assert_int_eq(pass(&k, 11 * USEC_PER_SEC, 0, 0), PRESSURE_L0);
}
END_TEST

START_TEST(an_idle_device_is_not_polled)
{
    struct kernel k;

    kernel_init(&k);
    ck_assert_uint_eq(pressure_interval_usec(&k.p, false), USEC_NEVER);
    ck_assert_uint_eq(pressure_interval_usec(&k.p, true), 500 * USEC_PER_MSEC);
    pass(&k, 8 * USEC_PER_SEC, 120, 0);
    ck_assert_uint_eq(pressure_interval_usec(&k.p, false), 250 * USEC_PER_MSEC);
    pass(&k, 8 * USEC_PER_SEC, 600, 0);
    ck_assert_uint_eq(pressure_interval_usec(&k.p, false), 100 * USEC_PER_MSEC);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, calm_is_level_0);
    tcase_add_test(tc, each_level_is_reached);
    tcase_add_test(tc, one_sample_is_not_enough);
    tcase_add_test(tc, level_4_needs_three_seconds);
    tcase_add_test(tc, falls_one_level_at_a_time);
    tcase_add_test(tc, half_the_entry_value_holds_the_level);
    tcase_add_test(tc, flapping_lengthens_the_hold);
    tcase_add_test(tc, adversary_cannot_make_it_flap);
    tcase_add_test(tc, counters_that_restart_are_no_storm);
    tcase_add_test(tc, samples_close_together_are_no_storm);
    tcase_add_test(tc, a_storm_of_samples_hides_no_pressure);
    tcase_add_test(tc, an_idle_hour_does_not_dilute);
    tcase_add_test(tc, what_was_readable_and_is_not_is_level_1);
    tcase_add_test(tc, an_idle_device_is_not_polled);
}
TEST_MAIN("pressure", add_tests)
