/* model_info, and the limits of general_settings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config_info.h"
#include "config_support.h"

/* One deployment with this model_info; it begins in line 4, column 16. */
#define INFO(info)                                                                                 \
    "model_list:\n- model_name: m\n  litellm_params: {model: ollama/m}\n  model_info: {" info "}\n"

START_TEST(all_of_it_is_kept)
{
    struct config *c =
        parse(INFO("id: i-1, mode: embedding, supports_vision: true, my_own: [1, ~],\n"
                   "  max_input_tokens: '4096', discoverable: no, access_groups: [g]"));
    const struct config_deployment *d = &c->deployments[0];

    ck_assert(!config_has_errors(c));
    ck_assert_str_eq(d->info, "{\"id\":\"i-1\",\"mode\":\"embedding\",\"supports_vision\":true,"
                              "\"my_own\":[1,null],\"max_input_tokens\":\"4096\","
                              "\"discoverable\":false,\"access_groups\":[\"g\"]}");
    ck_assert_uint_eq(d->max_input_tokens, 4096);
    ck_assert(d->is_hidden);
    config_free(c);
    c = parse(FINE);
    ck_assert_ptr_null(c->deployments[0].info);
    ck_assert_uint_eq(c->deployments[0].max_input_tokens, 0);
    ck_assert(!c->deployments[0].is_hidden);
    config_free(c);
}
END_TEST

START_TEST(what_is_said)
{
    static const struct {
        const char *yaml, *line;
        bool is_off;
    } cases[] = {
        {INFO("mode: chat"), "f:4:16: exact: model_list[0].model_info.mode: told", false},
        {INFO("my_own: 1"), "f:4:16: ignored: model_list[0].model_info.my_own: not known", false},
        {INFO("max_input_token: 1"),
         "f:4:16: error: model_list[0].model_info.max_input_token: unknown key; did you mean",
         false},
        {INFO("max_input_tokens: many"),
         "f:4:34: error: model_list[0].model_info.max_input_tokens: expected a whole", true},
        {INFO("max_input_tokens: 0"),
         "f:4:34: error: model_list[0].model_info.max_input_tokens: must be a whole", true},
        {INFO("discoverable: 5"),
         "f:4:30: error: model_list[0].model_info.discoverable: expected true", true},
        {INFO("blocked: os.environ/SLUICE_TEST_A"),
         "f:4:25: error: model_list[0].model_info.blocked: the environment variable", true},
        {INFO("my: {deep: [os.environ/SLUICE_TEST_A]}"),
         "f:4:28: error: model_list[0].model_info.my.deep[0]: the environment variable", true},
        {INFO("supported_environments: production"),
         "f:4:40: error: model_list[0].model_info.supported_environments: expected a list", true},
        {INFO("supported_environments: [production]"),
         "f:4:40: error: model_list[0].model_info.supported_environments: the variable "
         "LITELLM_ENVIRONMENT says",
         true},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = expect(cases[i].yaml, false, cases[i].line);

        ck_assert_msg((c->deployments[0].off_reason != NULL) == cases[i].is_off, "%s",
                      cases[i].yaml);
        config_free(c);
    }
}
END_TEST

START_TEST(an_environment_decides)
{
    struct config *c;

    (void) setenv("LITELLM_ENVIRONMENT", "staging", 1);
    c = parse(INFO("supported_environments: [production, staging]"));
    ck_assert_ptr_null(c->deployments[0].off_reason);
    config_free(c);
    c = parse(INFO("supported_environments: [production]"));
    ck_assert(!config_has_errors(c));
    ck_assert_ptr_nonnull(strstr(c->deployments[0].off_reason, "supported_environments"));
    config_free(c);
    (void) unsetenv("LITELLM_ENVIRONMENT");
}
END_TEST

