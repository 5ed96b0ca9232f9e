/* core/caller_table.h: who a caller is, a table that nobody can fill, and what is known of each. */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "core/caller_table.h"
#include "support.h"

#define SEC USEC_PER_SEC

static struct caller_name uid(uint32_t n)
{
    return (struct caller_name) {.kind = CALLER_UID, .uid = n};
}

static struct caller_name named(enum caller_kind kind, const char *name)
{
    return (struct caller_name) {.kind = kind, .name = name};
}

START_TEST(units_of_processes)
{
    static const struct {
        const char *text, *unit;
        bool is_system;
    } table[] = {
        {"0::/system.slice/nginx.service\n", "nginx.service", true},
        {"0::/system.slice/nginx.service", "nginx.service", true},
        {"0::/system.slice/system-x.slice/x@1.service/payload\n", "x@1.service", true},
        {"0::/user.slice/user-1000.slice/user@1000.service/app.slice/a.service\n", "a.service",
         false},
        {"0::/user.slice/user-1000.slice/session-2.scope\n", "session-2.scope", false},
        {"12:pids:/a.service\n1:name=systemd:/system.slice/b.service\n0::/\n", "b.service", true},
        {"1:name=systemd:/system.slice/b.service\n0::/system.slice/c.service\n", "b.service", true},
        {"0::/machine.slice/m.scope/system.slice/x.service\n", "x.service", false},
    };
    static const char *const without[] = {
        "",
        "\n",
        "0::/",
        "0::/\n",
        "0::",
        "0:",
        "::::",
        "0::/a/b\n",
        "garbage",
        "5:memory:/a.service\n",
        "0::/.service\n",
        "0:://///\n",
    };
    char unit[CALLER_NAME_BYTES];
    bool is_system;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_msg(caller_unit_parse(str_from(table[i].text), unit, &is_system), "%zu", i);
        ck_assert_str_eq(unit, table[i].unit);
        ck_assert_int_eq(is_system, table[i].is_system);
    }
    for (size_t i = 0; i < ARRAY_LEN(without); i++) {
        ck_assert_msg(!caller_unit_parse(str_from(without[i]), unit, &is_system), "%s", without[i]);
    }
}
END_TEST

START_TEST(a_unit_with_a_long_name_is_none)
{
    char text[256], unit[CALLER_NAME_BYTES];
    bool is_system;

    for (int n = REQUEST_UNIT_MAX - 10; n < REQUEST_UNIT_MAX + 5; n++) {
        (void) snprintf(text, sizeof text, "0::/system.slice/%0*d.service\n", n - 8, 1);
        ck_assert_int_eq(caller_unit_parse(str_from(text), unit, &is_system),
                         n <= REQUEST_UNIT_MAX);
    }
}
END_TEST

START_TEST(keys_go_before_services_before_users)
{
    static const struct caller_rule rules[] = {{.kind = CALLER_UNIT, .name = "mine.service"}};
    struct caller who = {.has_uid = true, .uid = 7};
    struct caller_table t;

    caller_table_init(&t);
    ck_assert_int_eq(caller_name_of(&t, &who).kind, CALLER_UID);
    (void) snprintf(who.unit, sizeof who.unit, "mine.service");
    ck_assert_int_eq(caller_name_of(&t, &who).kind, CALLER_UID); /* a user's own, and not named */
    caller_table_set_rules(&t, rules, 1);
    ck_assert_int_eq(caller_name_of(&t, &who).kind, CALLER_UNIT);
    caller_table_set_rules(&t, NULL, 0);
    who.is_system_unit = true;
    ck_assert_int_eq(caller_name_of(&t, &who).kind, CALLER_UNIT);
    (void) snprintf(who.key_id, sizeof who.key_id, "ci");
    ck_assert_int_eq(caller_name_of(&t, &who).kind, CALLER_KEY);
    ck_assert_int_eq(caller_name_of(&t, &(struct caller) {0}).kind, CALLER_OTHERS);
}
END_TEST

