/*
 * sluiced --check-config without the process around it: the verdict, the document, and what happens
 * without memory, without the file and without a disk to write to.
 */
#include "config/config_check.h"

#include "config_support.h"
#include "wire/json.h"

#define NOT_EXACT FINE "litellm_settings: {request_timeout: 60}\n"
#define UNSERVED  FINE "litellm_settings: {modify_params: true}\n"
#define IGNORED   FINE "litellm_settings: {cache: true}\n"
#define DEGRADED  FINE "modle_list: []\n"
#define REFUSED   "model_list: 5\n"

static const struct config_check plain = {.path = "f"};

START_TEST(the_verdict_is_the_worst_finding)
{
    static const struct {
        const char *yaml, *lenient, *strict;
    } cases[] = {{FINE, "ok", "ok"},
                 {IGNORED, "ok", "ok"},
                 {NOT_EXACT, "ok", "not exact"},
                 {UNSERVED, "unsupported", "unsupported"},
                 {DEGRADED, "degraded", "degraded"},
                 {REFUSED, "refused", "refused"}};

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = parse(cases[i].yaml);

        ck_assert_str_eq(config_check_verdict(c, false), cases[i].lenient);
        ck_assert_str_eq(config_check_verdict(c, true), cases[i].strict);
        config_free(c);
    }
}
END_TEST

START_TEST(the_document_is_json_whatever_the_texts_hold)
{
    struct config_check check = {.path = "a \"b\"\n\x1b\xff"};
    struct config *c = parse(FINE);
    CLEANUP(buf_done) struct buf out;
    struct json_iter it;
    struct str finding;
    size_t n = 0;

    ck_assert_int_eq(config_add_finding(c, FINDING_ERROR, true, (struct finding_place) {0, 7, 9},
                                        "a.\"b\"", "\\ \xf0"),
                     0);
    buf_init(&out, 65536);
    ck_assert_int_eq(config_check_json(c, &check, &out), 0);
    ck_assert_int_eq(json_check(buf_str(&out), NULL), 0);
    ck_assert_str_is(json_find(buf_str(&out), "file"), "\"a \\\"b\\\"\\n\\u001b\xef\xbf\xbd\"");
    ck_assert_str_is(json_find(buf_str(&out), "verdict"), "\"refused\"");
    ck_assert_str_is(json_find(buf_str(&out), "usable"), "false");
    ck_assert_str_is(json_find(buf_str(&out), "deployments"), "1");
    ck_assert_str_is(
        json_find(buf_str(&out), "summary"),
        "{\"exact\":4,\"approximated\":0,\"ignored\":0,\"unsupported\":0,\"errors\":1}");
    json_iter_init(&it, json_find(buf_str(&out), "findings"));
    while (json_next(&it, NULL, &finding)) {
        n++;
    }
    ck_assert_uint_eq(n, c->n_findings);
    ck_assert_str_is(
        finding,
        "{\"file\":\"a \\\"b\\\"\\n\\u001b�\",\"line\":7,\"column\":9,\"kind\":\"error\",\"path\":\"a.\\\"b\\\"\","
        "\"text\":\"\\\\ \xef\xbf\xbd\",\"fatal\":true}");
    config_free(c);
}
END_TEST

START_TEST(a_document_that_does_not_fit_is_an_error)
{
    struct config *c = parse(NOT_EXACT);
    CLEANUP(buf_done) struct buf whole, small;

    buf_init(&whole, 65536);
    ck_assert_int_eq(config_check_json(c, &plain, &whole), 0);
    buf_init(&small, whole.len - 1);
    ck_assert_int_eq(config_check_json(c, &plain, &small), -ENOBUFS);
    config_free(c);
}
END_TEST

static struct config *of_no_memory;

static void document_or_no_memory(void)
{
    CLEANUP(buf_done) struct buf out;

    buf_init(&out, 65536);

    int r = config_check_json(of_no_memory, &plain, &out);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
}

START_TEST(without_memory_there_is_no_document)
{
    of_no_memory = parse(NOT_EXACT);
    for_each_failed_allocation(document_or_no_memory);
    of_no_memory = config_free(of_no_memory);
}
END_TEST

/* The exit status, and what was printed on either stream; both freed by the caller. */
static int run(const struct config_check *check, char **ret_out, char **ret_err)
{
    size_t n_out = 0, n_err = 0;
    FILE *out = open_memstream(ret_out, &n_out), *err = open_memstream(ret_err, &n_err);

    ck_assert(out && err);

    int status = config_check_run(check, out, err);

    (void) fclose(out);
    (void) fclose(err);
    return status;
}

START_TEST(a_file_that_cannot_be_read_is_told_in_either_form)
{
    struct config_check check = {.path = "/nowhere/f"};
    char *out = NULL, *err = NULL;

    ck_assert_int_eq(run(&check, &out, &err), EXIT_FAILURE);
    ck_assert_str_eq(out, "");
    ck_assert_str_eq(err, "sluiced: /nowhere/f: No such file or directory\n");
    free(out);
    free(err);
    check.is_json = true;
    ck_assert_int_eq(run(&check, &out, &err), EXIT_FAILURE);
    ck_assert_str_eq(out, "{\"file\":\"/nowhere/f\",\"verdict\":\"unreadable\",\"error\":{\"code\":"
                          "\"unreadable\",\"message\":\"No such file or directory\"}}\n");
    ck_assert_str_eq(err, "");
    free(out);
    free(err);
}
END_TEST

START_TEST(the_last_line_counts_the_findings)
{
    struct config_check check = {.path = TEST_SOURCE "/config/examples/litellm-ollama.yaml"};
    char *out = NULL, *err = NULL;

    ck_assert_int_eq(run(&check, &out, &err), EXIT_SUCCESS);
    ck_assert_msg(strstr(out,
                         ": ok: 1 deployments; 5 exact, 0 approximated, 0 ignored, 0 unsupported, "
                         "0 errors\n"),
                  "%s", out);
    free(out);
    free(err);
}
END_TEST

START_TEST(findings_that_cannot_be_written_are_no_success)
{
    struct config_check check = {.path = TEST_SOURCE "/config/sluice.yaml"};

    for (int is_json = 0; is_json < 2; is_json++) {
        FILE *full = fopen("/dev/full", "w");
        char *err_text = NULL;
        size_t n = 0;
        FILE *err = open_memstream(&err_text, &n);

        ck_assert(full && err);
        check.is_json = is_json;
        ck_assert_int_eq(config_check_run(&check, full, err), EXIT_FAILURE);
        (void) fclose(full);
        (void) fclose(err);
        ck_assert_ptr_nonnull(strstr(err_text, "No space left"));
        free(err_text);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, the_verdict_is_the_worst_finding);
    tcase_add_test(tc, the_document_is_json_whatever_the_texts_hold);
    tcase_add_test(tc, a_document_that_does_not_fit_is_an_error);
    tcase_add_test(tc, without_memory_there_is_no_document);
    tcase_add_test(tc, a_file_that_cannot_be_read_is_told_in_either_form);
    tcase_add_test(tc, the_last_line_counts_the_findings);
    tcase_add_test(tc, findings_that_cannot_be_written_are_no_success);
}
TEST_MAIN("config_check", add_tests)
