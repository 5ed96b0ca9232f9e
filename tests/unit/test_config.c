/*
 * The configuration through config.h: what a file means. test_config_findings.c: what is said about
 * it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config_support.h"

START_TEST(the_plainest_file)
{
    struct config *c = parse("model_list:\n"
                             "  - model_name: codegemma\n"
                             "    litellm_params:\n"
                             "      model: ollama/codegemma:2b\n"
                             "      api_base: http://localhost:11434\n");
    const struct config_deployment *d = &c->deployments[0];
    char *text = print(c, false);

    ck_assert_str_eq(text, "");
    free(text);
    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->n_deployments, 1);
    ck_assert_str_eq(d->model_name, "codegemma");
    ck_assert_str_eq(d->provider, "ollama");
    ck_assert_str_eq(d->model, "codegemma:2b");
    ck_assert_str_eq(d->api_base, "http://localhost:11434");
    ck_assert_ptr_null(d->api_key);
    ck_assert_ptr_null(d->off_reason);
    ck_assert_uint_eq(strncmp(d->id, "codegemma-", 10), 0);
    ck_assert_uint_eq(strlen(d->id), 18);
    ck_assert_uint_eq(d->options.n_items, 0);
    ck_assert_uint_eq(d->total_usec, 0);
    ck_assert_uint_eq(d->first_byte_usec, 300 * USEC_PER_SEC);
    ck_assert_uint_eq(d->gap_usec, 60 * USEC_PER_SEC);
    ck_assert_uint_eq(d->connect_usec, 5 * USEC_PER_SEC);
    ck_assert_uint_eq(d->slots, 1);
    ck_assert_ptr_null(c->master_key);
    config_free(c);
}
END_TEST

static const char *option(const struct config *c, size_t i, const char *name)
{
    const char *value = kv_find(&c->deployments[i].options, name);

    return value ? value : "(none)";
}

START_TEST(every_parameter_that_must_be_read)
{
    struct config *c = parse("model_list:\n"
                             "- model_name: a\n"
                             "  litellm_params:\n"
                             "    model: ollama_chat/gemma\n"
                             "    api_key: sk-own\n"
                             "    timeout: 30\n"
                             "    stream_timeout: '2.5'\n"
                             "    stream_idle_timeout: 7\n"
                             "    max_tokens: 100\n"
                             "    temperature: 0.2\n"
                             "    top_p: 1\n"
                             "    seed: -4\n"
                             "    stop: [\"a\", 'b\"']\n"
                             "    num_ctx: 8_192\n"
                             "    keep_alive: 30m\n"
                             "    max_parallel_requests: 4\n"
                             "    think: false\n"
                             "    logit_bias: {50256: -100}\n"
                             "    frobnicate: [1, {a: ~}]\n"
                             "    extra_body: {top_k: 5, temperature: 9, other: x}\n"
                             "  model_info: {id: first, mode: chat}\n"
                             "- model_name: b\n"
                             "  litellm_params: {model: any/thing, mock_response: 'hi \"you\"'}\n"
                             "sluice: {slots: 3}\n");
    const struct config_deployment *d = &c->deployments[0];

    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->n_deployments, 2);
    ck_assert_str_eq(d->provider, "ollama");
    ck_assert_str_eq(d->api_base, "http://localhost:11434");
    ck_assert_str_eq(d->api_key, "sk-own");
    ck_assert_str_eq(d->id, "first");
    ck_assert_uint_eq(d->total_usec, 30 * USEC_PER_SEC);
    ck_assert_uint_eq(d->first_byte_usec, 2500 * USEC_PER_MSEC);
    ck_assert_uint_eq(d->gap_usec, 7 * USEC_PER_SEC);
    ck_assert_uint_eq(d->slots, 4);
    ck_assert_str_eq(option(c, 0, "max_tokens"), "100");
    ck_assert_str_eq(option(c, 0, "temperature"), "0.2");
    ck_assert_str_eq(option(c, 0, "top_p"), "1");
    ck_assert_str_eq(option(c, 0, "seed"), "-4");
    ck_assert_str_eq(option(c, 0, "stop"), "[\"a\",\"b\\\"\"]");
    ck_assert_str_eq(option(c, 0, "num_ctx"), "8192");
    ck_assert_str_eq(option(c, 0, "keep_alive"), "\"30m\"");
    ck_assert_str_eq(option(c, 0, "think"), "false");
    ck_assert_str_eq(option(c, 0, "logit_bias"), "{\"50256\":-100}");
    ck_assert_str_eq(option(c, 0, "frobnicate"), "[1,{\"a\":null}]");
    ck_assert_str_eq(option(c, 0, "top_k"), "5");
    ck_assert_str_eq(option(c, 0, "other"), "\"x\"");
    ck_assert_ptr_null(kv_find(&d->options, "extra_body"));
    ck_assert_ptr_null(kv_find(&d->options, "timeout"));

    d = &c->deployments[1];
    ck_assert_str_eq(d->provider, "mock");
    ck_assert_str_eq(d->model, "thing");
    ck_assert_str_eq(option(c, 1, "mock_response"), "\"hi \\\"you\\\"\"");
    ck_assert_ptr_null(d->api_base);
    ck_assert_uint_eq(d->slots, 3);
    config_free(c);
}
END_TEST

START_TEST(targets)
{
    static const struct {
        const char *params, *provider, *model, *base;
    } cases[] = {
        {"model: ollama/a, api_base: 'http://h:1/'", "ollama", "a", "http://h:1"},
        {"model: ollama/ns/a:7b, api_base: http://h/v1/", "ollama", "ns/a:7b", "http://h"},
        {"model: ollama_chat/a, api_base: http://h/api/generate", "ollama", "a", "http://h"},
        {"model: ollama/a, api_base: http://h/behind/proxy", "ollama", "a",
         "http://h/behind/proxy"},
        {"model: ollama/a, base_url: http://h", "ollama", "a", "http://h"},
        {"model: hosted_vllm/org/m, api_base: http://h:8000", "openai", "org/m",
         "http://h:8000/v1"},
        {"model: hosted_vllm/org/m, api_base: http://h:8000/v1", "openai", "org/m",
         "http://h:8000/v1"},
        {"model: openai/m, api_base: 'http://[::1]:8080/v1'", "openai", "m",
         "http://[::1]:8080/v1"},
        {"model: openai/m, api_base: http://h", "openai", "m", "http://h"},
        {"model: openai/m, api_base: 'unix:/run/llama.sock'", "openai", "m",
         "unix:/run/llama.sock"},
        {"model: openai/m, api_base: 'unix:/run/llama.sock:/v1'", "openai", "m",
         "unix:/run/llama.sock:/v1"},
        {"model: hosted_vllm/m, api_base: 'unix:/run/v.sock'", "openai", "m",
         "unix:/run/v.sock:/v1"},
        {"model: openai/m, api_base: 'HTTP://Host:1/V1'", "openai", "m", "http://host:1/V1"},
        {"model: llamafile/m", "openai", "m", "http://127.0.0.1:8080/v1"},
        {"model: groq/m, api_key: k", "openai", "m", "https://api.groq.com/openai/v1"},
        {"model: gpt-4o-mini, api_key: k", "openai", "gpt-4o-mini", "https://api.openai.com/v1"},
        {"model: o3, api_key: k", "openai", "o3", "https://api.openai.com/v1"},
        {"model: text-embedding-3-small, api_key: k", "openai", "text-embedding-3-small",
         "https://api.openai.com/v1"},
        {"model: gemma, custom_llm_provider: ollama", "ollama", "gemma", "http://localhost:11434"},
        {"model: org/m, custom_llm_provider: openai, api_key: k", "openai", "org/m",
         "https://api.openai.com/v1"},
        {"model: openai/m, custom_llm_provider: openai, api_key: k", "openai", "m",
         "https://api.openai.com/v1"},
        {"model: OPENAI, mock_response: x", "mock", "OPENAI", NULL},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf yaml;
        struct config *c;
        const struct config_deployment *d;

        buf_init(&yaml, 4096);
        ck_assert_int_eq(buf_printf(&yaml, ONE("%s"), cases[i].params), 0);
        c = parse(buf_z(&yaml));
        d = &c->deployments[0];
        ck_assert_msg(!d->off_reason, "%s: %s", cases[i].params, d->off_reason);
        ck_assert_str_eq(d->provider, cases[i].provider);
        ck_assert_str_eq(d->model, cases[i].model);
        ck_assert_pstr_eq(d->api_base, cases[i].base);
        config_free(c);
        buf_done(&yaml);
    }
}
END_TEST

START_TEST(ids_are_stable_distinct_and_free_of_keys)
{
    struct config *a =
        parse("model_list:\n"
              "- {model_name: m, litellm_params: {model: ollama/m, seed: 1, top_p: 1}}\n"
              "- {model_name: m, litellm_params: {model: ollama/m, seed: 2}}\n"
              "- {model_name: m, litellm_params: {model: ollama/m, seed: 2}}\n"
              "- {model_name: 'é x', litellm_params: {model: ollama/m}}\n");
    struct config *b =
        parse("model_list:\n"
              "- {model_name: m, litellm_params: {model: ollama/m, seed: 2}}\n"
              "- {model_name: m, litellm_params: {top_p: 1, model: ollama/m, seed: 1, "
              "api_key: k}}\n");
    size_t n = strlen(a->deployments[1].id);

    ck_assert_str_eq(a->deployments[0].id, b->deployments[1].id);
    ck_assert_str_eq(a->deployments[1].id, b->deployments[0].id);
    ck_assert_str_ne(a->deployments[0].id, a->deployments[1].id);
    ck_assert_int_eq(strncmp(a->deployments[1].id, a->deployments[2].id, n), 0);
    ck_assert_str_eq(a->deployments[2].id + n, "-2");
    ck_assert_int_eq(strncmp(a->deployments[3].id, "___x-", 5), 0);
    config_free(a);
    config_free(b);

    a = expect("model_list:\n"
               "- {model_name: a, litellm_params: {model: ollama/m}, model_info: {id: 7}}\n"
               "- {model_name: b, litellm_params: {model: ollama/m}, model_info: {id: '7'}}\n",
               false,
               "f:3:71: error: model_list[1].model_info.id: this id is taken already, on line 2");
    ck_assert_str_eq(a->deployments[0].id, "7");
    ck_assert_ptr_null(a->deployments[0].off_reason);
    ck_assert_ptr_nonnull(a->deployments[1].off_reason);
    ck_assert_str_ne(a->deployments[1].id, "7");
    config_free(a);
    config_free(
        expect("model_list: [{model_name: a, litellm_params: {model: ollama/m}, model_info: "
               "{id: \"a\\nb\"}}]",
               false, "f:1:82: error: model_list[0].model_info.id: expected 1 to 63"));
    config_free(
        expect("model_list: [{model_name: a, litellm_params: {model: ollama/m}, model_info: "
               "{id: [a]}}]",
               false, "f:1:82: error: model_list[0].model_info.id: expected a string"));
}
END_TEST

START_TEST(variables)
{
    struct config *c;

    (void) setenv("SLUICE_TEST_A", "http://from.process:1", 1);
    (void) setenv("SLUICE_TEST_B", "0.25", 1);
    c = parse("environment_variables:\n"
              "  SLUICE_TEST_A: http://from.file:2\n"
              "  COPIED: os.environ/SLUICE_TEST_A\n"
              "  HOSTED_VLLM_API_BASE: http://vllm:8000/v1\n"
              "  HOSTED_VLLM_API_KEY: vk\n"
              "model_list:\n"
              "- model_name: a\n"
              "  litellm_params:\n"
              "    model: ollama/a\n"
              "    api_base: os.environ/SLUICE_TEST_A\n"
              "    temperature: os.environ/SLUICE_TEST_B\n"
              "    timeout: os.environ/SLUICE_TEST_B\n"
              "    some: [os.environ/SLUICE_TEST_B, x os.environ/SLUICE_TEST_B]\n"
              "- {model_name: b, litellm_params: {model: ollama/a, api_base: os.environ/COPIED}}\n"
              "- {model_name: c, litellm_params: {model: hosted_vllm/c}}\n");
    ck_assert(!config_has_errors(c));
    ck_assert_str_eq(c->deployments[0].api_base, "http://from.file:2");
    ck_assert_str_eq(option(c, 0, "temperature"), "0.25");
    ck_assert_str_eq(option(c, 0, "some"), "[\"0.25\",\"x os.environ/SLUICE_TEST_B\"]");
    ck_assert_uint_eq(c->deployments[0].total_usec, USEC_PER_SEC / 4);
    ck_assert_str_eq(c->deployments[1].api_base, "http://from.process:1");
    ck_assert_str_eq(c->deployments[2].api_base, "http://vllm:8000/v1");
    ck_assert_str_eq(c->deployments[2].api_key, "vk");
    config_free(c);

    /* set, but of no use; what may be a key is not shown */
    (void) setenv("SLUICE_TEST_A", "sk-1/x", 1);
    config_free(
        expect("sluice: {timeouts: {drain: os.environ/SLUICE_TEST_A}}\n", true,
               "f:1:28: error: sluice.timeouts.drain: \"os.environ/...\" is not a duration"));
    config_free(expect("sluice: {limits: {head: os.environ/SLUICE_TEST_A}}\n", true,
                       "f:1:25: error: sluice.limits.head: \"os.environ/...\" is not a size"));
    config_free(expect(
        ONE("model: os.environ/SLUICE_TEST_A"), false,
        "f:3:27: error: model_list[0].litellm_params.model: provider \"os.environ/...\" is not known"));
    config_free(expect(
        ONE("model: x, custom_llm_provider: os.environ/SLUICE_TEST_A"), false,
        "f:3:51: error: model_list[0].litellm_params.custom_llm_provider: provider \"os.environ/...\" is not known"));
    (void) setenv("SLUICE_TEST_A", "sk-1", 1);
    config_free(expect(
        ONE("model: os.environ/SLUICE_TEST_A"), false,
        "f:3:27: error: model_list[0].litellm_params.model: \"os.environ/...\" names no provider"));
    (void) setenv("SLUICE_TEST_A", "", 1);
    config_free(expect(ONE("model: ollama/a, api_base: os.environ/SLUICE_TEST_A"), false,
                       "f:3:47: error: model_list[0].litellm_params.api_base: the environment"));
    (void) setenv("SLUICE_TEST_A", "\xff\xfe", 1);
    config_free(expect(ONE("model: ollama/a, user: os.environ/SLUICE_TEST_A"), false,
                       "f:3:43: error: model_list[0].litellm_params.user: the environment"));
    (void) setenv("SLUICE_TEST_A", "k\n", 1);
    config_free(
        expect(ONE("model: ollama/a, api_key: os.environ/SLUICE_TEST_A"), false,
               "f:3:46: error: model_list[0].litellm_params.api_key: a blank, a line break"));
    (void) setenv("SLUICE_TEST_A", "warm", 1);
    config_free(expect(ONE("model: ollama/a, top_p: os.environ/SLUICE_TEST_A"), false,
                       "f:3:44: error: model_list[0].litellm_params.top_p: expected a number"));
    (void) unsetenv("SLUICE_TEST_A");
    (void) unsetenv("SLUICE_TEST_B");

    config_free(expect("environment_variables: [A]\n" FINE, true,
                       "f:1:24: error: environment_variables: expected a map"));
    config_free(expect("environment_variables: {A: [b]}\n" FINE, true,
                       "f:1:28: error: environment_variables.A: expected a string"));
    config_free(expect("environment_variables: {A: os.environ/SLUICE_TEST_A}\n" FINE, false,
                       "f:1:25: unsupported: environment_variables.A: the environment variable"));
    /* a mocked answer needs neither */
    c = parse(ONE("model: openai/a, mock_response: x, api_key: os.environ/SLUICE_TEST_A"));
    ck_assert(!config_has_errors(c));
    config_free(c);
}
END_TEST