START_TEST(a_table_that_nobody_can_fill)
{
    static struct caller_table t;
    struct caller_name name = uid(0);
    struct caller_entry *busy[CALLER_MAX];

    caller_table_init(&t);
    for (uint32_t i = 1; i < CALLER_MAX; i++) {
        name = uid(i);
        busy[i] = caller_table_take(&t, &name, i);
        ck_assert_ptr_ne(busy[i], &t.entries[0]);
        busy[i]->n_running = 1;
    }
    name = uid(1000);
    ck_assert_ptr_eq(caller_table_take(&t, &name, 100), &t.entries[0]); /* shared, not refused */
    ck_assert_ptr_null(caller_table_find(&t, &name));
    busy[9]->n_running = busy[5]->n_running = 0;
    ck_assert_ptr_eq(caller_table_take(&t, &name, 100), busy[5]); /* seen longest ago */
    name = uid(5);
    ck_assert_ptr_eq(caller_table_take(&t, &name, 101), busy[9]);
    name = uid(9);
    ck_assert_ptr_null(caller_table_find(&t, &name));
    name = uid(6);
    ck_assert_ptr_eq(caller_table_take(&t, &name, 102), busy[6]);
}
END_TEST

START_TEST(rules_hold_from_now_on)
{
    static const struct caller_rule rules[] = {
        {.kind = CALLER_KEY, .name = "ci", .weight = 3, .class = CLASS_BATCH, .max_running = 1},
        {.kind = CALLER_UID, .uid = 5, .weight = 1000000, .max_queued = 2}};
    static struct caller_table t;
    struct caller_name ci = named(CALLER_KEY, "ci"), five = uid(5);
    struct caller_entry *key, *user;

    caller_table_init(&t);
    key = caller_table_take(&t, &ci, 1);
    ck_assert_uint_eq(key->lanes[CLASS_BATCH].weight, 1);
    caller_table_set_rules(&t, rules, 2);
    user = caller_table_take(&t, &five, 1);
    ck_assert_uint_eq(key->lanes[CLASS_BATCH].weight, 3);
    ck_assert_int_eq(key->class, CLASS_BATCH);
    ck_assert_uint_eq(key->max_running, 1);
    ck_assert_uint_eq(user->lanes[0].weight, FAIR_WEIGHT_MAX);
    ck_assert_uint_eq(user->max_queued, 2);
    caller_table_set_rules(&t, NULL, 0);
    ck_assert_uint_eq(key->lanes[CLASS_BATCH].weight, 1);
    ck_assert_int_eq(key->class, CLASS_INTERACTIVE);
}
END_TEST

START_TEST(names_are_not_mixed_up)
{
    static struct caller_table t;
    struct caller_name names[] = {named(CALLER_KEY, "a"), named(CALLER_UNIT, "a"), uid(0),
                                  named(CALLER_KEY, "ab")};
    char text[CALLER_NAME_BYTES + 8];

    caller_table_init(&t);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (size_t j = 0; j < i; j++) {
            ck_assert_ptr_ne(caller_table_take(&t, &names[i], 1),
                             caller_table_take(&t, &names[j], 1));
        }
    }
    ck_assert_str_eq(caller_entry_describe(caller_table_find(&t, &names[0]), text), "key a");
    ck_assert_str_eq(caller_entry_describe(caller_table_find(&t, &names[1]), text), "unit a");
    ck_assert_str_eq(caller_entry_describe(caller_table_find(&t, &names[2]), text), "uid 0");
    ck_assert_str_eq(caller_entry_describe(&t.entries[0], text), "others");
}
END_TEST