START_TEST(it_has_an_end)
{
    struct buf yaml;

    buf_init(&yaml, 64 * 1024);
    for (int over = 0; over < 2; over++) {
        buf_clear(&yaml);
        ck_assert_int_eq(buf_printf(&yaml, INFO("a: '%0*d'"),
                                    CONFIG_MAX_INFO_BYTES - (int) strlen("{\"a\":\"\"}") + over, 1),
                         0);

        struct config *c = parse(buf_z(&yaml));

        ck_assert_int_eq(config_has_errors(c), over == 1);
        ck_assert_int_eq(c->deployments[0].info != NULL, over == 0);
        config_free(c);
    }
    buf_done(&yaml);
}
END_TEST

START_TEST(limits_of_general_settings)
{
    struct config *c = parse(FINE "general_settings: {max_parallel_requests: 4,\n"
                                  "  global_max_parallel_requests: '9', max_request_size_mb: 8}\n");

    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->deployments[0].slots, 4);
    ck_assert_uint_eq(c->routing.max_parallel, 9);
    ck_assert_uint_eq(c->max_body_bytes, 8 << 20);
    config_free(c);

    c = parse(FINE "general_settings: {max_parallel_requests: 4}\n"
                   "router_settings: {default_max_parallel_requests: 6}\n");
    ck_assert_uint_eq(c->deployments[0].slots, 6);
    config_free(c);

    c = expect(FINE "sluice: {limits: {body: 2MiB}}\ngeneral_settings: {max_request_size_mb: 9}\n",
               false, "f:3:20: ignored: general_settings.max_request_size_mb: sluice.limits.body");
    ck_assert_uint_eq(c->max_body_bytes, 2 << 20);
    config_free(c);

    c = expect(FINE "general_settings: {max_request_size_mb: 100}\n", false,
               "f:2:20: approximated: general_settings.max_request_size_mb: all bodies together");
    ck_assert_uint_eq(c->max_body_bytes, 100 << 20);
    ck_assert_uint_eq(c->max_buffered_bytes, 100 << 20);
    config_free(c);

    config_free(expect(FINE "sluice: {limits: {buffered: 40MiB}}\n"
                            "general_settings: {max_request_size_mb: 100}\n",
                       true, "f:3:41: error: general_settings.max_request_size_mb: sluice.limits"));
    c = parse(FINE "general_settings: {max_request_size_mb: 0.5}\n");
    ck_assert_uint_eq(c->max_body_bytes, 512 << 10);
    config_free(c);
    config_free(expect(FINE "general_settings: {max_request_size_mb: 0.0001}\n", true,
                       "f:2:41: error: general_settings.max_request_size_mb: must be at least"));
    config_free(expect(FINE "general_settings: {max_request_size_mb: 2000}\n", true,
                       "f:2:41: error: general_settings.max_request_size_mb: must be from 0 to"));
    config_free(expect(FINE "general_settings: {max_request_size_mb: big}\n", true,
                       "f:2:41: error: general_settings.max_request_size_mb: expected a number"));
    config_free(expect(FINE "general_settings: {global_max_parallel_requests: lots}\n", true,
                       "f:2:50: error: general_settings.global_max_parallel_requests: expected"));
    config_free(expect(FINE "general_settings: {max_parallel_requests: 0}\n", true,
                       "f:2:43: error: general_settings.max_parallel_requests: must be"));
    config_free(expect(FINE "general_settings: {max_parallel_requests: os.environ/SLUICE_TEST_A}\n",
                       true,
                       "f:2:43: error: general_settings.max_parallel_requests: the "
                       "environment variable SLUICE_TEST_A is not set"));
}
END_TEST

static void parse_info(void)
{
    struct config *c = NULL;
    int r = config_parse(STR_LIT(INFO("id: a, mode: chat, x: {y: z}")), &c);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    config_free(c);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(parse_info);
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, all_of_it_is_kept);
    tcase_add_test(tc, what_is_said);
    tcase_add_test(tc, an_environment_decides);
    tcase_add_test(tc, it_has_an_end);
    tcase_add_test(tc, limits_of_general_settings);
    tcase_add_test(tc, every_allocation_may_fail);
}
TEST_MAIN("config_info", add_tests)