START_TEST(a_key_goes_to_its_own_provider_only)
{
    struct config *c;

    (void) setenv("OPENAI_API_KEY", "sk-vendor", 1);
    c = parse(ONE("model: gpt-4o"));
    ck_assert_str_eq(c->deployments[0].api_key, "sk-vendor");
    config_free(c);
    c = parse(ONE("model: gpt-4o, api_base: 'HTTPS://API.openai.com/v1/'"));
    ck_assert_str_eq(c->deployments[0].api_key, "sk-vendor");
    config_free(c);
    c = expect(ONE("model: openai/a, api_base: http://elsewhere/v1"), false,
               "f:3:3: approximated: model_list[0].litellm_params: OPENAI_API_KEY is not sent");
    ck_assert_ptr_null(c->deployments[0].api_key);
    ck_assert_ptr_null(c->deployments[0].off_reason);
    config_free(c);
    c = expect(ONE("model: openai/a, api_base: http://api.openai.com/v1"), false,
               "f:3:3: approximated: model_list[0].litellm_params: OPENAI_API_KEY is not sent");
    ck_assert_ptr_null(c->deployments[0].api_key);
    config_free(c);
    c = parse(ONE("model: openai/a, api_base: http://elsewhere/v1, api_key: own"));
    ck_assert_str_eq(c->deployments[0].api_key, "own");
    config_free(c);
    /* both from the environment: they belong together */
    (void) setenv("OPENAI_BASE_URL", "http://elsewhere/v1/", 1);
    c = parse(ONE("model: openai/a"));
    ck_assert_str_eq(c->deployments[0].api_base, "http://elsewhere/v1");
    ck_assert_str_eq(c->deployments[0].api_key, "sk-vendor");
    config_free(c);
    (void) setenv("OPENAI_BASE_URL", "elsewhere", 1);
    config_free(
        expect(ONE("model: openai/a"), false,
               "f:3:19: error: model_list[0].litellm_params: the variable OPENAI_BASE_URL"));
    (void) setenv("OPENAI_API_KEY", "sk vendor", 1);
    (void) unsetenv("OPENAI_BASE_URL");
    config_free(expect(ONE("model: openai/a"), false,
                       "f:3:19: error: model_list[0].litellm_params: the variable OPENAI_API_KEY"));
    clean_environment();
}
END_TEST