START_TEST(what_its_calls_take)
{
    static struct caller_table t;
    struct caller_entry *c = &t.entries[0];

    caller_table_init(&t);
    ck_assert_uint_eq(caller_entry_service(c, CLASS_BATCH, 7), 0);
    caller_entry_note_service(c, CLASS_BATCH, 7, 10 * SEC);
    ck_assert_uint_eq(caller_entry_service(c, CLASS_BATCH, 7), 10 * SEC);
    ck_assert_uint_eq(caller_entry_service(c, CLASS_INTERACTIVE, 7), 0);
    caller_entry_note_service(c, CLASS_BATCH, 7, 20 * SEC);
    ck_assert_uint_eq(caller_entry_service(c, CLASS_BATCH, 7), 12 * SEC);
    caller_entry_note_service(c, CLASS_BATCH, 8, UINT64_MAX);
    for (uint32_t serial = 20; serial < 20 + CALLER_ESTIMATES; serial++) {
        caller_entry_note_service(c, CLASS_BATCH, serial, 0);
        ck_assert_uint_eq(caller_entry_service(c, CLASS_BATCH, serial), 1000); /* not "unknown" */
    }
    ck_assert_uint_eq(caller_entry_service(c, CLASS_BATCH, 7), 0); /* used longest ago */
}
END_TEST

START_TEST(who_retries_much)
{
    static struct caller_table t;
    struct caller_entry *c = &t.entries[0];
    uint64_t now = 1000 * SEC;

    caller_table_init(&t);
    for (int i = 0; i < 9; i++) {
        caller_entry_note_attempt(c, true, now);
        ck_assert(!caller_entry_retries_much(c)); /* too few to tell */
    }
    caller_entry_note_attempt(c, true, now);
    ck_assert(caller_entry_retries_much(c));
    for (int i = 0; i < 24; i++) {
        caller_entry_note_attempt(c, false, now + 60 * SEC);
    }
    ck_assert(!caller_entry_retries_much(c));            /* 10 of 34 */
    caller_entry_note_attempt(c, true, now + 300 * SEC); /* all that is forgotten */
    ck_assert(!caller_entry_retries_much(c));
}
END_TEST

START_TEST(who_comes_back_when_told)
{
    static struct caller_table t;
    struct caller_entry *c = &t.entries[0];
    uint64_t now = 1000 * SEC;

    caller_table_init(&t);
    ck_assert(!caller_entry_keeps_promise(c, CLASS_BATCH, now)); /* nobody was told anything */
    caller_entry_promise(c, CLASS_BATCH, 10 * SEC, now);
    ck_assert(!caller_entry_keeps_promise(c, CLASS_BATCH, now + 8 * SEC)); /* too early */
    ck_assert(!caller_entry_keeps_promise(c, CLASS_INTERACTIVE, now + 10 * SEC));
    ck_assert_uint_eq(caller_entry_keeps_promise(c, CLASS_BATCH, now + 10 * SEC), 10 * SEC);
    ck_assert(!caller_entry_keeps_promise(c, CLASS_BATCH, now + 10 * SEC)); /* once */
    caller_entry_promise(c, CLASS_BATCH, 10 * SEC, now);
    ck_assert(!caller_entry_keeps_promise(c, CLASS_BATCH, now + 17 * SEC)); /* too late */
    for (uint64_t i = 0; i < 3 * CALLER_PROMISES; i++) { /* bounded: the last ones count */
        caller_entry_promise(c, CLASS_BATCH, (10 + 100 * i) * SEC, now);
    }
    ck_assert(!caller_entry_keeps_promise(c, CLASS_BATCH, now + 110 * SEC));
    ck_assert(caller_entry_keeps_promise(c, CLASS_BATCH,
                                         now + (10 + 100 * (3 * CALLER_PROMISES - 1)) * SEC));
}
END_TEST

