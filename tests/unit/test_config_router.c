/*
 * router_settings and the same keys under litellm_settings: what they become, which of the two wins,
 * and what is said about wrong ones.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config_support.h"

/* Two models, and a wildcard. */
#define MODELS                                                                                     \
    "model_list:\n"                                                                                \
    "- {model_name: big, litellm_params: {model: ollama/b}, model_info: {id: big-1}}\n"            \
    "- {model_name: small, litellm_params: {model: ollama/s}}\n"
#define ROUTER(keys) MODELS "router_settings: {" keys "}\n"

START_TEST(nothing_said_is_litellms_default)
{
    struct config *c = parse(MODELS);
    const struct config_routing *r = &c->routing;

    ck_assert_int_eq(r->strategy, ROUTING_SHUFFLE);
    ck_assert_uint_eq(r->max_retries, 2);
    ck_assert_uint_eq(r->retry_after_usec, 0);
    ck_assert_int_eq(r->allowed_fails, FAIL_POLICY_UNSET);
    ck_assert_int_eq(r->retries.otherwise, FAIL_POLICY_UNSET);
    ck_assert_uint_eq(r->cooldown_usec, 5 * USEC_PER_SEC);
    ck_assert(!r->has_no_cooldowns && !r->has_tag_filter && r->tags_match_any);
    ck_assert_uint_eq(r->max_fallbacks, 5);
    ck_assert_uint_eq(r->n_aliases, 0);
    ck_assert_uint_eq(c->deployments[0].total_usec, 0);
    ck_assert(!c->deployments[0].enforces_rates);
    config_free(c);
}
END_TEST

static const char everything[] =
    MODELS "router_settings:\n"
           "  routing_strategy: least-busy\n"
           "  num_retries: '4'\n"
           "  retry_after: 1.5\n"
           "  retry_policy: {TimeoutErrorRetries: 1, RateLimitErrorRetries: 0, DefaultRetries: 7,\n"
           "                 AuthenticationErrorRetries: ~}\n"
           "  model_group_retry_policy: {small: {BadRequestErrorRetries: 9}}\n"
           "  allowed_fails: 3\n"
           "  allowed_fails_policy: {InternalServerErrorAllowedFails: 20}\n"
           "  cooldown_time: 30\n"
           "  disable_cooldowns: true\n"
           "  fallbacks: [{big: [small]}, {'*': [small, big]}]\n"
           "  context_window_fallbacks: [{small: big}]\n"
           "  content_policy_fallbacks: [{big: [big-1]}]\n"
           "  default_fallbacks: [small]\n"
           "  max_fallbacks: 2\n"
           "  model_group_alias: {gpt-4: big, secret: {model: small, hidden: true}}\n"
           "  timeout: 100\n"
           "  stream_timeout: 20\n"
           "  ttft_timeout: 30\n"
           "  stream_idle_timeout: 9\n"
           "  default_max_parallel_requests: 6\n"
           "  enable_tag_filtering: true\n"
           "  tag_filtering_match_any: false\n"
           "  enable_pre_call_checks: true\n"
           "  optional_pre_call_checks: [enforce_model_rate_limits]\n"
           "litellm_settings: {drop_params: 'true'}\n";

