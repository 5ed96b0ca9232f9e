/* The rule of what leaves the device, and why. */
#include "base/clock.h"
#include "core/spill.h"
#include "support.h"

#define SEC USEC_PER_SEC

START_TEST(what_is_a_reason)
{
    static const struct spill_rules off,
        level = {.level = PRESSURE_L2}, wait = {.predicted_wait_usec = 2 * SEC},
        both = {.level = PRESSURE_L2, .predicted_wait_usec = 2 * SEC};
    static const struct {
        const struct spill_rules *rules;
        struct spill_prospect p;
        enum spill_reason reason;
    } rows[] = {
        {&off, {true, PRESSURE_L4, 60 * SEC, ERRCODE_QUEUE_FULL}, SPILL_NONE},
        {&off, {true, PRESSURE_L4, 0, ERRCODE_MODEL_BUDGET}, SPILL_NONE},
        {&both, {false, PRESSURE_L4, 60 * SEC, ERRCODE_PREDICTED_WAIT}, SPILL_NONE},

        {&level, {true, PRESSURE_L1, 0, ERRCODE_NONE}, SPILL_NONE},
        {&level, {true, PRESSURE_L2, 0, ERRCODE_NONE}, SPILL_LEVEL},
        {&level, {true, PRESSURE_L4, 0, ERRCODE_MEMORY_PRESSURE}, SPILL_LEVEL},
        {&level, {true, PRESSURE_L1, 60 * SEC, ERRCODE_PREDICTED_WAIT}, SPILL_NONE},

        {&wait, {true, PRESSURE_L4, 2 * SEC, ERRCODE_NONE}, SPILL_NONE},
        {&wait, {true, PRESSURE_L0, 2 * SEC + 1, ERRCODE_NONE}, SPILL_PREDICTED_WAIT},
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_QUEUE_FULL}, SPILL_PREDICTED_WAIT},
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_PREDICTED_WAIT}, SPILL_PREDICTED_WAIT},
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_QUEUE_TIMEOUT}, SPILL_PREDICTED_WAIT},
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_DISPLACED}, SPILL_PREDICTED_WAIT},
        /* whose limit it is, or whose fault, is another matter */
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_CLIENT_QUEUE_FULL}, SPILL_NONE},
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_DRAINING}, SPILL_NONE},
        {&wait, {true, PRESSURE_L3, 0, ERRCODE_MEMORY_PRESSURE}, SPILL_NONE},
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_UPSTREAM_BREAKER}, SPILL_NONE},

        {&both, {true, PRESSURE_L2, 60 * SEC, ERRCODE_NONE}, SPILL_LEVEL},
        {&level, {true, PRESSURE_L0, 0, ERRCODE_MODEL_BUDGET}, SPILL_NO_ROOM},
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_MODEL_EXCEEDS}, SPILL_NO_ROOM},
        {&wait, {true, PRESSURE_L0, 0, ERRCODE_MODEL_QUARANTINED}, SPILL_NO_ROOM},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_msg(spill_reason(rows[i].rules, &rows[i].p) == rows[i].reason, "row %zu", i);
    }
}
END_TEST

START_TEST(names)
{
    ck_assert_ptr_null(spill_reason_name(SPILL_NONE));
    ck_assert_str_eq(spill_reason_name(SPILL_LEVEL), "level");
    ck_assert_str_eq(spill_reason_name(SPILL_PREDICTED_WAIT), "predicted_wait");
    ck_assert_str_eq(spill_reason_name(SPILL_NO_ROOM), "no_room");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, what_is_a_reason);
    tcase_add_test(tc, names);
}
TEST_MAIN("spill", add_tests)
