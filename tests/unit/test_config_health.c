/* Background health checks: what general_settings and model_info say of them. */
#include "config_support.h"

#include "base/clock.h"

#define SEC USEC_PER_SEC
#define TWO                                                                                        \
    "model_list:\n"                                                                                \
    "- {model_name: a, litellm_params: {model: ollama/a}}\n"                                       \
    "- {model_name: b, litellm_params: {model: ollama/b}, model_info: {"
#define GENERAL(keys) FINE "general_settings: {" keys "}\n"

static void expect_info(const char *info, uint64_t check_usec, const char *line)
{
    char yaml[512];
    struct config *c;

    (void) snprintf(yaml, sizeof yaml, "%s%s}}\n", TWO, info);
    c = expect(yaml, false, line);
    ck_assert_uint_eq(c->deployments[0].check_usec, 10 * SEC);
    ck_assert_uint_eq(c->deployments[1].check_usec, check_usec);
    ck_assert_ptr_null(c->deployments[1].off_reason);
    ck_assert_uint_eq(c->health_usec, 0);
    config_free(c);
}

START_TEST(nothing_is_checked_unless_the_file_says_so)
{
    struct config *c = parse(GENERAL("health_check_interval: 5"));

    ck_assert_uint_eq(c->health_usec, 0);
    ck_assert_uint_eq(c->deployments[0].check_usec, 10 * SEC);
    config_free(c);
    c = parse(GENERAL("background_health_checks: false"));
    ck_assert_uint_eq(c->health_usec, 0);
    config_free(c);
}
END_TEST

START_TEST(how_often)
{
    struct config *c = expect(GENERAL("background_health_checks: true"), false,
                              "f:2:20: approximated: general_settings.background_health_checks: ");

    ck_assert_uint_eq(c->health_usec, 300 * SEC);
    ck_assert_uint_eq(c->max_health_checks, 0);
    config_free(c);
    c = parse(GENERAL("background_health_checks: 'true', health_check_interval: '7', "
                      "health_check_concurrency: 3"));
    ck_assert_uint_eq(c->health_usec, 7 * SEC);
    ck_assert_uint_eq(c->max_health_checks, 3);
    config_free(c);
    c = parse(GENERAL("background_health_checks: true, health_check_interval: 0"));
    ck_assert_uint_eq(c->health_usec, 0); /* as LiteLLM */
    config_free(c);
}
END_TEST

START_TEST(mistakes_refuse_nothing)
{
    static const char *const bad[][2] = {
        {"background_health_checks: [x], health_check_interval: 7", "f:2:46: error: "},
        {"background_health_checks: true, health_check_interval: -1", "f:2:75: error: "},
        {"background_health_checks: true, health_check_interval: 604801", "f:2:75: error: "},
        {"background_health_checks: true, health_check_interval: 1.5", "f:2:75: error: "},
        {"background_health_checks: true, health_check_concurrency: 0", "f:2:78: error: "},
        {"background_health_checks: true, background_health_check_model_groups: {}",
         "f:2:90: error: "},
    };

    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char yaml[512];
        struct config *c;

        (void) snprintf(yaml, sizeof yaml, FINE "general_settings: {%s}\n", bad[i][0]);
        c = expect(yaml, false, bad[i][1]);
        ck_assert_uint_eq(c->health_usec, i == 0 ? 0 : 300 * SEC);
        ck_assert_ptr_null(c->deployments[0].off_reason);
        config_free(c);
    }
}
END_TEST

START_TEST(which_groups)
{
    struct config *c = parse(TWO "}}\ngeneral_settings: {background_health_checks: true, "
                                 "background_health_check_model_groups: [b, unknown]}\n");

    ck_assert_uint_eq(c->deployments[0].check_usec, 0);
    ck_assert_uint_eq(c->deployments[1].check_usec, 10 * SEC);
    config_free(c);
}
END_TEST

START_TEST(what_a_deployment_says)
{
    expect_info("disable_background_health_check: true", 0, "f:3:67: exact: ");
    expect_info("disable_background_health_check: false", 10 * SEC, "f:3:67: exact: ");
    expect_info("disable_background_health_check: []", 10 * SEC, "f:3:100: error: ");
    expect_info("health_check_timeout: 2.5", 2500 * USEC_PER_MSEC, "f:3:67: approximated: ");
    expect_info("health_check_timeout: 100", 60 * SEC, "f:3:67: approximated: ");
    expect_info("health_check_timeout: 0", 10 * SEC, "f:3:89: error: ");
    expect_info("health_check_model: openai/x", 10 * SEC, "f:3:67: ignored: ");
}
END_TEST

static void parse_all(void)
{
    struct config *c = NULL;
    int r = config_parse(
        STR_LIT(TWO "health_check_timeout: 3}}\ngeneral_settings: {background_health_checks: true, "
                    "background_health_check_model_groups: [b]}\n"),
        &c);

    ck_assert(r == 0 || r == -ENOMEM);
    ck_assert(r < 0 || c->health_usec == 300 * SEC);
    if (r == 0) {
        config_free(c);
    }
}

START_TEST(every_allocation_failed_once)
{
    for_each_failed_allocation(parse_all);
}
END_TEST

static void add_tests(TCase *tc)
{
    tcase_add_checked_fixture(tc, clean_environment, NULL);
    tcase_add_test(tc, nothing_is_checked_unless_the_file_says_so);
    tcase_add_test(tc, how_often);
    tcase_add_test(tc, mistakes_refuse_nothing);
    tcase_add_test(tc, which_groups);
    tcase_add_test(tc, what_a_deployment_says);
    tcase_add_test(tc, every_allocation_failed_once);
}

TEST_MAIN("config_health", add_tests)
