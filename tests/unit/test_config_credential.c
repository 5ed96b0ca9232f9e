/* credential_list, and variables as values of every type. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_credential.h"
#include "config_support.h"

#define CREDENTIALS                                                                                \
    "credential_list:\n"                                                                           \
    "- credential_name: cloud\n"                                                                   \
    "  credential_values: {api_key: hunter2, api_base: 'https://cloud', organization: o}\n"        \
    "  credential_info: {description: for people}\n"

START_TEST(a_credential_stands_in_for_what_is_not_there)
{
    struct config *c = parse(
        CREDENTIALS
        "router_settings: {default_litellm_params: {organization: common}}\n"
        "model_list:\n"
        "- {model_name: a, litellm_params: {model: openai/a, litellm_credential_name: cloud}}\n"
        "- {model_name: b, litellm_params: {model: openai/b, litellm_credential_name: cloud,\n"
        "    api_base: 'https://own', organization: mine}}\n"
        "- {model_name: c, litellm_params: {model: ollama/c}}\n");
    const struct config_deployment *d = c->deployments;
    char *text = print(c, true);

    ck_assert_msg(!config_has_errors(c), "%s", text);
    ck_assert_ptr_null(strstr(text, "hunter2"));
    free(text);
    ck_assert_str_eq(d[0].api_key, "hunter2");
    ck_assert_str_eq(d[0].api_base, "https://cloud");
    ck_assert_str_eq(kv_find(&d[0].headers, "OpenAI-Organization"), "common");
    ck_assert_str_eq(d[1].api_key, "hunter2");
    ck_assert_str_eq(d[1].api_base, "https://own");
    ck_assert_str_eq(kv_find(&d[1].headers, "OpenAI-Organization"), "mine");
    ck_assert_ptr_null(d[2].api_key);
    config_free(c);
}
END_TEST

START_TEST(wrong_credentials)
{
    static const struct {
        const char *yaml, *line;
    } cases[] = {
        {FINE "credential_list: {a: b}",
         "f:2:18: error: credential_list: expected a list, found a map"},
        {FINE "credential_list: [a]", "f:2:19: error: credential_list[0]: expected a map with"},
        {FINE "credential_list: [{credential_values: {}}]",
         "f:2:19: error: credential_list[0]: credential_name is missing"},
        {FINE "credential_list: [{credential_name: a}]",
         "f:2:19: error: credential_list[0]: credential_values must be a map"},
        {FINE "credential_list: [{credential_name: 5, credential_values: {}}]",
         "f:2:37: error: credential_list[0].credential_name: expected a string"},
        {FINE "credential_list: [{credential_name: a, credential_values: [hunter2]}]",
         "f:2:59: error: credential_list[0].credential_values: credential_values must be a map"},
        {FINE "credential_list: [{credential_name: a, credential_values: {}, more: 1}]",
         "f:2:63: unsupported: credential_list[0].more: unknown key"},
        {CREDENTIALS "- {credential_name: cloud, credential_values: {}}\n" FINE,
         "f:5:21: error: credential_list[1].credential_name: this name is taken already, on line 2"},
        /* only who uses it needs it */
        {"credential_list: [{credential_name: a, credential_values: {api_key: "
         "os.environ/SLUICE_TEST_A}}]\n" ONE("model: openai/a, litellm_credential_name: a"),
         "f:1:69: error: credential_list[0].credential_values.api_key: the environment variable "
         "SLUICE_TEST_A is not set"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        config_free(expect(cases[i].yaml, false, cases[i].line));
    }

    struct config *c = parse("credential_list: [{credential_name: a, credential_values: {api_key: "
                             "os.environ/SLUICE_TEST_A}}]\n" FINE);

    ck_assert(!config_has_errors(c));
    config_free(c);
}
END_TEST

START_TEST(credentials_have_an_end)
{
    struct buf yaml;

    buf_init(&yaml, 64 * 1024);
    ck_assert_int_eq(buf_append_z(&yaml, FINE "credential_list:\n"), 0);
    for (int i = 0; i <= CONFIG_MAX_CREDENTIALS; i++) {
        ck_assert_int_eq(buf_printf(&yaml, "- {credential_name: c%d, credential_values: {}}\n", i),
                         0);
    }
    config_free(expect(buf_z(&yaml), true, "f:3:1: error: credential_list: more than 256"));
    buf_done(&yaml);
}
END_TEST

START_TEST(a_variable_may_stand_for_any_type)
{
    struct config *c;

    (void) setenv("SLUICE_TEST_A", "12", 1);
    (void) setenv("SLUICE_TEST_B", "False", 1);
    c = parse(ONE(
        "model: ollama/m, max_tokens: os.environ/SLUICE_TEST_A, think: "
        "os.environ/SLUICE_TEST_B,\n"
        "  timeout: os.environ/SLUICE_TEST_A, max_parallel_requests: "
        "os.environ/SLUICE_TEST_A,\n"
        "  drop_params: os.environ/SLUICE_TEST_B, tags: [x, os.environ/SLUICE_TEST_A],\n"
        "  odd: {deep: [os.environ/SLUICE_TEST_B]}") "sluice: {slots: os.environ/SLUICE_TEST_A, pressure: {enabled: "
                                                     "os.environ/SLUICE_TEST_B},\n"
                                                     "  http: {allowed_hosts: [os.environ/SLUICE_TEST_A]}}\n");
    const struct config_deployment *d = &c->deployments[0];
    char *text = print(c, true);

    ck_assert_msg(!config_has_errors(c), "%s", text);
    free(text);
    ck_assert_str_eq(kv_find(&d->options, "max_tokens"), "12");
    ck_assert_str_eq(kv_find(&d->options, "think"), "false");
    ck_assert_str_eq(kv_find(&d->options, "odd"), "{\"deep\":[false]}");
    ck_assert_uint_eq(d->total_usec, 12000000);
    ck_assert_uint_eq(d->slots, 12);
    ck_assert_str_eq(d->tags.items[1], "12");
    ck_assert_uint_eq(c->slots, 12);
    ck_assert(!c->pressure_enabled);
    ck_assert_str_eq(c->allowed_hosts[0], "12");
    config_free(c);
    clean_environment();
}
END_TEST

static void parse_credentials(void)
{
    struct config *c = NULL;
    int r = config_parse(
        STR_LIT(CREDENTIALS ONE("model: openai/a, litellm_credential_name: cloud")), &c);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    config_free(c);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(parse_credentials);
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, a_credential_stands_in_for_what_is_not_there);
    tcase_add_test(tc, wrong_credentials);
    tcase_add_test(tc, credentials_have_an_end);
    tcase_add_test(tc, a_variable_may_stand_for_any_type);
    tcase_add_test(tc, every_allocation_may_fail);
}
TEST_MAIN("config_credential", add_tests)