START_TEST(shared_parameters)
{
    struct config *c =
        parse("model_list:\n"
              "- {model_name: a, litellm_params: {model: ollama/a, seed: 1}}\n"
              "- {model_name: b, litellm_params: {model: openai/b, api_base: http://b}}\n"
              "router_settings:\n"
              "  default_litellm_params: {seed: 2, timeout: 5, api_base: http://all}\n");

    ck_assert(!config_has_errors(c));
    ck_assert_str_eq(option(c, 0, "seed"), "1");
    ck_assert_str_eq(option(c, 1, "seed"), "2");
    ck_assert_str_eq(c->deployments[0].api_base, "http://all");
    ck_assert_str_eq(c->deployments[1].api_base, "http://b");
    ck_assert_uint_eq(c->deployments[1].total_usec, 5 * USEC_PER_SEC);
    config_free(c);

    c = parse(FINE "litellm_settings: {api_base: http://global, api_key: k}\n");
    ck_assert_str_eq(c->deployments[0].api_base, "http://global");
    ck_assert_str_eq(c->deployments[0].api_key, "k");
    config_free(c);
    c = expect(FINE "litellm_settings: {api_base: os.environ/SLUICE_TEST_A}\n", false,
               "f:2:30: error: litellm_settings.api_base: the environment variable");
    ck_assert_ptr_nonnull(c->deployments[0].off_reason);
    config_free(c);
    /* reported once, off twice */
    c = parse("model_list:\n"
              "- {model_name: a, litellm_params: {model: ollama/a}}\n"
              "- {model_name: b, litellm_params: {model: ollama/b}}\n"
              "router_settings: {default_litellm_params: {timeout: soon}}\n");
    char *text = print(c, false), *at = strstr(text, "error:");

    ck_assert_ptr_nonnull(at);
    ck_assert_ptr_null(strstr(at + 1, "error:"));
    ck_assert_ptr_nonnull(c->deployments[0].off_reason);
    ck_assert_ptr_nonnull(c->deployments[1].off_reason);
    free(text);
    config_free(c);
    config_free(expect(FINE "router_settings: {default_litellm_params: [a]}", true,
                       "f:2:43: error: router_settings.default_litellm_params: expected a map"));
}
END_TEST

