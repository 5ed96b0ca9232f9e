/*
 * str: comparisons, trimming, and what is UTF-8.
 */
#include "support.h"

START_TEST(str_compares)
{
    ck_assert(str_is(STR_LIT("abc"), "abc") && !str_is(STR_LIT("abc"), "abcd") &&
              !str_is(STR_LIT("abc"), "abd"));
    ck_assert(str_is(STR_NONE, "") && str_is_equal(STR_NONE, STR_LIT("")));
    ck_assert(str_is_nocase(STR_LIT("Content-Length"), "content-length") &&
              !str_is_nocase(STR_LIT("a"), "ab"));
    ck_assert(str_is_nocase(STR_NONE, "") && !str_is_nocase(STR_NONE, "a"));
    ck_assert(str_has_prefix(STR_LIT("abc"), "ab") && str_has_prefix(STR_NONE, "") &&
              !str_has_prefix(STR_LIT("a"), "ab"));
    ck_assert_str_is(str_trim(STR_LIT(" \t a b\t ")), "a b");
    ck_assert_str_is(str_trim(STR_LIT(" \t ")), "");
    ck_assert_str_is(str_trim(STR_NONE), "");
    ck_assert_ptr_null(str_from(NULL).ptr);
}
END_TEST

START_TEST(str_knows_control_characters)
{
    static const char *const with[] = {"\x1f", "a\n", "\x7f", "a\xc2\x80", "\xc2\x9f!"};
    static const char *const without[] = {"", " ~", "\xc2\xa0", "\xc3\x80", "\xe2\x82\xac"};

    for (size_t i = 0; i < sizeof with / sizeof *with; i++) {
        ck_assert_msg(str_has_control(str_from(with[i])), "%zu", i);
        ck_assert_msg(!str_has_control(str_from(without[i])), "%zu", i);
    }
    ck_assert(str_has_control(STR_LIT("\0")));
    ck_assert(!str_has_control(STR_NONE));
}
END_TEST

START_TEST(str_knows_utf8)
{
    static const struct {
        struct str s;
        bool is_utf8;
        size_t tail;
    } table[] = {
        {STR_LIT(""), true, 0},
        {STR_LIT("abc\x7f\0"), true, 0},
        {STR_LIT("\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), true,
         0},
        {STR_LIT("\xed\x9f\xbf\xee\x80\x80"), true, 0},
        {STR_LIT("a\xc3"), false, 1},
        {STR_LIT("a\xe2\x82"), false, 2},
        {STR_LIT("a\xe2"), false, 1},
        {STR_LIT("\xf0\x9f\x98"), false, 3},
        {STR_LIT("\xf0\x9f"), false, 2},
        {STR_LIT("\xf0"), false, 1},
        {STR_LIT("\x80"), false, 0},
        {STR_LIT("\xc0\xaf"), false, 0},
        {STR_LIT("\xc1\xbf"), false, 0},
        {STR_LIT("\xe0\x9f\xbf"), false, 0},
        {STR_LIT("\xed\xa0\x80"), false, 0},
        {STR_LIT("\xf0\x8f\xbf\xbf"), false, 0},
        {STR_LIT("\xf4\x90\x80\x80"), false, 0},
        {STR_LIT("\xf5\x80\x80\x80"), false, 0},
        {STR_LIT("\xff"), false, 0},
        {STR_LIT("\xe2\x82\x28"), false, 0},
        {STR_LIT("\x80\x80\x80\x80"), false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        ck_assert_msg(str_is_utf8(table[i].s) == table[i].is_utf8, "%zu", i);
        ck_assert_msg(str_utf8_tail(table[i].s) == table[i].tail, "%zu: %zu", i,
                      str_utf8_tail(table[i].s));
    }
    ck_assert(str_is(str_clip(STR_LIT("ab\xc3\xa9"), 4), "ab\xc3\xa9"));
    ck_assert(str_is(str_clip(STR_LIT("ab\xc3\xa9"), 3), "ab"));
    ck_assert(str_is(str_clip(STR_LIT("ab\xc3\xa9"), 1), "a"));
    ck_assert_uint_eq(str_clip(STR_LIT("\xc3\xa9"), 0).len, 0);
}
END_TEST

/* The vectors of its authors. */
START_TEST(str_hashes_as_fnv_1a)
{
    ck_assert_uint_eq(str_hash(STR_HASH_START, STR_NONE), 0x811c9dc5);
    ck_assert_uint_eq(str_hash(STR_HASH_START, STR_LIT("a")), 0xe40c292c);
    ck_assert_uint_eq(str_hash(str_hash(STR_HASH_START, STR_LIT("foo")), STR_LIT("bar")),
                      0xbf9cf968);
}
END_TEST

START_TEST(str_copies_what_fits)
{
    char text[4] = "xyz";

    str_copy(STR_NONE, text, sizeof text);
    ck_assert_str_eq(text, "");
    str_copy(STR_LIT("abc"), text, sizeof text);
    ck_assert_str_eq(text, "abc");
    str_copy(STR_LIT("defg"), text, sizeof text);
    ck_assert_str_eq(text, "def");
    str_copy(STR_LIT("h"), text, 1);
    ck_assert_str_eq(text, "");
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, str_compares);
    tcase_add_test(tc, str_hashes_as_fnv_1a);
    tcase_add_test(tc, str_copies_what_fits);
    tcase_add_test(tc, str_knows_utf8);
    tcase_add_test(tc, str_knows_control_characters);
}

TEST_MAIN("str", add_tests)
