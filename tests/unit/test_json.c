/*
 * JSON after the check: the walk, members by name, scalars, strings, writing. The check itself is
 * test_json_check.c's.
 */
#include "support.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "wire/json.h"

/* z, which must be JSON. */
static struct str checked(const char *z)
{
    struct json_error error = {0};

    ck_assert_msg(json_check(str_from(z), &error) == 0, "'%s': %s at %zu", z, error.text,
                  error.offset);
    return str_from(z);
}

/* ---- the walk */

/* "name=value|" for each member, "value|" for each element. */
static const char *walked(const char *z)
{
    static char text[4096];
    struct json_iter it;
    struct str name, value;
    size_t n = 0;

    text[0] = '\0';
    json_iter_init(&it, checked(z));
    while (json_next(&it, &name, &value)) {
        n += (size_t) snprintf(text + n, sizeof text - n, "%.*s%s%.*s|", STR_ARG(name),
                               name.ptr ? "=" : "", STR_ARG(value));
    }
    ck_assert(!json_next(&it, &name, &value)); /* the end stays the end */
    return text;
}

START_TEST(walk)
{
    static const char *const table[][2] = {
        {"{}", ""},
        {"[]", ""},
        {" { } ", ""},
        {"\n[\t]\r", ""},
        {"{\"a\":1}", "a=1|"},
        {"{\"a\":\"x\",\"b\":[1,{\"c\":\"]}\"}],\"d\":{\"e\":[]}}",
         "a=\"x\"|b=[1,{\"c\":\"]}\"}]|d={\"e\":[]}|"},
        {" { \"a\" : 1 , \"b\"\n:\t[ 1 , 2 ] , \"c\" : null } ", "a=1|b=[ 1 , 2 ]|c=null|"},
        {"[1,-2.5e3,true,false,null,\"s\",[],{}]", "1|-2.5e3|true|false|null|\"s\"|[]|{}|"},
        {"[ \"a\" , \"b\" ]", "\"a\"|\"b\"|"},
        {"[\"a:b,c\",\"\\\"\",\"\\\\\",\"\\\\\\\"]\"]",
         "\"a:b,c\"|\"\\\"\"|\"\\\\\"|\"\\\\\\\"]\"|"},
        {"{\"\":\"\"}", "=\"\"|"},
        {"{\"a\\\"b\":0,\"Y_y\":\"Y_y\"}", "a\\\"b=0|Y_y=\"Y_y\"|"},
        {"[[[[[]]]],[[\"[[[[[[[[\"]]]", "[[[[]]]]|[[\"[[[[[[[[\"]]|"},
        {"{\"a long name with many letters\":\"a long string with many letters\"}",
         "a long name with many letters=\"a long string with many letters\"|"},
        {"[{\"text\":\"}}}}}}}}}}}}}}}}}}\\\"}}\"},1]",
         "{\"text\":\"}}}}}}}}}}}}}}}}}}\\\"}}\"}|1|"},
        {"\"a string\"", ""},
        {"17", ""},
        {"null", ""},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_str_eq(walked(table[i][0]), table[i][1]);
    }
}
END_TEST

START_TEST(walk_of_nothing)
{
    struct json_iter it;
    struct str value;

    json_iter_init(&it, STR_NONE);
    ck_assert(!json_next(&it, NULL, &value));
    json_iter_init(&it, STR_LIT(""));
    ck_assert(!json_next(&it, NULL, &value));
}
END_TEST

/* Names may be left out, and then the values are the same. */
START_TEST(walk_without_names)
{
    struct json_iter it;
    struct str value;

    json_iter_init(&it, checked("{\"a\":1,\"b\":\"x\"}"));
    ck_assert(json_next(&it, NULL, &value));
    ck_assert_str_is(value, "1");
    ck_assert(json_next(&it, NULL, &value));
    ck_assert_str_is(value, "\"x\"");
    ck_assert(!json_next(&it, NULL, &value));
}
END_TEST

