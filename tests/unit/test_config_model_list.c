/* Entries of model_list that make several deployments: a list of organizations, and * for all providers. */
#include "base/buf.h"
#include "config_support.h"

static const char *organization_of(const struct config *c, size_t i)
{
    return kv_find(&c->deployments[i].headers, "OpenAI-Organization");
}

START_TEST(each_organization_is_a_deployment)
{
    struct config *c = parse("model_list:\n"
                             "- model_name: m\n"
                             "  litellm_params: {model: openai/m, api_base: 'http://h', rpm: 9,\n"
                             "    organization: [org-1, org-2, org-3]}\n"
                             "  model_info: {id: mine, max_input_tokens: 5}\n"
                             "- {model_name: n, litellm_params: {model: ollama/n}}\n");

    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->n_deployments, 4);
    for (size_t i = 0; i < 3; i++) {
        const char *expected[] = {"org-1", "org-2", "org-3"};

        ck_assert_str_eq(c->deployments[i].model_name, "m");
        ck_assert_str_eq(organization_of(c, i), expected[i]);
        ck_assert_uint_eq(c->deployments[i].rpm, 9);
        ck_assert_uint_eq(c->deployments[i].max_input_tokens, 5);
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(c->deployments[i].id, c->deployments[k].id);
        }
    }
    ck_assert_str_eq(c->deployments[0].id, "mine");
    ck_assert_str_eq(c->deployments[3].model_name, "n");
    config_free(c);
}
END_TEST

START_TEST(organizations_of_all_deployments)
{
    struct config *c = parse("router_settings: {default_litellm_params: {organization: [a, b]}}\n"
                             "model_list:\n"
                             "- {model_name: m, litellm_params: {model: openai/m, api_base: "
                             "'http://h'}}\n"
                             "- {model_name: n, litellm_params: {model: openai/m, api_base: "
                             "'http://h', organization: c}}\n"
                             "- {model_name: o, litellm_params: {model: ollama/m}}\n");

    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->n_deployments, 4); /* Ollama knows no organizations */
    ck_assert_str_eq(organization_of(c, 0), "a");
    ck_assert_str_eq(organization_of(c, 1), "b");
    ck_assert_str_eq(organization_of(c, 2), "c");
    ck_assert_ptr_null(organization_of(c, 3));
    config_free(c);
}
END_TEST

START_TEST(one_that_is_no_organization_is_off)
{
    struct config *c =
        parse(ONE("model: openai/m, api_base: 'http://h', organization: [a, \"b\\nX: y\", c]"));

    ck_assert(config_has_errors(c) && !config_is_fatal(c));
    ck_assert_uint_eq(c->n_deployments, 3);
    ck_assert_ptr_null(c->deployments[0].off_reason);
    ck_assert_ptr_nonnull(c->deployments[1].off_reason);
    ck_assert_ptr_null(c->deployments[2].off_reason);
    config_free(c);
}
END_TEST

START_TEST(organizations_have_an_end)
{
    struct buf yaml;

    buf_init(&yaml, 64 * 1024);
    for (int over = 0; over < 2; over++) {
        struct config *c;

        buf_clear(&yaml);
        ck_assert_int_eq(buf_append_z(&yaml, "model_list:\n- model_name: m\n  litellm_params:\n"
                                             "    model: openai/m\n    api_base: http://h\n"
                                             "    organization:\n"),
                         0);
        for (int i = 0; i < CONFIG_MAX_DEPLOYMENTS + over; i++) {
            ck_assert_int_eq(buf_printf(&yaml, "    - org-%d\n", i), 0);
        }
        ck_assert_int_eq(buf_append_char(&yaml, '\0'), 0);
        c = parse(buf_ptr(&yaml));
        ck_assert(config_is_fatal(c) == (over == 1));
        ck_assert_uint_eq(c->n_deployments, CONFIG_MAX_DEPLOYMENTS);
        config_free(c);
    }
    buf_done(&yaml);
}
END_TEST

static const struct config_deployment *find(const struct config *c, const char *name)
{
    for (size_t i = 0; i < c->n_deployments; i++) {
        if (strcmp(c->deployments[i].model_name, name) == 0) {
            return &c->deployments[i];
        }
    }
    return NULL;
}

