/*
 * sluicectl's terminal text: what models say must not steer the terminal. The source is compiled
 * in: a program has no library to link.
 */
#include "clients/cli/term.c"

#include "support.h"

#define BAD REPLACEMENT

/* Cleans text in pieces of every size; each must give the same. */
static void assert_clean(const char *in, size_t n, const char *want, bool keep_control)
{
    for (size_t piece = 1; piece <= n + 1; piece++) {
        struct term_text t = {.n_held = 0};
        char all[256] = "";

        for (size_t at = 0; at < n; at += piece) {
            char *part = term_clean(&t, in + at, n - at < piece ? n - at : piece, keep_control);

            ck_assert_ptr_nonnull(part);
            ck_assert_uint_lt(strlen(all) + strlen(part), sizeof(all));
            strcat(all, part);
            free(part);
        }
        if (t.n_held > 0) {
            strcat(all, BAD);
        }
        ck_assert_str_eq(all, want);
    }
}
#define ASSERT_CLEAN(in, want) assert_clean((in), sizeof(in) - 1, (want), false)

START_TEST(text_stays_text)
{
    ASSERT_CLEAN("plain\n\ttext", "plain\n\ttext");
    ASSERT_CLEAN("\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
                 "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80");
    /* the last ones */
    ASSERT_CLEAN("\xf4\x8f\xbf\xbf\xed\x9f\xbf", "\xf4\x8f\xbf\xbf\xed\x9f\xbf");
    ASSERT_CLEAN("", "");
}
END_TEST

START_TEST(controls_are_made_visible)
{
    ASSERT_CLEAN("\x1b[31mred", BAD "[31mred");
    ASSERT_CLEAN("\x1b]0;title\x07", BAD "]0;title" BAD);
    ASSERT_CLEAN("a\rb\bc\x7f", "a" BAD "b" BAD "c" BAD);
    ASSERT_CLEAN("a\0b", "a" BAD "b");
    /* CSI as C1 */
    ASSERT_CLEAN("\xc2\x9b"
                 "31m",
                 BAD "31m");
    ASSERT_CLEAN("\xc2\x80\xc2\x9f\xc2\xa0", BAD BAD "\xc2\xa0");
}
END_TEST

START_TEST(broken_utf8_is_replaced)
{
    /* C1 as a byte */
    ASSERT_CLEAN("\x9b"
                 "31m",
                 BAD "31m");
    ASSERT_CLEAN("\xc0\x9b[", BAD BAD "[");    /* an overlong escape */
    ASSERT_CLEAN("\xe0\x80\x9b", BAD BAD BAD); /* the same, longer */
    ASSERT_CLEAN("\xed\xa0\x80", BAD BAD BAD); /* a surrogate */
    ASSERT_CLEAN("\xf4\x90\x80\x80", BAD BAD BAD BAD);
    ASSERT_CLEAN("\xe2\x82", BAD);              /* cut */
    ASSERT_CLEAN("\xe2\x82\x1b[", BAD BAD "["); /* cut by an escape */
    ASSERT_CLEAN("\xf0\x9f\xf0\x9f\x98\x80", BAD "\xf0\x9f\x98\x80");
    ASSERT_CLEAN("\xff\xfe", BAD BAD);
}
END_TEST

START_TEST(json_keeps_controls_but_no_nul)
{
    assert_clean("\x1b[1m\r\0", 6, "\x1b[1m\r" BAD, true);
    assert_clean("\xff\xc3\xa4", 3, BAD "\xc3\xa4", true);
}
END_TEST

static void clean_once(void)
{
    struct term_text t = {.n_held = 0};

    free(term_clean(&t, "text", 4, false));
    free(term_clean_line("text"));
}

START_TEST(memory_may_fail)
{
    for_each_failed_allocation(clean_once);
}
END_TEST

/* A name with a newline in it must not look like another row. */
START_TEST(a_string_is_part_of_a_line)
{
    char text[64] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");
    char *clean = term_clean_line("a\nb\tc\xc3");

    ck_assert_ptr_nonnull(f);
    term_print(f, "a\nb\tc\xc3");
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_str_eq(text, "a b c" BAD);
    ck_assert_ptr_nonnull(clean);
    ck_assert_str_eq(clean, text);
    free(clean);
}
END_TEST

START_TEST(columns_count_characters)
{
    char text[64] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_eq(term_width("\xc3\xa4\xe2\x82\xac"), 2);
    term_column(f, "\xc3\xa4\x1b", 5);
    term_column(f, "too long", 3);
    term_print(f, "|\xe2");
    ck_assert_int_eq(fclose(f), 0);
    ck_assert_str_eq(text, "\xc3\xa4" BAD "   too long|" BAD);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_test(tc, text_stays_text);
    tcase_add_test(tc, controls_are_made_visible);
    tcase_add_test(tc, broken_utf8_is_replaced);
    tcase_add_test(tc, json_keeps_controls_but_no_nul);
    tcase_add_test(tc, memory_may_fail);
    tcase_add_test(tc, a_string_is_part_of_a_line);
    tcase_add_test(tc, columns_count_characters);
}

TEST_MAIN("cli_term", add_tests)