START_TEST(master_keys_and_listens)
{
    struct config *c = parse(FINE "general_settings: {master_key: sk-1}\n"
                                  "sluice:\n"
                                  "  listen:\n"
                                  "    - rpc=unix:/run/s/rpc.sock\n"
                                  "    - http=unix:/run/s/http.sock\n"
                                  "    - http=tcp:0.0.0.0:4000\n"
                                  "    - http=tcp:[::1]:4001\n");

    ck_assert(!config_has_errors(c));
    ck_assert_str_eq(c->master_key, "sk-1");
    ck_assert_uint_eq(c->n_listens, 4);
    ck_assert_str_eq(c->listens[0].name, "rpc");
    ck_assert_str_eq(c->listens[0].address, "unix:/run/s/rpc.sock");
    ck_assert_str_eq(c->listens[3].name, "http");
    ck_assert_str_eq(c->listens[3].address, "tcp:[::1]:4001");
    config_free(c);

    (void) setenv("LITELLM_MASTER_KEY", "sk-env", 1);
    c = expect(FINE "sluice: {listen: ['http=tcp:0.0.0.0:4000']}", false,
               "f: exact: the master key is that of LITELLM_MASTER_KEY");
    ck_assert_str_eq(c->master_key, "sk-env");
    config_free(c);
    c = parse(FINE "general_settings: {master_key: sk-file}");
    ck_assert_str_eq(c->master_key, "sk-file");
    config_free(c);
    (void) setenv("LITELLM_MASTER_KEY", "sk env", 1);
    config_free(expect(FINE, true, "f: error: LITELLM_MASTER_KEY is set and no usable key"));
    (void) setenv("SLUICE_TEST_A", "sk-a", 1);
    c = parse(FINE "general_settings: {master_key: os.environ/SLUICE_TEST_A}");
    ck_assert_str_eq(c->master_key, "sk-a");
    config_free(c);

    char key[4098]; /* longer than any request head has room for beside it */

    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    (void) setenv("SLUICE_TEST_A", key, 1);
    c = parse(FINE "general_settings: {master_key: os.environ/SLUICE_TEST_A}");
    ck_assert_ptr_null(c->master_key);
    config_free(c);
    (void) setenv("SLUICE_TEST_A", key + 1, 1);
    c = parse(FINE "general_settings: {master_key: os.environ/SLUICE_TEST_A}");
    ck_assert_str_eq(c->master_key, key + 1);
    config_free(c);
    clean_environment();
}
END_TEST

