/* access_key: which names a list of models allows. */
#include "core/access_key.h"

#include "support.h"

static bool allows(const char *pattern, const char *name)
{
    struct access_key key = {.models = &pattern, .n_models = 1};

    return access_key_allows(&key, str_from(name));
}

START_TEST(stars_at_the_ends)
{
    static const struct {
        const char *pattern, *yes, *no;
    } rows[] = {
        {"m", "m", "mm"},
        {"m", "m", ""},
        {"*", "anything", NULL},
        {"*", "", NULL},
        {"**", "anything", NULL},
        {"a/*", "a/b", "a"},
        {"a/*", "a/", "b/a/"},
        {"*:7b", "x:7b", "x:7bb"},
        {"*:7b", ":7b", "7b"},
        {"*mid*", "amidb", "mdi"},
        {"*mid*", "mid", "mi"},
        {"aa*", "aa", "a"},
        {"*aa", "aaa", "a"},
        {"g*", "gpt-4o", "Gpt-4o"},
        {"\xc3\xbc*", "\xc3\xbcx", "\xc3x"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        ck_assert_msg(allows(rows[i].pattern, rows[i].yes), "%s: not %s", rows[i].pattern,
                      rows[i].yes);
        ck_assert_msg(!rows[i].no || !allows(rows[i].pattern, rows[i].no), "%s: also %s",
                      rows[i].pattern, rows[i].no);
    }
}
END_TEST

START_TEST(lists)
{
    static const char *const models[] = {"a", "b*"};
    struct access_key some = {.models = models, .n_models = 2}, all = {.n_models = 0};

    ck_assert(access_key_allows(NULL, str_from("x")));
    ck_assert(access_key_allows(&all, str_from("x")));
    ck_assert(access_key_allows(&some, str_from("a")));
    ck_assert(access_key_allows(&some, str_from("bb")));
    ck_assert(!access_key_allows(&some, str_from("x")));
    ck_assert(!access_key_allows(&some, STR_NONE));
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, stars_at_the_ends);
    tcase_add_test(tc, lists);
}

TEST_MAIN("access_key", add_tests)
