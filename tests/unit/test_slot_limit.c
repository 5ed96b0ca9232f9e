/* core/slot_limit.h: what trouble of a server, or of memory, leaves of a deployment's slots. */
#include "base/clock.h"
#include "core/slot_limit.h"
#include "support.h"

#define SEC   USEC_PER_SEC
#define START (1000 * SEC)

static unsigned at_ease(const struct slot_limit *l, unsigned n_slots)
{
    return slot_limit_now(l, n_slots, PRESSURE_L0, true);
}

static void end_well(struct slot_limit *l, unsigned n_slots, unsigned n)
{
    while (n-- > 0) {
        slot_limit_note(l, n_slots, ERRCODE_NONE, START, START);
    }
}

START_TEST(all_of_them_without_trouble)
{
    struct slot_limit l = {0};

    for (unsigned n = 1; n <= 1024; n *= 2) {
        ck_assert_uint_eq(at_ease(&l, n), n);
        end_well(&l, n, 100);
        ck_assert_uint_eq(at_ease(&l, n), n);
    }
    ck_assert_uint_eq(at_ease(&l, 0), 1); /* never none */
}
END_TEST

START_TEST(memory_takes_those_of_this_device)
{
    static const struct {
        enum pressure_level level;
        unsigned n_slots, left;
    } table[] = {{PRESSURE_L1, 5, 5}, {PRESSURE_L2, 5, 3}, {PRESSURE_L2, 4, 2},
                 {PRESSURE_L2, 1, 1}, {PRESSURE_L3, 5, 1}, {PRESSURE_L4, 5, 1}};
    struct slot_limit l = {0};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        unsigned n = table[i].n_slots;

        ck_assert_uint_eq(slot_limit_now(&l, n, table[i].level, true), table[i].left);
        ck_assert_uint_eq(slot_limit_now(&l, n, table[i].level, false), n);
    }
}
END_TEST

START_TEST(distress_halves_and_good_calls_give_back)
{
    struct slot_limit l = {0};
    uint64_t now = START;

    for (unsigned left = 8; left >= 1; left /= 2) {
        ck_assert_uint_eq(at_ease(&l, 8), left);
        slot_limit_note(&l, 8, ERRCODE_UPSTREAM_TIMEOUT, now, now + SEC);
        now += 2 * SEC;
    }
    ck_assert_uint_eq(at_ease(&l, 8), 1);
    for (unsigned left = 1; left < 8; left++) {
        end_well(&l, 8, SLOT_LIMIT_CLEAN - 1);
        ck_assert_uint_eq(at_ease(&l, 8), left);
        end_well(&l, 8, 1);
        ck_assert_uint_eq(at_ease(&l, 8), left + 1);
    }
    end_well(&l, 8, 100);
    ck_assert_uint_eq(at_ease(&l, 8), 8);
}
END_TEST

/* Those that were under way together fail together: one piece of bad news. */
START_TEST(one_trouble_cuts_once)
{
    struct slot_limit l = {0};

    for (unsigned i = 0; i < 8; i++) {
        slot_limit_note(&l, 8, ERRCODE_UPSTREAM_OVERLOADED, START, START + SEC + i);
    }
    ck_assert_uint_eq(at_ease(&l, 8), 4);
    slot_limit_note(&l, 8, ERRCODE_UPSTREAM_OVERLOADED, START + SEC, START + 2 * SEC);
    ck_assert_uint_eq(at_ease(&l, 8), 2); /* granted after the cut */
}
END_TEST

START_TEST(what_is_no_distress_changes_nothing)
{
    static const enum errcode codes[] = {ERRCODE_CANCELLED, ERRCODE_INVALID_REQUEST,
                                         ERRCODE_UPSTREAM_RATE_LIMITED, ERRCODE_PREEMPTED};
    struct slot_limit l = {0};

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        slot_limit_note(&l, 4, codes[i], START, START + SEC);
        ck_assert_uint_eq(at_ease(&l, 4), 4);
    }
}
END_TEST

/* A reload may take slots away below what is cut, or add some. */
START_TEST(slots_may_change_under_it)
{
    struct slot_limit l = {0};

    slot_limit_note(&l, 8, ERRCODE_UPSTREAM_STALLED, START, START + SEC);
    ck_assert_uint_eq(at_ease(&l, 8), 4);
    ck_assert_uint_eq(at_ease(&l, 2), 1);
    ck_assert_uint_eq(at_ease(&l, 16), 12);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, all_of_them_without_trouble);
    tcase_add_test(tc, memory_takes_those_of_this_device);
    tcase_add_test(tc, distress_halves_and_good_calls_give_back);
    tcase_add_test(tc, one_trouble_cuts_once);
    tcase_add_test(tc, what_is_no_distress_changes_nothing);
    tcase_add_test(tc, slots_may_change_under_it);
}
TEST_MAIN("slot_limit", add_tests)
