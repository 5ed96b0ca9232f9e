/*
 * What is said about a file, where, and with which consequence: a deployment off, the whole file
 * refused, or neither.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_support.h"

START_TEST(a_deployment_that_cannot_be_served_is_off_and_the_others_serve)
{
    static const struct {
        const char *params, *line;
    } cases[] = {
        {"temperature: 1", "f:3:19: error: model_list[0].litellm_params: model is missing"},
        {"model: 7", "f:3:27: error: model_list[0].litellm_params.model: expected a string"},
        {"model: ''", "f:3:27: error: model_list[0].litellm_params.model: expected PROVIDER/MODEL"},
        {"model: ollama/", "f:3:27: error: model_list[0].litellm_params.model: expected PROVIDER"},
        {"model: \"ollama/a b\"", "f:3:27: error: model_list[0].litellm_params.model: a blank"},
        {"model: llama3", "f:3:27: error: model_list[0].litellm_params.model: \"llama3\" names no "
                          "provider; write ollama/llama3"},
        {"model: 'gpt-oss:20b'",
         "f:3:27: error: model_list[0].litellm_params.model: \"gpt-oss:20b\" "
         "names no provider"},
        {"model: olama/a",
         "f:3:27: error: model_list[0].litellm_params.model: provider \"olama\" is "
         "not known; did you mean \"ollama\"?"},
        {"model: zorg/a", "f:3:27: error: model_list[0].litellm_params.model: provider \"zorg\" is "
                          "not known; a server"},
        {"model: anthropic/claude", "f:3:27: error: model_list[0].litellm_params.model: provider "
                                    "\"anthropic\" is not served: a wire"},
        {"model: vllm/a", "f:3:27: error: model_list[0].litellm_params.model: provider \"vllm\" is "
                          "not served: vLLM inside"},
        {"model: a, custom_llm_provider: bedrock",
         "f:3:51: error: model_list[0].litellm_params.custom_llm_provider: provider \"bedrock\""},
        {"model: a, custom_llm_provider: 1",
         "f:3:51: error: model_list[0].litellm_params.custom_llm_provider: expected a string"},
        {"model: 'ollama/a:cloud'",
         "f:3:27: error: model_list[0].litellm_params.model: Ollama would"},
        {"model: 'ollama/gpt-oss:120b-CLOUD'",
         "f:3:27: error: model_list[0].litellm_params.model: Ollama would"},
        {"model: 'openai/*', api_key: k",
         "f:3:27: error: model_list[0].litellm_params.model: a * here stands for what the one in "
         "model_name stands for, and there is none"},
        {"model: '*'",
         "f:3:27: error: model_list[0].litellm_params.model: the provider must be named"},
        /* who serves, and how the server is spoken to */
        {"model: ollama/a, order: first",
         "f:3:44: error: model_list[0].litellm_params.order: expected a whole number, found a string"},
        {"model: ollama/a, order: -1",
         "f:3:44: error: model_list[0].litellm_params.order: must be a whole number from 0"},
        {"model: ollama/a, weight: -1",
         "f:3:45: error: model_list[0].litellm_params.weight: must be"},
        {"model: ollama/a, weight: [1]",
         "f:3:45: error: model_list[0].litellm_params.weight: expected a number, found a list"},
        {"model: ollama/a, rpm: 0",
         "f:3:42: error: model_list[0].litellm_params.rpm: must be a whole"},
        {"model: ollama/a, tpm: lots",
         "f:3:42: error: model_list[0].litellm_params.tpm: expected a"},
        {"model: ollama/a, tags: {a: b}",
         "f:3:43: error: model_list[0].litellm_params.tags: expected a list of names, found a map"},
        {"model: ollama/a, tags: [a, 2]",
         "f:3:47: error: model_list[0].litellm_params.tags[1]: expected a string, found a whole"},
        {"model: openai/a, api_key: k, tags: [local_only]",
         "f:3:55: error: model_list[0].litellm_params.tags: local_only: this is the address of a vendor"},
        {"model: ollama/a, num_retries: 1000",
         "f:3:50: error: model_list[0].litellm_params.num_retries: must be a whole number from 0 to"},
        {"model: ollama/a, cooldown_time: 1m",
         "f:3:52: error: model_list[0].litellm_params.cooldown_time: LiteLLM's times are plain"},
        {"model: ollama/a, drop_params: perhaps",
         "f:3:50: error: model_list[0].litellm_params.drop_params: expected true or false"},
        {"model: ollama/a, additional_drop_params: 5",
         "f:3:61: error: model_list[0].litellm_params.additional_drop_params: expected a list"},
        {"model: ollama/a, additional_drop_params: [a, 'tools[x].b']",
         "f:3:65: error: model_list[0].litellm_params.additional_drop_params[1]: not a path: between"},
        {"model: ollama/a, additional_drop_params: ['tools[0]']",
         "f:3:62: error: model_list[0].litellm_params.additional_drop_params[0]: not a path: elements"},
        {"model: ollama/a, additional_drop_params: a..b",
         "f:3:61: error: model_list[0].litellm_params.additional_drop_params: not a path: a name is"},
        {"model: ollama/a, extra_headers: [a]",
         "f:3:52: error: model_list[0].litellm_params.extra_headers: expected a map, found a list"},
        {"model: ollama/a, extra_headers: {'a b': c}",
         "f:3:53: error: model_list[0].litellm_params.extra_headers.a b: not the name of a header"},
        {"model: ollama/a, extra_headers: {Content-Length: 5}",
         "f:3:53: error: model_list[0].litellm_params.extra_headers.Content-Length: sluice writes"},
        {"model: ollama/a, headers: {X: \"a\\r\\nHost: b\"}",
         "f:3:50: error: model_list[0].litellm_params.headers.X: a header's value is"},
        {"model: ollama/a, headers: {X: [a]}",
         "f:3:50: error: model_list[0].litellm_params.headers.X: expected a string, found a list"},
        {"model: ollama/a, headers: {X: ' a'}",
         "f:3:50: error: model_list[0].litellm_params.headers.X: a header's value is"},
        {"model: openai/a, api_base: 'http://h', organization: []",
         "f:3:73: error: model_list[0].litellm_params.organization: the list is empty"},
        {"model: openai/a, api_base: 'http://h', organization: [{b: c}]",
         "f:3:74: error: model_list[0].litellm_params.organization[0]: expected a string of ASCII"},
        {"model: openai/a, api_base: 'https://h', ssl_verify: ca.pem",
         "f:3:72: error: model_list[0].litellm_params.ssl_verify: expected true, or the absolute"},
        {"model: openai/a, api_base: 'https://h', ssl_verify: /nonexistent/ca.pem",
         "f:3:72: error: model_list[0].litellm_params.ssl_verify: the file cannot be read: No such"},
        {"model: openai/a, api_base: 'https://h', ssl_verify: [a]",
         "f:3:72: error: model_list[0].litellm_params.ssl_verify: expected true, or the path"},
        {"model: openai/a", "f:3:19: error: model_list[0].litellm_params: api_key is missing, and "
                            "OPENAI_API_KEY is not set"},
        {"model: hosted_vllm/a",
         "f:3:19: error: model_list[0].litellm_params: api_base is missing"},
        /* a base URL that is none: nothing of it is repeated */
        {"model: ollama/a, api_base: 'localhost:11434'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: expected http://"},
        {"model: ollama/a, api_base: 'ftp://h'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: expected http://"},
        {"model: ollama/a, api_base: 'http://u:secret@h'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: no user or password"},
        {"model: ollama/a, api_base: 'http://h?x=1'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: no query"},
        {"model: ollama/a, api_base: 'http://h/#f'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: no query"},
        {"model: ollama/a, api_base: 'http://'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: expected http://"},
        {"model: ollama/a, api_base: 'http:///x'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: the host"},
        {"model: ollama/a, api_base: 'http://h:0'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: the port"},
        {"model: ollama/a, api_base: 'http://h:65536'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: the port"},
        {"model: ollama/a, api_base: 'http://[::g]'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: the host"},
        {"model: ollama/a, api_base: 'http://h h'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: it holds a blank"},
        {"model: ollama/a, api_base: \"http://h\\r\\nX: y\"",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: it holds a blank"},
        {"model: openai/a, api_base: 'unix:run.sock'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: expected unix:/PATH"},
        {"model: openai/a, api_base: 'unix:/run.sock:v1'",
         "f:3:47: error: model_list[0].litellm_params.api_base: not a base URL: expected unix:/PATH"},
        {"model: ollama/a, api_base: ",
         "f:3:47: error: model_list[0].litellm_params.api_base: expected a URL, found nothing"},
        {"model: ollama/a, api_base: ''",
         "f:3:47: error: model_list[0].litellm_params.api_base: expected a URL, found an empty"},
        {"model: ollama/a, api_base: [x]",
         "f:3:47: error: model_list[0].litellm_params.api_base: expected a URL, found a list"},
        {"model: ollama/a, api_base: http://a, base_url: http://b",
         "f:3:67: error: model_list[0].litellm_params.base_url: api_base and base_url are both"},
        {"model: ollama/a, api_key: 12345",
         "f:3:46: error: model_list[0].litellm_params.api_key: expected a string, found a whole"},
        {"model: ollama/a, api_key: \"k\\nX: y\"",
         "f:3:46: error: model_list[0].litellm_params.api_key: a blank, a line break"},
        {"model: ollama/a, litellm_credential_name: c",
         "f:3:62: error: model_list[0].litellm_params.litellm_credential_name: credential_list has no"},
        {"model: ollama/a, litellm_credential_name: [c]",
         "f:3:62: error: model_list[0].litellm_params.litellm_credential_name: expected a string"},
        {"model: openai/a, mock_response: [x]",
         "f:3:52: error: model_list[0].litellm_params.mock_response: expected a string"},
        /* names that were meant as the target */
        {"model: ollama/a, api_bse: http://h",
         "f:3:37: error: model_list[0].litellm_params.api_bse: did you mean \"api_base\"?"},
        {"model: ollama/a, apiBase: http://h",
         "f:3:37: error: model_list[0].litellm_params.apiBase: did you mean \"api_base\"?"},
        {"model: ollama/a, api-key: k",
         "f:3:37: error: model_list[0].litellm_params.api-key: did you mean \"api_key\"?"},
        {"model: ollama/a, openai_api_base: http://h",
         "f:3:37: error: model_list[0].litellm_params.openai_api_base: did you mean \"api_base\"?"},
        {"model: ollama/a, password: x",
         "f:3:37: error: model_list[0].litellm_params.password: did you mean \"api_key\"?"},
        {"models: ollama/a",
         "f:3:20: error: model_list[0].litellm_params.models: did you mean \"model\"?"},
        /* values of the wrong type */
        {"model: ollama/a, timeout: 30s",
         "f:3:46: error: model_list[0].litellm_params.timeout: LiteLLM's times are plain seconds; "
         "write 30 without"},
        {"model: ollama/a, timeout: 0",
         "f:3:46: error: model_list[0].litellm_params.timeout: must be from"},
        {"model: ollama/a, timeout: 1000000",
         "f:3:46: error: model_list[0].litellm_params.timeout: must be from"},
        {"model: ollama/a, timeout: {a: b}",
         "f:3:46: error: model_list[0].litellm_params.timeout: expected seconds as a number, found a "
         "map"},
        {"model: ollama/a, timeout: yes",
         "f:3:46: error: model_list[0].litellm_params.timeout: expected seconds"},
        {"model: ollama/a, max_parallel_requests: 0",
         "f:3:60: error: model_list[0].litellm_params.max_parallel_requests: must be a whole"},
        {"model: ollama/a, max_parallel_requests: 5000",
         "f:3:60: error: model_list[0].litellm_params.max_parallel_requests: must be a whole"},
        {"model: ollama/a, temperature: 1e-1",
         "f:3:50: error: model_list[0].litellm_params.temperature: expected a number, found a string; "
         "write it without quotes"},
        {"model: ollama/a, temperature: hot",
         "f:3:50: error: model_list[0].litellm_params.temperature: expected a number, found a "
         "string\n"},
        {"model: ollama/a, max_tokens: 10.5",
         "f:3:49: error: model_list[0].litellm_params.max_tokens: expected a whole number, found a "
         "number"},
        {"model: ollama/a, num_ctx: '4096'",
         "f:3:46: error: model_list[0].litellm_params.num_ctx: expected a whole number"},
        {"model: ollama/a, stop: {a: b}",
         "f:3:43: error: model_list[0].litellm_params.stop: expected a string or a list"},
        {"model: ollama/a, stop: [a, 1]",
         "f:3:47: error: model_list[0].litellm_params.stop[1]: expected a string"},
        {"model: ollama/a, stop: [a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q]",
         "f:3:43: error: model_list[0].litellm_params.stop: more than 16"},
        {"model: ollama/a, extra_body: [a]",
         "f:3:49: error: model_list[0].litellm_params.extra_body: expected a map"},
        /* variables */
        {"model: ollama/a, api_base: os.environ/SLUICE_TEST_A",
         "f:3:47: error: model_list[0].litellm_params.api_base: the environment variable "
         "SLUICE_TEST_A is not set, or empty"},
        {"model: os.environ/SLUICE_TEST_A",
         "f:3:27: error: model_list[0].litellm_params.model: the environment variable"},
        {"model: ollama/a, some: [{deep: os.environ/SLUICE_TEST_A}]",
         "f:3:51: error: model_list[0].litellm_params.some[0].deep: the environment variable"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf yaml;
        struct config *c;

        buf_init(&yaml, 4096);
        ck_assert_int_eq(buf_printf(&yaml,
                                    ONE("%s") "- model_name: n\n  litellm_params: {model: "
                                              "ollama/n}\n",
                                    cases[i].params),
                         0);
        c = expect(buf_z(&yaml), false, cases[i].line);
        ck_assert(config_has_errors(c));
        ck_assert_uint_eq(c->n_deployments, 2);
        ck_assert_msg(c->deployments[0].off_reason != NULL, "%s is on", cases[i].params);
        ck_assert_ptr_nonnull(c->deployments[0].provider);
        ck_assert_ptr_nonnull(c->deployments[0].model);
        ck_assert_ptr_nonnull(c->deployments[0].id);
        ck_assert_ptr_null(c->deployments[1].off_reason);
        config_free(c);
        buf_done(&yaml);
    }
}
END_TEST