START_TEST(find)
{
    struct str o =
        checked("{\"Model\":0,\"model\":\"m\",\"mod\\u0065ls\":[1],\"\\u20ac\":2,\"\\\"\":3,\"\":4,"
                "\"inner\":{\"only here\":5},\"\\ud83d\\ude00\":6,\"nul\":null}");

    ck_assert_str_is(json_find(o, "model"), "\"m\"");
    ck_assert_str_is(json_find(o, "Model"), "0");
    ck_assert_str_is(json_find(o, "models"), "[1]");
    ck_assert_str_is(json_find(o, "\xe2\x82\xac"), "2");
    ck_assert_str_is(json_find(o, "\""), "3");
    ck_assert_str_is(json_find(o, ""), "4");
    ck_assert_str_is(json_find(json_find(o, "inner"), "only here"), "5");
    ck_assert_str_is(json_find(o, "\xf0\x9f\x98\x80"), "6");
    ck_assert_str_is(json_find(o, "nul"), "null");
    ck_assert_ptr_null(json_find(o, "only here").ptr);
    ck_assert_ptr_null(json_find(o, "MODEL").ptr);
    ck_assert_ptr_null(json_find(o, "modelss").ptr);
    ck_assert_ptr_null(json_find(o, "mode").ptr);
    ck_assert_ptr_null(json_find(o, "mod\\u0065ls").ptr);
    ck_assert_ptr_null(json_find(checked("[\"model\",1]"), "model").ptr);
    ck_assert_ptr_null(json_find(checked("\"model\""), "model").ptr);
    ck_assert_ptr_null(json_find(checked("{}"), "model").ptr);
    ck_assert_ptr_null(json_find(STR_NONE, "model").ptr);
}
END_TEST

/* ---- scalars */

START_TEST(types)
{
    ck_assert_int_eq(json_type(STR_LIT("null")), JSON_NULL);
    ck_assert_int_eq(json_type(STR_LIT(" false")), JSON_FALSE);
    ck_assert_int_eq(json_type(STR_LIT("true")), JSON_TRUE);
    ck_assert_int_eq(json_type(STR_LIT("-1")), JSON_NUMBER);
    ck_assert_int_eq(json_type(STR_LIT("0")), JSON_NUMBER);
    ck_assert_int_eq(json_type(STR_LIT("\"\"")), JSON_STRING);
    ck_assert_int_eq(json_type(STR_LIT("[]")), JSON_ARRAY);
    ck_assert_int_eq(json_type(STR_LIT("\n{}")), JSON_OBJECT);
    ck_assert_int_eq(json_type(STR_NONE), JSON_NULL);
    ck_assert(json_is_null(STR_NONE));
    ck_assert(json_is_null(STR_LIT("null")));
    ck_assert(!json_is_null(STR_LIT("0")));
    ck_assert(json_is_true(STR_LIT("true")));
    ck_assert(!json_is_true(STR_LIT("false")));
    ck_assert(!json_is_true(STR_LIT("\"true\"")));
    ck_assert(!json_is_true(STR_NONE));
}
END_TEST

START_TEST(integers)
{
    static const struct {
        const char *text;
        int64_t value;
        int r;
    } table[] = {
        {"0", 0, 0},
        {"-0", 0, 0},
        {"0.0", 0, 0},
        {"-0.0e5", 0, 0},
        {"0e-99999999999999999999", 0, 0},
        {"7", 7, 0},
        {" 7\n", 7, 0},
        {"-7", -7, 0},
        {"3.0", 3, 0},
        {"3.000", 3, 0},
        {"-3.0", -3, 0},
        {"30e-1", 3, 0},
        {"3e2", 300, 0},
        {"3E+2", 300, 0},
        {"0.5e1", 5, 0},
        {"0.005e3", 5, 0},
        {"12.5e1", 125, 0},
        {"10.20e2", 1020, 0},
        {"1e18", 1000000000000000000, 0},
        {"9007199254740993", 9007199254740993, 0},
        {"9223372036854775807", INT64_MAX, 0},
        {"9223372036854775807.0", INT64_MAX, 0},
        {"922337203685477580.7e1", INT64_MAX, 0},
        {"-9223372036854775808", INT64_MIN, 0},
        {"-9223372036854775808.0", INT64_MIN, 0},
        {"9223372036854775808", 0, -ERANGE},
        {"9223372036854775808.0", 0, -ERANGE},
        {"-9223372036854775809", 0, -ERANGE},
        {"1e19", 0, -ERANGE},
        {"1e400", 0, -ERANGE},
        {"1e99999999999999999999999999999999", 0, -ERANGE},
        {"123456789012345678901234567890", 0, -ERANGE},
        {"10000000000000000000000000000000000000000e-40", 1, 0},
        {"3.5", 0, -EINVAL},
        {"-0.1", 0, -EINVAL},
        {"1e-1", 0, -EINVAL},
        {"1e-400", 0, -EINVAL},
        {"1.00000000000000000000000000000001", 0, -EINVAL},
        {"\"3\"", 0, -EINVAL},
        {"true", 0, -EINVAL},
        {"null", 0, -EINVAL},
        {"[3]", 0, -EINVAL},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        int64_t v = 4711;
        int r = json_i64(checked(table[i].text), &v);

        ck_assert_msg(r == table[i].r, "'%s' is %d", table[i].text, r);
        ck_assert_msg(v == (r == 0 ? table[i].value : 4711), "'%s' is %lld", table[i].text,
                      (long long) v);
    }

    int64_t v;

    ck_assert_int_eq(json_i64(STR_NONE, &v), -EINVAL);
}
END_TEST

