/*
 * The first reason for which a file cannot be used, for people: with its place, whole characters,
 * and short enough.
 */
#include "config_open.h"

#include <unistd.h>

#include "base/log.h"
#include "config_support.h"

static char g_path[] = "/tmp/sluice-open-XXXXXX";

static void write_file(const char *text)
{
    FILE *f = fopen(g_path, "w");

    ck_assert_ptr_nonnull(f);
    ck_assert_int_ge(fputs(text, f), 0);
    ck_assert_int_eq(fclose(f), 0);
}

static void make_file(const char *text)
{
    (void) snprintf(g_path, sizeof g_path, "/tmp/sluice-open-XXXXXX");
    int fd = mkstemp(g_path);

    ck_assert_int_ge(fd, 0);
    (void) close(fd);
    write_file(text);
}

START_TEST(a_file_that_can_be_used)
{
    struct problem p = {.code = ERRCODE_INTERNAL};
    struct config *c;

    make_file(FINE);
    c = config_open(g_path, &p);
    ck_assert_ptr_nonnull(c);
    ck_assert_uint_eq(c->n_deployments, 1);
    ck_assert_str_eq(p.text, "");
    ck_assert_int_eq(p.code, ERRCODE_INTERNAL);
    config_free(c);
    (void) unlink(g_path);
}
END_TEST

START_TEST(the_first_reason_with_its_place)
{
    struct problem p = {.code = ERRCODE_NONE};
    char want[PROBLEM_TEXT_MAX];

    make_file("unknown_key: 1\n" FINE "sluice:\n  slots: 0\n  limits: {head: 5}\n");
    ck_assert_ptr_null(config_open(g_path, &p));
    (void) snprintf(want, sizeof want, "%s:4:10: sluice.slots: must be from 1 to 1024", g_path);
    ck_assert_str_eq(p.text, want);

    write_file("model_list: [\n");
    ck_assert_ptr_null(config_open(g_path, &p));
    ck_assert_int_eq(strncmp(p.text, g_path, strlen(g_path)), 0);
    (void) unlink(g_path);
    ck_assert_ptr_null(config_open(g_path, &p));
    (void) snprintf(want, sizeof want, "%s: cannot be read: No such file or directory", g_path);
    ck_assert_str_eq(p.text, want);
}
END_TEST

START_TEST(long_reasons_are_cut_between_characters)
{
    struct problem p = {.code = ERRCODE_NONE};
    char path[4096];

    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    for (size_t i = 0; i + 1 < sizeof path - 1; i += 2) {
        memcpy(path + i, "\xc3\xa4", 2);
    }
    ck_assert_ptr_null(config_open(path, &p));
    ck_assert_uint_eq(strlen(p.text), (PROBLEM_TEXT_MAX - 1) / 2 * 2);
    ck_assert(str_is_utf8(str_from(p.text)));
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    log_setup(LOG_FORMAT_TEXT, LOG_LEVEL_ERROR, NULL);
    tcase_add_test(tc, a_file_that_can_be_used);
    tcase_add_test(tc, the_first_reason_with_its_place);
    tcase_add_test(tc, long_reasons_are_cut_between_characters);
}

TEST_MAIN("config_open", add_tests)
