/*
 * num: integers, doubles, durations and sizes from text, and durations back to text.
 */
#include "support.h"

#include <errno.h>
#include <math.h>

#include "base/clock.h"
#include "base/num.h"

START_TEST(num_integers)
{
    static const struct {
        const char *text;
        int r_u64, r_i64;
        uint64_t u64;
        int64_t i64;
    } table[] = {
        {"0", 0, 0, 0, 0},
        {"007", 0, 0, 7, 7},
        {"18446744073709551615", 0, -ERANGE, UINT64_MAX, 0},
        {"18446744073709551616", -ERANGE, -ERANGE, 0, 0},
        {"9223372036854775807", 0, 0, INT64_MAX, INT64_MAX},
        {"9223372036854775808", 0, -ERANGE, 9223372036854775808U, 0},
        {"-9223372036854775808", -EINVAL, 0, 0, INT64_MIN},
        {"-9223372036854775809", -EINVAL, -ERANGE, 0, 0},
        {"-0", -EINVAL, 0, 0, 0},
        {"", -EINVAL, -EINVAL, 0, 0},
        {"-", -EINVAL, -EINVAL, 0, 0},
        {"+1", -EINVAL, -EINVAL, 0, 0},
        {" 1", -EINVAL, -EINVAL, 0, 0},
        {"1 ", -EINVAL, -EINVAL, 0, 0},
        {"1x", -EINVAL, -EINVAL, 0, 0},
        {"--1", -EINVAL, -EINVAL, 0, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        uint64_t u = 0;
        int64_t s = 0;

        ck_assert_msg(num_parse_u64(str_from(table[i].text), &u) == table[i].r_u64, "%s",
                      table[i].text);
        ck_assert_msg(num_parse_i64(str_from(table[i].text), &s) == table[i].r_i64, "%s",
                      table[i].text);
        ck_assert_uint_eq(u, table[i].u64);
        ck_assert_int_eq(s, table[i].i64);
    }
}
END_TEST

/* Against strtod(), which is right to the last bit, in the C locale that tests run in. */
START_TEST(num_doubles)
{
    static const char *const good[] = {
        "0",
        "-0",
        "1",
        "0.1",
        "0.7",
        "1e22",
        "1e23",
        "9007199254740993",
        "123456789012345678901234567890",
        "1.7976931348623157e308",
        "2.2250738585072014e-308",
        "4.9406564584124654e-324",
        "1e-400",
        "0.000000000000000000000000000000000000000001",
        "3.0e+2",
        "1E-2",
        "0.30000000000000004",
        "5e-324",
        "1e0",
        "100000000000000000000000000e-20",
        "0e99999999999999999999",
        "1e-99999999999999999999",
        "7205759403792793199999e-5",
    };
    static const char *const bad[] = {"",   "-",  ".5",    "5.",  "1e",  "1e+", "e5",  "+1",
                                      " 1", "1 ", "1.2.3", "0x1", "nan", "inf", "1,5", "--1"};
    double v;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_int_eq(num_parse_double(str_from(good[i]), &v), 0);
        ck_assert_msg(v == strtod(good[i], NULL), "%s is %.17g", good[i], v);
    }
    ck_assert_int_eq(num_parse_double(STR_LIT("-0"), &v), 0);
    ck_assert(signbit(v));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(num_parse_double(str_from(bad[i]), &v) == -EINVAL, "%s", bad[i]);
    }
    ck_assert_int_eq(num_parse_double(STR_LIT("1e309"), &v), -ERANGE);
    ck_assert_int_eq(num_parse_double(STR_LIT("-1e99999999999999999999"), &v), -ERANGE);
}
END_TEST

START_TEST(num_durations)
{
    static const struct {
        const char *text;
        uint64_t usec;
    } good[] = {
        {"0", 0},
        {"10us", 10},
        {"250ms", 250000},
        {"30s", 30 * USEC_PER_SEC},
        {"5m", 300 * USEC_PER_SEC},
        {"5min", 300 * USEC_PER_SEC},
        {"1h30m", 5400 * USEC_PER_SEC},
        {"2d", 172800 * USEC_PER_SEC},
        {"1.5s", 1500000},
        {"0s", 0},
        {"1h0.5s", 3600500000},
    };
    static const char *const bad[] = {"",    "30", "s",     "-1s",  "+1s", "1 s", " 1s",
                                      "1s ", "1x", "1..5s", "1e3s", "1S",  "1.s", "5s5"};
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(num_parse_duration(str_from(good[i].text), &v) == 0, "%s", good[i].text);
        ck_assert_uint_eq(v, good[i].usec);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(num_parse_duration(str_from(bad[i]), &v) == -EINVAL, "%s", bad[i]);
    }
    ck_assert_int_eq(num_parse_duration(STR_LIT("1000000000000d"), &v), -ERANGE);
    ck_assert_int_eq(num_parse_duration(STR_LIT("100000000d100000000d100000000d"), &v), -ERANGE);
}
END_TEST

START_TEST(num_sizes)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},           {"512B", 512},        {"64KiB", 65536},
                {"4MiB", 4194304},  {"1GiB", 1073741824}, {"1kB", 1000},
                {"1.5MB", 1500000}, {"2GB", 2000000000}};
    static const char *const bad[] = {"",    "64",    "KiB",    "64kib", "64K",
                                      "-1B", "1 MiB", "1MiB1B", "1TiB"};
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(num_parse_size(str_from(good[i].text), &v) == 0, "%s", good[i].text);
        ck_assert_uint_eq(v, good[i].bytes);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(num_parse_size(str_from(bad[i]), &v) == -EINVAL, "%s", bad[i]);
    }
    ck_assert_int_eq(num_parse_size(STR_LIT("99999999999999GiB"), &v), -ERANGE);
}
END_TEST

START_TEST(num_formats_durations_that_parse_back)
{
    static const uint64_t table[] = {0,          1,          999,         1000,      1500,
                                     250000,     1500000,    30000000,    60000000,  90000000,
                                     3600000000, 5400000000, 86400000000, 3661000000};
    char text[32];
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_int_eq(num_parse_duration(str_from(num_format_duration(table[i], text)), &v), 0);
        ck_assert_uint_eq(v, table[i]);
    }
    ck_assert_str_eq(num_format_duration(250000, text), "250ms");
    ck_assert_str_eq(num_format_duration(USEC_NEVER, text), "never");
}
END_TEST

START_TEST(num_formats_integers)
{
    static const char *const table[] = {"0", "9", "10", "4096", "18446744073709551615"};
    char text[NUM_U64_BYTES];
    uint64_t v;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_int_eq(num_parse_u64(str_from(table[i]), &v), 0);
        ck_assert(str_is(num_format_u64(v, text), table[i]));
    }
}
END_TEST

START_TEST(num_clamps)
{
    ck_assert_uint_eq(num_clamp_u64(5, 1, 3), 3);
    ck_assert_uint_eq(num_clamp_u64(0, 1, 3), 1);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, num_integers);
    tcase_add_test(tc, num_doubles);
    tcase_add_test(tc, num_durations);
    tcase_add_test(tc, num_sizes);
    tcase_add_test(tc, num_formats_durations_that_parse_back);
    tcase_add_test(tc, num_formats_integers);
    tcase_add_test(tc, num_clamps);
}

TEST_MAIN("num", add_tests)