START_TEST(addresses)
{
    static const struct {
        const char *text;
        bool is_good;
    } cases[] = {
        {"rpc=unix:/a", true},
        {"http=tcp:127.0.0.1:1", true},
        {"http=tcp:localhost:65535", true},
        {"http=tcp:[::1]:4000", true},
        {"http=tcp:0.0.0.0:4000", true},
        {"http=tcp:127.0.0.1:0", false},
        {"http=tcp:127.0.0.1:65536", false},
        {"http=tcp:127.0.0.1:", false},
        {"http=tcp:127.0.0.1", false},
        {"http=tcp:::1:4000", false},
        {"http=tcp:[127.0.0.1]:4000", false},
        {"http=tcp:[localhost]:4000", false},
        {"http=tcp:[]:4000", false},
        {"http=tcp:127.1:4000", false},
        {"http=tcp:some.host:4000", false},
        {"http=udp:127.0.0.1:1", false},
        {"http=unix:", false},
        {"http=unix:@abstract", false},
        {"grpc=unix:/a", false},
        {"=unix:/a", false},
        {"rpc", false},
        {"", false},
    };
    struct str name, address;
    struct buf text;

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *problem = config_split_listen(str_from(cases[i].text), &name, &address);

        ck_assert_msg(!problem == cases[i].is_good, "%s: %s", cases[i].text, problem);
    }
    ck_assert_ptr_null(config_split_listen(STR_LIT("http=unix:/b"), &name, &address));
    ck_assert_str_is(name, "http");
    ck_assert_str_is(address, "unix:/b");

    buf_init(&text, 256);
    ck_assert_int_eq(buf_printf(&text, "rpc=unix:/%0106d", 0), 0);
    ck_assert_ptr_null(config_split_listen(buf_str(&text), &name, &address));
    ck_assert_int_eq(buf_append_char(&text, '0'), 0);
    ck_assert_ptr_nonnull(config_split_listen(buf_str(&text), &name, &address));
    buf_done(&text);
}
END_TEST

