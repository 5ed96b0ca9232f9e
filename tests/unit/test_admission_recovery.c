/* After a time of memory pressure: interactive calls at once, then batch, then background. */
#include "admission_desk.h"

static struct ticket *next_at(struct desk *k, struct ticket *t, enum call_class class,
                              uint64_t at_usec)
{
    struct admission_ask ask = {.class = class, .own_deadline_at_usec = USEC_NEVER};

    *t = (struct ticket) {.state = TICKET_HOME};
    ck_assert_int_eq(
        admission_enqueue(&k->admission, t, router_resolve(&k->router, STR_LIT("a")), &ask, at_usec)
            .code,
        ERRCODE_NONE);
    return admission_next(&k->admission, at_usec);
}

/* Which classes get a slot so long after level 0 came back from that level. */
static void check(enum pressure_level worst, uint64_t after_usec, bool batch, bool background)
{
    const bool gets[_CLASS_MAX] = {true, batch, background};

    for (int c = 0; c < _CLASS_MAX; c++) {
        struct ticket t;
        struct desk k;
        uint64_t now = START + after_usec;

        desk_init(&k, 1, 8);
        k.pressure.l0_since_usec = START;
        k.pressure.worst = worst;
        ck_assert_int_eq(next_at(&k, &t, (enum call_class) c, now) == &t, gets[c]);
        if (!gets[c]) {
            uint64_t at = admission_next_deadline(&k.admission);

            ck_assert_uint_gt(at, now);
            ck_assert_uint_le(at, START + 20 * SEC); /* looked at when the next stage begins */
        }
        admission_release(&k.admission, &t, now);
        desk_done(&k);
    }
}

START_TEST(classes_begin_again_one_after_the_other)
{
    check(PRESSURE_L3, 1 * SEC, false, false);
    check(PRESSURE_L3, 9 * SEC, false, false);
    check(PRESSURE_L3, 11 * SEC, true, false);
    check(PRESSURE_L3, 19 * SEC, true, false);
    check(PRESSURE_L3, 21 * SEC, true, true);
    check(PRESSURE_L1, 1 * SEC, true, false); /* batch was never held */
}
END_TEST

START_TEST(nobody_waits_where_there_was_no_pressure)
{
    for (int c = 0; c < _CLASS_MAX; c++) {
        struct ticket t;
        struct desk k;

        desk_init(&k, 1, 8);
        ck_assert_ptr_eq(next_at(&k, &t, (enum call_class) c, START), &t);
        admission_release(&k.admission, &t, START);
        k.admission.pressure = NULL;
        ck_assert_ptr_eq(next_at(&k, &t, (enum call_class) c, START), &t);
        admission_release(&k.admission, &t, START);
        desk_done(&k);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, classes_begin_again_one_after_the_other);
    tcase_add_test(tc, nobody_waits_where_there_was_no_pressure);
}
TEST_MAIN("admission_recovery", add_tests)
