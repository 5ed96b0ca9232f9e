/*
 * litellm_params that do not go into the body: who serves, after what, and how the server is spoken
 * to. What is said about wrong ones: test_config_findings.c.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "config_support.h"

#define CA_FILE TEST_SOURCE "/config/sluice.yaml" /* any file that can be read */

START_TEST(nothing_said)
{
    struct config *c = parse(FINE);
    const struct config_deployment *d = &c->deployments[0];

    ck_assert_uint_eq(d->order, 0);
    ck_assert(d->weight == 0 && d->rpm == 0 && d->tpm == 0);
    ck_assert_uint_eq(d->tags.n_items, 0);
    ck_assert(!d->is_local_only && !d->drops_params);
    ck_assert_int_eq(d->max_retries, FAIL_POLICY_UNSET);
    ck_assert_uint_eq(d->cooldown_usec, USEC_NEVER);
    ck_assert_uint_eq(d->headers.n_items, 0);
    ck_assert_uint_eq(d->body.n_items, 0);
    ck_assert_ptr_null(d->ca_file);
    ck_assert_str_eq(d->litellm_model, "ollama/m");
    config_free(c);
}
END_TEST

START_TEST(all_of_them)
{
    struct config *c = parse(ONE(
        "model: hosted_vllm/org/m, api_base: 'https://h/v1', order: '2', weight: 0.5, rpm: 30,\n"
        "  tpm: 6000, tags: [fast, local_only], num_retries: 3, max_retries: 9, cooldown_time: 0,\n"
        "  drop_params: true,\n"
        "  additional_drop_params: [user, 'messages[0].name', seed, extra_body.a.b, 'c[*].d'],\n"
        "  headers: {X-A: 1, X-B: low}, extra_headers: {x-b: high},\n"
        "  organization: org-1, ssl_verify: " CA_FILE ",\n"
        "  extra_body: {top_k: 5, guided: {a: [1]}}, zorg: 1"));
    const struct config_deployment *d = &c->deployments[0];
    char *text = print(c, false);

    ck_assert_msg(!config_has_errors(c), "%s", text);
    free(text);
    ck_assert_uint_eq(d->order, 2);
    ck_assert(d->weight == 0.5 && d->rpm == 30 && d->tpm == 6000);
    ck_assert_uint_eq(d->slots, 30); /* of rpm */
    ck_assert_uint_eq(d->tags.n_items, 2);
    ck_assert_str_eq(d->tags.items[0], "fast");
    ck_assert(d->is_local_only && d->drops_params);
    ck_assert_int_eq(d->max_retries, 3);
    ck_assert_uint_eq(d->cooldown_usec, 0);
    ck_assert_uint_eq(d->dropped_params.n_items, 4);
    ck_assert_str_eq(d->dropped_params.items[1], "seed");
    ck_assert_str_eq(d->dropped_params.items[2], "a.b");
    ck_assert_str_eq(d->dropped_params.items[3], "c[*].d");
    ck_assert_uint_eq(d->headers.n_items, 3);
    ck_assert_str_eq(kv_find(&d->headers, "X-A"), "1");
    ck_assert_str_eq(kv_find(&d->headers, "X-B"), "high");
    ck_assert_str_eq(kv_find(&d->headers, "OpenAI-Organization"), "org-1");
    ck_assert_str_eq(d->ca_file, CA_FILE);
    ck_assert_str_eq(kv_find(&d->body, "top_k"), "5");
    ck_assert_str_eq(kv_find(&d->body, "guided"), "{\"a\":[1]}");
    ck_assert_uint_eq(d->options.n_items, 1);
    ck_assert_str_eq(d->options.items[0].name, "zorg");
    ck_assert_str_eq(d->litellm_model, "hosted_vllm/org/m");
    config_free(c);
}
END_TEST

START_TEST(what_the_whole_file_says_of_a_deployment)
{
    struct config *c = parse(
        "router_settings: {default_litellm_params: {tags: [a], num_retries: 4, extra_headers: {X: y}}}\n"
        "litellm_settings: {drop_params: true, ssl_verify: " CA_FILE "}\n"
        "model_list:\n"
        "- {model_name: a, litellm_params: {model: openai/a, api_base: 'https://h'}}\n"
        "- {model_name: b, litellm_params: {model: openai/a, api_base: 'https://h', tags: [],\n"
        "    num_retries: 0, drop_params: false, ssl_verify: true}}\n");
    const struct config_deployment *a = &c->deployments[0], *b = &c->deployments[1];

    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(a->tags.n_items, 1);
    ck_assert_int_eq(a->max_retries, 4);
    ck_assert(a->drops_params && c->routing.drops_params);
    ck_assert_str_eq(a->ca_file, CA_FILE);
    ck_assert_str_eq(kv_find(&a->headers, "X"), "y");
    ck_assert_uint_eq(b->tags.n_items, 0);
    ck_assert_int_eq(b->max_retries, 0);
    ck_assert(!b->drops_params);
    ck_assert_ptr_null(b->ca_file);
    config_free(c);
}
END_TEST

#define ENTRY(name, params)                                                                        \
    "- {model_name: " name ", litellm_params: {model: openai/m, api_base: 'http://h', " params     \
    "}}\n"