START_TEST(every_key_of_sluice)
{
    struct config *c =
        parse(FINE "sluice:\n"
                   "  limits: {connections: 1, connections_per_uid: 2, "
                   "calls_per_connection: 3, head: 4KiB, body: 5MiB, buffered: 6MB}\n"
                   "  timeouts: {head: 1s, body: 2s, keep_alive: 3s, stalled_reader: "
                   "4s, drain: 0, heartbeat: 6s,\n"
                   "    connect: 700ms, first_byte: 8m, gap: 1h30m}\n"
                   "  idle_exit: 9m\n"
                   "  slots: 10\n"
                   "  queue: {length: 11, class: {interactive: 7, batch: 8}, bytes: 12MiB,\n"
                   "          wait: {interactive: 13s, batch: 14s, background: 15s}}\n"
                   "  pressure: {enabled: off, kernel_root: /fake, group: vllm.service}\n"
                   "  http: {allowed_hosts: [GW.lan, '[fd00::5]'], allowed_origins: "
                   "['https://App.lan', 'http://x:3000']}\n");
    char *text = print(c, false);

    ck_assert_str_eq(text, "");
    free(text);
    ck_assert_uint_eq(c->max_connections, 1);
    ck_assert_uint_eq(c->max_connections_per_uid, 2);
    ck_assert_uint_eq(c->max_calls_per_connection, 3);
    ck_assert_uint_eq(c->max_head_bytes, 4096);
    ck_assert_uint_eq(c->max_body_bytes, 5 * 1024 * 1024);
    ck_assert_uint_eq(c->max_buffered_bytes, 6000000);
    ck_assert_uint_eq(c->head_usec, 1 * USEC_PER_SEC);
    ck_assert_uint_eq(c->body_usec, 2 * USEC_PER_SEC);
    ck_assert_uint_eq(c->keep_alive_usec, 3 * USEC_PER_SEC);
    ck_assert_uint_eq(c->stalled_reader_usec, 4 * USEC_PER_SEC);
    ck_assert_uint_eq(c->drain_usec, 0);
    ck_assert_uint_eq(c->heartbeat_usec, 6 * USEC_PER_SEC);
    ck_assert_uint_eq(c->connect_usec, 700 * USEC_PER_MSEC);
    ck_assert_uint_eq(c->first_byte_usec, 480 * USEC_PER_SEC);
    ck_assert_uint_eq(c->gap_usec, 5400 * USEC_PER_SEC);
    ck_assert_uint_eq(c->idle_exit_usec, 540 * USEC_PER_SEC);
    ck_assert_uint_eq(c->slots, 10);
    ck_assert_uint_eq(c->max_queued, 11);
    ck_assert_uint_eq(c->max_queued_bytes, 12 * 1024 * 1024);
    ck_assert_uint_eq(c->max_queued_class[CLASS_INTERACTIVE], 7);
    ck_assert_uint_eq(c->max_queued_class[CLASS_BATCH], 8);
    ck_assert_uint_eq(c->max_queued_class[CLASS_BACKGROUND], 0);
    ck_assert_uint_eq(c->max_wait_usec[CLASS_INTERACTIVE], 13 * USEC_PER_SEC);
    ck_assert_uint_eq(c->max_wait_usec[CLASS_BATCH], 14 * USEC_PER_SEC);
    ck_assert_uint_eq(c->max_wait_usec[CLASS_BACKGROUND], 15 * USEC_PER_SEC);
    ck_assert(!c->pressure_enabled);
    ck_assert_str_eq(c->kernel_root, "/fake");
    ck_assert_str_eq(c->pressure_group, "vllm.service");
    ck_assert_uint_eq(c->n_allowed_hosts, 2);
    ck_assert_str_eq(c->allowed_hosts[0], "gw.lan");
    ck_assert_str_eq(c->allowed_hosts[1], "[fd00::5]");
    ck_assert_uint_eq(c->n_allowed_origins, 2);
    ck_assert_str_eq(c->allowed_origins[0], "https://app.lan");
    ck_assert_uint_eq(c->deployments[0].gap_usec, 5400 * USEC_PER_SEC);
    ck_assert_uint_eq(c->deployments[0].connect_usec, 700 * USEC_PER_MSEC);
    config_free(c);

    (void) setenv("SLUICE_TEST_A", "12", 1);
    (void) setenv("SLUICE_TEST_B", "12s", 1);
    c = parse(FINE "sluice: {slots: os.environ/SLUICE_TEST_A, timeouts: {head: "
                   "os.environ/SLUICE_TEST_B}}");
    ck_assert_uint_eq(c->slots, 12);
    ck_assert_uint_eq(c->head_usec, 12 * USEC_PER_SEC);
    config_free(c);
    clean_environment();
}
END_TEST