START_TEST(how_many_are_expected_back)
{
    static struct caller_table t;
    struct caller_entry *c = &t.entries[0];
    uint64_t now = 1000 * SEC;

    caller_table_init(&t);
    ck_assert_uint_eq(caller_entry_n_promised(c, CLASS_BATCH, now), 0);
    caller_entry_promise(c, CLASS_BATCH, 10 * SEC, now);
    caller_entry_promise(c, CLASS_BATCH, 20 * SEC, now);
    ck_assert_uint_eq(caller_entry_n_promised(c, CLASS_BATCH, now), 2);
    ck_assert_uint_eq(caller_entry_n_promised(c, CLASS_INTERACTIVE, now), 0);
    ck_assert_uint_eq(caller_entry_n_promised(c, CLASS_BATCH, now + 16 * SEC), 2); /* late */
    ck_assert_uint_eq(caller_entry_n_promised(c, CLASS_BATCH, now + 17 * SEC), 1); /* too late */
    ck_assert_uint_eq(caller_entry_keeps_promise(c, CLASS_BATCH, now + 21 * SEC), 20 * SEC);
    ck_assert_uint_eq(caller_entry_n_promised(c, CLASS_BATCH, now + 21 * SEC), 0);
}
END_TEST

/* New calls of a caller, one in each second. */
static void note_new(struct caller_entry *c, uint64_t *now, unsigned n, bool is_refused)
{
    for (unsigned i = 0; i < n; i++) {
        caller_entry_note_new(c, CLASS_BATCH, is_refused, 10 * SEC, *now);
        *now += SEC;
    }
}

static bool is_crowded_out(const struct caller_entry *c, uint64_t now)
{
    return caller_entry_is_crowded_out(c, CLASS_BATCH, 10 * SEC, now);
}

START_TEST(who_is_refused_for_longer_than_he_would_wait)
{
    static struct caller_table t;
    struct caller_entry *c = &t.entries[0];
    uint64_t now = 1000 * SEC;

    caller_table_init(&t);
    ck_assert(!is_crowded_out(c, now)); /* he has asked for nothing */
    for (int i = 0; i < 1000; i++) {
        caller_entry_note_new(c, CLASS_BATCH, true, 10 * SEC, now);
    }
    ck_assert(!is_crowded_out(c, now)); /* a burst, however large */
    now += SEC;
    note_new(c, &now, 10, true);
    ck_assert(is_crowded_out(c, now));
    ck_assert(!caller_entry_is_crowded_out(c, CLASS_INTERACTIVE, 10 * SEC, now));
    ck_assert(is_crowded_out(c, now + 9 * SEC));
    ck_assert(!is_crowded_out(c, now + 10 * SEC)); /* it is quiet */
    note_new(c, &now, 64, false);
    ck_assert(!is_crowded_out(c, now)); /* most come in */
}
END_TEST

START_TEST(after_a_quiet_time_refusals_are_a_burst_again)
{
    static struct caller_table t;
    struct caller_entry *c = &t.entries[0];
    uint64_t now = 1000 * SEC;

    caller_table_init(&t);
    note_new(c, &now, 12, true);
    ck_assert(is_crowded_out(c, now));
    now += 11 * SEC;
    note_new(c, &now, 9, true);
    ck_assert(!is_crowded_out(c, now));
    note_new(c, &now, 9, false); /* half of them: not most */
    note_new(c, &now, 1, true);
    ck_assert(is_crowded_out(c, now));
    note_new(c, &now, 1, false);
    ck_assert(!is_crowded_out(c, now));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, how_many_are_expected_back);
    tcase_add_test(tc, who_is_refused_for_longer_than_he_would_wait);
    tcase_add_test(tc, after_a_quiet_time_refusals_are_a_burst_again);
    tcase_add_test(tc, units_of_processes);
    tcase_add_test(tc, a_unit_with_a_long_name_is_none);
    tcase_add_test(tc, keys_go_before_services_before_users);
    tcase_add_test(tc, a_table_that_nobody_can_fill);
    tcase_add_test(tc, rules_hold_from_now_on);
    tcase_add_test(tc, names_are_not_mixed_up);
    tcase_add_test(tc, what_its_calls_take);
    tcase_add_test(tc, who_retries_much);
    tcase_add_test(tc, who_comes_back_when_told);
}
TEST_MAIN("caller_table", add_tests)