START_TEST(entries)
{
    struct config *c;

    c = expect("model_list:\n- just text\n", false,
               "f:2:3: error: model_list[0]: expected a map with model_name");
    ck_assert_uint_eq(c->n_deployments, 0);
    config_free(c);
    c = expect("model_list:\n- litellm_params: {model: ollama/a}\n", false,
               "f:2:3: error: model_list[0]: model_name is missing");
    ck_assert_uint_eq(c->n_deployments, 0);
    config_free(c);
    config_free(expect("model_list: [{model_name: 4, litellm_params: {model: ollama/a}}]", false,
                       "f:1:27: error: model_list[0].model_name: expected a string"));
    config_free(expect("model_list: [{model_name: '', litellm_params: {model: ollama/a}}]", false,
                       "f:1:27: error: model_list[0].model_name: expected 1 to 256"));
    config_free(expect("model_list: [{model_name: \"a\\tb\", litellm_params: {model: ollama/a}}]",
                       false, "f:1:27: error: model_list[0].model_name: a control character"));
    config_free(expect("model_list: [{model_name: '*****************', litellm_params: {model: "
                       "ollama/a}}]",
                       false, "f:1:27: error: model_list[0].model_name: more than 16 stars"));
    config_free(expect("model_list: [{model_name: os.environ/SLUICE_TEST_A}]", false,
                       "f:1:27: error: model_list[0].model_name: the environment variable"));
    config_free(
        expect("model_list: [{model_name: 'x/*', litellm_params: {model: 'ollama/*-*'}}]", false,
               "f:1:58: error: model_list[0].litellm_params.model: a * here stands for what "
               "the one in model_name stands for, and there are fewer"));
    c = expect("model_list: [{model_name: a}]", false,
               "f:1:14: error: model_list[0]: litellm_params is missing");
    ck_assert_ptr_nonnull(c->deployments[0].off_reason);
    config_free(c);
    config_free(
        expect("model_list: [{model_name: a, litellm_params: [x]}]", false,
               "f:1:46: error: model_list[0].litellm_params: expected a map, found a list"));
    /* beside litellm_params instead of inside */
    c = expect("model_list:\n- model_name: a\n  api_base: http://mine\n  litellm_params: {model: "
               "ollama/a}\n",
               false, "f:3:3: error: model_list[0].api_base: belongs under litellm_params");
    ck_assert_ptr_nonnull(c->deployments[0].off_reason);
    config_free(c);
    c = expect("model_list:\n- model_name: a\n  temperature: 1\n  litellm_params: {model: "
               "ollama/a}\n",
               false, "f:3:3: unsupported: model_list[0].temperature: belongs under");
    ck_assert_ptr_null(c->deployments[0].off_reason);
    config_free(c);
    config_free(expect("model_list: [{model_name: a, litelm_params: {}}]", false,
                       "f:1:30: error: model_list[0].litelm_params: unknown key; did you mean "
                       "\"litellm_params\"?"));
    c = expect("model_list: [{model_name: a, litellm_params: {model: ollama/a}, model_info: "
               "{blocked: true}}]",
               false, "f:1:78: exact: model_list[0].model_info.blocked");
    ck_assert_str_eq(c->deployments[0].off_reason, "model_info.blocked is true");
    ck_assert(!config_has_errors(c));
    config_free(c);
    config_free(
        expect("model_list: [{model_name: a, litellm_params: {model: ollama/a}, model_info: "
               "x}]",
               false, "f:1:77: error: model_list[0].model_info: expected a map"));
}
END_TEST