START_TEST(a_group_is_weighed_in_one_measure)
{
    struct config *c = parse("model_list:\n" ENTRY("w", "weight: 3, rpm: 9") ENTRY("w", "rpm: 100")
                                 ENTRY("r", "rpm: 7, tpm: 9") ENTRY("r", "tpm: 100000")
                                     ENTRY("t", "tpm: 8") ENTRY("t", "user: u") ENTRY("n", "n: 1"));
    static const double weights[] = {3, 0, 7, 0, 8, 0, 0};

    ck_assert_uint_eq(c->n_deployments, ARRAY_LEN(weights));
    for (size_t i = 0; i < c->n_deployments; i++) {
        ck_assert_msg(c->deployments[i].weight == weights[i], "%zu: %g", i,
                      c->deployments[i].weight);
    }
    config_free(c);
}
END_TEST

START_TEST(slots_that_nobody_wrote)
{
    static const struct {
        const char *params;
        unsigned slots;
    } cases[] = {
        {"model: openai/m, api_base: 'http://h', rpm: 60", 60},
        {"model: openai/m, api_base: 'http://h', rpm: 100000", 1024},
        {"model: openai/m, api_base: 'http://h', tpm: 100000", 600},
        {"model: openai/m, api_base: 'http://h', tpm: 1", 1},
        {"model: openai/m, api_base: 'http://h', rpm: 60, max_parallel_requests: 2", 2},
        {"model: openai/m, api_base: 'http://h'", 5},
        {"model: ollama/m, rpm: 60", 5}, /* its slots cost memory */
        {"model: x, mock_response: y, rpm: 3", 3},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char yaml[512];
        struct config *c;

        (void) snprintf(yaml, sizeof yaml,
                        "router_settings: {default_max_parallel_requests: 5}\n" ONE("%s"),
                        cases[i].params);
        c = parse(yaml);
        ck_assert(!config_has_errors(c));
        ck_assert_uint_eq(c->deployments[0].slots, cases[i].slots);
        config_free(c);
    }
}
END_TEST

START_TEST(wildcards)
{
    struct config *c = parse("model_list:\n"
                             "- {model_name: '*', litellm_params: {model: ollama/*}}\n"
                             "- {model_name: 'v/*', litellm_params: {model: 'hosted_vllm/*', "
                             "api_base: 'http://h'}}\n"
                             "- {model_name: 'x-*', litellm_params: {model: ollama/one}}\n"
                             "- {model_name: 'm*', litellm_params: {model: 'any/*', mock_response: "
                             "y}}\n");

    ck_assert(!config_has_errors(c));
    ck_assert_str_eq(c->deployments[0].model, "*");
    ck_assert_str_eq(c->deployments[0].litellm_model, "ollama/*");
    ck_assert_str_eq(c->deployments[1].model, "*");
    ck_assert_str_eq(c->deployments[1].provider, "openai");
    ck_assert_str_eq(c->deployments[2].model, "one");
    ck_assert_str_eq(c->deployments[3].provider, "mock");
    config_free(c);
}
END_TEST

START_TEST(headers_and_bodies_have_an_end)
{
    struct buf yaml;

    buf_init(&yaml, 512 * 1024);
    for (int over = 0; over < 2; over++) {
        buf_clear(&yaml);
        ck_assert_int_eq(buf_append_z(&yaml, "model_list:\n- model_name: m\n  litellm_params:\n"
                                             "    model: openai/m\n    api_base: http://h\n"
                                             "    extra_body:\n"),
                         0);
        for (int i = 0; i < KV_MAX + over; i++) {
            ck_assert_int_eq(buf_printf(&yaml, "      b%d: 1\n", i), 0);
        }
        ck_assert_int_eq(buf_append_z(&yaml, "    extra_headers:\n"), 0);
        for (int i = 0; i < KV_MAX + over; i++) {
            ck_assert_int_eq(buf_printf(&yaml, "      h%d: 1\n", i), 0);
        }

        struct config *c = parse(buf_z(&yaml));

        ck_assert_int_eq(config_has_errors(c), over == 1);
        ck_assert_uint_eq(c->deployments[0].headers.n_items, KV_MAX);
        ck_assert_uint_eq(c->deployments[0].body.n_items, KV_MAX);
        config_free(c);
    }
    buf_clear(&yaml);
    ck_assert_int_eq(buf_append_z(&yaml,
                                  "model_list:\n- model_name: m\n  litellm_params:\n"
                                  "    model: openai/m\n    api_base: http://h\n    headers:\n"),
                     0);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(buf_printf(&yaml, "      h%d: '%04000d'\n", i, 1), 0);
    }
    config_free(
        expect(buf_z(&yaml), false,
               "f:9:11: error: model_list[0].litellm_params.headers.h2: more than 8192 bytes"));
    buf_done(&yaml);
}
END_TEST

static void parse_all(void)
{
    static const char yaml[] = "litellm_settings: {ssl_verify: " CA_FILE "}\n" ONE(
        "model: openai/m, api_base: 'https://h', weight: 1, tags: [a, b], extra_headers: {a: b},\n"
        "  organization: o, additional_drop_params: [c, input.d, e.f], extra_body: {d: [e]}");
    struct config *c = NULL;
    int r = config_parse(str_from(yaml), &c);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    config_free(c);
}

START_TEST(every_allocation_may_fail)
{
    for_each_failed_allocation(parse_all);
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    (void) setenv("OPENAI_API_KEY", "sk-x", 1);
    tcase_add_test(tc, nothing_said);
    tcase_add_test(tc, all_of_them);
    tcase_add_test(tc, what_the_whole_file_says_of_a_deployment);
    tcase_add_test(tc, a_group_is_weighed_in_one_measure);
    tcase_add_test(tc, slots_that_nobody_wrote);
    tcase_add_test(tc, wildcards);
    tcase_add_test(tc, headers_and_bodies_have_an_end);
    tcase_add_test(tc, every_allocation_may_fail);
}
TEST_MAIN("config_rules", add_tests)