START_TEST(every_routing_key)
{
    struct config *c = parse(everything);
    const struct config_routing *r = &c->routing;
    char *text = print(c, false);

    ck_assert_msg(!config_has_errors(c) && !strstr(text, "unsupported"), "%s", text);
    free(text);
    ck_assert_int_eq(r->strategy, ROUTING_LEAST_BUSY);
    ck_assert_uint_eq(r->max_retries, 4);
    ck_assert_uint_eq(r->retry_after_usec, 1500 * USEC_PER_MSEC);
    ck_assert_int_eq(r->retries.by_cause[FAIL_TIMEOUT], 1);
    ck_assert_int_eq(r->retries.by_cause[FAIL_RATE_LIMIT], 0);
    ck_assert_int_eq(r->retries.by_cause[FAIL_AUTHENTICATION], FAIL_POLICY_UNSET);
    ck_assert_int_eq(r->retries.otherwise, 7);
    ck_assert_uint_eq(r->n_group_policies, 1);
    ck_assert_str_eq(r->group_policies[0].group, "small");
    ck_assert_int_eq(r->group_policies[0].retries.by_cause[FAIL_BAD_REQUEST], 9);
    ck_assert_int_eq(r->group_policies[0].retries.by_cause[FAIL_TIMEOUT], FAIL_POLICY_UNSET);
    ck_assert_int_eq(r->allowed_fails, 3);
    ck_assert_int_eq(r->allowed_fails_by_cause.by_cause[FAIL_SERVER], 20);
    ck_assert_uint_eq(r->cooldown_usec, 30 * USEC_PER_SEC);
    ck_assert(r->has_no_cooldowns && r->has_tag_filter && !r->tags_match_any && r->checks_context);
    ck_assert(r->drops_params);
    ck_assert_uint_eq(r->max_fallbacks, 2);
    ck_assert_uint_eq(r->n_fallbacks[FALLBACK_GENERAL], 2);
    ck_assert_str_eq(r->fallbacks[FALLBACK_GENERAL][0].group, "big");
    ck_assert_str_eq(r->fallbacks[FALLBACK_GENERAL][0].targets.items[0], "small");
    ck_assert_str_eq(r->fallbacks[FALLBACK_GENERAL][1].group, "*");
    ck_assert_uint_eq(r->fallbacks[FALLBACK_GENERAL][1].targets.n_items, 2);
    ck_assert_str_eq(r->fallbacks[FALLBACK_CONTEXT][0].targets.items[0], "big");
    ck_assert_str_eq(r->fallbacks[FALLBACK_CONTENT_POLICY][0].targets.items[0], "big-1");
    ck_assert_str_eq(r->default_fallbacks.items[0], "small");
    ck_assert_uint_eq(r->n_aliases, 2);
    ck_assert_str_eq(r->aliases[0].name, "gpt-4");
    ck_assert_str_eq(r->aliases[0].group, "big");
    ck_assert(!r->aliases[0].is_hidden && r->aliases[1].is_hidden);
    ck_assert_uint_eq(c->deployments[1].total_usec, 100 * USEC_PER_SEC);
    ck_assert_uint_eq(c->deployments[1].first_byte_usec, 20 * USEC_PER_SEC);
    ck_assert_uint_eq(c->deployments[1].gap_usec, 9 * USEC_PER_SEC);
    ck_assert_uint_eq(c->deployments[1].slots, 6);
    ck_assert(c->deployments[1].enforces_rates);
    config_free(c);
}
END_TEST

START_TEST(a_deployment_goes_before_the_defaults)
{
    struct config *c = parse("router_settings: {timeout: 100, stream_timeout: 90,\n"
                             "  default_max_parallel_requests: 6}\n" ONE(
                                 "model: ollama/m, timeout: 5, stream_timeout: 4, "
                                 "max_parallel_requests: 2"));

    ck_assert_uint_eq(c->deployments[0].total_usec, 5 * USEC_PER_SEC);
    ck_assert_uint_eq(c->deployments[0].first_byte_usec, 4 * USEC_PER_SEC);
    ck_assert_uint_eq(c->deployments[0].slots, 2);
    config_free(c);
}
END_TEST

START_TEST(router_settings_wins_wherever_it_stands)
{
    static const char *const files[] = {
        MODELS "litellm_settings: {num_retries: 9, request_timeout: 70, allowed_fails: 8,\n"
               "  fallbacks: [{big: [nobody]}]}\n"
               "router_settings: {num_retries: 1, timeout: 60, fallbacks: [{small: [big]}]}\n",
        MODELS "router_settings: {num_retries: 1, timeout: 60, fallbacks: [{small: [big]}]}\n"
               "litellm_settings: {num_retries: 9, request_timeout: 70, allowed_fails: 8,\n"
               "  fallbacks: [{big: [nobody]}]}\n",
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct config *c = parse(files[i]);
        char *text = print(c, true);

        ck_assert_msg(!config_has_errors(c), "%s", text); /* nobody is never asked for */
        ck_assert_uint_eq(c->routing.max_retries, 1);
        ck_assert_int_eq(c->routing.allowed_fails, 8);
        ck_assert_uint_eq(c->routing.n_fallbacks[FALLBACK_GENERAL], 1);
        ck_assert_str_eq(c->routing.fallbacks[FALLBACK_GENERAL][0].group, "small");
        ck_assert_uint_eq(c->deployments[0].total_usec, 60 * USEC_PER_SEC);
        ck_assert_ptr_nonnull(
            strstr(text, "ignored: litellm_settings.num_retries: router_settings has it as well"));
        ck_assert_ptr_nonnull(strstr(text, "exact: litellm_settings.allowed_fails\n"));
        free(text);
        config_free(c);
    }
}
END_TEST