START_TEST(idle_exit_off)
{
    static const char *const offs[] = {"off", "'off'", "0", "false", "0s"};

    for (size_t i = 0; i < ARRAY_LEN(offs); i++) {
        char text[512];
        struct config *c;

        (void) snprintf(text, sizeof text, FINE "sluice: {idle_exit: %s}\n", offs[i]);
        c = parse(text);
        ck_assert_uint_eq(c->idle_exit_usec, 0);
        config_free(c);
    }
}
END_TEST

START_TEST(idle_exit_that_cannot_be)
{
    static const char *const texts[] = {"on",    "5",  "25h",
                                        "never", "[]", "os.environ/SLUICE_TEST_A"};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct config *c = NULL;
        char text[512];

        (void) snprintf(text, sizeof text, FINE "sluice: {idle_exit: %s}\n", texts[i]);
        ck_assert_int_eq(config_parse(str_from(text), &c), -EBADMSG);
        config_free(c);
    }
}
END_TEST

START_TEST(when_calls_leave)
{
    static const char *const levels[] = {"off", "elevated", "high", "critical", "emergency"};
    static const char *const wrong[] = {"level: calm",       "level: on",
                                        "level: 2",          "level: [high]",
                                        "predicted_wait: 2", "predicted_wait: 25h",
                                        "leve: high",        "level: os.environ/SLUICE_TEST_A"};
    struct config *c = parse(FINE "sluice: {spill: {predicted_wait: 2s}}\n");

    ck_assert_uint_eq(c->spill.predicted_wait_usec, 2 * USEC_PER_SEC);
    ck_assert_int_eq(c->spill.level, PRESSURE_L0);
    config_free(c);
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        char text[512];

        (void) snprintf(text, sizeof text, FINE "sluice: {spill: {level: %s}}\n", levels[i]);
        c = parse(text);
        ck_assert_uint_eq(c->spill.predicted_wait_usec, 0);
        ck_assert_int_eq((int) c->spill.level, (int) i);
        config_free(c);
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        char text[512];

        c = NULL;
        (void) snprintf(text, sizeof text, FINE "sluice: {spill: {%s}}\n", wrong[i]);
        ck_assert_int_eq(config_parse(str_from(text), &c), -EBADMSG);
        config_free(c);
    }
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, the_plainest_file);
    tcase_add_test(tc, every_parameter_that_must_be_read);
    tcase_add_test(tc, targets);
    tcase_add_test(tc, ids_are_stable_distinct_and_free_of_keys);
    tcase_add_test(tc, variables);
    tcase_add_test(tc, a_key_goes_to_its_own_provider_only);
    tcase_add_test(tc, shared_parameters);
    tcase_add_test(tc, master_keys_and_listens);
    tcase_add_test(tc, addresses);
    tcase_add_test(tc, every_key_of_sluice);
    tcase_add_test(tc, idle_exit_off);
    tcase_add_test(tc, idle_exit_that_cannot_be);
    tcase_add_test(tc, when_calls_leave);
}

TEST_MAIN("config", add_tests)