START_TEST(what_refuses_the_whole_file)
{
    static const struct {
        const char *yaml, *line;
    } cases[] = {
        {"", "f: error: expected a map with model_list in it, found an empty file"},
        {"# nothing\n", "f: error: expected a map"},
        {"- a\n", "f:1:1: error: expected a map with model_list in it, found a list"},
        {"just text", "f:1:1: error: expected a map with model_list in it, found a string"},
        {"{}", "f: error: model_list is missing"},
        {"model_lst: []", "f:1:1: error: model_lst: unknown key; did you mean \"model_list\"?"},
        {"model_list: {a: b}", "f:1:13: error: model_list: expected a list, found a map"},
        {"model_list: []\nmodel_list: []\n",
         "f:2:1: error: the key \"model_list\" stands here twice"},
        {"model_list: &a []\n", "f:1:13: error: anchors"},
        {"model_list:\n\t- a\n", "f:2:1: error: not YAML: a tab"},
        {FINE "general_settings: []", "f:2:19: error: general_settings: expected a map"},
        {FINE "litellm_settings: x", "f:2:19: error: litellm_settings: expected a map"},
        {FINE "router_settings: 1", "f:2:18: error: router_settings: expected a map"},
        {FINE "sluice: [a]", "f:2:9: error: sluice: expected a map, found a list"},
        /* who may call */
        {FINE "general_settings: {master_key: os.environ/SLUICE_TEST_A}",
         "f:2:32: error: general_settings.master_key: the environment variable SLUICE_TEST_A"},
        {FINE "general_settings: {master_key: 1234}",
         "f:2:32: error: general_settings.master_key: expected a string, found a whole number; quote"},
        {FINE "general_settings: {master_key: }",
         "f:2:32: error: general_settings.master_key: expected a string, found nothing; without"},
        {FINE "general_settings: {master_key: ''}",
         "f:2:32: error: general_settings.master_key: expected ASCII"},
        {FINE "general_settings: {master_key: 'a b'}",
         "f:2:32: error: general_settings.master_key: expected ASCII"},
        {FINE "general_settings: {mastr_key: k}",
         "f:2:20: error: general_settings.mastr_key: did you mean general_settings.master_key?"},
        {FINE "master_key: k",
         "f:2:1: error: master_key: did you mean general_settings.master_key?"},
        {FINE "litellm_settings: {master_key: k}",
         "f:2:20: error: litellm_settings.master_key: did you mean general_settings.master_key?"},
        {FINE "general_settings: {custom_auth: my.auth}",
         "f:2:20: error: general_settings.custom_auth: no Python runs here"},
        {FINE "general_settings: {enable_jwt_auth: true}",
         "f:2:20: error: general_settings.enable_jwt_auth: JWTs"},
        {FINE "sluice: {listen: ['http=tcp:0.0.0.0:4000']}",
         "f:2:19: error: sluice.listen[0]: others can reach this address"},
        {FINE "sluice: {listen: ['http=tcp:[::]:4000']}",
         "f:2:19: error: sluice.listen[0]: others can reach this address"},
        {FINE "sluice: {listen: ['http=tcp:192.168.1.1:4000']}",
         "f:2:19: error: sluice.listen[0]: others can reach this address"},
        /* sluice: is read strictly */
        {FINE "sluice: {limts: {}}", "f:2:10: error: sluice.limts: unknown key; did you mean "
                                     "sluice.limits?"},
        {FINE "sluice: {limits: {conections: 5}}",
         "f:2:19: error: sluice.limits.conections: unknown key; did you mean "
         "sluice.limits.connections?"},
        {FINE "sluice: {timeouts: {wait: 5s}}",
         "f:2:21: error: sluice.timeouts.wait: unknown key; did you mean sluice.queue.wait?"},
        {FINE "sluice: {zebra: 5}", "f:2:10: error: sluice.zebra: unknown key\n"},
        {FINE "sluice: {limits: 5}", "f:2:18: error: sluice.limits: expected a map"},
        {FINE "sluice: {slots: many}",
         "f:2:17: error: sluice.slots: expected a whole number, found"},
        {FINE "sluice: {slots: 0}", "f:2:17: error: sluice.slots: must be from 1 to 1024"},
        {FINE "sluice: {slots: -1}", "f:2:17: error: sluice.slots: must be from 1 to 1024"},
        {FINE "sluice: {slots: os.environ/SLUICE_TEST_A}",
         "f:2:17: error: sluice.slots: the environment variable SLUICE_TEST_A"},
        {FINE "sluice: {limits: {body: 32}}",
         "f:2:25: error: sluice.limits.body: a size needs a unit: write 32KiB, 32MiB or 32B"},
        {FINE "sluice: {limits: {body: 32 MiB}}",
         "f:2:25: error: sluice.limits.body: \"32 MiB\" is not a size"},
        {FINE "sluice: {limits: {body: 2GiB}}",
         "f:2:25: error: sluice.limits.body: must be from 1KiB to 1GiB"},
        {FINE "sluice: {limits: {body: }}",
         "f:2:25: error: sluice.limits.body: expected a size such as 64KiB or 32MiB, found nothing"},
        {FINE "sluice: {limits: {body: 128MiB}}",
         "f:2:9: error: sluice: limits.buffered is smaller than limits.body"},
        {FINE "sluice: {timeouts: {head: 10}}",
         "f:2:27: error: sluice.timeouts.head: a duration needs a unit: write 10s for seconds"},
        {FINE "sluice: {timeouts: {head: 1:30}}",
         "f:2:27: error: sluice.timeouts.head: a duration needs a unit: write 90s"},
        {FINE "sluice: {timeouts: {head: soon}}",
         "f:2:27: error: sluice.timeouts.head: \"soon\" is not a duration"},
        {FINE "sluice: {timeouts: {head: 0}}",
         "f:2:27: error: sluice.timeouts.head: must be from 100ms to 10m"},
        {FINE "sluice: {timeouts: {head: [1s]}}",
         "f:2:27: error: sluice.timeouts.head: expected a duration such as 30s or 5m, found a list"},
        {FINE "sluice: {queue: {wait: {batch: 2d}}}",
         "f:2:32: error: sluice.queue.wait.batch: must be from 100ms to 24h"},
        {FINE "sluice: {pressure: {enabled: 1}}",
         "f:2:30: error: sluice.pressure.enabled: expected true or false, found a whole number"},
        {FINE "sluice: {pressure: {kernel_root: here}}",
         "f:2:34: error: sluice.pressure.kernel_root: expected an absolute path"},
        {FINE "sluice: {pressure: {group: ollama}}",
         "f:2:28: error: sluice.pressure.group: expected auto, none, a unit such as "
         "ollama.service, or a path below /sys/fs/cgroup"},
        {FINE "sluice: {pressure: {group: /a/../b}}",
         "f:2:28: error: sluice.pressure.group: expected auto, none, a unit such as "
         "ollama.service, or a path below /sys/fs/cgroup"},
        {FINE "sluice: {upstreams: 7}",
         "f:2:21: error: sluice.upstreams: expected a map of api_base to settings, found a whole"},
        {FINE "sluice: {upstreams: {'http://127.0.0.1:1': 7}}",
         "f:2:44: error: sluice.upstreams.http://127.0.0.1:1: expected a map, found a whole number"},
        {FINE "sluice: {upstreams: {'http://127.0.0.1:1': {restart: x}}}",
         "f:2:45: error: sluice.upstreams.http://127.0.0.1:1.restart: unknown key"},
        {FINE "sluice: {upstreams: {'http://127.0.0.1:1': {restart_units: x}}}",
         "f:2:45: error: sluice.upstreams.http://127.0.0.1:1.restart_units: unknown key; did you"},
        {FINE "sluice: {upstreams: {'http://127.0.0.1:1': {restart_unit: a.service}}}",
         "f:2:22: error: sluice.upstreams.http://127.0.0.1:1: no deployment of model_list has"},
        {FINE "sluice: {upstreams: {'http://gpu:1': {restart_unit: a.service}}}",
         "f:2:53: error: sluice.upstreams.http://gpu:1.restart_unit: only a server on this machine"},
        {FINE "sluice: {upstreams: {'http://127.0.0.1.evil:1': {restart_unit: a}}}",
         "f:2:64: error: sluice.upstreams.http://127.0.0.1.evil:1.restart_unit: \"a\" is no name"},
        {FINE "sluice: {upstreams: {'http://127.0.0.1.evil:1': {restart_unit: a.service}}}",
         "f:2:64: error: sluice.upstreams.http://127.0.0.1.evil:1.restart_unit: only a server on"},
        {FINE "sluice: {upstreams: {'http://localhost.lan': {restart_unit: a.service}}}",
         "f:2:61: error: sluice.upstreams.http://localhost.lan.restart_unit: only a server on"},
        {FINE "sluice: {upstreams: {'unix:/s': {restart_unit: [a.service]}}}",
         "f:2:48: error: sluice.upstreams.unix:/s.restart_unit: expected the name of a unit, found"},
        {FINE "sluice: {listen: 'http=tcp:127.0.0.1:4000'}",
         "f:2:18: error: sluice.listen: expected a list, found a string"},
        {FINE "sluice: {listen: ['tcp:127.0.0.1:4000']}",
         "f:2:19: error: sluice.listen[0]: expected rpc=unix:PATH"},
        {FINE "sluice: {listen: ['http=tcp:my.host:4000']}",
         "f:2:19: error: sluice.listen[0]: expected tcp:ADDRESS:PORT"},
        {FINE "sluice: {listen: ['rpc=tcp:127.0.0.1:1']}",
         "f:2:19: error: sluice.listen[0]: rpc is for Unix sockets only"},
        {FINE "sluice: {listen: ['rpc=unix:run.sock']}",
         "f:2:19: error: sluice.listen[0]: the path of a Unix socket must begin"},
        {FINE "sluice: {listen: [7]}", "f:2:19: error: sluice.listen[0]: expected a string"},
        {FINE "sluice: {http: {allowed_hosts: ['gw:80']}}",
         "f:2:33: error: sluice.http.allowed_hosts[0]: expected a host name"},
        {FINE "sluice: {http: {allowed_hosts: ['[::1']}}",
         "f:2:33: error: sluice.http.allowed_hosts[0]: expected a host name"},
        {FINE "sluice: {http: {allowed_hosts: ['*']}}",
         "f:2:33: error: sluice.http.allowed_hosts[0]: expected a host name"},
        {FINE "sluice: {http: {allowed_origins: ['*']}}",
         "f:2:35: error: sluice.http.allowed_origins[0]: expected an origin"},
        {FINE "sluice: {http: {allowed_origins: ['https://a/']}}",
         "f:2:35: error: sluice.http.allowed_origins[0]: expected an origin"},
        {FINE "sluice: {http: {allowed_origins: ['https://a:b']}}",
         "f:2:35: error: sluice.http.allowed_origins[0]: expected an origin"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = expect(cases[i].yaml, true, cases[i].line);

        ck_assert(config_has_errors(c));
        config_free(c);
    }
}
END_TEST

START_TEST(what_is_only_reported)
{
    static const struct {
        const char *yaml, *line;
    } cases[] = {
        {"model_list: []", "f:1:1: approximated: model_list: empty: every call"},
        {"model_list:\n", "f:1:1: approximated: model_list: empty: every call"},
        {FINE "surprise: 1", "f:2:1: unsupported: surprise: unknown key\n"},
        {FINE "guardrails: [{guardrail_name: g}]",
         "f:2:1: unsupported: guardrails: no guardrail runs"},
        {FINE "guardrails: []", "f:2:1: exact: guardrails: off, as here"},
        {FINE "general_settings:\n", "f:2:1: exact: general_settings"},
        {FINE "general_settings: {custom_auth: ''}", "f:2:20: exact: general_settings.custom_auth"},
        {FINE "general_settings: {enable_jwt_auth: false}",
         "f:2:20: exact: general_settings.enable_jwt_auth: off, as here"},
        {FINE "general_settings: {custom_auth: my.auth, master_key: k}",
         "f:2:20: unsupported: general_settings.custom_auth: no Python"},
        {FINE "general_settings: {database_url: postgres}",
         "f:2:20: ignored: general_settings.database_url: there is no database"},
        {FINE "general_settings: {frobnicate: 1}",
         "f:2:20: unsupported: general_settings.frobnicate: unknown key"},
        {FINE "litellm_settings: {modify_params: true}",
         "f:2:20: unsupported: litellm_settings.modify_params: requests are sent"},
        {FINE "litellm_settings: {modify_params: false}",
         "f:2:20: exact: litellm_settings.modify_params: off, as here"},
        {ONE("model: ollama/m, supports_system_message: false"),
         "f:3:37: unsupported: model_list[0].litellm_params.supports_system_message"},
        {ONE("model: ollama/m, supports_system_message: "),
         "f:3:37: exact: model_list[0].litellm_params.supports_system_message: off, as here"},
        {ONE("model: ollama/m, use_litellm_proxy: false"),
         "f:3:37: exact: model_list[0].litellm_params.use_litellm_proxy: off, as here"},
        {FINE "litellm_settings: {telemetry: false}", "f:2:20: exact: litellm_settings.telemetry"},
        {FINE "router_settings: {redis_host: h}", "f:2:19: ignored: router_settings.redis_host"},
        {FINE "router_settings: {routing_strategy: simple-shuffle}",
         "f:2:19: approximated: router_settings.routing_strategy"},
        {FINE "sluice:\n", "f:2:1: exact: sluice"},
        {FINE "sluice: {limits: , http: {allowed_hosts: }}", "f:2:10: exact: sluice"},
        {ONE("model: ollama/m, rpm: 5"), "f:3:37: exact: model_list[0].litellm_params.rpm"},
        {ONE("model: ollama/m, num_retries: 1, max_retries: 2"),
         "f:3:53: ignored: model_list[0].litellm_params.max_retries: num_retries says it"},
        {ONE("model: ollama/m, additional_drop_params: ['tools[*].strict']"),
         "f:3:37: exact: model_list[0].litellm_params.additional_drop_params\n"},
        {ONE("model: ollama/m, additional_drop_params: [a, 'messages[*].name']"),
         "f:3:65: ignored: model_list[0].litellm_params.additional_drop_params[1]: this is always"},
        {ONE("model: ollama/m, tags: [local_only]"),
         "f:3:37: exact: model_list[0].litellm_params.tags\n"},
        {ONE("model: ollama/m, api_base: 'http://[::1]:9', tags: [local_only]"),
         "f:3:65: exact: model_list[0].litellm_params.tags\n"},
        {ONE("model: ollama/m, api_base: 'unix:/x', tags: [local_only]"),
         "f:3:58: exact: model_list[0].litellm_params.tags\n"},
        {ONE("model: ollama/m, api_base: 'http://gpu', tags: [local_only]"),
         "f:3:61: approximated: model_list[0].litellm_params.tags: local_only: the server is not on"},
        {ONE("model: ollama/m, organization: o"),
         "f:3:37: ignored: model_list[0].litellm_params.organization: only servers of the OpenAI"},
        {ONE("model: ollama/m, ssl_verify: false"),
         "f:3:37: ignored: model_list[0].litellm_params.ssl_verify: there is no TLS to http://"},
        {ONE("model: hosted_vllm/m, api_base: 'https://h', ssl_verify: false"),
         "f:3:65: unsupported: model_list[0].litellm_params.ssl_verify: certificates are always"},
        {"litellm_settings: {ssl_verify: false}\n" ONE(
             "model: hosted_vllm/m, api_base: 'https://h'"),
         "f:1:20: unsupported: litellm_settings.ssl_verify: certificates are always"},
        {ONE("model: ollama/m, extra_body: {a: 1}"),
         "f:3:37: approximated: model_list[0].litellm_params.extra_body: to Ollama"},
        {ONE("model: hosted_vllm/m, api_base: 'http://h', extra_body: {messages: []}"),
         "f:3:77: unsupported: model_list[0].litellm_params.extra_body.messages: cannot be set"},
        {ONE("model: ollama/m, stream: true"),
         "f:3:37: ignored: model_list[0].litellm_params.stream"},
        {ONE("model: ollama/m, temprature: 1"),
         "f:3:37: approximated: model_list[0].litellm_params.temprature: not known; passed to the "
         "model server as a default parameter; did you mean \"temperature\"?"},
        {ONE("model: ollama/m, mode: chat"),
         "f:3:37: approximated: model_list[0].litellm_params.mode"},
        {ONE("model: ollama/m, input_cost_per_token: 0"),
         "f:3:37: ignored: model_list[0].litellm_params.input_cost_per_token"},
        {ONE("model: llamafile/m, num_ctx: 5"),
         "f:3:40: unsupported: model_list[0].litellm_params.num_ctx: a parameter of Ollama's"},
        {ONE("model: ollama/m, temperature: "), "f:3:37: exact: model_list[0].litellm_params.temp"},
        {ONE("model: ollama/m, extra_body: {stream: true}"),
         "f:3:50: unsupported: model_list[0].litellm_params.extra_body.stream: cannot be set"},
        {ONE("model: ollama/m, api_base: http://h/v1"),
         "f:3:37: approximated: model_list[0].litellm_params.api_base: used without /v1"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        bool is_sluice_row = strstr(cases[i].line, "exact: sluice") != NULL;
        struct config *c;

        if (is_sluice_row && strstr(cases[i].yaml, "limits")) {
            c = parse(cases[i].yaml); /* empty groups and lists: nothing to say, nothing wrong */
        } else {
            c = expect(cases[i].yaml, false, cases[i].line);
        }
        ck_assert_msg(!config_has_errors(c), "%s", cases[i].yaml);
        config_free(c);
    }
}
END_TEST

START_TEST(a_mistyped_key_is_an_error_and_stops_nothing)
{
    static const struct {
        const char *yaml, *line;
    } cases[] = {
        {FINE "litellm_settings: {callbaks: []}",
         "f:2:20: error: litellm_settings.callbaks: unknown key; did you mean \"callbacks\"?"},
        {FINE "router_settings: {Fall-Backs: []}",
         "f:2:19: error: router_settings.Fall-Backs: unknown key; did you mean \"fallbacks\"?"},
        {FINE "modle_list: []",
         "f:2:1: error: modle_list: unknown key; did you mean \"model_list\"?"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config *c = expect(cases[i].yaml, false, cases[i].line);

        ck_assert(config_has_errors(c));
        ck_assert_uint_eq(c->n_deployments, 1);
        ck_assert_ptr_null(c->deployments[0].off_reason);
        config_free(c);
    }
}
END_TEST

START_TEST(no_secret_is_ever_repeated)
{
    static const char *const files[] = {
        ONE("model: ollama/a, api_key: 'hunter2 hunter2'"),
        ONE("model: ollama/a, api_base: 'http://u:hunter2@h/'"),
        ONE("model: ollama/a, api_kye: hunter2"),
        ONE("model: ollama/a, api_key: [hunter2]"),
        ONE("model: ollama/a, timeout: hunter2"),
        ONE("model: openai/a, api_base: 'https://h/v1?key=hunter2'"),
        ONE("model: openai/a, extra_headers: {Authorization: hunter2}"),
        FINE "general_settings: {master_key: 'hunter2 x'}",
        FINE "general_settings: {database_url: 'postgres://u:hunter2@h'}",
        FINE "environment_variables: {K: [hunter2]}",
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct config *c = parse(files[i]);
        char *text = print(c, true);

        ck_assert_msg(!strstr(text, "hunter2"), "%s", text);
        for (size_t k = 0; k < c->n_deployments; k++) {
            ck_assert(!c->deployments[k].off_reason ||
                      !strstr(c->deployments[k].off_reason, "hunter2"));
        }
        free(text);
        config_free(c);
    }
}
END_TEST

START_TEST(findings_are_safe_to_print_and_in_order)
{
    struct config *c = parse(FINE "\"a\\e[31mb\\x9b\": 1\n"
                                  "litellm_settings: {zz: 1}\n"
                                  "aa: 1\n");
    char *text = print(c, false);

    ck_assert_str_eq(text, "f:2:1: unsupported: a?[31mb??: unknown key\n"
                           "f:3:20: unsupported: litellm_settings.zz: unknown key\n"
                           "f:4:1: unsupported: aa: unknown key\n");
    free(text);
    config_free(c);

    c = config_new();
    ck_assert_int_eq(
        config_add_finding(c, FINDING_EXACT, false, (struct finding_place) {0, 9, 1}, "last", ""),
        0);
    ck_assert_int_eq(
        config_add_finding(c, FINDING_ERROR, false, (struct finding_place) {0, 2, 5}, "b", "t"), 0);
    ck_assert_int_eq(
        config_add_finding(c, FINDING_IGNORED, false, (struct finding_place) {0, 2, 5}, "c", "t"),
        0);
    ck_assert_int_eq(
        config_add_finding(c, FINDING_ERROR, false, (struct finding_place) {0, 0, 0}, "", "whole"),
        0);
    config_sort_findings(c);
    text = print(c, true);
    ck_assert_str_eq(text, "f: error: whole\nf:2:5: error: b: t\nf:2:5: ignored: c: t\n"
                           "f:9:1: exact: last\n");
    free(text);
    ck_assert(config_has_errors(c));
    ck_assert(!config_is_fatal(c));
    config_free(c);
    ck_assert_ptr_null(config_free(NULL));
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, a_deployment_that_cannot_be_served_is_off_and_the_others_serve);
    tcase_add_test(tc, entries);
    tcase_add_test(tc, what_refuses_the_whole_file);
    tcase_add_test(tc, what_is_only_reported);
    tcase_add_test(tc, a_mistyped_key_is_an_error_and_stops_nothing);
    tcase_add_test(tc, no_secret_is_ever_repeated);
    tcase_add_test(tc, findings_are_safe_to_print_and_in_order);
}

TEST_MAIN("config_findings", add_tests)