START_TEST(doubles)
{
    static const struct {
        const char *text;
        double value;
    } table[] = {{"0", 0},     {"0.7", 0.7}, {"-1.5e3", -1500}, {"1E-2", 0.01},
                 {"0.1", 0.1}, {" 2 ", 2},   {"1e22", 1e22},    {"123456789", 123456789}};
    double v = 0;

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_int_eq(json_double(checked(table[i].text), &v), 0);
        ck_assert_msg(v == table[i].value, "'%s' is %.17g", table[i].text, v);
    }
    ck_assert_int_eq(json_double(STR_LIT("1e400"), &v), -ERANGE);
    ck_assert_int_eq(json_double(STR_LIT("\"1\""), &v), -EINVAL);
    ck_assert_int_eq(json_double(STR_LIT("null"), &v), -EINVAL);
    ck_assert_int_eq(json_double(STR_NONE, &v), -EINVAL);
}
END_TEST

/* ---- strings */

static const struct {
    const char *text;
    struct str value;
} strings[] = {
    {"\"\"", {"", 0}},
    {"\"plain\"", {"plain", 5}},
    {" \"blanks around\"\n", {"blanks around", 13}},
    {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", {"\"\\/\b\f\n\r\t", 8}},
    {"\"\\u0041\\u00e9\\u20ac\"", {"A\xc3\xa9\xe2\x82\xac", 6}},
    {"\"\\ud83d\\ude00!\"", {"\xf0\x9f\x98\x80!", 5}},
    {"\"good\\u0000evil\"", {"good\0evil", 9}},
    {"\"a\\n\"", {"a\n", 2}},
    {"\"\\na\"", {"\na", 2}},
    {"\"\\uDBFF\\uDFFF\\uFFFF\\u007f\\u0080\\u07ff\\u0800\"",
     {"\xf4\x8f\xbf\xbf\xef\xbf\xbf\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80", 15}},
};

START_TEST(strings_resolved)
{
    struct arena a;
    struct buf out;

    arena_init(&a, 4096);
    buf_init(&out, 1024);
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        struct str value = checked(strings[i].text), dup = STR_NONE;

        ck_assert_int_eq(buf_append_z(&out, ">"), 0);
        ck_assert_int_eq(json_string(value, &out), 0);
        buf_consume(&out, 1);
        ck_assert(str_is_equal(buf_str(&out), strings[i].value));
        buf_clear(&out);
        ck_assert_int_eq(json_string_dup(value, &a, &dup), 0);
        ck_assert_ptr_nonnull(dup.ptr);
        ck_assert(str_is_equal(dup, strings[i].value));
        if (!strchr(strings[i].text, '\\')) {
            ck_assert(dup.ptr >= value.ptr && dup.ptr <= value.ptr + value.len); /* borrowed */
        }
    }
    buf_done(&out);
    arena_done(&a);
}
END_TEST

