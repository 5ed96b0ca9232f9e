/* json_alike.h: what matches, and what must not although it looks so. JSON has ' for ". */
#include "support.h"

#include <stdio.h>

#include "wire/json.h"
#include "wire/json_alike.h"

#define TEXT(time, value) "{'t':'" time "','m':{'role':'x','content':'" value "'},'done':false}"

static struct json_alike g_alike;

/* With " for ', in memory of exactly its size, so that a sanitizer sees who reads behind it. */
static struct str exactly(const char *z)
{
    size_t n = strlen(z);
    char *text = malloc(n > 0 ? n : 1);

    ck_assert(text);
    for (size_t i = 0; i < n; i++) {
        text[i] = z[i] == '\'' ? '"' : z[i];
    }
    return (struct str) {text, n};
}

static void drop(struct str s)
{
    char *text = NULL;

    memcpy(&text, &s.ptr, sizeof text); /* exactly()'s own */
    free(text);
}

static void learn(const char *z, bool has_aside)
{
    struct str text = exactly(z);

    ck_assert_int_eq(json_check(text, NULL), 0);
    json_alike_learn(&g_alike, text, has_aside ? json_find(text, "t") : STR_NONE,
                     json_find(json_find(text, "m"), "content"));
    drop(text);
}

/* The value, or "-" where nothing matches. */
static const char *matched(const char *z)
{
    static char shown[256];
    struct str text = exactly(z), value;

    (void) snprintf(shown, sizeof shown, "-");
    if (json_alike_match(&g_alike, text, &value)) {
        ck_assert_int_eq(json_check(text, NULL), 0);
        ck_assert(str_is_equal(value, json_find(json_find(text, "m"), "content")));
        str_copy(value, shown, sizeof shown);
    }
    drop(text);
    return shown;
}

static void setup(void)
{
    json_alike_init(&g_alike);
}

static void teardown(void)
{
    json_alike_done(&g_alike);
}

START_TEST(only_the_value_differs)
{
    ck_assert_str_eq(matched(TEXT("1", "a")), "-");
    learn(TEXT("1", "a"), false);
    ck_assert_str_eq(matched(TEXT("1", "a")), "\"a\"");
    ck_assert_str_eq(matched(TEXT("1", "longer \\\" \\u00e4 \xc3\xa4")),
                     "\"longer \\\" \\u00e4 \xc3\xa4\"");
    ck_assert_str_eq(matched(TEXT("1", "")), "-");
    ck_assert_str_eq(matched(TEXT("2", "a")), "-");
    ck_assert_str_eq(matched("{'t':'1','m':{'role':'y','content':'a'},'done':false}"), "-");
    ck_assert_str_eq(matched("{'t':'1','m':{'role':'x','content':'a'},'done':true}"), "-");
    json_alike_forget(&g_alike);
    ck_assert_str_eq(matched(TEXT("1", "a")), "-");
}
END_TEST

START_TEST(the_time_differs_too)
{
    learn(TEXT("1", "a"), true);
    ck_assert_str_eq(matched(TEXT("1", "b")), "\"b\"");
    ck_assert_str_eq(matched(TEXT("2026-11-22T13:44:32.4Z", "b")), "\"b\"");
    ck_assert_str_eq(matched(TEXT("", "b")), "\"b\"");
    ck_assert_str_eq(matched(TEXT("a\\\"b", "b")), "-"); /* read in full: true, but rare */
    ck_assert_str_eq(matched(TEXT("\xff", "b")), "-");
    ck_assert_str_eq(matched(TEXT("1','t':'2", "b")), "-");
}
END_TEST

START_TEST(what_would_be_another_text)
{
    static const char *const table[] = {
        TEXT("1", "a','x':'b"),
        TEXT("1", "a','content':'b"),
        TEXT("1", "a\\"),
        TEXT("1", "a\n"),
        TEXT("1", "\xc3"),
        TEXT("1", "\\ud800"),
        "{'t':'1','m':{'role':'x','content':null},'done':false}",
        "{'t':'1','m':{'role':'x','content':['a']},'done':false}",
        "{'t':'1','m':{'role':'x','content': 'a'},'done':false}",
        "{'t':'1','m':{'role':'x','content':'},'done':false}",
        "",
    };

    learn(TEXT("1", "a"), false);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_str_eq(matched(table[i]), "-");
    }
    learn(TEXT("1", "a"), true);
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_str_eq(matched(table[i]), "-");
    }
}
END_TEST

START_TEST(every_prefix_of_a_text)
{
    const char *whole = TEXT("1", "abc");
    char part[256];

    for (int is_aside = 0; is_aside < 2; is_aside++) {
        learn(whole, is_aside);
        for (size_t n = 0; n < strlen(whole); n++) {
            str_copy((struct str) {whole, n}, part, sizeof part);
            ck_assert_str_eq(matched(part), "-");
        }
    }
}
END_TEST

START_TEST(a_large_text_is_not_learnt)
{
    static char text[JSON_ALIKE_MAX_BYTES + 64];

    for (int more = 0; more < 2; more++) {
        int n_fill = JSON_ALIKE_MAX_BYTES - 25 + more;
        int n = snprintf(text, sizeof text, "{'a':'%0*d','m':{'content':'a'}}", n_fill, 0);

        ck_assert_int_eq(n, JSON_ALIKE_MAX_BYTES + 3 + more);
        learn(text, false);
        ck_assert_str_eq(matched(text), more ? "-" : "\"a\"");
    }
}
END_TEST

static struct str g_text;

static void learn_and_match(void)
{
    struct str text = g_text, value;

    json_alike_init(&g_alike);
    json_alike_learn(&g_alike, text, STR_NONE, json_find(json_find(text, "m"), "content"));
    ck_assert(json_alike_match(&g_alike, text, &value) || allocation_failed());
    json_alike_done(&g_alike);
}

START_TEST(out_of_memory_learns_nothing)
{
    g_text = exactly(TEXT("1", "a"));
    for_each_failed_allocation(learn_and_match);
    drop(g_text);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, only_the_value_differs);
    tcase_add_test(tc, the_time_differs_too);
    tcase_add_test(tc, what_would_be_another_text);
    tcase_add_test(tc, every_prefix_of_a_text);
    tcase_add_test(tc, a_large_text_is_not_learnt);
    tcase_add_test(tc, out_of_memory_learns_nothing);
}

TEST_MAIN("json_alike", add_tests)
