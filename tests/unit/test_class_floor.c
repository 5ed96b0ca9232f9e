/* core/class_floor.h: what batch and background get while others go first. */
#include "base/clock.h"
#include "core/class_floor.h"
#include "support.h"

#define SEC USEC_PER_SEC

/* Interactive calls and batch both wait all the time: the share that batch gets. In permille. */
static uint64_t share(uint64_t interactive_usec, uint64_t batch_usec)
{
    struct class_floor f = {.n_queued = {1, 1, 0}};
    uint64_t batch = 0, all = 0, now = 1000 * SEC;

    for (int i = 0; i < 5000; i++) {
        /* its head has just come: no turns for age */
        bool is_batch = class_floor_is_due(&f, CLASS_BATCH, batch_usec, now, now);
        uint64_t usec = is_batch ? batch_usec : interactive_usec;

        class_floor_charge(&f, is_batch ? CLASS_BATCH : CLASS_INTERACTIVE, (int64_t) usec);
        batch += is_batch ? usec : 0;
        all += usec;
        now += usec;
    }
    return batch * 1000 / all;
}

START_TEST(batch_gets_a_tenth)
{
    static const uint64_t lengths[] = {SEC / 10, SEC, 10 * SEC, 60 * SEC};

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        for (size_t j = 0; j < ARRAY_LEN(lengths); j++) {
            uint64_t permille = share(lengths[i], lengths[j]);

            if (lengths[i] <= 10 * SEC && lengths[j] <= SEC) {
                ck_assert_uint_ge(permille, 85);
                ck_assert_uint_le(permille, 115);
            }
            ck_assert_uint_le(permille,
                              400); /* a debt is limited, and what was too much is owed back */
        }
    }
}
END_TEST

START_TEST(who_does_not_wait_is_owed_nothing)
{
    struct class_floor f = {.n_queued = {5, 0, 0}};

    class_floor_charge(&f, CLASS_INTERACTIVE, 3600 * (int64_t) SEC);
    ck_assert_int_eq(f.owed_usec, 0);
    f.n_queued[CLASS_BATCH] = 1;
    ck_assert(!class_floor_is_due(&f, CLASS_BATCH, SEC, 0, 1));
    class_floor_charge(&f, CLASS_INTERACTIVE, 3600 * (int64_t) SEC);
    ck_assert_int_eq(f.owed_usec, CLASS_FLOOR_DEBT_MAX_USEC); /* no minutes at once */
}
END_TEST

START_TEST(turns_for_age)
{
    static const struct {
        enum call_class class;
        uint64_t usec;
    } table[] = {{CLASS_BATCH, 60 * SEC}, {CLASS_BACKGROUND, 300 * SEC}};

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        enum call_class class = table[i].class;
        uint64_t came = 1000 * SEC, now = came + table[i].usec;
        struct class_floor f = {.n_queued = {1, 1, 1}};

        ck_assert(!class_floor_is_due(&f, class, SEC, came, now - 1));
        ck_assert(class_floor_is_due(&f, class, SEC, came, now));
        class_floor_turn(&f, class, came, now);
        ck_assert(!class_floor_is_due(&f, class, SEC, came, now)); /* the next one waits as long */
        ck_assert(!class_floor_is_due(&f, class, SEC, came, now + table[i].usec - 1));
        ck_assert(class_floor_is_due(&f, class, SEC, came, now + table[i].usec));
    }
}
END_TEST

START_TEST(a_slot_is_kept_for_a_minute)
{
    struct class_floor f = {0};

    ck_assert(!class_floor_reserves(&f, CLASS_BATCH, 1000 * SEC)); /* nobody ever came */
    f.interactive_at_usec = 1000 * SEC;
    ck_assert(class_floor_reserves(&f, CLASS_BATCH, 1059 * SEC));
    ck_assert(class_floor_reserves(&f, CLASS_BACKGROUND, 1059 * SEC));
    ck_assert(!class_floor_reserves(&f, CLASS_INTERACTIVE, 1059 * SEC));
    ck_assert(!class_floor_reserves(&f, CLASS_BATCH, 1060 * SEC));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, batch_gets_a_tenth);
    tcase_add_test(tc, who_does_not_wait_is_owed_nothing);
    tcase_add_test(tc, turns_for_age);
    tcase_add_test(tc, a_slot_is_kept_for_a_minute);
}
TEST_MAIN("class_floor", add_tests)