START_TEST(strings_that_are_none)
{
    static const char *const table[] = {"1", "null", "[\"a\"]", "{\"a\":\"b\"}", "true"};
    struct str dup;
    struct arena a;
    struct buf out;

    arena_init(&a, 64);
    buf_init(&out, 64);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_int_eq(json_string(str_from(table[i]), &out), -EINVAL);
        ck_assert_int_eq(json_string_dup(str_from(table[i]), &a, &dup), -EINVAL);
    }
    ck_assert_int_eq(json_string(STR_NONE, &out), -EINVAL);
    ck_assert_int_eq(json_string_dup(STR_NONE, &a, &dup), -EINVAL);
    ck_assert_uint_eq(out.len, 0);
    arena_done(&a);
    buf_done(&out);
}
END_TEST

START_TEST(strings_have_limits)
{
    struct str dup = STR_LIT("untouched");
    struct arena a;
    struct buf out;

    buf_init(&out, 8);
    ck_assert_int_eq(json_string(STR_LIT("\"123456789\""), &out), -ENOBUFS);
    ck_assert_int_eq(json_string(STR_LIT("\"12345678\\n\""), &out), -ENOBUFS);
    ck_assert_uint_eq(out.len, 0);
    ck_assert_int_eq(
        json_string(STR_LIT("\"\\u0031\\u0032\\u0033\\u0034\\u0035\\u0036\\u0037\\u0038\""), &out),
        0);
    ck_assert_str_is(buf_str(&out), "12345678");
    buf_done(&out);
    arena_init(&a, 0);
    ck_assert_int_eq(json_string_dup(STR_LIT("\"a\\nb\""), &a, &dup), -ENOMEM);
    ck_assert_str_is(dup, "untouched");
    ck_assert_int_eq(json_string_dup(STR_LIT("\"borrowed\""), &a, &dup), 0);
    ck_assert_str_is(dup, "borrowed");
    arena_done(&a);
}
END_TEST

/* ---- writing */

START_TEST(strings_written)
{
    static const struct {
        struct str value;
        const char *text;
    } table[] = {
        {{NULL, 0}, "\"\""},
        {{"", 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"\"\\/\b\f\n\r\t\x0b\0\x1f\x7f", 12},
         "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u000b\\u0000\\u001f\x7f\""},
        {{"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9}, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {{"a\xff"
          "b",
          3},
         "\"a\xef\xbf\xbd"
         "b\""},
        {{"\xe4\xb8", 2}, "\"\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"\xed\xa0\x80", 3}, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
        {{"x\xc0\xafy\n", 5}, "\"x\xef\xbf\xbd\xef\xbf\xbdy\\n\""},
    };
    struct buf out;

    buf_init(&out, 256);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_int_eq(json_write_string(&out, table[i].value), 0);
        ck_assert_str_is(buf_str(&out), table[i].text);
        ck_assert_int_eq(json_check(buf_str(&out), NULL), 0);
        buf_clear(&out);
    }
    buf_done(&out);
}
END_TEST

START_TEST(written_whole_or_not_at_all)
{
    struct buf out;

    for (size_t max = 1; max < 9; max++) {
        buf_init(&out, max);
        ck_assert_int_eq(buf_append_z(&out, "["), 0);
        ck_assert_int_eq(json_write_string(&out, STR_LIT("a\nb\x01")), -ENOBUFS);
        ck_assert_str_is(buf_str(&out), "[");
        buf_done(&out);
    }
    buf_init(&out, 13);
    ck_assert_int_eq(buf_append_z(&out, "["), 0);
    ck_assert_int_eq(json_write_string(&out, STR_LIT("a\nb\x01")), 0);
    ck_assert_str_is(buf_str(&out), "[\"a\\nb\\u0001\"");
    buf_done(&out);
}
END_TEST

/* A small generator of our own, so that a failure can be repeated: xorshift64. */
static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

START_TEST(strings_survive_the_round_trip)
{
    static const char *const parts[] = {"a",
                                        "\"",
                                        "\\",
                                        "\n",
                                        "\x01",
                                        "\xc3\xa9",
                                        "\xf0\x9f\x98\x80",
                                        "\xe2\x82\xac",
                                        "long plain text ",
                                        "/",
                                        "\\u0041"};
    uint64_t state = 42;
    struct buf in, text, out;

    buf_init(&in, 4096);
    buf_init(&text, 65536);
    buf_init(&out, 4096);
    for (unsigned i = 0; i < 2000; i++) {
        for (uint64_t n = next_random(&state) % 12; n > 0; n--) {
            ck_assert_int_eq(buf_append_z(&in, parts[next_random(&state) % ARRAY_LEN(parts)]), 0);
        }
        ck_assert_int_eq(json_write_string(&text, buf_str(&in)), 0);
        ck_assert_int_eq(json_check(buf_str(&text), NULL), 0);
        ck_assert_int_eq(json_string(buf_str(&text), &out), 0);
        ck_assert(str_is_equal(buf_str(&out), buf_str(&in)));
        buf_clear(&in);
        buf_clear(&text);
        buf_clear(&out);
    }
    buf_done(&in);
    buf_done(&text);
    buf_done(&out);
}
END_TEST