START_TEST(variables_may_stand_for_any_value)
{
    struct config *c;

    (void) setenv("SLUICE_TEST_A", "3", 1);
    (void) setenv("SLUICE_TEST_B", "true", 1);
    c = parse(ROUTER("num_retries: os.environ/SLUICE_TEST_A, disable_cooldowns: "
                     "os.environ/SLUICE_TEST_B, timeout: os.environ/SLUICE_TEST_A,\n"
                     "  retry_policy: {TimeoutErrorRetries: os.environ/SLUICE_TEST_A}"));
    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->routing.max_retries, 3);
    ck_assert(c->routing.has_no_cooldowns);
    ck_assert_int_eq(c->routing.retries.by_cause[FAIL_TIMEOUT], 3);
    ck_assert_uint_eq(c->deployments[0].total_usec, 3 * USEC_PER_SEC);
    config_free(c);
    clean_environment();
}
END_TEST

START_TEST(strategies)
{
    static const struct {
        const char *name, *line;
        enum routing_strategy strategy;
        bool enforces_rates;
    } cases[] = {
        {"simple-shuffle", "f:4:19: approximated: router_settings.routing_strategy: where",
         ROUTING_SHUFFLE, false},
        {"least-busy", "f:4:19: approximated: router_settings.routing_strategy: by the share",
         ROUTING_LEAST_BUSY, false},
        {"latency-based-routing", "f:4:19: approximated: router_settings.routing_strategy: by the",
         ROUTING_LATENCY, false},
        {"usage-based-routing", "f:4:19: approximated: router_settings.routing_strategy: simple",
         ROUTING_SHUFFLE, true},
        {"usage-based-routing-v2", "f:4:19: approximated: router_settings.routing_strategy: simple",
         ROUTING_SHUFFLE, true},
        {"cost-based-routing", "f:4:19: unsupported: router_settings.routing_strategy: money",
         ROUTING_SHUFFLE, false},
        {"lar1", "f:4:19: unsupported: router_settings.routing_strategy: this strategy",
         ROUTING_SHUFFLE, false},
        {"latency-base-routing",
         "f:4:37: error: router_settings.routing_strategy: not known; did you mean "
         "\"latency-based-routing\"",
         ROUTING_SHUFFLE, false},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char yaml[512];
        struct config *c;

        (void) snprintf(yaml, sizeof yaml, ROUTER("routing_strategy: %s"), cases[i].name);
        c = expect(yaml, false, cases[i].line);
        ck_assert_int_eq(c->routing.strategy, cases[i].strategy);
        ck_assert_int_eq(c->deployments[0].enforces_rates, cases[i].enforces_rates);
        config_free(c);
    }
}
END_TEST