START_TEST(a_star_is_every_provider_at_hand)
{
    const struct config_deployment *d;
    struct config *c;

    ck_assert_int_eq(setenv("GROQ_API_KEY", "gsk", 1), 0);
    c = expect(
        "environment_variables: {HOSTED_VLLM_API_BASE: 'http://gpu:8000'}\n"
        "model_list:\n"
        "- {model_name: '*', litellm_params: {model: '*', temperature: 0.5}}\n"
        "- {model_name: 'llamafile/*', litellm_params: {model: ollama/x}}\n",
        false,
        "f:3:38: approximated: model_list[0].litellm_params.model: stands for every provider "
        "that has its address on this device or its key in the environment: ollama/*, "
        "ollama_chat/*, hosted_vllm/*, lemonade/*, xinference/*, groq/*\n");
    ck_assert(!config_has_errors(c));
    ck_assert_uint_eq(c->n_deployments, 7);
    d = find(c, "groq/*");
    ck_assert_str_eq(d->model, "*");
    ck_assert_str_eq(d->litellm_model, "groq/*");
    ck_assert_str_eq(d->api_key, "gsk");
    ck_assert_str_eq(d->api_base, "https://api.groq.com/openai/v1");
    ck_assert_str_eq(kv_find(&d->options, "temperature"), "0.5");
    d = find(c, "hosted_vllm/*");
    ck_assert_str_eq(d->api_base, "http://gpu:8000/v1");
    ck_assert_ptr_null(d->api_key);
    ck_assert_str_eq(find(c, "ollama/*")->provider, "ollama");
    ck_assert_str_eq(find(c, "llamafile/*")->model,
                     "x");                   /* the file's own, and nothing beside it */
    ck_assert_ptr_null(find(c, "openai/*")); /* no key */
    config_free(c);
}
END_TEST

START_TEST(a_star_with_organizations_and_an_id)
{
    struct config *c;

    ck_assert_int_eq(setenv("OPENAI_API_KEY", "sk", 1), 0);
    c = expect(
        "model_list:\n"
        "- {model_name: '*', litellm_params: {model: '*', organization: [a, b]},\n"
        "   model_info: {id: one}}\n"
        "router_settings: {fallbacks: [{gpt-4o: [o3-mini]}], model_group_alias: {x: gpt-5}}\n",
        false, "f:3:17: ignored: model_list[0].model_info.id: the entry is several deployments");
    ck_assert(!config_has_errors(c)); /* gpt-4o is openai/gpt-4o */
    ck_assert_ptr_nonnull(find(c, "openai/*"));
    for (size_t i = 0, n = 0; i < c->n_deployments; i++) {
        const char *organizations[] = {"a", "b"};

        ck_assert_str_ne(c->deployments[i].id, "one");
        if (strcmp(c->deployments[i].model_name, "openai/*") == 0) {
            ck_assert_uint_lt(n, 2);
            ck_assert_str_eq(organization_of(c, i), organizations[n++]);
        }
    }
    config_free(c);
    clean_environment();
}
END_TEST

/* A key or an address would go to whatever provider a client thinks of. */
START_TEST(a_star_with_a_key_is_refused)
{
    static const char *const files[] = {
        "model_list: [{model_name: '*', litellm_params: {model: '*', api_key: k}}]",
        "model_list: [{model_name: '*', litellm_params: {model: '*', api_base: 'http://h'}}]",
        "model_list: [{model_name: '*', litellm_params: {model: '*'}}]\n"
        "litellm_settings: {api_key: k}",
        "model_list: [{model_name: '*', litellm_params: {model: '*'}}]\n"
        "router_settings: {default_litellm_params: {base_url: 'http://h'}}",
        "model_list: [{model_name: 'x-*', litellm_params: {model: '*'}}]",
    };

    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct config *c = parse(files[i]);

        ck_assert_uint_eq(c->n_deployments, 1);
        ck_assert_ptr_nonnull(c->deployments[0].off_reason);
        config_free(c);
    }
}
END_TEST

static void parse_expansions(void)
{
    struct config *c = NULL;
    int r = config_parse(
        STR_LIT("model_list:\n"
                "- {model_name: '*', litellm_params: {model: '*'}}\n"
                "- {model_name: m, litellm_params: {model: openai/m, api_base: 'http://h',\n"
                "    organization: [a, b]}}\n"),
        &c);

    ck_assert_int_eq(r, allocation_failed() ? -ENOMEM : 0);
    config_free(c);
}

START_TEST(every_allocation_may_fail)
{
    clean_environment();
    for_each_failed_allocation(parse_expansions);
}
END_TEST

static void add_tests(TCase *tc)
{
    clean_environment();
    tcase_add_test(tc, each_organization_is_a_deployment);
    tcase_add_test(tc, organizations_of_all_deployments);
    tcase_add_test(tc, one_that_is_no_organization_is_off);
    tcase_add_test(tc, organizations_have_an_end);
    tcase_add_test(tc, a_star_is_every_provider_at_hand);
    tcase_add_test(tc, a_star_with_organizations_and_an_id);
    tcase_add_test(tc, a_star_with_a_key_is_refused);
    tcase_add_test(tc, every_allocation_may_fail);
}
TEST_MAIN("config_model_list", add_tests)