START_TEST(doubles_written)
{
    static const struct {
        double value;
        const char *text;
    } table[] = {
        {0, "0"},
        {-0.0, "-0"},
        {1, "1"},
        {0.1, "0.1"},
        {0.7, "0.7"},
        {-2.5, "-2.5"},
        {1e300, "1e+300"},
        {1.0 / 3, "0.3333333333333333"},
        {(double) 0.1F, "0.10000000149011612"},
        {DBL_MIN, "2.2250738585072014e-308"},
        {(double) NAN, "null"},
        {(double) INFINITY, "null"},
        {(double) -INFINITY, "null"},
        {123456789012345680.0, "1.2345678901234568e+17"},
    };
    struct buf out;

    buf_init(&out, 64);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_int_eq(json_write_double(&out, table[i].value), 0);
        ck_assert_str_is(buf_str(&out), table[i].text);
        ck_assert_int_eq(json_check(buf_str(&out), NULL), 0);
        buf_clear(&out);
    }
    buf_done(&out);
}
END_TEST

/* What is written reads back as the very same value, whatever its bits. */
START_TEST(doubles_survive_the_round_trip)
{
    uint64_t state = 7;
    struct buf out;

    buf_init(&out, 64);
    for (unsigned i = 0; i < 20000; i++) {
        uint64_t bits = next_random(&state);
        double v, back;

        memcpy(&v, &bits, sizeof v);
        if (!isfinite(v)) {
            continue;
        }
        ck_assert_int_eq(json_write_double(&out, v), 0);
        ck_assert_int_eq(json_double(buf_str(&out), &back), 0);
        ck_assert_msg(v == back, "%.17g came back from '%.*s' as %.17g", v, STR_ARG(buf_str(&out)),
                      back);
        buf_clear(&out);
    }
    buf_done(&out);
}
END_TEST

/* ---- out of memory */

static void use_everything(void)
{
    struct arena a;
    struct buf out;
    struct str dup;

    arena_init(&a, 4096);
    buf_init(&out, 4096);

    int r = json_write_string(&out, STR_LIT("a\nb"));

    ck_assert(r == 0 || r == -ENOMEM);
    r = json_write_double(&out, 0.5);
    ck_assert(r == 0 || r == -ENOMEM);
    r = json_string(STR_LIT("\"x\\ty\""), &out);
    ck_assert(r == 0 || r == -ENOMEM);
    r = json_string_dup(STR_LIT("\"x\\ty\""), &a, &dup);
    ck_assert(r == 0 || r == -ENOMEM);
    buf_done(&out);
    buf_init(&out, 2); /* too small for the raw text: resolved aside first */
    r = json_string(STR_LIT("\"\\u0041\\n\""), &out);
    ck_assert(r == 0 || r == -ENOMEM);
    arena_done(&a);
    buf_done(&out);
}

START_TEST(allocation_failures)
{
    for_each_failed_allocation(use_everything);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, walk);
    tcase_add_test(tc, walk_of_nothing);
    tcase_add_test(tc, walk_without_names);
    tcase_add_test(tc, find);
    tcase_add_test(tc, types);
    tcase_add_test(tc, integers);
    tcase_add_test(tc, doubles);
    tcase_add_test(tc, strings_resolved);
    tcase_add_test(tc, strings_that_are_none);
    tcase_add_test(tc, strings_have_limits);
    tcase_add_test(tc, strings_written);
    tcase_add_test(tc, written_whole_or_not_at_all);
    tcase_add_test(tc, strings_survive_the_round_trip);
    tcase_add_test(tc, doubles_written);
    tcase_add_test(tc, doubles_survive_the_round_trip);
    tcase_add_test(tc, allocation_failures);
}

TEST_MAIN("json", add_tests)