START_TEST(what_is_said_about_wrong_values)
{
    static const struct {
        const char *yaml, *line;
    } cases[] = {
        {ROUTER("num_retries: many"),
         "f:4:32: error: router_settings.num_retries: expected a whole number, found a string"},
        {ROUTER("num_retries: -1"), "f:4:32: error: router_settings.num_retries: must be a whole "
                                    "number from 0 to 100"},
        {ROUTER("num_retries: 101"), "f:4:32: error: router_settings.num_retries: must be a whole"},
        {ROUTER("num_retries: 11"),
         "f:4:19: approximated: router_settings.num_retries: at most 10"},
        {ROUTER("num_retries: 1.5"),
         "f:4:32: error: router_settings.num_retries: expected a whole"},
        {ROUTER("num_retries: os.environ/SLUICE_TEST_A"),
         "f:4:32: error: router_settings.num_retries: the environment variable SLUICE_TEST_A is "
         "not set"},
        {ROUTER("retry_after: 2s"), "f:4:32: error: router_settings.retry_after: LiteLLM's times "
                                    "are plain seconds; write 2 without"},
        {ROUTER("timeout: 0"), "f:4:28: error: router_settings.timeout: must be from 0.001"},
        {ROUTER("timeout: soon"), "f:4:28: error: router_settings.timeout: expected seconds"},
        {ROUTER("cooldown_time: 0"), "f:4:19: approximated: router_settings.cooldown_time: 0 is"},
        {ROUTER("disable_cooldowns: 1"),
         "f:4:38: error: router_settings.disable_cooldowns: expected true or false, found a whole"},
        {ROUTER("retry_policy: [1]"),
         "f:4:33: error: router_settings.retry_policy: expected a map"},
        {ROUTER("retry_policy: {TimeoutRetries: 1}"),
         "f:4:34: error: router_settings.retry_policy.TimeoutRetries: unknown key; they are called"},
        {ROUTER("retry_policy: {TimeoutErrorRetrys: 1}"),
         "f:4:34: error: router_settings.retry_policy.TimeoutErrorRetrys: unknown key; did you mean "
         "\"TimeoutErrorRetries\"?"},
        {ROUTER("allowed_fails_policy: {BadGatewayErrorAllowedFails: 1}"),
         "f:4:42: unsupported: router_settings.allowed_fails_policy.BadGatewayErrorAllowedFails"},
        {ROUTER("model_group_retry_policy: {nobody: {DefaultRetries: 1}}"),
         "f:4:54: error: router_settings.model_group_retry_policy.nobody: no model_list entry"},
        {ROUTER("model_group_retry_policy: [x]"),
         "f:4:45: error: router_settings.model_group_retry_policy: expected a map"},
        /* the list that tutorials publish */
        {ROUTER("fallbacks: [small]"),
         "f:4:31: error: router_settings.fallbacks[0]: expected a map with one key, {MODEL: [MODEL, "
         "...]}, found a string; a list of names for every model is default_fallbacks"},
        {ROUTER("fallbacks: [{big: [small], small: [big]}]"),
         "f:4:31: error: router_settings.fallbacks[0]: expected a map with one key, {MODEL: [MODEL, "
         "...]}, found a map with several; each is an entry"},
        {ROUTER("fallbacks: [{}]"), "f:4:31: error: router_settings.fallbacks[0]: expected a map "
                                    "with one key, {MODEL: [MODEL, ...]}, found a map with none"},
        {ROUTER("fallbacks: [[big]]"),
         "f:4:31: error: router_settings.fallbacks[0]: expected a map with one key, {MODEL: [MODEL, "
         "...]}, found a list"},
        {ROUTER("fallbacks: {big: [small]}"),
         "f:4:30: error: router_settings.fallbacks: expected a list of {MODEL: [MODEL, ...]}"},
        {ROUTER("fallbacks: [{big: 4}]"),
         "f:4:37: error: router_settings.fallbacks[0].big: expected a list of names"},
        {ROUTER("fallbacks: [{big: [4]}]"),
         "f:4:38: error: router_settings.fallbacks[0].big[0]: expected a string"},
        {ROUTER("fallbacks: [{big: [smal]}]"),
         "f:4:38: error: router_settings.fallbacks[0].big[0]: no model_list entry serves \"smal\"; "
         "did you mean \"small\"?"},
        {ROUTER("fallbacks: [{bigg: [small]}]"),
         "f:4:31: error: router_settings.fallbacks[0]: no model_list entry serves \"bigg\""},
        {ROUTER("default_fallbacks: [nobody]"),
         "f:4:39: error: router_settings.default_fallbacks[0]: no model_list entry serves"},
        {ROUTER("default_fallbacks: {a: b}"),
         "f:4:38: error: router_settings.default_fallbacks: expected a list of names, found a map"},
        {ROUTER("model_group_alias: [a]"),
         "f:4:38: error: router_settings.model_group_alias: expected a map"},
        {ROUTER("model_group_alias: {a: [big]}"),
         "f:4:42: error: router_settings.model_group_alias.a: expected a string, found a list"},
        {ROUTER("model_group_alias: {a: {hidden: true}}"),
         "f:4:42: error: router_settings.model_group_alias.a: expected a name, or {model"},
        {ROUTER("model_group_alias: {a: {model: big, hidden: maybe}}"),
         "f:4:63: error: router_settings.model_group_alias.a.hidden: expected true or false"},
        {ROUTER("model_group_alias: {a: nobody}"),
         "f:4:42: error: router_settings.model_group_alias.a: no model_list entry serves"},
        {ROUTER("model_group_alias: {big: big}"),
         "f:4:44: error: router_settings.model_group_alias.big: the alias is the name"},
        {ROUTER("model_group_alias: {a: \"b\\tc\"}"),
         "f:4:42: error: router_settings.model_group_alias.a: a control character"},
        {ROUTER("optional_pre_call_checks: x"),
         "f:4:45: error: router_settings.optional_pre_call_checks: expected a list"},
        {ROUTER("optional_pre_call_checks: [enforce_model_rate_limit]"),
         "f:4:46: error: router_settings.optional_pre_call_checks[0]: not known; did you mean "
         "\"enforce_model_rate_limits\"?"},
        {ROUTER("optional_pre_call_checks: [prompt_caching]"),
         "f:4:46: unsupported: router_settings.optional_pre_call_checks[0]: callers"},
        {ROUTER("optional_pre_call_checks: [other]"),
         "f:4:46: unsupported: router_settings.optional_pre_call_checks[0]: there is no such"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        config_free(expect(cases[i].yaml, false, cases[i].line));
    }
}
END_TEST

START_TEST(wildcards_ids_and_aliases_serve_names)
{
    struct config *c = parse("model_list:\n"
                             "- {model_name: 'ollama/*', litellm_params: {model: ollama/x}}\n"
                             "- {model_name: 'a*b', litellm_params: {model: ollama/x}}\n"
                             "- {model_name: m, litellm_params: {model: ollama/x}, model_info: "
                             "{id: m-1}}\n"
                             "router_settings:\n"
                             "  model_group_alias: {other: m}\n"
                             "  default_fallbacks: [ollama/llama3, axb, other, m-1, m]\n");
    char *text = print(c, true);

    ck_assert_ptr_null(strstr(text, "no model_list entry"));
    free(text);
    config_free(c);
    config_free(expect("model_list:\n"
                       "- {model_name: 'ollama/*', litellm_params: {model: ollama/x}}\n"
                       "router_settings: {default_fallbacks: [ollamax]}\n",
                       false,
                       "f:3:39: error: router_settings.default_fallbacks[0]: no model_list"));
}
END_TEST

/* One key of router_settings with n times `item` in it, %d being its number. */
static struct buf many(const char *open, const char *item, size_t n, const char *close)
{
    struct buf yaml;

    buf_init(&yaml, 512 * 1024);
    ck_assert_int_eq(buf_printf(&yaml, MODELS "router_settings:\n  %s", open), 0);
    for (size_t i = 0; i < n; i++) {
        ck_assert_int_eq(buf_append_z(&yaml, i > 0 ? ", " : ""), 0);
        /* the form is one of this file's own */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        ck_assert_int_eq(buf_printf(&yaml, item, (int) i), 0);
#pragma GCC diagnostic pop
    }
    ck_assert_int_eq(buf_append_z(&yaml, close), 0);
    return yaml;
}

START_TEST(every_list_has_an_end)
{
    static const struct {
        const char *open, *item, *close;
        size_t most;
        const char *said;
    } cases[] = {
        {"fallbacks: [", "{big: [small]}", "]\n", CONFIG_MAX_FALLBACKS, "more than 256 entries"},
        {"model_group_alias: {", "a%d: big", "}\n", CONFIG_MAX_ALIASES, "more than 256 aliases"},
        {"default_fallbacks: [", "small", "]\n", CONFIG_MAX_NAMES, "more than 64 names"},
        {"fallbacks: [{big: [", "small", "]}]\n", CONFIG_MAX_NAMES, "more than 64 names"},
        {"model_group_retry_policy: {", "ollama%d: {}", "}\n", CONFIG_MAX_FALLBACKS,
         "more than 256 policies"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        for (size_t over = 0; over < 2; over++) {
            struct buf yaml =
                many(cases[i].open, cases[i].item, cases[i].most + over, cases[i].close);
            struct config *c = parse(buf_z(&yaml));
            char *text = print(c, false);

            ck_assert_msg((strstr(text, cases[i].said) != NULL) == (over == 1), "%s: %s",
                          cases[i].open, text);
            ck_assert_uint_le(c->routing.default_fallbacks.n_items, CONFIG_MAX_NAMES);
            ck_assert_uint_le(c->routing.n_fallbacks[FALLBACK_GENERAL], CONFIG_MAX_FALLBACKS);
            ck_assert_uint_le(c->routing.n_aliases, CONFIG_MAX_ALIASES);
            free(text);
            config_free(c);
            buf_done(&yaml);
        }
    }
}
END_TEST

static void parse_everything(void)
{
    struct config *c = NULL;
    int r = config_parse(str_from(everything), &c);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    config_free(c);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(parse_everything);
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, nothing_said_is_litellms_default);
    tcase_add_test(tc, every_routing_key);
    tcase_add_test(tc, a_deployment_goes_before_the_defaults);
    tcase_add_test(tc, router_settings_wins_wherever_it_stands);
    tcase_add_test(tc, variables_may_stand_for_any_value);
    tcase_add_test(tc, strategies);
    tcase_add_test(tc, what_is_said_about_wrong_values);
    tcase_add_test(tc, wildcards_ids_and_aliases_serve_names);
    tcase_add_test(tc, every_list_has_an_end);
    tcase_add_test(tc, every_allocation_may_fail);
}
TEST_MAIN("config_router", add_tests)
