/* sluice.callers: what is taken, and each mistake refused with its place. */
#include <string.h>

#include "config_support.h"

#define CALLERS(text) FINE "sluice:\n  callers:\n" text

START_TEST(all_members)
{
    struct config *c =
        parse(CALLERS("  - {uid: 0, weight: 3, class: batch, running: 2, queued: 8}\n"
                      "  - unit: backup.service\n"
                      "    class: background\n"
                      "    rpm: 60\n"
                      "    tpm: 1000000000\n"
                      "    max_parallel: 65536\n"
                      "  - key: ci\n"));

    ck_assert_uint_eq(c->n_callers, 3);
    ck_assert_int_eq(c->callers[0].kind, CALLER_UID);
    ck_assert_uint_eq(c->callers[0].uid, 0);
    ck_assert_uint_eq(c->callers[0].weight, 3);
    ck_assert_int_eq(c->callers[0].class, CLASS_BATCH);
    ck_assert_uint_eq(c->callers[0].max_running, 2);
    ck_assert_uint_eq(c->callers[0].max_queued, 8);
    ck_assert_uint_eq(c->callers[0].rpm + c->callers[0].tpm + c->callers[0].max_parallel, 0);
    ck_assert_int_eq(c->callers[1].kind, CALLER_UNIT);
    ck_assert_str_eq(c->callers[1].name, "backup.service");
    ck_assert_int_eq(c->callers[1].class, CLASS_BACKGROUND);
    ck_assert_uint_eq(c->callers[1].weight, 1);
    ck_assert_uint_eq(c->callers[1].rpm, 60);
    ck_assert_uint_eq(c->callers[1].tpm, 1000000000);
    ck_assert_uint_eq(c->callers[1].max_parallel, 65536);
    ck_assert_int_eq(c->callers[2].kind, CALLER_KEY);
    ck_assert_str_eq(c->callers[2].name, "ci");
    ck_assert_int_eq(c->callers[2].class, CLASS_INTERACTIVE);
    config_free(c);
}
END_TEST

START_TEST(every_mistake_refuses_the_file)
{
    static const struct {
        const char *yaml, *line;
    } rows[] = {
        {FINE "sluice: {callers: 5}\n",
         "f:2:19: error: sluice.callers: expected a list of callers"},
        {CALLERS("  - 5\n"),
         "f:4:5: error: sluice.callers[0]: expected a map with uid, unit or key"},
        {CALLERS("  - {weight: 2}\n"),
         "f:4:5: error: sluice.callers[0]: expected one of uid, unit"},
        {CALLERS("  - {uid: 1, key: a}\n"), "f:4:5: error: sluice.callers[0]: expected one of uid"},
        {CALLERS("  - {uid: -1}\n"), "f:4:11: error: sluice.callers[0].uid: must be from 0"},
        {CALLERS("  - {uid: 4294967295}\n"),
         "f:4:11: error: sluice.callers[0].uid: must be from 0"},
        {CALLERS("  - {uid: root}\n"), "f:4:11: error: sluice.callers[0].uid: expected a whole"},
        {CALLERS("  - {unit: x}\n"), "f:4:12: error: sluice.callers[0].unit: expected the name of"},
        {CALLERS("  - {unit: .service}\n"), "f:4:12: error: sluice.callers[0].unit: expected the"},
        {CALLERS("  - {unit: a/b.service}\n"), "f:4:12: error: sluice.callers[0].unit: expected"},
        {CALLERS("  - {unit: 5}\n"), "f:4:12: error: sluice.callers[0].unit: expected the name"},
        {CALLERS("  - {key: [a]}\n"), "f:4:11: error: sluice.callers[0].key: expected the id"},
        {CALLERS("  - {uid: 1, weight: 0}\n"), "f:4:22: error: sluice.callers[0].weight: must be"},
        {CALLERS("  - {uid: 1, weight: 1001}\n"), "f:4:22: error: sluice.callers[0].weight: must"},
        {CALLERS("  - {uid: 1, running: 1025}\n"),
         "f:4:23: error: sluice.callers[0].running: must"},
        {CALLERS("  - {uid: 1, queued: 0}\n"), "f:4:22: error: sluice.callers[0].queued: must be"},
        {CALLERS("  - {uid: 1, class: royal}\n"),
         "f:4:21: error: sluice.callers[0].class: expected"},
        {CALLERS("  - {uid: 1, wieght: 2}\n"),
         "f:4:14: error: sluice.callers[0].wieght: unknown key"},
        {CALLERS("  - {uid: 1, rpm: 0}\n"),
         "f:4:19: error: sluice.callers[0].rpm: must be from 1 to 1000000000"},
        {CALLERS("  - {uid: 1, rpm: 1.5}\n"),
         "f:4:19: error: sluice.callers[0].rpm: expected a whole number, found a number"},
        {CALLERS("  - {uid: 1, tpm: 1000000001}\n"),
         "f:4:19: error: sluice.callers[0].tpm: must be from 1 to 1000000000"},
        {CALLERS("  - {uid: 1, max_parallel: 65537}\n"),
         "f:4:28: error: sluice.callers[0].max_parallel: must be from 1 to 65536"},
        {CALLERS("  - {rpm: 1, key: a}\n"),
         "f:4:6: error: sluice.callers[0].rpm: how much a key may use is said with it, in "
         "sluice.keys"},
        {CALLERS("  - {key: a, tpm: 1}\n"), "f:4:14: error: sluice.callers[0].tpm: how much a key"},
        {CALLERS("  - {key: a, max_parallel: 1}\n"),
         "f:4:14: error: sluice.callers[0].max_parallel: how much a key"},
        {CALLERS("  - uid: 1\n  - uid: 1\n"),
         "f:5:5: error: sluice.callers[1]: this caller stands"},
        {CALLERS("  - key: a\n  - key: a\n"),
         "f:5:5: error: sluice.callers[1]: this caller stands"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        config_free(expect(rows[i].yaml, true, rows[i].line));
    }
}
END_TEST

START_TEST(none_at_all)
{
    struct config *c = parse(CALLERS(""));

    ck_assert(!config_is_fatal(c));
    ck_assert_uint_eq(c->n_callers, 0);
    config_free(c);
}
END_TEST

START_TEST(a_limit_of_entries)
{
    static char text[16384];
    size_t n = (size_t) snprintf(text, sizeof text, "%ssluice:\n  callers:\n", FINE);

    for (int i = 0; i <= CONFIG_MAX_CALLERS; i++) {
        n += (size_t) snprintf(text + n, sizeof text - n, "  - uid: %d\n", i);
    }
    config_free(expect(text, true, "f:4:3: error: sluice.callers: more than 256 callers"));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, all_members);
    tcase_add_test(tc, every_mistake_refuses_the_file);
    tcase_add_test(tc, none_at_all);
    tcase_add_test(tc, a_limit_of_entries);
}
TEST_MAIN("config_callers", add_tests)
