/*
 * sluicectl log --since: times as people say them. The source is compiled in: a program has no
 * library to link.
 */
#include "clients/cli/log_since.c"

#include "support.h"

#define NOW UINT64_C(1763825400000000) /* Saturday, 2025-11-22 15:30:00 UTC */

static void setup(void)
{
    ck_assert_int_eq(setenv("TZ", "UTC", 1), 0);
    tzset();
}

/* Seconds before NOW; negative: after it. */
static void assert_before(const char *text, int64_t seconds)
{
    uint64_t at = 0;

    ck_assert_msg(log_since_parse(text, NOW, &at), "%s", text);
    ck_assert_msg(at == NOW - (uint64_t) (seconds * 1000000), "%s is %lld s before, not %lld", text,
                  (long long) (NOW - at) / 1000000, (long long) seconds);
}

START_TEST(how_long_ago)
{
    assert_before("2h", 7200);
    assert_before("2h ago", 7200);
    assert_before("10min ago", 600);
    assert_before("10 min ago", 600);
    assert_before(" 1 hour 30 minutes ago", 5400);
    assert_before("1h30m", 5400);
    assert_before("90s", 90);
    assert_before("1 second ago", 1);
    assert_before("3 days ago", 3 * 86400);
    assert_before("1w", 7 * 86400);
    assert_before("0s", 0);
    assert_before("now", 0);
}
END_TEST

START_TEST(dates_and_times)
{
    assert_before("today", 15 * 3600 + 1800);
    assert_before("yesterday", 39 * 3600 + 1800);
    assert_before("2025-11-22", 15 * 3600 + 1800);
    assert_before("2025-11-22 15:30", 0);
    assert_before("2025-11-22 15:29:59", 1);
    assert_before("2025-11-22T15:29", 60);
    assert_before("2025-11-21 15:30:00", 86400);
    assert_before("14:30", 3600);
    assert_before("14:30:01", 3599);
    assert_before("16:30", -3600);
    assert_before("@1763825340", 60);
    assert_before("2024-02-29", 15 * 3600 + 1800 + 632 * 86400);
}
END_TEST

START_TEST(local_time)
{
    uint64_t at;

    ck_assert_int_eq(setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1), 0);
    tzset();
    assert_before("16:30", 0);
    assert_before("today", 16 * 3600 + 1800);
    ck_assert(log_since_parse("2025-07-01 12:00", NOW, &at)); /* summer time then */
    ck_assert_uint_eq(at, UINT64_C(1751364000000000));
    setup();
}
END_TEST

START_TEST(nonsense)
{
    static const char *const texts[] = {
        "",
        " ",
        "soon",
        "ago",
        "5",
        "5 ago",
        "h",
        "2 fortnights",
        "2h later",
        "2hago",
        "-2h",
        "2h -1h",
        "99999999999999999999h",
        "999999999h",
        "2025-02-29",
        "2025-13-01",
        "2025-11-22 25:00",
        "2025-11-22 12:00 x",
        "22.11.2025",
        "@",
        "@x",
        "@1x",
        "@99999999999999999999",
        "1851-01-01",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "1aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        uint64_t at = 77;

        ck_assert_msg(!log_since_parse(texts[i], NOW, &at), "%s", texts[i]);
        ck_assert_uint_eq(at, 77);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, how_long_ago);
    tcase_add_test(tc, dates_and_times);
    tcase_add_test(tc, local_time);
    tcase_add_test(tc, nonsense);
}

TEST_MAIN("cli_log_since", add_tests)
