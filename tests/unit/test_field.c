/* field.h: typed members, their verdicts, and looking up several names at once. */
#include "support.h"

#include <errno.h>

#include "wire/field.h"
#include "wire/json.h"

static struct problem g_problem;

static struct field field(const char *value)
{
    return (struct field) {"size", value ? str_from(value) : STR_NONE, &g_problem};
}

START_TEST(absent_and_null_change_nothing)
{
    static const char *const values[] = {NULL, "null"};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct field f = field(values[i]);
        bool b = true;
        int64_t n = 5;
        double v = 1.5;
        struct str s = STR_LIT("x");

        ck_assert(!field_is_present(&f));
        ck_assert_int_eq(field_bool(&f, &b), 0);
        ck_assert_int_eq(field_i64(&f, 0, 1, &n), 0);
        ck_assert_int_eq(field_double(&f, 0, 1, &v), 0);
        ck_assert_int_eq(field_string(&f, NULL, &s), 0);
        ck_assert_int_eq(field_array(&f, &s), 0);
        ck_assert_int_eq(field_object(&f, &s), 0);
        ck_assert(b && n == 5 && str_is(s, "x"));
    }
}
END_TEST

START_TEST(values_of_the_right_type)
{
    struct field f = field("false");
    bool b = true;
    int64_t n = 0;
    double v = 0;
    struct str s = STR_NONE;

    ck_assert_int_eq(field_bool(&f, &b), 0);
    ck_assert(!b);
    f = field("7.0");
    ck_assert_int_eq(field_i64(&f, 7, 7, &n), 0);
    ck_assert_int_eq(n, 7);
    ck_assert_int_eq(field_double(&f, 7, 7, &v), 0);
    ck_assert_double_eq(v, 7);
    f = field("[1]");
    ck_assert_int_eq(field_array(&f, &s), 0);
    ck_assert_str_is(s, "[1]");
    f = field("{}");
    ck_assert_int_eq(field_object(&f, &s), 0);
    ck_assert_str_is(s, "{}");
}
END_TEST

START_TEST(the_type_that_came_is_named)
{
    static const struct {
        const char *value, *name;
    } table[] = {
        {"true", "a boolean"}, {"1", "a number"},   {"\"x\"", "a string"},
        {"[]", "an array"},    {"{}", "an object"}, {"null", "null"},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct field f = field(table[i].value);

        ck_assert_int_eq(field_fail_type(&f, "blue"), -EBADMSG);
        ck_assert_int_eq(g_problem.code, ERRCODE_INVALID_REQUEST);
        ck_assert_str_eq(g_problem.param, "size");
        ck_assert_ptr_nonnull(strstr(g_problem.text, "'size' must be blue, not "));
        ck_assert_ptr_nonnull(strstr(g_problem.text, table[i].name));
    }
}
END_TEST

START_TEST(paths_grow_from_the_inside)
{
    int r = field_fail(&g_problem, "url", "no");

    r = field_within(r, &g_problem, "image_url");
    r = field_within(r, &g_problem, "[%d]", 3);
    r = field_within(r, &g_problem, "content");
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert_str_eq(g_problem.param, "content[3].image_url.url");
    r = field_within(field_fail(&g_problem, "", "no"), &g_problem, "messages[%d]", 0);
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert_str_eq(g_problem.param, "messages[0]");
}
END_TEST

START_TEST(other_results_pass_unchanged)
{
    memset(&g_problem, 0x55, sizeof g_problem); /* nothing may be read of it */
    ck_assert_int_eq(field_within(0, &g_problem, "x"), 0);
    ck_assert_int_eq(field_within(-ENOMEM, &g_problem, "x"), -ENOMEM);
    ck_assert_int_eq(g_problem.param[0], 0x55);
}
END_TEST

START_TEST(long_paths_and_texts_are_cut)
{
    static const char ten[] = "0123456789";
    int r = field_fail(&g_problem, "x", "%0500d", 0);

    ck_assert_uint_eq(strlen(g_problem.text), PROBLEM_TEXT_MAX - 1);
    for (int i = 0; i < 10; i++) {
        r = field_within(r, &g_problem, "%s", ten);
    }
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert_uint_eq(strlen(g_problem.param), PROBLEM_PARAM_MAX - 1);
    r = field_within(r, &g_problem, "%0500d", 0);
    ck_assert_int_eq(r, -EBADMSG);
    ck_assert_uint_eq(strlen(g_problem.param), PROBLEM_PARAM_MAX - 1);
}
END_TEST

START_TEST(several_names_in_one_walk)
{
    static const struct str names[] = {FIELD_NAME("a"), FIELD_NAME("b"), FIELD_NAME("c")};
    struct str values[ARRAY_LEN(names)];

    field_pick(STR_LIT("{\"c\": 3,\"x\":[1],\"a\":{\"b\":9}}"), names, ARRAY_LEN(names), values);
    ck_assert_str_is(values[0], "{\"b\":9}");
    ck_assert(!values[1].ptr);
    ck_assert_str_is(values[2], "3");
    field_pick(STR_LIT("{\"\\u0062\":1,\"a\":2}"), names, ARRAY_LEN(names), values);
    ck_assert_str_is(values[0], "2");
    ck_assert_str_is(values[1], "1");
    field_pick(STR_LIT("[1]"), names, ARRAY_LEN(names), values);
    ck_assert(!values[0].ptr && !values[1].ptr && !values[2].ptr);
    field_pick(STR_NONE, names, ARRAY_LEN(names), values);
    ck_assert(!values[0].ptr);
}
END_TEST

START_TEST(counting)
{
    ck_assert_uint_eq(field_count(STR_LIT("[]")), 0);
    ck_assert_uint_eq(field_count(STR_LIT("[1,[2,3],{}]")), 3);
    ck_assert_uint_eq(field_count(STR_LIT("{\"a\":[1,2]}")), 1);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, absent_and_null_change_nothing);
    tcase_add_test(tc, values_of_the_right_type);
    tcase_add_test(tc, the_type_that_came_is_named);
    tcase_add_test(tc, paths_grow_from_the_inside);
    tcase_add_test(tc, other_results_pass_unchanged);
    tcase_add_test(tc, long_paths_and_texts_are_cut);
    tcase_add_test(tc, several_names_in_one_walk);
    tcase_add_test(tc, counting);
}

TEST_MAIN("field", add_tests)
